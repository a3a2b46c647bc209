//! `kcopy consume`.

use std::time::Duration;

use clap::ValueEnum;
use kcopy_format::{Format, InvalidText, template::Template};

use super::common::{CommonArgs, ConfigFileArgs, check_topic, number};
use super::exact::ExactArgs;
use super::formats::{FormatArgs, Invalid};
use crate::environment::Environment;
use crate::plan::{
    CommitPolicy, Consume, End, GroupUse, Limits, Output, Plan, Start, Stop, TopicSelection, parse_duration,
    parse_partitions, parse_position, parse_size,
};
use crate::properties::{ClientProperties, IsolationLevel, OffsetReset, Scope};

/// Kafka to stdout, for COPY ... FROM PROGRAM
///
/// Ends at the partitions' ends as they are when it starts. With a group it starts at the group's committed
/// offsets, and commits after everything is written, flushed and taken by the reader.
///
/// A signal ends it at once, with failure, and nothing is committed but what is already on its way. One that its caller ignores stays ignored, as SIGINT
/// does in what a script starts with & (called kcat, it ends by SIGINT and SIGTERM even then).
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ConsumeArgs {
    /// Topics to read
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// The topics are regular expressions
    #[arg(long, env = "KCOPY_REGEX")]
    regex: bool,
    /// Only these partitions, for example 0,3-5
    #[arg(short, long, env = "KCOPY_PARTITIONS", value_name = "LIST")]
    partitions: Option<String>,
    /// Where to start: beginning, end, committed, an offset, -N (N before the end), or a time (RFC 3339, @ms, -1h)
    /// [default: beginning, with a group committed]
    #[arg(long, env = "KCOPY_FROM", value_name = "POSITION", allow_hyphen_values = true)]
    from: Option<String>,
    /// Where to stop, likewise, and not beyond the end but with --follow [default: end]
    #[arg(long, env = "KCOPY_UNTIL", value_name = "POSITION", allow_hyphen_values = true)]
    until: Option<String>,
    /// Go on at the end and wait for new records; partitions and topics that come later are for the next run
    #[arg(short, long, env = "KCOPY_FOLLOW")]
    follow: bool,
    /// Stop after so many records, those that are skipped (--on-error) among them
    #[arg(short = 'c', long, env = "KCOPY_MAX_MESSAGES", value_name = "N", value_parser = number::<u64>(1, u64::MAX))]
    max_messages: Option<u64>,
    /// Stop after so many bytes of keys and values, for example 64MiB
    #[arg(long, env = "KCOPY_MAX_BYTES", value_name = "SIZE", value_parser = parse_max_bytes)]
    max_bytes: Option<u64>,
    /// Stop after this time, for example 30s
    #[arg(long, env = "KCOPY_MAX_TIME", value_name = "DURATION", value_parser = parse_duration)]
    max_time: Option<Duration>,
    /// Start at this group's committed offsets, and commit
    #[arg(short, long, env = "KCOPY_GROUP", value_name = "GROUP")]
    group: Option<String>,
    /// Commit nothing
    #[arg(long, env = "KCOPY_NO_COMMIT")]
    no_commit: bool,
    /// Join the group and share its partitions (comes in a later release)
    #[arg(long, env = "KCOPY_JOIN")]
    join: bool,
    /// Whether records of open and aborted transactions are read [default: read_committed]
    #[arg(long, env = "KCOPY_ISOLATION", value_name = "LEVEL")]
    isolation: Option<Isolation>,
    #[command(flatten)]
    format: FormatArgs,
    /// kcat's format string instead of --format, for example '%o %k %s\n'
    #[arg(
        long,
        env = "KCOPY_TEMPLATE",
        value_name = "FORMAT",
        help_heading = "Format",
        allow_hyphen_values = true
    )]
    template: Option<String>,
    /// What becomes of bytes that are not valid text, in columns of text; what is no JSON in a column of json ends the run
    #[arg(
        long,
        env = "KCOPY_INVALID_TEXT",
        value_name = "WAY",
        help_heading = "Format",
        default_value = "error"
    )]
    invalid_text: Invalid,
    #[command(flatten)]
    exact: ExactArgs,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    config: ConfigFileArgs,
}

const EXAMPLES: &str = "\
Examples:
  kcopy consume orders --group load
  kcopy consume orders --format csv --columns 'key, offset, doc jsonb = value'
  kcopy consume orders --from 2026-01-31T00:00:00Z --until -1h -p 0,3-5
  kcopy consume orders payments --follow --template '%t [%p] %o: %s\\n'
  psql -c \"copy orders from program 'kcopy consume orders --group load'\"";

/// `--isolation`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Isolation {
    ReadCommitted,
    ReadUncommitted,
}

impl From<Isolation> for IsolationLevel {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::ReadCommitted => Self::ReadCommitted,
            Isolation::ReadUncommitted => Self::ReadUncommitted,
        }
    }
}

impl ConsumeArgs {
    pub(super) fn plan(self, environment: &Environment<'_>) -> Result<Plan, String> {
        if self.join {
            return Err(
                "--join comes in a later release: --group alone reads with the group's offsets".to_owned()
            );
        }
        if self.group.as_deref() == Some("") {
            return Err("--group: a group has a name (an empty variable of the shell?)".to_owned());
        }
        let options = [("group.id", self.group.as_deref())];
        let common =
            self.common.check(self.config.file.as_ref(), &options, Some(Scope::Consumer), environment)?;
        let properties = &common.properties;
        // Exact starts and a group's offsets are two answers to one question.
        let group = self.group_use(properties).filter(|_| self.exact.start.is_none());
        let start = start(self.from.as_deref(), group.is_some(), properties, environment.now_ms)?;
        let stop = stop(self.until.as_deref(), group.is_some(), environment.now_ms)?;
        if is_before(stop.as_ref(), &start) {
            let (from, until) = (self.from.unwrap_or_default(), self.until.unwrap_or_default());
            return Err(format!("--until {until} is before --from {from}: nothing would be read"));
        }
        let partitions = self.partitions.as_deref().map(parse_partitions).transpose();
        let isolation =
            self.isolation.map(IsolationLevel::from).or(properties.isolation_level).unwrap_or_default();
        if !self.regex {
            self.topics.iter().try_for_each(|topic| check_topic(topic))?;
        }
        // Whoever keeps positions takes the types from a catalog, and makes no slips.
        if self.exact.start.is_none() {
            self.format.check_names()?;
        }
        let output = output(self.format, self.template, self.invalid_text.into())?;
        let is_text = matches!(&output, Output::Format(options) if options.format == Format::Text);
        if self.exact.escape_bytes && !is_text {
            return Err(
                "--escape-bytes is for --format text: others may have % in what they are made of".to_owned()
            );
        }
        let exact = self.exact.check(self.topics.len() == 1 && !self.regex)?;
        let limits =
            Limits { max_messages: self.max_messages, max_bytes: self.max_bytes, max_time: self.max_time };
        Ok(Plan::Consume(Box::new(Consume {
            partitions: partitions.map_err(|reason| format!("--partitions: {reason}"))?,
            start,
            stop,
            end: if self.follow { End::Follow } else { End::Pinned },
            limits,
            group,
            isolation,
            output,
            topics: if self.regex {
                TopicSelection::Regex(self.topics)
            } else {
                TopicSelection::Names(self.topics)
            },
            unbuffered: false,
            keep_going: false,
            exact,
            common,
        })))
    }

    fn group_use(&self, properties: &ClientProperties) -> Option<GroupUse> {
        let id = properties.group_id.clone()?;
        let never = self.no_commit || properties.enable_auto_commit == Some(false);
        Some(GroupUse { id, commit: if never { CommitPolicy::Never } else { CommitPolicy::Always } })
    }
}

fn parse_max_bytes(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Err("expected 1 byte or more".to_owned()),
        size => Ok(size),
    }
}

fn start(
    from: Option<&str>,
    group: bool,
    properties: &ClientProperties,
    now_ms: i64,
) -> Result<Start, String> {
    let committed =
        Start::Committed { otherwise: properties.auto_offset_reset.unwrap_or(OffsetReset::Beginning) };
    match from {
        None if group => Ok(committed),
        None => Ok(Start::Beginning),
        Some(from) => match parse_position(from, now_ms).map_err(|reason| format!("--from: {reason}"))? {
            Start::Committed { .. } if group => Ok(committed),
            Start::Committed { .. } => {
                Err("--from committed needs the group whose offsets to use: --group GROUP".into())
            }
            start => Ok(start),
        },
    }
}

/// Whether a run would end before it begins, as far as the command line alone tells.
fn is_before(stop: Option<&Stop>, start: &Start) -> bool {
    match (stop, start) {
        (Some(Stop::Offset(stop)), Start::Offset(start)) => stop < start,
        (Some(Stop::Timestamp(stop)), Start::Timestamp(start)) => stop < start,
        (Some(Stop::BeforeEnd(stop)), Start::BeforeEnd(start)) => stop > start,
        _ => false,
    }
}

fn stop(until: Option<&str>, group: bool, now_ms: i64) -> Result<Option<Stop>, String> {
    let Some(until) = until else { return Ok(None) };
    match parse_position(until, now_ms).map_err(|reason| format!("--until: {reason}"))? {
        Start::Beginning => Err("--until beginning would read nothing".into()),
        Start::End => Ok(Some(Stop::BeforeEnd(0))),
        Start::Offset(offset) => Ok(Some(Stop::Offset(offset))),
        Start::BeforeEnd(count) => Ok(Some(Stop::BeforeEnd(count))),
        Start::Timestamp(timestamp) => Ok(Some(Stop::Timestamp(timestamp))),
        Start::Committed { .. } if group => Ok(Some(Stop::Committed)),
        Start::Committed { .. } => {
            Err("--until committed needs the group whose offsets to use: --group GROUP".into())
        }
    }
}

fn output(format: FormatArgs, template: Option<String>, invalid_text: InvalidText) -> Result<Output, String> {
    let Some(template) = template else {
        let output = Output::Format(format.options(invalid_text)?);
        output.writer().map_err(|error| error.to_string())?;
        return Ok(output);
    };
    if let Some(option) = format.given() {
        return Err(format!("{option} has no meaning beside --template"));
    }
    let template = Template::parse(template).map_err(|error| format!("--template: {error}"))?;
    Ok(Output::Template(template))
}
