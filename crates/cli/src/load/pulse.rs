//! Whether PostgreSQL answers: a server that is stopped, or behind a line that swallows everything, says nothing for
//! ever.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::trouble::Trouble;

/// What a worker waits for.
#[derive(Debug)]
pub(super) struct Pulse {
    limit: Duration,
    since: Mutex<Since>,
    commits: AtomicU64,
}

#[derive(Debug, Default)]
struct Since {
    /// When the statement under way was sent; None where it is not PostgreSQL that is waited for.
    asked: Option<Instant>,
    /// When the first thing was asked that had no answer, on whatever connection.
    silent: Option<Instant>,
}

impl Pulse {
    pub(super) fn new(limit: Duration) -> Pulse {
        Pulse { limit, since: Mutex::default(), commits: AtomicU64::new(0) }
    }

    /// It has answered, and is asked the next thing.
    pub(super) fn beat(&self) {
        let now = Some(Instant::now());
        *self.since() = Since { asked: now, silent: now };
    }

    /// A transaction of this worker has committed.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// How many have.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Waits for somebody else: meanwhile PostgreSQL owes no answer.
    pub(super) async fn resting<T>(&self, work: impl Future<Output = T>) -> T {
        self.rest();
        let done = work.await;
        self.beat();
        done
    }

    /// Whether it is somebody else that is waited for.
    pub(super) fn is_resting(&self) -> bool {
        self.since().silent.is_none()
    }

    fn rest(&self) {
        *self.since() = Since::default();
    }

    /// A new connection is tried, which has limits of its own.
    pub(super) fn dial(&self) {
        let mut since = self.since();
        since.asked = None;
        since.silent.get_or_insert_with(Instant::now);
    }

    /// Whether nothing at all has been heard for longer than the limit.
    pub(super) fn is_silent(&self) -> bool {
        self.since().silent.is_some_and(|since| since.elapsed() > self.limit)
    }

    /// Whether it is waited for, and has said something in this time.
    pub(super) fn was_heard_within(&self, time: Duration) -> bool {
        self.since().silent.is_some_and(|since| since.elapsed() < time)
    }

    /// Does `work`, which says with [`Pulse::beat`] that it gets on.
    ///
    /// # Errors
    /// Those of `work`, and that an answer does not come.
    pub(super) async fn guard<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        self.ask();
        tokio::pin!(work);
        loop {
            let asked = self.since().asked.unwrap_or_else(Instant::now);
            // Centuries are no limit.
            let Some(deadline) = asked.checked_add(self.limit) else { return self.heard(work.await) };
            tokio::select! {
                biased;
                done = &mut work => return self.heard(done),
                () = tokio::time::sleep_until(deadline) => {}
            }
            if self.since().asked.is_some_and(|asked| asked.elapsed() >= self.limit) {
                return Err(Trouble::Silent(format!(
                    "PostgreSQL has not answered for {:?} (--write-timeout)",
                    self.limit
                )));
            }
        }
    }

    fn ask(&self) {
        let now = Instant::now();
        let mut since = self.since();
        since.asked = Some(now);
        since.silent.get_or_insert(now);
    }

    fn heard<T>(&self, done: Result<T, Trouble>) -> Result<T, Trouble> {
        if !matches!(done, Err(Trouble::Silent(_))) {
            self.rest();
        }
        done
    }

    fn since(&self) -> MutexGuard<'_, Since> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
