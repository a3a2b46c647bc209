//! Reading and changing configurations.

use kcopy_wire::{
    Str,
    messages::{
        DescribeConfigsRequest, IncrementalAlterConfigsRequest,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsSynonym},
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    },
};

use super::Admin;
use crate::{
    client::Target,
    error::{Error, Result},
};

/// What has a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigResource {
    /// A topic.
    Topic(Str),
    /// One broker.
    Broker(i32),
    /// What all brokers have where they have nothing of their own.
    AllBrokers,
    /// A consumer group (KIP-848).
    Group(Str),
}

impl ConfigResource {
    fn number(&self) -> i8 {
        match self {
            ConfigResource::Topic(_) => 2,
            ConfigResource::Broker(_) | ConfigResource::AllBrokers => 4,
            ConfigResource::Group(_) => 32,
        }
    }

    fn name(&self) -> Str {
        match self {
            ConfigResource::Topic(name) | ConfigResource::Group(name) => name.clone(),
            ConfigResource::Broker(id) => Str::from(id.to_string()),
            ConfigResource::AllBrokers => Str::default(),
        }
    }

    /// A broker is asked itself, for it alone knows its static configuration.
    fn target(&self) -> Target<'static> {
        match self {
            ConfigResource::Broker(id) => Target::Broker(*id),
            _ => Target::Any,
        }
    }

    fn in_error(&self, error: Error) -> Error {
        match self {
            ConfigResource::Topic(name) => error.with_topic(name),
            ConfigResource::Group(name) => error.with_group(name),
            _ => error,
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// Set for the topic.
    Topic,
    /// Set for the broker while it runs.
    DynamicBroker,
    /// Set for all brokers while they run.
    DynamicDefaultBroker,
    /// In the broker's file.
    StaticBroker,
    /// The built-in default.
    Default,
    /// A logger's level.
    BrokerLogger,
    /// Set for client metrics.
    ClientMetrics,
    /// Set for the group.
    Group,
    /// One that this version of the crate does not know.
    Other(i8),
}

impl ConfigSource {
    fn new(number: i8) -> ConfigSource {
        match number {
            1 => ConfigSource::Topic,
            2 => ConfigSource::DynamicBroker,
            3 => ConfigSource::DynamicDefaultBroker,
            4 => ConfigSource::StaticBroker,
            5 => ConfigSource::Default,
            6 => ConfigSource::BrokerLogger,
            7 => ConfigSource::ClientMetrics,
            8 => ConfigSource::Group,
            other => ConfigSource::Other(other),
        }
    }
}

/// One value of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// The name, such as `retention.ms`.
    pub name: Str,
    /// The value; None if it is secret, or not set.
    pub value: Option<Str>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether it is secret.
    pub is_sensitive: bool,
    /// All places that set it, the one that counts first.
    pub synonyms: Vec<ConfigSynonym>,
}

/// A place that sets a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigSynonym {
    /// The name there, such as `log.retention.ms`.
    pub name: Str,
    /// The value there.
    pub value: Option<Str>,
    /// The place.
    pub source: ConfigSource,
}

/// Changes to the configuration of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigAlteration {
    /// What is changed.
    pub resource: ConfigResource,
    /// The names, and what happens to each.
    pub changes: Vec<(Str, ConfigChange)>,
}

/// What happens to one value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigChange {
    /// It becomes this.
    Set(Str),
    /// It falls back to the default.
    Unset,
    /// This is added to the list.
    Append(Str),
    /// This is taken out of the list.
    Subtract(Str),
}

impl Admin {
    /// Reads configurations whole.
    ///
    /// # Errors
    /// The broker cannot be reached; each resource has its own result as well.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
    ) -> Result<Vec<Result<Vec<ConfigEntry>>>> {
        let mut answers: Vec<_> = resources.iter().map(|_| None).collect();
        for (target, places) in by_target(resources, ConfigResource::target) {
            let asked: Vec<ConfigResource> = places.iter().map(|at| resources[*at].clone()).collect();
            put(&mut answers, places, self.describe_configs_at(target, &asked).await?);
        }
        Ok(answers.into_iter().flatten().collect())
    }

    async fn describe_configs_at(
        &self,
        target: Target<'_>,
        resources: &[ConfigResource],
    ) -> Result<Vec<Result<Vec<ConfigEntry>>>> {
        let request = |resources: &[&ConfigResource], _| {
            let resource = |resource: &&ConfigResource| DescribeConfigsResource {
                resource_type: resource.number(),
                resource_name: resource.name(),
                configuration_keys: None,
                ..Default::default()
            };
            Ok(DescribeConfigsRequest {
                resources: resources.iter().map(resource).collect(),
                include_synonyms: true,
                ..Default::default()
            })
        };
        self.ask("describing configurations", target, resources, request, |response, resources| {
            let find = |resource: &ConfigResource| {
                let (number, name) = (resource.number(), resource.name());
                let mut results = response.results.iter();
                let result = results.find(|r| r.resource_type == number && r.resource_name == name);
                let result = result.ok_or_else(|| Error::protocol("the answer leaves the resource out"))?;
                let failed = |code| Error::broker_with_message(code, result.error_message.as_deref());
                result.error_code.into_result().map_err(failed)?;
                Ok(result.configs.iter().map(entry).collect())
            };
            resources.iter().map(|resource| find(resource).map_err(|e| resource.in_error(e))).collect()
        })
        .await
    }

    /// Changes single values and leaves all others alone (KIP-339; Kafka 2.3).
    ///
    /// # Errors
    /// The broker cannot be reached; each resource has its own result as well.
    pub async fn alter_configs(&self, alterations: &[ConfigAlteration]) -> Result<Vec<Result<()>>> {
        let mut answers: Vec<_> = alterations.iter().map(|_| None).collect();
        for (target, places) in by_target(alterations, |alteration| alteration.resource.target()) {
            let asked: Vec<ConfigAlteration> = places.iter().map(|at| alterations[*at].clone()).collect();
            put(&mut answers, places, self.alter_configs_at(target, &asked).await?);
        }
        Ok(answers.into_iter().flatten().collect())
    }

    async fn alter_configs_at(
        &self,
        target: Target<'_>,
        alterations: &[ConfigAlteration],
    ) -> Result<Vec<Result<()>>> {
        let request = |alterations: &[&ConfigAlteration], _| {
            Ok(IncrementalAlterConfigsRequest {
                resources: alterations.iter().map(|alteration| alteration_request(alteration)).collect(),
                validate_only: self.validate_only,
                ..Default::default()
            })
        };
        self.ask("altering configurations", target, alterations, request, |response, alterations| {
            let find = |resource: &ConfigResource| {
                let (number, name) = (resource.number(), resource.name());
                let mut results = response.responses.iter();
                let result = results.find(|r| r.resource_type == number && r.resource_name == name);
                let result = result.ok_or_else(|| Error::protocol("the answer leaves the resource out"))?;
                let failed = |code| Error::broker_with_message(code, result.error_message.as_deref());
                result.error_code.into_result().map_err(failed)
            };
            let named = |alteration: &&ConfigAlteration| {
                find(&alteration.resource).map_err(|error| alteration.resource.in_error(error))
            };
            alterations.iter().map(named).collect()
        })
        .await
    }
}

/// The places of the items by the broker that must be asked.
fn by_target<I>(items: &[I], target: impl Fn(&I) -> Target<'static>) -> Vec<(Target<'static>, Vec<usize>)> {
    let mut targets: Vec<(Target<'static>, Vec<usize>)> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let here = target(item);
        match targets.iter_mut().find(|(target, _)| *target == here) {
            Some((_, places)) => places.push(at),
            None => targets.push((here, vec![at])),
        }
    }
    targets
}

/// Puts answers where their questions were.
fn put<T>(answers: &mut [Option<T>], places: Vec<usize>, here: Vec<T>) {
    for (at, answer) in places.into_iter().zip(here) {
        answers[at] = Some(answer);
    }
}

fn alteration_request(alteration: &ConfigAlteration) -> AlterConfigsResource {
    let change = |(name, change): &(Str, ConfigChange)| {
        let (operation, value) = match change {
            ConfigChange::Set(value) => (0, Some(value.clone())),
            ConfigChange::Unset => (1, None),
            ConfigChange::Append(value) => (2, Some(value.clone())),
            ConfigChange::Subtract(value) => (3, Some(value.clone())),
        };
        AlterableConfig { name: name.clone(), config_operation: operation, value, ..Default::default() }
    };
    AlterConfigsResource {
        resource_type: alteration.resource.number(),
        resource_name: alteration.resource.name(),
        configs: alteration.changes.iter().map(change).collect(),
        ..Default::default()
    }
}

fn entry(config: &DescribeConfigsResourceResult) -> ConfigEntry {
    let synonym = |synonym: &DescribeConfigsSynonym| ConfigSynonym {
        name: synonym.name.detach(),
        value: synonym.value.as_ref().map(Str::detach),
        source: ConfigSource::new(synonym.source),
    };
    ConfigEntry {
        name: config.name.detach(),
        value: config.value.as_ref().map(Str::detach),
        source: ConfigSource::new(config.config_source),
        is_read_only: config.read_only,
        is_sensitive: config.is_sensitive,
        synonyms: config.synonyms.iter().map(synonym).collect(),
    }
}
