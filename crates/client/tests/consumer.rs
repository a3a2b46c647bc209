//! The consumer against a cluster in memory, on simulated time.

mod common;

use std::time::Duration;

use common::*;
use kcopy_client::{
    Assignment, ConsumerConfig, EndOffset, ErrorKind, Event, IsolationLevel, OffsetReset, PartitionRange,
    StartOffset, TryNext,
    wire::{
        ApiKey, ErrorCode,
        records::{BatchBuilder, BatchOptions, Headers, ProducerStamp},
    },
};
use kcopy_mini_broker::FaultAction;
use tokio::time::{Instant, timeout};

#[tokio::test(start_paused = true)]
async fn all_partitions_of_all_leaders_are_read_to_their_ends_without_a_wait() {
    let cluster = in_memory(3).topic("t", 7).start().await.unwrap();
    let client = client(&cluster).await;
    for partition in 0..6 {
        for from in 0..10 {
            produce(&client, "t", partition, from * 5..from * 5 + 5).await;
        }
    }
    let before = Instant::now();
    let mut consumer = consume(&client, &from_earliest("t", 7), ConsumerConfig::default()).await.unwrap();
    let report = read_to_end(&mut consumer).await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
    for partition in 0..6 {
        assert_eq!(report.records[&partition], numbered(0..50));
        assert_eq!(report.ends[&partition], 50);
    }
    assert_eq!((report.records.get(&6), report.ends[&6]), (None, 0));
    // It stays ended.
    assert!(consumer.next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_small_topic_costs_one_request_of_each_kind() {
    let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let producer = client(&cluster).await;
    produce(&producer, "t", 0, 0..100).await;
    let metadata = cluster.request_count(ApiKey::Metadata).await.unwrap();
    let client = client(&cluster).await;
    let config = ConsumerConfig::default();
    let mut consumer = consume(&client, &from_earliest("t", 1), config).await.unwrap();
    assert_eq!(read_to_end(&mut consumer).await.unwrap().records[&0], numbered(0..100));
    assert_eq!(cluster.request_count(ApiKey::Metadata).await.unwrap() - metadata, 1);
    // Both isolation levels, at once.
    assert_eq!(cluster.request_count(ApiKey::ListOffsets).await.unwrap(), 3);
    assert!(cluster.request_count(ApiKey::Fetch).await.unwrap() <= 2, "one, and the end of the session");
}

async fn check_range(start: StartOffset, end: EndOffset, expected: std::ops::Range<u64>) {
    let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    for from in [0, 10, 20] {
        produce(&client, "t", 0, from..from + 10).await;
    }
    let assignment = Assignment::new("t", 0, start).until(end);
    let mut consumer = consume(&client, &[assignment], ConsumerConfig::default()).await.unwrap();
    let report = read_to_end(&mut consumer).await.unwrap();
    let records = report.records.get(&0).cloned().unwrap_or_default();
    assert_eq!(records, numbered(expected.clone()), "{start:?} {end:?}");
    assert_eq!(report.ends[&0], expected.end as i64, "{start:?} {end:?}");
}

#[tokio::test(start_paused = true)]
async fn ranges_are_exact_within_batches() {
    check_range(StartOffset::Offset(13), EndOffset::Offset(17), 13..17).await;
    check_range(StartOffset::Offset(9), EndOffset::Offset(21), 9..21).await;
    check_range(StartOffset::Offset(10), EndOffset::Offset(20), 10..20).await;
    check_range(StartOffset::Offset(30), EndOffset::Latest, 30..30).await;
    check_range(StartOffset::Offset(20), EndOffset::Offset(5), 20..20).await;
    check_range(StartOffset::BeforeEnd(7), EndOffset::Latest, 23..30).await;
    check_range(StartOffset::BeforeEnd(700), EndOffset::Latest, 0..30).await;
    check_range(StartOffset::Latest, EndOffset::Latest, 30..30).await;
    // Timestamps are 1000 and the number.
    check_range(StartOffset::Timestamp(1012), EndOffset::Timestamp(1025), 12..25).await;
    check_range(StartOffset::Timestamp(9999), EndOffset::Timestamp(9999), 30..30).await;
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_is_not_there_is_an_error_that_says_what_is() {
    let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    produce(&client, "t", 0, 0..10).await;
    let config = ConsumerConfig::default();
    let assignment = [Assignment::new("t", 0, StartOffset::Offset(11))];
    let error = consume(&client, &assignment, config.clone()).await.unwrap_err();
    let text = "OFFSET_OUT_OF_RANGE: offset 11 is out of range: the partition has 0 to 9 (topic t [0])";
    assert_eq!(error.to_string(), text);

    // The same when the offset goes away after the start.
    let range = PartitionRange {
        topic: "t".into(),
        partition: 0,
        start: 11,
        end: Some(20),
        log_start_offset: 0,
        high_watermark: 10,
        last_stable_offset: 10,
        leader_epoch: None,
        last_epoch: None,
    };
    let mut consumer = client.consume(vec![range.clone()], config.clone()).unwrap();
    for _ in 0..2 {
        assert_eq!(consumer.next().await.unwrap_err().to_string(), text);
    }

    let mut reset = config.clone();
    reset.offset_reset = OffsetReset::Earliest;
    let mut consumer =
        client.consume(vec![PartitionRange { end: Some(10), start: -5, ..range }], reset).unwrap();
    assert_eq!(read_to_end(&mut consumer).await.unwrap().records[&0], numbered(0..10));

    let mut reset = config;
    reset.offset_reset = OffsetReset::Latest;
    let mut consumer = consume(&client, &assignment, reset).await.unwrap();
    assert_eq!(read_to_end(&mut consumer).await.unwrap().ends[&0], 10);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_an_error_soon() {
    let cluster = in_memory(1).start().await.unwrap();
    let client = client(&cluster).await;
    let before = Instant::now();
    let error = consume(&client, &from_earliest("nosuch", 1), ConsumerConfig::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!(error.topic(), Some("nosuch"));
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
}

/// Reads a topic while a fault happens, in fetches of about a batch.
async fn check_fault(action: FaultAction, times: u64, partitions: i32) {
    let cluster = in_memory(2).topic("t", partitions).start().await.unwrap();
    let client = client(&cluster).await;
    for partition in 0..partitions {
        for from in 0..20 {
            produce(&client, "t", partition, from * 10..from * 10 + 10).await;
        }
    }
    let mut config = ConsumerConfig::default();
    config.partition_max_bytes = 300;
    // Each silence takes all of the time for a request.
    config.unreachable_timeout = client.config().request_timeout * (times as u32 + 1);
    let ranges = client.resolve(&from_earliest("t", partitions), &config).await.unwrap();
    inject(&cluster, action, |fault| fault.api(ApiKey::Fetch).after(3).times(times)).await;
    let mut consumer = client.consume(ranges, config).unwrap();
    let report = timeout(Duration::from_secs(600), read_to_end(&mut consumer)).await.unwrap().unwrap();
    for partition in 0..partitions {
        assert_eq!(report.records[&partition], numbered(0..200), "{action:?}");
        assert_eq!(report.ends[&partition], 200);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_doubled_by_failures() {
    for code in [
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::FENCED_LEADER_EPOCH,
        ErrorCode::UNKNOWN_LEADER_EPOCH,
        ErrorCode::LEADER_NOT_AVAILABLE,
        ErrorCode::REPLICA_NOT_AVAILABLE,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::OFFSET_NOT_AVAILABLE,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::INCONSISTENT_TOPIC_ID,
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        ErrorCode::CORRUPT_MESSAGE,
    ] {
        check_fault(FaultAction::Error(code), 4, 3).await;
    }
    // The broker injects it for the whole answer if a fetch names no partition anew.
    check_fault(FaultAction::Error(ErrorCode::OFFSET_OUT_OF_RANGE), 1, 1).await;
    for action in [
        FaultAction::Close,
        FaultAction::CloseAfter,
        FaultAction::Silence,
        FaultAction::Delay(Duration::from_secs(3)),
    ] {
        check_fault(action, 3, 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_an_error_at_once() {
    let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    produce(&client, "t", 0, 0..10).await;
    let denied = FaultAction::Error(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    inject(&cluster, denied, |fault| fault.api(ApiKey::Fetch)).await;
    let mut consumer = consume(&client, &from_earliest("t", 1), ConsumerConfig::default()).await.unwrap();
    let error = consumer.next().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    assert_eq!((error.topic(), error.partition()), (Some("t"), Some(0)));
    assert!(error.broker_name().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_moves_is_followed() {
    let cluster = in_memory(3).topic("t", 2).start().await.unwrap();
    let client = client(&cluster).await;
    for partition in 0..2 {
        for from in 0..30 {
            produce(&client, "t", partition, from * 10..from * 10 + 10).await;
        }
    }
    let mut config = ConsumerConfig::default();
    config.partition_max_bytes = 300;
    config.prefetch_bytes = 600;
    let mut consumer = consume(&client, &from_earliest("t", 2), config).await.unwrap();
    let mut report = Report::default();
    let mut events = 0;
    while let Some(event) = consumer.next().await.unwrap() {
        report.take(event);
        events += 1;
        if events % 7 == 0 {
            cluster.move_leader("t", 0, 1 + events / 7 % 3).await.unwrap();
        }
    }
    for partition in 0..2 {
        assert_eq!(report.records[&partition], numbered(0..300));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_restarts_is_waited_for() {
    let mut cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    for from in 0..30 {
        produce(&client, "t", 0, from * 10..from * 10 + 10).await;
    }
    let mut config = ConsumerConfig::default();
    config.partition_max_bytes = 300;
    config.prefetch_bytes = 600;
    let mut consumer = consume(&client, &from_earliest("t", 1), config).await.unwrap();
    let mut report = Report::default();
    let event = consumer.next().await.unwrap().unwrap();
    report.take(event);
    cluster.stop_node(1).await.unwrap();
    let restart = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        cluster.start_node(1).await.unwrap();
    };
    let rest = async {
        while let Some(event) = consumer.next().await.unwrap() {
            report.take(event);
        }
    };
    tokio::join!(restart, rest);
    assert_eq!(report.records[&0], numbered(0..300));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stays_away_is_an_error_in_time() {
    let mut cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    produce(&client, "t", 0, 0..10).await;
    let mut config = ConsumerConfig::default();
    config.unreachable_timeout = Duration::from_secs(15);
    let ranges = client.resolve(&from_earliest("t", 1), &config).await.unwrap();
    cluster.stop_node(1).await.unwrap();
    let before = Instant::now();
    let mut consumer = client.consume(ranges, config).unwrap();
    let error = consumer.next().await.unwrap_err();
    let seconds = before.elapsed().as_secs();
    assert!((15..20).contains(&seconds), "{seconds} s: {error}");
    assert!(error.message().contains("could not be read for 15 s"), "{error}");
    assert_eq!((error.topic(), error.partition()), (Some("t"), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn fetching_ahead_stops_at_its_budget() {
    let cluster = in_memory(2).topic("t", 4).start().await.unwrap();
    let client = client(&cluster).await;
    for partition in 0..4 {
        for from in 0..50 {
            produce(&client, "t", partition, from * 10..from * 10 + 10).await;
        }
    }
    let mut config = ConsumerConfig::default();
    config.partition_max_bytes = 300;
    config.fetch_max_bytes = 300;
    config.prefetch_bytes = 2000;
    let mut consumer = consume(&client, &from_earliest("t", 4), config).await.unwrap();
    let mut report = Report::default();
    // Nothing is taken for a long time.
    tokio::time::sleep(Duration::from_secs(100)).await;
    let fetches = cluster.request_count(ApiKey::Fetch).await.unwrap();
    assert!((2..15).contains(&fetches), "{fetches} fetches");
    while let Some(event) = consumer.next().await.unwrap() {
        report.take(event);
    }
    for partition in 0..4 {
        assert_eq!(report.records[&partition], numbered(0..500));
    }
    // Each batch was fetched once: about as many fetches as batches, none for nothing.
    let fetches = cluster.request_count(ApiKey::Fetch).await.unwrap();
    assert!(fetches <= 4 * 50 + 4, "{fetches} fetches");
}

#[tokio::test(start_paused = true)]
async fn partitions_take_turns() {
    let cluster = in_memory(1).topic("t", 3).start().await.unwrap();
    let client = client(&cluster).await;
    for partition in 0..3 {
        for from in 0..30 {
            produce(&client, "t", partition, from * 10..from * 10 + 10).await;
        }
    }
    let mut config = ConsumerConfig::default();
    config.partition_max_bytes = 300;
    config.fetch_max_bytes = 300;
    let mut consumer = consume(&client, &from_earliest("t", 3), config).await.unwrap();
    let mut seen = [0; 3];
    for _ in 0..45 {
        let Some(Event::Batch(batch)) = consumer.next().await.unwrap() else { panic!("too early an end") };
        seen[batch.partition() as usize] += 1;
    }
    assert!(seen.iter().all(|count| (10..=20).contains(count)), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_pinned_end_what_comes_later_is_read_too() {
    let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    produce(&client, "t", 0, 0..10).await;
    let assignment = Assignment::new("t", 0, StartOffset::Earliest).until(EndOffset::Never);
    let mut consumer = consume(&client, &[assignment], ConsumerConfig::default()).await.unwrap();
    for from in [0, 10, 20] {
        let Some(Event::Batch(batch)) = consumer.next().await.unwrap() else { panic!("no batch") };
        assert_eq!(batch.next_offset(), from + 10);
        let Some(Event::EndOfPartition { offset, .. }) = consumer.next().await.unwrap() else {
            panic!("no end")
        };
        assert_eq!(offset, from + 10);
        assert!(matches!(consumer.try_next().unwrap(), TryNext::Waiting));
        assert!(timeout(Duration::from_secs(30), consumer.next()).await.is_err(), "the end only once");
        // A commit on the other connection need not wait for the fetch that waits for data.
        let before = Instant::now();
        produce(&client, "t", 0, from as u64 + 10..from as u64 + 20).await;
        assert!(before.elapsed() < Duration::from_millis(100), "{:?}", before.elapsed());
    }
}

/// What comes of reading on after ten records, of which an election that was not clean has lost four, and whose place
/// others have taken.
async fn after_an_unclean_election(reset: OffsetReset) -> kcopy_client::Result<i64> {
    let cluster = in_memory(2).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    for number in 0..10 {
        produce(&client, "t", 0, number..number + 1).await;
    }
    let mut config = ConsumerConfig::default();
    config.offset_reset = reset;
    let assignment = Assignment::new("t", 0, StartOffset::Earliest).until(EndOffset::Never);
    let mut consumer = consume(&client, &[assignment], config).await.unwrap();
    while !matches!(consumer.next().await.unwrap(), Some(Event::EndOfPartition { offset: 10, .. })) {}
    inject(&cluster, FaultAction::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER), |fault| fault.api(ApiKey::Fetch))
        .await;
    let leader = cluster.leader("t", 0).await.unwrap();
    let other = cluster.node_ids().find(|node| Some(*node) != leader).unwrap();
    assert_eq!(cluster.elect_uncleanly("t", 0, other, 6).await.unwrap(), 6);
    produce(&client, "t", 0, 100..110).await;
    cluster.clear_faults().await.unwrap();
    loop {
        if let Some(Event::Batch(batch)) = consumer.next().await? {
            return Ok(batch.batch().batch().base_offset());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_cut_short_and_has_grown_again_is_not_read_on() {
    let error = after_an_unclean_election(OffsetReset::Error).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE));
    let text = "the log was cut short at 6 and written anew from there, and offset 10 is the next to read";
    assert!(error.to_string().contains(text), "{error}");
    // Who has said where to go on gets what is new.
    assert_eq!(after_an_unclean_election(OffsetReset::Earliest).await.unwrap(), 6);
    assert_eq!(after_an_unclean_election(OffsetReset::Latest).await.unwrap(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_is_not_taken_for_the_old_one() {
    let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    produce(&client, "t", 0, 0..10).await;
    let assignment = Assignment::new("t", 0, StartOffset::Earliest).until(EndOffset::Never);
    let mut consumer = consume(&client, &[assignment], ConsumerConfig::default()).await.unwrap();
    consumer.next().await.unwrap();
    consumer.next().await.unwrap();
    client.admin().delete_topics(&["t".into()]).await.unwrap().remove(0).unwrap();
    cluster.create_topic("t", 1).await.unwrap();
    produce(&client, "t", 0, 100..120).await;
    let error = consumer.next().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_ID), "{error}");
    assert!(error.message().contains("deleted and created again"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_ends_the_reading_with_an_error() {
    let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    let assignment = Assignment::new("t", 0, StartOffset::Earliest).until(EndOffset::Never);
    let mut consumer = consume(&client, &[assignment], ConsumerConfig::default()).await.unwrap();
    consumer.next().await.unwrap();
    client.admin().delete_topics(&["t".into()]).await.unwrap().remove(0).unwrap();
    let before = Instant::now();
    let error = consumer.next().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), "{error}");
    assert!(before.elapsed() < Duration::from_secs(15), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_costs_only_itself() {
    let cluster = in_memory(2).topic("t", 8).start().await.unwrap();
    let client = client(&cluster).await;
    for partition in 0..8 {
        for from in 0..10 {
            produce(&client, "t", partition, from * 100..from * 100 + 100).await;
        }
    }
    cluster.set_round_trip(Duration::from_millis(5)).await.unwrap();
    let before = Instant::now();
    let mut consumer = consume(&client, &from_earliest("t", 8), ConsumerConfig::default()).await.unwrap();
    read_to_end(&mut consumer).await.unwrap();
    // Metadata is known: the offsets, and one fetch from each broker.
    assert!(before.elapsed() <= Duration::from_millis(12), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn from_far_away_more_fetches_are_under_way() {
    let cluster = in_memory(1).topic("t", 8).start().await.unwrap();
    let near = client(&cluster).await;
    for partition in 0..8 {
        for from in 0..20 {
            produce(&near, "t", partition, from * 10..from * 10 + 10).await;
        }
    }
    cluster.set_round_trip(Duration::from_millis(5)).await.unwrap();
    let far = client(&cluster).await;
    let mut times = Vec::new();
    for client in [near, far] {
        let mut config = ConsumerConfig::default();
        // A batch for each fetch.
        config.fetch_max_bytes = 1;
        let ranges = client.resolve(&from_earliest("t", 8), &config).await.unwrap();
        let before = Instant::now();
        let mut consumer = client.consume(ranges, config).unwrap();
        let report = read_to_end(&mut consumer).await.unwrap();
        assert!((0..8).all(|partition| report.records[&partition] == numbered(0..200)));
        times.push(before.elapsed().as_millis());
    }
    // The first client met the cluster when it was near. Each of three shares has three partitions, or each of eight one.
    assert!(times[0] >= 3 * 20 * 5 && times[1] <= 20 * 5 + 20, "{times:?} ms");
}

#[tokio::test(start_paused = true)]
async fn from_far_away_partitions_come_to_their_ends_together() {
    let cluster = in_memory(1).topic("t", 2).start().await.unwrap();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(0, None, Some(&[0; 250_000]), Headers::EMPTY).unwrap();
    let batch = builder.finish(ProducerStamp::NONE).unwrap();
    for (partition, count) in [(0, 8), (1, 80)] {
        for _ in 0..count {
            cluster.append_batch("t", partition, batch.clone()).await.unwrap();
        }
    }
    cluster.set_round_trip(Duration::from_millis(5)).await.unwrap();
    let client = client(&cluster).await;
    let mut config = ConsumerConfig::default();
    // A tenth of this is a batch or two.
    config.prefetch_bytes = 4_800_000;
    let mut consumer = consume(&client, &from_earliest("t", 2), config).await.unwrap();
    let mut long = 0;
    loop {
        match consumer.next().await.unwrap().unwrap() {
            Event::Batch(batch) => long += usize::from(batch.partition() == 1),
            Event::EndOfPartition { partition: 0, .. } => break,
            _ => {}
        }
    }
    assert!(long > 50, "{long} of 80 when the short one ends");
}

#[tokio::test(start_paused = true)]
async fn from_far_away_more_is_fetched_ahead_by_those_who_wait_for_more_too() {
    let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let near = client(&cluster).await;
    for from in 0..200 {
        produce(&near, "t", 0, from * 10..from * 10 + 10).await;
    }
    for end in [EndOffset::Latest, EndOffset::Never] {
        let mut fetches = Vec::new();
        for round_trip in [0, 5] {
            cluster.set_round_trip(Duration::from_millis(round_trip)).await.unwrap();
            let client = client(&cluster).await;
            let mut config = ConsumerConfig::default();
            config.fetch_max_bytes = 500;
            config.prefetch_bytes = 20_000;
            let from_earliest = from_earliest("t", 1).into_iter().map(|assignment| assignment.until(end));
            let consumer = consume(&client, &from_earliest.collect::<Vec<_>>(), config).await.unwrap();
            let before = cluster.request_count(ApiKey::Fetch).await.unwrap();
            // Nothing is taken.
            tokio::time::sleep(Duration::from_secs(10)).await;
            fetches.push(cluster.request_count(ApiKey::Fetch).await.unwrap() - before);
            drop(consumer);
        }
        assert!(fetches[1] > fetches[0] * 3 / 2, "{end:?}: {fetches:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn assignments_are_checked() {
    let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    let config = ConsumerConfig::default();
    let twice = [from_earliest("t", 1), from_earliest("t", 1)].concat();
    let error = consume(&client, &twice, config.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidInput, "the partition is assigned twice"));
    let mut nothing = config.clone();
    nothing.prefetch_bytes = 0;
    assert!(consume(&client, &from_earliest("t", 1), nothing).await.is_err());
    let mut uncommitted = config;
    uncommitted.isolation_level = IsolationLevel::ReadUncommitted;
    let mut consumer = consume(&client, &[], uncommitted).await.unwrap();
    assert!(consumer.next().await.unwrap().is_none());
}

#[test]
fn a_thread_without_a_runtime_reads_what_another_fetches() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (cluster, mut consumer) = runtime.block_on(async {
        let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
        let client = client(&cluster).await;
        for from in 0..30 {
            produce(&client, "t", 0, from * 10..from * 10 + 10).await;
        }
        let mut config = ConsumerConfig::default();
        config.partition_max_bytes = 300;
        config.prefetch_bytes = 600;
        let consumer = consume(&client, &from_earliest("t", 1), config).await.unwrap();
        (cluster, consumer)
    });
    let mut report = Report::default();
    while let Some(event) = consumer.next_blocking().unwrap() {
        report.take(event);
    }
    assert_eq!(report.records[&0], numbered(0..300));

    // A runtime that ends is no end of the data.
    let mut unfinished = runtime.block_on(async {
        let client = client(&cluster).await;
        let assignment = Assignment::new("t", 0, StartOffset::Latest).until(EndOffset::Never);
        consume(&client, &[assignment], ConsumerConfig::default()).await.unwrap()
    });
    drop(cluster);
    drop(runtime);
    let error = loop {
        match unfinished.next_blocking() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("taken for the end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Closed);
}
