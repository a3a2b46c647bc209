//! Batches in a row: whole ones, one that is cut off, old formats, lengths and offsets that cannot be.

use bytes::Bytes;
use kcopy_wire::records::{Batch, BatchOptions, Batches, Compression, Incomplete, RecordsErrorKind};

use crate::support::{LIMITS, Owned, build, forge, lines, read};

fn numbered(base_offset: i64) -> Bytes {
    let options = BatchOptions { base_offset, ..BatchOptions::default() };
    build(options, &[Owned::new(base_offset, 1, Some(b"k"), Some(b"v"))])
}

#[test]
fn an_incomplete_batch_at_the_end_is_left_out() {
    let (one, two) = (numbered(10), numbered(11));
    for cut in 1..two.len() {
        let bytes: Bytes = [&one[..], &two[..cut]].concat().into();
        let mut batches = Batches::new(bytes);
        let first = batches.next().expect("a first batch").expect("a whole batch");
        assert_eq!(first.base_offset(), 10);
        assert!(batches.next().is_none(), "cut at {cut}");
        let expected = Incomplete { available: cut, size: (cut >= 12).then_some(two.len()) };
        assert_eq!(batches.incomplete(), Some(expected));
        assert_eq!(batches.position(), one.len());
    }
}

#[test]
fn whole_batches_leave_nothing_over() {
    let bytes: Bytes = [numbered(1), numbered(2), lines(Compression::Zstd, 100)].concat().into();
    let len = bytes.len();
    let mut batches = Batches::new(bytes);
    assert_eq!(batches.by_ref().filter(Result::is_ok).count(), 3);
    assert_eq!(batches.incomplete(), None);
    assert_eq!(batches.position(), len);
    assert!(Batches::new(Bytes::new()).next().is_none());
}

#[test]
fn old_message_sets_are_named() {
    for magic in [0u8, 1] {
        let mut old = numbered(42).to_vec();
        old[16] = magic;
        let error = Batches::new(old.into()).next().expect("an error").expect_err("old");
        assert_eq!(error.kind(), RecordsErrorKind::UnsupportedMagic);
        assert_eq!(error.base_offset(), Some(42));
        let text = error.to_string();
        assert!(text.contains(&format!("message format {magic}")) && text.contains("42"), "{text}");
    }
    // A message of format 0 may be as short as 26 bytes: it must not pass for an incomplete batch.
    let mut short = vec![0; 26];
    short[11] = 14;
    let error = Batches::new(short.into()).next().expect("an error").expect_err("old");
    assert_eq!(error.kind(), RecordsErrorKind::UnsupportedMagic);
}

#[test]
fn unknown_formats_and_impossible_lengths_are_corrupt() {
    for (at, bytes) in [
        (16, &[3u8][..]),
        (16, &[0xff]),
        (8, &[0xff, 0xff, 0xff, 0xff]),
        (8, &[0x80, 0, 0, 0]),
        (8, &[0, 0, 0, 0]),
        (8, &[0, 0, 0, 13]),
        (8, &[0, 0, 0, 48]),
    ] {
        let mut broken = numbered(7).to_vec();
        broken[at..at + bytes.len()].copy_from_slice(bytes);
        let mut batches = Batches::new(broken.into());
        let error = batches.next().expect("an error").expect_err("broken");
        assert_eq!(error.kind(), RecordsErrorKind::Corrupt, "{bytes:?} at {at}");
        assert_eq!(error.base_offset(), Some(7));
        assert!(batches.next().is_none(), "nothing is read after an error");
    }
}

#[test]
fn a_length_of_two_gigabytes_is_only_incomplete() {
    let mut huge = numbered(7).to_vec();
    huge[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    let mut batches = Batches::new(huge.into());
    assert!(batches.next().is_none());
    assert_eq!(batches.incomplete().and_then(|i| i.size), Some(i32::MAX as usize + 12));
}

#[test]
fn a_batch_that_ends_before_it_begins_is_refused() {
    for delta in [-1, i32::MIN] {
        let error = Batch::new(forge(&numbered(7), 23, &delta.to_be_bytes())).expect_err("backwards");
        assert_eq!(error.kind(), RecordsErrorKind::InvalidRecord);
    }
    let error = Batch::new(forge(&numbered(7), 0, &i64::MAX.to_be_bytes())).expect_err("no next offset");
    assert_eq!(error.kind(), RecordsErrorKind::InvalidRecord);
}

#[test]
fn a_wrong_checksum_names_the_batch() {
    let mut broken = numbered(123).to_vec();
    *broken.last_mut().expect("not empty") ^= 1;
    let batch = Batch::new(broken.into()).expect("the header is fine");
    let error = batch.verify_crc().expect_err("corrupt");
    assert_eq!(error.kind(), RecordsErrorKind::Corrupt);
    assert_eq!(error.base_offset(), Some(123));
    assert!(error.to_string().contains("123"), "{error}");
}

#[test]
fn the_tail_of_a_compacted_batch_is_stepped_over() {
    // The last record of ten was removed: nine are there, the last offset is still that of the tenth.
    let kept: Vec<Owned> = (0..9).map(|n| Owned::new(n, n, None, None)).collect();
    let bytes = forge(&build(BatchOptions::default(), &kept), 23, &9i32.to_be_bytes());
    let batch = Batch::new(bytes).expect("a batch");
    assert_eq!((batch.last_offset(), batch.next_offset(), batch.record_count()), (9, 10, 9));
    assert_eq!(read(&batch).expect("valid"), kept);
}

#[test]
fn a_batch_that_compaction_has_emptied_is_kept_for_its_offsets() {
    let empty = build(BatchOptions::default(), &[]);
    let batch = Batch::new(forge(&empty, 23, &4i32.to_be_bytes())).expect("a batch");
    assert_eq!((batch.record_count(), batch.next_offset(), batch.base_timestamp()), (0, 5, -1));
    assert_eq!(read(&batch).expect("valid"), []);
    // Whatever its compression, there is nothing to decompress.
    let batch = Batch::new(forge(&empty, 22, &[4])).expect("a batch");
    assert_eq!(read(&batch).expect("valid"), []);
}

#[test]
fn log_append_time_counts_for_every_record() {
    let mut bytes = forge(&lines(Compression::None, 3), 22, &[0x08]).to_vec();
    bytes[35..43].copy_from_slice(&99i64.to_be_bytes());
    let batch = Batch::new(bytes.into()).expect("a batch");
    let timestamps: Vec<i64> = read(&batch).expect("valid").iter().map(|r| r.timestamp).collect();
    assert_eq!(timestamps, [99, 99, 99]);
}

#[test]
fn the_delete_horizon_is_the_base_timestamp() {
    let bytes = lines(Compression::None, 3);
    assert_eq!(Batch::new(bytes.clone()).expect("a batch").delete_horizon(), None);
    let batch = Batch::new(forge(&bytes, 22, &[0x40])).expect("a batch");
    assert!(batch.attributes().has_delete_horizon());
    assert_eq!(batch.delete_horizon(), Some(1_700_000_000_000));
    assert_eq!(read(&batch).expect("valid")[2].timestamp, 1_700_000_000_002);
}

#[test]
fn values_can_outlive_the_walk_without_a_copy() {
    let batch = Batch::new(lines(Compression::Lz4, 3)).expect("a batch");
    let open = batch.open(LIMITS).expect("opens");
    let second = open.records().nth(1).expect("a record").expect("valid");
    let value = open.record_bytes().slice_ref(second.value.expect("a value"));
    drop(open);
    assert!(value.starts_with(b"1: the quick"));
}
