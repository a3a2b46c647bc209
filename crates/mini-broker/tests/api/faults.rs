//! Injected faults, simulated distance, observation.

use std::time::Duration;

use kcopy_mini_broker::{Fault, FaultAction};
use kcopy_wire::{ApiKey, ErrorCode, messages::FetchRequest};
use tokio::time::Instant;

use crate::peer::{Peer, batch, builder, fetch, produce};

#[tokio::test(start_paused = true)]
async fn the_next_requests_get_an_error_and_do_nothing() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let error = FaultAction::Error(ErrorCode::NOT_ENOUGH_REPLICAS);
    cluster.inject(Fault::new(error).api(ApiKey::Produce).after(1).times(2)).await.unwrap();
    let mut errors = Vec::new();
    for _ in 0..4 {
        errors.push(peer.produce("t", 0, batch(&["x"])).await.error_code);
    }
    let (fine, faulty) = (ErrorCode::NONE, ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(errors, [fine, faulty, faulty, fine]);
    assert_eq!(cluster.offsets("t", 0).await.unwrap(), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_refused_fetch_has_empty_records_and_not_none() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let error = FaultAction::Error(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    cluster.inject(Fault::new(error).api(ApiKey::Fetch)).await.unwrap();
    for version in [11, 12] {
        let data = &peer.call(&fetch("t", 0, 0), version).await.responses[0].partitions[0];
        assert_eq!(data.error_code, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        assert!(data.records.as_ref().is_some_and(|records| records.is_empty()));
    }
}

#[tokio::test(start_paused = true)]
async fn connections_break_before_or_after_the_work() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    for (action, end) in [(FaultAction::Close, 0), (FaultAction::CloseAfter, 1)] {
        cluster.inject(Fault::new(action).api(ApiKey::Produce).times(1)).await.unwrap();
        let mut peer = Peer::connect(&cluster).await;
        peer.send(&produce("t", 0, batch(&["x"])), 9).await;
        assert!(peer.read_frame().await.is_none());
        assert_eq!(cluster.offsets("t", 0).await.unwrap().1, end, "{action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_way_delays_answers_but_not_each_other() {
    let cluster = builder().topic("t", 1).round_trip(Duration::from_millis(50)).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let started = Instant::now();
    for _ in 0..10 {
        peer.send(&fetch("t", 0, 0), 12).await;
    }
    for _ in 0..10 {
        peer.receive::<FetchRequest>(12).await;
    }
    assert_eq!(started.elapsed(), Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_silent_broker_answers_nothing_more() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    cluster.inject(Fault::new(FaultAction::Silence).api(ApiKey::Fetch).times(1)).await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.send(&fetch("t", 0, 0), 12).await;
    let silent = tokio::time::timeout(Duration::from_secs(60), peer.read_frame()).await;
    assert!(silent.is_err());
}

#[tokio::test(start_paused = true)]
async fn requests_are_seen() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.produce("t", 0, batch(&["x"])).await;
    peer.fetch("t", 0, 0).await;
    let seen: Vec<_> =
        cluster.requests().await.unwrap().into_iter().map(|seen| (seen.api, seen.version)).collect();
    assert_eq!(seen, [(ApiKey::Produce, 9), (ApiKey::Fetch, 12)]);
    assert_eq!(cluster.request_count(ApiKey::Fetch).await.unwrap(), 1);
    assert_eq!(cluster.request_count(ApiKey::Metadata).await.unwrap(), 0);
}
