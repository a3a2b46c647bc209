//! Random texts: what kcopy makes of one is what PostgreSQL makes of it, or kcopy refuses it.

use std::ops::Range;

use kcopy_format::Format;
use kcopy_tests::{Database, sql_quoted};

use super::{
    generate::{Random, base_name, text},
    is_known, load,
};

const TYPES: &[&str] = &[
    "date",
    "time",
    "time(2)",
    "timetz",
    "timetz(0)",
    "timestamp",
    "timestamp(3)",
    "timestamptz",
    "timestamptz(0)",
    "interval",
    "interval(2)",
    "numeric",
    "numeric(6,2)",
    "float4",
    "float8",
    "int4",
    "int8",
    "inet",
    "cidr",
    "macaddr",
    "uuid",
    "bool",
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
        for (index, type_name) in TYPES.iter().enumerate() {
            let mut random = Random(seed << 8 | index as u64);
            let texts: Vec<String> = (0..count).map(|_| text(&mut random, type_name)).collect();
            let texts = texts.iter().map(String::as_str);
            let texts: Vec<&str> =
                texts.filter(|text| is_known(version, base_name(type_name), text)).collect();
            let list = texts.iter().enumerate().map(|(n, text)| format!("({n}, {})", sql_quoted(text)));
            let list = list.collect::<Vec<_>>().join(", ");
            let setup = format!(
                "drop table if exists by_sql, by_kcopy; create table by_sql(n int, x {type_name}); \
                 create table by_kcopy(n int, x {type_name}); \
                 create temp table if not exists texts(n int, source text); truncate texts; \
                 insert into texts values {list}"
            );
            let cast = format!(
                "{settings}; \
                 do $$ declare t record; begin for t in select * from texts loop \
                   begin insert into by_sql values (t.n, t.source::{type_name}); \
                        perform t.source::{type_name}::text; \
                   exception when others then null; end; \
                 end loop; end $$; \
                 reset datestyle; reset intervalstyle; set timezone = 'UTC'"
            );
            for sql in [setup, cast] {
                client.batch_execute(&sql).unwrap_or_else(|error| panic!("{type_name}: {error:?}"));
            }
            load(&mut client, Format::Binary, type_name, &texts);
            let differing = "select source, s.x::text, k.x::text from by_kcopy k join texts using (n) \
                             left join by_sql s using (n) where s.x::text is distinct from k.x::text";
            for row in client.query(differing, &[]).expect("rows") {
                let (source, sql, kcopy) =
                    (row.get::<_, &str>(0), row.get::<_, Option<&str>>(1), row.get::<_, &str>(2));
                differences
                    .push(format!("seed {seed}, {type_name} {source:?}: SQL {sql:?}, kcopy {kcopy:?}"));
            }
            let shares = "select (select count(x) from by_sql), (select count(x) from by_kcopy)";
            let row = client.query_one(shares, &[]).expect("counts");
            let (by_sql, by_kcopy): (i64, i64) = (row.get(0), row.get(1));
            println!("{type_name}: SQL takes {by_sql} of {count}, kcopy {by_kcopy}");
            // Else it would say nothing.
            assert!(by_kcopy * 5 > by_sql && by_sql > 100, "{type_name}: {by_kcopy} of {by_sql}");
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
