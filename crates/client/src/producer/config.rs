//! What a producer needs to know before it starts.

use std::time::Duration;

use kcopy_wire::{partitioner::Partitioner, records::Compression};

use super::partition::Settings;
use crate::error::{Error, Result};

/// When a broker acknowledges a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Acks {
    /// Never: a batch counts as delivered once it is handed to the network. Nothing is noticed of its loss.
    None,
    /// When the leader has it: it is lost if the leader fails before its followers have fetched it.
    Leader,
    /// When all replicas that are in sync have it.
    #[default]
    All,
}

impl Acks {
    pub(super) fn wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// The checked configuration of a [`Producer`](super::Producer).
///
/// ```
/// use std::time::Duration;
/// use kcopy_client::producer::{Acks, ProducerConfig};
///
/// let config = ProducerConfig::builder().linger(Duration::from_millis(20)).build()?;
/// assert!(config.idempotence);
/// let config = ProducerConfig::builder().acks(Acks::Leader).build()?;
/// assert!(!config.idempotence, "only all acknowledgements make it exactly once");
/// # Ok::<(), kcopy_client::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProducerConfig {
    /// When a broker acknowledges a batch.
    pub acks: Acks,
    /// Whether batches carry sequence numbers, so that retries write nothing twice and keep the order.
    pub idempotence: bool,
    /// How batches are compressed.
    pub compression: Compression,
    /// How hard; the codec's own default with `None`.
    pub compression_level: Option<i32>,
    /// How long a batch that is not full waits for more records.
    pub linger: Duration,
    /// The size of a full batch in bytes before compression.
    pub batch_size: usize,
    /// The most records in a batch.
    pub batch_records: u32,
    /// How many bytes of records may wait for their acknowledgement.
    pub buffer_bytes: usize,
    /// How many records may wait for their acknowledgement.
    pub buffer_records: usize,
    /// The largest batch that a record may need, in bytes before compression.
    pub max_message_bytes: usize,
    /// Batches of several partitions go into one request up to this size in bytes.
    pub max_request_bytes: usize,
    /// How many batches of a partition, and requests to a broker, may be unanswered.
    pub max_in_flight: usize,
    /// How often a batch is sent again.
    pub retries: u32,
    /// How long the answer to one request may take.
    pub request_timeout: Duration,
    /// How long after its first record a batch is given up.
    pub delivery_timeout: Duration,
    /// How long brokers may acknowledge nothing of what they were sent; `None`: as long as that.
    pub unreachable_timeout: Option<Duration>,
    /// How long to ask for a topic that does not exist, or not yet.
    pub topic_timeout: Duration,
    /// The pause before the first retry of a batch.
    pub retry_backoff: Duration,
    /// The longest pause before a retry.
    pub retry_backoff_max: Duration,
    /// How partitions are chosen.
    pub partitioner: Partitioner,
}

impl ProducerConfig {
    /// What may be under way to one broker at a time.
    pub(super) fn bytes_under_way(&self) -> usize {
        self.max_in_flight.saturating_mul(self.max_request_bytes)
    }

    /// How much of the buffer is of use before batches are open, and brokers beyond the first known: what is under way, and
    /// a batch that is sealed. What is compressed takes less on its way than in the buffer, so all of it is.
    pub(super) fn first_free_bytes(&self) -> usize {
        match self.compression {
            Compression::None => (self.bytes_under_way() + self.batch_size).max(2 * self.max_message_bytes),
            _ => self.buffer_bytes,
        }
    }

    /// Starts with the defaults.
    pub fn builder() -> ProducerConfigBuilder {
        ProducerConfigBuilder { config: ProducerConfig::default(), idempotence: None }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            idempotent: self.idempotence,
            max_in_flight: self.max_in_flight,
            max_request_bytes: self.max_request_bytes,
            retries: self.retries,
            retry_backoff: self.retry_backoff,
            retry_backoff_max: self.retry_backoff_max,
        }
    }
}

impl Default for ProducerConfig {
    fn default() -> Self {
        ProducerConfig {
            acks: Acks::All,
            idempotence: true,
            compression: Compression::None,
            compression_level: None,
            linger: Duration::from_millis(5),
            batch_size: 1_000_000,
            batch_records: i32::MAX as u32,
            buffer_bytes: 24 << 20,
            buffer_records: usize::MAX,
            max_message_bytes: 1_048_588,
            max_request_bytes: 1_048_588,
            max_in_flight: 5,
            retries: u32::MAX,
            request_timeout: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(120),
            unreachable_timeout: None,
            topic_timeout: Duration::from_secs(30),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            partitioner: Partitioner::default(),
        }
    }
}

/// Collects the configuration of a producer.
#[derive(Debug, Clone)]
#[must_use]
pub struct ProducerConfigBuilder {
    config: ProducerConfig,
    idempotence: Option<bool>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $kind) -> Self {
            self.config.$name = $name;
            self
        }
    )*};
}

impl ProducerConfigBuilder {
    /// Whether batches carry sequence numbers (`enable.idempotence`). Default yes where [`Acks::All`] and at
    /// most 5 batches in flight allow it. Without, a retry may write records twice, and out of order unless
    /// only one batch is in flight.
    pub fn idempotence(mut self, idempotence: bool) -> Self {
        self.idempotence = Some(idempotence);
        self
    }

    setters! {
        /// When a broker acknowledges a batch; default [`Acks::All`].
        acks: Acks;
        /// How batches are compressed (`compression.type`); default not at all.
        compression: Compression;
        /// How hard to compress; the codec's own default with `None`.
        compression_level: Option<i32>;
        /// How long a batch that is not full waits for more records (`linger.ms`); default 5 ms. A flush
        /// waits for nothing.
        linger: Duration;
        /// The size of a full batch in bytes before compression; default 1,000,000.
        batch_size: usize;
        /// The most records in a batch (`batch.num.messages`); default 2^31 - 1.
        batch_records: u32;
        /// How much memory the batches may have that are open or wait for their acknowledgement
        /// (`queue.buffering.max.kbytes`), in bytes; default 24 MiB. At least `max_message_bytes`.
        buffer_bytes: usize;
        /// How many records may wait for their acknowledgement (`queue.buffering.max.messages`); default
        /// unlimited.
        buffer_records: usize;
        /// The largest batch that a record may need, in bytes before compression (`message.max.bytes`);
        /// default 1,048,588, as brokers have it.
        max_message_bytes: usize;
        /// Batches of several partitions go into one request up to this size in bytes
        /// (`max.request.size`); default 1,048,588. A larger batch has a request of its own.
        max_request_bytes: usize;
        /// How many batches of a partition, and requests to a broker, may be unanswered (`max.in.flight`);
        /// default 5, which is the most that brokers can tell repetitions of.
        max_in_flight: usize;
        /// How often a batch is sent again; default without limit but `delivery_timeout`.
        retries: u32;
        /// How long the answer to one request may take (`request.timeout.ms`); default 30 s.
        request_timeout: Duration;
        /// How long after its first record a batch is given up (`delivery.timeout.ms`); default 120 s.
        delivery_timeout: Duration;
        /// How long batches may wait while no broker acknowledges any, until the producer fails and takes nothing
        /// more; default `None`: for `delivery_timeout`, which also counts the time in a queue that gets on.
        unreachable_timeout: Option<Duration>;
        /// How long to ask for a topic that does not exist, or not yet
        /// (`topic.metadata.propagation.max.ms`); default 30 s.
        topic_timeout: Duration;
        /// The pause before the first retry of a batch (`retry.backoff.ms`); default 100 ms.
        retry_backoff: Duration;
        /// The longest pause before a retry (`retry.backoff.max.ms`); default 1 s.
        retry_backoff_max: Duration;
        /// How partitions are chosen; default [`Partitioner::ConsistentRandom`], as in librdkafka.
        partitioner: Partitioner;
    }

    /// Checks the values.
    ///
    /// # Errors
    /// A value that is out of range, or contradicts another.
    pub fn build(self) -> Result<ProducerConfig> {
        let mut config = self.config;
        let can_be_idempotent =
            config.acks == Acks::All && (1..=5).contains(&config.max_in_flight) && config.retries > 0;
        if self.idempotence == Some(true) && !can_be_idempotent {
            return Err(Error::invalid(
                "idempotence needs acks=all, 1 to 5 batches in flight and at least one retry: \
                 change these, or switch enable.idempotence off",
            ));
        }
        config.idempotence = self.idempotence.unwrap_or(can_be_idempotent);
        if config.max_in_flight == 0 {
            return Err(Error::invalid("max.in.flight is 0: at least one batch has to be sent at a time"));
        }
        if config.batch_records == 0 {
            return Err(Error::invalid("batch.num.messages is 0: a batch holds at least one record"));
        }
        if config.buffer_records == 0 {
            return Err(Error::invalid(
                "queue.buffering.max.messages is 0: the buffer must hold at least one record",
            ));
        }
        if config.buffer_bytes < config.max_message_bytes {
            return Err(Error::invalid(format!(
                "a buffer of {} bytes cannot hold a message of {} bytes (message.max.bytes): enlarge \
                 queue.buffering.max.kbytes",
                config.buffer_bytes, config.max_message_bytes
            )));
        }
        config.batch_size = config.batch_size.min(config.max_message_bytes);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotence_gives_way_unless_it_was_asked_for() {
        let builder = ProducerConfig::builder().max_in_flight(6);
        assert!(!builder.clone().build().unwrap().idempotence);
        let error = builder.idempotence(true).build().unwrap_err();
        assert!(error.to_string().contains("enable.idempotence"), "{error}");
    }

    #[test]
    fn a_buffer_holds_the_largest_message() {
        let error = ProducerConfig::builder().buffer_bytes(1000).build().unwrap_err();
        assert!(error.to_string().contains("queue.buffering.max.kbytes"), "{error}");
    }
}
