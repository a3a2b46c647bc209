mod typed;

use super::*;
use crate::error::Problem;

/// A record with bytes of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Owned {
    topic: Option<String>,
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl From<InputRecord<'_>> for Owned {
    fn from(record: InputRecord<'_>) -> Self {
        let header = |(name, value): (&[u8], Option<&[u8]>)| (name.to_vec(), value.map(<[u8]>::to_vec));
        Owned {
            topic: record.topic.map(str::to_owned),
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(header).collect(),
        }
    }
}

/// Reads `input` in blocks of `block` bytes, what is nothing but values by the shorter way.
fn read_values(mut reader: RecordReader, input: &[u8], block: usize) -> Result<Vec<Owned>, InputError> {
    let mut records: Vec<Owned> = Vec::new();
    for chunk in input.chunks(block).chain([&[][..]]) {
        reader.space()[..chunk.len()].copy_from_slice(chunk);
        reader.filled(chunk.len());
        if let Some(values) = reader.values() {
            records
                .extend(values.map(|value| Owned { value: value.map(<[u8]>::to_vec), ..Owned::default() }));
        }
        while let Some(record) = reader.read_record()? {
            records.push(record.into());
        }
    }
    Ok(records)
}

/// Reads `input` in blocks of `block` bytes.
fn read_blocks(mut reader: RecordReader, input: &[u8], block: usize) -> Result<Vec<Owned>, InputError> {
    let mut records = Vec::new();
    let mut raw = Vec::new();
    for chunk in input.chunks(block).chain([&[][..]]) {
        reader.space()[..chunk.len()].copy_from_slice(chunk);
        reader.filled(chunk.len());
        while let Some(record) = reader.read_record()? {
            raw.extend_from_slice(record.raw);
            records.push(record.into());
        }
    }
    assert!(reader.is_finished());
    Ok(records)
}

/// Reads `input` in blocks of every size, which must not matter.
fn read(new: impl Fn() -> RecordReader, input: &[u8]) -> Result<Vec<Owned>, String> {
    let whole = read_blocks(new(), input, input.len().max(1)).map_err(|error| error.to_string());
    for block in (1..input.len()).filter(|block| *block < 20 || block % 7 == 0) {
        let parts = read_blocks(new(), input, block).map_err(|error| error.to_string());
        assert_eq!(parts, whole, "in blocks of {block} of {}", input.escape_ascii());
        let values = read_values(new(), input, block).map_err(|error| error.to_string());
        assert_eq!(values, whole, "values in blocks of {block} of {}", input.escape_ascii());
    }
    whole
}

fn options(format: Format, columns: &str) -> FormatOptions {
    FormatOptions { columns: Some(Columns::parse(columns).expect(columns)), ..FormatOptions::new(format) }
}

fn read_as(options: &FormatOptions, input: &[u8]) -> Result<Vec<Owned>, String> {
    read(|| RecordReader::new(options).expect("valid options"), input)
}

fn pair(key: Option<&[u8]>, value: Option<&[u8]>) -> Owned {
    Owned { key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec), ..Owned::default() }
}

#[track_caller]
fn check(options: &FormatOptions, input: &[u8], expected: &[Owned]) {
    assert_eq!(read_as(options, input).as_deref(), Ok(expected), "{}", input.escape_ascii());
}

type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Rows of `key, value`.
#[track_caller]
fn check_pairs(options: &FormatOptions, input: &[u8], expected: &[Pair<'_>]) {
    let expected: Vec<_> = expected.iter().map(|(key, value)| pair(*key, *value)).collect();
    check(options, input, &expected);
}

#[track_caller]
fn check_value(options: &FormatOptions, input: &[u8], expected: Option<&[u8]>) {
    check(options, input, &[pair(None, expected)]);
}

#[track_caller]
fn check_error(options: &FormatOptions, input: &[u8], expected: &str) {
    let error = read_as(options, input).expect_err(expected);
    assert!(error.contains(expected), "{error}");
}

#[test]
fn kcat_input_follows_its_table() {
    for (line, plain, null, fixed) in [
        ("k1:", (Some("k1"), Some("")), (Some("k1"), None), (Some("k1"), None)),
        (":v2", (Some(""), Some("v2")), (None, Some("v2")), (Some("FIX"), Some("v2"))),
        ("nokey", (None, Some("nokey")), (None, Some("nokey")), (Some("FIX"), Some("nokey"))),
        (":", (Some(""), Some("")), (None, None), (Some("FIX"), None)),
        ("a:b:c", (Some("a"), Some("b:c")), (Some("a"), Some("b:c")), (Some("a"), Some("b:c"))),
    ] {
        let input = |empty_is_null, fixed_key: Option<&[u8]>| DelimitedInput {
            key_delimiter: Some(b":".to_vec()),
            fixed_key: fixed_key.map(<[u8]>::to_vec),
            empty_is_null,
            ..DelimitedInput::default()
        };
        for (input, (key, value)) in
            [(input(false, None), plain), (input(true, None), null), (input(true, Some(b"FIX")), fixed)]
        {
            let records = read(|| RecordReader::delimited(input.clone()).expect("valid"), line.as_bytes());
            assert_eq!(records, Ok(vec![pair(key.map(str::as_bytes), value.map(str::as_bytes))]), "{line}");
        }
    }
}

#[test]
fn kcat_input_is_cut_at_delimiters() {
    let values = |input: DelimitedInput, bytes: &[u8]| -> Vec<_> {
        let records = read(|| RecordReader::delimited(input.clone()).expect("valid"), bytes);
        records
            .expect("valid")
            .into_iter()
            .map(|record| record.value.map(|v| v.escape_ascii().to_string()))
            .collect()
    };
    let lines = DelimitedInput::default();
    let some = |texts: &[&str]| texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>();
    assert_eq!(values(lines.clone(), b""), some(&[]));
    assert_eq!(values(lines.clone(), b"\n\n"), some(&[]));
    assert_eq!(values(lines.clone(), b"a\n\nb\nlast"), some(&["a", "b", "last"]));
    assert_eq!(values(lines.clone(), b"a\r\n\0\xff\n"), some(&["a\\r", "\\x00\\xff"]));
    let null = DelimitedInput { empty_is_null: true, ..lines.clone() };
    assert_eq!(values(null, b"a\n\nb\n"), [some(&["a"]), vec![None], some(&["b"])].concat());
    let long = DelimitedInput { delimiter: b";KeyDel;".to_vec(), ..lines.clone() };
    assert_eq!(values(long, b"a;KeyDel;b;KeyDel;KeyDel;;KeyDel"), some(&["a", "b", "KeyDel;;KeyDel"]));
    let repeated = DelimitedInput { delimiter: b"aab".to_vec(), ..lines.clone() };
    assert_eq!(values(repeated, b"aaabxaabaab"), some(&["a", "x"]));
    let crlf = DelimitedInput { delimiter: b"\r\n".to_vec(), ..lines.clone() };
    assert_eq!(values(crlf, b"a\r\nb\rc\nd\r\n"), some(&["a", "b\\rc\\nd"]));
    let empty = DelimitedInput { delimiter: Vec::new(), ..lines };
    assert!(RecordReader::delimited(empty).is_err());
}

#[test]
fn kcat_keys_may_be_cut_by_many_bytes() {
    let input = DelimitedInput {
        delimiter: b"##".to_vec(),
        key_delimiter: Some(b"::".to_vec()),
        fixed_key: Some(b"fix".to_vec()),
        ..DelimitedInput::default()
    };
    let records = read(|| RecordReader::delimited(input.clone()).expect("valid"), b"a:b::c::d####x##::y");
    let expected =
        [pair(Some(b"a:b"), Some(b"c::d")), pair(Some(b"fix"), Some(b"x")), pair(Some(b""), Some(b"y"))];
    assert_eq!(records.as_deref(), Ok(&expected[..]));
}

#[test]
fn records_are_limited() {
    let input = DelimitedInput { max_record_bytes: Some(3), ..DelimitedInput::default() };
    let result = read(|| RecordReader::delimited(input.clone()).expect("valid"), b"abc\nabcd\n");
    assert_eq!(result, Err("line 2: the record is larger than 3 bytes".to_owned()));
    let text = FormatOptions { max_record_bytes: Some(4), ..FormatOptions::new(Format::Text) };
    check_error(&text, b"abc\nabcd\n", "the record is larger than 4 bytes");
}

#[test]
fn raw_is_the_value_or_another_column() {
    let raw = FormatOptions::new(Format::Raw);
    let expected = [Some(&b"a"[..]), Some(b""), Some(b"\0\xff")].map(|value| pair(None, value));
    check(&raw, b"a\n\n\0\xff\n", &expected);
    let keys = FormatOptions {
        null: Some("NULL".to_owned()),
        delimiter: Some(b"\0".to_vec()),
        ..options(Format::Raw, "key")
    };
    check(&keys, b"a\n\0NULL\0", &[pair(Some(b"a\n"), None), pair(None, None)]);
    check(&options(Format::Raw, "value bytea"), b"\\xff\n", &[pair(None, Some(b"\\xff"))]);
    check_error(
        &options(Format::Raw, "value json"),
        b"{}\n{\n",
        "line 2: column value: invalid JSON at position 1",
    );
}

#[test]
fn text_unescapes_as_copy_does() {
    let text = FormatOptions::new(Format::Text);
    for (input, expected) in [
        (&b"\n"[..], Some(&b""[..])),
        (b"\\N\n", None),
        (b"\\\\N\n", Some(b"\\N")),
        (b"a\\N\n", Some(b"aN")),
        (b"\\\\.\n", Some(b"\\.")),
        (b"\\b\\f\\n\\r\\t\\v\\\\\n", Some(b"\x08\x0c\n\r\t\x0b\\")),
        (b"\\101\\7\\0608\\377\\777\n", Some(b"A\x070\x38\xff\xff")),
        (b"\\x41\\x4\\x4G\\xg\\xffa\n", Some(b"A\x04\x04Gxg\xffa")),
        (b"\\q\\;\\\t\n", Some(b"q;\t")),
        (b"a\\\nb\n", Some(b"a\nb")),
        (b"a\\\\\n", Some(b"a\\")),
        (b"crlf\r\n", Some(b"crlf")),
        (b"crlf\\r\r\n", Some(b"crlf\r")),
        (b"crlf\\\r\n", Some(b"crlf\r")),
        (b"no end", Some(b"no end")),
        (b"\xff\0\n", Some(b"\xff\0")),
    ] {
        check_value(&text, input, expected);
    }
    check(&text, b"", &[]);
    check_error(&text, b"a\\", "line 1: the input ends within a row");
}

#[test]
fn text_has_fields_and_an_end() {
    let text = options(Format::Text, "key, value");
    let a = Some(&b"a"[..]);
    check_pairs(&text, b"a\t\\N\n\\N\ta\n\t\n", &[(a, None), (None, a), (Some(b""), Some(b""))]);
    for end in [&b"\\."[..], b"\\.\n", b"\\.\r\n"] {
        check_pairs(&text, &[b"a\ta\n", end].concat(), &[(a, a)]);
    }
    check_error(&text, b"a\ta\n\\.\nanything", "row 2, line 3: data follows the end marker");
    check_error(&text, b"\\.\n\n", "row 1, line 2: data follows the end marker");
    check_pairs(&text, b"a\\\ta\ta\r\n", &[(Some(b"a\ta"), a)]);
    check_error(&text, b"a\ta\na\n", "line 2: 1 fields, where --columns names 2");
    check_error(&text, b"a\\\nb\tc\na\ta\ta\n", "row 2, line 3: 3 fields");
    check_error(&text, b"\\.x\n", "line 1: the end marker \\. must stand alone");
    let mut text = text;
    text.header = true;
    text.null = Some("NIL".to_owned());
    text.delimiter = Some(b"|".to_vec());
    check_pairs(&text, b"k|v\nNIL|\\x4eIL\n", &[(None, Some(b"NIL"))]);
    check_error(&text, b"k|v\nx\n", "row 1, line 2: 1 fields");
}

#[test]
fn csv_is_read_as_copy_does() {
    let csv = FormatOptions::new(Format::Csv);
    for (input, expected) in [
        (&b"\n"[..], None),
        (b"\"\"\n", Some(&b""[..])),
        (b"plain\n", Some(b"plain")),
        (b"\"a,b\"\n", Some(b"a,b")),
        (b"\"a\"\"b\"\n", Some(b"a\"b")),
        (b"\"\"\"\"\n", Some(b"\"")),
        (b"\"a\nb\r\nc\"\r\n", Some(b"a\nb\r\nc")),
        (b"a\"b,c\"d\"\"e\n", Some(b"ab,cde")),
        (b"\"a\"b\"\"\"c\"\n", Some(b"ab\"c")),
        (b"\"\\.\"\n", Some(b"\\.")),
        (b"\\N\n", Some(b"\\N")),
        (b" a \n", Some(b" a ")),
        (b"\"no end\"", Some(b"no end")),
        (b"\"\xff\0\"", Some(b"\xff\0")),
    ] {
        check_value(&csv, input, expected);
    }
    check(&csv, b"", &[]);
    check_error(&csv, b"a\n\"b\nc\n", "line 2: the input ends within a quoted field");
    check_value(&csv, b"a\n\\.\n", Some(b"a"));
    check_value(&csv, b"a\n\\.", Some(b"a"));
    check_error(&csv, b"\"a\nb\"\n\\.\n\"", "row 2, line 4: data follows the end marker");
}

#[test]
fn csv_has_fields_and_options() {
    let csv = options(Format::Csv, "key, value");
    let a = Some(&b"a"[..]);
    check_pairs(&csv, b"a,\n,a\n\"\",\"\"\n", &[(a, None), (None, a), (Some(b""), Some(b""))]);
    check_pairs(&csv, b"\"x\n\",\"y,\"\"\"\n", &[(Some(b"x\n"), Some(b"y,\""))]);
    check_error(&csv, b"\"x\n\",y\nx\n", "row 2, line 3: 1 fields, where --columns names 2");
    let mut csv = csv;
    csv.header = true;
    csv.null = Some("NIL".to_owned());
    csv.delimiter = Some(b";".to_vec());
    csv.quote = Some(b"'".to_vec());
    check_pairs(
        &csv,
        b"'multi\nline';v\nNIL;'NIL'\n;'it''s'\n",
        &[(None, Some(b"NIL")), (Some(b""), Some(b"it's"))],
    );
}

fn binary(rows: &[u8]) -> Vec<u8> {
    [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", rows].concat()
}

#[test]
fn binary_has_its_frame() {
    let options = options(Format::Binary, "key, value");
    let row = b"\0\x02\xff\xff\xff\xff\0\0\0\x02\xff\0";
    let trailer = b"\xff\xff";
    let expected = [(None, Some(&b"\xff\0"[..]))];
    check_pairs(&options, &binary(&[&row[..], trailer].concat()), &expected);
    check_pairs(&options, &binary(trailer), &[]);
    let extended = [&b"PGCOPY\n\xff\r\n\0\0\0\xff\xff\0\0\0\x03xyz"[..], row, trailer].concat();
    check_pairs(&options, &extended, &expected);

    check_error(
        &options,
        &binary(row),
        "row 1: the input ends without its trailer: the query that wrote it was aborted",
    );
    check_error(&options, b"", "the input ends without its trailer");
    check_error(&options, &binary(b""), "the input ends without its trailer");
    check_error(&options, &binary(&row[..7]), "row 1: the input ends within a row");
    check_error(&options, b"PGCOPY\n", "the input ends within a row");
    check_error(&options, b"key\tvalue\n", "does not start with the signature");
    check_error(&options, b"PGCOPY\r\n", "does not start with the signature");
    check_error(&options, b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0", "flags 0x00010000");
    check_error(&options, b"PGCOPY\n\xff\r\n\0\0\0\0\0\xff\xff\xff\xfe", "-2 is no length");
    check_error(&options, &binary(b"\0\x01\0\0\0\0"), "row 1: 1 fields, where --columns names 2");
    check_error(&options, &binary(b"\0\x02\xff\xff\xff\xfe"), "row 1: -2 is no length");
    check_error(&options, &binary(b"\0\x02\x7f\xff\xff\xff"), "row 1: 2147483647 is no length");
    check_error(&options, &binary(b"\xff\xffx"), "bytes follow the binary trailer");
}

#[test]
fn binary_is_strict_about_types() {
    let row = |field: &[u8]| {
        binary(&[b"\0\x01", &(field.len() as i32).to_be_bytes()[..], field, b"\xff\xff"].concat())
    };
    for (column, field, expected) in [
        ("value int2", &b"\xff\xfe"[..], &b"-2"[..]),
        ("value int4", b"\0\0\0\x07", b"7"),
        ("value int8", b"\0\0\0\0\0\0\0\x07", b"7"),
        ("value jsonb", b"\x01{}", b"{}"),
        ("value json", b"{}", b"{}"),
        ("value bytea", b"\\x\xff", b"\\x\xff"),
        ("value timestamptz", b"\0\0\0\0\0\0\0\0", b"2000-01-01 00:00:00+00"),
        ("a int4", b"\0\0\0\x07", b"{\"a\":7}"),
    ] {
        check_value(&options(Format::Binary, column), &row(field), Some(expected));
    }
    for (column, field, expected) in [
        (
            "n int4 = value",
            &b"\0\0\0\0\0\0\0\x07"[..],
            "row 1: column n: 8 bytes cannot be of type int4, which has 4: declare the column as int8",
        ),
        ("n int8 = value", b"\0\0\0\x07", "which has 8: declare the column as int4"),
        ("n int8 = value", b"\0", "column n: 1 bytes cannot be of type int8, which has 8"),
        ("value timestamptz", b"\0\0\0\x07", "cannot be of type timestamptz"),
        ("value jsonb", b"{}", "not a binary jsonb"),
        ("a", b"\xff", "column a: byte 0xff at position 0 is not valid UTF-8"),
    ] {
        check_error(&options(Format::Binary, column), &row(field), expected);
    }
}

#[test]
fn columns_have_their_targets() {
    let text = options(
        Format::Text,
        "topic, partition, timestamp, headers, header.a, header.b, key bytea, value jsonb, offset, x = 'c'",
    );
    let input =
        b"t\t2\t2026-11-22 19:48:00.5+01\t[[\"b\",\"1\"],[\"b\",null]]\t2\t3\t\\\\xff00\t{\"a\": 1}\t7\tc\n";
    let header = |name: &[u8], value: Option<&[u8]>| (name.to_vec(), value.map(<[u8]>::to_vec));
    let expected = Owned {
        topic: Some("t".to_owned()),
        partition: Some(2),
        timestamp: Some(1_795_373_280_500),
        key: Some(b"\xff\0".to_vec()),
        value: Some(b"{\"a\": 1}".to_vec()),
        // A header that `headers` has is not added again.
        headers: vec![header(b"b", Some(b"1")), header(b"b", None), header(b"a", Some(b"2"))],
    };
    check(&text, input, &[expected]);
    let nulls = ["\\N"; 10].join("\t") + "\n";
    check(&text, nulls.as_bytes(), &[Owned::default()]);
}

#[test]
fn times_partitions_and_topics_are_checked() {
    for (column, input, expected) in [
        ("timestamp", "1970-01-01 00:00:00.0019+00\n", Some(1)),
        ("timestamp int8", "-5\n", Some(-5)),
        ("timestamp int8", "-1\n", Some(-1)),
        ("timestamp", "1969-12-31 23:59:59.998+00\n", Some(-2)),
        ("timestamp text", "7\n", Some(7)),
        ("timestamp text", "1970-01-01T00:00:01Z\n", Some(1000)),
    ] {
        let record = Owned { timestamp: expected, ..Owned::default() };
        check(&options(Format::Text, column), input.as_bytes(), &[record]);
    }
    let field = "line 1: column ";
    for (column, input, expected) in [
        (
            "timestamp",
            "2026-11-22 18:48:00\n",
            "timestamp: \"2026-11-22 18:48:00\" cannot be timestamptz: without an offset",
        ),
        ("timestamp", "infinity\n", "timestamp: the time is out of range"),
        ("timestamp", "1969-12-31 23:59:59.9991+00\n", "timestamp: Kafka takes 1969-12-31 23:59:59.999+00"),
        ("timestamp text", "1969-12-31T23:59:59.999Z\n", "timestamp: Kafka takes 1969-12-31 23:59:59.999+00"),
        ("timestamp int8", "x\n", "timestamp: \"x\" cannot be int8: not an integer"),
        ("partition", "-1\n", "partition: a partition is a number from 0 to 2147483647"),
        ("p int8 = partition", "2147483648\n", "p: a partition is a number"),
        ("partition text", "x\n", "partition: a partition is a number"),
        ("topic", "\n", "topic: a topic name must be UTF-8 text"),
        ("headers", "{\"a\":\n", "headers: invalid JSON at position 5"),
        ("key bytea", "\\\\xf\n", "key: \"\\\\xf\" cannot be bytea: not a bytea"),
        ("key int2", "40000\n", "key: \"40000\" cannot be int2: out of range"),
        ("value jsonb", "{\"a\":\"\\\\u0000\"}\n", "value: invalid JSON at position 6: jsonb cannot hold"),
    ] {
        check_error(&options(Format::Text, column), input.as_bytes(), &format!("{field}{expected}"));
    }
    let error = read_as(&options(Format::Text, "topic"), b"\xff\n").expect_err("no UTF-8");
    assert!(error.contains(&Problem::InvalidTopic.to_string()), "{error}");
}

#[test]
fn other_names_are_members_of_the_value() {
    let text = options(
        Format::Text,
        "key, id int8, \"na\"\"me\", doc jsonb, raw bytea, at timestamptz, n int4, offset int8, none",
    );
    check_pairs(
        &text,
        b"k\t7\ta\"b\\n\t[1, {}]\t\\\\xff\t2026-11-22 19:48:00.5+01\t007\t5\t\\N\n",
        &[(
            Some(b"k"),
            Some(
                b"{\"id\":7,\"na\\\"me\":\"a\\\"b\\n\",\"doc\":[1, {}],\"raw\":\"\\\\xff\",\"at\":\"2026-11-22T18:48:00.5Z\",\"n\":7,\
                  \"offset\":5,\"none\":null}",
            ),
        )],
    );
    let error = RecordReader::new(&options(Format::Text, "value, id")).expect_err("two values");
    assert!(error.to_string().contains("column id: column value is the whole value already"), "{error}");
}

#[test]
fn json_lines_of_records() {
    let json = FormatOptions::new(Format::Json);
    let record = |line: &str| match read_as(&json, line.as_bytes()).as_deref() {
        Ok([record]) => record.clone(),
        other => panic!("{line}: {other:?}"),
    };
    let full = record(
        r#"{"topic":"t","partition":1,"offset":7,"timestamp":"2026-11-22T18:48:00.5Z","key":"k","value":"v\n\u0000","headers":[["a",null]]}"#,
    );
    assert_eq!((full.topic, full.partition, full.timestamp), (None, None, Some(1_795_373_280_500)));
    assert_eq!((full.key, full.value), (Some(b"k".to_vec()), Some(b"v\n\0".to_vec())));
    assert_eq!(full.headers, [(b"a".to_vec(), None)]);

    let value = |line: &str| record(line).value.map(|value| value.escape_ascii().to_string());
    assert_eq!(value(r#"{}"#), None);
    assert_eq!(value(r#" { "value" : null } "#), None);
    assert_eq!(value(r#"{"value":""}"#).as_deref(), Some(""));
    assert_eq!(value(r#"{"value":1.50}"#).as_deref(), Some("1.50"));
    assert_eq!(value(r#"{"value":{"a": [1]}}"#).as_deref(), Some(r#"{\"a\": [1]}"#));
    assert_eq!(value(r#"{"value":{"base64":"/wA="}}"#).as_deref(), Some("\\xff\\x00"));
    assert_eq!(
        value(r#"{"value":{"base64":"/wA=","x":1}}"#).as_deref(),
        Some(r#"{\"base64\":\"/wA=\",\"x\":1}"#)
    );
    assert_eq!(record(r#"{"timestamp":1700000000000}"#).timestamp, Some(1_700_000_000_000));

    let kcat = record(
        r#"{"topic":"t","partition":0,"offset":1,"tstype":"create","ts":5,"broker":1,"headers":["a","�"],"headers_base64":["YQ==","/w=="],"key":"�","key_base64":"/g==","payload":"x"}"#,
    );
    assert_eq!(
        (kcat.timestamp, kcat.key, kcat.value),
        (Some(5), Some(b"\xfe".to_vec()), Some(b"x".to_vec()))
    );
    assert_eq!(kcat.headers, [(b"a".to_vec(), Some(b"\xff".to_vec()))]);
    check(&json, b"\n{}\r\n  \n{}", &[Owned::default(), Owned::default()]);
}

#[test]
fn json_lines_say_what_is_wrong() {
    let json = FormatOptions::new(Format::Json);
    for (input, expected) in [
        (&b"{}\n[]\n"[..], "line 2: invalid JSON at position 0: each line must be a JSON object"),
        (b"{\"value\":}", "line 1: invalid JSON at position 9: a value was expected"),
        (b"{} {}", "line 1: invalid JSON at position 3: more follows"),
        (b"{\"valeu\":1}", "line 1: no column is called \"valeu\""),
        (b"\n{\"value\":\"\xff\"}", "row 1, line 2: invalid JSON at position 10: not valid UTF-8"),
        (
            b"{\"timestamp\":\"yesterday\"}",
            "line 1: column timestamp: \"yesterday\" cannot be timestamptz: it depends on",
        ),
        (b"{\"key_base64\":\"!\"}", "line 1: column key: a string in base64 was expected"),
        (b"{\"headers\":1}", "line 1: column headers: headers must be a JSON array"),
    ] {
        check_error(&json, input, expected);
    }
}

#[test]
fn json_lines_of_columns() {
    let json = options(Format::Json, "key bytea, value jsonb, timestamp, partition, topic, header.a");
    let header = |value: &[u8]| vec![(b"a".to_vec(), Some(value.to_vec()))];
    check(
        &json,
        br#"{"topic":"t","partition":3,"key":"\\xff","value":"text","timestamp":5,"header.a":7}"#,
        &[Owned {
            topic: Some("t".to_owned()),
            partition: Some(3),
            timestamp: Some(5),
            key: Some(b"\xff".to_vec()),
            value: Some(b"\"text\"".to_vec()),
            headers: header(b"7"),
        }],
    );
    let members = options(Format::Json, "key, id int8, name, doc jsonb");
    check_pairs(
        &members,
        br#"{"key":1,"name":"a\u00e9","doc":{"base64":"AA=="},"id":7}"#,
        &[(Some(b"1"), Some(br#"{"id":7,"name":"a\u00e9","doc":{"base64":"AA=="}}"#))],
    );
}

#[test]
fn records_larger_than_a_block_are_read() {
    let value = b"x".repeat(3_000_000);
    let mut reader = RecordReader::new(&FormatOptions::new(Format::Text)).expect("valid");
    let input = [&value[..], b"\nshort\n"].concat();
    let mut rest = &input[..];
    let mut lengths = Vec::new();
    while !reader.is_finished() {
        let space = reader.space();
        let len = space.len().min(rest.len()).min(100_000);
        space[..len].copy_from_slice(&rest[..len]);
        rest = &rest[len..];
        reader.filled(len);
        while let Some(record) = reader.read_record().expect("valid") {
            lengths.push(record.value.map(<[u8]>::len));
        }
    }
    assert_eq!(lengths, [Some(3_000_000), Some(5)]);
}

#[test]
fn half_a_character_is_no_text_of_a_record() {
    for (columns, line) in [
        ("value", r#"{"value":"a\ud800"}"#),
        ("key, value", r#"{"key":"\udc9c","value":null}"#),
        ("headers", r#"{"headers":{"h":"\ud800"}}"#),
        ("headers", r#"{"headers":[["\ud800","v"]]}"#),
    ] {
        check_error(&options(Format::Json, columns), line.as_bytes(), "is half of a character");
    }
}

#[test]
fn types_whose_binary_form_is_not_known_are_refused_before_any_row() {
    for columns in ["x int4range", "x bit(8)", "x interval year to month", "value mood[]"] {
        let error = RecordReader::new(&options(Format::Binary, columns)).expect_err(columns);
        assert!(error.to_string().contains("binary form"), "{error}");
    }
}
