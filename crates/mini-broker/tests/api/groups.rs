//! Offsets of groups without members.

use kcopy_wire::{
    ErrorCode, Str,
    messages::{
        DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, ListGroupsRequest,
        OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, offset_commit_request,
        offset_delete_request, offset_fetch_request,
    },
};

use crate::peer::{Peer, builder};

fn commit(group: &str, topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.into(),
        topics: vec![offset_commit_request::OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![offset_commit_request::OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                committed_metadata: Some("note".into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn committed(peer: &mut Peer, group: &str, version: i16) -> Vec<(Str, i32, i64)> {
    if version < 8 {
        let request = OffsetFetchRequest { group_id: group.into(), topics: None, ..Default::default() };
        let response = peer.call(&request, version).await;
        assert_eq!(response.error_code, ErrorCode::NONE);
        let topics = response.topics.into_iter();
        return topics
            .flat_map(|topic| {
                let name = topic.name;
                topic
                    .partitions
                    .into_iter()
                    .map(move |found| (name.clone(), found.partition_index, found.committed_offset))
            })
            .collect();
    }
    let request = OffsetFetchRequest {
        groups: vec![offset_fetch_request::OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: None,
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = peer.call(&request, version).await;
    assert_eq!(response.groups[0].error_code, ErrorCode::NONE);
    let topics = response.groups[0].topics.clone().into_iter();
    topics
        .flat_map(|topic| {
            let name = topic.name;
            topic
                .partitions
                .into_iter()
                .map(move |found| (name.clone(), found.partition_index, found.committed_offset))
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn commits_from_outside_a_generation_are_kept() {
    let cluster = builder().topic("t", 2).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    for (request, version, error) in [
        (commit("g", "t", 0, 5), 2, ErrorCode::NONE),
        (commit("g", "t", 1, 7), 9, ErrorCode::NONE),
        (commit("g", "t", 2, 7), 9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (commit("g", "nope", 0, 7), 9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        let response = peer.call(&request, version).await;
        assert_eq!(response.topics[0].partitions[0].error_code, error);
    }
    let expected = [("t".into(), 0, 5), ("t".into(), 1, 7)];
    assert_eq!(committed(&mut peer, "g", 7).await, expected);
    assert_eq!(committed(&mut peer, "g", 9).await, expected);
    assert!(committed(&mut peer, "other", 9).await.is_empty());
    assert_eq!(cluster.committed("g", "t", 1).await.unwrap(), Some(7));
}

#[tokio::test(start_paused = true)]
async fn commits_of_members_are_refused() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let member = |generation, member: &str| OffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        ..commit("g", "t", 0, 5)
    };
    for (request, version, error) in [
        (member(3, "m"), 8, ErrorCode::ILLEGAL_GENERATION),
        (member(3, "m"), 9, ErrorCode::GROUP_ID_NOT_FOUND),
        (member(-1, ""), 9, ErrorCode::NONE),
        (member(3, "m"), 9, ErrorCode::UNKNOWN_MEMBER_ID),
        (member(3, ""), 9, ErrorCode::UNKNOWN_MEMBER_ID),
    ] {
        let response = peer.call(&request, version).await;
        assert_eq!(response.topics[0].partitions[0].error_code, error);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_commit_has_offset_minus_one() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let request = OffsetFetchRequest {
        group_id: "g".into(),
        topics: Some(vec![offset_fetch_request::OffsetFetchRequestTopic {
            name: "t".into(),
            partition_indexes: vec![0, 99],
            ..Default::default()
        }]),
        ..Default::default()
    };
    for version in 1..8 {
        let response = peer.call(&request, version).await;
        for found in &response.topics[0].partitions {
            assert_eq!((found.committed_offset, found.error_code), (-1, ErrorCode::NONE));
            assert_eq!(found.metadata.as_deref(), Some(""));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn long_metadata_is_refused() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    for (length, error) in [(4096, ErrorCode::NONE), (4097, ErrorCode::OFFSET_METADATA_TOO_LARGE)] {
        let mut request = commit("g", "t", 0, 5);
        request.topics[0].partitions[0].committed_metadata = Some("x".repeat(length).into());
        let response = peer.call(&request, 9).await;
        assert_eq!(response.topics[0].partitions[0].error_code, error);
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_coordinator_answers() {
    let cluster = builder().nodes(2).topic("t", 1).start().await.unwrap();
    cluster.move_coordinator("g", 2).await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    for version in [0, 3] {
        let request = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
        let response = peer.call(&request, version).await;
        assert_eq!((response.error_code, response.node_id), (ErrorCode::NONE, 2), "{version}");
    }
    let several =
        FindCoordinatorRequest { coordinator_keys: vec!["g".into(), "h".into()], ..Default::default() };
    let response = peer.call(&several, 4).await;
    assert_eq!(response.coordinators.len(), 2);
    assert_eq!(response.coordinators[0].node_id, 2);
    let response = peer.call(&commit("g", "t", 0, 5), 9).await;
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NOT_COORDINATOR);
    let mut coordinator = Peer::connect_to(&cluster, 2).await;
    let response = coordinator.call(&commit("g", "t", 0, 5), 9).await;
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
}

#[tokio::test(start_paused = true)]
async fn groups_are_listed_described_and_deleted() {
    let cluster = builder().topic("t", 2).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.call(&commit("g", "t", 0, 5), 9).await;
    peer.call(&commit("g", "t", 1, 5), 9).await;
    let listed = peer.call(&ListGroupsRequest::default(), 5).await;
    assert_eq!((&*listed.groups[0].group_id, &*listed.groups[0].group_state), ("g", "Empty"));
    let describe = DescribeGroupsRequest { groups: vec!["g".into(), "none".into()], ..Default::default() };
    let states = |groups: &[kcopy_wire::messages::describe_groups_response::DescribedGroup]| {
        let states = groups.iter().map(|group| (group.error_code, group.group_state.to_string()));
        states.collect::<Vec<_>>()
    };
    let described = peer.call(&describe, 5).await;
    let expected = [(ErrorCode::NONE, "Empty".into()), (ErrorCode::NONE, "Dead".into())];
    assert_eq!(states(&described.groups), expected);
    let described = peer.call(&describe, 6).await;
    assert_eq!(described.groups[1].error_code, ErrorCode::GROUP_ID_NOT_FOUND);

    let delete_offset = OffsetDeleteRequest {
        group_id: "g".into(),
        topics: vec![offset_delete_request::OffsetDeleteRequestTopic {
            name: "t".into(),
            partitions: vec![offset_delete_request::OffsetDeleteRequestPartition { partition_index: 0 }],
        }],
    };
    let response = peer.call(&delete_offset, 0).await;
    assert_eq!(response.error_code, ErrorCode::NONE);
    assert_eq!(committed(&mut peer, "g", 9).await, [("t".into(), 1, 5)]);

    let delete = DeleteGroupsRequest {
        groups_names: vec!["g".into(), "none".into(), "g".into()],
        ..Default::default()
    };
    let response = peer.call(&delete, 2).await;
    let errors: Vec<ErrorCode> = response.results.iter().map(|result| result.error_code).collect();
    assert_eq!(errors, [ErrorCode::NONE, ErrorCode::GROUP_ID_NOT_FOUND]);
    assert!(committed(&mut peer, "g", 9).await.is_empty());
}
