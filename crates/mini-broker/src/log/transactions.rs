//! Which records nobody may read yet, because their transaction is open, and which never, because it was aborted.
//!
//! Both follow from the batches alone, as in Apache Kafka: data of a transaction opens it, the marker of its producer
//! ends it.

use std::collections::BTreeMap;

use bytes::Bytes;
use kcopy_wire::records::{Batch, EndTxnMarker, RecordLimits};

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// The offset of the marker.
    pub(crate) last_offset: i64,
}

/// The transactions of one log.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// First offsets of the open ones, by producer.
    open: BTreeMap<i64, i64>,
    /// By their markers' offsets.
    aborted: Vec<Aborted>,
}

impl Transactions {
    /// The first offset of the oldest open transaction.
    pub(crate) fn first_unstable_offset(&self) -> Option<i64> {
        self.open.values().min().copied()
    }

    /// Takes note of a batch that was appended at `base_offset`.
    pub(crate) fn appended(&mut self, batch: &Bytes, base_offset: i64) {
        let Ok(batch) = Batch::new(batch.clone()) else { return };
        let Some(producer_id) = batch.producer_id().filter(|_| batch.attributes().is_transactional()) else {
            return;
        };
        if !batch.attributes().is_control() {
            self.open.entry(producer_id).or_insert(base_offset);
            return;
        }
        let Some(marker) = marker(&batch) else { return };
        // A marker without data before it ends nothing.
        let Some(first_offset) = self.open.remove(&producer_id) else { return };
        if !marker.committed {
            let last_offset = base_offset + i64::from(batch.last_offset_delta());
            self.aborted.push(Aborted { producer_id, first_offset, last_offset });
        }
    }

    /// Those that have records in `from_offset..end_offset`.
    pub(crate) fn aborted(&self, from_offset: i64, end_offset: i64) -> impl Iterator<Item = &Aborted> {
        let first = self.aborted.partition_point(|aborted| aborted.last_offset < from_offset);
        self.aborted[first..].iter().filter(move |aborted| aborted.first_offset < end_offset)
    }

    /// Forgets what lies below the log's start.
    pub(crate) fn deleted_before(&mut self, log_start_offset: i64) {
        let gone = self.aborted.partition_point(|aborted| aborted.last_offset < log_start_offset);
        self.aborted.drain(..gone);
        self.open.values_mut().for_each(|first| *first = (*first).max(log_start_offset));
    }
}

fn marker(batch: &Batch) -> Option<EndTxnMarker> {
    let opened = batch.open(RecordLimits::default()).ok()?;
    let record = opened.records().next()?.ok()?;
    EndTxnMarker::parse(&record).ok()?
}

#[cfg(test)]
mod tests {
    use kcopy_wire::records::{BatchBuilder, BatchOptions, Headers, ProducerStamp};

    use super::*;

    fn stamp(id: i64) -> ProducerStamp {
        ProducerStamp { id, epoch: 0, base_sequence: 0, transactional: true }
    }

    fn data(id: i64) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(0, None, Some(b"v"), Headers::EMPTY).expect("a record");
        builder.finish(stamp(id)).expect("a batch")
    }

    fn end(id: i64, committed: bool) -> Bytes {
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        BatchBuilder::control(BatchOptions::default(), 0, stamp(id), marker).expect("a marker")
    }

    #[test]
    fn the_oldest_open_one_decides_and_aborted_ones_are_found_by_their_offsets() {
        let mut transactions = Transactions::default();
        let batches =
            [data(1), data(2), data(1), end(1, false), data(3), end(2, true), end(3, false), end(9, false)];
        let mut unstable = Vec::new();
        for (offset, batch) in (0..).zip(&batches) {
            transactions.appended(batch, offset);
            unstable.push(transactions.first_unstable_offset());
        }
        let expected = [Some(0), Some(0), Some(0), Some(1), Some(1), Some(4), None, None];
        assert_eq!(unstable, expected);
        let found = |transactions: &Transactions, from, end| {
            transactions.aborted(from, end).map(|it| (it.producer_id, it.first_offset)).collect::<Vec<_>>()
        };
        assert_eq!(found(&transactions, 0, 8), [(1, 0), (3, 4)]);
        assert_eq!(found(&transactions, 3, 8), [(1, 0), (3, 4)]);
        assert_eq!(found(&transactions, 4, 8), [(3, 4)]);
        assert_eq!(found(&transactions, 0, 4), [(1, 0)]);
        assert_eq!(found(&transactions, 7, 8), []);
        transactions.deleted_before(5);
        assert_eq!(found(&transactions, 0, 8), [(3, 4)]);
    }
}
