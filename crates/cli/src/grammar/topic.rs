//! `kcopy topic` and `kcopy cluster`.

use clap::{Args, Subcommand};

use super::common::{CommonArgs, ConfigFileArgs, OtherConfigFileArgs, check_topic, number};
use super::consume::Isolation;
use crate::environment::Environment;
use crate::plan::{
    ClusterDescribe, OnExisting, OnMissing, PartitionFilter, Plan, Shape, TopicAction, TopicPlan, TopicSpec,
    TopicsNamed, parse_key_value, parse_partitions,
};
use crate::properties::IsolationLevel;

/// Topics: list, describe, create, alter, delete, offsets, trim
#[derive(Debug, Subcommand)]
#[command(before_help = "Examples:
  kcopy topic list
  kcopy topic create orders --partitions 3 --config retention.ms=86400000
  kcopy topic describe orders --json")]
pub(super) enum TopicCommand {
    /// Names of the topics
    #[command(before_help = "Examples:\n  kcopy topic list\n  kcopy topic list --internal --json")]
    List(ListArgs),
    /// Partitions and settings
    #[command(before_help = "Examples:\n  kcopy topic describe\n  kcopy topic describe orders --json")]
    Describe(DescribeArgs),
    /// Create a topic
    #[command(before_help = "Examples:
  kcopy topic create orders
  kcopy topic create orders --partitions 3 --config cleanup.policy=compact")]
    Create(CreateArgs),
    /// Add partitions, change settings
    #[command(before_help = "Examples:
  kcopy topic alter orders --partitions 6
  kcopy topic alter orders --config retention.ms=3600000 --unset cleanup.policy")]
    Alter(AlterArgs),
    /// Delete topics
    #[command(before_help = "Examples:\n  kcopy topic delete orders\n  kcopy topic delete a b --if-exists")]
    Delete(DeleteArgs),
    /// First and last offsets
    #[command(before_help = "Examples:
  kcopy topic offsets orders
  kcopy topic offsets orders --isolation read_committed --json")]
    Offsets(OffsetsArgs),
    /// Delete records before an offset
    #[command(before_help = "Examples:
  kcopy topic trim orders --before 1000 --partitions 0
  kcopy topic trim orders --before end")]
    Trim(TrimArgs),
}

/// The cluster as a whole
#[derive(Debug, Subcommand)]
#[command(before_help = "Examples:\n  kcopy cluster describe\n  kcopy cluster describe --json")]
pub(super) enum ClusterCommand {
    /// Brokers, controller, cluster id
    #[command(
        before_help = "Examples:\n  kcopy cluster describe\n  kcopy cluster describe -b host:9092 --json"
    )]
    Describe(ClusterArgs),
}

/// What administration takes.
#[derive(Debug, Args)]
struct AdminArgs {
    /// Print one JSON document
    #[arg(long, env = "KCOPY_JSON")]
    json: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Kafka's own topics too
    #[arg(long, env = "KCOPY_INTERNAL")]
    internal: bool,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    config: ConfigFileArgs,
}

#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// Topics [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    config: ConfigFileArgs,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The topic
    #[arg(value_name = "NAME")]
    name: String,
    /// Partitions
    #[arg(long, env = "KCOPY_PARTITIONS", value_name = "N", default_value = "1", value_parser = number::<i32>(1, i32::MAX))]
    partitions: i32,
    /// Replicas of each partition
    #[arg(long, env = "KCOPY_REPLICAS", value_name = "N", default_value = "1", value_parser = number::<i16>(1, i16::MAX))]
    replicas: i16,
    /// A setting; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_key_value)]
    config: Vec<(String, String)>,
    /// Succeed if the topic is there
    #[arg(long, env = "KCOPY_IF_NOT_EXISTS")]
    if_not_exists: bool,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    file: OtherConfigFileArgs,
}

#[derive(Debug, Args)]
pub(super) struct AlterArgs {
    /// The topic
    #[arg(value_name = "NAME")]
    name: String,
    /// The new number of partitions; it can only grow
    #[arg(long, env = "KCOPY_PARTITIONS", value_name = "N", value_parser = number::<i32>(1, i32::MAX))]
    partitions: Option<i32>,
    /// A setting to set; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_key_value)]
    config: Vec<(String, String)>,
    /// A setting to go back to its default; may be repeated
    #[arg(long, env = "KCOPY_UNSET", value_name = "KEY")]
    unset: Vec<String>,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    file: OtherConfigFileArgs,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// Topics
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Succeed if one is not there
    #[arg(long, env = "KCOPY_IF_EXISTS")]
    if_exists: bool,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    config: ConfigFileArgs,
}

#[derive(Debug, Args)]
pub(super) struct OffsetsArgs {
    /// The topic
    #[arg(value_name = "NAME")]
    name: String,
    /// read_committed: the last offset is that of committed data
    #[arg(long, env = "KCOPY_ISOLATION", value_name = "LEVEL")]
    isolation: Option<Isolation>,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    config: ConfigFileArgs,
}

#[derive(Debug, Args)]
pub(super) struct TrimArgs {
    /// The topic
    #[arg(value_name = "NAME")]
    name: String,
    /// The first offset to keep, or end to keep nothing. Nothing is trimmed where a partition ends before it
    #[arg(long, env = "KCOPY_BEFORE", value_name = "OFFSET")]
    before: String,
    /// Only these partitions, for example 0,3-5
    #[arg(short, long, env = "KCOPY_PARTITIONS", value_name = "LIST")]
    partitions: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    config: ConfigFileArgs,
}

#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    config: ConfigFileArgs,
}

impl TopicCommand {
    pub(super) fn plan(self, environment: &Environment<'_>) -> Result<Plan, String> {
        let (action, admin, file) = match self {
            Self::List(args) => (
                TopicAction::List { topics: TopicsNamed::All { internal: args.internal } },
                args.admin,
                args.config.file,
            ),
            Self::Describe(args) => (describe(args.names)?, args.admin, args.config.file),
            Self::Create(args) => {
                check_topic(&args.name)?;
                let spec = TopicSpec {
                    name: args.name,
                    partitions: Some(args.partitions),
                    replication_factor: Some(args.replicas),
                    replica_assignment: None,
                    configs: args.config,
                };
                let existing = if args.if_not_exists { OnExisting::Keep } else { OnExisting::Fail };
                (TopicAction::Create { spec, existing }, args.admin, args.file.file)
            }
            Self::Alter(args) => {
                if args.partitions.is_none() && args.config.is_empty() && args.unset.is_empty() {
                    return Err("nothing to alter: give --partitions, --config or --unset".into());
                }
                let action = TopicAction::Alter {
                    topics: named(vec![args.name])?,
                    partitions: args.partitions,
                    replica_assignment: None,
                    set: args.config,
                    unset: args.unset,
                    missing: OnMissing::Fail,
                };
                (action, args.admin, args.file.file)
            }
            Self::Delete(args) => {
                let missing = if args.if_exists { OnMissing::Ignore } else { OnMissing::Fail };
                (TopicAction::Delete { topics: named(args.names)?, missing }, args.admin, args.config.file)
            }
            Self::Offsets(args) => {
                check_topic(&args.name)?;
                let isolation = args.isolation.map_or(IsolationLevel::ReadUncommitted, Into::into);
                (TopicAction::Offsets { topic: args.name, isolation }, args.admin, args.config.file)
            }
            Self::Trim(args) => (trim(&args)?, args.admin, args.config.file),
        };
        let common = admin.common.check(file.as_ref(), &[], None, environment)?;
        Ok(Plan::Topic(Box::new(TopicPlan { common, action, shape: shape(admin.json) })))
    }
}

impl ClusterCommand {
    pub(super) fn plan(self, environment: &Environment<'_>) -> Result<Plan, String> {
        let Self::Describe(args) = self;
        let common = args.admin.common.check(args.config.file.as_ref(), &[], None, environment)?;
        Ok(Plan::ClusterDescribe(Box::new(ClusterDescribe { common, shape: shape(args.admin.json) })))
    }
}

fn shape(json: bool) -> Shape {
    if json { Shape::Json } else { Shape::Table }
}

fn named(names: Vec<String>) -> Result<TopicsNamed, String> {
    names.iter().try_for_each(|name| check_topic(name))?;
    Ok(TopicsNamed::Names(names))
}

fn describe(names: Vec<String>) -> Result<TopicAction, String> {
    let topics = if names.is_empty() { TopicsNamed::All { internal: false } } else { named(names)? };
    Ok(TopicAction::Describe { topics, filter: PartitionFilter::All, missing: OnMissing::Fail })
}

fn trim(args: &TrimArgs) -> Result<TopicAction, String> {
    check_topic(&args.name)?;
    let before = match args.before.as_str() {
        "end" => None,
        offset => match offset.parse::<i64>() {
            Ok(offset) if offset >= 0 => Some(offset),
            _ => return Err(format!("--before: \"{offset}\" is no offset (expected 0 or more, or end)")),
        },
    };
    let partitions = args.partitions.as_deref().map(parse_partitions).transpose();
    let partitions = partitions.map_err(|reason| format!("--partitions: {reason}"))?;
    Ok(TopicAction::Trim { topic: args.name.clone(), partitions, before })
}
