//! `kcopy.load`: rows and positions move together, in the caller's transaction or not at all.

use std::{sync::mpsc, thread};

use kcopy_tests::{DEADLINE, Database, Loading, PgError, program, run};
use postgres::{Client, IsolationLevel};

/// Loads for people who may run programs, and for all others: the two ways must not differ in what they do.
const WAYS: [&str; 2] = ["append", "staged"];

/// A setting with a table `loaded(partition, offset, key, value)`, and a role for the way. Row security sends the
/// second way through a stage.
fn setting(way: &str) -> Loading {
    let mut loading = Loading::start();
    loading.database.execute(
        "create table loaded(partition int not null, \"offset\" int8 not null, key text, value text,
                             primary key (partition, \"offset\"))",
    );
    if way == "staged" {
        loading.database.execute(
            "do $$ begin
                 if not exists (select from pg_roles where rolname = 'plain') then create role plain; end if;
             exception when duplicate_object or unique_violation then null; end $$;
             grant kcopy_loader to plain;
             grant insert, select on loaded to plain;
             set role plain",
        );
    }
    loading
}

fn count(database: &mut Database) -> String {
    database.value("select count(*), count(distinct (partition, \"offset\")) from loaded")
}

#[test]
fn each_record_is_loaded_once() {
    for way in WAYS {
        let mut loading = setting(way);
        let topic = loading.topic("once", 2);
        loading.produce(&topic, 0, &["a\t1", "b\t2"]);
        loading.produce(&topic, 1, &["c\t3"]);
        assert_eq!(loading.load("'once', 'loaded'"), ["0|2|0|2", "1|1|0|1"], "{way}");
        assert_eq!(loading.load("'once', 'loaded'"), ["0|0|0|2", "1|0|0|1"], "{way}");
        loading.produce(&topic, 1, &["d\t4"]);
        assert_eq!(loading.load("'once', 'loaded'"), ["0|0|0|2", "1|1|0|2"], "{way}");
        assert_eq!(loading.positions(), ["0|2|2", "1|2|2"]);
        assert_eq!(
            loading.database.rows("select partition, \"offset\", key, value from loaded order by 1, 2"),
            ["0|0|a|1", "0|1|b|2", "1|0|c|3", "1|1|d|4"]
        );
    }
}

#[test]
fn a_rollback_takes_rows_and_positions_back() {
    for way in WAYS {
        let mut loading = setting(way);
        let topic = loading.topic("undone", 1);
        loading.produce(&topic, 0, &["a\t1"]);
        loading.database.execute("begin");
        assert_eq!(loading.load("'undone', 'loaded'"), ["0|1|0|1"]);
        loading.database.execute("rollback");
        assert_eq!((count(&mut loading.database).as_str(), loading.positions()), ("0|0", vec![]));

        loading.database.execute("begin");
        loading.load("'undone', 'loaded'");
        loading.produce(&topic, 0, &["b\t2"]);
        loading.database.execute("savepoint before");
        assert_eq!(loading.load("'undone', 'loaded'"), ["0|1|0|2"], "{way}");
        loading.database.execute("rollback to before; commit");
        assert_eq!(
            (count(&mut loading.database).as_str(), loading.positions()),
            ("1|1", vec!["0|1|1".into()])
        );
        assert_eq!(loading.load("'undone', 'loaded'"), ["0|1|0|2"]);
        assert_eq!(count(&mut loading.database), "2|2");
    }
}

#[test]
fn a_deferred_constraint_takes_rows_and_positions_back() {
    for way in WAYS {
        let mut loading = setting(way);
        loading.database.execute(
            "reset role;
             create table parent(id text primary key);
             alter table loaded add foreign key (key) references parent deferrable initially deferred",
        );
        if way == "staged" {
            loading.database.execute("set role plain");
        }
        let topic = loading.topic("deferred", 1);
        loading.produce(&topic, 0, &["a\t1"]);
        assert_eq!(loading.error("'deferred', 'loaded'").code, "23503", "{way}");
        assert_eq!((count(&mut loading.database).as_str(), loading.positions()), ("0|0", vec![]));
        loading.database.execute("reset role; insert into parent values ('a')");
        assert_eq!(loading.load("'deferred', 'loaded'"), ["0|1|0|1"]);
    }
}

#[test]
fn a_bad_row_takes_everything_back_and_says_where_it_is() {
    for way in WAYS {
        let mut loading = setting(way);
        let topic = loading.topic("bad", 1);
        loading.produce(&topic, 0, &["a\t1", "b\tx"]);
        loading
            .database
            .execute("reset role; create table numbers(n int4); grant insert on numbers to public");
        if way == "staged" {
            loading.database.execute("set role plain");
        }
        let error = loading.error("'bad', 'numbers', columns => 'n = value'");
        assert_eq!(error.code, "38000", "{error:?}");
        assert!(error.message.contains("bad [0] at offset 1, column n"), "{error:?}");
        // It is read by people.
        assert!(error.context.lines().count() <= 6, "{error:?}");
        assert_eq!(loading.positions(), Vec::<String>::new());
    }
}

#[test]
fn limits_bound_a_load_and_the_next_goes_on() {
    for way in WAYS {
        let mut loading = setting(way);
        let topic = loading.topic("limited", 1);
        loading.produce(&topic, 0, &["a\t1", "b\t2", "c\t3", "d\t4", "e\t5"]);
        assert_eq!(loading.load("'limited', 'loaded', max_rows => 2"), ["0|2|0|2"], "{way}");
        assert_eq!(loading.load("'limited', 'loaded', max_bytes => 1"), ["0|1|0|3"]);
        assert_eq!(loading.load("'limited', 'loaded', max_time => '1 minute'"), ["0|2|0|5"]);
        assert_eq!(count(&mut loading.database), "5|5");
        assert_eq!(loading.error("'limited', 'loaded', max_rows => 0").code, "22023");
    }
}

#[test]
fn the_first_start_holds_for_the_first_load() {
    let mut loading = setting("append");
    let topic = loading.topic("start", 1);
    loading.produce(&topic, 0, &["a\t1", "b\t2", "c\t3"]);
    for (start, loaded) in [("end", "0|0|0|3"), ("1", "0|2|0|3"), ("-1", "0|1|0|3"), ("@0", "0|3|0|3")] {
        loading.database.execute("truncate loaded; delete from kcopy.offsets");
        assert_eq!(loading.load(&format!("'start', 'loaded', start => '{start}'")), [loaded], "{start}");
    }
    // Partitions that come later start at their beginning, whatever the first start was.
    loading.database.execute("truncate loaded; delete from kcopy.offsets");
    loading.load("'start', 'loaded', start => 'end'");
    loading.broker.topics(&["--alter", "--topic", &topic, "--partitions", "2"]).expect_success();
    loading.produce(&topic, 1, &["d\t4"]);
    assert_eq!(loading.load("'start', 'loaded', start => 'end'"), ["0|0|0|3", "1|1|0|1"]);
    assert_eq!(loading.error("'start', 'loaded', partitions => '{7}'").code, "38000");
    assert!(
        loading.error("'start', 'loaded', partitions => '{1,0}', start => 'soon'").message.contains("soon")
    );
}

#[test]
fn columns_come_from_the_table_and_the_mapping() {
    let mut loading = setting("append");
    let topic = loading.topic("columns", 1);
    loading.produce(&topic, 0, &["7\t{\"a\":1}"]);
    loading.database.execute(
        "create domain small as int4 check (value < 100);
         create type mood as enum ('7', 'sad');
         create table t(id int4 generated always as identity, double int generated always as (n * 2) stored,
                        n small, \"Odd \"\"name, x\" mood, at timestamptz default '2026-01-01 00:00:00+00', v varchar(3),
                        c char(9), value jsonb)",
    );
    let mapping = r#"'"Odd ""name, x" = key, n = key, value, v = ''x, y'', c=topic'"#;
    for (role, table) in [("postgres", "t"), ("plain2", "t")] {
        loading.database.execute(&format!(
            "reset role; delete from kcopy.offsets; truncate t restart identity;
             do $$ begin if not exists (select from pg_roles where rolname = '{role}') then create role {role}; end if; end $$;
             grant kcopy_loader to {role}; grant insert, select on t to {role}; set role {role}"
        ));
        let error = loading.error(&format!("'columns', '{table}', columns => {mapping}"));
        assert_eq!(error.code, "22001", "{error:?}");
        let mapping = mapping.replace(", y", "");
        assert_eq!(loading.load(&format!("'columns', '{table}', columns => {mapping}")), ["0|1|0|1"]);
        loading.database.execute("set timezone = 'UTC'");
        assert_eq!(
            loading.database.value("select n, double, \"Odd \"\"name, x\", at, v, c, value from t"),
            "7|14|7|2026-01-01 00:00:00+00|x|columns  |{\"a\": 1}"
        );
    }
    for (columns, code) in [
        ("id = key", "428C9"),
        ("double = key", "428C9"),
        ("nope", "42703"),
        ("N", "42703"),
        ("v, v", "42701"),
        ("v = ", "38000"),
        ("v,", "42601"),
        ("", "42601"),
        ("'v'", "42601"),
        ("v = key; drop table t", "38000"),
        ("ctid = key", "42703"),
        ("v int4) = key", "42703"),
        ("v[0] = key", "42703"),
    ] {
        let quoted = columns.replace('\'', "''");
        assert_eq!(loading.error(&format!("'columns', 't', columns => '{quoted}'")).code, code, "{columns}");
    }
}

#[test]
fn upserts_keep_the_last_of_each_key_and_tombstones_delete() {
    let mut loading = setting("append");
    let topic = loading.topic("upsert", 1);
    loading.database.execute("create table u(k text primary key, v text, \"offset\" int8)");
    let load = "'upsert', 'u', columns => 'k = key, v = value, offset', mode => 'upsert'";
    loading.produce(&topic, 0, &["a\t1", "b\t2", "a\t3", "c\t4", "c\t\\N"]);
    assert_eq!(loading.load(load), ["0|5|0|5"]);
    assert_eq!(loading.database.rows("select * from u order by k"), ["a|3|2", "b|2|1"]);
    loading.produce(&topic, 0, &["a\t\\N", "b\t5", "c\t\\N", "c\t6"]);
    assert_eq!(loading.load(load), ["0|4|0|9"]);
    assert_eq!(loading.database.rows("select * from u order by k"), ["b|5|6", "c|6|8"]);
    // A tombstone without a key cannot delete anything.
    loading.database.rows("select * from kcopy.reset('upsert', 'u', 'beginning')");
    let error = loading.error("'upsert', 'u', columns => 'k = value, v = key', mode => 'upsert'");
    assert_eq!(error.code, "23502", "{error:?}");
    assert!(error.message.contains("partition 0 offset 4: a tombstone gives no primary key"), "{error:?}");
    let load = "'upsert', 'u', columns => 'k = value, v = key', mode => 'upsert', on_error => 'skip'";
    assert_eq!(loading.load(load), ["0|6|3|9"]);
}

#[test]
fn a_wrong_constant_is_told_before_there_is_any_record() {
    for way in WAYS {
        let mut loading = setting(way);
        loading.topic("constant", 1);
        for on_error in ["fail", "skip"] {
            let columns = "partition, offset = ''first''";
            let error = loading
                .error(&format!("'constant', 'loaded', columns => '{columns}', on_error => '{on_error}'"));
            assert_eq!(error.code, "38000", "{error:?}");
            let reason = "--columns: column offset: \"first\" cannot be int8";
            assert!(error.message.contains(reason), "{error:?}");
        }
        let right = "'constant', 'loaded', columns => 'partition, offset = ''1'''";
        assert_eq!(loading.load(right), ["0|0|0|0"]);
    }
}

#[test]
fn records_that_do_not_fit_are_kept_aside() {
    for mode in ["append", "upsert"] {
        let mut loading = setting("append");
        let topic = loading.topic("skipped", 1);
        loading.database.execute("create table s(n int4 primary key check (n <> 4), v varchar(2))");
        loading.produce(&topic, 0, &["1\ta", "x\tb", "2\tlong", "4\tc", "5\td", "99999999999\te", "6\tf"]);
        let load =
            format!("'skipped', 's', columns => 'n = key, v = value', on_error => 'skip', mode => '{mode}'");
        assert_eq!(loading.load(&load), ["0|3|4|7"], "{mode}");
        assert_eq!(loading.database.rows("select n, v from s order by n"), ["1|a", "5|d", "6|f"]);
        let rejected = "select topic, partition, \"offset\", convert_from(key, 'utf8'), convert_from(value, 'utf8'), reason <> ''
                        from kcopy.rejected where target = 's'::regclass order by \"offset\"";
        assert_eq!(
            loading.database.rows(rejected),
            ["skipped|0|1|x|b|t", "skipped|0|2|2|long|t", "skipped|0|3|4|c|t", "skipped|0|5|99999999999|e|t"]
        );
        assert_eq!(loading.database.value("select rows, rejected from kcopy.progress"), "3|4");
    }
}

#[test]
fn targets_whose_rows_a_crash_takes_are_refused() {
    let mut loading = setting("append");
    loading.topic("refused", 1);
    loading.database.execute(
        "create unlogged table u(value text);
         create temp table t(value text);
         create view v as select 'x' as value;
         create foreign data wrapper nothing; create server s foreign data wrapper nothing;
         create foreign table f(value text) server s;
         create table p(value text) partition by list (value);
         create table p1 partition of p for values in ('a') partition by list (value);
         create unlogged table p2 partition of p1 for values in ('a')",
    );
    for (target, what) in
        [("u", "unlogged"), ("t", "temporary"), ("v", "no table"), ("f", "foreign"), ("p", "p2 is unlogged")]
    {
        let error = loading.error(&format!("'refused', '{target}'"));
        assert_eq!(error.code, "42809", "{target}");
        assert!(error.message.contains(what), "{error:?}");
    }
    assert_eq!(loading.error("'refused', null").code, "42P01");
    assert_eq!(loading.error("'refused', '1'").code, "42P01");
}

#[test]
fn what_the_positions_mean_is_checked() {
    let mut loading = setting("append");
    let topic = loading.topic("meaning", 1);
    loading.produce(&topic, 0, &["a\t1", "b\t2", "c\t3"]);
    loading.load("'meaning', 'loaded', max_rows => 2");

    // Another cluster.
    loading.database.execute("update kcopy.offsets set cluster_id = 'another'");
    assert!(loading.error("'meaning', 'loaded'").message.contains("of cluster another"));
    loading.database.execute("update kcopy.offsets set cluster_id = null");

    // Retention took what comes next.
    let trim = ["topic", "trim", &topic, "--before", "3", "-b", loading.broker.bootstrap()];
    run(program("kcopy").args(trim)).expect_success();
    let error = loading.error("'meaning', 'loaded'");
    assert!(error.message.contains("offset 2 is out of range"), "{error:?}");
    assert_eq!(loading.database.value("select next_offset from kcopy.offsets"), "2");

    loading.database.execute("update kcopy.offsets set next_offset = 1");
    let error = loading.error("'meaning', 'loaded'");
    assert!(error.message.contains("and offsets 1 to 2 are gone"), "{error:?}");

    // Nothing is there yet.
    loading.database.execute("update kcopy.offsets set next_offset = 9, leader_epoch = null");
    let error = loading.error("'meaning', 'loaded'");
    assert!(error.message.contains("offset 9 is out of range"), "{error:?}");

    // What the caller called start is no option.
    let error = loading.error("'meaning', 'loaded', start => 'nowhere'");
    assert!(error.message.starts_with("kcopy: \"nowhere\" is no position (expected "), "{error:?}");

    // Made anew, and grown beyond the position: only its id tells.
    loading.database.execute("update kcopy.offsets set next_offset = 2");
    loading.broker.topics(&["--delete", "--topic", &topic]).expect_success();
    loading.topic("meaning", 1);
    loading.produce(&topic, 0, &["d\t4", "e\t5", "f\t6", "g\t7"]);
    let error = loading.error("'meaning', 'loaded'");
    assert!(error.message.contains("deleted and created again"), "{error:?}");
    loading.database.execute("truncate loaded");
    assert_eq!(loading.load("'meaning', 'loaded', accept_loss => true"), ["0|4|0|4"]);
    assert_eq!(loading.load("'meaning', 'loaded'"), ["0|0|0|4"]);

    // Nothing is concluded from what a leader of an older epoch says; a topic without an id is another one perhaps.
    loading.database.execute("update kcopy.offsets set leader_epoch = 1000");
    let error = loading.error("'meaning', 'loaded', accept_loss => true");
    assert!(error.message.contains("read from a leader of epoch 1000"), "{error:?}");
    loading.database.execute("update kcopy.offsets set topic_id = null");
    let error = loading.error("'meaning', 'loaded'");
    assert!(error.message.contains("truncated"), "{error:?}");
}

/// A statement in a session of its own.
fn elsewhere(mut client: Client, sql: String) -> mpsc::Receiver<Result<Vec<(i32, i64)>, PgError>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let rows = client.query(&sql, &[]).map_err(PgError::from);
        // The test may have given up on it.
        let _ = sender.send(rows.map(|rows| rows.iter().map(|row| (row.get(0), row.get(1))).collect()));
    });
    receiver
}

#[test]
fn callers_of_the_same_partitions_wait_or_skip() {
    let mut loading = setting("append");
    let topic = loading.topic("shared", 2);
    loading.produce(&topic, 0, &["a\t1"]);
    loading.produce(&topic, 1, &["b\t2"]);
    for round in 0..2 {
        // In the second round the positions are there already.
        loading.produce(&topic, 0, &["c\t3"]);
        let mut first = loading.database.connect();
        let mut holder = first.transaction().expect("a transaction");
        holder
            .query("select * from kcopy.load('shared', 'loaded', partitions => '{0}')", &[])
            .expect("a load");
        let rows = if round == 0 { 1 } else { 0 };
        assert_eq!(loading.load("'shared', 'loaded', wait => false"), [format!("1|{rows}|0|1")]);
        assert_eq!(
            loading.load("'shared', 'loaded', partitions => '{0}', wait => false"),
            Vec::<String>::new()
        );
        // Disjoint partitions go on, and so does what is free of those that are asked for.
        assert_eq!(loading.load("'shared', 'loaded', partitions => '{0,1}', wait => false"), ["1|0|0|1"]);
        let waiting = elsewhere(
            loading.database.connect(),
            "select partition, rows from kcopy.load('shared', 'loaded') order by 1".to_owned(),
        );
        let waits = "select count(*) from pg_locks join pg_database d on d.oid = database
                      where not granted and locktype = 'advisory' and datname = current_database()";
        loading.database.wait_for(waits, "1");
        holder.commit().expect("commit");
        assert_eq!(waiting.recv_timeout(DEADLINE).expect("it ends").expect("it loads"), [(0, 0), (1, 0)]);
    }
    assert_eq!(count(&mut loading.database), "4|4");
}

#[test]
fn higher_isolation_levels_load_or_say_that_it_is_to_be_tried_again() {
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        let mut loading = setting("append");
        let topic = loading.topic("isolated", 1);
        loading.database.execute("create table bag(value text)");
        let load = "select rows from kcopy.load('isolated', 'bag')";
        // First without a position that could be locked, then with one.
        for loaded in 1..=2 {
            loading.produce(&topic, 0, &["a\t1"]);
            let mut client = loading.database.connect();
            let mut old = client.build_transaction().isolation_level(level).start().expect("a transaction");
            old.query("select count(*) from bag", &[]).expect("a snapshot");
            loading.load("'isolated', 'bag'");
            let error = PgError::from(old.query(load, &[]).expect_err("the position has moved"));
            assert_eq!(error.code, "40001", "{error:?}");
            old.rollback().expect("rollback");
            assert_eq!(loading.database.value("select count(*) from bag"), loaded.to_string());
        }
        loading.produce(&topic, 0, &["b\t2"]);
        let mut client = loading.database.connect();
        let mut again = client.build_transaction().isolation_level(level).start().expect("a transaction");
        assert_eq!(again.query_one(load, &[]).expect("a load").get::<_, i64>(0), 1);
        again.commit().expect("commit");
        assert_eq!(loading.database.value("select count(*) from bag"), "3");
    }
}

#[test]
fn lag_and_reset() {
    let mut loading = setting("append");
    let topic = loading.topic("lagging", 2);
    loading.produce(&topic, 0, &["a\t1", "b\t2"]);
    loading.load("'lagging', 'loaded', partitions => '{0}', max_rows => 1");
    let lag = "select partition, next_offset, log_start_offset, end_offset, lag from kcopy.lag()";
    assert_eq!(loading.database.rows(lag), ["0|1|0|2|1", "1|∅|0|0|0"]);
    let reset = |to: &str| format!("select * from kcopy.reset('lagging', 'loaded', '{to}')");
    assert_eq!(loading.database.rows(&reset("end")), ["0|1|2", "1|∅|0"]);
    assert_eq!(loading.database.rows(&reset("beginning")), ["0|2|0", "1|0|0"]);
    loading.database.execute("truncate loaded");
    assert_eq!(loading.load("'lagging', 'loaded'"), ["0|2|0|2", "1|0|0|0"]);
    assert_eq!(loading.database.error(&reset("nowhere")).code, "38000");
}

#[test]
fn odd_settings_of_the_session_change_nothing() {
    for way in WAYS {
        let mut loading = setting(way);
        let topic = loading.topic("odd", 1);
        loading.produce(&topic, 0, &["é\\\\'\t\\\\x41", "b\\nc\tü"]);
        loading
            .database
            .execute("reset role; create table o(k text, v bytea, at timestamptz); grant all on o to public");
        if way == "staged" {
            loading.database.execute("set role plain");
        }
        loading.database.execute(
            "set client_encoding = latin1; set datestyle = 'sql, dmy'; set intervalstyle = sql_standard;
             set timezone = 'Asia/Kathmandu'; set bytea_output = escape; set standard_conforming_strings = off;
             set quote_all_identifiers = on; set search_path = pg_temp; set transform_null_equals = on;
             set row_security = off; set array_nulls = off; set xmloption = document",
        );
        let load = "'odd', 'public.o', columns => 'k = key, v = value, at = timestamp'";
        assert_eq!(loading.load(load), ["0|2|0|2"], "{way}");
        loading.database.execute("reset all; set bytea_output = hex; set client_encoding = utf8");
        assert_eq!(
            loading
                .database
                .rows("select k, v, at between now() - interval '1 hour' and now() from o order by k"),
            ["b\nc|\\xc3bc|t", "é\\'|\\x5c783431|t"]
        );
    }
}

#[test]
fn arrays_of_the_targets_own_types_and_json_that_postgresql_cannot_hold() {
    let mut loading = Loading::start();
    let topic = loading.topic("own-arrays", 1);
    let deep = format!("{{\"moods\":[\"sad\"],\"doc\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    loading
        .broker
        .kcopy("produce", &[&topic, "--format", "raw"], b"{\"moods\":[\"sad\",null,\"7\"]}\n")
        .expect_success();
    loading.database.execute(
        "create type mood as enum ('7', 'sad'); create domain small as int check (value < 9);
         create table own(moods mood[], numbers small[], doc jsonb)",
    );
    assert_eq!(loading.load(&format!("'{topic}', 'own'")), ["0|1|0|1"]);
    assert_eq!(loading.database.value("select moods::text from own"), "{sad,NULL,7}");
    loading.broker.kcopy("produce", &[&topic, "--format", "raw"], deep.as_bytes()).expect_success();
    loading.broker.kcopy("produce", &[&topic, "--format", "raw"], b"{\"numbers\":[1,2]}\n").expect_success();
    let error = loading.error(&format!("'{topic}', 'own'"));
    assert!(error.message.contains("nested more than 5000 deep"), "{error:?}");
    assert_eq!(loading.load(&format!("'{topic}', 'own', on_error => 'skip'")), ["0|1|1|3"]);
    assert_eq!(loading.database.value("select numbers::text from own where numbers is not null"), "{1,2}");
}
