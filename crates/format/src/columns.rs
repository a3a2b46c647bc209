//! The language of `--columns`: `NAME [TYPE] [= SOURCE]`, separated by commas.
//!
//! ```text
//! key, value jsonb, "at" timestamptz = timestamp, trace = header.trace-id, origin = 'kafka'
//! ```
//!
//! - A name may be quoted as in SQL (`"with ""quotes"" or, commas"`). Case is kept.
//! - Without `= SOURCE` the name is the source: `key`, `value`, `topic`, `partition`, `offset`, `timestamp`,
//!   `timestamp_type`, `headers`, `header.NAME`. Any other name is a member of the JSON value.
//! - TYPE is a name as PostgreSQL writes it (`character varying(20)`, `timestamp(3) with time zone`, `int4[]`); one
//!   that is not known stands for text, which only the binary format cannot carry.
//! - A path leads into a JSON key or value: `value.order.lines[0].sku`. What is not there is NULL.
//! - Without TYPE the source's natural type holds: text for key, value, topic, timestamp_type, `header.NAME`
//!   and constants, int4 for partition, int8 for offset, timestamptz for timestamp, jsonb for headers.
//!
//! The same list describes what `consume` writes and what `produce` reads. When reading, a source is where the
//! column goes, and a member becomes part of a JSON object that is the value. Constants are skipped, and so is
//! what Kafka decides itself (offset, timestamp_type), unless the value is made of members: then these two are
//! names like any other.

use std::fmt;

pub use super::types::{Type, TypeNameError};

mod parse;

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

impl Column {
    /// A column of this name and type, filled from, or going to, `source`.
    pub fn new(name: impl Into<String>, column_type: Type, source: Source) -> Self {
        Column { name: name.into(), column_type, source }
    }
}

impl Source {
    /// The member `name` of the JSON value.
    pub fn member(name: impl Into<String>) -> Self {
        Source::Path(Path { root: PathRoot::Value, steps: vec![Step::Member(name.into())] })
    }

    fn natural_type(&self) -> Type {
        match self {
            Source::Partition => Type::Int4,
            Source::Offset => Type::Int8,
            Source::Timestamp => Type::Timestamptz(None),
            Source::Headers => Type::Jsonb,
            _ => Type::Text,
        }
    }

    /// The types that the source can be written as, if not all, and whether this is one of them.
    fn takes(&self, column_type: &Type) -> Result<(), &'static str> {
        let is_text = column_type.is_text();
        let (fits, possible) = match self {
            Source::Topic | Source::TimestampType => (is_text, "text"),
            Source::Partition | Source::Offset => {
                (is_text || column_type.is_integer(), "int4, int8, int2, text")
            }
            Source::Timestamp => {
                let is_time = matches!(column_type, Type::Timestamptz(_) | Type::Timestamp(_) | Type::Int8);
                (is_text || is_time, "timestamptz, timestamp (in UTC), int8, text")
            }
            Source::Headers => (is_text || column_type.is_json(), "jsonb, json, text"),
            _ => (true, ""),
        };
        if fits { Ok(()) } else { Err(possible) }
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
    /// A member of the JSON object that is the value, or of an object within it.
    Member(Vec<String>),
    /// The same for the key.
    KeyMember(Vec<String>),
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
    /// Whether each type was said.
    typed: Vec<bool>,
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
        let (list, typed): (_, Vec<bool>) = parse::parse(text)?.into_iter().unzip();
        Ok(Columns { typed, ..Self::new(list)? })
    }

    /// Checks a list that was put together otherwise, say from a table's own columns.
    ///
    /// # Errors
    /// Where a source cannot be of its type, and for more columns than a table can have.
    pub fn new(list: Vec<Column>) -> Result<Self, ColumnsError> {
        if list.len() > Self::MAX {
            let message =
                format!("{} columns are more than the {} that a table can have", list.len(), Self::MAX);
            return Err(ColumnsError { column: None, message });
        }
        list.iter().try_for_each(check_type)?;
        Ok(Columns { typed: vec![true; list.len()], list })
    }

    /// The columns in order.
    pub fn as_slice(&self) -> &[Column] {
        &self.list
    }

    /// Whether the type of the column at this place was said. Else it is the one that its source has by itself.
    pub fn is_typed(&self, at: usize) -> bool {
        self.typed.get(at).is_some_and(|typed| *typed)
    }

    /// Checks that the type of each column has a binary form.
    ///
    /// # Errors
    /// For a column whose type has none that is known, with what would be right.
    pub fn check_for_binary(&self) -> Result<(), ColumnsError> {
        match self.list.iter().find(|column| !column.column_type.has_binary()) {
            None => Ok(()),
            Some(column) => Err(ColumnsError::at(&column.name, column.column_type.binary_advice())),
        }
    }

    /// Where each column goes when records are made of rows.
    ///
    /// # Errors
    /// For two columns with the same target or one within the other, for members beside a column that is the
    /// whole key or value, and for elements of arrays.
    pub fn targets(&self) -> Result<Vec<Target>, ColumnsError> {
        let has = |source: &Source| self.list.iter().find(|column| column.source == *source);
        let (whole_key, whole_value) = (has(&Source::Key), has(&Source::Value));
        let mut targets: Vec<Target> = Vec::with_capacity(self.list.len());
        for column in &self.list {
            let target = target(column, whole_key, whole_value)?;
            if let Some(first) = targets.iter().position(|other| target.overlaps(other)) {
                let first = &self.list[first];
                let message = match first.source == column.source {
                    true => format!("column {} is the record's {} already", first.name, column.source),
                    false => format!("one of {} and {} is part of the other", first.source, column.source),
                };
                return Err(ColumnsError::at(&column.name, message));
            }
            targets.push(target);
        }
        Ok(targets)
    }
}

impl Target {
    /// Whether both cannot be, be it that they are the same or that one is within the other.
    fn overlaps(&self, other: &Target) -> bool {
        match (self, other) {
            (Target::Skip, _) => false,
            (Target::Member(one), Target::Member(other))
            | (Target::KeyMember(one), Target::KeyMember(other)) => {
                one.iter().zip(other).all(|(one, other)| one == other)
            }
            _ => self == other,
        }
    }
}

impl Default for Columns {
    /// The value alone, as text.
    fn default() -> Self {
        let column = Column { name: "value".to_owned(), column_type: Type::Text, source: Source::Value };
        Columns { list: vec![column], typed: vec![false] }
    }
}

fn check_type(column: &Column) -> Result<(), ColumnsError> {
    column.source.takes(&column.column_type).map_err(|possible| {
        let message =
            format!("{} cannot be of type {}; possible: {possible}", column.source, column.column_type);
        ColumnsError::at(&column.name, message)
    })
}

fn target(
    column: &Column,
    whole_key: Option<&Column>,
    whole_value: Option<&Column>,
) -> Result<Target, ColumnsError> {
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
            return Ok(if is_member { Target::Member(vec![column.name.clone()]) } else { Target::Skip });
        }
        Source::Path(path) => path,
    };
    let (part, whole) = match path.root {
        PathRoot::Key => ("key", whole_key),
        PathRoot::Value => ("value", whole_value),
    };
    if let Some(whole) = whole {
        let message = format!(
            "column {} is the whole {part} already, so {} cannot become a member of it",
            whole.name, column.name
        );
        return Err(ColumnsError::at(&column.name, message));
    }
    let names = path.steps.iter().map(|step| match step {
        Step::Member(name) => Some(name.clone()),
        Step::Index(_) => None,
    });
    match (names.collect::<Option<Vec<_>>>(), path.root) {
        (Some(names), PathRoot::Key) => Ok(Target::KeyMember(names)),
        (Some(names), PathRoot::Value) => Ok(Target::Member(names)),
        (None, _) => {
            let message = format!(
                "{} is an element of an array, which cannot be built one by one: let a column have an array type",
                column.source
            );
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
    pub(super) fn at(column: &str, message: String) -> Self {
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
