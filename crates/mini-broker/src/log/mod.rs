//! One partition's log: batches as received, found again by offset and by timestamp.
//!
//! `log_start_offset <= last_stable_offset <= high_watermark <= log_end_offset` always holds. All replicas share the
//! one log, so the high watermark is the log's end.

pub(crate) mod batch;
mod segment;
#[cfg(test)]
mod tests;
mod transactions;

use std::collections::VecDeque;

use bytes::Bytes;

use self::{
    batch::BatchBounds,
    segment::{Data, Gather, LARGE_BATCH, Segment, Tail, batches_of},
};

use self::transactions::Transactions;
pub(crate) use self::{segment::LARGE_BATCH as LARGE_BATCH_BYTES, transactions::Aborted};

/// Slices of the log for one fetch.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    pub(crate) parts: Vec<Bytes>,
}

/// A batch as it lies in the log: true offsets in `bounds`; in `bytes` the offset and epoch may be those of the
/// producer.
#[derive(Clone, Debug)]
pub(crate) struct StoredBatch {
    pub(crate) bounds: BatchBounds,
    pub(crate) bytes: Bytes,
}

/// An offset that the log does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetOutOfRange;

/// One partition's records.
#[derive(Debug)]
pub(crate) struct Log {
    segments: VecDeque<Segment>,
    tail: Tail,
    log_start_offset: i64,
    log_end_offset: i64,
    transactions: Transactions,
    /// Where each leader epoch began, ascending.
    epochs: Vec<(i32, i64)>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            segments: VecDeque::new(),
            tail: Tail::new(),
            log_start_offset: 0,
            log_end_offset: 0,
            transactions: Transactions::default(),
            epochs: Vec::new(),
        }
    }

    pub(crate) fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    pub(crate) fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    pub(crate) fn high_watermark(&self) -> i64 {
        self.log_end_offset
    }

    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.transactions.first_unstable_offset().unwrap_or(self.high_watermark())
    }

    /// The aborted transactions that have records in `from_offset..end_offset`.
    pub(crate) fn aborted(&self, from_offset: i64, end_offset: i64) -> impl Iterator<Item = &Aborted> {
        self.transactions.aborted(from_offset, end_offset)
    }

    /// Bytes of the batches that are kept.
    pub(crate) fn size(&self) -> u64 {
        let start = self.segments.front().map_or(self.tail.position, |first| first.position);
        self.end_position() - start
    }

    /// A leader takes over: what it writes begins at the log's end.
    pub(crate) fn begin_epoch(&mut self, leader_epoch: i32) {
        self.epochs.retain(|(_, start)| *start < self.log_end_offset);
        self.epochs.push((leader_epoch, self.log_end_offset));
    }

    /// Cuts off what begins with the batch that holds `offset`, and returns the new end.
    pub(crate) fn truncate(&mut self, offset: i64) -> i64 {
        self.close_tail();
        while self.segments.back().is_some_and(|last| last.next_offset > offset) {
            let Some(last) = self.segments.pop_back() else { break };
            for (bounds, bytes) in batches_of(&last.data, &last) {
                if bounds.next_offset > offset {
                    break;
                }
                self.push_segment(Segment {
                    base_offset: bounds.base_offset,
                    next_offset: bounds.next_offset,
                    position: self.end_position(),
                    running_max_timestamp: bounds.max_timestamp,
                    max_timestamp: bounds.max_timestamp,
                    data: Data::Chunk(bytes),
                });
            }
        }
        let end = self.segments.back().map_or(self.log_start_offset, |last| last.next_offset);
        self.log_end_offset = end.max(self.log_start_offset);
        self.epochs.retain(|(_, start)| *start < self.log_end_offset);
        self.transactions = Transactions::default();
        for segment in &self.segments {
            for (bounds, bytes) in batches_of(&segment.data, segment) {
                if batch::is_transactional(&bytes) {
                    self.transactions.appended(&bytes, bounds.base_offset);
                }
            }
        }
        self.transactions.deleted_before(self.log_start_offset);
        self.log_end_offset
    }

    /// Appends a validated batch and returns its base offset. `received` may be shared with the request's frame.
    pub(crate) fn append(&mut self, received: &Bytes, leader_epoch: i32) -> Option<i64> {
        let mut bounds = BatchBounds::read(received)?;
        let records = bounds.next_offset - bounds.base_offset;
        bounds.base_offset = self.log_end_offset;
        bounds.next_offset = self.log_end_offset + records;
        if batch::is_transactional(received) {
            self.transactions.appended(received, bounds.base_offset);
        }
        if received.len() >= LARGE_BATCH {
            self.close_tail();
            self.push_segment(Segment {
                base_offset: bounds.base_offset,
                next_offset: bounds.next_offset,
                position: self.end_position(),
                running_max_timestamp: bounds.max_timestamp,
                max_timestamp: bounds.max_timestamp,
                data: Data::Large {
                    prefix: batch::prefix(received, bounds.base_offset, leader_epoch),
                    received: received.clone(),
                },
            });
        } else {
            if !self.tail.has_room(received.len()) {
                self.close_tail();
            }
            if self.tail.is_empty() {
                self.tail.position = self.end_position();
                self.tail.base_offset = bounds.base_offset;
            }
            self.tail.push(received, bounds, leader_epoch);
        }
        self.log_end_offset = bounds.next_offset;
        Some(bounds.base_offset)
    }

    /// Reads whole batches of `from_offset..end_offset`, up to `max_bytes`; with `at_least_one` the first batch
    /// whatever its size.
    ///
    /// # Errors
    /// [`OffsetOutOfRange`] where the log neither has the offset nor ends there.
    pub(crate) fn read(
        &mut self,
        from_offset: i64,
        end_offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Slices, OffsetOutOfRange> {
        if from_offset < self.log_start_offset || from_offset > self.log_end_offset {
            return Err(OffsetOutOfRange);
        }
        if from_offset >= end_offset {
            return Ok(Slices::default());
        }
        let mut gather = Gather::new(from_offset, end_offset, max_bytes, at_least_one);
        let first = self.segments.partition_point(|segment| segment.next_offset <= from_offset);
        let mut room = true;
        for segment in self.segments.range(first..) {
            room = segment.base_offset < end_offset && gather.segment(segment);
            if !room {
                break;
            }
        }
        if room && !self.tail.is_empty() {
            let log_end_offset = self.log_end_offset;
            let frozen = self.tail.freeze();
            for (index, part) in frozen.iter().enumerate() {
                let base = BatchBounds::read(part).map_or(log_end_offset, |bounds| bounds.base_offset);
                let next = frozen
                    .get(index + 1)
                    .and_then(|part| BatchBounds::read(part))
                    .map_or(log_end_offset, |bounds| bounds.base_offset);
                if next > from_offset && !gather.run(part, base, next) {
                    break;
                }
            }
        }
        Ok(Slices { parts: gather.parts })
    }

    /// The first two batches that may hold a record at or after `timestamp`: the record is in the second only if
    /// records of the first lie below the log's start.
    pub(crate) fn candidates_for_timestamp(&mut self, timestamp: i64) -> Vec<StoredBatch> {
        self.close_tail();
        let first = self.segments.partition_point(|segment| segment.running_max_timestamp < timestamp);
        let mut found = Vec::new();
        for segment in self.segments.range(first..) {
            for (bounds, bytes) in batches_of(&segment.data, segment) {
                if bounds.max_timestamp >= timestamp && bounds.next_offset > self.log_start_offset {
                    found.push(StoredBatch { bounds, bytes });
                    if found.len() == 2 {
                        return found;
                    }
                }
            }
        }
        found
    }

    /// The first batch that holds the largest timestamp below `end_offset`.
    pub(crate) fn batch_of_max_timestamp(&mut self, end_offset: i64) -> Option<StoredBatch> {
        self.close_tail();
        let max = self
            .segments
            .iter()
            .filter(|segment| segment.base_offset < end_offset)
            .map(|segment| segment.max_timestamp)
            .max()?;
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.max_timestamp == max && segment.base_offset < end_offset)?;
        batches_of(&segment.data, segment)
            .into_iter()
            .find(|(bounds, _)| bounds.max_timestamp == max)
            .map(|(bounds, bytes)| StoredBatch { bounds, bytes })
    }

    /// Raises the log's start; returns it. `offset` must not lie above the high watermark.
    pub(crate) fn delete_records_before(&mut self, offset: i64) -> i64 {
        debug_assert!(offset <= self.high_watermark());
        self.log_start_offset = self.log_start_offset.max(offset);
        self.transactions.deleted_before(self.log_start_offset);
        if self.tail_ends_below_start() {
            self.close_tail();
        }
        while self.segments.front().is_some_and(|segment| segment.next_offset <= self.log_start_offset) {
            self.segments.pop_front();
        }
        if self.segments.is_empty() && self.tail.is_empty() {
            self.tail.position = 0;
        }
        self.epochs_after_delete();
        self.log_start_offset
    }

    /// The end of `leader_epoch` in the log: the largest epoch not above it, and where the next one begins.
    pub(crate) fn end_of_epoch(&self, leader_epoch: i32, current_epoch: i32) -> Option<(i32, i64)> {
        if leader_epoch == current_epoch {
            return Some((leader_epoch, self.log_end_offset));
        }
        if leader_epoch > current_epoch {
            return None;
        }
        // A leader that has written nothing yet knows its epoch all the same: it begins at the end.
        let after = self.epochs.partition_point(|(epoch, _)| *epoch <= leader_epoch);
        let end = self.epochs.get(after).map_or(self.log_end_offset, |(_, start)| *start);
        // Older than anything known: Kafka answers the requested epoch with the first known epoch's start.
        let epoch = after.checked_sub(1).map_or(leader_epoch, |before| self.epochs[before].0);
        Some((epoch, end))
    }

    /// The epoch under which `offset` was, or would be, written.
    pub(crate) fn epoch_of(&self, offset: i64) -> Option<i32> {
        let after = self.epochs.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map(|index| self.epochs[index].0)
    }

    fn end_position(&self) -> u64 {
        if self.tail.is_empty() {
            self.segments.back().map_or(0, Segment::end_position)
        } else {
            self.tail.position + self.tail.len() as u64
        }
    }

    fn tail_ends_below_start(&self) -> bool {
        !self.tail.is_empty() && self.log_end_offset <= self.log_start_offset
    }

    fn epochs_after_delete(&mut self) {
        let keep_from =
            self.epochs.partition_point(|(_, start)| *start <= self.log_start_offset).saturating_sub(1);
        self.epochs.drain(..keep_from);
        if let Some(first) = self.epochs.first_mut() {
            first.1 = first.1.max(self.log_start_offset);
        }
    }

    fn close_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let (base_offset, position, max_timestamp) =
            (self.tail.base_offset, self.tail.position, self.tail.max_timestamp);
        let chunk = self.tail.take();
        self.push_segment(Segment {
            base_offset,
            next_offset: self.log_end_offset,
            position,
            running_max_timestamp: max_timestamp,
            max_timestamp,
            data: Data::Chunk(chunk),
        });
    }

    fn push_segment(&mut self, mut segment: Segment) {
        let before = self.segments.back().map_or(i64::MIN, |last| last.running_max_timestamp);
        segment.running_max_timestamp = segment.max_timestamp.max(before);
        self.segments.push_back(segment);
    }
}
