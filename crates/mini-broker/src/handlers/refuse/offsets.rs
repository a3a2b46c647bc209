//! Errors for the APIs that deal with offsets and coordinators.

use kcopy_wire::{
    ErrorCode,
    messages::{
        FindCoordinatorResponse, InitProducerIdResponse, ListOffsetsResponse, OffsetCommitResponse,
        OffsetDeleteResponse, OffsetFetchResponse, OffsetForLeaderEpochResponse,
        find_coordinator_response::Coordinator,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
        },
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use crate::handlers::{Context, RequestBody, ResponseBody};

pub(super) fn refuse(
    context: &Context,
    request: &RequestBody,
    error_code: ErrorCode,
) -> Option<ResponseBody> {
    Some(match request {
        RequestBody::ListOffsets(request) => {
            let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| ListOffsetsPartitionResponse {
                        partition_index: partition.partition_index,
                        error_code,
                        ..ListOffsetsPartitionResponse::default()
                    })
                    .collect(),
                ..ListOffsetsTopicResponse::default()
            });
            ResponseBody::ListOffsets(ListOffsetsResponse {
                topics: topics.collect(),
                ..ListOffsetsResponse::default()
            })
        }
        RequestBody::OffsetCommit(request) => {
            let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| OffsetCommitResponsePartition {
                        partition_index: partition.partition_index,
                        error_code,
                        ..OffsetCommitResponsePartition::default()
                    })
                    .collect(),
                ..OffsetCommitResponseTopic::default()
            });
            ResponseBody::OffsetCommit(OffsetCommitResponse {
                topics: topics.collect(),
                ..OffsetCommitResponse::default()
            })
        }
        RequestBody::OffsetFetch(request) if context.version >= 8 => {
            let groups = request.groups.iter().map(|group| OffsetFetchResponseGroup {
                group_id: group.group_id.clone(),
                error_code,
                ..OffsetFetchResponseGroup::default()
            });
            ResponseBody::OffsetFetch(OffsetFetchResponse {
                groups: groups.collect(),
                ..OffsetFetchResponse::default()
            })
        }
        RequestBody::OffsetFetch(request) => {
            let topics = request.topics.iter().flatten().map(|topic| OffsetFetchResponseTopic {
                name: topic.name.clone(),
                partitions: topic
                    .partition_indexes
                    .iter()
                    .map(|partition_index| OffsetFetchResponsePartition {
                        partition_index: *partition_index,
                        committed_offset: -1,
                        error_code,
                        ..OffsetFetchResponsePartition::default()
                    })
                    .collect(),
                ..OffsetFetchResponseTopic::default()
            });
            ResponseBody::OffsetFetch(OffsetFetchResponse {
                error_code,
                topics: topics.collect(),
                ..OffsetFetchResponse::default()
            })
        }
        RequestBody::FindCoordinator(request) if context.version >= 4 => {
            let coordinators = request.coordinator_keys.iter().map(|key| Coordinator {
                key: key.clone(),
                node_id: -1,
                port: -1,
                error_code,
                ..Coordinator::default()
            });
            ResponseBody::FindCoordinator(FindCoordinatorResponse {
                coordinators: coordinators.collect(),
                ..FindCoordinatorResponse::default()
            })
        }
        RequestBody::FindCoordinator(_) => ResponseBody::FindCoordinator(FindCoordinatorResponse {
            error_code,
            node_id: -1,
            port: -1,
            ..FindCoordinatorResponse::default()
        }),
        RequestBody::InitProducerId(_) => ResponseBody::InitProducerId(InitProducerIdResponse {
            error_code,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdResponse::default()
        }),
        RequestBody::OffsetDelete(_) => {
            ResponseBody::OffsetDelete(OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() })
        }
        RequestBody::OffsetForLeaderEpoch(request) => {
            let topics = request.topics.iter().map(|topic| OffsetForLeaderTopicResult {
                topic: topic.topic.clone(),
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| EpochEndOffset {
                        error_code,
                        partition: partition.partition,
                        ..EpochEndOffset::default()
                    })
                    .collect(),
                ..OffsetForLeaderTopicResult::default()
            });
            ResponseBody::OffsetForLeaderEpoch(OffsetForLeaderEpochResponse {
                topics: topics.collect(),
                ..OffsetForLeaderEpochResponse::default()
            })
        }
        _ => return None,
    })
}
