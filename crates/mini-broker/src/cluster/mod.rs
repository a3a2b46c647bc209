//! All state of the cluster. One task owns it; nothing here is shared, locked or awaited.

pub(crate) mod groups;
pub(crate) mod topics;

use std::{collections::BTreeMap, sync::Arc};

use kcopy_wire::{ErrorCode, Str, Uuid};

use self::{
    groups::Groups,
    topics::{Partition, Topic, Topics, check_name},
};
use crate::{
    clock::Clock,
    config::{BrokerConfigs, TopicSettings},
    fetch_session::FetchSessions,
    handlers::fetch::Waiting,
};

/// Partitions of the topic that would store groups: what decides on which broker a group's coordinator is.
const GROUP_PARTITIONS: i32 = 50;

/// A broker.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) rack: Option<String>,
    pub(crate) online: bool,
}

/// The state behind all brokers.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) clock: Clock,
    pub(crate) cluster_id: Str,
    pub(crate) nodes: BTreeMap<i32, Node>,
    pub(crate) controller_id: i32,
    pub(crate) configs: BrokerConfigs,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) group_properties: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) client_metrics: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) sessions: BTreeMap<i32, FetchSessions>,
    pub(crate) waiting: Waiting,
    /// Coordinators that were placed by hand, by group id.
    pub(crate) coordinators: BTreeMap<String, i32>,
    next_producer_id: i64,
    next_first_node: usize,
    random: u64,
}

/// Why a topic cannot be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) error: ErrorCode,
    pub(crate) message: String,
}

impl Refused {
    pub(crate) fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

impl Cluster {
    pub(crate) fn new(clock: Clock, configs: BrokerConfigs, seed: u64) -> Self {
        let mut cluster = Self {
            clock,
            cluster_id: Str::default(),
            nodes: BTreeMap::new(),
            controller_id: 0,
            configs,
            topics: Topics::default(),
            groups: Groups::default(),
            group_properties: BTreeMap::new(),
            client_metrics: BTreeMap::new(),
            sessions: BTreeMap::new(),
            waiting: Waiting::default(),
            coordinators: BTreeMap::new(),
            next_producer_id: 0,
            next_first_node: 0,
            random: seed,
        };
        cluster.cluster_id = cluster.random_uuid().to_string().into();
        cluster
    }

    /// Adds a broker; the first becomes the controller.
    pub(crate) fn add_node(&mut self, node: Node) {
        if self.nodes.is_empty() {
            self.controller_id = node.id;
        }
        let listener = format!("PLAINTEXT://{}:{}", node.host, node.port);
        for (name, value) in [
            ("node.id", node.id.to_string()),
            ("listeners", listener.clone()),
            ("advertised.listeners", listener),
            ("process.roles", "broker,controller".to_owned()),
            ("controller.listener.names", "CONTROLLER".to_owned()),
        ] {
            self.configs.set_for_node(node.id, name, value);
        }
        self.sessions.insert(node.id, FetchSessions::default());
        self.nodes.insert(node.id, node);
    }

    pub(crate) fn is_online(&self, node_id: i32) -> bool {
        self.nodes.get(&node_id).is_some_and(|node| node.online)
    }

    pub(crate) fn online_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.online)
    }

    /// A number that follows from the seed (splitmix64).
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A random UUID (version 4) that does not print with a leading dash, as Kafka's never do.
    pub(crate) fn random_uuid(&mut self) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&self.random().to_be_bytes());
            bytes[8..].copy_from_slice(&self.random().to_be_bytes());
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            let id = Uuid(bytes);
            if !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    /// A producer id that nobody has.
    pub(crate) fn new_producer_id(&mut self) -> i64 {
        let id = self.next_producer_id;
        self.next_producer_id += 1;
        id
    }

    /// A topic by id, or by name where the request's version has no ids.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_ID or UNKNOWN_TOPIC_OR_PARTITION.
    pub(crate) fn find_topic(&mut self, by_id: bool, name: &Str, id: Uuid) -> Result<&mut Topic, ErrorCode> {
        if !by_id {
            return self.topics.get_mut(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        let name = self.topics.name_of(&id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?.clone();
        self.topics.get_mut(&name).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
    }

    /// Places the replicas of new partitions, spread over the brokers.
    pub(crate) fn place(
        &mut self,
        partitions: i32,
        replication_factor: i16,
    ) -> Result<Vec<Vec<i32>>, Refused> {
        let online: Vec<i32> = self.online_nodes().map(|node| node.id).collect();
        let wanted = usize::try_from(replication_factor).unwrap_or(0);
        if online.is_empty() || wanted > online.len() {
            return Err(Refused::new(
                ErrorCode::INVALID_REPLICATION_FACTOR,
                format!(
                    "Unable to replicate the partition {replication_factor} time(s): The target replication factor of {replication_factor} cannot be reached because only {} broker(s) are registered or some brokers have all their log directories cordoned.",
                    online.len()
                ),
            ));
        }
        let first = self.next_first_node;
        let count = usize::try_from(partitions).unwrap_or(0);
        self.next_first_node = (first + count) % online.len();
        let replicas_from =
            |start: usize| (0..wanted).map(|step| online[(start + step) % online.len()]).collect();
        Ok((0..count).map(|partition| replicas_from(first + partition)).collect())
    }

    /// Creates a topic whose replicas are already placed.
    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        placement: Vec<Vec<i32>>,
        properties: BTreeMap<String, String>,
    ) -> &Topic {
        let name = Str::from(name);
        let id = self.random_uuid();
        let partitions = placement.into_iter().map(|replicas| self.new_partition(replicas)).collect();
        let settings = self.configs.topic_settings(&properties);
        self.topics.insert(Topic { name: name.clone(), id, properties, settings, partitions });
        self.topics.get(&name).unwrap_or_else(|| unreachable!("just inserted"))
    }

    pub(crate) fn new_partition(&self, replicas: Vec<i32>) -> Partition {
        let isr: Vec<i32> = replicas.iter().copied().filter(|id| self.is_online(*id)).collect();
        Partition::new(replicas, isr)
    }

    /// Checks a new topic's name, also against those that exist.
    pub(crate) fn check_new_topic(&self, name: &str) -> Result<(), Refused> {
        check_name(name).map_err(|message| Refused::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message))?;
        if self.topics.get(name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return Err(Refused::new(ErrorCode::TOPIC_ALREADY_EXISTS, message));
        }
        if let Some(other) = self.topics.colliding(name) {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(Refused::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message));
        }
        Ok(())
    }

    /// Deletes a topic: fetches that wait for it are answered, offsets committed for it forgotten.
    pub(crate) fn delete_topic(&mut self, name: &str) -> bool {
        let Some(topic) = self.topics.remove(name) else {
            return false;
        };
        for partition in &topic.partitions {
            self.waiting.wake_all(&partition.waiters);
        }
        self.groups.forget_topic(name);
        true
    }

    /// Takes a topic's changed properties, or the brokers' changed defaults, into account.
    pub(crate) fn refresh_settings(&mut self) {
        let configs = &self.configs;
        for topic in self.topics.iter_mut() {
            let settings: Arc<TopicSettings> = configs.topic_settings(&topic.properties);
            if *settings != *topic.settings {
                topic.settings = settings;
            }
        }
    }

    /// A broker goes away: it leaves the in-sync sets, and what it led gets another leader.
    pub(crate) fn node_stopped(&mut self, node_id: i32) {
        if let Some(node) = self.nodes.get_mut(&node_id) {
            node.online = false;
        }
        self.sessions.insert(node_id, FetchSessions::default());
        if self.controller_id == node_id {
            let next = self.online_nodes().next().map(|node| node.id);
            self.controller_id = next.unwrap_or(node_id);
        }
        self.for_partitions_of(node_id, |partition, nodes| {
            if partition.isr.len() > 1 {
                partition.isr.retain(|id| *id != node_id);
            }
            partition.elect(|id| nodes.get(&id).is_some_and(|node| node.online));
        });
    }

    /// A broker is back: it is in sync at once, for the replicas share their log.
    pub(crate) fn node_started(&mut self, node_id: i32) {
        if let Some(node) = self.nodes.get_mut(&node_id) {
            node.online = true;
        }
        if !self.is_online(self.controller_id) {
            self.controller_id = node_id;
        }
        self.for_partitions_of(node_id, |partition, nodes| {
            if !partition.isr.contains(&node_id) {
                partition.isr.push(node_id);
            }
            partition.elect(|id| nodes.get(&id).is_some_and(|node| node.online));
        });
    }

    fn for_partitions_of(
        &mut self,
        node_id: i32,
        mut change: impl FnMut(&mut Partition, &BTreeMap<i32, Node>),
    ) {
        let Self { topics, nodes, waiting, .. } = self;
        for topic in topics.iter_mut() {
            for partition in &mut topic.partitions {
                if partition.replicas.contains(&node_id) {
                    change(partition, nodes);
                    waiting.wake_all(&partition.waiters);
                }
            }
        }
    }

    /// The broker that coordinates a group; `None` while no broker is there.
    pub(crate) fn coordinator(&self, group_id: &str) -> Option<i32> {
        if let Some(id) = self.coordinators.get(group_id).filter(|id| self.is_online(**id)) {
            return Some(*id);
        }
        let partition = java_hash(group_id).checked_abs().unwrap_or(0) % GROUP_PARTITIONS;
        let place = usize::try_from(partition).unwrap_or(0).checked_rem(self.nodes.len())?;
        let nodes = || self.nodes.values();
        nodes().skip(place).chain(nodes().take(place)).find(|node| node.online).map(|node| node.id)
    }

    /// Whether `node_id` coordinates a group.
    ///
    /// # Errors
    /// NOT_COORDINATOR if another broker does.
    pub(crate) fn check_coordinator(&self, group_id: &str, node_id: i32) -> Result<(), ErrorCode> {
        if self.coordinator(group_id) == Some(node_id) { Ok(()) } else { Err(ErrorCode::NOT_COORDINATOR) }
    }
}

/// Java's `String.hashCode`, by which Kafka spreads groups.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}
