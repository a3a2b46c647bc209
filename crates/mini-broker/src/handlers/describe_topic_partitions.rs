//! DescribeTopicPartitions (key 75), version 0 (KIP-966).
//!
//! Topics in the order of their names, at most `response_partition_limit` partitions at a time; a cursor says where to
//! go on.

use kcopy_wire::{
    ErrorCode, Str,
    messages::{
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
};

use super::{Context, metadata::ALL_TOPIC_OPERATIONS};
use crate::cluster::{
    Cluster,
    topics::{Topic, check_name, is_internal},
};

/// The largest `max.request.partition.size.limit` by default.
const MOST_PARTITIONS: usize = 2000;

pub(crate) fn handle(
    cluster: &mut Cluster,
    _: &Context,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let mut names: Vec<Str> = if request.topics.is_empty() {
        cluster.topics.iter().map(|topic| topic.name.clone()).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.clone()).collect()
    };
    names.sort();
    names.dedup();
    let (first_topic, first_partition) = match &request.cursor {
        None => (Str::default(), 0),
        Some(cursor) => (cursor.topic_name.clone(), usize::try_from(cursor.partition_index).unwrap_or(0)),
    };
    // Kafka fails the whole request over an empty name or a bad cursor.
    let bad_cursor = request.cursor.as_ref().is_some_and(|cursor| {
        let nothing_left = names.iter().all(|name| *name < cursor.topic_name);
        let passed_over = names.iter().any(|name| *name < cursor.topic_name);
        cursor.partition_index < 0 || (!request.topics.is_empty() && (nothing_left || passed_over))
    });
    if bad_cursor || names.iter().any(|name| name.is_empty()) {
        let error = if bad_cursor { ErrorCode::INVALID_REQUEST } else { ErrorCode::UNKNOWN_SERVER_ERROR };
        return DescribeTopicPartitionsResponse {
            topics: names.into_iter().map(|name| failed(name, error)).collect(),
            ..DescribeTopicPartitionsResponse::default()
        };
    }
    names.retain(|name| *name >= first_topic);
    let mut room = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, MOST_PARTITIONS);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let Some(topic) = cluster.topics.get(&name) else {
            let error = match check_name(&name) {
                Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
            };
            response.topics.push(DescribeTopicPartitionsResponseTopic {
                topic_authorized_operations: ALL_TOPIC_OPERATIONS,
                ..failed(name, error)
            });
            continue;
        };
        let from = if name == first_topic { first_partition } else { 0 };
        if room == 0 {
            response.next_cursor = Some(cursor(name, 0));
            break;
        }
        let described = describe(cluster, topic, from, room);
        room -= described.partitions.len();
        let next = from + described.partitions.len();
        response.topics.push(described);
        if next < topic.partitions.len() {
            response.next_cursor = Some(cursor(name, next));
            break;
        }
    }
    response
}

fn cursor(topic_name: Str, partition: usize) -> Cursor {
    Cursor { topic_name, partition_index: i32::try_from(partition).unwrap_or(i32::MAX), ..Cursor::default() }
}

fn failed(name: Str, error_code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code,
        name: Some(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn describe(
    cluster: &Cluster,
    topic: &Topic,
    from: usize,
    most: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let partitions = (0..).zip(&topic.partitions).skip(from).take(most);
    let partitions = partitions.map(|(partition_index, partition)| {
        let offline = partition.replicas.iter().copied().filter(|id| !cluster.is_online(*id));
        DescribeTopicPartitionsResponsePartition {
            error_code: if partition.leader.is_some() {
                ErrorCode::NONE
            } else {
                ErrorCode::LEADER_NOT_AVAILABLE
            },
            partition_index,
            leader_id: partition.leader.unwrap_or(-1),
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.clone(),
            isr_nodes: partition.isr.clone(),
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            offline_replicas: offline.collect(),
            ..DescribeTopicPartitionsResponsePartition::default()
        }
    });
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: ALL_TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}
