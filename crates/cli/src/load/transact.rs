//! One batch, one transaction: positions are locked and compared, rows copied, positions moved.
//!
//! ```text
//! begin; lock the tables        nothing can change them from here on
//! are they what they were?      if not, nothing is written, and they are looked at again
//! positions for update          those that move, and the first one
//! are all where they were left? a second loader is noticed here: the one that commits first goes on
//! copy, merge                   rows
//! insert rejected records
//! positions set                 compare-and-set, each exactly one row
//! commit
//! ```

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_postgres::{Row, Statement, types::ToSql};

use super::{
    batch::{Batch, Origin, Rejected},
    catalog::{self, Table},
    destination::Destination,
    encode::Layout,
    fill::{Filling, span},
    locks,
    positions::{Placed, at_positions},
    postgres::connect::{Session, reason},
    pulse::Pulse,
    rejects::Reread,
    session::Charset,
    trouble::Trouble,
};
use crate::plan::{Load, OnError};

/// In one order for all, so that two loaders wait for each other and never both.
const LOCK_POSITIONS: &str = "\
select from kcopy.offsets o
join unnest($1::oid[], $2::text[], $3::int4[]) w(target, topic, partition)
     on o.target = w.target and o.topic = w.topic and o.partition = w.partition
order by o.target::oid, o.topic, o.partition for update of o";

/// Those that are not where they were left. A statement of its own: it sees what others have committed while the one
/// before waited for them.
const COMPARE_POSITIONS: &str = "\
select w.at, o.next_offset
from unnest($1::oid[], $2::text[], $3::int4[], $4::int8[]) with ordinality w(target, topic, partition, left_at, at)
left join kcopy.offsets o on o.target = w.target and o.topic = w.topic and o.partition = w.partition
where o.next_offset is distinct from w.left_at order by 1";

/// A connection that is ready to load.
pub(super) struct Loader {
    client: Session,
    tables: Vec<Destination>,
    /// Where each partition stands, as far as this loader has moved it.
    settled: Vec<i64>,
    /// Of each table and topic the first partition here: every transaction locks it, so that one comes after the other.
    gates: Vec<usize>,
    lock_positions: Statement,
    compare_positions: Statement,
    fingerprints: Statement,
    lock: String,
    plan: Arc<Load>,
    reread: Reread,
    charset: Charset,
    pulse: Arc<Pulse>,
}

/// What a transaction did.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// By the place of the table.
    pub(super) rows: Vec<u64>,
    /// The records that were left out, those that PostgreSQL refused among them.
    pub(super) rejected: Vec<Rejected>,
}

impl Loader {
    /// Prepares everything that batches need.
    ///
    /// # Errors
    /// PostgreSQL refuses what is asked of it.
    pub(super) async fn new(
        client: Session,
        plan: Arc<Load>,
        tables: Vec<(Table, Layout)>,
        partitions: &[Placed],
        reread: Reread,
        pulse: Arc<Pulse>,
    ) -> Result<Loader, Trouble> {
        let failed = |error: tokio_postgres::Error| Trouble::postgres("preparing to load", &error);
        let mut destinations = Vec::with_capacity(tables.len());
        for (at, (table, layout)) in tables.into_iter().enumerate() {
            match Destination::new(&client, &plan, at, table, layout).await {
                Ok(destination) => destinations.push(destination),
                Err(trouble) => return Err(locks::explained(&client, &plan, &pulse, trouble).await),
            }
            pulse.beat();
        }
        let tables: Vec<&Table> = destinations.iter().map(|destination| &destination.table).collect();
        let mut names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        names.sort_unstable();
        let lock = format!(
            "begin isolation level read committed; lock table {} in row exclusive mode",
            names.join(", ")
        );
        let fingerprints = client.prepare(&catalog::fingerprints(&tables)).await.map_err(failed)?;
        let charset = Charset::of(&client).await?;
        let settled = partitions.iter().map(|placed| placed.range.start).collect();
        let mut firsts: HashMap<(usize, &str), usize> = HashMap::new();
        for (at, Placed { assigned, .. }) in partitions.iter().enumerate() {
            let first = firsts.entry((assigned.table, &*assigned.topic)).or_insert(at);
            if assigned.partition < partitions[*first].assigned.partition {
                *first = at;
            }
        }
        let gates = firsts.into_values().collect();
        let lock_positions = client.prepare(LOCK_POSITIONS).await.map_err(failed)?;
        let compare_positions = client.prepare(COMPARE_POSITIONS).await.map_err(failed)?;
        Ok(Loader {
            client,
            tables: destinations,
            settled,
            gates,
            lock_positions,
            compare_positions,
            fingerprints,
            lock,
            plan,
            reread,
            charset,
            pulse,
        })
    }

    /// Writes a batch, and says what came of it.
    ///
    /// # Errors
    /// Nothing of the batch is written then, unless the commit itself got no answer: the position tells.
    pub(super) async fn write(&mut self, batch: &Batch, partitions: &[Placed]) -> Result<Done, Trouble> {
        let result = self.transact(batch, partitions).await;
        let Err(trouble) = result else { return result };
        if !self.client.is_closed() {
            self.pulse.beat();
            // It may be one that was never begun, or a connection that is just going.
            let _ = self.client.batch_execute("rollback").await;
        }
        Err(locks::explained(&self.client, &self.plan, &self.pulse, trouble).await)
    }

    /// How long locks may be waited for from here on.
    ///
    /// # Errors
    /// The connection's.
    pub(super) async fn wait_within(&self, limit: Duration) -> Result<(), Trouble> {
        locks::wait_within(&self.client, limit).await
    }

    async fn transact(&mut self, batch: &Batch, partitions: &[Placed]) -> Result<Done, Trouble> {
        self.begin(batch, partitions).await?;
        self.pulse.beat();
        let mut done = Done { rejected: batch.rejected.clone(), ..Done::default() };
        for at in 0..self.tables.len() {
            let rows = &batch.tables[at];
            if rows.origins.is_empty() {
                done.rows.push(0);
                continue;
            }
            let filling = Filling {
                client: &self.client,
                pulse: &self.pulse,
                destination: &mut self.tables[at],
                rows,
                partitions,
                rejected: (self.plan.on_error != OnError::Fail).then_some(&mut done.rejected),
                has_index: false,
            };
            done.rows.push(filling.fill().await?);
        }
        if self.tables.iter().any(|destination| destination.table.is_partitioned) {
            // A partition may have been attached meanwhile; those that got rows stay as they are until the end.
            self.compare(&self.fingerprints().await?)?;
            self.pulse.beat();
        }
        if matches!(self.plan.on_error, OnError::RejectTable | OnError::DeadLetter(_)) {
            self.pulse.resting(self.reread.complete(&mut done.rejected, partitions)).await?;
        }
        if self.plan.on_error == OnError::RejectTable {
            self.insert_rejected(&done.rejected, partitions).await?;
            self.pulse.beat();
        }
        self.move_positions(batch, partitions, &done.rejected).await?;
        Ok(done)
    }

    /// Ends the transaction. Apart from [`Loader::write`], since dead letters are sent before.
    ///
    /// # Errors
    /// It did not commit, or nobody knows.
    pub(super) async fn commit(&mut self, batch: &Batch, partitions: &[Placed]) -> Result<(), Trouble> {
        self.client.batch_execute("commit").await.map_err(|error| {
            let origins: Vec<Origin> =
                batch.tables.iter().flat_map(|rows| rows.origins.iter().copied()).collect();
            Trouble::postgres("committing", &error).at(&span(&origins, partitions))
        })?;
        for moved in &batch.moves {
            self.settled[moved.partition] = moved.to;
        }
        Ok(())
    }

    async fn begin(&self, batch: &Batch, partitions: &[Placed]) -> Result<(), Trouble> {
        let mut is_locked = vec![false; partitions.len()];
        batch.moves.iter().map(|moved| moved.partition).chain(self.gates.iter().copied()).for_each(|at| {
            is_locked[at] = true;
        });
        let (targets, topics, indexes) = self
            .keys(partitions.iter().zip(&is_locked).filter_map(|(it, is_locked)| is_locked.then_some(it)));
        let (all_targets, all_topics, all_indexes) = self.keys(partitions.iter());
        let to_lock: [&(dyn ToSql + Sync); 3] = [&targets, &topics, &indexes];
        let to_compare: [&(dyn ToSql + Sync); 4] = [&all_targets, &all_topics, &all_indexes, &self.settled];
        // Sent together: one wait for all four.
        let (begun, fingerprints, held, differing) = tokio::join!(
            self.client.batch_execute(&self.lock),
            self.fingerprints(),
            self.client.query(&self.lock_positions, &to_lock),
            self.client.query(&self.compare_positions, &to_compare),
        );
        if let Err(error) = begun {
            let is_gone = error.code().is_some_and(|code| code.code() == "42P01");
            return Err(match is_gone {
                true => Trouble::TableChanged(format!("a table is gone: {}", reason(&error))),
                false => Trouble::postgres("beginning a transaction", &error),
            });
        }
        self.compare(&fingerprints?)?;
        let failed = |error: tokio_postgres::Error| at_positions("reading kcopy.offsets", &error);
        held.map_err(failed)?;
        let differing: HashMap<usize, Option<i64>> = differing
            .map_err(failed)?
            .iter()
            .map(|row| (row.get::<_, i64>(0) as usize - 1, row.get(1)))
            .collect();
        for moved in &batch.moves {
            if let Some(now) = differing.get(&moved.partition) {
                let expected = format!("offsets {} to {} were to be loaded", moved.from, moved.to - 1);
                return Err(fenced(&partitions[moved.partition], &expected, *now));
            }
        }
        for (at, now) in differing {
            // One that is gone was given up with its partition, by another worker perhaps.
            if now.is_some() {
                let expected = format!("{} is the next offset to load", self.settled[at]);
                return Err(fenced(&partitions[at], &expected, now));
            }
        }
        Ok(())
    }

    /// The keys of positions, column by column.
    fn keys<'a>(&self, partitions: impl Iterator<Item = &'a Placed>) -> (Vec<u32>, Vec<&'a str>, Vec<i32>) {
        let (mut targets, mut topics, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
        for placed in partitions {
            targets.push(self.oid(placed));
            topics.push(&*placed.assigned.topic);
            indexes.push(placed.assigned.partition);
        }
        (targets, topics, indexes)
    }

    async fn fingerprints(&self) -> Result<Vec<Row>, Trouble> {
        let found = self.client.query(&self.fingerprints, &[]).await;
        found.map_err(|error| Trouble::postgres("looking at the tables", &error))
    }

    /// Are the tables what they were?
    fn compare(&self, fingerprints: &[Row]) -> Result<(), Trouble> {
        for (destination, row) in self.tables.iter().zip(fingerprints) {
            let is_same: Option<bool> = row.get(0);
            let fingerprint: Option<String> = row.get(1);
            let table = &destination.table;
            if is_same != Some(true) {
                return Err(Trouble::Final(format!(
                    "table {} was dropped or renamed while it was loaded, and made anew: the positions are those of \
                     the old one",
                    table.name
                )));
            }
            if fingerprint.as_deref() != Some(&table.fingerprint) {
                return Err(Trouble::TableChanged(format!(
                    "the columns of table {} have changed",
                    table.name
                )));
            }
        }
        Ok(())
    }

    fn oid(&self, placed: &Placed) -> u32 {
        self.tables[placed.assigned.table].table.oid
    }

    async fn insert_rejected(&self, rejected: &[Rejected], partitions: &[Placed]) -> Result<(), Trouble> {
        let insert = "insert into kcopy.rejected(target, topic, partition, \"offset\", key, value, reason) \
                      select * from unnest($1::oid[], $2::text[], $3::int4[], $4::int8[], $5::bytea[], $6::bytea[], \
                      $7::text[])";
        if rejected.is_empty() {
            return Ok(());
        }
        let assigned = |it: &Rejected| &partitions[it.partition].assigned;
        let targets: Vec<u32> = rejected.iter().map(|it| self.oid(&partitions[it.partition])).collect();
        let topics: Vec<&str> = rejected.iter().map(|it| &*assigned(it).topic).collect();
        let indexes: Vec<i32> = rejected.iter().map(|it| assigned(it).partition).collect();
        let offsets: Vec<i64> = rejected.iter().map(|it| it.offset).collect();
        let contents = || rejected.iter().map(|it| it.content.as_deref());
        let keys: Vec<Option<&[u8]>> = contents().map(|it| it?.key.as_deref()).collect();
        let values: Vec<Option<&[u8]>> = contents().map(|it| it?.value.as_deref()).collect();
        let reasons: Vec<String> = rejected.iter().map(|it| self.charset.fit(&it.reason)).collect();
        let inserted = self
            .client
            .execute(insert, &[&targets, &topics, &indexes, &offsets, &keys, &values, &reasons])
            .await;
        inserted.map(|_| ()).map_err(|error| at_positions("writing kcopy.rejected", &error))
    }

    /// The compare-and-set: each position moves from where this batch began, or nothing does.
    async fn move_positions(
        &self,
        batch: &Batch,
        partitions: &[Placed],
        rejected: &[Rejected],
    ) -> Result<(), Trouble> {
        let update = "update kcopy.offsets o set next_offset = m.new, leader_epoch = coalesce(m.epoch, o.leader_epoch), \
                      rows = o.rows + m.rows, updated_at = pg_catalog.clock_timestamp() \
                      from unnest($1::oid[], $2::text[], $3::int4[], $4::int8[], $5::int8[], $6::int4[], $7::int8[]) \
                      m(target, topic, partition, old, new, epoch, rows) \
                      where o.target = m.target and o.topic = m.topic and o.partition = m.partition \
                      and o.next_offset = m.old";
        let moves = &batch.moves;
        let (targets, topics, indexes) = self.keys(moves.iter().map(|it| &partitions[it.partition]));
        let from: Vec<i64> = moves.iter().map(|it| it.from).collect();
        let to: Vec<i64> = moves.iter().map(|it| it.to).collect();
        let epochs: Vec<Option<i32>> = moves.iter().map(|it| it.leader_epoch).collect();
        let late = &rejected[batch.rejected.len()..];
        let refused = |at: usize| late.iter().filter(|it| it.partition == at).count() as i64;
        let rows: Vec<i64> = moves.iter().map(|it| it.rows - refused(it.partition)).collect();
        let updated =
            self.client.execute(update, &[&targets, &topics, &indexes, &from, &to, &epochs, &rows]).await;
        match updated {
            Ok(count) if count == moves.len() as u64 => Ok(()),
            Ok(count) => Err(Trouble::Final(format!(
                "{count} of {} positions in kcopy.offsets moved: nothing of the batch was written",
                moves.len()
            ))),
            Err(error) => Err(at_positions("moving the positions in kcopy.offsets", &error)),
        }
    }
}

fn fenced(placed: &Placed, expected: &str, now: Option<i64>) -> Trouble {
    let assigned = &placed.assigned;
    let found = match now {
        None => "is gone".to_owned(),
        Some(now) => format!("stands at {now}"),
    };
    Trouble::Final(format!(
        "{} [{}]: {expected}, and its position in kcopy.offsets {found}: another loader \
         loads the same partition into the same table, or somebody has moved the position; nothing of this batch was \
         written",
        assigned.topic, assigned.partition
    ))
}
