//! What is written is read back unchanged, whatever it is, in every format.

use kcopy_wire::records::{HeadersBuf, Record, TimestampType};
use proptest::prelude::*;

use super::{
    envelope::Envelope,
    read::{DelimitedInput, RecordReader},
    template::Template,
    write::{RecordContext, RecordWriter},
    *,
};

#[derive(Debug, Clone, PartialEq)]
struct Owned {
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Bytes of all kinds, with those that formats care about in the majority.
fn bytes() -> impl Strategy<Value = Vec<u8>> + Clone {
    let special = prop::sample::select(b"\\\\\\\".,;\t\n\n\r\0N'|{}[]:ux019 \xc3\xa9\xff\x0b\x08".to_vec());
    prop_oneof![
        8 => prop::collection::vec(special, 0..12),
        2 => prop::collection::vec(any::<u8>(), 0..100),
        1 => Just(b"\\.".to_vec()),
        1 => Just(b"\\N".to_vec()),
        1 => Just(b"null".to_vec()),
        1 => Just(b"{\"base64\":\"AA==\"}".to_vec()),
    ]
}

/// Text that PostgreSQL can hold.
fn text() -> impl Strategy<Value = Vec<u8>> + Clone {
    prop_oneof![
        bytes().prop_filter_map("text", |bytes| {
            let is_text = std::str::from_utf8(&bytes).is_ok() && !bytes.contains(&0);
            is_text.then_some(bytes)
        }),
        "[^\0]{0,20}".prop_map(String::into_bytes),
    ]
}

fn records(content: impl Strategy<Value = Vec<u8>> + Clone) -> impl Strategy<Value = Vec<Owned>> {
    let header = (bytes(), prop::option::of(bytes()));
    let timestamp = prop::option::of(-62_135_596_800_000..9_224_318_016_000_000i64);
    let record = (
        timestamp.prop_filter("Kafka has no -1", |timestamp| *timestamp != Some(-1)),
        prop::option::of(content.clone()),
        prop::option::of(content),
        prop::collection::vec(header, 0..3),
    );
    let owned = |(timestamp, key, value, headers)| Owned { timestamp, key, value, headers };
    prop::collection::vec(record.prop_map(owned), 0..6)
}

fn write(mut writer: RecordWriter, records: &[Owned]) -> Vec<u8> {
    let context =
        RecordContext { topic: "t", partition: 0, broker: 1, timestamp_type: TimestampType::CreateTime };
    let mut out = Vec::new();
    writer.begin(&mut out);
    for (offset, record) in records.iter().enumerate() {
        let mut headers = HeadersBuf::new();
        record.headers.iter().for_each(|(name, value)| headers.push(name, value.as_deref()));
        let record = Record {
            offset: offset as i64,
            timestamp: record.timestamp.unwrap_or(-1),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: headers.as_headers(),
        };
        writer.write(&context, &record, &mut out).expect("the record can be written");
    }
    writer.finish(&mut out);
    out
}

fn read(mut reader: RecordReader, input: &[u8], block: usize) -> Vec<Owned> {
    let mut records = Vec::new();
    for chunk in input.chunks(block).chain([&[][..]]) {
        reader.space()[..chunk.len()].copy_from_slice(chunk);
        reader.filled(chunk.len());
        while let Some(record) = reader.read_record().expect("what was written can be read") {
            let header = |(name, value): (&[u8], Option<&[u8]>)| (name.to_vec(), value.map(<[u8]>::to_vec));
            records.push(Owned {
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.iter().map(header).collect(),
            });
        }
    }
    assert!(reader.is_finished());
    records
}

fn check(options: &FormatOptions, records: &[Owned], block: usize) -> Result<(), TestCaseError> {
    let bytes = write(RecordWriter::new(options).expect("valid options"), records);
    let back = read(RecordReader::new(options).expect("valid options"), &bytes, block);
    prop_assert_eq!(&back[..], records, "{}", bytes.escape_ascii());
    Ok(())
}

fn options(format: Format, columns: &str) -> FormatOptions {
    FormatOptions { columns: Some(Columns::parse(columns).expect(columns)), ..FormatOptions::new(format) }
}

/// Dialects of text and csv with which every text can be expressed.
fn dialects() -> impl Strategy<Value = FormatOptions> {
    let null = prop::option::of(prop::sample::select(vec!["NIL", "\\N", "N", "\\", "x", "é"]));
    let delimiter = prop::option::of(prop::sample::select(b";|\t N:{-\x01".to_vec()));
    let quote = prop::option::of(prop::sample::select(b"'\x02\\u".to_vec()));
    (any::<bool>(), any::<bool>(), null, delimiter, quote)
        .prop_map(|(is_csv, header, null, delimiter, quote)| FormatOptions {
            null: null.map(str::to_owned),
            delimiter: delimiter.map(|byte| vec![byte]),
            quote: quote.filter(|_| is_csv).map(|byte| vec![byte]),
            header,
            ..FormatOptions::new(if is_csv { Format::Csv } else { Format::Text })
        })
        .prop_filter("valid", |options| options.dialect().is_ok())
}

const BYTES: &str = "key bytea, p = partition, headers, v bytea = value, o = offset, timestamp, c = 'x'";

proptest! {
    #[test]
    fn any_bytes_in_typed_columns(
        records in records(bytes()),
        format in prop::sample::select(vec![Format::Text, Format::Csv, Format::Binary, Format::Json]),
        block in 1usize..200,
    ) {
        check(&options(format, BYTES), &records, block)?;
        check(&options(format, &BYTES.replace("headers", "headers text")), &records, block)?;
        check(&options(format, &BYTES.replace("timestamp", "timestamp int8")), &records, block)?;
    }

    #[test]
    fn any_text_in_any_dialect(
        records in records(text()),
        dialect in dialects(),
        block in 1usize..200,
    ) {
        for columns in ["key, value, headers json, t timestamptz = timestamp", "value, key, timestamp text, headers"] {
            let options = FormatOptions { columns: Some(Columns::parse(columns).expect(columns)), ..dialect.clone() };
            check(&options, &records, block)?;
        }
        // One column alone, where an empty line and the end marker have a meaning of their own.
        let values: Vec<_> = records
            .iter()
            .map(|record| Owned { timestamp: None, key: None, headers: Vec::new(), ..record.clone() })
            .collect();
        check(&dialect, &values, block)?;
    }

    #[test]
    fn any_text_in_binary_and_json(records in records(text()), block in 1usize..200) {
        for format in [Format::Binary, Format::Json] {
            check(&options(format, "headers, key, value, timestamp"), &records, block)?;
        }
    }

    #[test]
    fn json_lines_of_whole_records(records in records(bytes()), block in 1usize..200) {
        check(&FormatOptions::new(Format::Json), &records, block)?;
    }

    #[test]
    fn embedded_json(
        documents in prop::collection::vec(
            prop::option::of(prop::sample::select(vec![
                "null", " null", "{}", "[1,\t2]", "{\"a\":\"\\n\\\"\\\\\"}", "\"\\\\x00\"", "\"text\"", "1.50", "true",
                "{\"base64\":\"AA==\"}", "{\"base64\":1}", "{\"a\":{\"base64\":\"AA==\"}}",
            ])),
            0..5,
        ),
        block in 1usize..200,
    ) {
        let record = |document: &Option<&str>| Owned {
            timestamp: None,
            key: document.map(|text| text.as_bytes().to_vec()),
            value: document.map(|text| text.as_bytes().to_vec()),
            headers: Vec::new(),
        };
        let records: Vec<_> = documents.iter().map(record).collect();
        for format in [Format::Text, Format::Csv, Format::Binary, Format::Json] {
            check(&options(format, "key json, value jsonb"), &records, block)?;
        }
    }

    #[test]
    fn kcat_envelopes_are_read_back(records in records(bytes()), block in 1usize..200) {
        let bytes = write(RecordWriter::envelope(Envelope::new(b"\n")), &records);
        let reader = RecordReader::new(&FormatOptions::new(Format::Json)).expect("valid options");
        let back = read(reader, &bytes, block);
        let expected: Vec<_> = records
            .into_iter()
            // kcat's envelope has -1 where there is no time.
            .map(|record| Owned { timestamp: Some(record.timestamp.unwrap_or(-1)), ..record })
            .collect();
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn raw_values_without_the_delimiter(
        values in prop::collection::vec(bytes(), 0..6),
        delimiter in prop::sample::select(vec![&b"\n"[..], b"\0", b"\n\n", b"\\\"", b"\xff\xff\xff"]),
        block in 1usize..50,
    ) {
        let finder = memchr::memmem::Finder::new(delimiter);
        let holds = |value: &Vec<u8>| {
            let written = [value.as_slice(), delimiter].concat();
            finder.find(&written) == Some(value.len())
        };
        let record = |value| Owned { timestamp: None, key: None, value: Some(value), headers: Vec::new() };
        let records: Vec<_> = values.into_iter().filter(holds).map(record).collect();
        let raw = FormatOptions { delimiter: Some(delimiter.to_vec()), ..FormatOptions::new(Format::Raw) };
        check(&raw, &records, block)?;

        // The same bytes in kcat's way, which skips what is empty.
        let bytes = write(RecordWriter::template(Template::delimited(delimiter, None)), &records);
        let input = DelimitedInput { delimiter: delimiter.to_vec(), ..DelimitedInput::default() };
        let back = read(RecordReader::delimited(input).expect("valid"), &bytes, block);
        let kept: Vec<_> = records.into_iter().filter(|r| r.value.as_ref().is_some_and(|v| !v.is_empty())).collect();
        prop_assert_eq!(back, kept);
    }

    #[test]
    fn no_input_makes_a_reader_panic(
        input in prop_oneof![
            bytes(),
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|rows| [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", &rows[..]].concat()),
        ],
        format in prop::sample::select(Format::ALL.to_vec()),
        block in 1usize..100,
    ) {
        let columns = if format == Format::Raw { "value jsonb" } else { "key int4, value jsonb, headers" };
        for options in [options(format, columns), FormatOptions::new(format)] {
            let mut reader = RecordReader::new(&options).expect("valid options");
            'input: for chunk in input.chunks(block).chain([&[][..]]) {
                reader.space()[..chunk.len()].copy_from_slice(chunk);
                reader.filled(chunk.len());
                loop {
                    match reader.read_record() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'input,
                    }
                }
            }
        }
    }
}
