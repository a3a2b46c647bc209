//! Consumers of brokers that follow a script.

use super::*;

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
async fn answers_about_another_partition_do_not_stand_for_those_that_are_due() {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let client = serving(move |_| {
        *count.lock().unwrap() += 1;
        Some(fetched(1, data(&[plain(0..3)], &[])))
    });
    let unreachable_timeout = std::time::Duration::from_secs(10);
    let config = ConsumerConfig { unreachable_timeout, ..ConsumerConfig::default() };
    // Both in the same fetch, as where data is waited for.
    let waiting = PartitionRange { high_watermark: 2, last_stable_offset: 2, ..range(3) };
    let other = PartitionRange { partition: 1, ..range(3) };
    let mut consumer = client.consume(vec![waiting, other], config).unwrap();
    let error = loop {
        match consumer.next().await {
            Ok(event) => assert!(event.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.partition(), Some(0));
    assert!(error.message().contains("the broker sends no records from offset 0 on"), "{error}");
    assert!(*asked.lock().unwrap() < 40);

    let client = serving(|_| {
        let mut answer = fetched(0, data(&[plain(0..1)], &[]));
        let again = answer.responses[0].partitions[0].clone();
        answer.responses[0].partitions.push(again);
        Some(answer)
    });
    let mut consumer = client.consume(vec![range(4)], ConsumerConfig::default()).unwrap();
    let error = consumer.next().await.unwrap_err();
    assert!(error.message().contains("a fetch brought partition 0 twice"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_never_knows_a_session_is_waited_for_no_longer_than_others() {
    for code in [ErrorCode::FETCH_SESSION_ID_NOT_FOUND, ErrorCode::INVALID_FETCH_SESSION_EPOCH] {
        let client = serving(move |_| Some(FetchResponse { error_code: code, ..Default::default() }));
        let unreachable_timeout = std::time::Duration::from_secs(10);
        let config = ConsumerConfig { unreachable_timeout, ..ConsumerConfig::default() };
        let before = Instant::now();
        let mut consumer = client.consume(vec![range(4)], config).unwrap();
        let error = consumer.next().await.unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert!(error.message().starts_with("the partition could not be read for 10 s"), "{error}");
        assert!((10..12).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
    }
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

/// Reads three records of a broker that answers at once with none of them at first, and only then, or never, with them:
/// the result, how often it was asked, and how long that took.
async fn of_empty_answers(empty: usize, in_session: bool, is_null: bool) -> (Result<usize>, usize, f64) {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let client = serving(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        let is_first = *count == 1;
        let session_id = if in_session { 70 } else { 0 };
        if *count > empty {
            return Some(FetchResponse { session_id, ..fetched(0, data(&[plain(0..3)], &[])) });
        }
        let nothing = data(&[], &[]);
        let records = nothing.records.clone().filter(|_| !is_null);
        let answer = fetched(0, PartitionData { records, ..nothing });
        // A session says nothing of what has no news.
        let responses = if in_session && !is_first { Vec::new() } else { answer.responses };
        Some(FetchResponse { session_id, responses, ..Default::default() })
    });
    let unreachable_timeout = std::time::Duration::from_secs(10);
    let config = ConsumerConfig { unreachable_timeout, ..ConsumerConfig::default() };
    let before = Instant::now();
    let mut consumer = client.consume(vec![range(3)], config).unwrap();
    let mut batches = 0;
    let result = loop {
        match consumer.next().await {
            Ok(Some(event)) => batches += usize::from(matches!(event, Event::Batch(_))),
            Ok(None) => break Ok(batches),
            Err(error) => break Err(error),
        }
    };
    let asked = *asked.lock().unwrap();
    (result, asked, before.elapsed().as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn answers_without_anything_below_the_end_are_not_asked_for_in_a_circle() {
    for (in_session, is_null) in [(false, false), (false, true), (true, false)] {
        // The first one may be by chance.
        let (result, asked, seconds) = of_empty_answers(1, in_session, is_null).await;
        assert_eq!((result.unwrap(), asked), (1, 2));
        assert!(seconds < 0.001, "{seconds}");
        let (result, asked, seconds) = of_empty_answers(4, in_session, is_null).await;
        assert_eq!((result.unwrap(), asked), (1, 5));
        assert!((0.5..3.0).contains(&seconds), "{seconds}");
        let (result, asked, seconds) = of_empty_answers(usize::MAX, in_session, is_null).await;
        let error = result.unwrap_err();
        let text = "the broker sends no records from offset 0 on, though the partition goes on to";
        assert!(error.message().contains(text), "{error}");
        assert!(error.message().starts_with("the partition could not be read for 10 s"), "{error}");
        assert!((10.0..12.0).contains(&seconds) && asked < 40, "{seconds} {asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_news_is_no_failure_and_no_circle() {
    let mut count = 0;
    let client = serving(move |_| {
        count += 1;
        let (records, end) = if count > 50 { (vec![plain(0..1)], 1) } else { (Vec::new(), 0) };
        Some(fetched(
            0,
            PartitionData { high_watermark: end, last_stable_offset: end, ..data(&records, &[]) },
        ))
    });
    let unreachable_timeout = std::time::Duration::from_secs(10);
    let config = ConsumerConfig { unreachable_timeout, ..ConsumerConfig::default() };
    let before = Instant::now();
    let mut consumer = client.consume(vec![PartitionRange { end: None, ..range(0) }], config).unwrap();
    while !matches!(consumer.next().await.unwrap(), Some(Event::Batch(_))) {}
    // Though the broker does not wait itself.
    assert!(before.elapsed().as_secs() >= 20, "{:?}", before.elapsed());
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
