//! One batch, one transaction: positions are locked and compared, rows copied, positions moved.
//!
//! ```text
//! begin; lock the tables        nothing can change them from here on
//! are they what they were?      if not, nothing is written, and they are looked at again
//! positions for update          each must be where this batch begins: a second loader is noticed here
//! copy, merge                   rows
//! insert rejected records
//! positions set                 compare-and-set, each exactly one row
//! commit
//! ```

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tokio_postgres::Statement;

use super::{
    batch::{Batch, Origin, Rejected, TableRows},
    catalog::{self, Table},
    destination::Destination,
    encode::Layout,
    locks,
    positions::{Placed, at_positions},
    postgres::connect::{Session, reason},
    pulse::Pulse,
    rejects::Reread,
    session::Charset,
    trouble::Trouble,
};
use crate::plan::{Load, OnError};

/// What goes into the connection's queue at once.
const BLOCK_BYTES: usize = 256 << 10;
/// How many rows are tried together at first after one was refused.
const CAREFUL_ROWS: usize = 64;

/// A connection that is ready to load.
pub(super) struct Loader {
    client: Session,
    tables: Vec<Destination>,
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

/// Why a transaction did not happen.
enum Fault {
    Trouble(Trouble),
    /// PostgreSQL refuses one row.
    Row {
        row: usize,
        reason: String,
    },
    /// It refuses one of several, and does not say which.
    OneOf {
        reason: String,
    },
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Fault {
        Fault::Trouble(trouble)
    }
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
        Ok(Loader { client, tables: destinations, fingerprints, lock, plan, reread, charset, pulse })
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
            done.rows.push(match rows.origins.is_empty() {
                true => 0,
                false => self.fill(at, rows, partitions, &mut done.rejected).await?,
            });
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
        })
    }

    async fn begin(&self, batch: &Batch, partitions: &[Placed]) -> Result<(), Trouble> {
        let moves = &batch.moves;
        let targets: Vec<u32> = moves.iter().map(|it| self.oid(&partitions[it.partition])).collect();
        let topics: Vec<&str> = moves.iter().map(|it| &*partitions[it.partition].assigned.topic).collect();
        let indexes: Vec<i32> = moves.iter().map(|it| partitions[it.partition].assigned.partition).collect();
        // In one order for all, so that two loaders wait for each other and never both.
        let positions = "select o.target::oid, o.topic, o.partition, o.next_offset from kcopy.offsets o \
                         join unnest($1::oid[], $2::text[], $3::int4[]) w(target, topic, partition) \
                         on o.target = w.target and o.topic = w.topic and o.partition = w.partition \
                         order by 1, 2, 3 for update of o";
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&targets, &topics, &indexes];
        // Sent together: one wait for all three.
        let (begun, fingerprints, stored) = tokio::join!(
            self.client.batch_execute(&self.lock),
            self.client.query(&self.fingerprints, &[]),
            self.client.query(positions, &parameters),
        );
        if let Err(error) = begun {
            let is_gone = error.code().is_some_and(|code| code.code() == "42P01");
            return Err(match is_gone {
                true => Trouble::TableChanged(format!("a table is gone: {}", reason(&error))),
                false => Trouble::postgres("beginning a transaction", &error),
            });
        }
        let fingerprints =
            fingerprints.map_err(|error| Trouble::postgres("looking at the tables", &error))?;
        for (destination, row) in self.tables.iter().zip(&fingerprints) {
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
        let stored = stored.map_err(|error| at_positions("reading kcopy.offsets", &error))?;
        for moved in moves {
            let placed = &partitions[moved.partition];
            let (oid, topic, index) = (self.oid(placed), &*placed.assigned.topic, placed.assigned.partition);
            let found = stored.iter().find(|row| {
                row.get::<_, u32>(0) == oid && row.get::<_, &str>(1) == topic && row.get::<_, i32>(2) == index
            });
            let now: Option<i64> = found.map(|row| row.get(3));
            if now != Some(moved.from) {
                return Err(fenced(placed, moved.from, moved.to, now));
            }
        }
        Ok(())
    }

    fn oid(&self, placed: &Placed) -> u32 {
        self.tables[placed.assigned.table].table.oid
    }

    /// Copies the rows of one table, and merges them where there is a stage.
    async fn fill(
        &mut self,
        at: usize,
        rows: &TableRows,
        partitions: &[Placed],
        rejected: &mut Vec<Rejected>,
    ) -> Result<u64, Trouble> {
        let count = rows.origins.len();
        if self.plan.on_error == OnError::Fail {
            return match self.copy(at, rows, 0, count).await {
                Ok(written) => Ok(written),
                Err(Fault::Trouble(trouble)) => Err(trouble.at(&span(&rows.origins, partitions))),
                Err(Fault::Row { row, reason }) => {
                    let origin = rows.origins[row];
                    Err(Trouble::Final(format!("{}: {reason}", self.place(&origin, partitions))))
                }
                Err(Fault::OneOf { reason }) => {
                    Err(Trouble::Final(reason).at(&format!("one of {}", span(&rows.origins, partitions))))
                }
            };
        }
        self.fill_carefully(at, rows, partitions, rejected).await
    }

    /// As much as possible at once; around a row that is refused in smaller and growing pieces.
    async fn fill_carefully(
        &mut self,
        at: usize,
        rows: &TableRows,
        partitions: &[Placed],
        rejected: &mut Vec<Rejected>,
    ) -> Result<u64, Trouble> {
        let count = rows.origins.len();
        let (mut from, mut step, mut written) = (0, count, 0);
        // The row that PostgreSQL has named: what is before it is tried without it, and then it alone.
        let mut suspect: Option<usize> = None;
        while from < count {
            let until = suspect.map_or(count.min(from.saturating_add(step)), |row| row.max(from + 1));
            self.execute("savepoint rows").await?;
            self.empty_stage(at).await?;
            let fault = match self.copy(at, rows, from, until).await {
                Ok(copied) => {
                    written += copied;
                    from = until;
                    step = step.saturating_mul(4);
                    suspect = suspect.filter(|row| *row >= from);
                    self.execute("release savepoint rows").await?;
                    continue;
                }
                Err(Fault::Trouble(trouble)) => {
                    return Err(trouble.at(&span(&rows.origins[from..until], partitions)));
                }
                Err(fault) => fault,
            };
            // A savepoint is still there when it was rolled back to: the next one would be within it, and each such level
            // holds a lock until the end.
            self.execute("rollback to savepoint rows; release savepoint rows").await?;
            suspect = None;
            match fault {
                Fault::Row { reason, .. } if until - from == 1 => {
                    let origin = rows.origins[from];
                    rejected.push(Rejected {
                        partition: origin.partition as usize,
                        offset: origin.offset,
                        content: None,
                        reason: format!("{}: {reason}", self.place(&origin, partitions)),
                    });
                    from += 1;
                    step = CAREFUL_ROWS;
                }
                Fault::Row { row, .. } => suspect = Some(row),
                _ => step = (until - from).div_ceil(2),
            }
        }
        Ok(written)
    }

    /// The stage may hold the piece before: all of them are in one transaction.
    async fn empty_stage(&self, at: usize) -> Result<(), Trouble> {
        match &self.tables[at].stage {
            None => Ok(()),
            Some((stage, _)) => self.execute(&format!("truncate {stage}")).await,
        }
    }

    fn place(&self, origin: &Origin, partitions: &[Placed]) -> String {
        let assigned = &partitions[origin.partition as usize].assigned;
        let table = &self.tables[assigned.table].table.name;
        format!("{} [{}] offset {}: table {table}", assigned.topic, assigned.partition, origin.offset)
    }

    async fn execute(&self, sql: &str) -> Result<(), Trouble> {
        let done = self.client.batch_execute(sql).await.map_err(|error| Trouble::postgres(sql, &error));
        self.pulse.beat();
        done
    }

    async fn copy(&mut self, at: usize, rows: &TableRows, from: usize, until: usize) -> Result<u64, Fault> {
        let destination = &mut self.tables[at];
        let doing = format!("copying into {}", destination.table.name);
        let failed = |error: tokio_postgres::Error| -> Fault {
            match line_of(&error, &destination.goal) {
                Some(line) if line >= 1 && line <= until - from => {
                    Fault::Row { row: from + line - 1, reason: reason(&error) }
                }
                _ if is_about_data(&error) => match until - from {
                    1 => Fault::Row { row: from, reason: reason(&error) },
                    _ => Fault::OneOf { reason: format!("{doing}: {}", reason(&error)) },
                },
                _ => Fault::Trouble(Trouble::postgres(&doing, &error)),
            }
        };
        // Not about any row: none was sent.
        let sink = self.client.copy_in::<_, Bytes>(&destination.copy).await;
        let sink = sink.map_err(|error| Trouble::postgres(&doing, &error))?;
        pin_mut!(sink);
        let mut begin = Vec::with_capacity(64);
        destination.encoder.begin(&mut begin);
        sink.feed(Bytes::from(begin)).await.map_err(failed)?;
        let span = rows.span(from, until);
        let bytes = rows.bytes.slice(span);
        let mut sent = 0;
        while sent < bytes.len() {
            let end = bytes.len().min(sent + BLOCK_BYTES);
            // An error of the server shows in `finish`, with its reason.
            if sink.feed(bytes.slice(sent..end)).await.is_err() {
                break;
            }
            sent = end;
            self.pulse.beat();
        }
        let mut trailer = Vec::with_capacity(8);
        destination.encoder.finish(&mut trailer);
        if !trailer.is_empty() && sent == bytes.len() {
            // As above.
            let _ = sink.feed(Bytes::from(trailer)).await;
        }
        let copied = sink.finish().await.map_err(failed)?;
        self.pulse.beat();
        let Some((_, merge)) = &destination.stage else { return Ok(copied) };
        let merged = self.client.execute(merge, &[]).await;
        self.pulse.beat();
        match merged {
            Ok(_) => Ok(copied),
            Err(error) => {
                let doing = format!("moving rows from the stage into {}", destination.table.name);
                // What row security refuses is a matter of the row.
                let is_refused = destination.table.has_row_security
                    && error.code().is_some_and(|code| code.code() == "42501");
                let is_about_data = is_refused || is_about_data(&error);
                Err(match until - from {
                    1 if is_about_data => Fault::Row { row: from, reason: reason(&error) },
                    _ if is_about_data => Fault::OneOf { reason: format!("{doing}: {}", reason(&error)) },
                    _ => Fault::Trouble(Trouble::postgres(&doing, &error)),
                })
            }
        }
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

/// The records of rows, by their partitions: `orders [0] offsets 5 to 9`.
fn span(origins: &[Origin], partitions: &[Placed]) -> String {
    /// More would hide the reason.
    const SHOWN: usize = 4;
    let mut ranges: Vec<(u32, i64, i64)> = Vec::new();
    for origin in origins {
        match ranges.iter_mut().find(|(partition, ..)| *partition == origin.partition) {
            Some((_, _, last)) => *last = origin.offset,
            None => ranges.push((origin.partition, origin.offset, origin.offset)),
        }
    }
    let shown = ranges.iter().take(SHOWN).map(|(partition, first, last)| {
        let assigned = &partitions[*partition as usize].assigned;
        format!("{} [{}] offsets {first} to {last}", assigned.topic, assigned.partition)
    });
    let more = ranges.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and of {more} more partitions") } else { String::new() };
    format!("{}{more}", shown.collect::<Vec<_>>().join(", "))
}

fn fenced(placed: &Placed, from: i64, to: i64, now: Option<i64>) -> Trouble {
    let assigned = &placed.assigned;
    let found = match now {
        None => "is gone".to_owned(),
        Some(now) => format!("stands at {now}"),
    };
    Trouble::Final(format!(
        "{} [{}]: offsets {from} to {} were to be loaded, and its position in kcopy.offsets {found}: another loader \
         loads the same partition into the same table, or somebody has moved the position; nothing of this batch was \
         written",
        assigned.topic,
        assigned.partition,
        to - 1
    ))
}

/// The row that an error of COPY is about: `COPY orders, line 3, column id: "x"`. The value is the record's own, and may
/// look like this as well.
fn line_of(error: &tokio_postgres::Error, goal: &str) -> Option<usize> {
    let error = error.as_db_error()?;
    if !is_data_code(error.code().code()) {
        return None;
    }
    // A trigger's context comes before COPY's.
    let start = format!("COPY {goal}, line ");
    let line = error.where_()?.lines().find_map(|line| line.strip_prefix(&start))?;
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    line[..digits].parse().ok()
}

fn is_about_data(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| is_data_code(code.code()))
}

/// Whether an error can be one of the row: all but those of the session, the server and its surroundings. 42501 is
/// a right that is missing for every row; where row security refuses a row is known elsewhere.
fn is_data_code(code: &str) -> bool {
    // 08 connections, 25 and 2D transaction states, 26 statements that a pooler has lost, 28 and 3D who and where,
    // 3B savepoints, 40 rollbacks, 53 resources, 55 states of objects, locks among them, 57 the operator, 58 the
    // system, F0 its files, XX the server itself.
    const OTHERS: [&str; 14] =
        ["08", "25", "26", "28", "2D", "3B", "3D", "40", "53", "55", "57", "58", "F0", "XX"];
    code != "42501" && !OTHERS.iter().any(|class| code.starts_with(class))
}
