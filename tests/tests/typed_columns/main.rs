//! Typed columns beside PostgreSQL itself: the same values, or the same refusal, in every format of COPY.

mod edges;
mod fuzz;
mod generate;

use std::io::Write;

use kcopy_format::{
    Columns, Format, FormatOptions,
    write::{RecordContext, RecordWriter},
};
use kcopy_tests::{Broker, Database, sql_quoted};
use kcopy_wire::records::{Headers, Record, TimestampType};
use postgres::Client;

use edges::{edges, is_taken};

const FORMATS: [Format; 3] = [Format::Text, Format::Csv, Format::Binary];

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

/// Whether this version of PostgreSQL has such a value at all, and in no other way than those that come later: up to 15
/// white space may precede the digits of an exponent.
fn is_known(version: i32, type_name: &str, text: &str) -> bool {
    match type_name {
        "numeric(3,-2)" | "numeric(2,4)" => version >= 15,
        "numeric" => {
            let text = text.to_ascii_lowercase();
            let has_spaced_exponent =
                text.split_once('e').is_some_and(|(_, exponent)| exponent.starts_with(char::is_whitespace));
            (version >= 14 || !text.contains("inf")) && (version >= 16 || !has_spaced_exponent)
        }
        _ => true,
    }
}

#[test]
fn edges_are_what_postgres_makes_of_them() {
    let mut database = Database::create();
    let version = database.version();
    let mut client = database.connect();
    client.batch_execute("set timezone = 'UTC'; set datestyle = 'ISO, MDY'").expect("settings");
    let mut differences = Vec::new();
    for (type_name, marked) in edges() {
        let marked: Vec<&str> =
            marked.iter().filter(|text| is_known(version, type_name, text)).copied().collect();
        if marked.is_empty() {
            continue;
        }
        let texts: Vec<&str> = marked.iter().map(|text| text.strip_prefix('~').unwrap_or(text)).collect();
        let by_design = |index: usize| marked[index].starts_with('~');
        // PostgreSQL 13 and 14 store intervals that they cannot show: as good as refused.
        let list = texts.iter().map(|text| sql_quoted(text)).collect::<Vec<_>>().join(", ");
        client
            .batch_execute(&format!(
                "drop table if exists by_sql, by_kcopy; create table by_sql(n int, x {type_name}); \
                 create table by_kcopy(n int, x {type_name}); \
                 do $do$ declare texts text[] := array[{list}]; begin \
                   for i in 1 .. cardinality(texts) loop \
                     begin execute format('insert into by_sql values (%s, %L)', i - 1, texts[i]); \
                       perform x::text from by_sql where n = i - 1; \
                     exception when others then null; end; \
                   end loop; \
                 end $do$"
            ))
            .unwrap_or_else(|error| panic!("{type_name}: {error:?}"));
        let find = |rows: &[postgres::Row], index: usize| {
            let row = rows.iter().find(|row| row.get::<_, i32>(0) == index as i32);
            row.map(|row| row.get::<_, String>(1))
        };
        let by_sql = client.query("select n, x::text from by_sql", &[]).expect("rows");
        for format in FORMATS {
            client.batch_execute("truncate by_kcopy").expect("truncate");
            let refused = load(&mut client, format, type_name, &texts);
            let by_kcopy = client.query("select n, x::text from by_kcopy", &[]).expect("rows");
            for (index, text) in texts.iter().enumerate() {
                let (sql, kcopy) = (find(&by_sql, index), find(&by_kcopy, index));
                let is_right = match by_design(index) {
                    true => kcopy.is_none() && sql.is_some() == is_taken(version, type_name, text),
                    false => sql == kcopy,
                };
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
    "i8 = -9223372036854775808, i4 = -2147483648, i2 = -32768, j = '\"\"', t = '\\N', ba = '', ai = '{}'",
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
    let version = database.version();
    for (index, edges) in EDGE_ROWS.iter().enumerate() {
        let mut edges = (*edges).to_owned();
        if !is_known(version, "numeric", "-Infinity") {
            edges = edges.replace("nu = '-Infinity'", "nu = 0");
        }
        database.execute(&format!(
            "insert into source(n) values (1000 + {index}); update source set {edges} where n = 1000 + {index}"
        ));
    }
    // JSON's null is NULL as well.
    database.execute(
        "create table expected as select * from source; update expected set j = null where j = 'null'",
    );
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
