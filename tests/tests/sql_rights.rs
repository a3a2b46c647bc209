//! A function that may run programs never runs its caller's code, and its caller gets no more than a topic's rows.

use std::process::Command;

use kcopy_tests::{Database, Loading, installation, program, run, run_with, server_program, skipped};

/// A caller with nothing but `kcopy_loader` and a schema of his own, where he may make whatever he likes.
fn setting() -> Loading {
    let mut loading = Loading::start();
    loading.database.execute(
        "do $$ begin if not exists (select from pg_roles where rolname = 'mallory') then create role mallory; end if;
         exception when duplicate_object or unique_violation then null; end $$;
         grant kcopy_loader to mallory;
         create schema mallory authorization mallory;
         create table public.seen(who text, may_run bool);
         grant insert, select on public.seen to public",
    );
    let topic = loading.topic("bait", 1);
    loading.produce(&topic, 0, &["a\t1", "b\t2"]);
    loading.database.execute("set role mallory; set search_path = mallory, public");
    loading
}

/// What code of the caller's notes about whom it runs as.
const SPY: &str = "create function mallory.spy() returns bool language plpgsql as $$
    begin
        insert into public.seen values (current_user, pg_catalog.pg_has_role('pg_execute_server_program', 'usage'));
        return true;
    end $$;";

fn assert_only_mallory(database: &mut Database, what: &str) {
    let seen = database.rows("reset role; select distinct who, may_run from public.seen");
    assert_eq!(seen, ["mallory|f"], "{what}");
}

#[test]
fn code_that_hangs_on_the_target_runs_as_the_caller() {
    for (what, definition) in [
        (
            "trigger",
            "create table t(v text);
             create function hook() returns trigger language plpgsql as $$ begin perform mallory.spy(); return new; end $$;
             create trigger hook before insert on t for each row execute function hook()",
        ),
        ("default", "create table t(v text, x bool default mallory.spy())"),
        ("check", "create table t(v text check (mallory.spy()))"),
        ("domain", "create domain d as text check (mallory.spy()); create table t(v d)"),
        (
            "index expression",
            "create table t(v text);
             create function keyed(text) returns text language plpgsql immutable as $$ begin perform mallory.spy(); return $1; end $$;
             create index on t (keyed(v))",
        ),
        (
            "generated column",
            "create function made(text) returns text language plpgsql immutable as $$ begin perform mallory.spy(); return $1; end $$;
             create table t(v text, x text generated always as (made(v)) stored)",
        ),
        (
            "row security",
            "create table t(v text); alter table t enable row level security; alter table t force row level security;
             create policy p on t using (true) with check (mallory.spy())",
        ),
        ("rule", "create table t(v text); create rule r as on insert to t do also select mallory.spy()"),
        (
            "partition",
            "create function part(text) returns text language plpgsql immutable as $$ begin perform mallory.spy(); return $1; end $$;
             create table t(v text) partition by list (part(v)); create table t1 partition of t default",
        ),
        (
            "cast of the type",
            "create type pair as (a text);
             create function pair(text) returns pair language plpgsql as $$ begin perform mallory.spy(); return row($1); end $$;
             create cast (text as pair) with function pair(text) as assignment; create table t(v pair)",
        ),
    ] {
        let mut loading = setting();
        loading.database.execute(SPY);
        loading.database.execute(definition);
        assert_eq!(loading.load("'bait', 'mallory.t', columns => 'v = value'"), ["0|2|0|2"], "{what}");
        assert_only_mallory(&mut loading.database, what);
    }
}

#[test]
fn what_the_caller_puts_in_the_way_is_not_found() {
    let mut loading = setting();
    loading.database.execute(SPY);
    // Functions, operators and casts that would be found first if anything looked outside of pg_catalog.
    loading.database.execute(
        "create table t(v text);
         create temp table offsets(x int); create temp table pg_class(x int); create temp table pg_attribute(x int);
         create function pg_temp.replace(text, text, text) returns text language plpgsql as $$ begin perform mallory.spy(); return $1; end $$;
         create function pg_temp.gen_random_uuid() returns uuid language sql as $$ select null::uuid $$;
         create function mallory.equal(text, text) returns bool language plpgsql as $$ begin perform mallory.spy(); return true; end $$;
         create operator mallory.= (leftarg = text, rightarg = text, function = mallory.equal);
         create operator mallory.|| (leftarg = text, rightarg = text, function = mallory.equal);
         create domain mallory.int4 as text; create domain mallory.text as pg_catalog.text check (mallory.spy());
         set search_path = mallory, pg_temp, public, pg_catalog",
    );
    assert_eq!(loading.load("'bait', 'mallory.t', columns => 'v = value'"), ["0|2|0|2"]);
    loading.database.execute("reset role; set search_path = pg_catalog");
    assert_eq!(loading.database.rows("select who from public.seen"), Vec::<String>::new());
}

#[test]
fn stages_are_new_and_belong_to_the_program() {
    let mut loading = setting();
    let stage =
        "from kcopy.stage('mallory', 'v = value', array['text'], 'bait', null, '', 'beginning', null, 'fail',
                                  null, null, null, false, false, false, 'text')";
    loading.database.execute("begin");
    let name = loading.database.value(&format!("select stage {stage}"));
    assert_eq!(loading.database.rows(&format!("select * from pg_temp.{name}")), ["1", "2"]);
    for change in [
        "insert into pg_temp.# values ('x')",
        "alter table pg_temp.# add x int",
        "drop table pg_temp.#",
        "create trigger t before insert on pg_temp.# execute function pg_catalog.suppress_redundant_updates_trigger()",
    ] {
        loading.database.execute("savepoint s");
        let error = loading.database.error(&change.replace('#', &name));
        assert_eq!(error.code, "42501", "{change}");
        loading.database.execute("rollback to s");
    }
    loading.database.execute(&format!("select kcopy.unstage('{name}'); rollback"));
    // Only stages can be dropped, and only the program's.
    let mine = format!("kcopy_stage_{:032}", 0);
    loading.database.execute(&format!("create temp table {mine}(x int); create temp table other(x int)"));
    assert_eq!(loading.database.error(&format!("select kcopy.unstage('{mine}')")).code, "42501");
    assert_eq!(loading.database.error("select kcopy.unstage('other')").code, "22023");
    assert_eq!(loading.database.error("select kcopy.unstage('x; drop table other')").code, "22023");
    // A stage has no type with code of the caller's.
    loading.database.execute("create domain mallory.text as pg_catalog.text");
    for ty in
        ["mallory.text", "regclass", "text, x int default 1", "record", "text[][]", "int4; select 1", "_text"]
    {
        let hostile = stage.replace("array['text']", &format!("array['{ty}']"));
        let error = loading.database.error(&format!("select stage {hostile}"));
        assert!(["22023", "42601", "42704"].contains(&error.code.as_str()), "{ty}: {error:?}");
    }
}

#[test]
fn hostile_arguments_stay_what_they_are() {
    let mut loading = setting();
    let folder = loading.database.folder();
    let pwned = folder.join("pwned");
    let touch = format!("touch {}", pwned.display());
    loading.database.execute("create table t(v text)");
    let words = [
        format!("x; {touch}"),
        format!("x' ; {touch} ; '"),
        format!("$({touch})"),
        format!("`{touch}`"),
        format!("x\n{touch}\n"),
        format!("\\'; {touch} #"),
        format!("x'' ; {touch}; ''"),
        format!("| {touch} &"),
        "--report=/tmp/mine".to_owned(),
        "-b evil:9092".to_owned(),
        "'); drop table t; --".to_owned(),
        "E'\\'".to_owned(),
        "$$; drop table t; $$".to_owned(),
        "%s%I%L%1$s".to_owned(),
    ];
    for word in &words {
        for conforming in ["on", "off"] {
            loading.database.execute(&format!("set standard_conforming_strings = {conforming}"));
            let quoted = word.replace('\'', "''");
            let quoted = format!("E'{}'", quoted.replace('\\', "\\\\"));
            for arguments in [
                format!("{quoted}, 't', columns => 'v = value'"),
                format!("'bait', 't', columns => {quoted}"),
                format!("'bait', 't', columns => 'v = ' || {quoted}"),
                format!("'bait', 't', columns => 'v ' || {quoted} || ' = value'"),
                format!("'bait', 't', columns => 'v = value', start => {quoted}"),
                format!("'bait', 't', columns => 'v = value', mode => {quoted}"),
                format!("'bait', 't', columns => 'v = value', on_error => {quoted}"),
            ] {
                loading.error(&arguments);
            }
            // What is a constant is loaded as it is, if it can be at all.
            let constant =
                format!("'bait', 't', columns => 'v = ''' || replace({quoted}, '''', '''''') || ''''");
            loading.database.execute("truncate t; begin");
            assert_eq!(loading.load(&constant), ["0|2|0|2"], "{word}");
            assert_eq!(
                loading.database.value(&format!("select count(*) from t where v = {quoted}")),
                "2",
                "{word}"
            );
            loading.database.execute("rollback");
            let stage = format!(
                "select kcopy.stage({quoted}, {quoted}, array['text'], 'bait', null, {quoted}, {quoted}, {quoted}, {quoted},
                                    null, null, null, false, false, false, 'text')"
            );
            loading.database.error(&stage);
            loading.database.error(&format!("select * from kcopy.reset('bait', 't', {quoted})"));
            loading.database.error(&format!("select * from kcopy.reset({quoted}, 't', 'end')"));
        }
    }
    assert!(!pwned.exists());
    assert_eq!(loading.database.value("select count(*) from t"), "0");
    for topic in ["", ".", "..", "a/b", "a b", "ä", "-x y", &"a".repeat(250)] {
        assert_eq!(
            loading.error(&format!("'{topic}', 't', columns => 'v = value'")).code,
            "22023",
            "{topic}"
        );
    }
}

#[test]
fn nobody_gets_more_than_he_was_given() {
    let mut loading = setting();
    loading.database.execute("reset role; create table t(v text); create table closed(v text); grant insert, select on t to mallory;
        do $$ begin if not exists (select from pg_roles where rolname = 'nobody') then create role nobody; end if;
        exception when duplicate_object or unique_violation then null; end $$");
    // Without the role there is nothing at all.
    loading.database.execute("set role nobody");
    for call in [
        "kcopy.load('bait', 't')",
        "kcopy.lag()",
        "kcopy.offsets",
        "kcopy.rejected",
        "kcopy.progress",
        "kcopy.stage('nobody', 'value', array['text'], 'bait', null, '', 'end', null, 'fail', null, null, null, false, false, false, 'text')",
    ] {
        assert_eq!(loading.database.error(&format!("select * from {call}")).code, "42501", "{call}");
    }
    // With it, only targets that he may insert into; and no program.
    loading.database.execute(
        "reset role; select * from kcopy.load('bait', 'closed', columns => 'v = value'); set role mallory",
    );
    assert_eq!(loading.error("'bait', 'closed', columns => 'v = value'").code, "42501");
    assert_eq!(loading.database.rows("select * from kcopy.offsets"), Vec::<String>::new());
    assert_eq!(loading.database.rows("select * from kcopy.progress"), Vec::<String>::new());
    assert_eq!(loading.database.count("update kcopy.offsets set next_offset = 0"), 0);
    assert_eq!(loading.database.count("delete from kcopy.offsets"), 0);
    let foreign =
        "insert into kcopy.offsets(target, topic, partition, next_offset) values ('closed', 'bait', 9, 0)";
    assert_eq!(loading.database.error(foreign).code, "42501");
    assert_eq!(loading.database.error("select * from kcopy.reset('bait', 'closed', 'end')").code, "42501");
    assert_eq!(
        loading
            .database
            .error("select * from kcopy.copy_from('t', 'id', 'text', gen_random_uuid(), null)")
            .code,
        "42501"
    );
    assert_eq!(loading.database.error("select kcopy.take_report(gen_random_uuid())").code, "42501");
    assert_eq!(
        loading.database.error("create function kcopy.x() returns int language sql as 'select 1'").code,
        "42501"
    );
    assert_eq!(loading.load("'bait', 't', columns => 'v = value'"), ["0|2|0|2"]);
    // Two functions have other rights than their callers'; both belong to a role that nobody can be.
    assert_eq!(
        loading.database.rows(
            "reset role; select proname, proowner::regrole, proconfig from pg_proc
              where prosecdef and pronamespace = 'kcopy'::regnamespace order by 1"
        ),
        [
            "stage|kcopy_program|{\"search_path=pg_catalog, pg_temp\"}",
            "unstage|kcopy_program|{\"search_path=pg_catalog, pg_temp\"}"
        ]
    );
    assert_eq!(loading.database.value("select count(*) from pg_proc, aclexplode(proacl) where pronamespace = 'kcopy'::regnamespace and grantee = 0"), "0");
}

#[test]
fn it_is_installed_again_and_removed() {
    let mut loading = setting();
    let path = server_program(&loading.database.folder(), loading.broker.bootstrap());
    loading.database.execute("reset role; create table t(v text); grant insert, select on t to mallory");
    loading.load("'bait', 't', columns => 'v = value', max_rows => 1");
    // Another version is noticed, and the upgrade keeps positions and grants.
    loading.database.execute(
        "create or replace function kcopy.version() returns text language sql immutable
        set search_path = pg_catalog, pg_temp as $$ select '0.0.1'::text $$",
    );
    let error = loading.error("'bait', 't', columns => 'v = value'");
    assert_eq!(error.code, "55000", "{error:?}");
    assert!(error.message.contains("these functions are of 0.0.1"), "{error:?}");
    loading.database.execute(&installation(&path));
    loading.database.execute("set role mallory");
    assert_eq!(loading.load("'bait', 't', columns => 'v = value'"), ["0|1|0|2"]);
    // A program that is not there.
    loading
        .database
        .execute(&format!("reset role; {}", installation(std::path::Path::new("/nowhere/kcopy"))));
    let error = loading.error("'bait', 't', columns => 'v = value'");
    assert_eq!(error.code, "38000", "{error:?}");
    assert!(error.message.contains("cannot be run: /nowhere/kcopy"), "{error:?}");

    let uninstall = run(program("kcopy").args(["sql", "--uninstall"])).expect_success();
    // What depends on it is not dropped.
    loading.database.execute("create view mine as select * from kcopy.offsets");
    assert_eq!(loading.database.error(uninstall.text()).code, "2BP01");
    loading.database.execute("rollback; drop view mine");
    loading.database.execute(uninstall.text());
    assert_eq!(loading.database.value("select count(*) from pg_namespace where nspname = 'kcopy'"), "0");
    loading.database.execute(uninstall.text());
}

#[test]
fn an_upgrade_keeps_what_others_were_granted_and_have_made() {
    let mut loading = setting();
    let path = server_program(&loading.database.folder(), loading.broker.bootstrap());
    let facts = "select proname, pg_get_function_arguments(oid), pg_get_function_result(oid), prosrc, proowner::regrole
                   from pg_proc where pronamespace = 'kcopy'::regnamespace order by 1";
    loading.database.execute(
        "reset role; do $$ begin if not exists (select from pg_roles where rolname = 'mon') then create role mon; end if;
         exception when duplicate_object or unique_violation then null; end $$",
    );
    let fresh = loading.database.rows(facts);
    // As an earlier version may have left it: other results and names of arguments, and functions that are gone.
    loading.database.execute(
        "drop function kcopy.version(); create function kcopy.version() returns int language sql as 'select 1';
         drop function kcopy.base_type; create procedure kcopy.base_type(a oid) language sql as '';
         create function kcopy.lag(int) returns int language sql as 'select 1';
         create function kcopy.gone() returns int language sql as 'select 1';
         alter function kcopy.program() owner to mon;
         create table t(v text);
         create schema mon; grant usage on schema kcopy to mon;
         grant execute on function kcopy.lag(text, regclass), kcopy.version() to mon;
         grant execute on function kcopy.version() to mon with grant option;
         grant select on kcopy.progress to mon with grant option;
         create view mon.progress as select * from kcopy.progress;
         create view mon.lag as select * from kcopy.lag()",
    );
    let before = "select has_function_privilege('mon', 'kcopy.lag(text, regclass)', 'execute'),
                         has_function_privilege('mon', 'kcopy.version()', 'execute with grant option'),
                         has_function_privilege('mon', 'kcopy.load(text, regclass, text, int[], text, text, text, bigint, bigint, interval, bool, bool)', 'execute'),
                         has_table_privilege('mon', 'kcopy.progress', 'select with grant option')";
    assert_eq!(loading.database.value(before), "t|t|f|t");
    for _ in 0..2 {
        loading.database.execute(&installation(&path));
        assert_eq!(loading.database.value(before), "t|t|f|t");
        assert_eq!(loading.database.rows(facts), fresh);
    }
    assert_eq!(loading.database.value("select count(*) from mon.lag, mon.progress"), "0");
    assert_eq!(loading.load("'bait', 't', columns => 'v = value'"), ["0|2|0|2"]);
    // Where something depends on what must be replaced, nothing happens.
    loading.database.execute(
        "create function kcopy.gone() returns int language sql as 'select 1';
         create view mon.gone as select kcopy.gone()",
    );
    assert_eq!(loading.database.error(&installation(&path)).code, "2BP01");
    loading.database.execute("rollback; drop schema mon cascade");
}

#[test]
fn other_databases_keep_what_they_have_when_it_is_removed_here() {
    let mut loading = setting();
    let mut other = Database::create();
    let path = server_program(&loading.database.folder(), loading.broker.bootstrap());
    other.execute(&installation(&path));
    let kept = loading.database.value("reset role; select quote_ident(current_database())");
    let removed = other.value("select quote_ident(current_database())");
    let grants = format!(
        "select datname, datacl::text from pg_database where datname in ('{kept}', '{removed}') order by datname <> '{kept}'"
    );
    loading.database.execute(&format!(
        "revoke all on database {kept} from public; grant connect on database {kept} to kcopy_loader;
         create table t(v text); grant insert on t to mallory"
    ));
    other.execute("create table mine(x int); alter table mine owner to kcopy_loader");
    let before = loading.database.rows(&grants);
    assert!(before[1].contains("kcopy_program"), "{before:?}");
    let uninstall = run(program("kcopy").args(["sql", "--uninstall"])).expect_success();
    other.execute(uninstall.text());
    let after = loading.database.rows(&grants);
    assert_eq!(after[0], before[0]);
    assert!(!after[1].contains("kcopy_program"), "{after:?}");
    assert_eq!(other.value("select count(*) from mine"), "0");
    loading.database.execute("set role mallory");
    assert_eq!(loading.load("'bait', 't', columns => 'v = value'"), ["0|2|0|2"]);
}

#[test]
fn a_schema_that_somebody_else_prepared_is_refused() {
    let loading = setting();
    let script = installation(std::path::Path::new("/usr/bin/true"));
    for prepared in [
        "create schema kcopy authorization mallory",
        "create schema kcopy; create table kcopy.offsets(x int); alter table kcopy.offsets owner to mallory",
        "create schema kcopy; create table kcopy.offsets(x int);
         create function public.hook() returns trigger language plpgsql as 'begin return new; end';
         create trigger t before insert on kcopy.offsets execute function public.hook()",
    ] {
        let mut fresh = Database::create();
        fresh.execute(prepared);
        let error = fresh.error(&script);
        assert!(error.message.contains("a superuser's"), "{prepared}: {error:?}");
    }
    drop(loading);
}

#[test]
fn prepared_tables_that_are_not_ours_are_refused() {
    let loading = setting();
    let script = installation(std::path::Path::new("/usr/bin/true"));
    let mut fresh = Database::create();
    fresh.execute(&script);
    // What an administrator may add is no reason.
    fresh.execute(
        "alter table kcopy.rejected add seen_by text; create index on kcopy.rejected (at);
         grant select on kcopy.offsets to public",
    );
    fresh.execute(&script);
    for (changed, told) in [
        ("create policy p on kcopy.offsets using (false)", "offsets has the policy p"),
        ("create rule r as on update to kcopy.offsets do instead nothing", "offsets has the rule r"),
        ("alter table kcopy.offsets drop constraint offsets_pkey", "offsets lacks its primary key"),
        (
            "alter table kcopy.offsets drop constraint offsets_pkey, add primary key (target, topic, partition) deferrable",
            "offsets lacks its primary key",
        ),
        ("alter table kcopy.offsets drop leader_epoch", "offsets lacks the column leader_epoch integer"),
        (
            "alter table kcopy.offsets drop constraint offsets_pkey; alter table kcopy.offsets alter topic drop not null",
            "column topic text NOT NULL",
        ),
        (
            "alter table kcopy.rejected alter reason type varchar(10)",
            "rejected lacks the column reason text NOT NULL",
        ),
        ("create table kcopy.child() inherits (kcopy.offsets)", "offsets inherits, or is inherited from"),
        ("create table parent(topic text); alter table kcopy.offsets inherit parent", "offsets inherits, or"),
        ("alter table kcopy.offsets alter rows set default random()", "on its column rows"),
        (
            "alter table kcopy.rejected add x text default 'x'",
            "rejected has a default, or NOT NULL, on its column x",
        ),
        ("alter table kcopy.offsets add check (random() < 2)", "offsets has the constraint offsets_check"),
        ("create index i on kcopy.rejected (lower(topic))", "rejected has the index kcopy.i"),
        ("create statistics s on topic, partition from kcopy.offsets", "offsets has the statistics s"),
        ("alter table kcopy.offsets set unlogged", "offsets is no ordinary, logged table"),
        ("grant trigger on kcopy.offsets to mallory", "offsets gives TRIGGER to mallory"),
        ("grant create on schema kcopy to public", "the schema gives CREATE to PUBLIC"),
    ] {
        fresh.execute(&format!("begin; {changed}"));
        let error = fresh.error(&script.replacen("BEGIN;", "", 1));
        fresh.execute("rollback");
        assert!(error.message.contains("not as kcopy makes them"), "{changed}: {error:?}");
        assert!(error.message.contains(told), "{changed}: {error:?}");
    }
    fresh.execute(&script);
    drop(loading);
}

#[test]
fn psql_does_not_call_a_refused_installation_a_success() {
    if Command::new("psql").arg("--version").output().is_err() {
        return skipped("psql_does_not_call_a_refused_installation_a_success", "there is no psql");
    }
    let loading = setting();
    let mut fresh = Database::create();
    let psql = |script: &str, more: &[&str], url: &str| {
        run_with(Command::new("psql").args(["-X", "-q", "-d", url]).args(more), script.as_bytes())
    };
    let script = installation(std::path::Path::new("/usr/bin/true"));
    let uninstall = run(program("kcopy").args(["sql", "--uninstall"])).expect_success();
    fresh.execute("create schema kcopy authorization mallory");
    let refused = psql(&script, &[], &fresh.url()).expect_code(2);
    assert!(
        refused.stderr.contains("WARNING:  NOTHING WAS INSTALLED: the first error above says why"),
        "{refused:?}"
    );
    // Also where psql gives each statement a savepoint, and would commit what an error has left out.
    let rollback = ["-v", "ON_ERROR_ROLLBACK=on"];
    let passed_over = psql(&script, &rollback, &fresh.url()).expect_code(2);
    assert!(
        passed_over.stderr.contains("nothing will be installed: each statement is in a savepoint"),
        "{passed_over:?}"
    );
    assert_eq!(
        fresh.value("select count(*) from pg_proc where pronamespace = to_regnamespace('kcopy')"),
        "0"
    );
    let refused = psql(&script, &["-v", "ON_ERROR_STOP=1"], &fresh.url()).expect_code(3);
    assert!(!refused.stderr.contains("NOTHING WAS INSTALLED"), "{refused:?}");
    fresh.execute("drop schema kcopy");
    // The path is what it is, whatever the client's encoding.
    let accented = installation(std::path::Path::new("/opt/é/kcopy"));
    psql(&format!("set client_encoding = latin1;\n{accented}"), &[], &fresh.url()).expect_success();
    assert_eq!(fresh.value("select kcopy.program()"), "/opt/é/kcopy");
    // Again in one session: what it says is about the last time.
    psql(&format!("{script}{script}"), &[], &fresh.url()).expect_success();
    fresh.execute("create view mine as select * from kcopy.offsets");
    let refused = psql(&(script + uninstall.text()), &[], &fresh.url()).expect_code(2);
    assert!(refused.stderr.contains("NOTHING WAS REMOVED"), "{refused:?}");
    fresh.execute("drop view mine");
    let passed_over = psql(uninstall.text(), &rollback, &fresh.url()).expect_code(2);
    assert!(passed_over.stderr.contains("nothing will be removed: each statement"), "{passed_over:?}");
    psql(uninstall.text(), &[], &fresh.url()).expect_success();
    assert_eq!(fresh.value("select count(*) from pg_namespace where nspname = 'kcopy'"), "0");
    drop(loading);
}

#[test]
fn an_event_trigger_finds_nothing_of_the_callers() {
    let mut loading = setting();
    loading.database.execute(&format!(
        "reset role; set search_path = public; create table public.t(v text); grant insert, select on t to mallory;
         create table public.ddl_log(tag text); grant insert on ddl_log to public;
         create function logged() returns event_trigger language plpgsql as
         $$begin insert into ddl_log values (tg_tag); end$$;
         create event trigger logged on ddl_command_end execute function logged(); {SPY}
         set role mallory; create temp table ddl_log(tag text check (mallory.spy())); grant insert on pg_temp.ddl_log to public;
         reset role; truncate seen; set role mallory; set search_path = mallory, public"
    ));
    let error = loading.error("'bait', 'public.t', columns => 'v = value'");
    let text = "event triggers would run with the rights of kcopy_program: logged";
    assert_eq!(error.message.trim(), text, "{error:?}");
    // Nobody but an administrator can say that it is right.
    loading.database.execute("set kcopy.trusted_event_triggers = 'logged'");
    assert_eq!(loading.error("'bait', 'public.t', columns => 'v = value'").message.trim(), text);
    assert_eq!(loading.database.value("reset role; select count(*) from seen where may_run"), "0");
    loading.database.execute(
        "create or replace function public.logged() returns event_trigger language plpgsql as
         $$begin insert into public.ddl_log values (tg_tag); end$$;
         alter role kcopy_program set kcopy.trusted_event_triggers = 'other, logged'; truncate seen; set role mallory",
    );
    let loaded = loading.load("'bait', 'public.t', columns => 'v = value'");
    loading.database.execute(
        "reset role; alter role kcopy_program reset kcopy.trusted_event_triggers; drop event trigger logged",
    );
    assert_eq!(loaded, ["0|2|0|2"]);
    assert_eq!(loading.database.value("select count(*) from seen where may_run"), "0");
}
