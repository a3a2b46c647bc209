//! Records that a table cannot take.

use std::sync::Arc;

use kcopy_client::{
    Client, ConsumerConfig, Event, PartitionRange,
    producer::{Producer, ProducerConfig, Record as NewRecord, Topic},
    wire::{ErrorCode, records::HeadersBuf},
};

use super::{
    batch::{Content, Rejected},
    positions::Placed,
    trouble::Trouble,
};

/// Reads single records once more: PostgreSQL refused their rows long after they had been read.
#[derive(Clone)]
pub(super) struct Reread {
    pub(super) client: Client,
    pub(super) config: ConsumerConfig,
}

impl Reread {
    /// Fills in what is missing.
    ///
    /// # Errors
    /// A record that is not there any more, or a cluster out of reach.
    pub(super) async fn complete(
        &self,
        rejected: &mut [Rejected],
        partitions: &[Placed],
    ) -> Result<(), Trouble> {
        for rejected in rejected.iter_mut().filter(|rejected| rejected.content.is_none()) {
            let content = self.read(&partitions[rejected.partition].range, rejected.offset).await?;
            rejected.content = Some(Arc::new(content));
        }
        Ok(())
    }

    async fn read(&self, range: &PartitionRange, offset: i64) -> Result<Content, Trouble> {
        let failed = |error: kcopy_client::Error| Trouble::kafka(&error);
        let mut range = range.clone();
        (range.start, range.end, range.last_epoch) = (offset, Some(offset + 1), None);
        range.high_watermark = range.high_watermark.max(offset + 1);
        range.last_stable_offset = range.last_stable_offset.max(offset + 1);
        let (topic, partition) = (range.topic.clone(), range.partition);
        let mut consumer = self.client.consume(vec![range], self.config.clone()).map_err(failed)?;
        while let Some(event) = consumer.next().await.map_err(failed)? {
            let Event::Batch(batch) = event else { continue };
            for record in batch.records() {
                let record = record.map_err(failed)?;
                if record.offset == offset {
                    return Ok(Content::of(&record));
                }
            }
        }
        Err(Trouble::Final(format!("{topic} [{partition}]: the record at offset {offset} is gone")))
    }
}

/// Sends rejected records to a topic.
///
/// They are acknowledged before the transaction with their positions commits: none is lost. Where that
/// commit fails they are sent again, so one may be there twice; its headers name it.
#[derive(Clone)]
pub(super) struct DeadLetters {
    producer: Producer,
    topic: Topic,
    name: String,
}

/// Asks for the topic before anything is read. Nobody makes it by the way: what is rejected should not end up in a
/// topic with settings that nobody chose.
///
/// # Errors
/// It is not there, or no broker answers.
pub(super) async fn check_topic(client: &Client, name: &str) -> Result<(), Trouble> {
    let metadata = client.topics(&[name]).await.map_err(|error| Trouble::kafka(&error))?;
    match metadata.topic(name).map(|topic| topic.error) {
        Some(None) => Ok(()),
        None | Some(Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)) => Err(Trouble::Final(format!(
            "there is no topic {name} for dead letters: kcopy topic create {name} makes one"
        ))),
        Some(Some(code)) => Err(Trouble::kafka(&kcopy_client::Error::broker(code).with_topic(name))),
    }
}

impl DeadLetters {
    /// # Errors
    /// The topic is not there.
    pub(super) async fn new(client: &Client, name: &str) -> Result<DeadLetters, Trouble> {
        let config = ProducerConfig::builder().build().map_err(|error| Trouble::kafka(&error))?;
        let producer = Producer::new(client, config);
        let topic = producer.topic(name).await.map_err(|error| Trouble::kafka(&error))?;
        Ok(DeadLetters { producer, topic, name: name.to_owned() })
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
            // Its outcome shows in the flush.
            self.producer.append(self.topic, &record).await.map_err(|error| {
                Trouble::Final(format!(
                    "the dead letter of {} offset {}: {error}",
                    assigned.topic, rejected.offset
                ))
            })?;
        }
        self.producer.flush().await.map_err(|error| match Trouble::kafka(&error) {
            Trouble::Passing(text) => Trouble::Passing(format!("dead letters for {}: {text}", self.name)),
            other => other,
        })
    }
}
