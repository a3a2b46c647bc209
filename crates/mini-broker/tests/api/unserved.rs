//! APIs that are understood and not served.

use std::time::Duration;

use kcopy_mini_broker::{Fault, FaultAction, MiniCluster};
use kcopy_wire::{ApiKey, ErrorCode, Message, Request, messages::*};

use crate::peer::{Peer, builder};

/// Sends a request in every version to one connection; all answers must be readable, and what `errors` finds in them
/// be `expected`.
async fn check<R: Request>(
    cluster: &MiniCluster,
    request: R,
    expected: ErrorCode,
    errors: impl Fn(&R::Response, i16) -> Vec<ErrorCode>,
) {
    let mut peer = Peer::connect(cluster).await;
    for version in R::VERSIONS {
        let response = peer.call(&request, version).await;
        assert_eq!(errors(&response, version), [expected], "{} version {version}", R::NAME);
    }
}

macro_rules! check_all {
    ($cluster:ident, $expected:expr, $($request:ident)*) => {
        $(check($cluster, $request::default(), $expected, |response, _| vec![response.error_code]).await;)*
    };
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_not_served_are_answered_in_every_version() {
    let cluster = &builder().start().await.unwrap();
    check_all!(cluster, ErrorCode::UNSUPPORTED_VERSION,
        JoinGroupRequest SyncGroupRequest HeartbeatRequest LeaveGroupRequest ConsumerGroupHeartbeatRequest
        ShareGroupHeartbeatRequest ShareFetchRequest ShareAcknowledgeRequest AlterShareGroupOffsetsRequest
        DeleteShareGroupOffsetsRequest StreamsGroupHeartbeatRequest StreamsGroupTopologyDescriptionUpdateRequest
        AddOffsetsToTxnRequest EndTxnRequest ListTransactionsRequest AlterPartitionReassignmentsRequest
        DescribeClientQuotasRequest DescribeUserScramCredentialsRequest UpdateFeaturesRequest
        GetTelemetrySubscriptionsRequest PushTelemetryRequest);
    // As on Apache Kafka with neither an authorizer nor a secure listener.
    check_all!(cluster, ErrorCode::SECURITY_DISABLED, DescribeAclsRequest);
    check_all!(cluster, ErrorCode::ILLEGAL_SASL_STATE, SaslHandshakeRequest SaslAuthenticateRequest);
    check_all!(cluster, ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED,
        CreateDelegationTokenRequest RenewDelegationTokenRequest ExpireDelegationTokenRequest
        DescribeDelegationTokenRequest);
}

#[tokio::test(start_paused = true)]
async fn errors_stand_beside_everything_that_was_asked_for() {
    let cluster = &builder().start().await.unwrap();
    let unsupported = ErrorCode::UNSUPPORTED_VERSION;
    let request = AddPartitionsToTxnRequest::default();
    let topics = vec![add_partitions_to_txn_request::AddPartitionsToTxnTopic {
        name: "t".into(),
        partitions: vec![3],
        ..Default::default()
    }];
    let mut peer = Peer::connect(cluster).await;
    assert_eq!(peer.call(&request, 5).await.error_code, unsupported);
    let old = AddPartitionsToTxnRequest { v3_and_below_topics: topics, ..Default::default() };
    let topic = &peer.call(&old, 3).await.results_by_topic_v3_and_below[0];
    assert_eq!((topic.name.as_str(), topic.results_by_partition[0].partition_index), ("t", 3));
    assert_eq!(topic.results_by_partition[0].partition_error_code, unsupported.0);

    let commit = TxnOffsetCommitRequest {
        topics: vec![txn_offset_commit_request::TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    check(cluster, commit, unsupported, |response, _| {
        response.topics[0].partitions.iter().map(|partition| partition.error_code).collect()
    })
    .await;

    let describe = ConsumerGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() };
    check(cluster, describe, unsupported, |response, _| {
        assert!(response.groups[0].error_message.as_ref().unwrap().contains("does not serve"));
        response.groups.iter().map(|group| group.error_code).collect()
    })
    .await;

    let create = CreateAclsRequest { creations: vec![Default::default()], ..Default::default() };
    check(cluster, create, ErrorCode::SECURITY_DISABLED, |response, _| {
        response.results.iter().map(|result| result.error_code).collect()
    })
    .await;

    let describe = DescribeTransactionsRequest { transactional_ids: vec!["x".into()], ..Default::default() };
    check(cluster, describe, unsupported, |response, _| {
        assert_eq!(response.transaction_states[0].transactional_id.as_str(), "x");
        response.transaction_states.iter().map(|state| state.error_code).collect()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn faults_answer_for_apis_that_are_not_served() {
    let cluster = builder().start().await.unwrap();
    let fault = Fault::new(FaultAction::Error(ErrorCode::NOT_COORDINATOR)).api(ApiKey::JoinGroup).times(1);
    cluster.inject(fault).await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let mut errors = Vec::new();
    for _ in 0..2 {
        errors.push(peer.call(&JoinGroupRequest::default(), 5).await.error_code);
    }
    assert_eq!(errors, [ErrorCode::NOT_COORDINATOR, ErrorCode::UNSUPPORTED_VERSION]);
    assert_eq!(cluster.request_count(ApiKey::JoinGroup).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn slow_answers_come_late_and_a_malformed_request_ends_its_connection() {
    let cluster = builder().start().await.unwrap();
    cluster.set_round_trip(Duration::from_millis(20)).await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let started = tokio::time::Instant::now();
    peer.call(&HeartbeatRequest::default(), HeartbeatRequest::VERSIONS.start().to_owned()).await;
    assert_eq!(started.elapsed(), Duration::from_millis(20));
    // JoinGroup version 0 without a body.
    peer.send_bytes(b"\0\0\0\x0c\0\x0b\0\0\0\0\0\x01\0\x02me").await;
    assert!(peer.read_frame().await.is_none());
}
