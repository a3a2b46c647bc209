//! What is known of a cluster and its topics, as the texts for people and programs need it.
//!
//! The run layer fills these from what brokers answer; [`crate::tables`], [`crate::kcat::metadata`] and
//! [`crate::kafka_topics::text`] turn them into bytes for stdout.

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterView {
    /// Its id.
    pub cluster_id: Option<String>,
    /// The controller's broker id, where there is one.
    pub controller_id: Option<i32>,
    /// Its brokers.
    pub brokers: Vec<BrokerView>,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerView {
    /// Its id.
    pub id: i32,
    /// The host that it advertises.
    pub host: String,
    /// The port that it advertises.
    pub port: u16,
    /// Where it stands.
    pub rack: Option<String>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicView {
    /// Its name.
    pub name: String,
    /// Its id, in Kafka's base64; `None` before Kafka 2.8.
    pub topic_id: Option<String>,
    /// Whether it is one of Kafka's own.
    pub internal: bool,
    /// Why nothing more is known of it, in the words of the program that prints it.
    pub error: Option<String>,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionView>,
    /// Its settings, where they were asked for.
    pub configs: Vec<ConfigView>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionView {
    /// Its number.
    pub partition: i32,
    /// Its leader's broker id.
    pub leader: Option<i32>,
    /// Its leader epoch.
    pub leader_epoch: Option<i32>,
    /// Brokers that have a replica.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
    /// Those that are offline.
    pub offline_replicas: Vec<i32>,
    /// Eligible leader replicas (KIP-966), where the broker tells them.
    pub eligible_leader_replicas: Option<Vec<i32>>,
    /// Those known last, likewise.
    pub last_known_elr: Option<Vec<i32>>,
    /// Replicas that a reassignment adds and removes, while one is under way.
    pub reassignment: Option<ReassignmentView>,
    /// Why it cannot be used, in the words of the program that prints it.
    pub error: Option<String>,
}

/// A reassignment under way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReassignmentView {
    /// Replicas to add.
    pub adding: Vec<i32>,
    /// Replicas to remove.
    pub removing: Vec<i32>,
}

/// A setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigView {
    /// Its name.
    pub name: String,
    /// Its value; `None` where the broker does not tell (secrets).
    pub value: Option<String>,
    /// Whether it is Kafka's own default, which no one has set anywhere.
    pub is_default: bool,
    /// Whether it was set for this topic.
    pub is_topic_override: bool,
}

/// Offsets of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetsView {
    /// Its number.
    pub partition: i32,
    /// The first offset that is there.
    pub earliest: Option<i64>,
    /// The offset after the last one.
    pub latest: Option<i64>,
    /// Why they are not known.
    pub error: Option<String>,
}

impl OffsetsView {
    /// Offsets between the two: records at most, because compaction and control records leave gaps.
    pub fn span(&self) -> Option<i64> {
        Some((self.latest? - self.earliest?).max(0))
    }
}
