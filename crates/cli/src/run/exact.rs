//! Starts that the caller knows exactly: checked against the cluster, the topic and its log as they are now.

use std::{collections::HashMap, sync::Arc};

use kcopy_client::{Assignment, Client, ConsumerConfig, EpochQuery, PartitionRange, StartOffset, Topic};

use super::{failure::Failure, report::Report};
use crate::{
    plan::{Consume, PartitionStart},
    process::say,
};

/// The exact starts of the plan by partition, as far as they still mean something.
///
/// # Errors
/// Another cluster, a topic that was deleted and created again, a log that was truncated below a start: unless
/// the plan accepts what is lost then.
pub(super) async fn starts(
    plan: &Consume,
    client: &Client,
    config: &ConsumerConfig,
    topics: &[Arc<Topic>],
    report: &mut Report,
) -> Result<HashMap<i32, StartOffset>, Failure> {
    let mut starts = HashMap::new();
    let exact = &plan.exact;
    let is_other_cluster = match (&exact.cluster_id, &report.cluster_id) {
        (Some(expected), Some(found)) if expected != found => {
            let text = format!("this is cluster {found}, and the positions are of cluster {expected}");
            if !exact.accept_loss {
                return Err(Failure::Gap(text));
            }
            tell(plan, &text);
            Some(text)
        }
        _ => None,
    };
    let Some(topic) = topics.first() else { return Ok(starts) };
    let mut questions = Vec::new();
    let is_wanted = |start: &&PartitionStart| {
        plan.partitions.as_ref().is_none_or(|list| list.binary_search(&start.partition).is_ok())
    };
    for start in exact.starts.iter().filter(is_wanted) {
        let lost = is_other_cluster.clone().or_else(|| other_topic(topic, start));
        match lost {
            Some(reason) => lose(plan, topic, start, reason, report)?,
            None if topic.partition(start.partition).is_none() => {
                let count = topic.partitions.len();
                let reason = format!("topic {} has only {count} partitions now", topic.name);
                lose(plan, topic, start, reason, report)?;
            }
            None => {
                starts.insert(start.partition, StartOffset::Offset(start.offset));
                if let Some(epoch) = start.leader_epoch {
                    let question = EpochQuery::new(topic.name.clone(), start.partition, epoch);
                    questions.push((start, question));
                }
            }
        }
    }
    let asked: Vec<EpochQuery> = questions.iter().map(|(_, question)| question.clone()).collect();
    let answers = if asked.is_empty() { Vec::new() } else { client.epoch_ends(&asked).await? };
    for ((start, question), answer) in questions.into_iter().zip(answers) {
        let (at, reason) = match answer? {
            Some(end) if end.end_offset >= start.offset && end.leader_epoch >= question.leader_epoch => {
                continue;
            }
            // Two leaders may have written at the same offsets.
            Some(end) if end.end_offset >= start.offset => {
                let before = start.offset - 1;
                match client.epoch_at(topic.name.clone(), start.partition, before, config).await? {
                    Some(instead) if instead < question.leader_epoch => (
                        // Where the two parted is not known, and nothing shall be read twice.
                        StartOffset::Offset(start.offset),
                        format!(
                            "the log is another one: offset {before} was read under leader epoch {}, of which it has \
                             nothing, and what it has there is of epoch {instead}",
                            question.leader_epoch
                        ),
                    ),
                    _ => continue,
                }
            }
            Some(end) => (
                StartOffset::Offset(end.end_offset),
                format!(
                    "the log was truncated: its leader epoch {} ends at offset {}, and offsets {} to {} are gone",
                    end.leader_epoch,
                    end.end_offset,
                    end.end_offset,
                    start.offset - 1
                ),
            ),
            // Within one topic epochs only grow.
            None if start.topic_id.is_some() && topic.id.is_some() => {
                return Err(Failure::Told(format!(
                    "{} [{}]: offset {} was read from a leader of epoch {}, and the one that answers knows nothing of \
                     it: an earlier leader; try again",
                    topic.name,
                    start.partition,
                    start.offset - 1,
                    question.leader_epoch
                )));
            }
            None => (
                StartOffset::Earliest,
                format!("the log was truncated: it knows no leader epoch {}", question.leader_epoch),
            ),
        };
        lose(plan, topic, start, reason, report)?;
        starts.insert(start.partition, at);
    }
    Ok(starts)
}

/// Why the start is about another topic of the same name.
fn other_topic(topic: &Topic, start: &PartitionStart) -> Option<String> {
    let (expected, found) = (start.topic_id.as_ref()?, topic.id?.to_string());
    (*expected != found)
        .then(|| format!("the topic was deleted and created again: its id was {expected} and is {found}"))
}

fn lose(
    plan: &Consume,
    topic: &Topic,
    start: &PartitionStart,
    reason: String,
    report: &mut Report,
) -> Result<(), Failure> {
    let PartitionStart { partition, offset, .. } = start;
    let text = format!("{} [{partition}] cannot go on at offset {offset}: {reason}", topic.name);
    if !plan.exact.accept_loss {
        return Err(Failure::Gap(text));
    }
    tell(plan, &text);
    report.add_gap(&topic.name, *partition, reason);
    Ok(())
}

fn tell(plan: &Consume, text: &str) {
    // A look that nothing follows from loses nothing.
    if !plan.common.quiet() && !plan.exact.dry_run {
        say!("% {text}");
    }
}

/// Tells where reading starts after an offset that was asked for and is gone.
pub(super) fn tell_gaps(
    plan: &Consume,
    assignments: &[Assignment],
    ranges: &[PartitionRange],
    report: &mut Report,
) {
    for (assignment, range) in assignments.iter().zip(ranges) {
        let StartOffset::Offset(offset) = assignment.start else { continue };
        if offset == range.start {
            continue;
        }
        let reason = if offset < range.start {
            format!("offsets {offset} to {} are gone", range.start - 1)
        } else {
            format!(
                "the log ends at offset {}, and offsets {} to {} are gone",
                range.high_watermark,
                range.high_watermark,
                offset - 1
            )
        };
        tell(
            plan,
            &format!("{} [{}] starts at offset {}: {reason}", range.topic, range.partition, range.start),
        );
        report.add_gap(&range.topic, range.partition, reason);
    }
}

/// The leader epoch that a start came with, where it still holds.
pub(super) fn given_epoch(plan: &Consume, range: &PartitionRange) -> Option<i32> {
    let start = plan.exact.starts.iter().find(|start| start.partition == range.partition)?;
    if start.offset == range.start { start.leader_epoch } else { None }
}
