//! One JSON object a line.
//!
//! Without `--columns` the members are those that kcopy itself writes (`key`, `value`, `headers`, `timestamp`),
//! or kcat's `-J` (`key`, `payload`, `headers`, `ts`, and kcopy's `*_base64` beside them). Where Kafka had put
//! the record (topic, partition, offset) is not where it goes now, so that is not looked at; a `--columns` list
//! that has them says otherwise.
//!
//! A member may be left out, which is NULL; one that nobody knows is an error. What is no string is taken as its
//! JSON text.

use memchr::memchr;

use super::{
    assemble::ColumnPlan,
    rows::{Field, Form, Found, Place, Rows, Span},
};
use crate::{
    base64::decode_base64,
    columns::{Columns, Target, Type},
    error::{InputErrorKind, Problem},
    headers::decode_marker,
    json::{JsonError, Nesting, RawString, Rules, Scanner},
    write::require_whole_characters,
};

#[derive(Debug)]
pub(super) struct JsonParser {
    members: Vec<Member>,
    searched: usize,
    nesting: Nesting,
    name: Vec<u8>,
}

#[derive(Debug)]
struct Member {
    name: Vec<u8>,
    use_as: UseAs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UseAs {
    /// The column of this number.
    Column(usize),
    /// The column of this number in base64, whatever else stands for it.
    Base64(usize),
    /// Known, but of no use.
    Nothing,
}

/// The columns of a whole record; [`JsonParser::of_records`] counts on their order.
pub(super) fn record_columns() -> Columns {
    Columns::parse("key, value, headers, timestamp").expect("a constant list that a test parses")
}

impl JsonParser {
    pub(super) fn new(columns: &Columns) -> Self {
        let names = columns.as_slice().iter().map(|column| column.name.clone().into_bytes());
        let member = |(index, name)| Member { name, use_as: UseAs::Column(index) };
        Self::with(names.enumerate().map(member).collect())
    }

    pub(super) fn of_records() -> Self {
        const KEY: usize = 0;
        const VALUE: usize = 1;
        const HEADERS: usize = 2;
        const TIMESTAMP: usize = 3;
        let members = [
            ("topic", UseAs::Nothing),
            ("partition", UseAs::Nothing),
            ("offset", UseAs::Nothing),
            ("timestamp", UseAs::Column(TIMESTAMP)),
            ("key", UseAs::Column(KEY)),
            ("value", UseAs::Column(VALUE)),
            ("headers", UseAs::Column(HEADERS)),
            ("timestamp_type", UseAs::Nothing),
            ("tstype", UseAs::Nothing),
            ("ts", UseAs::Column(TIMESTAMP)),
            ("broker", UseAs::Nothing),
            ("headers_base64", UseAs::Base64(HEADERS)),
            ("key_base64", UseAs::Base64(KEY)),
            ("payload", UseAs::Column(VALUE)),
            ("payload_base64", UseAs::Base64(VALUE)),
        ];
        Self::with(members.map(|(name, use_as)| Member { name: name.into(), use_as }).into())
    }

    fn with(members: Vec<Member>) -> Self {
        JsonParser { members, searched: 0, nesting: Nesting::default(), name: Vec::new() }
    }

    pub(super) fn find(
        &mut self,
        unread: &[u8],
        at_end: bool,
        columns: &[ColumnPlan],
        rows: &mut Rows,
    ) -> Result<Found, InputErrorKind> {
        let (line, taken) = match memchr(b'\n', &unread[self.searched..]) {
            Some(found) => (&unread[..self.searched + found], self.searched + found + 1),
            None if at_end && !unread.is_empty() => (unread, unread.len()),
            None => {
                self.searched = unread.len();
                return Ok(Found::Nothing);
            }
        };
        self.searched = 0;
        if line.trim_ascii().is_empty() {
            rows.skip(1);
            return Ok(Found::Skip(taken));
        }
        rows.begin(1);
        if let Err(error) = std::str::from_utf8(line) {
            return Err(InputErrorKind::Json { position: error.valid_up_to(), reason: "not valid UTF-8" });
        }
        (0..columns.len()).for_each(|_| rows.push_null());
        self.object(&mut Scanner::new(line), columns, rows)?;
        Ok(Found::Row(taken))
    }

    fn object(
        &mut self,
        scanner: &mut Scanner<'_>,
        columns: &[ColumnPlan],
        rows: &mut Rows,
    ) -> Result<(), InputErrorKind> {
        scanner.expect(b'{', "each line must be a JSON object")?;
        let mut expected = 0;
        if !scanner.take(b'}') {
            loop {
                let use_as = self.member(scanner, &mut expected)?;
                scanner.expect(b':', "a colon was expected")?;
                self.value(scanner, use_as, columns, rows)?;
                if !scanner.take(b',') {
                    break;
                }
            }
            scanner.expect(b'}', "a comma or } was expected")?;
        }
        Ok(scanner.end()?)
    }

    /// Which member comes next. Most lines have them in the same order.
    fn member(&mut self, scanner: &mut Scanner<'_>, expected: &mut usize) -> Result<UseAs, InputErrorKind> {
        let raw = scanner.string(Rules::Json)?;
        let name = scanner.text_of(raw, &mut self.name);
        let is_expected = self.members.get(*expected).is_some_and(|member| member.name == name);
        let index = match is_expected {
            true => Some(*expected),
            false => self.members.iter().position(|member| member.name == name),
        };
        let Some(index) = index else {
            return Err(InputErrorKind::UnknownMember(String::from_utf8_lossy(name).into_owned()));
        };
        *expected = index + 1;
        Ok(self.members[index].use_as)
    }

    fn value(
        &mut self,
        scanner: &mut Scanner<'_>,
        use_as: UseAs,
        columns: &[ColumnPlan],
        rows: &mut Rows,
    ) -> Result<(), InputErrorKind> {
        let (start, end) = scanner.value(Rules::Json, &mut self.nesting)?;
        let json = scanner.slice(start, end);
        let (column, field) = match use_as {
            UseAs::Nothing => return Ok(()),
            UseAs::Base64(_) if json == b"null" => return Ok(()),
            UseAs::Base64(column) => {
                let ColumnPlan { name, target, .. } = &columns[column];
                let field = match target {
                    Target::Headers => input_field(Form::Base64Headers, start, end),
                    _ => base64_field(json, rows)
                        .map_err(|problem| InputErrorKind::Field { column: name.clone(), problem })?,
                };
                (column, field)
            }
            // The exact bytes came before.
            UseAs::Column(column) if is_exact(rows.fields[column].form) => return Ok(()),
            UseAs::Column(column) => {
                let plan = &columns[column];
                let is_string = json[0] == b'"' && !stays_json(plan);
                let field = match is_string {
                    true => string_field(scanner, start, end, rows)
                        .map_err(|problem| InputErrorKind::Field { column: plan.name.clone(), problem })?,
                    false => other_field(json, start, plan, rows),
                };
                (column, field)
            }
        };
        rows.fields[column] = field;
        Ok(())
    }
}

/// Whether nothing can say it better.
fn is_exact(form: Form) -> bool {
    matches!(form, Form::Bytes | Form::Base64Headers)
}

fn stays_json(column: &ColumnPlan) -> bool {
    column.column_type.is_json() || is_member(column)
}

/// Whether the column becomes part of a JSON document.
fn is_member(column: &ColumnPlan) -> bool {
    matches!(column.target, Target::Member(_) | Target::KeyMember(_))
}

fn input_field(form: Form, start: usize, end: usize) -> Field {
    Field { span: Some(Span { place: Place::Input, start, end }), form }
}

fn unescaped_field(form: Form, start: usize, rows: &Rows) -> Field {
    Field { span: Some(Span { place: Place::Unescaped, start, end: rows.unescaped.len() }), form }
}

/// The text that a string says.
fn string_field(scanner: &Scanner<'_>, start: usize, end: usize, rows: &mut Rows) -> Result<Field, Problem> {
    let raw = RawString { start: start + 1, end: end - 1, has_escapes: true };
    if memchr(b'\\', scanner.slice(raw.start, raw.end)).is_none() {
        return Ok(input_field(Form::Text, raw.start, raw.end));
    }
    let from = rows.unescaped.len();
    scanner.unescape(raw, &mut rows.unescaped);
    require_whole_characters(&rows.unescaped[from..])?;
    Ok(unescaped_field(Form::Text, from, rows))
}

/// Whatever is no string, or stays JSON.
fn other_field(json: &[u8], start: usize, column: &ColumnPlan, rows: &mut Rows) -> Field {
    let is_member = is_member(column);
    let form = match json[0] {
        b'n' => return Field { span: None, form: Form::Text },
        b'{' if !is_member && column.target != Target::Headers => {
            let from = rows.unescaped.len();
            if decode_marker(json, &mut rows.unescaped) {
                return unescaped_field(Form::Bytes, from, rows);
            }
            Form::Json
        }
        b'-' | b'0'..=b'9' if !is_member && matches!(column.column_type, Type::Timestamptz(_)) => {
            Form::Milliseconds
        }
        _ if stays_json(column) => Form::Json,
        _ => Form::Text,
    };
    input_field(form, start, start + json.len())
}

/// The bytes that a string in base64 says.
fn base64_field(json: &[u8], rows: &mut Rows) -> Result<Field, Problem> {
    let text = json.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let from = rows.unescaped.len();
    match text {
        Some(text) if decode_base64(&mut rows.unescaped, text) => {
            Ok(unescaped_field(Form::Bytes, from, rows))
        }
        _ => Err(Problem::UnexpectedJson("a string in base64 was expected")),
    }
}

impl From<JsonError> for InputErrorKind {
    fn from(JsonError { position, reason }: JsonError) -> Self {
        InputErrorKind::Json { position, reason }
    }
}
