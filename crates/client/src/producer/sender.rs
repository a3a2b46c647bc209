//! The task that carries sealed batches to the brokers: the machine's hands, and nothing more.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, TryLockError, atomic::Ordering},
    time::Duration,
};

use kcopy_wire::{
    ApiKey, ErrorCode,
    messages::{InitProducerIdRequest, InitProducerIdResponse},
    records::Compression,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    accumulator::{Unfinished, lock},
    batch::{Identity, Output, PartitionKey, SealedBatch},
    config::ProducerConfig,
    connections::{Answered, BrokerTasks},
    handle::Shared,
    machine::Machine,
};
use crate::{
    Backoff, Client, Target,
    error::{Error, ErrorKind, Result},
};

/// So many batches are compressed at a time, or one for each processor: each has a codec's tables, several MiB with zstd.
const MAX_COMPRESSING: usize = 4;

/// The end of something that the sender had started.
enum Done {
    Identity(Result<Identity>),
    Topics(Vec<Arc<str>>, Result<()>),
    Compressed(PartitionKey, SealedBatch, Option<Error>),
}

pub(super) struct Sender {
    client: Client,
    config: Arc<ProducerConfig>,
    shared: Arc<Shared>,
    machine: Machine,
    brokers: BrokerTasks,
    answers: mpsc::Receiver<Answered>,
    tasks: JoinSet<Done>,
    /// How many batches are being compressed elsewhere, and may be.
    compressing: usize,
    max_compressing: usize,
    /// Per partition: the generation of the metadata that its leader was last read from.
    generations: Vec<u64>,
    topics: TopicLookups,
    identity: IdentityLookup,
    /// Why nothing can be delivered any more.
    failed: Option<Error>,
    /// When the next open batch has lingered long enough, or has to be given up.
    next_linger: Option<Instant>,
    refresh_at: Instant,
    /// Since when batches have waited without an acknowledgement of any.
    waiting_since: Option<Instant>,
}

struct TopicLookups {
    running: BTreeSet<Arc<str>>,
    backoff: Backoff,
    not_before: Option<Instant>,
}

struct IdentityLookup {
    /// One is asked for at once, so that it is there when the first batch is.
    wanted: bool,
    running: bool,
    backoff: Backoff,
    not_before: Option<Instant>,
}

/// Whatever ends the sender, even its runtime: nobody shall wait for what will not come.
impl Drop for Sender {
    fn drop(&mut self) {
        let now = Instant::now();
        let error = self.failed.take().unwrap_or_else(|| Error::closed("producer"));
        lock(&self.shared.queue).closed.get_or_insert_with(|| error.clone());
        self.take_news(now, true);
        self.machine.handle_failure(now, &error);
        self.report();
        lock(&self.shared.queue).ended = true;
        self.shared.tell_progress();
    }
}

impl Sender {
    pub(super) fn new(client: Client, config: Arc<ProducerConfig>, shared: Arc<Shared>, seed: u64) -> Self {
        let (brokers, answers) = BrokerTasks::new(client.clone(), config.clone());
        let backoff = || Backoff::new(config.retry_backoff, config.retry_backoff_max);
        Sender {
            machine: Machine::new(config.settings(), seed),
            brokers,
            answers,
            tasks: JoinSet::new(),
            compressing: 0,
            max_compressing: match config.compression {
                Compression::None => usize::MAX,
                _ => std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_COMPRESSING)),
            },
            generations: Vec::new(),
            topics: TopicLookups { running: BTreeSet::new(), backoff: backoff(), not_before: None },
            identity: IdentityLookup {
                wanted: config.idempotence,
                running: false,
                backoff: backoff(),
                not_before: None,
            },
            failed: None,
            next_linger: None,
            refresh_at: Instant::now() + client.config().metadata_max_age,
            waiting_since: None,
            client,
            config,
            shared,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            let closing = self.take_news(now, false);
            self.machine.handle_timeout(now);
            self.give_up_unreachable(now);
            if let Some(error) = &self.failed {
                self.machine.handle_failure(now, error);
            }
            self.look_up(now);
            let known = self.brokers.count().max(1);
            while let Some(send) = self.machine.poll_send(now) {
                if let Some(answered) = self.brokers.send(send) {
                    self.handle_answered(now, answered);
                }
            }
            let more = self.brokers.count().saturating_sub(known);
            if more > 0 {
                lock(&self.shared.queue).free_more(more.saturating_mul(self.config.bytes_under_way()));
                self.shared.tell_progress();
            }
            self.report();
            if closing && self.machine.is_idle() {
                return;
            }
            self.wait(now).await;
        }
    }

    async fn wait(&mut self, now: Instant) {
        let lookups = [self.topics.not_before, self.identity.not_before, self.unreachable_at()];
        let wake_at = [self.machine.poll_timeout(), self.next_linger, Some(self.refresh_at)]
            .into_iter()
            .chain(lookups)
            .flatten()
            .filter(|at| *at > now)
            .min()
            .unwrap_or(self.refresh_at);
        tokio::select! {
            biased;
            Some(answered) = self.answers.recv() => {
                let now = Instant::now();
                self.handle_answered(now, answered);
                while let Ok(answered) = self.answers.try_recv() {
                    self.handle_answered(now, answered);
                }
            }
            Some(done) = self.tasks.join_next() => {
                match done {
                    Ok(done) => self.handle_done(Instant::now(), done),
                    // It was cancelled or panicked: whatever it looked up is still missing.
                    Err(_) => {
                        self.identity.running = false;
                        self.topics.running.clear();
                    }
                }
            }
            () = self.shared.news.notified() => {}
            () = sleep_until(wake_at) => {}
        }
    }

    /// Takes in what appenders and handles have left, `all` of it or what has lingered long enough. Says whether
    /// the end is near.
    fn take_news(&mut self, now: Instant, all: bool) -> bool {
        let shared = self.shared.clone();
        // Whoever holds the lock now sees this when he lets go of it.
        shared.missed.store(true, Ordering::Release);
        let mut lingered = Vec::new();
        let mut open = match shared.open.try_lock() {
            Ok(open) => Some(open),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(open) = &mut open {
            shared.missed.store(false, Ordering::Release);
            if all || lock(&shared.queue).aborting {
                open.seal_all(&shared);
            }
            let machine = &self.machine;
            let most_large = self.max_compressing.saturating_sub(self.compressing);
            let (taken, next) =
                open.take_lingered(&shared, now, most_large, |key| machine.has_room(now, key));
            lingered = taken;
            self.next_linger = [next, open.next_deadline()].into_iter().flatten().min();
        }
        let mut queue = lock(&shared.queue);
        let sealed = mem::take(&mut queue.sealed);
        let new_partitions = mem::take(&mut queue.new_partitions);
        let (closing, aborting) = (queue.closing, queue.aborting);
        drop(queue);
        // Held until here: what is sealed from now on comes after what has lingered.
        drop(open);
        for (topic, partition) in new_partitions {
            self.machine.add_partition(&topic, partition);
            self.generations.push(0);
        }
        for (key, batch, error) in sealed {
            match error {
                None => self.machine.handle_batch(key, batch),
                Some(error) => self.handle_broken(now, key, batch, error),
            }
        }
        for (key, unfinished) in lingered {
            self.finish(now, key, unfinished);
        }
        if aborting && self.failed.is_none() {
            self.failed = Some(Error::closed("producer"));
        }
        closing || aborting
    }

    fn handle_broken(&mut self, now: Instant, key: PartitionKey, batch: SealedBatch, error: Error) {
        let number = batch.number;
        self.machine.handle_batch(key, batch);
        self.machine.handle_data(now, key, number, Err(error));
    }

    fn finish(&mut self, now: Instant, key: PartitionKey, unfinished: Unfinished) {
        if self.config.compression == Compression::None || !unfinished.is_large() {
            match unfinished.finish() {
                (batch, None) => self.machine.handle_batch(key, batch),
                (batch, Some(error)) => self.handle_broken(now, key, batch, error),
            }
        } else {
            let (unfinished, placeholder) = unfinished.with_placeholder();
            self.machine.handle_batch(key, placeholder);
            self.compressing += 1;
            self.tasks.spawn_blocking(move || {
                let (batch, error) = unfinished.finish();
                Done::Compressed(key, batch, error)
            });
        }
    }

    fn handle_answered(&mut self, now: Instant, answered: Answered) {
        if answered.throttle_ms > 0 {
            let until = now + Duration::from_millis(answered.throttle_ms.unsigned_abs().into());
            self.machine.handle_throttle(answered.broker, until);
        }
        self.machine.handle_answers(now, answered.request, answered.answers);
    }

    fn handle_done(&mut self, now: Instant, done: Done) {
        match done {
            Done::Identity(Ok(identity)) => {
                self.identity.running = false;
                self.identity.wanted = false;
                self.identity.backoff.reset();
                lock(&self.shared.queue).identity = Some(identity);
                self.machine.handle_identity(identity);
            }
            Done::Identity(Err(error)) => {
                self.identity.running = false;
                if error.is_retriable() {
                    tracing::debug!(%error, "no producer id yet");
                    self.identity.not_before = Some(now + self.identity.backoff.next_pause());
                    self.machine.handle_identity_error(&error);
                } else {
                    self.fail(now, error.prefixed("the producer cannot obtain a producer id"));
                }
            }
            Done::Topics(topics, result) => {
                for topic in &topics {
                    self.topics.running.remove(topic);
                }
                self.topics.not_before = Some(now + self.topics.backoff.next_pause());
                if let Err(error) = result {
                    tracing::debug!(%error, "the leaders could not be looked up");
                    for key in self.machine.poll_leaders().collect::<Vec<_>>() {
                        self.machine.handle_lookup_error(key, &error);
                    }
                }
            }
            Done::Compressed(key, batch, error) => {
                self.compressing -= 1;
                let number = batch.number;
                self.machine.handle_data(now, key, number, error.map_or(Ok(batch), Err));
            }
        }
    }

    /// Fails once nothing has been acknowledged for too long.
    fn give_up_unreachable(&mut self, now: Instant) {
        let acknowledged = self.machine.take_acknowledged();
        if self.machine.is_idle() {
            self.waiting_since = None;
        } else if acknowledged || self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
        if self.failed.is_some() || self.unreachable_at().is_none_or(|at| at > now) {
            return;
        }
        let seconds = self.config.unreachable_timeout.unwrap_or_default().as_secs_f64();
        let mut message = format!("nothing was acknowledged for {seconds} s");
        if let Some(last) = self.machine.last_error() {
            message = format!("{message}; the last failure was: {last}");
        }
        self.fail(now, Error::new(ErrorKind::Timeout, message));
    }

    fn unreachable_at(&self) -> Option<Instant> {
        Some(self.waiting_since? + self.config.unreachable_timeout?)
    }

    /// Nothing can be delivered from now on.
    fn fail(&mut self, now: Instant, error: Error) {
        tracing::debug!(%error, "the producer has failed");
        self.machine.handle_failure(now, &error);
        lock(&self.shared.queue).closed.get_or_insert_with(|| error.clone());
        self.failed.get_or_insert(error);
        self.shared.tell_progress();
    }

    /// Finds out, or starts to find out, what the machine does not know.
    fn look_up(&mut self, now: Instant) {
        if self.failed.is_some() {
            return;
        }
        self.look_up_leaders(now);
        self.identity.wanted |= self.machine.poll_identity();
        if self.identity.wanted && !self.identity.running && is_due(&mut self.identity.not_before, now) {
            self.identity.running = true;
            let client = self.client.clone();
            self.tasks.spawn(async move { Done::Identity(ask_identity(&client).await) });
        }
        if self.refresh_at <= now {
            self.refresh_at = now + self.client.config().metadata_max_age;
            let topics = (0..self.machine.partition_count() as u32)
                .map(|key| self.machine.topic_partition(PartitionKey(key)).0.clone())
                .collect::<BTreeSet<_>>();
            self.ask_topics(topics);
        }
    }

    fn look_up_leaders(&mut self, now: Instant) {
        let metadata = self.client.metadata();
        let mut outdated = BTreeSet::new();
        let mut newest = BTreeMap::new();
        for key in self.machine.poll_leaders().collect::<Vec<_>>() {
            let (topic, partition) = self.machine.topic_partition(key);
            let topic = topic.clone();
            let generation = *newest
                .entry(topic.clone())
                .or_insert_with(|| metadata.known_since(&topic).map(|(at, _)| at));
            let seen = &mut self.generations[key.0 as usize];
            let Some(generation) = generation.filter(|generation| generation > seen) else {
                outdated.insert(topic);
                continue;
            };
            *seen = generation;
            let known = metadata.topic(&topic);
            let place = known.and_then(|known| known.partition(partition));
            let leader = place.and_then(|place| place.leader);
            match known.and_then(|known| known.error).or(place.and_then(|place| place.error)) {
                Some(code) if leader.is_none() && !code.is_retriable() => {
                    let error = Error::broker(code).with_partition(&topic, partition);
                    self.machine.handle_partition_error(now, key, &error);
                }
                Some(code) if leader.is_none() => self.machine.handle_lookup_error(key, &Error::broker(code)),
                _ if leader.is_none() => {
                    let error = Error::broker(ErrorCode::LEADER_NOT_AVAILABLE);
                    self.machine.handle_lookup_error(key, &error);
                }
                _ => self.topics.backoff.reset(),
            }
            self.machine.handle_leader(key, leader);
            if leader.is_none() {
                outdated.insert(topic);
            }
        }
        self.topics.not_before = self.topics.not_before.filter(|at| *at > now);
        outdated.retain(|topic| !self.topics.running.contains(topic));
        if !outdated.is_empty() && self.topics.not_before.is_none() {
            self.ask_topics(outdated);
        }
    }

    fn ask_topics(&mut self, topics: BTreeSet<Arc<str>>) {
        if topics.is_empty() {
            return;
        }
        self.topics.running.extend(topics.iter().cloned());
        let client = self.client.clone();
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            let topics: Vec<Arc<str>> = topics.into_iter().collect();
            let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
            let result = client.refresh_metadata(&names, client.metadata().generation).await;
            let result = result.map(|metadata| {
                let counts = topics.iter().filter_map(|topic| {
                    let known = metadata.topic(topic)?;
                    Some((topic.clone(), known.partitions.len() as u32))
                });
                lock(&shared.queue).grown_topics.extend(counts);
            });
            Done::Topics(topics, result)
        });
    }

    /// Tells those who wait.
    fn report(&mut self) {
        let mut reported = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            reported.push(output);
        }
        if reported.is_empty() {
            return;
        }
        let mut has_failed = false;
        let mut queue = lock(&self.shared.queue);
        for output in reported {
            match output {
                Output::Release { charge, record_count, data } => {
                    queue.release(charge, record_count, data);
                }
                Output::Report { partition, report, result } => {
                    if let Err(failure) = &result {
                        let (topic, partition) = self.machine.topic_partition(partition);
                        let (base_index, count) = (report.base_index, report.record_count);
                        queue.failures.add(topic, partition, base_index, count, failure);
                        has_failed = true;
                    }
                    if let Some((acknowledgement, first)) = report.acknowledgement {
                        acknowledgement.settle(first, report.record_count, result);
                    }
                    queue.settled.settle(report.number, report.record_count);
                }
            }
        }
        drop(queue);
        self.shared.tell_progress();
        if has_failed {
            self.shared.failed.notify_waiters();
        }
    }
}

/// Whether a pause is over; forgets it then.
fn is_due(not_before: &mut Option<Instant>, now: Instant) -> bool {
    *not_before = not_before.filter(|at| *at > now);
    not_before.is_none()
}

async fn ask_identity(client: &Client) -> Result<Identity> {
    // The table's default is an empty transactional id, which brokers refuse.
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    identity_of(&client.request(Target::Any, &request).await?)
}

/// Without an id the broker would not look at sequences, and write a record twice that is sent twice.
fn identity_of(response: &InitProducerIdResponse) -> Result<Identity> {
    response.error_code.into_result().map_err(Error::broker)?;
    if response.producer_id < 0 || response.producer_epoch < 0 {
        let (id, epoch) = (response.producer_id, response.producer_epoch);
        let error = Error::protocol(format!("the answer has the producer id {id} with epoch {epoch}"));
        return Err(error.with_api(ApiKey::InitProducerId, None));
    }
    Ok(Identity { producer_id: response.producer_id, producer_epoch: response.producer_epoch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_that_is_none_is_refused() {
        let answer = |producer_id, producer_epoch, error_code| {
            identity_of(&InitProducerIdResponse {
                producer_id,
                producer_epoch,
                error_code,
                ..Default::default()
            })
        };
        assert_eq!(answer(0, 0, ErrorCode::NONE).unwrap(), Identity { producer_id: 0, producer_epoch: 0 });
        for (producer_id, producer_epoch) in [(-1, 0), (7, -1)] {
            let error = answer(producer_id, producer_epoch, ErrorCode::NONE).unwrap_err();
            assert!(error.message().contains("the answer has the producer id"), "{error}");
        }
        let busy = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
        assert_eq!(answer(-1, -1, busy).unwrap_err().code(), Some(busy));
    }
}
