//! The offsets of consumer groups, read and written without being a member.

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use kcopy_wire::{
    ApiKey, ErrorCode, Str, Uuid,
    messages::{
        ConsumerGroupDescribeRequest, DescribeGroupsRequest, OffsetCommitRequest, OffsetFetchRequest,
        OffsetFetchResponse,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_commit_response::OffsetCommitResponseTopic,
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
    },
};
use tokio::time::timeout;

use crate::{
    client::{Client, CoordinatorKind, Target},
    connection::Connection,
    error::{Error, ErrorKind, Persisted, Result},
};

/// How long a commit whose answer was lost is looked for.
const READ_BACK: Duration = Duration::from_secs(5);
/// The last version of OffsetCommit and OffsetFetch that names topics by name; the next one only by id (KIP-848).
const LAST_BY_NAME: i16 = 9;
const FIRST_BY_ID: i16 = 10;

/// An offset that a group has committed, or shall commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: Str,
    /// The id of the topic that was read, if it is known: the offset is not committed to another one of that name.
    pub topic_id: Option<Uuid>,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read, if it is known.
    pub leader_epoch: Option<i32>,
    /// Whatever the committer wrote beside it.
    pub metadata: Option<Str>,
}

impl CommittedOffset {
    /// A position to commit.
    pub fn new(topic: impl Into<Str>, partition: i32, offset: i64) -> CommittedOffset {
        CommittedOffset {
            topic: topic.into(),
            topic_id: None,
            partition,
            offset,
            leader_epoch: None,
            metadata: None,
        }
    }
}

impl Client {
    /// The offsets that a group has committed for these partitions; one without a commit is left out.
    /// Waits for transactions that have offsets of the group under way (KIP-447).
    ///
    /// # Errors
    /// The coordinator cannot be reached, or refuses.
    pub async fn committed_offsets(
        &self,
        group: &str,
        partitions: &[(Str, i32)],
    ) -> Result<Vec<CommittedOffset>> {
        self.at_coordinator("reading committed offsets", group, |connection| async move {
            fetch_offsets(&connection, group, Some(partitions)).await
        })
        .await
    }

    /// All offsets that a group has committed.
    ///
    /// # Errors
    /// As [`Client::committed_offsets`].
    pub async fn all_committed_offsets(&self, group: &str) -> Result<Vec<CommittedOffset>> {
        self.at_coordinator("reading committed offsets", group, |connection| async move {
            fetch_offsets(&connection, group, None).await
        })
        .await
    }

    /// Commits offsets for a group without being a member of it (generation -1, no member id). Brokers
    /// accept that only while the group has no members. Where an answer was lost, the offsets are read back.
    ///
    /// # Errors
    /// [`ErrorKind::GroupHasMembers`], or the first partition that was refused. [`Error::persisted`] says
    /// whether offsets may have been committed all the same.
    pub async fn commit_offsets(&self, group: &str, offsets: &[CommittedOffset]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let is_uncertain = &AtomicBool::new(false);
        let committed = self.at_coordinator("committing offsets", group, |connection| async move {
            self.commit(&connection, group, offsets, is_uncertain).await
        });
        match committed.await {
            Err(error) if is_uncertain.load(Ordering::Relaxed) => {
                match self.is_committed(group, offsets).await {
                    Some(true) => Ok(()),
                    Some(false) => Err(error),
                    None => Err(error.with_persisted(Persisted::Maybe)),
                }
            }
            settled => settled,
        }
    }

    /// Whether the group has all of these offsets, or none of them; None where neither is known.
    async fn is_committed(&self, group: &str, offsets: &[CommittedOffset]) -> Option<bool> {
        let partitions: Vec<(Str, i32)> =
            offsets.iter().map(|offset| (offset.topic.clone(), offset.partition)).collect();
        let found = timeout(READ_BACK, self.committed_offsets(group, &partitions)).await.ok()?.ok()?;
        let is_there = |wanted: &&CommittedOffset| {
            found.iter().any(|found| {
                (&found.topic, found.partition, found.offset)
                    == (&wanted.topic, wanted.partition, wanted.offset)
            })
        };
        match offsets.iter().filter(is_there).count() {
            0 => Some(false),
            count if count == offsets.len() => Some(true),
            _ => None,
        }
    }

    /// Makes sure that a group has no members, classic or new (KIP-848). A group that does not exist
    /// has none.
    ///
    /// # Errors
    /// [`ErrorKind::GroupHasMembers`], or the coordinator cannot be asked.
    pub async fn ensure_no_members(&self, group: &str) -> Result<()> {
        self.at_coordinator("describing the group", group, |connection| async move {
            let members = count_members(&connection, group).await?;
            match members {
                0 => Ok(()),
                1 => Err(has_members("the group has a member")),
                count => Err(has_members(&format!("the group has {count} members"))),
            }
        })
        .await
    }

    async fn at_coordinator<T, Fut>(
        &self,
        what: &str,
        group: &str,
        attempt: impl Fn(Connection) -> Fut,
    ) -> Result<T>
    where
        Fut: Future<Output = Result<T>>,
    {
        if group.is_empty() {
            return Err(Error::invalid("the group's name is empty"));
        }
        let mut retry = self.retry(what);
        loop {
            let mut broker = self.servers();
            let once = async {
                let target = Target::Coordinator(CoordinatorKind::Group, group);
                attempt(self.connection_noting(target, &mut broker).await?).await
            };
            match retry.limit(once).await {
                Ok(done) => return Ok(done),
                Err(error) => retry.after(error.with_group(group).with_broker(broker), &[]).await?,
            }
        }
    }
}

fn has_members(text: &str) -> Error {
    let message = format!(
        "{text}: its offsets can be read and committed from outside only while it has none; \
         stop them, or use another group"
    );
    Error::new(ErrorKind::GroupHasMembers, message)
}

async fn count_members(connection: &Connection, group: &str) -> Result<usize> {
    let timeout = connection.request_timeout();
    let classic = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
    let version = connection.version_of::<DescribeGroupsRequest>()?;
    let classic = connection.send(&classic, version, timeout).await?;
    // Groups of the new protocol are "not found" to the call above, so both are asked, in one go.
    let modern = match connection.version_of::<ConsumerGroupDescribeRequest>() {
        Ok(version) => {
            let request =
                ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
            Some(connection.send(&request, version, timeout).await?)
        }
        Err(_) => None,
    };
    let context = |api: ApiKey| move |error: Error| error.with_api(api, None);
    let mut members = 0;
    for described in classic.await?.groups {
        check_description(described.error_code, described.error_message.as_deref())
            .map_err(context(ApiKey::DescribeGroups))?;
        members += described.members.len();
    }
    if let Some(modern) = modern {
        for described in modern.await?.groups {
            check_description(described.error_code, described.error_message.as_deref())
                .map_err(context(ApiKey::ConsumerGroupDescribe))?;
            members += described.members.len();
        }
    }
    Ok(members)
}

fn check_description(code: ErrorCode, message: Option<&str>) -> Result<()> {
    match code {
        // No such group of this kind; or the cluster has the new protocol switched off.
        ErrorCode::NONE | ErrorCode::GROUP_ID_NOT_FOUND | ErrorCode::UNSUPPORTED_VERSION => Ok(()),
        code => Err(Error::broker_with_message(code, message)),
    }
}

impl Client {
    /// `is_uncertain` is set once an answer that may have been good was lost, or some partitions were refused.
    async fn commit(
        &self,
        connection: &Connection,
        group: &str,
        offsets: &[CommittedOffset],
        is_uncertain: &AtomicBool,
    ) -> Result<()> {
        let has_ids = offsets.iter().all(|offset| offset.topic_id.is_some());
        let most = if has_ids { FIRST_BY_ID } else { LAST_BY_NAME };
        let version = connection.version_within::<OffsetCommitRequest>(2, most)?;
        if version < FIRST_BY_ID {
            self.check_ids(offsets).await?;
        }
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for commit in offsets {
            let partition = OffsetCommitRequestPartition {
                partition_index: commit.partition,
                committed_offset: commit.offset,
                committed_leader_epoch: commit.leader_epoch.unwrap_or(-1),
                committed_metadata: Some(commit.metadata.clone().unwrap_or_default()),
                ..Default::default()
            };
            match topics.iter_mut().find(|topic| topic.name == commit.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(OffsetCommitRequestTopic {
                    name: commit.topic.clone(),
                    topic_id: commit.topic_id.unwrap_or_default(),
                    partitions: vec![partition],
                    ..Default::default()
                }),
            }
        }
        let request = OffsetCommitRequest { group_id: group.into(), topics, ..Default::default() };
        let answer = connection.send(&request, version, connection.request_timeout()).await?;
        let was_uncertain = is_uncertain.swap(true, Ordering::Relaxed);
        let response = answer.await?;
        let mut answers = response.topics.iter().flat_map(|topic| &topic.partitions);
        let mixed = answers.any(|answer| !answer.error_code.is_err());
        is_uncertain.store(was_uncertain || mixed, Ordering::Relaxed);
        let context = |error: Error, offset: &CommittedOffset| {
            let error = error.with_partition(&offset.topic, offset.partition);
            error.with_api(ApiKey::OffsetCommit, Some(version))
        };
        for offset in offsets {
            let is_meant = |topic: &&OffsetCommitResponseTopic| match version {
                FIRST_BY_ID.. => Some(topic.topic_id) == offset.topic_id,
                _ => topic.name == offset.topic,
            };
            let partitions = response.topics.iter().filter(is_meant).flat_map(|topic| &topic.partitions);
            let answer = partitions.into_iter().find(|answer| answer.partition_index == offset.partition);
            let code = answer.map(|answer| answer.error_code);
            let error = match code {
                Some(ErrorCode::NONE) => continue,
                None => Error::protocol("the answer leaves the partition out"),
                Some(
                    ErrorCode::UNKNOWN_MEMBER_ID
                    | ErrorCode::ILLEGAL_GENERATION
                    | ErrorCode::STALE_MEMBER_EPOCH,
                ) => has_members("the group has members"),
                Some(code @ ErrorCode::UNKNOWN_TOPIC_ID) => {
                    // Either the coordinator has not heard of it yet, or it is gone.
                    self.check_ids(offsets).await?;
                    Error::broker(code)
                }
                Some(code) => Error::broker(code),
            };
            return Err(context(error, offset));
        }
        Ok(())
    }

    /// Makes sure that the topics are still those that were read: an offset means something else in another one.
    async fn check_ids(&self, offsets: &[CommittedOffset]) -> Result<()> {
        let mut topics: Vec<&str> =
            offsets.iter().filter(|offset| offset.topic_id.is_some()).map(|offset| &*offset.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        if topics.is_empty() {
            return Ok(());
        }
        let metadata = self.refresh_metadata(&topics, self.metadata().generation).await?;
        for offset in offsets {
            let Some(read) = offset.topic_id else { continue };
            let now = metadata.topic(&offset.topic).and_then(|topic| topic.id);
            if let Some(now) = now.filter(|now| *now != read) {
                let message = format!(
                    "the topic was deleted and created again since it was read: its id was {read} and is {now}"
                );
                let error = Error::new(ErrorKind::InvalidInput, message);
                return Err(error.with_partition(&offset.topic, offset.partition));
            }
        }
        Ok(())
    }
}

async fn fetch_offsets(
    connection: &Connection,
    group: &str,
    partitions: Option<&[(Str, i32)]>,
) -> Result<Vec<CommittedOffset>> {
    let least = if partitions.is_none() { 2 } else { 1 };
    let version = connection.version_within::<OffsetFetchRequest>(least, LAST_BY_NAME)?;
    let topics = partitions.map(|partitions| {
        let mut topics: Vec<OffsetFetchRequestTopics> = Vec::new();
        for (name, partition) in partitions {
            match topics.iter_mut().find(|topic| topic.name == *name) {
                Some(topic) => topic.partition_indexes.push(*partition),
                None => topics.push(OffsetFetchRequestTopics {
                    name: name.clone(),
                    partition_indexes: vec![*partition],
                    ..Default::default()
                }),
            }
        }
        topics
    });
    let mut request = OffsetFetchRequest { require_stable: version >= 7, ..Default::default() };
    if version >= 8 {
        let group = OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() };
        request.groups = vec![group];
    } else {
        let older = |topic: OffsetFetchRequestTopics| OffsetFetchRequestTopic {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        };
        request.group_id = group.into();
        request.topics = topics.map(|topics| topics.into_iter().map(older).collect());
    }
    let response = connection.send(&request, version, connection.request_timeout()).await?.await?;
    offsets_of(response, group, partitions.unwrap_or_default())
        .map_err(|error| error.with_api(ApiKey::OffsetFetch, Some(version)))
}

/// Flattens the two shapes of the answer. Each partition that was asked for has to be there, and once: one without an
/// answer is not one without a commit.
fn offsets_of(
    response: OffsetFetchResponse,
    group: &str,
    asked: &[(Str, i32)],
) -> Result<Vec<CommittedOffset>> {
    response.error_code.into_result().map_err(Error::broker)?;
    let mut offsets = Vec::new();
    let mut answered = HashSet::new();
    let mut take =
        |topic: &Str, partition: i32, code: ErrorCode, offset: i64, epoch: i32, metadata: Option<Str>| {
            if let Err(code) = code.into_result() {
                return Err(Error::broker(code).with_partition(topic, partition));
            }
            if !answered.insert((topic.detach(), partition)) {
                let error = Error::protocol("the answer names the partition twice");
                return Err(error.with_partition(topic, partition));
            }
            if offset < -1 {
                let error = Error::protocol(format!("the answer has the committed offset {offset}"));
                return Err(error.with_partition(topic, partition));
            }
            if offset >= 0 {
                offsets.push(CommittedOffset {
                    topic: topic.detach(),
                    topic_id: None,
                    partition,
                    offset,
                    leader_epoch: (epoch >= 0).then_some(epoch),
                    metadata: metadata
                        .filter(|metadata| !metadata.is_empty())
                        .map(|metadata| metadata.detach()),
                });
            }
            Ok(())
        };
    for topic in response.topics {
        for p in topic.partitions {
            let epoch = p.committed_leader_epoch;
            take(&topic.name, p.partition_index, p.error_code, p.committed_offset, epoch, p.metadata)?;
        }
    }
    for answer in response.groups {
        if *answer.group_id != *group {
            return Err(Error::protocol(format!("the answer is about group {}", answer.group_id)));
        }
        answer.error_code.into_result().map_err(Error::broker)?;
        for topic in answer.topics {
            for p in topic.partitions {
                let epoch = p.committed_leader_epoch;
                take(&topic.name, p.partition_index, p.error_code, p.committed_offset, epoch, p.metadata)?;
            }
        }
    }
    match asked.iter().find(|asked| !answered.contains(*asked)) {
        None => Ok(offsets),
        Some((topic, partition)) => {
            Err(Error::protocol("the answer leaves the partition out").with_partition(topic, *partition))
        }
    }
}
