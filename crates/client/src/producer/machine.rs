//! All partitions of a producer: which batches go into which request, and what its answer means.
//!
//! No I/O, clock or randomness: `handle_*` take what happened and when, `poll_*` say what to do.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    mem,
    sync::Arc,
};

use bytes::Bytes;
use kcopy_wire::partitioner::Spread;
use tokio::time::Instant;

use super::{
    batch::{Identity, Output, PartitionKey, SealedBatch},
    partition::{Answer, PartitionQueue, Settings},
};
use crate::error::Error;

/// A produce request to be sent.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) request: u64,
    pub(super) broker: i32,
    /// At most one batch per partition, as brokers demand.
    pub(super) items: Vec<SendItem>,
}

/// One batch of a request.
#[derive(Debug)]
pub(super) struct SendItem {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) data: Bytes,
}

#[derive(Debug)]
struct InFlight {
    broker: i32,
    items: Vec<(PartitionKey, u64)>,
}

#[derive(Debug, Default)]
struct Broker {
    in_flight: usize,
    throttled_until: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    partitions: Vec<PartitionQueue>,
    /// Those that have batches.
    active: BTreeSet<PartitionKey>,
    brokers: BTreeMap<i32, Broker>,
    requests: HashMap<u64, InFlight>,
    next_request: u64,
    identity: Option<Identity>,
    outputs: VecDeque<Output>,
    /// A batch has been acknowledged since this was last asked.
    acknowledged: bool,
    /// Where the last request ended, so that each partition has its turn.
    turn: PartitionKey,
    jitter: Spread,
}

impl Machine {
    pub(super) fn new(settings: Settings, seed: u64) -> Self {
        Machine {
            settings,
            partitions: Vec::new(),
            active: BTreeSet::new(),
            brokers: BTreeMap::new(),
            requests: HashMap::new(),
            next_request: 0,
            identity: None,
            outputs: VecDeque::new(),
            acknowledged: false,
            turn: PartitionKey(0),
            jitter: Spread::new(seed),
        }
    }

    /// Adds a partition; keys count from 0.
    pub(super) fn add_partition(&mut self, topic: &Arc<str>, partition: i32) -> PartitionKey {
        let key = PartitionKey(self.partitions.len() as u32);
        self.partitions.push(PartitionQueue::new(key, topic.clone(), partition));
        key
    }

    pub(super) fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    pub(super) fn topic_partition(&self, key: PartitionKey) -> (&Arc<str>, i32) {
        let queue = &self.partitions[key.0 as usize];
        (queue.topic(), queue.partition())
    }

    /// Whether nothing is left to be sent or answered.
    pub(super) fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Whether a batch has been acknowledged since this was last asked.
    pub(super) fn take_acknowledged(&mut self) -> bool {
        mem::take(&mut self.acknowledged)
    }

    /// Why something that waits has not been delivered yet.
    pub(super) fn last_error(&self) -> Option<&Error> {
        self.active.iter().find_map(|key| self.partitions[key.0 as usize].last_error())
    }

    /// Whether one more batch of this partition would be sent at once, or is needed to find out where to.
    pub(super) fn has_room(&self, now: Instant, key: PartitionKey) -> bool {
        self.partitions.get(key.0 as usize).is_none_or(|queue| queue.has_room(now, &self.settings))
    }

    pub(super) fn handle_batch(&mut self, key: PartitionKey, batch: SealedBatch) {
        let queue = &mut self.partitions[key.0 as usize];
        queue.push(batch);
        if let Some(identity) = self.identity {
            queue.set_identity(identity);
        }
        self.active.insert(key);
    }

    /// The final bytes of a batch that was handed over without, or why there are none.
    pub(super) fn handle_data(
        &mut self,
        now: Instant,
        key: PartitionKey,
        number: u64,
        data: Result<SealedBatch, Error>,
    ) {
        let outputs = self.partitions[key.0 as usize].handle_data(number, data);
        self.after(now, key, outputs);
    }

    /// A producer id came.
    pub(super) fn handle_identity(&mut self, identity: Identity) {
        self.identity = Some(identity);
        for key in &self.active {
            self.partitions[key.0 as usize].set_identity(identity);
        }
    }

    /// A producer id could not be had: what to report should the batches that need it expire.
    pub(super) fn handle_identity_error(&mut self, error: &Error) {
        for key in &self.active {
            self.partitions[key.0 as usize].note_error(error.clone());
        }
    }

    /// The topic was looked up: who leads the partition, if anyone does.
    pub(super) fn handle_leader(&mut self, key: PartitionKey, leader: Option<i32>) {
        self.partitions[key.0 as usize].handle_leader(leader);
    }

    /// The topic was looked up in vain: what to report should its batches expire.
    pub(super) fn handle_lookup_error(&mut self, key: PartitionKey, error: &Error) {
        self.partitions[key.0 as usize].note_error(error.clone());
    }

    /// The batches of this partition cannot be delivered.
    pub(super) fn handle_partition_error(&mut self, now: Instant, key: PartitionKey, error: &Error) {
        let outputs = self.partitions[key.0 as usize].abort(error);
        self.after(now, key, outputs);
    }

    /// Nothing more can be delivered.
    pub(super) fn handle_failure(&mut self, now: Instant, error: &Error) {
        for key in self.active.iter().copied().collect::<Vec<_>>() {
            self.handle_partition_error(now, key, error);
        }
    }

    /// The answers to a request, in the order of its items; an item without one counts as lost.
    pub(super) fn handle_answers(&mut self, now: Instant, request: u64, answers: Vec<Answer>) {
        let Some(in_flight) = self.requests.remove(&request) else { return };
        if let Some(broker) = self.brokers.get_mut(&in_flight.broker) {
            broker.in_flight -= 1;
        }
        let mut answers = answers.into_iter();
        for (key, number) in in_flight.items {
            let answer = answers.next().unwrap_or_else(|| Answer::Lost {
                sent: true,
                error: Error::protocol("the broker's answer leaves out this partition"),
            });
            self.acknowledged |= answer.is_acknowledgement();
            let outputs = self.partitions[key.0 as usize].handle_answer(number, answer, &self.settings);
            self.after(now, key, outputs);
        }
    }

    /// The broker wants no further request before then (KIP-219).
    pub(super) fn handle_throttle(&mut self, broker: i32, until: Instant) {
        self.brokers.entry(broker).or_default().throttled_until = Some(until);
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for key in self.active.iter().copied().collect::<Vec<_>>() {
            let queue = &mut self.partitions[key.0 as usize];
            queue.handle_timeout(now);
            let outputs = queue.expire(now);
            self.after(now, key, outputs);
        }
        for broker in self.brokers.values_mut() {
            broker.throttled_until = broker.throttled_until.filter(|until| *until > now);
        }
    }

    /// When [`Machine::handle_timeout`] is to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let partitions = self.active.iter().filter_map(|key| self.partitions[key.0 as usize].next_timeout());
        let brokers = self.brokers.values().filter_map(|broker| broker.throttled_until);
        partitions.chain(brokers).min()
    }

    /// Whether a producer id is to be asked for.
    pub(super) fn poll_identity(&mut self) -> bool {
        if !self.settings.idempotent {
            return false;
        }
        let wanted = self.active.iter().any(|key| self.partitions[key.0 as usize].needs_identity());
        if wanted {
            // A partition that has none although there is one has used up its epochs.
            self.identity = None;
        }
        wanted
    }

    /// Partitions whose leader is to be looked up.
    pub(super) fn poll_leaders(&self) -> impl Iterator<Item = PartitionKey> {
        self.active.iter().copied().filter(|key| self.partitions[key.0 as usize].needs_leader())
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next request to send.
    pub(super) fn poll_send(&mut self, now: Instant) -> Option<Send> {
        let start = self.turn;
        let mut broker = None;
        let mut bytes = 0;
        let mut chosen = Vec::new();
        for key in self.active.range(start..).chain(self.active.range(..start)).copied() {
            let queue = &self.partitions[key.0 as usize];
            let Some(leader) = queue.leader() else { continue };
            if broker.is_some_and(|broker| broker != leader)
                || (broker.is_none() && !self.accepts(leader, now))
            {
                continue;
            }
            let Some(index) = queue.next_to_send(now, &self.settings) else { continue };
            let size = queue.size_of(index);
            if !chosen.is_empty() && bytes + size > self.settings.max_request_bytes {
                // It has the first place in the next request.
                self.turn = key;
                break;
            }
            bytes += size;
            broker = Some(leader);
            chosen.push((key, index));
            self.turn = PartitionKey(key.0.wrapping_add(1));
        }
        let broker = broker?;
        let mut in_flight = Vec::with_capacity(chosen.len());
        let mut items = Vec::with_capacity(chosen.len());
        for (key, index) in chosen {
            let queue = &mut self.partitions[key.0 as usize];
            match queue.send(index, &self.settings) {
                Ok(batch) => {
                    in_flight.push((key, batch.number));
                    let data = batch.data.clone().unwrap_or_default();
                    let (topic, partition) = (queue.topic().clone(), queue.partition());
                    items.push(SendItem { topic, partition, data });
                }
                Err(error) => {
                    let outputs = queue.abort(&error);
                    self.after(now, key, outputs);
                }
            }
        }
        if items.is_empty() {
            return self.poll_send(now);
        }
        let request = self.next_request;
        self.next_request += 1;
        self.brokers.entry(broker).or_default().in_flight += 1;
        self.requests.insert(request, InFlight { broker, items: in_flight });
        Some(Send { request, broker, items })
    }

    fn accepts(&self, broker: i32, now: Instant) -> bool {
        self.brokers.get(&broker).is_none_or(|broker| {
            broker.in_flight < self.settings.max_in_flight
                && broker.throttled_until.is_none_or(|until| until <= now)
        })
    }

    fn after(&mut self, now: Instant, key: PartitionKey, outputs: Vec<Output>) {
        self.outputs.extend(outputs);
        // 20 % more or less, as in Java (KIP-580).
        let jitter = 0.8 + f64::from(self.jitter.random(1001)) * 0.4 / 1000.0;
        let queue = &mut self.partitions[key.0 as usize];
        queue.settle(now, &self.settings, jitter);
        if queue.is_empty() {
            self.active.remove(&key);
        } else if let Some(identity) = self.identity {
            queue.set_identity(identity);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kcopy_wire::ErrorCode;

    use super::{
        super::{
            partition::Answer,
            simulation::{batch, settings},
        },
        *,
    };

    #[test]
    fn a_batch_that_the_broker_has_already_is_a_sign_of_life() {
        let now = Instant::now();
        let refused = |code| Answer::Refused { code, message: None, record_errors: Arc::default() };
        for (code, is_alive) in
            [(ErrorCode::DUPLICATE_SEQUENCE_NUMBER, true), (ErrorCode::NOT_ENOUGH_REPLICAS, false)]
        {
            let mut machine = Machine::new(settings(), 0);
            let key = machine.add_partition(&Arc::from("t"), 0);
            machine.handle_identity(Identity { producer_id: 7, producer_epoch: 0 });
            machine.handle_batch(key, batch(0, 0..1, now + Duration::from_secs(1)));
            machine.handle_leader(key, Some(1));
            let sent = machine.poll_send(now).unwrap();
            machine.handle_answers(now, sent.request, vec![refused(code)]);
            assert_eq!((machine.take_acknowledged(), machine.is_idle()), (is_alive, is_alive), "{code}");
        }
    }
}
