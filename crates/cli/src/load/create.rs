//! `--create-table`: a table for records that nobody has described.
//!
//! The first records say what there is: members of JSON objects become columns, with the narrowest type that
//! holds all of their values. What does not fit later is an error like any other.

use std::collections::BTreeMap;

use kcopy_client::{Assignment, Client, ConsumerConfig, Event, StartOffset, wire::Str};
use serde_json::Value;

use super::{catalog::quoted, trouble::Trouble};
use crate::plan::{Load, Mode};

/// Records that are looked at, for each table.
const MAX_RECORDS: i64 = 1000;
/// Members that become columns; PostgreSQL's own limit is 1,600.
const MAX_COLUMNS: usize = 1000;
/// A column of this name is filled from the record itself, never from a member.
const SOURCES: [&str; 8] =
    ["key", "value", "topic", "partition", "offset", "timestamp", "timestamp_type", "headers"];

/// The types that values are seen to have, from narrow to wide within each row of the lattice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Null,
    Bool,
    Integer,
    Number,
    Timestamp,
    Uuid,
    Text,
    Document,
}

impl Seen {
    fn of(value: &Value) -> Seen {
        match value {
            Value::Null => Seen::Null,
            Value::Bool(_) => Seen::Bool,
            Value::Number(number) if number.is_i64() => Seen::Integer,
            Value::Number(_) => Seen::Number,
            Value::String(text) if is_timestamp(text) => Seen::Timestamp,
            Value::String(text) if is_uuid(text) => Seen::Uuid,
            Value::String(_) => Seen::Text,
            Value::Array(_) | Value::Object(_) => Seen::Document,
        }
    }

    /// The narrowest that holds both.
    fn and(self, other: Seen) -> Seen {
        match (self, other) {
            (one, other) if one == other => one,
            (Seen::Null, other) | (other, Seen::Null) => other,
            (Seen::Integer, Seen::Number) | (Seen::Number, Seen::Integer) => Seen::Number,
            (Seen::Timestamp | Seen::Uuid | Seen::Text, Seen::Timestamp | Seen::Uuid | Seen::Text) => {
                Seen::Text
            }
            _ => Seen::Document,
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Seen::Bool => "boolean",
            Seen::Integer => "bigint",
            Seen::Number => "numeric",
            Seen::Timestamp => "timestamptz",
            Seen::Uuid => "uuid",
            Seen::Null | Seen::Text => "text",
            Seen::Document => "jsonb",
        }
    }
}

/// A date, a time and an offset: what means the same everywhere.
fn is_timestamp(text: &str) -> bool {
    text.len() >= 20 && text.as_bytes()[4] == b'-' && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_uuid(text: &str) -> bool {
    let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if is_dash(at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// What the first records of a table's topics look like.
#[derive(Debug)]
struct Sample {
    records: i64,
    members: BTreeMap<String, Seen>,
    is_objects: bool,
    is_text: bool,
    is_json: bool,
}

impl Sample {
    fn new() -> Sample {
        Sample { records: 0, members: BTreeMap::new(), is_objects: true, is_text: true, is_json: true }
    }

    fn add(&mut self, value: &[u8]) {
        self.records += 1;
        self.is_text &= std::str::from_utf8(value).is_ok_and(|text| !text.contains('\0'));
        match serde_json::from_slice(value) {
            Ok(Value::Object(members)) => {
                for (name, value) in members {
                    let seen = Seen::of(&value);
                    let known = self.members.entry(name).or_insert(Seen::Null);
                    *known = known.and(seen);
                }
            }
            Ok(_) => self.is_objects = false,
            Err(_) => (self.is_objects, self.is_json) = (false, false),
        }
    }

    fn columns(&self, mode: Mode) -> Vec<String> {
        let mut columns = Vec::new();
        if mode == Mode::Upsert {
            columns.push("key text primary key".to_owned());
        }
        if self.is_objects && !self.members.is_empty() {
            let members = self.members.iter().filter(|(name, _)| is_name(name));
            columns.extend(
                members
                    .take(MAX_COLUMNS)
                    .map(|(name, seen)| format!("{} {}", quoted(name), seen.type_name())),
            );
        } else {
            if mode == Mode::Append {
                columns.push("key text".to_owned());
            }
            columns.push(match (self.is_json, self.is_text) {
                (true, _) => "value jsonb".to_owned(),
                (false, true) => "value text".to_owned(),
                (false, false) => "value bytea".to_owned(),
            });
        }
        columns
    }

    /// The members that cannot become columns.
    fn left_out(&self) -> Vec<&str> {
        let members = self.members.keys().filter(|_| self.is_objects);
        members.filter(|name| !is_name(name)).map(String::as_str).collect()
    }
}

/// PostgreSQL's names have 1 to 63 bytes; those of sources mean something else.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() < 64 && !name.contains('\0') && !SOURCES.contains(&name)
}

/// The SQL that makes a table for its topics, and what people should know about it.
///
/// # Errors
/// There are no records to infer anything from, or they cannot be read.
pub(super) async fn statement(
    client: &Client,
    plan: &Load,
    config: &ConsumerConfig,
    table: &str,
) -> Result<(String, Vec<String>), Trouble> {
    let mut notes = Vec::new();
    let columns = match &plan.columns {
        Some(columns) => {
            let typed = columns.as_slice().iter();
            typed.map(|column| format!("{} {}", quoted(&column.name), column.column_type)).collect()
        }
        None => {
            let topics: Vec<&str> = plan
                .routes
                .iter()
                .filter(|route| route.table == table)
                .map(|route| route.topic.as_str())
                .collect();
            let sample = take_sample(client, config, &topics).await?;
            if sample.records == 0 {
                return Err(Trouble::Final(format!(
                    "--create-table: {} has no records yet to infer the columns of {table} from; name them with \
                     --columns, or make the table",
                    topics.join(", ")
                )));
            }
            for name in sample.left_out() {
                notes.push(format!(
                    "member {name:?} becomes no column of {table}: the name is taken, or too long"
                ));
            }
            sample.columns(plan.mode)
        }
    };
    let columns: Vec<String> = columns.iter().map(|column| format!("    {column}")).collect();
    Ok((format!("create table if not exists {table} (\n{}\n);", columns.join(",\n")), notes))
}

async fn take_sample(client: &Client, config: &ConsumerConfig, topics: &[&str]) -> Result<Sample, Trouble> {
    let failed = |error: kcopy_client::Error| Trouble::kafka(&error);
    let metadata = client.topics(topics).await.map_err(failed)?;
    let mut assignments = Vec::new();
    for name in topics {
        let partitions = metadata.topic(name).map(|topic| topic.partitions.as_slice()).unwrap_or_default();
        for partition in partitions {
            assignments.push(Assignment::new(Str::from(*name), partition.index, StartOffset::Earliest));
        }
    }
    let mut ranges = client.resolve(&assignments, config).await.map_err(failed)?;
    for range in &mut ranges {
        let end = range.last_stable_offset.min(range.start.saturating_add(MAX_RECORDS));
        range.end = Some(end);
    }
    let mut sample = Sample::new();
    let mut consumer = client.consume(ranges, config.clone()).map_err(failed)?;
    while let Some(event) = consumer.next().await.map_err(failed)? {
        let Event::Batch(batch) = event else { continue };
        for record in batch.records() {
            let record = record.map_err(failed)?;
            if let Some(value) = record.value {
                sample.add(value);
            }
            if sample.records >= MAX_RECORDS {
                return Ok(sample);
            }
        }
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(values: &[&str], mode: Mode) -> String {
        let mut sample = Sample::new();
        values.iter().for_each(|value| sample.add(value.as_bytes()));
        sample.columns(mode).join(", ")
    }

    #[test]
    fn the_narrowest_type_holds_all_values() {
        let values = [
            r#"{"id":1,"n":1,"at":"2026-01-31T12:00:00Z","u":"5c9d2b1e-0f8a-4a62-9d7e-0123456789ab","tags":[],"x":null}"#,
            r#"{"id":9007199254740993,"n":1.5,"at":"2026-01-31T13:00:00+01:00","ok":true,"mixed":1,"offset":7}"#,
            r#"{"id":3,"at":null,"mixed":"a","s":"2026-01-31","big":18446744073709551615}"#,
        ];
        assert_eq!(
            columns(&values, Mode::Append),
            "\"at\" timestamptz, \"big\" numeric, \"id\" bigint, \"mixed\" jsonb, \"n\" numeric, \"ok\" boolean, \
             \"s\" text, \"tags\" jsonb, \"u\" uuid, \"x\" text"
        );
        assert_eq!(columns(&["{\"a\":1}"], Mode::Upsert), "key text primary key, \"a\" bigint");
    }

    #[test]
    fn values_that_are_no_objects_stay_whole() {
        assert_eq!(columns(&["1", "[]"], Mode::Append), "key text, value jsonb");
        assert_eq!(columns(&["{}", "plain"], Mode::Append), "key text, value text");
        assert_eq!(columns(&["\u{0}"], Mode::Upsert), "key text primary key, value bytea");
    }
}
