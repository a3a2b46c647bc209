//! The LZ4 frame format, in the shape that Kafka writes: independent blocks of 64 KiB without checksums. All
//! that other clients write is read: larger and linked blocks, checksums, content sizes.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, decompress_into_with_dict,
    get_maximum_output_size,
};
use twox_hash::XxHash32;

use super::{Output, broken};
use crate::records::{Compression, error::RecordsError};

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
const VERSION: u8 = 0x40;
const VERSION_MASK: u8 = 0xc0;
const INDEPENDENT_BLOCKS: u8 = 0x20;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const DICTIONARY_ID: u8 = 0x01;

/// The number of [`BLOCK_LEN`] in the frame descriptor.
const BLOCK_64_KIB: u8 = 4 << 4;
const BLOCK_LEN: usize = 64 << 10;
/// Set in the length of a block that is stored as it is.
const STORED: u32 = 1 << 31;
/// How far back linked blocks refer.
const WINDOW_LEN: usize = 64 << 10;
/// A length byte of 255 stands for as many bytes: no block expands to more than this many times its length.
const MAX_RATIO: usize = 255;

pub(super) fn compress(
    table: &mut CompressTable,
    records: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), RecordsError> {
    let descriptor = [VERSION | INDEPENDENT_BLOCKS, BLOCK_64_KIB];
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&descriptor);
    out.push(header_checksum(&descriptor));
    for block in records.chunks(BLOCK_LEN) {
        let start = out.len() + 4;
        out.resize(start + get_maximum_output_size(block.len()), 0);
        let len = compress_into_with_table(block, &mut out[start..], table)
            .map_err(|error| RecordsError::invalid(format!("lz4 compression failed: {error}")))?;
        let field = if len < block.len() {
            out.truncate(start + len);
            len as u32
        } else {
            out[start..start + block.len()].copy_from_slice(block);
            out.truncate(start + block.len());
            block.len() as u32 | STORED
        };
        out[start - 4..start].copy_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&[0; 4]);
    Ok(())
}

/// Reads one frame. Like Kafka's reader it leaves alone what follows: the record count tells whether anything
/// is missing.
pub(super) fn decompress(payload: &[u8], out: &mut Output) -> Result<(), RecordsError> {
    let mut input = Input(payload);
    let frame = read_descriptor(&mut input)?;
    let start = out.len;
    loop {
        let field = u32::from_le_bytes(input.array("a block length")?);
        if field == 0 {
            break;
        }
        let len = (field & !STORED) as usize;
        if len > frame.max_block_len {
            return Err(broken(
                Compression::Lz4,
                format_args!("a block of {len} bytes, where the frame allows {}", frame.max_block_len),
            ));
        }
        let block = input.take(len, "a block")?;
        if frame.block_checksums {
            verify(block, input.array("a block checksum")?, "block")?;
        }
        if field & STORED != 0 {
            let (_, room) = out.room(len)?;
            room.copy_from_slice(block);
            out.advance(len);
        } else {
            decompress_block(&frame, block, start, out)?;
        }
    }
    if frame.content_checksum {
        let checksum = input.array("the content checksum")?;
        verify(&out.buffer[start..out.len], checksum, "content")?;
    }
    Ok(())
}

fn decompress_block(frame: &Frame, block: &[u8], start: usize, out: &mut Output) -> Result<(), RecordsError> {
    let most = frame.max_block_len.min(block.len().saturating_mul(MAX_RATIO));
    let allowed = most.min(out.remaining());
    let (written, room) = out.room(allowed)?;
    let result = if frame.linked_blocks {
        let window = written.len().saturating_sub(WINDOW_LEN).max(start);
        decompress_into_with_dict(block, room, &written[window..])
    } else {
        decompress_into(block, room)
    };
    match result {
        Ok(len) => {
            out.advance(len);
            Ok(())
        }
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if allowed < most => Err(out.exceeded()),
        Err(error) => Err(broken(Compression::Lz4, error)),
    }
}

struct Frame {
    max_block_len: usize,
    linked_blocks: bool,
    block_checksums: bool,
    content_checksum: bool,
}

fn read_descriptor(input: &mut Input<'_>) -> Result<Frame, RecordsError> {
    let magic = input.array::<4>("the magic number")?;
    if magic != MAGIC {
        return Err(broken(
            Compression::Lz4,
            format_args!("the magic number is {:#010x}", u32::from_le_bytes(magic)),
        ));
    }
    let descriptor = input.0;
    let [flags, sizes] = input.array("the frame descriptor")?;
    if flags & VERSION_MASK != VERSION {
        return Err(broken(Compression::Lz4, format_args!("frame version {}, where 1 is known", flags >> 6)));
    }
    if flags & DICTIONARY_ID != 0 {
        return Err(broken(Compression::Lz4, "the frame needs a dictionary"));
    }
    let max_block_len = match sizes >> 4 & 7 {
        size @ 4..=7 => 1 << (8 + 2 * size),
        size => return Err(broken(Compression::Lz4, format_args!("undefined block size {size}"))),
    };
    let mut descriptor_len = 2;
    if flags & CONTENT_SIZE != 0 {
        // Not needed, and not to be trusted.
        input.array::<8>("the content size")?;
        descriptor_len += 8;
    }
    let [checksum] = input.array("the header checksum")?;
    let computed = header_checksum(&descriptor[..descriptor_len]);
    if checksum != computed {
        return Err(broken(
            Compression::Lz4,
            format_args!("header checksum mismatch: says {checksum:#04x}, is {computed:#04x}"),
        ));
    }
    Ok(Frame {
        max_block_len,
        linked_blocks: flags & INDEPENDENT_BLOCKS == 0,
        block_checksums: flags & BLOCK_CHECKSUMS != 0,
        content_checksum: flags & CONTENT_CHECKSUM != 0,
    })
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (XxHash32::oneshot(0, descriptor) >> 8) as u8
}

fn verify(bytes: &[u8], checksum: [u8; 4], what: &str) -> Result<(), RecordsError> {
    let says = u32::from_le_bytes(checksum);
    let computed = XxHash32::oneshot(0, bytes);
    if says == computed {
        return Ok(());
    }
    Err(broken(
        Compression::Lz4,
        format_args!("{what} checksum mismatch: says {says:#010x}, is {computed:#010x}"),
    ))
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], RecordsError> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| broken(Compression::Lz4, format_args!("{what} is cut off")))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], RecordsError> {
        let (taken, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| broken(Compression::Lz4, format_args!("{what} is cut off")))?;
        self.0 = rest;
        Ok(*taken)
    }
}
