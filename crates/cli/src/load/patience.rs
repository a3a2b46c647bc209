//! How long what may pass is waited for.

use std::{sync::Arc, time::Duration};

use kcopy_client::Backoff;
use tokio::time::Instant;

use super::{
    pulse::Pulse,
    shared::{Command, Shared, Stats},
    trouble::Trouble,
};
use crate::plan::End;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a topic may be unknown, in terms of what one question takes.
const MISSING_PATIENCE: u32 = 10;

/// How long what may pass is waited for: --timeout from the first failure on, and in a run without end for
/// ever.
pub(super) struct Patience {
    shared: Arc<Shared>,
    backoff: Backoff,
    failing_since: Option<Instant>,
    attempt_since: Instant,
    /// Since when a topic has been unknown, each time.
    missing_since: Option<Instant>,
    /// What was wrong last.
    last: Option<String>,
    /// The record that could not be taken last.
    refused: Option<String>,
    /// Its own: those of other workers say nothing of what is wrong here.
    commits: u64,
    /// Whether PostgreSQL answers.
    pub(super) pulse: Arc<Pulse>,
}

impl Patience {
    pub(super) fn new(shared: &Arc<Shared>) -> Patience {
        Patience {
            shared: Arc::clone(shared),
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            failing_since: None,
            attempt_since: Instant::now(),
            missing_since: None,
            last: None,
            refused: None,
            commits: 0,
            pulse: shared.new_pulse(),
        }
    }

    /// Waits for a while, for the next attempt.
    ///
    /// # Errors
    /// Waiting does not help, or has not helped for too long.
    pub(super) fn take(&mut self, trouble: Trouble) -> Result<(), String> {
        let shared = &self.shared;
        let limit = shared.plan.common.timeout.unwrap_or(Duration::MAX);
        let commits = self.pulse.commits();
        // An attempt that came to something, or went well for long, ends a row of failures.
        if commits > self.commits || self.attempt_since.elapsed() > limit {
            self.failing_since = None;
            self.last = None;
            self.backoff.reset();
        }
        let since = if commits > self.commits { Instant::now() } else { self.attempt_since };
        self.commits = commits;
        let since = *self.failing_since.get_or_insert(since);
        let is_missing = matches!(trouble, Trouble::Missing(_));
        self.missing_since = self.missing_since.filter(|_| is_missing).or(is_missing.then(Instant::now));
        match trouble {
            Trouble::Missing(text) if self.is_gone() => {
                return Err(format!(
                    "{text}; the topic was deleted, it seems: --accept-loss waits for another one"
                ));
            }
            Trouble::Final(text) => return Err(text),
            // The table may have changed since it was looked at: nothing but another look shows it.
            Trouble::Refused(text) if self.refused.as_ref() == Some(&text) => return Err(text),
            Trouble::Refused(text) => self.refused = Some(text),
            Trouble::Unmended(text) if shared.plan.end != End::Follow => return Err(text),
            Trouble::TableChanged(text) => shared.reporter.tell("table_changed", &text),
            Trouble::Passing(text)
            | Trouble::Silent(text)
            | Trouble::Locked(text)
            | Trouble::Missing(text)
            | Trouble::Unmended(text) => {
                Stats::add(&shared.stats.failures, 1);
                if shared.plan.end != End::Follow && since.elapsed() >= limit {
                    return Err(format!("{text} (for {:.1?}: --timeout)", since.elapsed()));
                }
                let pause = self.backoff.next_pause();
                shared.reporter.tell("retry", &format!("{text}; trying again in {pause:.0?}"));
                self.pause(pause);
                self.last = Some(text);
            }
        }
        self.attempt_since = Instant::now();
        Ok(())
    }

    /// Whether a topic has been unknown for too long. Who accepts the loss may wait for its like.
    fn is_gone(&self) -> bool {
        let limit = self.shared.client.config().unknown_topic_grace * MISSING_PATIENCE;
        let is_over = self.missing_since.is_some_and(|since| since.elapsed() >= limit);
        is_over && !self.shared.plan.accepts_loss
    }

    /// Makes ready for work: not for longer than there is patience, not where PostgreSQL is silent, and not when it
    /// shall stop.
    ///
    /// # Errors
    /// Those of `work`, and that it takes too long.
    pub(super) async fn limit<T>(
        &mut self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Option<Result<T, Trouble>> {
        let is_bounded = self.shared.plan.end != End::Follow;
        let limit = self.shared.plan.common.timeout.filter(|_| is_bounded);
        // What is under way has the same limit and says more: it goes first.
        let deadline = limit.and_then(|limit| {
            let since = self.failing_since.unwrap_or(self.attempt_since);
            since.checked_add(limit + Duration::from_millis(500))
        });
        let last = self.last.clone();
        let pulse = Arc::clone(&self.pulse);
        let work = pulse.guard(work);
        let limited = async {
            let Some(deadline) = deadline else { return work.await };
            tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| {
                let silent = if pulse.is_resting() { "the cluster" } else { "PostgreSQL" };
                Err(Trouble::Passing(last.unwrap_or_else(|| format!("{silent} has stopped answering"))))
            })
        };
        let done = self.shared.unless_told(limited).await;
        if let Some(Ok(_)) = done {
            self.attempt_since = Instant::now();
        }
        done
    }

    fn pause(&self, pause: Duration) {
        let mut command = self.shared.command.clone();
        self.shared.handle.block_on(async {
            // Whichever it was is asked afterwards.
            let _ = tokio::time::timeout(pause, command.wait_for(|command| *command != Command::Run)).await;
        });
    }
}
