//! Records that a table cannot take.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use kcopy_client::{
    Client, ConsumerConfig, Event, PartitionRange,
    producer::{Producer, ProducerConfig, Record as NewRecord, Topic},
    wire::{ErrorCode, records::HeadersBuf},
};

use super::{
    batch::{Content, Rejected},
    positions::{Assigned, Placed},
    trouble::Trouble,
};
use crate::plan::Common;

/// Reads records once more: PostgreSQL refused their rows long after they had been read.
#[derive(Clone)]
pub(super) struct Reread {
    pub(super) client: Client,
    pub(super) config: ConsumerConfig,
}

impl Reread {
    /// Fills in what is missing. All that lies between is read with it: a fetch for each record takes longer than the
    /// transaction may last.
    ///
    /// # Errors
    /// A record that is not there any more, or a cluster out of reach.
    pub(super) async fn complete(
        &self,
        rejected: &mut [Rejected],
        partitions: &[Placed],
    ) -> Result<(), Trouble> {
        let failed = |error: kcopy_client::Error| Trouble::kafka(&error);
        let mut ranges: BTreeMap<usize, PartitionRange> = BTreeMap::new();
        let mut missing = HashMap::new();
        for (at, rejected) in rejected.iter().enumerate().filter(|(_, rejected)| rejected.content.is_none()) {
            let (partition, offset) = (rejected.partition, rejected.offset);
            let assigned = &partitions[partition].assigned;
            missing.insert((assigned.topic.clone(), assigned.partition, offset), at);
            let range = ranges.entry(partition).or_insert_with(|| {
                let known = partitions[partition].range.clone();
                PartitionRange { start: offset, end: Some(offset + 1), last_epoch: None, ..known }
            });
            range.start = range.start.min(offset);
            range.end = range.end.max(Some(offset + 1));
            range.high_watermark = range.high_watermark.max(offset + 1);
            range.last_stable_offset = range.last_stable_offset.max(offset + 1);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let mut consumer =
            self.client.consume(ranges.into_values().collect(), self.config.clone()).map_err(failed)?;
        while let Some(event) = consumer.next().await.map_err(failed)? {
            let Event::Batch(batch) = event else { continue };
            let epoch = batch.batch().batch().partition_leader_epoch();
            for record in batch.records() {
                let record = record.map_err(failed)?;
                let place = (batch.topic().clone(), batch.partition(), record.offset);
                let Some(at) = missing.remove(&place) else { continue };
                if epoch != rejected[at].epoch {
                    // The position is looked at again, which says what is gone.
                    return Err(Trouble::Passing(format!(
                        "{} [{}]: the log was written anew while it was loaded: the record at offset {} is another one",
                        place.0, place.1, place.2
                    )));
                }
                rejected[at].content = Some(Arc::new(Content::of(&record)));
            }
        }
        match missing.into_keys().min() {
            None => Ok(()),
            Some((topic, partition, offset)) => {
                Err(Trouble::Final(format!("{topic} [{partition}]: the record at offset {offset} is gone")))
            }
        }
    }
}

/// Sends rejected records to a topic.
///
/// They are acknowledged before the transaction with their positions commits: none is lost. Where that
/// commit fails they are sent again, so one may be there twice; its headers name it.
#[derive(Clone)]
pub(super) struct DeadLetters {
    client: Client,
    producer: Producer,
    topic: Topic,
    name: String,
}

/// How often it is asked whether the topic is still there while something is waited for.
const TOPIC_CHECK: Duration = Duration::from_secs(1);
/// How often the answer has to be no: brokers that have just begun do not know all topics.
const MISSING_CHECKS: u32 = 3;

/// Asks for the topic before anything is read. Nobody makes it by the way: what is rejected should not end up in a
/// topic with settings that nobody chose.
///
/// # Errors
/// It is not there, or no broker answers.
pub(super) async fn check_topic(client: &Client, name: &str) -> Result<(), Trouble> {
    let metadata = client.topics(&[name]).await.map_err(|error| Trouble::kafka(&error))?;
    match metadata.topic(name).map(|topic| topic.error) {
        Some(None) => Ok(()),
        None | Some(Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)) => Err(Trouble::Unmended(format!(
            "there is no topic {name} for dead letters: kcopy topic create {name} makes one"
        ))),
        Some(Some(code)) => Err(Trouble::kafka(&kcopy_client::Error::broker(code).with_topic(name))),
    }
}

/// Ends when the topic is not there any more. Other troubles are the producer's to bear.
async fn gone(client: &Client, name: &str) -> Trouble {
    let mut checks = 0;
    loop {
        tokio::time::sleep(TOPIC_CHECK).await;
        match check_topic(client, name).await {
            Err(trouble @ Trouble::Unmended(_)) => {
                checks += 1;
                if checks == MISSING_CHECKS {
                    return trouble;
                }
            }
            _ => checks = 0,
        }
    }
}

fn producer_config(common: &Common) -> Result<ProducerConfig, kcopy_client::Error> {
    let properties = &common.properties;
    let defaults = ProducerConfig::default();
    let message_bytes = properties.message_max_bytes.unwrap_or(defaults.max_message_bytes);
    let request_timeout = properties.request_timeout.or(properties.socket_timeout);
    ProducerConfig::builder()
        .max_message_bytes(message_bytes)
        .max_request_bytes(message_bytes)
        .buffer_bytes(defaults.buffer_bytes.max(message_bytes))
        .request_timeout(request_timeout.unwrap_or(defaults.request_timeout))
        .retry_backoff(properties.retry_backoff.unwrap_or(defaults.retry_backoff))
        .retry_backoff_max(properties.retry_backoff_max.unwrap_or(defaults.retry_backoff_max))
        .topic_timeout(common.timeout.unwrap_or(defaults.topic_timeout))
        // What waits behind others that get on is given longer.
        .delivery_timeout(common.timeout.unwrap_or_default().max(defaults.delivery_timeout))
        .unreachable_timeout(common.timeout)
        .build()
}

impl DeadLetters {
    /// # Errors
    /// The topic is not there.
    pub(super) async fn new(client: &Client, common: &Common, name: &str) -> Result<DeadLetters, Trouble> {
        let config = producer_config(common).map_err(|error| Trouble::kafka(&error))?;
        let producer = Producer::new(client, config);
        let topic = tokio::select! {
            found = producer.topic(name) => found.map_err(|error| Trouble::kafka(&error))?,
            trouble = gone(client, name) => return Err(trouble),
        };
        Ok(DeadLetters { client: client.clone(), producer, topic, name: name.to_owned() })
    }

    /// Sends them, with headers that say where they come from and what is wrong, and waits until all are
    /// acknowledged.
    ///
    /// # Errors
    /// One was not.
    pub(super) async fn send(&self, rejected: &[Rejected], partitions: &[Placed]) -> Result<(), Trouble> {
        if rejected.is_empty() {
            return Ok(());
        }
        tokio::select! {
            sent = self.send_all(rejected, partitions) => sent,
            trouble = gone(&self.client, &self.name) => Err(trouble),
        }
    }

    async fn send_all(&self, rejected: &[Rejected], partitions: &[Placed]) -> Result<(), Trouble> {
        let mut receipts = Vec::with_capacity(rejected.len());
        for rejected in rejected {
            let assigned = &partitions[rejected.partition].assigned;
            let content = rejected.content.clone().unwrap_or_default();
            let mut headers = HeadersBuf::new();
            for (name, value) in &content.headers {
                headers.push(name, value.as_deref());
            }
            headers.push("kcopy.topic", Some(assigned.topic.as_bytes()));
            headers.push("kcopy.partition", Some(assigned.partition.to_string().as_bytes()));
            headers.push("kcopy.offset", Some(rejected.offset.to_string().as_bytes()));
            headers.push("kcopy.reason", Some(rejected.reason.as_bytes()));
            let record = NewRecord {
                key: content.key.as_deref(),
                value: content.value.as_deref(),
                timestamp: content.timestamp_ms,
                headers: headers.as_headers(),
                ..NewRecord::default()
            };
            let sent = self.producer.send(self.topic, &record).await;
            receipts.push(sent.map_err(|error| self.undelivered(assigned, rejected.offset, &error.into()))?);
        }
        let flushed = self.producer.flush().await;
        for (receipt, rejected) in receipts.iter().zip(rejected) {
            if let Some(Err(error)) = receipt.peek() {
                let assigned = &partitions[rejected.partition].assigned;
                return Err(self.undelivered(assigned, rejected.offset, &error));
            }
        }
        flushed.map_err(|error| Trouble::kafka(&error))
    }

    /// Names the record: the error only knows the topic that does not take it.
    fn undelivered(&self, source: &Assigned, offset: i64, error: &kcopy_client::Error) -> Trouble {
        let text = format!(
            "{} [{}] offset {offset}: its dead letter cannot be written to {}: {error}",
            source.topic, source.partition, self.name
        );
        match error.is_retriable() {
            true => Trouble::Passing(text),
            false => Trouble::Final(text),
        }
    }
}
