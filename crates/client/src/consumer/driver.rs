//! The task that fetches: from each leader a fetch is under way, and the next one is sent as soon as its
//! answer is there, before anybody looks at the records. With few leaders and several partitions there
//! are up to eight, each for a share of the partitions, so that the line is busy while a request travels.
//!
//! What each broker goes through:
//! ```text
//!           ┌──── pause after a failure <───┐
//!           v                               │
//! idle ── connecting ──> ready <──> fetching
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use kcopy_wire::{
    Str, Uuid,
    messages::{FetchRequest, FetchResponse},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Delivery, RawEvent,
    budget::Budget,
    config::{ConsumerConfig, PartitionRange},
    partition::{Partition, Phase, Place},
    session::{Name, Session, SessionRequest, Want},
};
use crate::{
    backoff::Backoff,
    client::{Client, Lane},
    connection::Connection,
    error::{Error, Result},
    metadata::Metadata,
};

/// No fetch asks for less, however many brokers share the budget.
const LEAST_FETCH_BYTES: usize = 256 << 10;
/// What an answer from nearby brings at most: a larger one takes more memory and hides nothing.
const NEAR_FETCH_BYTES: usize = 4 << 20;
/// The last version that names topics by name.
const LAST_BY_NAME: i16 = 12;
/// The first version in which a broker compares epochs.
const FIRST_WITH_EPOCHS: i16 = 12;

pub(super) struct Driver {
    pub(super) client: Client,
    pub(super) config: Arc<ConsumerConfig>,
    pub(super) partitions: Vec<Partition>,
    pub(super) by_name: HashMap<(Str, i32), usize>,
    pub(super) by_id: HashMap<(Uuid, i32), usize>,
    pub(super) brokers: BTreeMap<Place, Broker>,
    pub(super) tasks: JoinSet<Done>,
    pub(super) budget: Arc<Budget>,
    pub(super) refresh: Refresh,
    /// Whether fetches may wait for data at the broker, and hold up what comes behind them.
    pub(super) waits: bool,
    /// How many fetches from the same leader take turns, each with its share of the partitions.
    pub(super) turns: usize,
    /// The part of `prefetch_bytes` that is of use.
    pub(super) budget_bytes: usize,
    /// What the fetches under way may bring together.
    pub(super) window_bytes: usize,
    /// Whether a round trip takes so long that the last of them should be shared.
    pub(super) is_far: bool,
    /// Ends that are reached before anything is fetched.
    ends: Vec<RawEvent>,
    sender: mpsc::Sender<Delivery>,
}

/// A leader, or the share of its partitions that is fetched together.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) connection: Option<Connection>,
    pub(super) session: Session,
    /// What is under way; at most one thing.
    pub(super) state: BrokerState,
    pub(super) backoff: Backoff,
    pub(super) not_before: Option<Instant>,
    /// When the last fetch was sent.
    pub(super) asked_at: Instant,
    /// For answers without anything that come sooner than they have to.
    pub(super) idle: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokerState {
    Idle,
    Connecting,
    /// A fetch of at most so many bytes.
    Fetching(usize),
}

/// When metadata is asked for again.
#[derive(Debug)]
pub(super) struct Refresh {
    pub(super) is_wanted: bool,
    pub(super) is_running: bool,
    pub(super) not_before: Instant,
    pub(super) backoff: Backoff,
    pub(super) last: Instant,
}

/// What a task of the driver came to.
pub(super) enum Done {
    Connected(Place, Result<Connection>),
    Fetched(Place, Result<FetchResponse>),
    Metadata(Result<Arc<Metadata>>),
    /// Which offsets a partition has, from the first to the end.
    Ranged(usize, Result<(i64, i64)>),
}

impl Driver {
    pub(super) fn new(
        client: Client,
        config: Arc<ConsumerConfig>,
        ranges: Vec<PartitionRange>,
        sender: mpsc::Sender<Delivery>,
    ) -> Result<Driver> {
        let retry = Backoff::new(client.config().retry_backoff, client.config().retry_backoff_max);
        let mut by_name = HashMap::new();
        let mut partitions = Vec::with_capacity(ranges.len());
        let mut ends = Vec::new();
        // Behind a fetch that waits for data everything else would wait too; to a pinned end none waits.
        let waits = ranges.iter().any(|range| range.end.is_none_or(|end| end > range.high_watermark));
        for range in ranges {
            if by_name.insert((range.topic.clone(), range.partition), partitions.len()).is_some() {
                let error = Error::invalid("the partition is assigned twice");
                return Err(error.with_partition(&range.topic, range.partition));
            }
            let visible_end = range.last_stable_offset;
            let mut partition = Partition::new(
                range.topic,
                range.partition,
                range.start,
                range.end,
                config.partition_max_bytes,
                retry.clone(),
            );
            partition.last_fetched_epoch = range.last_epoch;
            if let Some(end) = range.end {
                partition.promised_end = end.min(visible_end);
            }
            // Known already: no fetch need come back empty to see it.
            if let Some(offset) = partition.tell_end_at(visible_end) {
                ends.push(end_of(&partition, offset));
            }
            partitions.push(partition);
        }
        let now = Instant::now();
        let budget_bytes = config.prefetch_bytes / 2;
        Ok(Driver {
            client,
            config,
            partitions,
            by_name,
            by_id: HashMap::new(),
            brokers: BTreeMap::new(),
            tasks: JoinSet::new(),
            budget: Arc::default(),
            refresh: Refresh {
                is_wanted: false,
                is_running: false,
                not_before: now,
                backoff: retry,
                last: now,
            },
            waits,
            turns: 1,
            budget_bytes,
            window_bytes: most_under_way(budget_bytes),
            is_far: false,
            ends,
            sender,
        })
    }

    pub(super) async fn run(mut self) {
        let result = self.drive().await;
        self.close_sessions().await;
        if let Err(error) = &result {
            tracing::debug!(%error, "the consumer ends");
        }
        // Without a receiver nobody wants to know.
        let _ = self.sender.send(Delivery::Ended(result)).await;
    }

    async fn drive(&mut self) -> Result<()> {
        let ends = std::mem::take(&mut self.ends);
        self.deliver(ends).await;
        if self.is_done() {
            return Ok(());
        }
        let receiver = self.sender.clone();
        tokio::select! {
            started = self.start() => started?,
            () = receiver.closed() => return Ok(()),
        }
        while !self.is_done() {
            let now = Instant::now();
            self.check_reach(now)?;
            let starved = self.advance(now)?;
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = self.sender.closed() => return Ok(()),
                Some(done) = self.tasks.join_next() => {
                    let done = done.map_err(|error| Error::closed("runtime").with_source(error))?;
                    self.handle(done).await?;
                }
                () = self.budget.freed(), if starved => {}
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.partitions.iter().all(|partition| partition.phase == Phase::Done)
    }

    /// Hands events over; waits while the consumer has too many of them already.
    pub(super) async fn deliver(&mut self, events: Vec<RawEvent>) {
        if !events.is_empty() {
            // A consumer that is gone is noticed by the loop.
            let _ = self.sender.send(Delivery::Events(events)).await;
        }
    }

    /// Starts whatever can be started: connections, fetches, metadata. Says whether a fetch waits for
    /// the consumer to take what is there.
    pub(super) fn advance(&mut self, now: Instant) -> Result<bool> {
        for partition in &mut self.partitions {
            if matches!(partition.phase, Phase::Paused(until) if until <= now) {
                partition.phase = Phase::Active;
            }
        }
        if self.refresh.last + self.client.config().metadata_max_age <= now {
            self.refresh.is_wanted = true;
        }
        self.start_refresh(now);
        let places: Vec<Place> = self.brokers.keys().copied().collect();
        let mut starved = false;
        for place in places {
            starved |= self.advance_broker(place, now)?;
        }
        Ok(starved)
    }

    /// Connects to a broker, or fetches from it, unless something is under way there.
    pub(super) fn advance_broker(&mut self, place: Place, now: Instant) -> Result<bool> {
        let Some(broker) = self.brokers.get(&place) else { return Ok(false) };
        let paused = broker.not_before.is_some_and(|at| at > now);
        if broker.state != BrokerState::Idle || paused || !self.partitions.iter().any(|p| is_due(p, place)) {
            return Ok(false);
        }
        match &broker.connection {
            Some(connection) if !connection.is_closed() => {
                let connection = connection.clone();
                self.fetch(place, connection)
            }
            _ => {
                let lane = if self.waits { Lane::LongPoll } else { Lane::Shared };
                let client = self.client.clone();
                self.tasks.spawn(async move {
                    Done::Connected(place, client.broker_connection(place.broker, lane).await)
                });
                if let Some(broker) = self.brokers.get_mut(&place) {
                    broker.state = BrokerState::Connecting;
                    // The next one closes it: brokers remember sessions beyond their connections.
                    broker.session.reset();
                }
                Ok(false)
            }
        }
    }

    fn fetch(&mut self, place: Place, connection: Connection) -> Result<bool> {
        let max_bytes = self.fetch_bytes(place);
        let under_way: usize = self.brokers.values().map(Broker::bytes_under_way).sum();
        let is_over = |held: usize| held > 0 && held + under_way + max_bytes > self.budget_bytes;
        if is_over(self.budget.held()) {
            self.budget.starve();
            // Looked at again, since the last of it may have been let go just before.
            if is_over(self.budget.held()) {
                return Ok(true);
            }
        }
        let due = || self.partitions.iter().enumerate().filter(|(_, partition)| is_due(partition, place));
        let with_ids = due().all(|(_, partition)| partition.topic_id.is_some());
        let most = if with_ids { i16::MAX } else { LAST_BY_NAME };
        let version = connection.version_within::<FetchRequest>(4, most)?;
        let mut wanted = Vec::new();
        for (at, partition) in due() {
            let name = Name {
                topic: partition.topic.clone(),
                topic_id: partition.topic_id,
                partition: partition.index,
            };
            let want = Want {
                offset: partition.position,
                leader_epoch: partition.leader_epoch,
                // A replica nearby may only lag behind: the leader is the one to believe.
                last_fetched_epoch: partition
                    .last_fetched_epoch
                    .filter(|_| version >= FIRST_WITH_EPOCHS && partition.preferred_replica.is_none()),
                max_bytes: i32::try_from(partition.max_bytes).unwrap_or(i32::MAX),
            };
            wanted.push((at, name, want));
        }
        let broker = self.brokers.get_mut(&place).ok_or_else(|| Error::closed("broker"))?;
        let mut session = broker.session.request(&wanted, version > LAST_BY_NAME);
        if version < 7 {
            // Before sessions every request names everything.
            broker.session.lose();
            session = broker.session.request(&wanted, false);
            session.session_epoch = -1;
        }
        broker.state = BrokerState::Fetching(max_bytes);
        broker.asked_at = Instant::now();
        let request =
            fetch_request(session, max_bytes, &self.config, self.client.config().client_rack.as_str());
        let timeout = self.client.config().request_timeout + self.config.max_wait;
        self.tasks.spawn(async move {
            let answer = async { connection.send(&request, version, timeout).await?.await };
            Done::Fetched(place, answer.await.map_err(|error| error.with_broker(connection.broker_name())))
        });
        Ok(false)
    }

    /// What a fetch may bring: its part of what may be under way.
    fn fetch_bytes(&self, place: Place) -> usize {
        let most = match self.is_far {
            true => self.config.fetch_max_bytes,
            false => self.config.fetch_max_bytes.min(NEAR_FETCH_BYTES),
        };
        let share = self.window_bytes as f64 * self.share_of(place);
        (share as usize).min(most).max(LEAST_FETCH_BYTES.min(most))
    }

    /// Far away a place has its part of what is left to be read, so that all come to their ends together: the last one
    /// alone would be read with a round trip for each answer.
    fn share_of(&self, place: Place) -> f64 {
        let even = 1.0 / self.brokers.len().max(1) as f64;
        if !self.is_far {
            return even;
        }
        let (mut of_place, mut of_all) = (0, 0);
        for partition in self.partitions.iter().filter(|partition| partition.phase != Phase::Done) {
            let Some(end) = partition.end else { return even };
            let left = end - partition.position;
            of_all += left;
            if partition.owner == Some(place) {
                of_place += left;
            }
        }
        if of_all > 0 { of_place as f64 / of_all as f64 } else { even }
    }

    fn next_wake(&self) -> Option<Instant> {
        let pauses = self.partitions.iter().filter_map(|partition| match partition.phase {
            Phase::Paused(until) => Some(until),
            _ => None,
        });
        let now = Instant::now();
        let brokers = self.brokers.values().filter_map(|broker| broker.not_before).filter(|at| *at > now);
        let refresh = (self.refresh.is_wanted && !self.refresh.is_running).then_some(self.refresh.not_before);
        let open = self.partitions.iter().filter(|partition| partition.phase != Phase::Done);
        let reach = open.filter_map(|partition| {
            partition.failing.as_ref().map(|(since, _)| *since + self.config.unreachable_timeout)
        });
        let age = Some(self.refresh.last + self.client.config().metadata_max_age).filter(|at| *at > now);
        pauses.chain(brokers).chain(refresh).chain(reach).chain(age).min()
    }

    /// Says good-bye, so that the brokers need not remember sessions that nobody uses. Nobody waits for
    /// the answers.
    async fn close_sessions(&mut self) {
        let config = Arc::clone(&self.config);
        for broker in self.brokers.values_mut() {
            let Some(connection) = broker.connection.take().filter(|open| !open.is_closed()) else {
                continue;
            };
            let Some(session) = broker.session.close() else { continue };
            let most = if broker.session.names_by_id() { i16::MAX } else { LAST_BY_NAME };
            let Ok(version) = connection.version_within::<FetchRequest>(7, most) else { continue };
            let request = fetch_request(session, 0, &config, "");
            let sent = connection.send(&request, version, Duration::from_secs(1));
            // A queue that is full has more important things in it.
            if tokio::time::timeout(Duration::from_millis(100), sent).await.is_err() {
                tracing::debug!(broker = connection.broker_name(), "the fetch session stays open");
            }
        }
    }
}

impl Broker {
    pub(super) fn new(client: &Client) -> Broker {
        let retry = Backoff::new(client.config().retry_backoff, client.config().retry_backoff_max);
        Broker {
            connection: None,
            session: Session::default(),
            state: BrokerState::Idle,
            backoff: retry.clone(),
            not_before: None,
            asked_at: Instant::now(),
            idle: retry,
        }
    }

    fn bytes_under_way(&self) -> usize {
        match self.state {
            BrokerState::Fetching(bytes) => bytes,
            _ => 0,
        }
    }
}

/// The part of the budget for what is under way; the rest is for what lies ready.
pub(super) fn most_under_way(budget_bytes: usize) -> usize {
    budget_bytes / 8 * 7
}

fn is_due(partition: &Partition, place: Place) -> bool {
    partition.owner == Some(place) && partition.phase == Phase::Active
}

pub(super) fn end_of(partition: &Partition, offset: i64) -> RawEvent {
    RawEvent::EndOfPartition {
        topic: partition.topic.clone(),
        partition: partition.index,
        offset,
        leader_epoch: partition.last_fetched_epoch,
    }
}

fn fetch_request(
    session: SessionRequest,
    max_bytes: usize,
    config: &ConsumerConfig,
    rack: &str,
) -> FetchRequest {
    FetchRequest {
        max_wait_ms: i32::try_from(config.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: i32::try_from(config.min_bytes).unwrap_or(i32::MAX),
        max_bytes: i32::try_from(max_bytes).unwrap_or(i32::MAX),
        isolation_level: config.isolation_level.number(),
        session_id: session.session_id,
        session_epoch: session.session_epoch,
        topics: session.topics,
        forgotten_topics_data: session.forgotten,
        rack_id: rack.into(),
        ..Default::default()
    }
}
