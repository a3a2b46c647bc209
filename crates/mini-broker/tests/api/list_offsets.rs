//! ListOffsets and OffsetForLeaderEpoch.

use kcopy_wire::{
    ErrorCode,
    messages::{
        DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, delete_records_request,
        list_offsets_request, list_offsets_response, offset_for_leader_epoch_request,
    },
    records::{BatchBuilder, BatchOptions, Compression, Headers, ProducerStamp},
};

use crate::peer::{Peer, batch, builder};

async fn list(
    peer: &mut Peer,
    timestamp: i64,
    version: i16,
) -> list_offsets_response::ListOffsetsPartitionResponse {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![list_offsets_request::ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![list_offsets_request::ListOffsetsPartition {
                partition_index: 0,
                timestamp,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    peer.call(&request, version).await.topics[0].partitions[0].clone()
}

#[tokio::test(start_paused = true)]
async fn an_unknown_isolation_level_is_refused() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let partition = list_offsets_request::ListOffsetsPartition { timestamp: -1, ..Default::default() };
    let request = ListOffsetsRequest {
        isolation_level: 9,
        topics: vec![list_offsets_request::ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = Peer::connect(&cluster).await.call(&request, 7).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::UNKNOWN_SERVER_ERROR);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_cut_into_has_its_epoch() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.produce("t", 0, batch(&["a", "b", "c"])).await;
    let topic = delete_records_request::DeleteRecordsTopic {
        name: "t".into(),
        partitions: vec![delete_records_request::DeleteRecordsPartition { offset: 2, ..Default::default() }],
        ..Default::default()
    };
    peer.call(&DeleteRecordsRequest { topics: vec![topic], ..Default::default() }, 2).await;
    let answer = list(&mut peer, 0, 7).await;
    assert_eq!((answer.offset, answer.leader_epoch), (2, 0));
    // As Kafka has it, which knows the first record of the largest time, be it deleted.
    let answer = list(&mut peer, -3, 7).await;
    assert_eq!((answer.offset, answer.leader_epoch), (0, 0));
}

fn batch_at(compression: Compression, timestamps: &[i64]) -> bytes::Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::new(compression));
    for timestamp in timestamps {
        builder.append(*timestamp, None, Some(b"v"), Headers::EMPTY).unwrap();
    }
    builder.finish(ProducerStamp::NONE).unwrap()
}

#[tokio::test(start_paused = true)]
async fn offsets_are_found_by_time() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    let large = "x".repeat(20_000);
    peer.produce("t", 0, batch_at(Compression::None, &[100, 300, 200])).await;
    peer.produce("t", 0, batch_at(Compression::Zstd, &[150, 400, 400])).await;
    peer.produce("t", 0, crate::peer::batch_with(Compression::None, ProducerStamp::NONE, 350, &[&large]))
        .await;
    peer.produce("t", 0, batch_at(Compression::Gzip, &[500])).await;
    // timestamp, version, offset and timestamp of the answer
    let cases = [
        (-1, 7, 8, -1),
        (-2, 7, 0, -1),
        (-4, 8, 0, -1),
        (-5, 9, -1, -1),
        (-6, 11, -1, -1),
        (-3, 7, 7, 500),
        (0, 7, 0, 100),
        (100, 7, 0, 100),
        (101, 7, 1, 300),
        (301, 7, 4, 400),
        (400, 1, 4, 400),
        (401, 7, 7, 500),
        (501, 7, -1, -1),
    ];
    for (timestamp, version, offset, found) in cases {
        let answer = list(&mut peer, timestamp, version).await;
        assert_eq!(answer.error_code, ErrorCode::NONE, "{timestamp}");
        assert_eq!((answer.offset, answer.timestamp), (offset, found), "{timestamp}");
    }
    for (timestamp, version) in [(-3, 6), (-4, 7), (-5, 8), (-6, 10), (-7, 11)] {
        let answer = list(&mut peer, timestamp, version).await;
        assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION, "{timestamp}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_partition_has_no_times() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    for (timestamp, offset) in [(-1, 0), (-2, 0), (-3, -1), (5, -1)] {
        assert_eq!(list(&mut peer, timestamp, 7).await.offset, offset, "{timestamp}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_epoch_is_where_the_next_begins() {
    let cluster = builder().topic("t", 1).start().await.unwrap();
    let mut peer = Peer::connect(&cluster).await;
    peer.produce("t", 0, batch(&["a", "b"])).await;
    cluster.move_leader("t", 0, 1).await.unwrap();
    cluster.move_leader("t", 0, 1).await.unwrap();
    peer.produce("t", 0, batch(&["c"])).await;
    let mut ends = Vec::new();
    for leader_epoch in 0..4 {
        let request = OffsetForLeaderEpochRequest {
            topics: vec![offset_for_leader_epoch_request::OffsetForLeaderTopic {
                topic: "t".into(),
                partitions: vec![offset_for_leader_epoch_request::OffsetForLeaderPartition {
                    partition: 0,
                    leader_epoch,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = peer.call(&request, 4).await.topics[0].partitions[0].clone();
        ends.push((answer.leader_epoch, answer.end_offset));
    }
    assert_eq!(ends, [(0, 2), (0, 2), (2, 3), (-1, -1)]);
}
