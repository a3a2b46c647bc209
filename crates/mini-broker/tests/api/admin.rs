//! Topics, partitions, producers, leaders.

use kcopy_wire::{
    ErrorCode,
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
        DescribeLogDirsRequest, DescribeProducersRequest, DescribeTopicPartitionsRequest,
        ElectLeadersRequest, InitProducerIdRequest, create_partitions_request, create_topics_request,
        delete_topics_request, describe_producers_request, describe_topic_partitions_request,
        elect_leaders_request,
    },
};

use crate::peer::{Peer, builder, stamped};

fn topic(name: &str, partitions: i32, replicas: i16) -> create_topics_request::CreatableTopic {
    create_topics_request::CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        ..Default::default()
    }
}

fn placed(name: &str, placement: &[(i32, &[i32])]) -> create_topics_request::CreatableTopic {
    let assignments = placement.iter().map(|(partition_index, broker_ids)| {
        create_topics_request::CreatableReplicaAssignment {
            partition_index: *partition_index,
            broker_ids: broker_ids.to_vec(),
            ..Default::default()
        }
    });
    create_topics_request::CreatableTopic { assignments: assignments.collect(), ..topic(name, -1, -1) }
}

#[tokio::test(start_paused = true)]
async fn topics_are_created_with_kafkas_checks() {
    let cluster = builder().nodes(2).topic("there", 1).topic("a.b", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let long = "x".repeat(250);
    let cases = [
        (topic("t1", 3, 1), ErrorCode::NONE),
        (topic("t2", -1, -1), ErrorCode::NONE),
        (topic("there", 1, 1), ErrorCode::TOPIC_ALREADY_EXISTS),
        (topic("a_b", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("a b", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("..", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic(&long, 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("t3", 0, 1), ErrorCode::INVALID_PARTITIONS),
        (topic("t3", -2, 1), ErrorCode::INVALID_PARTITIONS),
        (topic("t3", 1, 0), ErrorCode::INVALID_REPLICATION_FACTOR),
        (topic("t3", 1, 3), ErrorCode::INVALID_REPLICATION_FACTOR),
        (topic("t3", i32::MAX, 1), ErrorCode::POLICY_VIOLATION),
        (placed("t4", &[(0, &[1, 2]), (1, &[2, 1])]), ErrorCode::NONE),
        (placed("t5", &[(0, &[1]), (2, &[2])]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (placed("t5", &[(0, &[7])]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (placed("t5", &[(0, &[1, 1])]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (placed("t5", &[(0, &[1]), (1, &[1, 2])]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (placed("t5", &[(0, &[])]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
    ];
    for (wanted, error) in cases {
        let request = CreateTopicsRequest { topics: vec![wanted.clone()], ..Default::default() };
        let response = peer.call(&request, 7).await;
        let answer = &response.topics[0];
        assert_eq!(answer.error_code, error, "{wanted:?}");
        if error.is_err() {
            assert!(answer.error_message.is_some());
        } else {
            assert_eq!(answer.configs.as_ref().map(Vec::len), Some(37));
        }
    }
    assert_eq!(cluster.leader("t4", 1).await.unwrap(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn validation_alone_creates_nothing() {
    let cluster = builder().start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let request = CreateTopicsRequest {
        topics: vec![topic("t", 1, 1), topic("u", 1, 1), topic("u", 1, 1)],
        validate_only: true,
        ..Default::default()
    };
    let response = peer.call(&request, 7).await;
    let errors: Vec<ErrorCode> = response.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(errors, [ErrorCode::NONE, ErrorCode::INVALID_REQUEST]);
    assert_eq!(cluster.leader("t", 0).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn topics_are_deleted_by_name_or_id() {
    let cluster = builder().topic("a", 1).topic("b", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let id = peer.topic_id("b").await;
    let state = |name: Option<&str>, topic_id| delete_topics_request::DeleteTopicState {
        name: name.map(Into::into),
        topic_id,
        ..Default::default()
    };
    let none = kcopy_wire::Uuid::ZERO;
    let request = DeleteTopicsRequest {
        topics: vec![state(Some("a"), none), state(None, id), state(Some("c"), none), state(None, none)],
        ..Default::default()
    };
    let response = peer.call(&request, 6).await;
    let errors: Vec<ErrorCode> = response.responses.iter().map(|topic| topic.error_code).collect();
    let expected =
        [ErrorCode::NONE, ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::INVALID_REQUEST];
    assert_eq!(errors, expected);
    assert_eq!(response.responses[1].name.as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn partitions_are_only_added() {
    let cluster = builder().topic("t", 2).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    for (name, count, error) in [
        ("t", 2, ErrorCode::INVALID_PARTITIONS),
        ("t", 1, ErrorCode::INVALID_PARTITIONS),
        ("no", 3, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("t", 5, ErrorCode::NONE),
    ] {
        let request = CreatePartitionsRequest {
            topics: vec![create_partitions_request::CreatePartitionsTopic {
                name: name.into(),
                count,
                assignments: None,
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = peer.call(&request, 3).await;
        assert_eq!(response.results[0].error_code, error, "{name} {count}");
    }
    assert_eq!(cluster.leader("t", 4).await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn producer_ids_are_given_out_once() {
    let cluster = builder().start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let first = peer.call(&request, 0).await;
    let second = peer.call(&request, 5).await;
    assert_eq!((first.error_code, first.producer_epoch), (ErrorCode::NONE, 0));
    assert_ne!(first.producer_id, second.producer_id);
    let transactional = InitProducerIdRequest { transactional_id: Some("tx".into()), ..Default::default() };
    assert_eq!(peer.call(&transactional, 5).await.error_code, ErrorCode::UNSUPPORTED_VERSION);
}

#[tokio::test(start_paused = true)]
async fn producers_of_a_partition_are_shown() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.produce("t", 0, stamped(42, 3, 0, &["a", "b"])).await;
    let request = DescribeProducersRequest {
        topics: vec![describe_producers_request::TopicRequest {
            name: "t".into(),
            partition_indexes: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = peer.call(&request, 0).await;
    let producer = &response.topics[0].partitions[0].active_producers[0];
    assert_eq!((producer.producer_id, producer.producer_epoch, producer.last_sequence), (42, 3, 1));
}

#[tokio::test(start_paused = true)]
async fn the_preferred_replica_gets_its_partition_back() {
    let cluster =
        builder().nodes(2).config("default.replication.factor", "2").topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let preferred = cluster.leader("t", 0).await.unwrap().unwrap();
    let request = ElectLeadersRequest {
        topic_partitions: Some(vec![elect_leaders_request::TopicPartitions {
            topic: "t".into(),
            partitions: vec![0, 9],
            ..Default::default()
        }]),
        ..Default::default()
    };
    for (moved, error) in [(false, ErrorCode::ELECTION_NOT_NEEDED), (true, ErrorCode::NONE)] {
        if moved {
            cluster.move_leader("t", 0, 3 - preferred).await.unwrap();
        }
        let response = peer.call(&request, 2).await;
        let results = &response.replica_election_results[0].partition_result;
        assert_eq!(results[0].error_code, error);
        assert_eq!(results[1].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    assert_eq!(cluster.leader("t", 0).await.unwrap(), Some(preferred));
}

#[tokio::test(start_paused = true)]
async fn the_cluster_describes_itself() {
    let cluster = builder().nodes(2).topic("t", 3).topic("u", 3).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let described = peer.call(&DescribeClusterRequest::default(), 2).await;
    assert_eq!((described.brokers.len(), described.controller_id), (2, 1));
    let dirs = DescribeLogDirsRequest { topics: None, ..Default::default() };
    let dirs = peer.call(&dirs, 4).await;
    let partitions: usize = dirs.results[0].topics.iter().map(|topic| topic.partitions.len()).sum();
    assert_eq!(partitions, 3);
    let mut request = DescribeTopicPartitionsRequest {
        topics: Vec::new(),
        response_partition_limit: 4,
        ..Default::default()
    };
    let first = peer.call(&request, 0).await;
    let counts: Vec<usize> = first.topics.iter().map(|topic| topic.partitions.len()).collect();
    assert_eq!(counts, [3, 1]);
    let cursor = first.next_cursor.expect("two partitions are left");
    request.cursor = Some(describe_topic_partitions_request::Cursor {
        topic_name: cursor.topic_name,
        partition_index: cursor.partition_index,
        ..Default::default()
    });
    let rest = peer.call(&request, 0).await;
    assert_eq!((rest.topics.len(), rest.topics[0].partitions.len()), (1, 2));
    assert!(rest.next_cursor.is_none());
    // One bad name does not spoil the others.
    let named = |name: &str| describe_topic_partitions_request::TopicRequest {
        name: name.into(),
        ..Default::default()
    };
    request.topics = ["a b", "nope", "t"].map(named).into();
    request.cursor = None;
    let codes: Vec<ErrorCode> =
        peer.call(&request, 0).await.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(
        codes,
        [ErrorCode::INVALID_TOPIC_EXCEPTION, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::NONE]
    );
}
