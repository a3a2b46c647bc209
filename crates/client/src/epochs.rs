//! Where leader epochs end: how a log is noticed that was truncated below a position (KIP-320).

use kcopy_wire::{
    ApiKey, Str,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
};

use crate::{
    client::{Client, by_leader::AboutPartition},
    connection::Connection,
    error::{Error, Result},
};

/// A question for [`Client::epoch_ends`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochQuery {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: i32,
    /// The leader epoch under which the record before the position was written.
    pub leader_epoch: i32,
}

impl EpochQuery {
    /// An epoch of a partition of a topic.
    pub fn new(topic: impl Into<Str>, partition: i32, leader_epoch: i32) -> EpochQuery {
        EpochQuery { topic: topic.into(), partition, leader_epoch }
    }
}

impl AboutPartition for EpochQuery {
    fn topic(&self) -> &Str {
        &self.topic
    }

    fn partition(&self) -> i32 {
        self.partition
    }
}

/// The newest epoch of a log that is not above the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpochEnd {
    /// The epoch.
    pub leader_epoch: i32,
    /// The offset after its last record. A position beyond it is on records that the log has lost.
    pub end_offset: i64,
}

impl Client {
    /// Finds where leader epochs end, each at the leader of its partition. None is an epoch that the
    /// leader knows nothing of. The answers have the order of the questions.
    ///
    /// # Errors
    /// Each answer has its own: an unknown partition, or a leader that could not be reached within
    /// `operation_timeout`.
    pub async fn epoch_ends(&self, questions: &[EpochQuery]) -> Result<Vec<Result<Option<EpochEnd>>>> {
        self.by_leader("asking where leader epochs end", questions, ask).await
    }
}

async fn ask(
    connection: Connection,
    questions: Vec<(usize, EpochQuery)>,
) -> Result<Vec<(usize, Result<Option<EpochEnd>>)>> {
    let version = connection.version_within::<OffsetForLeaderEpochRequest>(2, i16::MAX)?;
    let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
    for (_, question) in &questions {
        let partition = OffsetForLeaderPartition {
            partition: question.partition,
            leader_epoch: question.leader_epoch,
            ..Default::default()
        };
        match topics.iter_mut().rev().find(|topic| topic.topic == question.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OffsetForLeaderTopic {
                topic: question.topic.clone(),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics, ..Default::default() };
    let response = connection.send(&request, version, connection.request_timeout()).await?.await?;
    let context = |error: Error| {
        error.with_api(ApiKey::OffsetForLeaderEpoch, Some(version)).with_broker(connection.broker_name())
    };
    Ok(questions
        .into_iter()
        .map(|(at, question)| (at, find(&response, &question).map_err(context)))
        .collect())
}

fn find(response: &OffsetForLeaderEpochResponse, question: &EpochQuery) -> Result<Option<EpochEnd>> {
    let mut topics = response.topics.iter().filter(|topic| topic.topic == question.topic);
    let answer = topics
        .find_map(|topic| topic.partitions.iter().find(|answer| answer.partition == question.partition));
    let answer = answer.ok_or_else(|| Error::protocol("the answer leaves the partition out"))?;
    answer.error_code.into_result().map_err(Error::broker)?;
    let is_known = answer.leader_epoch >= 0 && answer.end_offset >= 0;
    Ok(is_known.then_some(EpochEnd { leader_epoch: answer.leader_epoch, end_offset: answer.end_offset }))
}
