//! Where topics begin that were never loaded into their table.

use std::collections::{BTreeMap, HashMap, HashSet};

use kcopy_client::{
    Assignment, CommittedOffset, EpochQuery, Error, StartOffset,
    wire::{ErrorCode, Str},
};

use super::{
    loss::Seen,
    positions::{Assigned, Notice, Survey},
    trouble::Trouble,
};
use crate::plan::Start;

/// By partition: the first offset, and the leader epoch of what is before it.
pub(super) type Starts = HashMap<(Str, i32), (i64, Option<i32>)>;

impl Survey<'_> {
    /// Whether `--from` counts from an end that was none when the run began: what has come since is loaded, all of it.
    pub(super) fn skips_start(&self, it: &Assigned) -> bool {
        let is_from_end = matches!(self.plan.start, Start::End | Start::BeforeEnd(_));
        let is_late = self.late.is_some_and(|late| late.contains(&it.topic));
        is_from_end && is_late && self.plan.import_group.is_none()
    }

    /// Where these begin: at `--from`, or where a group stands.
    pub(super) async fn first_starts(
        &self,
        new: &[&Assigned],
        seen: &[Seen],
        notices: &mut Vec<Notice>,
    ) -> Result<Starts, Trouble> {
        if new.is_empty() {
            return Ok(Starts::new());
        }
        let start = match self.plan.start {
            Start::Beginning | Start::Committed { .. } => StartOffset::Earliest,
            Start::End => StartOffset::Latest,
            Start::Offset(offset) => StartOffset::Offset(offset),
            Start::BeforeEnd(count) => StartOffset::BeforeEnd(count),
            Start::Timestamp(at) => StartOffset::Timestamp(at),
        };
        let of_partition = |it: &&Assigned| ((it.topic.clone(), it.partition), start);
        let mut starts: HashMap<(Str, i32), StartOffset> = new.iter().map(of_partition).collect();
        if let Some(group) = &self.plan.import_group {
            let partitions: Vec<(Str, i32)> = starts.keys().cloned().collect();
            for (partition, offset) in self.imported(group, &partitions, seen, notices).await? {
                starts.insert(partition, StartOffset::Offset(offset));
            }
        }
        let assignments: Vec<Assignment> = starts
            .iter()
            .map(|((topic, partition), start)| Assignment::new(topic.clone(), *partition, *start))
            .collect();
        let ranges = self.client.resolve(&assignments, self.config).await;
        let ranges = ranges.map_err(|error| Trouble::kafka(&error))?;
        // Until a first record is read nothing else shows that the log was cut short below.
        let epochs = self.client.epochs_before(&ranges).await.map_err(|error| unsteady(&error))?;
        let with_epoch = ranges.into_iter().zip(epochs);
        Ok(with_epoch.map(|(range, epoch)| ((range.topic, range.partition), (range.start, epoch))).collect())
    }

    /// Says which partitions begin at `--from` although a group is imported.
    fn tell_uncommitted(
        &self,
        group: &str,
        partitions: &[(Str, i32)],
        committed: &[CommittedOffset],
        notices: &mut Vec<Notice>,
    ) {
        let committed: HashSet<(&Str, i32)> = committed.iter().map(|it| (&it.topic, it.partition)).collect();
        let mut without: BTreeMap<&Str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in partitions {
            if !committed.contains(&(topic, *partition)) {
                without.entry(topic).or_default().push(*partition);
            }
        }
        for (topic, mut partitions) in without {
            partitions.sort_unstable();
            let count = partitions.len();
            let shown: Vec<String> = partitions.iter().take(10).map(i32::to_string).collect();
            let more = if count > shown.len() { ", .." } else { "" };
            notices.push(Notice {
                event: "not_imported",
                text: format!(
                    "group {group} has committed no offset of {topic} [{}{more}]: --from says where loading begins there",
                    shown.join(", ")
                ),
            });
        }
    }

    /// Where a group stands, as far as the log still has what is there.
    async fn imported(
        &self,
        group: &str,
        partitions: &[(Str, i32)],
        seen: &[Seen],
        notices: &mut Vec<Notice>,
    ) -> Result<Vec<((Str, i32), i64)>, Trouble> {
        let failed = |error: Error| Trouble::kafka(&error);
        self.client.ensure_no_members(group).await.map_err(failed)?;
        let committed = self.client.committed_offsets(group, partitions).await.map_err(failed)?;
        if committed.is_empty() {
            let topic = partitions.first().map_or("", |(topic, _)| topic);
            return Err(Trouble::Final(format!(
                "--import-group {group}: it has committed no offset of {topic}"
            )));
        }
        self.tell_uncommitted(group, partitions, &committed, notices);
        let question =
            |it: &CommittedOffset| Some(EpochQuery::new(it.topic.clone(), it.partition, it.leader_epoch?));
        let questions: Vec<EpochQuery> = committed.iter().filter_map(question).collect();
        let answers = match questions.is_empty() {
            true => Vec::new(),
            false => self.client.epoch_ends(&questions).await.map_err(failed)?,
        };
        let mut answers = answers.into_iter();
        let mut starts = Vec::with_capacity(committed.len());
        for CommittedOffset { topic, partition, offset, leader_epoch, .. } in committed {
            let end = match leader_epoch.and_then(|_| answers.next()) {
                Some(end) => Some(end.map_err(failed)?),
                None => None,
            };
            let log = seen.iter().find(|it| it.range.topic == topic && it.range.partition == partition);
            let (first, last) =
                log.map_or((0, i64::MAX), |log| (log.range.log_start_offset, log.range.high_watermark));
            let lost = match end {
                _ if offset < first || offset > last => {
                    Some((format!("the log has offsets {first} to {last}"), first))
                }
                Some(Some(end)) if end.end_offset < offset => Some((
                    format!("the log was cut short at {0} and written anew from there", end.end_offset),
                    end.end_offset.max(first),
                )),
                Some(None) => {
                    Some(("the log is another one: it knows nothing of its leader epoch".to_owned(), first))
                }
                _ => None,
            };
            let start = match lost {
                None => offset,
                Some((why, begin)) => {
                    let what =
                        format!("{topic} [{partition}]: group {group} stands at offset {offset}, and {why}");
                    if !self.plan.accepts_loss {
                        return Err(Trouble::Final(match begin == first {
                            true => format!("{what}; --accept-loss begins at the log's start"),
                            false => format!("{what}; --accept-loss begins at offset {begin}"),
                        }));
                    }
                    notices.push(Notice::of_loss(format!("{what}; loading begins at offset {begin}")));
                    begin
                }
            };
            starts.push(((topic, partition), start));
        }
        Ok(starts)
    }
}

/// An error of looking for epochs: a log that changed meanwhile is looked at again.
pub(super) fn unsteady(error: &Error) -> Trouble {
    match error.code() {
        Some(ErrorCode::OFFSET_OUT_OF_RANGE) => Trouble::Passing(error.to_string()),
        _ => Trouble::kafka(error),
    }
}
