//! The partitions of a run that reads: where each is, and where it stops.

use std::collections::{BTreeMap, HashMap};

use kcopy_client::{CommittedOffset, Metadata, PartitionRange, wire::Str};

use super::{
    positions::{Committed, Positions},
    report::PartitionReport,
};

/// Where each partition is.
#[derive(Default)]
pub(super) struct Partitions {
    ranges: Vec<PartitionRange>,
    /// Of each: the records that were written.
    done: Vec<u64>,
    index: HashMap<(Str, i32), usize>,
    /// How many there are of each topic, as far as was told.
    counts: BTreeMap<Str, usize>,
    /// The metadata that were looked at for it.
    generation: u64,
    /// The next offset of each, with the leader epoch of what is before it: what may be committed once all before it is written.
    pub(super) next: Vec<CommittedOffset>,
    pub(super) committed: Committed,
    /// Of each.
    pub(super) stops: Vec<TimedStop>,
    pub(super) open: usize,
}

/// Whether a partition ends at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimedStop {
    /// It does not, or nothing of that time is there and it ends where the log does.
    None,
    /// Nothing of that time has come yet.
    Awaited,
    /// At an offset that is known, with records behind it.
    Known,
    Reached,
}

impl Partitions {
    pub(super) fn new(positions: Positions, is_timed: bool) -> Partitions {
        let ranges = &positions.ranges;
        let key = |range: &PartitionRange| (range.topic.clone(), range.partition);
        Partitions {
            index: ranges.iter().enumerate().map(|(at, range)| (key(range), at)).collect(),
            next: ranges
                .iter()
                .map(|range| CommittedOffset {
                    leader_epoch: range.last_epoch,
                    topic_id: positions.topic_ids.get(&range.topic).copied(),
                    ..CommittedOffset::new(range.topic.clone(), range.partition, range.start)
                })
                .collect(),
            committed: positions.committed,
            counts: ranges.iter().fold(BTreeMap::new(), |mut counts, range| {
                *counts.entry(range.topic.clone()).or_default() += 1;
                counts
            }),
            generation: 0,
            stops: ranges
                .iter()
                .map(|range| match range.end {
                    None if is_timed => TimedStop::Awaited,
                    Some(end) if is_timed && end < range.last_stable_offset => TimedStop::Known,
                    _ => TimedStop::None,
                })
                .collect(),
            open: ranges.len(),
            done: vec![0; ranges.len()],
            ranges: positions.ranges,
        }
    }

    pub(super) fn advance(
        &mut self,
        topic: &Str,
        partition: i32,
        offset: i64,
        records: u64,
        epoch: Option<i32>,
    ) {
        if let Some(at) = self.index.get(&(topic.clone(), partition)) {
            let next = &mut self.next[*at];
            next.offset = offset.max(next.offset);
            next.leader_epoch = epoch.max(next.leader_epoch);
            self.done[*at] += records;
        }
    }

    /// Whether there is something to read, and nothing of it has come.
    pub(super) fn are_untouched(&self) -> bool {
        let mut unread =
            self.ranges.iter().zip(&self.next).filter(|(range, _)| range.end > Some(range.start));
        let is_untouched = |(range, next): (&PartitionRange, &CommittedOffset)| next.offset == range.start;
        unread.next().is_some_and(is_untouched) && unread.all(is_untouched)
    }

    pub(super) fn stop_of(&mut self, topic: &Str, partition: i32) -> Option<&mut TimedStop> {
        self.index.get(&(topic.clone(), partition)).map(|at| &mut self.stops[*at])
    }

    /// Whether all have come to their time.
    pub(super) fn have_stopped(&self) -> bool {
        self.stops.iter().all(|stop| *stop == TimedStop::Reached)
    }

    /// Topics with more partitions than were told of: how many were known, and how many there are.
    pub(super) fn take_growth(&mut self, metadata: &Metadata) -> Vec<(Str, usize, usize)> {
        if self.generation == metadata.generation {
            return Vec::new();
        }
        self.generation = metadata.generation;
        let mut grown = Vec::new();
        for (topic, known) in &mut self.counts {
            let count = metadata.topic(topic).map_or(0, |topic| topic.partitions.len());
            if count > *known {
                grown.push((topic.clone(), *known, count));
                *known = count;
            }
        }
        grown
    }

    pub(super) fn into_reports(self) -> Vec<PartitionReport> {
        let parts = self.ranges.into_iter().zip(self.next).zip(self.done);
        parts
            .map(|((range, next), records)| PartitionReport {
                range,
                next_offset: next.offset,
                leader_epoch: next.leader_epoch,
                records,
            })
            .collect()
    }
}
