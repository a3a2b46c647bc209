//! DescribeQuorum (key 55), versions 0-2 (KIP-595).
//!
//! All brokers are voters of the metadata log, and the controller leads it. The log itself does not exist here; its end
//! is told as 0.
//!
//! - 2: directory ids and nodes (KIP-853)

use kcopy_wire::{
    ErrorCode,
    messages::{
        DescribeQuorumRequest, DescribeQuorumResponse,
        describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData},
    },
};

use super::Context;
use crate::cluster::Cluster;

const METADATA_TOPIC: &str = "__cluster_metadata";

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let now_ms = cluster.clock.now_ms();
    let voters = || {
        cluster.nodes.values().map(|node| ReplicaState {
            replica_id: node.id,
            last_fetch_timestamp: now_ms,
            last_caught_up_timestamp: now_ms,
            ..ReplicaState::default()
        })
    };
    let topics = request.topics.iter().map(|topic| TopicData {
        topic_name: topic.topic_name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| {
                if topic.topic_name != METADATA_TOPIC || partition.partition_index != 0 {
                    return PartitionData {
                        partition_index: partition.partition_index,
                        error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                        error_message: Some("This server does not host this topic-partition.".into()),
                        ..PartitionData::default()
                    };
                }
                PartitionData {
                    leader_id: cluster.controller_id,
                    leader_epoch: 1,
                    current_voters: voters().collect(),
                    ..PartitionData::default()
                }
            })
            .collect(),
        ..TopicData::default()
    });
    let mut response =
        DescribeQuorumResponse { topics: topics.collect(), ..DescribeQuorumResponse::default() };
    let partitions = || response.topics.iter().flat_map(|topic| &topic.partitions);
    let found = partitions().next().is_some() && partitions().all(|partition| partition.error_code.is_ok());
    if context.version >= 2 && found {
        let nodes = cluster.nodes.values().map(|node| Node {
            node_id: node.id,
            listeners: vec![Listener {
                name: "CONTROLLER".into(),
                host: node.host.as_str().into(),
                port: node.port,
                ..Listener::default()
            }],
            ..Node::default()
        });
        response.nodes = nodes.collect();
    }
    response
}
