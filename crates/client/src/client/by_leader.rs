//! Asking many partitions, each at its leader, all leaders at once.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use kcopy_wire::{ErrorCode, Str};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{Client, Retry, Target};
use crate::{
    connection::Connection,
    error::{Error, ErrorKind, Result},
    metadata::Metadata,
};

/// A question about one partition.
pub(crate) trait AboutPartition: Clone + Send + 'static {
    fn topic(&self) -> &Str;
    fn partition(&self) -> i32;
}

/// A question to a leader: its place among all, and the leader epoch that is known, as requests have it. A question with
/// that epoch may only be answered by a leader of it: what a former one says may be long past.
pub(crate) type Asked<Q> = (usize, Q, i32);

/// What one leader said to the questions of these places.
pub(crate) type Answers<T> = Result<Vec<(usize, Result<T>)>>;

impl Client {
    /// Puts every question to the leader of its partition, again where that fails for the time being.
    /// A partition is asked about at most once per request. The answers have the order of the
    /// questions.
    pub(crate) async fn by_leader<Q, T, F, Fut>(
        &self,
        what: &str,
        questions: &[Q],
        ask: F,
    ) -> Result<Vec<Result<T>>>
    where
        Q: AboutPartition,
        T: Send + 'static,
        F: Fn(Connection, Vec<Asked<Q>>) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Answers<T>> + Send,
    {
        let mut answers: Vec<Option<Result<T>>> = questions.iter().map(|_| None).collect();
        let mut retry = self.retry(what);
        let started = Instant::now();
        loop {
            let open: Vec<usize> = (0..questions.len())
                .filter(|at| match &answers[*at] {
                    None => true,
                    Some(Ok(_)) => false,
                    Some(Err(error)) => error.is_retriable() && !self.is_unknown_for_good(error, started),
                })
                .collect();
            if open.is_empty() {
                break;
            }
            self.ask_once(questions, &open, &mut answers, &retry, ask.clone()).await;
            let failed = open.iter().copied().find(|at| !matches!(answers[*at], Some(Ok(_))));
            let Some(failed) = failed else { continue };
            let error = match &answers[failed] {
                Some(Err(error)) => error.clone(),
                _ => Error::new(ErrorKind::Timeout, "no answer"),
            };
            let retriable = error.is_retriable() && !self.is_unknown_for_good(&error, started);
            let mut topics: Vec<&str> = open.iter().map(|at| &**questions[*at].topic()).collect();
            topics.sort_unstable();
            topics.dedup();
            if retriable && retry.after(error.clone(), &topics).await.is_err() {
                for at in open {
                    let question = &questions[at];
                    answers[at].get_or_insert_with(|| {
                        Err(error.clone().with_partition(question.topic(), question.partition()))
                    });
                }
                break;
            }
        }
        let lost = || Err(Error::protocol("the broker left a partition out of its answer"));
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(lost)).collect())
    }

    /// A topic may be new and not known everywhere yet, but not for long.
    pub(crate) fn is_unknown_for_good(&self, error: &Error, since: Instant) -> bool {
        error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            && since.elapsed() >= self.config().unknown_topic_grace
    }

    /// Puts the open questions once. At the deadline what has no answer keeps the error that it has.
    async fn ask_once<Q, T, F, Fut>(
        &self,
        questions: &[Q],
        open: &[usize],
        answers: &mut [Option<Result<T>>],
        retry: &Retry<'_>,
        ask: F,
    ) where
        Q: AboutPartition,
        T: Send + 'static,
        F: Fn(Connection, Vec<Asked<Q>>) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Answers<T>> + Send,
    {
        let mut topics: Vec<&str> = open.iter().map(|at| &**questions[*at].topic()).collect();
        topics.sort_unstable();
        topics.dedup();
        let deadline = retry.deadline();
        let unanswered = |at: usize, broker: &str| {
            let (topic, partition) = (questions[at].topic(), questions[at].partition());
            Err(retry.unanswered().with_broker(broker).with_partition(topic, partition))
        };
        let metadata = match timeout_at(deadline, self.topics(&topics)).await {
            Ok(Ok(metadata)) => metadata,
            Ok(Err(error)) => {
                open.iter().for_each(|at| answers[*at] = Some(Err(error.clone())));
                return;
            }
            Err(_) => {
                let servers = self.servers();
                for &at in open {
                    answers[at].get_or_insert_with(|| unanswered(at, &servers));
                }
                return;
            }
        };
        // By leader, and by how many questions about the same partition came before: brokers refuse a
        // request that names a partition twice.
        let mut requests: BTreeMap<(i32, usize), Vec<Asked<Q>>> = BTreeMap::new();
        let mut seen: BTreeMap<(Str, i32), usize> = BTreeMap::new();
        for &at in open {
            let question = &questions[at];
            match leader_of(&metadata, question.topic(), question.partition()) {
                Ok((leader, epoch)) => {
                    let count = seen.entry((question.topic().clone(), question.partition())).or_default();
                    let asked = (at, question.clone(), epoch.unwrap_or(-1));
                    requests.entry((leader, *count)).or_default().push(asked);
                    *count += 1;
                }
                Err(error) => answers[at] = Some(Err(error)),
            }
        }
        let mut running = JoinSet::new();
        for ((leader, _), questions) in requests {
            let (client, ask) = (self.clone(), ask.clone());
            running.spawn(async move {
                let places: Vec<usize> = questions.iter().map(|(at, ..)| *at).collect();
                let mut broker = client.servers();
                let asked = async {
                    let target = Target::Broker(leader);
                    ask(client.connection_noting(target, &mut broker).await?, questions).await
                };
                let answers = timeout_at(deadline, asked).await;
                let answers = answers.map(|answers| {
                    let all_failed =
                        |error: Error| places.iter().map(|at| (*at, Err(error.clone()))).collect();
                    answers.unwrap_or_else(all_failed)
                });
                answers.map_err(|_| (places, broker))
            });
        }
        while let Some(joined) = running.join_next().await {
            match joined {
                Ok(Ok(answered)) => {
                    for (at, answer) in answered {
                        let question = &questions[at];
                        let name =
                            |error: Error| error.with_partition(question.topic(), question.partition());
                        answers[at] = Some(answer.map_err(name));
                    }
                }
                Ok(Err((places, broker))) => {
                    for at in places {
                        answers[at].get_or_insert_with(|| unanswered(at, &broker));
                    }
                }
                // It panicked, or the runtime ends: these stay open.
                Err(_) => {}
            }
        }
    }
}

/// The leader of a partition and the epoch in which it leads, as far as that is known, or why there is none.
pub(crate) fn leader_of(metadata: &Arc<Metadata>, topic: &Str, partition: i32) -> Result<(i32, Option<i32>)> {
    let name = |error: Error| error.with_partition(topic, partition);
    let unknown = || name(Error::broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    let topic = metadata.topic(topic).ok_or_else(unknown)?;
    if let Some(code) = topic.error {
        return Err(name(Error::broker(code)));
    }
    let partition = topic.partition(partition).ok_or_else(unknown)?;
    let none = || name(Error::broker(partition.error.unwrap_or(ErrorCode::LEADER_NOT_AVAILABLE)));
    Ok((partition.leader.ok_or_else(none)?, partition.leader_epoch))
}
