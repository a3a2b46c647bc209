//! Apache Kafka's own bytes, read, compared with what Kafka says they mean, and written again.

mod support;

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};
use support::{
    Golden, codecs, golden,
    table::{Field, Message, Struct, Type},
    tables,
};

const CASES: [&str; 4] = ["empty", "defaults", "filled", "null"];

#[test]
fn every_message_and_version_has_golden_bytes_and_no_others() {
    let known: BTreeSet<_> = codecs()
        .iter()
        .flat_map(|codec| {
            let versions = codec.versions.clone();
            versions.flat_map(|version| CASES.map(|case| (codec.name.to_string(), version, case.to_string())))
        })
        .collect();
    let lines = golden();
    assert_eq!(lines.len(), known.len(), "a line twice, or too few or many lines");
    let found = lines.into_iter().map(|line| (line.name, line.version, line.case)).collect();
    let missing: Vec<_> = known.difference(&found).collect();
    let surplus: Vec<_> = found.difference(&known).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing: {missing:?}, surplus: {surplus:?}");
}

#[test]
fn every_table_has_a_codec_of_its_versions() {
    let tables: BTreeSet<_> = tables()
        .into_iter()
        .flat_map(|table| {
            let flexible = table.flexible.min..=table.flexible.max;
            (table.versions.min..=table.versions.max)
                .map(move |version| (table.name.clone(), version, flexible.contains(&version)))
        })
        .collect();
    let codecs = codecs()
        .into_iter()
        .flat_map(|codec| {
            codec
                .versions
                .clone()
                .map(move |version| (codec.name.to_string(), version, (codec.is_flexible)(version)))
        })
        .collect();
    assert_eq!(tables, codecs);
}

#[test]
fn kafkas_bytes_mean_what_kafka_says_and_are_written_again_unchanged() {
    let codecs: HashMap<_, _> = codecs().into_iter().map(|codec| (codec.name, codec)).collect();
    let tables: HashMap<_, _> = tables().into_iter().map(|table| (table.name.clone(), table)).collect();
    let lines = golden();
    for line in &lines {
        let Golden { name, version, case, bytes, json } = line;
        let place = format!("{name} v{version} {case}");
        let seen = (codecs[name.as_str()].round_trip)(bytes.clone(), *version)
            .unwrap_or_else(|why| panic!("{place}: {why}"));
        let again = seen.bytes.unwrap_or_else(|why| panic!("{place}: {why}"));
        assert_eq!(&again, bytes, "{place}: {}", seen.debug);
        let meaning = Meaning::new(&tables[name], line);
        let mut text = Text { rest: &seen.debug, meaning: &meaning };
        let value = text.structure(name);
        assert_eq!(text.rest, "", "{place}: behind the value");
        assert_eq!(value, meaning.expected(name, json, true), "{place}");
    }
    println!("{} lines of {} messages", lines.len(), tables.len());
}

#[test]
fn swapped_fields_are_told_apart() {
    let lines = golden();
    for table in tables() {
        for item in &table.structs {
            for version in table.versions.min..=table.versions.max {
                let values: Vec<Map<_, _>> = lines
                    .iter()
                    .filter(|line| line.name == table.name && line.version == version)
                    .filter(|line| line.case == "filled" || line.case == "null")
                    .flat_map(|line| Meaning::new(&table, line).objects(&table.name, &item.name))
                    .collect();
                assert_distinct(&table, item, &values);
            }
        }
    }
}

/// Any two fields of one type differ in a golden value, so that a codec that swaps them is caught.
fn assert_distinct(table: &Message, item: &Struct, values: &[Map<String, Value>]) {
    for (at, one) in item.fields.iter().enumerate() {
        for other in item.fields[..at].iter().filter(|other| other.kind == one.kind) {
            let (one, other) = (key(&one.name), key(&other.name));
            let mut both =
                values.iter().filter_map(|value| Some((value.get(&one)?, value.get(&other)?))).peekable();
            if both.peek().is_some() {
                let text = format!("{} {}: {one} and {other} never differ", table.name, item.name);
                assert!(both.any(|(one, other)| one != other), "{text}");
            }
        }
    }
}

/// The names of Kafka's JSON, `throttleTimeMs`, and of the tables, `throttle_time_ms`, without what
/// sets them apart.
fn key(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

/// What a golden line's JSON means, by the table.
struct Meaning<'a> {
    structs: HashMap<&'a str, &'a Struct>,
    line: &'a Golden,
    is_flexible: bool,
    has_tags: bool,
}

impl<'a> Meaning<'a> {
    fn new(table: &'a Message, line: &'a Golden) -> Meaning<'a> {
        Meaning {
            structs: table.structs.iter().map(|item| (item.name.as_str(), item)).collect(),
            line,
            is_flexible: table.flexible.min <= line.version && line.version <= table.flexible.max,
            has_tags: !table.flexible.is_empty(),
        }
    }

    /// All fields of a struct: those that the JSON leaves out have their defaults. A struct that is not
    /// there itself has no unknown tags either.
    fn expected(&self, name: &str, json: &Value, is_there: bool) -> Value {
        let mut found: Map<_, _> = json
            .as_object()
            .expect("an object")
            .iter()
            .map(|(name, value)| (key(name), value.clone()))
            .collect();
        let mut out = Map::new();
        for field in &self.structs[name].fields {
            let value = match found.remove(&key(&field.name)) {
                Some(Value::Null) => Value::Null,
                Some(value) => self.value(&field.kind, &value, is_there),
                None => self.default(field),
            };
            out.insert(key(&field.name), value);
        }
        assert!(found.is_empty(), "{} v{}: {found:?} is in no table", self.line.name, self.line.version);
        if self.has_tags {
            let is_tagged = is_there && self.is_flexible && self.line.case == "defaults";
            let unknown = if is_tagged { json!([[9999, "yv4="]]) } else { json!([]) };
            out.insert(key("unknown_tagged_fields"), unknown);
        }
        Value::Object(out)
    }

    fn value(&self, kind: &Type, json: &Value, is_there: bool) -> Value {
        match kind {
            Type::Array(inner) => {
                let items = json.as_array().expect("an array").iter();
                items.map(|item| self.value(inner, item, is_there)).collect()
            }
            Type::Struct(name) => self.expected(name, json, is_there),
            // Debug shows how many bytes there are; what they are shows in the bytes written again.
            Type::Records => {
                let text = json.as_str().expect("base64");
                json!(text.len() / 4 * 3 - text.matches('=').count())
            }
            _ => json.clone(),
        }
    }

    fn default(&self, field: &Field) -> Value {
        match (&field.kind, field.default.as_deref()) {
            (_, Some("null")) => Value::Null,
            // What Kafka's own classes begin with, whatever the definition says of null.
            (Type::Records, _) if !field.nullable.is_empty() => Value::Null,
            (Type::Records, _) => json!(0),
            (Type::String, _) => json!(""),
            (Type::Bytes, _) => json!(""),
            (Type::Uuid, _) => json!("AAAAAAAAAAAAAAAAAAAAAA"),
            (Type::Array(_), _) => json!([]),
            (Type::Struct(name), _) => self.expected(name, &json!({}), false),
            (Type::Bool, text) => json!(text == Some("true")),
            (Type::Float64, text) => json!(text.unwrap_or("0").parse::<f64>().expect("a number")),
            (_, text) => json!(text.unwrap_or("0").parse::<i64>().expect("a number")),
        }
    }

    /// Every object of a struct's type in the JSON, by normal names.
    fn objects(&self, root: &str, wanted: &str) -> Vec<Map<String, Value>> {
        let mut out = Vec::new();
        self.collect(root, wanted, &self.line.json, &mut out);
        out
    }

    fn collect(&self, name: &str, wanted: &str, json: &Value, out: &mut Vec<Map<String, Value>>) {
        let Some(object) = json.as_object() else { return };
        let object: Map<_, _> = object.iter().map(|(name, value)| (key(name), value.clone())).collect();
        for field in &self.structs[name].fields {
            let inner = match &field.kind {
                Type::Array(inner) => inner,
                kind => kind,
            };
            let (Type::Struct(inner), Some(value)) = (inner, object.get(&key(&field.name))) else { continue };
            let items = value.as_array().map_or(std::slice::from_ref(value), |items| items);
            items.iter().for_each(|item| self.collect(inner, wanted, item, out));
        }
        if name == wanted {
            out.push(object);
        }
    }
}

/// `Debug` of a message, read back as the table says: the one view of a value that is there for every
/// message, and independent of the codec.
struct Text<'a> {
    rest: &'a str,
    meaning: &'a Meaning<'a>,
}

impl<'a> Text<'a> {
    fn structure(&mut self, name: &str) -> Value {
        self.skip(name);
        let mut out = Map::new();
        let fields = &self.meaning.structs[name].fields;
        if fields.is_empty() && !self.meaning.has_tags {
            return Value::Object(out);
        }
        self.skip(" { ");
        for field in fields {
            self.field_name(&field.name);
            let value = self.nullable(field);
            out.insert(key(&field.name), value);
        }
        if self.meaning.has_tags {
            self.field_name("unknown_tagged_fields");
            self.skip("TaggedFields(");
            let fields = self.list(|text| {
                text.skip("(");
                let tag = text.number();
                text.skip(", ");
                let bytes = text.bytes();
                text.skip(")");
                json!([tag, bytes])
            });
            self.skip(")");
            out.insert(key("unknown_tagged_fields"), fields);
        }
        self.skip(" }");
        Value::Object(out)
    }

    fn field_name(&mut self, name: &str) {
        self.rest = self.rest.strip_prefix(", ").unwrap_or(self.rest);
        self.skip(name);
        self.skip(": ");
    }

    fn nullable(&mut self, field: &Field) -> Value {
        if field.nullable.is_empty() {
            return self.value(&field.kind);
        }
        if let Some(rest) = self.rest.strip_prefix("None") {
            self.rest = rest;
            return Value::Null;
        }
        self.skip("Some(");
        let value = self.value(&field.kind);
        self.skip(")");
        value
    }

    fn value(&mut self, kind: &Type) -> Value {
        match kind {
            Type::Bool => json!(self.take_until(",)]} ") == "true"),
            Type::Float64 => json!(self.take_until(",)]} ").parse::<f64>().expect("a number")),
            Type::Uuid => json!(self.take_until(",)]} ")),
            Type::String => json!(String::from_utf8(self.quoted()).expect("UTF-8")),
            Type::Bytes => json!(self.bytes()),
            Type::Records => {
                self.skip("RecordBytes(");
                let size = self.number();
                self.skip(" bytes)");
                size
            }
            Type::ErrorCode => {
                self.take_until("(");
                self.skip("(");
                let number = self.number();
                self.skip(")");
                number
            }
            Type::Struct(name) => self.structure(name),
            Type::Array(inner) => self.list(|text| text.value(inner)),
            Type::Int8 | Type::Int16 | Type::Uint16 | Type::Int32 | Type::Uint32 | Type::Int64 => {
                self.number()
            }
        }
    }

    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Value) -> Value {
        self.skip("[");
        let mut items = Vec::new();
        while !self.rest.starts_with(']') {
            if !items.is_empty() {
                self.skip(", ");
            }
            items.push(item(self));
        }
        self.skip("]");
        Value::Array(items)
    }

    fn number(&mut self) -> Value {
        json!(self.take_until(",)]} ").parse::<i64>().unwrap_or_else(|why| panic!("{why}: {}", self.rest)))
    }

    /// Bytes as base64, which is what the JSON has.
    fn bytes(&mut self) -> String {
        self.skip("b");
        base64(&self.quoted())
    }

    fn quoted(&mut self) -> Vec<u8> {
        self.skip("\"");
        let mut out = Vec::new();
        loop {
            let plain = self.rest.find(['"', '\\']).expect("an end of the text");
            out.extend_from_slice(&self.rest.as_bytes()[..plain]);
            self.rest = &self.rest[plain..];
            if let Some(rest) = self.rest.strip_prefix('"') {
                self.rest = rest;
                return out;
            }
            self.skip("\\x");
            out.push(u8::from_str_radix(&self.rest[..2], 16).expect("two digits"));
            self.rest = &self.rest[2..];
        }
    }

    fn take_until(&mut self, ends: &str) -> &'a str {
        let end = self.rest.find(|letter| ends.contains(letter)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        token
    }

    fn skip(&mut self, expected: &str) {
        self.rest = self
            .rest
            .strip_prefix(expected)
            .unwrap_or_else(|| panic!("expected {expected} at: {}", self.rest));
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize] as char;
            out.push(if at <= chunk.len() { letter } else { '=' });
        }
    }
    out
}
