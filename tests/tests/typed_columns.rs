//! Typed columns beside PostgreSQL itself: the same values, or the same refusal, in every format of COPY.

use std::io::Write;

use kcopy::format::{
    Columns, Format, FormatOptions,
    write::{RecordContext, RecordWriter},
};
use kcopy_tests::{Broker, Database, sql_quoted};
use kcopy_wire::records::{Headers, Record, TimestampType};
use postgres::Client;

const FORMATS: [Format; 3] = [Format::Text, Format::Csv, Format::Binary];

/// Values at the edges of each type. What begins with `~` PostgreSQL takes and kcopy refuses, because it depends
/// on settings, on tables of the server, or on the time at which it is read.
const EDGES: &[(&str, &[&str])] = &[
    (
        "bool",
        &[
            "t", "TRUE", " true ", "tru", "y", "yes", "on", "of", "off", "o", "1", "0", "2", "", " ", "n",
            "no", "f", "01",
        ],
    ),
    (
        "int2",
        &[
            "0", "-32768", "32767", "32768", "-32769", " 7 ", "+7", "007", "1.0", "1e3", "", "-", "0x10",
            "1_0",
        ],
    ),
    (
        "int4",
        &[
            "2147483647",
            "2147483648",
            "-2147483648",
            "-2147483649",
            "99999999999999999999",
            "-0",
            "1 2",
            "\t5\n",
        ],
    ),
    (
        "int8",
        &["9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "x"],
    ),
    (
        "float4",
        &[
            "1e38",
            "3.4028235e38",
            "3.5e38",
            "1e-45",
            "1e-46",
            "0.1",
            "16777217",
            "NaN",
            "inf",
            "-Infinity",
            "1e6",
            "123456",
            "1.5e-5",
            "nan",
            "-nan",
            "+inf",
            "",
            "1e",
            ".",
            "5.",
            ".5",
            "-0",
        ],
    ),
    (
        "float8",
        &[
            "1e308",
            "1.7976931348623157e308",
            "1.8e308",
            "5e-324",
            "2e-324",
            "0.1",
            "1e15",
            "123456789012345678",
            "0.0001",
            "0.00001",
            "NaN",
            "infinity",
            "-inf",
            "INF",
            "1e400",
            "1e-400",
            "0e400",
            " 1 ",
            "1 1",
            "--1",
            "0x",
            "1d",
            "1f",
            "-0.0",
            "9007199254740993",
            "2.2250738585072011e-308",
            "infi",
        ],
    ),
    (
        "numeric",
        &[
            "0",
            "-0",
            "0.000",
            "1e10",
            "1e-10",
            "1.5e3",
            "-1.50",
            ".5",
            "5.",
            "+1",
            " 1 ",
            "NaN",
            "nan",
            "inf",
            "-Infinity",
            "+infinity",
            "1e131071",
            "1e131072",
            "1e-16383",
            "1e-16384",
            "",
            ".",
            "1e",
            "x",
            "1x",
            "1 2",
            "-",
            "e5",
            "1.2.3",
            "1e+5",
            "-nan",
            "0e999999",
            "10000",
            "9999",
            "10000.0001",
            "0.0001",
            "0.00001",
            "100000000",
            "1234567890123456789012345678901234567890123456789012345678901234567890.1234567890123456789012345678901",
            "-99999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999",
        ],
    ),
    (
        "numeric(5,2)",
        &[
            "999.99", "999.994", "999.995", "-999.995", "1000", "0.005", "0.004", "1e2", "1e3", "NaN", "inf",
            "1e-100", "0.5e-2",
        ],
    ),
    ("numeric(3,-2)", &["12345", "12350", "99949", "99950", "49", "50", "-50"]),
    ("numeric(2,4)", &["0.0012", "0.0099", "0.00995", "0.01", "0.00001"]),
    ("text", &["", " ", "a\tb\nc\\", "é😀", "\\N", "\\.", "NULL", "\"", "'"]),
    ("varchar(3)", &["abc", "abcd", "abc  ", "ééé", "éééé", ""]),
    ("char(3)", &["a", "abc", "abcd", "abc ", ""]),
    ("bytea", &["", "\\x", "\\x00ff", "\\xFF 00", "\\x0", "\\xgg", "abc", "a\\\\b", "\\001", "\\400", "\\"]),
    (
        "uuid",
        &[
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
            "",
            "a0eebc99",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-",
            "a0-eebc999c0b4ef8bb6d6bb9bd380a11",
            " a0eebc999c0b4ef8bb6d6bb9bd380a11",
        ],
    ),
    (
        "date",
        &[
            "2024-02-29",
            "2023-02-29",
            "2024-2-9",
            "2024/02/29",
            "2024.02.29",
            "20240229",
            "240229",
            "2024-060",
            "2024060",
            "2024-366",
            "~2023-366",
            "29-Feb-2024",
            "29 Feb 2024",
            "Feb 29, 2024",
            "February 29 2024",
            "2024-Feb-29",
            "2024 Feb 29",
            "Feb-29-2024",
            "Thu Feb 29 2024",
            "Thu, 29 Feb 2024 12:00:00 GMT",
            "2024-02-29T12:00:00Z",
            "2024-02-29 12:00",
            "0001-01-01",
            "0001-01-01 BC",
            "4714-11-24 BC",
            "4714-11-23 BC",
            "5874897-12-31",
            "5874898-01-01",
            "infinity",
            "-infinity",
            "INFINITY",
            "epoch",
            "J2451187",
            "j0",
            "0000-01-01",
            "",
            " ",
            "2024-13-01",
            "2024-00-10",
            "2024-01-32",
            "2024-02",
            "12:00",
            "x",
            "2024-02-29 x",
            "2024-02-29 AD",
            "99-01-08",
            "~01/02/2024",
            "~1-2-3",
            "~08-Jan-99",
            "~now",
            "~today",
            "~tomorrow",
            "2024-02-29 24:00:00",
            "2024-02-29 25:00",
            "~infinity 12:00",
            "10000-01-01",
            "2024-02-29T",
            "sept 5, 2024",
            "2024-02-29 2024-02-29",
        ],
    ),
    (
        "time",
        &[
            "04:05:06.789",
            "04:05:06",
            "04:05",
            "040506",
            "0405",
            "04:05 AM",
            "04:05 PM",
            "12:00 AM",
            "12:00 PM",
            "13:00 PM",
            "00:00 PM",
            "24:00:00",
            "24:00:01",
            "23:59:60",
            "23:59:61",
            "23:59:60.5",
            "25:00",
            "12:60",
            "allballs",
            "04:05:06+02",
            "04:05:06 UTC",
            "04:05:06Z",
            "2024-02-29 04:05:06",
            "",
            "x",
            "2024-02-29",
            "00:00:00.0000005",
            "00:00:00.0000015",
            "23:59:59.9999999",
            "04:05:06.123456789",
            "4:5:6",
            "~now",
            "infinity",
            "1:2",
            "040506.7",
            "T04:05:06",
            "04:05:06,5",
            "-04:05",
            "~04:05:06 CET",
            "04:05:06 Nowhere/Land",
        ],
    ),
    ("time(2)", &["12:00:00.555", "12:00:00.554", "23:59:59.999"]),
    (
        "timetz",
        &[
            "04:05:06+02",
            "04:05:06-08:30",
            "04:05:06.5Z",
            "04:05:06 UTC",
            "04:05:06 GMT",
            "04:05:06+15:59",
            "04:05:06+16",
            "04:05:06+0530",
            "04:05:06+05:30:15",
            "24:00:00+00",
            "040506-08",
            "~04:05:06",
            "~04:05:06 CET",
            "x",
            "2024-02-29 04:05:06+02",
            "allballs",
            "04:05:06+5",
            "04:05:06 +02",
        ],
    ),
    (
        "timestamp",
        &[
            "2024-02-29 12:00:00",
            "2024-02-29T12:00:00.123456",
            "2024-02-29 12:00:00.1234565",
            "2024-02-29 12:00:00.1234575",
            "2024-02-29 12:00:00+05",
            "2024-02-29T12:00:00Z",
            "2024-02-29",
            "20240229T120000",
            "20240229 120000",
            "2016-12-31 23:59:60",
            "2016-12-31 23:59:60.5",
            "2024-02-29 24:00:00",
            "infinity",
            "-infinity",
            "epoch",
            "0001-01-01 00:00:00 BC",
            "4714-11-24 00:00:00 BC",
            "4714-11-23 23:59:59 BC",
            "294276-12-31 23:59:59.999999",
            "294277-01-01",
            "Thu Feb 29 12:00:00 2024",
            "29 February 2024 12:00 PM",
            "2024-02-29 12:00 x",
            "",
            "12:00",
            "~now",
            "2024-02-29 12:00:00 UTC",
            "2024-02-29t12:00:00z",
            "2024-02-29 12",
            "2024-02-29T12",
            "2024-060T12:00:00",
            "Feb 29 12:00:00 2024",
            "2024-02-29 12:00:00 AD",
            "29.02.2024 12:00",
            "2024-02-29 at 12:00",
        ],
    ),
    (
        "timestamp(0)",
        &["2024-02-29 12:00:00.5", "2024-02-29 12:00:00.4", "1999-12-31 23:59:59.5", "1999-12-31 23:59:58.5"],
    ),
    (
        "timestamptz",
        &[
            "2024-02-29 12:00:00+00",
            "2024-02-29T12:00:00Z",
            "2024-02-29 12:00:00+05:30",
            "2024-02-29 12:00:00-0800",
            "2024-02-29 12:00:00 UTC",
            "2024-02-29 12:00:00 +02",
            "2024-02-29 12:00:00.9999999+00",
            "2024-02-29 12:00Z",
            "2016-12-31T23:59:60Z",
            "2024-02-29 24:00:00+00",
            "0001-12-31 23:59:59.999+00 BC",
            "infinity",
            "-infinity",
            "294276-12-31 23:59:59.999999+00",
            "294276-12-31 23:59:59.999999-01",
            "4714-11-24 00:00:00+00 BC",
            "4714-11-24 00:00:00+01 BC",
            "2024-02-29 12:00:00+15:59:59",
            "2024-02-29 12:00:00+16",
            "2024-02-30 12:00:00+00",
            "Thu, 29 Feb 2024 12:00:00 GMT",
            "Thu Feb 29 12:00:00 2024 UTC",
            "~2024-02-29 12:00:00",
            "~2024-02-29",
            "~2024-02-29 12:00:00 CET",
            "~2024-02-29 12:00:00 Europe/Zurich",
            "~2024-02-29 12:00:00 PST8PDT",
            "~now",
            "2024-02-29 12:00:00 Nowhere/Land",
            "1709208000",
            "",
            "2024-02-29 12:00:00 zulu",
            "epoch",
            "20240229T120000Z",
            "2024-02-29 12:00:00+0",
            "2024-02-29 12:00:00+1:30",
            "2024-02-29T12:00:00.000+0000",
            "2024-02-29T12:00:00+00:00:00",
            "2024-02-29 4:05 PM +00",
            "+262024-02-29 12:00:00+00",
            "2024-02-29  12:00:00  +00",
            "2024-02-29T12:00:00,5Z",
        ],
    ),
    (
        "interval",
        &[
            "1 year 2 mons 3 days 04:05:06.789",
            "@ 1 year ago",
            "1-2 3 4:05:06",
            "P1Y2M3DT4H5M6.7S",
            "P0001-02-03T04:05:06",
            "PT0S",
            "P1W",
            "P-1Y2M",
            "PT-1.5H",
            "1.5 months",
            "1.5 years",
            "0.7 days",
            "1.5 weeks",
            "-1 day +2 hours",
            "1 day ago",
            "5",
            "-5",
            "1 day 5",
            "3 4:05",
            "-4:05:06",
            "4:05.5",
            "100:00:00",
            "1h 2m 3s",
            "5 ms 7 us",
            "0",
            "",
            "x",
            "1 x",
            "1 day 2 days",
            "P",
            "1 decade 1 century 1 millennium",
            "1 c",
            "178000000 years",
            "179000000 years",
            "2147483647 days",
            "2147483648 days",
            "1.23456789 seconds",
            "1e3 seconds",
            "+1 day",
            "- 1 day",
            "1day",
            "1 day 1:2:3.5",
            "1:60",
            "0:0:60",
            "12:30:15 ago",
            "1 Year 1 MONTH",
            "1 hour -30 minutes",
            "-1-2",
            "1.1 hours",
            "P1.5Y",
            "P1.5M",
            "P1.5D",
            "PT1H30",
            "ago",
            "~1 day ago ago",
            "1 mon -1 day",
            "0.000001 seconds",
            "0.0000005 s",
            "infinity",
            "1 week 1 day",
            "PT1M",
            "P1M",
            "1 2",
            "1 day, 2 hours",
            "1-13",
            "04:05:06.123456789",
            "P1Y1Y",
            "1 day 1 d",
        ],
    ),
    ("interval(0)", &["1.5 seconds", "-1.5 seconds", "1.4 seconds"]),
    (
        "inet",
        &[
            "192.168.0.1",
            "192.168.0.1/24",
            "192.168.0.0/32",
            "10",
            "10.1",
            "10/8",
            "10.1/16",
            "10.1.2/24",
            "10.1/24",
            "0.0.0.0/0",
            "256.0.0.1",
            "1.2.3.4/33",
            "::1",
            "::/0",
            "2001:db8::1/64",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
            "fe80::1%eth0",
            "1.2.3.4/",
            "2001:DB8:0:0:1:0:0:1",
            "1:2:3:4:5:6:7:8/128",
            "::1/129",
            "",
            " 1.2.3.4",
            "1.2.3.4 ",
            "01.2.3.4",
            "001.2.3.4",
            "1.2.3",
            "1.2.3.4.5",
            "x",
            "1.2.3.4/08",
            "::10.0.0.1/96",
            "0:0:0:0:0:0:0:0",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
        ],
    ),
    (
        "cidr",
        &[
            "192.168.0.0/24",
            "192.168.0.1/24",
            "192.168.0.1",
            "10",
            "10.1",
            "10.1.2",
            "192.168",
            "128",
            "128.1",
            "224",
            "224.1",
            "240",
            "10/8",
            "10.1/16",
            "10.1/24",
            "10.0.0.0/7",
            "11.0.0.0/7",
            "::/0",
            "2001:db8::/32",
            "2001:db8::1/32",
            "::1",
            "",
            "0.0.0.0/0",
            "1.2.3.4/32",
            "x",
            "239.1",
            "255",
            "172.16",
            "0",
        ],
    ),
    (
        "macaddr",
        &[
            "08:00:2b:01:02:03",
            "08-00-2b-01-02-03",
            "08002b:010203",
            "08002b-010203",
            "0800.2b01.0203",
            "0800-2b01-0203",
            "08002B010203",
            "8:0:2b:1:2:3",
            "08:00:2b:01:02",
            "08:00:2b:01:02:03:04",
            "",
            " 08:00:2b:01:02:03 ",
            "xx:00:2b:01:02:03",
            "08:00:2b-01-02-03",
            "~08002b01020",
            "100:00:00:00:00:00",
        ],
    ),
    (
        "json",
        &[
            "1",
            "\"a\"",
            "{\"a\":1,\"a\":2}",
            "[1, 2]",
            "",
            "{",
            "\"\\u0000\"",
            "\"\\ud800\"",
            "01",
            "nul",
            " null ",
            "1e999999",
        ],
    ),
    (
        "jsonb",
        &[
            "1",
            "\"a\"",
            "{\"a\":1,\"a\":2}",
            "[1, 2]",
            "",
            "{",
            "\"\\u0000\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00\"",
            "01",
            "1e131071",
            "1e131072",
            "1e-20000",
        ],
    ),
    (
        "int4[]",
        &[
            "{}",
            "{1,2}",
            " { 1 , 2 } ",
            "{1,NULL,null}",
            "{{1,2},{3,4}}",
            "{{1,2},{3}}",
            "{{1},2}",
            "{1,{2}}",
            "[2:3]={1,2}",
            "[1:2]={1,2}",
            "[0:0][3:4]={{1,2}}",
            "[1:3]={1,2}",
            "[2]={1,2}",
            "[-1:0]={1,2}",
            "{1,}",
            "{,}",
            "{",
            "1",
            "",
            "{x}",
            "{\"1\"}",
            "{1}}",
            "{1} x",
            "{{}}",
            "{{},{}}",
            "{{{1}}}",
            "{{{{{{1}}}}}}",
            "{{{{{{{1}}}}}}}",
            "{1 2}",
            "[2:1]={}",
            "[1:0]={}",
        ],
    ),
    (
        "text[]",
        &[
            "{a,b}",
            "{\"a b\",c d}",
            "{\"\"}",
            "{\"NULL\",NULL,nulL}",
            "{\"a\\\"b\",\"\\\\\"}",
            "{a\\,b}",
            "{ a , b }",
            "{\"a\"b}",
            "{a\"b\"}",
            "{\\{}",
            "{\"{\"}",
            "{é,😀}",
            "{\"a\nb\"}",
            "{}",
            "{a\\ }",
            "{\"a\" }",
            "{NULL\\}",
            "{n\\ull}",
        ],
    ),
    ("numeric(4,1)[]", &["{1.25,NULL}", "{1000}", "{NaN}"]),
    ("timestamptz[]", &["{2024-02-29 12:00:00+00,infinity}", "{\"2024-02-29 12:00:00Z\"}"]),
    ("jsonb[]", &["{1,NULL}", "{\"{\\\"a\\\":[1]}\"}", "{x}"]),
    ("inet[]", &["{10.0.0.1,::1/64}"]),
];

/// A JSON string.
fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..='\x1f' => out += &format!("\\u{:04x}", c as u32),
            c => out.push(c),
        }
    }
    out + "\""
}

/// What kcopy makes of each text, loaded by COPY; the numbers of those that it refuses, and why.
fn load(client: &mut Client, format: Format, type_name: &str, texts: &[&str]) -> Vec<(usize, String)> {
    // JSON would embed a string as what it is.
    let is_json = matches!(type_name, "json" | "jsonb");
    let source = if is_json { " = value" } else { "" };
    let columns = Columns::parse(&format!("offset int4, x {type_name}{source}")).expect(type_name);
    let options = FormatOptions { columns: Some(columns), ..FormatOptions::new(format) };
    let mut writer = RecordWriter::new(&options).expect(type_name);
    let context =
        RecordContext { topic: "t", partition: 0, broker: 0, timestamp_type: TimestampType::CreateTime };
    let (mut out, mut refused) = (Vec::new(), Vec::new());
    writer.begin(&mut out);
    for (index, text) in texts.iter().enumerate() {
        let value = if is_json { (*text).to_owned() } else { format!("{{\"x\":{}}}", json_string(text)) };
        let record = Record {
            offset: index as i64,
            timestamp: -1,
            key: None,
            value: Some(value.as_bytes()),
            headers: Headers::EMPTY,
        };
        if let Err(error) = writer.write(&context, &record, &mut out) {
            refused.push((index, error.to_string()));
        }
    }
    writer.finish(&mut out);
    let sql = format!("copy by_kcopy from stdin (format {format}, encoding 'UTF8')");
    let mut copy = client.copy_in(&sql).expect(&sql);
    copy.write_all(&out).expect("COPY takes bytes");
    copy.finish().unwrap_or_else(|error| panic!("{type_name} in {format}: {error:?}"));
    refused
}

#[test]
fn edges_are_what_postgres_makes_of_them() {
    let database = Database::create();
    let mut client = database.connect();
    client.batch_execute("set timezone = 'UTC'; set datestyle = 'ISO, MDY'").expect("settings");
    let mut differences = Vec::new();
    for (type_name, marked) in EDGES {
        let texts: Vec<&str> = marked.iter().map(|text| text.strip_prefix('~').unwrap_or(text)).collect();
        let by_design = |index: usize| marked[index].starts_with('~');
        let list = texts.iter().map(|text| sql_quoted(text)).collect::<Vec<_>>().join(", ");
        client
            .batch_execute(&format!(
                "drop table if exists by_sql, by_kcopy; create table by_sql(n int, x {type_name}); \
                 create table by_kcopy(n int, x {type_name}); \
                 do $do$ declare texts text[] := array[{list}]; begin \
                   for i in 1 .. cardinality(texts) loop \
                     begin execute format('insert into by_sql values (%s, %L)', i - 1, texts[i]); \
                     exception when others then null; end; \
                   end loop; \
                 end $do$"
            ))
            .unwrap_or_else(|error| panic!("{type_name}: {error:?}"));
        for format in FORMATS {
            client.batch_execute("truncate by_kcopy").expect("truncate");
            let refused = load(&mut client, format, type_name, &texts);
            let by_sql = client.query("select n, x::text from by_sql", &[]).expect("rows");
            let by_kcopy = client.query("select n, x::text from by_kcopy", &[]).expect("rows");
            let find = |rows: &[postgres::Row], index: usize| {
                let row = rows.iter().find(|row| row.get::<_, i32>(0) == index as i32);
                row.map(|row| row.get::<_, String>(1))
            };
            for (index, text) in texts.iter().enumerate() {
                let (sql, kcopy) = (find(&by_sql, index), find(&by_kcopy, index));
                let is_right = if by_design(index) { sql.is_some() && kcopy.is_none() } else { sql == kcopy };
                if !is_right {
                    let why = refused.iter().find(|(at, _)| *at == index).map_or("", |(_, why)| why);
                    differences.push(format!(
                        "{type_name} {text:?} in {format}: SQL {sql:?}, kcopy {kcopy:?} {why}"
                    ));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Columns of all types: name, type, and an expression for random values.
const RANDOM: &[(&str, &str, &str)] = &[
    ("b", "bool", "random() < 0.5"),
    ("i2", "int2", "(random() * 65535 - 32768)::int2"),
    ("i4", "int4", "((random() - 0.5) * 4294967295)::int4"),
    ("i8", "int8", "((random() - 0.5) * 1.8e19)::int8"),
    ("f4", "float4", "((random() - 0.5) * power(10, random() * 70 - 35))::float4"),
    ("f8", "float8", "(random() - 0.5) * power(10, random() * 600 - 300)"),
    ("nu", "numeric", "random()::numeric * power(10::numeric, (random() * 80 - 40)::int)"),
    ("n2", "numeric(12,3)", "(random() - 0.5) * 1e9"),
    (
        "t",
        "text",
        "(select string_agg(chr((array[9, 10, 13, 34, 39, 44, 92, 46, 78, 233, 8364, 128512, 97, 48])[1 + (random() * 13)::int]), '') \
          from generate_series(1, (random() * 20)::int + n - n))",
    ),
    ("v", "varchar(10)", "substr(md5(random()::text), 1, (random() * 10)::int)"),
    ("c", "char(4)", "substr(md5(random()::text), 1, (random() * 4)::int)"),
    ("ba", "bytea", "decode(substr(md5(random()::text), 1, 2 * (random() * 16)::int), 'hex')"),
    ("u", "uuid", "md5(random()::text)::uuid"),
    (
        "j",
        "jsonb",
        "jsonb_build_object('a', random(), 'b', jsonb_build_array(md5(random()::text), null, true))",
    ),
    ("d", "date", "date '4713-01-01 BC' + (random() * 100000000)::int"),
    ("ti", "time", "time '00:00' + random() * interval '1 day'"),
    (
        "tz",
        "timetz",
        "(time '00:00' + random() * interval '1 day')::time::text::timetz at time zone interval '05:30'",
    ),
    ("ts", "timestamp", "timestamp '2000-01-01' + (random() - 0.2) * interval '20000 years'"),
    ("tst", "timestamptz", "timestamptz '2000-01-01' + (random() - 0.2) * interval '20000 years'"),
    ("iv", "interval", "(random() - 0.5) * interval '100 years 20 months 999 days 99:59:59.999999'"),
    ("ip", "inet", "('10.0.0.0'::inet + (random() * 16777215)::int8)"),
    (
        "net",
        "cidr",
        "network(set_masklen('2001:db8::1'::inet + (random() * 1e15)::int8, (random() * 128)::int))",
    ),
    ("mac", "macaddr", "substr(md5(random()::text), 1, 12)::macaddr"),
    ("ai", "int4[]", "array[(random() * 100)::int, null, (random() * -100)::int]"),
    ("a2", "int8[]", "array[[1, (random() * 1e12)::int8], [null, 4]]"),
    ("at", "text[]", "array[md5(random()::text), 'a \"b\" \\c,{d}', '', 'null', null]"),
    ("an", "numeric[]", "array[random()::numeric, 'NaN', 1e30]"),
    ("ad", "timestamptz[]", "array[now() - random() * interval '9 years', 'infinity', null]"),
    ("aj", "jsonb[]", "array[jsonb_build_object('k', random()), '[1, 2]', '\"s\"']"),
];

/// Rows that are at the edges, as a list of assignments.
const EDGE_ROWS: &[&str] = &[
    "f8 = 'NaN', f4 = '-Infinity', nu = 'NaN', d = 'infinity', ts = '-infinity', tst = 'infinity', ai = '{}', t = ''",
    "f8 = 'Infinity', f4 = '1e-45', nu = '-Infinity', d = '-infinity', ts = 'infinity', tst = '-infinity', at = '{}'",
    "f8 = '5e-324', nu = 1e100, d = '5874897-12-31', ts = '294276-12-31 23:59:59.999999', ti = '24:00', tz = '24:00-15:59'",
    "f8 = '-0', nu = 1e-100, d = '4714-11-24 BC', ts = '4714-11-24 BC', tst = '4714-11-24 BC', t = '\\.', j = 'null'",
    "i8 = -9223372036854775808, i4 = -2147483648, i2 = -32768, j = '\"\"', t = '\\N', ba = '', ai = '[5:6]={1,2}'",
    "iv = '-178000000 years 5 days -100:00', u = '00000000-0000-0000-0000-000000000000', ip = '::1', t = repeat('x', 10000)",
];

#[test]
fn random_rows_survive_produce_and_consume_in_every_format() {
    let broker = Broker::start();
    let mut database = Database::create();
    let bootstrap = broker.bootstrap();
    let definitions: Vec<_> = RANDOM.iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
    let definitions = definitions.join(", ");
    let names: Vec<_> = RANDOM.iter().map(|(name, ..)| *name).collect();
    let random = |(_, kind, sql): &(&str, &str, &str)| {
        format!("case when random() < 0.1 then null else ({sql})::{kind} end")
    };
    let values = RANDOM.iter().map(random).collect::<Vec<_>>().join(", ");
    database.execute("set timezone = 'UTC'; select setseed(0.42)");
    database.execute(&format!("create table source(n int, {definitions})"));
    database.execute(&format!("insert into source select n, {values} from generate_series(1, 300) n"));
    for (index, edges) in EDGE_ROWS.iter().enumerate() {
        database.execute(&format!(
            "insert into source(n) values (1000 + {index}); update source set {edges} where n = 1000 + {index}"
        ));
    }
    // An array's bounds and a JSON null have no place in JSON; they come back as 1 and as NULL.
    database.execute("create table expected as select * from source");
    database.execute("update expected set ai = '{1,2}' where ai = '[5:6]={1,2}'::int[]; update expected set j = null where j = 'null'");
    let rows = database.value("select count(*) from source").parse::<u64>().expect("a count");
    let list = names.join(", ");
    // Some are nested, and some are in the key, to see that objects are built and taken apart.
    let source = |name: &str| match name {
        "i8" | "nu" | "at" => format!(" = value.deep.er.{name}"),
        "u" | "t" => format!(" = key.{name}"),
        _ => String::new(),
    };
    let columns: Vec<_> =
        RANDOM.iter().map(|(name, kind, _)| format!("{name} {kind}{}", source(name))).collect();
    let columns = format!("n int4, {}", columns.join(", "));
    for format in FORMATS {
        let topic = broker.create(&format!("typed-{format}"), 1);
        let program =
            format!("kcopy produce -q -b {bootstrap} --format {format} --columns \"{columns}\" {topic}");
        let out = format!(
            "copy (select n, {list} from source order by n) to program {} (format {format}, encoding 'UTF8')",
            sql_quoted(&program)
        );
        assert_eq!(database.count(&out), rows, "{format}");
        let program =
            format!("kcopy consume -q -b {bootstrap} --format {format} --columns \"{columns}\" {topic}");
        database.execute(&format!("drop table if exists back; create table back(n int, {definitions})"));
        let back =
            format!("copy back from program {} (format {format}, encoding 'UTF8')", sql_quoted(&program));
        assert_eq!(database.count(&back), rows, "{format}");
        for (one, other) in [("expected", "back"), ("back", "expected")] {
            let missing =
                format!("select * from (select * from {one} except select * from {other}) missing limit 3");
            assert_eq!(
                database.rows(&missing),
                Vec::<String>::new(),
                "{format}: in {one} and not in {other}"
            );
        }
        // Every document is one that PostgreSQL reads itself.
        database.execute("drop table if exists documents; create table documents(value jsonb)");
        let load = format!(
            "copy documents from program {} (encoding 'UTF8')",
            sql_quoted(&format!("kcopy consume -q -b {bootstrap} --columns \"value jsonb\" {topic}"))
        );
        assert_eq!(database.count(&load), rows, "{format}");
        let wrong = "select s.n from documents d join source s on s.n = (d.value->>'n')::int \
                     where (d.value->'i4')::text is distinct from coalesce(s.i4::text, 'null') \
                     or (d.value->'b')::text is distinct from coalesce(s.b::text, 'null') \
                     or (d.value#>>'{deep,er,i8}')::int8 is distinct from s.i8";
        assert_eq!(database.rows(wrong), Vec::<String>::new(), "{format}");
    }
}

#[test]
fn composites_enums_and_domains_go_by_their_text() {
    let broker = Broker::start();
    let mut database = Database::create();
    let bootstrap = broker.bootstrap();
    database.execute(
        "create type mood as enum ('sad', 'ok'); create type pair as (a int, b text); create domain positive as int check (value > 0); \
         create table source(m mood, p pair, d positive, r int4range, ms mood[]); \
         insert into source values ('ok', '(1,\"x y\")', 7, '[1,5)', '{sad,ok}'), (null, null, null, null, null); \
         create table back(like source)",
    );
    let topic = broker.create("by-text", 1);
    for (format, columns) in [
        ("text", "m mood, p pair, d positive, r int4range, ms mood[]"),
        ("csv", "m enum, p pair, d int4, r int4range, ms enum[]"),
    ] {
        let produce =
            format!("kcopy produce -q -b {bootstrap} --format {format} --columns \"{columns}\" {topic}");
        database.count(&format!("copy source to program {} (format {format})", sql_quoted(&produce)));
        let consume =
            format!("kcopy consume -q -b {bootstrap} --format {format} --columns \"{columns}\" {topic}");
        database.execute("truncate back");
        database.count(&format!("copy back from program {} (format {format})", sql_quoted(&consume)));
        let missing = "(select * from source except select * from back) union all (select * from back except select * from source)";
        assert_eq!(database.rows(missing), Vec::<String>::new(), "{format}");
    }
    // In binary an enum is its label, and an array of it names the enum.
    let oid = database.value("select 'mood'::regtype::oid");
    let columns = format!("m enum, d int4, ms enum({oid})[]");
    let consume = format!("kcopy consume -q -b {bootstrap} --format binary --columns \"{columns}\" {topic}");
    database.execute("truncate back");
    database.count(&format!("copy back(m, d, ms) from program {} (format binary)", sql_quoted(&consume)));
    let missing = "select m, d, ms from source except select m, d, ms from back";
    assert_eq!(database.rows(missing), Vec::<String>::new());
    let refused = broker.kcopy("consume", &["-q", "--format", "binary", "--columns", "m mood", &topic], b"");
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("the binary form of mood is not known"), "{}", refused.stderr);
}
