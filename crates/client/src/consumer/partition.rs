//! One partition that is read: where it is, and what an answer brings it.

use std::{collections::HashSet, sync::Arc};

use kcopy_wire::{
    ErrorCode, Str, Uuid,
    messages::fetch_response::{AbortedTransaction, PartitionData},
    records::{Batch, Batches, EndTxnMarker, RecordLimits, RecordsError},
};
use tokio::time::Instant;

use super::{
    batch::{RawBatch, records_error},
    budget::Held,
    config::ConsumerConfig,
};
use crate::{
    backoff::Backoff,
    error::{Error, Result},
    offsets::IsolationLevel,
};

/// After so many answers in a row that bring bytes but no progress the broker is not to be believed.
const MAX_FRUITLESS_ANSWERS: u32 = 20;

/// A partition that is read.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: Str,
    pub(super) topic_id: Option<Uuid>,
    pub(super) index: i32,
    /// The next offset to fetch.
    pub(super) position: i64,
    /// Reading ends before this offset.
    pub(super) end: Option<i64>,
    /// What an answer may hold of it.
    pub(super) max_bytes: usize,
    pub(super) phase: Phase,
    /// Where it is fetched from, and the leader epoch that is claimed there.
    pub(super) owner: Option<Place>,
    pub(super) leader_epoch: Option<i32>,
    /// The leader epoch of the last batch that was taken, or else of what is before the start: a log that has another
    /// one there was cut short and has grown again (KIP-595).
    pub(super) last_fetched_epoch: Option<i32>,
    /// From where on batches of that epoch were taken; None while it is only what the caller says.
    pub(super) taken_from: Option<i64>,
    /// A replica nearby that the leader has pointed to (KIP-392).
    pub(super) preferred_replica: Option<i32>,
    /// Since when it cannot be read, and why.
    pub(super) failing: Option<(Instant, Error)>,
    pub(super) backoff: Backoff,
    /// Where the partition ends, as far as the broker has said last.
    visible_end: i64,
    /// What was there at the start of the run of all that is to be read up to a pinned end.
    pub(super) promised_end: i64,
    /// Whether the consumer has been told that it is at the end.
    told_end: bool,
    fruitless: u32,
}

/// Where a partition is fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) broker: i32,
    /// Which of the broker's fetches.
    pub(super) turn: usize,
}

/// What happens with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is fetched.
    Active,
    /// It failed and is fetched again from then on.
    Paused(Instant),
    /// Its offset is out of range; which ones it has is being asked.
    Ranging,
    /// It has been read to its end.
    Done,
}

/// What an answer brought.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) batches: Vec<RawBatch>,
    /// The consumer has not been told yet that this is the end.
    pub(super) reached_end: Option<i64>,
}

impl Partition {
    pub(super) fn new(
        topic: Str,
        index: i32,
        start: i64,
        end: Option<i64>,
        max_bytes: usize,
        backoff: Backoff,
    ) -> Partition {
        Partition {
            topic,
            topic_id: None,
            index,
            position: start,
            end,
            max_bytes,
            phase: Phase::Active,
            owner: None,
            leader_epoch: None,
            last_fetched_epoch: None,
            taken_from: None,
            preferred_replica: None,
            failing: None,
            backoff,
            visible_end: start,
            promised_end: start,
            told_end: false,
            fruitless: 0,
        }
    }

    pub(super) fn named(&self, error: Error) -> Error {
        error.with_partition(&self.topic, self.index)
    }

    /// The offset to report if this is the end, of the partition or of what is wanted, and it has not
    /// been reported yet.
    pub(super) fn tell_end_at(&mut self, visible_end: i64) -> Option<i64> {
        self.visible_end = visible_end;
        let is_news = match self.end {
            Some(_) => self.finish_if_done(),
            None => self.position >= visible_end && !self.told_end,
        };
        self.told_end |= is_news;
        is_news.then_some(self.position)
    }

    /// Whether the last answer brought bytes and no progress.
    pub(super) fn is_stuck(&self) -> bool {
        self.fruitless > 0
    }

    /// Whether it is read to its end; says so once.
    fn finish_if_done(&mut self) -> bool {
        let done = self.phase != Phase::Done && self.end.is_some_and(|end| self.position >= end);
        if done {
            self.phase = Phase::Done;
        }
        done
    }

    /// An answer that holds nothing at all came, though there is more to read.
    pub(super) fn starve(&mut self, now: Instant) {
        let (position, end) = (self.position, self.visible_end);
        let message = if position < end {
            format!(
                "the broker sends no records from offset {position} on, though the partition goes on to {end}"
            )
        } else {
            let promised = self.promised_end;
            format!("the partition ends at offset {end}, and went on to {promised} when reading began")
        };
        let since = self.failing.as_ref().map_or(now, |(since, _)| *since);
        let error = Error::broker_with_message(ErrorCode::OFFSET_NOT_AVAILABLE, Some(&message));
        self.failing = Some((since, self.named(error)));
    }

    /// Whether there is more to read, by what the broker has said.
    pub(super) fn has_more(&self) -> bool {
        self.position < self.visible_end.max(self.promised_end)
    }

    /// It cannot be read for now.
    pub(super) fn fail(&mut self, error: Error, now: Instant) {
        let since = self.failing.as_ref().map_or(now, |(since, _)| *since);
        self.failing = Some((since, self.named(error)));
        self.phase = Phase::Paused(now + self.backoff.next_pause());
    }

    /// Reading goes on elsewhere.
    pub(super) fn seek(&mut self, position: i64) {
        self.position = position;
        self.last_fetched_epoch = None;
        self.taken_from = None;
        self.phase = Phase::Active;
        self.told_end = false;
    }

    pub(super) fn recover(&mut self) {
        self.failing = None;
        self.backoff.reset();
    }

    /// Takes an answer without an error code in: moves the position past what it holds, and returns
    /// what is to be handed out. Checksums and records are looked at when they are handed out.
    ///
    /// # Errors
    /// Bytes that are no record batches, or answers that lead nowhere.
    pub(super) fn take(
        &mut self,
        data: PartitionData,
        broker_id: i32,
        held: &Arc<Held>,
        config: &ConsumerConfig,
    ) -> Result<Taken> {
        let committed = config.isolation_level == IsolationLevel::ReadCommitted;
        let mut aborted = Aborted::new(data.aborted_transactions.filter(|_| committed).unwrap_or_default());
        let until = self.end.unwrap_or(i64::MAX);
        let before = self.position;
        let bytes = data.records.unwrap_or_default().into_bytes();
        let size = bytes.len();
        let mut taken = Taken::default();
        let mut batches = Batches::new(bytes);
        let mut beyond = None;
        for batch in &mut batches {
            let batch = batch.map_err(|error| records_error(error, &self.topic, self.index))?;
            // Compaction and retention leave holes, but never an order other than ascending.
            if batch.next_offset() <= self.position {
                continue;
            }
            if self.position >= until {
                break;
            }
            if batch.base_offset() >= until && (0..=batch.base_offset()).contains(&data.high_watermark) {
                // Either by chance, as it is just growing, or what is before it has been left out.
                beyond = Some(batch.base_offset());
                break;
            }
            let is_aborted =
                aborted.covers(&batch).map_err(|error| records_error(error, &self.topic, self.index))?;
            let from = std::mem::replace(&mut self.position, batch.next_offset());
            if batch.base_offset() >= until {
                // Compaction has left nothing up to the end, and what is behind it says nothing of what was before.
                self.position = until;
                break;
            }
            let epoch = Some(batch.partition_leader_epoch()).filter(|epoch| *epoch >= 0);
            if epoch != self.last_fetched_epoch || self.taken_from.is_none() {
                (self.last_fetched_epoch, self.taken_from) = (epoch, Some(from));
            }
            if !batch.attributes().is_control() && !is_aborted && batch.record_count() != 0 {
                taken.batches.push(RawBatch {
                    topic: self.topic.clone(),
                    partition: self.index,
                    batch,
                    from,
                    until,
                    broker_id,
                    high_watermark: data.high_watermark,
                    held: Arc::clone(held),
                });
            }
        }
        if self.position > before {
            self.fruitless = 0;
            self.told_end = false;
        } else if size > 0 {
            self.fruitless += 1;
            if let Some(needed) = batches.incomplete().and_then(|incomplete| incomplete.size) {
                // Brokers send the first batch whole whatever its size; one that does not must be asked
                // for more.
                self.max_bytes = self.max_bytes.max(needed);
            }
            if self.fruitless > MAX_FRUITLESS_ANSWERS {
                let (count, position, end) = (self.fruitless, self.position, data.high_watermark);
                let message = match beyond {
                    None => {
                        format!("{count} answers in a row hold no whole batch at or after offset {position}")
                    }
                    Some(offset) => format!(
                        "{count} answers in a row hold a batch of offset {offset}, and say that the partition ends at {end}"
                    ),
                };
                return Err(self.named(Error::protocol(message)));
            }
        }
        let visible_end = if committed && data.last_stable_offset >= 0 {
            data.last_stable_offset
        } else {
            data.high_watermark
        };
        // What lies behind a pinned end within a batch belongs to the next run.
        let last = self.end.map_or(i64::MAX, |end| end.max(before));
        taken.reached_end = self.tell_end_at(visible_end).map(|offset| offset.min(last));
        Ok(taken)
    }

    /// Whether an error code means that this broker is not, or no longer, the one to ask.
    pub(super) fn is_about_leader(code: ErrorCode) -> bool {
        code.refreshes_metadata() || code == ErrorCode::UNKNOWN_LEADER_EPOCH
    }
}

/// The transactions of an answer that were aborted (KIP-98): their batches come along, to be left out.
struct Aborted {
    /// By the offset at which they begin, the last one first.
    starting: Vec<AbortedTransaction>,
    open: HashSet<i64>,
}

impl Aborted {
    fn new(mut transactions: Vec<AbortedTransaction>) -> Aborted {
        transactions.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Aborted { starting: transactions, open: HashSet::new() }
    }

    /// Whether the batch belongs to an aborted transaction. Batches come in their order.
    fn covers(&mut self, batch: &Batch) -> Result<bool, RecordsError> {
        while let Some(next) = self.starting.pop_if(|next| next.first_offset <= batch.last_offset()) {
            self.open.insert(next.producer_id);
        }
        let Some(producer_id) = batch.producer_id() else { return Ok(false) };
        if batch.attributes().is_control() {
            if self.open.contains(&producer_id) && ends_in_abort(batch)? {
                self.open.remove(&producer_id);
            }
            return Ok(false);
        }
        Ok(batch.attributes().is_transactional() && self.open.contains(&producer_id))
    }
}

fn ends_in_abort(batch: &Batch) -> Result<bool, RecordsError> {
    // A marker is a dozen bytes.
    let open = batch.open(RecordLimits::new(64 << 10))?;
    let Some(record) = open.records().next() else { return Ok(false) };
    Ok(EndTxnMarker::parse(&record?)?.is_some_and(|marker| !marker.committed))
}
