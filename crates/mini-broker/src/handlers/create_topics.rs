//! CreateTopics (key 19), versions 2-7.
//!
//! Any broker takes it: Kafka's brokers forward it to the controller.
//!
//! - 4: -1 asks for the default number of partitions and replicas (KIP-464)
//! - 5: the answer tells number of partitions, replicas and configuration (KIP-525)
//! - 7: topic ids

use std::collections::{BTreeMap, BTreeSet};

use kcopy_wire::{
    ErrorCode, Str,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse,
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic},
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
};

use super::Context;
use crate::cluster::{Cluster, Refused};

/// Partitions per request, as Kafka's controller limits them.
pub(crate) const MAX_PARTITIONS: i64 = 10_000;

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut seen: BTreeSet<&Str> = BTreeSet::new();
    let mut repeated: BTreeSet<&Str> = BTreeSet::new();
    for topic in &request.topics {
        if !seen.insert(&topic.name) {
            repeated.insert(&topic.name);
        }
    }
    // All names are checked against the topics of before the request: two new ones may well collide.
    let checked: Vec<Result<(), Refused>> =
        request.topics.iter().map(|topic| cluster.check_new_topic(&topic.name)).collect();
    let partitions: i64 = request.topics.iter().map(|topic| i64::from(topic.num_partitions.max(0))).sum();
    let mut response = CreateTopicsResponse::default();
    for (topic, checked) in request.topics.iter().zip(checked) {
        if repeated.contains(&topic.name) && response.topics.iter().any(|done| done.name == topic.name) {
            continue;
        }
        let created = if repeated.contains(&topic.name) {
            Err(Refused::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."))
        } else if topic.name == "__cluster_metadata" {
            let message = format!("Creation of internal topic {} is prohibited.", topic.name);
            Err(Refused::new(ErrorCode::INVALID_REQUEST, message))
        } else if partitions > MAX_PARTITIONS {
            let message = "Excessively large number of partitions per request.";
            Err(Refused::new(ErrorCode::POLICY_VIOLATION, message))
        } else {
            checked.and_then(|()| create(cluster, context, topic, request.validate_only))
        };
        response.topics.push(created.unwrap_or_else(|refused| CreatableTopicResult {
            name: topic.name.clone(),
            error_code: refused.error,
            error_message: Some(refused.message.into()),
            configs: Some(Vec::new()),
            ..CreatableTopicResult::default()
        }));
    }
    response
}

fn create(
    cluster: &mut Cluster,
    context: &Context,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<CreatableTopicResult, Refused> {
    let properties = properties_of(topic)?;
    cluster
        .configs
        .check_topic(&properties)
        .map_err(|error| Refused::new(ErrorCode::INVALID_CONFIG, error.to_string()))?;
    let placement = if topic.assignments.is_empty() {
        let (partitions, replicas) = counts(cluster, topic)?;
        cluster.place(partitions, replicas)?
    } else {
        placement_by_hand(cluster, topic)?
    };
    let entries = cluster.configs.describe_topic(&properties, context.node_id);
    let mut answer = CreatableTopicResult {
        name: topic.name.clone(),
        error_message: None,
        num_partitions: i32::try_from(placement.len()).unwrap_or(i32::MAX),
        replication_factor: placement
            .first()
            .and_then(|replicas| i16::try_from(replicas.len()).ok())
            .unwrap_or(-1),
        configs: Some(
            entries
                .into_iter()
                .map(|entry| CreatableTopicConfigs {
                    name: entry.name.into(),
                    value: entry.value.map(Into::into),
                    read_only: entry.read_only,
                    config_source: entry.source as i8,
                    is_sensitive: entry.sensitive,
                    ..CreatableTopicConfigs::default()
                })
                .collect(),
        ),
        ..CreatableTopicResult::default()
    };
    if !validate_only {
        answer.topic_id = cluster.create_topic(&topic.name, placement, properties).id;
    }
    Ok(answer)
}

fn properties_of(topic: &CreatableTopic) -> Result<BTreeMap<String, String>, Refused> {
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|config| config.value.is_none()).map(|config| &*config.name).collect();
    if !nulls.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(Refused::new(ErrorCode::INVALID_CONFIG, message));
    }
    let pairs = topic.configs.iter().map(|config| {
        let value = config.value.as_deref().unwrap_or_default();
        (config.name.to_string(), value.to_owned())
    });
    Ok(pairs.collect())
}

/// The number of partitions and of replicas, with the defaults for -1.
fn counts(cluster: &Cluster, topic: &CreatableTopic) -> Result<(i32, i16), Refused> {
    let replicas = match topic.replication_factor {
        -1 => i16::try_from(cluster.configs.number("default.replication.factor", None)).unwrap_or(1),
        1.. => topic.replication_factor,
        _ => {
            let message = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(Refused::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
        }
    };
    let partitions = match topic.num_partitions {
        -1 => i32::try_from(cluster.configs.number("num.partitions", None)).unwrap_or(1),
        1.. => topic.num_partitions,
        _ => {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(Refused::new(ErrorCode::INVALID_PARTITIONS, message));
        }
    };
    Ok((partitions, replicas))
}

fn placement_by_hand(cluster: &Cluster, topic: &CreatableTopic) -> Result<Vec<Vec<i32>>, Refused> {
    let unset = |what: &str| {
        let message = format!("A manual partition assignment was specified, but {what} was not set to -1.");
        Refused::new(ErrorCode::INVALID_REQUEST, message)
    };
    if topic.replication_factor != -1 {
        return Err(unset("replication factor"));
    }
    if topic.num_partitions != -1 {
        return Err(unset("numPartitions"));
    }
    let invalid = |message: String| Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
    let mut placement = BTreeMap::new();
    for assignment in &topic.assignments {
        let CreatableReplicaAssignment { partition_index, broker_ids, .. } = assignment;
        if placement.insert(*partition_index, broker_ids.clone()).is_some() {
            return Err(invalid(format!(
                "Found multiple manual partition assignments for partition {partition_index}"
            )));
        }
    }
    let replicas = placement.values().next().map_or(0, Vec::len);
    for broker_ids in placement.values() {
        check_replicas(cluster, broker_ids, replicas)?;
    }
    let consecutive = placement.keys().zip(0..).all(|(index, place)| *index == place);
    if !consecutive {
        return Err(invalid("partitions should be a consecutive 0-based integer sequence".into()));
    }
    Ok(placement.into_values().collect())
}

/// Checks replicas that a client placed.
pub(crate) fn check_replicas(cluster: &Cluster, broker_ids: &[i32], wanted: usize) -> Result<(), Refused> {
    let prefix = "The manual partition assignment includes";
    let message = if broker_ids.is_empty() {
        format!("{prefix} an empty replica list.")
    } else if let Some(id) = broker_ids.iter().find(|id| !cluster.nodes.contains_key(id)) {
        format!("{prefix} broker {id}, but no such broker is registered.")
    } else if let Some(id) = first_repeated(broker_ids) {
        format!("{prefix} the broker {id} more than once.")
    } else if broker_ids.len() != wanted {
        format!(
            "{prefix} a partition with {} replica(s), but this is not consistent with previous partitions, which have {wanted} replica(s).",
            broker_ids.len()
        )
    } else {
        return Ok(());
    };
    Err(Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message))
}

fn first_repeated(ids: &[i32]) -> Option<i32> {
    let mut seen = BTreeSet::new();
    ids.iter().copied().find(|id| !seen.insert(*id))
}
