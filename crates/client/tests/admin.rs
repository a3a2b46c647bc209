//! Administration against a cluster in memory, on simulated time.

mod common;

use std::time::Duration;

use common::*;
use kcopy_client::{
    Assignment, ConsumerConfig, ErrorKind, IsolationLevel, OffsetQuery, OffsetSpec, StartOffset,
    admin::{
        ConfigAlteration, ConfigChange, ConfigResource, ConfigSource, DeleteRecords, NewPartitions, NewTopic,
    },
    wire::{ApiKey, ErrorCode},
};
use kcopy_mini_broker::FaultAction;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn topics_come_widen_and_go() {
    let cluster = in_memory(3).start().await.unwrap();
    let client = client(&cluster).await;
    let admin = client.admin();
    let created = admin
        .create_topics(&[
            NewTopic::new("a").partitions(3).replication_factor(2).config("retention.ms", "60000"),
            NewTopic::new("b"),
            NewTopic::new("no good").partitions(1).replication_factor(1),
            NewTopic::new("c").assignments(vec![vec![2, 3], vec![3, 1]]),
        ])
        .await
        .unwrap();
    let a = created[0].as_ref().unwrap();
    assert_eq!((&*a.name, a.partitions, a.replication_factor), ("a", Some(3), Some(2)));
    assert!(a.id.is_some());
    assert_eq!(created[1].as_ref().unwrap().partitions, Some(1));
    let error = created[2].as_ref().unwrap_err();
    assert_eq!((error.code(), error.topic()), (Some(ErrorCode::INVALID_TOPIC_EXCEPTION), Some("no good")));
    assert_eq!(created[3].as_ref().unwrap().partitions, Some(2));

    let again = admin.create_topics(&[NewTopic::new("a").partitions(1).replication_factor(1)]).await.unwrap();
    assert_eq!(again[0].as_ref().unwrap_err().code(), Some(ErrorCode::TOPIC_ALREADY_EXISTS));
    let dry = admin.clone().validate_only().create_topics(&[NewTopic::new("dry")]).await.unwrap();
    assert!(dry[0].is_ok());

    let wider = [
        NewPartitions { topic: "a".into(), total: 5, assignments: Vec::new() },
        NewPartitions { topic: "c".into(), total: 1, assignments: Vec::new() },
    ];
    let widened = admin.create_partitions(&wider).await.unwrap();
    assert!(widened[0].is_ok());
    assert_eq!(widened[1].as_ref().unwrap_err().code(), Some(ErrorCode::INVALID_PARTITIONS));

    let listing = admin.list_topics(None).await.unwrap();
    let names: Vec<(&str, usize)> =
        listing.topics.iter().map(|topic| (&*topic.name, topic.partitions.len())).collect();
    assert_eq!(names, [("a", 5), ("b", 1), ("c", 2)]);
    assert_eq!(listing.topics[2].partitions[1].replicas, [3, 1]);
    assert_eq!(listing.brokers.len(), 3);
    assert!(listing.originating_broker.is_some() && listing.controller_id.is_some());
    let named = admin.list_topics(Some(&["b", "nosuch"])).await.unwrap();
    let errors: Vec<_> = named.topics.iter().map(|topic| (&*topic.name, topic.error)).collect();
    assert_eq!(errors, [("b", None), ("nosuch", Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))]);

    let deleted = admin.delete_topics(&["a".into(), "b".into(), "c".into()]).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok));
    assert!(admin.list_topics(None).await.unwrap().topics.is_empty());
    assert_eq!(
        admin.validate_only().delete_topics(&["a".into()]).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_moves_is_found() {
    let cluster = in_memory(2).start().await.unwrap();
    let client = client(&cluster).await;
    let moved = FaultAction::Error(ErrorCode::NOT_CONTROLLER);
    inject(&cluster, moved, |fault| fault.api(ApiKey::CreateTopics).times(2)).await;
    let created = client.admin().create_topics(&[NewTopic::new("a"), NewTopic::new("b")]).await.unwrap();
    assert!(created.iter().all(Result::is_ok), "{created:?}");
    assert_eq!(cluster.request_count(ApiKey::CreateTopics).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn configurations_are_read_and_changed() {
    let cluster = in_memory(2).topic("t", 1).start().await.unwrap();
    let admin = client(&cluster).await.admin();
    let topic = ConfigResource::Topic("t".into());
    let changes = vec![
        ("retention.ms".into(), ConfigChange::Set("5000".into())),
        ("cleanup.policy".into(), ConfigChange::Append("compact".into())),
    ];
    let alterations = [
        ConfigAlteration { resource: topic.clone(), changes },
        ConfigAlteration {
            resource: ConfigResource::Topic("nosuch".into()),
            changes: vec![("retention.ms".into(), ConfigChange::Unset)],
        },
    ];
    let altered = admin.alter_configs(&alterations).await.unwrap();
    assert!(altered[0].is_ok(), "{altered:?}");
    let error = altered[1].as_ref().unwrap_err();
    assert_eq!((error.code(), error.topic()), (Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), Some("nosuch")));

    let resources = [ConfigResource::Broker(2), topic.clone(), ConfigResource::Broker(1)];
    let described = admin.describe_configs(&resources).await.unwrap();
    let value = |at: usize, name: &str| {
        let entries = described[at].as_ref().unwrap();
        let entry = entries.iter().find(|entry| entry.name == name).unwrap();
        (entry.value.as_deref().unwrap_or_default().to_owned(), entry.source)
    };
    assert_eq!(value(1, "retention.ms"), ("5000".into(), ConfigSource::Topic));
    assert_eq!(value(1, "cleanup.policy"), ("delete,compact".into(), ConfigSource::Topic));
    assert_eq!(value(1, "segment.bytes").1, ConfigSource::Default);
    assert_eq!(value(0, "node.id").0, "2");
    assert_eq!(value(2, "node.id").0, "1");

    let back =
        ConfigAlteration { resource: topic, changes: vec![("retention.ms".into(), ConfigChange::Unset)] };
    admin.alter_configs(&[back]).await.unwrap().remove(0).unwrap();
    let described = admin.describe_configs(&resources[1..2]).await.unwrap().remove(0).unwrap();
    let retention = described.iter().find(|entry| entry.name == "retention.ms").unwrap();
    assert_eq!(retention.source, ConfigSource::Default);
}

#[tokio::test(start_paused = true)]
async fn records_are_deleted_up_to_an_offset() {
    let cluster = in_memory(2).topic("t", 2).start().await.unwrap();
    let client = client(&cluster).await;
    for partition in 0..2 {
        produce(&client, "t", partition, 0..10).await;
    }
    let deletion = |partition, before| DeleteRecords { topic: "t".into(), partition, before };
    let deletions = [deletion(0, Some(4)), deletion(1, None), deletion(7, Some(1))];
    let deleted = client.admin().delete_records(&deletions).await.unwrap();
    assert_eq!(deleted[0].as_ref().unwrap().low_watermark, 4);
    assert_eq!(deleted[1].as_ref().unwrap().low_watermark, 10);
    let error = deleted[2].as_ref().unwrap_err();
    assert_eq!((error.code(), error.partition()), (Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), Some(7)));

    let mut consumer = consume(&client, &from_earliest("t", 2), ConsumerConfig::default()).await.unwrap();
    let report = read_to_end(&mut consumer).await.unwrap();
    assert_eq!(report.records.get(&0), Some(&(4..10).map(|n| (n, n as u64)).collect()));
    assert_eq!((report.records.get(&1), report.ends[&1]), (None, 10));
    let gone = [Assignment::new("t", 0, StartOffset::Offset(3))];
    let error = consume(&client, &gone, ConsumerConfig::default()).await.unwrap_err();
    assert!(error.message().contains("offset 3 is out of range: the partition has 4 to 9"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn offsets_are_listed_by_place_and_time() {
    let cluster = in_memory(2).topic("t", 2).start().await.unwrap();
    let client = client(&cluster).await;
    produce(&client, "t", 0, 0..10).await;
    let query = |partition, spec| OffsetQuery::new("t", partition, spec);
    let queries = [
        query(0, OffsetSpec::Earliest),
        query(0, OffsetSpec::Latest),
        query(0, OffsetSpec::Timestamp(1004)),
        query(0, OffsetSpec::Timestamp(2000)),
        query(0, OffsetSpec::MaxTimestamp),
        query(1, OffsetSpec::Latest),
        query(1, OffsetSpec::MaxTimestamp),
        query(2, OffsetSpec::Latest),
    ];
    for isolation_level in [IsolationLevel::ReadCommitted, IsolationLevel::ReadUncommitted] {
        let before = Instant::now();
        let listed = client.list_offsets(&queries, isolation_level).await.unwrap();
        let offsets: Vec<_> = listed[..7].iter().map(|listed| listed.as_ref().unwrap().offset).collect();
        assert_eq!(offsets, [Some(0), Some(10), Some(4), None, Some(9), Some(0), None]);
        assert_eq!(listed[2].as_ref().unwrap().timestamp, Some(1004));
        let error = listed[7].as_ref().unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        assert_eq!((error.topic(), error.partition()), (Some("t"), Some(2)));
        assert!(before.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_moved_leader_is_asked_again_about_offsets() {
    let cluster = in_memory(2).topic("t", 2).start().await.unwrap();
    let client = client(&cluster).await;
    let moved = FaultAction::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    inject(&cluster, moved, |fault| fault.api(ApiKey::ListOffsets).times(2)).await;
    let queries = [0, 1].map(|partition| OffsetQuery::new("t", partition, OffsetSpec::Latest));
    let listed = client.list_offsets(&queries, IsolationLevel::ReadCommitted).await.unwrap();
    assert!(listed.iter().all(|listed| listed.as_ref().unwrap().offset == Some(0)));
}

#[tokio::test(start_paused = true)]
async fn the_cluster_is_described() {
    let cluster = in_memory(3).start().await.unwrap();
    let description = client(&cluster).await.admin().describe_cluster().await.unwrap();
    let ids: Vec<i32> = description.brokers.iter().map(|described| described.broker.id).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert!(description.cluster_id.is_some() && description.controller_id.is_some());
}
