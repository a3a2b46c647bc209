//! OffsetFetch (key 9), versions 1-10.
//!
//! A partition without a commit has offset -1 and no error, whether or not group, topic or partition exist.
//!
//! - 2: null asks for all partitions
//! - 5: leader epochs
//! - 7: `require_stable`, without effect while there are no transactions
//! - 8: several groups (KIP-709)
//! - 9: members of the new protocol
//! - 10: topic ids (KIP-848)

use kcopy_wire::{
    ErrorCode, Str, Uuid,
    messages::{
        OffsetFetchRequest, OffsetFetchResponse,
        offset_fetch_request::OffsetFetchRequestGroup,
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
};

use super::Context;
use crate::cluster::{
    Cluster,
    groups::{Committed, Group},
};

/// Topics with partitions that are asked for: name, id, partition numbers.
type Wanted = Vec<(Str, Uuid, Vec<i32>)>;

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if context.version < 8 {
        return single(cluster, context, &request);
    }
    let groups = request.groups.iter().map(|group| fetch_group(cluster, context, group));
    OffsetFetchResponse { groups: groups.collect(), ..OffsetFetchResponse::default() }
}

fn fetch_group(
    cluster: &Cluster,
    context: &Context,
    wanted: &OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    let mut answer =
        OffsetFetchResponseGroup { group_id: wanted.group_id.clone(), ..OffsetFetchResponseGroup::default() };
    if let Err(error) = cluster.check_coordinator(&wanted.group_id, context.node_id) {
        answer.error_code = error;
        return answer;
    }
    let group = cluster.groups.get(&wanted.group_id);
    let topics: Wanted = match &wanted.topics {
        None => all_of(group),
        Some(topics) => topics
            .iter()
            .map(|topic| (topic.name.clone(), topic.topic_id, topic.partition_indexes.clone()))
            .collect(),
    };
    for (name, id, partitions) in topics {
        let by_id = context.version >= 10;
        // A request for everything names topics; an answer of version 10 needs their ids.
        let (name, id) = match (by_id, id.is_zero()) {
            (true, false) => (cluster.topics.name_of(&id).cloned(), id),
            (true, true) => {
                let id = cluster.topics.get(&name).map_or(Uuid::ZERO, |topic| topic.id);
                (Some(name).filter(|_| !id.is_zero()), id)
            }
            (false, _) => (Some(name), Uuid::ZERO),
        };
        let partitions = partitions.into_iter().map(|partition_index| {
            let Some(name) = &name else {
                return OffsetFetchResponsePartitions {
                    partition_index,
                    committed_offset: -1,
                    error_code: ErrorCode::UNKNOWN_TOPIC_ID,
                    ..OffsetFetchResponsePartitions::default()
                };
            };
            let committed = find(group, name, partition_index);
            OffsetFetchResponsePartitions {
                partition_index,
                committed_offset: committed.map_or(-1, |committed| committed.offset),
                committed_leader_epoch: committed.and_then(|committed| committed.leader_epoch).unwrap_or(-1),
                metadata: Some(committed.map_or_else(Str::default, |committed| committed.metadata.clone())),
                ..OffsetFetchResponsePartitions::default()
            }
        });
        answer.topics.push(OffsetFetchResponseTopics {
            partitions: partitions.collect(),
            name: if by_id { Str::default() } else { name.clone().unwrap_or_default() },
            topic_id: id,
            ..OffsetFetchResponseTopics::default()
        });
    }
    answer
}

fn single(cluster: &Cluster, context: &Context, request: &OffsetFetchRequest) -> OffsetFetchResponse {
    let group = cluster.groups.get(&request.group_id);
    let error =
        cluster.check_coordinator(&request.group_id, context.node_id).err().unwrap_or(ErrorCode::NONE);
    let wanted: Wanted = match &request.topics {
        None => all_of(group),
        Some(topics) => topics
            .iter()
            .map(|topic| (topic.name.clone(), Uuid::ZERO, topic.partition_indexes.clone()))
            .collect(),
    };
    let mut response = OffsetFetchResponse { error_code: error, ..OffsetFetchResponse::default() };
    // From version 2 on an error stands at the top; before, in each partition.
    if error.is_err() && context.version >= 2 {
        return response;
    }
    for (name, _, partitions) in wanted {
        let partitions = partitions.into_iter().map(|partition_index| {
            let committed = find(group, &name, partition_index).filter(|_| error.is_ok());
            OffsetFetchResponsePartition {
                partition_index,
                committed_offset: committed.map_or(-1, |committed| committed.offset),
                committed_leader_epoch: committed.and_then(|committed| committed.leader_epoch).unwrap_or(-1),
                metadata: Some(committed.map_or_else(Str::default, |committed| committed.metadata.clone())),
                error_code: error,
                ..OffsetFetchResponsePartition::default()
            }
        });
        response.topics.push(OffsetFetchResponseTopic {
            partitions: partitions.collect(),
            name,
            ..OffsetFetchResponseTopic::default()
        });
    }
    response
}

fn all_of(group: Option<&Group>) -> Wanted {
    group
        .map(Group::by_topic)
        .unwrap_or_default()
        .into_iter()
        .map(|(topic, partitions)| {
            let indexes = partitions.into_iter().map(|(partition, _)| partition);
            (topic.clone(), Uuid::ZERO, indexes.collect())
        })
        .collect()
}

fn find<'a>(group: Option<&'a Group>, topic: &Str, partition: i32) -> Option<&'a Committed> {
    group?.offsets.get(&(topic.clone(), partition))
}
