//! From the places where reading shall begin and end to offsets.

use kcopy_wire::ErrorCode;

use super::config::{Assignment, ConsumerConfig, EndOffset, OffsetReset, PartitionRange, StartOffset};
use crate::{
    client::Client,
    error::{Error, Result},
    offsets::{IsolationLevel, ListedOffset, OffsetQuery, OffsetSpec},
};

impl Client {
    /// Finds the offsets at which reading begins and ends, for all partitions at once, in one round
    /// trip to each leader. The ends are those of this moment.
    ///
    /// # Errors
    /// A partition that does not exist or cannot be asked, or a start that it does not have.
    pub async fn resolve(
        &self,
        assignments: &[Assignment],
        config: &ConsumerConfig,
    ) -> Result<Vec<PartitionRange>> {
        let mut visible = Vec::new();
        let mut all = Vec::new();
        for assignment in assignments {
            let query = |spec| OffsetQuery::new(&assignment.topic, assignment.partition, spec);
            all.extend([query(OffsetSpec::Earliest), query(OffsetSpec::Latest)]);
            visible.push(query(OffsetSpec::Latest));
            if let StartOffset::Timestamp(at) = assignment.start {
                visible.push(query(OffsetSpec::Timestamp(at)));
            }
            if let EndOffset::Timestamp(at) = assignment.end {
                visible.push(query(OffsetSpec::Timestamp(at)));
            }
        }
        let (visible, all) = tokio::join!(
            self.list_offsets(&visible, config.isolation_level),
            self.list_offsets(&all, IsolationLevel::ReadUncommitted),
        );
        let (mut visible, mut all) = (visible?.into_iter(), all?.into_iter());
        assignments.iter().map(|assignment| range(assignment, &mut visible, &mut all, config)).collect()
    }
}

type Answers = std::vec::IntoIter<Result<ListedOffset>>;

/// Takes the answers about one partition, in the order of the questions.
fn range(
    assignment: &Assignment,
    visible: &mut Answers,
    all: &mut Answers,
    config: &ConsumerConfig,
) -> Result<PartitionRange> {
    let next_listed = |answers: &mut Answers| {
        let missing = || Err(Error::protocol("an offset was not answered"));
        answers.next().unwrap_or_else(missing)
    };
    let next = |answers: &mut Answers| Ok::<_, Error>(next_listed(answers)?.offset);
    let log_start_offset = next(all)?.unwrap_or(0);
    let high_watermark = next(all)?.unwrap_or(log_start_offset);
    // The two answers may be moments apart; a commit between them must not turn them around.
    let latest = next_listed(visible)?;
    let last_stable_offset = latest.offset.unwrap_or(high_watermark).min(high_watermark);
    let mut by_time = |given: bool| if given { next(visible) } else { Ok(None) };
    let start_by_time = by_time(matches!(assignment.start, StartOffset::Timestamp(_)))?;
    let end_by_time = by_time(matches!(assignment.end, EndOffset::Timestamp(_)))?;
    let start = match assignment.start {
        StartOffset::Offset(offset) => offset,
        StartOffset::Earliest => log_start_offset,
        StartOffset::Latest => last_stable_offset,
        StartOffset::Timestamp(_) => start_by_time.unwrap_or(last_stable_offset),
        StartOffset::BeforeEnd(count) => last_stable_offset.saturating_sub(count).max(log_start_offset),
    };
    let start = if (log_start_offset..=high_watermark).contains(&start) {
        start
    } else {
        match config.offset_reset {
            OffsetReset::Error => {
                let error = out_of_range(start, log_start_offset, high_watermark);
                return Err(error.with_partition(&assignment.topic, assignment.partition));
            }
            OffsetReset::Earliest => log_start_offset,
            OffsetReset::Latest => last_stable_offset,
        }
    };
    let end = match assignment.end {
        EndOffset::Never => None,
        EndOffset::Latest => Some(last_stable_offset),
        EndOffset::Offset(offset) => Some(offset),
        EndOffset::Timestamp(_) => Some(end_by_time.unwrap_or(last_stable_offset)),
    };
    Ok(PartitionRange {
        topic: assignment.topic.clone(),
        partition: assignment.partition,
        start,
        end,
        log_start_offset,
        high_watermark,
        last_stable_offset,
        leader_epoch: latest.leader_epoch,
        last_epoch: None,
    })
}

/// The error about a log that is another one from `end` on, before `offset`.
pub(crate) fn cut_short(offset: i64, end: i64) -> Error {
    let message = format!(
        "the log was cut short at {end} and written anew from there, and offset {offset} is the next to read"
    );
    Error::broker_with_message(ErrorCode::OFFSET_OUT_OF_RANGE, Some(&message))
}

/// The error about an offset that a partition does not have.
pub(crate) fn out_of_range(offset: i64, log_start_offset: i64, end: i64) -> Error {
    let has = if log_start_offset == end {
        format!("the partition is empty, the next offset is {end}")
    } else {
        format!("the partition has {log_start_offset} to {}", end - 1)
    };
    let gone = match log_start_offset - 1 {
        last if last > offset => format!(", and offsets {offset} to {last} are gone"),
        _ => String::new(),
    };
    Error::broker_with_message(
        ErrorCode::OFFSET_OUT_OF_RANGE,
        Some(&format!("offset {offset} is out of range: {has}{gone}")),
    )
}
