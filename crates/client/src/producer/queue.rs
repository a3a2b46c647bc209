//! What appenders, waiters and the sender share under one short lock.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    batch::{Identity, PartitionKey, SealedBatch},
    error::{DeliveryFailure, Failure},
};
use crate::error::Error;

/// Failures that nobody takes are kept up to this many; those after it are only counted.
const MAX_FAILURES: usize = 1024;
/// Smaller buffers are not worth keeping.
const MIN_POOLED: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Queue {
    /// On their way from appenders to the sender; with an error those that could not be compressed.
    pub(super) sealed: Vec<(PartitionKey, SealedBatch, Option<Error>)>,
    /// Partitions that the sender does not know yet, in the order of their keys.
    pub(super) new_partitions: Vec<(Arc<str>, i32)>,
    /// How many partitions topics turned out to have when they were looked up again.
    pub(super) grown_topics: Vec<(Arc<str>, u32)>,
    pub(super) free_bytes: usize,
    /// The part of the buffer that nobody has a use for yet: memory that was never touched costs a fault per page.
    held_back: usize,
    pub(super) free_records: usize,
    /// What sealed batches occupy: one that was given up on the wire is settled, but keeps its room until the answer.
    unreleased_bytes: usize,
    /// What the next batches will probably carry: a right guess saves a second pass over them.
    pub(super) identity: Option<Identity>,
    pub(super) settled: Settled,
    pub(super) failures: Failures,
    /// Why nothing is taken any more.
    pub(super) closed: Option<Error>,
    /// The sender shall end once everything is settled.
    pub(super) closing: bool,
    /// The sender shall give everything up.
    pub(super) aborting: bool,
    /// The sender has ended.
    pub(super) ended: bool,
    pool: Vec<BytesMut>,
    pooled_bytes: usize,
}

impl Queue {
    /// Of `buffer_bytes` so many are free at first: see [`Queue::free_more`].
    pub(super) fn new(buffer_bytes: usize, free_bytes: usize, free_records: usize) -> Self {
        let free_bytes = free_bytes.min(buffer_bytes);
        Queue {
            sealed: Vec::new(),
            new_partitions: Vec::new(),
            grown_topics: Vec::new(),
            free_bytes,
            held_back: buffer_bytes - free_bytes,
            free_records,
            unreleased_bytes: 0,
            identity: None,
            settled: Settled::default(),
            failures: Failures::default(),
            closed: None,
            closing: false,
            aborting: false,
            ended: false,
            pool: Vec::new(),
            pooled_bytes: 0,
        }
    }

    /// Frees so many bytes more, as far as the buffer has them.
    pub(super) fn free_more(&mut self, bytes: usize) {
        let bytes = bytes.min(self.held_back);
        self.held_back -= bytes;
        self.free_bytes += bytes;
    }

    /// A batch has been sealed. Batches count from 0 without gaps.
    pub(super) fn expect(&mut self, batch: &SealedBatch) {
        self.settled.expect(batch.number, batch.record_count);
        self.unreleased_bytes += batch.charge;
    }

    /// A batch needs its memory no longer.
    pub(super) fn release(&mut self, charge: usize, record_count: u32, data: Option<Bytes>) {
        self.unreleased_bytes = self.unreleased_bytes.saturating_sub(charge);
        self.free_bytes += charge;
        self.free_records = self.free_records.saturating_add(record_count as usize);
        if let Some(data) = data {
            self.keep_data(data);
        }
    }

    /// Whether nothing is on its way that would make room one day.
    pub(super) fn is_released(&self) -> bool {
        self.unreleased_bytes == 0
    }

    /// What is not in use.
    pub(super) fn unused_bytes(&self) -> usize {
        self.free_bytes + self.held_back
    }

    /// Takes room for so many bytes, if it is there. Buffers that wait for use make way.
    pub(super) fn take_bytes(&mut self, bytes: usize) -> bool {
        if self.free_bytes < bytes {
            return false;
        }
        self.free_bytes -= bytes;
        while self.pooled_bytes > self.unused_bytes() && self.pop_buffer(0).is_some() {}
        true
    }

    /// A buffer that has been used before: fresh memory costs a fault per page. It has at least `wanted` and at most
    /// `most` bytes.
    pub(super) fn take_buffer(&mut self, wanted: usize, most: usize) -> Option<BytesMut> {
        let fits = |buffer: &BytesMut| (wanted..=most).contains(&buffer.capacity());
        let fitting = self.pool.iter().enumerate().filter(|(_, buffer)| fits(buffer));
        let (at, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
        self.pop_buffer(at)
    }

    fn pop_buffer(&mut self, at: usize) -> Option<BytesMut> {
        let buffer = (at < self.pool.len()).then(|| self.pool.swap_remove(at))?;
        self.pooled_bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps what a batch was in, unless a connection still holds on to it.
    pub(super) fn keep_data(&mut self, data: Bytes) {
        if let Ok(buffer) = data.try_into_mut() {
            self.keep_buffer(buffer);
        }
    }

    /// Keeps a buffer for a batch to come, as far as no batch has its room now. What it holds stays: to write over it is
    /// cheaper than to fill it with zeros again.
    pub(super) fn keep_buffer(&mut self, buffer: BytesMut) {
        let capacity = buffer.capacity();
        if capacity >= MIN_POOLED && self.pooled_bytes + capacity <= self.unused_bytes() {
            self.pooled_bytes += capacity;
            self.pool.push(buffer);
        }
    }
}

/// Which batches have been settled, written or not.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// How many records are missing, per batch from `first` on.
    missing: VecDeque<u32>,
    first: u64,
}

impl Settled {
    fn expect(&mut self, number: u64, record_count: u32) {
        debug_assert_eq!(number, self.first + self.missing.len() as u64);
        self.missing.push_back(record_count);
    }

    /// Some records of the batch have been settled.
    pub(super) fn settle(&mut self, number: u64, record_count: u32) {
        if let Some(missing) = number.checked_sub(self.first).and_then(|at| self.missing.get_mut(at as usize))
        {
            *missing = missing.saturating_sub(record_count);
        }
        while self.missing.front() == Some(&0) {
            self.missing.pop_front();
            self.first += 1;
        }
    }

    /// Whether all batches before this one are settled.
    pub(super) fn reaches(&self, number: u64) -> bool {
        self.first >= number
    }
}

/// Deliveries that failed, until somebody takes them.
#[derive(Debug, Default)]
pub(super) struct Failures {
    kept: VecDeque<DeliveryFailure>,
    /// How many records failed that are in none of these.
    unlisted: u64,
    /// Since the last flush: how many records failed, and the first reason.
    since_flush: Option<(u64, Error)>,
}

impl Failures {
    pub(super) fn add(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        base_index: u64,
        record_count: u32,
        failure: &Failure,
    ) {
        let record_count = u64::from(record_count);
        let (failed, _) = self.since_flush.get_or_insert_with(|| (0, failure.error.clone()));
        *failed += record_count;
        if let Some(last) = self.kept.back_mut()
            && (&last.topic, last.partition) == (topic, partition)
            && last.base_index + last.record_count == base_index
            && last.record_errors.is_empty()
            && failure.record_errors.is_empty()
            && last.error.kind() == failure.error.kind()
            && last.error.persisted() == failure.error.persisted()
            && last.error.message() == failure.error.message()
        {
            last.record_count += record_count;
            return;
        }
        if self.kept.len() < MAX_FAILURES {
            self.kept.push_back(DeliveryFailure {
                topic: topic.clone(),
                partition,
                base_index,
                record_count,
                error: failure.error.clone(),
                record_errors: failure.record_errors.clone(),
            });
        } else {
            self.unlisted += record_count;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn take(&mut self) -> Vec<DeliveryFailure> {
        std::mem::take(&mut self.kept).into()
    }

    pub(super) fn take_unlisted(&mut self) -> u64 {
        std::mem::take(&mut self.unlisted)
    }

    /// The outcome of all that was sent since this was last asked.
    pub(super) fn take_outcome(&mut self) -> Result<(), Error> {
        match self.since_flush.take() {
            None => Ok(()),
            Some((1, error)) => Err(error.prefixed("a record was not delivered")),
            Some((failed, error)) => {
                Err(error.prefixed(&format!("{failed} records were not delivered; the first")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Persisted};

    #[test]
    fn batches_are_settled_in_any_order_and_in_parts() {
        let mut settled = Settled::default();
        for number in 0..3 {
            settled.expect(number, 10);
        }
        settled.settle(1, 10);
        settled.settle(0, 4);
        assert!(settled.reaches(0) && !settled.reaches(1));
        settled.settle(0, 6);
        assert!(settled.reaches(2) && !settled.reaches(3));
        settled.settle(2, 10);
        assert!(settled.reaches(3));
    }

    #[test]
    fn failures_of_neighbours_are_told_as_one_and_none_is_lost_from_the_outcome() {
        let mut failures = Failures::default();
        let topic: Arc<str> = Arc::from("t");
        let failure = Failure::from(Error::new(ErrorKind::Timeout, "late").with_persisted(Persisted::Maybe));
        failures.add(&topic, 0, 0, 10, &failure);
        failures.add(&topic, 0, 10, 5, &failure);
        failures.add(&topic, 1, 15, 5, &failure);
        let kept = failures.take();
        assert_eq!(
            kept.iter().map(|f| (f.partition, f.base_index, f.record_count)).collect::<Vec<_>>(),
            [(0, 0, 15), (1, 15, 5)]
        );
        for index in 0..2000 {
            failures.add(&topic, 0, index * 2, 1, &failure);
        }
        assert_eq!(failures.take().len(), MAX_FAILURES);
        assert_eq!((failures.take_unlisted(), failures.take_unlisted()), (2000 - 1024, 0));
        let error = failures.take_outcome().unwrap_err();
        assert_eq!(error.to_string(), "2020 records were not delivered; the first: late");
        assert!(failures.take_outcome().is_ok());
    }

    #[test]
    fn no_more_is_freed_than_there_is() {
        let mut queue = Queue::new(100, 30, 10);
        assert_eq!((queue.free_bytes, queue.unused_bytes()), (30, 100));
        queue.free_more(50);
        assert_eq!((queue.free_bytes, queue.unused_bytes()), (80, 100));
        queue.free_more(50);
        assert_eq!((queue.free_bytes, queue.unused_bytes()), (100, 100));
        assert_eq!(Queue::new(100, 200, 10).free_bytes, 100);
    }

    #[test]
    fn buffers_come_back_unless_somebody_holds_them() {
        let mut queue = Queue::new(1 << 20, 1 << 20, 10);
        let buffer = BytesMut::zeroed(100_000).freeze();
        let held = buffer.clone();
        queue.keep_data(buffer);
        assert!(queue.take_buffer(0, usize::MAX).is_none());
        queue.keep_data(held);
        assert!(queue.take_buffer(0, usize::MAX).is_some_and(|buffer| buffer.len() == 100_000));
        assert!(queue.take_buffer(0, usize::MAX).is_none());
    }
}
