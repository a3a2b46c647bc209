//! The producer against a cluster that fails in every way, on simulated time: whatever happens, every record that
//! was acknowledged is in the log once, and in order.

mod common;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{client, client_config, consume, from_earliest, in_memory, inject, read_to_end};
use kcopy_client::{
    Client, ConsumerConfig, ErrorKind, Persisted,
    producer::{Acks, Partitioner, Producer, ProducerConfig, ProducerConfigBuilder, Record, Topic},
    wire::{ApiKey, ErrorCode, records::Compression},
};
use kcopy_mini_broker::{FaultAction, MiniCluster};
use tokio::time::{Instant, sleep};

async fn producer(client: &Client, config: ProducerConfigBuilder) -> (Producer, Topic) {
    let producer = Producer::new(client, config.build().unwrap());
    let topic = producer.topic("t").await.unwrap();
    (producer, topic)
}

/// The numbers that each partition holds.
async fn logs(client: &Client, partitions: i32) -> BTreeMap<i32, Vec<u64>> {
    let config = ConsumerConfig::default();
    let mut consumer = consume(client, &from_earliest("t", partitions), config).await.unwrap();
    let report = read_to_end(&mut consumer).await.unwrap();
    let numbers = |records: Vec<(i64, u64)>| records.into_iter().map(|(_, number)| number).collect();
    report.records.into_iter().map(|(partition, records)| (partition, numbers(records))).collect()
}

async fn append(producer: &Producer, topic: Topic, partition: i32, number: u64) {
    let value = number.to_string();
    let record = Record { partition: Some(partition), ..Record::value(value.as_bytes()) };
    producer.append(topic, &record).await.unwrap();
}

/// Small batches, so that several are on their way.
fn small_batches() -> ProducerConfigBuilder {
    ProducerConfig::builder().batch_records(10)
}

/// Produces 300 numbers to each of two partitions while `disturb` does its work.
async fn check_exactly_once(nodes: i32, disturb: impl AsyncFnOnce(&mut MiniCluster)) {
    let mut cluster = in_memory(nodes).topic("t", 2).start().await.unwrap();
    let client = client(&cluster).await;
    let (producer, topic) = producer(&client, small_batches()).await;
    let produce = async {
        for number in 0..300 {
            append(&producer, topic, 0, number).await;
            append(&producer, topic, 1, number).await;
            if number % 50 == 49 {
                sleep(Duration::from_millis(20)).await;
            }
        }
        producer.flush().await.unwrap();
    };
    tokio::join!(produce, disturb(&mut cluster));
    cluster.clear_faults().await.unwrap();
    let expected: Vec<u64> = (0..300).collect();
    assert_eq!(logs(&client, 2).await, BTreeMap::from([(0, expected.clone()), (1, expected)]));
    assert!(producer.take_failures().is_empty());
    producer.close().await.unwrap();
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_repeated_without_faults() {
    check_exactly_once(1, async |_: &mut MiniCluster| {}).await;
    check_exactly_once(3, async |_: &mut MiniCluster| {}).await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_end_after_the_write_and_before_the_answer_repeat_nothing() {
    for skip in 0..12 {
        check_exactly_once(1, async |cluster: &mut MiniCluster| {
            inject(cluster, FaultAction::CloseAfter, |f| f.api(ApiKey::Produce).after(skip).times(2)).await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_never_come_repeat_nothing() {
    check_exactly_once(2, async |cluster: &mut MiniCluster| {
        inject(cluster, FaultAction::Silence, |f| f.api(ApiKey::Produce).after(3).times(2)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn retriable_errors_lose_nothing() {
    for code in [
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode::UNKNOWN_PRODUCER_ID,
    ] {
        check_exactly_once(1, async |cluster: &mut MiniCluster| {
            inject(cluster, FaultAction::Error(code), |f| f.api(ApiKey::Produce).after(2).times(3)).await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn leaders_that_move_back_and_forth_lose_nothing() {
    check_exactly_once(3, async |cluster: &mut MiniCluster| {
        for round in 0..8 {
            cluster.move_leader("t", round % 2, 1 + round % 3).await.unwrap();
            sleep(Duration::from_millis(7)).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn brokers_that_restart_lose_nothing() {
    check_exactly_once(2, async |cluster: &mut MiniCluster| {
        let nodes: Vec<i32> = cluster.node_ids().collect();
        for node in nodes {
            sleep(Duration::from_millis(15)).await;
            cluster.stop_node(node).await.unwrap();
            sleep(Duration::from_millis(700)).await;
            cluster.start_node(node).await.unwrap();
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn any_mixture_of_faults_loses_nothing() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        println!("seed {seed}");
        check_exactly_once(3, async |cluster: &mut MiniCluster| {
            for _ in 0..15 {
                let actions = [
                    FaultAction::Close,
                    FaultAction::CloseAfter,
                    FaultAction::Error(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
                    FaultAction::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER),
                    FaultAction::Delay(Duration::from_millis(30)),
                ];
                let action = actions[rng.usize(0..actions.len())];
                let skip = rng.u64(0..5);
                inject(cluster, action, |f| f.api(ApiKey::Produce).after(skip).times(1)).await;
                if rng.u8(0..4) == 0 {
                    cluster.move_leader("t", rng.i32(0..2), rng.i32(1..4)).await.unwrap();
                }
                sleep(Duration::from_millis(rng.u64(0..40))).await;
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_of_10_ms_is_shared_by_the_batches_in_flight() {
    for partitions in [1, 8] {
        let cluster = in_memory(1).topic("t", partitions).start().await.unwrap();
        let client = client(&cluster).await;
        let (producer, topic) = producer(&client, ProducerConfig::builder().batch_size(100_000)).await;
        append(&producer, topic, 0, 0).await;
        producer.flush().await.unwrap();
        cluster.set_round_trip(Duration::from_millis(10)).await.unwrap();
        let start = Instant::now();
        let value = "9".repeat(1000);
        for number in 0..20_000 {
            let record = Record { partition: Some(number % partitions), ..Record::value(value.as_bytes()) };
            producer.append(topic, &record).await.unwrap();
        }
        producer.close().await.unwrap();
        // 20 MB: 200 batches, at least five of them in every 10 ms.
        let elapsed = start.elapsed();
        assert!(elapsed <= Duration::from_millis(450), "{partitions} partitions: {elapsed:?}");
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn batches_that_the_broker_finds_too_large_are_split() {
    let cluster = in_memory(1).topic("t", 1).config("message.max.bytes", "500").start().await.unwrap();
    let client = client(&cluster).await;
    let (producer, topic) = producer(&client, ProducerConfig::builder()).await;
    let mut receipts = Vec::new();
    for number in 0..200u64 {
        let value = number.to_string();
        receipts.push(producer.send(topic, &Record::value(value.as_bytes())).await.unwrap());
    }
    let huge = "1".repeat(600);
    let refused = producer.send(topic, &Record::value(huge.as_bytes())).await.unwrap();
    append(&producer, topic, 0, 200).await;
    let error = producer.flush().await.unwrap_err();
    assert_eq!((error.code(), error.persisted()), (Some(ErrorCode::MESSAGE_TOO_LARGE), Persisted::No));
    assert!(error.to_string().starts_with("a record was not delivered: MESSAGE_TOO_LARGE"), "{error}");
    assert_eq!(refused.wait().await.unwrap_err().code(), Some(ErrorCode::MESSAGE_TOO_LARGE));
    let failures = producer.take_failures();
    assert_eq!(failures.len(), 1);
    assert_eq!((failures[0].base_index, failures[0].record_count), (200, 1));
    for (number, receipt) in receipts.iter().enumerate() {
        assert_eq!(receipt.wait().await.unwrap().offset, Some(number as i64));
    }
    assert_eq!(logs(&client, 1).await, BTreeMap::from([(0, (0..=200).collect())]));
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_created_where_both_sides_allow_it() {
    let cluster = in_memory(1).config("num.partitions", "3").start().await.unwrap();
    let refusing = client(&cluster).await;
    let config = ProducerConfig::builder().topic_timeout(Duration::from_secs(1));
    let error = Producer::new(&refusing, config.build().unwrap()).topic("t").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    let creating = Client::new(client_config(&cluster).allow_auto_create_topics(true).build().unwrap());
    let (producer, topic) = producer(&creating, ProducerConfig::builder()).await;
    assert_eq!(producer.partition_count(topic), 3);
    append(&producer, topic, 2, 7).await;
    producer.close().await.unwrap();
    assert_eq!(logs(&creating, 3).await, BTreeMap::from([(2, vec![7])]));
}

#[tokio::test(start_paused = true)]
async fn keys_find_their_partitions_and_records_without_one_go_round() {
    let cluster = in_memory(2).topic("t", 4).start().await.unwrap();
    let client = client(&cluster).await;
    let config = ProducerConfig::builder().partitioner(Partitioner::Murmur2Random).batch_records(5);
    let (producer, topic) = producer(&client, config).await;
    for number in 0..40u64 {
        producer.append(topic, &Record::keyed(b"foobar", number.to_string().as_bytes())).await.unwrap();
    }
    producer.flush().await.unwrap();
    // (-790332482 & 0x7fffffff) % 4
    assert_eq!(logs(&client, 4).await, BTreeMap::from([(2, (0..40).collect())]));
    for number in 40..80u64 {
        producer.append(topic, &Record::value(number.to_string().as_bytes())).await.unwrap();
    }
    producer.close().await.unwrap();
    let counts: Vec<usize> = logs(&client, 4).await.into_values().map(|log| log.len()).collect();
    assert_eq!(counts, [10, 10, 50, 10]);
}

#[tokio::test(start_paused = true)]
async fn timestamps_and_offsets_are_told_as_the_broker_has_them() {
    let append_time = [("log.message.timestamp.type", "LogAppendTime")];
    for config in [&[][..], &append_time] {
        let mut cluster = in_memory(1).topic("t", 1);
        for (name, value) in config {
            cluster = cluster.config(name, value);
        }
        let cluster = cluster.start().await.unwrap();
        let client = client(&cluster).await;
        let (producer, topic) = producer(&client, ProducerConfig::builder()).await;
        for offset in 0..3 {
            let record = Record { timestamp: Some(1_700_000_000_000), ..Record::value(b"1") };
            let receipt = producer.send(topic, &record).await.unwrap();
            producer.flush().await.unwrap();
            let placement = receipt.wait().await.unwrap();
            assert_eq!(placement.offset, Some(offset));
            assert_eq!(placement.log_append_time.is_some(), !config.is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_broker_takes_is_given_up_at_the_deadline() {
    let mut cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    let config = ProducerConfig::builder().delivery_timeout(Duration::from_secs(20));
    let (producer, topic) = producer(&client, config).await;
    append(&producer, topic, 0, 0).await;
    producer.flush().await.unwrap();
    let node = cluster.node_ids().next().unwrap();
    cluster.stop_node(node).await.unwrap();
    let start = Instant::now();
    append(&producer, topic, 0, 1).await;
    let error = producer.flush().await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 20);
    assert_eq!((error.kind(), error.persisted()), (ErrorKind::Timeout, Persisted::No), "{error}");
    assert_eq!((error.topic(), error.partition()), (Some("t"), Some(0)));
    cluster.start_node(node).await.unwrap();
    append(&producer, topic, 0, 2).await;
    producer.close().await.unwrap();
    assert_eq!(logs(&client, 1).await, BTreeMap::from([(0, vec![0, 2])]));
}

#[tokio::test(start_paused = true)]
async fn weaker_acknowledgements_deliver_as_well() {
    for acks in [Acks::None, Acks::Leader] {
        let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
        let client = client(&cluster).await;
        let (producer, topic) = producer(&client, small_batches().acks(acks)).await;
        for number in 0..100 {
            append(&producer, topic, 0, number).await;
        }
        producer.close().await.unwrap();
        assert_eq!(logs(&client, 1).await, BTreeMap::from([(0, (0..100).collect())]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_partitions_share_requests_and_memory() {
    let cluster = in_memory(3).topic("t", 1000).start().await.unwrap();
    let client = client(&cluster).await;
    let config = ProducerConfig::builder().max_message_bytes(100_000).buffer_bytes(300_000);
    let (producer, topic) = producer(&client, config).await;
    for number in 0..10_000 {
        append(&producer, topic, number as i32 % 1000, number / 1000).await;
    }
    producer.close().await.unwrap();
    let logs = logs(&client, 1000).await;
    assert_eq!(logs.len(), 1000);
    assert!(logs.values().all(|log| *log == (0..10).collect::<Vec<_>>()));
    let requests = cluster.request_count(ApiKey::Produce).await.unwrap();
    assert!(requests < 300, "{requests} requests");
}

#[test]
fn many_partitions_share_a_few_threads_for_compression() {
    const PARTITIONS: i32 = 100;
    let threads = Arc::new(AtomicUsize::new(0));
    let counted = threads.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .on_thread_start(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        let cluster = in_memory(1).topic("t", PARTITIONS).start().await.unwrap();
        let client = client(&cluster).await;
        let config = ProducerConfig::builder().compression(Compression::Zstd);
        let (producer, topic) = producer(&client, config).await;
        let value = [b'1'].repeat(20_000);
        let mut receipts = Vec::new();
        for partition in 0..PARTITIONS {
            let record = Record { partition: Some(partition), ..Record::value(&value) };
            receipts.push(producer.send(topic, &record).await.unwrap());
        }
        // They linger: a flush would compress them one after the other.
        for receipt in receipts {
            receipt.await.unwrap();
        }
        producer.close().await.unwrap();
        cluster.stop().await;
    });
    let threads = threads.load(Ordering::Relaxed);
    assert!((1..=4).contains(&threads), "{threads} threads");
}
