//! Changing stored headers in place.

use bytes::BytesMut;
use kcopy_wire::records::{Batch, BatchMut, Compression, ProducerStamp, RecordsErrorKind, TimestampType};

use crate::support::{forge, lines, read};

fn copy(bytes: &[u8]) -> BytesMut {
    BytesMut::from(bytes)
}

fn batch(bytes: BytesMut) -> Batch {
    let batch = Batch::new(bytes.freeze()).expect("a batch");
    batch.verify_crc().expect("intact");
    batch
}

#[test]
fn offset_and_leader_epoch_do_not_touch_the_checksum() {
    let before = lines(Compression::Zstd, 20);
    let mut bytes = copy(&before);
    let mut header = BatchMut::new(&mut bytes).expect("a batch");
    header.set_base_offset(1_000_000).expect("in range");
    header.set_partition_leader_epoch(8);
    let after = batch(bytes);
    assert_eq!((after.base_offset(), after.last_offset()), (1_000_000, 1_000_019));
    assert_eq!(after.partition_leader_epoch(), 8);
    assert_eq!(after.bytes()[16..], before[16..]);
    assert_eq!(read(&after).expect("valid")[19].offset, 1_000_019);
}

#[test]
fn an_offset_without_a_next_one_is_refused() {
    let before = lines(Compression::None, 20);
    let mut bytes = copy(&before);
    let mut header = BatchMut::new(&mut bytes).expect("a batch");
    header.set_base_offset(i64::MAX - 20).expect("the last that fits");
    let error = header.set_base_offset(i64::MAX - 19).expect_err("too large");
    assert_eq!(error.kind(), RecordsErrorKind::InvalidRecord);
    assert_eq!(batch(bytes).base_offset(), i64::MAX - 20);
}

#[test]
fn log_append_time_is_set_and_taken_back() {
    let mut bytes = copy(&lines(Compression::Gzip, 3));
    BatchMut::new(&mut bytes).expect("a batch").set_log_append_time(77);
    let stamped = batch(bytes.clone());
    assert_eq!(stamped.attributes().timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(stamped.attributes().compression(), Ok(Compression::Gzip));
    assert_eq!(stamped.max_timestamp(), 77);
    assert!(read(&stamped).expect("valid").iter().all(|r| r.timestamp == 77));

    let mut header = BatchMut::new(&mut bytes).expect("a batch");
    header.set_max_timestamp(TimestampType::CreateTime, 1_700_000_000_002);
    let back = batch(bytes);
    assert_eq!(back.bytes(), &lines(Compression::Gzip, 3));
}

#[test]
fn a_batch_goes_to_another_producer() {
    let mut bytes = copy(&lines(Compression::Lz4, 3));
    let stamp = ProducerStamp { id: 3, epoch: 9, base_sequence: 0, transactional: true };
    BatchMut::new(&mut bytes).expect("a batch").set_producer(stamp);
    let stamped = batch(bytes);
    assert_eq!((stamped.producer_id(), stamped.producer_epoch(), stamped.base_sequence()), (Some(3), 9, 0));
    assert!(stamped.attributes().is_transactional());
    assert_eq!(read(&stamped).expect("valid").len(), 3);
}

#[test]
fn only_whole_batches_are_changed() {
    let bytes = lines(Compression::None, 3);
    for broken in [&bytes[..60], &bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat(), &[]] {
        let mut broken = copy(broken);
        assert!(BatchMut::new(&mut broken).is_err(), "{} of {} bytes", broken.len(), bytes.len());
    }
    let mut old = copy(&forge(&bytes, 16, &[1]));
    assert!(BatchMut::new(&mut old).is_err());
}
