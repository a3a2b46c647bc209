//! Administration: topics, configurations, records, the cluster itself.

mod cluster;
mod configs;
mod records;
mod topics;

use std::time::Duration;

use kcopy_wire::{ApiKey, Request};

pub use self::{
    cluster::{ClusterDescription, ClusterListing, DescribedBroker},
    configs::{ConfigAlteration, ConfigChange, ConfigEntry, ConfigResource, ConfigSource, ConfigSynonym},
    records::{DeleteRecords, DeletedRecords},
    topics::{CreatedTopic, NewPartitions, NewTopic},
};
use crate::{
    client::{Client, Target},
    error::{Error, Result},
};

/// Administration of a cluster. Each function takes many things at once, and answers for each in the
/// same order; what failed for the time being is tried again until `operation_timeout`.
///
/// ```no_run
/// # async fn example(client: kcopy_client::Client) -> kcopy_client::Result<()> {
/// use kcopy_client::admin::NewTopic;
///
/// let topic = NewTopic::new("orders").partitions(3).replication_factor(1).config("cleanup.policy", "compact");
/// for created in client.admin().create_topics(&[topic]).await? {
///     println!("{}", created?.partitions.unwrap_or(3));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
    validate_only: bool,
}

impl Client {
    /// Administration of the cluster.
    pub fn admin(&self) -> Admin {
        Admin { client: self.clone(), validate_only: false }
    }
}

impl Admin {
    /// Only checks what would be done, where the broker can do that: creating topics and partitions,
    /// altering configurations. Everything else is an error.
    #[must_use]
    pub fn validate_only(mut self) -> Admin {
        self.validate_only = true;
        self
    }

    fn timeout_ms(&self) -> i32 {
        // The broker should give up first, and say so.
        let timeout = self.client.config().request_timeout.saturating_sub(Duration::from_millis(500));
        i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
    }

    fn refuse_validation(&self, what: &str) -> Result<()> {
        if self.validate_only {
            return Err(Error::invalid(format!("{what} cannot be validated without being done")));
        }
        Ok(())
    }

    /// Asks about `items`, and again about those that failed for the time being. `answers_of` turns an
    /// answer into one result per asked item, by its place among the asked.
    async fn ask<I, R: Request, T>(
        &self,
        what: &str,
        target: Target<'_>,
        items: &[I],
        request_for: impl Fn(&[&I], i16) -> Result<R>,
        answers_of: impl Fn(R::Response, &[&I]) -> Vec<Result<T>>,
    ) -> Result<Vec<Result<T>>> {
        let mut answers: Vec<Option<Result<T>>> = items.iter().map(|_| None).collect();
        let mut retry = self.client.retry(what);
        while !items.is_empty() {
            let open: Vec<usize> = (0..items.len())
                .filter(|at| match &answers[*at] {
                    None => true,
                    Some(Ok(_)) => false,
                    Some(Err(error)) => error.is_retriable(),
                })
                .collect();
            let asked: Vec<&I> = open.iter().map(|at| &items[*at]).collect();
            let mut broker = self.client.servers();
            let once = async {
                let connection = self.client.connection_noting(target, &mut broker).await?;
                let version = connection.version_of::<R>()?;
                let request = request_for(&asked, version)?;
                let response =
                    connection.send(&request, version, connection.request_timeout()).await?.await?;
                let context = |error: Error| {
                    error.with_api(R::API_KEY, Some(version)).with_broker(connection.broker_name())
                };
                let mut results = answers_of(response, &asked).into_iter();
                for at in &open {
                    let lost = || Err(Error::protocol("the answer leaves it out"));
                    answers[*at] = Some(results.next().unwrap_or_else(lost).map_err(context));
                }
                Ok(())
            };
            let failure = match retry.limit(once).await {
                Ok(()) => answers.iter().flatten().find_map(|answer| match answer {
                    Err(error) if error.is_retriable() => Some(error.clone()),
                    _ => None,
                }),
                Err(error) => Some(error.with_broker(broker)),
            };
            let Some(error) = failure else { break };
            if let Err(error) = retry.after(error, &[]).await {
                if answers.iter().any(Option::is_none) {
                    return Err(error);
                }
                // Out of time: each item keeps the reason that it got.
                break;
            }
        }
        let lost = || Err(Error::protocol("nothing was answered"));
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(lost)).collect())
    }

    /// Versions below which something cannot be asked for at all.
    fn needs(version: i16, least: i16, api: ApiKey, what: &str) -> Result<()> {
        if version >= least {
            return Ok(());
        }
        let message = format!("the broker is too old for {what}: it needs {} v{least}", api.name());
        Err(Error::new(crate::error::ErrorKind::UnsupportedVersion, message))
    }
}
