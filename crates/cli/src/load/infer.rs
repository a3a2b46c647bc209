//! What the columns of a new table are: seen in records.
//!
//! Whether a type holds a value says the very conversion that fills the table later.

use std::{borrow::Cow, collections::BTreeMap};

use kcopy_client::wire::records::{Headers, Record, TimestampType};
use kcopy_format::{
    Columns, Format, FormatOptions,
    columns::{Column, Source, Type},
    types::milliseconds_since_1970,
    write::{RecordContext, RecordWriter},
};
use serde_json::value::RawValue;

use super::{catalog::quoted, trouble::Trouble};
use crate::plan::Mode;

/// Members that become columns; PostgreSQL's own limit is 1,600.
const MAX_COLUMNS: usize = 1000;
/// A column of this name is filled from the record itself, never from a member.
const SOURCES: [&str; 8] =
    ["key", "value", "topic", "partition", "offset", "timestamp", "timestamp_type", "headers"];
/// PostgreSQL has these in every table.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// The types that values are seen to have, from narrow to wide within each row of the lattice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Null,
    Bool,
    Integer,
    Number,
    Date,
    Timestamp,
    Uuid,
    Text,
    Document,
    /// JSON that only its own text holds: `\u0000`, half a surrogate pair, numbers beyond all limits.
    Raw,
}

impl Seen {
    /// The narrowest that holds both.
    fn and(self, other: Seen) -> Seen {
        match (self, other) {
            (one, other) if one == other => one,
            (Seen::Null, other) | (other, Seen::Null) => other,
            (Seen::Raw, _) | (_, Seen::Raw) => Seen::Raw,
            (Seen::Integer, Seen::Number) | (Seen::Number, Seen::Integer) => Seen::Number,
            _ if self.is_text() && other.is_text() => Seen::Text,
            _ => Seen::Document,
        }
    }

    /// A JSON string.
    fn is_text(self) -> bool {
        matches!(self, Seen::Date | Seen::Timestamp | Seen::Uuid | Seen::Text)
    }

    fn type_name(self) -> &'static str {
        match self {
            Seen::Bool => "boolean",
            Seen::Integer => "bigint",
            Seen::Number => "numeric",
            Seen::Date => "date",
            Seen::Timestamp => "timestamptz",
            Seen::Uuid => "uuid",
            Seen::Null | Seen::Text => "text",
            Seen::Document => "jsonb",
            Seen::Raw => "json",
        }
    }
}

/// Year, month and day, as everybody reads them.
fn is_date(text: &str) -> bool {
    let is_dash = |at: usize| matches!(at, 4 | 7);
    text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if is_dash(at) { byte == b'-' } else { byte.is_ascii_digit() })
}

/// A date, a time and an offset: what means the same everywhere.
fn is_timestamp(text: &str) -> bool {
    text.len() >= 20 && text.as_bytes()[4] == b'-' && milliseconds_since_1970(text).is_some()
}

fn is_uuid(text: &str) -> bool {
    let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if is_dash(at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// Fills a single column, as the loader would.
#[derive(Debug)]
struct Probe {
    writer: RecordWriter,
    row: Vec<u8>,
}

impl Probe {
    fn new(column_type: Type, source: Source) -> Result<Probe, Trouble> {
        let failed = |error: String| Trouble::Final(format!("inferring columns: {error}"));
        let mut options = FormatOptions::new(Format::Binary);
        let columns = Columns::new(vec![Column::new("probe", column_type, source)]);
        options.columns = Some(columns.map_err(|error| failed(error.to_string()))?);
        let writer = RecordWriter::new(&options).map_err(|error| failed(error.to_string()))?;
        Ok(Probe { writer, row: Vec::new() })
    }

    /// Whether the column holds that; both the key and the value of a record are `bytes`.
    fn takes(&mut self, bytes: &[u8]) -> bool {
        let both = Some(bytes);
        self.write(&Record { offset: 0, timestamp: 0, key: both, value: both, headers: Headers::EMPTY })
    }

    /// Whether the column holds what it has of a record. Its binary form is the end of the row then.
    fn write(&mut self, record: &Record<'_>) -> bool {
        let context =
            RecordContext { topic: "", partition: 0, broker: 0, timestamp_type: TimestampType::CreateTime };
        self.row.clear();
        self.writer.write(&context, record, &mut self.row).is_ok()
    }

    /// What the column has of a record, where it is JSON; nothing where it is not there.
    fn json(&mut self, record: &Record<'_>) -> Option<&str> {
        if !self.write(record) {
            return None;
        }
        // The number of columns, and the length of the only one, which is negative for NULL.
        let (length, json) = self.row.get(2..)?.split_first_chunk::<4>()?;
        (i32::from_be_bytes(*length) > 0).then(|| std::str::from_utf8(json).ok())?
    }
}

/// Types that a member, or a whole part of a record, may have.
#[derive(Debug)]
struct Probes {
    integer: Probe,
    number: Probe,
    date: Probe,
    timestamp: Probe,
    uuid: Probe,
    text: Probe,
    document: Probe,
    key_text: Probe,
    value_text: Probe,
    value_document: Probe,
    value_raw: Probe,
    /// An object with the member that is looked at, of which only the name is known.
    object: Vec<u8>,
}

/// The name of the only member of [`Probes::object`].
const MEMBER: &str = "m";

impl Probes {
    fn new() -> Result<Probes, Trouble> {
        let member = |column_type| Probe::new(column_type, Source::member(MEMBER));
        Ok(Probes {
            integer: member(Type::Int8)?,
            number: member(Type::Numeric(None))?,
            date: member(Type::Date)?,
            timestamp: member(Type::Timestamptz(None))?,
            uuid: member(Type::Uuid)?,
            text: member(Type::Text)?,
            document: member(Type::Jsonb)?,
            key_text: Probe::new(Type::Text, Source::Key)?,
            value_text: Probe::new(Type::Text, Source::Value)?,
            value_document: Probe::new(Type::Jsonb, Source::Value)?,
            value_raw: Probe::new(Type::Json, Source::Value)?,
            object: Vec::new(),
        })
    }

    fn of_member(&mut self, json: &str) -> Seen {
        self.object.clear();
        self.object.extend_from_slice(format!("{{\"{MEMBER}\":{json}}}").as_bytes());
        let object = self.object.as_slice();
        match json.as_bytes().first() {
            Some(b'n') => return Seen::Null,
            Some(b't' | b'f') => return Seen::Bool,
            Some(b'"') => {
                let text: Option<Cow<'_, str>> = serde_json::from_str(json).ok();
                if text.as_deref().is_some_and(is_date) && self.date.takes(object) {
                    return Seen::Date;
                }
                if text.as_deref().is_some_and(is_timestamp) && self.timestamp.takes(object) {
                    return Seen::Timestamp;
                }
                if text.as_deref().is_some_and(is_uuid) && self.uuid.takes(object) {
                    return Seen::Uuid;
                }
                if self.text.takes(object) {
                    return Seen::Text;
                }
            }
            Some(b'[' | b'{') => {}
            _ => {
                // 1.0 is a whole number, and the next one need not be.
                if !json.contains(['.', 'e', 'E']) && self.integer.takes(object) {
                    return Seen::Integer;
                }
                if self.number.takes(object) {
                    return Seen::Number;
                }
            }
        }
        if self.document.takes(object) { Seen::Document } else { Seen::Raw }
    }
}

/// What the first records of a table's topics look like.
#[derive(Debug)]
pub(super) struct Sample {
    /// Those that have a value.
    pub(super) records: i64,
    members: BTreeMap<String, Seen>,
    /// The first record that is no JSON object.
    other: Option<String>,
    is_key_text: bool,
    is_text: bool,
    is_document: bool,
    is_json: bool,
    probes: Probes,
    /// Of the columns that are parts of JSON and have no type: their places, and what they were seen to be.
    paths: Vec<(usize, Probe, Seen)>,
}

impl Sample {
    /// `columns` are those that were named.
    pub(super) fn new(columns: Option<&Columns>) -> Result<Sample, Trouble> {
        let mut paths = Vec::new();
        for (at, column) in columns.iter().flat_map(|columns| columns.as_slice().iter().enumerate()) {
            if matches!(column.source, Source::Path(_))
                && !columns.is_some_and(|columns| columns.is_typed(at))
            {
                paths.push((at, Probe::new(Type::Json, column.source.clone())?, Seen::Null));
            }
        }
        Ok(Sample {
            records: 0,
            members: BTreeMap::new(),
            other: None,
            is_key_text: true,
            is_text: true,
            is_document: true,
            is_json: true,
            probes: Probes::new()?,
            paths,
        })
    }

    pub(super) fn add(&mut self, topic: &str, partition: i32, record: &Record<'_>) {
        let probes = &mut self.probes;
        self.is_key_text &= record.key.is_none_or(|key| probes.key_text.takes(key));
        for (_, path, known) in &mut self.paths {
            if let Some(json) = path.json(record) {
                *known = known.and(probes.of_member(json));
            }
        }
        let Some(value) = record.value else { return };
        self.records += 1;
        self.is_text = self.is_text && probes.value_text.takes(value);
        self.is_document = self.is_document && probes.value_document.takes(value);
        self.is_json = self.is_json && (self.is_document || probes.value_raw.takes(value));
        if self.other.is_some() {
            return;
        }
        match serde_json::from_slice::<BTreeMap<String, &RawValue>>(value) {
            Ok(members) => {
                for (name, value) in members {
                    let seen = probes.of_member(value.get());
                    let known = self.members.entry(name).or_insert(Seen::Null);
                    *known = known.and(seen);
                }
            }
            Err(_) => self.other = Some(format!("{topic} [{partition}] offset {}", record.offset)),
        }
    }

    /// The columns of the table, as SQL, and what people should know about them.
    pub(super) fn columns(&self, mode: Mode, table: &str) -> (Vec<String>, Vec<String>) {
        let (mut columns, mut notes) = (Vec::new(), Vec::new());
        let key = if self.is_key_text { "key text" } else { "key bytea" };
        if mode == Mode::Upsert {
            columns.push(format!("{key} primary key"));
        }
        let (named, others): (Vec<_>, Vec<_>) = self.members.iter().partition(|(name, _)| is_name(name));
        if let Some(other) = &self.other {
            notes.push(format!(
                "{other} is no JSON object: {table} gets whole values, and no column for a member"
            ));
        } else {
            notes.extend(others.iter().map(|(name, _)| {
                format!("member {name:?} becomes no column of {table}: the name is taken, or too long")
            }));
        }
        if self.other.is_some() || named.is_empty() {
            if self.other.is_none() && !others.is_empty() {
                notes.push(format!("{table} gets whole values: no member can be a column"));
            }
            if mode == Mode::Append {
                columns.push(key.to_owned());
            }
            columns.push(format!("value {}", self.value_type()));
            return (columns, notes);
        }
        let (made, more) = named.split_at(named.len().min(MAX_COLUMNS));
        for (name, seen) in made {
            if **seen == Seen::Raw {
                notes.push(raw_note(name, table));
            }
            columns.push(format!("{} {}", quoted(name), seen.type_name()));
        }
        if let Some((first, _)) = more.first() {
            notes.push(format!(
                "{} members, from {first:?} on, become no columns of {table}: {MAX_COLUMNS} are made at most; --columns \
                 names those that are wanted",
                more.len()
            ));
        }
        (columns, notes)
    }

    /// Those that were named, as SQL, with types that were seen where none were said, and what people should know.
    pub(super) fn named_columns(&self, columns: &Columns, table: &str) -> (Vec<String>, Vec<String>) {
        let mut notes = Vec::new();
        let mut listed = Vec::new();
        for (at, column) in columns.as_slice().iter().enumerate() {
            let seen = self.paths.iter().find(|(place, ..)| *place == at).map(|(.., seen)| *seen);
            let column_type = match (seen, &column.source) {
                (Some(seen), _) => {
                    notes.extend((seen == Seen::Raw).then(|| raw_note(&column.name, table)));
                    seen.type_name().to_owned()
                }
                (None, Source::Key) if !columns.is_typed(at) && !self.is_key_text => "bytea".to_owned(),
                (None, Source::Value) if !columns.is_typed(at) && !self.is_text => "bytea".to_owned(),
                _ => column.column_type.to_string(),
            };
            listed.push(format!("{} {column_type}", quoted(&column.name)));
        }
        (listed, notes)
    }

    fn value_type(&self) -> &'static str {
        match self {
            Sample { is_document: true, .. } => "jsonb",
            Sample { is_json: true, .. } => "json",
            Sample { is_text: true, .. } => "text",
            _ => "bytea",
        }
    }
}

fn raw_note(name: &str, table: &str) -> String {
    format!(
        "column {name:?} of {table} is json: it has values that text and jsonb cannot hold, such as \\u0000"
    )
}

/// PostgreSQL's names have 1 to 63 bytes; some mean something else.
fn is_name(name: &str) -> bool {
    let is_taken = SOURCES.contains(&name) || SYSTEM_COLUMNS.contains(&name);
    !name.is_empty() && name.len() < 64 && !name.contains('\0') && !is_taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(values: &[&str], mode: Mode) -> (String, String) {
        let mut sample = Sample::new(None).unwrap();
        for (value, offset) in values.iter().zip(0..) {
            let value = Some(value.as_bytes());
            let record = Record { offset, timestamp: 0, key: None, value, headers: Headers::EMPTY };
            sample.add("t", 0, &record);
        }
        let (columns, notes) = sample.columns(mode, "x");
        (columns.join(", "), notes.join("\n"))
    }

    fn columns(values: &[&str], mode: Mode) -> String {
        described(values, mode).0
    }

    #[test]
    fn the_narrowest_type_holds_all_values() {
        let values = [
            r#"{"id":1,"n":1,"at":"2026-01-31T12:00:00Z","u":"5c9d2b1e-0f8a-4a62-9d7e-0123456789ab","tags":[],"x":null}"#,
            r#"{"id":9007199254740993,"n":1.5,"at":"2026-01-31T13:00:00+01:00","ok":true,"mixed":1,"offset":7}"#,
            r#"{"id":3,"at":null,"mixed":"a","s":"2026-01-31","big":18446744073709551615,"whole":1.0}"#,
        ];
        assert_eq!(
            columns(&values, Mode::Append),
            "\"at\" timestamptz, \"big\" numeric, \"id\" bigint, \"mixed\" jsonb, \"n\" numeric, \"ok\" boolean, \
             \"s\" date, \"tags\" jsonb, \"u\" uuid, \"whole\" numeric, \"x\" text"
        );
        assert_eq!(columns(&["{\"a\":1}"], Mode::Upsert), "key text primary key, \"a\" bigint");
        let values = [
            r#"{"a":"2026-02-28","b":"2026-02-29","c":"2026-01-31","d":"20260131","e":"2026-01-31"}"#,
            r#"{"a":"0001-01-01","b":"2026-01-31","c":"2026-01-31T12:00:00Z","d":"20260131","e":7}"#,
        ];
        assert_eq!(
            columns(&values, Mode::Append),
            "\"a\" date, \"b\" text, \"c\" text, \"d\" text, \"e\" jsonb"
        );
    }

    #[test]
    fn a_type_that_the_loader_refuses_for_a_value_is_not_taken() {
        let values = [
            r#"{"zone":"2026-01-01T00:00:00+01:00[Europe/Berlin]","year":"0000-01-01T00:00:00Z"}"#,
            r#"{"nul":"a\u0000b","half":"\ud800","deep":{"x":["\u0000"]},"huge":1e999999,"at":"2026-01-01T00:00:00Z"}"#,
            r#"{"nul":"plain","half":1,"deep":[],"huge":1,"at":"2026-01-01T00:00:00"}"#,
        ];
        let (columns, notes) = described(&values, Mode::Append);
        assert_eq!(
            columns,
            "\"at\" text, \"deep\" json, \"half\" json, \"huge\" json, \"nul\" json, \"year\" text, \"zone\" text"
        );
        assert!(notes.contains("column \"nul\" of x is json") && notes.lines().count() == 4, "{notes}");
    }

    #[test]
    fn values_that_are_no_objects_stay_whole_and_why_is_said() {
        assert_eq!(columns(&["1", "[]"], Mode::Append), "key text, value jsonb");
        assert_eq!(columns(&["\"\\u0000\"", "{}"], Mode::Append), "key text, value json");
        assert_eq!(columns(&["\u{0}"], Mode::Upsert), "key text primary key, value bytea");
        let (columns, notes) = described(&["{\"a\":1}", "plain"], Mode::Append);
        assert_eq!(columns, "key text, value text");
        assert_eq!(
            notes,
            "t [0] offset 1 is no JSON object: x gets whole values, and no column for a member"
        );
    }

    #[test]
    fn keys_that_are_no_text_are_bytes() {
        let mut sample = Sample::new(None).unwrap();
        let (key, value) = (Some(&[0, 0, 0, 7][..]), Some(&b"{}"[..]));
        sample.add("t", 0, &Record { offset: 0, timestamp: 0, key, value, headers: Headers::EMPTY });
        assert_eq!(sample.columns(Mode::Upsert, "x").0, ["key bytea primary key", "value jsonb"]);
    }

    #[test]
    fn members_that_become_no_columns_are_told() {
        let (columns, notes) = described(&[r#"{"a":1,"ctid":1,"xmax":2,"topic":3}"#], Mode::Append);
        assert_eq!(columns, "\"a\" bigint");
        assert_eq!(notes.matches("the name is taken").count(), 3, "{notes}");

        let (columns, notes) = described(&[r#"{"key":1,"value":2}"#], Mode::Append);
        assert_eq!(columns, "key text, value jsonb");
        assert!(notes.ends_with("x gets whole values: no member can be a column"), "{notes}");
        let (columns, _) = described(&[r#"{"value":2}"#], Mode::Upsert);
        assert_eq!(columns, "key text primary key, value jsonb");

        let members: Vec<String> = (0..1500).map(|n| format!("\"m{n:04}\":1")).collect();
        let (columns, notes) = described(&[&format!("{{{}}}", members.join(","))], Mode::Append);
        assert_eq!(columns.split(", ").count(), MAX_COLUMNS);
        assert!(notes.starts_with("500 members, from \"m1000\" on, become no columns of x"), "{notes}");
    }
}
