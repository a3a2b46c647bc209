//! Arbitrary messages, straight from the tables: bytes that the codec under test had no part in.

use std::collections::HashMap;

use super::table::{Field, Message, Struct, Type, Versions};

/// The decisions that make a value. When they run out each further one is 0, the simplest choice, so
/// that fewer decisions make a smaller value.
pub(crate) struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Choices<'a> {
        Choices { rest: bytes }
    }

    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    fn bits(&mut self) -> u64 {
        (0..8).fold(0, |bits, _| bits << 8 | u64::from(self.next()))
    }

    /// A number, often from the edges of its type, in the low `bits` bits.
    fn number(&mut self, bits: u32) -> u64 {
        match self.next() {
            0 => 0,
            choice if choice < 32 => u64::from(choice),
            choice if choice < 48 => u64::MAX,
            choice if choice < 64 => 1 << (bits - 1),
            choice if choice < 80 => (1 << (bits - 1)) - 1,
            _ => self.bits(),
        }
    }

    /// A length: mostly small, now and then around the places where a varint grows.
    fn length(&mut self) -> usize {
        match self.next() {
            choice @ 0..240 => usize::from(choice % 4),
            choice @ 240..=254 => usize::from(choice) - 240 + 120,
            255 => 16_370 + usize::from(self.next() % 32),
        }
    }
}

/// One message in the bytes of one version, as Kafka would write it: tagged fields by ascending tag, and
/// only those that differ from their defaults.
pub(crate) fn sample(message: &Message, version: i16, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut writer = Sampler::new(message, version);
    writer.structure(&message.name, Some(choices));
    writer.out
}

struct Sampler<'a> {
    structs: HashMap<&'a str, &'a Struct>,
    valid: Versions,
    version: i16,
    is_flexible: bool,
    out: Vec<u8>,
}

impl<'a> Sampler<'a> {
    fn new(message: &'a Message, version: i16) -> Sampler<'a> {
        Sampler {
            structs: message.structs.iter().map(|item| (item.name.as_str(), item)).collect(),
            valid: message.versions,
            version,
            is_flexible: contains(message.flexible, version),
            out: Vec::new(),
        }
    }

    /// A struct made of choices, or without any of its defaults.
    fn structure(&mut self, name: &str, mut choices: Option<&mut Choices<'_>>) {
        assert!(contains(self.valid, self.version), "{name} has no version {}", self.version);
        let (item, version) = (self.structs[name], self.version);
        let present = item.fields.iter().filter(|field| contains(field.versions, version));
        for field in present.clone().filter(|field| field.tag.is_none()) {
            self.field(field, choices.as_deref_mut());
        }
        if !self.is_flexible {
            return;
        }
        let mut tagged = Vec::new();
        for (field, tag) in present.filter_map(|field| Some((field, field.tag?.0))) {
            let default = self.apart(|writer| writer.field(field, None));
            let value = self.apart(|writer| writer.field(field, choices.as_deref_mut()));
            if value != default {
                tagged.push((tag, value));
            }
        }
        if let Some(choices) = choices {
            // Tags that no table knows, in a message of a later Kafka.
            let count = match choices.next() {
                ..208 => 0,
                208..240 => 1,
                _ => 2,
            };
            for index in 0..count {
                let size = choices.length();
                tagged.push((100 + 1000 * index, (0..size).map(|_| choices.next()).collect()));
            }
        }
        tagged.sort_by_key(|(tag, _)| *tag);
        self.varint(tagged.len() as u32);
        for (tag, value) in tagged {
            self.varint(tag);
            self.varint(value.len() as u32);
            self.out.extend(value);
        }
    }

    fn apart(&mut self, write: impl FnOnce(&mut Self)) -> Vec<u8> {
        let before = std::mem::take(&mut self.out);
        write(self);
        std::mem::replace(&mut self.out, before)
    }

    fn field(&mut self, field: &Field, choices: Option<&mut Choices<'_>>) {
        let is_flexible = self.is_flexible && !field.inflexible;
        let is_nullable = contains(field.nullable, self.version);
        let Some(choices) = choices else {
            // Kafka's own classes begin with null records, whatever the definition says of null.
            let is_null = field.default.as_deref() == Some("null") || field.kind == Type::Records;
            return if is_nullable && is_null {
                self.null(&field.kind, is_flexible)
            } else {
                self.default(field)
            };
        };
        if is_nullable && choices.next() % 4 == 1 {
            return self.null(&field.kind, is_flexible);
        }
        if is_nullable && matches!(field.kind, Type::Struct(_)) {
            self.out.push(1);
        }
        self.value(&field.kind, is_flexible, choices);
    }

    fn null(&mut self, kind: &Type, is_flexible: bool) {
        match kind {
            Type::Struct(_) => self.out.push(0xff),
            _ if is_flexible => self.out.push(0),
            Type::String => self.out.extend((-1_i16).to_be_bytes()),
            _ => self.out.extend((-1_i32).to_be_bytes()),
        }
    }

    fn default(&mut self, field: &Field) {
        let text = field.default.as_deref().unwrap_or("0");
        let number = || match text {
            "true" => 1,
            "false" => 0,
            text => text.parse::<i64>().unwrap_or_else(|why| panic!("{}: {why}: {text}", field.name)),
        };
        let nothing = &mut Choices::new(&[]);
        match &field.kind {
            Type::Bool | Type::Int8 => self.out.push(number() as u8),
            Type::Int16 | Type::Uint16 | Type::ErrorCode => self.out.extend((number() as u16).to_be_bytes()),
            Type::Int32 | Type::Uint32 => self.out.extend((number() as u32).to_be_bytes()),
            Type::Int64 => self.out.extend(number().to_be_bytes()),
            Type::Struct(name) => self.structure(name, None),
            kind => self.value(kind, self.is_flexible && !field.inflexible, nothing),
        }
    }

    fn value(&mut self, kind: &Type, is_flexible: bool, choices: &mut Choices<'_>) {
        match kind {
            Type::Bool => self.out.push(choices.next() & 1),
            Type::Int8 => self.out.push(choices.number(8) as u8),
            Type::Int16 | Type::Uint16 | Type::ErrorCode => {
                self.out.extend((choices.number(16) as u16).to_be_bytes());
            }
            Type::Int32 | Type::Uint32 => self.out.extend((choices.number(32) as u32).to_be_bytes()),
            Type::Int64 => self.out.extend(choices.number(64).to_be_bytes()),
            // No NaN: it would not equal itself.
            Type::Float64 => self.out.extend((choices.number(32) as i32 as f64 / 8.0).to_be_bytes()),
            Type::Uuid => (0..16).for_each(|_| self.out.push(choices.next())),
            Type::String => {
                let length = choices.length();
                let text: String = (0..length)
                    .map(|_| ['a', 'z', '.', '\u{e9}', '\u{1f600}'][usize::from(choices.next() % 5)])
                    .collect();
                self.string_length(text.len(), is_flexible);
                self.out.extend(text.bytes());
            }
            Type::Bytes | Type::Records => {
                let length = choices.length();
                self.count(length, is_flexible);
                (0..length).for_each(|_| self.out.push(choices.next()));
            }
            Type::Struct(name) => self.structure(name, Some(choices)),
            Type::Array(inner) => {
                let is_plain = !matches!(**inner, Type::Struct(_) | Type::String | Type::Array(_));
                let length = choices.length();
                let length = if is_plain { length } else { length % 4 };
                self.count(length, is_flexible);
                (0..length).for_each(|_| self.value(inner, is_flexible, choices));
            }
        }
    }

    fn string_length(&mut self, length: usize, is_flexible: bool) {
        if is_flexible {
            return self.count(length, true);
        }
        self.out.extend(i16::try_from(length).expect("a short text").to_be_bytes());
    }

    fn count(&mut self, count: usize, is_flexible: bool) {
        if is_flexible {
            self.varint(count as u32 + 1)
        } else {
            self.out.extend((count as i32).to_be_bytes())
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

fn contains(versions: Versions, version: i16) -> bool {
    versions.min <= version && version <= versions.max
}
