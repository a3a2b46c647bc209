//! One batch, one transaction: positions are locked and compared, rows copied, positions moved.
//!
//! ```text
//! begin; lock the tables        nothing can change them from here on
//! are they what they were?      if not, nothing is written, and they are looked at again
//! positions for update          each must be where it was left, moved or not: a second loader is noticed here
//! copy, merge                   rows
//! insert rejected records
//! positions set                 compare-and-set, each exactly one row
//! commit
//! ```

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_postgres::{Row, Statement};

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

/// A connection that is ready to load.
pub(super) struct Loader {
    client: Session,
    tables: Vec<Destination>,
    /// Where each partition stands, as far as this loader has moved it.
    settled: Vec<i64>,
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
        Ok(Loader { client, tables: destinations, settled, fingerprints, lock, plan, reread, charset, pulse })
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
        // All of them, also those that do not move: of two loaders the one that commits first goes on then. Were each to
        // find only what it moves itself, both could find the other's moves, and both would end.
        let targets: Vec<u32> = partitions.iter().map(|it| self.oid(it)).collect();
        let topics: Vec<&str> = partitions.iter().map(|it| &*it.assigned.topic).collect();
        let indexes: Vec<i32> = partitions.iter().map(|it| it.assigned.partition).collect();
        // In one order for all, so that two loaders wait for each other and never both.
        let positions = "select o.target::oid, o.topic, o.partition, o.next_offset from kcopy.offsets o \
                         join unnest($1::oid[], $2::text[], $3::int4[]) w(target, topic, partition) \
                         on o.target = w.target and o.topic = w.topic and o.partition = w.partition \
                         order by 1, 2, 3 for update of o";
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&targets, &topics, &indexes];
        // Sent together: one wait for all three.
        let (begun, fingerprints, stored) = tokio::join!(
            self.client.batch_execute(&self.lock),
            self.fingerprints(),
            self.client.query(positions, &parameters),
        );
        if let Err(error) = begun {
            let is_gone = error.code().is_some_and(|code| code.code() == "42P01");
            return Err(match is_gone {
                true => Trouble::TableChanged(format!("a table is gone: {}", reason(&error))),
                false => Trouble::postgres("beginning a transaction", &error),
            });
        }
        self.compare(&fingerprints?)?;
        let stored = stored.map_err(|error| at_positions("reading kcopy.offsets", &error))?;
        let stored: HashMap<(u32, &str, i32), i64> =
            stored.iter().map(|row| ((row.get(0), row.get(1), row.get(2)), row.get(3))).collect();
        let now = |placed: &Placed| {
            let assigned = &placed.assigned;
            stored.get(&(self.oid(placed), &*assigned.topic, assigned.partition)).copied()
        };
        for moved in &batch.moves {
            let placed = &partitions[moved.partition];
            if now(placed) != Some(moved.from) {
                return Err(fenced(
                    placed,
                    &format!("offsets {} to {} were to be loaded", moved.from, moved.to - 1),
                    now(placed),
                ));
            }
        }
        for (placed, &left) in partitions.iter().zip(&self.settled) {
            // One that is gone is given up with its partition, by another worker too.
            if now(placed).is_some_and(|now| now != left) {
                return Err(fenced(placed, &format!("{left} is the next offset to load"), now(placed)));
            }
        }
        Ok(())
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
        let assigned = |partition: usize| &partitions[partition].assigned;
        let targets: Vec<u32> = moves.iter().map(|it| self.oid(&partitions[it.partition])).collect();
        let topics: Vec<&str> = moves.iter().map(|it| &*assigned(it.partition).topic).collect();
        let indexes: Vec<i32> = moves.iter().map(|it| assigned(it.partition).partition).collect();
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
