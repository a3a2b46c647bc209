//! Where leader epochs end: how a log is noticed that was truncated below a position (KIP-320).

use kcopy_wire::{
    ApiKey, ErrorCode, Str,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
};

use crate::{
    client::{
        Client,
        by_leader::{AboutPartition, Asked},
    },
    connection::Connection,
    consumer::{
        Assignment, ConsumerConfig, EndOffset, Event, OffsetReset, PartitionRange, StartOffset, cut_short,
        out_of_range,
    },
    error::{Error, Result},
    offsets::IsolationLevel,
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

    /// Makes sure that what is before the start of each range is still what was read under its `last_epoch`: a log that
    /// was cut short may have grown to the same end again, and where nothing is fetched nothing else would show it.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` for a log that was cut short, or a leader that cannot be reached.
    pub async fn check_epochs(&self, ranges: &[PartitionRange]) -> Result<()> {
        let query = |range: &PartitionRange| {
            Some(EpochQuery::new(range.topic.clone(), range.partition, range.last_epoch?))
        };
        let (ranges, queries): (Vec<&PartitionRange>, Vec<EpochQuery>) =
            ranges.iter().filter_map(|range| Some((range, query(range)?))).unzip();
        for (range, answer) in ranges.into_iter().zip(self.epoch_ends(&queries).await?) {
            if let Some(end) = answer?.filter(|end| end.end_offset < range.start) {
                let error = cut_short(range.start, end.end_offset);
                return Err(error.with_partition(&range.topic, range.partition));
            }
        }
        Ok(())
    }

    /// The leader epoch of the batch that has an offset; None where compaction has left none there, or the log does not
    /// reach from before it to behind it.
    ///
    /// This tells another log from one that compaction has made shorter, where [`Client::epoch_ends`] knows only an
    /// epoch before the one of a position: two leaders may have written at the same offsets, but a replica that was
    /// made anew does not know an epoch of which nothing is left, either.
    ///
    /// # Errors
    /// The leader cannot be reached within `unreachable_timeout`.
    pub async fn epoch_at(
        &self,
        topic: impl Into<Str>,
        partition: i32,
        offset: i64,
        config: &ConsumerConfig,
    ) -> Result<Option<i32>> {
        let mut config = config.clone();
        // What was aborted has an epoch as well.
        config.isolation_level = IsolationLevel::ReadUncommitted;
        config.offset_reset = OffsetReset::Error;
        let assignment = Assignment::new(topic, partition, StartOffset::Offset(offset));
        let found = self.resolve(&[assignment.until(EndOffset::Offset(offset + 1))], &config).await;
        let is_there =
            |range: &PartitionRange| (range.log_start_offset..range.high_watermark).contains(&offset);
        let range = match found {
            Ok(ranges) => ranges.into_iter().find(is_there),
            Err(error) if error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) => None,
            Err(error) => return Err(error),
        };
        let Some(range) = range else { return Ok(None) };
        let mut consumer = self.consume(vec![range], config)?;
        while let Some(event) = consumer.next().await? {
            if let Event::EndOfPartition { leader_epoch, .. } = event {
                return Ok(leader_epoch);
            }
        }
        Ok(None)
    }

    /// Finds the leader epoch of the record before the start of each range: to be kept with a position at which
    /// nothing has been read yet. None where the log has no record before it, or the leader keeps no epochs.
    ///
    /// The newest epoch of a log would also do for [`Client::epoch_ends`], and not for
    /// [`PartitionRange::last_epoch`]: a log to which its leader has added nothing does not know that epoch later.
    ///
    /// # Errors
    /// A leader that cannot be reached, and `OFFSET_OUT_OF_RANGE` for a log that was cut short below its start since
    /// the range was found.
    pub async fn epochs_before(&self, ranges: &[PartitionRange]) -> Result<Vec<Option<i32>>> {
        let newest = |range: &PartitionRange| {
            let epoch = range.leader_epoch.filter(|_| range.start > range.log_start_offset)?;
            Some((0, epoch))
        };
        // It is the smallest one that ends at the start or beyond: from and to, as far as that is known.
        let mut bounds: Vec<Option<(i32, i32)>> = ranges.iter().map(newest).collect();
        let mut is_first = true;
        loop {
            let mut places = Vec::new();
            let mut questions = Vec::new();
            for (at, (range, bound)) in ranges.iter().zip(&bounds).enumerate() {
                let Some((from, to)) = *bound else { continue };
                if is_first || from < to {
                    let epoch = if is_first { to } else { from + (to - from) / 2 };
                    places.push(at);
                    questions.push(EpochQuery::new(range.topic.clone(), range.partition, epoch));
                }
            }
            if questions.is_empty() {
                return Ok(bounds.into_iter().map(|bound| Some(bound?.1)).collect());
            }
            let answers = self.epoch_ends(&questions).await?;
            for ((at, question), answer) in places.into_iter().zip(questions).zip(answers) {
                let (range, epoch) = (&ranges[at], question.leader_epoch);
                let from = bounds[at].map_or(0, |(from, _)| from);
                bounds[at] = match answer? {
                    Some(end) if end.end_offset >= range.start => {
                        Some((from, end.leader_epoch.clamp(from, epoch)))
                    }
                    Some(end) if is_first => {
                        return Err(out_of_range(range.start, range.log_start_offset, end.end_offset)
                            .with_partition(&range.topic, range.partition));
                    }
                    None if is_first => None,
                    _ => bounds[at].map(|(_, to)| (epoch + 1, to)),
                };
            }
            is_first = false;
        }
    }
}

async fn ask(
    connection: Connection,
    questions: Vec<Asked<EpochQuery>>,
) -> Result<Vec<(usize, Result<Option<EpochEnd>>)>> {
    let version = connection.version_within::<OffsetForLeaderEpochRequest>(2, i16::MAX)?;
    let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
    for (_, question, current_leader_epoch) in &questions {
        let partition = OffsetForLeaderPartition {
            partition: question.partition,
            current_leader_epoch: *current_leader_epoch,
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
        .map(|(at, question, _)| (at, find(&response, &question).map_err(context)))
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use kcopy_wire::{
        ErrorCode,
        messages::{
            ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
            list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
            metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
            offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
        },
    };

    use super::*;
    use crate::{
        offsets::{IsolationLevel, OffsetQuery, OffsetSpec},
        testing::{Peer, brokers, scripted},
    };

    /// What the broker knows of partition 0 of `t`: in which epoch it leads it, and which ones it was asked to have.
    struct Led {
        epoch: i32,
        asked: Vec<i32>,
    }

    /// Leads on in the epoch after the one that the first question has.
    async fn serve(mut peer: Peer, led: Arc<Mutex<Led>>) {
        peer.negotiate().await;
        let judge = |epoch: i32| {
            let mut led = led.lock().unwrap();
            led.asked.push(epoch);
            led.epoch = led.asked[0] + 1;
            if epoch < led.epoch { ErrorCode::FENCED_LEADER_EPOCH } else { ErrorCode::NONE }
        };
        while let Some(request) = peer.receive().await {
            if request.key == ApiKey::Metadata {
                let mut response = brokers(&[(1, "one")]);
                let leader_epoch = led.lock().unwrap().epoch;
                let partition =
                    MetadataResponsePartition { leader_id: 1, leader_epoch, ..Default::default() };
                response.topics.push(MetadataResponseTopic {
                    name: Some("t".into()),
                    partitions: vec![partition],
                    ..Default::default()
                });
                peer.answer::<MetadataRequest>(&request, &response).await;
            } else if request.key == ApiKey::ListOffsets {
                let question: ListOffsetsRequest = request.decode();
                let error_code = judge(question.topics[0].partitions[0].current_leader_epoch);
                let partition = ListOffsetsPartitionResponse { error_code, offset: 5, ..Default::default() };
                let partitions = vec![partition];
                let topics =
                    vec![ListOffsetsTopicResponse { name: "t".into(), partitions, ..Default::default() }];
                let response = ListOffsetsResponse { topics, ..Default::default() };
                peer.answer::<ListOffsetsRequest>(&request, &response).await;
            } else {
                let question: OffsetForLeaderEpochRequest = request.decode();
                let error_code = judge(question.topics[0].partitions[0].current_leader_epoch);
                let partition =
                    EpochEndOffset { error_code, leader_epoch: 3, end_offset: 5, ..Default::default() };
                let partitions = vec![partition];
                let topics =
                    vec![OffsetForLeaderTopicResult { topic: "t".into(), partitions, ..Default::default() }];
                let response = OffsetForLeaderEpochResponse { topics, ..Default::default() };
                peer.answer::<OffsetForLeaderEpochRequest>(&request, &response).await;
            }
        }
    }

    fn led_in_epoch_4() -> (Client, Arc<Mutex<Led>>) {
        let led = Arc::new(Mutex::new(Led { epoch: 4, asked: Vec::new() }));
        let noted = Arc::clone(&led);
        let config = scripted(move |_, _, peer| Some(serve(peer, Arc::clone(&noted))));
        (Client::new(config.build().unwrap()), led)
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_leader_of_the_known_epoch_may_answer() {
        let (client, led) = led_in_epoch_4();
        let end = client.epoch_ends(&[EpochQuery::new("t", 0, 3)]).await.unwrap().remove(0).unwrap();
        assert_eq!(end, Some(EpochEnd { leader_epoch: 3, end_offset: 5 }));
        assert_eq!(led.lock().unwrap().asked, [4, 5]);
        let (client, led) = led_in_epoch_4();
        let latest = [OffsetQuery::new("t", 0, OffsetSpec::Latest)];
        client.list_offsets(&latest, IsolationLevel::ReadCommitted).await.unwrap().remove(0).unwrap();
        assert_eq!(led.lock().unwrap().asked, [4, 5]);
    }
}
