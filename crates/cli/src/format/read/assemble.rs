//! From the fields of a row to a record.

use kcopy_wire::records::{Headers, HeadersBuf};

use super::rows::{Field, Form, Place, Rows, Span};
use crate::format::{
    base64::{decode_bytea, put_hex},
    columns::{Column, Columns, ColumnsError, Target, Type},
    datetime::{Style, fits_rfc3339, kafka_from_micros, parse_timestamptz, put_timestamptz},
    error::Problem,
    headers::HeadersParser,
    json::{Nesting, Rules, Scanner, put_string},
    number::{parse_i64, put_i64},
    write::{JSONB_VERSION, integer, require_utf8},
};

/// A column, ready to be read.
#[derive(Debug)]
pub(super) struct ColumnPlan {
    pub(super) name: String,
    pub(super) column_type: Type,
    pub(super) target: Target,
    /// `"name":` for a member, with what separates it from the one before.
    member_prefix: Vec<u8>,
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
    has_members: bool,
    /// Columns that become single headers: after those of a `headers` column.
    header_columns: Vec<usize>,
    scratch: Vec<u8>,
    document: Vec<u8>,
    headers: HeadersBuf,
    headers_parser: HeadersParser,
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
        let mut has_members = false;
        let mut plan = |(column, target): (&Column, Target)| {
            let mut member_prefix = Vec::new();
            if let Target::Member(name) = &target {
                member_prefix.push(if has_members { b',' } else { b'{' });
                put_string(&mut member_prefix, name);
                member_prefix.push(b':');
                has_members = true;
            }
            ColumnPlan { name: column.name.clone(), column_type: column.column_type, target, member_prefix }
        };
        let columns: Vec<_> = columns.as_slice().iter().zip(targets).map(&mut plan).collect();
        let is_header = |&index: &usize| matches!(columns[index].target, Target::Header(_));
        Ok(Assembler {
            has_members,
            header_columns: (0..columns.len()).filter(is_header).collect(),
            columns,
            scratch: Vec::new(),
            document: Vec::new(),
            headers: HeadersBuf::new(),
            headers_parser: HeadersParser::default(),
            nesting: Nesting::default(),
        })
    }

    pub(super) fn columns(&self) -> &[ColumnPlan] {
        &self.columns
    }

    pub(super) fn scratch(&self) -> &[u8] {
        &self.scratch
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
        self.scratch.clear();
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
        if self.has_members {
            self.document.push(b'}');
            record.value = Some(Span { place: Place::Document, start: 0, end: self.document.len() });
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
        let ColumnPlan { column_type, ref target, .. } = self.columns[column];
        let Some(span) = field.span else {
            if let Target::Member(_) = target {
                self.document.extend_from_slice(&self.columns[column].member_prefix);
                self.document.extend_from_slice(b"null");
            }
            return Ok(());
        };
        match target {
            Target::Key => record.key = Some(self.bytes(column_type, field.form, span, sources)?),
            Target::Value => record.value = Some(self.bytes(column_type, field.form, span, sources)?),
            Target::Topic => {
                let topic = sources.cut(span, &self.scratch);
                if topic.is_empty() || std::str::from_utf8(topic).is_err() {
                    return Err(Problem::InvalidTopic);
                }
                record.topic = Some(span);
            }
            Target::Partition => {
                let number = match self.parse(column_type, field.form, span, sources)? {
                    Value::Int(number) => Some(number),
                    Value::Bytes(span) => parse_i64(sources.cut(span, &self.scratch)).ok(),
                    Value::Time(_) | Value::KafkaTime(_) => None,
                };
                let partition = number.and_then(|number| i32::try_from(number).ok()).filter(|n| *n >= 0);
                record.partition = Some(partition.ok_or(Problem::InvalidPartition)?);
            }
            Target::Timestamp => {
                let value = self.parse(column_type, field.form, span, sources)?;
                record.timestamp = Some(kafka_timestamp(value, |span| sources.cut(span, &self.scratch))?);
            }
            Target::Headers => self.all_headers(column_type, field.form, sources.cut(span, &[]))?,
            Target::Member(_) => self.member(column, field.form, span, sources)?,
            Target::Skip | Target::Header(_) => {}
        }
        Ok(())
    }

    fn all_headers(&mut self, column_type: Type, form: Form, bytes: &[u8]) -> Result<(), Problem> {
        let json = match (form, column_type) {
            (Form::Base64Headers, _) => return self.headers_parser.parse_base64(bytes, &mut self.headers),
            (Form::Binary, Type::Jsonb) => {
                bytes.strip_prefix(&[JSONB_VERSION]).ok_or(Problem::JsonbVersion)?
            }
            _ => bytes,
        };
        self.headers_parser.parse(json, &mut self.headers)
    }

    /// A single header, unless the `headers` column has one of that name already.
    fn header(&mut self, column: usize, field: &Field, sources: Sources<'_>) -> Result<(), Problem> {
        let Some(span) = field.span else { return Ok(()) };
        let span = self.bytes(self.columns[column].column_type, field.form, span, sources)?;
        let Target::Header(name) = &self.columns[column].target else { return Ok(()) };
        if self.headers.as_headers().last(name.as_bytes()).is_none() {
            self.headers.push(name, Some(sources.cut(span, &self.scratch)));
        }
        Ok(())
    }

    /// Appends a member to the document.
    fn member(&mut self, column: usize, form: Form, span: Span, sources: Sources<'_>) -> Result<(), Problem> {
        let column_type = self.columns[column].column_type;
        let value = self.parse(column_type, form, span, sources)?;
        let Assembler { columns, document, scratch, .. } = self;
        document.extend_from_slice(&columns[column].member_prefix);
        match value {
            Value::Int(number) | Value::KafkaTime(number) => put_i64(document, number),
            Value::Time(micros) => {
                document.push(b'"');
                let style = if fits_rfc3339(micros) { Style::Rfc3339 } else { Style::Postgres };
                put_timestamptz(document, micros, style);
                document.push(b'"');
            }
            Value::Bytes(span) => {
                let bytes = sources.cut(span, scratch);
                match column_type {
                    _ if form == Form::Json => document.extend_from_slice(bytes),
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

    /// A field as the bytes of a key, value or header.
    #[inline]
    fn bytes(
        &mut self,
        column_type: Type,
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
        }
        Ok(Span { place: Place::Scratch, start, end: self.scratch.len() })
    }

    #[inline]
    fn parse(
        &mut self,
        column_type: Type,
        form: Form,
        span: Span,
        sources: Sources<'_>,
    ) -> Result<Value, Problem> {
        match (form, column_type) {
            (Form::Text | Form::Binary, Type::Text) | (Form::Binary, Type::Bytea) => Ok(Value::Bytes(span)),
            (Form::Bytes | Form::Json | Form::Base64Headers, _) => Ok(Value::Bytes(span)),
            (Form::Milliseconds, _) => {
                let number = parse_i64(sources.cut(span, &[]));
                number.map(Value::KafkaTime).map_err(|_| Problem::InvalidTimestamp)
            }
            (Form::Text, _) => self.parse_text(column_type, span, sources),
            (Form::Binary, _) => self.parse_binary(column_type, span, sources),
        }
    }

    fn parse_text(&mut self, column_type: Type, span: Span, sources: Sources<'_>) -> Result<Value, Problem> {
        let text = sources.cut(span, &[]);
        match column_type {
            Type::Text => Ok(Value::Bytes(span)),
            Type::Json => self.check_json(text, Rules::Json).map(|()| Value::Bytes(span)),
            Type::Jsonb => self.check_json(text, Rules::Jsonb).map(|()| Value::Bytes(span)),
            Type::Int2 | Type::Int4 | Type::Int8 => integer(text, column_type).map(Value::Int),
            Type::Timestamptz => parse_timestamptz(text).map(Value::Time).ok_or(Problem::InvalidTimestamp),
            Type::Bytea => {
                let start = self.scratch.len();
                if !decode_bytea(&mut self.scratch, text) {
                    return Err(Problem::InvalidBytea);
                }
                Ok(Value::Bytes(Span { place: Place::Scratch, start, end: self.scratch.len() }))
            }
        }
    }

    fn parse_binary(
        &mut self,
        column_type: Type,
        span: Span,
        sources: Sources<'_>,
    ) -> Result<Value, Problem> {
        let bytes = sources.cut(span, &[]);
        let wrong_width = |_| Problem::WrongWidth { column_type, found: bytes.len() };
        match column_type {
            Type::Text | Type::Bytea => Ok(Value::Bytes(span)),
            Type::Json => self.check_json(bytes, Rules::Json).map(|()| Value::Bytes(span)),
            Type::Jsonb => {
                let json = bytes.strip_prefix(&[JSONB_VERSION]).ok_or(Problem::JsonbVersion)?;
                self.check_json(json, Rules::Jsonb)?;
                Ok(Value::Bytes(Span { start: span.start + 1, ..span }))
            }
            Type::Int2 => {
                bytes.try_into().map_err(wrong_width).map(|b| Value::Int(i16::from_be_bytes(b).into()))
            }
            Type::Int4 => {
                bytes.try_into().map_err(wrong_width).map(|b| Value::Int(i32::from_be_bytes(b).into()))
            }
            Type::Int8 => bytes.try_into().map_err(wrong_width).map(|b| Value::Int(i64::from_be_bytes(b))),
            Type::Timestamptz => {
                bytes.try_into().map_err(wrong_width).map(|b| Value::Time(i64::from_be_bytes(b)))
            }
        }
    }

    fn check_json(&mut self, json: &[u8], rules: Rules) -> Result<(), Problem> {
        require_utf8(json)?;
        Ok(Scanner::check(json, rules, &mut self.nesting)?)
    }
}

fn kafka_timestamp<'a>(value: Value, cut: impl Fn(Span) -> &'a [u8]) -> Result<i64, Problem> {
    match value {
        Value::Int(milliseconds) | Value::KafkaTime(milliseconds) => Ok(milliseconds),
        Value::Time(micros) => kafka_from_micros(micros).ok_or(Problem::TimestampOutOfRange),
        Value::Bytes(span) => {
            let text = cut(span);
            match (parse_i64(text), parse_timestamptz(text)) {
                (Ok(milliseconds), _) => Ok(milliseconds),
                (_, Some(micros)) => kafka_from_micros(micros).ok_or(Problem::TimestampOutOfRange),
                (_, None) => Err(Problem::InvalidTimestamp),
            }
        }
    }
}
