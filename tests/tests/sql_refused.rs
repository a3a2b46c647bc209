//! `kcopy.load`: what PostgreSQL refuses is told with the record that it was in.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use kcopy_tests::{Loading, installation, run, server_program, sql_quoted};

fn setting() -> Loading {
    let mut loading = Loading::start();
    loading.database.execute(
        "do $$ begin if not exists (select from pg_roles where rolname = 'refused') then create role refused; end if;
         exception when duplicate_object or unique_violation then null; end $$; grant kcopy_loader to refused",
    );
    loading
}

#[test]
fn an_installation_says_that_its_program_is_missing() {
    let mut loading = setting();
    loading.database.execute("set log_min_messages = warning");
    for (path, reason) in
        [("/nowhere/kcopy", "there is no /nowhere/kcopy on"), ("/dev/null/kcopy", "Not a directory")]
    {
        loading.database.execute(&installation(Path::new(path)));
        let log = loading.database.server_log();
        let told = log.lines().filter(|line| line.contains("WARNING") && line.contains(path));
        assert!(told.clone().any(|line| line.contains(reason)), "{:?}", told.collect::<Vec<_>>());
    }
    let program = server_program(&loading.database.folder(), loading.broker.bootstrap());
    loading.database.execute(&installation(&program));
    let log = loading.database.server_log();
    assert!(!log.lines().any(|line| line.contains("WARNING") && line.contains(&*program.to_string_lossy())));
}

#[test]
fn errors_of_postgresql_name_the_record() {
    let mut loading = setting();
    for (n, (name, definition, bad, code, what)) in [
        ("v", "int4range", "[5,1]", "22000", "column v of type int4range"),
        ("v", "int4 check (v < 100)", "100", "23514", ""),
        ("v", "int4 unique", "7", "23505", ""),
        ("v", "varchar(3)", "1234", "22001", "column v of type character varying(3)"),
        ("\"column v: \"", "varchar(3)", "1234", "22001", "column column v:  of type character varying(3)"),
    ]
    .into_iter()
    .enumerate()
    {
        let topic = loading.topic(&format!("refused-{n}"), 2);
        let good = |n: u32| match definition {
            "int4range" => format!("k\t[{n},{}]", n + 1),
            _ => format!("k\t{n}"),
        };
        let mut lines: Vec<String> = (7..20).map(good).collect();
        lines.push(format!("k\t{bad}"));
        loading.produce(&topic, 0, &[&good(30)]);
        loading.produce(&topic, 1, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        loading.database.execute(&format!(
            "reset role; drop table if exists t; create table t(partition int, {name} {definition}, \"offset\" int8,
                                                                primary key (partition, \"offset\"));
             grant insert, select, update, delete on t to refused"
        ));
        // Straight into the table, and through a stage.
        for (role, mode) in [("postgres", "append"), ("postgres", "upsert"), ("refused", "append")] {
            loading.database.execute(&format!("set role {role}"));
            let columns = format!("partition, {name} = value, offset");
            let error = loading.error(&format!("'{topic}', 't', columns => '{columns}', mode => '{mode}'"));
            assert_eq!(error.code, code, "{error:?}");
            let place = format!("\n{topic} [1] offset 13");
            assert!(error.message.contains(&place), "{definition} {role} {mode}: {error:?}");
            if (role, mode) == ("postgres", "append") {
                assert!(error.message.contains(what), "{definition}: {error:?}");
            }
            // What PostgreSQL itself has to say is still there.
            if code.starts_with("23") {
                assert!(error.message.contains("; "), "{error:?}");
            }
        }
        // Nothing is left behind, and the next load begins where this one did.
        assert_eq!(loading.positions(), Vec::<String>::new());
        let skip =
            format!("'{topic}', 't', columns => 'partition, {name} = value, offset', on_error => 'skip'");
        assert_eq!(loading.load(&skip), ["0|1|0|1", "1|13|1|14"], "{definition}");
        loading.database.execute("reset role; delete from kcopy.offsets");
    }
}

#[test]
fn errors_behind_the_last_row_name_the_records_that_came() {
    let mut loading = setting();
    let topic = loading.topic("orphans", 6);
    loading.produce(&topic, 3, &["k\t1"]);
    loading.database.execute(
        "create table parent(id int4 primary key); insert into parent values (1);
         create table t(v int4 references parent); grant insert, select, references on t, parent to refused",
    );
    let call = "'orphans', 't', columns => 'v = value'";
    assert_eq!(loading.load(call).len(), 6);
    loading.produce(&topic, 3, &["k\t2"]);
    let after = "create or replace function no() returns trigger language plpgsql as
                     $$ begin if new.v = 2 then raise exception 'no'; end if; return null; end $$;
                 create trigger \"A\" after insert on t for each row execute function public.no()";
    let statement = "drop trigger \"A\" on t; create function nothing() returns trigger language plpgsql as
                         $$ begin return null; end $$;
                     create trigger yes before insert on t execute function public.nothing()";
    for (changed, code, told) in [
        ("", "23503", "; Key (v)=(2) is not"),
        (after, "P0001", "; PL/pgSQL function public.no()"),
        (statement, "23503", "; Key (v)=(2) is not"),
    ] {
        loading.database.execute(&format!("reset role; {changed}"));
        for role in ["postgres", "refused"] {
            loading.database.execute(&format!("set role {role}"));
            let error = loading.error(call);
            assert_eq!(error.code, code, "{error:?}");
            let told = format!("\norphans [3] offset 1{told}");
            assert!(error.message.contains(&told), "{role}: {error:?}");
        }
    }
    loading.database.execute("set role postgres");
    loading.produce(&topic, 3, &["k\t1"]);
    for partition in [0, 1, 2, 5] {
        loading.produce(&topic, partition, &["k\t1"]);
    }
    let error = loading.error(call);
    let told = "\none of orphans [0] offsets 0 to 0, orphans [1] offsets 0 to 0, orphans [2] offsets 0 to 0, \
                orphans [3] offsets 1 to 2 and of 1 more partitions; Key (v)=(2) is not";
    assert!(error.message.contains(told), "{error:?}");
}

#[test]
fn errors_that_are_about_no_record_stay_as_they_are() {
    let mut loading = setting();
    let topic = loading.topic("ended", 1);
    loading.produce(&topic, 0, &["k\t1"]);
    let log = loading.database.folder().join("log");
    fs::write(&log, "").expect("a log");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("a log for the server");
    let program = server_program(&loading.database.folder(), loading.broker.bootstrap());
    let script = fs::read_to_string(&program).expect("the program");
    let logging = format!("#!/bin/sh\necho \"$*\" >> {}\n", log.display());
    fs::write(&program, script.replace("#!/bin/sh\n", &logging)).expect("the program");
    for (code, per, has_place) in [
        ("40001", "row", false),
        ("57014", "row", false),
        ("P0001", "row", true),
        ("P0004", "row", true),
        ("P0002", "statement", false),
    ] {
        loading.database.execute(&format!(
            "reset role; drop table if exists t; create table t(v text); create or replace function no() returns trigger language plpgsql as
                 $$ begin raise exception 'no' using errcode = '{code}', detail = 'a detail', hint = 'a hint'; end $$;
             create trigger no before insert on t for each {per} execute function public.no();
             grant insert on t to refused"
        ));
        for role in ["postgres", "refused"] {
            loading.database.execute(&format!("set role {role}"));
            let error = loading.error("'ended', 't', columns => 'v = value'");
            assert_eq!(error.code, code, "{error:?}");
            let detail = match has_place {
                true => "ended [0] offset 0; a detail; PL/pgSQL function no() line 1 at RAISE",
                false => "a detail",
            };
            let detail = detail.replace("function no()", "function public.no()");
            assert_eq!(error.message, format!("no\n{detail}"), "{role}: {error:?}");
        }
    }
    // However it ended, no report stays behind.
    let log = fs::read_to_string(&log).expect("the log of the program");
    let reports: Vec<&str> =
        log.split_whitespace().filter_map(|word| word.strip_prefix("--report=")).collect();
    assert_eq!(reports.len(), 10, "{log}");
    for report in reports {
        assert!(!Path::new(report).exists(), "{report}");
    }
}

#[test]
fn errors_of_copy_name_the_record_in_other_languages() {
    let mut loading = Loading::start();
    loading.database.execute("create table t(v int4)");
    for (context, expected) in [
        ("COPY t, line 2, column v: \"x\"", "topic [3] offset 11: column v of type integer: \"x\""),
        ("COPY t, line 2", "topic [3] offset 11"),
        ("SQL function\nCOPY a, b, line 3: \"1, line 5\"", "topic [3] offset 12: \"1, line 5\""),
        ("COPY t, Zeile 2, Spalte v: »x«", "topic [3] offset 11: Spalte v: »x«"),
        ("COPY t, ligne 1 : « x »", "topic [3] offset 10: « x »"),
        ("COPY t, строка 5", "topic [3] offset 14"),
        ("COPY t, rad 12, kolumn v", "topic [3] offset 21: kolumn v"),
        ("COPY t, line 16", "∅"),
        ("SQL statement \"COPY t, line 2\"", "∅"),
    ] {
        let quoted = sql_quoted(context);
        let taken = r#"{"written": [[1, "topic", 3, 10, 15]]}"#;
        let place = format!("select kcopy.place_of({quoted}, '{taken}', 't')");
        assert_eq!(loading.database.value(&place), expected, "{context}");
    }
}

#[test]
fn an_interval_of_other_units_is_refused() {
    let mut loading = Loading::start();
    let topic = loading.topic("fields", 1);
    loading.produce(&topic, 0, &["k\t{\"i\":\"90\"}"]);
    loading.database.execute(
        "create domain lasting as interval year; create table a(i interval minute); create table b(i lasting);
         create table d(i lasting[]); create table e(i interval month[]); create table c(i interval day to second)",
    );
    for table in ["a", "b", "d", "e"] {
        let error = loading.error(&format!("'{topic}', '{table}'"));
        assert!(
            error.code == "0A000" && error.message.contains("which kcopy.load does not fill"),
            "{error:?}"
        );
    }
    assert_eq!(loading.load(&format!("'{topic}', 'c'")), ["0|1|0|1"]);
    assert_eq!(loading.database.value("select i from c"), "00:01:30");
}

#[test]
fn an_upgrade_knows_its_tables_whatever_the_session_says() {
    let mut loading = setting();
    let program = server_program(&loading.database.folder(), loading.broker.bootstrap());
    loading.database.execute("set quote_all_identifiers = on; set search_path = nowhere");
    loading.database.execute(&installation(&program));
    let topic = loading.topic("quoted", 1);
    loading.produce(&topic, 0, &["k\t1"]);
    loading.database.execute("create table public.quoted(value int4)");
    assert_eq!(loading.load(&format!("{}, 'public.quoted'", sql_quoted(&topic))), ["0|1|0|1"]);
}

#[test]
fn what_is_said_of_a_call_is_about_its_own_arguments() {
    let mut loading = setting();
    let topic = loading.topic("arguments", 3);
    loading.produce(&topic, 0, &["k\t1"]);
    loading.database.execute(
        "create table arguments(key text, value text);
         create table late(key text primary key deferrable, value text)",
    );
    let to = |table: &str, more: &str| format!("{}, '{table}', {more}", sql_quoted(&topic));
    for start in ["committed", "stored"] {
        let error = loading.error(&to("arguments", &format!("start => '{start}'")));
        assert!(
            error.message.starts_with(&format!("\"{start}\" is a position of a consumer group")),
            "{error:?}"
        );
    }
    let error = loading.error(&to("late", "mode => 'upsert'"));
    assert!(
        error.message.contains("the primary key of public.late is DEFERRABLE, or WITHOUT OVERLAPS, and"),
        "{error:?}"
    );
    // Arrays of other dimensions are lists as well.
    let loaded = loading.load(&to("arguments", "partitions => '{{0,1},{2,2}}'"));
    assert_eq!(loaded, ["0|1|0|1", "1|0|0|0", "2|0|0|0"]);
    for partitions in ["{}", "{0,NULL}"] {
        let error = loading.error(&to("arguments", &format!("partitions => '{partitions}'")));
        assert_eq!(error.message.trim_end(), "partitions names no partition");
    }
    loading.broker.kcat(&["-P", "-t", &topic, "-p", "0"], b"\xff\n").expect_success();
    let error = loading.error(&to("arguments", "columns => 'key, value'"));
    assert!(error.message.trim_end().ends_with("byte 0xff at position 0 is not valid UTF-8"), "{error:?}");
    loading.load(&to("arguments", "columns => 'key, value', on_error => 'skip'"));
    assert!(loading.database.value("select reason from kcopy.rejected").ends_with("is not valid UTF-8"));
}

#[test]
fn a_report_has_a_place_whatever_tmpdir_says() {
    let mut loading = setting();
    let report = "5c9d2b1e-0f8a-4a62-9d7e-0123456789ab";
    let word = loading.database.value(&format!("select kcopy.report_path('{report}')"));
    let folder = loading.database.folder().join("odd % $(false) folder");
    fs::create_dir(&folder).expect("a folder");
    let folder = folder.to_str().expect("UTF-8");
    for (tmpdir, place) in [(folder, folder), ("/nowhere", "/tmp"), ("/dev/null", "/tmp"), ("", "/tmp")] {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("printf %s {word}")).env("TMPDIR", tmpdir);
        assert_eq!(run(&mut shell).expect_success().text(), format!("{place}/kcopy-{report}"));
    }
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("printf %s {word}")).env_remove("TMPDIR");
    assert_eq!(run(&mut shell).expect_success().text(), format!("/tmp/kcopy-{report}"));
}
