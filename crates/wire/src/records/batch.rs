//! One batch: the view of its header, and its opened records.

use bytes::Bytes;

use super::{
    attributes::Attributes,
    compression::{Decompressor, RecordLimits},
    crc::crc32c,
    error::{RecordsError, RecordsErrorKind},
    record::{MIN_RECORD_LEN, RecordIter},
};

/// The length of a batch's header: the records begin here.
pub const HEADER_LEN: usize = 61;
/// What stands before the part that a batch's length counts: `base_offset` and the length itself.
pub const LENGTH_OVERHEAD: usize = 12;
/// The format version that this module speaks.
pub const MAGIC: i8 = 2;

/// Where the fields of the header stand.
pub(super) mod at {
    pub(in super::super) const BASE_OFFSET: usize = 0;
    pub(in super::super) const LENGTH: usize = 8;
    pub(in super::super) const PARTITION_LEADER_EPOCH: usize = 12;
    pub(in super::super) const MAGIC: usize = 16;
    pub(in super::super) const CRC: usize = 17;
    /// The checksum covers everything from here.
    pub(in super::super) const ATTRIBUTES: usize = 21;
    pub(in super::super) const LAST_OFFSET_DELTA: usize = 23;
    pub(in super::super) const BASE_TIMESTAMP: usize = 27;
    pub(in super::super) const MAX_TIMESTAMP: usize = 35;
    pub(in super::super) const PRODUCER_ID: usize = 43;
    pub(in super::super) const PRODUCER_EPOCH: usize = 51;
    pub(in super::super) const BASE_SEQUENCE: usize = 53;
    pub(in super::super) const RECORD_COUNT: usize = 57;
}

/// A whole batch of format 2, as a refcounted slice of what it was read from. Cloning copies no bytes.
///
/// The header is plausible (length, magic, offsets); checksum and records are checked by
/// [`Batch::verify_crc`] and [`Batch::open`].
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    /// At least [`HEADER_LEN`] long, and exactly as long as the header says.
    bytes: Bytes,
}

impl Batch {
    /// Reads the one batch that `bytes` consist of.
    ///
    /// # Errors
    /// If the bytes are not exactly one batch of format 2.
    pub fn new(bytes: Bytes) -> Result<Self, RecordsError> {
        check_header(&bytes)?;
        Ok(Batch { bytes })
    }

    /// The bytes of the batch, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes of the batch, header included.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The offset of the first record that the batch was written with. Compaction may have removed it.
    pub fn base_offset(&self) -> i64 {
        i64::from_be_bytes(self.field(at::BASE_OFFSET))
    }

    /// The offset of the last record that the batch was written with. Compaction may have removed it.
    pub fn last_offset(&self) -> i64 {
        self.base_offset() + i64::from(self.last_offset_delta())
    }

    /// Where a consumer goes on behind this batch, whichever records compaction has left in it.
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// The distance from `base_offset` to `last_offset`.
    pub fn last_offset_delta(&self) -> i32 {
        i32::from_be_bytes(self.field(at::LAST_OFFSET_DELTA))
    }

    /// The epoch of the leader that appended the batch; -1 if it was never appended.
    pub fn partition_leader_epoch(&self) -> i32 {
        i32::from_be_bytes(self.field(at::PARTITION_LEADER_EPOCH))
    }

    /// The format version, always [`MAGIC`].
    pub fn magic(&self) -> i8 {
        i8::from_be_bytes(self.field(at::MAGIC))
    }

    /// The CRC-32C that the batch claims.
    pub fn crc(&self) -> u32 {
        u32::from_be_bytes(self.field(at::CRC))
    }

    /// The attribute bits.
    pub fn attributes(&self) -> Attributes {
        Attributes(i16::from_be_bytes(self.field(at::ATTRIBUTES)))
    }

    /// What the timestamps of the records are relative to. With [`Attributes::has_delete_horizon`] it is
    /// also the time from which tombstones and markers in the batch may be deleted.
    pub fn base_timestamp(&self) -> i64 {
        i64::from_be_bytes(self.field(at::BASE_TIMESTAMP))
    }

    /// The largest timestamp of the batch, or the time of its append.
    pub fn max_timestamp(&self) -> i64 {
        i64::from_be_bytes(self.field(at::MAX_TIMESTAMP))
    }

    /// The time from which tombstones and markers in the batch may be deleted (KIP-534), if it is set.
    pub fn delete_horizon(&self) -> Option<i64> {
        self.attributes().has_delete_horizon().then(|| self.base_timestamp())
    }

    /// The idempotent producer that wrote the batch, if one did.
    pub fn producer_id(&self) -> Option<i64> {
        let id = i64::from_be_bytes(self.field(at::PRODUCER_ID));
        (id >= 0).then_some(id)
    }

    /// The epoch of the producer; -1 without one.
    pub fn producer_epoch(&self) -> i16 {
        i16::from_be_bytes(self.field(at::PRODUCER_EPOCH))
    }

    /// The sequence number of the first record; -1 without a producer id, and in control batches.
    pub fn base_sequence(&self) -> i32 {
        i32::from_be_bytes(self.field(at::BASE_SEQUENCE))
    }

    /// The sequence number of the last record; sequence numbers wrap from `i32::MAX` to 0. -1 without one.
    pub fn last_sequence(&self) -> i32 {
        let base = self.base_sequence();
        if base < 0 {
            return -1;
        }
        base.wrapping_add(self.last_offset_delta()) & i32::MAX
    }

    /// How many records the batch claims to hold. Unchecked: may be negative, or too many for its bytes.
    pub fn record_count(&self) -> i32 {
        i32::from_be_bytes(self.field(at::RECORD_COUNT))
    }

    /// The length of the batch in bytes, header included.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Computes the checksum and compares it to the one in the header.
    ///
    /// # Errors
    /// `Corrupt` if they differ.
    pub fn verify_crc(&self) -> Result<(), RecordsError> {
        let computed = crc32c(&self.bytes[at::ATTRIBUTES..]);
        if computed == self.crc() {
            return Ok(());
        }
        Err(RecordsError::corrupt(format!(
            "checksum mismatch: the batch of {} bytes says {:#010x}, its bytes give {computed:#010x}",
            self.bytes.len(),
            self.crc()
        ))
        .in_batch(self.base_offset()))
    }

    /// Makes the records readable: decompresses them if they are compressed, else only refers to them.
    ///
    /// # Errors
    /// If the record count cannot be true, the compression is unknown or the compressed bytes are broken,
    /// or if they decompress to more than `limits` allow. The checksum is not looked at.
    pub fn open(&self, limits: RecordLimits) -> Result<OpenBatch, RecordsError> {
        self.open_with(limits, &mut Decompressor::new())
    }

    /// [`Batch::open`] with working memory that is kept from batch to batch.
    ///
    /// # Errors
    /// As [`Batch::open`].
    pub fn open_with(
        &self,
        limits: RecordLimits,
        decompressor: &mut Decompressor,
    ) -> Result<OpenBatch, RecordsError> {
        self.open_unnamed(limits, decompressor).map_err(|error| error.in_batch(self.base_offset()))
    }

    fn open_unnamed(
        &self,
        limits: RecordLimits,
        decompressor: &mut Decompressor,
    ) -> Result<OpenBatch, RecordsError> {
        let count = self.record_count();
        let count = u32::try_from(count)
            .map_err(|_| RecordsError::invalid(format!("negative record count {count}")))?;
        let records = self.bytes.slice(HEADER_LEN..);
        // Kafka does not look at the payload of a batch that compaction has emptied: neither does this.
        let records = if count == 0 {
            Bytes::new()
        } else {
            decompressor.decompress(self.attributes().compression()?, records, limits)?
        };
        let most = records.len() / MIN_RECORD_LEN;
        if count as usize > most {
            return Err(RecordsError::invalid(format!(
                "claims {count} records, but its {} bytes hold {most} at most",
                records.len()
            )));
        }
        Ok(OpenBatch { batch: self.clone(), records, count })
    }

    #[inline(always)]
    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        read_field(&self.bytes, at)
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("base_offset", &self.base_offset())
            .field("last_offset_delta", &self.last_offset_delta())
            .field("partition_leader_epoch", &self.partition_leader_epoch())
            .field("attributes", &self.attributes())
            .field("max_timestamp", &self.max_timestamp())
            .field("producer_id", &self.producer_id())
            .field("producer_epoch", &self.producer_epoch())
            .field("base_sequence", &self.base_sequence())
            .field("record_count", &self.record_count())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

/// A batch with its records decompressed.
#[derive(Debug, Clone)]
pub struct OpenBatch {
    batch: Batch,
    records: Bytes,
    count: u32,
}

impl OpenBatch {
    /// The batch itself.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The records, one after the other, borrowed.
    #[inline]
    pub fn records(&self) -> RecordIter<'_> {
        RecordIter::new(&self.batch, &self.records, self.count)
    }

    /// The decompressed bytes of the records: keys and values of the walk are slices of them, so
    /// [`Bytes::slice_ref`] makes any of them outlive the walk without a copy.
    pub fn record_bytes(&self) -> &Bytes {
        &self.records
    }

    pub(super) fn into_parts(self) -> (Batch, Bytes) {
        (self.batch, self.records)
    }
}

/// The field at `at`; `bytes` hold a whole header.
#[inline(always)]
pub(super) fn read_field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// What the start of a batch says about how far it reaches.
pub(super) enum Extent {
    /// This many bytes, header included.
    Whole(usize),
    /// The bytes end before the batch does; its length if that much can be seen.
    Incomplete(Option<usize>),
}

/// Finds the end of the batch at the start of `bytes`, with the checks that Kafka's clients make.
pub(super) fn extent(bytes: &[u8]) -> Result<Extent, RecordsError> {
    if bytes.len() < LENGTH_OVERHEAD {
        return Ok(Extent::Incomplete(None));
    }
    let base_offset = i64::from_be_bytes(read_field(bytes, at::BASE_OFFSET));
    let length = i32::from_be_bytes(read_field(bytes, at::LENGTH));
    // The smallest message of any format counts 14 bytes here; less cannot be stepped over.
    let Some(size) = usize::try_from(length).ok().filter(|&l| l >= 14).map(|l| l + LENGTH_OVERHEAD) else {
        return Err(RecordsError::corrupt(format!(
            "length field says {length} bytes, which is less than any batch has"
        ))
        .in_batch(base_offset));
    };
    if bytes.len() <= at::MAGIC {
        return Ok(Extent::Incomplete(Some(size)));
    }
    check_magic(bytes[at::MAGIC].cast_signed()).map_err(|error| error.in_batch(base_offset))?;
    if size < HEADER_LEN {
        return Err(RecordsError::corrupt(format!(
            "length field says {length} bytes, less than the {} of a header",
            HEADER_LEN - LENGTH_OVERHEAD
        ))
        .in_batch(base_offset));
    }
    if bytes.len() < size {
        return Ok(Extent::Incomplete(Some(size)));
    }
    Ok(Extent::Whole(size))
}

fn check_magic(magic: i8) -> Result<(), RecordsError> {
    match magic {
        MAGIC => Ok(()),
        0 | 1 => Err(RecordsError::new(
            RecordsErrorKind::UnsupportedMagic,
            format!(
                "message format {magic} of before Kafka 0.11 is not supported, only format {MAGIC}: \
                 produce anew, or let the broker convert it (log.message.format.version)"
            ),
        )),
        _ => Err(RecordsError::corrupt(format!("unknown message format {magic}: expected {MAGIC}"))),
    }
}

/// Checks that `bytes` are one whole batch whose offsets can be computed with.
pub(super) fn check_header(bytes: &[u8]) -> Result<(), RecordsError> {
    match extent(bytes)? {
        Extent::Whole(size) if size == bytes.len() => check_offsets(bytes),
        Extent::Whole(size) => {
            Err(RecordsError::corrupt(format!("{} bytes follow a batch of {size} bytes", bytes.len() - size)))
        }
        Extent::Incomplete(Some(size)) => {
            Err(RecordsError::corrupt(format!("batch cut off: {} of {size} bytes", bytes.len())))
        }
        Extent::Incomplete(None) => {
            Err(RecordsError::corrupt(format!("batch cut off after {} bytes", bytes.len())))
        }
    }
}

/// A batch that ends before it begins would send a consumer backwards, for ever.
pub(super) fn check_offsets(bytes: &[u8]) -> Result<(), RecordsError> {
    let base_offset = i64::from_be_bytes(read_field(bytes, at::BASE_OFFSET));
    let delta = i32::from_be_bytes(read_field(bytes, at::LAST_OFFSET_DELTA));
    let next = base_offset.checked_add(i64::from(delta)).and_then(|last| last.checked_add(1));
    if delta < 0 || next.is_none() {
        return Err(RecordsError::invalid(format!("impossible offset range: last_offset_delta is {delta}"))
            .in_batch(base_offset));
    }
    Ok(())
}
