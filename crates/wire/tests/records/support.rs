//! Records that own their bytes, to compare with, and ways to make and read batches of them.

use bytes::Bytes;
use kcopy_wire::records::{
    Batch, BatchBuilder, BatchOptions, Compression, Headers, HeadersBuf, ProducerStamp, Record, RecordLimits,
    RecordsError,
};

/// Limits that no test exceeds by accident, and that keep the accidents small.
pub(crate) const LIMITS: RecordLimits = RecordLimits::new(16 << 20);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Owned {
    pub(crate) fn new(offset: i64, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        Owned {
            offset,
            timestamp,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        }
    }

    pub(crate) fn headers_buf(&self) -> HeadersBuf {
        let mut buf = HeadersBuf::new();
        for (name, value) in &self.headers {
            buf.push(name, value.as_deref());
        }
        buf
    }
}

impl From<Record<'_>> for Owned {
    fn from(record: Record<'_>) -> Self {
        Owned {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

pub(crate) fn build(options: BatchOptions, records: &[Owned]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let headers = record.headers_buf();
        builder
            .append(record.timestamp, record.key.as_deref(), record.value.as_deref(), headers.as_headers())
            .expect("the batch has room");
    }
    builder.finish(ProducerStamp::NONE).expect("the batch is small")
}

pub(crate) fn read(batch: &Batch) -> Result<Vec<Owned>, RecordsError> {
    let open = batch.open(LIMITS)?;
    open.records().map(|record| record.map(Owned::from)).collect()
}

/// A batch of `count` records like log lines: compressible, but not silly.
pub(crate) fn lines(compression: Compression, count: usize) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::new(compression));
    for n in 0..count {
        let key = format!("key-{}", n % 17);
        let value =
            format!("{n}: the quick brown fox jumps over {} lazy dogs", n.wrapping_mul(2_654_435_761));
        builder
            .append(
                1_700_000_000_000 + n as i64,
                Some(key.as_bytes()),
                Some(value.as_bytes()),
                Headers::EMPTY,
            )
            .expect("the batch has room");
    }
    builder.finish(ProducerStamp::NONE).expect("the batch is small")
}

/// Overwrites bytes of a batch and makes the checksum right again.
pub(crate) fn forge(batch: &[u8], at: usize, bytes: &[u8]) -> Bytes {
    let mut forged = batch.to_vec();
    forged[at..at + bytes.len()].copy_from_slice(bytes);
    with_crc(forged)
}

/// Makes length and checksum of a batch right.
pub(crate) fn with_crc(mut batch: Vec<u8>) -> Bytes {
    let length = i32::try_from(batch.len() - 12).expect("small");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

/// A batch whose records are `payload`, whatever that is.
pub(crate) fn batch_of(compression: Compression, count: i32, payload: &[u8]) -> Bytes {
    let mut batch = build(BatchOptions::default(), &[]).to_vec();
    batch[22] = compression.id();
    batch[23..27].copy_from_slice(&(count - 1).max(0).to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    batch.extend_from_slice(payload);
    with_crc(batch)
}
