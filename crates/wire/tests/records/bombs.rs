//! Small payloads that decompress to much: the cap holds, for every codec, to the byte.

use std::{io::Write, time::Instant};

use bytes::Bytes;
use kcopy_wire::records::{Batch, BatchOptions, Compression, Decompressor, RecordLimits, RecordsErrorKind};

use crate::support::{Owned, batch_of, build};

const CAP: usize = 1 << 20;

fn expect_too_large(what: &str, payload: &[u8], compression: Compression) {
    let batch = Batch::new(batch_of(compression, 1, payload)).expect("a plausible header");
    let mut decompressor = Decompressor::new();
    let started = Instant::now();
    let error = batch.open_with(RecordLimits::new(CAP), &mut decompressor).expect_err(what);
    assert_eq!(error.kind(), RecordsErrorKind::TooLarge, "{what}: {error}");
    assert!(error.to_string().contains(&CAP.to_string()), "{what}: {error}");
    assert!(started.elapsed().as_secs() < 2, "{what} took {:?}", started.elapsed());
}

#[test]
fn the_cap_holds_to_the_byte() {
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        for pattern in [1, 251] {
            let value: Vec<u8> = (0..CAP * 2).map(|at| (at % pattern) as u8).collect();
            let batch =
                Batch::new(build(BatchOptions::new(compression), &[Owned::new(0, 0, None, Some(&value))]))
                    .expect("a batch");
            let exact = batch.open(RecordLimits::default()).expect("opens").record_bytes().len();
            let open = batch.open(RecordLimits::new(exact)).expect("fits exactly");
            assert_eq!(open.records().count(), 1);
            let bytes = open.record_bytes().clone();
            drop(open);
            let Ok(buffer) = bytes.try_into_mut() else { panic!("nobody else holds the records") };
            assert!(buffer.capacity() <= exact, "{compression}: {} of {exact}", buffer.capacity());
            for less in [exact - 1, exact / 2, CAP, 1, 0] {
                let error = batch.open(RecordLimits::new(less)).expect_err("too large");
                assert_eq!(error.kind(), RecordsErrorKind::TooLarge, "{compression}, {less}: {error}");
            }
        }
    }
}

#[test]
fn a_gzip_bomb_is_stopped() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..32 {
        encoder.write_all(&zeros).expect("a Vec takes everything");
    }
    let bomb = encoder.finish().expect("a Vec takes everything");
    assert!(bomb.len() < 300_000);
    expect_too_large("32 MiB of zeros", &bomb, Compression::Gzip);
    // The same in many members.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&zeros[..CAP / 2]).expect("a Vec takes everything");
    let member = encoder.finish().expect("a Vec takes everything");
    expect_too_large("many members", &member.repeat(1000), Compression::Gzip);
}

#[test]
fn a_zstd_bomb_is_stopped() {
    for level in [1, 3] {
        let bomb = structured_zstd::encoding::compress_slice_to_vec(
            &vec![0; 32 << 20],
            structured_zstd::encoding::CompressionLevel::from_level(level),
        );
        assert!(bomb.len() < 100_000);
        expect_too_large("32 MiB of zeros", &bomb, Compression::Zstd);
        // Without the size in the header, as streaming writers leave it: descriptor and content size go,
        // a window of 128 MiB comes.
        let header_len = if bomb[4] >> 6 == 3 { 8 } else { 4 } + 5 + usize::from(bomb[4] & 0x20 == 0);
        let mut streamed = bomb[..4].to_vec();
        streamed.extend_from_slice(&[0, 17 << 3]);
        streamed.extend_from_slice(&bomb[header_len..]);
        expect_too_large("32 MiB of zeros, streamed", &streamed, Compression::Zstd);
    }
    // Blocks of one repeated byte: 4 bytes make 128 KiB.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3];
    for _ in 0..10_000 {
        bomb.extend_from_slice(&[0x02, 0, 0x10, b'x']);
    }
    bomb.extend_from_slice(&[0x03, 0, 0x10, b'x']);
    expect_too_large("blocks of one byte", &bomb, Compression::Zstd);
}

#[test]
fn an_lz4_bomb_is_stopped() {
    // A block of 4 MiB from 16 KiB: one literal, then a match of itself that goes on and on.
    let mut block = vec![0x1f, b'x', 1, 0];
    block.extend(std::iter::repeat_n(0xff, (4 << 20) / 255 - 1));
    block.extend_from_slice(&[0, 0x50, b'a', b'b', b'c', b'd', b'e']);
    for (what, flags) in [("independent", 0x60u8), ("linked", 0x40)] {
        let mut frame = vec![0x04, 0x22, 0x4d, 0x18, flags, 0x70];
        frame.push((twox_hash::XxHash32::oneshot(0, &frame[4..6]) >> 8) as u8);
        for _ in 0..64 {
            frame.extend_from_slice(&(block.len() as u32).to_le_bytes());
            frame.extend_from_slice(&block);
        }
        frame.extend_from_slice(&[0; 4]);
        expect_too_large(what, &frame, Compression::Lz4);
    }
}

#[test]
fn a_snappy_bomb_is_stopped() {
    let block = snap::raw::Encoder::new().compress_vec(&vec![0; 64 << 20]).expect("compresses");
    expect_too_large("raw", &block, Compression::Snappy);
    let mut stream = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01".to_vec();
    let block = snap::raw::Encoder::new().compress_vec(&vec![0; 600 << 10]).expect("compresses");
    for _ in 0..100 {
        stream.extend_from_slice(&(block.len() as u32).to_be_bytes());
        stream.extend_from_slice(&block);
    }
    expect_too_large("xerial", &stream, Compression::Snappy);
}

/// Sizes that are claimed, and not there: refused before anything is reserved for them.
#[test]
fn claims_are_not_believed() {
    let claims: [(Compression, Bytes); 4] = [
        // A raw snappy block of 6 bytes that claims 4 GiB - 1, and one that claims 1 MiB.
        (Compression::Snappy, Bytes::from_static(b"\xff\xff\xff\xff\x0f\x00")),
        (Compression::Snappy, Bytes::from_static(b"\x80\x80\x40\x00a")),
        // A xerial block that claims 2 GiB.
        (
            Compression::Snappy,
            Bytes::from_static(b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x7f\xff\xff\xff\x00"),
        ),
        // A zstd frame that claims 2^62 bytes, and has none.
        (
            Compression::Zstd,
            Bytes::from_static(b"\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x00\x00\x40\x01\x00\x00"),
        ),
    ];
    for (compression, payload) in claims {
        let batch = Batch::new(batch_of(compression, 1, &payload)).expect("a plausible header");
        let error = batch.open(RecordLimits::default()).expect_err("a lie");
        assert_eq!(error.kind(), RecordsErrorKind::BrokenCompression, "{compression}: {error}");
    }
}
