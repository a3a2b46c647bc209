use std::sync::atomic::{AtomicUsize, Ordering};

use kcopy_wire::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, ListGroupsRequest, ListGroupsResponse,
    find_coordinator_response::Coordinator,
    metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
};

use super::*;
use crate::{
    IsolationLevel, OffsetQuery, OffsetSpec,
    admin::ConfigResource,
    testing::{Peer, brokers, scripted},
};

/// A broker of the cluster (1 at one, 2 at two) that answers everything which these tests ask.
async fn serve(mut peer: Peer, id: i32) {
    peer.negotiate().await;
    while let Some(request) = peer.receive().await {
        match request.key {
            kcopy_wire::ApiKey::Metadata => {
                let asked: MetadataRequest = request.decode();
                let mut response = brokers(&[(1, "one"), (2, "two")]);
                for topic in asked.topics.unwrap_or_default() {
                    let led = MetadataResponsePartition { leader_id: 2, ..Default::default() };
                    let (name, partitions) = (topic.name, vec![led]);
                    response.topics.push(MetadataResponseTopic { name, partitions, ..Default::default() });
                }
                peer.answer::<MetadataRequest>(&request, &response).await;
            }
            kcopy_wire::ApiKey::FindCoordinator => {
                let found = Coordinator {
                    key: "g".into(),
                    node_id: 2,
                    host: "two".into(),
                    port: 9092,
                    ..Default::default()
                };
                let response = FindCoordinatorResponse { coordinators: vec![found], ..Default::default() };
                peer.answer::<FindCoordinatorRequest>(&request, &response).await;
            }
            _ => {
                let response = ListGroupsResponse { throttle_time_ms: id, ..Default::default() };
                peer.answer::<ListGroupsRequest>(&request, &response).await;
            }
        }
    }
}

fn id_of(address: &str) -> i32 {
    if address == "one:9092" { 1 } else { 2 }
}

#[tokio::test(start_paused = true)]
async fn requests_reach_the_broker_that_is_meant() {
    let config = scripted(|_, address, peer| Some(serve(peer, id_of(&address)))).build().unwrap();
    let client = Client::connect(config).await.unwrap();
    let request = ListGroupsRequest::default();
    for (target, expected) in [
        (Target::Broker(2), 2),
        (Target::Broker(1), 1),
        (Target::Controller, 1),
        (Target::Coordinator(CoordinatorKind::Group, "g"), 2),
    ] {
        let response = client.request(target, &request).await.unwrap();
        assert_eq!(response.throttle_time_ms, expected, "{target:?}");
    }
    let error = client.request(Target::Broker(9), &request).await.unwrap_err();
    assert!(error.message().contains("no broker 9"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_bootstrap_server_is_passed_over() {
    let config = scripted(|_, address, peer| (id_of(&address) == 2).then(|| serve(peer, 2)))
        .bootstrap_servers("one:9092,two:9092")
        .build()
        .unwrap();
    let before = Instant::now();
    Client::connect(config).await.unwrap();
    assert_eq!(before.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_an_error_within_the_time_given() {
    let config = scripted(|_, _, _| None::<std::future::Ready<()>>)
        .bootstrap_servers("one:9092,two:9092")
        .operation_timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let before = Instant::now();
    let error = Client::connect(config).await.unwrap_err();
    assert!(before.elapsed() <= Duration::from_secs(5));
    assert_eq!(error.kind(), ErrorKind::Connect);
    let text = "connecting did not succeed within 5 s: none of 2 brokers could be reached";
    assert!(error.message().starts_with(text), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_falls_silent_is_what_an_error_is_about() {
    let listing = async |refused: usize| {
        let config = scripted(move |count, _, mut peer: Peer| {
            (count >= refused).then_some(async move {
                peer.negotiate().await;
                while peer.receive().await.is_some() {}
            })
        });
        let config = config.operation_timeout(Duration::from_secs(5)).build().unwrap();
        Client::new(config).admin().list_topics(None).await.unwrap_err().to_string()
    };
    let given_up = "listing topics did not succeed within 5 s: ";
    assert_eq!(listing(0).await, format!("{given_up}no answer (broker one:9092)"));
    let error = listing(1).await;
    let expected = format!("{given_up}no answer for 4.");
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.contains(" s, before that: connecting failed: "), "{error}");
    let error = listing(usize::MAX).await;
    assert!(error.starts_with(&format!("{given_up}connecting failed: ")), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_was_asked_is_who_did_not_answer() {
    // One knows that two leads and coordinates, and two says nothing.
    let config = scripted(|_, address, mut peer: Peer| {
        Some(async move {
            if id_of(&address) == 1 {
                return serve(peer, 1).await;
            }
            peer.negotiate().await;
            while peer.receive().await.is_some() {}
        })
    });
    let config = config.operation_timeout(Duration::from_secs(5)).build().unwrap();
    let silent = "did not succeed within 5 s: no answer";
    let error = Client::new(config.clone()).all_committed_offsets("g").await.unwrap_err();
    let expected = format!("reading committed offsets {silent} (group g, broker two:9092)");
    assert_eq!(error.to_string(), expected);
    let client = Client::new(config.clone());
    client.topics(&["t"]).await.unwrap();
    let latest = [OffsetQuery::new("t", 0, OffsetSpec::Latest)];
    let mut listed = client.list_offsets(&latest, IsolationLevel::ReadCommitted).await.unwrap();
    let expected = format!("listing offsets {silent} (topic t [0], broker two:9092)");
    assert_eq!(listed.remove(0).unwrap_err().to_string(), expected);
    let client = Client::new(config);
    client.topics(&["t"]).await.unwrap();
    let error = client.admin().describe_configs(&[ConfigResource::Broker(2)]).await.unwrap_err();
    let expected = format!("describing configurations {silent} (broker two:9092)");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_comes_back_is_found_again() {
    // The first connection is cut after the negotiation, the next two are refused.
    let config = scripted(|count, _, mut peer| {
        (count == 0 || count > 2).then_some(async move {
            if count == 0 {
                peer.negotiate().await;
            } else {
                serve(peer, 1).await;
            }
        })
    });
    let client = Client::connect(config.build().unwrap()).await.unwrap();
    let mut retry = client.retry("listing groups");
    let response = loop {
        let request = ListGroupsRequest::default();
        match retry.limit(client.request(Target::Any, &request)).await {
            Ok(response) => break response,
            Err(error) => retry.after(error, &[]).await.unwrap(),
        }
    };
    assert_eq!(response.throttle_time_ms, 1);
}

#[tokio::test(start_paused = true)]
async fn metadata_is_asked_for_once_and_again_with_age() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let config = scripted(|_, _, mut peer| {
        Some(async move {
            peer.negotiate().await;
            while let Some(request) = peer.receive().await {
                ASKED.fetch_add(1, Ordering::SeqCst);
                let asked: MetadataRequest = request.decode();
                let mut response = brokers(&[(1, "one")]);
                for topic in asked.topics.unwrap_or_default() {
                    response.topics.push(MetadataResponseTopic { name: topic.name, ..Default::default() });
                }
                peer.answer::<MetadataRequest>(&request, &response).await;
            }
        })
    });
    let client = Client::connect(config.build().unwrap()).await.unwrap();
    let (a, b) = tokio::join!(client.refresh_metadata(&["t"], 0), client.refresh_metadata(&["t"], 0));
    assert_eq!((a.unwrap().generation, b.unwrap().generation), (1, 1));
    client.topics(&["t"]).await.unwrap();
    assert_eq!(ASKED.load(Ordering::SeqCst), 1);
    client.topics(&["t", "u"]).await.unwrap();
    assert_eq!(ASKED.load(Ordering::SeqCst), 2);
    tokio::time::advance(Duration::from_secs(301)).await;
    client.topics(&["t"]).await.unwrap();
    assert_eq!(ASKED.load(Ordering::SeqCst), 3);
}

#[test]
fn who_gives_up_last_speaks_for_those_inside() {
    let cause = Error::new(ErrorKind::Connect, "none of 2 brokers could be reached");
    let inner = cause.given_up("connecting did not succeed within 5 s");
    let outer = inner.given_up("looking the topic up did not succeed within 30 s");
    let text = "looking the topic up did not succeed within 30 s: none of 2 brokers could be reached";
    assert_eq!(outer.to_string(), text);
}

#[tokio::test(start_paused = true)]
async fn the_nearest_broker_is_one_that_is_there() {
    let config = scripted(|_, address, mut peer| {
        Some(async move {
            let id = id_of(&address);
            tokio::time::sleep(Duration::from_millis(if id == 1 { 3 } else { 50 })).await;
            if id == 1 {
                peer.negotiate().await;
                // It goes away with the first question.
                peer.receive().await;
            } else {
                serve(peer, id).await;
            }
        })
    });
    let config = config.bootstrap_servers("one:9092,two:9092").build().unwrap();
    let near = Client::new(config);
    let one = near.0.connections.get(&HostPort::parse("one:9092").unwrap(), Lane::Shared).await.unwrap();
    assert_eq!(near.round_trip().as_millis(), 3);
    one.request(&ListGroupsRequest::default()).await.unwrap_err();
    near.0.connections.get(&HostPort::parse("two:9092").unwrap(), Lane::Shared).await.unwrap();
    assert_eq!(near.round_trip().as_millis(), 50);
}
