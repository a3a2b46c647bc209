//! The machines against a model of brokers that lose connections, move leaders and refuse batches.
//!
//! Whatever happens, each partition's log must hold every acknowledged record once, none twice, and all in
//! the order in which they were appended.

mod broker;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use kcopy_wire::{
    ErrorCode,
    records::{BatchBuilder, BatchOptions, Compression, Headers, ProducerStamp},
};
use proptest::prelude::*;
use tokio::time::Instant;

use self::broker::{Brokers, Faults};
use super::{
    batch::{Identity, Output, PartitionKey, Report, SealedBatch},
    machine::{Machine, Send},
    partition::{Answer, Settings},
};
use crate::error::{Error, ErrorKind, Persisted};

/// What the caller was told of each record, by its number.
type Told = Vec<Option<Result<Option<i64>, Persisted>>>;

pub(super) fn settings() -> Settings {
    Settings {
        idempotent: true,
        max_in_flight: 5,
        max_request_bytes: 1 << 20,
        retries: u32::MAX,
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
    }
}

/// A batch whose values are the numbers of its records.
pub(super) fn batch(number: u64, records: std::ops::Range<u64>, deadline: Instant) -> SealedBatch {
    let mut builder = BatchBuilder::new(BatchOptions::new(Compression::None));
    for record in records.clone() {
        builder.append(0, None, Some(&record.to_be_bytes()), Headers::EMPTY).unwrap();
    }
    let record_count = (records.end - records.start) as u32;
    SealedBatch {
        number,
        data: Some(builder.finish(ProducerStamp::NONE).unwrap()),
        stamp: None,
        record_count,
        deadline,
        charge: 100,
        report: Some(Report { number, base_index: records.start, record_count, acknowledgement: None }),
    }
}

/// A producer's machine and brokers, with connections between them that can be cut.
struct World {
    now: Instant,
    rng: fastrand::Rng,
    machine: Machine,
    brokers: Brokers,
    /// Per broker: requests that it has not seen, and answers that the producer has not seen.
    requests: Vec<VecDeque<Send>>,
    answers: Vec<VecDeque<(u64, Vec<Answer>)>>,
    /// Requests of cut connections that a broker may still find in its socket.
    zombies: Vec<(usize, Send)>,
    late_zombies: bool,
    /// Without sequence numbers, retries may write records again.
    repetitions: bool,
    identities: i64,
    told: Vec<Told>,
    charged: usize,
}

impl World {
    fn new(seed: u64, partitions: usize, settings: Settings, faults: Faults) -> World {
        let mut machine = Machine::new(settings, seed);
        let topic = Arc::from("t");
        for partition in 0..partitions {
            machine.add_partition(&topic, partition as i32);
        }
        World {
            now: Instant::now(),
            rng: fastrand::Rng::with_seed(seed),
            machine,
            brokers: Brokers::new(3, partitions, faults),
            requests: (0..3).map(|_| VecDeque::new()).collect(),
            answers: (0..3).map(|_| VecDeque::new()).collect(),
            zombies: Vec::new(),
            late_zombies: false,
            repetitions: false,
            identities: 0,
            told: vec![Vec::new(); partitions],
            charged: 0,
        }
    }

    fn produce(&mut self, partition: usize, number: u64, count: u64, timeout: Duration) {
        let told = &mut self.told[partition];
        let first = told.len() as u64;
        told.resize(told.len() + count as usize, None);
        let batch = batch(number, first..first + count, self.now + timeout);
        self.charged += batch.charge;
        self.machine.handle_batch(PartitionKey(partition as u32), batch);
    }

    /// Does what the machine asks for.
    fn drive(&mut self) {
        if self.machine.poll_identity() {
            self.identities += 1;
            self.machine.handle_identity(Identity { producer_id: self.identities, producer_epoch: 0 });
        }
        for key in self.machine.poll_leaders().collect::<Vec<_>>() {
            let leader = self.brokers.leader(key.0 as usize);
            self.machine.handle_leader(key, leader);
        }
        while let Some(send) = self.machine.poll_send(self.now) {
            assert!(!send.items.is_empty());
            self.requests[send.broker as usize].push_back(send);
        }
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Release { charge, .. } => self.charged -= charge,
                Output::Report { partition, report, result } => {
                    let told = &mut self.told[partition.0 as usize];
                    for i in 0..u64::from(report.record_count) {
                        let told = &mut told[(report.base_index + i) as usize];
                        assert!(told.is_none(), "a record was reported twice");
                        *told = Some(match &result {
                            Ok(placement) => Ok(placement.base_offset.map(|offset| offset + i as i64)),
                            Err(failure) => Err(failure.error.persisted()),
                        });
                    }
                }
            }
        }
    }

    fn process(&mut self, broker: usize) {
        if let Some(send) = self.requests[broker].pop_front() {
            let answers = self.brokers.produce(broker, &send, &mut self.rng);
            self.answers[broker].push_back((send.request, answers));
        }
    }

    fn deliver(&mut self, broker: usize) {
        if let Some((request, answers)) = self.answers[broker].pop_front() {
            self.machine.handle_answers(self.now, request, answers);
        }
    }

    /// The connection ends. The broker may have read some of what it had not answered, and may read more of
    /// it later.
    fn cut(&mut self, broker: usize) {
        let seen = self.rng.usize(0..=self.requests[broker].len());
        for send in std::mem::take(&mut self.answers[broker]) {
            self.lose(send.0);
        }
        for (position, send) in std::mem::take(&mut self.requests[broker]).into_iter().enumerate() {
            self.lose(send.request);
            if position < seen {
                self.brokers.produce(broker, &send, &mut self.rng);
            } else if self.late_zombies {
                self.zombies.push((broker, send));
            }
        }
    }

    fn lose(&mut self, request: u64) {
        let error = Error::new(ErrorKind::Disconnected, "cut");
        self.machine.handle_answers(self.now, request, vec![Answer::Lost { sent: true, error }; 40]);
    }

    /// One random thing happens.
    fn step(&mut self) {
        let broker = self.rng.usize(0..3);
        match self.rng.u8(0..100) {
            0..40 => self.process(broker),
            40..75 => self.deliver(broker),
            75..78 => self.cut(broker),
            78..80 => self.brokers.move_leaders(&mut self.rng),
            80..83 if !self.zombies.is_empty() => {
                let (broker, send) = self.zombies.remove(0);
                self.brokers.produce(broker, &send, &mut self.rng);
            }
            _ => {
                self.now += Duration::from_millis(self.rng.u64(1..300));
                self.machine.handle_timeout(self.now);
            }
        }
        self.drive();
    }

    /// No more faults: everything has to come to its end.
    fn heal(&mut self) {
        self.brokers.faults = Faults { record_limit: self.brokers.faults.record_limit, ..Faults::default() };
        for round in 0.. {
            assert!(round < 10_000, "the producer does not come to rest");
            if self.machine.is_idle() {
                break;
            }
            for broker in 0..3 {
                self.process(broker);
                self.deliver(broker);
            }
            self.now += Duration::from_millis(50);
            self.machine.handle_timeout(self.now);
            self.drive();
        }
        self.drive();
    }

    fn check(&self) {
        assert_eq!(self.charged, 0, "memory was not released");
        for (partition, told) in self.told.iter().enumerate() {
            let log = self.brokers.log(partition);
            let mut once = log.to_vec();
            if self.repetitions {
                let mut newest = None;
                once.retain(|record| newest < Some(*record) && newest.replace(*record) < Some(*record));
            }
            assert!(
                once.is_sorted_by(|a, b| a < b),
                "partition {partition} is out of order or has duplicates: {log:?}"
            );
            for (record, told) in told.iter().enumerate() {
                let offset = once.binary_search(&(record as u64)).ok().map(|offset| offset as i64);
                match told {
                    None => panic!("nothing was said of record {record} of partition {partition}"),
                    Some(Ok(told)) => {
                        assert!(offset.is_some(), "acknowledged record {record} of {partition} is missing");
                        assert!(
                            told.is_none() || *told == offset || self.repetitions,
                            "record {record}: {told:?}, {offset:?}"
                        );
                    }
                    Some(Err(Persisted::No)) => {
                        assert_eq!(offset, None, "record {record} of {partition} was said not to be written");
                    }
                    Some(Err(Persisted::Maybe)) => {}
                    Some(Err(Persisted::Yes)) => panic!("a failed record is never certain to be written"),
                }
            }
        }
    }

    fn run(&mut self, batches: u64, timeout: Duration) {
        for number in 0..batches {
            let partition = self.rng.usize(0..self.told.len());
            let count = self.rng.u64(1..6);
            self.produce(partition, number, count, timeout);
            self.drive();
            for _ in 0..self.rng.u8(0..12) {
                self.step();
            }
        }
        for _ in 0..300 {
            self.step();
        }
        self.heal();
        self.check();
    }
}

const NEVER: Duration = Duration::from_secs(1_000_000);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_written_once_and_in_order(seed: u64, partitions in 1usize..4, batches in 1u64..60) {
        let faults = Faults { retriable: 0.1, record_limit: u64::MAX, poison: 0.0 };
        let mut world = World::new(seed, partitions, settings(), faults);
        world.late_zombies = true;
        world.run(batches, NEVER);
        for told in world.told.iter().flatten() {
            prop_assert!(matches!(told, Some(Ok(_))));
        }
    }

    #[test]
    fn refused_and_split_batches_leave_no_gap(seed: u64, partitions in 1usize..4, batches in 1u64..60) {
        let faults = Faults { retriable: 0.1, record_limit: 3, poison: 0.1 };
        let mut world = World::new(seed, partitions, settings(), faults);
        world.late_zombies = true;
        world.run(batches, NEVER);
    }

    #[test]
    fn batches_that_expire_neither_repeat_nor_reorder(seed: u64, partitions in 1usize..4, batches in 1u64..60) {
        let faults = Faults { retriable: 0.3, record_limit: 4, poison: 0.05 };
        let mut world = World::new(seed, partitions, settings(), faults);
        world.run(batches, Duration::from_millis(700));
    }

    #[test]
    fn one_in_flight_keeps_order_without_sequence_numbers(seed: u64, batches in 1u64..40) {
        let settings = Settings { idempotent: false, max_in_flight: 1, ..settings() };
        let mut world = World::new(seed, 2, settings, Faults::default());
        world.repetitions = true;
        world.run(batches, NEVER);
    }
}

#[test]
fn used_up_epochs_lead_to_a_new_producer_id() {
    let mut world = World::new(1, 1, settings(), Faults { poison: 1.0, ..Faults::default() });
    world.identities = 1;
    world.machine.handle_identity(Identity { producer_id: 1, producer_epoch: i16::MAX - 1 });
    for number in 0..2 {
        world.produce(0, number, 1, NEVER);
        world.drive();
        world.process(0);
        world.deliver(0);
    }
    assert_eq!(world.identities, 1);
    world.brokers.faults.poison = 0.0;
    world.produce(0, 2, 1, NEVER);
    world.heal();
    world.check();
    assert_eq!(world.identities, 2);
    assert_eq!(world.brokers.log(0), [2]);
}

#[test]
fn a_refusal_without_retry_names_the_partition_and_the_code() {
    let mut world = World::new(1, 1, settings(), Faults { poison: 1.0, ..Faults::default() });
    world.produce(0, 0, 1, NEVER);
    world.machine.poll_identity();
    world.machine.handle_identity(Identity { producer_id: 1, producer_epoch: 0 });
    world.machine.handle_leader(PartitionKey(0), Some(0));
    let send = world.machine.poll_send(world.now).unwrap();
    let answers = world.brokers.produce(0, &send, &mut world.rng);
    world.machine.handle_answers(world.now, send.request, answers);
    let Some(Output::Report { result: Err(failure), .. }) = world.machine.poll_output() else { panic!() };
    assert_eq!(failure.error.code(), Some(ErrorCode::INVALID_RECORD));
    assert_eq!((failure.error.topic(), failure.error.partition()), (Some("t"), Some(0)));
    assert_eq!(failure.of_record(0).to_string(), "poison: INVALID_RECORD: refused (topic t [0])");
}

#[test]
fn a_batch_that_no_leader_takes_expires_with_the_reason() {
    let mut world = World::new(1, 1, settings(), Faults::default());
    world.produce(0, 0, 2, Duration::from_secs(1));
    world.machine.handle_lookup_error(PartitionKey(0), &Error::broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!(world.machine.poll_timeout(), Some(world.now + Duration::from_secs(1)));
    world.machine.handle_timeout(world.now + Duration::from_secs(1));
    let Some(Output::Report { result: Err(failure), .. }) = world.machine.poll_output() else { panic!() };
    assert_eq!(failure.error.kind(), ErrorKind::Timeout);
    assert_eq!(failure.error.persisted(), Persisted::No);
    assert_eq!(
        failure.error.to_string(),
        "not acknowledged within delivery.timeout.ms; the last failure was: UNKNOWN_TOPIC_OR_PARTITION: \
         there is no such topic or partition (topic t [0])"
    );
}

#[test]
fn several_batches_are_on_the_way_once_the_leader_has_proven_itself() {
    let mut world = World::new(1, 1, settings(), Faults::default());
    for number in 0..8 {
        world.produce(0, number, 2, NEVER);
    }
    world.drive();
    let on_the_way = |world: &World| world.requests.iter().map(VecDeque::len).sum::<usize>();
    assert_eq!(on_the_way(&world), 1);
    for broker in 0..3 {
        world.process(broker);
        world.deliver(broker);
    }
    world.drive();
    assert_eq!(on_the_way(&world), 5);
}

#[test]
fn one_request_carries_the_batches_of_many_partitions() {
    let mut world = World::new(1, 40, settings(), Faults::default());
    for partition in 0..40 {
        world.produce(partition, partition as u64, 1, NEVER);
    }
    world.drive();
    let requests: Vec<_> = world.requests.iter().flatten().collect();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests.iter().map(|send| send.items.len()).sum::<usize>(), 40);
}
