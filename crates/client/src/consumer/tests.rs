//! What a partition makes of the bytes of an answer, and consumers of brokers that follow a script.

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

/// Answers with this session take a while.
const SLOW_SESSION: i32 = 99;

/// Serves the topic `t` with two partitions; `answer` makes the answers to fetches.
fn serving<F>(answer: F) -> Client
where
    F: FnMut(FetchRequest) -> Option<FetchResponse> + Send + 'static,
{
    let answer = Arc::new(Mutex::new(answer));
    let config = scripted(move |_, _, peer| {
        let answer = Arc::clone(&answer);
        Some(serve(peer, move |request: &Received| (answer.lock().unwrap())(request.decode())))
    });
    Client::new(config.build().unwrap())
}

fn led(partition_index: i32) -> MetadataResponsePartition {
    MetadataResponsePartition { partition_index, leader_id: 1, leader_epoch: 4, ..Default::default() }
}

async fn serve(mut peer: Peer, mut answer: impl FnMut(&Received) -> Option<FetchResponse>) {
    peer.negotiate().await;
    while let Some(request) = peer.receive().await {
        if request.key == ApiKey::Metadata {
            let mut response = brokers(&[(1, "one")]);
            response.topics.push(MetadataResponseTopic {
                name: Some("t".into()),
                partitions: [0, 1].map(led).into(),
                ..Default::default()
            });
            peer.answer::<MetadataRequest>(&request, &response).await;
        } else if let Some(response) = answer(&request) {
            if response.session_id == SLOW_SESSION {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            peer.answer::<FetchRequest>(&request, &response).await;
        }
    }
}

fn fetched(partition_index: i32, data: PartitionData) -> FetchResponse {
    let topic = FetchableTopicResponse {
        topic: "t".into(),
        partitions: vec![PartitionData { partition_index, ..data }],
        ..Default::default()
    };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

fn range(end: i64) -> PartitionRange {
    PartitionRange {
        topic: "t".into(),
        partition: 0,
        start: 0,
        end: Some(end),
        log_start_offset: 0,
        high_watermark: end,
        last_stable_offset: end,
        leader_epoch: None,
        last_epoch: None,
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_that_the_broker_forgets_are_begun_anew() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let client = serving(move |request| {
        let mut seen = log.lock().unwrap();
        seen.push((request.session_id, request.session_epoch));
        let named = request.topics.first().and_then(|topic| topic.partitions.first());
        let count = seen.len() as i64;
        match count {
            2 => Some(FetchResponse {
                error_code: ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
                ..Default::default()
            }),
            4 => Some(FetchResponse {
                error_code: ErrorCode::INVALID_FETCH_SESSION_EPOCH,
                ..Default::default()
            }),
            _ => {
                let offset = named?.fetch_offset;
                let response = fetched(0, data(&[plain(offset..offset + 1)], &[]));
                // The one that was given up is closed: the next one has another id.
                let closes = request.session_epoch == 0 && request.session_id == 70;
                let session_id = if closes || request.session_id == 71 { 71 } else { 70 };
                Some(FetchResponse { session_id, ..response })
            }
        }
    });
    let before = Instant::now();
    let mut consumer = client.consume(vec![range(4)], ConsumerConfig::default()).unwrap();
    let mut events = 0;
    while consumer.next().await.unwrap().is_some() {
        events += 1;
    }
    assert_eq!((events, before.elapsed().as_millis()), (5, 0));
    let sessions = seen.lock().unwrap()[..6].to_vec();
    assert_eq!(sessions, [(0, 0), (70, 1), (0, 0), (70, 1), (70, 0), (71, 1)]);
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_asked_for_end_the_reading() {
    let client = serving(|_| Some(fetched(5, data(&[plain(0..1)], &[]))));
    let mut consumer = client.consume(vec![range(4)], ConsumerConfig::default()).unwrap();
    let error = consumer.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.message().contains("partition 5 which was not asked for"), "{error}");

    // A broker that never has anything, though it should, is waited for no longer than it says.
    let client = serving(|_| Some(fetched(0, data(&[plain(0..1)], &[]))));
    let mut consumer = client.consume(vec![range(4)], ConsumerConfig::default()).unwrap();
    assert!(matches!(consumer.next().await.unwrap(), Some(Event::Batch(_))));
    let error = consumer.next().await.unwrap_err();
    assert!(error.message().contains("answers in a row"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_holds_clients_back_is_obeyed() {
    let mut first = true;
    let client = serving(move |request| {
        let throttle_time_ms = if std::mem::take(&mut first) { 5000 } else { 0 };
        let offset = request.topics.first()?.partitions.first()?.fetch_offset;
        let response = fetched(0, data(&[plain(offset..offset + 1)], &[]));
        Some(FetchResponse { throttle_time_ms, ..response })
    });
    let before = Instant::now();
    let mut consumer = client.consume(vec![range(2)], ConsumerConfig::default()).unwrap();
    while consumer.next().await.unwrap().is_some() {}
    assert_eq!(before.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn one_partition_out_of_reach_is_an_error_though_others_go_on() {
    let mut offset = 0;
    let client = serving(move |request| {
        let asked = |wanted: i32| {
            let mut partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.find(|partition| partition.partition == wanted).map(|partition| partition.fetch_offset)
        };
        offset = asked(0).unwrap_or(offset);
        let mut response = fetched(0, data(&[plain(offset..offset + 1)], &[]));
        if asked(1).is_some() {
            let error_code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
            response.responses[0].partitions.push(PartitionData {
                partition_index: 1,
                error_code,
                ..Default::default()
            });
        }
        Some(FetchResponse { session_id: SLOW_SESSION, ..response })
    });
    let config = ConsumerConfig {
        // Both in the same fetch, as where data is waited for.
        unreachable_timeout: std::time::Duration::from_secs(10),
        ..ConsumerConfig::default()
    };
    let without_end = |partition| PartitionRange { partition, end: None, ..range(1 << 40) };
    let before = Instant::now();
    let mut consumer = client.consume(vec![without_end(0), without_end(1)], config).unwrap();
    let error = loop {
        match consumer.next().await {
            Ok(event) => assert!(matches!(event, Some(Event::Batch(_)))),
            Err(error) => break error,
        }
    };
    assert_eq!((error.code(), error.partition()), (Some(ErrorCode::NOT_LEADER_OR_FOLLOWER), Some(1)));
    assert!((10..12).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
}

/// Reads two records of a broker that fails with an error of no name: in every fetch, or only now and then.
async fn without_a_name(of_partition: bool, always: bool) -> Result<usize> {
    let mut count = 0;
    let client = serving(move |request| {
        count += 1;
        let error_code = ErrorCode::UNKNOWN_SERVER_ERROR;
        if always || count % 2 == 1 {
            let data = PartitionData { error_code, ..Default::default() };
            return Some(match of_partition {
                true => fetched(0, data),
                false => FetchResponse { error_code, ..Default::default() },
            });
        }
        let offset = request.topics.first()?.partitions.first()?.fetch_offset;
        Some(fetched(0, data(&[plain(offset..offset + 1)], &[])))
    });
    let unreachable_timeout = std::time::Duration::from_secs(10);
    let config = ConsumerConfig { unreachable_timeout, ..ConsumerConfig::default() };
    let mut consumer = client.consume(vec![range(2)], config)?;
    let mut batches = 0;
    while let Some(event) = consumer.next().await? {
        batches += usize::from(matches!(event, Event::Batch(_)));
    }
    Ok(batches)
}

#[tokio::test(start_paused = true)]
async fn an_error_without_a_name_is_waited_for_as_others_are() {
    for of_partition in [true, false] {
        assert_eq!(without_a_name(of_partition, false).await.unwrap(), 2);
        let before = Instant::now();
        let error = without_a_name(of_partition, true).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_SERVER_ERROR));
        assert!(error.message().starts_with("the partition could not be read for 10 s"), "{error}");
        assert!((10..12).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_under_way_when_its_broker_freezes_counts_once() {
    let mut frozen = false;
    let client = serving(move |_| {
        (!std::mem::replace(&mut frozen, true)).then(|| fetched(0, data(&[plain(0..1)], &[])))
    });
    let unreachable_timeout = client.config().request_timeout;
    let config = ConsumerConfig { unreachable_timeout, ..ConsumerConfig::default() };
    let mut consumer = client.consume(vec![range(4)], config).unwrap();
    assert!(matches!(consumer.next().await.unwrap(), Some(Event::Batch(_))));
    let before = Instant::now();
    let error = consumer.next().await.unwrap_err();
    assert!(error.message().starts_with("the partition could not be read for 30 s"), "{error}");
    // The fetch itself takes all of the time, and a quarter of it is left to look for another leader.
    assert!((37..40).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
}

/// Where reading goes on once two leaders have each written under an epoch of their own, and the one whose records were
/// read is not the one that is left: it does not know their epoch, and has other records there.
async fn after_two_leaders(offset_reset: OffsetReset) -> Result<i64> {
    let of_epoch = |offsets, epoch| {
        let mut bytes = BytesMut::from(&plain(offsets)[..]);
        BatchMut::new(&mut bytes).unwrap().set_partition_leader_epoch(epoch);
        bytes.freeze()
    };
    let client = serving(move |request| {
        let asked = request.topics.first()?.partitions.first()?;
        let mut answer = match asked.last_fetched_epoch {
            3 => data(&[], &[]),
            _ if asked.fetch_offset == 0 => data(&[of_epoch(0..3, 2), of_epoch(3..5, 3)], &[]),
            _ => data(&[of_epoch(asked.fetch_offset..7, 2)], &[]),
        };
        if asked.last_fetched_epoch == 3 {
            (answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset) = (2, 7);
        }
        Some(fetched(0, answer))
    });
    let config = ConsumerConfig { offset_reset, ..ConsumerConfig::default() };
    let mut consumer = client.consume(vec![range(7)], config).unwrap();
    for expected in [0, 3] {
        let Some(Event::Batch(batch)) = consumer.next().await? else { panic!("no batch") };
        assert_eq!(batch.batch().batch().base_offset(), expected);
    }
    let Some(Event::Batch(batch)) = consumer.next().await? else { panic!("no batch") };
    Ok(batch.batch().batch().base_offset())
}

#[tokio::test(start_paused = true)]
async fn a_log_without_the_epoch_of_what_was_read_is_another_one_though_it_is_longer() {
    let error = after_two_leaders(OffsetReset::Error).await.unwrap_err();
    let text = "the log was cut short at 3 and written anew from there, and offset 5 is the next to read";
    assert!(error.message().contains(text), "{error}");
    assert_eq!(after_two_leaders(OffsetReset::Earliest).await.unwrap(), 3);
}
