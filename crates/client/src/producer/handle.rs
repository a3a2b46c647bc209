//! The producer as its users see it.

use std::{
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use super::{
    Position, Receipt, Record, Topic,
    accumulator::{Accumulator, lock},
    config::ProducerConfig,
    error::{AppendError, DeliveryFailure},
    queue::Queue,
    sender::Sender,
};
use crate::{
    Advice, Client,
    error::{Error, Result},
};

/// What handles, appenders and the sender share. Where both locks are held, `open` was taken first.
#[derive(Debug)]
pub(super) struct Shared {
    /// Held for as long as a caller appends; the sender only ever tries it.
    pub(super) open: Mutex<Accumulator>,
    /// Held for a few instructions.
    pub(super) queue: Mutex<Queue>,
    /// For the sender: there is something new.
    pub(super) news: Notify,
    /// The sender found `open` locked: whoever has it says so when he is done.
    pub(super) missed: AtomicBool,
    /// For those who wait for room or for batches to be settled.
    pub(super) progress: Notify,
    pub(super) progress_blocking: Condvar,
    /// For those who wait for failures, which are few.
    pub(super) failed: Notify,
}

impl Shared {
    pub(super) fn tell_progress(&self) {
        self.progress.notify_waiters();
        self.progress_blocking.notify_all();
    }

    /// Waits until `ready` gives something, which may be whenever `told` is.
    async fn wait<T>(&self, told: &Notify, mut ready: impl FnMut(&mut Queue) -> Option<T>) -> T {
        loop {
            let mut next = std::pin::pin!(told.notified());
            next.as_mut().enable();
            if let Some(done) = ready(&mut lock(&self.queue)) {
                return done;
            }
            next.await;
        }
    }

    fn wait_blocking<T>(&self, mut ready: impl FnMut(&mut Queue) -> Option<T>) -> T {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(done) = ready(&mut queue) {
                return done;
            }
            queue = self.progress_blocking.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Gives up what is left when the last handle goes.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    client: Client,
    config: Arc<ProducerConfig>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.shared.queue).aborting = true;
        self.shared.news.notify_one();
    }
}

/// Sends records. Cheap to clone; see the [module](super) for how to use it.
#[derive(Clone)]
pub struct Producer(Arc<Handle>);

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Producer {
    /// Starts a producer, whose task runs on the runtime that this is called in. Errors of the cluster show
    /// when they matter: with the first topic, or in deliveries.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(client: &Client, config: ProducerConfig) -> Producer {
        let config = Arc::new(config);
        let shared = Arc::new(Shared {
            open: Mutex::new(Accumulator::new(&config)),
            queue: Mutex::new(Queue::new(
                config.buffer_bytes,
                config.first_free_bytes(),
                config.buffer_records,
            )),
            news: Notify::new(),
            missed: AtomicBool::new(false),
            progress: Notify::new(),
            progress_blocking: Condvar::new(),
            failed: Notify::new(),
        });
        let sender = Sender::new(client.clone(), config.clone(), shared.clone(), fastrand::u64(..));
        tokio::spawn(sender.run());
        Producer(Arc::new(Handle { shared, client: client.clone(), config }))
    }

    /// The configuration.
    pub fn config(&self) -> &ProducerConfig {
        &self.0.config
    }

    /// Looks a topic up, and asks again for one that does not exist until `topic_timeout`. It is created if
    /// the client's `allow_auto_create_topics` and the broker's `auto.create.topics.enable` allow it.
    ///
    /// # Errors
    /// The topic does not exist or may not be used; no broker can be reached.
    pub async fn topic(&self, name: &str) -> Result<Topic> {
        let client = &self.0.client;
        let mut retry = client.retry_within("looking the topic up", self.0.config.topic_timeout);
        loop {
            let error = match retry.limit(client.topics(&[name])).await {
                Ok(metadata) => match metadata.topic(name) {
                    Some(topic) if topic.error.is_none() && !topic.partitions.is_empty() => {
                        let count = topic.partitions.len() as u32;
                        let seed = fastrand::u64(..);
                        let shared = &self.0.shared;
                        return Ok(self.appender().open().add_topic(shared, name, count, seed));
                    }
                    Some(topic) => topic.error.map_or_else(
                        || Error::broker(kcopy_wire::ErrorCode::LEADER_NOT_AVAILABLE),
                        Error::broker,
                    ),
                    None => Error::protocol("the broker's metadata leave the topic out"),
                },
                Err(error) if error.advice() == Advice::Never => return Err(error),
                Err(error) => error,
            };
            retry.pause(error.with_topic(name).with_broker(client.servers())).await?;
        }
    }

    /// The name of a topic.
    pub fn topic_name(&self, topic: Topic) -> Arc<str> {
        self.appender().open().topic_name(topic).clone()
    }

    /// How many partitions a topic has.
    pub fn partition_count(&self, topic: Topic) -> u32 {
        self.appender().open().partition_count(topic)
    }

    /// The lock on the open batches, to append a burst of records. Waits while another one lives.
    pub fn appender(&self) -> Appender<'_> {
        Appender { shared: &self.0.shared, open: Some(lock(&self.0.shared.open)) }
    }

    /// Appends a record, and waits for room in the buffer if there is none. This copies it; delivery comes
    /// later. Dropping the future while it waits means that the record was not appended.
    ///
    /// # Errors
    /// Those of [`Appender::append`] but `Full`.
    pub async fn append(&self, topic: Topic, record: &Record<'_>) -> Result<Position, AppendError> {
        loop {
            // Outside of the match, which would keep the lock while it waits.
            let (result, lacking) = self.appender().attempt(|appender| appender.append(topic, record));
            match result {
                Err(AppendError::Full) => self.room(lacking).await,
                result => return result,
            }
        }
    }

    /// As [`Producer::append`], with a promise of what becomes of the record.
    ///
    /// # Errors
    /// Those of [`Appender::append`] but `Full`.
    pub async fn send(&self, topic: Topic, record: &Record<'_>) -> Result<Receipt, AppendError> {
        loop {
            let (result, lacking) =
                self.appender().attempt(|appender| appender.append_tracked(topic, record));
            match result {
                Err(AppendError::Full) => self.room(lacking).await,
                result => return result,
            }
        }
    }

    async fn room(&self, lacking: usize) {
        let shared = &self.0.shared;
        shared.wait(&shared.progress, |queue| has_room(queue, lacking).then_some(())).await;
    }

    /// Sends everything that has been appended, and waits until it is settled, which it is within
    /// `delivery_timeout`. Dropping the future changes nothing of the sending.
    ///
    /// # Errors
    /// Some records that were appended since the last flush were not delivered;
    /// [`Producer::take_failures`] says which.
    pub async fn flush(&self) -> Result<()> {
        let target = self.start_flush();
        let shared = &self.0.shared;
        shared.wait(&shared.progress, |queue| flushed(queue, target)).await
    }

    /// As [`Producer::flush`], but blocks the thread. Not for use inside an asynchronous runtime.
    ///
    /// # Errors
    /// As with [`Producer::flush`].
    pub fn flush_blocking(&self) -> Result<()> {
        let target = self.start_flush();
        self.0.shared.wait_blocking(|queue| flushed(queue, target))
    }

    fn start_flush(&self) -> u64 {
        let shared = &self.0.shared;
        let target = lock(&shared.open).seal_all(shared);
        shared.news.notify_one();
        target
    }

    /// Flushes, and ends the producer for all who have a handle on it.
    ///
    /// # Errors
    /// As with [`Producer::flush`].
    pub async fn close(self) -> Result<()> {
        let result = self.flush().await;
        self.end();
        result
    }

    /// As [`Producer::close`], but blocks the thread. Not for use inside an asynchronous runtime.
    ///
    /// # Errors
    /// As with [`Producer::flush`].
    pub fn close_blocking(self) -> Result<()> {
        let result = self.flush_blocking();
        self.end();
        result
    }

    fn end(&self) {
        let mut queue = lock(&self.0.shared.queue);
        queue.closing = true;
        queue.closed.get_or_insert_with(|| Error::closed("producer"));
        drop(queue);
        self.0.shared.news.notify_one();
    }

    /// The records that were not delivered since this was last asked. Consecutive records that failed for
    /// the same reason are told as one; of more than 1,024 such groups the rest is only counted, see
    /// [`Producer::take_unlisted_failures`].
    pub fn take_failures(&self) -> Vec<DeliveryFailure> {
        lock(&self.0.shared.queue).failures.take()
    }

    /// How many records were not delivered beyond those that [`Producer::take_failures`] gives, since this was last
    /// asked. To be asked after it.
    pub fn take_unlisted_failures(&self) -> u64 {
        lock(&self.0.shared.queue).failures.take_unlisted()
    }

    /// Waits until there is something for [`Producer::take_failures`]; as long as all goes well, for ever.
    pub async fn failed(&self) {
        let shared = &self.0.shared;
        shared.wait(&shared.failed, |queue| (!queue.failures.is_empty()).then_some(())).await;
    }

    /// How many bytes of records wait for their acknowledgement, about.
    pub fn buffered_bytes(&self) -> usize {
        self.0.config.buffer_bytes.saturating_sub(lock(&self.0.shared.queue).unused_bytes())
    }
}

/// Whether to try again: there is room, or nothing is left on its way that would make some, so that the open
/// batches have to go.
fn has_room(queue: &Queue, lacking: usize) -> bool {
    queue.closed.is_some() || (queue.free_bytes >= lacking && queue.free_records > 0) || queue.is_released()
}

fn flushed(queue: &mut Queue, target: u64) -> Option<Result<()>> {
    if queue.settled.reaches(target) {
        return Some(queue.failures.take_outcome());
    }
    match &queue.closed {
        Some(error) if queue.ended => Some(Err(error.clone())),
        _ => None,
    }
}

/// The lock on a producer's open batches: appends are plain function calls while it lives.
///
/// It cannot be held across an `await`, and lingering batches wait for its end.
#[derive(Debug)]
pub struct Appender<'a> {
    shared: &'a Shared,
    /// Given up only while waiting for room.
    open: Option<MutexGuard<'a, Accumulator>>,
}

impl<'a> Appender<'a> {
    /// Appends a record if there is room. This copies it; delivery comes later.
    ///
    /// # Errors
    /// `Full`: wait, for example with [`Producer::append`], and append it again. `TooLarge` and
    /// `UnknownPartition`: never. `Closed`: the producer takes no more.
    pub fn append(&mut self, topic: Topic, record: &Record<'_>) -> Result<Position, AppendError> {
        let shared = self.shared;
        let appended = self.open().append(shared, topic, record);
        match appended {
            Ok(appended) => Ok(appended.position),
            Err(error) => Err(error),
        }
    }

    /// As [`Appender::append`], with a promise of what becomes of the record. The promises of a batch share
    /// one allocation.
    ///
    /// # Errors
    /// As with [`Appender::append`].
    pub fn append_tracked(&mut self, topic: Topic, record: &Record<'_>) -> Result<Receipt, AppendError> {
        let shared = self.shared;
        if let Some(error) = &lock(&shared.queue).closed {
            return Err(AppendError::Closed(error.clone()));
        }
        self.open().append(shared, topic, record).map(|appended| appended.receipt())
    }

    /// Appends a record, and blocks the thread while there is no room. Not for use inside an asynchronous
    /// runtime.
    ///
    /// # Errors
    /// Those of [`Appender::append`] but `Full`.
    pub fn append_blocking(&mut self, topic: Topic, record: &Record<'_>) -> Result<Position, AppendError> {
        loop {
            match self.append(topic, record) {
                Err(AppendError::Full) => self.wait_for_room(),
                result => return result,
            }
        }
    }

    /// Appends one record for each of `values`, without key and headers, and blocks the thread while there is no
    /// room. This is [`Appender::append_blocking`] for many at once, and several times faster for short values.
    ///
    /// # Errors
    /// Those of [`Appender::append`] but `Full`, for the last value that was taken from the iterator; `appended`
    /// counts those before it.
    pub fn append_values_blocking<'v>(
        &mut self,
        topic: Topic,
        partition: Option<i32>,
        mut values: impl Iterator<Item = Option<&'v [u8]>>,
        appended: &mut u64,
    ) -> Result<(), AppendError> {
        let mut next = values.next();
        while let Some(value) = next {
            // The general way finds the batch and makes room in it.
            let position = self.append_blocking(topic, &Record { partition, value, ..Record::default() })?;
            *appended += 1;
            let open = self.open();
            next = if partition.is_some() || open.sticks() {
                open.append_run(topic, position.partition, &mut values, appended)
            } else {
                values.next()
            };
        }
        Ok(())
    }

    /// As [`Appender::append_blocking`], with a promise of what becomes of the record, and its place.
    ///
    /// # Errors
    /// Those of [`Appender::append`] but `Full`.
    pub fn append_tracked_blocking(
        &mut self,
        topic: Topic,
        record: &Record<'_>,
    ) -> Result<(Position, Receipt), AppendError> {
        loop {
            let shared = self.shared;
            match self.open().append(shared, topic, record) {
                Err(AppendError::Full) => self.wait_for_room(),
                result => return result.map(|appended| (appended.position, appended.receipt())),
            }
        }
    }

    #[cold]
    fn wait_for_room(&mut self) {
        let lacking = self.open().lacking();
        // Others may need the lock for what makes room.
        self.release();
        self.shared.wait_blocking(|queue| has_room(queue, lacking).then_some(()));
    }

    /// Appends, and says how much room was lacking if there was none.
    fn attempt<T>(mut self, append: impl FnOnce(&mut Self) -> T) -> (T, usize) {
        let result = append(&mut self);
        let lacking = self.open().lacking();
        (result, lacking)
    }

    #[inline]
    fn open(&mut self) -> &mut Accumulator {
        let shared = self.shared;
        self.open.get_or_insert_with(|| lock(&shared.open))
    }

    fn release(&mut self) {
        if let Some(mut open) = self.open.take() {
            let opened = open.take_opened();
            drop(open);
            // The order matters: the sender says that it missed before it tries the lock.
            if opened | self.shared.missed.swap(false, Ordering::AcqRel) {
                self.shared.news.notify_one();
            }
        }
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        self.release();
    }
}
