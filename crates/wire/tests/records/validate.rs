//! What a leader checks before it appends.

use kcopy_wire::records::{
    Batch, BatchBuilder, BatchOptions, Compression, EndTxnMarker, ProducerStamp, RecordsErrorKind,
    TimestampType, ValidatedRecords,
};

use crate::support::{LIMITS, Owned, batch_of, build, forge, lines, read};

fn batch(records: &[Owned]) -> Batch {
    Batch::new(build(BatchOptions::default(), records)).expect("a batch")
}

#[test]
fn validation_reports_what_depends_on_the_topic() {
    let batch = batch(&[
        Owned::new(0, 50, Some(b"k"), None),
        Owned::new(1, 70, Some(b"k"), Some(b"v")),
        Owned::new(2, -1, None, Some(b"v")),
        Owned::new(3, 70, None, Some(b"v")),
        Owned::new(4, 20, Some(b"k"), Some(b"v")),
    ]);
    let expected = ValidatedRecords {
        count: 5,
        max_timestamp: 70,
        max_timestamp_delta: 1,
        min_timestamp: Some(20),
        first_without_key: Some(2),
        offsets_are_sequential: true,
        uncompressed_size: batch.size(),
    };
    assert_eq!(batch.validate_records(LIMITS), Ok(expected));
    for compression in Compression::ALL {
        let bytes = batch.recompress(compression, None, LIMITS).expect("small");
        let compressed = Batch::new(bytes).expect("a batch");
        assert_eq!(compressed.validate_records(LIMITS), Ok(expected), "{compression}");
    }
}

#[test]
fn records_without_timestamps_have_no_largest_one() {
    let found = batch(&[Owned::new(0, -1, Some(b"k"), None)]).validate_records(LIMITS).expect("valid");
    assert_eq!((found.max_timestamp, found.max_timestamp_delta, found.min_timestamp), (-1, -1, None));
    assert_eq!(found.first_without_key, None);
}

#[test]
fn counts_that_do_not_fit_are_refused() {
    let bytes = lines(Compression::None, 10);
    for count in [9i32, 11, -1, i32::MAX, i32::MIN] {
        let forged = Batch::new(forge(&bytes, 57, &count.to_be_bytes())).expect("a plausible header");
        let error = forged.validate_records(LIMITS).expect_err("a wrong count");
        assert_eq!(error.kind(), RecordsErrorKind::InvalidRecord, "{count}: {error}");
        assert!(forged.check_from_producer().is_err(), "{count}");
    }
}

#[test]
fn what_producers_may_not_send_is_told() {
    let good = lines(Compression::Zstd, 10);
    let check = |bytes| Batch::new(bytes).expect("a batch").check_from_producer();
    assert_eq!(check(good.clone()), Ok(()));
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
    let stamp = ProducerStamp { id: 1, epoch: 1, ..ProducerStamp::NONE };
    let control = BatchBuilder::control(BatchOptions::default(), 1, stamp, marker).expect("small");
    for (what, bytes) in [
        ("base offset", forge(&good, 7, &[1])),
        ("offset range", forge(&good, 23, &8i32.to_be_bytes())),
        ("record count", forge(&good, 57, &0i32.to_be_bytes())),
        ("control records", control),
        ("sequence number", forge(&good, 43, &5i64.to_be_bytes())),
    ] {
        let error = check(bytes).expect_err(what);
        assert_eq!(error.kind(), RecordsErrorKind::InvalidRecord);
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
}

#[test]
fn gaps_between_offsets_are_found_and_closed() {
    // As written by clients that left the inner offsets alone: all zero.
    let payload = b"\x0e\x00\x00\x00\x01\x02a\x00\x0e\x00\x02\x00\x01\x02b\x00";
    let batch = Batch::new(batch_of(Compression::None, 2, payload)).expect("a batch");
    let found = batch.validate_records(LIMITS).expect("readable");
    assert!(!found.offsets_are_sequential);
    for compression in Compression::ALL {
        let again = Batch::new(batch.renumbered(compression, None, LIMITS).expect("small")).expect("a batch");
        again.verify_crc().expect("intact");
        assert_eq!(again.attributes().compression(), Ok(compression));
        let offsets: Vec<_> = read(&again).expect("valid").into_iter().map(|r| (r.offset, r.value)).collect();
        assert_eq!(offsets, [(0, Some(b"a".to_vec())), (1, Some(b"b".to_vec()))]);
        assert!(again.validate_records(LIMITS).expect("valid").offsets_are_sequential);
    }
}

#[test]
fn recompression_changes_nothing_else() {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: 40,
        partition_leader_epoch: Some(4),
        timestamp_type: TimestampType::LogAppendTime,
        ..BatchOptions::new(Compression::Gzip)
    });
    for n in 0..50 {
        let value = [n; 30];
        builder
            .append(i64::from(n), Some(b"k"), Some(&value), kcopy_wire::records::Headers::EMPTY)
            .expect("room");
    }
    let stamp = ProducerStamp { id: 6, epoch: 5, base_sequence: 4, transactional: true };
    let before = Batch::new(builder.finish(stamp).expect("fits")).expect("a batch");
    for compression in Compression::ALL {
        for level in [None, Some(1), Some(9)] {
            let after =
                Batch::new(before.recompress(compression, level, LIMITS).expect("fits")).expect("a batch");
            after.verify_crc().expect("intact");
            assert_eq!(after.attributes(), before.attributes().with_compression(compression));
            assert_eq!(after.bytes()[..8], before.bytes()[..8]);
            assert_eq!(after.bytes()[12..17], before.bytes()[12..17]);
            assert_eq!(after.bytes()[23..61], before.bytes()[23..61]);
            assert_eq!(read(&after), read(&before));
        }
    }
}
