//! AlterConfigs (key 33), versions 0-2, and IncrementalAlterConfigs (key 44), versions 0-1 (KIP-339).
//!
//! The older API replaces everything that is set for a resource, the newer one sets, deletes, appends or subtracts
//! single properties. Each resource is changed wholly or not at all.

use std::collections::{BTreeMap, BTreeSet};

use kcopy_wire::{
    ErrorCode, Str,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse, alter_configs_response, incremental_alter_configs_response,
    },
};

use super::{
    Context,
    describe_configs::{CLIENT_METRICS, resource_type},
};
use crate::{
    cluster::{Cluster, Refused, topics::check_name},
    config::{BrokerConfigs, Kind, broker_row, group_row, topic_row},
};

type Properties = BTreeMap<String, String>;

/// One change of one property.
#[derive(Clone, Debug)]
struct Change {
    name: String,
    operation: Operation,
    value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
    Unknown(i8),
}

/// The changes of one resource.
struct Alteration {
    kind: i8,
    name: Str,
    changes: Vec<Change>,
    /// What is not mentioned is deleted.
    replaces: bool,
}

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let alterations: Vec<Alteration> = request
        .resources
        .into_iter()
        .map(|resource| Alteration {
            kind: resource.resource_type,
            name: resource.resource_name,
            changes: resource
                .configs
                .into_iter()
                .map(|config| Change {
                    name: config.name.into(),
                    operation: Operation::Set,
                    value: config.value.map(Into::into),
                })
                .collect(),
            replaces: true,
        })
        .collect();
    let answers = alter(cluster, context, &alterations, request.validate_only);
    let responses = alterations.into_iter().zip(answers).map(|(alteration, answer)| {
        let (error_code, error_message) = outcome(answer);
        alter_configs_response::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: alteration.kind,
            resource_name: alteration.name,
            ..Default::default()
        }
    });
    AlterConfigsResponse { responses: responses.collect(), ..AlterConfigsResponse::default() }
}

pub(crate) fn handle_incremental(
    cluster: &mut Cluster,
    context: &Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let alterations: Vec<Alteration> = request
        .resources
        .into_iter()
        .map(|resource| Alteration {
            kind: resource.resource_type,
            name: resource.resource_name,
            changes: resource
                .configs
                .into_iter()
                .map(|config| Change {
                    name: config.name.into(),
                    operation: match config.config_operation {
                        0 => Operation::Set,
                        1 => Operation::Delete,
                        2 => Operation::Append,
                        3 => Operation::Subtract,
                        other => Operation::Unknown(other),
                    },
                    value: config.value.map(Into::into),
                })
                .collect(),
            replaces: false,
        })
        .collect();
    let answers = alter(cluster, context, &alterations, request.validate_only);
    let responses = alterations.into_iter().zip(answers).map(|(alteration, answer)| {
        let (error_code, error_message) = outcome(answer);
        incremental_alter_configs_response::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: alteration.kind,
            resource_name: alteration.name,
            ..Default::default()
        }
    });
    IncrementalAlterConfigsResponse {
        responses: responses.collect(),
        ..IncrementalAlterConfigsResponse::default()
    }
}

fn outcome(answer: Result<(), Refused>) -> (ErrorCode, Option<Str>) {
    match answer {
        Ok(()) => (ErrorCode::NONE, None),
        Err(refused) if refused.message.is_empty() => (refused.error, None),
        Err(refused) => (refused.error, Some(refused.message.into())),
    }
}

fn alter(
    cluster: &mut Cluster,
    context: &Context,
    alterations: &[Alteration],
    validate_only: bool,
) -> Vec<Result<(), Refused>> {
    let mut answers = Vec::with_capacity(alterations.len());
    for alteration in alterations {
        let same = |other: &&Alteration| other.kind == alteration.kind && other.name == alteration.name;
        let answer = if alterations.iter().filter(same).count() > 1 {
            Err(invalid_request("Each resource must appear at most once."))
        } else {
            altered(cluster, context, alteration)
        };
        answers.push(answer.map(|properties| {
            if !validate_only {
                store(cluster, alteration, properties);
            }
        }));
    }
    if !validate_only {
        cluster.refresh_settings();
    }
    answers
}

fn invalid_request(message: impl Into<String>) -> Refused {
    Refused::new(ErrorCode::INVALID_REQUEST, message)
}

fn invalid_config(message: impl ToString) -> Refused {
    Refused::new(ErrorCode::INVALID_CONFIG, message.to_string())
}

/// The properties that a resource would have.
fn altered(cluster: &Cluster, context: &Context, alteration: &Alteration) -> Result<Properties, Refused> {
    check_form(alteration)?;
    let name = &*alteration.name;
    if alteration.kind == resource_type::BROKER && !name.is_empty() {
        check_node(name, context.node_id)?;
    }
    let before = current(cluster, alteration);
    let mut after = if alteration.replaces { Properties::new() } else { before.clone() };
    for change in &alteration.changes {
        apply(cluster, alteration, change, &before, &mut after)?;
    }
    match alteration.kind {
        resource_type::TOPIC => {
            if name.is_empty() {
                return Err(invalid_request("Default topic resources are not allowed."));
            }
            check_name(name).map_err(|message| Refused::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message))?;
            cluster.configs.check_topic(&after).map_err(invalid_config)?;
            if cluster.topics.get(name).is_none() {
                let message = format!("The topic '{name}' does not exist.");
                return Err(Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message));
            }
        }
        resource_type::BROKER => {
            let changed: Properties = after
                .iter()
                .filter(|(name, value)| before.get(*name) != Some(value))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            BrokerConfigs::check_dynamic(&changed).map_err(|error| invalid_request(error.to_string()))?;
        }
        resource_type::GROUP => {
            if name.is_empty() {
                return Err(invalid_request("Default group resources are not allowed."));
            }
            BrokerConfigs::check_group(&after).map_err(invalid_config)?;
        }
        resource_type::CLIENT_METRICS => check_client_metrics(name, &after)?,
        _ => {}
    }
    Ok(after)
}

fn check_client_metrics(name: &str, properties: &Properties) -> Result<(), Refused> {
    if name.is_empty() {
        return Err(invalid_request("Subscription name can't be empty"));
    }
    let known = |name: &String| CLIENT_METRICS.iter().any(|(known, _, _)| known == name);
    if let Some(unknown) = properties.keys().find(|name| !known(name)) {
        return Err(invalid_request(format!("Unknown client metrics configuration: {unknown}")));
    }
    let interval = properties.get("interval.ms");
    let fits = |value: &String| value.trim().parse().is_ok_and(|ms: i32| (100..=3_600_000).contains(&ms));
    match interval.filter(|value| !fits(value)) {
        Some(value) => Err(invalid_request(format!(
            "Invalid value {value} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
        ))),
        None => Ok(()),
    }
}

/// Checks what needs no state.
fn check_form(alteration: &Alteration) -> Result<(), Refused> {
    let mut names = BTreeSet::new();
    if !alteration.changes.iter().all(|change| names.insert(&change.name)) {
        return Err(invalid_request("Error due to duplicate config keys"));
    }
    let nulls: Vec<&str> = alteration
        .changes
        .iter()
        .filter(|change| change.value.is_none() && change.operation != Operation::Delete)
        .map(|change| change.name.as_str())
        .collect();
    if !nulls.is_empty() {
        return Err(invalid_request(format!("Null value not supported for : {}", nulls.join(", "))));
    }
    match alteration.kind {
        resource_type::TOPIC
        | resource_type::BROKER
        | resource_type::CLIENT_METRICS
        | resource_type::GROUP => Ok(()),
        resource_type::BROKER_LOGGER if !alteration.replaces => {
            let names = alteration.changes.first().map_or("", |change| change.name.as_str());
            Err(Refused::new(ErrorCode::INVALID_CONFIG, format!("Logger {names} does not exist!")))
        }
        kind => Err(invalid_request(format!("Unknown resource type {kind}"))),
    }
}

fn check_node(name: &str, node_id: i32) -> Result<(), Refused> {
    let id = name
        .parse::<i32>()
        .map_err(|_| invalid_request(format!("Node id must be an integer, but it is: {name}")))?;
    if id == node_id {
        return Ok(());
    }
    Err(invalid_request(format!("Unexpected broker id, expected {node_id}, but received {name}")))
}

fn apply(
    cluster: &Cluster,
    alteration: &Alteration,
    change: &Change,
    before: &Properties,
    after: &mut Properties,
) -> Result<(), Refused> {
    let value = change.value.clone().unwrap_or_default();
    match change.operation {
        Operation::Set => {
            after.insert(change.name.clone(), value);
        }
        Operation::Delete => {
            after.remove(&change.name);
        }
        Operation::Append | Operation::Subtract => {
            if !is_list(alteration.kind, &change.name) {
                let verb = if change.operation == Operation::Append { "APPEND" } else { "SUBTRACT" };
                return Err(invalid_config(format!(
                    "Can't {verb} to key {} because its type is not LIST.",
                    change.name
                )));
            }
            let old = before.get(&change.name).cloned().or_else(|| default_list(cluster, &change.name));
            let old = old.unwrap_or_default();
            let mut parts: Vec<&str> = old.split(',').filter(|part| !part.is_empty()).collect();
            for part in value.split(',') {
                match change.operation {
                    Operation::Append if !parts.contains(&part) => parts.push(part),
                    Operation::Subtract => parts.retain(|old| *old != part),
                    _ => {}
                }
            }
            after.insert(change.name.clone(), parts.join(","));
        }
        Operation::Unknown(operation) => {
            // Kafka stumbles over it where it does not validate brokers' properties.
            return Err(match alteration.kind {
                resource_type::BROKER => invalid_request(format!("Unknown operations type {operation}")),
                _ => Refused::new(ErrorCode::UNKNOWN_SERVER_ERROR, ""),
            });
        }
    }
    Ok(())
}

fn is_list(kind: i8, name: &str) -> bool {
    let kind = match kind {
        resource_type::TOPIC => topic_row(name).map(|row| row.1),
        resource_type::BROKER => broker_row(name).map(|row| row.1),
        resource_type::GROUP => group_row(name).map(|row| row.1),
        _ => None,
    };
    kind == Some(Kind::List)
}

fn default_list(cluster: &Cluster, name: &str) -> Option<String> {
    topic_row(name).and_then(|row| row.2).map(str::to_owned).or_else(|| cluster.configs.value(name, None))
}

fn current(cluster: &Cluster, alteration: &Alteration) -> Properties {
    let name = &*alteration.name;
    let found = match alteration.kind {
        resource_type::TOPIC => cluster.topics.get(name).map(|topic| &topic.properties),
        resource_type::BROKER if name.is_empty() => Some(&cluster.configs.dynamic_default),
        resource_type::BROKER => name.parse().ok().and_then(|id: i32| cluster.configs.dynamic.get(&id)),
        resource_type::GROUP => cluster.group_properties.get(name),
        resource_type::CLIENT_METRICS => cluster.client_metrics.get(name),
        _ => None,
    };
    found.cloned().unwrap_or_default()
}

fn store(cluster: &mut Cluster, alteration: &Alteration, properties: Properties) {
    let name = &*alteration.name;
    match alteration.kind {
        resource_type::TOPIC => {
            if let Some(topic) = cluster.topics.get_mut(name) {
                topic.properties = properties;
            }
        }
        resource_type::BROKER if name.is_empty() => cluster.configs.dynamic_default = properties,
        resource_type::BROKER => {
            if let Ok(id) = name.parse() {
                cluster.configs.dynamic.insert(id, properties);
            }
        }
        resource_type::GROUP => put(&mut cluster.group_properties, name, properties),
        resource_type::CLIENT_METRICS => put(&mut cluster.client_metrics, name, properties),
        _ => {}
    }
}

/// A resource without properties is none.
fn put(resources: &mut BTreeMap<String, Properties>, name: &str, properties: Properties) {
    if properties.is_empty() {
        resources.remove(name);
    } else {
        resources.insert(name.to_owned(), properties);
    }
}
