//! Writing batches.

use bytes::{Bytes, BytesMut};

use super::{
    attributes::{Attributes, Compression, TimestampType},
    batch::{HEADER_LEN, LENGTH_OVERHEAD, MAGIC, at},
    compression::Compressor,
    control::EndTxnMarker,
    crc::crc32c,
    error::RecordsError,
    headers::Headers,
    record::NO_TIMESTAMP,
    varint::{MAX_LEN_64, MAX_SHORT, len_of, put, put_short, short},
};

/// How a batch is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchOptions {
    /// How to compress the records.
    pub compression: Compression,
    /// How hard to compress; `None` is the codec's default. gzip 1 to 9, zstd 1 to 22; the others have no
    /// levels.
    pub level: Option<i32>,
    /// Who sets the timestamps: producers leave it at `CreateTime`.
    pub timestamp_type: TimestampType,
    /// The offset of the first record: producers leave it at 0, the broker assigns it.
    pub base_offset: i64,
    /// The leader's epoch; -1, the default of [`BatchOptions::new`] and of producers, if not known.
    pub partition_leader_epoch: Option<i32>,
    /// How many bytes to reserve at once.
    pub capacity: usize,
}

impl BatchOptions {
    /// The options of a producer that compresses with `compression`.
    pub fn new(compression: Compression) -> Self {
        BatchOptions { compression, ..Self::default() }
    }
}

/// Which producer a batch is from (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer id; -1 for a producer that is not idempotent.
    pub id: i64,
    /// The producer's epoch; -1 without an id.
    pub epoch: i16,
    /// The sequence number of the first record; -1 without an id.
    pub base_sequence: i32,
    /// Whether the batch is part of a transaction.
    pub transactional: bool,
}

impl ProducerStamp {
    /// The stamp of a producer that is not idempotent.
    pub const NONE: ProducerStamp =
        ProducerStamp { id: -1, epoch: -1, base_sequence: -1, transactional: false };
}

impl Default for ProducerStamp {
    fn default() -> Self {
        Self::NONE
    }
}

/// Everything of a record but key, value and headers, at its longest.
const MAX_RECORD_OVERHEAD: usize = 5 + 1 + MAX_LEN_64 + 5 + 5 + 5 + 5;

/// Writes a batch. Each record goes straight to its place in the final bytes; compression happens in
/// [`BatchBuilder::finish`], over all of them at once.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// The header, not filled in before the end, the records up to `end`, and bytes without meaning: a record
    /// is written field by field, and that is fastest into memory that is there.
    buffer: BytesMut,
    end: usize,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(options: BatchOptions) -> Self {
        Self::with_buffer(options, BytesMut::new())
    }

    /// An empty batch that is written into `buffer`, whose contents are discarded: reuse of large buffers is
    /// worth it, as many allocators return them to the system each time. Get one back from a finished batch
    /// with [`Bytes::try_into_mut`].
    pub fn with_buffer(options: BatchOptions, mut buffer: BytesMut) -> Self {
        let wanted = HEADER_LEN.max(options.capacity);
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        BatchBuilder {
            options,
            buffer,
            end: HEADER_LEN,
            count: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// Adds a record with the next offset.
    ///
    /// `timestamp` is in milliseconds since 1970, [`NO_TIMESTAMP`] for none.
    ///
    /// # Errors
    /// `TooLarge` if the batch would outgrow the 2 GiB or 2^31 - 1 records of its format; it stays as it was.
    #[inline]
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Headers<'_>,
    ) -> Result<(), RecordsError> {
        let base_timestamp = if self.count == 0 { timestamp } else { self.base_timestamp };
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let bound = record_size_bound(key, value, headers);
        if bound > (i32::MAX as usize) - self.end || self.count == i32::MAX {
            return Err(self.full(bound));
        }
        if bound > self.buffer.len() - self.end {
            self.grow(bound);
        }
        let out = &mut self.buffer[self.end..self.end + bound];
        let is_short = bound <= MAX_SHORT
            && headers.count() == 0
            && self.count <= MAX_SHORT as i32
            && timestamp_delta.unsigned_abs() <= MAX_SHORT as u64;
        let len = if is_short {
            write_short(out, timestamp_delta, self.count, key, value)
        } else {
            write(out, timestamp_delta, self.count, key, value, headers)
        };
        self.end += len;
        self.count += 1;
        self.base_timestamp = base_timestamp;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(())
    }

    /// Adds records that have one timestamp, no key and no headers, for as long as there are `values`, at most
    /// `max_records` of them, and none that might make the batch outgrow `max_size` or the memory it has. Says how
    /// many, and gives the value that it took from the iterator and did not add, if any. Several times faster
    /// than [`append`](Self::append), which is to be used for that one.
    #[inline]
    pub fn append_values<'v>(
        &mut self,
        timestamp: i64,
        max_size: usize,
        max_records: usize,
        values: &mut impl Iterator<Item = Option<&'v [u8]>>,
    ) -> (usize, Option<Option<&'v [u8]>>) {
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let is_short = timestamp_delta.unsigned_abs() <= MAX_SHORT as u64;
        if self.count == 0 || !is_short {
            return (0, values.next());
        }
        let (time, time_len) = short(timestamp_delta);
        let max_size = max_size.min(self.buffer.len());
        let out = &mut self.buffer[..max_size];
        let max_count = self.count.saturating_add(i32::try_from(max_records).unwrap_or(i32::MAX));
        let max_count = max_count.min(MAX_SHORT as i32);
        let (before, mut end, mut count) = (self.count, self.end, self.count);
        let left_over = loop {
            let Some(value) = values.next() else { break None };
            let bytes = value.unwrap_or_default();
            let bound = MAX_RECORD_OVERHEAD + bytes.len();
            let has_room = bound <= max_size.saturating_sub(end) && bound <= MAX_SHORT && count < max_count;
            if !has_room {
                break Some(value);
            }
            let (offset, offset_len) = short(i64::from(count));
            let (value_len, value_len_len) = short(nullable_len(value));
            // Attributes, both deltas and the length of the key, which is that of none: 1.
            let head = u64::from(time) << 8
                | u64::from(offset) << (8 + 8 * time_len)
                | 1 << (8 + 8 * (time_len + offset_len));
            let head_len = 2 + time_len + offset_len;
            let body = head_len + value_len_len + bytes.len() + 1;
            let out = &mut out[end..end + bound];
            let at = put_short(out, 0, body as i64);
            out[at..at + 8].copy_from_slice(&head.to_le_bytes());
            let at = at + head_len;
            out[at..at + 4].copy_from_slice(&value_len.to_le_bytes());
            let at = put_bytes(out, at + value_len_len, bytes);
            out[at] = 0;
            end += at + 1;
            count += 1;
        };
        (self.end, self.count) = (end, count);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        ((count - before) as usize, left_over)
    }

    #[cold]
    fn grow(&mut self, bound: usize) {
        self.buffer.reserve((self.end + bound).saturating_sub(self.buffer.len()));
        self.buffer.resize(self.buffer.capacity(), 0);
    }

    /// How much memory the batch has, of which [`estimated_size`](Self::estimated_size) is used.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Makes room for so many bytes in all, and no more than that.
    pub fn reserve(&mut self, capacity: usize) {
        if capacity >= 2 * self.buffer.capacity() {
            // Where it is, if the allocator can: this at least doubles.
            self.buffer.reserve(capacity.saturating_sub(self.buffer.len()));
        } else if capacity > self.buffer.capacity() {
            let mut larger = BytesMut::zeroed(capacity);
            larger[..self.end].copy_from_slice(&self.buffer[..self.end]);
            self.buffer = larger;
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How large the batch is: exact without compression, and before it otherwise.
    #[inline]
    pub fn estimated_size(&self) -> usize {
        self.end
    }

    /// How large the batch would be with one more record; at most a few bytes too many.
    #[inline]
    pub fn estimated_size_with(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Headers<'_>,
    ) -> usize {
        self.end + record_size_bound(key, value, headers)
    }

    /// The options it was made with.
    pub fn options(&self) -> &BatchOptions {
        &self.options
    }

    /// The largest timestamp so far, if there is a record.
    pub fn max_timestamp(&self) -> Option<i64> {
        (self.count > 0).then_some(self.max_timestamp)
    }

    /// Compresses, fills in the header and returns the batch.
    ///
    /// # Errors
    /// `TooLarge` if compression makes it outgrow its format, `InvalidRecord` if the compressor fails.
    pub fn finish(self, stamp: ProducerStamp) -> Result<Bytes, RecordsError> {
        self.finish_as(stamp, false, &mut Compressor::new())
    }

    /// [`BatchBuilder::finish`] with working memory that is kept from batch to batch. If the batch is
    /// compressed, the buffer it was built in is left there: see [`Compressor::take_buffer`].
    ///
    /// # Errors
    /// As [`BatchBuilder::finish`].
    pub fn finish_with(
        self,
        stamp: ProducerStamp,
        compressor: &mut Compressor,
    ) -> Result<Bytes, RecordsError> {
        self.finish_as(stamp, false, compressor)
    }

    /// The batch that ends a transaction: one marker, as the coordinator has the leaders write it.
    /// `stamp.base_sequence` and `stamp.transactional` are what markers always have, whatever is given.
    ///
    /// # Errors
    /// None in practice: the batch is small and not compressed.
    pub fn control(
        options: BatchOptions,
        timestamp: i64,
        stamp: ProducerStamp,
        marker: EndTxnMarker,
    ) -> Result<Bytes, RecordsError> {
        let mut builder = Self::new(BatchOptions { compression: Compression::None, ..options });
        builder.append(timestamp, Some(&marker.key()), Some(&marker.value()), Headers::EMPTY)?;
        let stamp = ProducerStamp { base_sequence: -1, transactional: true, ..stamp };
        builder.finish_as(stamp, true, &mut Compressor::new())
    }

    pub(super) fn finish_as(
        mut self,
        stamp: ProducerStamp,
        control: bool,
        compressor: &mut Compressor,
    ) -> Result<Bytes, RecordsError> {
        let BatchOptions { compression, level, .. } = self.options;
        self.buffer.truncate(self.end);
        if compression != Compression::None {
            let mut out = Vec::with_capacity(HEADER_LEN + self.buffer.len() / 2);
            out.resize(HEADER_LEN, 0);
            compressor.compress(compression, level, &self.buffer[HEADER_LEN..], &mut out)?;
            let built = std::mem::replace(&mut self.buffer, BytesMut::from(Bytes::from(out)));
            compressor.keep_buffer(built);
        }
        let length = i32::try_from(self.buffer.len() - LENGTH_OVERHEAD)
            .map_err(|_| RecordsError::too_large("compressed batch exceeds 2 GiB"))?;
        let attributes = Attributes::default()
            .with_compression(compression)
            .with_timestamp_type(self.options.timestamp_type)
            .with_transactional(stamp.transactional)
            .with_control(control);
        let header = &mut self.buffer[..HEADER_LEN];
        let mut set = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
        set(at::BASE_OFFSET, &self.options.base_offset.to_be_bytes());
        set(at::LENGTH, &length.to_be_bytes());
        set(at::PARTITION_LEADER_EPOCH, &self.options.partition_leader_epoch.unwrap_or(-1).to_be_bytes());
        set(at::MAGIC, &MAGIC.to_be_bytes());
        set(at::ATTRIBUTES, &attributes.0.to_be_bytes());
        set(at::LAST_OFFSET_DELTA, &(self.count - 1).max(0).to_be_bytes());
        set(at::BASE_TIMESTAMP, &self.base_timestamp.to_be_bytes());
        set(at::MAX_TIMESTAMP, &self.max_timestamp.to_be_bytes());
        set(at::PRODUCER_ID, &stamp.id.to_be_bytes());
        set(at::PRODUCER_EPOCH, &stamp.epoch.to_be_bytes());
        set(at::BASE_SEQUENCE, &stamp.base_sequence.to_be_bytes());
        set(at::RECORD_COUNT, &self.count.to_be_bytes());
        let crc = crc32c(&self.buffer[at::ATTRIBUTES..]);
        self.buffer[at::CRC..at::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
        Ok(self.buffer.freeze())
    }

    #[cold]
    fn full(&self, size: usize) -> RecordsError {
        RecordsError::too_large(format!(
            "a record of {size} bytes does not fit a batch of {} records and {} bytes",
            self.count, self.end
        ))
    }
}

/// Writes a record to the beginning of `out`, which has room for its bound, and says how long it is.
#[inline(never)]
fn write(
    out: &mut [u8],
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: Headers<'_>,
) -> usize {
    // The length comes first and is known last; a guess at how long it is itself is nearly always right.
    let guess = len_of((out.len() - MAX_RECORD_OVERHEAD + 7) as i64);
    out[guess] = 0; // record attributes: none are defined
    let mut at = put(out, guess + 1, timestamp_delta);
    at = put(out, at, i64::from(offset_delta));
    at = put(out, at, nullable_len(key));
    at = put_bytes(out, at, key.unwrap_or_default());
    at = put(out, at, nullable_len(value));
    at = put_bytes(out, at, value.unwrap_or_default());
    at = put(out, at, i64::from(headers.count()));
    at = put_bytes(out, at, headers.encoded());
    let body = at - guess;
    let start = len_of(body as i64);
    if start != guess {
        out.copy_within(guess..at, start);
    }
    put(out, 0, body as i64);
    start + body
}

/// [`write`] for a record without headers all of whose numbers are [short](MAX_SHORT), which nearly all are: its
/// length is computed first, and what stands before the key takes two stores.
#[inline(always)]
fn write_short(
    out: &mut [u8],
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> usize {
    let (time, time_len) = short(timestamp_delta);
    let (offset, offset_len) = short(i64::from(offset_delta));
    let (_, key_len) = short(nullable_len(key));
    let (_, value_len) = short(nullable_len(value));
    let (key_bytes, value_bytes) = (key.unwrap_or_default(), value.unwrap_or_default());
    // The attributes before, the count of headers after it.
    let body = 1 + time_len + offset_len + key_len + key_bytes.len() + value_len + value_bytes.len() + 1;
    let at = put_short(out, 0, body as i64);
    let deltas = u64::from(time) << 8 | u64::from(offset) << (8 + 8 * time_len);
    out[at..at + 8].copy_from_slice(&deltas.to_le_bytes());
    let mut at = at + 1 + time_len + offset_len;
    at = put_short(out, at, nullable_len(key));
    at = put_bytes(out, at, key_bytes);
    at = put_short(out, at, nullable_len(value));
    at = put_bytes(out, at, value_bytes);
    out[at] = 0;
    at + 1
}

/// The most bytes that a record takes in a batch.
#[inline]
fn record_size_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: Headers<'_>) -> usize {
    MAX_RECORD_OVERHEAD + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers.encoded().len()
}

#[inline(always)]
fn nullable_len(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| bytes.len() as i64)
}

/// Copies `src` to `at` and returns the position behind it; `out` must have room.
///
/// Most keys and values are short. A call of `memcpy` costs as much as copying them, with musl far more, and
/// two overlapping copies of a constant size need none.
#[inline(always)]
fn put_bytes(out: &mut [u8], at: usize, src: &[u8]) -> usize {
    if src.is_empty() {
        return at;
    }
    let end = at + src.len();
    let dst = &mut out[at..end];
    if src.len() > 128 {
        dst.copy_from_slice(src);
    } else if !(copy_ends::<64>(dst, src)
        || copy_ends::<32>(dst, src)
        || copy_ends::<16>(dst, src)
        || copy_ends::<8>(dst, src)
        || copy_ends::<4>(dst, src))
    {
        for (to, from) in dst.iter_mut().zip(src).take(3) {
            *to = *from;
        }
    }
    end
}

/// Copies the first and the last `N` bytes, if there are as many: all of up to `2 * N`.
#[inline(always)]
fn copy_ends<const N: usize>(dst: &mut [u8], src: &[u8]) -> bool {
    if let (Some(from), Some(to)) = (src.first_chunk::<N>(), dst.first_chunk_mut::<N>()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (src.last_chunk::<N>(), dst.last_chunk_mut::<N>()) {
        *to = *from;
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Batches, HeadersBuf, RecordLimits};

    #[test]
    fn values_at_once_are_the_same_as_one_by_one() {
        let text = vec![b'x'; 1 << 20];
        let some = |len: usize| Some(&text[..len]);
        let long = [8191, 8192, 8193, 20_000, (1 << 20) - 40, (1 << 20) - 10];
        let values: Vec<Option<&[u8]>> =
            (0..300).map(some).chain([None]).cycle().take(9000).chain(long.map(some)).chain([None]).collect();
        for times in [[0, 0], [5, 5], [1_700_000_000_000, 1_700_000_070_000], [0, 1 << 30], [9, 3]] {
            let mut one_by_one = BatchBuilder::new(BatchOptions::default());
            let mut at_once = BatchBuilder::new(BatchOptions::default());
            let mut left = values.iter().copied();
            let (mut timestamp, mut added_at_once) = (times[0], 0);
            let mut next = left.next();
            while let Some(value) = next {
                at_once.append(timestamp, None, value, Headers::EMPTY).unwrap();
                one_by_one.append(timestamp, None, value, Headers::EMPTY).unwrap();
                timestamp = times[1];
                let mut seen = Vec::new();
                let (added, left_over) = at_once.append_values(
                    timestamp,
                    usize::MAX,
                    700,
                    &mut left.by_ref().inspect(|value| seen.push(*value)),
                );
                for value in &seen[..added] {
                    one_by_one.append(timestamp, None, *value, Headers::EMPTY).unwrap();
                }
                added_at_once += added;
                assert!(added <= 700 && seen.len() == added + usize::from(left_over.is_some()));
                next = left_over;
            }
            assert!((added_at_once > 0) == (times[1] - times[0] < 1 << 20), "{added_at_once} at once");
            let batch = at_once.finish(ProducerStamp::NONE).unwrap();
            assert!(batch == one_by_one.finish(ProducerStamp::NONE).unwrap(), "at {times:?}");
        }
    }

    #[test]
    fn records_of_every_length_come_back() {
        let text: Vec<u8> = (0..1_100_000u32).map(|i| (i % 251) as u8).collect();
        let mut headers = HeadersBuf::new();
        headers.push("name", Some(b"value"));
        let lengths = (0..300).chain(8170..8200).chain(1_048_550..1_048_580);
        for length in lengths {
            let value = &text[..length];
            let key = &text[length / 2..length];
            let records = [
                (0, None, Some(value), Headers::EMPTY),
                (i64::MAX, Some(key), Some(value), Headers::EMPTY),
                (-1, Some(value), None, headers.as_headers()),
                (1, None, None, Headers::EMPTY),
            ];
            // What a used buffer holds must not show.
            let used = BytesMut::from(&text[..length % 100]);
            let mut builder = BatchBuilder::with_buffer(BatchOptions::default(), used);
            for (timestamp, key, value, headers) in records {
                let bound = builder.estimated_size_with(key, value, headers);
                builder.append(timestamp, key, value, headers).unwrap();
                assert!(builder.estimated_size() <= bound);
            }
            let size = builder.estimated_size();
            let bytes = builder.finish(ProducerStamp::NONE).unwrap();
            assert_eq!(bytes.len(), size);
            let batch = Batches::new(bytes).next().unwrap().unwrap();
            batch.verify_crc().unwrap();
            let open = batch.open(RecordLimits::default()).unwrap();
            let read: Vec<_> = open.records().map(Result::unwrap).collect();
            assert_eq!(read.len(), records.len());
            for (read, (timestamp, key, value, headers)) in read.iter().zip(records) {
                assert_eq!(
                    (read.timestamp, read.key, read.value, read.headers),
                    (timestamp, key, value, headers)
                );
            }
        }
    }
}
