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
    encode::RowEncoder,
    positions::Placed,
    postgres::connect::reason,
    pulse::Pulse,
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

/// Why rows were not written.
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
        let failed = |error: tokio_postgres::Error| -> Fault {
            match place_of(&error, goal) {
                Some((line, rest)) if line >= 1 && line <= until - from => {
                    let row = from + line - 1;
                    let bytes = &self.rows.bytes[self.rows.span(row, row + 1)];
                    let field = field_of(&destination.encoder, bytes, rest);
                    Fault::Row { row, reason: described(field, &reason(&error)) }
                }
                _ => fault(&doing, &error, Some(goal), from, until),
            }
        };
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
        merged.map_err(|error| match fault(&doing, &error, None, from, until) {
            Fault::Row { row, reason } => {
                let bytes = &self.rows.bytes[self.rows.span(row, row + 1)];
                let field = field_of_domain(&self.destination.encoder, bytes, &error);
                Fault::Row { row, reason: described(field, &reason) }
            }
            other => other,
        })?;
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

/// What an error that names no line says of rows. `goal` is what COPY fills.
fn fault(doing: &str, error: &tokio_postgres::Error, goal: Option<&str>, from: usize, until: usize) -> Fault {
    if !is_about_data(error, goal) {
        return Fault::Trouble(Trouble::postgres(doing, error));
    }
    match until - from {
        1 => Fault::Row { row: from, reason: reason(error) },
        _ => Fault::OneOf { reason: format!("{doing}: {}", reason(error)) },
    }
}

/// The row that an error of COPY is about, and what comes behind: `COPY orders, line 3, column id: "x"`, or other words in
/// place of `line` and `column` where the server speaks another language. The value is the record's own, and may look like
/// this as well.
fn place_of<'a>(error: &'a tokio_postgres::Error, goal: &str) -> Option<(usize, &'a str)> {
    if !is_about_data(error, Some(goal)) {
        return None;
    }
    place_in(error.as_db_error()?.where_()?, goal)
}

fn place_in<'a>(context: &'a str, goal: &str) -> Option<(usize, &'a str)> {
    let start = format!("COPY {goal}, ");
    // A trigger's context comes before COPY's.
    let place = context.lines().find_map(|line| line.strip_prefix(&start))?;
    let (_, number) = place.split_once(' ')?;
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    Some((number[..digits].parse().ok()?, &number[digits..]))
}

/// The column that is named behind the line of an error of COPY: its place and its name.
fn column_in<'a>(rest: &str, names: impl Iterator<Item = &'a str>) -> Option<(usize, &'a str)> {
    let (_, named) = rest.strip_prefix(", ")?.split_once(' ')?;
    // A name may begin with another one, and have whatever follows one in it.
    let is_named = |name: &str| {
        named.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ' ']))
    };
    names.enumerate().filter(|(_, name)| is_named(name)).max_by_key(|(_, name)| name.len())
}

/// The column of a row that an error is about, with its type and its value.
fn field_of(encoder: &RowEncoder, row: &[u8], rest: &str) -> Option<(String, Option<String>)> {
    let (at, name) = column_in(rest, encoder.columns().map(|(name, _)| name))?;
    let (_, declared) = encoder.columns().nth(at)?;
    Some((format!("column {name} of type {declared}"), encoder.excerpt(row, at)))
}

/// The column of a row that a domain's constraint is about, as far as only one column can be meant.
fn field_of_domain(
    encoder: &RowEncoder,
    row: &[u8],
    error: &tokio_postgres::Error,
) -> Option<(String, Option<String>)> {
    let domain = error.as_db_error()?.datatype()?;
    let is_of_domain = |declared: &str| {
        let declared = declared.trim_end_matches("[]").rsplit('.').next().unwrap_or(declared);
        declared.trim_matches('"') == domain
    };
    let mut columns = encoder.columns().enumerate().filter(|(_, (_, declared))| is_of_domain(declared));
    let (Some((at, (name, declared))), None) = (columns.next(), columns.next()) else { return None };
    Some((format!("column {name} of type {declared}"), encoder.excerpt(row, at)))
}

/// What PostgreSQL says, with the column and the value if it does not show that itself.
fn described(field: Option<(String, Option<String>)>, reason: &str) -> String {
    match field {
        None => reason.to_owned(),
        Some((column, Some(value))) if !reason.contains(&format!("\"{value}\"")) => {
            format!("{column}: {value:?}: {reason}")
        }
        Some((column, _)) => format!("{column}: {reason}"),
    }
}

/// Whether an error can be one of the row: all but those of the session, the server and its surroundings.
fn is_about_data(error: &tokio_postgres::Error, goal: Option<&str>) -> bool {
    // 08 connections, 25 and 2D transaction states, 26 statements that a pooler has lost, 28 and 3D who and where,
    // 3B savepoints, 40 rollbacks, 53 resources, 55 states of objects, locks among them, 57 the operator, 58 the
    // system, F0 its files, XX the server itself.
    const OTHERS: [&str; 14] =
        ["08", "25", "26", "28", "2D", "3B", "3D", "40", "53", "55", "57", "58", "F0", "XX"];
    let Some(error) = error.as_db_error() else { return false };
    let code = error.code().code();
    if code == "42501" {
        // A right is missing for every row, unless it is a policy that looks at each.
        return error.routine() == Some("ExecWithCheckOptions");
    }
    if code.starts_with("42") {
        // A value may be no name of anything there is. Where COPY itself does not say so, it is a trigger, or the table,
        // that is wrong for all rows.
        let context = error.where_().unwrap_or_default();
        // In some languages the table comes first.
        let is_alone = !context.contains('\n');
        return goal.is_some_and(|goal| {
            context.starts_with(&format!("COPY {goal}, ")) || is_alone && context.contains(goal)
        });
    }
    !OTHERS.iter().any(|class| code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::{column_in, described, place_in};

    #[test]
    fn line_and_column_are_found_behind_any_word() {
        let names = ["id", "id x", "i: d"];
        for (context, expected) in [
            ("COPY t, line 3, column id: \"x\"", Some((3, Some("id")))),
            ("COPY t, line 3, column id", Some((3, Some("id")))),
            ("COPY t, line 3, column id x: null input", Some((3, Some("id x")))),
            ("COPY t, line 3, column i: d: \"1\"", Some((3, Some("i: d")))),
            ("COPY t, line 3, column other", Some((3, None))),
            ("COPY t, Zeile 12, Spalte id: \u{bb}x\u{ab}", Some((12, Some("id")))),
            ("COPY t, ligne 12, colonne id : \u{ab} x \u{bb}", Some((12, Some("id")))),
            ("PL/pgSQL function f() line 7 at RAISE\nCOPY t, line 4: \"COPY t, line 9\"", Some((4, None))),
            ("COPY other, line 3", None),
            ("COPY t", None),
        ] {
            let found = place_in(context, "t");
            let found =
                found.map(|(line, rest)| (line, column_in(rest, names.into_iter()).map(|(_, name)| name)));
            assert_eq!(found, expected, "{context}");
        }
    }

    #[test]
    fn a_value_is_shown_once() {
        let field = |value: Option<&str>| Some(("column d of type p".to_owned(), value.map(str::to_owned)));
        for (field, reason, expected) in [
            (field(Some("-5")), "violates p", "column d of type p: \"-5\": violates p"),
            (field(Some("zz")), "invalid: \"zz\"", "column d of type p: invalid: \"zz\""),
            (field(None), "no NULL", "column d of type p: no NULL"),
            (None, "raised", "raised"),
        ] {
            assert_eq!(described(field, reason), expected);
        }
    }
}
