//! Records into rows of one table.

use kcopy_client::wire::records::Record;
use kcopy_format::{
    Columns, Format, FormatOptions,
    columns::{Column, Path, PathRoot, Source, Type},
    error::excerpt,
    write::{RecordContext, RecordWriter},
};

use super::catalog::{Table, TableColumn, quoted};
use crate::plan::{Load, Mode};

/// Writes the rows of one table.
pub(super) struct RowEncoder {
    writer: RecordWriter,
    format: Format,
    columns: Vec<Filled>,
    types: Vec<Type>,
    refuses_nulls: bool,
    stage: Option<StageColumns>,
    /// The next row's place in its batch.
    ordinal: i64,
    /// Whether the row before is a tombstone's, and where in the batch that has changed.
    in_tombstones: bool,
    turns: Vec<usize>,
}

/// What a stage holds beside the table's own columns. Their names are none of the table's.
#[derive(Debug, Clone)]
pub(super) struct StageColumns {
    /// Numbers the rows as they come. Where a row lies in the stage says nothing: a small one may fill a page before
    /// those that came earlier.
    pub(super) ordinal: String,
    /// Says whether the record is a tombstone.
    pub(super) tombstone: Option<String>,
}

impl StageColumns {
    fn new(plan: &Load, table: &Table) -> StageColumns {
        let free = |name: &str| {
            let mut name = name.to_owned();
            while table.column(&name).is_some() {
                name.push('_');
            }
            name
        };
        StageColumns {
            ordinal: free("kcopy_ordinal"),
            tombstone: plan.deletes_on_tombstone.then(|| free("kcopy_tombstone")),
        }
    }

    /// Their names, quoted, each after a comma.
    pub(super) fn list(&self) -> String {
        let tombstone = self.tombstone.iter().map(|name| format!(", {}", quoted(name)));
        format!(", {}{}", quoted(&self.ordinal), tombstone.collect::<String>())
    }

    /// Their definitions for `create table as select`, each after a comma.
    pub(super) fn definitions(&self) -> String {
        let tombstone = self.tombstone.iter().map(|name| format!(", false as {}", quoted(name)));
        format!(", 0::int8 as {}{}", quoted(&self.ordinal), tombstone.collect::<String>())
    }
}

/// A column that is filled.
#[derive(Debug, Clone)]
struct Filled {
    name: String,
    /// The type as it was declared.
    declared: String,
    /// NULL is refused here. PostgreSQL asks only once triggers have had the row: where there are any it is left to it.
    refuses_null: bool,
    /// The same in tombstones, and before triggers: an upsert goes by its key.
    is_key: bool,
    has_default: bool,
}

/// How a table is filled.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// What each column is filled from.
    columns: Columns,
    filled: Vec<Filled>,
    /// Binary, unless a column has no binary form.
    pub(super) format: Format,
    /// Rows go into a temporary table first: upserts, and where COPY would not obey row security.
    pub(super) stage: Option<StageColumns>,
}

impl Layout {
    /// From `--columns`, or else the table's own columns.
    ///
    /// # Errors
    /// A column that is not there or cannot be written, or a type that the source cannot have.
    pub(super) fn new(plan: &Load, table: &Table) -> Result<Layout, String> {
        let wrong = |error: String| format!("table {}: {error}", table.name);
        let (columns, filled) = match &plan.columns {
            None => own_columns(table, plan.mode),
            Some(columns) => named_columns(columns, table, plan.mode),
        }
        .map_err(wrong)?;
        let format = match columns.check_for_binary() {
            Ok(()) => Format::Binary,
            Err(_) => Format::Text,
        };
        if plan.mode == Mode::Upsert {
            if table.key.is_empty() {
                return Err(wrong("--mode upsert needs a primary key, and the table has none".to_owned()));
            }
            if !table.is_key_arbiter {
                let unfit =
                    "--mode upsert cannot go by a primary key that is DEFERRABLE, or WITHOUT OVERLAPS";
                return Err(wrong(unfit.to_owned()));
            }
            let missing = table.key.iter().find(|key| !filled.iter().any(|filled| filled.name == **key));
            if let Some(missing) = missing {
                return Err(wrong(format!(
                    "column {missing} belongs to the primary key and is not filled: name its source with --columns"
                )));
            }
        }
        if plan.deletes_on_tombstone {
            check_key_of_tombstones(table, &columns).map_err(wrong)?;
        }
        let is_staged = plan.mode == Mode::Upsert || table.has_row_security;
        let stage = is_staged.then(|| StageColumns::new(plan, table));
        Ok(Layout { columns, filled, format, stage })
    }

    /// The columns' names, quoted, separated by commas.
    pub(super) fn column_list(&self) -> String {
        let names: Vec<String> = self.names().map(quoted).collect();
        names.join(", ")
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.filled.iter().map(|filled| filled.name.as_str())
    }

    /// # Errors
    /// A source that cannot fill its column.
    pub(super) fn encoder(&self) -> Result<RowEncoder, String> {
        let mut options = FormatOptions::new(self.format);
        options.columns = Some(self.columns.clone());
        Ok(RowEncoder {
            writer: RecordWriter::new(&options).map_err(|error| error.to_string())?,
            format: self.format,
            refuses_nulls: self.filled.iter().any(|filled| filled.refuses_null || filled.is_key),
            columns: self.filled.clone(),
            types: self.columns.as_slice().iter().map(|column| column.column_type.clone()).collect(),
            stage: self.stage.clone(),
            ordinal: 0,
            in_tombstones: false,
            turns: Vec::new(),
        })
    }
}

type Chosen = Result<(Columns, Vec<Filled>), String>;

/// All that can be written: what PostgreSQL numbers by itself is left to it.
fn own_columns(table: &Table, mode: Mode) -> Chosen {
    let own = table.columns.iter().filter(|column| !column.is_generated && !column.is_numbered);
    let own: Vec<&TableColumn> = own.collect();
    if own.is_empty() {
        return Err("it has no column that could be filled; name columns with --columns".to_owned());
    }
    let typed: Result<Vec<Column>, String> = own
        .iter()
        .map(|column| Ok(Column::new(&column.name, type_of(column)?, source_of(&column.name))))
        .collect();
    let columns = Columns::new(typed?).map_err(|error| error.to_string())?;
    Ok((columns, own.into_iter().map(|column| filled(column, table, mode)).collect()))
}

/// Those of `--columns`, with the types of the table.
fn named_columns(columns: &Columns, table: &Table, mode: Mode) -> Chosen {
    let mut typed = Vec::new();
    let mut chosen = Vec::new();
    for column in columns.as_slice() {
        let own = table.column(&column.name).ok_or_else(|| {
            let near = crate::plan::nearest(&column.name, table.columns.iter().map(|own| own.name.as_str()));
            let hint = near.map(|near| format!("; nearest: {near}")).unwrap_or_default();
            format!("there is no column {}{hint}", column.name)
        })?;
        if typed.iter().any(|before: &Column| before.name == own.name) {
            return Err(format!("column {} is filled twice", column.name));
        }
        if own.is_generated {
            return Err(format!("column {} is generated: PostgreSQL computes it", column.name));
        }
        typed.push(Column::new(&own.name, type_of(own)?, column.source.clone()));
        chosen.push(filled(own, table, mode));
    }
    let columns = Columns::new(typed).map_err(|error| error.to_string())?;
    Ok((columns, chosen))
}

fn type_of(column: &TableColumn) -> Result<Type, String> {
    Type::of_name(&column.type_name).map_err(|error| format!("column {}: {error}", column.name))
}

/// What a column of this name is filled from when nobody says it.
fn source_of(name: &str) -> Source {
    match name {
        "key" => Source::Key,
        "value" => Source::Value,
        "topic" => Source::Topic,
        "partition" => Source::Partition,
        "offset" => Source::Offset,
        "timestamp" => Source::Timestamp,
        "timestamp_type" => Source::TimestampType,
        "headers" => Source::Headers,
        _ => Source::member(name),
    }
}

fn filled(column: &TableColumn, table: &Table, mode: Mode) -> Filled {
    Filled {
        name: column.name.clone(),
        declared: column.declared.clone(),
        refuses_null: column.not_null && !table.has_row_triggers,
        is_key: mode == Mode::Upsert && table.key.contains(&column.name),
        has_default: column.has_default,
    }
}

/// A field of COPY's text format as it was before.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = field.iter();
    let mut out = Vec::with_capacity(field.len());
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => *other,
                None => byte,
            },
            _ => byte,
        });
    }
    out
}

/// A tombstone has nothing but its key, its headers and where it came.
fn check_key_of_tombstones(table: &Table, columns: &Columns) -> Result<(), String> {
    for column in columns.as_slice().iter().filter(|column| table.key.contains(&column.name)) {
        let from = match &column.source {
            Source::Value | Source::Path(Path { root: PathRoot::Value, .. }) => "the record's value",
            Source::Offset => "the record's offset",
            _ => continue,
        };
        let name = &column.name;
        return Err(format!(
            "--delete-on-tombstone deletes by the primary key, and its column {name} is filled from {from}, which no \
             tombstone shares: name a source in the record's key, as --columns '{name}=key' or '{name}=key.{name}'"
        ));
    }
    Ok(())
}

impl RowEncoder {
    /// Appends a row. What cannot be written leaves the buffer as it was.
    ///
    /// # Errors
    /// A value that the column cannot hold: topic, partition, offset, column and reason.
    pub(super) fn write(
        &mut self,
        context: &RecordContext<'_>,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let start = out.len();
        // The advice is for who chose format and columns by hand.
        self.writer.write(context, record, out).map_err(|error| error.without_advice().to_string())?;
        let marks_tombstones = self.stage.as_ref().is_some_and(|stage| stage.tombstone.is_some());
        let is_tombstone = marks_tombstones && record.value.is_none();
        if self.refuses_nulls
            && let Some(column) = self.missing(&out[start..], is_tombstone)
        {
            let hint = match column.has_default {
                true => "; leave the column out with --columns, and its default holds",
                false => "",
            };
            let error = format!(
                "{} [{}] offset {}: column {}: the value is missing or null, and the column is NOT NULL{hint}",
                context.topic, context.partition, record.offset, column.name
            );
            out.truncate(start);
            return Err(error);
        }
        if self.stage.is_some() {
            self.mark(marks_tombstones.then_some(is_tombstone), start, out);
        }
        Ok(())
    }

    /// The first column that is NULL and must not be. Of a tombstone only the key counts.
    #[inline]
    fn missing(&self, row: &[u8], is_tombstone: bool) -> Option<&Filled> {
        let is_refused = |column: &Filled| column.is_key || column.refuses_null && !is_tombstone;
        if self.format != Format::Binary {
            // Tabs within values are escaped.
            let fields = row.strip_suffix(b"\n").unwrap_or(row).split(|byte| *byte == b'\t');
            let mut fields = self.columns.iter().zip(fields);
            return fields
                .find(|(column, field)| *field == b"\\N" && is_refused(column))
                .map(|(column, _)| column);
        }
        let mut rest = row.get(2..)?;
        for column in &self.columns {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            let length = i32::from_be_bytes(*length);
            if length < 0 && is_refused(column) {
                return Some(column);
            }
            rest = tail.get(usize::try_from(length).unwrap_or(0)..)?;
        }
        None
    }

    /// How messages name a column: its place, its name, and the type that it was declared with.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().map(|column| (column.name.as_str(), column.declared.as_str()))
    }

    /// The beginning of a field of a row in its text form; none for NULL.
    pub(super) fn excerpt(&self, row: &[u8], at: usize) -> Option<String> {
        if self.format != Format::Binary {
            let mut fields = row.strip_suffix(b"\n").unwrap_or(row).split(|byte| *byte == b'\t');
            return fields.nth(at).filter(|field| field != b"\\N").map(|field| excerpt(&unescaped(field)));
        }
        let mut rest = row.get(2..)?;
        for _ in 0..at {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            rest = tail.get(usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0)..)?;
        }
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let field = tail.get(..usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
        Some(self.types.get(at)?.excerpt(field))
    }

    /// Appends what the stage wants to know.
    fn mark(&mut self, is_tombstone: Option<bool>, start: usize, out: &mut Vec<u8>) {
        if let Some(is_tombstone) = is_tombstone.filter(|is_tombstone| *is_tombstone != self.in_tombstones) {
            self.in_tombstones = is_tombstone;
            self.turns.push(self.ordinal as usize);
        }
        match self.format {
            Format::Binary => {
                let count = self.columns.len() as u16 + 1 + u16::from(is_tombstone.is_some());
                out[start..start + 2].copy_from_slice(&count.to_be_bytes());
                out.extend_from_slice(&8_i32.to_be_bytes());
                out.extend_from_slice(&self.ordinal.to_be_bytes());
                if let Some(is_tombstone) = is_tombstone {
                    out.extend_from_slice(&[0, 0, 0, 1, u8::from(is_tombstone)]);
                }
            }
            _ => {
                // In place of the newline.
                out.pop();
                out.extend_from_slice(format!("\t{}", self.ordinal).as_bytes());
                out.extend_from_slice(match is_tombstone {
                    None => b"\n",
                    Some(true) => b"\tt\n",
                    Some(false) => b"\tf\n",
                });
            }
        }
        self.ordinal += 1;
    }

    /// The next row is the first one of another batch. Gives the rows of this one at which tombstones begin or end.
    pub(super) fn end_batch(&mut self) -> Vec<usize> {
        (self.ordinal, self.in_tombstones) = (0, false);
        std::mem::take(&mut self.turns)
    }

    /// What comes before the first row.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        self.writer.begin(out);
    }

    /// What comes after the last row.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.writer.finish(out);
    }
}
