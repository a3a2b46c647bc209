//! The typed form of the properties, for the code that connects and runs.

use std::time::Duration;

use kcopy_client::HostPort;

use super::set::{PropertySet, Source, parse_acks, parse_boolean};

/// Properties that were set, typed. `None` means not set: the default is the client's.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each field is the property of its name, documented in the property table")]
pub struct ClientProperties {
    pub bootstrap_servers: Vec<HostPort>,
    pub client_id: Option<String>,
    pub client_rack: Option<String>,
    pub debug: Vec<String>,
    pub address_family: Option<AddressFamily>,
    pub allow_auto_create_topics: Option<bool>,

    /// `socket.timeout.ms`, else `default.api.timeout.ms`.
    pub socket_timeout: Option<Duration>,
    pub default_api_timeout: Option<Duration>,
    pub socket_connection_setup_timeout: Option<Duration>,
    pub socket_keepalive_enable: Option<bool>,
    pub reconnect_backoff: Option<Duration>,
    pub reconnect_backoff_max: Option<Duration>,
    pub retry_backoff: Option<Duration>,
    pub retry_backoff_max: Option<Duration>,
    /// `metadata.max.age.ms`, else `topic.metadata.refresh.interval.ms`, whose -1 is a year.
    pub metadata_max_age: Option<Duration>,
    pub topic_metadata_propagation_max: Option<Duration>,
    pub message_max_bytes: Option<usize>,
    pub receive_message_max_bytes: Option<usize>,
    pub max_in_flight: Option<usize>,

    pub acks: Option<Acks>,
    pub enable_idempotence: Option<bool>,
    pub linger: Option<Duration>,
    pub batch_size: Option<usize>,
    pub batch_num_messages: Option<usize>,
    /// `queue.buffering.max.kbytes` or `buffer.memory`.
    pub queue_buffering_max_bytes: Option<usize>,
    pub retries: Option<u32>,
    pub request_timeout: Option<Duration>,
    /// Where it is set, `Some(None)` stands for 0: for ever.
    pub message_timeout: Option<Option<Duration>>,
    pub compression_type: Option<CompressionType>,
    /// The level for that codec; `None` is the codec's own.
    pub compression_level: Option<i32>,
    pub partitioner: Option<Partitioner>,

    pub group_id: Option<String>,
    /// Whether `group.id` was given on the command line, not only in a file.
    pub group_id_on_command_line: bool,
    pub auto_offset_reset: Option<OffsetReset>,
    pub enable_auto_commit: Option<bool>,
    pub auto_commit_interval: Option<Duration>,
    pub isolation_level: Option<IsolationLevel>,
    pub fetch_wait_max: Option<Duration>,
    pub fetch_min_bytes: Option<usize>,
    pub fetch_max_bytes: Option<usize>,
    pub max_partition_fetch_bytes: Option<usize>,
    pub queued_max_bytes: Option<usize>,
    pub check_crcs: Option<bool>,
    pub exclude_internal_topics: Option<bool>,
}

const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl ClientProperties {
    /// The typed form of `set`.
    ///
    /// # Errors
    /// Two properties that are right each by itself exclude each other, or a value needs what comes later.
    pub fn from_set(set: &PropertySet) -> Result<Self, String> {
        let mut typed = Self {
            client_id: text(set, "client.id"),
            client_rack: text(set, "client.rack").filter(|rack| !rack.is_empty()),
            ..Self::default()
        };
        typed.read_connection(set)?;
        typed.read_producer(set)?;
        typed.read_consumer(set);
        Ok(typed)
    }

    fn read_connection(&mut self, set: &PropertySet) -> Result<(), String> {
        if let Some(servers) = set.value("bootstrap.servers") {
            self.bootstrap_servers = parse_servers(servers)?;
        }
        if let Some(protocol) =
            set.value("security.protocol").filter(|it| !it.eq_ignore_ascii_case("plaintext"))
        {
            return Err(format!(
                "security.protocol={protocol} cannot be used yet: TLS and SASL come in a later release"
            ));
        }
        let contexts = set.value("debug").unwrap_or_default().split(',');
        self.debug = contexts.map(|it| it.trim().to_ascii_lowercase()).filter(|it| !it.is_empty()).collect();
        self.address_family = set.value("broker.address.family").map(|family| match lower(family).as_str() {
            "v4" => AddressFamily::V4,
            "v6" => AddressFamily::V6,
            _ => AddressFamily::Any,
        });
        self.allow_auto_create_topics = boolean(set, "allow.auto.create.topics");
        self.default_api_timeout = millis(set, "default.api.timeout.ms");
        self.socket_timeout = millis(set, "socket.timeout.ms").or(self.default_api_timeout);
        self.socket_connection_setup_timeout = millis(set, "socket.connection.setup.timeout.ms");
        self.socket_keepalive_enable = boolean(set, "socket.keepalive.enable");
        self.reconnect_backoff = millis(set, "reconnect.backoff.ms");
        self.reconnect_backoff_max = millis(set, "reconnect.backoff.max.ms");
        self.retry_backoff = millis(set, "retry.backoff.ms");
        self.retry_backoff_max = millis(set, "retry.backoff.max.ms");
        let refresh = number(set, "topic.metadata.refresh.interval.ms")
            .map(|ms| u64::try_from(ms).map_or(YEAR, Duration::from_millis));
        self.metadata_max_age = millis(set, "metadata.max.age.ms").or(refresh);
        self.topic_metadata_propagation_max = millis(set, "topic.metadata.propagation.max.ms");
        self.message_max_bytes = count(set, "message.max.bytes");
        self.receive_message_max_bytes = count(set, "receive.message.max.bytes");
        self.max_in_flight = count(set, "max.in.flight.requests.per.connection");
        Ok(())
    }

    fn read_producer(&mut self, set: &PropertySet) -> Result<(), String> {
        self.acks = set.value("acks").and_then(parse_acks).map(|acks| match acks {
            0 => Acks::None,
            1 => Acks::Leader,
            _ => Acks::All,
        });
        self.enable_idempotence = boolean(set, "enable.idempotence");
        if self.enable_idempotence == Some(true) && self.acks.is_some_and(|acks| acks != Acks::All) {
            return Err("enable.idempotence=true needs acks=all: set one of the two differently".to_owned());
        }
        if self.enable_idempotence == Some(true) && self.max_in_flight.is_some_and(|limit| limit > 5) {
            return Err("enable.idempotence=true needs max.in.flight of 5 or less".to_owned());
        }
        self.linger = set
            .value("linger.ms")
            .and_then(|it| it.parse::<f64>().ok())
            .map(|ms| Duration::from_secs_f64(ms / 1000.0));
        self.batch_size = count(set, "batch.size");
        self.batch_num_messages = count(set, "batch.num.messages");
        self.queue_buffering_max_bytes = count(set, "queue.buffering.max.kbytes")
            .map(|kbytes| kbytes.saturating_mul(1024))
            .or_else(|| count(set, "buffer.memory"));
        self.retries = number(set, "retries").and_then(|it| u32::try_from(it).ok());
        self.request_timeout = millis(set, "request.timeout.ms");
        self.message_timeout =
            millis(set, "message.timeout.ms").map(|timeout| Some(timeout).filter(|it| !it.is_zero()));
        self.compression_type = set.value("compression.type").map(|codec| match lower(codec).as_str() {
            "gzip" => CompressionType::Gzip,
            "snappy" => CompressionType::Snappy,
            "lz4" => CompressionType::Lz4,
            "zstd" => CompressionType::Zstd,
            _ => CompressionType::None,
        });
        self.compression_level = self.level(set)?;
        self.partitioner = set.value("partitioner").map(|name| match lower(name).as_str() {
            "random" => Partitioner::Random,
            "consistent" => Partitioner::Consistent,
            "murmur2" => Partitioner::Murmur2,
            "murmur2_random" => Partitioner::Murmur2Random,
            "fnv1a" => Partitioner::Fnv1a,
            "fnv1a_random" => Partitioner::Fnv1aRandom,
            _ => Partitioner::ConsistentRandom,
        });
        Ok(())
    }

    /// The level for the codec in use: Java's property for that codec, else librdkafka's for all.
    fn level(&self, set: &PropertySet) -> Result<Option<i32>, String> {
        let (own, allowed) = match self.compression_type {
            Some(CompressionType::Gzip) => ("compression.gzip.level", 0..=9),
            Some(CompressionType::Lz4) => ("compression.lz4.level", 0..=17),
            Some(CompressionType::Zstd) => ("compression.zstd.level", -131_072..=22),
            Some(CompressionType::Snappy | CompressionType::None) | None => return Ok(None),
        };
        let level = number(set, own).or_else(|| number(set, "compression.level"));
        match level.filter(|level| *level != -1) {
            Some(level) if !allowed.contains(&level) => Err(format!(
                "compression.level {level} is outside the codec's range {} .. {}",
                allowed.start(),
                allowed.end()
            )),
            level => Ok(level.and_then(|level| i32::try_from(level).ok())),
        }
    }

    fn read_consumer(&mut self, set: &PropertySet) {
        self.group_id = text(set, "group.id").filter(|group| !group.is_empty());
        self.group_id_on_command_line = set.source("group.id") == Some(Source::CommandLine);
        self.auto_offset_reset = set.value("auto.offset.reset").map(|reset| match lower(reset).as_str() {
            "largest" | "latest" | "end" => OffsetReset::End,
            "error" | "none" => OffsetReset::Error,
            _ => OffsetReset::Beginning,
        });
        self.enable_auto_commit = boolean(set, "enable.auto.commit");
        self.auto_commit_interval = millis(set, "auto.commit.interval.ms");
        self.isolation_level = set.value("isolation.level").map(|level| match lower(level).as_str() {
            "read_uncommitted" => IsolationLevel::ReadUncommitted,
            _ => IsolationLevel::ReadCommitted,
        });
        self.fetch_wait_max = millis(set, "fetch.wait.max.ms");
        self.fetch_min_bytes = count(set, "fetch.min.bytes");
        self.fetch_max_bytes = count(set, "fetch.max.bytes");
        self.max_partition_fetch_bytes = count(set, "max.partition.fetch.bytes");
        self.queued_max_bytes =
            count(set, "queued.max.messages.kbytes").map(|kbytes| kbytes.saturating_mul(1024));
        self.check_crcs = boolean(set, "check.crcs");
        self.exclude_internal_topics = boolean(set, "exclude.internal.topics");
    }
}

// The values were checked when they were set, so what does not parse below was not set.

fn lower(value: &str) -> String {
    value.to_ascii_lowercase()
}

fn text(set: &PropertySet, name: &str) -> Option<String> {
    set.value(name).map(str::to_owned)
}

fn boolean(set: &PropertySet, name: &str) -> Option<bool> {
    set.value(name).and_then(parse_boolean)
}

fn number(set: &PropertySet, name: &str) -> Option<i64> {
    set.value(name)?.parse().ok()
}

fn count(set: &PropertySet, name: &str) -> Option<usize> {
    number(set, name).and_then(|it| usize::try_from(it).ok())
}

fn millis(set: &PropertySet, name: &str) -> Option<Duration> {
    number(set, name).and_then(|it| u64::try_from(it).ok()).map(Duration::from_millis)
}

/// The addresses of a comma-separated list of `host[:port]`; empty parts are skipped.
///
/// # Errors
/// A part is no address, or there is none at all. The text says which.
pub(super) fn parse_servers(list: &str) -> Result<Vec<HostPort>, String> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    let addresses = parts.map(HostPort::parse).collect::<Result<Vec<_>, _>>();
    let addresses = addresses.map_err(|error| error.message().to_owned())?;
    if addresses.is_empty() {
        Err("no broker in the list (expected host[:port], ..)".to_owned())
    } else {
        Ok(addresses)
    }
}

/// `acks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nobody acknowledges.
    None,
    /// The leader does.
    Leader,
    /// All in-sync replicas do.
    All,
}

/// `broker.address.family`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    /// IPv4 and IPv6.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// `compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CompressionType {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// `partitioner`, by librdkafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioner {
    /// Any partition.
    Random,
    /// CRC-32 of the key; records without key go to one partition.
    Consistent,
    /// CRC-32 of the key; records without key anywhere. librdkafka's default.
    ConsistentRandom,
    /// Java's hash of the key; records without key go to one partition.
    Murmur2,
    /// Java's hash of the key; records without key anywhere. Java's default.
    Murmur2Random,
    /// FNV-1a of the key; records without key go to one partition.
    Fnv1a,
    /// FNV-1a of the key; records without key anywhere.
    Fnv1aRandom,
}

/// `auto.offset.reset`: where a group without a committed offset starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record.
    Beginning,
    /// After the last record.
    End,
    /// Nowhere: it is an error.
    Error,
}

/// `isolation.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IsolationLevel {
    /// Only records of committed transactions, and those outside transactions.
    #[default]
    ReadCommitted,
    /// All records.
    ReadUncommitted,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pairs: &[&str]) -> Result<ClientProperties, String> {
        let mut set = PropertySet::default();
        for pair in pairs {
            set.set_pair(pair, Source::CommandLine).map_err(|error| error.to_string())?;
        }
        ClientProperties::from_set(&set)
    }

    /// The defaults live in the client; the table repeats them for people.
    #[test]
    fn the_tables_defaults_are_the_clients() {
        let client = kcopy_client::ClientConfig::builder().bootstrap_servers("h").build().unwrap();
        let producer = kcopy_client::producer::ProducerConfig::default();
        let consumer = kcopy_client::ConsumerConfig::default();
        let millis = |duration: Duration| duration.as_millis().to_string();
        for (name, expected) in [
            ("client.id", client.client_id.clone()),
            ("socket.timeout.ms", millis(client.request_timeout)),
            ("default.api.timeout.ms", millis(client.operation_timeout)),
            ("socket.connection.setup.timeout.ms", millis(client.connection_setup_timeout)),
            ("reconnect.backoff.ms", millis(client.reconnect_backoff)),
            ("reconnect.backoff.max.ms", millis(client.reconnect_backoff_max)),
            ("retry.backoff.ms", millis(client.retry_backoff)),
            ("retry.backoff.max.ms", millis(client.retry_backoff_max)),
            ("metadata.max.age.ms", millis(client.metadata_max_age)),
            ("receive.message.max.bytes", client.receive_message_max_bytes.to_string()),
            ("allow.auto.create.topics", client.allow_auto_create_topics.to_string()),
            ("enable.idempotence", producer.idempotence.to_string()),
            ("linger.ms", millis(producer.linger)),
            ("batch.size", producer.batch_size.to_string()),
            ("batch.num.messages", producer.batch_records.to_string()),
            ("queue.buffering.max.kbytes", (producer.buffer_bytes / 1024).to_string()),
            ("buffer.memory", producer.buffer_bytes.to_string()),
            ("message.max.bytes", producer.max_message_bytes.to_string()),
            ("max.in.flight", producer.max_in_flight.to_string()),
            ("request.timeout.ms", millis(producer.request_timeout)),
            ("message.timeout.ms", millis(producer.delivery_timeout)),
            ("topic.metadata.propagation.max.ms", millis(producer.topic_timeout)),
            ("retry.backoff.ms", millis(producer.retry_backoff)),
            ("retry.backoff.max.ms", millis(producer.retry_backoff_max)),
            ("partitioner", producer.partitioner.to_string()),
            ("queued.max.messages.kbytes", (consumer.prefetch_bytes / 1024).to_string()),
            ("fetch.max.bytes", consumer.fetch_max_bytes.to_string()),
            ("max.partition.fetch.bytes", consumer.partition_max_bytes.to_string()),
            ("fetch.wait.max.ms", millis(consumer.max_wait)),
            ("fetch.min.bytes", consumer.min_bytes.to_string()),
            ("check.crcs", consumer.check_crcs.to_string()),
        ] {
            assert_eq!(super::super::find(name).unwrap().default, expected, "{name}");
        }
    }

    #[test]
    fn nothing_set_is_all_defaults() {
        assert_eq!(typed(&[]).unwrap(), ClientProperties::default());
    }

    #[test]
    fn values_arrive_in_their_fields() {
        let typed = typed(&[
            "bootstrap.servers=a,b:1",
            "linger.ms=0.5",
            "delivery.timeout.ms=0",
            "compression.codec=ZSTD",
            "compression.level=19",
            "queue.buffering.max.kbytes=2",
            "topic.metadata.refresh.interval.ms=-1",
            "topic.auto.offset.reset=none",
            "auto.commit.enable=false",
            "group.id=g",
            "partitioner=murmur2_random",
            "acks=-1",
            "isolation.level=READ_UNCOMMITTED",
        ])
        .unwrap();
        assert_eq!(typed.bootstrap_servers[0].to_string(), "a:9092");
        assert_eq!(typed.linger, Some(Duration::from_micros(500)));
        assert_eq!(typed.message_timeout, Some(None));
        assert_eq!(
            (typed.compression_type, typed.compression_level),
            (Some(CompressionType::Zstd), Some(19))
        );
        assert_eq!(typed.queue_buffering_max_bytes, Some(2048));
        assert_eq!(typed.metadata_max_age, Some(YEAR));
        assert_eq!(typed.auto_offset_reset, Some(OffsetReset::Error));
        assert_eq!(typed.enable_auto_commit, Some(false));
        assert!(typed.group_id_on_command_line);
        assert_eq!(typed.partitioner, Some(Partitioner::Murmur2Random));
        assert_eq!(typed.acks, Some(Acks::All));
        assert_eq!(typed.isolation_level, Some(IsolationLevel::ReadUncommitted));
    }

    #[test]
    fn what_excludes_each_other_is_an_error() {
        assert!(typed(&["enable.idempotence=true", "acks=1"]).unwrap_err().contains("acks=all"));
        assert!(typed(&["enable.idempotence=true", "max.in.flight=6"]).unwrap_err().contains("5 or less"));
        assert!(typed(&["compression.type=gzip", "compression.level=12"]).unwrap_err().contains("0 .. 9"));
        assert!(typed(&["security.protocol=SASL_SSL"]).unwrap_err().contains("later release"));
        assert_eq!(typed(&["compression.level=22"]).unwrap().compression_level, None);
    }

    #[test]
    fn broker_addresses() {
        for (text, host, port) in [
            ("h", "h", 9092),
            ("h:1", "h", 1),
            ("PLAINTEXT://h:1", "h", 1),
            ("[::1]:2", "::1", 2),
            ("[::1]", "::1", 9092),
            ("::1", "::1", 9092),
        ] {
            assert_eq!(HostPort::parse(text).unwrap(), HostPort { host: host.into(), port }, "{text}");
        }
        for text in ["", ":1", "h:", "h:0", "h:65536", "h:x", "[::1", "[::1]x", "ssl://h", "a b:1"] {
            assert!(HostPort::parse(text).is_err(), "{text}");
        }
    }
}
