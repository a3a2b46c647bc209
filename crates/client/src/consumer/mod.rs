//! Reading partitions: explicit positions, pinned ends, fetched ahead in the background.

mod answers;
mod batch;
mod budget;
mod config;
mod driver;
mod leaders;
mod partition;
mod session;
mod start;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc};

use kcopy_wire::Str;
use tokio::sync::mpsc;

pub(crate) use self::start::{cut_short, out_of_range};
use self::{batch::RawBatch, driver::Driver};
pub use self::{
    batch::{FetchedBatch, Records},
    config::{Assignment, ConsumerConfig, EndOffset, OffsetReset, PartitionRange, StartOffset},
};
use crate::{
    client::Client,
    error::{Error, Result},
};

/// Answers that may wait to be handed out; their bytes are limited by `prefetch_bytes`.
const MAX_DELIVERIES: usize = 256;

/// Reads partitions: no group, no commits, from given offsets to given ends.
///
/// A task on the runtime on which it was made fetches ahead, from all leaders at once. The consumer
/// itself may be used on another thread, with [`Consumer::next_blocking`] outside of any runtime: so a
/// program can leave the network to a thread of its own. Dropping the consumer ends the task.
///
/// ```no_run
/// # async fn example(client: kcopy_client::Client) -> kcopy_client::Result<()> {
/// use kcopy_client::{Assignment, ConsumerConfig, Event, StartOffset};
///
/// let config = ConsumerConfig::default();
/// let assignments = [Assignment::new("orders", 0, StartOffset::Earliest)];
/// let ranges = client.resolve(&assignments, &config).await?;
/// let mut consumer = client.consume(ranges, config)?;
/// while let Some(event) = consumer.next().await? {
///     match event {
///         Event::Batch(batch) => {
///             for record in batch.records() {
///                 let record = record?;
///                 println!("{} {:?}", record.offset, record.value);
///             }
///         }
///         Event::EndOfPartition { topic, partition, offset, .. } => {
///             println!("{topic} [{partition}] ends at {offset}");
///         }
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
    ready: VecDeque<RawEvent>,
    config: Arc<ConsumerConfig>,
    /// How it ended.
    ended: Option<Result<()>>,
}

/// What a consumer reports. Events of one partition come in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Records.
    Batch(FetchedBatch),
    /// Everything before the end of a partition has been handed out. With a pinned end this comes
    /// once, without one each time the end is reached.
    EndOfPartition {
        /// The topic.
        topic: Str,
        /// The partition.
        partition: i32,
        /// The offset to go on at.
        offset: i64,
        /// The leader epoch of what is before it, control records among it; as the range had it where nothing was
        /// read, and None where that is not known.
        leader_epoch: Option<i32>,
    },
}

/// From the task to the consumer.
#[derive(Debug)]
enum Delivery {
    Events(Vec<RawEvent>),
    Ended(Result<()>),
}

#[derive(Debug)]
enum RawEvent {
    Batch(RawBatch),
    EndOfPartition { topic: Str, partition: i32, offset: i64, leader_epoch: Option<i32> },
}

impl Client {
    /// Reads partitions, from now on in the background. Name each partition once.
    ///
    /// # Errors
    /// A partition that is named twice, or a configuration that cannot work. Must be called on a
    /// runtime.
    pub fn consume(&self, ranges: Vec<PartitionRange>, config: ConsumerConfig) -> Result<Consumer> {
        if config.fetch_max_bytes == 0 || config.partition_max_bytes == 0 || config.prefetch_bytes == 0 {
            return Err(Error::invalid("a consumer that may fetch 0 bytes would wait for ever"));
        }
        let config = Arc::new(config);
        let (sender, deliveries) = mpsc::channel(MAX_DELIVERIES);
        let driver = Driver::new(self.clone(), Arc::clone(&config), ranges, sender)?;
        tokio::spawn(driver.run());
        Ok(Consumer { deliveries, ready: VecDeque::new(), config, ended: None })
    }
}

impl Consumer {
    /// The next event; None when all partitions have been read to their pinned ends. Checks and
    /// decompresses the batch on the way. Dropping the future loses nothing.
    ///
    /// # Errors
    /// What cannot be mended by trying again: a corrupt batch, an offset that is not there, a partition
    /// out of reach for longer than `unreachable_timeout`. The same error comes again from then on.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return self.open(event).map(Some);
            }
            if let Some(ended) = &self.ended {
                return ended.clone().map(|()| None);
            }
            let delivery = self.deliveries.recv().await;
            self.take(delivery);
        }
    }

    /// As [`Consumer::next`], for a thread outside of any runtime.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    ///
    /// # Panics
    /// On a thread of a runtime.
    pub fn next_blocking(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return self.open(event).map(Some);
            }
            if let Some(ended) = &self.ended {
                return ended.clone().map(|()| None);
            }
            let delivery = self.deliveries.blocking_recv();
            self.take(delivery);
        }
    }

    /// The next event, if one is there already: so that output can be flushed before waiting.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub fn try_next(&mut self) -> Result<TryNext> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return self.open(event).map(TryNext::Event);
            }
            if let Some(ended) = &self.ended {
                return ended.clone().map(|()| TryNext::Ended);
            }
            match self.deliveries.try_recv() {
                Ok(delivery) => self.take(Some(delivery)),
                Err(mpsc::error::TryRecvError::Empty) => return Ok(TryNext::Waiting),
                Err(mpsc::error::TryRecvError::Disconnected) => self.take(None),
            }
        }
    }

    fn take(&mut self, delivery: Option<Delivery>) {
        match delivery {
            Some(Delivery::Events(events)) => self.ready.extend(events),
            Some(Delivery::Ended(result)) => self.ended = Some(result),
            // The task never goes without a word, unless its runtime does.
            None => self.ended = Some(Err(Error::closed("runtime of the consumer"))),
        }
    }

    fn open(&mut self, event: RawEvent) -> Result<Event> {
        match event {
            RawEvent::Batch(batch) => batch.open(&self.config).map(Event::Batch).inspect_err(|error| {
                self.ready.clear();
                self.ended = Some(Err(error.clone()));
            }),
            RawEvent::EndOfPartition { topic, partition, offset, leader_epoch } => {
                Ok(Event::EndOfPartition { topic, partition, offset, leader_epoch })
            }
        }
    }
}

/// What [`Consumer::try_next`] found.
#[derive(Debug)]
pub enum TryNext {
    /// An event.
    Event(Event),
    /// Nothing at present.
    Waiting,
    /// All partitions have been read to their pinned ends.
    Ended,
}
