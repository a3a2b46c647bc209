//! Fetch: sizes, waiting, sessions, epochs.

use std::time::Duration;

use kcopy_wire::{
    ErrorCode, Uuid,
    messages::{
        DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse, delete_records_request,
        fetch_request::FetchPartition,
    },
};
use tokio::time::Instant;

use crate::peer::{Peer, batch, builder, fetch, produce, values};

#[tokio::test(start_paused = true)]
async fn limits_end_at_a_batch_but_the_first_is_always_sent() {
    let cluster = builder().topic("t", 2).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let one = batch(&["0123456789"]);
    for partition in [0, 0, 0, 1] {
        peer.produce("t", partition, one.clone()).await;
    }
    let size = one.len() as i32;
    // max_bytes, partition_max_bytes, batches of partition 0, batches of partition 1
    let cases = [
        (size * 10, size * 10, 3, 1),
        (size * 10, size * 2, 2, 1),
        (size * 10, size * 2 + 1, 2, 1),
        (size * 10, 1, 1, 0),
        (size * 3, size * 10, 3, 0),
        (1, 1, 1, 0),
        (0, 0, 1, 0),
        (size * 4, size * 3, 3, 1),
    ];
    for (max_bytes, partition_max_bytes, first, second) in cases {
        let mut request = fetch("t", 0, 0);
        request.max_bytes = max_bytes;
        request.topics[0].partitions[0].partition_max_bytes = partition_max_bytes;
        let other = FetchPartition { partition: 1, ..request.topics[0].partitions[0].clone() };
        request.topics[0].partitions.push(other);
        let response = peer.call(&request, 12).await;
        let counts: Vec<usize> =
            response.responses[0].partitions.iter().map(|data| values(data).len()).collect();
        assert_eq!(counts, [first, second], "max_bytes {max_bytes}, {partition_max_bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn errors_are_per_partition() {
    let cluster = builder().nodes(2).topic("t", 2).start().await.unwrap();
    let leader = cluster.leader("t", 0).await.unwrap().unwrap();
    let mut peer = Peer::connect_to(&cluster, leader).await;
    peer.produce("t", 0, batch(&["a"])).await;
    let epoch = |epoch| {
        let mut request = fetch("t", 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        request
    };
    let cases = [
        (fetch("t", 0, 0), ErrorCode::NONE),
        (fetch("t", 0, 1), ErrorCode::NONE),
        (fetch("t", 0, 2), ErrorCode::OFFSET_OUT_OF_RANGE),
        (fetch("t", 0, -1), ErrorCode::OFFSET_OUT_OF_RANGE),
        (fetch("t", 1, 0), ErrorCode::NOT_LEADER_OR_FOLLOWER),
        (fetch("t", 2, 0), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (fetch("nope", 0, 0), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (epoch(0), ErrorCode::NONE),
        (epoch(1), ErrorCode::UNKNOWN_LEADER_EPOCH),
    ];
    for (request, error) in cases {
        let response = peer.call(&request, 12).await;
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, error, "{request:?}");
    }
    cluster.move_leader("t", 0, leader).await.unwrap();
    let response = peer.call(&epoch(0), 12).await;
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::FENCED_LEADER_EPOCH);
}

#[tokio::test(start_paused = true)]
async fn brokers_that_are_no_replicas_and_unknown_isolation_levels_are_refused() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.produce("t", 0, batch(&["a"])).await;
    let refused = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    // Nor does a leader fetch from itself.
    for (replica_id, error) in [(-1, ErrorCode::NONE), (99, refused), (1, refused)] {
        for version in [14, 15] {
            let mut request = fetch("t", 0, 0);
            request.topics[0].topic_id = peer.topic_id("t").await;
            match version {
                15 => request.replica_state.replica_id = replica_id,
                _ => request.replica_id = replica_id,
            }
            let data = &peer.call(&request, version).await.responses[0].partitions[0];
            assert_eq!(data.error_code, error, "replica {replica_id}, version {version}");
        }
    }
    let committed = FetchRequest { isolation_level: 1, ..fetch("t", 0, 0) };
    for (request, aborted) in [(fetch("t", 0, 0), None), (committed, Some(0))] {
        let data = &peer.call(&request, 12).await.responses[0].partitions[0];
        assert_eq!(data.aborted_transactions.as_ref().map(Vec::len), aborted);
    }
    let unknown = FetchRequest { isolation_level: 9, ..fetch("t", 0, 0) };
    let response = peer.call(&unknown, 12).await;
    assert_eq!(response.error_code, ErrorCode::UNKNOWN_SERVER_ERROR);
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UNKNOWN_SERVER_ERROR);
}

#[tokio::test(start_paused = true)]
async fn an_empty_fetch_waits_for_its_time() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let started = Instant::now();
    let mut request = fetch("t", 0, 0);
    request.max_wait_ms = 500;
    let response = peer.call(&request, 12).await;
    assert_eq!(started.elapsed(), Duration::from_millis(500));
    assert!(values(&response.responses[0].partitions[0]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_fetch_is_answered_as_soon_as_there_is_enough() {
    let cluster = builder().topic("t", 2).start().await.unwrap();
    let mut consumer = Peer::connect(&cluster).await;
    let mut producer = Peer::connect(&cluster).await;
    let one = batch(&["a"]);
    let mut request = fetch("t", 0, 0);
    request.max_wait_ms = 10_000;
    request.min_bytes = one.len() as i32 + 1;
    let started = Instant::now();
    consumer.send(&request, 12).await;
    producer.produce("t", 1, one.clone()).await;
    producer.produce("t", 0, one.clone()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    producer.produce("t", 0, one).await;
    let response = consumer.receive::<FetchRequest>(12).await;
    assert_eq!(started.elapsed(), Duration::from_millis(100));
    assert_eq!(values(&response.responses[0].partitions[0]).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn errors_and_changes_do_not_wait() {
    let cluster = builder().nodes(2).topic("t", 1).start().await.unwrap();
    let leader = cluster.leader("t", 0).await.unwrap().unwrap();
    let mut peer = Peer::connect_to(&cluster, leader).await;
    let started = Instant::now();
    let mut request = fetch("t", 0, 7);
    request.max_wait_ms = 10_000;
    let response = peer.call(&request, 12).await;
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    // The leader moves away under a fetch that waits.
    request.topics[0].partitions[0].fetch_offset = 0;
    request.topics[0].partitions[0].current_leader_epoch = 0;
    peer.send(&request, 12).await;
    tokio::task::yield_now().await;
    cluster.move_leader("t", 0, 3 - leader).await.unwrap();
    let response = peer.receive::<FetchRequest>(12).await;
    assert!(response.responses[0].partitions[0].error_code.is_err());
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_session_sends_only_what_is_new() {
    let cluster = builder().topic("t", 3).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let mut request = fetch("t", 0, 0);
    request.session_epoch = 0;
    for partition in 1..3 {
        let other = FetchPartition { partition, ..request.topics[0].partitions[0].clone() };
        request.topics[0].partitions.push(other);
    }
    let full: FetchResponse = peer.call(&request, 12).await;
    assert_ne!(full.session_id, 0);
    assert_eq!(full.responses[0].partitions.len(), 3);
    peer.produce("t", 1, batch(&["new"])).await;
    let next = |epoch| FetchRequest {
        session_id: full.session_id,
        session_epoch: epoch,
        topics: Vec::new(),
        ..fetch("t", 0, 0)
    };
    let response = peer.call(&next(1), 12).await;
    assert_eq!(response.session_id, full.session_id);
    let partitions: Vec<i32> =
        response.responses[0].partitions.iter().map(|data| data.partition_index).collect();
    assert_eq!(partitions, [1]);
    let response = peer.call(&next(1), 12).await;
    assert_eq!(response.error_code, ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    let mut unknown = next(1);
    unknown.session_id += 1;
    let response = peer.call(&unknown, 12).await;
    assert_eq!(response.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

async fn delete_topic(peer: &mut Peer, name: &str) {
    let request = DeleteTopicsRequest { topic_names: vec![name.into()], ..Default::default() };
    assert_eq!(peer.call(&request, 5).await.responses[0].error_code, ErrorCode::NONE);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_goes_away_within_a_session_is_told_from_one_that_never_was() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let mut request = fetch("", 0, 0);
    request.topics[0].topic_id = peer.topic_id("t").await;
    request.session_epoch = 0;
    let session_id = peer.call(&request, 18).await.session_id;
    let error = |response: FetchResponse| response.responses[0].partitions[0].error_code;
    let next =
        |session_epoch| FetchRequest { session_id, session_epoch, topics: Vec::new(), ..fetch("", 0, 0) };
    delete_topic(&mut peer, "t").await;
    assert_eq!(error(peer.call(&next(1), 18).await), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    cluster.create_topic("t", 1).await.unwrap();
    assert_eq!(error(peer.call(&next(2), 18).await), ErrorCode::INCONSISTENT_TOPIC_ID);
    // To a fetch without that session the id is just unknown.
    request.session_epoch = -1;
    assert_eq!(error(peer.call(&request, 18).await), ErrorCode::UNKNOWN_TOPIC_ID);
}

#[tokio::test(start_paused = true)]
async fn a_session_may_begin_with_nothing() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let empty = FetchRequest { session_epoch: 0, topics: Vec::new(), ..fetch("t", 0, 0) };
    let session_id = peer.call(&empty, 12).await.session_id;
    assert_ne!(session_id, 0);
    let first = FetchRequest { session_id, session_epoch: 1, ..fetch("t", 0, 0) };
    let response = peer.call(&first, 12).await;
    assert_eq!((response.session_id, response.responses.len()), (session_id, 1));
}

#[tokio::test(start_paused = true)]
async fn topics_are_known_by_id_from_version_13_on() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.produce("t", 0, batch(&["a"])).await;
    let mut request = fetch("", 0, 0);
    request.topics[0].topic_id = peer.topic_id("t").await;
    let response = peer.call(&request, 18).await;
    assert_eq!(values(&response.responses[0].partitions[0]), [(0, "a".into())]);
    request.topics[0].topic_id = Uuid([9; 16]);
    let response = peer.call(&request, 18).await;
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID);
}

#[tokio::test(start_paused = true)]
async fn deleted_records_are_out_of_range() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    for _ in 0..5 {
        peer.produce("t", 0, batch(&["a", "b"])).await;
    }
    let delete = |offset| DeleteRecordsRequest {
        topics: vec![delete_records_request::DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![delete_records_request::DeleteRecordsPartition {
                partition_index: 0,
                offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let cases = [
        (3, ErrorCode::NONE, 3),
        (1, ErrorCode::NONE, 3),
        (11, ErrorCode::OFFSET_OUT_OF_RANGE, -1),
        (-2, ErrorCode::OFFSET_OUT_OF_RANGE, -1),
    ];
    for (offset, error, low_watermark) in cases {
        let response = peer.call(&delete(offset), 2).await;
        let answer = &response.topics[0].partitions[0];
        assert_eq!((answer.error_code, answer.low_watermark), (error, low_watermark), "{offset}");
    }
    // Named twice a partition is answered once; the last mention counts.
    let mut twice = delete(11);
    twice.topics[0].partitions.extend(delete(2).topics.remove(0).partitions);
    let answers = peer.call(&twice, 2).await.topics.remove(0).partitions;
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].error_code, answers[0].low_watermark), (ErrorCode::NONE, 3));
    assert_eq!(peer.fetch("t", 0, 2).await.error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    let data = peer.fetch("t", 0, 3).await;
    assert_eq!((data.log_start_offset, values(&data)[0].0), (3, 2));
    let response = peer.call(&delete(-1), 2).await;
    assert_eq!(response.topics[0].partitions[0].low_watermark, 10);
    let data = peer.fetch("t", 0, 10).await;
    assert_eq!((data.log_start_offset, data.high_watermark), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_read_another_history_learns_where_it_diverges() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.produce("t", 0, batch(&["a", "b"])).await;
    cluster.move_leader("t", 0, 1).await.unwrap();
    peer.produce("t", 0, batch(&["c"])).await;
    let mut request = fetch("t", 0, 3);
    request.topics[0].partitions[0].last_fetched_epoch = 0;
    let response = peer.call(&request, 12).await;
    let diverging = &response.responses[0].partitions[0].diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (0, 2));
    request.topics[0].partitions[0].last_fetched_epoch = 1;
    let response = peer.call(&request, 12).await;
    assert_eq!(response.responses[0].partitions[0].diverging_epoch.epoch, -1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_of_a_deleted_topic_is_answered() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let mut other = Peer::connect(&cluster).await;
    let mut request = fetch("t", 0, 0);
    request.max_wait_ms = 10_000;
    peer.send(&request, 12).await;
    tokio::task::yield_now().await;
    let delete =
        kcopy_wire::messages::DeleteTopicsRequest { topic_names: vec!["t".into()], ..Default::default() };
    let response = other.call(&delete, 5).await;
    assert_eq!(response.responses[0].error_code, ErrorCode::NONE);
    let response = peer.receive::<FetchRequest>(12).await;
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let again = other.call(&produce("t", 0, batch(&["x"])), 9).await;
    assert_eq!(again.responses[0].partition_responses[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}
