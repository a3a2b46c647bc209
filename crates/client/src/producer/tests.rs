//! The producer as a whole, against a scripted broker at the other end of in-memory pipes, on simulated time.

use std::{
    collections::VecDeque,
    future::IntoFuture,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kcopy_wire::{
    ApiKey, ErrorCode,
    messages::{
        InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, ProduceRequest, ProduceResponse,
        metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    records::{Batches, Compression, HeadersBuf, RecordLimits},
};
use tokio::time::Instant;

use super::{AppendError, Producer, ProducerConfig, ProducerConfigBuilder, Record};
use crate::{
    Client, ErrorKind, Persisted,
    testing::{Peer, Received, brokers, scripted},
};

/// What the broker does with the next produce request, if not write it and say so.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Write it, and end the connection without an answer.
    WriteAndCut,
    /// End the connection.
    Cut,
    /// Write it, and never answer.
    WriteAndHang,
    /// Write it, and say so so much later.
    Delay(Duration),
    Refuse(ErrorCode),
}

/// `(producer epoch, base sequence, values)` per batch that was written.
type Log = Vec<(i16, i32, Vec<Vec<u8>>)>;

#[derive(Default)]
struct State {
    logs: [Log; 2],
    faults: VecDeque<Fault>,
    topic_error: Option<ErrorCode>,
    requests: usize,
    codecs: Vec<Compression>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

impl Fake {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> Client {
        let fake = self.clone();
        Client::new(scripted(move |_, _, peer| Some(fake.clone().serve(peer))).build().unwrap())
    }

    async fn serve(self, mut peer: Peer) {
        peer.negotiate().await;
        while let Some(request) = peer.receive().await {
            match request.key {
                ApiKey::Metadata => {
                    let answer = self.metadata(request.decode());
                    peer.answer::<MetadataRequest>(&request, &answer).await;
                }
                ApiKey::InitProducerId => {
                    let answer = InitProducerIdResponse { producer_id: 7, ..Default::default() };
                    peer.answer::<InitProducerIdRequest>(&request, &answer).await;
                }
                ApiKey::Produce => {
                    let fault = self.state().faults.pop_front();
                    match fault {
                        Some(Fault::Cut) => return,
                        Some(Fault::WriteAndCut) => {
                            self.produce(&request, None);
                            return;
                        }
                        Some(Fault::WriteAndHang) => {
                            self.produce(&request, None);
                        }
                        Some(Fault::Delay(delay)) => {
                            let answer = self.produce(&request, None);
                            tokio::time::sleep(delay).await;
                            peer.answer::<ProduceRequest>(&request, &answer).await;
                        }
                        Some(Fault::Refuse(code)) => {
                            let answer = self.produce(&request, Some(code));
                            peer.answer::<ProduceRequest>(&request, &answer).await;
                        }
                        None => {
                            let answer = self.produce(&request, None);
                            peer.answer::<ProduceRequest>(&request, &answer).await;
                        }
                    }
                }
                other => panic!("the producer has no need of {}", other.name()),
            }
        }
    }

    fn metadata(&self, asked: MetadataRequest) -> kcopy_wire::messages::MetadataResponse {
        let mut answer = brokers(&[(1, "one")]);
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: 1,
            leader_epoch: 0,
            ..Default::default()
        };
        let error = self.state().topic_error;
        let topic = |name| MetadataResponseTopic {
            name,
            error_code: error.unwrap_or_default(),
            partitions: if error.is_some() { Vec::new() } else { (0..2).map(partition).collect() },
            ..Default::default()
        };
        answer.topics = asked.topics.into_iter().flatten().map(|asked| topic(asked.name)).collect();
        answer
    }

    fn produce(&self, request: &Received, refuse: Option<ErrorCode>) -> ProduceResponse {
        let request: ProduceRequest = request.decode();
        let state = &mut *self.state();
        state.requests += 1;
        let mut answer = ProduceResponse::default();
        for topic in request.topic_data {
            let mut partitions = Vec::new();
            for data in topic.partition_data {
                let mut batches = Batches::new(data.records.unwrap().into_bytes());
                let batch = batches.next().unwrap().unwrap();
                batch.verify_crc().unwrap();
                state.codecs.push(batch.attributes().compression().unwrap());
                let log = &mut state.logs[data.index as usize];
                let stamp = (batch.producer_epoch(), batch.base_sequence());
                let known = log.iter().position(|(epoch, sequence, _)| (*epoch, *sequence) == stamp);
                if refuse.is_none() && (known.is_none() || batch.producer_id().is_none()) {
                    let open = batch.open(RecordLimits::default()).unwrap();
                    let values = open.records().map(|r| r.unwrap().value.unwrap_or_default().to_vec());
                    log.push((stamp.0, stamp.1, values.collect()));
                }
                partitions.push(PartitionProduceResponse {
                    index: data.index,
                    error_code: refuse.unwrap_or_default(),
                    base_offset: 100,
                    ..Default::default()
                });
            }
            answer.responses.push(TopicProduceResponse {
                name: topic.name,
                partition_responses: partitions,
                ..Default::default()
            });
        }
        answer
    }

    fn values(&self, partition: usize) -> Vec<String> {
        let state = self.state();
        let values = state.logs[partition].iter().flat_map(|(_, _, values)| values);
        values.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }
}

fn config() -> ProducerConfigBuilder {
    ProducerConfig::builder()
}

fn to(partition: i32, value: &str) -> Record<'_> {
    Record { partition: Some(partition), timestamp: Some(1), ..Record::value(value.as_bytes()) }
}

/// Produces ten batches of three records through the given faults; each must be written once, in order.
async fn check_exactly_once(faults: impl IntoIterator<Item = Fault>) -> Fake {
    let fake = Fake::default();
    fake.state().faults.extend(faults);
    let producer = Producer::new(&fake.client(), config().batch_records(3).build().unwrap());
    let topic = producer.topic("t").await.unwrap();
    let mut expected = Vec::new();
    for number in 0..30 {
        let value = number.to_string();
        producer.append(topic, &to(0, &value)).await.unwrap();
        expected.push(value);
    }
    producer.close().await.unwrap();
    assert_eq!(fake.values(0), expected);
    fake
}

#[tokio::test(start_paused = true)]
async fn records_arrive_once_and_in_order() {
    let fake = check_exactly_once([]).await;
    let sequences: Vec<i32> = fake.state().logs[0].iter().map(|(_, sequence, _)| *sequence).collect();
    assert_eq!(sequences, (0..10).map(|batch| batch * 3).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_before_the_acknowledgement_duplicates_nothing() {
    check_exactly_once([Fault::WriteAndCut]).await;
    check_exactly_once([Fault::Cut, Fault::WriteAndCut, Fault::Cut, Fault::WriteAndCut]).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_duplicates_nothing() {
    let start = Instant::now();
    check_exactly_once([Fault::WriteAndHang]).await;
    assert!(start.elapsed() >= Duration::from_secs(30), "the request was given up early");
}

#[tokio::test(start_paused = true)]
async fn retriable_errors_are_retried() {
    check_exactly_once([
        Fault::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Fault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_record_lingers_and_a_flush_waits_for_nothing() {
    let fake = Fake::default();
    let linger = Duration::from_secs(5);
    let producer = Producer::new(&fake.client(), config().linger(linger).build().unwrap());
    let topic = producer.topic("t").await.unwrap();
    let start = Instant::now();
    let receipt = producer.send(topic, &to(1, "lingers")).await.unwrap();
    let placement = receipt.await.unwrap();
    assert_eq!(placement.offset, Some(100));
    assert_eq!(start.elapsed(), linger);
    let start = Instant::now();
    producer.append(topic, &to(1, "hurries")).await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(fake.values(1), ["lingers", "hurries"]);
}

#[tokio::test(start_paused = true)]
async fn batches_of_two_partitions_share_a_request() {
    let fake = Fake::default();
    let producer = Producer::new(&fake.client(), config().build().unwrap());
    let topic = producer.topic("t").await.unwrap();
    {
        let mut appender = producer.appender();
        for number in 0..100 {
            appender.append(topic, &to(number % 2, "v")).unwrap();
        }
    }
    producer.flush().await.unwrap();
    assert_eq!((fake.values(0).len(), fake.values(1).len()), (50, 50));
    assert_eq!(fake.state().requests, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_reported_with_its_place_and_the_next_one_goes_on() {
    let fake = Fake::default();
    let producer = Producer::new(&fake.client(), config().build().unwrap());
    let topic = producer.topic("t").await.unwrap();
    producer.append(topic, &to(0, "first")).await.unwrap();
    producer.flush().await.unwrap();
    fake.state().faults.push_back(Fault::Refuse(ErrorCode::INVALID_RECORD));
    producer.append(topic, &to(0, "bad")).await.unwrap();
    let receipt = producer.send(topic, &to(0, "its neighbour")).await.unwrap();
    let error = producer.flush().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::INVALID_RECORD));
    assert!(error.to_string().starts_with("2 records were not delivered; the first: "), "{error}");
    assert_eq!(receipt.await.unwrap_err().code(), Some(ErrorCode::INVALID_RECORD));
    let failures = producer.take_failures();
    let [failure] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!((&*failure.topic, failure.partition), ("t", 0));
    assert_eq!((failure.base_index, failure.record_count), (1, 2));
    assert_eq!(failure.error.persisted(), Persisted::No);
    assert_eq!(producer.take_unlisted_failures(), 0);
    producer.append(topic, &to(0, "last")).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(fake.values(0), ["first", "last"]);
    // What follows a gap in the sequence begins a new epoch.
    assert_eq!(fake.state().logs[0].last().map(|(epoch, sequence, _)| (*epoch, *sequence)), Some((1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_makes_the_caller_wait() {
    let fake = Fake::default();
    let config = config().max_message_bytes(1000).batch_size(1000).buffer_bytes(4000).build().unwrap();
    let producer = Producer::new(&fake.client(), config);
    let topic = producer.topic("t").await.unwrap();
    let value = "v".repeat(400);
    let mut appended = 0;
    let error = loop {
        match producer.appender().append(topic, &to(0, &value)) {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Full), "{error}");
    assert!((5..=10).contains(&appended), "{appended}");
    for _ in 0..50 {
        producer.append(topic, &to(0, &value)).await.unwrap();
    }
    producer.close().await.unwrap();
    assert_eq!(fake.values(0).len(), appended + 50);
}

#[tokio::test(start_paused = true)]
async fn batches_are_charged_with_the_memory_that_they_have() {
    let fake = Fake::default();
    let config = config().linger(Duration::from_secs(3600)).build().unwrap();
    let producer = Producer::new(&fake.client(), config);
    let topic = producer.topic("t").await.unwrap();
    let mut charged = Vec::new();
    // A batch each of the smallest buffer, and then what one of them grows to, though half of that is empty.
    for (partition, size) in [(0, 1), (1, 1), (0, 600), (0, 600)] {
        producer.append(topic, &to(partition, &"v".repeat(size))).await.unwrap();
        charged.push(producer.buffered_bytes());
    }
    assert_eq!(charged, [1024, 2048, 2048, 3072]);
    producer.flush().await.unwrap();
    assert_eq!(producer.buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_full_of_open_batches_is_sent_without_lingering() {
    let fake = Fake::default();
    let config = config().max_message_bytes(10_000).buffer_bytes(10_000).linger(Duration::from_secs(3600));
    let producer = Producer::new(&fake.client(), config.build().unwrap());
    let topic = producer.topic("t").await.unwrap();
    let start = Instant::now();
    for number in 0..300 {
        producer.append(topic, &to(number % 2, "some value")).await.unwrap();
    }
    producer.close().await.unwrap();
    assert_eq!((fake.values(0).len(), fake.values(1).len()), (150, 150));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn open_batches_bring_room() {
    let value = "v".repeat(500);
    let mut taken = Vec::new();
    for partitions in 1..=2 {
        let fake = Fake::default();
        fake.state().faults.push_back(Fault::WriteAndHang);
        let config = config().max_message_bytes(10_000).max_request_bytes(10_000).max_in_flight(1);
        let config = config.batch_size(10_000).buffer_bytes(1 << 20).linger(Duration::from_secs(3600));
        let producer = Producer::new(&fake.client(), config.build().unwrap());
        let topic = producer.topic("t").await.unwrap();
        let append = |number| producer.appender().append(topic, &to(number % partitions, &value)).is_ok();
        taken.push((0..).take_while(|number| append(*number)).count());
    }
    // 20,000 bytes for the request and a sealed batch, and as many batches more as are open at a time.
    assert_eq!(taken, [3 * 19, 4 * 19]);
}

#[test]
fn whoever_wants_the_room_of_a_batch_that_was_given_up_waits_for_its_answer() {
    let (done, waited) = std::sync::mpsc::sync_channel(1);
    // On a thread of its own: one that asks again and again without waiting would never end.
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let fake = Fake::default();
            fake.state().faults.push_back(Fault::WriteAndHang);
            let config = config().max_message_bytes(1000).batch_size(1000).buffer_bytes(1000);
            let config = config.delivery_timeout(Duration::from_secs(10)).build().unwrap();
            let producer = Producer::new(&fake.client(), config);
            let topic = producer.topic("t").await.unwrap();
            let start = Instant::now();
            producer.append(topic, &to(0, &"v".repeat(600))).await.unwrap();
            producer.flush().await.unwrap_err();
            assert_eq!(start.elapsed().as_secs(), 10);
            producer.append(topic, &to(0, &"w".repeat(600))).await.unwrap();
            // The request's own limit.
            assert_eq!(start.elapsed().as_secs(), 30);
            producer.close().await.unwrap();
        });
        done.send(()).unwrap();
    });
    waited.recv_timeout(Duration::from_secs(20)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_futures_can_move_between_threads() {
    fn check<T: Send>(future: T) -> T {
        future
    }
    let fake = Fake::default();
    let producer = Producer::new(&fake.client(), config().build().unwrap());
    let topic = check(producer.topic("t")).await.unwrap();
    check(producer.append(topic, &to(0, "v"))).await.unwrap();
    let receipt = check(producer.send(topic, &to(0, "v"))).await.unwrap();
    check(producer.flush()).await.unwrap();
    check(receipt.wait()).await.unwrap();
    check(receipt.into_future()).await.unwrap();
    check(producer.close()).await.unwrap();
}

#[test]
fn a_full_buffer_blocks_a_thread_outside_of_the_runtime() {
    let fake = Fake::default();
    let (handed_over, taken) = std::sync::mpsc::sync_channel(1);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let network = fake.clone();
    let network = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config =
                config().max_message_bytes(1000).batch_size(1000).buffer_bytes(4000).build().unwrap();
            let producer = Producer::new(&network.client(), config);
            let topic = producer.topic("t").await.unwrap();
            handed_over.send((producer, topic)).unwrap();
            ended.await.unwrap();
        });
    });
    let (producer, topic) = taken.recv().unwrap();
    let mut appender = producer.appender();
    for number in 0..1000 {
        appender.append_blocking(topic, &to(0, &number.to_string())).unwrap();
    }
    let more: Vec<String> = (1000..2000).map(|number| number.to_string()).collect();
    let mut appended = 0;
    let values = || more.iter().map(|value| Some(value.as_bytes()));
    appender.append_values_blocking(topic, Some(0), values(), &mut appended).unwrap();
    assert_eq!(appended, 1000);
    let receipt = appender.append_tracked(topic, &to(1, "tracked"));
    drop(appender);
    producer.flush_blocking().unwrap();
    if let Ok(receipt) = receipt {
        assert_eq!(receipt.wait_blocking().unwrap().offset, Some(100));
    }
    assert_eq!(fake.values(0), (0..2000).map(|n| n.to_string()).collect::<Vec<_>>());
    // Without a partition they go to both, a batch at a time.
    let (before, mut appended) = ((fake.values(0).len(), fake.values(1).len()), 0);
    producer.appender().append_values_blocking(topic, None, values(), &mut appended).unwrap();
    producer.flush_blocking().unwrap();
    let (zero, one) = (fake.values(0).split_off(before.0), fake.values(1).split_off(before.1));
    assert!(!zero.is_empty() && zero.is_sorted() && !one.is_empty() && one.is_sorted());
    let mut both = [zero, one].concat();
    both.sort();
    assert_eq!((appended, both), (1000, more.clone()));
    // The one that is too large is named by the count of those before it.
    let (large, mut appended) = (vec![b'x'; 2000], 0);
    let values = [Some(&b"a"[..]), None, Some(&large), Some(b"b")].into_iter();
    let refused = producer.appender().append_values_blocking(topic, Some(1), values, &mut appended);
    assert!(
        matches!(refused, Err(AppendError::TooLarge { .. })) && appended == 2,
        "{refused:?} after {appended}"
    );
    let other = producer.clone();
    producer.close_blocking().unwrap();
    end.send(()).unwrap();
    network.join().unwrap();
    assert!(matches!(other.appender().append_tracked(topic, &to(0, "v")), Err(AppendError::Closed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_no_batch_can_hold_is_refused_at_once() {
    let fake = Fake::default();
    let producer = Producer::new(&fake.client(), config().max_message_bytes(1000).build().unwrap());
    let topic = producer.topic("t").await.unwrap();
    let error = producer.append(topic, &to(0, &"v".repeat(1000))).await.unwrap_err();
    assert_eq!(error.to_string(), "a record that takes 1068 bytes exceeds the 1000 of message.max.bytes");
    let error = producer.append(topic, &to(2, "v")).await.unwrap_err();
    assert_eq!(error.to_string(), "partition 2 does not exist: the topic's partitions are 0 to 1");
    producer.close().await.unwrap();
    assert_eq!(fake.state().requests, 0);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_waited_for_and_then_an_error() {
    let fake = Fake::default();
    fake.state().topic_error = Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let producer = Producer::new(&fake.client(), config().build().unwrap());
    let start = Instant::now();
    let error = producer.topic("t").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert!(start.elapsed() > Duration::from_secs(25), "{:?}", start.elapsed());
    let text = "looking the topic up did not succeed within 30 s: \
                UNKNOWN_TOPIC_OR_PARTITION: there is no such topic or partition (topic t, broker one:9092)";
    assert_eq!(error.to_string(), text);
    fake.state().topic_error = Some(ErrorCode::INVALID_TOPIC_EXCEPTION);
    let start = Instant::now();
    producer.topic("t").await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_in_time_is_said_to_be_uncertain() {
    let fake = Fake::default();
    fake.state().faults.extend([Fault::WriteAndHang; 100]);
    let config = config().delivery_timeout(Duration::from_secs(40)).build().unwrap();
    let producer = Producer::new(&fake.client(), config);
    let topic = producer.topic("t").await.unwrap();
    let start = Instant::now();
    producer.append(topic, &to(0, "v")).await.unwrap();
    let error = producer.flush().await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 40);
    assert_eq!((error.kind(), error.persisted()), (ErrorKind::Timeout, Persisted::Maybe));
}

#[tokio::test(start_paused = true)]
async fn brokers_that_acknowledge_nothing_are_given_up_and_slow_ones_are_not() {
    let fake = Fake::default();
    let limit = Duration::from_secs(3);
    let config = config().unreachable_timeout(Some(limit)).request_timeout(limit).linger(Duration::ZERO);
    let config = config.batch_records(1).max_in_flight(1);
    let producer = Producer::new(&fake.client(), config.build().unwrap());
    let topic = producer.topic("t").await.unwrap();
    // A pause of whoever appends is no silence of brokers.
    for pause in [0, 10] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        producer.append(topic, &to(0, "v")).await.unwrap();
        producer.flush().await.unwrap();
    }
    // Nor is what takes longer in all.
    fake.state().faults.extend([Fault::Delay(Duration::from_secs(2)); 4]);
    let start = Instant::now();
    for _ in 0..4 {
        producer.append(topic, &to(0, "slow")).await.unwrap();
    }
    producer.flush().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 8);
    fake.state().faults.extend([Fault::WriteAndHang; 100]);
    let start = Instant::now();
    producer.append(topic, &to(0, "w")).await.unwrap();
    let error = producer.flush().await.unwrap_err();
    assert_eq!(start.elapsed(), limit);
    assert_eq!((error.kind(), error.persisted()), (ErrorKind::Timeout, Persisted::Maybe));
    assert!(error.to_string().contains("nothing was acknowledged for 3 s"), "{error}");
    // Nothing is taken any more, and what failed has been told.
    let appended = producer.append(topic, &to(0, "x")).await;
    assert!(matches!(appended, Err(AppendError::Closed(_))), "{appended:?}");
    producer.close().await.unwrap();
    assert_eq!(start.elapsed(), limit);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_producer_settles_every_receipt() {
    let fake = Fake::default();
    fake.state().faults.extend([Fault::WriteAndHang; 100]);
    let producer = Producer::new(&fake.client(), config().linger(Duration::from_secs(3)).build().unwrap());
    let topic = producer.topic("t").await.unwrap();
    let on_the_way = producer.send(topic, &to(0, "v")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let lingering = producer.send(topic, &to(1, "v")).await.unwrap();
    drop(producer);
    let error = on_the_way.await.unwrap_err();
    assert_eq!((error.kind(), error.persisted()), (ErrorKind::Closed, Persisted::Maybe));
    let error = lingering.await.unwrap_err();
    assert_eq!((error.kind(), error.persisted()), (ErrorKind::Closed, Persisted::No));
}

#[tokio::test(start_paused = true)]
async fn a_closed_producer_takes_no_more() {
    let fake = Fake::default();
    let producer = Producer::new(&fake.client(), config().build().unwrap());
    let topic = producer.topic("t").await.unwrap();
    let other = producer.clone();
    producer.close().await.unwrap();
    let error = other.append(topic, &to(0, "v")).await.unwrap_err();
    assert_eq!(error.to_string(), "the producer takes no more records: the producer is closed");
}

#[tokio::test(start_paused = true)]
async fn every_codec_keeps_order_also_where_batches_linger() {
    for compression in
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd, Compression::None]
    {
        let fake = Fake::default();
        let producer = Producer::new(
            &fake.client(),
            config().compression(compression).batch_size(100_000).build().unwrap(),
        );
        let topic = producer.topic("t").await.unwrap();
        let mut expected = Vec::new();
        for round in 0..20 {
            for number in 0..500 {
                let value = format!("{round} {number} some text that repeats itself, repeats itself");
                producer.append(topic, &to(0, &value)).await.unwrap();
                expected.push(value);
            }
            tokio::time::sleep(Duration::from_millis(round % 7)).await;
        }
        producer.close().await.unwrap();
        assert_eq!(fake.values(0), expected);
        assert!(fake.state().codecs.iter().all(|codec| *codec == compression));
    }
}

#[tokio::test(start_paused = true)]
async fn without_acknowledgements_nothing_is_waited_for() {
    let fake = Fake::default();
    fake.state().faults.extend([Fault::WriteAndHang; 100]);
    let producer = Producer::new(&fake.client(), config().acks(super::Acks::None).build().unwrap());
    let topic = producer.topic("t").await.unwrap();
    let mut headers = HeadersBuf::new();
    headers.push("h", Some(b"x"));
    let record = Record { headers: headers.as_headers(), ..to(0, "v") };
    let receipt = producer.send(topic, &record).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(receipt.await.unwrap().offset, None);
}
