//! `kcopy broker`.

use std::ffi::OsString;

use kcopy_client::HostPort;

use super::common::{check_topic, number};
use crate::plan::{BrokerPlan, Plan, parse_key_value};

/// An in-memory Kafka, for tests and for trying things out
///
/// Prints its bootstrap servers on stdout once it answers, and runs until SIGTERM, SIGINT, SIGQUIT or SIGHUP (not
/// where nohup has that ignored), which is how it ends well: with 0. With a command it picks free ports, sets
/// KCOPY_BROKERS, BOOTSTRAP_SERVERS and KAFKA_BOOTSTRAP_SERVERS for it, stops with it, and exits with its code.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  kcopy broker
  kcopy broker --nodes 3 --topic orders:6 --config num.partitions=4
  kcopy broker --topic orders:3 -- pytest
  kcopy broker --control 9093 &
  curl localhost:9093/faults -d '{\"action\":\"close\",\"api\":\"Produce\"}'
  curl -X POST localhost:9093/nodes/1/stop")]
pub(super) struct BrokerArgs {
    /// Where to listen; further nodes take the following ports [default: 127.0.0.1:9092, with a command free ports]
    #[arg(long, env = "KCOPY_LISTEN", value_name = "[HOST:]PORT")]
    listen: Option<String>,
    /// How many brokers
    #[arg(long, env = "KCOPY_NODES", value_name = "N", default_value = "1", value_parser = number::<u16>(1, 1000))]
    nodes: u16,
    /// A topic to create; may be repeated
    #[arg(long, env = "KCOPY_TOPIC", value_name = "NAME[:PARTITIONS]", value_parser = parse_topic)]
    topic: Vec<(String, Option<i32>)>,
    /// A broker property by Apache Kafka's name; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_key_value)]
    config: Vec<(String, String)>,
    /// Where a control port listens: HTTP with JSON bodies, to inject faults, stop brokers, move leaders and see
    /// requests. `GET /` lists all. A command finds its URL in KCOPY_CONTROL_URL. Keep it on the loopback
    #[arg(long, env = "KCOPY_CONTROL", value_name = "[HOST:]PORT")]
    control: Option<String>,
    /// Print nothing but the bootstrap servers
    #[arg(short, long, env = "KCOPY_QUIET", conflicts_with = "verbose")]
    quiet: bool,
    /// Tell more
    #[arg(short, long, env = "KCOPY_VERBOSE", action = clap::ArgAction::Count)]
    verbose: u8,
    /// A command to run beside the broker
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl BrokerArgs {
    pub(super) fn plan(self) -> Result<Plan, String> {
        let listen = match (&self.listen, self.command.is_empty()) {
            (Some(listen), _) => address("--listen", listen)?,
            (None, true) => ("127.0.0.1".to_owned(), 9092),
            (None, false) => ("127.0.0.1".to_owned(), 0),
        };
        let last = u32::from(listen.1) + u32::from(self.nodes) - 1;
        if listen.1 != 0 && last > u32::from(u16::MAX) {
            return Err(format!(
                "--listen: {} brokers from port {} would need port {last}",
                self.nodes, listen.1
            ));
        }
        Ok(Plan::Broker(Box::new(BrokerPlan {
            listen,
            nodes: self.nodes,
            topics: self.topic,
            configs: self.config,
            control: self.control.as_deref().map(|control| address("--control", control)).transpose()?,
            command: self.command,
            verbosity: if self.quiet { 0 } else { self.verbose.saturating_add(1) },
        })))
    }
}

/// `HOST:PORT`, or a port of 127.0.0.1; port 0 is any free one.
fn address(option: &str, text: &str) -> Result<(String, u16), String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = text.parse().map_err(|_| format!("{option}: {text} is no port: 65535 is the last"))?;
        return Ok(("127.0.0.1".to_owned(), port));
    }
    if let Some(host) = text.strip_suffix(":0").filter(|host| !host.is_empty()) {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        return Ok((host.to_owned(), 0));
    }
    let address = HostPort::parse(text).map_err(|error| format!("{option}: {}", error.message()))?;
    Ok((address.host, address.port))
}

/// `NAME[:PARTITIONS]`.
fn parse_topic(text: &str) -> Result<(String, Option<i32>), String> {
    let (name, partitions) = match text.split_once(':') {
        None => (text, None),
        Some((name, partitions)) => match partitions.parse::<i32>() {
            Ok(partitions) if partitions > 0 => (name, Some(partitions)),
            _ => return Err(format!("\"{partitions}\" is no number of partitions")),
        },
    };
    check_topic(name)?;
    Ok((name.to_owned(), partitions))
}
