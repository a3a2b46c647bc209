//! Group offsets without membership, against a cluster in memory.

mod common;

use common::*;
use kcopy_client::{
    CommittedOffset, CoordinatorKind, ErrorKind, Persisted, Target,
    wire::{ApiKey, ErrorCode, messages::FindCoordinatorRequest},
};
use kcopy_mini_broker::FaultAction;

#[tokio::test(start_paused = true)]
async fn offsets_are_committed_and_read_back() {
    let cluster = in_memory(3).topic("t", 2).topic("u", 1).start().await.unwrap();
    let client = client(&cluster).await;
    client.ensure_no_members("g").await.unwrap();
    let partitions = [("t".into(), 0), ("t".into(), 1), ("u".into(), 0)];
    assert_eq!(client.committed_offsets("g", &partitions).await.unwrap(), []);

    let mut offsets = vec![CommittedOffset::new("t", 1, 42), CommittedOffset::new("u", 0, 0)];
    offsets[0].metadata = Some("by hand".into());
    offsets[0].leader_epoch = Some(0);
    client.commit_offsets("g", &offsets).await.unwrap();
    let mut read = client.committed_offsets("g", &partitions).await.unwrap();
    read.sort_by(|a, b| a.topic.cmp(&b.topic));
    assert_eq!(read, offsets);
    assert_eq!(client.all_committed_offsets("g").await.unwrap().len(), 2);
    assert_eq!(client.committed_offsets("g", &partitions[..1]).await.unwrap(), []);
    assert_eq!(cluster.committed("g", "t", 1).await.unwrap(), Some(42));
    client.ensure_no_members("g").await.unwrap();
    client.commit_offsets("g", &[]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_commit_names_its_partition() {
    let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    let error = client.commit_offsets("g", &[CommittedOffset::new("nosuch", 3, 1)]).await;
    // Brokers know no more than that; it is tried again, since the topic may be new.
    let error = error.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!((error.topic(), error.partition(), error.group()), (Some("nosuch"), Some(3), Some("g")));
    let error = client.commit_offsets("", &[CommittedOffset::new("t", 0, 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_moves_is_found_again() {
    let cluster = in_memory(3).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    let offset = |offset| [CommittedOffset::new("t", 0, offset)];
    client.commit_offsets("g", &offset(1)).await.unwrap();
    for (round, node) in (2..).zip([1, 2, 3, 1]) {
        cluster.move_coordinator("g", node).await.unwrap();
        client.commit_offsets("g", &offset(round)).await.unwrap();
        assert_eq!(client.all_committed_offsets("g").await.unwrap()[0].offset, round);
    }
    for action in [FaultAction::Close, FaultAction::Silence] {
        inject(&cluster, action, |fault| fault.api(ApiKey::OffsetCommit).times(1)).await;
        client.commit_offsets("g", &offset(9)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_ones_own_reach_the_coordinator() {
    let cluster = in_memory(2).start().await.unwrap();
    let client = client(&cluster).await;
    let target = Target::Coordinator(CoordinatorKind::Group, "g");
    let request = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    let response = client.request(target, &request).await.unwrap();
    let address = client.connection(target).await.unwrap().address().to_string();
    let found = &response.coordinators[0];
    assert_eq!(address, format!("{}:{}", found.host, found.port));
}

/// The outcome of a commit of offset 5 whose answers are lost once, where whatever follows it is refused.
async fn lost_once(action: FaultAction, then_unreadable: bool) -> (kcopy_client::Result<()>, Option<i64>) {
    let cluster = in_memory(1).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    client.ensure_no_members("g").await.unwrap();
    inject(&cluster, action, |fault| fault.api(ApiKey::OffsetCommit).times(1)).await;
    let refused = FaultAction::Error(ErrorCode::UNKNOWN_SERVER_ERROR);
    inject(&cluster, refused, |fault| fault.api(ApiKey::OffsetCommit).after(1)).await;
    if then_unreadable {
        inject(&cluster, FaultAction::Close, |fault| fault.api(ApiKey::OffsetFetch)).await;
    }
    let committed = client.commit_offsets("g", &[CommittedOffset::new("t", 0, 5)]).await;
    (committed, cluster.committed("g", "t", 0).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_is_read_back() {
    for action in [FaultAction::CloseAfter, FaultAction::Silence] {
        let (committed, offset) = lost_once(action, false).await;
        assert_eq!((committed.is_ok(), offset), (true, Some(5)), "{action:?}");
    }
    // It was not done, which is known as well.
    let (committed, offset) = lost_once(FaultAction::Close, false).await;
    let error = committed.unwrap_err();
    assert_eq!((error.code(), offset), (Some(ErrorCode::UNKNOWN_SERVER_ERROR), None));
    assert_eq!(error.persisted(), Persisted::No);
    // Nobody can tell.
    let (committed, offset) = lost_once(FaultAction::CloseAfter, true).await;
    let error = committed.unwrap_err();
    assert_eq!((error.code(), offset), (Some(ErrorCode::UNKNOWN_SERVER_ERROR), Some(5)));
    assert_eq!(error.persisted(), Persisted::Maybe);
}

#[tokio::test(start_paused = true)]
async fn an_offset_is_not_committed_to_another_topic_of_the_same_name() {
    let cluster = in_memory(1).topic("t", 1).topic("u", 1).start().await.unwrap();
    let client = client(&cluster).await;
    let id = |topic: &'static str| {
        let client = client.clone();
        async move { client.refresh_metadata(&[topic], 0).await.unwrap().topic(topic).unwrap().id }
    };
    let mut offset = CommittedOffset { topic_id: id("t").await, ..CommittedOffset::new("t", 0, 5) };
    assert!(offset.topic_id.is_some());
    client.commit_offsets("g", std::slice::from_ref(&offset)).await.unwrap();
    assert_eq!(cluster.committed("g", "t", 0).await.unwrap(), Some(5));

    client.admin().delete_topics(&["t".into()]).await.unwrap()[0].as_ref().unwrap();
    cluster.create_topic("t", 1).await.unwrap();
    offset.offset = 6;
    // By ids where all are known, else by name.
    for others in [vec![], vec![CommittedOffset::new("u", 0, 1)]] {
        let offsets = [vec![offset.clone()], others].concat();
        let error = client.commit_offsets("g", &offsets).await.unwrap_err();
        assert!(error.message().contains("deleted and created again since it was read"), "{error}");
        assert_eq!((error.topic(), error.partition()), (Some("t"), Some(0)));
        assert_ne!(cluster.committed("g", "t", 0).await.unwrap(), Some(6));
    }
    offset.topic_id = id("t").await;
    client.commit_offsets("g", &[offset]).await.unwrap();
    assert_eq!(cluster.committed("g", "t", 0).await.unwrap(), Some(6));
}
