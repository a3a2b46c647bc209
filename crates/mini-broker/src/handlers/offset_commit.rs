//! OffsetCommit (key 8), versions 2-10.
//!
//! Groups have no members yet, so a commit comes from outside of any generation: generation -1 is accepted and
//! creates the group, anything else is refused.
//!
//! - 6: leader epochs (KIP-320)
//! - 7: static members
//! - 9: the new group protocol; GROUP_ID_NOT_FOUND instead of ILLEGAL_GENERATION
//! - 10: topic ids (KIP-848)

use kcopy_wire::{
    ErrorCode,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::OffsetCommitRequestPartition,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};

use super::Context;
use crate::cluster::{Cluster, groups::Committed};

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let refused = check_group(cluster, context, &request).err();
    let max_metadata = cluster.configs.number("offset.metadata.max.bytes", None);
    let max_metadata = usize::try_from(max_metadata).unwrap_or(0);
    let mut response = OffsetCommitResponse::default();
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let found = cluster.find_topic(context.version >= 10, &topic.name, topic.topic_id);
        let found = found.map(|topic| (topic.name.clone(), topic.partitions.len()));
        let mut commit = |wanted: &OffsetCommitRequestPartition| {
            let (name, partitions) = found.as_ref().map_err(|error| *error)?;
            let exists = usize::try_from(wanted.partition_index).is_ok_and(|index| index < *partitions);
            if !exists {
                return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            }
            if let Some(error) = refused {
                return Err(error);
            }
            let metadata = wanted.committed_metadata.clone().unwrap_or_default();
            if metadata.len() > max_metadata {
                return Err(ErrorCode::OFFSET_METADATA_TOO_LARGE);
            }
            let group = cluster.groups.by_id.entry(request.group_id.detach()).or_default();
            let committed = Committed {
                offset: wanted.committed_offset,
                leader_epoch: (wanted.committed_leader_epoch >= 0).then_some(wanted.committed_leader_epoch),
                metadata: metadata.detach(),
            };
            group.offsets.insert((name.clone(), wanted.partition_index), committed);
            Ok(())
        };
        let partitions = topic.partitions.iter().map(|wanted| OffsetCommitResponsePartition {
            partition_index: wanted.partition_index,
            error_code: commit(wanted).err().unwrap_or(ErrorCode::NONE),
            ..OffsetCommitResponsePartition::default()
        });
        response.topics.push(OffsetCommitResponseTopic {
            partitions: partitions.collect(),
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            ..OffsetCommitResponseTopic::default()
        });
    }
    response
}

fn check_group(cluster: &Cluster, context: &Context, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    cluster.check_coordinator(&request.group_id, context.node_id)?;
    if request.generation_id_or_member_epoch < 0 {
        return Ok(());
    }
    Err(match cluster.groups.get(&request.group_id) {
        Some(_) => ErrorCode::UNKNOWN_MEMBER_ID,
        None if context.version >= 9 => ErrorCode::GROUP_ID_NOT_FOUND,
        None => ErrorCode::ILLEGAL_GENERATION,
    })
}
