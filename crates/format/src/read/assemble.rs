//! From the fields of a row to a record.

use kcopy_wire::records::{Headers, HeadersBuf, NO_TIMESTAMP};

use super::{
    members::{MemberPlan, plan_members},
    rows::{Field, Form, Place, Rows, Span},
};
use crate::{
    base64::{decode_bytea, put_hex},
    columns::{Columns, ColumnsError, Target, Type},
    datetime::{Style, fits_rfc3339, kafka_from_micros, put_timestamptz},
    error::Problem,
    headers::HeadersParser,
    json::{Nesting, Rules, Scanner, put_string},
    number::{parse_i64, put_i64},
    types::JSONB_VERSION,
    write::require_utf8,
};

/// A column, ready to be read.
#[derive(Debug)]
pub(super) struct ColumnPlan {
    pub(super) name: String,
    pub(super) column_type: Type,
    pub(super) target: Target,
}

/// A record, but for the bytes themselves.
#[derive(Debug, Default)]
pub(super) struct Assembled {
    pub(super) topic: Option<Span>,
    pub(super) partition: Option<i32>,
    pub(super) timestamp: Option<i64>,
    pub(super) key: Option<Span>,
    pub(super) value: Option<Span>,
}

#[derive(Debug)]
pub(super) struct Assembler {
    columns: Vec<ColumnPlan>,
    /// What the JSON objects are made of that are the key and the value, where they are.
    key_members: Option<MemberPlan>,
    value_members: Option<MemberPlan>,
    /// Columns that become single headers: after those of a `headers` column.
    header_columns: Vec<usize>,
    room: Room,
    document: Vec<u8>,
    headers: HeadersBuf,
    headers_parser: HeadersParser,
}

/// Room that is used again from row to row.
#[derive(Debug, Default)]
struct Room {
    scratch: Vec<u8>,
    typed: Vec<u8>,
    nesting: Nesting,
}

/// A field that has been understood.
#[derive(Debug, Clone, Copy)]
enum Value {
    Bytes(Span),
    Int(i64),
    /// Microseconds since 2000.
    Time(i64),
    /// Milliseconds since 1970.
    KafkaTime(i64),
    /// The binary form of the type: in the row, or in the room for it.
    Typed(Option<Span>),
}

/// What spans of a row are cut out of.
#[derive(Clone, Copy)]
struct Sources<'a> {
    input: &'a [u8],
    unescaped: &'a [u8],
}

impl<'a> Sources<'a> {
    #[inline]
    fn cut<'s>(&self, Span { place, start, end }: Span, scratch: &'s [u8]) -> &'s [u8]
    where
        'a: 's,
    {
        match place {
            Place::Input => &self.input[start..end],
            Place::Unescaped => &self.unescaped[start..end],
            Place::Scratch | Place::Document => &scratch[start..end],
        }
    }
}

impl Assembler {
    pub(super) fn new(columns: &Columns) -> Result<Self, ColumnsError> {
        let targets = columns.targets()?;
        let members_of = |path: fn(&Target) -> Option<&[String]>| {
            let members = targets.iter().enumerate();
            plan_members(members.filter_map(|(column, target)| Some((path(target)?, column))).collect())
        };
        let key_members = members_of(|target| match target {
            Target::KeyMember(path) => Some(path),
            _ => None,
        });
        let value_members = members_of(|target| match target {
            Target::Member(path) => Some(path),
            _ => None,
        });
        let plan = |(column, target): (&crate::columns::Column, Target)| ColumnPlan {
            name: column.name.clone(),
            column_type: column.column_type.clone(),
            target,
        };
        let columns: Vec<_> = columns.as_slice().iter().zip(targets).map(plan).collect();
        let is_header = |&index: &usize| matches!(columns[index].target, Target::Header(_));
        Ok(Assembler {
            key_members,
            value_members,
            header_columns: (0..columns.len()).filter(is_header).collect(),
            columns,
            room: Room::default(),
            document: Vec::new(),
            headers: HeadersBuf::new(),
            headers_parser: HeadersParser::default(),
        })
    }

    pub(super) fn columns(&self) -> &[ColumnPlan] {
        &self.columns
    }

    pub(super) fn scratch(&self) -> &[u8] {
        &self.room.scratch
    }

    pub(super) fn document(&self) -> &[u8] {
        &self.document
    }

    pub(super) fn headers(&self) -> Headers<'_> {
        self.headers.as_headers()
    }

    /// Makes a record of a row with as many fields as there are columns. An error comes with the number of its
    /// column.
    #[inline]
    pub(super) fn assemble(&mut self, rows: &Rows, input: &[u8]) -> Result<Assembled, (usize, Problem)> {
        self.room.scratch.clear();
        self.document.clear();
        self.headers.clear();
        let sources = Sources { input, unescaped: &rows.unescaped };
        let mut record = Assembled::default();
        for (column, field) in rows.fields.iter().enumerate() {
            self.field(column, field, sources, &mut record).map_err(|problem| (column, problem))?;
        }
        for index in 0..self.header_columns.len() {
            let column = self.header_columns[index];
            self.header(column, &rows.fields[column], sources).map_err(|problem| (column, problem))?;
        }
        let Assembler { columns, key_members, value_members, room, document, .. } = self;
        for (members, part) in [(key_members, &mut record.key), (value_members, &mut record.value)] {
            let Some(MemberPlan { members, end }) = members else { continue };
            let start = document.len();
            for (prefix, column) in members {
                document.extend_from_slice(prefix);
                let column_type = &columns[*column].column_type;
                put_member(document, column_type, &rows.fields[*column], sources, room)
                    .map_err(|problem| (*column, problem))?;
            }
            document.extend_from_slice(end);
            *part = Some(Span { place: Place::Document, start, end: document.len() });
        }
        Ok(record)
    }

    #[inline]
    fn field(
        &mut self,
        column: usize,
        field: &Field,
        sources: Sources<'_>,
        record: &mut Assembled,
    ) -> Result<(), Problem> {
        let Assembler { columns, room, headers, headers_parser, .. } = self;
        let ColumnPlan { column_type, target, .. } = &columns[column];
        let Some(span) = field.span else { return Ok(()) };
        match target {
            Target::Key => record.key = Some(room.bytes(column_type, field.form, span, sources)?),
            Target::Value => record.value = Some(room.bytes(column_type, field.form, span, sources)?),
            Target::Topic => {
                let topic = sources.cut(span, &room.scratch);
                if topic.is_empty() || std::str::from_utf8(topic).is_err() {
                    return Err(Problem::InvalidTopic);
                }
                record.topic = Some(span);
            }
            Target::Partition => {
                let number = match room.parse(column_type, field.form, span, sources)? {
                    Value::Int(number) => Some(number),
                    Value::Bytes(span) => parse_i64(sources.cut(span, &room.scratch)).ok(),
                    Value::Time(_) | Value::KafkaTime(_) | Value::Typed(_) => None,
                };
                let partition = number.and_then(|number| i32::try_from(number).ok()).filter(|n| *n >= 0);
                record.partition = Some(partition.ok_or(Problem::InvalidPartition)?);
            }
            Target::Timestamp => {
                let value = room.parse(column_type, field.form, span, sources)?;
                record.timestamp = Some(room.kafka_timestamp(column_type, value, sources)?);
            }
            Target::Headers => {
                let json = match (field.form, column_type) {
                    (Form::Base64Headers, _) => {
                        return headers_parser.parse_base64(sources.cut(span, &[]), headers);
                    }
                    (Form::Binary, Type::Jsonb) => {
                        let binary = sources.cut(span, &[]);
                        binary.strip_prefix(&[JSONB_VERSION]).ok_or(Problem::JsonbVersion)?
                    }
                    _ => sources.cut(span, &[]),
                };
                headers_parser.parse(json, headers)?;
            }
            Target::Skip | Target::Header(_) | Target::Member(_) | Target::KeyMember(_) => {}
        }
        Ok(())
    }

    /// A single header, unless the `headers` column has one of that name already.
    fn header(&mut self, column: usize, field: &Field, sources: Sources<'_>) -> Result<(), Problem> {
        let Some(span) = field.span else { return Ok(()) };
        let ColumnPlan { column_type, target, .. } = &self.columns[column];
        let span = self.room.bytes(column_type, field.form, span, sources)?;
        let Target::Header(name) = target else { return Ok(()) };
        if self.headers.as_headers().last(name.as_bytes()).is_none() {
            self.headers.push(name, Some(sources.cut(span, &self.room.scratch)));
        }
        Ok(())
    }
}

/// Appends a value as JSON.
fn put_member(
    document: &mut Vec<u8>,
    column_type: &Type,
    field: &Field,
    sources: Sources<'_>,
    room: &mut Room,
) -> Result<(), Problem> {
    let Some(span) = field.span else {
        document.extend_from_slice(b"null");
        return Ok(());
    };
    match room.parse(column_type, field.form, span, sources)? {
        Value::Int(number) | Value::KafkaTime(number) => put_i64(document, number),
        Value::Time(micros) => {
            document.push(b'"');
            let style = if fits_rfc3339(micros) { Style::Rfc3339 } else { Style::Postgres };
            put_timestamptz(document, micros, style);
            document.push(b'"');
        }
        Value::Typed(span) => {
            let binary = room.typed(span, sources);
            column_type
                .put_as_json(binary, document)
                .map_err(|reason| Problem::typed(column_type, binary, reason))?;
        }
        Value::Bytes(span) => {
            let bytes = sources.cut(span, &room.scratch);
            match column_type {
                _ if field.form == Form::Json => document.extend_from_slice(bytes),
                Type::Json | Type::Jsonb => document.extend_from_slice(bytes),
                Type::Bytea => {
                    document.extend_from_slice(b"\"\\\\x");
                    put_hex(document, bytes);
                    document.push(b'"');
                }
                _ => put_string(document, require_utf8(bytes)?),
            }
        }
    }
    Ok(())
}

impl Room {
    fn typed<'a>(&'a self, span: Option<Span>, sources: Sources<'a>) -> &'a [u8] {
        match span {
            Some(span) => sources.cut(span, &self.scratch),
            None => &self.typed,
        }
    }

    /// A field as the bytes of a key, value or header.
    #[inline]
    fn bytes(
        &mut self,
        column_type: &Type,
        form: Form,
        span: Span,
        sources: Sources<'_>,
    ) -> Result<Span, Problem> {
        let value = self.parse(column_type, form, span, sources)?;
        let start = self.scratch.len();
        match value {
            Value::Bytes(span) => return Ok(span),
            Value::Int(number) | Value::KafkaTime(number) => put_i64(&mut self.scratch, number),
            Value::Time(micros) => put_timestamptz(&mut self.scratch, micros, Style::Postgres),
            Value::Typed(span) => {
                let Room { scratch, typed, .. } = self;
                // Never in the scratch itself: a row's fields are in the input, or unescaped.
                let binary = span.map_or(typed.as_slice(), |span| sources.cut(span, &[]));
                column_type
                    .show(binary, scratch)
                    .map_err(|reason| Problem::value(column_type, binary, reason))?;
            }
        }
        Ok(Span { place: Place::Scratch, start, end: self.scratch.len() })
    }

    #[inline]
    fn parse(
        &mut self,
        column_type: &Type,
        form: Form,
        span: Span,
        sources: Sources<'_>,
    ) -> Result<Value, Problem> {
        match (form, column_type) {
            (Form::Text | Form::Binary, Type::Text) | (Form::Binary, Type::Bytea) => Ok(Value::Bytes(span)),
            (Form::Bytes | Form::Json | Form::Base64Headers, _) => Ok(Value::Bytes(span)),
            (Form::Milliseconds, _) => {
                let text = sources.cut(span, &[]);
                let number = parse_i64(text).map_err(|_| {
                    Problem::value(column_type, text, "as a number it must be milliseconds since 1970")
                });
                number.map(Value::KafkaTime)
            }
            (Form::Text, _) => self.parse_text(column_type, span, sources),
            (Form::Binary, _) => self.parse_binary(column_type, span, sources),
        }
    }

    fn parse_text(&mut self, column_type: &Type, span: Span, sources: Sources<'_>) -> Result<Value, Problem> {
        let text = sources.cut(span, &[]);
        let refuse = |reason| Problem::value(column_type, text, reason);
        match column_type {
            _ if column_type.is_text() => Ok(Value::Bytes(span)),
            Type::Json => self.check_json(text, Rules::Json).map(|()| Value::Bytes(span)),
            Type::Jsonb => self.check_json(text, Rules::Jsonb).map(|()| Value::Bytes(span)),
            Type::Int2 | Type::Int4 | Type::Int8 => {
                column_type.parse_integer(text).map(Value::Int).map_err(refuse)
            }
            Type::Timestamptz(_) => column_type.parse_point_in_time(text).map(Value::Time).map_err(refuse),
            Type::Bytea => {
                let start = self.scratch.len();
                if !decode_bytea(&mut self.scratch, text) {
                    return Err(refuse("not a bytea such as \\x00ff"));
                }
                Ok(Value::Bytes(Span { place: Place::Scratch, start, end: self.scratch.len() }))
            }
            _ => {
                self.typed.clear();
                column_type.parse_written(text, &mut self.typed).map_err(refuse)?;
                Ok(Value::Typed(None))
            }
        }
    }

    fn parse_binary(
        &mut self,
        column_type: &Type,
        span: Span,
        sources: Sources<'_>,
    ) -> Result<Value, Problem> {
        let bytes = sources.cut(span, &[]);
        if column_type.width().is_some_and(|width| width != bytes.len()) {
            return Err(Problem::WrongWidth { column_type: column_type.clone(), found: bytes.len() });
        }
        let integer =
            || bytes.iter().skip(1).fold(i64::from(bytes[0] as i8), |n, byte| n << 8 | i64::from(*byte));
        match column_type {
            Type::Bytea => Ok(Value::Bytes(span)),
            _ if column_type.is_text() => Ok(Value::Bytes(span)),
            Type::Json => self.check_json(bytes, Rules::Json).map(|()| Value::Bytes(span)),
            Type::Jsonb => {
                let json = bytes.strip_prefix(&[JSONB_VERSION]).ok_or(Problem::JsonbVersion)?;
                self.check_json(json, Rules::Jsonb)?;
                Ok(Value::Bytes(Span { start: span.start + 1, ..span }))
            }
            // Their width has been checked.
            Type::Int2 | Type::Int4 | Type::Int8 => Ok(Value::Int(integer())),
            Type::Timestamptz(_) => Ok(Value::Time(integer())),
            _ => Ok(Value::Typed(Some(span))),
        }
    }

    fn check_json(&mut self, json: &[u8], rules: Rules) -> Result<(), Problem> {
        require_utf8(json)?;
        Ok(Scanner::check(json, rules, &mut self.nesting)?)
    }

    fn kafka_timestamp(
        &self,
        column_type: &Type,
        value: Value,
        sources: Sources<'_>,
    ) -> Result<i64, Problem> {
        let micros = match value {
            Value::Int(milliseconds) | Value::KafkaTime(milliseconds) => return Ok(milliseconds),
            Value::Time(micros) => micros,
            Value::Typed(span) => {
                let binary = self.typed(span, sources);
                match (column_type, binary.try_into()) {
                    // Taken as UTC, as it is written.
                    (Type::Timestamp(_), Ok(binary)) => i64::from_be_bytes(binary),
                    _ => return Err(Problem::value(column_type, binary, "not a point in time")),
                }
            }
            Value::Bytes(span) => {
                let text = sources.cut(span, &self.scratch);
                if let Ok(milliseconds) = parse_i64(text) {
                    return Ok(milliseconds);
                }
                let time = Type::Timestamptz(None);
                time.parse_point_in_time(text).map_err(|reason| Problem::value(&time, text, reason))?
            }
        };
        match kafka_from_micros(micros).ok_or(Problem::TimestampOutOfRange)? {
            // As a number it is how kcat's JSON says that, and is meant.
            NO_TIMESTAMP => Err(Problem::MeansNoTimestamp),
            milliseconds => Ok(milliseconds),
        }
    }
}
