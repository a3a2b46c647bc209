//! Where each partition starts and ends: asked once, before anything is read.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kcopy_client::{
    Assignment, Client, CommittedOffset, ConsumerConfig, EndOffset, Error, ErrorKind, PartitionRange,
    StartOffset, Topic,
    wire::{ErrorCode, Str, Uuid},
};
use regex_lite::Regex;

use super::{exact, failure::Failure, report::Report};
use crate::{
    plan::{Consume, End, Start, Stop, TopicSelection},
    properties::OffsetReset,
};

/// Everything that is known before the first fetch.
#[derive(Debug)]
pub(super) struct Positions {
    /// The partitions, in the order of the topics.
    pub ranges: Vec<PartitionRange>,
    /// The ids of the topics.
    pub topic_ids: HashMap<Str, Uuid>,
    /// What the group had committed.
    pub committed: Committed,
}

/// What a group has committed, by partition.
pub(super) type Committed = HashMap<(Str, i32), CommittedOffset>;

/// Finds the partitions of the plan, and where each starts and ends.
///
/// # Errors
/// An unknown topic or partition, a group with members, a start outside of the log.
pub(super) async fn find(
    plan: &Consume,
    client: &Client,
    config: &ConsumerConfig,
    report: &mut Report,
) -> Result<Positions, Failure> {
    if let Some(group) = &plan.group {
        client.ensure_no_members(&group.id).await?;
    }
    let topics = topics(plan, client).await?;
    report.cluster_id.clone_from(&client.metadata().cluster_id);
    topics.iter().for_each(|topic| report.add_topic(topic));
    let starts = exact::starts(plan, client, config, &topics, report).await?;
    let partitions = partitions(plan, &topics)?;
    let committed = match &plan.group {
        None => HashMap::new(),
        Some(group) => client
            .committed_offsets(&group.id, &partitions)
            .await?
            .into_iter()
            .map(|committed| ((committed.topic.clone(), committed.partition), committed))
            .collect(),
    };
    let mut assignments = Vec::with_capacity(partitions.len());
    for (topic, partition) in &partitions {
        let start = match starts.get(partition) {
            Some(start) => *start,
            None if plan.exact.others_begin => StartOffset::Earliest,
            None => start(plan, topic, *partition, &committed)?,
        };
        let end = match plan.stop {
            Some(Stop::Timestamp(at)) => EndOffset::Timestamp(at),
            _ => EndOffset::Latest,
        };
        assignments.push(Assignment::new(topic, *partition, start).until(end));
    }
    let mut config = config.clone();
    if plan.exact.accept_loss {
        // Only here: what goes away while it is read is an error all the same.
        config.offset_reset = kcopy_client::OffsetReset::Earliest;
    }
    let mut ranges = client.resolve(&assignments, &config).await.map_err(|error| explain(plan, error))?;
    exact::tell_gaps(plan, &assignments, &ranges, report);
    for range in &mut ranges {
        let committed = committed.get(&(range.topic.clone(), range.partition));
        range.end = end(plan, range, committed);
        // Behind a gap the log is another one, even where it begins at the same offset.
        range.last_epoch = match report.has_gap(&range.topic, range.partition) {
            true => None,
            false => exact::given_epoch(plan, range).or_else(|| committed_epoch(range, committed)),
        };
    }
    if plan.exact.report.is_some() {
        // Whoever keeps the position keeps the epoch with it, even where nothing is read now.
        let is_open = |range: &&mut PartitionRange| range.last_epoch.is_none();
        let mut open: Vec<&mut PartitionRange> = ranges.iter_mut().filter(is_open).collect();
        let asked: Vec<PartitionRange> = open.iter().map(|range| (**range).clone()).collect();
        for (range, epoch) in open.iter_mut().zip(client.epochs_before(&asked).await?) {
            range.last_epoch = epoch;
        }
    }
    if plan.exact.starts.is_empty() && !plan.exact.accept_loss {
        // Fetching tells of a cut; of the others somebody has to ask.
        let is_empty = |range: &&PartitionRange| range.end == Some(range.start);
        let empty: Vec<PartitionRange> = ranges.iter().filter(is_empty).cloned().collect();
        client.check_epochs(&empty).await?;
    }
    let topic_ids = topics.iter().filter_map(|topic| Some((topic.name.clone(), topic.id?))).collect();
    Ok(Positions { ranges, topic_ids, committed })
}

async fn topics(plan: &Consume, client: &Client) -> Result<Vec<Arc<Topic>>, Failure> {
    match &plan.topics {
        TopicSelection::Names(names) => {
            let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut seen = HashSet::new();
            names.retain(|name| seen.insert(*name));
            Ok(existing(client, &names).await?)
        }
        TopicSelection::Regex(patterns) => {
            // As with Java's consumers the whole name has to match.
            let whole = |pattern: &String| {
                Regex::new(&format!("^(?:{pattern})$"))
                    .map_err(|error| Failure::WrongUse(format!("--regex {pattern}: {error}")))
            };
            let expressions: Vec<Regex> = patterns.iter().map(whole).collect::<Result<_, _>>()?;
            let what = format!("listing topics on {}", client.servers());
            let mut retry = client.retry(&what);
            let listing = loop {
                match retry.limit(client.admin().list_topics(None)).await {
                    Ok(listing) => break listing,
                    Err(error) => retry.after(error, &[]).await?,
                }
            };
            let is_meant = |topic: &Topic| {
                !topic.is_internal && expressions.iter().any(|expression| expression.is_match(&topic.name))
            };
            let matching = listing.topics.into_iter().filter(is_meant);
            let topics: Vec<Arc<Topic>> = matching.map(Arc::new).collect();
            if topics.is_empty() {
                return Err(Failure::Told(format!("no topic matches {}", patterns.join(" or "))));
            }
            Ok(topics)
        }
    }
}

/// Topics that are there. One that is only being created is waited for.
async fn existing(client: &Client, names: &[&str]) -> Result<Vec<Arc<Topic>>, Error> {
    let what = format!("looking up topic {} on {}", names.join(", "), client.servers());
    let mut retry = client.retry(&what);
    loop {
        let metadata = match retry.limit(client.topics(names)).await {
            Ok(metadata) => metadata,
            Err(error) => {
                retry.after(error, names).await?;
                continue;
            }
        };
        let mut found = Vec::with_capacity(names.len());
        let mut missing = None;
        for name in names {
            let error = match metadata.topic(name) {
                Some(topic) => match topic.error {
                    None if topic.partitions.is_empty() => {
                        Error::new(ErrorKind::Protocol, "the broker's answer has no partitions of the topic")
                    }
                    None => {
                        found.push(Arc::clone(topic));
                        continue;
                    }
                    Some(code) => Error::broker(code),
                },
                None => Error::new(ErrorKind::Protocol, "the broker's answer leaves the topic out"),
            };
            missing = Some(error.with_topic(name).with_broker(client.servers()));
        }
        match missing {
            None => return Ok(found),
            Some(error) => {
                // Nobody will create it, unless this very question does.
                let is_final = error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
                    && !client.config().allow_auto_create_topics;
                if is_final || !error.is_retriable() {
                    return Err(error);
                }
                retry.after(error, names).await?;
            }
        }
    }
}

fn partitions(plan: &Consume, topics: &[Arc<Topic>]) -> Result<Vec<(Str, i32)>, Failure> {
    let mut wanted = Vec::new();
    for topic in topics {
        let Some(list) = &plan.partitions else {
            wanted.extend(topic.partitions.iter().map(|partition| (topic.name.clone(), partition.index)));
            continue;
        };
        for partition in list {
            if topic.partition(*partition).is_none() {
                let count = topic.partitions.len();
                return Err(Failure::Told(format!(
                    "topic {} has no partition {partition}: it has {count}, 0 to {}",
                    topic.name,
                    count.saturating_sub(1)
                )));
            }
            wanted.push((topic.name.clone(), *partition));
        }
    }
    Ok(wanted)
}

fn start(plan: &Consume, topic: &Str, partition: i32, committed: &Committed) -> Result<StartOffset, Failure> {
    Ok(match plan.start {
        Start::Beginning => StartOffset::Earliest,
        Start::End => StartOffset::Latest,
        Start::Offset(offset) => StartOffset::Offset(offset),
        Start::BeforeEnd(count) => StartOffset::BeforeEnd(count),
        Start::Timestamp(at) => StartOffset::Timestamp(at),
        Start::Committed { otherwise } => match (committed.get(&(topic.clone(), partition)), otherwise) {
            (Some(committed), _) => StartOffset::Offset(committed.offset),
            (None, OffsetReset::Beginning) => StartOffset::Earliest,
            (None, OffsetReset::End) => StartOffset::Latest,
            (None, OffsetReset::Error) => {
                let group = plan.group.as_ref().map_or("", |group| group.id.as_str());
                return Err(Failure::Told(format!(
                    "group {group} has no committed offset for {topic} [{partition}], and auto.offset.reset is error"
                )));
            }
        },
    })
}

/// Where reading stops: never beyond the end of this moment in a bounded run.
fn end(plan: &Consume, range: &PartitionRange, committed: Option<&CommittedOffset>) -> Option<i64> {
    let log_end = range.last_stable_offset;
    let stop = match plan.stop {
        None => None,
        Some(Stop::Offset(offset)) => Some(offset),
        Some(Stop::BeforeEnd(count)) => Some(log_end.saturating_sub(count).max(range.log_start_offset)),
        // Nothing of that time is there yet: a run that follows waits for it.
        Some(Stop::Timestamp(_)) => range.end.filter(|end| plan.end == End::Pinned || *end < log_end),
        Some(Stop::Committed) => Some(committed.map_or(range.log_start_offset, |committed| committed.offset)),
    };
    match plan.end {
        End::Pinned => Some(stop.map_or(log_end, |stop| stop.min(log_end))),
        End::Follow => stop,
    }
}

/// The leader epoch that was committed with the offset that reading starts at.
fn committed_epoch(range: &PartitionRange, committed: Option<&CommittedOffset>) -> Option<i32> {
    committed.filter(|committed| committed.offset == range.start)?.leader_epoch
}

/// A start outside of the log says what to do about it.
fn explain(plan: &Consume, error: Error) -> Failure {
    let is_out_of_range = error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE);
    let hint = match plan.start {
        _ if !is_out_of_range => "",
        _ if !plan.exact.starts.is_empty() => return Failure::Gap(error.to_string()),
        Start::Committed { .. } => {
            "; what the group has committed is gone: name another start to go on without it"
        }
        _ => "; start at beginning or end to go on without what is missing",
    };
    Failure::Told(format!("{error}{hint}"))
}
