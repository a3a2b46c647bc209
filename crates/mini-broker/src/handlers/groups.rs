//! ListGroups (key 16, versions 0-5), DescribeGroups (15, 0-6), DeleteGroups (42, 0-3), OffsetDelete (47, version 0).
//!
//! Groups have no members yet: each is an empty classic group without a protocol. A broker answers for the groups that
//! it coordinates.

use std::collections::BTreeSet;

use kcopy_wire::{
    ErrorCode, Str,
    messages::{
        DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
        ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse,
        delete_groups_response::DeletableGroupResult,
        describe_groups_response::DescribedGroup,
        list_groups_response::ListedGroup,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};

use super::Context;
use crate::cluster::Cluster;

const EMPTY: &str = "Empty";
const DEAD: &str = "Dead";
const CLASSIC: &str = "classic";
/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
const ALL_GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

pub(crate) fn list(
    cluster: &mut Cluster,
    context: &Context,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let allows = |filter: &[Str], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let mut response = ListGroupsResponse::default();
    if !allows(&request.states_filter, EMPTY) || !allows(&request.types_filter, CLASSIC) {
        return response;
    }
    let here = cluster.groups.by_id.keys().filter(|id| cluster.coordinator(id) == Some(context.node_id));
    response.groups = here
        .map(|id| ListedGroup {
            group_id: id.clone(),
            group_state: EMPTY.into(),
            group_type: CLASSIC.into(),
            ..ListedGroup::default()
        })
        .collect();
    response
}

pub(crate) fn describe(
    cluster: &mut Cluster,
    context: &Context,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let groups = request.groups.iter().map(|id| {
        let mut described =
            DescribedGroup { group_id: id.clone(), group_state: DEAD.into(), ..DescribedGroup::default() };
        if let Err(error) = cluster.check_coordinator(id, context.node_id) {
            described.error_code = error;
            described.group_state = Str::default();
        } else if cluster.groups.get(id).is_some() {
            described.group_state = EMPTY.into();
        } else if context.version >= 6 {
            // Before version 6 a group that does not exist is one that is dead (KIP-1043).
            described.error_code = ErrorCode::GROUP_ID_NOT_FOUND;
            described.error_message = Some(format!("Group {id} not found.").into());
        }
        if request.include_authorized_operations && described.error_code.is_ok() {
            described.authorized_operations = ALL_GROUP_OPERATIONS;
        }
        described
    });
    DescribeGroupsResponse { groups: groups.collect(), ..DescribeGroupsResponse::default() }
}

pub(crate) fn delete(
    cluster: &mut Cluster,
    context: &Context,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut response = DeleteGroupsResponse::default();
    let mut seen = BTreeSet::new();
    for id in request.groups_names {
        if !seen.insert(id.clone()) {
            continue;
        }
        let deleted = cluster.check_coordinator(&id, context.node_id).and_then(|()| {
            let removed = cluster.groups.by_id.remove(&id);
            removed.map(drop).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)
        });
        response.results.push(DeletableGroupResult {
            error_code: deleted.err().unwrap_or(ErrorCode::NONE),
            group_id: id,
            ..DeletableGroupResult::default()
        });
    }
    response
}

pub(crate) fn delete_offsets(
    cluster: &mut Cluster,
    context: &Context,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let checked = if request.group_id.is_empty() {
        Err(ErrorCode::INVALID_GROUP_ID)
    } else {
        cluster.check_coordinator(&request.group_id, context.node_id)
    };
    let found = checked.and_then(|()| {
        let group = cluster.groups.get_mut(&request.group_id);
        group.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)
    });
    let group = match found {
        Ok(group) => group,
        Err(error_code) => {
            return OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() };
        }
    };
    let mut response = OffsetDeleteResponse::default();
    for topic in &request.topics {
        let exists = |partition: i32| {
            let topic = cluster.topics.get(&topic.name);
            topic.is_some_and(|topic| topic.partition(partition).is_some())
        };
        let partitions = topic.partitions.iter().map(|wanted| {
            let index = wanted.partition_index;
            let error_code = if exists(index) {
                group.offsets.remove(&(topic.name.clone(), index));
                ErrorCode::NONE
            } else {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            };
            OffsetDeleteResponsePartition { partition_index: index, error_code }
        });
        response
            .topics
            .push(OffsetDeleteResponseTopic { partitions: partitions.collect(), name: topic.name.clone() });
    }
    if group.offsets.is_empty() {
        cluster.groups.by_id.remove(&request.group_id);
    }
    response
}
