//! CreatePartitions (key 37), versions 0-3.
//!
//! Partitions can be added, never taken away.

use std::collections::BTreeSet;

use kcopy_wire::{
    ErrorCode,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
    },
};

use super::{
    Context,
    create_topics::{MAX_PARTITIONS, check_replicas},
};
use crate::cluster::{Cluster, Refused};

pub(crate) fn handle(
    cluster: &mut Cluster,
    _: &Context,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<_> =
        request.topics.iter().filter(|topic| !seen.insert(&topic.name)).map(|topic| &topic.name).collect();
    let mut response = CreatePartitionsResponse::default();
    for topic in &request.topics {
        let created = if repeated.contains(&topic.name) {
            if response.results.iter().any(|done| done.name == topic.name) {
                continue;
            }
            Err(Refused::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."))
        } else {
            create(cluster, topic, request.validate_only)
        };
        let (error_code, error_message) = match created {
            Ok(()) => (ErrorCode::NONE, None),
            Err(refused) if refused.message.is_empty() => (refused.error, None),
            Err(refused) => (refused.error, Some(refused.message.into())),
        };
        response.results.push(CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code,
            error_message,
            ..CreatePartitionsTopicResult::default()
        });
    }
    response
}

fn create(cluster: &mut Cluster, wanted: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refused> {
    let name = &wanted.name;
    let unknown = || Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "");
    let topic = cluster.topics.get(name).ok_or_else(unknown)?;
    let before = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let replicas = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
    let additional = wanted.count - before;
    let invalid = |message: String| Refused::new(ErrorCode::INVALID_PARTITIONS, message);
    if additional == 0 {
        return Err(invalid(format!("Topic already has {before} partition(s).")));
    }
    if wanted.count < before {
        return Err(invalid(format!(
            "The topic {name} currently has {before} partition(s); {} would not be an increase.",
            wanted.count
        )));
    }
    if i64::from(additional) > MAX_PARTITIONS {
        let message = "Excessively large number of additional partitions per request.";
        return Err(Refused::new(ErrorCode::POLICY_VIOLATION, message));
    }
    let placement = match &wanted.assignments {
        None => cluster.place(additional, i16::try_from(replicas).unwrap_or(1))?,
        Some(assignments) => {
            if usize::try_from(additional) != Ok(assignments.len()) {
                return Err(Refused::new(
                    ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                    format!(
                        "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                        assignments.len()
                    ),
                ));
            }
            for assignment in assignments {
                check_replicas(cluster, &assignment.broker_ids, replicas)?;
            }
            assignments.iter().map(|assignment| assignment.broker_ids.clone()).collect()
        }
    };
    if validate_only {
        return Ok(());
    }
    let partitions: Vec<_> = placement.into_iter().map(|replicas| cluster.new_partition(replicas)).collect();
    if let Some(topic) = cluster.topics.get_mut(name) {
        topic.partitions.extend(partitions);
    }
    Ok(())
}
