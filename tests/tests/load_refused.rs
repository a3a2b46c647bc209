//! `kcopy load`: rows that PostgreSQL refuses for reasons of all kinds, and rights that are missing.

use std::time::{Duration, Instant};

use kcopy_tests::{Running, WireLoad, program, run};
use rustix::process::Signal;

#[test]
fn every_error_that_is_about_a_row_can_be_skipped_and_names_its_place() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("kinds", 1);
    let long: String = (0..4000_u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761))).collect();
    let good = |n: u32| {
        format!("k:{{\"n\":{n},\"name\":\"n{n}\",\"query\":\"a & b\",\"rel\":\"pg_class\",\"ref\":1}}\n")
    };
    let mut lines: String = (0..100).map(good).collect();
    for bad in [
        &format!("\"name\":\"{long}\""),
        "\"query\":\"a & & b\"",
        "\"rel\":\"nowhere\"",
        "\"kind\":\"no_such_type\"",
        "\"ref\":7",
    ] {
        lines += &format!("k:{{\"n\":100,{bad}}}\n");
        lines += &(200..250).map(good).collect::<String>();
    }
    setting.produce(&topic, &lines);
    setting.database.execute(
        "create table known(id int4 primary key); insert into known values (1);
         create domain query as text check (value::tsquery is not null);
         create table kinds(n int4, name text, query tsquery, rel regclass, kind regtype, ref int4 references known);
         create index on kinds(name);
         create table ups(n int4, name text, query tsquery, rel regclass, kind regtype, ref int4 references known,
            at int8 primary key);
         create index on ups(name)",
    );
    let failed = setting.load(&[&topic, "--into", "kinds"]).expect_code(1);
    assert!(failed.stderr.contains(&format!("{topic} [0] offset")), "{failed:?}");
    let columns = "n, name, query, rel, kind, ref, at = offset";
    for (table, more) in [("kinds", &[][..]), ("ups", &["--mode", "upsert", "--columns", columns])] {
        let skip = [&[topic.as_str(), "--into", table, "--on-error", "skip"], more].concat();
        let skipped = setting.load(&skip).expect_success();
        assert!(skipped.stderr.contains("5 of them rejected"), "{skipped:?}");
        for offset in [100, 151, 202, 253, 304] {
            assert!(skipped.stderr.contains(&format!("[0] offset {offset}: ")), "{offset}: {skipped:?}");
        }
        assert_eq!(setting.database.value(&format!("select count(*) from {table}")), "350");
    }
    // A foreign key is looked at behind the last row: the server does not say which it was.
    let foreign = setting.broker.create("foreign", 1);
    setting.produce(&foreign, "k:{\"id\":1}\nk:{\"id\":9}\n");
    setting.database.execute("create table child(id int4 references known)");
    let failed = setting.load(&[&foreign, "--into", "child"]).expect_code(1);
    assert!(failed.stderr.contains(&format!("one of {foreign} [0] offsets 0 to 1: ")), "{failed:?}");
    setting
        .database
        .execute("alter table child alter constraint child_id_fkey deferrable initially deferred");
    let failed = setting.load(&[&foreign, "--into", "child"]).expect_code(1);
    assert!(failed.stderr.contains(&format!("{foreign} [0] offsets 0 to 1: committing: ")), "{failed:?}");
}

#[test]
fn what_a_record_says_blames_no_other_one() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("blamed", 1);
    let good = |n: u32| format!("k:{{\"n\":{n},\"r\":\"[1,2)\"}}\n");
    let mut lines: String = (0..5).map(good).collect();
    lines += "k:{\"n\":5,\"r\":\"x, line 1\"}\n";
    lines += "k:{\"n\":6,\"r\":\"x\\nCOPY Blamed all, line 2, column r\"}\n";
    lines += &good(7);
    setting.produce(&topic, &lines);
    setting.database.execute("create table \"Blamed all\"(n int4, r int4range)");
    let into = [topic.as_str(), "--into", "\"Blamed all\""];
    let failed = setting.load(&into).expect_code(1);
    assert!(
        failed
            .stderr
            .contains("[0] offset 5: table public.\"Blamed all\": column r of type int4range: malformed"),
        "{failed:?}"
    );
    let skip = [&into[..], &["--on-error", "skip"]].concat();
    let skipped = setting.load(&skip).expect_success();
    let rows = "select string_agg(n::text, ' ' order by n) from \"Blamed all\"";
    assert_eq!(setting.database.value(rows), "0 1 2 3 4 7", "{skipped:?}");
}

#[test]
fn what_a_column_cannot_take_is_named_with_its_type_and_value() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("named", 1);
    for bad in
        ["\"m\":\"zz\"", "\"d\":-5", "\"t\":\"long\"", "\"ds\":[1,-7]", "\"r\":\"[2,1]\"", "\"d\":null"]
    {
        setting.produce(&topic, &format!("1:{{\"m\":\"a\",\"d\":1,{bad}}}\n"));
    }
    setting.database.execute(
        "create type mood as enum ('a');
         create domain positive as int4 not null check (value > 0);
         create domain short as text check (length(value) < 4);
         create table plain(id int8, m mood, d positive, t short, ds positive[], r int4range);
         create table ups(id int8 primary key, m mood, d positive, t short, ds positive[], r int4range)",
    );
    let columns = "id=key, m, d, t, ds, r";
    let upsert = ["--mode", "upsert"];
    let tombstones = ["--mode", "upsert", "--delete-on-tombstone"];
    for (table, more) in [("plain", &[][..]), ("ups", &upsert), ("ups", &tombstones)] {
        setting.database.execute("drop schema if exists kcopy cascade");
        let skip =
            [&[topic.as_str(), "--into", table, "--on-error", "skip", "--columns", columns], more].concat();
        let skipped = setting.load(&skip).expect_success();
        let mut expected = vec![
            (0, "column m of type mood: invalid input value for enum mood: \"zz\""),
            (2, "column t of type short: \"long\": value for domain short violates"),
            (4, "column r of type int4range: "),
        ];
        // Where tombstones may come, domains are asked behind the stage, and these two are of the same one.
        if more.len() < 3 {
            expected.extend([
                (1, "column d of type positive: \"-5\": value for domain positive violates"),
                (3, "column ds of type positive[]: "),
            ]);
        }
        for (offset, what) in expected {
            let line = format!("{topic} [0] offset {offset}: table public.{table}: {what}");
            assert!(skipped.stderr.contains(&line), "{line}: {skipped:?}");
        }
        assert!(skipped.stderr.contains("6 of them rejected"), "{skipped:?}");
    }
    // A trigger has values of its own: none of the row's is to blame.
    let innocent = setting.broker.create("innocent", 1);
    setting.produce(&innocent, "1:{\"d\":77}\n");
    setting.database.execute(
        "create table audit(x positive);
         create function audited() returns trigger language plpgsql as
           $$ begin insert into audit values (-new.d); return new; end $$;
         create table innocent(d positive);
         create trigger audited after insert on innocent for each row execute function audited()",
    );
    let failed = setting.load(&[&innocent, "--into", "innocent"]).expect_code(1);
    assert!(failed.stderr.contains("value for domain positive violates"), "{failed:?}");
    assert!(!failed.stderr.contains("column d") && !failed.stderr.contains("77"), "{failed:?}");
}

#[test]
fn what_cannot_be_upserted_is_refused_before_anything_is_read() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("unfit", 1);
    setting.database.execute(
        "create table own(id int8 primary key, v text);
         create table late(id int8 primary key deferrable, v text)",
    );
    let refused = |setting: &mut WireLoad, table: &str, more: &[&str]| {
        setting.load(&[&[&topic, "--into", table, "--mode", "upsert"], more].concat()).expect_code(1).stderr
    };
    for (columns, source) in [
        ("id, v", "the record's value"),
        ("id = value, v = key", "the record's value"),
        ("id = offset, v", "the record's offset"),
    ] {
        let told = refused(&mut setting, "own", &["--columns", columns, "--delete-on-tombstone"]);
        assert!(told.contains(&format!("its column id is filled from {source}")), "{told}");
        assert!(told.contains("--columns 'id=key'"), "{told}");
    }
    let told = refused(&mut setting, "late", &[]);
    assert!(told.contains("primary key that is DEFERRABLE"), "{told}");
    // Parts of the key, and what a tombstone has as well.
    for columns in ["id = key, v", "id = key.id, v", "id = partition, v", "id = header.id, v"] {
        let own =
            [&topic, "--into", "own", "--mode", "upsert", "--delete-on-tombstone", "--columns", columns];
        setting.load(&own).expect_success();
    }
}

#[test]
fn a_trigger_may_fill_what_must_not_be_null() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("filled", 1);
    setting.produce(&topic, "k:{\"id\":1}\nk:{\"id\":2,\"v\":\"x\"}\nk:{\"id\":3,\"w\":1}\nk:{\"id\":4}\n");
    setting.database.execute(
        "create function fill() returns trigger language plpgsql as
           $$ begin if new.id <> 3 then new.v := coalesce(new.v, 'filled'); end if; return new; end $$;
         create table plain(id int8 primary key, v text not null);
         create table parted(id int8 primary key, v text not null) partition by range (id);
         create table parted_all partition of parted default;
         create trigger fill before insert on plain for each row execute function fill();
         create trigger fill before insert on parted_all for each row execute function fill()",
    );
    for (table, more) in [("plain", &[][..]), ("parted", &[]), ("plain", &["--mode", "upsert"])] {
        setting.database.execute(&format!("drop schema if exists kcopy cascade; truncate {table}"));
        let skip = [&[topic.as_str(), "--into", table, "--on-error", "skip"], more].concat();
        let skipped = setting.load(&skip).expect_success();
        assert!(
            skipped.stderr.contains(&format!("{topic} [0] offset 2: table public.{table}: ")),
            "{skipped:?}"
        );
        assert!(skipped.stderr.contains("null value in column \"v\""), "{skipped:?}");
        let rows = format!("select string_agg(id || v, ' ' order by id) from {table}");
        assert_eq!(setting.database.value(&rows), "1filled 2x 4filled", "{more:?}");
    }
    // The trigger comes and goes while the table is loaded.
    setting.database.execute("create table later(id int8, v text not null)");
    let follow = [&topic, "--into", "later", "--on-error", "skip", "--follow", "--batch-time", "20ms"];
    let loader = setting.start(&follow);
    setting.wait_for("select count(*) from later", "1");
    setting
        .database
        .execute("create trigger fill before insert on later for each row execute function fill()");
    setting.produce(&topic, "k:{\"id\":5}\n");
    setting.wait_for("select count(*) from later where v = 'filled'", "1");
    setting.database.execute("alter table later disable trigger fill");
    setting.produce(&topic, "k:{\"id\":6}\nk:{\"id\":7,\"v\":\"y\"}\n");
    setting.wait_for("select count(*) from later", "3");
    loader.signal(rustix::process::Signal::TERM);
    let ended = loader.finish();
    assert!(ended.stderr.contains("offset 5: column v: the value is missing or null"), "{ended:?}");
    assert!(!ended.stderr.contains("offset 4: "), "{ended:?}");
}

#[test]
fn what_is_not_about_a_row_is_never_skipped() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("not-rows", 1);
    setting.produce(&topic, "k:{\"n\":1}\nk:{\"n\":2}\n");
    for (at, code) in ["25001", "42501", "55P03", "XX000", "58030"].into_iter().enumerate() {
        setting.database.execute(&format!(
            "create table t{at}(n int4);
             create function raise{at}() returns trigger language plpgsql as
               $$ begin raise 'not your row' using errcode = '{code}'; end $$;
             create trigger t before insert on t{at} for each row execute function raise{at}()"
        ));
        let table = format!("t{at}");
        let failed = setting.load(&[&topic, "--into", &table, "--on-error", "skip"]).expect_code(1);
        assert!(failed.stderr.contains(&format!("[{code}]")), "{code}: {failed:?}");
        assert!(failed.stderr.contains(&format!("{topic} [0] offsets ")), "{code}: {failed:?}");
    }
}

#[test]
fn what_waiting_does_not_mend_ends_the_run_at_once_with_its_reason() {
    let mut setting = WireLoad::new();
    setting.database.execute("create table t(n int4)");
    let topic = setting.broker.create("unmended", 1);
    let url = setting.database.url();
    for (database, name, value, reason) in [
        ("host=nosuchhost.invalid", "PGOPTIONS", "", "nosuchhost.invalid"),
        (&url, "PGOPTIONS", "-c default_transaction_read_only=on", "[25006]"),
        (&url, "PGREQUIREAUTH", "scram-sha-256", "require_auth is not supported (nor is PGREQUIREAUTH)"),
        (&url, "PGTARGETSESSIONATTRS", "standby", "asks for a server that only reads"),
    ] {
        let mut command = program("kcopy");
        command.args(["load", &topic, "--into", "t", "-b", setting.broker.bootstrap(), "-d", database]);
        let started = Instant::now();
        let failed = run(command.args(["-q", "--timeout", "20s"]).env(name, value));
        assert!(failed.code() != 0 && failed.stderr.contains(reason), "{failed:?}");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}: {failed:?}", started.elapsed());
    }
}

#[test]
fn what_other_workers_commit_lends_no_patience_to_one_that_only_fails() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("patience", 2);
    let lines = |from: u32, until: u32| (from..until).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>();
    // A load that shall end still writes what it has read: batches of Kafka's are small here.
    let small = ["-P", "-t", &topic, "-p", "0", "-X", "batch.num.messages=10"];
    setting.broker.kcat(&small, lines(1, 1001).as_bytes()).expect_success();
    setting.broker.kcat(&["-P", "-t", &topic, "-p", "1"], lines(0, 1).as_bytes()).expect_success();
    setting.database.execute(
        "create table patience(n int4);
         create function refuse() returns trigger language plpgsql as $$ begin
            if new.n = 0 then raise exception 'not now' using errcode = '40001'; end if;
            perform pg_sleep(0.02); return new; end $$;
         create trigger refuse before insert on patience for each row execute function refuse()",
    );
    let into = [topic.as_str(), "--into", "patience", "--connections", "2", "--batch-rows", "1"];
    let ended = setting.load(&[&into[..], &["--timeout", "1s"]].concat()).expect_code(1);
    assert!(
        ended.stderr.contains("not now [40001] (for ") && ended.stderr.contains(": --timeout)"),
        "{ended:?}"
    );
    // It would take 20 s.
    let position = "select next_offset < 1000 from kcopy.offsets where partition = 0";
    assert_eq!(setting.database.value(position), "t", "{ended:?}");
}

#[test]
fn a_topic_is_a_part_of_a_tables_name() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("part-of.It", 1);
    setting.produce(&topic, "k:{\"n\":1}\n");
    setting.database.execute(&format!("create table \"{topic}_c\"(n int4)"));
    setting.load(&[&topic, "--into", "public.{topic}_c"]).expect_success();
    assert_eq!(setting.database.value(&format!("select count(*) from \"{topic}_c\"")), "1");
}

#[test]
fn a_right_to_insert_into_columns_alone_is_told_before_anything_is_read() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("by-column", 1);
    let database = setting.database.value("select current_database()");
    setting.database.execute(&format!(
        "create role by_column login; create table c(n int4, note text); grant insert(n, note) on c to by_column;
         grant create on database {database} to by_column"
    ));
    let url = setting.database.url().replace("postgres@", "by_column@");
    let failed = setting.broker.kcopy("load", &[&topic, "-d", &url, "--into", "c"], b"");
    setting.database.execute("drop owned by by_column; drop role by_column");
    let failed = failed.expect_code(1);
    assert!(failed.stderr.contains("grant INSERT on public.c to by_column"), "{failed:?}");
}

#[test]
fn accepted_losses_leave_no_position_behind_and_name_what_a_group_has_missed() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("fewer", 3);
    setting.database.execute("create table fewer(n int4)");
    setting.produce(&topic, &(0..30).map(|n| format!("k{n}:{{\"n\":{n}}}\n")).collect::<String>());
    setting.load(&[&topic, "--into", "fewer"]).expect_success();
    setting.topic(&["delete", &topic]);
    setting.broker.create("fewer", 1);
    setting.load(&[&topic, "--into", "fewer"]).expect_code(1);
    let accepted = setting.load(&[&topic, "--into", "fewer", "--accept-loss"]).expect_success();
    assert!(accepted.stderr.contains(&format!("{topic} [2] is not there any more")), "{accepted:?}");
    assert_eq!(setting.database.rows("select partition, next_offset from kcopy.offsets"), ["0|0"]);

    let (topic, group) = (setting.broker.create("retained", 1), setting.broker.topic("late"));
    setting.database.execute("create table retained(n int4)");
    setting.produce(&topic, &(0..30).map(|n| format!("k{n}:{{\"n\":{n}}}\n")).collect::<String>());
    setting.broker.kcopy("consume", &[&topic, "--group", &group, "-c", "5"], b"").expect_success();
    setting.topic(&["trim", &topic, "--before", "12"]);
    let import = [topic.as_str(), "--into", "retained", "--import-group", &group];
    let failed = setting.load(&import).expect_code(1);
    assert!(failed.stderr.contains("stands at offset 5, and the log has offsets 12 to 30"), "{failed:?}");
    setting.load(&[&import[..], &["--accept-loss"]].concat()).expect_success();
    assert_eq!(setting.database.value("select count(*) || ' ' || min(n) from retained"), "18 12");
}

#[test]
fn rights_that_positions_need_are_named() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("granted", 2);
    setting.database.execute("create table granted(n int4)");
    setting.produce(&topic, "k:{\"n\":1}\n");
    setting.database.execute("create role ungranted login; grant insert on granted to ungranted");
    let url = setting.database.url().replace("postgres@", "ungranted@");
    let load = |more: &[&str]| {
        let arguments = [&[topic.as_str(), "-d", &url, "--into", "granted"], more].concat();
        setting.broker.kcopy("load", &arguments, b"")
    };
    let without_schema = load(&[]);
    setting.load(&[&topic, "--into", "granted"]).expect_success();
    let without_usage = load(&[]);
    setting.database.execute("grant usage on schema kcopy to ungranted");
    let without_any = load(&[]);
    setting.database.execute("grant select, insert, update on kcopy.offsets to ungranted");
    load(&[]).expect_success();
    setting.topic(&["delete", &topic]);
    setting.broker.create("granted", 1);
    let without_delete = load(&["--accept-loss"]);
    setting.database.execute("drop owned by ungranted; drop role ungranted");
    for (refused, doing) in [
        (without_schema, "let a role with CREATE on the database run this load once, and grant this one "),
        (without_usage, "permission denied for schema kcopy [42501]; its owner can grant this one "),
        (without_any, "reading kcopy.offsets: "),
        (without_delete, "writing kcopy.offsets: "),
    ] {
        let refused = refused.expect_code(1);
        let advice = "USAGE on schema kcopy, and SELECT, INSERT, UPDATE, DELETE on its tables";
        assert!(refused.stderr.contains(doing) && refused.stderr.contains(advice), "{refused:?}");
    }
    // What is not about rights is not said to be.
    setting
        .database
        .execute("drop schema kcopy cascade; create schema kcopy; create domain kcopy.offsets as int4");
    let refused = setting.load(&[&topic, "--into", "granted"]).expect_code(1);
    assert!(
        refused.stderr.contains("already exists") && !refused.stderr.contains("grant this"),
        "{refused:?}"
    );
}

#[test]
fn a_wrong_constant_is_told_before_there_is_any_record() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("constant", 1);
    setting.database.execute("create table constant(n int4, at date)");
    for (columns, reason) in [
        ("n = 'seven'", "--columns: column n: \"seven\" cannot be int4"),
        ("at = '2026-13-01'", "--columns: column at: "),
        ("n, nn = 'x'", "no column nn"),
    ] {
        for way in ["fail", "skip"] {
            let wrong =
                setting.load(&[&topic, "--into", "constant", "--columns", columns, "--on-error", way]);
            let wrong = wrong.expect_code(1);
            assert!(wrong.stderr.contains(reason), "{columns}: {wrong:?}");
        }
    }
    assert_eq!(setting.database.value("select to_regclass('kcopy.offsets') is null"), "t");
    let wrong = ["consume", &topic, "--columns", "n int4 = 'seven'", "-b", setting.broker.bootstrap()];
    let wrong = run(program("kcopy").args(wrong)).expect_code(2);
    assert!(wrong.stderr.contains("--columns: column n: \"seven\" cannot be int4"), "{wrong:?}");
    setting.load(&[&topic, "--into", "constant", "--columns", "n = '7', at"]).expect_success();
}

#[test]
fn a_partition_that_is_not_there_is_an_error() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("parts", 3);
    setting.database.execute("create table parts(n int4)");
    setting.produce(&topic, "k:{\"n\":1}\n");
    let refused = setting.load(&[&topic, "--into", "parts", "-p", "0,9"]).expect_code(1);
    assert!(
        refused.stderr.contains(&format!("topic {topic} has no partition 9: it has 3, 0 to 2")),
        "{refused:?}"
    );
    assert_eq!(setting.database.value("select count(*) from parts"), "0");
    setting.load(&[&topic, "--into", "parts", "-p", "0,2"]).expect_success();
}

#[test]
fn events_that_cannot_be_written_are_a_failure_though_all_is_loaded() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("full", 1);
    setting.database.execute("create table fulled(n int4)");
    setting.produce(&topic, "k:{\"n\":1}\n");
    let mut command = program("kcopy");
    command.args(["load", &topic, "--into", "fulled", "--json", "-b", setting.broker.bootstrap()]);
    command.args(["-d", &setting.database.url()]);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let ended = Running::start_with_stdout(&mut command, full.into()).finish().expect_code(1);
    assert!(ended.stderr.contains("writing events to standard output: "), "{ended:?}");
    assert_eq!(setting.database.value("select count(*) from fulled"), "1");
}

#[test]
fn a_topic_that_is_deleted_ends_a_loader_that_follows() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("deleted", 1);
    setting.database.execute("create table deleted(n int4)");
    let follow = [&topic, "--into", "deleted", "--follow", "--batch-time", "20ms"];
    setting.produce(&topic, "k:{\"n\":1}\n");
    let loader = setting.start(&follow);
    setting.wait_for("select count(*) from deleted", "1");
    // One that comes later is waited for, as long as there is nothing that could be gone.
    let other = setting.broker.topic("later");
    setting.database.execute("create table later(n int4)");
    let waiting = setting.start(&[&other, "--into", "later", "--follow", "--batch-time", "20ms"]);
    setting.topic(&["delete", &topic]);
    for ended in [loader.finish(), setting.start(&follow).finish()] {
        let ended = ended.expect_code(1);
        let last = ended.stderr.lines().last().unwrap_or_default();
        assert!(last.contains(&topic) && last.contains("the topic was deleted"), "{ended:?}");
    }
    setting.topic(&["create", &other, "--partitions", "1"]);
    setting.produce(&other, "k:{\"n\":1}\n");
    setting.wait_for("select count(*) from later", "1");
    waiting.signal(rustix::process::Signal::TERM);
    waiting.finish();
}

#[test]
fn a_column_that_goes_while_it_is_filled_ends_the_run() {
    let mut setting = WireLoad::new();
    let record = |n: u32| format!("k:{{\"n\":{n},\"o\":\"o{n}\"}}\n");
    for (at, change, columns) in [
        (0, "rename n to m", &[][..]),
        (1, "drop column n", &[]),
        (2, "rename n to m", &["--columns", "o, n"]),
        (3, "alter n add generated by default as identity", &[]),
    ] {
        let (topic, table) = (setting.broker.create(&format!("going-{at}"), 1), format!("going{at}"));
        // An identity needs NOT NULL.
        let refuses_null = if at == 3 { "not null" } else { "" };
        setting.database.execute(&format!("create table {table}(n int4 {refuses_null}, o text)"));
        setting.produce(&topic, &record(1));
        let load =
            [&[topic.as_str(), "--into", &table, "--follow", "--batch-time", "20ms"], columns].concat();
        let loader = setting.start(&load);
        let count = format!("select count(*) from {table}");
        setting.wait_for(&count, "1");
        // One that comes does no harm, before and with one that goes.
        setting.database.execute(&format!("alter table {table} add later text"));
        setting.produce(&topic, &record(2));
        setting.wait_for(&count, "2");
        setting.database.execute(&format!("alter table {table} {change}; alter table {table} add more text"));
        setting.produce(&topic, &record(3));
        let ended = loader.finish().expect_code(1);
        let named = format!("table public.{table}: column n, which this run fills, ");
        assert!(ended.stderr.contains(&named) && ended.stderr.contains("start again"), "{change}: {ended:?}");
        assert_eq!(setting.database.value(&count), "2", "{change}");
        let position = format!("select next_offset from kcopy.offsets where topic = '{topic}'");
        assert_eq!(setting.database.value(&position), "2", "{change}");
    }
    // Started again, the table is taken as it is.
    let topic = setting.database.value("select topic from kcopy.offsets where target = 'going1'::regclass");
    setting.load(&[&topic, "--into", "going1"]).expect_success();
    assert_eq!(setting.database.value("select string_agg(o, ' ' order by o) from going1"), "o1 o2 o3");
}

#[test]
fn a_column_that_goes_unseen_before_a_topic_grows_ends_the_run_as_well() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("unseen", 1);
    setting.database.execute("create table unseen(n int4)");
    let follow = ["--into", "unseen", "--follow", "--batch-time", "20ms", "-X", "metadata.max.age.ms=100"];
    let loader = setting.start(&[&[topic.as_str()], &follow[..]].concat());
    setting.produce(&topic, "k:{\"n\":1,\"later\":\"a\"}\n");
    setting.wait_for("select count(*) from unseen", "1");
    setting.database.execute("alter table unseen add later text");
    setting.produce(&topic, "k:{\"n\":2,\"later\":\"b\"}\n");
    setting.wait_for("select count(*) from unseen where later = 'b'", "1");
    // No batch comes that would show it.
    setting.database.execute("alter table unseen drop later");
    setting.topic(&["alter", &topic, "--partitions", "2"]);
    let ended = loader.finish().expect_code(1);
    assert!(ended.stderr.contains("table public.unseen: column later, which this run fills, "), "{ended:?}");
}

#[test]
fn row_security_that_comes_while_a_table_is_filled_is_obeyed() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("secured", 1);
    let database = setting.database.value("select current_database()");
    setting.database.execute(&format!(
        "create role secured login; create table secured(n int4); grant insert, select on secured to secured;
         grant create, temp on database {database} to secured"
    ));
    let url = setting.database.url().replace("postgres@", "secured@");
    let mut command = program("kcopy");
    command.args(["load", &topic, "-b", setting.broker.bootstrap(), "-d", &url, "--into", "secured"]);
    let loader = Running::start(command.args(["--follow", "--batch-time", "20ms", "--on-error", "skip"]));
    setting.produce(&topic, "k:{\"n\":1}\n");
    setting.wait_for("select count(*) from secured", "1");
    setting.database.execute(
        "create policy positive on secured using (true) with check (n > 0);
         alter table secured enable row level security",
    );
    setting.produce(&topic, "k:{\"n\":-2}\nk:{\"n\":3}\n");
    setting.wait_for("select next_offset from kcopy.offsets", "3");
    assert_eq!(setting.database.value("select string_agg(n::text, ' ' order by n) from secured"), "1 3");
    loader.signal(Signal::TERM);
    loader.finish().expect_code(143);
    setting.database.execute("drop owned by secured; drop role secured");
}

#[test]
fn thousands_of_refused_records_in_one_batch_cost_no_locks() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("thousands", 1);
    // Each attempt that failed once held a lock until the end: the server has 64 for each of its 60 connections.
    let lines: String = (0..4500).map(|n| format!("k:{{\"n\":{n}}}\n")).collect();
    setting.produce(&topic, &lines);
    setting.database.execute("create table thousands(n int4 check (n % 1500 = 0))");
    let load = [&topic, "--into", "thousands", "--on-error", "skip"];
    let skipped = setting.load(&load).expect_success();
    assert!(
        skipped.stderr.contains("loaded 4500 records, 4497 of them rejected"),
        "{:?}",
        skipped.lines().last()
    );
    assert_eq!(
        setting.database.value("select string_agg(n::text, ' ' order by n) from thousands"),
        "0 1500 3000"
    );
}

#[test]
fn a_topic_that_is_made_anew_with_fewer_partitions_is_seen_by_a_loader_that_follows() {
    let mut setting = WireLoad::new();
    setting.database.execute("create table fewer(n int4)");
    for accepts in [false, true] {
        let topic = setting.broker.create(&format!("fewer-{accepts}"), 2);
        let mut follow = vec![topic.as_str(), "--into", "fewer", "--follow", "--batch-time", "20ms"];
        follow.extend(["-X", "metadata.max.age.ms=100"]);
        follow.extend(accepts.then_some("--accept-loss"));
        setting.produce(&topic, "a:{\"n\":1}\nb:{\"n\":1}\nc:{\"n\":1}\nd:{\"n\":1}\n");
        let loader = setting.start(&follow);
        let positions = format!("select sum(next_offset) from kcopy.offsets where topic = '{topic}'");
        setting.wait_for("select count(*) from fewer where n = 1", if accepts { "8" } else { "4" });
        // Nobody sees the moment between.
        loader.signal(Signal::STOP);
        setting.topic(&["delete", &topic]);
        setting.topic(&["create", &topic, "--partitions", "1"]);
        setting.produce(&topic, "k:{\"n\":2}\nk:{\"n\":2}\nk:{\"n\":2}\n");
        loader.signal(Signal::CONT);
        if accepts {
            setting.wait_for("select count(*) from fewer where n = 2", "3");
            loader.signal(Signal::TERM);
            let ended = loader.finish().expect_code(143);
            assert!(ended.stderr.contains(" is given up"), "{ended:?}");
            assert_eq!(setting.database.value(&positions), "3");
        } else {
            let ended = loader.finish().expect_code(1);
            assert!(ended.stderr.contains("made anew (id "), "{ended:?}");
            assert_eq!(setting.database.value(&positions), "4");
        }
    }
}
