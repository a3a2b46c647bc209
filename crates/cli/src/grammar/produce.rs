//! `kcopy produce`.

use kcopy_format::{InvalidText, read::RecordReader};

use super::common::{CommonArgs, ConfigFileArgs, check_topic, number};
use super::formats::FormatArgs;
use crate::environment::Environment;
use crate::plan::{Input, InputFormat, Plan, Produce};
use crate::properties::Scope;

/// stdin to Kafka, for COPY ... TO PROGRAM
///
/// Every record is acknowledged by all in-sync replicas before it exits with 0. What comes before a
/// faulty row is delivered all the same; so it is before the end marker \. of text and csv, which nothing may follow.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ProduceArgs {
    /// Topic to write to
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// The partition for every record [default: the partitioner's choice]
    #[arg(short, long, env = "KCOPY_PARTITION", value_name = "N", value_parser = number::<i32>(0, i32::MAX))]
    partition: Option<i32>,
    /// A header for every record; NAME alone has a null value; may be repeated
    #[arg(short = 'H', long, env = "KCOPY_ADD_HEADER", value_name = "NAME=VALUE")]
    add_header: Vec<String>,
    /// Stop after so many records
    #[arg(short = 'c', long, env = "KCOPY_MAX_MESSAGES", value_name = "N", value_parser = number::<u64>(1, u64::MAX))]
    max_messages: Option<u64>,
    /// Who must have a record: all, 1 (the leader), 0 (nobody) [default: all]
    #[arg(long, env = "KCOPY_ACKS", value_name = "ACKS", allow_hyphen_values = true)]
    acks: Option<String>,
    /// none, gzip, snappy, lz4 or zstd [default: none]
    #[arg(short = 'z', long, env = "KCOPY_COMPRESSION", value_name = "CODEC")]
    compression: Option<String>,
    /// consistent_random (librdkafka's), murmur2_random (Java's), random, .. [default: consistent_random]
    #[arg(long, env = "KCOPY_PARTITIONER", value_name = "NAME")]
    partitioner: Option<String>,
    /// One transaction for the whole input (comes in a later release)
    #[arg(long, env = "KCOPY_TRANSACTIONAL_ID", value_name = "ID")]
    transactional_id: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    config: ConfigFileArgs,
}

/// What `--timeout` is here.
pub(super) const TIMEOUT_HELP: &str = "How long metadata may take [default: 30s], and brokers may acknowledge nothing \
    [default: 2m after a record was read; -X message.timeout.ms sets that, and takes the place of this]";

const EXAMPLES: &str = "\
Examples:
  echo 'hello' | kcopy produce orders --format raw
  kcopy consume a --columns key,value | kcopy produce b --columns key,value
  psql -c \"copy orders(id, doc) to program
    'kcopy produce orders --columns key,value'\"";

impl ProduceArgs {
    pub(super) fn plan(self, environment: &Environment<'_>) -> Result<Plan, String> {
        check_topic(&self.topic)?;
        let options = [
            ("acks", self.acks.as_deref()),
            ("compression.type", self.compression.as_deref()),
            ("partitioner", self.partitioner.as_deref()),
            ("transactional.id", self.transactional_id.as_deref()),
        ];
        let common =
            self.common.check(self.config.file.as_ref(), &options, Some(Scope::Producer), environment)?;
        self.format.check_names()?;
        let format = self.format.options(InvalidText::Error)?;
        // What does not fit together is wrong use, before anybody connects.
        RecordReader::new(&format).map_err(|error| error.to_string())?;
        Ok(Plan::Produce(Box::new(Produce {
            topic: self.topic,
            input: Input::Stdin,
            format: InputFormat::Format(format),
            headers: self.add_header.iter().map(|text| header(text)).collect::<Result<_, _>>()?,
            partition: self.partition,
            max_messages: self.max_messages,
            tee: false,
            unreachable_timeout: self.common.timeout.filter(|_| common.properties.message_timeout.is_none()),
            keep_going: false,
            common,
        })))
    }
}

fn header(text: &str) -> Result<(Vec<u8>, Option<Vec<u8>>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.as_bytes().to_vec())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(format!("--add-header: \"{text}\" has no name (expected NAME=VALUE or NAME)"));
    }
    Ok((name.as_bytes().to_vec(), value))
}
