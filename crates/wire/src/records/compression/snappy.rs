//! Snappy: blocks in the framing of xerial's snappy-java, which Kafka writes, or one raw block, which some
//! clients write (and librdkafka and Kafka read).

use super::{Output, broken};
use crate::records::{Compression, error::RecordsError};

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and the oldest version that can read it.
const XERIAL_HEADER_LEN: usize = 16;
/// Both versions are 1.
const XERIAL_HEADER: [u8; XERIAL_HEADER_LEN] =
    [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// How much snappy-java puts into a block.
const BLOCK_LEN: usize = 32 << 10;
/// A copy of 64 bytes takes 3: no block expands to more than this many times its length.
const MAX_RATIO: usize = 22;

pub(super) fn compress(
    encoder: &mut snap::raw::Encoder,
    records: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), RecordsError> {
    out.extend_from_slice(&XERIAL_HEADER);
    for block in records.chunks(BLOCK_LEN) {
        let start = out.len() + 4;
        out.resize(start + snap::raw::max_compress_len(block.len()), 0);
        let len = encoder
            .compress(block, &mut out[start..])
            .map_err(|error| RecordsError::invalid(format!("snappy compression failed: {error}")))?;
        // At most `max_compress_len(BLOCK_LEN)`, far below 2^31.
        out[start - 4..start].copy_from_slice(&(len as u32).to_be_bytes());
        out.truncate(start + len);
    }
    Ok(())
}

pub(super) fn decompress(payload: &[u8], out: &mut Output) -> Result<(), RecordsError> {
    if !payload.starts_with(&XERIAL_MAGIC) {
        return block(payload, out);
    }
    let mut rest = skip_header(payload)?;
    while !rest.is_empty() {
        // Streams may be concatenated: no block is as long as the magic, read as a length.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = skip_header(rest)?;
            continue;
        }
        let Some((len, after)) = rest.split_first_chunk::<4>() else {
            return Err(broken(Compression::Snappy, "the length of a block is cut off"));
        };
        let len = u32::from_be_bytes(*len) as usize;
        let Some((compressed, after)) = after.split_at_checked(len) else {
            return Err(broken(
                Compression::Snappy,
                format_args!("a block claims {len} bytes, where {} remain", after.len()),
            ));
        };
        // Empty blocks are written by nobody, but nothing is wrong with them.
        if !compressed.is_empty() {
            block(compressed, out)?;
        }
        rest = after;
    }
    Ok(())
}

fn skip_header(payload: &[u8]) -> Result<&[u8], RecordsError> {
    payload.get(XERIAL_HEADER_LEN..).ok_or_else(|| broken(Compression::Snappy, "the header is cut off"))
}

fn block(compressed: &[u8], out: &mut Output) -> Result<(), RecordsError> {
    let claimed =
        snap::raw::decompress_len(compressed).map_err(|error| broken(Compression::Snappy, error))?;
    if claimed / MAX_RATIO > compressed.len() {
        return Err(broken(
            Compression::Snappy,
            format_args!("a block of {} bytes claims to hold {claimed}", compressed.len()),
        ));
    }
    let (_, room) = out.room(claimed)?;
    let len = snap::raw::Decoder::new()
        .decompress(compressed, room)
        .map_err(|error| broken(Compression::Snappy, error))?;
    out.advance(len);
    Ok(())
}
