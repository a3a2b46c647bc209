//! Which partition is fetched from which broker.

use std::{collections::BTreeSet, time::Duration};

use kcopy_wire::ErrorCode;
use tokio::time::Instant;

use super::{
    answers::may_pass,
    driver::{Broker, BrokerState, Done, Driver, most_under_way},
    partition::{Phase, Place},
};
use crate::{
    client::by_leader::leader_of,
    error::{Error, Result},
    metadata::Metadata,
};

/// How many times longer than an unknown topic one is waited for that was known before.
const KNOWN_TOPIC_PATIENCE: u32 = 10;

/// How many fetches are under way in all, at least, if there are as many partitions: what one of them
/// brings hides the round trip of the others.
const NEAR_TURNS: usize = 3;
/// The same for brokers whose answers take [`FAR`] and more, where three lose a quarter of the throughput at 1 ms, and half
/// at 5 ms. That each has its buffers costs a page fault for each 4 KiB at the beginning, which near ones need not pay.
const FAR_TURNS: usize = 8;
const FAR: Duration = Duration::from_millis(1);
/// What such fetches bring together at least, if the budget has room for it.
const LEAST_FAR_BYTES: usize = 24 << 20;
/// What they have to bring per second of their round trip, so that it costs nothing: what a fast machine reads in that
/// time, and as much again. More would only leave its caches, at a sixth of the throughput.
const BYTES_PER_SECOND: f64 = 6.5e9;

impl Driver {
    /// The first look at the metadata; usually it is there already, from finding the offsets.
    pub(super) async fn start(&mut self) -> Result<()> {
        let mut names: Vec<_> = self.partitions.iter().map(|partition| partition.topic.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let client = self.client.clone();
        let mut retry = client.retry_within("asking for metadata", self.config.unreachable_timeout);
        let metadata = loop {
            match retry.limit(client.topics(&names)).await {
                Ok(metadata) => break metadata,
                Err(error) => retry.pause(error.with_broker(client.servers())).await?,
            }
        };
        self.refresh.last = Instant::now();
        self.take_ids(&metadata)?;
        let round_trip = client.round_trip();
        self.is_far = round_trip >= FAR;
        if self.is_far {
            self.budget_bytes = self.config.prefetch_bytes;
            let needed = (round_trip.as_secs_f64() * BYTES_PER_SECOND) as usize;
            self.window_bytes = needed.max(LEAST_FAR_BYTES).min(most_under_way(self.budget_bytes));
        }
        if !self.waits {
            let leaders: BTreeSet<Option<i32>> = self
                .partitions
                .iter()
                .map(|partition| Some(leader_of(&metadata, &partition.topic, partition.index).ok()?.0))
                .collect();
            let turns = if self.is_far { FAR_TURNS } else { NEAR_TURNS };
            self.turns = (turns / leaders.len().max(1)).max(1);
        }
        self.assign();
        Ok(())
    }

    pub(super) fn start_refresh(&mut self, now: Instant) {
        if !self.refresh.is_wanted || self.refresh.is_running || self.refresh.not_before > now {
            return;
        }
        self.refresh.is_wanted = false;
        self.refresh.is_running = true;
        let open = self.partitions.iter().filter(|partition| partition.phase != Phase::Done);
        let mut topics: Vec<_> = open.map(|partition| partition.topic.clone()).collect();
        topics.sort_unstable();
        topics.dedup();
        let client = self.client.clone();
        self.tasks.spawn(async move {
            let names: Vec<&str> = topics.iter().map(|name| &**name).collect();
            let generation = client.metadata().generation;
            Done::Metadata(client.refresh_metadata(&names, generation).await)
        });
    }

    pub(super) fn refreshed(&mut self, result: Result<std::sync::Arc<Metadata>>) -> Result<()> {
        let now = Instant::now();
        self.refresh.is_running = false;
        self.refresh.last = now;
        match result {
            Ok(metadata) => {
                self.take_ids(&metadata)?;
                self.assign();
                if !self.refresh.is_wanted {
                    self.refresh.backoff.reset();
                }
                self.refresh.not_before = now + self.refresh.backoff.next_pause();
                Ok(())
            }
            Err(error) if error.is_retriable() => {
                tracing::debug!(%error, "the metadata could not be refreshed");
                self.refresh.is_wanted = true;
                self.refresh.not_before = now + self.refresh.backoff.next_pause();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers the ids of topics. Another id under the same name is another topic: its offsets mean
    /// something else.
    fn take_ids(&mut self, metadata: &Metadata) -> Result<()> {
        for (at, partition) in self.partitions.iter_mut().enumerate() {
            let Some(id) = metadata.topic(&partition.topic).and_then(|topic| topic.id) else { continue };
            match partition.topic_id {
                Some(known) if known == id => {}
                None => {
                    partition.topic_id = Some(id);
                    self.by_id.insert((id, partition.index), at);
                }
                Some(_) if partition.phase == Phase::Done => {}
                Some(known) => {
                    let message = format!(
                        "the topic was deleted and created again while it was read: its id was {known} and is {id}"
                    );
                    let error = Error::broker_with_message(ErrorCode::UNKNOWN_TOPIC_ID, Some(&message));
                    return Err(partition.named(error));
                }
            }
        }
        Ok(())
    }

    /// Puts partitions where their leaders are now.
    pub(super) fn assign(&mut self) {
        let now = Instant::now();
        let metadata = self.client.metadata();
        let turns = self.turns;
        let open = self.partitions.iter_mut().enumerate();
        for (at, partition) in open.filter(|(_, partition)| partition.phase != Phase::Done) {
            match leader_of(&metadata, &partition.topic, partition.index) {
                Ok((leader, epoch)) => {
                    let preferred = partition.preferred_replica;
                    let preferred = preferred.filter(|replica| metadata.brokers.contains_key(replica));
                    let broker = preferred.unwrap_or(leader);
                    let owner = Place { broker, turn: at % turns };
                    partition.owner = Some(owner);
                    partition.leader_epoch = epoch;
                    self.brokers.entry(owner).or_insert_with(|| Broker::new(&self.client));
                }
                Err(error) => {
                    let error = partition.named(error);
                    partition.owner = None;
                    let since = partition.failing.as_ref().map_or(now, |(since, _)| *since);
                    partition.failing = Some((since, error));
                    self.refresh.is_wanted = true;
                }
            }
        }
        // Brokers without partitions have no say in how the budget is shared.
        let partitions = &self.partitions;
        self.brokers.retain(|place, broker| {
            broker.state != BrokerState::Idle
                || partitions.iter().any(|partition| partition.owner == Some(*place))
        });
    }

    /// Whether the metadata now names another leader, or another epoch, than the partition has.
    pub(super) fn moved(&self, at: usize) -> bool {
        let partition = &self.partitions[at];
        let metadata = self.client.metadata();
        let known = metadata.topic(&partition.topic).and_then(|topic| topic.partition(partition.index));
        known.is_some_and(|known| {
            known.leader.is_some()
                && (known.leader != partition.owner.map(|owner| owner.broker)
                    || known.leader_epoch != partition.leader_epoch)
        })
    }

    /// Gives up on what cannot be reached for too long.
    pub(super) fn check_reach(&self, now: Instant) -> Result<()> {
        for partition in &self.partitions {
            let Some((since, error)) = &partition.failing else { continue };
            if partition.phase == Phase::Done {
                continue;
            }
            // A topic that was there a moment ago may only be unknown to a broker that restarts.
            let patience = if partition.leader_epoch.is_some() { KNOWN_TOPIC_PATIENCE } else { 1 };
            let is_gone = error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
                && now >= *since + self.client.config().unknown_topic_grace * patience;
            if !may_pass(error) || is_gone {
                return Err(error.clone());
            }
            if now >= *since + self.config.unreachable_timeout {
                let seconds = self.config.unreachable_timeout.as_secs_f64();
                return Err(error
                    .clone()
                    .prefixed(&format!("the partition could not be read for {seconds} s")));
            }
        }
        Ok(())
    }
}
