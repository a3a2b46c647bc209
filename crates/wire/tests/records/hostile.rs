//! Bytes that nobody should write: nothing panics, nothing outgrows its limit, errors are told.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Instant,
};

use bytes::Bytes;
use kcopy_wire::records::{
    Batch, Batches, Compression, Decompressor, EndTxnMarker, RecordLimits, RecordsErrorKind,
};

use crate::support::{LIMITS, Owned, batch_of, forge, lines, read, with_crc};

/// Does with a batch all that client and broker would, and returns how many records were read.
fn exercise(bytes: Bytes, limits: RecordLimits) -> usize {
    let mut count = 0;
    for batch in Batches::new(bytes) {
        let Ok(batch) = batch else { continue };
        let _ = (batch.verify_crc().is_ok(), format!("{batch:?}"));
        assert!(batch.next_offset() > batch.base_offset());
        let Ok(open) = batch.open(limits) else { continue };
        if batch.attributes().compression() != Ok(Compression::None) {
            assert!(open.record_bytes().len() <= limits.max_decompressed_bytes);
        }
        for record in open.records() {
            let Ok(record) = record else { continue };
            count += 1;
            assert_eq!(record.headers.iter().count(), record.headers.len());
            let _ = EndTxnMarker::parse(&record);
        }
    }
    count
}

#[test]
fn a_batch_cut_anywhere_is_an_error_or_incomplete() {
    for compression in Compression::ALL {
        let whole = lines(compression, 40);
        for cut in 0..whole.len() {
            assert_eq!(exercise(whole.slice(..cut), LIMITS), 0, "{compression}: cut at {cut}");
            // The same with a header that owns up to it: the payload itself ends early.
            if cut < 61 {
                assert!(Batch::new(whole.slice(..cut)).is_err());
                continue;
            }
            let owned_up = with_crc(whole[..cut].to_vec());
            let batch = Batch::new(owned_up.clone()).expect("a plausible header");
            batch.verify_crc().expect("intact");
            assert!(read(&batch).is_err(), "{compression}: cut at {cut}");
            exercise(owned_up, LIMITS);
        }
    }
}

#[test]
fn mutated_batches_never_panic() {
    let seed = std::env::var("KCOPY_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let rounds: u32 = std::env::var("KCOPY_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    println!("seed {seed} (KCOPY_SEED={seed} repeats it), {rounds} mutations (KCOPY_MUTATIONS)");
    let mut random = Random(seed);
    let limits = RecordLimits::new(256 << 10);
    let originals: Vec<Bytes> = Compression::ALL
        .into_iter()
        .flat_map(|compression| [3, 60].map(|count| lines(compression, count)))
        .collect();
    let mut read = 0;
    for _ in 0..rounds {
        let mut bytes = originals[random.below(originals.len())].to_vec();
        for _ in 0..1 + random.below(4) {
            mutate(&mut random, &mut bytes);
        }
        // Most mutants have a right length and checksum, else few would get past the header.
        let bytes = if bytes.len() > 61 && random.below(8) != 0 { with_crc(bytes) } else { bytes.into() };
        read += exercise(bytes, limits);
    }
    assert!(read > 0, "some mutants must be readable, or the mutations are too coarse (seed {seed})");
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    // The interesting parts are the header and the start of the payload.
    let reach = if random.below(2) == 0 { bytes.len().min(120) } else { bytes.len() };
    if reach == 0 {
        return;
    }
    let at = random.below(reach);
    match random.below(6) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.below(256) as u8,
        2 => bytes[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
        3 => bytes.truncate(at),
        4 => {
            let end = (at + 1 + random.below(8)).min(bytes.len());
            bytes.drain(at..end);
        }
        _ => {
            let end = (at + random.below(16)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, copy);
        }
    }
}

/// A small generator (SplitMix64): the tests need reproducible bytes, not good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n as u64) as usize
    }
}

#[test]
fn a_batch_that_claims_two_billion_records_fails_at_once() {
    for compression in Compression::ALL {
        let forged = forge(&lines(compression, 5), 57, &i32::MAX.to_be_bytes());
        let forged = forge(&forged, 23, &(i32::MAX - 1).to_be_bytes());
        let batch = Batch::new(forged).expect("a plausible header");
        let started = Instant::now();
        let error = batch.open(LIMITS).expect_err("impossible");
        assert_eq!(error.kind(), RecordsErrorKind::InvalidRecord);
        assert!(error.to_string().contains("2147483647"), "{error}");
        assert!(started.elapsed().as_millis() < 100);
    }
}

/// Records that are wrong in one way each, with a word that the error must have.
#[test]
fn malformed_records_are_told() {
    for (what, count, payload) in [
        ("claims -1 bytes", 1, &b"\x01\x00\x00\x00\x01\x01\x00"[..]),
        ("claims 63 bytes", 1, b"\x7e\x00\x00\x00\x01\x01\x00"),
        ("ends before", 1, b"\x00\x00\x00\x00\x01\x01\x00"),
        ("ends before", 1, b"\x0c\x00\x80\x80\x80\x80\x80"),
        ("ends before", 1, b"\x80\x80\x80\x80\x80\x80\x00"),
        // The key, or the value, is longer than the record.
        ("ends before", 1, b"\x0c\x00\x00\x00\x08\x01\x00"),
        ("ends before", 1, b"\x0c\x00\x00\x00\x01\x08\x00"),
        ("header count cut off", 1, b"\x0a\x00\x00\x00\x01\x01\x00"),
        ("negative header count", 1, b"\x0c\x00\x00\x00\x01\x01\x01"),
        ("header 0 of 1 cut off", 1, b"\x0c\x00\x00\x00\x01\x01\x02"),
        ("header 0 of 1 cut off", 1, b"\x10\x00\x00\x00\x01\x01\x02\x02a"),
        ("header 1 of 1000000 cut off", 1, b"\x14\x00\x00\x00\x01\x01\x80\x89\x7a\x00\x01"),
        ("negative name length", 1, b"\x10\x00\x00\x00\x01\x01\x02\x01\x01"),
        // The record goes on after its headers.
        ("1 bytes follow the last header", 1, b"\x0e\x00\x00\x00\x01\x01\x00\x00"),
        // The batch goes on after its records, or ends before them.
        ("follow the last record", 1, b"\x0c\x00\x00\x00\x01\x01\x00\x00"),
        ("follow the last record", 1, b"\x0c\x00\x00\x00\x01\x01\x00\x0c\x00\x00\x00\x01\x01\x00"),
        ("2 records", 2, b"\x0c\x00\x00\x00\x01\x01\x00"),
        ("ends before", 2, b"\x1a\x00\x00\x00\x01\x0eabcdefg\x00"),
        ("record count -5", -5, b""),
    ] {
        let batch = Batch::new(batch_of(Compression::None, count, payload)).expect("a plausible header");
        let error = read(&batch).expect_err(what);
        assert_eq!(error.kind(), RecordsErrorKind::InvalidRecord);
        assert!(error.to_string().contains(what), "{what}: {error}");
        assert_eq!(error.base_offset(), Some(0));
    }
}

#[test]
fn a_walk_ends_after_its_first_error() {
    let payload = b"\x0c\x00\x00\x00\x01\x01\x00\x7e\x00\x00\x00\x01\x01\x00\x0c\x00\x00\x00\x01\x01\x00";
    let batch = Batch::new(batch_of(Compression::None, 3, payload)).expect("a plausible header");
    let open = batch.open(LIMITS).expect("plausible");
    let mut records = open.records();
    assert_eq!(records.remaining(), 3);
    assert!(records.next().is_some_and(|r| r.is_ok()));
    assert!(records.next().is_some_and(|r| r.is_err()));
    assert!(records.next().is_none() && records.next().is_none());
}

#[test]
fn undefined_compressions_are_told() {
    for id in 5..8u8 {
        let batch = Batch::new(forge(&lines(Compression::None, 3), 22, &[id])).expect("a plausible header");
        let error = batch.open(LIMITS).expect_err("undefined");
        assert_eq!(error.kind(), RecordsErrorKind::UnsupportedCompression);
        assert!(error.to_string().contains(&format!("type {id}")), "{error}");
    }
}

#[test]
fn payloads_of_another_codec_are_broken() {
    for claimed in Compression::ALL {
        for actual in Compression::ALL {
            if claimed == actual || claimed == Compression::None {
                continue;
            }
            let bytes = lines(actual, 30);
            let batch = Batch::new(batch_of(claimed, 30, &bytes[61..])).expect("a plausible header");
            let error = batch.open(LIMITS).expect_err("another codec");
            assert_eq!(error.kind(), RecordsErrorKind::BrokenCompression, "{actual} as {claimed}: {error}");
            assert!(error.to_string().contains(claimed.name()), "{error}");
        }
    }
}

/// As much as a hostile peer can ask for with one megabyte of parts that hold nothing.
#[test]
fn thousands_of_empty_parts_cost_little() {
    let gzip_member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast())
        .finish()
        .expect("a Vec takes everything");
    let zstd_block = b"\x04\x00\x00";
    let parts: [(Compression, Vec<u8>); 5] = [
        (Compression::Gzip, gzip_member.repeat((1 << 20) / gzip_member.len())),
        // Frames, skippable frames, blocks.
        (Compression::Zstd, b"\x28\xb5\x2f\xfd\x00\x58\x01\x00\x00".repeat((1 << 20) / 9)),
        (Compression::Zstd, b"\x50\x2a\x4d\x18\x00\x00\x00\x00".repeat((1 << 20) / 8)),
        (Compression::Zstd, [&b"\x28\xb5\x2f\xfd\x00\x58"[..], &zstd_block.repeat((1 << 20) / 3)].concat()),
        (
            Compression::Snappy,
            [&b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"[..], &[0; 1 << 20]].concat(),
        ),
    ];
    for (compression, payload) in parts {
        let batch = Batch::new(batch_of(compression, 1, &payload)).expect("a plausible header");
        let started = Instant::now();
        let error = batch.open(LIMITS).expect_err("there is no record");
        let kinds = [RecordsErrorKind::BrokenCompression, RecordsErrorKind::InvalidRecord];
        assert!(kinds.contains(&error.kind()), "{compression}: {error}");
        assert!(started.elapsed().as_secs() < 1, "{compression} took {:?}: {error}", started.elapsed());
    }
}

#[test]
fn working_memory_survives_broken_batches() {
    let mut decompressor = Decompressor::new();
    for compression in Compression::ALL {
        let whole = lines(compression, 200);
        let good = Batch::new(whole.clone()).expect("a batch");
        let expected = read(&good).expect("valid");
        for cut in (61..whole.len()).step_by(whole.len() / 20) {
            let broken = Batch::new(with_crc(whole[..cut].to_vec())).expect("a plausible header");
            assert!(
                broken
                    .open_with(LIMITS, &mut decompressor)
                    .and_then(|open| open.records().try_for_each(|r| r.map(drop)))
                    .is_err()
            );
            let open = good.open_with(LIMITS, &mut decompressor).expect("opens");
            let back: Vec<Owned> = open.records().map(|r| r.expect("valid").into()).collect();
            assert!(back == expected, "{compression}: after a cut at {cut}");
            decompressor.recycle(open);
        }
    }
}
