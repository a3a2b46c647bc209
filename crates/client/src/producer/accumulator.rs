//! The open batches: records go straight from the caller into the bytes that will be sent.

use std::{
    cell::RefCell,
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::BytesMut;
use kcopy_wire::{
    partitioner::{Choice, Partitioner, Spread},
    records::{BatchBuilder, BatchOptions, Compressor, HEADER_LEN, ProducerStamp},
};
use tokio::time::Instant;

use super::{
    Position, Receipt, Record, Topic,
    acknowledgement::BatchAcknowledgement,
    batch::{Identity, PartitionKey, Report, SealedBatch, Stamp},
    config::ProducerConfig,
    error::AppendError,
    handle::Shared,
    queue::Queue,
};
use crate::error::Error;

/// The first buffer of a batch, where none is to be had from the pool.
const MIN_BUFFER: usize = 1 << 10;
/// What a record takes beyond its key, value and headers, at most.
const RECORD_OVERHEAD: usize = 36;
/// Lingering batches that are larger than this are compressed on a thread of their own.
const LARGE: usize = 16 << 10;
/// The clock is read once for this many records that come without a timestamp.
const CLOCK_USES: u32 = 64;

thread_local! {
    /// Setting up a codec's tables takes longer than to compress a small batch.
    static COMPRESSOR: RefCell<Compressor> = RefCell::new(Compressor::new());
}

/// Locks, and takes no notice of a thread that panicked with the lock: nothing here is left half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The queue, unless nothing is taken any more.
fn usable(shared: &Shared) -> Result<MutexGuard<'_, Queue>, AppendError> {
    let queue = lock(&shared.queue);
    match &queue.closed {
        Some(error) => Err(AppendError::Closed(error.clone())),
        None => Ok(queue),
    }
}

#[derive(Debug)]
pub(super) struct Accumulator {
    partitioner: Partitioner,
    options: BatchOptions,
    batch_size: usize,
    batch_records: u32,
    max_message_bytes: usize,
    linger: Duration,
    delivery_timeout: Duration,
    topics: Vec<TopicState>,
    by_name: HashMap<Arc<str>, usize>,
    /// Where the open batches are: `(topic, partition)`.
    open: Vec<(u32, u32)>,
    /// For how many open batches room has been freed.
    room_for: usize,
    next_key: u32,
    next_number: u64,
    /// Taken from the account, not used yet.
    credit_records: usize,
    buffer_bytes: usize,
    /// How many bytes the last record lacked for which there was no room.
    lacking: usize,
    identity: Option<Identity>,
    clock: Clock,
    /// A batch was opened, so that the sender has to see to its lingering.
    opened: bool,
}

#[derive(Debug)]
struct TopicState {
    name: Arc<str>,
    partitions: Vec<PartitionState>,
    spread: Spread,
}

#[derive(Debug)]
struct PartitionState {
    key: PartitionKey,
    next_index: u64,
    open: Option<OpenBatch>,
    /// How large the last batch was: the next one will probably need as much, and where it needs a little more its
    /// buffer would double.
    last_size: usize,
}

#[derive(Debug)]
pub(super) struct OpenBatch {
    builder: BatchBuilder,
    opened_at: Instant,
    base_index: u64,
    charge: usize,
    acknowledgement: Option<Arc<BatchAcknowledgement>>,
}

/// Where a record went.
#[derive(Debug)]
pub(super) struct Appended<'a> {
    pub(super) position: Position,
    open: &'a mut OpenBatch,
}

impl Appended<'_> {
    /// A promise of what becomes of the record.
    pub(super) fn receipt(self) -> Receipt {
        let acknowledgement = self.open.acknowledgement.get_or_insert_default().clone();
        Receipt { acknowledgement, index: (self.position.index - self.open.base_index) as u32 }
    }
}

/// A batch that takes no more records, before compression.
#[derive(Debug)]
pub(super) struct Unfinished {
    builder: BatchBuilder,
    stamp: Option<Stamp>,
    /// Without its data.
    pub(super) batch: SealedBatch,
}

impl Unfinished {
    /// Whether to compress it takes a while.
    pub(super) fn is_large(&self) -> bool {
        self.builder.estimated_size() >= LARGE
    }

    /// For work that takes a while: the machine keeps the batch's place with everything but its bytes, which
    /// are then all that comes later.
    pub(super) fn with_placeholder(mut self) -> (Unfinished, SealedBatch) {
        let report = self.batch.report.take();
        let placeholder = SealedBatch { data: None, report, ..self.batch };
        (self, placeholder)
    }

    /// Compresses the records and takes their checksum.
    pub(super) fn finish(self) -> (SealedBatch, Option<Error>) {
        let mut batch = self.batch;
        let stamp = self.stamp.map_or(ProducerStamp::NONE, Into::into);
        match COMPRESSOR.with_borrow_mut(|compressor| self.builder.finish_with(stamp, compressor)) {
            Ok(data) => {
                batch.data = Some(data);
                batch.stamp = self.stamp;
                (batch, None)
            }
            Err(error) => (batch, Some(Error::invalid(error.to_string()))),
        }
    }
}

#[derive(Debug, Default)]
struct Clock {
    now_ms: i64,
    uses_left: u32,
}

impl Clock {
    #[inline]
    fn now_ms(&mut self) -> i64 {
        if self.uses_left == 0 {
            let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.now_ms = since_1970.as_millis() as i64;
            self.uses_left = CLOCK_USES;
        }
        self.uses_left -= 1;
        self.now_ms
    }
}

impl Accumulator {
    pub(super) fn new(config: &ProducerConfig) -> Self {
        Accumulator {
            partitioner: config.partitioner,
            options: BatchOptions {
                level: config.compression_level,
                ..BatchOptions::new(config.compression)
            },
            batch_size: config.batch_size.max(1),
            batch_records: config.batch_records,
            max_message_bytes: config.max_message_bytes,
            linger: config.linger,
            delivery_timeout: config.delivery_timeout,
            topics: Vec::new(),
            by_name: HashMap::new(),
            open: Vec::new(),
            room_for: 0,
            next_key: 0,
            next_number: 0,
            credit_records: 0,
            buffer_bytes: config.buffer_bytes,
            lacking: 0,
            identity: None,
            clock: Clock::default(),
            opened: false,
        }
    }

    /// Adds a topic, or gives the one that was added before.
    pub(super) fn add_topic(
        &mut self,
        shared: &Shared,
        name: &str,
        partition_count: u32,
        seed: u64,
    ) -> Topic {
        let index = self.by_name.get(name).copied().unwrap_or_else(|| {
            let name: Arc<str> = Arc::from(name);
            self.topics.push(TopicState {
                name: name.clone(),
                partitions: Vec::new(),
                spread: Spread::new(seed),
            });
            self.by_name.insert(name, self.topics.len() - 1);
            self.topics.len() - 1
        });
        self.grow_topic(&mut lock(&shared.queue), index, partition_count);
        Topic(index as u32)
    }

    fn grow_topic(&mut self, queue: &mut Queue, index: usize, partition_count: u32) {
        let topic = &mut self.topics[index];
        while (topic.partitions.len() as u32) < partition_count {
            let key = PartitionKey(self.next_key);
            self.next_key += 1;
            queue.new_partitions.push((topic.name.clone(), topic.partitions.len() as i32));
            topic.partitions.push(PartitionState { key, next_index: 0, open: None, last_size: 0 });
        }
    }

    pub(super) fn topic_name(&self, topic: Topic) -> &Arc<str> {
        &self.topics[topic.0 as usize].name
    }

    pub(super) fn partition_count(&self, topic: Topic) -> u32 {
        self.topics[topic.0 as usize].partitions.len() as u32
    }

    /// Appends one record to the open batch of its partition.
    #[inline]
    pub(super) fn append(
        &mut self,
        shared: &Shared,
        topic: Topic,
        record: &Record<'_>,
    ) -> Result<Appended<'_>, AppendError> {
        let topic_index = topic.0 as usize;
        let state = &mut self.topics[topic_index];
        let mut is_sticky = false;
        let mut partition = match record.partition {
            Some(partition) => {
                if partition < 0 || partition as usize >= state.partitions.len() {
                    return Err(self.unknown_partition(topic_index, partition));
                }
                partition as usize
            }
            None => {
                let count = state.partitions.len() as u32;
                match self.partitioner.choose(record.key, count) {
                    Choice::Partition(partition) => partition as usize,
                    Choice::Sticky => {
                        is_sticky = true;
                        state.spread.sticky(count) as usize
                    }
                    Choice::Random => state.spread.random(count) as usize,
                }
            }
        };
        let size = RECORD_OVERHEAD
            + record.key.map_or(0, <[u8]>::len)
            + record.value.map_or(0, <[u8]>::len)
            + record.headers.encoded_len();
        let fits = match &state.partitions[partition].open {
            Some(open) => {
                open.builder.estimated_size() + size <= self.batch_size.min(open.builder.capacity())
                    && (open.builder.len() as u32) < self.batch_records
                    && self.credit_records > 0
            }
            None => false,
        };
        if !fits {
            partition = self.make_room(shared, topic_index, partition, size, is_sticky)?;
        }
        let timestamp = match record.timestamp {
            Some(timestamp) => timestamp,
            None => self.clock.now_ms(),
        };
        let state = &mut self.topics[topic_index].partitions[partition];
        // The room that was made includes a batch, and only one of 2 GiB would refuse a record.
        let too_large = AppendError::TooLarge { size, max_message_bytes: self.max_message_bytes };
        let Some(open) = &mut state.open else { return Err(too_large) };
        if open.builder.append(timestamp, record.key, record.value, record.headers).is_err() {
            return Err(too_large);
        }
        self.credit_records -= 1;
        let index = state.next_index;
        state.next_index += 1;
        Ok(Appended { position: Position { partition: partition as i32, index }, open })
    }

    /// Appends values without keys and headers to the open batch of a partition, for as long as they fit, and
    /// gives the first that does not. They must be bound for that partition: it was named for them, or
    /// [sticks](Self::sticks).
    #[inline]
    pub(super) fn append_run<'v>(
        &mut self,
        topic: Topic,
        partition: i32,
        values: &mut impl Iterator<Item = Option<&'v [u8]>>,
        appended: &mut u64,
    ) -> Option<Option<&'v [u8]>> {
        let state = &mut self.topics[topic.0 as usize].partitions[partition as usize];
        let Some(open) = &mut state.open else { return values.next() };
        let free_records = (self.batch_records as usize).saturating_sub(open.builder.len());
        // No more than share one look at the clock.
        let max_records = free_records.min(self.credit_records).min(CLOCK_USES as usize);
        self.clock.uses_left = 0;
        let (records, left_over) =
            open.builder.append_values(self.clock.now_ms(), self.batch_size, max_records, values);
        self.credit_records -= records;
        state.next_index += records as u64;
        *appended += records as u64;
        left_over
    }

    /// How much room the last record lacked for which there was none.
    pub(super) fn lacking(&self) -> usize {
        self.lacking
    }

    /// Whether records without partition and key go where the last one went, until its batch is full.
    pub(super) fn sticks(&self) -> bool {
        self.partitioner.choose(None, 1) == Choice::Sticky
    }

    /// Prepares the open batch of a partition for one more record, or that of the next one for a record that
    /// goes where there is a batch: the slow path, once per batch and
    /// each time that it grows. Says which partition it is.
    #[cold]
    fn make_room(
        &mut self,
        shared: &Shared,
        topic: usize,
        partition: usize,
        size: usize,
        is_sticky: bool,
    ) -> Result<usize, AppendError> {
        if size + HEADER_LEN > self.max_message_bytes {
            // The overhead is an upper bound: only here, where it decides, is it worth being exact.
            let exact = size + HEADER_LEN - RECORD_OVERHEAD;
            if exact + 7 > self.max_message_bytes {
                return Err(AppendError::TooLarge {
                    size: exact + 7,
                    max_message_bytes: self.max_message_bytes,
                });
            }
        }
        if self.credit_records == 0 {
            let mut queue = usable(shared)?;
            let records = queue.free_records.min(1024);
            queue.free_records -= records;
            self.credit_records += records;
            if records == 0 {
                let stuck = queue.is_released();
                drop(queue);
                return Err(self.full(shared, 0, stuck));
            }
        }
        let is_full = self.topics[topic].partitions[partition].open.as_ref().is_some_and(|open| {
            open.builder.estimated_size() + size > self.batch_size
                || open.builder.len() as u32 >= self.batch_records
        });
        if is_full && let Some(unfinished) = self.close_batch(topic, partition) {
            self.push(shared, unfinished);
            if is_sticky {
                // The record begins a batch elsewhere: here it would be left behind alone.
                let state = &mut self.topics[topic];
                let count = state.partitions.len() as u32;
                state.spread.advance(count);
                let next = state.spread.sticky(count) as usize;
                return self.make_room(shared, topic, next, size, false);
            }
        }
        let needed = HEADER_LEN + size;
        match &mut self.topics[topic].partitions[partition].open {
            None => self.open_batch(shared, topic, partition, needed)?,
            Some(open) => {
                let used = open.builder.estimated_size();
                if used + size > open.builder.capacity() {
                    let doubled = 2 * open.builder.capacity();
                    let doubled = if doubled > self.batch_size / 8 * 9 { self.batch_size } else { doubled };
                    let capacity = doubled.max(used + size);
                    let more = capacity.min(self.buffer_bytes).saturating_sub(open.charge);
                    let mut queue = usable(shared)?;
                    let has_room = queue.take_bytes(more);
                    let stuck = queue.is_released();
                    drop(queue);
                    if !has_room {
                        return Err(self.full(shared, more, stuck));
                    }
                    open.charge += more;
                    open.builder.reserve(capacity);
                }
            }
        }
        Ok(partition)
    }

    /// There is no room for `lacking` bytes; `stuck`: and nothing under way that would make some.
    fn full(&mut self, shared: &Shared, lacking: usize, stuck: bool) -> AppendError {
        self.lacking = lacking;
        if stuck {
            // Everything is in open batches: unless they go now, there will never be room.
            self.seal_all(shared);
        }
        AppendError::Full
    }

    /// Opens a batch whose first record needs so many bytes.
    fn open_batch(
        &mut self,
        shared: &Shared,
        topic: usize,
        partition: usize,
        needed: usize,
    ) -> Result<(), AppendError> {
        let mut queue = usable(shared)?;
        self.identity = queue.identity;
        for (name, count) in mem::take(&mut queue.grown_topics) {
            if let Some(index) = self.by_name.get(&name) {
                self.grow_topic(&mut queue, *index, count);
            }
        }
        if self.open.len() >= self.room_for {
            queue.free_more(self.batch_size);
            self.room_for += 1;
        }
        // Charged is the memory that a batch has: to count its records alone would be to use twice of what is allowed,
        // where buffers have just doubled or large ones carry small batches.
        let last_size = self.topics[topic].partitions[partition].last_size;
        let wanted = (last_size + last_size / 8).max(MIN_BUFFER).min(self.batch_size).max(needed);
        let most = (2 * wanted).max(self.buffer_bytes / 4 / (self.open.len() + 1));
        let mut buffer = queue.take_buffer(wanted, most);
        let charge = buffer.as_ref().map_or(wanted, BytesMut::capacity).min(self.buffer_bytes);
        let has_room = queue.take_bytes(charge);
        if !has_room && let Some(buffer) = buffer.take() {
            queue.keep_buffer(buffer);
        }
        let stuck = queue.is_released();
        drop(queue);
        if !has_room {
            return Err(self.full(shared, charge, stuck));
        }
        let state = &mut self.topics[topic].partitions[partition];
        // Large zeroed memory comes as it is from the system.
        let buffer = buffer.unwrap_or_else(|| BytesMut::zeroed(wanted));
        state.open = Some(OpenBatch {
            builder: BatchBuilder::with_buffer(self.options, buffer),
            opened_at: Instant::now(),
            base_index: state.next_index,
            charge,
            acknowledgement: None,
        });
        self.open.push((topic as u32, partition as u32));
        self.opened = true;
        Ok(())
    }

    /// Takes the open batch out; a batch without records is kept open.
    fn close_batch(&mut self, topic: usize, partition: usize) -> Option<(PartitionKey, Unfinished)> {
        let state = &mut self.topics[topic].partitions[partition];
        let open = state.open.take_if(|open| !open.builder.is_empty())?;
        self.open.retain(|place| *place != (topic as u32, partition as u32));
        state.last_size = open.builder.estimated_size();
        let record_count = open.builder.len() as u32;
        let number = self.next_number;
        self.next_number += 1;
        let report = Report {
            number,
            base_index: open.base_index,
            record_count,
            acknowledgement: open.acknowledgement.map(|acknowledgement| (acknowledgement, 0)),
        };
        let batch = SealedBatch {
            number,
            data: None,
            stamp: None,
            record_count,
            deadline: open.opened_at + self.delivery_timeout,
            charge: open.charge,
            report: Some(report),
        };
        // Right unless the partition's numbers have begun anew, and then the sender corrects it.
        let base_sequence = (open.base_index & i32::MAX as u64) as i32;
        let stamp = self.identity.map(|identity| Stamp { identity, base_sequence });
        Some((state.key, Unfinished { builder: open.builder, stamp, batch }))
    }

    fn push(&mut self, shared: &Shared, (key, unfinished): (PartitionKey, Unfinished)) {
        let (batch, error) = unfinished.finish();
        let mut queue = lock(&shared.queue);
        queue.keep_buffer(COMPRESSOR.with_borrow_mut(Compressor::take_buffer));
        queue.expect(&batch);
        queue.sealed.push((key, batch, error));
        drop(queue);
        shared.news.notify_one();
    }

    /// Seals everything, and says which batch will be the next.
    pub(super) fn seal_all(&mut self, shared: &Shared) -> u64 {
        for (topic, partition) in self.open.clone() {
            if let Some(unfinished) = self.close_batch(topic as usize, partition as usize) {
                self.push(shared, unfinished);
            }
        }
        self.next_number
    }

    /// Takes out the batches that have lingered long enough and would be sent at once, at most `most_large` of the large
    /// ones. Says when the next one will have, of those that would.
    pub(super) fn take_lingered(
        &mut self,
        shared: &Shared,
        now: Instant,
        most_large: usize,
        has_room: impl Fn(PartitionKey) -> bool,
    ) -> (Vec<(PartitionKey, Unfinished)>, Option<Instant>) {
        let mut next = None;
        let mut lingered: Vec<(PartitionKey, Unfinished)> = Vec::new();
        let mut large = 0;
        for (topic, partition) in self.open.clone() {
            let state = &self.topics[topic as usize].partitions[partition as usize];
            let Some(open) = &state.open else { continue };
            let due = open.opened_at + self.linger;
            let expired = open.opened_at + self.delivery_timeout <= now;
            if open.builder.is_empty() || (!has_room(state.key) && !expired) {
                // Batches go on growing while the broker is busy: a slow one gets fewer and larger ones. The
                // sender looks again when an answer comes.
            } else if due > now && !expired {
                next = Some(next.map_or(due, |next: Instant| next.min(due)));
            } else if large >= most_large && open.builder.estimated_size() >= LARGE && !expired {
                // It grows as well, until one of the others is compressed and the sender looks again.
            } else if let Some(unfinished) = self.close_batch(topic as usize, partition as usize) {
                large += usize::from(unfinished.1.is_large());
                lock(&shared.queue).expect(&unfinished.1.batch);
                lingered.push(unfinished);
                let state = &mut self.topics[topic as usize];
                let count = state.partitions.len() as u32;
                if state.spread.sticky(count) == partition {
                    state.spread.advance(count);
                }
            }
        }
        (lingered, next)
    }

    /// The earliest time at which records in open batches have to be given up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let opened = self.open.iter().filter_map(|(topic, partition)| {
            let open = self.topics[*topic as usize].partitions[*partition as usize].open.as_ref()?;
            (!open.builder.is_empty()).then_some(open.opened_at)
        });
        opened.min().map(|opened_at| opened_at + self.delivery_timeout)
    }

    /// Whether a batch was opened since this was last asked.
    pub(super) fn take_opened(&mut self) -> bool {
        mem::take(&mut self.opened)
    }

    #[cold]
    fn unknown_partition(&self, topic: usize, partition: i32) -> AppendError {
        AppendError::UnknownPartition {
            partition,
            partition_count: self.topics[topic].partitions.len() as u32,
        }
    }
}
