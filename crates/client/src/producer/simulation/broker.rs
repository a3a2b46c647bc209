//! A model of what leaders do with batches of idempotent producers (`ProducerAppendInfo` and
//! `ProducerStateEntry` of Apache Kafka 4).

use std::collections::{HashMap, VecDeque};

use kcopy_wire::{
    ErrorCode,
    records::{Batch, Batches, RecordLimits},
};

use super::super::{
    batch::{Placement, advance_sequence},
    error::RecordError,
    machine::Send,
    partition::Answer,
};

/// What may go wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    /// How often a batch meets a retriable error.
    pub(super) retriable: f64,
    /// Batches of more records are too large.
    pub(super) record_limit: u64,
    /// How many records are refused for good, with their batches.
    pub(super) poison: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Faults { retriable: 0.0, record_limit: u64::MAX, poison: 0.0 }
    }
}

#[derive(Debug, Default)]
struct Producer {
    epoch: i16,
    /// First and last sequence number and base offset of the last five.
    batches: VecDeque<(i32, i32, i64)>,
}

#[derive(Debug, Default)]
struct Partition {
    leader: usize,
    log: Vec<u64>,
    producers: HashMap<i64, Producer>,
}

#[derive(Debug)]
pub(super) struct Brokers {
    count: usize,
    partitions: Vec<Partition>,
    pub(super) faults: Faults,
}

impl Brokers {
    pub(super) fn new(count: usize, partitions: usize, faults: Faults) -> Self {
        let partitions = (0..partitions).map(|p| Partition { leader: p % count, ..Partition::default() });
        Brokers { count, partitions: partitions.collect(), faults }
    }

    pub(super) fn leader(&self, partition: usize) -> Option<i32> {
        Some(self.partitions[partition].leader as i32)
    }

    pub(super) fn log(&self, partition: usize) -> &[u64] {
        &self.partitions[partition].log
    }

    pub(super) fn move_leaders(&mut self, rng: &mut fastrand::Rng) {
        for partition in &mut self.partitions {
            partition.leader = rng.usize(0..self.count);
        }
    }

    pub(super) fn produce(&mut self, broker: usize, send: &Send, rng: &mut fastrand::Rng) -> Vec<Answer> {
        send.items
            .iter()
            .map(|item| {
                let partition = &mut self.partitions[item.partition as usize];
                let mut batches = Batches::new(item.data.clone());
                let batch = batches.next().unwrap().unwrap();
                assert!(batches.next().is_none(), "a request has one batch per partition");
                batch.verify_crc().unwrap();
                partition.produce(broker, &batch, self.faults, rng)
            })
            .collect()
    }
}

fn refused(code: ErrorCode) -> Answer {
    Answer::Refused { code, message: None, record_errors: Default::default() }
}

impl Partition {
    fn produce(&mut self, broker: usize, batch: &Batch, faults: Faults, rng: &mut fastrand::Rng) -> Answer {
        if broker != self.leader {
            return refused(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if rng.f64() < faults.retriable / 2.0 {
            return refused(ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        if batch.record_count() as u64 > faults.record_limit {
            return refused(ErrorCode::MESSAGE_TOO_LARGE);
        }
        let records = values(batch);
        if records.iter().any(|record| fastrand::Rng::with_seed(*record).f64() < faults.poison) {
            return Answer::Refused {
                code: ErrorCode::INVALID_RECORD,
                message: Some("refused".to_owned()),
                record_errors: [RecordError { batch_index: 0, message: Some("poison".to_owned()) }].into(),
            };
        }
        let offset = match self.check_sequence(batch) {
            Ok(offset) => offset,
            Err(code) => return refused(code),
        };
        if rng.f64() < faults.retriable / 2.0 {
            let after_append = [
                ErrorCode::REQUEST_TIMED_OUT,
                ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ];
            return refused(after_append[rng.usize(0..3)]);
        }
        Answer::Acknowledged(Placement { base_offset: Some(offset), log_append_time: None })
    }

    /// Appends the batch unless the log has it; its offset.
    fn check_sequence(&mut self, batch: &Batch) -> Result<i64, ErrorCode> {
        let base_offset = self.log.len() as i64;
        if let Some(id) = batch.producer_id() {
            let (epoch, first) = (batch.producer_epoch(), batch.base_sequence());
            let last = advance_sequence(first, batch.record_count() as u32 - 1);
            // A producer without a state may begin with any sequence number.
            let producer =
                self.producers.entry(id).or_insert_with(|| Producer { epoch, ..Producer::default() });
            if epoch < producer.epoch {
                return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
            }
            if epoch > producer.epoch {
                if first != 0 {
                    return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
                }
                *producer = Producer { epoch, ..Producer::default() };
            }
            if let Some((_, _, offset)) = producer.batches.iter().find(|b| (b.0, b.1) == (first, last)) {
                return Ok(*offset);
            }
            if let Some((_, previous, _)) = producer.batches.back()
                && advance_sequence(*previous, 1) != first
            {
                return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
            }
            producer.batches.push_back((first, last, base_offset));
            if producer.batches.len() > 5 {
                producer.batches.pop_front();
            }
        }
        self.log.extend(values(batch));
        Ok(base_offset)
    }
}

fn values(batch: &Batch) -> Vec<u64> {
    let open = batch.open(RecordLimits::default()).unwrap();
    open.records()
        .map(|record| u64::from_be_bytes(record.unwrap().value.unwrap().try_into().unwrap()))
        .collect()
}
