//! Where partitions begin and end, and where a time is in them.

use kcopy_wire::{
    ApiKey, Str,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
};

use crate::{
    client::{
        Client,
        by_leader::{AboutPartition, Asked},
    },
    connection::Connection,
    error::{Error, Result},
};

/// Which records are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IsolationLevel {
    /// All, those of open and aborted transactions among them.
    ReadUncommitted,
    /// Only those of committed transactions, and those outside of any.
    #[default]
    ReadCommitted,
}

impl IsolationLevel {
    pub(crate) fn number(self) -> i8 {
        match self {
            IsolationLevel::ReadUncommitted => 0,
            IsolationLevel::ReadCommitted => 1,
        }
    }
}

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The first offset that the partition still has.
    Earliest,
    /// Its end: the high watermark, or the last stable offset with [`IsolationLevel::ReadCommitted`].
    Latest,
    /// The record with the largest timestamp (KIP-734; Kafka 3.0).
    MaxTimestamp,
    /// The first record whose timestamp is this or later, in milliseconds since 1970.
    Timestamp(i64),
}

impl OffsetSpec {
    fn timestamp(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            // Negative numbers mean the places above; no record is older than 1970 in Kafka.
            OffsetSpec::Timestamp(at) => at.max(0),
        }
    }
}

/// A question for [`Client::list_offsets`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetQuery {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: i32,
    /// The place.
    pub spec: OffsetSpec,
}

impl OffsetQuery {
    /// A place in a partition of a topic.
    pub fn new(topic: impl Into<Str>, partition: i32, spec: OffsetSpec) -> OffsetQuery {
        OffsetQuery { topic: topic.into(), partition, spec }
    }
}

impl AboutPartition for OffsetQuery {
    fn topic(&self) -> &Str {
        &self.topic
    }

    fn partition(&self) -> i32 {
        self.partition
    }
}

/// What a place was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedOffset {
    /// The offset; None if no record is that late, or the partition is empty.
    pub offset: Option<i64>,
    /// The timestamp of the record, for a place that was asked for by time.
    pub timestamp: Option<i64>,
    /// The leader epoch at that offset.
    pub leader_epoch: Option<i32>,
}

impl Client {
    /// Finds places in partitions, each at its leader, all leaders at once; a partition may be asked
    /// about several times. The answers have the order of the questions.
    ///
    /// ```no_run
    /// # async fn example(client: kcopy_client::Client) -> kcopy_client::Result<()> {
    /// use kcopy_client::{IsolationLevel, OffsetQuery, OffsetSpec};
    ///
    /// let questions = [
    ///     OffsetQuery::new("orders", 0, OffsetSpec::Earliest),
    ///     OffsetQuery::new("orders", 0, OffsetSpec::Latest),
    /// ];
    /// for answer in client.list_offsets(&questions, IsolationLevel::ReadCommitted).await? {
    ///     println!("{:?}", answer?.offset);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Each answer has its own: an unknown partition, or a leader that could not be reached within
    /// `operation_timeout`.
    pub async fn list_offsets(
        &self,
        questions: &[OffsetQuery],
        isolation_level: IsolationLevel,
    ) -> Result<Vec<Result<ListedOffset>>> {
        self.by_leader("listing offsets", questions, move |connection, questions| {
            ask(connection, questions, isolation_level)
        })
        .await
    }
}

async fn ask(
    connection: Connection,
    questions: Vec<Asked<OffsetQuery>>,
    isolation_level: IsolationLevel,
) -> Result<Vec<(usize, Result<ListedOffset>)>> {
    let by_max_timestamp = questions.iter().any(|(_, question, _)| question.spec == OffsetSpec::MaxTimestamp);
    let least = match isolation_level {
        _ if by_max_timestamp => 7,
        IsolationLevel::ReadCommitted => 2,
        IsolationLevel::ReadUncommitted => 1,
    };
    let version = connection.version_within::<ListOffsetsRequest>(least, i16::MAX)?;
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for (_, question, current_leader_epoch) in &questions {
        let partition = ListOffsetsPartition {
            partition_index: question.partition,
            current_leader_epoch: *current_leader_epoch,
            timestamp: question.spec.timestamp(),
            ..Default::default()
        };
        match topics.iter_mut().rev().find(|topic| topic.name == question.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(ListOffsetsTopic {
                name: question.topic.clone(),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    let timeout = connection.request_timeout();
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation_level.number(),
        topics,
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        ..Default::default()
    };
    let response = connection.send(&request, version, timeout).await?.await?;
    let context = |error: Error| {
        error.with_api(ApiKey::ListOffsets, Some(version)).with_broker(connection.broker_name())
    };
    Ok(questions
        .into_iter()
        .map(|(at, question, _)| (at, find(&response, &question).map_err(context)))
        .collect())
}

fn find(response: &ListOffsetsResponse, question: &OffsetQuery) -> Result<ListedOffset> {
    let mut topics = response.topics.iter().filter(|topic| topic.name == question.topic);
    let answer = topics.find_map(|topic| {
        topic.partitions.iter().find(|answer| answer.partition_index == question.partition)
    });
    let answer = answer.ok_or_else(|| Error::protocol("the answer leaves the partition out"))?;
    answer.error_code.into_result().map_err(Error::broker)?;
    // There need be no record of a time, but there is always a first offset and a next one.
    let least = match question.spec {
        OffsetSpec::Earliest | OffsetSpec::Latest => 0,
        OffsetSpec::MaxTimestamp | OffsetSpec::Timestamp(_) => -1,
    };
    if answer.offset < least {
        return Err(Error::protocol(format!("the answer has the offset {}", answer.offset)));
    }
    Ok(ListedOffset {
        offset: (answer.offset >= 0).then_some(answer.offset),
        timestamp: (answer.timestamp >= 0).then_some(answer.timestamp),
        leader_epoch: (answer.leader_epoch >= 0).then_some(answer.leader_epoch),
    })
}

#[cfg(test)]
mod tests {
    use kcopy_wire::messages::list_offsets_response::{
        ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
    };

    use super::*;

    #[test]
    fn ends_that_cannot_be_are_refused() {
        let answered = |offset, spec| {
            let partition = ListOffsetsPartitionResponse { offset, ..Default::default() };
            let topic = ListOffsetsTopicResponse {
                name: "t".into(),
                partitions: vec![partition],
                ..Default::default()
            };
            let response = ListOffsetsResponse { topics: vec![topic], ..Default::default() };
            find(&response, &OffsetQuery::new("t", 0, spec)).map(|listed| listed.offset)
        };
        assert_eq!(answered(0, OffsetSpec::Latest).unwrap(), Some(0));
        assert_eq!(answered(-1, OffsetSpec::Timestamp(5)).unwrap(), None);
        assert_eq!(answered(-1, OffsetSpec::MaxTimestamp).unwrap(), None);
        for (offset, spec) in [
            (-1, OffsetSpec::Latest),
            (-1, OffsetSpec::Earliest),
            (-2, OffsetSpec::Timestamp(5)),
            (i64::MIN, OffsetSpec::MaxTimestamp),
        ] {
            let error = answered(offset, spec).unwrap_err();
            assert_eq!(error.message(), format!("the answer has the offset {offset}"));
        }
    }
}
