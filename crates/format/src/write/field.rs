//! What a column of a record holds, before any format.

use std::borrow::Cow;

use kcopy_wire::records::{NO_TIMESTAMP, Record, TimestampType};

use super::RecordContext;
use crate::options::InvalidText;
use crate::{
    base64::{put_base64, put_hex},
    columns::{Column, Columns, ColumnsError, PathRoot, Source, Step, Type},
    datetime::micros_from_kafka,
    error::Problem,
    headers::put_headers,
    json::{JsonError, Nesting, RawString, Rules, Scanner},
    paths::{Found, Paths},
    types::{JsonKind, check_length, rounded},
};

/// A column that cannot be written, by its number.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) column: usize,
    pub(crate) problem: Problem,
}

impl Fault {
    /// The number of the key where there are no columns.
    pub(crate) const KEY: usize = 0;
    /// The number of the value where there are no columns.
    pub(crate) const VALUE: usize = 1;
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
    /// Microseconds since 2000, of a timestamptz, or to be written as text.
    Timestamp(i64),
    /// The binary form of the column's type, which is none of those above.
    Typed(&'a [u8]),
}

impl<'a> Cell<'a> {
    /// The binary form of a type without a cell of its own, but for bytea.
    #[inline]
    fn of_type(column_type: &Type, binary: &'a [u8]) -> Cell<'a> {
        if *column_type == Type::Bytea { Cell::Bytea(binary) } else { Cell::Typed(binary) }
    }
}

/// A column, ready to be filled.
#[derive(Debug)]
struct Field {
    name: String,
    column_type: Type,
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
    KeyPath(usize),
    ValuePath(usize),
}

/// The columns of a row, filled from one record after the other.
#[derive(Debug)]
pub(super) struct Row {
    fields: Vec<Field>,
    key: Option<Document>,
    value: Option<Document>,
    scratch: Scratch,
}

/// A JSON document that paths lead into.
#[derive(Debug)]
struct Document {
    paths: Paths,
    /// The first column that is taken out of it.
    column: usize,
}

/// Room that is used again from record to record.
#[derive(Debug, Default)]
struct Scratch {
    nesting: Nesting,
    headers: Vec<u8>,
    text: Vec<u8>,
    typed: Vec<u8>,
}

impl Row {
    /// Fails where a constant is nothing of its type: it would for every record.
    pub(super) fn new(columns: &Columns) -> Result<Row, ColumnsError> {
        let columns = columns.as_slice();
        let (key, key_slots) = Document::new(columns, PathRoot::Key);
        let (value, value_slots) = Document::new(columns, PathRoot::Value);
        let (mut key_slots, mut value_slots) = (key_slots.into_iter(), value_slots.into_iter());
        let field = |column: &Column| {
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
                Source::Path(path) => match path.root {
                    PathRoot::Key => From::KeyPath(key_slots.next().unwrap_or_default()),
                    PathRoot::Value => From::ValuePath(value_slots.next().unwrap_or_default()),
                },
            };
            Field { name: column.name.clone(), column_type: column.column_type.clone(), from }
        };
        let fields: Vec<Field> = columns.iter().map(field).collect();
        let mut scratch = Scratch::default();
        for field in &fields {
            if let From::Constant(text) = &field.from {
                field
                    .bytes_cell(text, &mut scratch)
                    .map_err(|problem| ColumnsError::at(&field.name, problem.to_string()))?;
            }
        }
        Ok(Row { fields, key, value, scratch })
    }

    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Its name and its type.
    pub(super) fn column(&self, column: usize) -> (&str, Option<&Type>) {
        let field = &self.fields[column];
        (&field.name, Some(&field.column_type))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }

    /// Looks for what paths lead to, before the first cell of the record.
    #[inline]
    pub(super) fn begin(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        if let Some(document) = &mut self.key {
            document.walk("key", record.key)?;
        }
        if let Some(document) = &mut self.value {
            document.walk("value", record.value)?;
        }
        Ok(())
    }

    /// What a column holds for this record, and its type.
    #[inline]
    pub(super) fn cell<'a>(
        &'a mut self,
        column: usize,
        context: &RecordContext<'a>,
        record: &Record<'a>,
    ) -> Result<(Cell<'a>, &'a Type), Problem> {
        let Row { fields, key, value, scratch } = self;
        let field = &fields[column];
        let cell = match field.from {
            From::ValuePath(slot) => field.path_cell(value.as_ref(), record.value, slot, scratch),
            From::KeyPath(slot) => field.path_cell(key.as_ref(), record.key, slot, scratch),
            _ => field.cell(context, record, scratch),
        };
        cell.map(|cell| (cell, &field.column_type))
    }
}

impl Document {
    /// The document at `root`, if any path leads into it, and where each of them ends.
    fn new(columns: &[Column], root: PathRoot) -> (Option<Document>, Vec<usize>) {
        let path = |column: &'_ Column| match &column.source {
            Source::Path(path) if path.root == root => Some(path.steps.clone()),
            _ => None,
        };
        let Some(column) = columns.iter().position(|column| path(column).is_some()) else {
            return (None, Vec::new());
        };
        let steps: Vec<Vec<Step>> = columns.iter().filter_map(path).collect();
        let steps: Vec<&[Step]> = steps.iter().map(Vec::as_slice).collect();
        let (paths, slots) = Paths::new(&steps);
        (Some(Document { paths, column }), slots)
    }

    #[inline]
    fn walk(&mut self, part: &'static str, bytes: Option<&[u8]>) -> Result<(), Fault> {
        let Some(bytes) = bytes else {
            self.paths.clear();
            return Ok(());
        };
        self.paths.walk(bytes).map_err(|JsonError { position, reason }| Fault {
            column: self.column,
            problem: Problem::InvalidDocument { part, position, reason },
        })
    }
}

impl Field {
    /// What a path has led to.
    #[inline(always)]
    fn path_cell<'a>(
        &'a self,
        document: Option<&'a Document>,
        bytes: Option<&'a [u8]>,
        slot: usize,
        scratch: &'a mut Scratch,
    ) -> Result<Cell<'a>, Problem> {
        let (Some(document), Some(bytes)) = (document, bytes) else { return Ok(Cell::Null) };
        let Some(Found { kind, start, end }) = document.paths.found(slot) else { return Ok(Cell::Null) };
        let json = &bytes[start..end];
        let refuse = |reason| Problem::value(&self.column_type, json, reason);
        match (kind, &self.column_type) {
            (JsonKind::Null, _) => Ok(Cell::Null),
            (_, Type::Json) => checked_json(json, Rules::Json, scratch),
            (_, Type::Jsonb) => checked_json(json, Rules::Jsonb, scratch),
            (JsonKind::String { has_escapes: false }, _) => {
                self.text_cell(&bytes[start + 1..end - 1], &mut scratch.typed)
            }
            (JsonKind::String { .. }, _) => {
                scratch.text.clear();
                let raw = RawString { start: start + 1, end: end - 1, has_escapes: true };
                Scanner::new(bytes).unescape(raw, &mut scratch.text);
                self.text_cell(&scratch.text, &mut scratch.typed)
            }
            (JsonKind::Number, Type::Int8 | Type::Int4 | Type::Int2) => {
                self.column_type.parse_json_integer(json).map(Cell::Int).map_err(refuse)
            }
            (JsonKind::Number, Type::Timestamptz(_)) => {
                self.column_type.parse_json_time(json).map(Cell::Timestamp).map_err(refuse)
            }
            // Valid JSON, but not looked at as text.
            (_, Type::Text | Type::Enum(_) | Type::Other(_)) => Ok(Cell::Text(json)),
            (_, column_type) => {
                scratch.typed.clear();
                column_type.parse_json(kind, json, &mut scratch.typed).map_err(refuse)?;
                match column_type {
                    Type::Varchar(_) | Type::Char(_) => Ok(Cell::Text(&scratch.typed)),
                    _ => Ok(Cell::of_type(column_type, &scratch.typed)),
                }
            }
        }
    }

    /// What the column holds for this record, if no path fills it.
    #[inline]
    fn cell<'a>(
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
            From::Timestamp => return self.timestamp(record.timestamp, &mut scratch.typed),
            From::Headers => {
                scratch.headers.clear();
                put_headers(&mut scratch.headers, record.headers);
                return Ok(Cell::Json(&scratch.headers));
            }
            From::KeyPath(_) | From::ValuePath(_) => return Ok(Cell::Null),
        };
        match bytes {
            Some(bytes) => self.bytes_cell(bytes, scratch),
            None => Ok(Cell::Null),
        }
    }

    /// What bytes say that are neither a number nor a part of JSON.
    #[inline]
    fn bytes_cell<'a>(&self, bytes: &'a [u8], scratch: &'a mut Scratch) -> Result<Cell<'a>, Problem> {
        match self.column_type {
            Type::Bytea => Ok(Cell::Bytea(bytes)),
            Type::Json => checked_json(bytes, Rules::Json, scratch),
            Type::Jsonb => checked_json(bytes, Rules::Jsonb, scratch),
            _ => self.text_cell(bytes, &mut scratch.typed),
        }
    }

    /// What a text says that is not JSON.
    #[inline]
    fn text_cell<'a>(&self, text: &'a [u8], typed: &'a mut Vec<u8>) -> Result<Cell<'a>, Problem> {
        let refuse = |reason| Problem::value(&self.column_type, text, reason);
        match &self.column_type {
            Type::Text | Type::Enum(_) | Type::Other(_) => Ok(Cell::Text(text)),
            // What is not valid has no length until the policy for it has been applied.
            Type::Varchar(limit) | Type::Char(limit) => match std::str::from_utf8(text) {
                Ok(valid) => {
                    check_length(valid, *limit).map(|text| Cell::Text(text.as_bytes())).map_err(refuse)
                }
                Err(_) => Ok(Cell::Text(text)),
            },
            Type::Int2 | Type::Int4 | Type::Int8 => {
                self.column_type.parse_integer(text).map(Cell::Int).map_err(refuse)
            }
            Type::Timestamptz(_) => {
                self.column_type.parse_point_in_time(text).map(Cell::Timestamp).map_err(refuse)
            }
            column_type => {
                typed.clear();
                column_type.parse(text, typed).map_err(refuse)?;
                Ok(Cell::of_type(column_type, typed))
            }
        }
    }

    #[inline]
    fn integer(&self, number: i64) -> Result<Cell<'static>, Problem> {
        if self.column_type.holds(number) {
            Ok(Cell::Int(number))
        } else {
            Err(Problem::IntegerOutOfRange(self.column_type.clone()))
        }
    }

    #[inline]
    fn timestamp<'a>(&self, timestamp_ms: i64, typed: &'a mut Vec<u8>) -> Result<Cell<'a>, Problem> {
        match (timestamp_ms, &self.column_type) {
            (NO_TIMESTAMP, _) => Ok(Cell::Null),
            (_, Type::Int8) => Ok(Cell::Int(timestamp_ms)),
            (_, column_type) => {
                let micros = micros_from_kafka(timestamp_ms).ok_or(Problem::TimestampOutOfRange)?;
                match column_type {
                    Type::Timestamp(precision) => {
                        typed.clear();
                        typed.extend_from_slice(&rounded(micros, *precision).to_be_bytes());
                        Ok(Cell::Typed(typed))
                    }
                    Type::Timestamptz(precision) => Ok(Cell::Timestamp(rounded(micros, *precision))),
                    _ => Ok(Cell::Timestamp(micros)),
                }
            }
        }
    }
}

fn checked_json<'a>(bytes: &'a [u8], rules: Rules, scratch: &mut Scratch) -> Result<Cell<'a>, Problem> {
    // No policy for invalid text makes JSON of it, so this is not a matter of text.
    std::str::from_utf8(bytes)
        .map_err(|error| Problem::InvalidJson { position: error.valid_up_to(), reason: "not valid UTF-8" })?;
    Scanner::check(bytes, rules, &mut scratch.nesting)?;
    Ok(Cell::Json(bytes))
}

/// Says where bytes stop being UTF-8.
pub(crate) fn require_utf8(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let position = error.valid_up_to();
        match bytes[position..] {
            // As a lone surrogate of JSON is passed on.
            [0xed, middle @ 0xa0..=0xbf, low @ 0x80..=0xbf, ..] => {
                let unit = 0xd000 | u16::from(middle & 0x3f) << 6 | u16::from(low & 0x3f);
                Problem::LoneSurrogate { position, unit }
            }
            _ => Problem::InvalidUtf8 { position, byte: bytes[position] },
        }
    })
}

/// Of what a string of JSON says: it is a text.
pub(crate) fn require_whole_characters(unescaped: &[u8]) -> Result<(), Problem> {
    match require_utf8(unescaped) {
        Err(problem @ Problem::LoneSurrogate { .. }) => Err(problem),
        _ => Ok(()),
    }
}

/// The text with U+FFFD for each NUL and each sequence that is not UTF-8. A surrogate is one of three bytes, as in
/// PostgreSQL's own error; to Unicode it is three sequences of one.
fn put_replaced(out: &mut Vec<u8>, bytes: &[u8]) {
    const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
    let (mut at, mut surrogate_ends) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(chunk.valid().replace('\0', "\u{fffd}").as_bytes());
        at += chunk.valid().len();
        if let [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] = bytes[at..] {
            surrogate_ends = at + 3;
            out.extend_from_slice(REPLACEMENT);
        } else if !chunk.invalid().is_empty() && at >= surrogate_ends {
            out.extend_from_slice(REPLACEMENT);
        }
        at += chunk.invalid().len();
    }
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
        InvalidText::Replace => put_replaced(&mut out, bytes),
        InvalidText::Base64 => put_base64(&mut out, bytes),
        InvalidText::Hex => {
            out.extend_from_slice(b"\\x");
            put_hex(&mut out, bytes);
        }
    }
    Ok(Cow::Owned(out))
}
