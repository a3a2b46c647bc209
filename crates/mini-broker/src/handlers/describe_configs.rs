//! DescribeConfigs (key 32), versions 1-4.
//!
//! Brokers, topics, groups and client metrics. A broker describes itself, or with an empty name the cluster's dynamic
//! defaults. There are no documentation texts and no loggers.
//!
//! - 1: synonyms and sources
//! - 3: types and documentation

use kcopy_wire::{
    ErrorCode, Str,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
    },
};

use super::Context;
use crate::{
    cluster::{Cluster, Refused, topics::check_name},
    config::{Entry, Kind, Source, Synonym},
};

/// The kinds of things that have a configuration, by their numbers in requests.
pub(super) mod resource_type {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
    pub(crate) const BROKER_LOGGER: i8 = 8;
    pub(crate) const CLIENT_METRICS: i8 = 16;
    pub(crate) const GROUP: i8 = 32;
}

/// The properties of a client metrics subscription (KIP-714).
pub(super) static CLIENT_METRICS: [(&str, Kind, &str); 3] =
    [("interval.ms", Kind::Int, "300000"), ("match", Kind::List, ""), ("metrics", Kind::List, "")];

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let described = entries(cluster, context, resource);
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..DescribeConfigsResult::default()
        };
        match described {
            Ok(entries) => {
                let wanted = resource.configuration_keys.as_deref().unwrap_or_default();
                result.configs = entries
                    .into_iter()
                    .filter(|entry| {
                        wanted.is_empty() || wanted.iter().any(|name| *name == entry.name.as_str())
                    })
                    .map(|entry| answer(entry, request.include_synonyms))
                    .collect();
            }
            Err(refused) => {
                result.error_code = refused.error;
                result.error_message = Some(refused.message.into());
            }
        }
        result
    });
    DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() }
}

fn entries(
    cluster: &Cluster,
    context: &Context,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Entry>, Refused> {
    let name = &*resource.resource_name;
    let invalid = |message: String| Refused::new(ErrorCode::INVALID_REQUEST, message);
    match resource.resource_type {
        resource_type::TOPIC => {
            check_name(name).map_err(|message| Refused::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message))?;
            let unknown = || Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "");
            let topic = cluster.topics.get(name).ok_or_else(unknown)?;
            Ok(cluster.configs.describe_topic(&topic.properties, context.node_id))
        }
        resource_type::BROKER if name.is_empty() => Ok(cluster.configs.describe(None)),
        resource_type::BROKER => {
            check_node(name, context.node_id, "expected {} or empty string, but received {}")?;
            Ok(cluster.configs.describe(Some(context.node_id)))
        }
        resource_type::BROKER_LOGGER if name.is_empty() => Err(invalid("Broker id must not be empty".into())),
        resource_type::BROKER_LOGGER => {
            check_node(name, context.node_id, "expected {} but received {}")?;
            Ok(Vec::new())
        }
        resource_type::CLIENT_METRICS if name.is_empty() => {
            Err(invalid("Client metrics subscription name must not be empty".into()))
        }
        resource_type::CLIENT_METRICS => {
            let properties = cluster.client_metrics.get(name);
            let entries = CLIENT_METRICS.iter().map(|(name, kind, default)| {
                let set = properties.and_then(|properties| properties.get(*name));
                let set = set.map(|value| Synonym {
                    name: (*name).to_owned(),
                    value: Some(kind.shown(value)),
                    source: Source::ClientMetrics,
                });
                Entry {
                    name: (*name).to_owned(),
                    source: set.as_ref().map_or(Source::Default, |set| set.source),
                    value: set.as_ref().map_or_else(|| Some((*default).to_owned()), |set| set.value.clone()),
                    read_only: false,
                    sensitive: false,
                    kind: *kind,
                    synonyms: set.into_iter().collect(),
                }
            });
            Ok(entries.collect())
        }
        resource_type::GROUP if name.is_empty() => Err(invalid("Group name must not be empty".into())),
        resource_type::GROUP => {
            let none = Default::default();
            let properties = cluster.group_properties.get(name).unwrap_or(&none);
            Ok(cluster.configs.describe_group(properties, context.node_id))
        }
        other => Err(invalid(format!(
            "Unexpected resource type {} for resource {name}",
            if other == 0 { "UNKNOWN".to_owned() } else { other.to_string() }
        ))),
    }
}

/// A broker answers for itself only. `wording` is Kafka's, which differs from place to place.
fn check_node(name: &str, node_id: i32, wording: &str) -> Result<(), Refused> {
    let id = name.parse::<i32>().map_err(|_| {
        let message = format!("Broker id must be an integer, but it is: {name}");
        Refused::new(ErrorCode::INVALID_REQUEST, message)
    })?;
    if id == node_id {
        return Ok(());
    }
    let wording = wording.replacen("{}", &node_id.to_string(), 1).replacen("{}", name, 1);
    Err(Refused::new(ErrorCode::INVALID_REQUEST, format!("Unexpected broker id, {wording}")))
}

fn answer(entry: Entry, include_synonyms: bool) -> DescribeConfigsResourceResult {
    let synonyms = entry.synonyms.into_iter().filter(|_| include_synonyms);
    DescribeConfigsResourceResult {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
        synonyms: synonyms
            .map(|synonym| DescribeConfigsSynonym {
                name: synonym.name.into(),
                value: synonym.value.map(Str::from),
                source: synonym.source as i8,
                ..DescribeConfigsSynonym::default()
            })
            .collect(),
        config_type: entry.kind.id(),
        documentation: None,
        ..DescribeConfigsResourceResult::default()
    }
}
