//! Where each partition stands: read, checked against the cluster, and set for the first time.
//!
//! A position is never guessed. What was there and is gone (a log cut short, a topic made anew, another
//! cluster) is an error that names the gap, unless `--accept-loss` says to go on behind it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use kcopy_client::{
    Assignment, Client, ConsumerConfig, EndOffset, EpochQuery, Metadata, PartitionRange, StartOffset,
    wire::Str,
};
use tokio_postgres::{Client as Postgres, Transaction, error::SqlState};

use super::{
    catalog::Table,
    loss::{Log, Loss, Seen, Stored, Verdict, judge},
    pulse::Pulse,
    starts::unsteady,
    trouble::Trouble,
};
use crate::{
    plan::{End, Load},
    sql,
};

/// How often it is tried when somebody else makes the same.
const SCHEMA_ATTEMPTS: u32 = 5;

/// A partition on its way into a table.
#[derive(Debug, Clone)]
pub(super) struct Assigned {
    /// The place of its table.
    pub(super) table: usize,
    pub(super) topic: Str,
    pub(super) partition: i32,
    /// Where a bounded run ends; None before the ends are known, and for runs without an end.
    pub(super) end: Option<i64>,
}

/// A partition whose position is known.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) assigned: Assigned,
    pub(super) range: PartitionRange,
    pub(super) topic_id: Option<String>,
}

/// Makes the schema where it is not there.
///
/// # Errors
/// The role may not, or the database is of another mind.
pub(super) async fn ensure_schema(postgres: &mut Postgres) -> Result<(), Trouble> {
    let mut attempt = 1;
    loop {
        match make_schema(postgres).await {
            Err((_, error)) if attempt < SCHEMA_ATTEMPTS && is_made_meanwhile(&error) => attempt += 1,
            Err((Doing::Looking, error)) => return Err(at_positions("looking for the schema kcopy", &error)),
            Err((Doing::Making, error)) => {
                let advice =
                    format!("let a role with CREATE on the database run this load once, and {GRANTS}");
                return Err(with_rights("making the schema kcopy", &error, &advice));
            }
            Ok(()) => return Ok(()),
        }
    }
}

enum Doing {
    Looking,
    Making,
}

/// One attempt, and what it failed at.
async fn make_schema(postgres: &mut Postgres) -> Result<(), (Doing, tokio_postgres::Error)> {
    let looking = |error| (Doing::Looking, error);
    let making = |error| (Doing::Making, error);
    let is_there = "select pg_catalog.to_regclass('kcopy.offsets') is not null \
                    and pg_catalog.to_regclass('kcopy.rejected') is not null";
    if postgres.query_one(is_there, &[]).await.map_err(looking)?.get(0) {
        return Ok(());
    }
    let transaction = postgres.transaction().await.map_err(looking)?;
    // Two loaders that start together must not create the schema at the same time.
    let lock = "select pg_catalog.pg_advisory_xact_lock($1)";
    transaction.execute(lock, &[&sql::LOCK]).await.map_err(looking)?;
    if transaction.query_one(is_there, &[]).await.map_err(looking)?.get(0) {
        return Ok(());
    }
    transaction.batch_execute(&sql::tables()).await.map_err(making)?;
    transaction.commit().await.map_err(making)
}

/// Whether somebody else has made the same at the same moment. The lock alone does not prevent it: earlier versions of
/// `kcopy sql` do not take it, and what a session has looked up before it waited may be kept.
pub(super) fn is_made_meanwhile(error: &tokio_postgres::Error) -> bool {
    [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_OBJECT,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ]
    .iter()
    .any(|code| error.code() == Some(code))
}

/// Whether some topic of the plan has positions already.
///
/// # Errors
/// Those of reading them.
pub(super) async fn were_there(postgres: &Postgres, plan: &Load) -> Result<bool, Trouble> {
    let topics: Vec<&str> = plan.routes.iter().map(|route| route.topic.as_str()).collect();
    let tables: Vec<&str> = plan.routes.iter().map(|route| route.table.as_str()).collect();
    let known = "select exists (select from kcopy.offsets o join unnest($1::text[], $2::text[]) w(topic, name) \
                 on o.topic = w.topic and o.target = pg_catalog.to_regclass(w.name))";
    let known = postgres.query_one(known, &[&topics, &tables]).await;
    Ok(known.map_err(|error| at_positions("reading kcopy.offsets", &error))?.get(0))
}

/// What a role needs; DELETE is for --accept-loss.
const GRANTS: &str = "grant this one USAGE on schema kcopy, and SELECT, INSERT, UPDATE, DELETE on its tables (the role \
                      kcopy_loader of kcopy sql has all of these)";

/// An error about the tables of the schema kcopy, with the rights that it may be about.
pub(super) fn at_positions(doing: &str, error: &tokio_postgres::Error) -> Trouble {
    with_rights(doing, error, &format!("its owner can {GRANTS}"))
}

/// An error, with `advice` where it is about rights.
fn with_rights(doing: &str, error: &tokio_postgres::Error, advice: &str) -> Trouble {
    match Trouble::postgres(doing, error) {
        Trouble::Final(text) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Trouble::Final(format!("{text}; {advice}"))
        }
        trouble => trouble,
    }
}

/// Takes out positions of tables that are gone, as `kcopy.sweep` does: a new table may get the number of such a one, and
/// with it its positions. Who may not is not in want of it.
async fn sweep(transaction: &Transaction<'_>) -> Result<(), Trouble> {
    let failed = |error: tokio_postgres::Error| at_positions("writing kcopy.offsets", &error);
    let may = "select pg_catalog.has_table_privilege('kcopy.offsets', 'DELETE')";
    if transaction.query_one(may, &[]).await.map_err(failed)?.get(0) {
        let delete = "delete from kcopy.offsets where (target, topic, partition) in (\
                      select target, topic, partition from kcopy.offsets o \
                      where not exists (select from pg_catalog.pg_class where oid = o.target) for update skip locked)";
        transaction.execute(delete, &[]).await.map_err(failed)?;
    }
    Ok(())
}

/// What is asked of both sides before a partition is read.
pub(super) struct Survey<'a> {
    pub(super) plan: &'a Load,
    pub(super) client: &'a Client,
    pub(super) config: &'a ConsumerConfig,
    pub(super) tables: &'a [Table],
    pub(super) pulse: &'a Pulse,
    /// Topics that have come since the run began.
    pub(super) late: Option<&'a BTreeSet<Str>>,
}

/// What people should know of the positions, and the event that it is.
pub(super) struct Notice {
    pub(super) event: &'static str,
    pub(super) text: String,
}

impl Notice {
    pub(super) fn of_loss(text: String) -> Notice {
        Notice { event: "loss_accepted", text }
    }
}

/// What the positions of a topic are of, and a partition that has one.
struct Other {
    partition: i32,
    log: Log,
}

/// By table and topic.
type KnownTopics = HashMap<(u32, String), Vec<Other>>;

/// The rows of kcopy.offsets by table, topic and partition.
pub(super) type Positions = HashMap<(u32, String, i32), Stored>;

impl Survey<'_> {
    /// Finds, checks and where need be sets the positions. The rows stay locked until all is checked: a
    /// transaction of an earlier connection that is still under way is waited for.
    ///
    /// # Errors
    /// A side that cannot be reached, and every kind of loss.
    pub(super) async fn establish(
        &self,
        postgres: &mut Postgres,
        assigned: &[Assigned],
        notices: &mut Vec<Notice>,
    ) -> Result<Vec<Placed>, Trouble> {
        let failed = |error: tokio_postgres::Error| at_positions("reading kcopy.offsets", &error);
        self.pulse.beat();
        let transaction = postgres.transaction().await.map_err(failed)?;
        let known = self.known_topics(&transaction, assigned).await?;
        self.pulse.beat();
        let mut stored = self.stored(&transaction, assigned).await?;
        // Asked only while the positions are locked: what is older than a position says nothing about it.
        let mut seen = self.pulse.resting(self.look(assigned, &stored)).await?;
        let is_fine = |(it, seen): (&Assigned, &Seen)| match stored.get(&self.key(it)) {
            Some(stored) => matches!(judge(stored, seen), Verdict::Fine),
            None => self.check_others(&known, it, &seen.log).is_ok(),
        };
        if !assigned.iter().zip(&seen).all(is_fine) {
            // Once more, and of the present leaders: a former one knows only the past.
            self.pulse.resting(self.renew_metadata(assigned)).await?;
            seen = self.pulse.resting(self.look(assigned, &stored)).await?;
        }
        let is_new = |it: &&Assigned| {
            let of_topic = (self.tables[it.table].oid, it.topic.to_string());
            !stored.contains_key(&self.key(it)) && !known.contains_key(&of_topic) && !self.skips_start(it)
        };
        let new: Vec<&Assigned> = assigned.iter().filter(is_new).collect();
        if !new.is_empty() {
            sweep(&transaction).await?;
        }
        let starts = self.pulse.resting(self.first_starts(&new, &seen, notices)).await?;
        let mut placed = Vec::with_capacity(assigned.len());
        for (assigned, mut seen) in assigned.iter().zip(seen) {
            self.pulse.beat();
            let place = format!("{} [{}]", assigned.topic, assigned.partition);
            let mut position = seen.range.log_start_offset;
            match stored.remove(&self.key(assigned)) {
                None => {
                    self.check_others(&known, assigned, &seen.log)
                        .map_err(|why| Trouble::Final(format!("{place} was never loaded, and {why}")))?;
                    if let Some((start, epoch)) = starts.get(&(assigned.topic.clone(), assigned.partition)) {
                        (position, seen.range.last_epoch) = (*start, *epoch);
                    }
                    self.insert(&transaction, assigned, position, &seen).await?;
                }
                Some(stored) => match judge(&stored, &seen) {
                    Verdict::Fine => {
                        // What becomes of the log from here on is noticed while it is read.
                        (position, seen.range.last_epoch) = (stored.next_offset, stored.leader_epoch);
                    }
                    Verdict::NotYet(why) => return Err(Trouble::Passing(format!("{place}: {why}"))),
                    Verdict::Lost(Loss { what, go_on_at }) if !self.plan.accepts_loss => {
                        return Err(Trouble::Final(format!(
                            "{place}: {what}; --accept-loss goes on at offset {go_on_at}"
                        )));
                    }
                    Verdict::Lost(Loss { what, go_on_at }) => {
                        notices.push(Notice::of_loss(format!(
                            "{place}: {what}; loading goes on at offset {go_on_at}"
                        )));
                        position = go_on_at;
                        let there = PartitionRange { start: go_on_at, ..seen.range.clone() };
                        let epochs = self.pulse.resting(self.client.epochs_before(&[there])).await;
                        seen.range.last_epoch = epochs.map_err(|error| unsteady(&error))?[0];
                        self.accept(&transaction, assigned, position, &seen).await?;
                    }
                },
            }
            seen.range.start = position;
            seen.range.end = assigned.end.filter(|_| self.plan.end == End::Pinned);
            placed.push(Placed {
                assigned: assigned.clone(),
                range: seen.range,
                topic_id: seen.log.topic_id,
            });
        }
        if self.plan.accepts_loss && self.plan.partitions.is_none() {
            self.give_up_gone(&transaction, assigned, notices).await?;
        }
        transaction.commit().await.map_err(|error| at_positions("writing kcopy.offsets", &error))?;
        Ok(placed)
    }

    /// Partitions that a topic no longer has are lost as well, and would be in the way of `kcopy.load`.
    async fn give_up_gone(
        &self,
        transaction: &Transaction<'_>,
        assigned: &[Assigned],
        notices: &mut Vec<Notice>,
    ) -> Result<(), Trouble> {
        let failed = |error: tokio_postgres::Error| at_positions("writing kcopy.offsets", &error);
        // Asked anew, and rows of the present topic stay: what is cached may not know of a partition that was added a
        // moment ago, and that another loader has begun with.
        let metadata = self.pulse.resting(self.renew_metadata(assigned)).await?;
        let mut seen = HashSet::new();
        for it in assigned.iter().filter(|it| seen.insert((it.table, it.topic.clone()))) {
            // A topic has partitions: an answer without any says nothing.
            let Some(topic) = metadata.topic(&it.topic).filter(|topic| !topic.partitions.is_empty()) else {
                continue;
            };
            let Some(id) = topic.id.map(|id| id.to_string()) else { continue };
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            let oid = self.tables[it.table].oid;
            let gone = "select partition, next_offset from kcopy.offsets \
                        where target = $1::oid and topic = $2 and partition >= $3 and topic_id <> $4 \
                        order by 1 for update";
            let gone = transaction.query(gone, &[&oid, &&*it.topic, &count, &id]).await.map_err(failed)?;
            for row in &gone {
                let (partition, next): (i32, i64) = (row.get(0), row.get(1));
                let delete =
                    "delete from kcopy.offsets where target = $1::oid and topic = $2 and partition = $3";
                transaction.execute(delete, &[&oid, &&*it.topic, &partition]).await.map_err(failed)?;
                notices.push(Notice::of_loss(format!(
                    "{} [{partition}] is not there any more: its position {next} is given up",
                    it.topic
                )));
            }
        }
        Ok(())
    }

    async fn renew_metadata(&self, assigned: &[Assigned]) -> Result<Arc<Metadata>, Trouble> {
        let mut names: Vec<&str> = assigned.iter().map(|it| &*it.topic).collect();
        names.sort_unstable();
        names.dedup();
        let generation = self.client.metadata().generation;
        let renewed = self.client.refresh_metadata(&names, generation).await;
        renewed.map_err(|error| Trouble::kafka(&error))
    }

    fn key(&self, assigned: &Assigned) -> (u32, String, i32) {
        (self.tables[assigned.table].oid, assigned.topic.to_string(), assigned.partition)
    }

    /// Which offsets the partitions have, the ids of their topics, and where the epochs of the positions end.
    async fn look(&self, assigned: &[Assigned], stored: &Positions) -> Result<Vec<Seen>, Trouble> {
        let failed = |error: kcopy_client::Error| Trouble::kafka(&error);
        let assignments: Vec<Assignment> = assigned
            .iter()
            .map(|assigned| {
                Assignment::new(assigned.topic.clone(), assigned.partition, StartOffset::Earliest)
                    .until(EndOffset::Latest)
            })
            .collect();
        let ranges = self.client.resolve(&assignments, self.config).await.map_err(failed)?;
        let metadata = self.client.metadata();
        let seen = ranges.into_iter().map(|range| {
            let topic_id = metadata.topic(&range.topic).and_then(|topic| topic.id).map(|id| id.to_string());
            let log = Log { cluster_id: metadata.cluster_id.clone(), topic_id };
            Seen { range, log, epoch_end: None, epoch_instead: None }
        });
        let mut seen: Vec<Seen> = seen.collect();
        let (mut places, mut questions) = (Vec::new(), Vec::new());
        for (at, it) in assigned.iter().enumerate() {
            if let Some(epoch) = stored.get(&self.key(it)).and_then(|stored| stored.leader_epoch) {
                places.push(at);
                questions.push(EpochQuery::new(it.topic.clone(), it.partition, epoch));
            }
        }
        if questions.is_empty() {
            return Ok(seen);
        }
        let answers = self.client.epoch_ends(&questions).await.map_err(failed)?;
        for ((at, question), answer) in places.into_iter().zip(questions).zip(answers) {
            let end = answer.map_err(failed)?;
            seen[at].epoch_end = Some(end.as_ref().map(|end| end.end_offset));
            let next = stored.get(&self.key(&assigned[at])).map_or(0, |stored| stored.next_offset);
            let range = &seen[at].range;
            if end.is_some_and(|end| end.leader_epoch < question.leader_epoch && end.end_offset >= next)
                && (range.log_start_offset + 1..=range.high_watermark).contains(&next)
            {
                let instead =
                    self.client.epoch_at(range.topic.clone(), range.partition, next - 1, self.config);
                seen[at].epoch_instead = instead.await.map_err(|error| unsteady(&error))?;
            }
        }
        Ok(seen)
    }

    /// The tables and topics of which some partition was loaded before, and of which logs: their new partitions begin at
    /// their beginning, whatever --from says.
    async fn known_topics(
        &self,
        transaction: &Transaction<'_>,
        assigned: &[Assigned],
    ) -> Result<KnownTopics, Trouble> {
        let (targets, topics) = self.targets(assigned);
        let known = "select target::oid, topic, min(partition), cluster_id, topic_id from kcopy.offsets \
                     where target = any($1::oid[]) and topic = any($2) group by 1, 2, 4, 5 order by 3";
        let rows = transaction.query(known, &[&targets, &topics]).await;
        let rows = rows.map_err(|error| at_positions("reading kcopy.offsets", &error))?;
        let mut known = KnownTopics::new();
        for row in &rows {
            let other =
                Other { partition: row.get(2), log: Log { cluster_id: row.get(3), topic_id: row.get(4) } };
            known.entry((row.get(0), row.get(1))).or_default().push(other);
        }
        Ok(known)
    }

    /// Positions of other partitions tell as well that it is another log.
    fn check_others(&self, known: &KnownTopics, assigned: &Assigned, now: &Log) -> Result<(), String> {
        let unlike = |other: &Other| Some((other.partition, other.log.unlike(now)?));
        let others = known.get(&(self.tables[assigned.table].oid, assigned.topic.to_string()));
        let other = others.into_iter().flatten().find_map(unlike);
        match other.filter(|_| !self.plan.accepts_loss) {
            None => Ok(()),
            Some((partition, what)) => Err(format!(
                "the position of [{partition}] is one of {what}; --accept-loss loads it all the same"
            )),
        }
    }

    fn targets(&self, assigned: &[Assigned]) -> (Vec<u32>, Vec<String>) {
        let targets = assigned.iter().map(|assigned| self.tables[assigned.table].oid);
        (targets.collect(), assigned.iter().map(|assigned| assigned.topic.to_string()).collect())
    }

    /// The rows, locked in one order for all.
    async fn stored(
        &self,
        transaction: &Transaction<'_>,
        assigned: &[Assigned],
    ) -> Result<Positions, Trouble> {
        let (targets, topics) = self.targets(assigned);
        let partitions: Vec<i32> = assigned.iter().map(|assigned| assigned.partition).collect();
        let stored = "select o.target::oid, o.topic, o.partition, o.next_offset, o.cluster_id, o.topic_id, o.leader_epoch \
                      from kcopy.offsets o join unnest($1::oid[], $2::text[], $3::int4[]) w(target, topic, partition) \
                      on o.target = w.target and o.topic = w.topic and o.partition = w.partition \
                      order by 1, 2, 3 for update of o";
        let rows = transaction.query(stored, &[&targets, &topics, &partitions]).await;
        let rows = rows.map_err(|error| at_positions("reading kcopy.offsets", &error))?;
        let rows = rows.iter().map(|row| {
            let stored = Stored {
                next_offset: row.get(3),
                log: Log { cluster_id: row.get(4), topic_id: row.get(5) },
                leader_epoch: row.get(6),
            };
            ((row.get(0), row.get(1), row.get(2)), stored)
        });
        Ok(rows.collect())
    }

    async fn insert(
        &self,
        transaction: &Transaction<'_>,
        assigned: &Assigned,
        position: i64,
        seen: &Seen,
    ) -> Result<(), Trouble> {
        let insert = "insert into kcopy.offsets(target, topic, partition, cluster_id, topic_id, next_offset, \
                      leader_epoch) values ($1::oid, $2, $3, $4, $5, $6, $7) on conflict do nothing";
        let inserted = transaction
            .execute(
                insert,
                &[
                    &self.tables[assigned.table].oid,
                    &&*assigned.topic,
                    &assigned.partition,
                    &seen.log.cluster_id,
                    &seen.log.topic_id,
                    &position,
                    &seen.range.last_epoch,
                ],
            )
            .await;
        match inserted {
            Ok(1) => Ok(()),
            // Somebody was quicker: what he wrote is looked at in the next attempt.
            Ok(_) => Err(Trouble::Passing(format!(
                "{} [{}]: another loader has begun with it at the same moment",
                assigned.topic, assigned.partition
            ))),
            Err(error) => Err(at_positions("writing kcopy.offsets", &error)),
        }
    }

    async fn accept(
        &self,
        transaction: &Transaction<'_>,
        assigned: &Assigned,
        position: i64,
        seen: &Seen,
    ) -> Result<(), Trouble> {
        let update = "update kcopy.offsets set next_offset = $4, cluster_id = $5, topic_id = $6, leader_epoch = $7, \
                      updated_at = pg_catalog.now() where target = $1::oid and topic = $2 and partition = $3";
        let oid = self.tables[assigned.table].oid;
        let updated = transaction
            .execute(
                update,
                &[
                    &oid,
                    &&*assigned.topic,
                    &assigned.partition,
                    &position,
                    &seen.log.cluster_id,
                    &seen.log.topic_id,
                    &seen.range.last_epoch,
                ],
            )
            .await;
        updated.map(|_| ()).map_err(|error| at_positions("writing kcopy.offsets", &error))
    }
}
