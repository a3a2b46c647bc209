//! DeleteRecords (key 21), versions 0-2.
//!
//! Raises a partition's log start offset; -1 means the high watermark. Batches that straddle the new start stay, and
//! consumers skip their older records.

use std::collections::BTreeMap;

use kcopy_wire::{
    ErrorCode,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use super::Context;
use crate::cluster::{Cluster, topics::is_internal};

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut response = DeleteRecordsResponse::default();
    for topic in &request.topics {
        // The last mention of a partition counts.
        let offsets: BTreeMap<i32, i64> =
            topic.partitions.iter().map(|wanted| (wanted.partition_index, wanted.offset)).collect();
        let partitions = offsets.into_iter().map(|(partition_index, offset)| {
            let deleted = delete(cluster, context, &topic.name, partition_index, offset);
            DeleteRecordsPartitionResult {
                partition_index,
                low_watermark: deleted.unwrap_or(-1),
                error_code: deleted.err().unwrap_or(ErrorCode::NONE),
                ..DeleteRecordsPartitionResult::default()
            }
        });
        response.topics.push(DeleteRecordsTopicResult {
            partitions: partitions.collect(),
            name: topic.name.clone(),
            ..DeleteRecordsTopicResult::default()
        });
    }
    response
}

fn delete(
    cluster: &mut Cluster,
    context: &Context,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<i64, ErrorCode> {
    let found = cluster.topics.get_mut(topic);
    let found = found.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let deletes = !found.settings.compact || found.settings.deletes;
    let partition = found.partition_mut(partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    if is_internal(topic) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    partition.check_leader(context.node_id, None)?;
    if !deletes {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let high_watermark = partition.log.high_watermark();
    let offset = match offset {
        -1 => high_watermark,
        offset if (0..=high_watermark).contains(&offset) => offset,
        _ => return Err(ErrorCode::OFFSET_OUT_OF_RANGE),
    };
    let log_start_offset = partition.log.delete_records_before(offset);
    let waiters = partition.waiters.clone();
    cluster.waiting.wake_all(&waiters);
    Ok(log_start_offset)
}
