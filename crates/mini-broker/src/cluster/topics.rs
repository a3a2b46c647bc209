//! Topics and their partitions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kcopy_wire::{ErrorCode, Str, Uuid};

use crate::{config::TopicSettings, log::Log, producer_state::Producers};

/// The longest topic name.
const MAX_NAME_LEN: usize = 249;

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Str,
    pub(crate) id: Uuid,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) settings: Arc<TopicSettings>,
    pub(crate) partitions: Vec<Partition>,
}

impl Topic {
    /// Finds a partition by the number that a request gives.
    pub(crate) fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// Finds a partition by the number that a request gives.
    pub(crate) fn partition_mut(&mut self, index: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(index).ok()?)
    }
}

/// A partition: who leads it, and its log.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) leader: Option<i32>,
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
    pub(crate) log: Log,
    pub(crate) producers: Producers,
    /// Fetches that wait for more.
    pub(crate) waiters: BTreeSet<u64>,
}

impl Partition {
    pub(crate) fn new(replicas: Vec<i32>, isr: Vec<i32>) -> Self {
        let mut log = Log::new();
        log.begin_epoch(0);
        Self {
            leader: isr.first().copied(),
            leader_epoch: 0,
            replicas,
            isr,
            log,
            producers: Producers::default(),
            waiters: BTreeSet::new(),
        }
    }

    /// Checks that `node_id` leads, and that the client's idea of the leader epoch is current (KIP-320).
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH.
    pub(crate) fn check_leader(&self, node_id: i32, client_epoch: Option<i32>) -> Result<(), ErrorCode> {
        self.check_replica(node_id, client_epoch)?;
        if self.leader == Some(node_id) { Ok(()) } else { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) }
    }

    /// Checks that `node_id` has the partition at all, and the client's leader epoch.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH.
    pub(crate) fn check_replica(&self, node_id: i32, client_epoch: Option<i32>) -> Result<(), ErrorCode> {
        if !self.replicas.contains(&node_id) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        match client_epoch {
            Some(epoch) if epoch < self.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
            Some(epoch) if epoch > self.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(()),
        }
    }

    /// Chooses a leader among those that are in sync and online, if the present one is not among them.
    pub(crate) fn elect(&mut self, is_online: impl Fn(i32) -> bool) {
        let fit = |node: i32, isr: &[i32]| isr.contains(&node) && is_online(node);
        if self.leader.is_some_and(|leader| fit(leader, &self.isr)) {
            return;
        }
        let next = self.replicas.iter().copied().find(|node| fit(*node, &self.isr));
        if next != self.leader {
            self.lead(next);
        }
    }

    /// Makes `leader` the leader, in a new epoch.
    pub(crate) fn lead(&mut self, leader: Option<i32>) {
        self.leader = leader;
        self.leader_epoch += 1;
        self.log.begin_epoch(self.leader_epoch);
    }
}

/// All topics, by name and by id.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    by_name: BTreeMap<Str, Topic>,
    names: BTreeMap<Uuid, Str>,
}

impl Topics {
    pub(crate) fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name.as_bytes())
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.by_name.get_mut(name.as_bytes())
    }

    /// A topic's name by its id.
    pub(crate) fn name_of(&self, id: &Uuid) -> Option<&Str> {
        self.names.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.by_name.values_mut()
    }

    pub(crate) fn insert(&mut self, topic: Topic) {
        self.names.insert(topic.id, topic.name.clone());
        self.by_name.insert(topic.name.clone(), topic);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Topic> {
        let topic = self.by_name.remove(name.as_bytes())?;
        self.names.remove(&topic.id);
        Some(topic)
    }

    /// An existing topic whose name differs only in `.` and `_`, which metrics cannot tell apart.
    pub(crate) fn colliding(&self, name: &str) -> Option<&Str> {
        if !name.contains(['.', '_']) {
            return None;
        }
        let plain = name.replace('.', "_");
        self.by_name.keys().find(|other| other.as_str() != name && other.replace('.', "_") == plain)
    }
}

/// Checks a topic's name as Kafka does.
///
/// # Errors
/// What is wrong with the name.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("Topic name is invalid: the empty string is not allowed".into());
    }
    if name == "." || name == ".." {
        return Err(format!("Topic name is invalid: '{name}' is not allowed"));
    }
    if name.len() > MAX_NAME_LEN {
        return Err(format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length {MAX_NAME_LEN}"
        ));
    }
    let legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    if !name.chars().all(legal) {
        return Err(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// Topics that belong to Kafka itself.
pub(crate) fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}
