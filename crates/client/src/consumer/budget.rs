//! How much may lie fetched and not yet used.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// Counts the bytes of answers of which slices are still held.
#[derive(Debug, Default)]
pub(super) struct Budget {
    held: AtomicUsize,
    /// Whether the fetching side waits for room: only then is it woken, across threads.
    starved: AtomicBool,
    freed: Notify,
}

impl Budget {
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Counts an answer until the last clone of the guard is dropped.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Arc<Held> {
        self.held.fetch_add(bytes, Ordering::AcqRel);
        Arc::new(Held { bytes, budget: Arc::clone(self) })
    }

    /// Announces that the next release shall wake [`Budget::freed`]. What was held before this call
    /// may be outdated: look again after it.
    pub(super) fn starve(&self) {
        self.starved.store(true, Ordering::SeqCst);
    }

    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

/// The bytes of one answer.
#[derive(Debug)]
pub(super) struct Held {
    bytes: usize,
    budget: Arc<Budget>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::SeqCst);
        if self.budget.starved.swap(false, Ordering::SeqCst) {
            self.budget.freed.notify_one();
        }
    }
}
