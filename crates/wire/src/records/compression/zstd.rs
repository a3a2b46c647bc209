//! Zstandard (RFC 8878).

use std::error::Error;

use structured_zstd::{
    decoding::{
        ContentChecksum, FrameDecoder,
        errors::{DecodeBufferError, ExecuteSequencesError, FrameDecoderError},
    },
    encoding::{CompressionLevel, FrameCompressor},
};

use super::{Output, broken};
use crate::records::{Compression, error::RecordsError};

/// The fastest: compression should not be what a pipe waits for.
const DEFAULT_LEVEL: i32 = 1;
/// The most that one block expands to.
const MAX_BLOCK_LEN: usize = 128 << 10;
/// The first guess at how many times larger the records are, and the step to the next guess.
const FIRST_RATIO: usize = 16;
const NEXT_RATIO: usize = 8;

/// A compressor, with the level that its tables are set up for.
pub(super) struct Encoder {
    level: i32,
    frames: FrameCompressor,
    /// One frame: the compressor does not append.
    frame: Vec<u8>,
}

pub(super) fn compress(
    encoder: &mut Option<Encoder>,
    level: Option<i32>,
    records: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), RecordsError> {
    let level =
        level.unwrap_or(DEFAULT_LEVEL).clamp(CompressionLevel::MIN_LEVEL, CompressionLevel::MAX_LEVEL);
    let encoder = match encoder {
        Some(encoder) if encoder.level == level => encoder,
        _ => {
            let mut frames = FrameCompressor::new(CompressionLevel::from_level(level));
            // The batch has a checksum of its own.
            frames.set_content_checksum(false);
            encoder.insert(Encoder { level, frames, frame: Vec::new() })
        }
    };
    encoder.frames.compress_independent_frame_into(records, &mut encoder.frame);
    out.extend_from_slice(&encoder.frame);
    Ok(())
}

/// A decoder with its tables.
pub(super) struct Decoder(FrameDecoder);

impl Default for Decoder {
    fn default() -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_content_checksum(ContentChecksum::Verify);
        Decoder(decoder)
    }
}

/// Decodes straight into the output, so that no window is held, whatever size of it the frame declares.
///
/// Streaming writers, Kafka's among them, do not say how much there is: the blocks tell an upper bound, which
/// is close for honest frames, and is approached in steps for the sake of the others.
pub(super) fn decompress(
    decoder: &mut Decoder,
    payload: &[u8],
    out: &mut Output,
) -> Result<(), RecordsError> {
    let bound = upper_bound(payload);
    let most = bound.min(out.remaining());
    let mut size = payload.len().saturating_mul(FIRST_RATIO).min(most);
    loop {
        let (_, room) = out.room(size)?;
        match decoder.0.decode_all(payload, room) {
            Ok(len) => {
                out.advance(len);
                return Ok(());
            }
            Err(error) if !is_too_small(&error) => return Err(broken(Compression::Zstd, error)),
            Err(_) if size < most => size = size.saturating_mul(NEXT_RATIO).min(most),
            Err(_) if most < bound => return Err(out.exceeded()),
            Err(error) => return Err(broken(Compression::Zstd, error)),
        }
    }
}

/// Whether the error says that there is more to come: between blocks, within a literal run, or within a match.
fn is_too_small(error: &FrameDecoderError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(FrameDecoderError::TargetTooSmall))
            || matches!(error.downcast_ref(), Some(ExecuteSequencesError::OutputBufferOverflow { .. }))
            || matches!(error.downcast_ref(), Some(DecodeBufferError::OutputBufferOverflow { .. }))
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// How much the blocks of all frames can hold at most. Stops where the bytes make no sense: what they hold
/// from there on is for the decoder to refuse.
fn upper_bound(payload: &[u8]) -> usize {
    let mut bound = 0;
    let mut rest = payload;
    while let Some(after) = frame_bound(rest, &mut bound) {
        rest = after;
    }
    bound
}

/// Adds what one frame can hold, and returns what follows the frame.
fn frame_bound<'a>(frame: &'a [u8], bound: &mut usize) -> Option<&'a [u8]> {
    const MAGIC: u32 = 0xfd2f_b528;
    const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;

    let (magic, rest) = frame.split_first_chunk::<4>()?;
    let magic = u32::from_le_bytes(*magic);
    if magic & !0xf == SKIPPABLE_MAGIC {
        let (len, rest) = rest.split_first_chunk::<4>()?;
        return rest.get(u32::from_le_bytes(*len) as usize..);
    }
    let (&descriptor, rest) = rest.split_first()?;
    if magic != MAGIC {
        return None;
    }
    let single_segment = descriptor & 0x20 != 0;
    let dictionary_id_len = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size_len = [usize::from(single_segment), 2, 4, 8][usize::from(descriptor >> 6)];
    let mut rest = rest.get(usize::from(!single_segment) + dictionary_id_len + content_size_len..)?;
    loop {
        let (&[a, b, c], after) = rest.split_first_chunk::<3>()?;
        let block = u32::from_le_bytes([a, b, c, 0]);
        let len = (block >> 3) as usize;
        let (encoded, decoded) = match block >> 1 & 3 {
            0 => (len, len.min(MAX_BLOCK_LEN)),
            1 => (1, len.min(MAX_BLOCK_LEN)),
            2 => (len, MAX_BLOCK_LEN),
            _ => return None,
        };
        *bound += decoded;
        rest = after.get(encoded..)?;
        if block & 1 != 0 {
            let checksum_len = if descriptor & 4 != 0 { 4 } else { 0 };
            return rest.get(checksum_len..);
        }
    }
}
