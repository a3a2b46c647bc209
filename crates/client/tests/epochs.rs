//! Leader epochs against a cluster in memory.

mod common;

use std::time::Duration;

use common::*;
use kcopy_client::{Assignment, Client, ConsumerConfig, EndOffset, Event, StartOffset, wire::ErrorCode};
use kcopy_mini_broker::MiniCluster;
use tokio::time::timeout;

/// Another leader, in a new epoch; the log ends at `offset`.
async fn elect(cluster: &MiniCluster, offset: i64) {
    let leader = cluster.leader("t", 0).await.unwrap();
    let other = cluster.node_ids().find(|node| Some(*node) != leader).unwrap();
    assert_eq!(cluster.elect_uncleanly("t", 0, other, offset).await.unwrap(), offset);
}

async fn epoch_before(client: &Client, start: StartOffset) -> Option<i32> {
    let assignment = Assignment::new("t", 0, start);
    let ranges = client.resolve(&[assignment], &ConsumerConfig::default()).await.unwrap();
    client.epochs_before(&ranges).await.unwrap()[0]
}

#[tokio::test(start_paused = true)]
async fn the_epoch_before_an_offset_is_that_of_the_record_there() {
    let cluster = in_memory(2).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    assert_eq!(epoch_before(&client, StartOffset::Latest).await, None);
    // Epoch 0 has offsets 0 to 4; 3 has 5 to 7; 4 has 8; 9 has 9 to 11; no record is of another one.
    for (records, elections) in [(5, 3), (3, 1), (1, 5), (3, 4)] {
        let (_, end) = cluster.offsets("t", 0).await.unwrap();
        produce(&client, "t", 0, end as u64..end as u64 + records).await;
        for _ in 0..elections {
            elect(&cluster, end + records as i64).await;
        }
    }
    let expected = [(0, None), (1, Some(0)), (5, Some(0)), (6, Some(3)), (8, Some(3)), (9, Some(4))];
    for (offset, epoch) in expected.into_iter().chain([(10, Some(9)), (12, Some(9))]) {
        assert_eq!(epoch_before(&client, StartOffset::Offset(offset)).await, epoch, "{offset}");
    }
    assert_eq!(epoch_before(&client, StartOffset::Latest).await, Some(9));

    // A log that is cut short between the two questions.
    let assignment = Assignment::new("t", 0, StartOffset::Latest);
    let ranges = client.resolve(&[assignment], &ConsumerConfig::default()).await.unwrap();
    elect(&cluster, 8).await;
    let error = client.epochs_before(&ranges).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_epoch_without_records_is_no_other_log() {
    let cluster = in_memory(2).topic("t", 1).start().await.unwrap();
    let client = client(&cluster).await;
    produce(&client, "t", 0, 0..5).await;
    elect(&cluster, 5).await;
    let assignment = Assignment::new("t", 0, StartOffset::Latest).until(EndOffset::Never);
    let mut ranges = client.resolve(&[assignment], &ConsumerConfig::default()).await.unwrap();
    // That of the leader, who writes nothing: the next one knows nothing of it.
    ranges[0].last_epoch = ranges[0].leader_epoch;
    assert_eq!(ranges[0].last_epoch, Some(1));
    elect(&cluster, 5).await;
    produce(&client, "t", 0, 5..6).await;
    let mut consumer = client.consume(ranges, ConsumerConfig::default()).unwrap();
    loop {
        let event = timeout(Duration::from_secs(60), consumer.next()).await.unwrap().unwrap();
        if let Some(Event::Batch(batch)) = event {
            assert_eq!(batch.batch().batch().base_offset(), 5);
            break;
        }
    }
}
