//! Time as the cluster sees it.

use tokio::time::Instant;

/// Wall-clock time that follows tokio's: a paused runtime pauses it, and advancing the runtime advances it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base_ms: i64,
    started: Instant,
}

impl Clock {
    /// A clock that starts at the system's time.
    #[must_use]
    pub fn system() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self::starting_at(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
    }

    /// A clock that shows `base_ms` (milliseconds since 1970) now.
    #[must_use]
    pub fn starting_at(base_ms: i64) -> Self {
        Self { base_ms, started: Instant::now() }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.base_ms.saturating_add(elapsed)
    }
}
