//! The batches of one partition: order, sequence numbers, and what an answer means for them.
//!
//! ```text
//!             +----------- all answered, nothing wrong ----------+
//!             v                                                  |
//!         [Flowing] -- an answer was no acknowledgement --> [Draining]
//!             ^                                                  |
//!             |                        all answered, sequence numbers have a gap
//!             |                                                  v
//!             +--- new epoch, sequences from 0 --- [Renumbering: asks for what is uncertain]
//! ```
//!
//! *Flowing*: batches are sent in order, up to `max_in_flight` of them unanswered. *Draining*: nothing is
//! sent until every answer is there; then all that is left is sent again, in order. *Renumbering*: a batch
//! has left the sequence for good (refused, expired, split), so what follows it can only be written under
//! new numbers. A batch that may be in the log already must not get a new number, as the broker would take
//! it for another batch. So these are first sent again under their old number, until the broker has either
//! recognised them or said that they do not follow (`OUT_OF_ORDER_SEQUENCE_NUMBER`); only then does the
//! partition go on under the next epoch (KIP-360), which also shuts out what may still linger in a broken
//! connection.
//!
//! Epochs are per partition: brokers keep them so for producers without a transactional id, and so one
//! partition's trouble does not touch another.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use kcopy_wire::ErrorCode;
use tokio::time::Instant;

use super::{
    batch::{Identity, Output, PartitionKey, Placement, SealedBatch, Stamp, advance_sequence},
    error::{Failure, RecordError, proves_absence},
    split::split,
};
use crate::error::{Error, ErrorKind, Persisted};

/// What the machines need of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) idempotent: bool,
    pub(super) max_in_flight: usize,
    pub(super) max_request_bytes: usize,
    pub(super) retries: u32,
    pub(super) retry_backoff: Duration,
    pub(super) retry_backoff_max: Duration,
}

/// What came of sending a batch.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// Written.
    Acknowledged(Placement),
    /// The broker's error.
    Refused { code: ErrorCode, message: Option<String>, record_errors: Arc<[RecordError]> },
    /// No answer. `sent` unless the request certainly did not reach the broker.
    Lost { sent: bool, error: Error },
    /// Not sent, and no retry would change that.
    Impossible(Error),
}

impl Answer {
    /// Whether the broker has the batch, if only from an attempt before.
    pub(super) fn is_acknowledgement(&self) -> bool {
        let duplicate = ErrorCode::DUPLICATE_SEQUENCE_NUMBER;
        matches!(self, Answer::Acknowledged(_))
            || matches!(self, Answer::Refused { code, .. } if *code == duplicate)
    }
}

#[derive(Debug)]
struct Entry {
    batch: SealedBatch,
    on_wire: bool,
    /// May be in the log: an attempt had no answer that settles it.
    uncertain: bool,
    attempts: u32,
    /// Which batch of the current epoch it is; `None` until it has its sequence number.
    ordinal: Option<u64>,
}

/// How a partition goes on where its sequence numbers have a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Renumber {
    NextEpoch,
    NewProducerId,
}

#[derive(Debug)]
pub(super) struct PartitionQueue {
    key: PartitionKey,
    topic: Arc<str>,
    partition: i32,
    entries: VecDeque<Entry>,
    on_wire: usize,
    /// The first entry that this pass has not sent.
    cursor: usize,
    draining: bool,
    renumber: Option<Renumber>,
    /// An answer of this pass calls for a pause before the next.
    troubled: bool,
    failures: u32,
    resume_at: Option<Instant>,
    identity: Option<Identity>,
    /// The producer id that is of no more use here.
    spent: Option<i64>,
    next_sequence: i32,
    next_ordinal: u64,
    /// This leader has acknowledged a batch under this identity. Before, a broker without a state of this
    /// producer would accept the second batch where the first was refused, in the wrong order.
    proven: bool,
    leader: Option<i32>,
    /// The broker that the batches on the wire went to.
    sent_to: Option<i32>,
    /// The leader is to be looked up before anything is sent again.
    leader_stale: bool,
    last_error: Option<Error>,
    /// For the parts of split batches.
    next_part: u64,
}

/// The numbers of parts differ from those of whole batches, which count from 0.
const PART_NUMBERS: u64 = 1 << 63;

impl PartitionQueue {
    pub(super) fn new(key: PartitionKey, topic: Arc<str>, partition: i32) -> Self {
        PartitionQueue {
            key,
            topic,
            partition,
            entries: VecDeque::new(),
            on_wire: 0,
            cursor: 0,
            draining: false,
            renumber: None,
            troubled: false,
            failures: 0,
            resume_at: None,
            identity: None,
            spent: None,
            next_sequence: 0,
            next_ordinal: 0,
            proven: false,
            leader: None,
            sent_to: None,
            leader_stale: false,
            last_error: None,
            next_part: PART_NUMBERS,
        }
    }

    pub(super) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(super) fn partition(&self) -> i32 {
        self.partition
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn leader(&self) -> Option<i32> {
        self.leader
    }

    /// Whether batches wait for a look-up of the leader.
    pub(super) fn needs_leader(&self) -> bool {
        !self.entries.is_empty() && (self.leader.is_none() || self.leader_stale)
    }

    /// Whether batches wait for a producer id.
    pub(super) fn needs_identity(&self) -> bool {
        self.identity.is_none() && !self.entries.is_empty() && self.renumber.is_none()
    }

    /// Whether one more batch would be sent at once, or is needed to find out where to.
    pub(super) fn has_room(&self, now: Instant, settings: &Settings) -> bool {
        if self.entries.is_empty() {
            return true;
        }
        self.entries.len() < self.window(settings)
            && !self.draining
            && self.renumber.is_none()
            && self.leader.is_some()
            && !self.leader_stale
            && self.resume_at.is_none_or(|at| at <= now)
            && (self.identity.is_some() || !settings.idempotent)
    }

    pub(super) fn push(&mut self, batch: SealedBatch) {
        self.entries.push_back(Entry { batch, on_wire: false, uncertain: false, attempts: 0, ordinal: None });
    }

    /// The final bytes of a batch that was pushed without, or why there are none.
    pub(super) fn handle_data(&mut self, number: u64, data: Result<SealedBatch, Error>) -> Vec<Output> {
        let mut outputs = Vec::new();
        let Some(index) = self.position(number) else { return outputs };
        match data {
            Ok(sealed) => {
                let batch = &mut self.entries[index].batch;
                batch.data = sealed.data;
                batch.stamp = sealed.stamp;
            }
            Err(error) => {
                let error = error.with_partition(&self.topic, self.partition);
                self.fail(index, error.into(), &mut outputs);
            }
        }
        outputs
    }

    pub(super) fn set_identity(&mut self, identity: Identity) {
        if self.identity.is_none() && self.spent != Some(identity.producer_id) {
            self.identity = Some(identity);
            self.next_sequence = 0;
            self.proven = false;
        }
    }

    /// The answer to a look-up of the leader. `None`: there is none at the moment.
    pub(super) fn handle_leader(&mut self, leader: Option<i32>) {
        if leader.is_some() && leader != self.leader {
            self.resume_at = None;
        }
        self.leader = leader;
        self.leader_stale = false;
    }

    /// What the look-up of the topic said, for the message should the batches expire.
    pub(super) fn note_error(&mut self, error: Error) {
        if !self.entries.is_empty() {
            self.last_error = Some(error);
        }
    }

    pub(super) fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    /// The time at which something may be sent or has to be given up.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let expiry = self.entries.iter().filter(|e| e.batch.report.is_some()).map(|e| e.batch.deadline).min();
        [expiry, self.resume_at].into_iter().flatten().min()
    }

    /// Which entry to send to the leader now.
    pub(super) fn next_to_send(&self, now: Instant, settings: &Settings) -> Option<usize> {
        let waiting = self.draining
            || self.leader_stale
            || self.leader.is_none()
            || (self.on_wire > 0 && self.sent_to != self.leader)
            || self.resume_at.is_some_and(|at| at > now)
            || (settings.idempotent && self.identity.is_none());
        if waiting || self.on_wire >= self.window(settings) {
            return None;
        }
        let renumbering = self.renumber.is_some();
        let index = (self.cursor..self.entries.len()).find(|&i| !renumbering || self.entries[i].uncertain)?;
        // Brokers remember the last five batches of a producer. None further than that from the first
        // unsettled one may be written, acknowledged ones between them included, or that one would not be
        // recognised any more.
        let ordinal = self.entries[index].ordinal.unwrap_or(self.next_ordinal);
        let first = self.entries[0].ordinal.unwrap_or(ordinal);
        if ordinal.saturating_sub(first) >= settings.max_in_flight as u64 {
            return None;
        }
        self.entries[index].batch.data.is_some().then_some(index)
    }

    pub(super) fn size_of(&self, index: usize) -> usize {
        self.entries[index].batch.size()
    }

    /// Marks the entry as sent and gives the batch, stamped.
    pub(super) fn send(&mut self, index: usize, settings: &Settings) -> Result<&SealedBatch, Error> {
        if self.on_wire == 0 && self.sent_to != self.leader {
            self.sent_to = self.leader;
            self.proven = false;
        }
        let entry = &mut self.entries[index];
        let stamp = match self.identity {
            Some(identity) if settings.idempotent && entry.ordinal.is_none() => {
                entry.ordinal = Some(self.next_ordinal);
                self.next_ordinal += 1;
                let stamp = Stamp { identity, base_sequence: self.next_sequence };
                self.next_sequence = advance_sequence(self.next_sequence, entry.batch.record_count);
                Some(stamp)
            }
            _ if settings.idempotent => entry.batch.stamp,
            _ => None,
        };
        entry.batch.set_stamp(stamp).map_err(|error| Error::invalid(error.to_string()))?;
        entry.attempts += 1;
        entry.on_wire = true;
        self.on_wire += 1;
        self.cursor = index + 1;
        Ok(&self.entries[index].batch)
    }

    /// Takes what came of sending batch `number`.
    pub(super) fn handle_answer(&mut self, number: u64, answer: Answer, settings: &Settings) -> Vec<Output> {
        let mut outputs = Vec::new();
        let Some(index) = self.position(number) else { return outputs };
        self.entries[index].on_wire = false;
        self.on_wire -= 1;
        match answer {
            Answer::Acknowledged(placement) => self.acknowledge(index, placement, &mut outputs),
            answer if answer.is_acknowledgement() => {
                self.acknowledge(index, Placement::default(), &mut outputs);
            }
            Answer::Refused { code, message, record_errors } => {
                self.refuse(index, code, message, record_errors, settings, &mut outputs);
            }
            Answer::Lost { sent, error } => {
                self.entries[index].uncertain |= sent;
                self.leader_stale = true;
                self.retry(index, error, settings, &mut outputs);
            }
            Answer::Impossible(error) => {
                let persisted = self.entries[index].persisted();
                let error = error.with_partition(&self.topic, self.partition).with_persisted(persisted);
                self.fail(index, error.into(), &mut outputs);
            }
        }
        outputs
    }

    /// Gives up what is past its deadline.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        let mut index = 0;
        while index < self.entries.len() {
            let entry = &mut self.entries[index];
            if entry.batch.deadline > now || entry.batch.report.is_none() {
                index += 1;
                continue;
            }
            let persisted = entry.persisted();
            let mut message = "not acknowledged within delivery.timeout.ms".to_owned();
            if let Some(last) = &self.last_error {
                message = format!("{message}; the last failure was: {last}");
            }
            let error = Error::new(ErrorKind::Timeout, message)
                .with_partition(&self.topic, self.partition)
                .with_persisted(persisted);
            if entry.on_wire {
                // The answer still decides how the sequence goes on, so the entry stays until then.
                report(self.key, entry, Err(error.into()), &mut outputs);
                index += 1;
            } else {
                self.fail(index, error.into(), &mut outputs);
            }
        }
        outputs
    }

    /// Gives up everything that is not on the wire, and reports what is.
    pub(super) fn abort(&mut self, error: &Error) -> Vec<Output> {
        let mut outputs = Vec::new();
        for mut entry in std::mem::take(&mut self.entries) {
            if entry.ordinal.is_some() {
                self.renumber = self.renumber.max(Some(Renumber::NextEpoch));
            }
            let persisted = entry.persisted();
            let error = error.clone().with_partition(&self.topic, self.partition).with_persisted(persisted);
            report(self.key, &mut entry, Err(error.into()), &mut outputs);
            outputs.push(release(entry));
        }
        self.on_wire = 0;
        self.cursor = 0;
        self.draining = false;
        outputs
    }

    /// To be called when answers have been handled: goes on to the next pass where this one is complete.
    pub(super) fn settle(&mut self, now: Instant, settings: &Settings, jitter: f64) {
        if self.on_wire > 0 || !(self.draining || self.renumber.is_some()) {
            return;
        }
        // KIP-951: a leader that is new need not wait for the pause that the old one earned.
        let moved = self.leader.is_some() && !self.leader_stale && self.leader != self.sent_to;
        if std::mem::take(&mut self.troubled) && !moved {
            let doublings = self.failures.min(16);
            self.failures = self.failures.saturating_add(1);
            let pause = (settings.retry_backoff * (1 << doublings)).min(settings.retry_backoff_max);
            self.resume_at = Some(now + pause.mul_f64(jitter));
        }
        self.draining = false;
        self.cursor = 0;
        if let Some(renumber) = self.renumber
            && !self.entries.iter().any(|entry| entry.uncertain)
        {
            self.renumber(renumber);
        }
    }

    /// Forgets a pause that is over, so that it wakes nobody again.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.resume_at.is_some_and(|at| at <= now) {
            self.resume_at = None;
        }
    }

    fn window(&self, settings: &Settings) -> usize {
        if settings.idempotent && !self.proven { 1 } else { settings.max_in_flight }
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.batch.number == number)
    }

    fn acknowledge(&mut self, index: usize, placement: Placement, outputs: &mut Vec<Output>) {
        self.proven = true;
        self.failures = 0;
        self.last_error = None;
        let mut entry = self.remove(index);
        report(self.key, &mut entry, Ok(placement), outputs);
        outputs.push(release(entry));
    }

    fn refuse(
        &mut self,
        index: usize,
        code: ErrorCode,
        message: Option<String>,
        record_errors: Arc<[RecordError]>,
        settings: &Settings,
        outputs: &mut Vec<Output>,
    ) {
        let entry = &mut self.entries[index];
        let error = Error::broker_with_message(code, message.as_deref());
        match code {
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID
                if settings.idempotent =>
            {
                // The broker would have recognised the batch if its log had it. It may come to have it yet while
                // a batch before it may, both from a connection that was given up.
                if !self.entries.range(..index).any(|earlier| earlier.uncertain || earlier.on_wire) {
                    self.entries[index].uncertain = false;
                }
                // Expected where a batch before it is still to be written.
                if index == 0 {
                    if self.renumber.is_none() {
                        tracing::warn!(
                            topic = &*self.topic,
                            partition = self.partition,
                            code = code.name(),
                            "the broker lost acknowledged records or its state of this producer; going on with a new epoch"
                        );
                        self.troubled = true;
                    }
                    self.renumber = self.renumber.max(Some(Renumber::NextEpoch));
                }
                self.draining = true;
                self.give_up_if_abandoned(index, outputs);
            }
            ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::INVALID_PRODUCER_ID_MAPPING
                if settings.idempotent && !entry.uncertain =>
            {
                self.renumber = self.renumber.max(Some(Renumber::NewProducerId));
                self.retry(index, error, settings, outputs);
            }
            ErrorCode::MESSAGE_TOO_LARGE
                if entry.batch.record_count > 1 && !entry.uncertain && entry.batch.report.is_some() =>
            {
                self.split(index, outputs);
            }
            code => {
                entry.uncertain |= !proves_absence(code);
                if code.is_retriable() {
                    self.leader_stale |= code.refreshes_metadata();
                    self.retry(index, error, settings, outputs);
                } else {
                    let error =
                        error.with_partition(&self.topic, self.partition).with_persisted(entry.persisted());
                    self.fail(index, Failure { error, record_errors }, outputs);
                }
            }
        }
    }

    fn retry(&mut self, index: usize, error: Error, settings: &Settings, outputs: &mut Vec<Output>) {
        self.draining = true;
        self.troubled = true;
        let entry = &self.entries[index];
        tracing::debug!(
            topic = &*self.topic,
            partition = self.partition,
            batch = entry.batch.number,
            %error,
            "batch will be sent again"
        );
        if entry.batch.report.is_some() && entry.attempts > settings.retries {
            let error = error
                .prefixed(&format!("{} attempts failed", entry.attempts))
                .with_partition(&self.topic, self.partition)
                .with_persisted(entry.persisted());
            self.fail(index, error.into(), outputs);
        } else {
            self.last_error = Some(error);
            self.give_up_if_abandoned(index, outputs);
        }
    }

    /// Nobody waits for an expired batch any more: its only use was the answer.
    fn give_up_if_abandoned(&mut self, index: usize, outputs: &mut Vec<Output>) {
        if self.entries[index].batch.report.is_none() {
            let entry = self.leave_sequence(index);
            outputs.push(release(entry));
        }
    }

    fn fail(&mut self, index: usize, failure: Failure, outputs: &mut Vec<Output>) {
        let mut entry = self.leave_sequence(index);
        report(self.key, &mut entry, Err(failure), outputs);
        outputs.push(release(entry));
    }

    /// Removes an entry that will not be written under its number, which leaves a gap for those after it.
    fn leave_sequence(&mut self, index: usize) -> Entry {
        let entry = self.remove(index);
        if entry.ordinal.is_some() {
            self.draining |= self.on_wire > 0;
            self.renumber = self.renumber.max(Some(Renumber::NextEpoch));
        }
        entry
    }

    fn remove(&mut self, index: usize) -> Entry {
        if index < self.cursor {
            self.cursor -= 1;
        }
        self.entries.remove(index).expect("the index is that of an entry")
    }

    fn split(&mut self, index: usize, outputs: &mut Vec<Output>) {
        let mut entry = self.leave_sequence(index);
        self.draining = true;
        match split(&mut entry.batch, self.next_part) {
            Ok([first, second]) => {
                self.next_part += 2;
                for batch in [second, first] {
                    let part = Entry { batch, on_wire: false, uncertain: false, attempts: 0, ordinal: None };
                    self.entries.insert(index, part);
                }
            }
            Err(error) => {
                let error = Error::broker(ErrorCode::MESSAGE_TOO_LARGE)
                    .prefixed(&format!("the batch cannot be split: {error}"))
                    .with_partition(&self.topic, self.partition);
                report(self.key, &mut entry, Err(error.into()), outputs);
                outputs.push(release(entry));
            }
        }
    }

    fn renumber(&mut self, renumber: Renumber) {
        self.renumber = None;
        self.next_sequence = 0;
        self.proven = false;
        for entry in &mut self.entries {
            entry.ordinal = None;
        }
        let spent = self.identity.map(|identity| identity.producer_id);
        self.identity = self.identity.and_then(|identity| match renumber {
            Renumber::NextEpoch => identity
                .producer_epoch
                .checked_add(1)
                .map(|producer_epoch| Identity { producer_epoch, ..identity }),
            Renumber::NewProducerId => None,
        });
        self.spent = spent.filter(|_| self.identity.is_none()).or(self.spent);
    }
}

impl Entry {
    fn persisted(&self) -> Persisted {
        if self.on_wire || self.uncertain { Persisted::Maybe } else { Persisted::No }
    }
}

fn report(
    partition: PartitionKey,
    entry: &mut Entry,
    result: Result<Placement, Failure>,
    outputs: &mut Vec<Output>,
) {
    if let Some(report) = entry.batch.report.take() {
        outputs.push(Output::Report { partition, report, result });
    }
}

fn release(entry: Entry) -> Output {
    let SealedBatch { charge, record_count, data, .. } = entry.batch;
    Output::Release { charge, record_count, data }
}
