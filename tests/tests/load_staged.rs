//! `kcopy load` through a stage, and tables that change in ways that show only there.

use std::time::{Duration, Instant};

use kcopy_tests::{Broker, Loading, WireLoad};
use rustix::process::Signal;

const UPSERT: [&str; 2] = ["--mode", "upsert"];

fn load<'a>(topic: &'a str, table: &'a str, more: &[&[&'a str]]) -> Vec<&'a str> {
    [&[topic, "--into", table][..], &more.concat()].concat()
}

#[test]
fn many_refused_records_of_an_upsert_are_found_in_time() {
    const COUNT: i64 = 6000;
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("halves", 1);
    let line = |n: i64| format!("{n}:{{\"x\":{}}}\n", if n % 2 == 0 { n + 1 } else { -n });
    setting.produce(&topic, &(0..COUNT).map(line).collect::<String>());
    setting.database.execute("create table halves(id int4 primary key, x int4 check (x > 0))");
    let started = Instant::now();
    let skip: [&[&str]; 2] = [&UPSERT, &["--columns", "id = key, x", "--on-error", "skip"]];
    let skipped = setting.load(&load(&topic, "halves", &skip)).expect_success();
    // Each attempt once made the catalog longer that the next one had to read: minutes.
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(
        skipped.stderr.contains("loaded 6000 records, 3000 of them rejected"),
        "{:?}",
        skipped.stderr.lines().last()
    );
    assert!(
        skipped.stderr.contains("[0] offset 1: table public.halves: "),
        "{:?}",
        skipped.stderr.lines().last()
    );
    let found = "select count(*), count(*) filter (where id % 2 = 0 and x = id + 1) from halves";
    assert_eq!(setting.database.rows(found), ["3000|3000"]);
    let rows = "select rows, next_offset from kcopy.offsets";
    assert_eq!(setting.database.rows(rows), ["3000|6000"]);
    // Where none may be refused, the first one is named.
    let strict = setting.broker.create("strict", 1);
    setting.produce(&strict, "1:{\"x\":1}\n2:{\"x\":2}\n3:{\"x\":-3}\n4:{\"x\":-4}\n");
    let upsert: [&[&str]; 2] = [&UPSERT, &["--columns", "id = key, x"]];
    let failed = setting.load(&load(&strict, "halves", &upsert)).expect_code(1);
    assert!(failed.stderr.contains(&format!("{strict} [0] offset 2: table public.halves: ")), "{failed:?}");
}

#[test]
fn a_null_key_is_an_error_also_where_rows_are_text() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("keyless", 1);
    setting.broker.kcat(&["-P", "-t", &topic, "-K:", "-Z"], b"1:{}\n:\n2:{}\n").expect_success();
    setting.database.execute("create table keyless(id int4 primary key, r int4range)");
    let mapping = ["--columns", "id = key, r", "--delete-on-tombstone"];
    let failed = setting.load(&load(&topic, "keyless", &[&UPSERT, &mapping])).expect_code(1);
    assert!(failed.stderr.contains("[0] offset 1: column id: the value is missing or null"), "{failed:?}");
    let kept: [&[&str]; 3] = [&UPSERT, &mapping, &["--on-error", "reject-table"]];
    setting.load(&load(&topic, "keyless", &kept)).expect_success();
    assert_eq!(setting.database.rows("select \"offset\" from kcopy.rejected"), ["1"]);
    assert_eq!(setting.database.rows("select id from keyless order by 1"), ["1", "2"]);
}

#[test]
fn records_apply_in_their_order_where_another_column_is_unique() {
    let mut setting = WireLoad::new();
    let mapping = ["--columns", "id = key, u", "--delete-on-tombstone"];
    for (at, (before, lines, after)) in [
        // The key that goes gives its value free, and so does the one that changes and changes again.
        ("(1, 'x')", "1:\n2:{\"u\":\"x\"}\n", &["2|x"][..]),
        ("(1, 'x')", "1:{\"u\":\"y\"}\n2:{\"u\":\"x\"}\n1:{\"u\":\"z\"}\n", &["1|z", "2|x"]),
    ]
    .into_iter()
    .enumerate()
    {
        let (topic, table) = (setting.broker.create(&format!("freed-{at}"), 1), format!("freed{at}"));
        setting.broker.kcat(&["-P", "-t", &topic, "-K:", "-Z"], lines.as_bytes()).expect_success();
        setting.database.execute(&format!(
            "create table {table}(id int4 primary key, u text unique); insert into {table} values {before}"
        ));
        setting.load(&load(&topic, &table, &[&UPSERT, &mapping])).expect_success();
        assert_eq!(setting.database.rows(&format!("select id, u from {table} order by 1")), after);
    }
}

const CASCADES: &str =
    "create table %(id int4 primary key, p int4 references % on delete cascade, note text default 'new');
    create table %_child(u int4 references % on delete cascade);
    insert into % values (1, null, null), (3, null, null), (2, 1, 'kept'); insert into %_child values (2)";
const CASCADED: &str = "select id, p, note, (select count(*) from %_child) from % order by 1";

/// Tables, records `KEY:VALUE` and what is in the tables behind them, however the records are cut into batches.
const TOMBSTONES_IN_ORDER: [(&str, &str, &str, &[&str]); 6] = [
    // A trigger takes away what comes again later: keys come in the order of their last records.
    (
        "create table %(id int4 primary key, p int4);
         create function %_less() returns trigger language plpgsql as
         $$begin if new.id = 2 then delete from public.% where id = 1; end if; return new; end$$;
         create trigger less before insert on % for each row execute function %_less()",
        "1:{\"p\":1}\n2:{\"p\":1}\n1:{\"p\":2}\n",
        "select * from % order by 1",
        &["1|2", "2|1"],
    ),
    // A trigger makes the row that a later tombstone is about.
    (
        "create table %(id int4 primary key, p int4);
         create function %_more() returns trigger language plpgsql as
         $$begin if new.id = 1 then insert into public.% values (2, 0); end if; return new; end$$;
         create trigger more after insert on % for each row execute function %_more()",
        "1:{\"p\":1}\n2:\n",
        "select * from %",
        &["1|1"],
    ),
    // Key 2 has left its parent before that goes, and its child stays; or it comes back behind the cascade.
    (CASCADES, "2:{\"p\":3}\n1:\n", CASCADED, &["2|3|kept|1", "3|∅|∅|1"]),
    (CASCADES, "1:\n2:{\"p\":3}\n", CASCADED, &["2|3|new|0", "3|∅|∅|0"]),
    // A key that comes again is a new row.
    (
        "create table %(id int4 primary key, p int4, note text default 'new'); insert into % values (1, 0, 'old'), (2, 0, 'old')",
        "1:{\"p\":1}\n1:\n1:{\"p\":2}\n2:{\"p\":1}\n",
        "select * from % order by 1",
        &["1|2|new", "2|1|old"],
    ),
    // A trigger sees what was there before.
    (
        "create table %(id int4 primary key, p int4); create table %_seen(n serial, p int4);
         create function %_see() returns trigger language plpgsql as
         $$begin insert into public.%_seen(p) select sum(p) from public.%; return old; end$$;
         create trigger see before delete on % for each row execute function %_see()",
        "1:{\"p\":1}\n2:{\"p\":2}\n1:\n3:{\"p\":4}\n2:\n1:{\"p\":8}\n",
        "select id, p, (select string_agg(p::text, ' ' order by n) from %_seen) from % order by 1",
        &["1|8|3 6", "3|4|3 6"],
    ),
];

#[test]
fn what_a_tombstone_takes_along_does_not_depend_on_batches() {
    let Loading { broker, database } = Loading::start();
    let mut setting = WireLoad { broker, database };
    for (at, (made, lines, query, expected)) in TOMBSTONES_IN_ORDER.into_iter().enumerate() {
        let topic = setting.broker.create(&format!("cascades-{at}"), 1);
        setting.broker.kcat(&["-P", "-t", &topic, "-K:", "-Z"], lines.as_bytes()).expect_success();
        for (way, more) in [&["--on-error", "fail"][..], &["--on-error", "skip"], &["--batch-rows", "1"]]
            .into_iter()
            .enumerate()
        {
            let table = format!("cascades{at}_{way}");
            setting.database.execute(&made.replace('%', &table));
            let mapping = ["--columns", "id = key, p", "--delete-on-tombstone"];
            setting.load(&load(&topic, &table, &[&UPSERT, &mapping, more])).expect_success();
            assert_eq!(setting.database.rows(&query.replace('%', &table)), expected, "{at} {more:?}");
        }
        // The same inside of PostgreSQL.
        for (way, more) in ["", ", on_error => 'skip'", ", max_rows => 1"].into_iter().enumerate() {
            let table = format!("cascades{at}_sql{way}");
            setting.database.execute(&made.replace('%', &table));
            for _ in lines.lines() {
                setting.database.execute(&format!(
                    "select * from kcopy.load('{topic}', '{table}', columns => 'id = key, p', mode => 'upsert'{more})"
                ));
            }
            assert_eq!(setting.database.rows(&query.replace('%', &table)), expected, "{at} {more}");
        }
    }
}

#[test]
fn a_tombstone_deletes_where_a_domain_refuses_null() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("domains", 1);
    let lines =
        "1:{\"x\":1,\"y\":\"a\"}\n2:{\"x\":2,\"y\":\"b\"}\n1:\n3:{\"x\":3}\n4:{\"x\":4,\"y\":\"long\"}\n";
    setting.broker.kcat(&["-P", "-t", &topic, "-K:", "-Z"], lines.as_bytes()).expect_success();
    setting.database.execute(
        "create domain present as int4 not null; create domain filled as varchar(3) check (value is not null);
         create table domains(id int4 primary key, x present, y filled);
         create table above(id int4 primary key, x int4, y text); create table below() inherits (above);
         insert into below values (1, 0, 'stays')",
    );
    let mapping = ["--columns", "id = key, x, y", "--delete-on-tombstone", "--on-error", "reject-table"];
    setting.load(&load(&topic, "domains", &[&UPSERT, &mapping])).expect_success();
    assert_eq!(setting.database.rows("select * from domains order by 1"), ["2|2|b"]);
    assert_eq!(setting.database.rows("select \"offset\" from kcopy.rejected order by 1"), ["3", "4"]);
    // What an inheriting table has is not the table's own.
    setting.load(&load(&topic, "above", &[&UPSERT, &mapping])).expect_success();
    assert_eq!(
        setting.database.rows("select id, y from above order by 1, 2"),
        ["1|stays", "2|b", "3|∅", "4|long"]
    );
}

#[test]
fn a_tombstone_goes_by_the_equality_of_the_key() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("equals", 1);
    setting.broker.kcat(&["-P", "-t", &topic, "-K:", "-Z"], b"1.5:\n2.5:{}\n").expect_success();
    // The search_path has another one, which a load must not find.
    setting.database.execute(
        "create schema odd; create function odd.never(numeric, numeric) returns bool language sql as 'select false';
         create operator odd.= (leftarg = numeric, rightarg = numeric, function = odd.never);
         create table equals(id numeric primary key, v text); insert into equals values (1.50, 'a'), (2.50, 'b')",
    );
    let name = setting.database.value("select current_database()");
    setting.database.execute(&format!("alter database {name} set search_path = odd, pg_catalog, public"));
    let mapping = ["--columns", "id = key, v", "--delete-on-tombstone"];
    setting.load(&load(&topic, "public.equals", &[&UPSERT, &mapping])).expect_success();
    assert_eq!(setting.database.rows("select id, v from equals"), ["2.50|∅"]);
    // The equality of an enum is not that of the domains over it.
    let topic = setting.broker.create("enums", 1);
    setting.broker.kcat(&["-P", "-t", &topic, "-K:", "-Z"], b"x:\ny:{}\n").expect_success();
    setting.database.execute(
        "create type public.en as enum ('x', 'y'); create domain public.d as en; create domain public.dd as d;
         create table public.enums(id dd primary key, v text); insert into enums values ('x', 'a'), ('y', 'b')",
    );
    setting.load(&load(&topic, "public.enums", &[&UPSERT, &mapping])).expect_success();
    assert_eq!(setting.database.rows("select id, v from enums"), ["y|∅"]);
}

#[test]
fn refused_records_are_read_again_all_together() {
    const COUNT: u32 = 20_000;
    let mut setting = WireLoad::on(Broker::controlled());
    let topic = setting.broker.create("again", 1);
    let lines: String = (0..COUNT).map(|n| format!("k{n}:{{\"n\":{n}}}\n")).collect();
    setting.produce(&topic, &lines);
    setting.database.execute("create table again(n int4 primary key, check (n < 19000))");
    // Far away: one by one they take 100 s.
    setting.broker.control("POST /round-trip", "{\"ms\":100}");
    let started = Instant::now();
    setting.load(&load(&topic, "again", &[&["--on-error", "reject-table"]])).expect_success();
    assert!(started.elapsed() < Duration::from_secs(50), "{:?}", started.elapsed());
    let kept = "select count(*), count(*) filter (where key = convert_to('k' || \"offset\", 'UTF8') \
                and value = convert_to('{\"n\":' || \"offset\" || '}', 'UTF8')) from kcopy.rejected";
    assert_eq!(setting.database.rows(kept), ["1000|1000"]);
}

#[test]
fn a_default_that_goes_leaves_its_column_to_the_records() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("default", 1);
    setting.database.execute("create table def(id serial, v text)");
    let loader = setting.start(&load(&topic, "def", &[&["--follow", "--batch-time", "20ms"]]));
    setting.produce(&topic, "k:{\"id\":100,\"v\":\"a\"}\n");
    setting.wait_for("select count(*) from def where id = 1", "1");
    setting.database.execute("alter table def alter id drop default, alter id drop not null");
    setting.produce(&topic, "k:{\"id\":200,\"v\":\"b\"}\n");
    setting.wait_for("select count(*) from def where id = 200", "1");
    loader.signal(Signal::TERM);
    loader.finish().expect_code(143);
}

#[test]
fn a_record_that_the_table_takes_by_now_is_taken() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("widened", 1);
    setting.database.execute("create table widened(n int4)");
    let loader = setting.start(&load(&topic, "widened", &[&["--follow", "--batch-time", "20ms"]]));
    setting.produce(&topic, "k:{\"n\":1}\n");
    setting.wait_for("select count(*) from widened", "1");
    setting.database.execute("alter table widened alter n type int8");
    setting.produce(&topic, "k:{\"n\":5000000000}\n");
    setting.wait_for("select count(*) from widened where n = 5000000000", "1");
    // What it does not take either ends the run.
    setting.produce(&topic, "k:{\"n\":\"none\"}\n");
    let ended = loader.finish().expect_code(1);
    assert_eq!(ended.stderr.matches("[0] at offset 2, column n: ").count(), 1, "{ended:?}");
    assert_eq!(setting.database.value("select count(*) from widened"), "2");
}

#[test]
fn what_is_wrong_for_all_rows_rejects_none() {
    let mut setting = WireLoad::new();
    let follow = ["--follow", "--batch-time", "20ms", "--on-error", "skip"];
    for (at, (change, reason)) in [
        ("alter table %t drop constraint %t_pkey", "needs a primary key"),
        (
            "alter table %t drop constraint %t_pkey, add primary key (x)",
            "column x belongs to the primary key",
        ),
        ("drop table audit", "relation \"public.audit\" does not exist"),
        ("revoke insert on secret from audited; alter table %t owner to audited", "permission denied"),
    ]
    .into_iter()
    .enumerate()
    {
        let (topic, table) = (setting.broker.create(&format!("wrong-{at}"), 1), format!("wrong{at}"));
        setting.database.execute(&format!(
            "create table {table}(id int4 primary key, v int4, x int4 not null default 0); create table audit(n int4);
             create table secret(n int4); create role audited;
             create function noted_{at}() returns trigger language plpgsql security definer as
             $$begin insert into public.audit values (1); insert into public.secret values (1); return new; end$$;
             create trigger noted after insert on {table} for each row execute function noted_{at}()"
        ));
        if at == 3 {
            setting.database.execute(
                "grant insert on audit, secret to audited; alter function noted_3() owner to audited",
            );
        }
        let mapping = ["--columns", "id = key, v"];
        setting.produce(&topic, "1:{\"v\":1}\n");
        let loader = setting.start(&load(&topic, &table, &[&UPSERT, &mapping, &follow]));
        setting.wait_for(&format!("select count(*) from {table}"), "1");
        setting.database.execute(&change.replace("%t", &table));
        setting.produce(&topic, "2:{\"v\":2}\n3:{\"v\":3}\n");
        let ended = loader.finish().expect_code(1);
        assert!(ended.stderr.contains(reason), "{change}: {ended:?}");
        let position = format!("select next_offset from kcopy.offsets where topic = '{topic}'");
        assert_eq!(setting.database.value(&position), "1", "{change}");
        setting.database.execute(
            "drop table if exists audit; drop table secret; drop owned by audited cascade; drop role audited",
        );
    }
}

#[test]
fn a_partition_that_would_not_outlive_a_crash_gets_no_row() {
    let mut setting = WireLoad::new();
    for (at, change) in [
        "create unlogged table %t_b partition of %t for values from (100) to (200)",
        "create unlogged table %t_b(n int4); alter table %t attach partition %t_b for values from (100) to (200)",
        "alter table %t_a set unlogged",
    ]
    .into_iter()
    .enumerate()
    {
        let (topic, table) = (setting.broker.create(&format!("unfit-{at}"), 1), format!("unfit{at}"));
        setting.database.execute(&format!(
            "create table {table}(n int4) partition by range (n);
             create table {table}_a partition of {table} for values from (0) to (100)"
        ));
        setting.produce(&topic, "k:{\"n\":1}\n");
        let follow = ["--follow", "--batch-time", "20ms"];
        let loader = setting.start(&load(&topic, &table, &[&follow]));
        setting.wait_for(&format!("select count(*) from {table}"), "1");
        setting.database.execute(&change.replace("%t", &table));
        setting.produce(&topic, "k:{\"n\":2}\nk:{\"n\":150}\n");
        let ended = loader.finish().expect_code(1);
        let text = format!("a table with the unlogged or temporary partition {table}_");
        assert!(ended.stderr.contains(&text), "{change}: {ended:?}");
        assert_eq!(setting.database.value(&format!("select count(*) from {table}")), "1", "{change}");
    }
    // A partition that is like the table does no harm.
    let topic = setting.broker.create("fit", 1);
    setting.database.execute("create table fit(n int4) partition by range (n)");
    let loader = setting.start(&load(&topic, "fit", &[&["--follow", "--batch-time", "20ms"]]));
    setting.wait_for(&format!("select count(*) from kcopy.offsets where topic = '{topic}'"), "1");
    setting.database.execute("create table fit_a partition of fit for values from (0) to (100)");
    setting.produce(&topic, "k:{\"n\":1}\n");
    setting.wait_for("select count(*) from fit", "1");
    loader.signal(Signal::TERM);
    loader.finish().expect_code(143);
}
