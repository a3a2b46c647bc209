//! Trying again, with a pause, until an overall deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::Client;
use crate::{
    backoff::Backoff,
    context::{GENERIC, METADATA},
    error::{Advice, Error, ErrorKind, Result},
};

/// The state of an operation that is tried several times.
///
/// ```no_run
/// # async fn example(client: kcopy_client::Client) -> kcopy_client::Result<()> {
/// use kcopy_client::{Target, wire::messages::ListGroupsRequest};
///
/// let mut retry = client.retry("listing groups");
/// let groups = loop {
///     let request = ListGroupsRequest::default();
///     match retry.limit(client.request(Target::Any, &request)).await {
///         Ok(response) => break response.groups,
///         Err(error) => retry.after(error, &[]).await?,
///     }
/// };
/// # let _ = groups; Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Retry<'a> {
    client: &'a Client,
    what: &'a str,
    timeout: Duration,
    deadline: Instant,
    backoff: Backoff,
    /// How the attempt before this one failed, and when.
    last_error: Option<(Error, Instant)>,
}

impl<'a> Retry<'a> {
    pub(super) fn new(client: &'a Client, what: &'a str, timeout: Duration) -> Retry<'a> {
        let config = client.config();
        let backoff = Backoff::new(config.retry_backoff, config.retry_backoff_max);
        let deadline = Instant::now() + timeout;
        Retry { client, what, timeout, deadline, backoff, last_error: None }
    }

    /// When the operation ends at the latest.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ends an attempt at the overall deadline. That error names no broker: only the caller knows whom it asked.
    ///
    /// # Errors
    /// Those of the attempt, and the deadline.
    pub async fn limit<T>(&self, attempt: impl Future<Output = Result<T>>) -> Result<T> {
        match timeout_at(self.deadline, attempt).await {
            Ok(result) => result,
            Err(_) => Err(match &self.last_error {
                Some((error, at)) => self.unanswered_since(error, *at),
                None => self.unanswered(),
            }),
        }
    }

    /// After a failed attempt: pauses, and does what the error advises. `topics` are those whose
    /// metadata the next attempt needs.
    ///
    /// # Errors
    /// `error`, if another attempt makes no sense or no time is left for it.
    pub async fn after(&mut self, error: Error, topics: &[&str]) -> Result<()> {
        let advice = error.advice();
        self.pause(error).await?;
        match advice {
            Advice::FindCoordinator => self.client.forget_coordinators(),
            Advice::RefreshMetadata | Advice::Reconnect => {
                if advice == Advice::Reconnect {
                    // A coordinator on a broker that is gone will be found elsewhere.
                    self.client.forget_coordinators();
                }
                let generation = self.client.metadata().generation;
                let refresh = timeout_at(self.deadline, self.client.refresh_metadata(topics, generation));
                if let Ok(Err(error)) = refresh.await {
                    // The attempt that follows will say more about what it lacks.
                    tracing::debug!(target: METADATA, %error, "the metadata could not be refreshed");
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// As [`Retry::after`], but only pauses.
    ///
    /// # Errors
    /// `error`, if another attempt makes no sense or no time is left for it.
    pub async fn pause(&mut self, error: Error) -> Result<()> {
        let pause = self.backoff.next_pause();
        let next = Instant::now() + pause;
        if !error.is_retriable() {
            return Err(error);
        }
        if next >= self.deadline {
            let ended = error.kind() == ErrorKind::Timeout && self.backoff.attempts() == 1;
            return Err(if ended { error } else { error.given_up(&self.given_up()) });
        }
        let attempt = self.backoff.attempts();
        tracing::debug!(target: GENERIC, what = self.what, attempt, %error, "trying again");
        sleep_until(next).await;
        self.last_error = Some((error, Instant::now()));
        Ok(())
    }

    fn given_up(&self) -> String {
        format!("{} did not succeed within {} s", self.what, self.timeout.as_secs_f64())
    }

    /// The first attempt was still under way.
    pub(super) fn unanswered(&self) -> Error {
        Error::new(ErrorKind::Timeout, "no answer").given_up(&self.given_up())
    }

    /// An attempt was under way that may have waited for nothing but its turn to connect. For longer than that it was
    /// without an answer, and how the one before it had failed is not the reason any more.
    fn unanswered_since(&self, error: &Error, at: Instant) -> Error {
        let silence = at.elapsed();
        let error = error.clone();
        let error = if silence <= 2 * self.client.config().reconnect_backoff_max {
            error
        } else {
            error.prefixed(&format!("no answer for {:.1} s, before that", silence.as_secs_f64()))
        };
        error.given_up(&self.given_up())
    }
}
