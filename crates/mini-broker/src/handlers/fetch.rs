//! Fetch (key 1), versions 4-18.
//!
//! Hands out slices of the log, whole batches only. A fetch that finds less than `min_bytes` waits up to
//! `max_wait_ms`, unless a partition has an error. The first batch of the first partition with data is always sent,
//! however large (KIP-74).
//!
//! - 7: fetch sessions (KIP-227)
//! - 9: `current_leader_epoch` fences stale clients (KIP-320)
//! - 11: replicas that do not lead may serve consumers (KIP-392)
//! - 12: `last_fetched_epoch`, diverging epochs (KIP-595)
//! - 13: topic ids (KIP-516)
//! - 16: where the leader is now (KIP-951)

use std::collections::{BTreeMap, BTreeSet};

use kcopy_wire::{
    ErrorCode, RecordBytes,
    messages::{
        FetchRequest, FetchResponse,
        fetch_response::{
            AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
            PartitionData,
        },
    },
};
use tokio::time::{Duration, Instant};

use super::{Context, Outcome, ResponseBody};
use crate::{
    actor::Reply,
    cluster::{Cluster, topics::Partition},
    fetch_session::{FetchKey, FetchMode, FetchTarget, Found},
};

const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;

/// A fetch that has been understood.
#[derive(Debug)]
pub(crate) struct Plan {
    context: Context,
    mode: FetchMode,
    targets: Vec<FetchTarget>,
    min_bytes: u64,
    /// `None` for a negative number, which Kafka stumbles over when it comes to read.
    max_bytes: Option<usize>,
    max_wait: Duration,
    /// The broker that replicates; a consumer has none.
    follower: Option<i32>,
    read_committed: bool,
    /// Bytes that could be sent already.
    available: u64,
}

/// Fetches that wait, by an id of their own.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    next_id: u64,
    parked: BTreeMap<u64, Parked>,
    deadlines: BTreeSet<(Instant, u64)>,
    woken: Vec<u64>,
}

#[derive(Debug)]
struct Parked {
    plan: Box<Plan>,
    reply: Reply,
    deadline: Instant,
}

pub(crate) fn handle(cluster: &mut Cluster, context: &Context, request: FetchRequest) -> Outcome {
    let uses_topic_ids = context.version >= 13;
    let (mut targets, forgotten) = targets_of(&request);
    for target in targets.iter_mut().filter(|_| uses_topic_ids) {
        target.resolved = cluster.topics.name_of(&target.key.topic_id).cloned();
    }
    if ![READ_UNCOMMITTED, READ_COMMITTED].contains(&request.isolation_level) {
        return unexpected(&targets, uses_topic_ids).into();
    }
    let now_ms = cluster.clock.now_ms();
    let session = (request.session_id, request.session_epoch);
    let Some(sessions) = cluster.sessions.get_mut(&context.node_id) else {
        return Outcome::Close("the broker is gone");
    };
    let (mode, targets) = match sessions.begin(now_ms, uses_topic_ids, session, targets, &forgotten) {
        Ok(begun) => begun,
        Err(error_code) => {
            return FetchResponse { error_code, ..FetchResponse::default() }.into();
        }
    };
    let limit = cluster.configs.number("fetch.max.bytes", Some(context.node_id));
    let max_bytes = i64::from(request.max_bytes).min(limit);
    let mut plan = Plan {
        context: context.clone(),
        mode,
        targets,
        min_bytes: u64::try_from(i64::from(request.min_bytes).min(max_bytes)).unwrap_or(0),
        max_bytes: usize::try_from(max_bytes).ok(),
        max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        follower: follower(&request),
        read_committed: request.isolation_level == READ_COMMITTED,
        available: 0,
    };
    let read = Read::new(cluster, &plan);
    let waits = plan.max_wait > Duration::ZERO
        && read.known_partitions > 0
        && !read.must_answer
        && (read.bytes as u64) < plan.min_bytes;
    if !waits {
        return read.finish(cluster, &plan).into();
    }
    plan.available = read.bytes as u64;
    Outcome::Park(Box::new(plan))
}

/// The broker that asks; before version 15 it says so elsewhere (KIP-903).
fn follower(request: &FetchRequest) -> Option<i32> {
    let id = request.replica_id.max(request.replica_state.replica_id);
    (id >= 0).then_some(id)
}

/// The answer to what Kafka does not expect.
fn unexpected(targets: &[FetchTarget], uses_topic_ids: bool) -> FetchResponse {
    let error_code = ErrorCode::UNKNOWN_SERVER_ERROR;
    let mut response = FetchResponse { error_code, ..FetchResponse::default() };
    for target in targets.iter().filter(|_| !uses_topic_ids) {
        push(&mut response.responses, target, failed(target, error_code));
    }
    response
}

/// The partitions that a request names, and those it wants to hear no more of.
fn targets_of(request: &FetchRequest) -> (Vec<FetchTarget>, Vec<FetchKey>) {
    let epoch = |epoch: i32| (epoch >= 0).then_some(epoch);
    let mut targets = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            targets.push(FetchTarget {
                key: FetchKey {
                    topic: topic.topic.clone(),
                    topic_id: topic.topic_id,
                    partition: partition.partition,
                },
                resolved: None,
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.partition_max_bytes,
                current_leader_epoch: epoch(partition.current_leader_epoch),
                last_fetched_epoch: epoch(partition.last_fetched_epoch),
            });
        }
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        for partition in &topic.partitions {
            forgotten.push(FetchKey {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partition: *partition,
            });
        }
    }
    (targets, forgotten)
}

/// One pass over a fetch's partitions.
struct Read {
    partitions: Vec<PartitionData>,
    bytes: usize,
    /// Partitions that exist; a fetch of none is answered at once.
    known_partitions: usize,
    /// An error or a diverging epoch is not kept waiting.
    must_answer: bool,
    endpoints: BTreeSet<i32>,
}

impl Read {
    fn new(cluster: &mut Cluster, plan: &Plan) -> Self {
        let mut read = Self {
            partitions: Vec::with_capacity(plan.targets.len()),
            bytes: 0,
            known_partitions: 0,
            must_answer: false,
            endpoints: BTreeSet::new(),
        };
        for target in &plan.targets {
            let data = match find_partition(cluster, plan, target) {
                // Kafka leaves the list of aborted transactions empty here, and out in all other errors.
                Err(error) => {
                    PartitionData { aborted_transactions: Some(Vec::new()), ..failed(target, error) }
                }
                Ok(partition) => {
                    read.known_partitions += 1;
                    let data = read_partition(partition, plan, target, read.bytes);
                    match data {
                        Ok(data) => {
                            read.must_answer |= data.diverging_epoch.epoch >= 0;
                            read.bytes += data.records.as_ref().map_or(0, RecordBytes::len);
                            data
                        }
                        Err(error) => {
                            read.must_answer = true;
                            read.misdirected(partition, plan, failed(target, error))
                        }
                    }
                }
            };
            read.partitions.push(data);
        }
        read
    }

    /// Tells a client that has the wrong leader where the right one is.
    fn misdirected(&mut self, partition: &Partition, plan: &Plan, mut data: PartitionData) -> PartitionData {
        let wrong_leader =
            matches!(data.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH);
        if plan.context.version >= 16 && wrong_leader {
            data.current_leader = LeaderIdAndEpoch {
                leader_id: partition.leader.unwrap_or(-1),
                leader_epoch: partition.leader_epoch,
                ..LeaderIdAndEpoch::default()
            };
            self.endpoints.extend(partition.leader);
        }
        data
    }

    /// Builds the response; the session decides which partitions belong into it.
    fn finish(self, cluster: &mut Cluster, plan: &Plan) -> FetchResponse {
        let found: Vec<(&FetchTarget, Found)> = plan
            .targets
            .iter()
            .zip(&self.partitions)
            .map(|(target, data)| (target, found_of(data)))
            .collect();
        let max_sessions = cluster.configs.number("max.incremental.fetch.session.cache.slots", None);
        let max_sessions = usize::try_from(max_sessions).unwrap_or(0);
        let now_ms = cluster.clock.now_ms();
        let mut sessions = cluster.sessions.remove(&plan.context.node_id).unwrap_or_default();
        let new_id = || i32::try_from(cluster.random() >> 33).unwrap_or(1);
        let finished = sessions.finish(now_ms, plan.mode, max_sessions, new_id, &found);
        cluster.sessions.insert(plan.context.node_id, sessions);
        let (session_id, included) = match finished {
            Ok(finished) => finished,
            Err(error_code) => {
                return FetchResponse { error_code, ..FetchResponse::default() };
            }
        };
        let mut response = FetchResponse { session_id, ..FetchResponse::default() };
        let parts = plan.targets.iter().zip(self.partitions).zip(included);
        for ((target, data), _) in parts.filter(|(_, included)| *included) {
            push(&mut response.responses, target, data);
        }
        response.node_endpoints = self
            .endpoints
            .iter()
            .filter_map(|id| cluster.nodes.get(id))
            .map(|node| NodeEndpoint {
                node_id: node.id,
                host: node.host.as_str().into(),
                port: i32::from(node.port),
                rack: node.rack.as_deref().map(Into::into),
                ..NodeEndpoint::default()
            })
            .collect();
        response
    }
}

/// Adds a partition to its topic, which is the last one or a new one: the order of partitions is the client's.
fn push(topics: &mut Vec<FetchableTopicResponse>, target: &FetchTarget, data: PartitionData) {
    let key = &target.key;
    match topics.last_mut() {
        Some(last) if last.topic == key.topic && last.topic_id == key.topic_id => last.partitions.push(data),
        _ => topics.push(FetchableTopicResponse {
            topic: key.topic.clone(),
            topic_id: key.topic_id,
            partitions: vec![data],
            ..FetchableTopicResponse::default()
        }),
    }
}

fn find_partition<'a>(
    cluster: &'a mut Cluster,
    plan: &Plan,
    target: &FetchTarget,
) -> Result<&'a mut Partition, ErrorCode> {
    let key = &target.key;
    let uses_topic_ids = plan.context.version >= 13;
    if let Some(name) = &target.resolved
        && cluster.topics.name_of(&key.topic_id).is_none()
    {
        // A topic that was known by its id is gone, or another one by now.
        return Err(match cluster.topics.get(name) {
            None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Some(_) => ErrorCode::INCONSISTENT_TOPIC_ID,
        });
    }
    cluster
        .find_topic(uses_topic_ids, &key.topic, key.topic_id)?
        .partition_mut(key.partition)
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

fn read_partition(
    partition: &mut Partition,
    plan: &Plan,
    target: &FetchTarget,
    bytes_before: usize,
) -> Result<PartitionData, ErrorCode> {
    if plan.context.version >= 11 {
        partition.check_replica(plan.context.node_id, target.current_leader_epoch)?;
    } else {
        partition.check_leader(plan.context.node_id, target.current_leader_epoch)?;
    }
    let is_replica = |id| id != plan.context.node_id && partition.replicas.contains(&id);
    if plan.follower.is_some_and(|follower| !is_replica(follower)) {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    let mut data = PartitionData {
        partition_index: target.key.partition,
        high_watermark: partition.log.high_watermark(),
        last_stable_offset: partition.log.last_stable_offset(),
        log_start_offset: partition.log.log_start_offset(),
        aborted_transactions: None,
        records: Some(RecordBytes::default()),
        ..PartitionData::default()
    };
    if let Some(epoch) = target.last_fetched_epoch {
        let end = partition.log.end_of_epoch(epoch, partition.leader_epoch);
        let (end_epoch, end_offset) = end.ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
        if end_epoch < epoch || end_offset < target.fetch_offset {
            data.diverging_epoch =
                EpochEndOffset { epoch: end_epoch, end_offset, ..EpochEndOffset::default() };
            return Ok(data);
        }
    }
    let end_offset =
        if plan.read_committed { partition.log.last_stable_offset() } else { partition.log.high_watermark() };
    if plan.read_committed {
        let aborted =
            partition.log.aborted(target.fetch_offset, end_offset).map(|aborted| AbortedTransaction {
                producer_id: aborted.producer_id,
                first_offset: aborted.first_offset,
                ..AbortedTransaction::default()
            });
        data.aborted_transactions = Some(aborted.collect());
    }
    let partition_max_bytes = usize::try_from(target.max_bytes).ok();
    let (Some(max_bytes), Some(partition_max_bytes)) = (plan.max_bytes, partition_max_bytes) else {
        return Err(ErrorCode::UNKNOWN_SERVER_ERROR);
    };
    let max_bytes = partition_max_bytes.min(max_bytes.saturating_sub(bytes_before));
    let slices = partition
        .log
        .read(target.fetch_offset, end_offset, max_bytes, bytes_before == 0)
        .map_err(|_| ErrorCode::OFFSET_OUT_OF_RANGE)?;
    data.records = Some(RecordBytes::from_parts(slices.parts));
    Ok(data)
}

fn failed(target: &FetchTarget, error_code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: target.key.partition,
        error_code,
        high_watermark: -1,
        aborted_transactions: None,
        records: Some(RecordBytes::default()),
        ..PartitionData::default()
    }
}

fn found_of(data: &PartitionData) -> Found {
    Found {
        failed: data.error_code.is_err(),
        has_records: data.records.as_ref().is_some_and(|records| !records.is_empty()),
        diverges: data.diverging_epoch.epoch >= 0,
        high_watermark: data.high_watermark,
        log_start_offset: data.log_start_offset,
    }
}

impl Waiting {
    /// Bytes have come to a partition that `waiters` wait for.
    pub(crate) fn arrived(&mut self, waiters: &BTreeSet<u64>, bytes: usize) {
        for id in waiters {
            if let Some(parked) = self.parked.get_mut(id) {
                parked.plan.available += bytes as u64;
                if parked.plan.available >= parked.plan.min_bytes {
                    self.woken.push(*id);
                }
            }
        }
    }

    /// Something other than data has changed: whoever waits looks again.
    pub(crate) fn wake_all(&mut self, waiters: &BTreeSet<u64>) {
        self.woken.extend(waiters);
    }

    /// When the next one has waited long enough.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

/// Lets a fetch wait.
pub(crate) fn park(cluster: &mut Cluster, plan: Box<Plan>, reply: Reply) {
    let id = cluster.waiting.next_id;
    cluster.waiting.next_id += 1;
    for target in &plan.targets {
        if let Ok(partition) = find_partition(cluster, &plan, target) {
            partition.waiters.insert(id);
        }
    }
    let deadline = Instant::now() + plan.max_wait;
    cluster.waiting.deadlines.insert((deadline, id));
    cluster.waiting.parked.insert(id, Parked { plan, reply, deadline });
}

/// Answers the fetches that were woken, and those whose time is up.
pub(crate) fn answer_waiting(cluster: &mut Cluster) {
    while let Some(id) = cluster.waiting.woken.pop() {
        answer(cluster, id);
    }
    if cluster.waiting.deadlines.is_empty() {
        return;
    }
    let now = Instant::now();
    while let Some((deadline, id)) = cluster.waiting.deadlines.first().copied() {
        if deadline > now {
            break;
        }
        answer(cluster, id);
    }
}

/// Forgets what a closed connection waited for.
pub(crate) fn disconnected(cluster: &mut Cluster, connection_id: u64) {
    let of_connection = |parked: &Parked| parked.plan.context.connection_id == connection_id;
    let ids: Vec<u64> = cluster
        .waiting
        .parked
        .iter()
        .filter(|(_, parked)| of_connection(parked))
        .map(|(id, _)| *id)
        .collect();
    for id in ids {
        unpark(cluster, id);
    }
}

fn unpark(cluster: &mut Cluster, id: u64) -> Option<Parked> {
    let parked = cluster.waiting.parked.remove(&id)?;
    cluster.waiting.deadlines.remove(&(parked.deadline, id));
    for target in &parked.plan.targets {
        if let Ok(partition) = find_partition(cluster, &parked.plan, target) {
            partition.waiters.remove(&id);
        }
    }
    Some(parked)
}

fn answer(cluster: &mut Cluster, id: u64) {
    if let Some(parked) = unpark(cluster, id) {
        let response = Read::new(cluster, &parked.plan).finish(cluster, &parked.plan);
        parked.reply.send(Outcome::Reply(ResponseBody::Fetch(response)));
    }
}
