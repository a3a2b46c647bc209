//! Errors for the administrative APIs.

use kcopy_wire::{
    ErrorCode,
    messages::{
        AlterConfigsResponse, CreatePartitionsResponse, CreateTopicsResponse, DeleteGroupsResponse,
        DeleteRecordsResponse, DeleteTopicsResponse, DescribeClusterResponse, DescribeConfigsResponse,
        DescribeGroupsResponse, DescribeLogDirsResponse, ElectLeadersResponse,
        IncrementalAlterConfigsResponse, ListConfigResourcesResponse, ListGroupsResponse,
        ListPartitionReassignmentsResponse, alter_configs_response,
        create_partitions_response::CreatePartitionsTopicResult,
        create_topics_response::CreatableTopicResult,
        delete_groups_response::DeletableGroupResult,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
        delete_topics_response::DeletableTopicResult,
        describe_configs_response::DescribeConfigsResult,
        describe_groups_response::DescribedGroup,
        incremental_alter_configs_response,
    },
};

use crate::handlers::{Context, RequestBody, ResponseBody};

pub(super) fn refuse(
    context: &Context,
    request: &RequestBody,
    error_code: ErrorCode,
) -> Option<ResponseBody> {
    topics(request, error_code)
        .or_else(|| configs(request, error_code))
        .or_else(|| at_the_top(context, request, error_code))
}

fn topics(request: &RequestBody, error_code: ErrorCode) -> Option<ResponseBody> {
    Some(match request {
        RequestBody::CreateTopics(request) => {
            let topics = request.topics.iter().map(|topic| CreatableTopicResult {
                name: topic.name.clone(),
                error_code,
                configs: None,
                ..CreatableTopicResult::default()
            });
            ResponseBody::CreateTopics(CreateTopicsResponse {
                topics: topics.collect(),
                ..CreateTopicsResponse::default()
            })
        }
        RequestBody::DeleteTopics(request) => {
            let by_state = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
            let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), Default::default()));
            let responses = by_state.chain(by_name).map(|(name, topic_id)| DeletableTopicResult {
                name,
                topic_id,
                error_code,
                ..DeletableTopicResult::default()
            });
            ResponseBody::DeleteTopics(DeleteTopicsResponse {
                responses: responses.collect(),
                ..DeleteTopicsResponse::default()
            })
        }
        RequestBody::CreatePartitions(request) => {
            let results = request.topics.iter().map(|topic| CreatePartitionsTopicResult {
                name: topic.name.clone(),
                error_code,
                ..CreatePartitionsTopicResult::default()
            });
            ResponseBody::CreatePartitions(CreatePartitionsResponse {
                results: results.collect(),
                ..CreatePartitionsResponse::default()
            })
        }
        RequestBody::DeleteRecords(request) => {
            let topics = request.topics.iter().map(|topic| DeleteRecordsTopicResult {
                name: topic.name.clone(),
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| DeleteRecordsPartitionResult {
                        partition_index: partition.partition_index,
                        low_watermark: -1,
                        error_code,
                        ..DeleteRecordsPartitionResult::default()
                    })
                    .collect(),
                ..DeleteRecordsTopicResult::default()
            });
            ResponseBody::DeleteRecords(DeleteRecordsResponse {
                topics: topics.collect(),
                ..DeleteRecordsResponse::default()
            })
        }
        _ => return None,
    })
}

fn configs(request: &RequestBody, error_code: ErrorCode) -> Option<ResponseBody> {
    Some(match request {
        RequestBody::DescribeConfigs(request) => {
            let results = request.resources.iter().map(|resource| DescribeConfigsResult {
                error_code,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                error_message: None,
                ..DescribeConfigsResult::default()
            });
            ResponseBody::DescribeConfigs(DescribeConfigsResponse {
                results: results.collect(),
                ..DescribeConfigsResponse::default()
            })
        }
        RequestBody::AlterConfigs(request) => {
            let responses = request.resources.iter().map(|resource| {
                alter_configs_response::AlterConfigsResourceResponse {
                    error_code,
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.clone(),
                    error_message: None,
                    ..Default::default()
                }
            });
            ResponseBody::AlterConfigs(AlterConfigsResponse {
                responses: responses.collect(),
                ..AlterConfigsResponse::default()
            })
        }
        RequestBody::IncrementalAlterConfigs(request) => {
            let responses = request.resources.iter().map(|resource| {
                incremental_alter_configs_response::AlterConfigsResourceResponse {
                    error_code,
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.clone(),
                    error_message: None,
                    ..Default::default()
                }
            });
            ResponseBody::IncrementalAlterConfigs(IncrementalAlterConfigsResponse {
                responses: responses.collect(),
                ..IncrementalAlterConfigsResponse::default()
            })
        }
        _ => return None,
    })
}

fn at_the_top(context: &Context, request: &RequestBody, error_code: ErrorCode) -> Option<ResponseBody> {
    Some(match request {
        RequestBody::DescribeGroups(request) => {
            let groups = request.groups.iter().map(|group_id| DescribedGroup {
                error_code,
                group_id: group_id.clone(),
                ..DescribedGroup::default()
            });
            ResponseBody::DescribeGroups(DescribeGroupsResponse {
                groups: groups.collect(),
                ..DescribeGroupsResponse::default()
            })
        }
        RequestBody::DeleteGroups(request) => {
            let results = request.groups_names.iter().map(|group_id| DeletableGroupResult {
                group_id: group_id.clone(),
                error_code,
                ..DeletableGroupResult::default()
            });
            ResponseBody::DeleteGroups(DeleteGroupsResponse {
                results: results.collect(),
                ..DeleteGroupsResponse::default()
            })
        }
        RequestBody::ListGroups(_) => {
            ResponseBody::ListGroups(ListGroupsResponse { error_code, ..ListGroupsResponse::default() })
        }
        RequestBody::DescribeCluster(_) => ResponseBody::DescribeCluster(DescribeClusterResponse {
            error_code,
            ..DescribeClusterResponse::default()
        }),
        RequestBody::ElectLeaders(_) if context.version > 0 => {
            ResponseBody::ElectLeaders(ElectLeadersResponse { error_code, ..ElectLeadersResponse::default() })
        }
        RequestBody::DescribeLogDirs(_) => ResponseBody::DescribeLogDirs(DescribeLogDirsResponse {
            error_code,
            ..DescribeLogDirsResponse::default()
        }),
        RequestBody::ListPartitionReassignments(_) => {
            ResponseBody::ListPartitionReassignments(ListPartitionReassignmentsResponse {
                error_code,
                error_message: None,
                ..ListPartitionReassignmentsResponse::default()
            })
        }
        RequestBody::ListConfigResources(_) => {
            ResponseBody::ListConfigResources(ListConfigResourcesResponse {
                error_code,
                ..ListConfigResourcesResponse::default()
            })
        }
        _ => return None,
    })
}
