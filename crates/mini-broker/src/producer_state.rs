//! What a partition remembers of its idempotent producers: epochs, and the sequences of their last batches (KIP-98).

use std::collections::{BTreeMap, VecDeque};

/// Batches remembered per producer: as many as may be in flight (KAFKA-5494).
const REMEMBERED_BATCHES: usize = 5;

/// The epoch of a producer that has none.
const NO_EPOCH: i16 = -1;

/// With fewer producers than this, the expired ones are left where they are.
const MIN_EXPIRE: usize = 64;

/// A producer's stamp on a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
}

impl Stamp {
    fn last_sequence(&self) -> i32 {
        sequence_plus(self.base_sequence, self.record_count - 1)
    }
}

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AppendedBatch {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: i64,
    pub(crate) timestamp: i64,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Append it.
    Append,
    /// It was appended before: answer with what it got then.
    Duplicate(AppendedBatch),
    /// Refused: an older instance of the producer.
    InvalidProducerEpoch { current_epoch: i16 },
    /// Refused: a batch before it is missing.
    OutOfOrderSequence { last_sequence: Option<i32> },
}

/// One producer as a partition knows it.
#[derive(Clone, Debug)]
pub(crate) struct Producer {
    pub(crate) producer_epoch: i16,
    pub(crate) last_timestamp: i64,
    batches: VecDeque<AppendedBatch>,
}

impl Producer {
    /// The timestamp of the last batch appended under the current epoch.
    pub(crate) fn last_batch_timestamp(&self) -> Option<i64> {
        self.batches.back().map(|batch| batch.timestamp)
    }

    /// The last sequence number appended under the current epoch.
    pub(crate) fn last_sequence(&self) -> Option<i32> {
        self.batches.back().map(|batch| batch.last_sequence)
    }
}

/// All producers of a partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: BTreeMap<i64, Producer>,
    /// The number of producers from which on it is worth looking for expired ones.
    expire_from: usize,
}

impl Producers {
    /// Judges a batch before it is appended. A producer that is not known may begin anywhere: its state may have
    /// expired (KIP-360).
    pub(crate) fn check(&self, stamp: Stamp, now_ms: i64, expiration_ms: i64) -> Verdict {
        let Some(producer) = self.live(stamp.producer_id, now_ms, expiration_ms) else {
            return if stamp.producer_epoch < NO_EPOCH {
                Verdict::InvalidProducerEpoch { current_epoch: NO_EPOCH }
            } else {
                Verdict::Append
            };
        };
        if stamp.producer_epoch == producer.producer_epoch {
            let last_sequence = stamp.last_sequence();
            let duplicate = producer.batches.iter().find(|batch| {
                batch.first_sequence == stamp.base_sequence && batch.last_sequence == last_sequence
            });
            if let Some(duplicate) = duplicate {
                return Verdict::Duplicate(*duplicate);
            }
        }
        if stamp.producer_epoch < producer.producer_epoch {
            return Verdict::InvalidProducerEpoch { current_epoch: producer.producer_epoch };
        }
        // A producer id without an epoch says nothing about what may follow.
        if producer.producer_epoch < 0 {
            return Verdict::Append;
        }
        let in_sequence = if stamp.producer_epoch == producer.producer_epoch {
            producer.last_sequence().is_none_or(|last| stamp.base_sequence == sequence_plus(last, 1))
        } else {
            stamp.base_sequence == 0
        };
        if in_sequence {
            Verdict::Append
        } else {
            Verdict::OutOfOrderSequence { last_sequence: producer.last_sequence() }
        }
    }

    /// Remembers a batch that was appended.
    pub(crate) fn appended(&mut self, stamp: Stamp, base_offset: i64, timestamp: i64, now_ms: i64) {
        let producer = self.by_id.entry(stamp.producer_id).or_insert_with(|| Producer {
            producer_epoch: stamp.producer_epoch,
            last_timestamp: now_ms,
            batches: VecDeque::with_capacity(1),
        });
        if producer.producer_epoch != stamp.producer_epoch {
            producer.producer_epoch = stamp.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.last_timestamp = now_ms;
        producer.batches.push_back(AppendedBatch {
            first_sequence: stamp.base_sequence,
            last_sequence: stamp.last_sequence(),
            base_offset,
            timestamp,
        });
    }

    /// The producers that have not expired, by id.
    pub(crate) fn active(&self, now_ms: i64, expiration_ms: i64) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id
            .iter()
            .filter(move |(_, producer)| now_ms - producer.last_timestamp < expiration_ms)
            .map(|(id, producer)| (*id, producer))
    }

    /// Forgets the producers that have been silent for `expiration_ms`. Called before each append, it looks only when
    /// their number has doubled.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        if self.by_id.len() < self.expire_from.max(MIN_EXPIRE) {
            return;
        }
        self.by_id.retain(|_, producer| now_ms - producer.last_timestamp < expiration_ms);
        self.expire_from = 2 * self.by_id.len();
    }

    fn live(&self, producer_id: i64, now_ms: i64, expiration_ms: i64) -> Option<&Producer> {
        self.by_id.get(&producer_id).filter(|producer| now_ms - producer.last_timestamp < expiration_ms)
    }
}

/// Sequence numbers wrap from the largest `i32` to 0.
fn sequence_plus(sequence: i32, increment: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(increment);
    i32::try_from(sum.rem_euclid(1 << 31)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: i16, base_sequence: i32, record_count: i32) -> Stamp {
        Stamp { producer_id: 7, producer_epoch: epoch, base_sequence, record_count }
    }

    /// Appends the accepted ones of `batches` and returns the verdicts.
    fn run(batches: &[Stamp]) -> Vec<Verdict> {
        let mut producers = Producers::default();
        let mut offset = 0;
        batches
            .iter()
            .map(|batch| {
                let verdict = producers.check(*batch, 0, 1000);
                if verdict == Verdict::Append {
                    producers.appended(*batch, offset, 0, 0);
                    offset += i64::from(batch.record_count);
                }
                verdict
            })
            .collect()
    }

    #[test]
    fn sequences_follow_each_other() {
        use Verdict::{Append, InvalidProducerEpoch, OutOfOrderSequence};
        let gap = |last| OutOfOrderSequence { last_sequence: Some(last) };
        let cases: &[(&str, &[Stamp], &[Verdict])] = &[
            ("in order", &[stamp(0, 0, 3), stamp(0, 3, 1)], &[Append, Append]),
            ("a gap", &[stamp(0, 0, 3), stamp(0, 4, 1)], &[Append, gap(2)]),
            ("unknown producers begin anywhere", &[stamp(0, 9, 1)], &[Append]),
            ("a new epoch begins at 0", &[stamp(0, 0, 3), stamp(1, 0, 1)], &[Append, Append]),
            ("a new epoch begins nowhere else", &[stamp(0, 0, 3), stamp(1, 3, 1)], &[Append, gap(2)]),
            (
                "an older epoch is fenced",
                &[stamp(2, 0, 3), stamp(1, 3, 1)],
                &[Append, InvalidProducerEpoch { current_epoch: 2 }],
            ),
            (
                "no epoch, no order",
                &[stamp(-1, 0, 1), stamp(0, 5, 1), stamp(0, 6, 1)],
                &[Append, Append, Append],
            ),
            ("an impossible epoch", &[stamp(-2, 0, 1)], &[InvalidProducerEpoch { current_epoch: -1 }]),
            ("sequences wrap", &[stamp(0, i32::MAX - 1, 2), stamp(0, 0, 1)], &[Append, Append]),
            ("a batch may wrap inside", &[stamp(0, i32::MAX, 2), stamp(0, 1, 1)], &[Append, Append]),
        ];
        for (name, batches, verdicts) in cases {
            assert_eq!(run(batches), *verdicts, "{name}");
        }
    }

    #[test]
    fn the_last_five_batches_are_recognised_as_duplicates() {
        let mut producers = Producers::default();
        for sequence in 0..6 {
            producers.appended(stamp(0, sequence, 1), i64::from(sequence) + 100, 0, 0);
        }
        for sequence in 1..6 {
            let Verdict::Duplicate(batch) = producers.check(stamp(0, sequence, 1), 0, 1000) else {
                panic!("sequence {sequence} is a duplicate");
            };
            assert_eq!(batch.base_offset, i64::from(sequence) + 100);
        }
        let forgotten = producers.check(stamp(0, 0, 1), 0, 1000);
        assert_eq!(forgotten, Verdict::OutOfOrderSequence { last_sequence: Some(5) });
    }

    #[test]
    fn a_batch_of_another_length_is_no_duplicate() {
        assert_eq!(
            run(&[stamp(0, 0, 3), stamp(0, 0, 2)])[1],
            Verdict::OutOfOrderSequence { last_sequence: Some(2) }
        );
    }

    #[test]
    fn silent_producers_are_forgotten() {
        let mut producers = Producers::default();
        producers.appended(stamp(3, 0, 1), 0, 0, 0);
        assert_eq!(producers.active(999, 1000).count(), 1);
        assert_eq!(producers.active(1000, 1000).count(), 0);
        assert_eq!(producers.check(stamp(0, 5, 1), 1000, 1000), Verdict::Append);
        for producer_id in 0..2 * MIN_EXPIRE as i64 {
            let stamp = Stamp { producer_id, ..stamp(0, 0, 1) };
            producers.expire(1000 + producer_id, 1000);
            producers.appended(stamp, 0, 0, 1000 + producer_id);
        }
        producers.expire(5000, 1000);
        assert!(producers.by_id.is_empty());
    }
}
