//! Metadata, offsets, topics, the cluster, and the broker.

use super::Common;
use crate::properties::IsolationLevel;

/// kcat's `-L`.
#[derive(Debug, Clone, PartialEq)]
pub struct ListMetadata {
    /// Brokers, properties, verbosity.
    pub common: Common,
    /// One topic, or all.
    pub topic: Option<String>,
    /// As JSON.
    pub json: bool,
}

/// kcat's `-Q`.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryOffsets {
    /// Brokers, properties, verbosity.
    pub common: Common,
    /// What to look up, in the order of the command line; no partition occurs twice.
    pub queries: Vec<OffsetQuery>,
    /// As JSON.
    pub json: bool,
}

/// One offset to look up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetQuery {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Milliseconds since the epoch; -1 is the end, -2 the beginning and -3 the largest timestamp, as in the protocol.
    pub timestamp: i64,
}

/// Topic administration.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicPlan {
    /// Brokers, properties, verbosity.
    pub common: Common,
    /// What to do.
    pub action: TopicAction,
    /// How to print it.
    pub shape: Shape,
}

/// How administration prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An aligned table for people.
    Table,
    /// One JSON document.
    Json,
    /// Apache Kafka's own texts.
    Apache,
}

/// What to do with topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicAction {
    /// Print the names.
    List {
        /// Which.
        topics: TopicsNamed,
    },
    /// Print partitions and configuration.
    Describe {
        /// Which.
        topics: TopicsNamed,
        /// Which partitions and topics to show.
        filter: PartitionFilter,
        /// What to do if there is none of them.
        missing: OnMissing,
    },
    /// Create one.
    Create {
        /// Its name and settings.
        spec: TopicSpec,
        /// What to do if it is there.
        existing: OnExisting,
    },
    /// Change them.
    Alter {
        /// Which.
        topics: TopicsNamed,
        /// The new number of partitions, if it is to grow.
        partitions: Option<i32>,
        /// Brokers of each partition, the old ones included.
        replica_assignment: Option<Vec<Vec<i32>>>,
        /// Settings to set.
        set: Vec<(String, String)>,
        /// Settings to go back to their default.
        unset: Vec<String>,
        /// What to do if there is none of them.
        missing: OnMissing,
    },
    /// Delete them.
    Delete {
        /// Which.
        topics: TopicsNamed,
        /// What to do if one is not there.
        missing: OnMissing,
    },
    /// Print the first and last offsets.
    Offsets {
        /// The topic.
        topic: String,
        /// Whether the end is that of committed data.
        isolation: IsolationLevel,
    },
    /// Delete records from the start.
    Trim {
        /// The topic.
        topic: String,
        /// Only these partitions; `None` is all.
        partitions: Option<Vec<i32>>,
        /// The first offset to keep; `None` keeps nothing.
        before: Option<i64>,
    },
}

impl TopicAction {
    /// Whether it only answers, and changes nothing.
    pub fn only_tells(&self) -> bool {
        match self {
            TopicAction::List { .. } | TopicAction::Describe { .. } | TopicAction::Offsets { .. } => true,
            TopicAction::Create { .. }
            | TopicAction::Alter { .. }
            | TopicAction::Delete { .. }
            | TopicAction::Trim { .. } => false,
        }
    }
}

/// Which topics an action is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicsNamed {
    /// All; Kafka's own only if `internal`.
    All {
        /// With Kafka's own topics.
        internal: bool,
    },
    /// These.
    Names(Vec<String>),
    /// kafka-topics' `--topic`: a regular expression over the whole name, commas standing for `|`.
    Pattern {
        /// The expression.
        regex: String,
        /// With Kafka's own topics.
        internal: bool,
    },
    /// The one with this id (kafka-topics' `--topic-id`), in Kafka's base64.
    Id(String),
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Partitions; `None` is the broker's default.
    pub partitions: Option<i32>,
    /// Replicas of each; `None` is the broker's default.
    pub replication_factor: Option<i16>,
    /// Brokers of each partition; then the two above are `None`.
    pub replica_assignment: Option<Vec<Vec<i32>>>,
    /// Settings.
    pub configs: Vec<(String, String)>,
}

/// Which partitions and topics a description shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartitionFilter {
    /// All.
    #[default]
    All,
    /// Those with replicas missing from the in-sync set.
    UnderReplicated,
    /// Those without a live leader.
    Unavailable,
    /// Those with fewer in-sync replicas than `min.insync.replicas`.
    UnderMinIsr,
    /// Those with exactly that many.
    AtMinIsr,
    /// Topics with settings of their own, without their partitions.
    WithOverrides,
}

/// What to do when a topic to create is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    /// Fail.
    Fail,
    /// Succeed and change nothing.
    Keep,
}

/// What to do when a topic is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// Fail.
    Fail,
    /// Succeed and do nothing.
    Ignore,
}

/// `kcopy cluster describe`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterDescribe {
    /// Brokers, properties, verbosity.
    pub common: Common,
    /// How to print it.
    pub shape: Shape,
}

/// `kcopy broker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerPlan {
    /// Where the first broker listens; further ones take the following ports, or free ones for port 0.
    pub listen: (String, u16),
    /// How many brokers.
    pub nodes: u16,
    /// Topics to create, with their partitions (`None` is `num.partitions`).
    pub topics: Vec<(String, Option<i32>)>,
    /// Broker properties by Kafka's names.
    pub configs: Vec<(String, String)>,
    /// Where the control port listens.
    pub control: Option<(String, u16)>,
    /// A command to run beside the broker; empty for none.
    pub command: Vec<std::ffi::OsString>,
    /// 0 quiet, 1 normal, one more for each `-v`.
    pub verbosity: u8,
}
