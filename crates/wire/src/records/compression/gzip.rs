//! gzip (RFC 1952), on zlib-rs.

use std::io::{Read, Write};

use flate2::{bufread::GzDecoder, write::GzEncoder};

use super::{Output, broken};
use crate::records::{Compression, error::RecordsError};

/// What zlib and Kafka take for the default.
const DEFAULT_LEVEL: u32 = 6;
/// Kafka and this reader take concatenated members; each begins like this.
const MEMBER_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Writers make one member. An empty one takes 20 bytes, and thousands of times as long to set up for.
const MAX_MEMBERS: usize = 1024;
/// How much room the first reads get; the buffer doubles from there.
const FIRST_ROOM: usize = 16 << 10;

pub(super) fn compress(level: Option<i32>, records: &[u8], out: &mut Vec<u8>) -> Result<(), RecordsError> {
    let level = level.map_or(DEFAULT_LEVEL, |level| level.clamp(0, 9).cast_unsigned());
    let failed = |error: std::io::Error| RecordsError::invalid(format!("gzip compression failed: {error}"));
    let mut encoder = GzEncoder::new(out, flate2::Compression::new(level));
    encoder.write_all(records).map_err(failed)?;
    encoder.finish().map_err(failed)?;
    Ok(())
}

pub(super) fn decompress(mut payload: &[u8], out: &mut Output) -> Result<(), RecordsError> {
    for _ in 0..MAX_MEMBERS {
        let mut decoder = GzDecoder::new(payload);
        read_member(&mut decoder, payload.len(), out)?;
        payload = decoder.into_inner();
        // Like Java's reader, take whatever else follows for padding: the record count tells whether
        // anything is missing.
        if !payload.starts_with(&MEMBER_MAGIC) {
            return Ok(());
        }
    }
    Err(broken(Compression::Gzip, format_args!("more than {MAX_MEMBERS} members")))
}

fn read_member(
    decoder: &mut GzDecoder<&[u8]>,
    payload_len: usize,
    out: &mut Output,
) -> Result<(), RecordsError> {
    let mut size = payload_len.saturating_mul(4).max(FIRST_ROOM);
    loop {
        if out.remaining() == 0 {
            // One byte more than allowed is one too many, none is the end.
            return match decoder.read(&mut [0]).map_err(|error| broken(Compression::Gzip, error))? {
                0 => Ok(()),
                _ => Err(out.exceeded()),
            };
        }
        let (_, room) = out.room(size.min(out.remaining()))?;
        let read = decoder.read(room).map_err(|error| broken(Compression::Gzip, error))?;
        if read == 0 {
            return Ok(());
        }
        out.advance(read);
        size = out.len.max(FIRST_ROOM);
    }
}
