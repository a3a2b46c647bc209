//! One object per batch that those who wait for its records share.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{batch::Placement, error::Failure};
use crate::error::Error;

/// The outcome of a batch, once there is one. A batch that a broker found too large may end in several parts,
/// each with an outcome of its own.
#[derive(Debug, Default)]
pub(super) struct BatchAcknowledgement {
    parts: Mutex<Vec<Part>>,
    done: Notify,
    done_blocking: Condvar,
}

#[derive(Debug)]
struct Part {
    first: u32,
    count: u32,
    result: Result<Placement, Failure>,
}

impl BatchAcknowledgement {
    /// Settles `count` records from the one at `first` on.
    pub(super) fn settle(&self, first: u32, count: u32, result: Result<Placement, Failure>) {
        self.lock().push(Part { first, count, result });
        self.done.notify_waiters();
        self.done_blocking.notify_all();
    }

    // Nothing can panic while the lock is held, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(parts: &[Part], index: u32) -> Option<Result<RecordPlacement, Error>> {
        let part = parts.iter().find(|part| index >= part.first && index - part.first < part.count)?;
        let batch_index = index - part.first;
        Some(match &part.result {
            Ok(placement) => Ok(RecordPlacement {
                offset: placement.base_offset.map(|base_offset| base_offset + i64::from(batch_index)),
                log_append_time: placement.log_append_time,
            }),
            Err(failure) => Err(failure.of_record(batch_index)),
        })
    }
}

/// Where a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordPlacement {
    /// Its offset; `None` with `acks=0`, or where the broker only knows that it has the record already.
    pub offset: Option<i64>,
    /// The timestamp that the broker gave it, in topics with `message.timestamp.type=LogAppendTime`.
    pub log_append_time: Option<i64>,
}

/// A promise of one record's outcome: await it, or block on it. Dropping it changes nothing.
#[derive(Debug, Clone)]
#[must_use = "the record is sent either way, but its outcome is only known from here"]
pub struct Receipt {
    pub(super) acknowledgement: Arc<BatchAcknowledgement>,
    pub(super) index: u32,
}

impl Receipt {
    /// The outcome if it is known already.
    pub fn peek(&self) -> Option<Result<RecordPlacement, Error>> {
        BatchAcknowledgement::find(&self.acknowledgement.lock(), self.index)
    }

    /// Waits for the outcome, which comes within `delivery_timeout`.
    ///
    /// # Errors
    /// Why the record was not delivered.
    pub async fn wait(&self) -> Result<RecordPlacement, Error> {
        loop {
            let mut done = std::pin::pin!(self.acknowledgement.done.notified());
            done.as_mut().enable();
            if let Some(outcome) = self.peek() {
                return outcome;
            }
            done.await;
        }
    }

    /// Blocks the thread until the outcome is known. Not for use inside an asynchronous runtime.
    ///
    /// # Errors
    /// Why the record was not delivered.
    pub fn wait_blocking(&self) -> Result<RecordPlacement, Error> {
        let mut parts = self.acknowledgement.lock();
        loop {
            if let Some(outcome) = BatchAcknowledgement::find(&parts, self.index) {
                return outcome;
            }
            parts = self.acknowledgement.done_blocking.wait(parts).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl IntoFuture for Receipt {
    type Output = Result<RecordPlacement, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.wait().await })
    }
}
