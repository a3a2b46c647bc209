//! Produce (key 0), versions 3-13, advertised from 0.
//!
//! One batch per partition. The first pass finds the topics; the connection's task then validates the records; the
//! second pass checks leader, replicas and the producer's sequence, and appends. `acks=0` gets no answer, and a closed
//! connection if something failed.
//!
//! - 5: `log_start_offset`
//! - 7: zstd
//! - 8: `record_errors` and `error_message` (KIP-467)
//! - 10: where the leader is now (KIP-951)
//! - 12: transactions v2 (KIP-890); transactions are not served yet
//! - 13: topic ids (KIP-516)

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use kcopy_wire::{
    ErrorCode, RecordBytes, Str, Uuid,
    messages::{
        ProduceRequest, ProduceResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{
            BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
            TopicProduceResponse,
        },
    },
    records::Batches,
};

use super::{Context, Outcome, RequestBody, refuse};
use crate::{
    cluster::{
        Cluster,
        topics::{Topic, is_internal},
    },
    config::TopicSettings,
    log::Log,
    producer_state::Verdict,
    validation::{ReadyBatch, Rejected, Rules, release_frame, takes_long, validate},
};

/// A produce request whose topics are known and whose records are not checked yet.
#[derive(Debug)]
pub(crate) struct Validation {
    context: Context,
    acks: i16,
    topics: Vec<UncheckedTopic>,
}

#[derive(Debug)]
struct UncheckedTopic {
    name: Str,
    id: Uuid,
    settings: Option<Arc<TopicSettings>>,
    partitions: Vec<(i32, Option<RecordBytes>)>,
}

/// A produce request that can be appended, as far as its records are concerned.
#[derive(Debug)]
pub(crate) struct Append {
    context: Context,
    acks: i16,
    topics: Vec<CheckedTopic>,
}

#[derive(Debug)]
struct CheckedTopic {
    name: Str,
    id: Uuid,
    partitions: Vec<(i32, Result<ReadyBatch, Rejected>)>,
}

pub(crate) fn handle(cluster: &mut Cluster, context: &Context, request: ProduceRequest) -> Outcome {
    let transactional = request.topic_data.iter().flat_map(|topic| &topic.partition_data).any(|partition| {
        let records = partition.records.clone().map(RecordBytes::into_bytes);
        Batches::new(records.unwrap_or_default())
            .any(|batch| batch.is_ok_and(|batch| batch.attributes().is_transactional()))
    });
    if transactional {
        // Without a transactional id nobody may write these; with one, transactions would have to be served.
        let error = match request.transactional_id {
            None => ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            Some(_) => ErrorCode::INVALID_TXN_STATE,
        };
        let refused = refuse(context, &RequestBody::Produce(request), error);
        return refused.map_or(Outcome::Close("a produce with acks=0 failed"), Outcome::Reply);
    }
    let topics = merged(request.topic_data).into_iter().map(|topic| {
        let found = find(cluster, context, &topic.name, topic.topic_id).ok();
        UncheckedTopic {
            settings: found.map(|topic| topic.settings.clone()),
            name: topic.name,
            id: topic.topic_id,
            partitions: once_each(topic.partition_data),
        }
    });
    Outcome::Validate(Box::new(Validation {
        context: context.clone(),
        acks: request.acks,
        topics: topics.filter(|topic| !topic.partitions.is_empty()).collect(),
    }))
}

/// Topics that are named more than once are answered once.
fn merged(topics: Vec<TopicProduceData>) -> Vec<TopicProduceData> {
    let mut merged: Vec<TopicProduceData> = Vec::with_capacity(topics.len());
    let mut places: HashMap<(Str, Uuid), usize> = HashMap::with_capacity(topics.len());
    for topic in topics {
        match places.get(&(topic.name.clone(), topic.topic_id)) {
            Some(place) => merged[*place].partition_data.extend(topic.partition_data),
            None => {
                places.insert((topic.name.clone(), topic.topic_id), merged.len());
                merged.push(topic);
            }
        }
    }
    merged
}

/// The last mention of a partition counts, as in a map.
fn once_each(partitions: Vec<PartitionProduceData>) -> Vec<(i32, Option<RecordBytes>)> {
    let mut once: Vec<(i32, Option<RecordBytes>)> = Vec::with_capacity(partitions.len());
    let mut places: HashMap<i32, usize> = HashMap::with_capacity(partitions.len());
    for partition in partitions {
        match places.get(&partition.index) {
            Some(place) => once[*place].1 = partition.records,
            None => {
                places.insert(partition.index, once.len());
                once.push((partition.index, partition.records));
            }
        }
    }
    once
}

fn find<'a>(
    cluster: &'a mut Cluster,
    context: &Context,
    name: &Str,
    id: Uuid,
) -> Result<&'a mut Topic, ErrorCode> {
    cluster.find_topic(context.version >= 13, name, id)
}

impl Validation {
    /// Whether records have to be decompressed or compressed.
    pub(crate) fn takes_long(&self) -> bool {
        self.topics.iter().any(|topic| {
            let Some(settings) = &topic.settings else { return false };
            topic
                .partitions
                .iter()
                .filter_map(|(_, records)| records.as_ref())
                .any(|it| takes_long(it, settings))
        })
    }

    /// Checks all records; the expensive part, away from the state.
    pub(crate) fn run(self, now_ms: i64, frame_len: usize) -> Append {
        let version = self.context.version;
        let mut topics: Vec<CheckedTopic> =
            self.topics.into_iter().map(|topic| topic.check(now_ms, version)).collect();
        let mut batches: Vec<&mut ReadyBatch> = topics
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions)
            .filter_map(|(_, checked)| checked.as_mut().ok())
            .collect();
        release_frame(&mut batches, frame_len);
        Append { context: self.context, acks: self.acks, topics }
    }
}

impl UncheckedTopic {
    fn check(self, now_ms: i64, produce_version: i16) -> CheckedTopic {
        let unknown = || Rejected::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let topic = self.name.to_string();
        let check = |(partition, records): (i32, Option<RecordBytes>)| {
            let checked = match &self.settings {
                None => Err(unknown()),
                Some(settings) => validate(
                    records.map(RecordBytes::into_bytes),
                    &Rules {
                        now_ms,
                        produce_version,
                        topic: topic.clone(),
                        partition,
                        settings: settings.clone(),
                    },
                ),
            };
            (partition, checked)
        };
        CheckedTopic {
            partitions: self.partitions.into_iter().map(check).collect(),
            name: self.name,
            id: self.id,
        }
    }
}

/// The second pass.
pub(crate) fn append(cluster: &mut Cluster, append: Append) -> Outcome {
    let Append { context, acks, topics } = append;
    let mut response = ProduceResponse::default();
    let mut endpoints = BTreeSet::new();
    let mut failed = false;
    for topic in topics {
        let mut answer = TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.id,
            ..TopicProduceResponse::default()
        };
        for (index, checked) in topic.partitions {
            let appended = append_partition(cluster, &context, acks, (&topic.name, topic.id, index), checked);
            let mut partition = match appended {
                Ok(partition) => partition,
                Err(rejected) => {
                    let by_log = rejected.by_log;
                    let mut refusal = refusal(index, rejected);
                    if by_log && let Ok(topic) = find(cluster, &context, &topic.name, topic.id) {
                        let log = topic.partition(index).map(|partition| &partition.log);
                        refusal.log_start_offset = log.map_or(-1, Log::log_start_offset);
                    }
                    refusal
                }
            };
            failed |= partition.error_code.is_err();
            if context.version >= 10 && partition.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER {
                let leader = find(cluster, &context, &topic.name, topic.id)
                    .ok()
                    .and_then(|topic| topic.partition(index));
                if let Some(found) = leader {
                    partition.current_leader = LeaderIdAndEpoch {
                        leader_id: found.leader.unwrap_or(-1),
                        leader_epoch: found.leader_epoch,
                        ..LeaderIdAndEpoch::default()
                    };
                    endpoints.extend(found.leader);
                }
            }
            answer.partition_responses.push(partition);
        }
        response.responses.push(answer);
    }
    if acks == 0 {
        // Nobody reads an answer: a closed connection is how the producer learns to refresh its metadata.
        return if failed { Outcome::Close("a produce with acks=0 failed") } else { Outcome::Silent };
    }
    response.node_endpoints = endpoints
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
    response.into()
}

fn append_partition(
    cluster: &mut Cluster,
    context: &Context,
    acks: i16,
    (name, id, index): (&Str, Uuid, i32),
    checked: Result<ReadyBatch, Rejected>,
) -> Result<PartitionProduceResponse, Rejected> {
    let now_ms = cluster.clock.now_ms();
    let expiration_ms = cluster.configs.number("producer.id.expiration.ms", None);
    let topic = find(cluster, context, name, id).map_err(Rejected::new)?;
    let min_insync_replicas = topic.settings.min_insync_replicas;
    let internal = is_internal(&topic.name);
    let partition =
        topic.partition_mut(index).ok_or_else(|| Rejected::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
    if !matches!(acks, -1..=1) {
        return Err(Rejected::new(ErrorCode::INVALID_REQUIRED_ACKS));
    }
    if internal {
        return Err(Rejected::new(ErrorCode::INVALID_TOPIC_EXCEPTION));
    }
    partition.check_leader(context.node_id, None).map_err(Rejected::new)?;
    // No more than there are (KIP-966).
    let needed = min_insync_replicas.min(partition.replicas.len());
    if acks == -1 && partition.isr.len() < needed {
        return Err(Rejected::new(ErrorCode::NOT_ENOUGH_REPLICAS));
    }
    let log_start_offset = partition.log.log_start_offset();
    let batch = checked?;
    let answer = |base_offset, log_append_time: Option<i64>| PartitionProduceResponse {
        index,
        base_offset,
        log_append_time_ms: log_append_time.unwrap_or(-1),
        log_start_offset,
        ..PartitionProduceResponse::default()
    };
    if let Some(stamp) = batch.stamp {
        match partition.producers.check(stamp, now_ms, expiration_ms) {
            Verdict::Append => {}
            Verdict::Duplicate(before) => return Ok(answer(before.base_offset, Some(before.timestamp))),
            Verdict::InvalidProducerEpoch { .. } => {
                let reason = "a newer instance of the producer has written";
                return Err(Rejected::by_log(ErrorCode::INVALID_PRODUCER_EPOCH, reason));
            }
            Verdict::OutOfOrderSequence { .. } => {
                let reason = "a batch before this one is missing";
                return Err(Rejected::by_log(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, reason));
            }
        }
    }
    let leader_epoch = partition.leader_epoch;
    let base_offset = partition
        .log
        .append(&batch.bytes, leader_epoch)
        .ok_or_else(|| Rejected::new(ErrorCode::CORRUPT_MESSAGE))?;
    if let Some(stamp) = batch.stamp {
        partition.producers.expire(now_ms, expiration_ms);
        partition.producers.appended(stamp, base_offset, batch.max_timestamp, now_ms);
    }
    if !partition.waiters.is_empty() {
        let waiters = partition.waiters.clone();
        cluster.waiting.arrived(&waiters, Bytes::len(&batch.bytes));
    }
    Ok(answer(base_offset, batch.log_append_time))
}

fn refusal(index: i32, rejected: Rejected) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: rejected.error,
        base_offset: -1,
        error_message: rejected.message.map(Into::into),
        record_errors: rejected
            .records
            .into_iter()
            .map(|(batch_index, message)| BatchIndexAndErrorMessage {
                batch_index,
                batch_index_error_message: Some(message.into()),
                ..BatchIndexAndErrorMessage::default()
            })
            .collect(),
        ..PartitionProduceResponse::default()
    }
}
