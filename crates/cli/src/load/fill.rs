//! The rows of one table, within a transaction: copied, and moved out of the stage where there is one.
//!
//! A row that PostgreSQL refuses is found by trying smaller and smaller pieces, each behind a savepoint. COPY says on which
//! line it stopped; what moves rows out of the stage does not.

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tokio_postgres::{Client, Statement};

use super::{
    batch::{Origin, Rejected, TableRows},
    destination::{Destination, Stage},
    positions::Placed,
    pulse::Pulse,
    refusal::{Fault, Sent},
    trouble::Trouble,
};

/// What goes into the connection's queue at once.
const BLOCK_BYTES: usize = 256 << 10;
/// How many rows are copied together at first after one was refused.
const CAREFUL_ROWS: usize = 64;

/// See the module.
pub(super) struct Filling<'a> {
    pub(super) client: &'a Client,
    pub(super) pulse: &'a Pulse,
    pub(super) destination: &'a mut Destination,
    pub(super) rows: &'a TableRows,
    pub(super) partitions: &'a [Placed],
    /// Where refused records go; the first one ends it where there is no such place.
    pub(super) rejected: Option<&'a mut Vec<Rejected>>,
    /// Whether pieces of the stage are found by an index.
    pub(super) has_index: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Into the table, or into its stage.
    Copy,
    /// Out of the stage.
    Merge,
}

impl Filling<'_> {
    /// Says how many rows were written.
    ///
    /// # Errors
    /// A row that PostgreSQL refuses, where none may be left out, or another trouble: the transaction is good for
    /// nothing then.
    pub(super) async fn fill(mut self) -> Result<u64, Trouble> {
        let before = self.rejected.as_ref().map_or(0, |rejected| rejected.len());
        let count = self.rows.origins.len();
        let copied = match self.rejected {
            Some(_) => self.carefully(Step::Copy, 0, count).await?,
            None => self.strictly().await?,
        };
        if self.destination.stage.is_none() {
            return Ok(copied);
        }
        // Carefully in any case: what is right row by row need not be so for all rows at once, as when a key gives a value
        // free that another one takes.
        let mut from = 0;
        if self.destination.table.deletes_reach_further {
            // What is deleted with a row depends on what the others are by then: one after the other.
            for &turn in &self.rows.turns {
                self.carefully(Step::Merge, from, turn).await?;
                from = turn;
            }
        }
        self.carefully(Step::Merge, from, count).await?;
        let Some(rejected) = self.rejected else { return Ok(copied) };
        let refused = &mut rejected[before..];
        refused.sort_by_key(|it| (it.partition, it.offset));
        Ok((count - refused.len()) as u64)
    }

    /// All rows at once, or none.
    async fn strictly(&mut self) -> Result<u64, Trouble> {
        let origins = &self.rows.origins;
        match self.copy(0, origins.len()).await {
            Ok(copied) => Ok(copied),
            Err(Fault::Trouble(trouble)) => Err(trouble.at(&span(origins, self.partitions))),
            Err(Fault::Row { row, reason }) => {
                Err(Trouble::Final(format!("{}: {reason}", self.place(&origins[row]))))
            }
            Err(Fault::OneOf { reason }) => {
                Err(Trouble::Final(reason).at(&format!("one of {}", span(origins, self.partitions))))
            }
        }
    }

    /// As much as possible at once; around a row that is refused in smaller and growing pieces.
    async fn carefully(&mut self, by: Step, mut from: usize, end: usize) -> Result<u64, Trouble> {
        // Where no line is named each failure costs as much as a success: small steps find a row sooner.
        let (first_step, growth) = if by == Step::Copy { (CAREFUL_ROWS, 4) } else { (1, 2) };
        let (mut step, mut written) = (end - from, 0);
        // What was wrong with all of them together.
        let mut as_a_whole = None;
        // The row that PostgreSQL has named: what is before it is tried without it, and then it alone.
        let mut suspect: Option<usize> = None;
        while from < end {
            let until = suspect.map_or(end.min(from.saturating_add(step)), |row| row.max(from + 1));
            let fault = match self.attempt(by, from, until).await {
                Ok(rows) => {
                    written += rows;
                    from = until;
                    step = step.saturating_mul(growth);
                    suspect = suspect.filter(|row| *row >= from);
                    continue;
                }
                Err(Fault::Trouble(trouble)) => {
                    return Err(trouble.at(&span(&self.rows.origins[from..until], self.partitions)));
                }
                Err(fault) => fault,
            };
            // A savepoint is still there when it was rolled back to: the next one would be within it, and each such level
            // holds a lock until the end.
            self.execute("rollback to savepoint rows; release savepoint rows").await?;
            suspect = None;
            match fault {
                Fault::Row { reason, .. } if until - from == 1 => {
                    self.refuse(from, &reason)?;
                    from += 1;
                    step = first_step;
                }
                Fault::Row { row, .. } => suspect = Some(row),
                Fault::OneOf { reason } => {
                    as_a_whole.get_or_insert(reason);
                    step = (until - from).div_ceil(2);
                }
                Fault::Trouble(trouble) => return Err(trouble),
            }
        }
        match as_a_whole {
            // Each by itself is right: only an upsert says that they come one after the other.
            Some(reason) if self.rejected.is_none() && !self.destination.is_upsert => {
                Err(Trouble::Final(reason)
                    .at(&format!("one of {}", span(&self.rows.origins, self.partitions))))
            }
            _ => Ok(written),
        }
    }

    fn refuse(&mut self, row: usize, reason: &str) -> Result<(), Trouble> {
        let origin = self.rows.origins[row];
        let reason = format!("{}: {reason}", self.place(&origin));
        let Some(rejected) = &mut self.rejected else { return Err(Trouble::Final(reason)) };
        let Origin { partition, offset, epoch, .. } = origin;
        rejected.push(Rejected { partition: partition as usize, offset, epoch, content: None, reason });
        Ok(())
    }

    /// Writes rows behind a savepoint. It is still there where they were refused.
    async fn attempt(&mut self, by: Step, from: usize, until: usize) -> Result<u64, Fault> {
        if by == Step::Merge {
            return self.merge(from, until).await;
        }
        self.execute("savepoint rows").await?;
        let copied = self.copy(from, until).await?;
        self.execute("release savepoint rows").await?;
        Ok(copied)
    }

    async fn copy(&mut self, from: usize, until: usize) -> Result<u64, Fault> {
        let (mut begin, mut trailer) = (Vec::with_capacity(64), Vec::with_capacity(8));
        self.destination.encoder.begin(&mut begin);
        self.destination.encoder.finish(&mut trailer);
        let destination = &*self.destination;
        let doing = format!("copying into {}", destination.table.name);
        let goal = &destination.goal;
        let sent_rows = Sent { encoder: &destination.encoder, rows: self.rows, from, until };
        let failed = |error: tokio_postgres::Error| sent_rows.refused_by_copy(&doing, goal, &error);
        // Not about any row: none was sent.
        let sink = self.client.copy_in::<_, Bytes>(&destination.copy).await;
        let sink = sink.map_err(|error| Trouble::postgres(&doing, &error))?;
        pin_mut!(sink);
        sink.feed(Bytes::from(begin)).await.map_err(failed)?;
        let bytes = self.rows.bytes.slice(self.rows.span(from, until));
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
        if !trailer.is_empty() && sent == bytes.len() {
            // As above.
            let _ = sink.feed(Bytes::from(trailer)).await;
        }
        let copied = sink.finish().await.map_err(failed)?;
        self.pulse.beat();
        Ok(copied)
    }

    /// Moves rows out of the stage, as far as they came into it.
    async fn merge(&mut self, from: usize, until: usize) -> Result<u64, Fault> {
        let table = &self.destination.table.name;
        let doing = format!("moving rows from the stage into {table}");
        let Some(stage) = &mut self.destination.stage else { return Ok(0) };
        let failed = |error: tokio_postgres::Error| Trouble::postgres(&doing, &error);
        let is_whole = from == 0 && until == self.rows.origins.len();
        if !is_whole && !self.has_index {
            self.client.batch_execute(&stage.index).await.map_err(failed)?;
            self.has_index = true;
        }
        let piece = match is_whole {
            true => None,
            false => Some(prepared(self.client, stage).await.map_err(failed)?),
        };
        let bounds = [from as i64, until as i64 - 1];
        let merge = async {
            match &piece {
                None => self.client.execute(&stage.merge, &[]).await,
                Some(statement) => self.client.execute(statement, &[&bounds[0], &bounds[1]]).await,
            }
        };
        // Sent together: one wait for all three. The last one fails with the one before it.
        let (begun, merged, released) = tokio::join!(
            self.client.batch_execute("savepoint rows"),
            merge,
            self.client.batch_execute("release savepoint rows"),
        );
        self.pulse.beat();
        begun.map_err(failed)?;
        let sent = Sent { encoder: &self.destination.encoder, rows: self.rows, from, until };
        merged.map_err(|error| sent.refused_by_table(&doing, &error))?;
        released.map_err(failed)?;
        Ok((until - from) as u64)
    }

    fn place(&self, origin: &Origin) -> String {
        let assigned = &self.partitions[origin.partition as usize].assigned;
        let table = &self.destination.table.name;
        format!("{} [{}] offset {}: table {table}", assigned.topic, assigned.partition, origin.offset)
    }

    async fn execute(&self, sql: &str) -> Result<(), Trouble> {
        let done = self.client.batch_execute(sql).await.map_err(|error| Trouble::postgres(sql, &error));
        self.pulse.beat();
        done
    }
}

/// What merges a piece, prepared when it is needed for the first time.
async fn prepared(client: &Client, stage: &mut Stage) -> Result<Statement, tokio_postgres::Error> {
    if let Some(statement) = &stage.piece {
        return Ok(statement.clone());
    }
    let statement = client.prepare(&stage.merge_piece).await?;
    Ok(stage.piece.insert(statement).clone())
}

/// The records of rows, by their partitions: `orders [0] offsets 5 to 9`.
pub(super) fn span(origins: &[Origin], partitions: &[Placed]) -> String {
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
