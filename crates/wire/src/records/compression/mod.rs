//! The codecs, behind one cap on what they may produce.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use bytes::{Bytes, BytesMut};

use super::{
    attributes::Compression,
    error::{RecordsError, RecordsErrorKind},
};

/// The default of [`RecordLimits::max_decompressed_bytes`]: 128 MiB.
pub const DEFAULT_MAX_DECOMPRESSED_BYTES: usize = 128 << 20;

/// What opening a batch may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordLimits {
    /// How many bytes the records of one batch may decompress to. Batches that are not compressed are not
    /// affected.
    pub max_decompressed_bytes: usize,
}

impl RecordLimits {
    /// A limit on the decompressed bytes of a batch.
    pub const fn new(max_decompressed_bytes: usize) -> Self {
        RecordLimits { max_decompressed_bytes }
    }
}

impl Default for RecordLimits {
    fn default() -> Self {
        RecordLimits::new(DEFAULT_MAX_DECOMPRESSED_BYTES)
    }
}

/// The working memory of the codecs, to be kept from one batch to the next: their tables take longer to set
/// up than a small batch takes to compress. Empty until a codec is used.
#[derive(Default)]
pub struct Compressor {
    snappy: Option<snap::raw::Encoder>,
    lz4: Option<lz4_flex::block::CompressTable>,
    zstd: Option<zstd::Encoder>,
    buffer: BytesMut,
}

impl Compressor {
    /// Without any working memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer that the last compressed batch was built in, for [`BatchBuilder::with_buffer`]; an empty
    /// one if there is none.
    ///
    /// [`BatchBuilder::with_buffer`]: super::BatchBuilder::with_buffer
    pub fn take_buffer(&mut self) -> BytesMut {
        std::mem::take(&mut self.buffer)
    }

    pub(super) fn keep_buffer(&mut self, buffer: BytesMut) {
        self.buffer = buffer;
    }

    /// Appends the compressed `records` to `out`.
    pub(super) fn compress(
        &mut self,
        compression: Compression,
        level: Option<i32>,
        records: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RecordsError> {
        match compression {
            Compression::None => out.extend_from_slice(records),
            Compression::Gzip => gzip::compress(level, records, out)?,
            Compression::Snappy => {
                snappy::compress(self.snappy.get_or_insert_with(snap::raw::Encoder::new), records, out)?
            }
            Compression::Lz4 => {
                lz4::compress(
                    self.lz4.get_or_insert_with(lz4_flex::block::CompressTable::large),
                    records,
                    out,
                )?;
            }
            Compression::Zstd => zstd::compress(&mut self.zstd, level, records, out)?,
        }
        Ok(())
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// The counterpart of [`Compressor`]: what decompression needs, and buffers given back to be used again.
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<zstd::Decoder>,
    spare: Vec<u8>,
}

impl Decompressor {
    /// Without any working memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes back the memory of decompressed records that nothing refers to any more, for the next batch.
    /// Of bytes that are still shared, or came from a batch that was not compressed, only the reference is
    /// dropped.
    pub fn recycle(&mut self, open: super::OpenBatch) {
        let (batch, records) = open.into_parts();
        if batch.attributes().compression() == Ok(Compression::None) {
            return;
        }
        if let Ok(buffer) = records.try_into_mut()
            && buffer.capacity() > self.spare.capacity()
        {
            self.spare = buffer.into();
        }
    }

    /// Returns the records that `payload` compresses.
    pub(super) fn decompress(
        &mut self,
        compression: Compression,
        payload: Bytes,
        limits: RecordLimits,
    ) -> Result<Bytes, RecordsError> {
        if compression == Compression::None {
            return Ok(payload);
        }
        let mut out = Output::new(std::mem::take(&mut self.spare), limits.max_decompressed_bytes);
        match compression {
            Compression::None => {}
            Compression::Gzip => gzip::decompress(&payload, &mut out)?,
            Compression::Snappy => snappy::decompress(&payload, &mut out)?,
            Compression::Lz4 => lz4::decompress(&payload, &mut out)?,
            Compression::Zstd => zstd::decompress(self.zstd.get_or_insert_default(), &payload, &mut out)?,
        }
        Ok(out.into_bytes())
    }
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("spare", &self.spare.capacity()).finish_non_exhaustive()
    }
}

/// What a codec writes to: grows with what is produced, never beyond the cap.
struct Output {
    /// All of it initialised; the bytes from `len` on are room.
    buffer: Vec<u8>,
    len: usize,
    cap: usize,
}

impl Output {
    fn new(buffer: Vec<u8>, cap: usize) -> Self {
        // A recycled buffer that is larger than the cap of this batch would lift it.
        let mut buffer = if buffer.capacity() > cap { Vec::new() } else { buffer };
        buffer.clear();
        Output { buffer, len: 0, cap }
    }

    /// How much may still be written.
    fn remaining(&self) -> usize {
        self.cap - self.len
    }

    /// Room for `size` bytes behind what is written already, which is returned along with it.
    ///
    /// The caller proves that `size` bytes may come of the input that it has: no peer's claim goes in here.
    fn room(&mut self, size: usize) -> Result<(&[u8], &mut [u8]), RecordsError> {
        if size > self.remaining() {
            return Err(self.exceeded());
        }
        let end = self.len + size;
        if end > self.buffer.len() {
            if end > self.buffer.capacity() {
                let capacity = end.max(self.buffer.capacity().saturating_mul(2)).min(self.cap);
                self.buffer.reserve_exact(capacity - self.buffer.len());
            }
            self.buffer.resize(end, 0);
        }
        let (written, room) = self.buffer.split_at_mut(self.len);
        Ok((written, &mut room[..size]))
    }

    /// Says how much of the last [`Self::room`] was used.
    fn advance(&mut self, written: usize) {
        self.len += written;
        debug_assert!(self.len <= self.buffer.len());
    }

    #[cold]
    fn exceeded(&self) -> RecordsError {
        RecordsError::too_large(format!("decompresses to more than the {} bytes that are allowed", self.cap))
    }

    fn into_bytes(mut self) -> Bytes {
        self.buffer.truncate(self.len);
        Bytes::from(self.buffer)
    }
}

/// The error for compressed bytes that make no sense. It is not `Corrupt`: the checksum has been passed, so
/// sending the batch again is no use.
#[cold]
fn broken(codec: Compression, what: impl std::fmt::Display) -> RecordsError {
    RecordsError::new(RecordsErrorKind::BrokenCompression, format!("broken {codec} data: {what}"))
}
