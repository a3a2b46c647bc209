//! Metadata: brokers, topics, auto-creation.

use kcopy_wire::{
    ErrorCode, Uuid,
    messages::{MetadataRequest, MetadataResponse, metadata_request::MetadataRequestTopic},
};

use crate::peer::{Peer, builder};

fn named(names: &[&str], create: bool) -> MetadataRequest {
    let topics =
        names.iter().map(|name| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() });
    MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: create,
        ..Default::default()
    }
}

fn errors(response: &MetadataResponse) -> Vec<ErrorCode> {
    response.topics.iter().map(|topic| topic.error_code).collect()
}

#[tokio::test(start_paused = true)]
async fn all_brokers_and_topics_are_listed() {
    let cluster = builder().nodes(3).topic("a", 3).topic("b", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    for version in [0, 1, 7, 9, 13] {
        let request = MetadataRequest { topics: (version == 0).then(Vec::new), ..Default::default() };
        let response = peer.call(&request, version).await;
        assert_eq!(response.brokers.len(), 3, "{version}");
        let counts: Vec<usize> = response.topics.iter().map(|topic| topic.partitions.len()).collect();
        assert_eq!(counts, [3, 1], "{version}");
        let mut leaders: Vec<i32> =
            response.topics[0].partitions.iter().map(|partition| partition.leader_id).collect();
        leaders.sort_unstable();
        assert_eq!(leaders, [1, 2, 3], "{version}");
    }
    let none = peer.call(&named(&[], true), 9).await;
    assert!(none.topics.is_empty());
    let asked = MetadataRequest {
        include_topic_authorized_operations: true,
        ..named(&["a", "unknown", "bad name"], false)
    };
    for (request, expected) in [(named(&["a"], false), i32::MIN), (asked, 0xdf8)] {
        for topic in peer.call(&request, 9).await.topics {
            assert_eq!(topic.topic_authorized_operations, expected, "{:?}", topic.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn topics_are_created_when_both_sides_agree() {
    let cluster = builder().config("num.partitions", "4").start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let unknown = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION];
    assert_eq!(errors(&peer.call(&named(&["t"], false), 9).await), unknown);
    assert_eq!(errors(&peer.call(&named(&["t"], false), 9).await), unknown);
    assert_eq!(errors(&peer.call(&named(&["t"], true), 9).await), unknown);
    let response = peer.call(&named(&["t"], true), 9).await;
    assert_eq!(response.topics[0].partitions.len(), 4);
    let response = peer.call(&named(&["bad name", "", "."], true), 9).await;
    assert_eq!(errors(&response), [ErrorCode::INVALID_TOPIC_EXCEPTION; 3]);

    let cluster = builder().config("auto.create.topics.enable", "false").start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    for _ in 0..2 {
        assert_eq!(errors(&peer.call(&named(&["t"], true), 9).await), unknown);
    }
}

#[tokio::test(start_paused = true)]
async fn topics_can_be_asked_for_by_id() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let id = peer.topic_id("t").await;
    let by_id = |id| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id: id, name: None, ..Default::default() }]),
        ..Default::default()
    };
    let response = peer.call(&by_id(id), 12).await;
    assert_eq!(response.topics[0].name.as_deref(), Some("t"));
    let response = peer.call(&by_id(Uuid([1; 16])), 12).await;
    assert_eq!(errors(&response), [ErrorCode::UNKNOWN_TOPIC_ID]);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_broker_hands_over_and_comes_back() {
    let mut cluster =
        builder().nodes(2).config("default.replication.factor", "2").topic("t", 2).start().await.unwrap();
    let mut peer = Peer::connect_to(&cluster, 2).await;
    cluster.stop_node(1).await.unwrap();
    let response = peer.call(&named(&["t"], false), 9).await;
    assert_eq!((response.brokers.len(), response.controller_id), (1, 2));
    for partition in &response.topics[0].partitions {
        assert_eq!((partition.leader_id, &partition.isr_nodes[..]), (2, &[2][..]));
        assert_eq!(partition.offline_replicas, [1]);
    }
    assert!(cluster.network().connect("mini", 9092).await.is_err());
    cluster.start_node(1).await.unwrap();
    let response = peer.call(&named(&["t"], false), 9).await;
    assert_eq!(response.brokers.len(), 2);
    assert!(response.topics[0].partitions.iter().all(|partition| partition.isr_nodes.len() == 2));
    assert_eq!(Peer::connect(&cluster).await.call(&named(&["t"], false), 9).await.topics.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_only_replica_leaves_its_partition_without_leader() {
    let mut cluster = builder().nodes(2).topic("t", 1).start().await.unwrap();
    let leader = cluster.leader("t", 0).await.unwrap().unwrap();
    cluster.stop_node(leader).await.unwrap();
    let mut peer = Peer::connect_to(&cluster, 3 - leader).await;
    let response = peer.call(&named(&["t"], false), 9).await;
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_id), (ErrorCode::LEADER_NOT_AVAILABLE, -1));
    cluster.start_node(leader).await.unwrap();
    assert_eq!(cluster.leader("t", 0).await.unwrap(), Some(leader));
}
