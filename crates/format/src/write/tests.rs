use kcopy_wire::records::{Headers, HeadersBuf};

use super::*;
use crate::{Columns, FormatOptions, InvalidText, pack::Pack};

const CONTEXT: RecordContext<'_> =
    RecordContext { topic: "orders", partition: 3, broker: 1, timestamp_type: TimestampType::LogAppendTime };

fn options(format: Format, columns: &str) -> FormatOptions {
    FormatOptions { columns: Some(Columns::parse(columns).expect(columns)), ..FormatOptions::new(format) }
}

fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Record<'a> {
    Record { offset: 42, timestamp: 1_795_373_280_120, key, value, headers: Headers::EMPTY }
}

fn write(options: &FormatOptions, record: &Record<'_>) -> Result<Vec<u8>, FormatError> {
    let mut writer = RecordWriter::new(options).expect("valid options");
    let mut out = b"before".to_vec();
    let result = writer.write(&CONTEXT, record, &mut out);
    assert_eq!(&out[..6], b"before");
    match result {
        Ok(()) => Ok(out.split_off(6)),
        Err(error) => {
            assert_eq!(out, b"before", "a failed record leaves nothing behind");
            Err(error)
        }
    }
}

#[track_caller]
fn check(options: &FormatOptions, key: Option<&[u8]>, value: Option<&[u8]>, expected: &[u8]) {
    let out = write(options, &record(key, value)).expect("the record can be written");
    assert_eq!(out, expected, "{} instead of {}", out.escape_ascii(), expected.escape_ascii());
}

#[track_caller]
fn check_error(options: &FormatOptions, value: &[u8], expected: &str) {
    let error = write(options, &record(None, Some(value))).expect_err("the record cannot be written");
    assert_eq!(error.to_string(), format!("topic orders [3] at offset 42, {expected}"));
}

#[test]
fn bytea_of_json_scalars_is_escaped_for_copy() {
    let columns = "t bytea, n bytea, s bytea, h bytea";
    let json = br#"{"t":true,"n":-12,"s":"a","h":"\\x00ff"}"#;
    check(
        &options(Format::Text, columns),
        None,
        Some(json),
        b"\\\\x74727565\t\\\\x2d3132\t\\\\x61\t\\\\x00ff\n",
    );
    check(&options(Format::Csv, columns), None, Some(json), b"\\x74727565,\\x2d3132,\\x61,\\x00ff\n");
}

#[test]
fn text_is_escaped_as_copy_does() {
    let text = options(Format::Text, "value");
    for (value, expected) in [
        (&b""[..], &b"\n"[..]),
        (b"plain", b"plain\n"),
        ("é 😀".as_bytes(), "é 😀\n".as_bytes()),
        (b"\\", b"\\\\\n"),
        (b"\\N", b"\\\\N\n"),
        (b"\\.", b"\\\\.\n"),
        (b"a\tb\nc\rd", b"a\\tb\\nc\\rd\n"),
        (b"\x08\x0c\x0b\x07\x1f\x7f", b"\\b\\f\\v\x07\x1f\x7f\n"),
        (br#"{"a":"b\"c\\d\n"}"#, b"{\"a\":\"b\\\\\"c\\\\\\\\d\\\\n\"}\n"),
    ] {
        check(&text, None, Some(value), expected);
        // And again where the look ahead goes in blocks.
        let long = [b"x".repeat(70), value.to_vec()].concat();
        check(&text, None, Some(&long), &[b"x".repeat(70), expected.to_vec()].concat());
    }
    check(&text, None, None, b"\\N\n");
}

#[test]
fn text_with_other_options() {
    let mut text = options(Format::Text, "key, value");
    text.delimiter = Some(b";".to_vec());
    text.null = Some("NIL".to_owned());
    check(&text, None, Some(b"a;b\tc"), b"NIL;a\\;b\\tc\n");
    // What would be taken for NULL is escaped so that it is not.
    check(&text, Some(b"NIL"), Some(b"NILL"), b"\\x4eIL;NILL\n");
    text.null = Some("é".to_owned());
    check(&text, Some("é".as_bytes()), Some("éa".as_bytes()), "\\xc3\\xa9;éa\n".as_bytes());
    text.null = Some(String::new());
    check(&text, None, Some(b""), b";\n");

    let mut text = options(Format::Text, "n = offset, t = timestamp, value bytea");
    text.delimiter = Some(b"-".to_vec());
    check(&text, None, Some(b"\xff"), b"42-2026\\-11\\-22 18:48:00.12+00-\\\\xff\n");
}

#[test]
fn csv_is_quoted_as_copy_does() {
    let csv = options(Format::Csv, "value");
    for (value, expected) in [
        (&b""[..], &b"\"\"\n"[..]),
        (b"plain", b"plain\n"),
        (b"a,b", b"\"a,b\"\n"),
        (b"a\"b", b"\"a\"\"b\"\n"),
        (b"a\nb", b"\"a\nb\"\n"),
        (b"a\rb", b"\"a\rb\"\n"),
        (b"\\.", b"\"\\.\"\n"),
        (b"\\N", b"\\N\n"),
        (b" a\tb ", b" a\tb \n"),
        ("é".as_bytes(), "é\n".as_bytes()),
    ] {
        check(&csv, None, Some(value), expected);
    }
    check(&csv, None, None, b"\n");
    check(&options(Format::Csv, "key, value"), None, Some(b"\\."), b",\\.\n");
}

#[test]
fn csv_with_other_options() {
    let mut csv = options(Format::Csv, "key, value, offset");
    csv.delimiter = Some(b"2".to_vec());
    csv.quote = Some(b"'".to_vec());
    csv.null = Some("NIL".to_owned());
    check(&csv, None, Some(b"it's"), b"NIL2'it''s'2'42'\n");
    check(&csv, Some(b"NIL"), Some(b"\""), b"'NIL'2\"2'42'\n");

    let mut csv = options(Format::Csv, "key, value bytea, offset");
    csv.null = Some("\\N".to_owned());
    check(&csv, None, Some(b"\xff"), b"\\N,\\xff,42\n");
    check(&csv, Some(b"\\N"), None, b"\"\\N\",\\N,42\n");
}

#[test]
fn headers_come_first_where_they_are_asked_for() {
    // Only in csv is a name kept from being taken for NULL.
    for (format, null, expected) in [
        (Format::Text, None, "key\tx\\ty\n"),
        (Format::Csv, None, "key,x\ty\n"),
        (Format::Text, Some("key"), "key\tx\\ty\n"),
        (Format::Csv, Some("key"), "\"key\",x\ty\n"),
    ] {
        let mut options = options(format, "key, \"x\ty\" = value");
        options.header = true;
        options.null = null.map(str::to_owned);
        let mut writer = RecordWriter::new(&options).expect("valid options");
        let mut out = Vec::new();
        writer.begin(&mut out);
        writer.finish(&mut out);
        assert_eq!(out, expected.as_bytes());
    }
}

#[test]
fn binary_has_its_frame_and_its_widths() {
    let binary = options(
        Format::Binary,
        "key, value, b bytea = value, j json = value, jb jsonb = value, p int2 = partition, partition, offset, \
         timestamp, ms int8 = timestamp, o text = offset, t text = timestamp, k int4",
    );
    let mut writer = RecordWriter::new(&binary).expect("valid options");
    let mut out = Vec::new();
    writer.begin(&mut out);
    assert_eq!(out, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    out.clear();
    writer.finish(&mut out);
    assert_eq!(out, b"\xff\xff");
    assert_eq!(
        write(&binary, &record(None, Some(b"{\"k\":\"a\"}"))).expect_err("a is no number").column(),
        "k"
    );

    let binary = options(
        Format::Binary,
        "key, value, b bytea = value, j json = value, jb jsonb = value, p int2 = partition, partition, offset, \
         timestamp, ms int8 = timestamp, o text = offset, t text = timestamp, k int4 = '-2'",
    );
    let out = write(&binary, &record(None, Some(b"[1]"))).expect("valid");
    let mut expected = b"\0\x0d\xff\xff\xff\xff".to_vec();
    let field = |bytes: &[u8]| [&(bytes.len() as i32).to_be_bytes(), bytes].concat();
    for bytes in [
        &b"[1]"[..],
        b"[1]",
        b"[1]",
        b"\x01[1]",
        b"\0\x03",
        b"\0\0\0\x03",
        b"\0\0\0\0\0\0\0\x2a",
        &(1_795_373_280_120_000i64 - 946_684_800_000_000).to_be_bytes(),
        &1_795_373_280_120i64.to_be_bytes(),
        b"42",
        b"2026-11-22 18:48:00.12+00",
        b"\xff\xff\xff\xfe",
    ] {
        expected.extend(field(bytes));
    }
    assert_eq!(out, expected);
}

#[test]
fn metadata_in_the_text_formats() {
    let columns =
        "topic, partition, offset, timestamp, timestamp_type, headers, header.a, header.none, c = 'x\ty'";
    let mut headers = HeadersBuf::new();
    headers.push("a", Some(b"1"));
    headers.push("a", Some(b"2"));
    headers.push("b", None);
    let record = Record { headers: headers.as_headers(), ..record(None, None) };
    assert_eq!(
        write(&options(Format::Text, columns), &record).expect("valid"),
        b"orders\t3\t42\t2026-11-22 18:48:00.12+00\tLogAppendTime\t[[\"a\",\"1\"],[\"a\",\"2\"],[\"b\",null]]\t2\t\\N\tx\\ty\n"
    );
    assert_eq!(
        write(&options(Format::Csv, columns), &record).expect("valid"),
        b"orders,3,42,2026-11-22 18:48:00.12+00,LogAppendTime,\"[[\"\"a\"\",\"\"1\"\"],[\"\"a\"\",\"\"2\"\"],[\"\"b\"\",null]]\",2,,x\ty\n"
    );
    let none = Record { timestamp: -1, ..record };
    assert_eq!(write(&options(Format::Text, "timestamp"), &none).expect("valid"), b"\\N\n");
    let beyond = Record { timestamp: i64::MAX, ..record };
    let error = write(&options(Format::Text, "timestamp"), &beyond).expect_err("beyond any calendar");
    assert_eq!(error.problem(), &Problem::TimestampOutOfRange);
    let expected = format!("{}\n", i64::MAX);
    assert_eq!(write(&options(Format::Text, "timestamp int8"), &beyond).expect("valid"), expected.as_bytes());
}

#[test]
fn each_invalid_sequence_is_replaced_once() {
    let alphabet = [b'a', 0, 0x80, 0xa0, 0xc3, 0xed, 0xf0, 0x9f, 0xff];
    let replace = FormatOptions { invalid_text: InvalidText::Replace, ..options(Format::Text, "value") };
    for mut number in 0..9_usize.pow(5) {
        let mut value = Vec::new();
        for _ in 0..5 {
            value.push(alphabet[number % 9]);
            number /= 9;
        }
        // A surrogate is as one byte that is never valid; else it is what the standard library does.
        let mut simple = value.clone();
        while let Some(at) =
            simple.windows(3).position(|three| matches!(three, [0xed, 0xa0..=0xbf, 0x80..=0xbf]))
        {
            simple.splice(at..at + 3, [0xff]);
        }
        let expected = String::from_utf8_lossy(&simple).replace('\0', "\u{fffd}") + "\n";
        check(&replace, None, Some(&value), expected.as_bytes());
    }
}

#[test]
fn invalid_text_follows_the_policy() {
    let with = |format, policy| FormatOptions { invalid_text: policy, ..options(format, "value") };
    for (policy, for_utf8, for_nul) in [
        (InvalidText::Replace, "caf\u{fffd}", "a\u{fffd}b"),
        (InvalidText::Base64, "Y2Fm6Q==", "YQBi"),
        (InvalidText::Hex, "\\x636166e9", "\\x610062"),
    ] {
        for (value, expected) in [(&b"caf\xe9"[..], for_utf8), (b"a\0b", for_nul)] {
            let escaped = expected.replace('\\', "\\\\") + "\n";
            check(&with(Format::Text, policy), None, Some(value), escaped.as_bytes());
            check(&with(Format::Csv, policy), None, Some(value), format!("{expected}\n").as_bytes());
            let binary =
                [b"\0\x01", &(expected.len() as i32).to_be_bytes()[..], expected.as_bytes()].concat();
            check(&with(Format::Binary, policy), None, Some(value), &binary);
        }
    }
    for format in [Format::Text, Format::Csv, Format::Binary] {
        let options = with(format, InvalidText::Error);
        let advice = "use --invalid-text replace, base64 or hex, or declare the column as bytea";
        check_error(
            &options,
            b"caf\xe9",
            &format!("column value of type text: byte 0xe9 at position 3 is not valid UTF-8; {advice}"),
        );
        check_error(
            &options,
            b"a\0b",
            &format!(
                "column value of type text: the NUL byte at position 1 cannot be part of a text; {advice}"
            ),
        );
        let path = FormatOptions { columns: Columns::parse("a text").ok(), ..options };
        check_error(
            &path,
            br#"{"a":"x\udc9c!"}"#,
            &format!(
                "column a of type text: \\udc9c at byte 1 is half of a character: PostgreSQL's text cannot hold it; {advice}"
            ),
        );
    }
}

#[test]
fn types_are_checked_in_every_format() {
    for format in [Format::Text, Format::Csv, Format::Binary, Format::Json, Format::Raw] {
        let as_it_is = "declare the column as text or bytea to load it as it is";
        check_error(
            &options(format, "doc jsonb = value"),
            br#"{"a":"\u0000"}"#,
            &format!(
                "column doc of type jsonb: invalid JSON at position 6: jsonb cannot hold \\u0000; {as_it_is}"
            ),
        );
        check_error(
            &options(format, "doc json = value"),
            b"{\"a\":}",
            &format!("column doc of type json: invalid JSON at position 5: a value was expected; {as_it_is}"),
        );
        check_error(
            &options(format, "doc json = value"),
            b"\"\xff\"",
            &format!("column doc of type json: invalid JSON at position 1: not valid UTF-8; {as_it_is}"),
        );
        check_error(
            &options(format, "n int2 = value"),
            b"40000",
            "column n: \"40000\" cannot be int2: out of range; declare the column as text to load it as it is",
        );
        check_error(
            &options(format, "n int = value"),
            b"x",
            "column n: \"x\" cannot be int4: not an integer; declare the column as text to load it as it is",
        );
        assert!(write(&options(format, "doc json = value"), &record(None, Some(br#""\u0000""#))).is_ok());
    }
}

#[test]
fn json_lines_hold_the_whole_record() {
    let json = FormatOptions::new(Format::Json);
    check(
        &json,
        None,
        Some(b"v\n\0"),
        b"{\"topic\":\"orders\",\"partition\":3,\"offset\":42,\"timestamp\":\"2026-11-22T18:48:00.12Z\",\"key\":null,\
          \"value\":\"v\\n\\u0000\",\"headers\":[]}\n",
    );
    let mut headers = HeadersBuf::new();
    headers.push("a", Some(b"\xff"));
    let odd = Record { timestamp: -1, headers: headers.as_headers(), ..record(Some(b"\xff"), None) };
    assert_eq!(
        write(&json, &odd).expect("valid"),
        b"{\"topic\":\"orders\",\"partition\":3,\"offset\":42,\"timestamp\":null,\"key\":{\"base64\":\"/w==\"},\
          \"value\":null,\"headers\":[[\"a\",{\"base64\":\"/w==\"}]]}\n"
    );
    let late = Record { timestamp: 253_402_300_800_000, ..odd };
    let line = write(&json, &late).expect("valid");
    assert!(String::from_utf8(line).expect("UTF-8").contains("\"timestamp\":253402300800000,"));
}

#[test]
fn json_lines_of_columns_are_typed() {
    let json = options(
        Format::Json,
        "key bytea, value json, offset, o text = offset, timestamp, ms int8 = timestamp, c = 'x', headers",
    );
    check(
        &json,
        Some(b"\xff"),
        Some(b"{\n \"a\": 1}"),
        b"{\"key\":\"\\\\xff\",\"value\":{  \"a\": 1},\"offset\":42,\"o\":\"42\",\"timestamp\":\
          \"2026-11-22T18:48:00.12Z\",\"ms\":1795373280120,\"c\":\"x\",\"headers\":[]}\n",
    );
    let json = options(Format::Json, "value jsonb");
    check(&json, None, None, b"{\"value\":null}\n");
    check(&json, None, Some(b"null"), b"{\"value\":{\"base64\":\"bnVsbA==\"}}\n");
    check(&json, None, Some(br#"{"base64":""}"#), b"{\"value\":{\"base64\":\"eyJiYXNlNjQiOiIifQ==\"}}\n");
    let json = FormatOptions { invalid_text: InvalidText::Hex, ..options(Format::Json, "value") };
    check(&json, None, Some(b"\xff"), b"{\"value\":\"\\\\xff\"}\n");
    let json = FormatOptions { invalid_text: InvalidText::Replace, ..options(Format::Json, "value") };
    check(&json, None, Some(b"\xff"), "{\"value\":\"\u{fffd}\"}\n".as_bytes());
}

#[test]
fn raw_is_one_column_and_a_delimiter() {
    let mut raw = options(Format::Raw, "value");
    check(&raw, None, Some(b"\0\xff\n"), b"\0\xff\n\n");
    check(&raw, None, None, b"\n");
    raw.delimiter = Some(b"\0".to_vec());
    raw.null = Some("NULL".to_owned());
    check(&raw, None, None, b"NULL\0");
    check(&options(Format::Raw, "offset"), None, None, b"42\n");
    let error = RecordWriter::new(&options(Format::Raw, "key, value")).expect_err("two columns");
    assert!(error.to_string().contains("one column"), "{error}");
}

#[test]
fn a_constant_of_the_wrong_type_is_noticed_before_any_record() {
    for (list, reason) in [
        ("k int4 = '1x'", "column k: \"1x\" cannot be int4"),
        ("value, n int2 = '40000'", "column n: \"40000\" cannot be int2"),
        ("j jsonb = '{'", "column j: invalid JSON"),
        ("c varchar(2) = 'abc'", "column c: \"abc\" cannot be varchar(2)"),
        ("a int4[] = '{1,x}'", "column a: "),
        ("at timestamptz = 'yesterday'", "column at: "),
    ] {
        for format in [Format::Text, Format::Csv, Format::Binary, Format::Json] {
            let error = RecordWriter::new(&options(format, list)).expect_err(list).to_string();
            assert!(error.starts_with("--columns: ") && error.contains(reason), "{list}: {error}");
        }
    }
    let right = "k int4 = '-1', j jsonb = '{}', c varchar(2) = 'ab', a int4[] = '{1,2}', b bytea = 'x', m mood = 'sad'";
    RecordWriter::new(&options(Format::Text, right)).expect("all of them are right");
}

#[test]
fn paths_and_types_in_every_format() {
    let columns = "id int8, n numeric(6,2) = value.a.n, tags text[], at timestamptz, ok bool, u uuid, d date, \
                   doc jsonb = value.a, k text = key.k, none int4, f float8";
    let value =
        br#"{"id":7,"a":{"n":1.005,"x":[null]},"tags":["a b",null,"c"],"at":"2026-11-22T18:48:00Z","ok":true,
        "u":"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11","d":"2026-11-22","f":1e3}"#;
    let typed = record(Some(br#"{"k":"\u00e9\n"}"#), Some(value));
    assert_eq!(
        String::from_utf8(write(&options(Format::Text, columns), &typed).expect("valid")).expect("UTF-8"),
        "7\t1.01\t{\"a b\",NULL,c}\t2026-11-22 18:48:00+00\tt\ta0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\t2026-11-22\t\
         {\"n\":1.005,\"x\":[null]}\té\\n\t\\N\t1000\n"
    );
    assert_eq!(
        String::from_utf8(write(&options(Format::Csv, columns), &typed).expect("valid")).expect("UTF-8"),
        "7,1.01,\"{\"\"a b\"\",NULL,c}\",2026-11-22 18:48:00+00,t,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,2026-11-22,\
         \"{\"\"n\"\":1.005,\"\"x\"\":[null]}\",\"é\n\",,1000\n"
    );
    assert_eq!(
        String::from_utf8(write(&options(Format::Json, columns), &typed).expect("valid")).expect("UTF-8"),
        "{\"id\":7,\"n\":1.01,\"tags\":[\"a b\",null,\"c\"],\"at\":\"2026-11-22T18:48:00Z\",\"ok\":true,\
         \"u\":\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\",\"d\":\"2026-11-22\",\"doc\":{\"n\":1.005,\"x\":[null]},\
         \"k\":\"é\\n\",\"none\":null,\"f\":1000}\n"
    );
    let binary =
        write(&options(Format::Binary, "id int8, ok bool, d date, none int4"), &typed).expect("valid");
    assert_eq!(
        binary,
        b"\0\x04\0\0\0\x08\0\0\0\0\0\0\0\x07\0\0\0\x01\x01\0\0\0\x04\0\0\x26\x5e\xff\xff\xff\xff"
    );
    for format in [Format::Text, Format::Csv, Format::Binary] {
        let nulls =
            write(&options(format, "id int8, ok bool, x = key.x"), &record(None, None)).expect("a tombstone");
        let expected: &[u8] = match format {
            Format::Text => b"\\N\t\\N\t\\N\n",
            Format::Csv => b",,\n",
            _ => b"\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        };
        assert_eq!(nulls, expected);
    }
}

#[test]
fn json_values_go_into_types_by_rules() {
    for (column_type, json, expected) in [
        ("int8", "1.0", Some("1")),
        ("int8", "12e2", Some("1200")),
        ("int8", "1.5", None),
        ("int8", "\"42\"", Some("42")),
        ("int8", "\"1.0\"", None),
        ("int2", "40000", None),
        ("int8", "true", None),
        ("int8", "[1]", None),
        ("bool", "1", Some("t")),
        ("bool", "2", None),
        ("bool", "\"off\"", Some("f")),
        ("text", "1.50", Some("1.50")),
        ("text", "true", Some("true")),
        ("text", "{\"a\": 1}", Some("{\"a\": 1}")),
        ("varchar(3)", "\"abc\"", Some("abc")),
        ("varchar(3)", "\"abcd\"", None),
        ("varchar(3)", "12345", None),
        ("jsonb", "\"a\"", Some("\"a\"")),
        ("jsonb", "[1, 2]", Some("[1, 2]")),
        ("timestamptz", "1795373280120", Some("2026-11-22 18:48:00.12+00")),
        ("timestamptz", "1795373280120.5", Some("2026-11-22 18:48:00.1205+00")),
        ("timestamptz", "-1", Some("1969-12-31 23:59:59.999+00")),
        ("timestamp", "1795373280120", Some("2026-11-22 18:48:00.12")),
        ("timestamptz", "1e12", None),
        ("timestamptz", "\"1795373280120\"", None),
        ("timestamptz", "\"2026-11-22T18:48:00\"", None),
        ("date", "20000", None),
        ("bytea", "\"\\\\xff00\"", Some("\\\\xff00")),
        ("int4[]", "[[1,2],[3,null]]", Some("{{1,2},{3,NULL}}")),
        ("int4[]", "[]", Some("{}")),
        ("int4[]", "[1,[2]]", None),
        ("int4[]", "\"{1,2}\"", Some("{1,2}")),
        ("int4[]", "7", None),
        ("jsonb[]", "[[1],{\"a\":\"b\"}]", Some("{[1],\"{\\\\\"a\\\\\":\\\\\"b\\\\\"}\"}")),
        ("text[]", "[\"a\\\"b\",1,{}]", Some("{\"a\\\\\"b\",1,\"{}\"}")),
        ("mood", "\"happy\"", Some("happy")),
        ("numeric", "1e-5", Some("0.00001")),
        ("float4", "1e39", None),
        ("interval", "90", None),
        ("interval", "\"PT90S\"", Some("00:01:30")),
    ] {
        let value = format!("{{\"x\":{json}}}");
        let out =
            write(&options(Format::Text, &format!("x {column_type}")), &record(None, Some(value.as_bytes())));
        let out = out.ok().map(|out| String::from_utf8(out).expect("UTF-8"));
        assert_eq!(out, expected.map(|text| format!("{text}\n")), "{json} into {column_type}");
    }
}

#[test]
fn documents_and_values_that_do_not_fit_are_named() {
    let text = |columns| options(Format::Text, columns);
    check_error(
        &text("key, id int8, x"),
        b"{\"id\":1,}",
        "column id: the value is no JSON document: at position 8, a string was expected",
    );
    check_error(
        &text("x"),
        b"",
        "column x: the value is no JSON document: at position 0, the text ends where a value was expected",
    );
    check_error(
        &text("u uuid"),
        br#"{"u":"no"}"#,
        "column u: \"no\" cannot be uuid: not 32 hexadecimal digits, with hyphens or without; declare the column as text \
         to load it as it is",
    );
    let long = format!("{{\"u\":\"{}\"}}", "é".repeat(1000));
    let error =
        write(&text("u uuid"), &record(None, Some(long.as_bytes()))).expect_err("no uuid").to_string();
    assert!(error.len() < 300 && error.contains("é…\" cannot be uuid"), "{error}");
    // Lone surrogates and NUL are text that no text can hold, and follow the policy for it.
    for (json, replaced) in [(r#""a\ud800b""#, "a\u{fffd}b\n"), (r#""a\u0000b""#, "a\u{fffd}b\n")] {
        let value = format!("{{\"x\":{json}}}");
        let value = record(None, Some(value.as_bytes()));
        assert!(write(&text("x"), &value).is_err());
        assert!(write(&text("x uuid"), &value).is_err());
        let array = format!("{{\"x\":[\"fine\",{json}]}}");
        let array = record(None, Some(array.as_bytes()));
        for columns in ["x text[]", "x varchar(9)[]", "x uuid[]"] {
            assert!(write(&text(columns), &array).is_err(), "{columns} {json}");
        }
        let replace = FormatOptions { invalid_text: InvalidText::Replace, ..text("x") };
        assert_eq!(write(&replace, &value).expect("replaced"), replaced.as_bytes());
        assert!(write(&text("x json"), &value).is_ok());
        assert!(write(&text("x jsonb"), &value).is_err());
    }
}

#[test]
fn what_cannot_be_unpacked_is_told_in_kcats_words() {
    let template =
        Template::delimited(b"\n", None).packs(None, Some(Pack::parse("value", "i").expect("valid")));
    let mut writer = RecordWriter::template(template);
    let error = writer.write(&CONTEXT, &record(None, Some(b"abc")), &mut Vec::new()).expect_err("too short");
    let expected = "Failed to format message in orders [3] at offset 42: value truncated, expected 4 bytes to unpack i \
                    but only 3 bytes remaining";
    assert_eq!(error.to_string(), expected);
}
