//! OffsetForLeaderEpoch (key 23), versions 2-4.
//!
//! Where a leader epoch ended: how a client notices that records it has read were truncated (KIP-320).
//!
//! - 2: fencing by the client's leader epoch
//! - 3: replica id

use kcopy_wire::{
    ErrorCode,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::OffsetForLeaderPartition,
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use super::Context;
use crate::cluster::Cluster;

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let found = find(cluster, context, &topic.topic, wanted);
            let error_code = found.err().unwrap_or(ErrorCode::NONE);
            let (leader_epoch, end_offset) = found.ok().flatten().unwrap_or((-1, -1));
            EpochEndOffset {
                error_code,
                partition: wanted.partition,
                leader_epoch,
                end_offset,
                ..EpochEndOffset::default()
            }
        });
        OffsetForLeaderTopicResult {
            partitions: partitions.collect(),
            topic: topic.topic.clone(),
            ..OffsetForLeaderTopicResult::default()
        }
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..OffsetForLeaderEpochResponse::default() }
}

fn find(
    cluster: &Cluster,
    context: &Context,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, ErrorCode> {
    let partition = cluster
        .topics
        .get(topic)
        .and_then(|topic| topic.partition(wanted.partition))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let client_epoch = (wanted.current_leader_epoch >= 0).then_some(wanted.current_leader_epoch);
    partition.check_leader(context.node_id, client_epoch)?;
    if wanted.leader_epoch < 0 {
        return Ok(None);
    }
    Ok(partition.log.end_of_epoch(wanted.leader_epoch, partition.leader_epoch))
}
