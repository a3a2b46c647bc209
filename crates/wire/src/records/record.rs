//! One record, and the walk over those of a batch.

use super::{attributes::TimestampType, batch::Batch, error::RecordsError, headers::Headers, varint::Cursor};

/// What the smallest record takes: seven one-byte varints (length, attributes, timestamp, offset, key
/// length, value length, header count).
pub(super) const MIN_RECORD_LEN: usize = 7;

/// The timestamp of a record without one. No `Option`, since most of what handles records only passes it on.
pub const NO_TIMESTAMP: i64 = -1;

/// A record, borrowed from its batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where in the partition it stands.
    pub offset: i64,
    /// Milliseconds since 1970; [`NO_TIMESTAMP`] where the producer gave none. That of the append if the batch has
    /// [`TimestampType::LogAppendTime`].
    pub timestamp: i64,
    /// The key, which may be null or empty.
    pub key: Option<&'a [u8]>,
    /// The value; null is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys and values may be secrets, and are never logged.
        f.debug_struct("Record")
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("key_len", &self.key.map(<[u8]>::len))
            .field("value_len", &self.value.map(<[u8]>::len))
            .field("headers", &self.headers)
            .finish()
    }
}

/// Walks the records of a batch and ends after the first error.
#[derive(Clone)]
pub struct RecordIter<'a> {
    cursor: Cursor<'a>,
    left: u32,
    base_offset: i64,
    /// `timestamp = base + (delta & mask)`: the mask is zero where the broker's time counts.
    base_timestamp: i64,
    timestamp_mask: i64,
    done: bool,
}

impl<'a> RecordIter<'a> {
    /// `bytes` are the decompressed records of `batch`, `count` is not negative.
    pub(super) fn new(batch: &Batch, bytes: &'a [u8], count: u32) -> Self {
        let (base_timestamp, timestamp_mask) = match batch.attributes().timestamp_type() {
            TimestampType::CreateTime => (batch.base_timestamp(), -1),
            TimestampType::LogAppendTime => (batch.max_timestamp(), 0),
        };
        RecordIter {
            cursor: Cursor(bytes),
            left: count,
            base_offset: batch.base_offset(),
            base_timestamp,
            timestamp_mask,
            done: false,
        }
    }

    /// How many records the batch still claims to hold.
    pub fn remaining(&self) -> usize {
        self.left as usize
    }

    #[inline(always)]
    fn parse(&mut self) -> Option<Record<'a>> {
        let len = usize::try_from(self.cursor.varint()?).ok()?;
        let mut body = Cursor(self.cursor.take(len)?);
        body.byte()?; // record attributes: none are defined
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let key = body.nullable_bytes()?;
        let value = body.nullable_bytes()?;
        let headers = match body.0 {
            [0] => Headers::EMPTY,
            _ => Headers::parse(body).ok()?,
        };
        Some(Record {
            offset: self.base_offset.wrapping_add(i64::from(offset_delta)),
            timestamp: self.base_timestamp.wrapping_add(timestamp_delta & self.timestamp_mask),
            key,
            value,
            headers,
        })
    }

    /// Says what is wrong with the record at the cursor, which [`Self::parse`] has refused.
    #[cold]
    #[inline(never)]
    fn explain(&self, mut cursor: Cursor<'a>) -> RecordsError {
        let what = diagnose(&mut cursor).unwrap_or_else(|| "ends before its fields do".to_owned());
        RecordsError::invalid(format!("record {} records before the end {what}", self.left))
            .in_batch(self.base_offset)
    }

    #[cold]
    fn trailing(&self) -> RecordsError {
        RecordsError::invalid(format!("{} bytes follow the last record", self.cursor.0.len()))
            .in_batch(self.base_offset)
    }
}

/// What is wrong with a record; `None` where the bytes of a field end too early.
fn diagnose(cursor: &mut Cursor<'_>) -> Option<String> {
    let len = cursor.varint()?;
    let remaining = cursor.0.len();
    let Some(body) = usize::try_from(len).ok().and_then(|len| cursor.take(len)) else {
        return Some(format!("claims {len} bytes, where {remaining} remain"));
    };
    let mut body = Cursor(body);
    body.byte()?;
    body.varlong()?;
    body.varint()?;
    body.nullable_bytes()?;
    body.nullable_bytes()?;
    Headers::parse(body).err().map(|error| format!("is invalid: {error}"))
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            if self.done || self.cursor.0.is_empty() {
                return None;
            }
            // As Kafka does: a batch that holds more than it says is not to be trusted.
            self.done = true;
            return Some(Err(self.trailing()));
        }
        let before = self.cursor;
        match self.parse() {
            Some(record) => {
                self.left -= 1;
                Some(Ok(record))
            }
            None => {
                let error = self.explain(before);
                self.left = 0;
                self.done = true;
                Some(Err(error))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // An error may end the walk early, or come on top.
        let left = self.left as usize;
        (left.min(1), Some(left + 1))
    }
}
