//! Metadata (key 3), versions 0-13.
//!
//! Version 0 asks for all topics with an empty list, later ones with null. A topic that does not exist is created if
//! the client and `auto.create.topics.enable` allow it, and answered with UNKNOWN_TOPIC_OR_PARTITION this once, as
//! Kafka does while the creation is under way.
//!
//! - 4: `allow_auto_topic_creation`
//! - 8: authorized operations; 11 drops those of the cluster
//! - 10: topic ids, 12: topics may be asked for by id
//! - 13: a top-level error (KIP-1102)

use std::collections::{BTreeMap, BTreeSet};

use kcopy_wire::{
    ErrorCode, Str, Uuid,
    messages::{
        MetadataRequest, MetadataResponse,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
};

use super::Context;
use crate::cluster::{
    Cluster,
    topics::{Topic, check_name, is_internal},
};

/// Without an authorizer every operation is allowed: READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS,
/// ALTER_CONFIGS.
pub(crate) const ALL_TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.
pub(crate) const ALL_CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

pub(crate) fn handle(cluster: &mut Cluster, context: &Context, request: MetadataRequest) -> MetadataResponse {
    let mut response = MetadataResponse {
        brokers: cluster
            .online_nodes()
            .map(|node| MetadataResponseBroker {
                node_id: node.id,
                host: node.host.as_str().into(),
                port: i32::from(node.port),
                rack: node.rack.as_deref().map(Into::into),
                ..MetadataResponseBroker::default()
            })
            .collect(),
        cluster_id: Some(cluster.cluster_id.clone()),
        controller_id: cluster.controller_id,
        ..MetadataResponse::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = ALL_CLUSTER_OPERATIONS;
    }
    let with_operations = request.include_topic_authorized_operations;
    let wanted = request.topics.filter(|topics| context.version > 0 || !topics.is_empty());
    let Some(wanted) = wanted else {
        response.topics = cluster.topics.iter().map(|topic| describe(cluster, topic)).collect();
        allow_all(&mut response.topics, with_operations);
        return response;
    };
    if let Some(error) = refusal(context, &wanted) {
        let topics = wanted.into_iter().map(|topic| {
            let name = topic.name.or(Some(Str::default()));
            failed(name, topic.topic_id, error)
        });
        return MetadataResponse { topics: topics.collect(), ..MetadataResponse::default() };
    }
    let mut seen = BTreeSet::new();
    for topic in wanted {
        if !seen.insert((topic.name.clone(), topic.topic_id)) {
            continue;
        }
        let answer = match &topic.name {
            Some(name) if topic.topic_id.is_zero() => {
                by_name(cluster, name, request.allow_auto_topic_creation)
            }
            _ => by_id(cluster, topic.topic_id),
        };
        response.topics.push(answer);
    }
    allow_all(&mut response.topics, with_operations);
    response
}

/// Kafka tells what is allowed of everything that has a name, topics that do not exist included.
fn allow_all(topics: &mut [MetadataResponseTopic], with_operations: bool) {
    for topic in topics.iter_mut().filter(|topic| with_operations && topic.name.is_some()) {
        topic.topic_authorized_operations = ALL_TOPIC_OPERATIONS;
    }
}

/// Whether the request as a whole cannot be answered. Versions 10 and 11 have topic ids, but not as a question.
fn refusal(context: &Context, wanted: &[MetadataRequestTopic]) -> Option<ErrorCode> {
    let by_id = |topic: &MetadataRequestTopic| topic.name.is_none() || !topic.topic_id.is_zero();
    if context.version < 12 && wanted.iter().any(by_id) {
        return Some(ErrorCode::INVALID_REQUEST);
    }
    let neither = |topic: &MetadataRequestTopic| topic.name.is_none() && topic.topic_id.is_zero();
    wanted.iter().any(neither).then_some(ErrorCode::UNKNOWN_SERVER_ERROR)
}

fn by_id(cluster: &Cluster, id: Uuid) -> MetadataResponseTopic {
    match cluster.topics.name_of(&id).and_then(|name| cluster.topics.get(name)) {
        Some(topic) => describe(cluster, topic),
        None => failed(None, id, ErrorCode::UNKNOWN_TOPIC_ID),
    }
}

fn by_name(cluster: &mut Cluster, name: &Str, may_create: bool) -> MetadataResponseTopic {
    if let Some(topic) = cluster.topics.get(name) {
        return describe(cluster, topic);
    }
    let error = if check_name(name).is_err() {
        ErrorCode::INVALID_TOPIC_EXCEPTION
    } else if may_create && cluster.configs.boolean("auto.create.topics.enable") {
        auto_create(cluster, name)
    } else {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    };
    failed(Some(name.clone()), Uuid::ZERO, error)
}

/// Creates a topic with the brokers' defaults; the error is for this answer, the next one finds the topic.
fn auto_create(cluster: &mut Cluster, name: &str) -> ErrorCode {
    if let Err(refused) = cluster.check_new_topic(name) {
        return refused.error;
    }
    let partitions = i32::try_from(cluster.configs.number("num.partitions", None)).unwrap_or(1);
    let replication = i16::try_from(cluster.configs.number("default.replication.factor", None)).unwrap_or(1);
    match cluster.place(partitions, replication) {
        Ok(placement) => {
            cluster.create_topic(name, placement, BTreeMap::new());
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        }
        Err(refused) => refused.error,
    }
}

fn failed(name: Option<Str>, topic_id: Uuid, error_code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code, name, topic_id, ..MetadataResponseTopic::default() }
}

fn describe(cluster: &Cluster, topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0..).zip(&topic.partitions).map(|(partition_index, partition)| {
        let offline = partition.replicas.iter().copied().filter(|id| !cluster.is_online(*id));
        MetadataResponsePartition {
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
            offline_replicas: offline.collect(),
            ..MetadataResponsePartition::default()
        }
    });
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        ..MetadataResponseTopic::default()
    }
}
