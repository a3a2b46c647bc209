//! `kcopy load`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use clap::ValueEnum;
use kcopy_format::Columns;

use super::common::{CommonArgs, ConfigFileArgs, check_topic, number};
use crate::environment::Environment;
use crate::load::postgres::settings::Settings;
use crate::plan::{
    BatchLimits, End, Load, Mode, OnError, Plan, Route, Start, parse_duration, parse_partitions,
    parse_position, parse_size,
};
use crate::properties::Scope;

/// Kafka to PostgreSQL over the wire, exactly once
///
/// Rows and positions move in one transaction: schema kcopy of the database says where each partition stands.
/// Ends at the partitions' ends as they are when it starts; run it again to go on, or let it --follow.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct LoadArgs {
    /// Topics to load
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// The table, as in SQL; or TOPIC=TABLE, repeated; {topic} stands for the topic's name
    #[arg(long, env = "KCOPY_INTO", value_name = "TABLE", required = true)]
    into: Vec<String>,
    /// PostgreSQL: a URL, keyword=value words, or a database; PG* variables, pg_service.conf and ~/.pgpass
    /// hold as in psql
    #[arg(
        short = 'd',
        long,
        visible_alias = "dsn",
        env = "KCOPY_POSTGRES",
        value_name = "URL",
        help_heading = "Connection"
    )]
    postgres: Option<String>,
    /// Columns: NAME [= SOURCE], separated by commas [default: the table's own, filled from members of the
    /// JSON value, or from what is called key, value, topic, partition, offset, timestamp, timestamp_type or headers]
    #[arg(long, env = "KCOPY_COLUMNS", value_name = "LIST")]
    columns: Option<String>,
    /// Only these partitions, for example 0,3-5
    #[arg(short, long, env = "KCOPY_PARTITIONS", value_name = "LIST")]
    partitions: Option<String>,
    /// Where a topic that was never loaded into the table starts: beginning, end, an offset, -N (N before the
    /// end), or a time (RFC 3339, @ms, -1h) [default: beginning]
    #[arg(long, env = "KCOPY_FROM", value_name = "POSITION", allow_hyphen_values = true)]
    from: Option<String>,
    /// It starts at the offsets that this group has committed
    #[arg(long, env = "KCOPY_IMPORT_GROUP", value_name = "GROUP", conflicts_with = "from")]
    import_group: Option<String>,
    /// Commit the positions to this group as well, for tools that show lag; nothing is read from it
    #[arg(short, long, env = "KCOPY_GROUP", value_name = "GROUP")]
    group: Option<String>,
    /// Go on at the end and wait for new records
    #[arg(short, long, env = "KCOPY_FOLLOW")]
    follow: bool,
    /// What becomes of a row whose primary key is there
    #[arg(long, env = "KCOPY_MODE", value_name = "MODE", default_value = "append")]
    mode: ModeName,
    /// A record without a value deletes the row of its key (with --mode upsert)
    #[arg(long, env = "KCOPY_DELETE_ON_TOMBSTONE")]
    delete_on_tombstone: bool,
    /// What becomes of a record that the table cannot take: fail, skip, reject-table (kcopy.rejected) or
    /// dead-letter=TOPIC
    #[arg(long, env = "KCOPY_ON_ERROR", value_name = "WAY", default_value = "fail", value_parser = parse_on_error)]
    on_error: OnError,
    /// Go on behind records that are gone: a log cut short, a topic made anew, another cluster
    #[arg(long, env = "KCOPY_ACCEPT_LOSS")]
    accept_loss: bool,
    /// Make a table that is missing; its columns are inferred from the first records, and the SQL is shown
    #[arg(long, env = "KCOPY_CREATE_TABLE")]
    create_table: bool,
    /// With --create-table: only print the SQL
    #[arg(long, env = "KCOPY_DRY_RUN")]
    dry_run: bool,
    /// Records in one transaction at most
    #[arg(long, env = "KCOPY_BATCH_ROWS", value_name = "N", default_value = "100000", help_heading = "Batches", value_parser = number::<u32>(1, 10_000_000))]
    batch_rows: u32,
    /// Bytes of rows in one transaction at most
    #[arg(long, env = "KCOPY_BATCH_BYTES", value_name = "SIZE", default_value = "16MiB", help_heading = "Batches", value_parser = parse_batch_bytes)]
    batch_bytes: usize,
    /// How long a record waits for others at most
    #[arg(long, env = "KCOPY_BATCH_TIME", value_name = "DURATION", default_value = "1s", help_heading = "Batches", value_parser = parse_duration)]
    batch_time: Duration,
    /// How long PostgreSQL may leave a statement without an answer before the connection is given up for a new one;
    /// locks are waited for three quarters of it, and of --timeout at the beginning, if that is less
    #[arg(long, env = "KCOPY_WRITE_TIMEOUT", value_name = "DURATION", default_value = "5m", help_heading = "Batches", value_parser = parse_write_timeout)]
    write_timeout: Duration,
    /// Connections to PostgreSQL, each for a share of the partitions
    #[arg(long, env = "KCOPY_CONNECTIONS", value_name = "N", default_value = "1", help_heading = "Batches", value_parser = number::<u16>(1, 256))]
    connections: u16,
    /// Answer Prometheus here, for example 127.0.0.1:9187
    #[arg(long, env = "KCOPY_METRICS", value_name = "HOST:PORT", value_parser = parse_address, help_heading = "Watching")]
    metrics: Option<SocketAddr>,
    /// Write events to stdout, one JSON object a line
    #[arg(long, env = "KCOPY_JSON", help_heading = "Watching")]
    json: bool,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    config: ConfigFileArgs,
}

const EXAMPLES: &str = "\
Examples:
  kcopy load orders --into orders --create-table
  kcopy load orders --into shop.orders -d postgres://me@db/shop?sslmode=require
  kcopy load orders --into orders --columns 'id = value.order.id, offset, doc = value'
  kcopy load users --into users --mode upsert --delete-on-tombstone
  kcopy load orders payments --into 'kafka.{topic}' --connections 4
  kcopy load orders --into orders --follow --metrics 127.0.0.1:9187";

/// `--mode`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeName {
    Append,
    Upsert,
}

fn parse_on_error(text: &str) -> Result<OnError, String> {
    match text {
        "fail" => Ok(OnError::Fail),
        "skip" => Ok(OnError::Skip),
        "reject-table" => Ok(OnError::RejectTable),
        _ => match text.strip_prefix("dead-letter=") {
            Some(topic) => check_topic(topic).map(|()| OnError::DeadLetter(topic.to_owned())),
            None => Err("expected fail, skip, reject-table or dead-letter=TOPIC".to_owned()),
        },
    }
}

fn parse_batch_bytes(text: &str) -> Result<usize, String> {
    let size = parse_size(text)?;
    match usize::try_from(size) {
        Ok(size) if (1 << 10..=1 << 30).contains(&size) => Ok(size),
        _ => Err("a batch has 1KiB to 1GiB".to_owned()),
    }
}

fn parse_write_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        limit if (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&limit) => Ok(limit),
        _ => Err("an answer is waited for 1s to 1d".to_owned()),
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    // `:9187` listens everywhere, as other exporters take it.
    let text = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let mut found = text.to_socket_addrs().map_err(|error| format!("{error} (expected HOST:PORT)"))?;
    found.next().ok_or_else(|| "the name has no address".to_owned())
}

impl LoadArgs {
    pub(super) fn plan(self, environment: &Environment<'_>) -> Result<Plan, String> {
        self.topics.iter().try_for_each(|topic| check_topic(topic))?;
        if self.delete_on_tombstone && !matches!(self.mode, ModeName::Upsert) {
            return Err(
                "--delete-on-tombstone needs --mode upsert: appended rows are not found again".to_owned()
            );
        }
        if self.dry_run && !self.create_table {
            return Err("--dry-run belongs to --create-table".to_owned());
        }
        let common = self.common.check(self.config.file.as_ref(), &[], Some(Scope::Consumer), environment)?;
        let start = match self.from.as_deref() {
            None => Start::Beginning,
            Some(from) => match parse_position(from, environment.now_ms) {
                Ok(Start::Committed { .. }) => {
                    return Err("--from committed: name the group with --import-group GROUP".to_owned());
                }
                parsed => parsed.map_err(|reason| format!("--from: {reason}"))?,
            },
        };
        if let OnError::DeadLetter(topic) = &self.on_error
            && self.topics.contains(topic)
        {
            return Err(format!(
                "--on-error dead-letter={topic}: its records would be loaded again and again"
            ));
        }
        let columns = self.columns.as_deref().map(Columns::parse).transpose();
        let partitions = self.partitions.as_deref().map(parse_partitions).transpose();
        Ok(Plan::Load(Box::new(Load {
            routes: routes(&self.topics, &self.into)?,
            partitions: partitions.map_err(|reason| format!("--partitions: {reason}"))?,
            columns: columns.map_err(|error| error.to_string())?,
            start,
            import_group: self.import_group,
            group: self.group,
            end: if self.follow { End::Follow } else { End::Pinned },
            mode: match self.mode {
                ModeName::Append => Mode::Append,
                ModeName::Upsert => Mode::Upsert,
            },
            deletes_on_tombstone: self.delete_on_tombstone,
            on_error: self.on_error,
            accepts_loss: self.accept_loss,
            creates_tables: self.create_table,
            is_dry_run: self.dry_run,
            batch: BatchLimits {
                rows: self.batch_rows as usize,
                bytes: self.batch_bytes,
                time: self.batch_time,
            },
            write_timeout: self.write_timeout,
            connections: usize::from(self.connections),
            metrics: self.metrics,
            json: self.json,
            server: Settings::gather(self.postgres.as_deref(), environment)
                .map_err(|reason| format!("--postgres: {reason}"))?,
            common,
        })))
    }
}

/// Which table each topic goes to.
fn routes(topics: &[String], into: &[String]) -> Result<Vec<Route>, String> {
    let mut general = None;
    let mut special: Vec<(&str, &str)> = Vec::new();
    for text in into {
        // What stands before the = is a topic's name, which a table's can hold only in quotes.
        match text.split_once('=').filter(|(topic, _)| check_topic(topic).is_ok()) {
            Some((topic, table)) => special.push((topic, table)),
            None if general.is_none() => general = Some(text.as_str()),
            None => return Err("--into names two tables for all topics: write TOPIC=TABLE".to_owned()),
        }
    }
    if let Some((topic, _)) = special.iter().find(|(topic, _)| !topics.iter().any(|known| known == topic)) {
        return Err(format!("--into {topic}=..: {topic} is not among the topics to load"));
    }
    let mut routes: Vec<Route> = Vec::with_capacity(topics.len());
    for topic in topics {
        if routes.iter().any(|route| route.topic == *topic) {
            continue;
        }
        let mut named = special.iter().filter(|(named, _)| named == topic).map(|(_, table)| *table);
        let table =
            named.next().or(general).ok_or_else(|| format!("--into names no table for topic {topic}"))?;
        if named.next().is_some() {
            return Err(format!("--into names two tables for topic {topic}"));
        }
        if table.trim().is_empty() {
            return Err(format!("--into names no table for topic {topic}"));
        }
        routes.push(Route { topic: topic.clone(), table: substituted(table, topic) });
    }
    Ok(routes)
}

/// `table` with the topic in place of `{topic}`. The identifier around it is quoted as a whole: a topic's name may
/// hold what an identifier holds only in quotes.
fn substituted(table: &str, topic: &str) -> String {
    const MARK: &str = "{topic}";
    let mut parts: Vec<String> = vec![String::new()];
    let mut is_quoted = false;
    for letter in table.chars() {
        match letter {
            '.' if !is_quoted => parts.push(String::new()),
            letter => {
                is_quoted ^= letter == '"';
                parts.last_mut().expect("there is one from the start").push(letter);
            }
        }
    }
    let parts = parts.into_iter().map(|part| {
        let name = part.trim();
        if !name.contains(MARK) {
            return part;
        }
        let name = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
            Some(inner) => inner.to_owned(),
            // As PostgreSQL reads what stands without quotes: beyond ASCII it leaves letters as they are.
            None => {
                let parts = name.split(MARK).map(str::to_ascii_lowercase);
                parts.collect::<Vec<_>>().join(MARK).replace('"', "\"\"")
            }
        };
        format!("\"{}\"", name.replace(MARK, &topic.replace('"', "\"\"")))
    });
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::substituted;

    #[test]
    fn a_topic_becomes_a_part_of_an_identifier() {
        for (table, expected) in [
            ("{topic}", "\"T-1.a\""),
            ("{topic}_C", "\"T-1.a_c\""),
            ("{topic}_CÉ", "\"T-1.a_cÉ\""),
            ("x{topic}x{topic}", "\"xT-1.axT-1.a\""),
            ("Kafka.{topic}", "Kafka.\"T-1.a\""),
            ("\"a.b\".\"X{topic}\"", "\"a.b\".\"XT-1.a\""),
            ("plain", "plain"),
        ] {
            assert_eq!(substituted(table, "T-1.a"), expected, "{table}");
        }
    }
}
