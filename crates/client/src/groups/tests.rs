use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use kcopy_wire::messages::{
    ConsumerGroupDescribeResponse, DescribeGroupsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    OffsetCommitResponse,
    consumer_group_describe_response::{self, Member},
    describe_groups_response::{DescribedGroup, DescribedGroupMember},
    find_coordinator_response::Coordinator,
    offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
    },
};

use super::*;
use crate::testing::{Peer, scripted};

/// What the coordinator of the group `g` says.
#[derive(Clone, Default)]
struct Coordinating {
    classic_members: usize,
    modern_members: usize,
    /// The answers to commits and to reading, one after the other; then there is no error.
    codes: Vec<ErrorCode>,
    asked: Arc<AtomicUsize>,
}

impl Coordinating {
    fn next_code(&self) -> ErrorCode {
        let at = self.asked.fetch_add(1, Ordering::SeqCst);
        self.codes.get(at).copied().unwrap_or_default()
    }

    async fn serve(self, mut peer: Peer) {
        peer.negotiate().await;
        while let Some(request) = peer.receive().await {
            match request.key {
                ApiKey::FindCoordinator => {
                    let here =
                        Coordinator { key: "g".into(), host: "one".into(), port: 9092, ..Default::default() };
                    let response = FindCoordinatorResponse { coordinators: vec![here], ..Default::default() };
                    peer.answer::<FindCoordinatorRequest>(&request, &response).await;
                }
                ApiKey::DescribeGroups => {
                    let code = match self.modern_members {
                        0 => ErrorCode::NONE,
                        _ => ErrorCode::GROUP_ID_NOT_FOUND,
                    };
                    let group = DescribedGroup {
                        error_code: code,
                        group_id: "g".into(),
                        members: vec![DescribedGroupMember::default(); self.classic_members],
                        ..Default::default()
                    };
                    let response = DescribeGroupsResponse { groups: vec![group], ..Default::default() };
                    peer.answer::<DescribeGroupsRequest>(&request, &response).await;
                }
                ApiKey::ConsumerGroupDescribe => {
                    let code = match self.modern_members {
                        0 => ErrorCode::GROUP_ID_NOT_FOUND,
                        _ => ErrorCode::NONE,
                    };
                    let group = consumer_group_describe_response::DescribedGroup {
                        error_code: code,
                        group_id: "g".into(),
                        members: vec![Member::default(); self.modern_members],
                        ..Default::default()
                    };
                    let response =
                        ConsumerGroupDescribeResponse { groups: vec![group], ..Default::default() };
                    peer.answer::<ConsumerGroupDescribeRequest>(&request, &response).await;
                }
                ApiKey::OffsetCommit => {
                    let partition = OffsetCommitResponsePartition {
                        partition_index: 1,
                        error_code: self.next_code(),
                        ..Default::default()
                    };
                    let topic = OffsetCommitResponseTopic {
                        name: "t".into(),
                        partitions: vec![partition],
                        ..Default::default()
                    };
                    let response = OffsetCommitResponse { topics: vec![topic], ..Default::default() };
                    peer.answer::<OffsetCommitRequest>(&request, &response).await;
                }
                _ => {
                    let group = OffsetFetchResponseGroup {
                        group_id: "g".into(),
                        error_code: self.next_code(),
                        ..Default::default()
                    };
                    let response = OffsetFetchResponse { groups: vec![group], ..Default::default() };
                    peer.answer::<OffsetFetchRequest>(&request, &response).await;
                }
            }
        }
    }

    fn client(self) -> Client {
        Client::new(scripted(move |_, _, peer| Some(self.clone().serve(peer))).build().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn members_of_either_protocol_are_seen() {
    Coordinating::default().client().ensure_no_members("g").await.unwrap();
    for (classic_members, modern_members, text) in [
        (1, 0, "the group has a member"),
        (3, 0, "the group has 3 members"),
        (0, 2, "the group has 2 members"),
    ] {
        let coordinating = Coordinating { classic_members, modern_members, ..Default::default() };
        let error = coordinating.client().ensure_no_members("g").await.unwrap_err();
        assert_eq!((error.kind(), error.group()), (ErrorKind::GroupHasMembers, Some("g")));
        assert!(error.message().starts_with(text), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_commit_says_why() {
    let offsets = [CommittedOffset::new("t", 1, 5)];
    for (code, kind) in [
        (ErrorCode::UNKNOWN_MEMBER_ID, ErrorKind::GroupHasMembers),
        (ErrorCode::ILLEGAL_GENERATION, ErrorKind::GroupHasMembers),
        (ErrorCode::GROUP_AUTHORIZATION_FAILED, ErrorKind::Broker(ErrorCode::GROUP_AUTHORIZATION_FAILED)),
        (ErrorCode::OFFSET_METADATA_TOO_LARGE, ErrorKind::Broker(ErrorCode::OFFSET_METADATA_TOO_LARGE)),
    ] {
        let coordinating = Coordinating { codes: vec![code], ..Default::default() };
        let asked = Arc::clone(&coordinating.asked);
        let error = coordinating.client().commit_offsets("g", &offsets).await.unwrap_err();
        assert_eq!((error.kind(), error.topic(), error.partition()), (kind, Some("t"), Some(1)));
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{code} was tried again");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_answer_leaves_out_is_not_committed() {
    let offsets = [CommittedOffset::new("t", 1, 5), CommittedOffset::new("t", 2, 5)];
    let error = Coordinating::default().client().commit_offsets("g", &offsets).await.unwrap_err();
    assert_eq!((error.kind(), error.topic(), error.partition()), (ErrorKind::Protocol, Some("t"), Some(2)));
    assert!(error.message().contains("the answer leaves the partition out"), "{error}");
}

#[test]
fn each_partition_is_answered_once() {
    let asked = [("t".into(), 0), ("t".into(), 1)];
    let check = |partitions: &[i32], group: &str, error_code| {
        let answer =
            |index: &i32| OffsetFetchResponsePartitions { partition_index: *index, ..Default::default() };
        let topic = OffsetFetchResponseTopics {
            name: "t".into(),
            partitions: partitions.iter().map(answer).collect(),
            ..Default::default()
        };
        let group = OffsetFetchResponseGroup {
            group_id: group.into(),
            topics: vec![topic],
            error_code,
            ..Default::default()
        };
        let response = OffsetFetchResponse { groups: vec![group], ..Default::default() };
        offsets_of(response, "g", &asked).map(drop).map_err(|error| error.message().to_owned())
    };
    assert_eq!(check(&[1, 0], "g", ErrorCode::NONE), Ok(()));
    // What nobody asked for is no harm.
    assert_eq!(check(&[0, 1, 2], "g", ErrorCode::NONE), Ok(()));
    assert_eq!(check(&[0, 7], "g", ErrorCode::NONE), Err("the answer leaves the partition out".into()));
    assert_eq!(check(&[0, 1, 0], "g", ErrorCode::NONE), Err("the answer names the partition twice".into()));
    assert_eq!(check(&[0, 1], "h", ErrorCode::NONE), Err("the answer is about group h".into()));
    // An error of the whole is told as that.
    assert!(
        check(&[], "g", ErrorCode::NOT_COORDINATOR).unwrap_err().starts_with("the broker answered NOT_COORD")
    );
}

#[test]
fn a_committed_offset_that_cannot_be_is_not_none() {
    let answered = |committed_offset| {
        let partition = OffsetFetchResponsePartitions { committed_offset, ..Default::default() };
        let topic =
            OffsetFetchResponseTopics { name: "t".into(), partitions: vec![partition], ..Default::default() };
        let group = OffsetFetchResponseGroup { topics: vec![topic], ..Default::default() };
        offsets_of(OffsetFetchResponse { groups: vec![group], ..Default::default() }, "", &[])
    };
    assert_eq!(answered(-1).unwrap(), []);
    assert_eq!(answered(0).unwrap().len(), 1);
    let error = answered(-5).unwrap_err();
    assert_eq!((error.message(), error.partition()), ("the answer has the committed offset -5", Some(0)));
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again() {
    let passing = [
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::NOT_COORDINATOR,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::UNSTABLE_OFFSET_COMMIT,
    ];
    let coordinating = Coordinating { codes: passing.to_vec(), ..Default::default() };
    let asked = Arc::clone(&coordinating.asked);
    coordinating.client().commit_offsets("g", &[CommittedOffset::new("t", 1, 5)]).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 6);
    let coordinating = Coordinating { codes: passing.to_vec(), ..Default::default() };
    assert_eq!(coordinating.client().all_committed_offsets("g").await.unwrap(), []);
    let coordinating = Coordinating { codes: vec![ErrorCode::NOT_COORDINATOR; 10_000], ..Default::default() };
    let error = coordinating.client().all_committed_offsets("g").await.unwrap_err();
    assert!(error.message().starts_with("reading committed offsets did not succeed within 60 s"), "{error}");
}
