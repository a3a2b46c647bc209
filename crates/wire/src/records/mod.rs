//! Record batches: what Produce carries to a broker, Fetch brings back, and a log stores.
//!
//! Only the current format is spoken (magic 2, KIP-98). The message sets of Kafka before 0.11 are
//! recognised and refused with an error that says so; brokers since 4.0 no longer hold them (KIP-724).
//!
//! | to | use |
//! |---|---|
//! | read | [`Batches`] splits fetched bytes into [`Batch`]es, [`Batch::open`] decompresses, [`OpenBatch::records`] walks |
//! | write | [`BatchBuilder`], one append per record, then [`BatchBuilder::finish`] |
//! | change a stored header | [`BatchMut`] |
//! | check a batch | [`Batch::verify_crc`]; its records are checked as they are walked |
//!
//! Reading allocates nothing per record: keys, values and headers are borrowed from the batch. Nothing is
//! allocated by a number that a peer claims.
//!
//! ```
//! use kcopy_wire::records::{BatchBuilder, BatchOptions, Batches, Headers, ProducerStamp, RecordLimits};
//!
//! let mut builder = BatchBuilder::new(BatchOptions::default());
//! builder.append(1_700_000_000_000, Some(b"key"), Some(b"value"), Headers::EMPTY)?;
//! builder.append(1_700_000_000_001, None, Some(b"other"), Headers::EMPTY)?;
//! let bytes = builder.finish(ProducerStamp::NONE)?;
//!
//! for batch in Batches::new(bytes) {
//!     let batch = batch?;
//!     batch.verify_crc()?;
//!     let open = batch.open(RecordLimits::default())?;
//!     let keys: Vec<_> = open.records().map(|r| r.map(|r| r.key)).collect::<Result<_, _>>()?;
//!     assert_eq!(keys, [Some(&b"key"[..]), None]);
//! }
//! # Ok::<(), kcopy_wire::records::RecordsError>(())
//! ```

mod attributes;
mod batch;
mod batches;
mod builder;
mod compression;
mod control;
mod crc;
mod error;
mod headers;
mod patch;
mod record;
mod varint;

pub use self::{
    attributes::{Attributes, Compression, TimestampType},
    batch::{Batch, HEADER_LEN, LENGTH_OVERHEAD, MAGIC, OpenBatch},
    batches::{Batches, Incomplete},
    builder::{BatchBuilder, BatchOptions, ProducerStamp},
    compression::{Compressor, DEFAULT_MAX_DECOMPRESSED_BYTES, Decompressor, RecordLimits},
    control::{ControlRecordType, EndTxnMarker},
    error::{RecordsError, RecordsErrorKind},
    headers::{Headers, HeadersBuf, HeadersIter},
    patch::BatchMut,
    record::{NO_TIMESTAMP, Record, RecordIter},
};
