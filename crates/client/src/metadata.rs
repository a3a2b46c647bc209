//! What the client knows of the cluster: brokers, topics, leaders.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use kcopy_wire::{
    ErrorCode, Str, Uuid,
    messages::{MetadataResponse, metadata_response::MetadataResponseTopic},
};
use tokio::time::Instant;

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broker {
    /// The id.
    pub id: i32,
    /// The name or address under which clients reach it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The rack, if it is in one.
    pub rack: Option<String>,
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broker {} at {}:{}", self.id, self.host, self.port)
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topic {
    /// The name.
    pub name: Str,
    /// The id; None from brokers before 2.8.
    pub id: Option<Uuid>,
    /// What is wrong with it, if anything is.
    pub error: Option<ErrorCode>,
    /// Whether it is Kafka's own, such as `__consumer_offsets`.
    pub is_internal: bool,
    /// The partitions in order of their numbers.
    pub partitions: Vec<Partition>,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// The number.
    pub index: i32,
    /// What is wrong with it, if anything is.
    pub error: Option<ErrorCode>,
    /// The broker that leads it, if any does.
    pub leader: Option<i32>,
    /// The epoch of that leader; None from brokers before 2.1.
    pub leader_epoch: Option<i32>,
    /// The brokers that hold it.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub isr: Vec<i32>,
    /// Those of them that are offline.
    pub offline_replicas: Vec<i32>,
}

impl Topic {
    /// A partition by its number.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        // Usually all are there, so that the number is the place.
        let guess = usize::try_from(index).ok().and_then(|at| self.partitions.get(at));
        guess
            .filter(|partition| partition.index == index)
            .or_else(|| self.partitions.iter().find(|partition| partition.index == index))
    }
}

/// A picture of the cluster. It never changes; a newer one takes its place.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metadata {
    /// Grows with every answer that was taken in.
    pub generation: u64,
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The controller, or in a KRaft cluster some broker that passes requests on to it.
    pub controller_id: Option<i32>,
    /// The brokers by id.
    pub brokers: BTreeMap<i32, Broker>,
    topics: HashMap<Str, Known>,
    names: HashMap<Uuid, Str>,
}

#[derive(Clone, Debug)]
struct Known {
    topic: Arc<Topic>,
    generation: u64,
    at: Instant,
}

impl Metadata {
    /// A topic that was asked for before.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name.as_bytes()).map(|known| &known.topic)
    }

    /// A topic by its id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topic(self.names.get(&id)?)
    }

    /// All topics that were asked for, in no order.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values().map(|known| &known.topic)
    }

    /// The leader of a partition, if it has one.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<&Broker> {
        self.brokers.get(&self.topic(topic)?.partition(partition)?.leader?)
    }

    /// In which generation, and when, a topic was last heard of.
    pub(crate) fn known_since(&self, name: &str) -> Option<(u64, Instant)> {
        self.topics.get(name.as_bytes()).map(|known| (known.generation, known.at))
    }

    /// The next picture, from an answer.
    pub(crate) fn updated(&self, response: &MetadataResponse, now: Instant) -> Metadata {
        let mut next = self.clone();
        next.generation += 1;
        // An answer without brokers comes from one that has just started; the old list is better.
        if !response.brokers.is_empty() {
            next.brokers = brokers(response);
        }
        if let Some(cluster_id) = &response.cluster_id {
            next.cluster_id = Some(cluster_id.to_string());
        }
        next.controller_id = (response.controller_id >= 0).then_some(response.controller_id);
        for answer in &response.topics {
            let Some(name) = &answer.name else {
                // Asked for by an id that no longer exists.
                if let Some(name) = next.names.remove(&answer.topic_id) {
                    next.topics.remove(&name);
                }
                continue;
            };
            let name = name.detach();
            let before = next.topics.remove(&name);
            if let Some(id) = before.as_ref().and_then(|known| known.topic.id) {
                next.names.remove(&id);
            }
            let topic = topic(name.clone(), answer, before.as_ref().map(|known| &*known.topic));
            if let Some(id) = topic.id {
                next.names.insert(id, name.clone());
            }
            next.topics.insert(name, Known { topic: Arc::new(topic), generation: next.generation, at: now });
        }
        next
    }

    /// A leader that a broker named in an answer to a fetch or produce (KIP-951); None if that is no
    /// news.
    pub(crate) fn with_leader(
        &self,
        name: &str,
        partition: i32,
        leader: i32,
        leader_epoch: i32,
        endpoint: Option<Broker>,
    ) -> Option<Metadata> {
        if !self.brokers.contains_key(&leader) && endpoint.is_none() {
            return None;
        }
        let known = self.topics.get(name.as_bytes())?;
        let at = known.topic.partitions.iter().position(|known| known.index == partition)?;
        if known.topic.partitions[at].leader_epoch.is_some_and(|epoch| epoch >= leader_epoch) {
            return None;
        }
        let mut topic = (*known.topic).clone();
        topic.partitions[at].leader = Some(leader);
        topic.partitions[at].leader_epoch = Some(leader_epoch);
        topic.partitions[at].error = None;
        let mut next = self.clone();
        next.generation += 1;
        let known = Known { topic: Arc::new(topic), generation: next.generation, at: known.at };
        next.topics.insert(known.topic.name.clone(), known);
        if let Some(endpoint) = endpoint {
            next.brokers.insert(endpoint.id, endpoint);
        }
        Some(next)
    }
}

/// The brokers of an answer. One with an impossible port cannot be reached and is left out.
pub(crate) fn brokers(response: &MetadataResponse) -> BTreeMap<i32, Broker> {
    let brokers = response.brokers.iter().filter_map(|broker| {
        let port = u16::try_from(broker.port).ok()?;
        let rack = broker.rack.as_ref().map(Str::to_string);
        Some((broker.node_id, Broker { id: broker.node_id, host: broker.host.to_string(), port, rack }))
    });
    brokers.collect()
}

/// The name of a topic of an answer; empty when it was asked for by an id that nobody knows.
pub(crate) fn name_of(answer: &MetadataResponseTopic) -> Str {
    answer.name.as_ref().map(Str::detach).unwrap_or_default()
}

/// A topic of an answer. `before` is what was known: a broker that lags behind must not bring an older
/// leader back (KIP-320).
pub(crate) fn topic(name: Str, answer: &MetadataResponseTopic, before: Option<&Topic>) -> Topic {
    let id = (!answer.topic_id.is_zero()).then_some(answer.topic_id);
    let before = before.filter(|before| before.id == id);
    let mut partitions: Vec<Partition> = answer
        .partitions
        .iter()
        .map(|answer| {
            let epoch = (answer.leader_epoch >= 0).then_some(answer.leader_epoch);
            let older = before.and_then(|before| before.partition(answer.partition_index));
            if let (Some(older), Some(epoch)) = (older, epoch)
                && older.leader_epoch.is_some_and(|newest| newest > epoch)
            {
                return older.clone();
            }
            Partition {
                index: answer.partition_index,
                error: answer.error_code.into_result().err(),
                leader: (answer.leader_id >= 0).then_some(answer.leader_id),
                leader_epoch: epoch,
                replicas: answer.replica_nodes.clone(),
                isr: answer.isr_nodes.clone(),
                offline_replicas: answer.offline_replicas.clone(),
            }
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    Topic {
        name,
        id,
        error: answer.error_code.into_result().err(),
        is_internal: answer.is_internal,
        partitions,
    }
}

#[cfg(test)]
mod tests {
    use kcopy_wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition};

    use super::*;

    fn answer(topic_id: u8, leader: i32, epoch: i32) -> MetadataResponse {
        MetadataResponse {
            brokers: (1..3)
                .map(|id| MetadataResponseBroker {
                    node_id: id,
                    host: "h".into(),
                    port: 9092,
                    ..Default::default()
                })
                .collect(),
            topics: vec![MetadataResponseTopic {
                name: Some("t".into()),
                topic_id: Uuid([topic_id; 16]),
                partitions: vec![MetadataResponsePartition {
                    leader_id: leader,
                    leader_epoch: epoch,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn an_older_leader_does_not_come_back() {
        let now = Instant::now();
        let metadata = Metadata::default().updated(&answer(1, 1, 5), now).updated(&answer(1, 2, 4), now);
        assert_eq!(metadata.leader("t", 0).map(|broker| broker.id), Some(1));
        let newer = metadata.with_leader("t", 0, 2, 6, None).unwrap();
        assert_eq!(newer.leader("t", 0).map(|broker| broker.id), Some(2));
        assert!(newer.with_leader("t", 0, 1, 6, None).is_none());
    }

    #[test]
    fn a_topic_made_anew_starts_over() {
        let now = Instant::now();
        let metadata = Metadata::default().updated(&answer(1, 1, 5), now).updated(&answer(2, 2, 0), now);
        assert_eq!(metadata.leader("t", 0).map(|broker| broker.id), Some(2));
        assert!(metadata.topic_by_id(Uuid([1; 16])).is_none());
        assert_eq!(metadata.topic_by_id(Uuid([2; 16])).map(|topic| &*topic.name), Some("t"));
        assert!(metadata.leader("t", 1).is_none() && metadata.leader("u", 0).is_none());
    }
}
