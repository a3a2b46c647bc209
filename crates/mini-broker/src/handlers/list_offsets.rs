//! ListOffsets (key 2), versions 1-11.
//!
//! Offsets by time, or by the special timestamps below. Looking into batches is left to the connection's task.
//!
//! | timestamp | since | means |
//! |---|---|---|
//! | -1 | 1 | the end: high watermark, or last stable offset |
//! | -2 | 1 | the log's start |
//! | -3 | 7 | the record with the largest timestamp (KIP-734) |
//! | -4 | 8 | the start of what is on local disks: the log's start (KIP-405) |
//! | -5 | 9 | the end of what is in tiered storage: none (KIP-1005) |
//! | -6 | 11 | the start of what is yet to be uploaded: none (KIP-1023) |
//!
//! - 2: isolation level
//! - 4: leader epochs (KIP-320)
//! - 10: a time limit for tiered storage

use std::collections::BTreeSet;

use kcopy_wire::{
    ErrorCode, Str,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
    records::{Batch, RecordLimits},
};

use super::{Context, Finish, Outcome, ResponseBody};
use crate::{cluster::Cluster, log::StoredBatch};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;

/// A partition's answer, or what to search for it.
enum Answer {
    Ready(ListOffsetsPartitionResponse),
    Search(Search),
}

/// A search within batches.
struct Search {
    partition_index: i32,
    wanted: Wanted,
    candidates: Vec<(StoredBatch, i32)>,
    log_start_offset: i64,
    end_offset: i64,
}

enum Wanted {
    /// The first record at or after this time.
    AtOrAfter(i64),
    /// The first record with exactly this time.
    Exactly(i64),
}

pub(crate) fn handle(cluster: &mut Cluster, context: &Context, request: ListOffsetsRequest) -> Outcome {
    let read_committed = match request.isolation_level {
        READ_UNCOMMITTED => Ok(false),
        READ_COMMITTED => Ok(true),
        // What Kafka does not expect.
        _ => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
    };
    let mut seen: BTreeSet<(Str, i32)> = BTreeSet::new();
    let mut repeated: BTreeSet<(Str, i32)> = BTreeSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (topic.name.clone(), partition.partition_index);
            if !seen.insert(key.clone()) {
                repeated.insert(key);
            }
        }
    }
    let mut topics: Vec<(Str, Vec<Answer>)> = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut refused = BTreeSet::new();
        // A partition that is asked for twice is refused, once.
        let once = topic.partitions.iter().filter(|wanted| {
            !repeated.contains(&(topic.name.clone(), wanted.partition_index))
                || refused.insert(wanted.partition_index)
        });
        let answers = once.map(|wanted| {
            if repeated.contains(&(topic.name.clone(), wanted.partition_index)) {
                return Answer::Ready(failed(wanted.partition_index, ErrorCode::INVALID_REQUEST));
            }
            read_committed
                .and_then(|committed| look_up(cluster, context, &topic.name, wanted, committed))
                .unwrap_or_else(|error| Answer::Ready(failed(wanted.partition_index, error)))
        });
        topics.push((topic.name.clone(), answers.collect()));
    }
    let searches =
        topics.iter().flat_map(|(_, answers)| answers).any(|answer| matches!(answer, Answer::Search(_)));
    let with_epochs = context.version >= 4;
    let finish = move || ResponseBody::ListOffsets(respond(topics, with_epochs));
    if searches { Outcome::Finish(Finish(Box::new(finish))) } else { Outcome::Reply(finish()) }
}

fn respond(topics: Vec<(Str, Vec<Answer>)>, with_epochs: bool) -> ListOffsetsResponse {
    let topics = topics.into_iter().map(|(name, answers)| ListOffsetsTopicResponse {
        name,
        partitions: answers
            .into_iter()
            .map(|answer| {
                let answer = match answer {
                    Answer::Ready(ready) => ready,
                    Answer::Search(search) => search.run(),
                };
                ListOffsetsPartitionResponse {
                    leader_epoch: if with_epochs { answer.leader_epoch } else { -1 },
                    ..answer
                }
            })
            .collect(),
        ..ListOffsetsTopicResponse::default()
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}

fn look_up(
    cluster: &mut Cluster,
    context: &Context,
    topic: &str,
    wanted: &ListOffsetsPartition,
    read_committed: bool,
) -> Result<Answer, ErrorCode> {
    let partition_index = wanted.partition_index;
    let partition = cluster
        .topics
        .get_mut(topic)
        .and_then(|topic| topic.partition_mut(partition_index))
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let since = match wanted.timestamp {
        0.. | LATEST | EARLIEST => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => i16::MAX,
    };
    if context.version < since {
        return Err(ErrorCode::UNSUPPORTED_VERSION);
    }
    let client_epoch = (wanted.current_leader_epoch >= 0).then_some(wanted.current_leader_epoch);
    partition.check_leader(context.node_id, client_epoch)?;
    let leader_epoch = partition.leader_epoch;
    let log = &mut partition.log;
    let log_start_offset = log.log_start_offset();
    let end_offset = if read_committed { log.last_stable_offset() } else { log.high_watermark() };
    let at = |offset: i64, epoch: Option<i32>| {
        Answer::Ready(ListOffsetsPartitionResponse {
            partition_index,
            offset,
            leader_epoch: epoch.unwrap_or(-1),
            ..ListOffsetsPartitionResponse::default()
        })
    };
    let (wanted, found) = match wanted.timestamp {
        LATEST => return Ok(at(end_offset, Some(leader_epoch))),
        EARLIEST | EARLIEST_LOCAL => return Ok(at(log_start_offset, log.epoch_of(log_start_offset))),
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => return Ok(at(-1, None)),
        MAX_TIMESTAMP => {
            let found = log.batch_of_max_timestamp(end_offset);
            let max = found.as_ref().map_or(-1, |batch| batch.bounds.max_timestamp);
            (Wanted::Exactly(max), found.into_iter().collect())
        }
        timestamp => (Wanted::AtOrAfter(timestamp), log.candidates_for_timestamp(timestamp)),
    };
    let with_epoch = |batch: StoredBatch| {
        let epoch = log.epoch_of(batch.bounds.base_offset.max(log_start_offset)).unwrap_or(-1);
        (batch, epoch)
    };
    Ok(Answer::Search(Search {
        partition_index,
        wanted,
        candidates: found.into_iter().map(with_epoch).collect(),
        log_start_offset,
        end_offset,
    }))
}

fn failed(partition_index: i32, error_code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index, error_code, ..ListOffsetsPartitionResponse::default() }
}

impl Search {
    fn run(self) -> ListOffsetsPartitionResponse {
        let mut answer = ListOffsetsPartitionResponse {
            partition_index: self.partition_index,
            ..ListOffsetsPartitionResponse::default()
        };
        for (stored, leader_epoch) in &self.candidates {
            match self.search(stored) {
                Ok(Some((offset, timestamp))) if offset < self.end_offset => {
                    answer.offset = offset;
                    answer.timestamp = timestamp;
                    answer.leader_epoch = *leader_epoch;
                    break;
                }
                Ok(_) => {}
                Err(error) => {
                    // The batch was readable when it was appended.
                    tracing::error!(%error, "a stored batch cannot be read");
                    answer.error_code = ErrorCode::UNKNOWN_SERVER_ERROR;
                    break;
                }
            }
        }
        answer
    }

    fn search(&self, stored: &StoredBatch) -> Result<Option<(i64, i64)>, kcopy_wire::records::RecordsError> {
        let batch = Batch::new(stored.bytes.clone())?;
        // The bytes may still carry the producer's base offset.
        let shift = stored.bounds.base_offset - batch.base_offset();
        let open = batch.open(RecordLimits::default())?;
        for record in open.records() {
            let record = record?;
            let offset = record.offset + shift;
            let fits = match self.wanted {
                Wanted::AtOrAfter(timestamp) => {
                    record.timestamp >= timestamp && offset >= self.log_start_offset
                }
                // Kafka gives it even where DeleteRecords has cut the batch behind it.
                Wanted::Exactly(timestamp) => record.timestamp == timestamp,
            };
            if fits {
                return Ok(Some((offset, record.timestamp)));
            }
        }
        Ok(None)
    }
}
