//! What the suites of the codec share: the tables, the golden bytes, and every message behind one type.

// Each suite uses a part of it.
#![allow(dead_code)]

use std::{fs, ops::RangeInclusive, path::Path};

use bytes::Bytes;
use kcopy_wire::{DecodeError, EncodeError, Message, Reader, Writer, for_each_api, messages};

pub(crate) mod allocation;
pub(crate) mod sample;
#[path = "../../build/table.rs"]
pub(crate) mod table;

/// What a codec makes of bytes.
pub(crate) struct RoundTrip {
    /// The value as `Debug` shows it.
    pub(crate) debug: String,
    /// The value in bytes again.
    pub(crate) bytes: Result<Bytes, EncodeError>,
}

/// A message, whatever its type.
#[derive(Clone)]
pub(crate) struct Codec {
    pub(crate) name: &'static str,
    pub(crate) versions: RangeInclusive<i16>,
    pub(crate) is_flexible: fn(i16) -> bool,
    /// Decodes bytes that must hold one message and nothing more.
    pub(crate) decode: fn(Bytes, i16) -> Result<(), DecodeError>,
    pub(crate) round_trip: fn(Bytes, i16) -> Result<RoundTrip, DecodeError>,
}

impl Codec {
    fn of<M: Message>() -> Codec {
        Codec {
            name: M::NAME,
            versions: M::VERSIONS,
            is_flexible: M::is_flexible,
            decode: |bytes, version| decode::<M>(bytes, version).map(drop),
            round_trip: |bytes, version| {
                let value = decode::<M>(bytes, version)?;
                Ok(RoundTrip { debug: format!("{value:?}"), bytes: encode(&value, version) })
            },
        }
    }
}

/// Decodes bytes that must hold one message and nothing more.
pub(crate) fn decode<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.expect_end();
    M::decode(&mut reader, version)
}

pub(crate) fn encode<M: Message>(value: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    value.encode(version, &mut writer)?;
    Ok(writer.into_bytes())
}

/// Every message of the crate.
pub(crate) fn codecs() -> Vec<Codec> {
    use messages::*;

    macro_rules! apis {
        ($($api:ident $request:ident $response:ident;)*) => {
            vec![$(Codec::of::<$request>(), Codec::of::<$response>(),)*]
        };
    }
    let mut codecs = for_each_api!(apis);
    codecs.extend([
        Codec::of::<ConsumerProtocolAssignment>(),
        Codec::of::<ConsumerProtocolSubscription>(),
        Codec::of::<ControlRecordTypeSchema>(),
        Codec::of::<EndTxnMarker>(),
        Codec::of::<RequestHeader>(),
        Codec::of::<ResponseHeader>(),
    ]);
    codecs
}

/// Every message of the tables.
pub(crate) fn tables() -> Vec<table::Message> {
    let mut messages = Vec::new();
    for (path, text) in files("tables", "kafka") {
        match table::parse(&text).unwrap_or_else(|why| panic!("{path}: {why}")) {
            table::Table::Api(api) => messages.extend([api.request, api.response]),
            table::Table::Data(message) => messages.push(message),
        }
    }
    messages
}

/// One line of the golden bytes.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) version: i16,
    pub(crate) case: String,
    pub(crate) bytes: Bytes,
    /// What the bytes mean, as Kafka's own converter says it.
    pub(crate) json: serde_json::Value,
}

/// All golden bytes; their README has the format.
pub(crate) fn golden() -> Vec<Golden> {
    let mut lines = Vec::new();
    for (path, text) in files("../../fixtures/golden/messages", "txt") {
        let mut value = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with(|letter: char| letter.is_ascii_uppercase()) {
                let mut words = line.splitn(3, ' ');
                let mut word = || words.next().unwrap_or_else(|| panic!("{path}: {line}"));
                let (name, case) = (word().to_string(), word().to_string());
                let json = serde_json::from_str(word()).unwrap_or_else(|why| panic!("{path}: {why}: {line}"));
                value = Some((name, case, json));
                continue;
            }
            let (name, case, json) = value.clone().unwrap_or_else(|| panic!("{path}: no value for {line}"));
            let (version, hex) = line.split_once(' ').unwrap_or_else(|| panic!("{path}: {line}"));
            let version = version.parse().unwrap_or_else(|why| panic!("{path}: {why}: {line}"));
            lines.push(Golden { name, version, case, bytes: unhex(hex), json });
        }
    }
    lines
}

fn unhex(text: &str) -> Bytes {
    assert!(text.len().is_multiple_of(2), "odd number of digits: {text}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits"))
        .collect()
}

/// The files of a folder beside this crate's manifest, by name.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|why| panic!("{}: {why}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}: nothing that ends in .{ending}", folder.display());
    paths
        .into_iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("a readable file")))
        .collect()
}
