//! Random texts: what kcopy makes of one is what PostgreSQL makes of it, or kcopy refuses it.

use std::ops::Range;

use kcopy_format::Format;
use kcopy_tests::{Database, sql_quoted};

use super::{
    generate::{Random, base_name, text},
    is_known, load,
};

/// How many of the texts that PostgreSQL takes may be refused.
enum Refusals {
    Never,
    /// In percent, somewhat more than are.
    AtMost(i64),
}
use Refusals::{AtMost, Never};

/// What depends on settings, on tables of the server or on its version is refused: most often where a zone is needed.
const TYPES: &[(&str, Refusals)] = &[
    ("date", AtMost(45)),
    ("time", AtMost(40)),
    ("time(2)", AtMost(40)),
    ("timetz", AtMost(62)),
    ("timetz(0)", AtMost(62)),
    ("timestamp", AtMost(48)),
    ("timestamp(3)", AtMost(48)),
    ("timestamptz", AtMost(72)),
    ("timestamptz(0)", AtMost(72)),
    ("interval", AtMost(32)),
    ("interval(2)", AtMost(32)),
    ("numeric", Never),
    ("numeric(6,2)", Never),
    ("float4", Never),
    ("float8", Never),
    ("int4", Never),
    ("int8", Never),
    ("inet", AtMost(25)),
    ("cidr", AtMost(15)),
    ("macaddr", AtMost(10)),
    ("uuid", Never),
    ("bool", Never),
];

/// Settings that must make no difference, in turn.
const SETTINGS: [&str; 3] = [
    "set datestyle = 'ISO, MDY'; set timezone = 'UTC'",
    "set datestyle = 'ISO, DMY'; set timezone = 'America/New_York'",
    "set datestyle = 'ISO, YMD'; set timezone = 'Asia/Kolkata'; set intervalstyle = 'iso_8601'",
];

/// The seeds, and how many texts of each type. `KCOPY_FUZZ=FIRST,SEEDS,TEXTS` tries others.
fn plan() -> (Range<u64>, usize) {
    let Ok(wanted) = std::env::var("KCOPY_FUZZ") else { return (1..4, 1500) };
    let numbers: Vec<u64> = wanted.split(',').map(|number| number.parse().expect("a number")).collect();
    let [first, seeds, texts] = numbers[..] else { panic!("KCOPY_FUZZ=FIRST,SEEDS,TEXTS") };
    (first..first + seeds, texts as usize)
}

#[test]
fn random_texts_mean_what_postgres_says_or_are_refused() {
    let mut database = Database::create();
    let version = database.version();
    let mut client = database.connect();
    let (seeds, count) = plan();
    let mut differences = Vec::new();
    for seed in seeds {
        let settings = SETTINGS[(seed % 3) as usize];
        println!("seed {seed}");
        for (index, (type_name, refusals)) in TYPES.iter().enumerate() {
            let mut random = Random(seed << 8 | index as u64);
            let texts: Vec<String> = (0..count).map(|_| text(&mut random, type_name)).collect();
            let texts = texts.iter().map(String::as_str);
            let texts: Vec<&str> =
                texts.filter(|text| is_known(version, base_name(type_name), text)).collect();
            let list = texts.iter().enumerate().map(|(n, text)| format!("({n}, {})", sql_quoted(text)));
            let list = list.collect::<Vec<_>>().join(", ");
            let setup = format!(
                "drop table if exists by_sql, by_kcopy; create table by_sql(n int primary key, x {type_name}); \
                 create table by_kcopy(n int, x {type_name}); \
                 create temp table if not exists texts(n int, source text); truncate texts; \
                 insert into texts values {list}"
            );
            // Unlike a cast, a row out of JSON is read with the type's size known, as COPY reads it.
            let by_sql = format!(
                "{settings}; \
                 do $$ declare t record; begin for t in select n, source as x from texts loop \
                   begin insert into by_sql select * from jsonb_populate_record(null::by_sql, to_jsonb(t)); \
                        perform x::text from by_sql where n = t.n; \
                   exception when others then null; end; \
                 end loop; end $$; \
                 reset datestyle; reset intervalstyle; set timezone = 'UTC'"
            );
            for sql in [setup, by_sql] {
                client.batch_execute(&sql).unwrap_or_else(|error| panic!("{type_name}: {error:?}"));
            }
            let refused = load(&mut client, Format::Binary, type_name, &texts);
            let join = if matches!(refusals, Never) { "full" } else { "left" };
            let differing = format!(
                "select n, source, s.x::text, k.x::text from by_kcopy k {join} join by_sql s using (n) \
                 join texts using (n) where s.x::text is distinct from k.x::text"
            );
            for row in client.query(&differing, &[]).expect("rows") {
                let (number, source) = (row.get::<_, i32>(0) as usize, row.get::<_, &str>(1));
                let (sql, kcopy) = (row.get::<_, Option<&str>>(2), row.get::<_, Option<&str>>(3));
                let why = refused.iter().find(|(index, _)| *index == number).map_or("", |(_, why)| why);
                differences
                    .push(format!("seed {seed}, {type_name} {source:?}: SQL {sql:?}, kcopy {kcopy:?} {why}"));
            }
            let shares = "select (select count(x) from by_sql), (select count(x) from by_kcopy)";
            let row = client.query_one(shares, &[]).expect("counts");
            let (by_sql, by_kcopy): (i64, i64) = (row.get(0), row.get(1));
            println!("{type_name}: SQL takes {by_sql} of {count}, kcopy {by_kcopy}");
            // Else it would say nothing.
            assert!(by_sql * 15 > count as i64, "{type_name}: SQL takes {by_sql} of {count}");
            if let AtMost(percent) = refusals {
                let refused = by_sql - by_kcopy;
                assert!(refused * 100 <= by_sql * percent, "{type_name}: {refused} of {by_sql} are refused");
            }
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
