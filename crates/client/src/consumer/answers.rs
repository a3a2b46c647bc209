//! What the driver makes of answers.

use std::{collections::HashSet, sync::Arc};

use kcopy_wire::{
    ApiKey, ErrorCode, Str,
    messages::{
        FetchResponse,
        fetch_response::{FetchableTopicResponse, NodeEndpoint, PartitionData},
    },
};
use tokio::time::{Duration, Instant};

use super::{
    RawEvent,
    budget::Held,
    config::OffsetReset,
    driver::{BrokerState, Done, Driver, end_of},
    partition::{Partition, Phase, Place},
    start::{cut_short, out_of_range},
};
use crate::{
    connection::Connection,
    context::FETCH,
    error::{Error, ErrorKind, Result},
    metadata,
    offsets::{IsolationLevel, OffsetQuery, OffsetSpec},
};

impl Driver {
    pub(super) async fn handle(&mut self, done: Done) -> Result<()> {
        match done {
            Done::Connected(place, result) => self.connected(place, result),
            Done::Fetched(place, Ok(response)) => self.fetched(place, response).await,
            Done::Fetched(place, Err(error)) => {
                let since = self.silent_since(&error);
                self.broker_failed(place, error, since)
            }
            Done::Metadata(result) => self.refreshed(result),
            Done::Ranged(at, result) => self.ranged(at, result).await,
        }
    }

    fn connected(&mut self, place: Place, result: Result<Connection>) -> Result<()> {
        match result {
            Ok(connection) => {
                if let Some(broker) = self.brokers.get_mut(&place) {
                    broker.connection = Some(connection);
                    broker.state = BrokerState::Idle;
                }
                Ok(())
            }
            Err(error) => self.broker_failed(place, error, Instant::now()),
        }
    }

    /// Since when a fetch that ended in `error` brought nothing. The time that it waited for a frozen broker counts, but
    /// leaves enough of the whole to look for another leader.
    fn silent_since(&self, error: &Error) -> Instant {
        let now = Instant::now();
        if error.kind() != ErrorKind::Timeout {
            return now;
        }
        let waited = self.client.config().request_timeout + self.config.max_wait;
        now.checked_sub(waited.min(self.config.unreachable_timeout * 3 / 4)).unwrap_or(now)
    }

    /// A broker cannot be reached since then, or does not answer. Perhaps its partitions have moved.
    fn broker_failed(&mut self, place: Place, error: Error, since: Instant) -> Result<()> {
        let now = Instant::now();
        let Some(broker) = self.brokers.get_mut(&place) else { return Ok(()) };
        broker.state = BrokerState::Idle;
        broker.session.reset();
        if !may_pass(&error) {
            return Err(error);
        }
        tracing::debug!(target: FETCH, broker_id = place.broker, %error, "fetching failed");
        broker.connection = None;
        broker.not_before = Some(now + broker.backoff.next_pause());
        // A broker that comes back ends a fetch or two; that it cannot be reached is told of by the connection.
        let is_third = broker.backoff.attempts() == 3 && error.kind() != ErrorKind::Connect;
        let of_broker = self.brokers.iter().filter(|(other, _)| other.broker == place.broker);
        if is_third && of_broker.filter(|(_, share)| share.backoff.attempts() >= 3).count() == 1 {
            tracing::warn!(%error, "fetching has failed three times and is tried again");
        }
        for partition in self.partitions.iter_mut().filter(|partition| partition.owner == Some(place)) {
            // A replica nearby was an offer; the leader is the one to go back to.
            if partition.preferred_replica.take().is_some() {
                partition.owner = None;
            }
            let since = partition.failing.as_ref().map_or(since, |(first, _)| *first);
            partition.failing = Some((since, partition.named(error.clone())));
        }
        self.refresh.is_wanted = true;
        Ok(())
    }

    async fn fetched(&mut self, place: Place, mut response: FetchResponse) -> Result<()> {
        let now = Instant::now();
        let Some(broker) = self.brokers.get_mut(&place) else { return Ok(()) };
        broker.state = BrokerState::Idle;
        broker.not_before = throttled_until(&response, now);
        match response.error_code {
            ErrorCode::NONE => {}
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND
            | ErrorCode::INVALID_FETCH_SESSION_EPOCH
            | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR => {
                let code = response.error_code;
                tracing::debug!(target: FETCH, broker_id = place.broker, %code, "a new fetch session");
                if response.error_code == ErrorCode::FETCH_SESSION_ID_NOT_FOUND {
                    broker.session.lose();
                } else {
                    broker.session.reset();
                }
                // Sessions are few, and brokers push old ones out: the first time is no failure.
                if broker.backoff.attempts() == 0 {
                    broker.backoff.next_pause();
                    return Ok(());
                }
                return self.refused(place, code, now);
            }
            code => return self.refused(place, code, now),
        }
        broker.session.accept(response.session_id);
        broker.backoff.reset();
        let endpoints = std::mem::take(&mut response.node_endpoints);
        let throttled = response.throttle_time_ms > 0;
        let (events, is_of_use) = self.take_topics(place, response.responses, &endpoints)?;
        // Whoever is over a quota gets an empty answer, with the time to wait (KIP-219).
        self.judge(place, !is_of_use && !throttled, now);
        // The next fetch goes out before anybody looks at the records.
        self.advance_broker(place, now)?;
        self.deliver(events).await;
        Ok(())
    }

    /// A fetch as a whole was answered with an error.
    fn refused(&mut self, place: Place, code: ErrorCode, now: Instant) -> Result<()> {
        let connection = self.brokers.get(&place).and_then(|broker| broker.connection.as_ref());
        let mut error = Error::broker(code).with_api(ApiKey::Fetch, None);
        if let Some(open) = connection {
            error = error.with_broker(open.broker_name());
        }
        self.broker_failed(place, error, now)
    }

    /// Whether the partitions that an answer was about, named in it or not, are well.
    fn judge(&mut self, place: Place, is_empty: bool, now: Instant) {
        let Some(broker) = self.brokers.get_mut(&place) else { return };
        let mut is_short = false;
        // A session says nothing of partitions without news. Those that failed are paused by now.
        for (at, partition) in self.partitions.iter_mut().enumerate() {
            if partition.owner != Some(place) || partition.phase != Phase::Active {
                continue;
            }
            if is_empty && partition.has_more() {
                partition.starve(now);
                is_short = true;
            } else if partition.failing.is_some() && broker.session.holds(at) {
                partition.recover();
            }
        }
        if !is_empty {
            broker.idle.reset();
            return;
        }
        // Without anything to send a broker waits: one that does not would be asked again and again.
        let is_early = self.config.min_bytes > 0 && now - broker.asked_at < self.config.max_wait / 2;
        if is_short || is_early {
            let is_first = broker.idle.attempts() == 0;
            let pause = broker.idle.next_pause();
            let starving = self
                .partitions
                .iter()
                .find(|partition| partition.owner == Some(place) && partition.has_more());
            if let Some((_, error)) = starving.and_then(|partition| partition.failing.as_ref())
                && broker.idle.attempts() == 3
            {
                tracing::warn!(%error, "fetching has failed three times and is tried again");
            }
            // Once may be by chance.
            if !is_first {
                broker.not_before = Some(now + pause);
            }
        }
    }

    /// Says as well whether there was anything in it to go by.
    fn take_topics(
        &mut self,
        place: Place,
        topics: Vec<FetchableTopicResponse>,
        endpoints: &[NodeEndpoint],
    ) -> Result<(Vec<RawEvent>, bool)> {
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        let size = partitions.map(|data| data.records.as_ref().map_or(0, |records| records.len())).sum();
        // Dropped at once if no batch of the answer is handed out.
        let held = self.budget.hold(size);
        let mut events = Vec::new();
        let mut is_of_use = false;
        let mut seen = HashSet::new();
        for topic in topics {
            for data in topic.partitions {
                let found = if topic.topic_id.is_zero() {
                    self.by_name.get(&(topic.topic.clone(), data.partition_index))
                } else {
                    self.by_id.get(&(topic.topic_id, data.partition_index))
                };
                let Some(&at) = found else {
                    let message =
                        format!("a fetch brought partition {} which was not asked for", data.partition_index);
                    return Err(Error::protocol(message).with_topic(&topic.topic));
                };
                if !seen.insert(at) {
                    let message = format!("a fetch brought partition {} twice", data.partition_index);
                    return Err(Error::protocol(message).with_topic(&topic.topic));
                }
                let partition = &self.partitions[at];
                // It has moved meanwhile, or waits for something else: what was sent is fetched again.
                if partition.owner == Some(place) && partition.phase == Phase::Active {
                    is_of_use |= !brings_nothing(&data);
                    if size > 0 && data.error_code == ErrorCode::NONE {
                        self.partitions[at].recover();
                    }
                    self.take_partition(place, at, data, endpoints, &held, &mut events)?;
                }
            }
        }
        Ok((events, is_of_use))
    }

    fn take_partition(
        &mut self,
        place: Place,
        at: usize,
        data: PartitionData,
        endpoints: &[NodeEndpoint],
        held: &Arc<Held>,
        events: &mut Vec<RawEvent>,
    ) -> Result<()> {
        if data.error_code.is_err() {
            return self.partition_failed(place, at, &data, endpoints);
        }
        let preferred = data.preferred_read_replica;
        let partition = &mut self.partitions[at];
        if data.diverging_epoch.epoch >= 0 {
            let (epoch, end) = (data.diverging_epoch.epoch, data.diverging_epoch.end_offset);
            let is_unknown = Some(epoch) < partition.last_fetched_epoch;
            match partition.taken_from {
                // Records of that epoch were read, and the log has none.
                Some(from) if is_unknown => return self.diverged(at, end.min(from)),
                // The caller's word: perhaps nothing was written under that epoch, or compaction has left nothing of
                // it. All that is known to have been read is there.
                None if is_unknown && end >= partition.position => {
                    partition.last_fetched_epoch = Some(epoch);
                    return Ok(());
                }
                _ => return self.diverged(at, end),
            }
        }
        tracing::debug!(
            target: FETCH,
            topic = %partition.topic,
            partition = partition.index,
            offset = partition.position,
            bytes = data.records.as_ref().map_or(0, |records| records.len()),
            high_watermark = data.high_watermark,
            broker_id = place.broker,
            "fetched"
        );
        let taken = partition.take(data, place.broker, held, &self.config)?;
        if partition.is_stuck()
            && let Some(broker) = self.brokers.get_mut(&place)
        {
            // Perhaps the broker remembers another offset than it was told: it is told again.
            broker.session.reset();
        }
        events.extend(taken.batches.into_iter().map(RawEvent::Batch));
        if let Some(offset) = taken.reached_end {
            events.push(end_of(partition, offset));
        }
        if preferred >= 0 && preferred != place.broker {
            partition.preferred_replica = Some(preferred);
            self.assign();
        }
        Ok(())
    }

    fn partition_failed(
        &mut self,
        place: Place,
        at: usize,
        data: &PartitionData,
        endpoints: &[NodeEndpoint],
    ) -> Result<()> {
        let now = Instant::now();
        let code = data.error_code;
        let partition = &mut self.partitions[at];
        let mut error = Error::broker(code).with_api(ApiKey::Fetch, None);
        if let Some(connection) = self.brokers.get(&place).and_then(|broker| broker.connection.as_ref()) {
            error = error.with_broker(connection.broker_name());
        }
        if code == ErrorCode::OFFSET_OUT_OF_RANGE {
            if partition.preferred_replica.take().is_some() {
                // The replica lags behind; its leader knows better.
                partition.owner = None;
                self.assign();
                return Ok(());
            }
            partition.phase = Phase::Ranging;
            self.find_range(at);
            return Ok(());
        }
        if !may_pass(&error) {
            return Err(partition.named(error));
        }
        let (topic, partition_index) = (&partition.topic, partition.index);
        tracing::debug!(target: FETCH, %topic, partition = partition_index, %error, "a partition failed");
        partition.preferred_replica = None;
        partition.fail(error, now);
        if Partition::is_about_leader(code) {
            let leader = &data.current_leader;
            if leader.leader_id >= 0 {
                let endpoint = endpoints.iter().find(|endpoint| endpoint.node_id == leader.leader_id);
                let topic: Str = partition.topic.clone();
                let index = partition.index;
                let endpoint = endpoint.and_then(broker_at);
                self.client.take_leader(&topic, index, leader.leader_id, leader.leader_epoch, endpoint);
                if self.moved(at) {
                    self.partitions[at].phase = Phase::Active;
                    self.assign();
                    return Ok(());
                }
            }
            self.refresh.is_wanted = true;
        }
        Ok(())
    }

    /// What was read last is not in the log any more, which ends or goes on otherwise from `end` on: an election
    /// that was not clean.
    fn diverged(&mut self, at: usize, end: i64) -> Result<()> {
        let partition = &mut self.partitions[at];
        let position = partition.position;
        if self.config.offset_reset == OffsetReset::Error {
            let error = cut_short(position, end);
            return Err(partition.named(error));
        }
        tracing::warn!(
            topic = %partition.topic, partition = partition.index, offset = position, reset_to = end,
            "the log was cut short and written anew"
        );
        // Where the two logs part: what is new there has not been read yet.
        partition.seek(end.min(position));
        Ok(())
    }

    /// Asks which offsets a partition has.
    fn find_range(&mut self, at: usize) {
        let partition = &self.partitions[at];
        let query = |spec| OffsetQuery::new(&partition.topic, partition.index, spec);
        let queries = [query(OffsetSpec::Earliest), query(OffsetSpec::Latest)];
        let client = self.client.clone();
        self.tasks.spawn(async move {
            let range = async {
                let answers = client.list_offsets(&queries, IsolationLevel::ReadUncommitted).await?;
                let mut offsets = Vec::new();
                for answer in answers {
                    offsets.push(answer?.offset.unwrap_or(0));
                }
                Ok((offsets[0], offsets[1]))
            };
            Done::Ranged(at, range.await)
        });
    }

    /// The range is known: reading goes on where the reset policy says, or ends with an error.
    async fn ranged(&mut self, at: usize, result: Result<(i64, i64)>) -> Result<()> {
        let partition = &mut self.partitions[at];
        let (first, end) = match result {
            Ok(range) => range,
            Err(error) if error.is_retriable() => {
                partition.fail(error, Instant::now());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if (first..=end).contains(&partition.position) {
            // It is there after all: the leader has changed, or a replica has caught up.
            let message = format!("offset {} was refused though the partition has it", partition.position);
            let error = Error::broker_with_message(ErrorCode::OFFSET_NOT_AVAILABLE, Some(&message));
            partition.fail(error, Instant::now());
            return Ok(());
        }
        let position = match self.config.offset_reset {
            OffsetReset::Error => {
                return Err(partition.named(out_of_range(partition.position, first, end)));
            }
            OffsetReset::Earliest => first,
            OffsetReset::Latest => end,
        };
        tracing::warn!(
            topic = %partition.topic, partition = partition.index, offset = partition.position,
            reset_to = position, "the offset is out of range"
        );
        partition.seek(position);
        if let Some(offset) = partition.tell_end_at(end) {
            let event = end_of(partition, offset);
            self.deliver(vec![event]).await;
        }
        Ok(())
    }
}

/// Whether a fetch is tried again. A broker that knows no name for what is wrong may know better the next time: Apache
/// Kafka's consumer goes on as well.
pub(super) fn may_pass(error: &Error) -> bool {
    error.is_retriable() || error.code() == Some(ErrorCode::UNKNOWN_SERVER_ERROR)
}

/// Whether there are neither records nor anything else to go by.
fn brings_nothing(data: &PartitionData) -> bool {
    data.records.as_ref().is_none_or(|records| records.is_empty())
        && !data.error_code.is_err()
        && data.diverging_epoch.epoch < 0
        && data.preferred_read_replica < 0
}

/// KIP-219: the broker has answered at once, and the client waits.
fn throttled_until(response: &FetchResponse, now: Instant) -> Option<Instant> {
    let pause = u64::try_from(response.throttle_time_ms).ok().filter(|pause| *pause > 0)?;
    Some(now + Duration::from_millis(pause.min(60_000)))
}

fn broker_at(endpoint: &NodeEndpoint) -> Option<metadata::Broker> {
    Some(metadata::Broker {
        id: endpoint.node_id,
        host: endpoint.host.to_string(),
        port: u16::try_from(endpoint.port).ok()?,
        rack: endpoint.rack.as_ref().map(ToString::to_string),
    })
}
