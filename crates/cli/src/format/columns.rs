//! The language of `--columns`: `NAME [TYPE] [= SOURCE]`, separated by commas.
//!
//! ```text
//! key, value jsonb, "at" timestamptz = timestamp, trace = header.trace-id, origin = 'kafka'
//! ```
//!
//! - A name may be quoted as in SQL (`"with ""quotes"" or, commas"`). Case is kept.
//! - Without `= SOURCE` the name is the source: `key`, `value`, `topic`, `partition`, `offset`, `timestamp`,
//!   `timestamp_type`, `headers`, `header.NAME`. Any other name is a member of the JSON value.
//! - Without TYPE the source's natural type holds: text for key, value, topic, timestamp_type, `header.NAME`
//!   and constants, int4 for partition, int8 for offset, timestamptz for timestamp, jsonb for headers.
//!
//! The same list describes what `consume` writes and what `produce` reads. When reading, a source is where the
//! column goes, and a member becomes part of a JSON object that is the value. Constants are skipped, and so is
//! what Kafka decides itself (offset, timestamp_type), unless the value is made of members: then these two are
//! names like any other.

use std::fmt;

mod parse;

/// A PostgreSQL type that a column can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Type {
    /// Valid UTF-8 without NUL.
    Text,
    /// Any bytes.
    Bytea,
    /// JSON, kept as it is written.
    Json,
    /// JSON, which PostgreSQL takes apart: `\u0000` and lone surrogates are not allowed.
    Jsonb,
    /// 16-bit integer.
    Int2,
    /// 32-bit integer.
    Int4,
    /// 64-bit integer.
    Int8,
    /// A point in time with microseconds.
    Timestamptz,
}

impl Type {
    /// PostgreSQL's short name.
    pub fn name(self) -> &'static str {
        match self {
            Type::Text => "text",
            Type::Bytea => "bytea",
            Type::Json => "json",
            Type::Jsonb => "jsonb",
            Type::Int2 => "int2",
            Type::Int4 => "int4",
            Type::Int8 => "int8",
            Type::Timestamptz => "timestamptz",
        }
    }

    /// The bytes of a value in COPY's binary format, where they are the same for all.
    pub fn width(self) -> Option<usize> {
        match self {
            Type::Int2 => Some(2),
            Type::Int4 => Some(4),
            Type::Int8 | Type::Timestamptz => Some(8),
            Type::Text | Type::Bytea | Type::Json | Type::Jsonb => None,
        }
    }

    /// Whether values are integers.
    pub fn is_integer(self) -> bool {
        matches!(self, Type::Int2 | Type::Int4 | Type::Int8)
    }

    pub(super) fn integer_of_width(width: usize) -> Option<Type> {
        [Type::Int2, Type::Int4, Type::Int8].into_iter().find(|ty| ty.width() == Some(width))
    }

    /// Whether the integer type can hold `number`.
    pub(super) fn holds(self, number: i64) -> bool {
        match self {
            Type::Int2 => i16::try_from(number).is_ok(),
            Type::Int4 => i32::try_from(number).is_ok(),
            _ => true,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a column is filled from, or where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The record's key.
    Key,
    /// The record's value.
    Value,
    /// The topic's name.
    Topic,
    /// The partition's number.
    Partition,
    /// The record's offset.
    Offset,
    /// The record's time; NULL where it has none.
    Timestamp,
    /// `CreateTime` or `LogAppendTime`.
    TimestampType,
    /// All headers as JSON: see [`headers`](super::headers).
    Headers,
    /// The last header of this name; NULL where there is none.
    Header(String),
    /// Always the same text.
    Constant(String),
    /// A part of a JSON key or value.
    Path(Path),
}

/// A way into a JSON key or value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where it starts.
    pub root: PathRoot,
    /// At least one step.
    pub steps: Vec<Step>,
}

/// What a [`Path`] leads into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathRoot {
    /// The record's key.
    Key,
    /// The record's value.
    Value,
}

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A member of an object.
    Member(String),
    /// An element of an array, counted from 0.
    Index(u32),
}

impl Source {
    fn natural_type(&self) -> Type {
        match self {
            Source::Partition => Type::Int4,
            Source::Offset => Type::Int8,
            Source::Timestamp => Type::Timestamptz,
            Source::Headers => Type::Jsonb,
            _ => Type::Text,
        }
    }

    /// The types that the source can be written as, if not all.
    fn possible_types(&self) -> Option<&'static [Type]> {
        match self {
            Source::Topic | Source::TimestampType => Some(&[Type::Text]),
            Source::Partition | Source::Offset => Some(&[Type::Int4, Type::Int8, Type::Int2, Type::Text]),
            Source::Timestamp => Some(&[Type::Timestamptz, Type::Int8, Type::Text]),
            Source::Headers => Some(&[Type::Jsonb, Type::Json, Type::Text]),
            _ => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Key => f.write_str("key"),
            Source::Value => f.write_str("value"),
            Source::Topic => f.write_str("topic"),
            Source::Partition => f.write_str("partition"),
            Source::Offset => f.write_str("offset"),
            Source::Timestamp => f.write_str("timestamp"),
            Source::TimestampType => f.write_str("timestamp_type"),
            Source::Headers => f.write_str("headers"),
            Source::Header(name) => write!(f, "header.{name}"),
            Source::Constant(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Source::Path(path) => {
                f.write_str(match path.root {
                    PathRoot::Key => "key",
                    PathRoot::Value => "value",
                })?;
                path.steps.iter().try_for_each(|step| match step {
                    Step::Member(name) => write!(f, ".{name}"),
                    Step::Index(index) => write!(f, "[{index}]"),
                })
            }
        }
    }
}

/// Where a column goes when a record is made of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Nowhere.
    Skip,
    /// The record's key.
    Key,
    /// The whole value.
    Value,
    /// The topic to send to.
    Topic,
    /// The partition to send to.
    Partition,
    /// The record's time.
    Timestamp,
    /// All headers.
    Headers,
    /// One header of this name.
    Header(String),
    /// A member of the JSON object that is the value.
    Member(String),
}

/// One column of a [`Columns`] list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub column_type: Type,
    /// What fills it, or where it goes.
    pub source: Source,
}

/// A checked `--columns` list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    list: Vec<Column>,
}

impl Columns {
    /// The most columns that COPY's binary format, and a table, can have.
    pub const MAX: usize = 1600;

    /// Parses and checks a list.
    ///
    /// # Errors
    /// Where the text is not of the language above, or asks for a type or source that is not known, not there
    /// yet, or does not fit together.
    pub fn parse(text: &str) -> Result<Self, ColumnsError> {
        let list = parse::parse(text)?;
        if list.len() > Self::MAX {
            let message =
                format!("{} columns are more than the {} that a table can have", list.len(), Self::MAX);
            return Err(ColumnsError { column: None, message });
        }
        list.iter().try_for_each(check_type)?;
        Ok(Columns { list })
    }

    /// The columns in order.
    pub fn as_slice(&self) -> &[Column] {
        &self.list
    }

    /// Checks that each column can be filled from a record.
    ///
    /// # Errors
    /// For a column that would need a part of a JSON key or value, which is not there yet.
    pub fn check_for_consume(&self) -> Result<(), ColumnsError> {
        let path = self.list.iter().find_map(|column| match &column.source {
            Source::Path(path) => Some((column, path)),
            _ => None,
        });
        match path {
            None => Ok(()),
            Some((column, path)) => Err(ColumnsError::at(
                &column.name,
                format!(
                    "taking {} out of a JSON document is not there yet; load the whole {} as jsonb",
                    Source::Path(path.clone()),
                    match path.root {
                        PathRoot::Key => "key",
                        PathRoot::Value => "value",
                    }
                ),
            )),
        }
    }

    /// Where each column goes when records are made of rows.
    ///
    /// # Errors
    /// For two columns with the same target, and for members beside a column that is the whole value.
    pub fn targets(&self) -> Result<Vec<Target>, ColumnsError> {
        let whole_value = self.list.iter().find(|column| column.source == Source::Value);
        let mut targets = Vec::with_capacity(self.list.len());
        for column in &self.list {
            let target = target(column, whole_value)?;
            if target != Target::Skip
                && let Some(first) = targets.iter().position(|other| *other == target)
            {
                let first = &self.list[first].name;
                let message = format!("column {first} is the record's {} already", column.source);
                return Err(ColumnsError::at(&column.name, message));
            }
            targets.push(target);
        }
        Ok(targets)
    }
}

impl Default for Columns {
    /// The value alone, as text.
    fn default() -> Self {
        let column = Column { name: "value".to_owned(), column_type: Type::Text, source: Source::Value };
        Columns { list: vec![column] }
    }
}

fn check_type(column: &Column) -> Result<(), ColumnsError> {
    match column.source.possible_types() {
        Some(types) if !types.contains(&column.column_type) => {
            let names: Vec<_> = types.iter().map(|ty| ty.name()).collect();
            let message = format!(
                "{} cannot be of type {}; possible: {}",
                column.source,
                column.column_type,
                names.join(", ")
            );
            Err(ColumnsError::at(&column.name, message))
        }
        _ => Ok(()),
    }
}

fn target(column: &Column, whole_value: Option<&Column>) -> Result<Target, ColumnsError> {
    let path = match &column.source {
        Source::Key => return Ok(Target::Key),
        Source::Value => return Ok(Target::Value),
        Source::Topic => return Ok(Target::Topic),
        Source::Partition => return Ok(Target::Partition),
        Source::Timestamp => return Ok(Target::Timestamp),
        Source::Headers => return Ok(Target::Headers),
        Source::Header(name) => return Ok(Target::Header(name.clone())),
        Source::Constant(_) => return Ok(Target::Skip),
        // A table may well have a column of this name: without a value of its own it is one of the members.
        Source::Offset | Source::TimestampType => {
            let is_member = whole_value.is_none() && column.name == column.source.to_string();
            return Ok(if is_member { Target::Member(column.name.clone()) } else { Target::Skip });
        }
        Source::Path(path) => path,
    };
    match (path.root, path.steps.as_slice(), whole_value) {
        (PathRoot::Value, [Step::Member(name)], None) => Ok(Target::Member(name.clone())),
        (PathRoot::Value, [Step::Member(_)], Some(value)) => Err(ColumnsError::at(
            &column.name,
            format!(
                "column {} is the whole value already, so {} cannot become a member of it",
                value.name, column.name
            ),
        )),
        _ => {
            let message =
                format!("building a part such as {} of a JSON document is not there yet", column.source);
            Err(ColumnsError::at(&column.name, message))
        }
    }
}

/// What is wrong with a `--columns` list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnsError {
    column: Option<String>,
    message: String,
}

impl ColumnsError {
    fn at(column: &str, message: String) -> Self {
        ColumnsError { column: Some(column.to_owned()), message }
    }

    /// The column at fault, where it is one.
    pub fn column(&self) -> Option<&str> {
        self.column.as_deref()
    }
}

impl fmt::Display for ColumnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "--columns: column {column}: {}", self.message),
            None => write!(f, "--columns: {}", self.message),
        }
    }
}

impl std::error::Error for ColumnsError {}

#[cfg(test)]
mod tests;
