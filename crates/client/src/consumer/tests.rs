//! What a partition makes of the bytes of an answer.

mod brokers;

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use kcopy_wire::{
    ApiKey, ErrorCode,
    messages::{
        FetchRequest, FetchResponse, MetadataRequest,
        fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData},
        metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
    },
    records::{BatchBuilder, BatchMut, BatchOptions, EndTxnMarker, Headers, ProducerStamp},
};
use tokio::time::Instant;

use super::{
    batch::FetchedBatch,
    budget::Budget,
    partition::{Partition, Taken},
    *,
};
use crate::{
    backoff::Backoff,
    client::Client,
    error::ErrorKind,
    offsets::IsolationLevel,
    testing::{Peer, Received, brokers, scripted},
};

fn at(bytes: Bytes, base_offset: i64) -> Bytes {
    let mut bytes = BytesMut::from(&bytes[..]);
    BatchMut::new(&mut bytes).unwrap().set_base_offset(base_offset).unwrap();
    bytes.freeze()
}

/// A batch with one record per offset, whose value is the offset.
fn batch(offsets: std::ops::Range<i64>, stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for offset in offsets.clone() {
        builder.append(0, None, Some(offset.to_string().as_bytes()), Headers::EMPTY).unwrap();
    }
    at(builder.finish(stamp).unwrap(), offsets.start)
}

fn plain(offsets: std::ops::Range<i64>) -> Bytes {
    batch(offsets, ProducerStamp::NONE)
}

fn transactional(producer_id: i64) -> ProducerStamp {
    ProducerStamp { id: producer_id, epoch: 0, base_sequence: 0, transactional: true }
}

fn marker(offset: i64, producer_id: i64, committed: bool) -> Bytes {
    let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
    at(BatchBuilder::control(BatchOptions::default(), 0, transactional(producer_id), marker).unwrap(), offset)
}

fn data(records: &[Bytes], aborted: &[(i64, i64)]) -> PartitionData {
    let aborted = aborted.iter().map(|(producer_id, first_offset)| AbortedTransaction {
        producer_id: *producer_id,
        first_offset: *first_offset,
        ..Default::default()
    });
    PartitionData {
        records: Some(Bytes::from(records.concat()).into()),
        aborted_transactions: Some(aborted.collect()),
        high_watermark: 1000,
        last_stable_offset: 1000,
        ..Default::default()
    }
}

fn partition(start: i64, end: Option<i64>) -> Partition {
    let backoff = Backoff::new(std::time::Duration::from_millis(1), std::time::Duration::from_millis(1));
    Partition::new("t".into(), 0, start, end, 1 << 20, backoff)
}

fn take(partition: &mut Partition, data: PartitionData, config: &ConsumerConfig) -> Result<Taken> {
    partition.take(data, 1, &Arc::new(Budget::default()).hold(0), config)
}

fn offsets(batch: &FetchedBatch) -> Vec<i64> {
    batch.records().map(|record| record.unwrap().offset).collect()
}

/// The offsets that are handed out, and the position afterwards.
fn check(
    range: (i64, Option<i64>),
    data: PartitionData,
    isolation: IsolationLevel,
    expected: &[i64],
    next: i64,
) {
    let config = ConsumerConfig { isolation_level: isolation, ..ConsumerConfig::default() };
    let mut partition = partition(range.0, range.1);
    let taken = take(&mut partition, data, &config).unwrap();
    let batches = taken.batches.into_iter().map(|batch| batch.open(&config).unwrap());
    let handed_out: Vec<i64> = batches.flat_map(|batch| offsets(&batch)).collect();
    assert_eq!((&handed_out[..], partition.position), (expected, next));
}

use IsolationLevel::{ReadCommitted, ReadUncommitted};

#[test]
fn aborted_transactions_are_left_out_of_what_is_committed() {
    let log = || {
        [
            batch(0..2, transactional(7)),
            batch(2..4, transactional(8)),
            plain(4..5),
            marker(5, 7, false),
            batch(6..8, transactional(7)),
            marker(8, 8, true),
            marker(9, 7, true),
        ]
    };
    let aborted = [(7, 0)];
    check((0, None), data(&log(), &aborted), ReadCommitted, &[2, 3, 4, 6, 7], 10);
    check((0, None), data(&log(), &aborted), ReadUncommitted, &[0, 1, 2, 3, 4, 6, 7], 10);
    // The same transaction aborted twice by one producer.
    let log = [
        batch(0..2, transactional(7)),
        marker(2, 7, false),
        batch(3..4, transactional(7)),
        marker(4, 7, false),
    ];
    check((0, None), data(&log, &[(7, 3), (7, 0)]), ReadCommitted, &[], 5);
}

#[test]
fn a_range_begins_and_ends_within_batches() {
    let log = || [plain(0..5), plain(5..10), plain(10..15)];
    check((3, Some(12)), data(&log(), &[]), ReadCommitted, &[3, 4, 5, 6, 7, 8, 9, 10, 11], 15);
    check((5, Some(10)), data(&log(), &[]), ReadCommitted, &[5, 6, 7, 8, 9], 10);
    check((12, None), data(&log(), &[]), ReadCommitted, &[12, 13, 14], 15);
}

#[test]
fn compacted_tails_are_stepped_over() {
    // Of the offsets 0 to 9 compaction has left the first three.
    let mut compacted = BytesMut::from(&plain(0..3)[..]);
    compacted[23..27].copy_from_slice(&9_i32.to_be_bytes());
    let crc = kcopy_wire::records::Batch::new(compacted.clone().freeze()).unwrap();
    assert!(crc.verify_crc().is_err());
    let config = ConsumerConfig { check_crcs: false, ..ConsumerConfig::default() };
    let mut partition = partition(0, Some(10));
    let taken = take(&mut partition, data(&[compacted.freeze()], &[]), &config).unwrap();
    assert_eq!((partition.position, taken.reached_end), (10, Some(10)));
    let batch = taken.batches.into_iter().next().unwrap().open(&config).unwrap();
    assert_eq!((offsets(&batch), batch.next_offset()), (vec![0, 1, 2], 10));
}

#[test]
fn what_lies_behind_the_end_lends_it_no_epoch() {
    let log = [(0..3, 1), (8..10, 5)].map(|(offsets, epoch)| {
        let mut bytes = BytesMut::from(&plain(offsets)[..]);
        BatchMut::new(&mut bytes).unwrap().set_partition_leader_epoch(epoch);
        bytes.freeze()
    });
    let mut partition = partition(0, Some(5));
    let taken = take(&mut partition, data(&log, &[]), &ConsumerConfig::default()).unwrap();
    assert_eq!((taken.batches.len(), taken.reached_end), (1, Some(5)));
    assert_eq!(partition.last_fetched_epoch, Some(1));
}

#[test]
fn a_damaged_batch_is_named() {
    let mut damaged = BytesMut::from(&plain(0..3)[..]);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let config = ConsumerConfig::default();
    let taken = take(&mut partition(0, None), data(&[damaged.freeze()], &[]), &config).unwrap();
    let error = taken.batches.into_iter().next().unwrap().open(&config).unwrap_err();
    assert_eq!(
        (error.kind(), error.topic(), error.partition()),
        (ErrorKind::CorruptRecords, Some("t"), Some(0))
    );
    assert!(error.message().contains("checksum"), "{error}");
}

#[test]
fn what_is_no_batch_is_an_error_and_what_is_cut_off_is_not() {
    let config = ConsumerConfig::default();
    let error = take(&mut partition(0, None), data(&[Bytes::from(vec![0; 100])], &[]), &config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptRecords);
    let cut = plain(5..10).slice(..70);
    let mut partition = partition(0, None);
    let taken = take(&mut partition, data(&[plain(0..5), cut.clone()], &[]), &config).unwrap();
    assert_eq!((taken.batches.len(), partition.position), (1, 5));
    // Never more than the beginning of the next batch: more is asked for, but not for ever.
    let before = partition.max_bytes;
    partition.max_bytes = 80;
    let error = loop {
        if let Err(error) = take(&mut partition, data(std::slice::from_ref(&cut), &[]), &config) {
            break error;
        }
    };
    assert!(partition.max_bytes > 80 && partition.max_bytes < before);
    assert!(
        error.message().contains("21 answers in a row hold no whole batch at or after offset 5"),
        "{error}"
    );
    // Nor is what was read already offered over and over.
    let old = || data(&[plain(0..5)], &[]);
    assert!((0..30).any(|_| take(&mut partition, old(), &config).is_err()));
}

#[test]
fn offsets_that_contradict_each_other_are_no_reason_to_pass_records_over() {
    let config = ConsumerConfig::default();
    // Beyond the end that is told along with it: what is wanted was left out. It may be so by chance.
    let beyond = || PartitionData { high_watermark: 10, ..data(&[plain(1000..1003)], &[]) };
    let mut behind = partition(0, Some(10));
    for _ in 0..20 {
        assert!(take(&mut behind, beyond(), &config).unwrap().reached_end.is_none());
    }
    let error = take(&mut behind, beyond(), &config).unwrap_err();
    let text = "21 answers in a row hold a batch of offset 1000, and say that the partition ends at 10";
    assert!(error.message().contains(text), "{error}");

    // Records that are nowhere in their batch.
    for (delta, expected) in [(-5, "of offset -5"), (500, "of offset 500")] {
        let mut bytes = BytesMut::from(&plain(0..1)[..]);
        // The only record: its length, attributes, the time's distance, the offset's.
        let rest = bytes.split_off(61);
        let zigzag = ((delta << 1) ^ (delta >> 31)) as u32;
        let varint = match zigzag {
            0..128 => vec![zigzag as u8],
            _ => vec![zigzag as u8 | 0x80, (zigzag >> 7) as u8],
        };
        bytes.extend_from_slice(&[rest[0] + 2 * (varint.len() as u8 - 1), rest[1], rest[2]]);
        bytes.extend_from_slice(&varint);
        bytes.extend_from_slice(&rest[4..]);
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let config = ConsumerConfig { check_crcs: false, ..ConsumerConfig::default() };
        let taken = take(&mut partition(0, Some(10)), data(&[bytes.freeze()], &[]), &config).unwrap();
        let batch = taken.batches.into_iter().next().unwrap().open(&config).unwrap();
        let error = batch.records().next().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.partition()), (ErrorKind::CorruptRecords, Some(0)));
        assert!(error.message().contains(expected), "{error}");
    }
}

#[test]
fn the_end_is_reported_once_each_time_it_is_reached() {
    let config = ConsumerConfig::default();
    let mut partition = partition(0, None);
    let with_end = |records: &[Bytes], end| PartitionData {
        high_watermark: end,
        last_stable_offset: end,
        ..data(records, &[])
    };
    for (records, end, reported) in [
        (vec![plain(0..5)], 10, None),
        (vec![plain(5..10)], 10, Some(10)),
        (vec![], 10, None),
        (vec![plain(10..12)], 12, Some(12)),
    ] {
        let taken = take(&mut partition, with_end(&records, end), &config).unwrap();
        assert_eq!(taken.reached_end, reported);
    }
}
