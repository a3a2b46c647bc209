//! The checked plan that every grammar parses into, and that the run layer carries out.
//!
//! A plan is complete: nothing in it needs the command line, the environment or a configuration file again.

mod admin;
mod consume;
mod load;
mod produce;
mod values;

pub use admin::{
    BrokerPlan, ClusterDescribe, ListMetadata, OffsetQuery, OnExisting, OnMissing, PartitionFilter,
    QueryOffsets, Shape, TopicAction, TopicPlan, TopicSpec, TopicsNamed,
};
pub use consume::{
    CommitPolicy, Consume, End, Exact, GroupUse, Limits, Output, PartitionStart, Start, Stop, TopicSelection,
};
pub use load::{BatchLimits, Load, Mode, OnError, Route};
pub use produce::{Input, InputFormat, Produce};
pub(crate) use values::{edit_distance, nearest};
pub use values::{
    parse_delimiter, parse_duration, parse_key_value, parse_partitions, parse_position, parse_size,
    parse_starts,
};

use std::path::PathBuf;
use std::time::Duration;

use crate::properties::ClientProperties;

/// Everything that a command line can ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Text for stdout, exit code 0: help, versions, property lists, completions.
    Print(String),
    /// Kafka to stdout.
    Consume(Box<Consume>),
    /// Kafka to PostgreSQL.
    Load(Box<Load>),
    /// stdin or files to Kafka.
    Produce(Box<Produce>),
    /// kcat's `-L`.
    ListMetadata(Box<ListMetadata>),
    /// kcat's `-Q`.
    QueryOffsets(Box<QueryOffsets>),
    /// Topic administration.
    Topic(Box<TopicPlan>),
    /// `kcopy cluster describe`.
    ClusterDescribe(Box<ClusterDescribe>),
    /// `kcopy broker`.
    Broker(Box<BrokerPlan>),
    /// Prints a report of `kcopy consume --report` as a row of COPY text, and removes it.
    TakeReport {
        /// The report.
        path: PathBuf,
        /// Whether whatever is not ASCII is escaped.
        is_ascii: bool,
    },
}

impl Plan {
    /// What the plan shares with others, unless it talks to no broker.
    pub fn common(&self) -> Option<&Common> {
        match self {
            Self::Print(_) | Self::Broker(_) | Self::TakeReport { .. } => None,
            Self::Consume(plan) => Some(&plan.common),
            Self::Load(plan) => Some(&plan.common),
            Self::Produce(plan) => Some(&plan.common),
            Self::ListMetadata(plan) => Some(&plan.common),
            Self::QueryOffsets(plan) => Some(&plan.common),
            Self::Topic(plan) => Some(&plan.common),
            Self::ClusterDescribe(plan) => Some(&plan.common),
        }
    }
}

/// What every plan that talks to brokers has.
#[derive(Debug, Clone, PartialEq)]
pub struct Common {
    /// Whose grammar it was: it decides the texts on stderr.
    pub grammar: Grammar,
    /// The properties; `bootstrap_servers` is never empty.
    pub properties: ClientProperties,
    /// 0 quiet (`-q`), 1 normal, one more for each `-v`.
    pub verbosity: u8,
    /// What to tell the user on stderr before the run, unless it is quiet.
    pub notices: Vec<String>,
    /// How long metadata, look-ups of offsets and administration may take; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// The properties in effect, where nothing but these was asked for (`-X dump`).
    pub dump: Option<String>,
}

impl Common {
    /// Whether information (never errors) is hidden.
    pub fn quiet(&self) -> bool {
        self.verbosity == 0
    }
}

/// The three grammars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// kcat's.
    Kcat,
    /// kcopy's own.
    Kcopy,
    /// Apache Kafka's `kafka-topics`.
    KafkaTopics,
}

impl Grammar {
    /// The exit code of wrong use.
    pub fn wrong_use_exit_code(self) -> u8 {
        match self {
            Self::Kcat | Self::KafkaTopics => 1,
            Self::Kcopy => 2,
        }
    }
}
