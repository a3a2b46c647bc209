//! What a column of a record holds, before any format.

use std::borrow::Cow;

use kcopy_wire::records::{Record, TimestampType};

use super::RecordContext;
use crate::format::{
    base64::{put_base64, put_hex},
    columns::{Column, Columns, Source, Type},
    datetime::{micros_from_kafka, parse_timestamptz},
    error::Problem,
    headers::put_headers,
    json::{Nesting, Rules, Scanner},
    number::{IntegerError, parse_i64},
};
use crate::plan::InvalidText;

/// A column that cannot be written, by its number.
#[derive(Debug)]
pub(in crate::format) struct Fault {
    pub(in crate::format) column: usize,
    pub(in crate::format) problem: Problem,
}

impl Fault {
    /// The number of the key where there are no columns.
    pub(in crate::format) const KEY: usize = 0;
    /// The number of the value where there are no columns.
    pub(in crate::format) const VALUE: usize = 1;
}

/// A field of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    Null,
    /// Text that nobody has looked at yet.
    Text(&'a [u8]),
    Bytea(&'a [u8]),
    /// Checked by the rules of the column's type, and UTF-8.
    Json(&'a [u8]),
    /// Within the range of the column's type, or to be written as text.
    Int(i64),
    /// Microseconds since 2000.
    Timestamp(i64),
}

/// A column, ready to be filled.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) column_type: Type,
    from: From,
}

#[derive(Debug)]
enum From {
    Key,
    Value,
    Topic,
    TimestampType,
    Header(Vec<u8>),
    Constant(Vec<u8>),
    Partition,
    Offset,
    Timestamp,
    Headers,
}

/// Room that is used again from record to record.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    nesting: Nesting,
    headers: Vec<u8>,
}

impl Field {
    /// The columns must have passed `check_for_consume`.
    pub(super) fn list(columns: &Columns) -> Vec<Field> {
        columns.as_slice().iter().filter_map(Field::new).collect()
    }

    fn new(column: &Column) -> Option<Field> {
        let from = match &column.source {
            Source::Key => From::Key,
            Source::Value => From::Value,
            Source::Topic => From::Topic,
            Source::Partition => From::Partition,
            Source::Offset => From::Offset,
            Source::Timestamp => From::Timestamp,
            Source::TimestampType => From::TimestampType,
            Source::Headers => From::Headers,
            Source::Header(name) => From::Header(name.clone().into_bytes()),
            Source::Constant(text) => From::Constant(text.clone().into_bytes()),
            Source::Path(_) => return None,
        };
        Some(Field { name: column.name.clone(), column_type: column.column_type, from })
    }

    /// What the column holds for this record.
    #[inline]
    pub(super) fn cell<'a>(
        &'a self,
        context: &RecordContext<'a>,
        record: &Record<'a>,
        scratch: &'a mut Scratch,
    ) -> Result<Cell<'a>, Problem> {
        let bytes = match &self.from {
            From::Value => record.value,
            From::Key => record.key,
            From::Topic => Some(context.topic.as_bytes()),
            From::TimestampType => Some(match context.timestamp_type {
                TimestampType::CreateTime => &b"CreateTime"[..],
                TimestampType::LogAppendTime => b"LogAppendTime",
            }),
            From::Header(name) => record.headers.last(name).flatten(),
            From::Constant(text) => Some(text.as_slice()),
            From::Partition => return self.integer(i64::from(context.partition)),
            From::Offset => return self.integer(record.offset),
            From::Timestamp => return self.timestamp(record.timestamp),
            From::Headers => {
                scratch.headers.clear();
                put_headers(&mut scratch.headers, record.headers);
                return Ok(Cell::Json(&scratch.headers));
            }
        };
        let Some(bytes) = bytes else { return Ok(Cell::Null) };
        match self.column_type {
            Type::Text => Ok(Cell::Text(bytes)),
            Type::Bytea => Ok(Cell::Bytea(bytes)),
            Type::Json => json(bytes, Rules::Json, scratch),
            Type::Jsonb => json(bytes, Rules::Jsonb, scratch),
            Type::Int2 | Type::Int4 | Type::Int8 => self.integer(integer(bytes, self.column_type)?),
            Type::Timestamptz => {
                parse_timestamptz(bytes).map(Cell::Timestamp).ok_or(Problem::InvalidTimestamp)
            }
        }
    }

    #[inline]
    fn integer(&self, number: i64) -> Result<Cell<'static>, Problem> {
        if self.column_type.holds(number) {
            Ok(Cell::Int(number))
        } else {
            Err(Problem::IntegerOutOfRange(self.column_type))
        }
    }

    #[inline]
    fn timestamp(&self, timestamp_ms: i64) -> Result<Cell<'static>, Problem> {
        match (timestamp_ms, self.column_type) {
            // Kafka's way to say that there is none.
            (-1, _) => Ok(Cell::Null),
            (_, Type::Int8) => Ok(Cell::Int(timestamp_ms)),
            _ => micros_from_kafka(timestamp_ms).map(Cell::Timestamp).ok_or(Problem::TimestampOutOfRange),
        }
    }
}

fn json<'a>(bytes: &'a [u8], rules: Rules, scratch: &mut Scratch) -> Result<Cell<'a>, Problem> {
    // No policy for invalid text makes JSON of it, so this is not a matter of text.
    std::str::from_utf8(bytes)
        .map_err(|error| Problem::InvalidJson { position: error.valid_up_to(), reason: "not valid UTF-8" })?;
    Scanner::check(bytes, rules, &mut scratch.nesting)?;
    Ok(Cell::Json(bytes))
}

/// Reads an integer and checks that the type can hold it.
pub(in crate::format) fn integer(bytes: &[u8], column_type: Type) -> Result<i64, Problem> {
    let number = parse_i64(bytes).map_err(|error| match error {
        IntegerError::Syntax => Problem::NotAnInteger(column_type),
        IntegerError::OutOfRange => Problem::IntegerOutOfRange(column_type),
    })?;
    if column_type.holds(number) { Ok(number) } else { Err(Problem::IntegerOutOfRange(column_type)) }
}

/// Says where bytes stop being UTF-8.
pub(in crate::format) fn require_utf8(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let position = error.valid_up_to();
        Problem::InvalidUtf8 { position, byte: bytes[position] }
    })
}

/// Text that PostgreSQL takes: the bytes as they are, or what the policy makes of them. Only what is invalid
/// allocates.
#[inline(never)]
pub(super) fn valid_text(bytes: &[u8], policy: InvalidText) -> Result<Cow<'_, [u8]>, Problem> {
    let problem = match (require_utf8(bytes), memchr::memchr(0, bytes)) {
        (Ok(_), None) => return Ok(Cow::Borrowed(bytes)),
        (Err(problem), _) => problem,
        (Ok(_), Some(position)) => Problem::NulByte { position },
    };
    let mut out = Vec::new();
    match policy {
        InvalidText::Error => return Err(problem),
        InvalidText::Replace => out = String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}").into_bytes(),
        InvalidText::Base64 => put_base64(&mut out, bytes),
        InvalidText::Hex => {
            out.extend_from_slice(b"\\x");
            put_hex(&mut out, bytes);
        }
    }
    Ok(Cow::Owned(out))
}
