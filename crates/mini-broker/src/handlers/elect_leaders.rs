//! ElectLeaders (key 43), versions 0-2.
//!
//! Gives partitions back to their preferred replica, or elects a leader where there is none.
//!
//! - 1: election types (KIP-460)

use kcopy_wire::{
    ErrorCode, Str,
    messages::{
        ElectLeadersRequest, ElectLeadersResponse,
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
    },
};

use super::Context;
use crate::cluster::Cluster;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(crate) fn handle(
    cluster: &mut Cluster,
    _: &Context,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let everything = request.topic_partitions.is_none();
    let wanted: Vec<(Str, Vec<i32>)> = match request.topic_partitions {
        Some(topics) => topics.into_iter().map(|topic| (topic.topic, topic.partitions)).collect(),
        None => cluster
            .topics
            .iter()
            .map(|topic| (topic.name.clone(), (0..).take(topic.partitions.len()).collect()))
            .collect(),
    };
    let mut response = ElectLeadersResponse::default();
    if !matches!(request.election_type, PREFERRED | UNCLEAN) {
        response.error_code = ErrorCode::INVALID_REQUEST;
    }
    for (topic, partitions) in wanted {
        let mut result = ReplicaElectionResult { topic, ..ReplicaElectionResult::default() };
        for partition_id in partitions {
            let (error_code, error_message) =
                elect(cluster, &result.topic, partition_id, request.election_type);
            // Where all are asked for, only those are told of for which there was something to do.
            if everything && error_code == ErrorCode::ELECTION_NOT_NEEDED {
                continue;
            }
            result.partition_result.push(PartitionResult {
                partition_id,
                error_code,
                error_message: error_message.map(Into::into),
                ..PartitionResult::default()
            });
        }
        response.replica_election_results.push(result);
    }
    response
}

fn elect(cluster: &mut Cluster, topic: &str, index: i32, election_type: i8) -> (ErrorCode, Option<String>) {
    let Cluster { topics, nodes, waiting, .. } = cluster;
    let unknown = |what: String| (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(format!("No such {what}")));
    if !matches!(election_type, PREFERRED | UNCLEAN) {
        return (ErrorCode::INVALID_REQUEST, Some(format!("Unknown election type {election_type}")));
    }
    let Some(found) = topics.get_mut(topic) else {
        return unknown(format!("topic as {topic}"));
    };
    let Some(partition) = found.partition_mut(index) else {
        return unknown(format!("partition as {topic}-{index}"));
    };
    let is_online = |id: i32| nodes.get(&id).is_some_and(|node| node.online);
    let next = if election_type == PREFERRED {
        let preferred = partition.replicas.first().copied();
        if partition.leader.is_some() && partition.leader == preferred {
            return (
                ErrorCode::ELECTION_NOT_NEEDED,
                Some("Leader election not needed for topic partition.".into()),
            );
        }
        preferred.filter(|id| is_online(*id) && partition.isr.contains(id))
    } else {
        if partition.leader.is_some() {
            return (
                ErrorCode::ELECTION_NOT_NEEDED,
                Some("Leader election not needed for topic partition.".into()),
            );
        }
        partition.replicas.iter().copied().find(|id| is_online(*id))
    };
    let Some(leader) = next else {
        return if election_type == PREFERRED {
            (
                ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
                Some("The preferred leader was not available.".into()),
            )
        } else {
            (
                ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE,
                Some("Eligible topic partition leaders are not available.".into()),
            )
        };
    };
    if !partition.isr.contains(&leader) {
        partition.isr = vec![leader];
    }
    partition.lead(Some(leader));
    waiting.wake_all(&partition.waiters);
    (ErrorCode::NONE, None)
}
