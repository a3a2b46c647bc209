//! What the owner of the cluster sees of its state.

use kcopy_wire::Uuid;

use crate::cluster::{Cluster, topics::Topic};

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Its partitions, in their order.
    pub partitions: Vec<PartitionState>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionState {
    /// The broker that leads it; `None` while none does.
    pub leader: Option<i32>,
    /// How often the leader changed.
    pub leader_epoch: i32,
    /// The brokers that hold it.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub isr: Vec<i32>,
    /// The first offset that can be read.
    pub log_start_offset: i64,
    /// The offset of the next record.
    pub log_end_offset: i64,
}

/// A position that a group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedOffset {
    /// The group.
    pub group_id: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
}

pub(crate) fn topics(cluster: &Cluster) -> Vec<TopicState> {
    cluster.topics.iter().map(topic).collect()
}

fn topic(topic: &Topic) -> TopicState {
    let partitions = topic.partitions.iter().map(|partition| PartitionState {
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        log_start_offset: partition.log.log_start_offset(),
        log_end_offset: partition.log.log_end_offset(),
    });
    TopicState { name: topic.name.to_string(), id: topic.id, partitions: partitions.collect() }
}

pub(crate) fn committed_offsets(cluster: &Cluster) -> Vec<CommittedOffset> {
    let groups = cluster.groups.by_id.iter();
    groups
        .flat_map(|(group_id, group)| {
            group.offsets.iter().map(|((topic, partition), committed)| CommittedOffset {
                group_id: group_id.to_string(),
                topic: topic.to_string(),
                partition: *partition,
                offset: committed.offset,
            })
        })
        .collect()
}
