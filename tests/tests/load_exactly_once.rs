//! `kcopy load`: rows and positions move together, and what is gone is an error that names it.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use kcopy_tests::{
    Broker, Database, Running, WireLoad as Setting, is_ignored, numbers, program, run, skipped,
};
use rustix::process::Signal;

#[test]
fn a_table_is_filled_by_its_own_columns_once() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("own", 3);
    setting.produce(&topic, &numbers(0, 1000));
    setting.database.execute(
        "create type mood as enum ('sad', 'happy');
         create domain positive as int8 check (value >= 0);
         create table own(id int8 generated always as identity primary key, n positive not null, name varchar(20),
            key text, partition int4, \"offset\" int8, timestamp timestamptz, mood mood, tags text[],
            twice int8 generated always as (n * 2) stored, note text default 'none')",
    );
    setting.load(&[&topic, "--into", "own"]).expect_success();
    let sums = "select count(*), count(distinct n), sum(twice), count(distinct (partition, \"offset\")), count(note) \
                from own where name = 'name ' || n and key = 'k' || n and timestamp > now() - interval '1 h'";
    assert_eq!(setting.database.rows(sums), ["1000|1000|999000|1000|0"]);
    let again = setting.load(&[&topic, "--into", "own"]).expect_success();
    assert!(again.stderr.contains("nothing new to load"), "{again:?}");
    setting
        .produce(&topic, "k:{\"n\":1000,\"name\":\"name 1000\",\"mood\":\"happy\",\"tags\":[\"a\",null]}\n");
    setting.load(&[&topic, "--into", "public.own", "--connections", "3"]).expect_success();
    assert_eq!(setting.database.rows("select mood, tags from own where n = 1000"), ["happy|{a,NULL}"]);
    assert_eq!(setting.database.value("select sum(next_offset) from kcopy.offsets"), "1001");
    assert_eq!(setting.database.value("select sum(rows) from kcopy.offsets"), "1001");
}

#[test]
fn columns_are_named_and_their_types_come_from_the_table() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("named", 1);
    setting.produce(&topic, "a:{\"order\":{\"id\":7,\"lines\":[{\"sku\":\"x\"}]}}\n");
    setting
        .database
        .execute("create table named(sku text, id numeric, doc jsonb, r int4range, note text default 'x')");
    let columns = "id = value.order.id, sku = value.order.lines[0].sku, doc = value";
    setting.load(&[&topic, "--into", "named", "--columns", columns]).expect_success();
    assert_eq!(setting.database.rows("select id, sku, doc->'order'->>'id', note from named"), ["7|x|7|x"]);
    let wrong = setting.load(&[&topic, "--into", "named", "--columns", "skuu = value.sku"]).expect_code(1);
    assert!(wrong.stderr.contains("no column skuu; nearest: sku"), "{wrong:?}");
    // A range has no binary form here: the whole table goes as text.
    setting.produce(&topic, "b:{\"r\":\"[1,5)\",\"sku\":\"tab\\tand\\\\back\"}\n");
    setting.load(&[&topic, "--into", "named", "--columns", "sku, r"]).expect_success();
    assert_eq!(
        setting.database.rows("select r, sku from named where r is not null"),
        ["[1,5)|tab\tand\\back"]
    );
}

#[test]
fn missing_null_and_too_large_values_name_their_place() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("values", 1);
    setting.database.execute("create table v(n int2 not null, name text)");
    setting.produce(&topic, "a:{\"n\":1,\"extra\":true}\nb:{\"name\":\"x\"}\n");
    let missing = setting.load(&[&topic, "--into", "v"]).expect_code(1);
    assert!(missing.stderr.contains("offset 1: column n: the value is missing or null"), "{missing:?}");
    // What comes before it is loaded.
    assert_eq!(setting.database.rows("select n, name from v"), ["1|∅"]);
    let skipped = setting.load(&[&topic, "--into", "v", "--on-error", "skip"]).expect_success();
    assert!(skipped.stderr.contains("1 of them rejected"), "{skipped:?}");
    setting.produce(&topic, "c:{\"n\":40000}\n");
    let large = setting.load(&[&topic, "--into", "v"]).expect_code(1);
    assert!(large.stderr.contains(&format!("{topic} [0] at offset 2, column n")), "{large:?}");
    assert!(large.stderr.contains("; --on-error skip,") && !large.stderr.contains("declare"), "{large:?}");
    assert_eq!(setting.database.value("select next_offset from kcopy.offsets"), "2");
}

#[test]
fn records_that_the_table_refuses_go_where_they_shall() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("refused", 1);
    let dead = setting.broker.create("dead", 1);
    let lines: String = (0..500).map(|n| format!("k{n}:{{\"n\":{n}}}\n")).collect();
    setting.produce(&topic, &(lines + "bad:no json\n"));
    let check = "create table r(n int4 unique check (n % 100 <> 7))";
    setting.database.execute(check);
    let failed = setting.load(&[&topic, "--into", "r"]).expect_code(1);
    assert!(
        failed.stderr.contains("[0] offset 7: table public.r") && failed.stderr.contains("r_n_check"),
        "{failed:?}"
    );
    assert_eq!(setting.database.value("select count(*) from r"), "0");

    setting.load(&[&topic, "--into", "r", "--on-error", "reject-table", "-q"]).expect_success();
    assert_eq!(setting.database.value("select count(*) from r"), "495");
    let rejected = "select \"offset\", convert_from(key, 'UTF8'), convert_from(value, 'UTF8') from kcopy.rejected \
                    where target = 'r'::regclass order by 1";
    let rows = setting.database.rows(rejected);
    assert_eq!(rows.len(), 6);
    assert_eq!((rows[0].as_str(), rows[5].as_str()), ("7|k7|{\"n\":7}", "500|bad|no json"));
    assert_eq!(setting.database.value("select next_offset || ' ' || rows from kcopy.offsets"), "501 495");

    setting.database.execute("create table r2(n int4 unique check (n % 100 <> 7))");
    let letters = format!("dead-letter={dead}");
    setting.load(&[&topic, "--into", "r2", "--on-error", &letters, "-q"]).expect_success();
    assert_eq!(setting.database.value("select count(*) from r2"), "495");
    let sent =
        setting.broker.kcat(&["-C", "-t", &dead, "-e", "-q", "-f", "%k %s %h\n"], b"").expect_success();
    let sent = sent.lines();
    assert_eq!(sent.len(), 6);
    let first = sent.iter().find(|line| line.starts_with("k7 ")).expect("k7");
    assert!(first.contains("{\"n\":7}") && first.contains("kcopy.offset=7"), "{first}");
}

#[test]
fn a_flood_of_rejected_records_is_counted_and_its_beginning_shown() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("flood", 1);
    setting.produce(&topic, &"k:no json\n".repeat(500));
    setting.database.execute("create table flood(n int4)");
    let skip = [topic.as_str(), "--into", "flood", "--on-error", "skip", "--json"];
    let skipped = setting.load(&skip).expect_success();
    assert_eq!(skipped.stderr.matches(" at offset ").count(), 10, "{skipped:?}");
    assert!(skipped.stderr.contains("from here on are only counted"), "{skipped:?}");
    assert!(skipped.stderr.contains("500 of them rejected"), "{skipped:?}");
    let events = skipped.lines().into_iter().filter(|line| line.contains("\"event\":\"rejected\"")).count();
    assert_eq!(events, 500);
    let twice = setting.load(&[&topic, "--into", "flood", "--columns", "n, n = offset"]).expect_code(1);
    assert!(twice.stderr.contains("column n is filled twice"), "{twice:?}");
}

#[test]
fn upsert_keeps_the_last_of_equal_keys_and_tombstones_delete() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("upsert", 1);
    setting.database.execute("create table u(key text primary key, n int4 not null, name text)");
    setting.produce(&topic, "a:{\"n\":1}\nb:{\"n\":1}\na:{\"n\":2,\"name\":\"x\"}\nc:{\"n\":1}\n");
    let upsert = [topic.as_str(), "--into", "u", "--mode", "upsert", "--delete-on-tombstone"];
    setting.load(&upsert).expect_success();
    let rows = "select key, n, name from u order by key";
    assert_eq!(setting.database.rows(rows), ["a|2|x", "b|1|∅", "c|1|∅"]);
    // -Z makes null of the empty value.
    setting.broker.kcat(&["-P", "-t", &topic, "-K:", "-Z"], b"a:\nb:\n").expect_success();
    setting.produce(&topic, "b:{\"n\":9}\nd:{\"n\":1}\n");
    setting.load(&upsert).expect_success();
    assert_eq!(setting.database.rows(rows), ["b|9|∅", "c|1|∅", "d|1|∅"]);
    setting.database.execute("create table keyless(key text)");
    let keyless = setting.load(&[&topic, "--into", "keyless", "--mode", "upsert"]).expect_code(1);
    assert!(keyless.stderr.contains("needs a primary key"), "{keyless:?}");
}

#[test]
fn row_security_holds_for_the_loader() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("rls", 1);
    setting.produce(&topic, "a:{\"n\":1}\nb:{\"n\":2}\n");
    let database = setting.database.value("select current_database()");
    setting.database.execute(&format!(
        "create role loader login; create table secured(n int4); grant insert, select on secured to loader;
         grant create, temp on database {database} to loader;
         alter table secured enable row level security; create policy p on secured using (true) with check (n < 2)"
    ));
    let url = setting.database.url().replace("postgres@", "loader@");
    let load = |way: &str| {
        setting.broker.kcopy("load", &[&topic, "-d", &url, "--into", "secured", "--on-error", way], b"")
    };
    let refused = load("fail").expect_code(1);
    assert!(refused.stderr.contains("row-level security policy"), "{refused:?}");
    load("skip").expect_success();
    assert_eq!(setting.database.rows("select n from secured"), ["1"]);
    setting.database.execute("drop owned by loader; drop role loader");
}

#[test]
fn tables_that_forget_are_refused() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("refuse", 1);
    setting.database.execute(
        "create unlogged table forgetful(value text);
         create table parts(n int4, value text) partition by list (n);
         create unlogged table part_1 partition of parts for values in (1);
         create view looks as select 'x'::text as value;
         create extension postgres_fdw; create server s foreign data wrapper postgres_fdw;
         create foreign table far(value text) server s",
    );
    for (table, reason) in [
        ("forgetful", "is an unlogged table"),
        ("parts", "unlogged or temporary partition part_1"),
        ("far", "is a foreign table"),
        ("looks", "is no table"),
        ("nowhere", "there is no table nowhere: --create-table"),
    ] {
        let refused = setting.load(&[&topic, "--into", table]).expect_code(1);
        assert!(refused.stderr.contains(reason), "{refused:?}");
    }
}

#[test]
fn several_topics_go_into_several_tables_in_one_transaction() {
    let mut setting = Setting::new();
    let (a, b) = (setting.broker.create("multi-a", 2), setting.broker.create("multi-b", 1));
    setting.produce(&a, &numbers(0, 10));
    setting.produce(&b, &numbers(10, 15));
    setting.database.execute(&format!(
        "create schema k; create table k.\"{a}\"(n int4); create table k.\"{b}\"(n int4);
         create table watch(xid xid8, n int4);
         create function seen() returns trigger language plpgsql as
           $$ begin insert into watch values (pg_current_xact_id(), new.n); return new; end $$;
         create trigger t before insert on k.\"{a}\" for each row execute function seen();
         create trigger t before insert on k.\"{b}\" for each row execute function seen()"
    ));
    setting.load(&[&a, &b, "--into", "k.{topic}"]).expect_success();
    assert_eq!(setting.database.value("select count(*) || ' ' || count(distinct xid) from watch"), "15 1");
    setting.database.execute("create table both_of_them(n int4, topic text)");
    setting.load(&[&a, &b, "--into", "both_of_them"]).expect_success();
    assert_eq!(
        setting.database.value("select count(*) || ' ' || count(distinct topic) from both_of_them"),
        "15 2"
    );
}

#[test]
fn a_table_is_made_from_the_first_records() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("made", 1);
    setting.produce(
        &topic,
        "a:{\"id\":1,\"at\":\"2026-01-31T12:00:00Z\",\"x\":1.50}\nb:{\"id\":2,\"at\":null,\"x\":3}\n",
    );
    let dry = setting.load(&[&topic, "--into", "made", "--create-table", "--dry-run"]).expect_success();
    let sql = "create table if not exists made (\n    \"at\" timestamptz,\n    \"id\" bigint,\n    \"x\" numeric\n);\n";
    assert_eq!(dry.text(), sql);
    assert_eq!(setting.database.value("select to_regclass('made') is null"), "t");
    let made = setting.load(&[&topic, "--into", "made", "--create-table"]).expect_success();
    assert!(made.stderr.contains("create table if not exists made"), "{made:?}");
    assert_eq!(
        setting.database.rows("select id, x, at is null from made order by id"),
        ["1|1.50|f", "2|3|t"]
    );
}

#[test]
fn a_table_may_gain_columns_and_must_stay_the_same_table() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("alter", 1);
    setting.database.execute("create table alt(n int4)");
    setting.produce(&topic, &numbers(0, 5));
    let loader = setting.start(&[&topic, "--into", "alt", "--follow", "--batch-time", "20ms"]);
    setting.wait_for("select count(*) from alt", "5");
    setting.database.execute("alter table alt add name text");
    setting.produce(&topic, &numbers(5, 8));
    setting.wait_for("select count(name) from alt", "3");
    setting.database.execute("alter table alt alter n type int8");
    setting.produce(&topic, &numbers(8, 10));
    setting.wait_for("select count(*) || ' ' || count(distinct n) from alt", "10 10");
    setting.database.execute("drop table alt; create table alt(n int4)");
    setting.produce(&topic, &numbers(10, 12));
    let gone = loader.finish().expect_code(1);
    assert!(gone.stderr.contains("dropped or renamed while it was loaded"), "{gone:?}");
    assert_eq!(setting.database.value("select count(*) from alt"), "0");
}

#[test]
fn a_topic_made_anew_is_not_taken_for_the_old_one() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("anew", 1);
    setting.database.execute("create table anew(n int4)");
    setting.produce(&topic, &numbers(0, 5));
    setting.load(&[&topic, "--into", "anew"]).expect_success();
    setting.topic(&["delete", &topic]);
    let missing = setting.load(&[&topic, "--into", "anew"]).expect_code(1);
    assert!(missing.stderr.contains(&format!("there is no topic {topic}")), "{missing:?}");
    setting.broker.create("anew", 1);
    setting.produce(&topic, &numbers(100, 120));
    let anew = setting.load(&[&topic, "--into", "anew"]).expect_code(1);
    assert!(
        anew.stderr.contains("deleted and made anew") && anew.stderr.contains("--accept-loss"),
        "{anew:?}"
    );
    assert_eq!(setting.database.value("select count(*) from anew"), "5");
    setting.load(&[&topic, "--into", "anew", "--accept-loss"]).expect_success();
    assert_eq!(setting.database.value("select count(*) || ' ' || max(n) from anew"), "25 119");
}

#[test]
fn a_log_cut_short_names_the_gap() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("cut", 1);
    setting.database.execute("create table cut(n int4)");
    setting.produce(&topic, &numbers(0, 5));
    setting.load(&[&topic, "--into", "cut"]).expect_success();
    setting.produce(&topic, &numbers(5, 20));
    setting.topic(&["trim", &topic, "--before", "12"]);
    let gap = setting.load(&[&topic, "--into", "cut"]).expect_code(1);
    assert!(gap.stderr.contains("offsets 5 to 11 are gone before they were loaded"), "{gap:?}");
    setting.load(&[&topic, "--into", "cut", "--accept-loss"]).expect_success();
    assert_eq!(setting.database.value("select count(*) || ' ' || sum(n) from cut"), "13 134");
    // A position behind the end is no position of this log.
    setting.database.execute("update kcopy.offsets set next_offset = 50");
    let short = setting.load(&[&topic, "--into", "cut"]).expect_code(1);
    assert!(short.stderr.contains("50 is the next offset to load, and the log ends at 20"), "{short:?}");
    // Nothing is concluded from what a leader of an older epoch says, not even where a loss is accepted.
    setting.database.execute("update kcopy.offsets set next_offset = 20, leader_epoch = 999");
    let older =
        setting.load(&[&topic, "--into", "cut", "--accept-loss", "--timeout", "300ms"]).expect_code(1);
    let text = "offset 19 was read from a leader of epoch 999, and the one that answers is of epoch 0";
    assert!(older.stderr.contains(text), "{older:?}");
    // One that has never had ids.
    setting.database.execute("update kcopy.offsets set topic_id = null");
    let unknown = setting.load(&[&topic, "--into", "cut"]).expect_code(1);
    assert!(unknown.stderr.contains("knows nothing of the epoch of offset 19"), "{unknown:?}");
    setting.database.execute("update kcopy.offsets set leader_epoch = null, cluster_id = 'other'");
    let other = setting.load(&[&topic, "--into", "cut"]).expect_code(1);
    assert!(other.stderr.contains("one of cluster other"), "{other:?}");
}

#[test]
fn the_first_start_is_chosen_and_new_partitions_begin_at_their_beginning() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("first", 1);
    setting.database.execute("create table first(n int4)");
    setting.produce(&topic, &numbers(0, 10));
    let first = setting.load(&[&topic, "--into", "first", "--from", "-3"]).expect_success();
    assert!(!first.stderr.contains("is used"), "{first:?}");
    assert_eq!(setting.database.value("select min(n) from first"), "7");
    setting.topic(&["alter", &topic, "--partitions", "2"]);
    setting.broker.kcat(&["-P", "-t", &topic, "-p", "1"], b"{\"n\":100}\n{\"n\":101}\n").expect_success();
    let told = setting.load(&[&topic, "--into", "first", "--from", "end"]).expect_success();
    assert!(told.stderr.contains("neither --from nor --import-group is used"), "{told:?}");
    assert_eq!(setting.database.value("select count(*) from first"), "5");
}

#[test]
fn positions_come_from_a_group_once_and_are_mirrored_to_one() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("grp", 1);
    let group = setting.broker.topic("loaders");
    setting.database.execute("create table grp(n int4)");
    setting.produce(&topic, &numbers(0, 10));
    let none = setting.load(&[&topic, "--into", "grp", "--import-group", &group]).expect_code(1);
    assert!(none.stderr.contains("has committed no offset"), "{none:?}");
    setting.broker.kcopy("consume", &[&topic, "--group", &group, "-c", "4"], b"").expect_success();
    let mirror = setting.broker.topic("mirror");
    setting.load(&[&topic, "--into", "grp", "--import-group", &group, "--group", &mirror]).expect_success();
    assert_eq!(setting.database.value("select count(*) || ' ' || min(n) from grp"), "6 4");
    let rest = setting.broker.kcopy("consume", &[&topic, "--group", &mirror], b"").expect_success();
    assert_eq!(rest.text(), "", "the mirror stands at the end");
    // A topic, or a partition, that the group knows nothing of is told.
    let other = setting.broker.create("grp-other", 2);
    let into = ["--into", "grp", "--import-group", &group];
    setting.database.execute("delete from kcopy.offsets");
    let both = setting.load(&[&[topic.as_str(), &other][..], &into].concat()).expect_success();
    assert!(
        both.stderr.contains(&format!("group {group} has committed no offset of {other} [0, 1]: ")),
        "{both:?}"
    );
    assert!(!both.stderr.contains(&format!("no offset of {topic} [")), "{both:?}");
}

/// Somebody who takes connections and says nothing, as a process that is stopped.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

#[test]
fn a_side_that_says_nothing_takes_no_longer_than_the_timeout() {
    let mut setting = Setting::new();
    setting.database.execute("create table t(n int4)");
    let topic = setting.broker.create("silent", 1);
    let (_listener, address) = silent();
    let database = setting.database.url();
    let no_database = format!("postgres://postgres@{address}/postgres?sslmode=disable");
    let within = |brokers: &str, database: &str| {
        let started = Instant::now();
        let mut command = program("kcopy");
        command.args(["load", &topic, "--into", "t", "-b", brokers, "-d", database, "--timeout", "1s"]);
        let output = run(&mut command).expect_code(1);
        assert!(output.stderr.contains(&address) && output.stderr.contains("--timeout"), "{output:?}");
        // Of each of the steps it was ten and more.
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}: {output:?}", started.elapsed());
    };
    within(&address, &database);
    within(setting.broker.bootstrap(), &no_database);
}

#[test]
fn a_signal_ends_a_load_that_waits_for_somebody_who_says_nothing() {
    if is_ignored(Signal::TERM) {
        return skipped("a_signal_ends_a_load", "SIGTERM is ignored here");
    }
    let mut setting = Setting::new();
    setting.database.execute("create table t(n int4)");
    let (listener, address) = silent();
    let database = setting.database.url();
    for follow in [None, Some("--follow")] {
        let mut command = program("kcopy");
        command.args(["load", "t", "--into", "t", "-b", &address, "-d", &database]).args(follow);
        let loader = Running::start(&mut command);
        let connection = listener.accept().expect("a connection");
        let started = Instant::now();
        loader.signal(Signal::TERM);
        loader.finish().expect_code(143);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        drop(connection);
    }
}

#[test]
fn what_is_missing_on_either_side_is_said_before_anything_is_read() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("missing", 1);
    setting.produce(&topic, &numbers(0, 3));
    setting.database.execute("create table t(n int4)");
    let letters = "dead-letter=no-such-topic";
    let refused = setting.load(&[&topic, "--into", "t", "--on-error", letters]).expect_code(1);
    assert!(refused.stderr.contains("there is no topic no-such-topic for dead letters"), "{refused:?}");

    let database = setting.database.value("select current_database()");
    setting.database.execute(&format!(
        "create role reads login; grant select on t to reads; grant create on database {database} to reads"
    ));
    let url = setting.database.url().replace("postgres@", "reads@");
    let load = |more: &[&str]| {
        let arguments = [&[topic.as_str(), "-d", &url, "--into", "t"], more].concat();
        setting.broker.kcopy("load", &arguments, b"").expect_code(1).stderr
    };
    let refused = load(&[]);
    assert!(refused.contains("role reads may not write to table public.t (no INSERT)"), "{refused}");
    assert!(refused.contains("grant INSERT on public.t to reads"), "{refused}");
    let refused = load(&["--mode", "upsert", "--delete-on-tombstone"]);
    assert!(refused.contains("(no INSERT, UPDATE, DELETE)"), "{refused}");
    setting.database.execute("drop owned by reads; drop role reads");
    assert_eq!(setting.database.value("select count(*) from t"), "0");
}

#[test]
fn another_cluster_under_a_loader_that_follows_is_a_gap_with_a_name() {
    // Another Apache Kafka takes seconds.
    let mut setting = Setting { broker: Broker::ours(&[]), database: Database::create() };
    let topic = setting.broker.create("moved", 1);
    setting.produce(&topic, &numbers(0, 3));
    setting.database.execute("create table moved(n int4)");
    let loader = setting.start(&[&topic, "--into", "moved", "--follow", "--batch-time", "20ms"]);
    setting.wait_for("select count(*) from moved", "3");
    setting.broker.replace();
    setting.broker.create("moved", 1);
    let ended = loader.finish().expect_code(1);
    assert!(ended.stderr.contains("--accept-loss goes on at offset 0"), "{ended:?}");
    assert!(ended.stderr.contains(&format!("{topic} [0]")), "{ended:?}");
}

#[test]
fn a_position_that_moves_while_a_loader_begins_is_no_gap() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("overtaken", 1);
    setting.database.execute("create table overtaken(n int4)");
    setting.produce(&topic, &numbers(0, 10));
    setting.load(&[&topic, "--into", "overtaken"]).expect_success();
    // Another one has the position, and moves it while this one waits for it.
    let mut other = setting.database.connect();
    let mut holder = other.transaction().expect("a transaction");
    holder.batch_execute("select 1 from kcopy.offsets for update").expect("locks");
    let loader = setting.start(&[&topic, "--into", "overtaken", "--accept-loss"]);
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    setting.wait_for(waits, "1");
    setting.produce(&topic, &numbers(10, 20));
    holder
        .batch_execute(
            "insert into overtaken select generate_series(10, 19); update kcopy.offsets set next_offset = 20",
        )
        .expect("a load");
    holder.commit().expect("a commit");
    let ended = loader.finish().expect_success();
    assert!(!ended.stderr.contains("cut short"), "{ended:?}");
    setting.load(&[&topic, "--into", "overtaken"]).expect_success();
    assert_eq!(setting.database.value("select count(*) || ' ' || count(distinct n) from overtaken"), "20 20");
}
