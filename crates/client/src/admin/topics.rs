//! Creating, deleting, widening topics.

use kcopy_wire::{
    ApiKey, Str, Uuid,
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
        create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
        delete_topics_request::DeleteTopicState,
    },
};

use super::Admin;
use crate::{
    client::Target,
    error::{Error, Result},
};

/// A topic to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct NewTopic {
    name: Str,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    assignments: Vec<Vec<i32>>,
    configs: Vec<(Str, Str)>,
}

impl NewTopic {
    /// A topic with the broker's default number of partitions and replicas.
    pub fn new(name: impl Into<Str>) -> NewTopic {
        NewTopic { name: name.into(), ..NewTopic::default() }
    }

    /// The number of partitions; default the broker's `num.partitions`.
    pub fn partitions(mut self, partitions: i32) -> NewTopic {
        self.partitions = Some(partitions);
        self
    }

    /// The number of replicas; default the broker's `default.replication.factor`.
    pub fn replication_factor(mut self, replication_factor: i16) -> NewTopic {
        self.replication_factor = Some(replication_factor);
        self
    }

    /// Which brokers hold each partition, the preferred leader first; in place of the two numbers.
    pub fn assignments(mut self, assignments: Vec<Vec<i32>>) -> NewTopic {
        self.assignments = assignments;
        self
    }

    /// A configuration of the topic, such as `cleanup.policy`.
    pub fn config(mut self, name: impl Into<Str>, value: impl Into<Str>) -> NewTopic {
        self.configs.push((name.into(), value.into()));
        self
    }

    fn uses_defaults(&self) -> bool {
        self.assignments.is_empty() && (self.partitions.is_none() || self.replication_factor.is_none())
    }

    fn to_request(&self) -> CreatableTopic {
        let manual = !self.assignments.is_empty();
        let assignments = self.assignments.iter().zip(0..).map(|(brokers, partition_index)| {
            CreatableReplicaAssignment { partition_index, broker_ids: brokers.clone(), ..Default::default() }
        });
        let configs = self.configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
            ..Default::default()
        });
        CreatableTopic {
            name: self.name.clone(),
            num_partitions: self.partitions.filter(|_| !manual).unwrap_or(-1),
            replication_factor: self.replication_factor.filter(|_| !manual).unwrap_or(-1),
            assignments: assignments.collect(),
            configs: configs.collect(),
            ..Default::default()
        }
    }
}

/// A topic that was created. What an older broker does not tell is None.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedTopic {
    /// The name.
    pub name: Str,
    /// The id.
    pub id: Option<Uuid>,
    /// The number of partitions.
    pub partitions: Option<i32>,
    /// The number of replicas.
    pub replication_factor: Option<i16>,
}

/// A topic that shall have more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPartitions {
    /// The topic.
    pub topic: Str,
    /// How many partitions it shall have in all.
    pub total: i32,
    /// Which brokers hold each of the new ones; empty: the controller decides.
    pub assignments: Vec<Vec<i32>>,
}

impl Admin {
    /// Creates topics.
    ///
    /// # Errors
    /// The controller cannot be reached; each topic has its own result as well.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<Vec<Result<CreatedTopic>>> {
        let request = |topics: &[&NewTopic], version| {
            if topics.iter().any(|topic| topic.uses_defaults()) {
                // KIP-464.
                Self::needs(version, 4, ApiKey::CreateTopics, "default partition and replica counts")?;
            }
            Ok(CreateTopicsRequest {
                topics: topics.iter().map(|topic| topic.to_request()).collect(),
                timeout_ms: self.timeout_ms(),
                validate_only: self.validate_only,
                ..Default::default()
            })
        };
        self.ask("creating topics", Target::Controller, topics, request, |response, topics| {
            let find = |topic: &&NewTopic| {
                let mut results = response.topics.iter();
                let result = results.find(|result| result.name == topic.name);
                let result = result.ok_or_else(|| Error::protocol("the answer leaves the topic out"));
                result.and_then(|result| {
                    result
                        .error_code
                        .into_result()
                        .map_err(|code| Error::broker_with_message(code, result.error_message.as_deref()))?;
                    Ok(CreatedTopic {
                        name: result.name.detach(),
                        id: (!result.topic_id.is_zero()).then_some(result.topic_id),
                        partitions: (result.num_partitions >= 0).then_some(result.num_partitions),
                        replication_factor: (result.replication_factor >= 0)
                            .then_some(result.replication_factor),
                    })
                })
            };
            topics.iter().map(|topic| find(topic).map_err(|error| error.with_topic(&topic.name))).collect()
        })
        .await
    }

    /// Deletes topics with all that is in them.
    ///
    /// # Errors
    /// The controller cannot be reached; each topic has its own result as well.
    pub async fn delete_topics(&self, topics: &[Str]) -> Result<Vec<Result<()>>> {
        self.refuse_validation("deleting topics")?;
        let request = |topics: &[&Str], version| {
            let mut request = DeleteTopicsRequest { timeout_ms: self.timeout_ms(), ..Default::default() };
            let names = topics.iter().map(|name| (*name).clone());
            if version >= 6 {
                let named = |name| DeleteTopicState { name: Some(name), ..Default::default() };
                request.topics = names.map(named).collect();
            } else {
                request.topic_names = names.collect();
            }
            Ok(request)
        };
        self.ask("deleting topics", Target::Controller, topics, request, |response, topics| {
            let find = |name: &&Str| {
                let mut results = response.responses.iter();
                let result = results.find(|result| result.name.as_ref() == Some(*name));
                let result = result.ok_or_else(|| Error::protocol("the answer leaves the topic out"))?;
                result
                    .error_code
                    .into_result()
                    .map_err(|code| Error::broker_with_message(code, result.error_message.as_deref()))
            };
            topics.iter().map(|name| find(name).map_err(|error| error.with_topic(name))).collect()
        })
        .await
    }

    /// Gives topics more partitions. There is no way back, and keys go to other partitions from then
    /// on.
    ///
    /// # Errors
    /// The controller cannot be reached; each topic has its own result as well.
    pub async fn create_partitions(&self, topics: &[NewPartitions]) -> Result<Vec<Result<()>>> {
        let request = |topics: &[&NewPartitions], _| {
            let assignment = |brokers: &Vec<i32>| CreatePartitionsAssignment {
                broker_ids: brokers.clone(),
                ..Default::default()
            };
            let topic = |topic: &&NewPartitions| CreatePartitionsTopic {
                name: topic.topic.clone(),
                count: topic.total,
                assignments: (!topic.assignments.is_empty())
                    .then(|| topic.assignments.iter().map(assignment).collect()),
                ..Default::default()
            };
            Ok(CreatePartitionsRequest {
                topics: topics.iter().map(topic).collect(),
                timeout_ms: self.timeout_ms(),
                validate_only: self.validate_only,
                ..Default::default()
            })
        };
        self.ask("creating partitions", Target::Controller, topics, request, |response, topics| {
            let find = |topic: &&NewPartitions| {
                let mut results = response.results.iter();
                let result = results.find(|result| result.name == topic.topic);
                let result = result.ok_or_else(|| Error::protocol("the answer leaves the topic out"))?;
                result
                    .error_code
                    .into_result()
                    .map_err(|code| Error::broker_with_message(code, result.error_message.as_deref()))
            };
            topics.iter().map(|topic| find(topic).map_err(|error| error.with_topic(&topic.topic))).collect()
        })
        .await
    }
}
