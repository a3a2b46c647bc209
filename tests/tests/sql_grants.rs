//! What an installation makes is for nobody but those whom it names, whatever default privileges say.

use std::thread;

use kcopy_tests::{Database, Loading, WireLoad, installation};

/// A role without rights of its own, to which everything is given by default.
const DEFAULTS: &str = "
    do $$ begin if not exists (select from pg_roles where rolname = 'app') then create role app; end if;
    exception when duplicate_object or unique_violation then null; end $$;
    alter default privileges grant all on tables to app with grant option;
    alter default privileges grant all on sequences to app;
    alter default privileges grant all on schemas to app with grant option;
    alter default privileges grant all on functions to app with grant option";

/// What others than the owner have.
const GRANTS: &str = "
    select what, grantee::regrole, string_agg(privilege_type, ',' order by privilege_type) from (
        select 'schema' as what, nspowner as owner, nspacl as acl from pg_namespace where nspname = 'kcopy'
        union all select relname, relowner, relacl from pg_class where relnamespace = 'kcopy'::regnamespace
        union all select 'routine ' || proname, proowner, proacl from pg_proc where pronamespace = 'kcopy'::regnamespace
    ) there, aclexplode(acl) where grantee <> owner and grantee::regrole::text not in ('kcopy_loader', 'kcopy_program')
    group by 1, 2 order by 1, 2";

const STAGE: &str = "kcopy.stage(text, text, text[], text, int4[], text, text, text, text, int8, int8, int8, boolean, boolean, boolean, text)";

fn assert_app_has_nothing(database: &mut Database) {
    assert_eq!(database.rows(GRANTS), Vec::<String>::new());
    // As far as the schema would let it.
    database.execute("begin; grant usage on schema kcopy to app; set local role app");
    for statement in [
        "create trigger t before insert on kcopy.offsets execute function pg_catalog.suppress_redundant_updates_trigger()",
        "create function kcopy.copy_from(text, text, text, uuid, text) returns int language sql as 'select 1'",
        "select kcopy.stage('app', 'value', array['text'], 'bait', null, '', 'end', null, 'fail', null, null, null, false, false, false, 'text')",
        "select kcopy.unstage('x')",
        "select * from kcopy.offsets",
        "select nextval('kcopy.rejected_id_seq')",
    ] {
        database.execute("savepoint s");
        let error = database.error(statement);
        database.execute("rollback to s");
        // Functions are only there when it is installed.
        assert!(["42501", "42883"].contains(&error.code.as_str()), "{statement}: {error:?}");
    }
    database.execute("rollback");
}

#[test]
fn default_privileges_are_not_for_what_is_installed() {
    let mut database = Database::create();
    let script = installation(std::path::Path::new("/usr/bin/true"));
    database.execute(DEFAULTS);
    database.execute(&script);
    assert_app_has_nothing(&mut database);
    database.execute(&script);
    assert_app_has_nothing(&mut database);
    // What is made anew in a schema of an earlier installation.
    database.execute(
        "drop function kcopy.version(); drop view kcopy.progress; drop table kcopy.rejected;
         alter default privileges in schema kcopy grant all on tables to app",
    );
    database.execute(&script);
    assert_app_has_nothing(&mut database);
}

#[test]
fn default_privileges_are_not_for_what_a_load_makes() {
    let mut setting = WireLoad::new();
    setting.database.execute(DEFAULTS);
    let topic = setting.broker.create("bait", 1);
    setting.produce(&topic, "k:{\"v\":1}\n");
    setting.database.execute("create table t(v int4)");
    setting.load(&[&topic, "--into", "t"]).expect_success();
    assert_app_has_nothing(&mut setting.database);
    setting.database.execute(&installation(std::path::Path::new("/usr/bin/true")));
    assert_app_has_nothing(&mut setting.database);
    assert_eq!(setting.database.value("select next_offset from kcopy.offsets"), "1");
}

#[test]
fn what_others_were_granted_stays_but_for_the_functions_that_run_programs() {
    let mut database = Database::create();
    let script = installation(std::path::Path::new("/usr/bin/true"));
    database.execute(&format!("{DEFAULTS}; {script}"));
    database.execute(&format!(
        "grant usage on schema kcopy to app; grant select on kcopy.offsets, kcopy.progress to app;
         grant execute on function kcopy.version() to app;
         grant execute on function {STAGE} to kcopy_loader with grant option;
         set role kcopy_loader; grant execute on function {STAGE} to app; reset role;
         grant execute on function kcopy.unstage(text) to app with grant option;
         grant execute on function kcopy.copy_from(text, text, text, uuid, regclass) to app"
    ));
    database.execute(&script);
    assert_eq!(
        database.rows(GRANTS),
        ["offsets|app|SELECT", "progress|app|SELECT", "routine version|app|EXECUTE", "schema|app|USAGE"]
    );
    // Also where they have to be made anew.
    database.execute(&format!(
        "drop function kcopy.unstage(text); create function kcopy.unstage(text) returns int language sql as 'select 1';
         grant execute on function kcopy.unstage(text) to app; {script}"
    ));
    assert_eq!(database.rows(GRANTS).len(), 4);
    let may = format!("select has_function_privilege('kcopy_loader', '{STAGE}', 'execute')");
    assert_eq!(database.value(&may), "t");
}

#[test]
fn no_overload_is_taken_for_a_function_that_a_stage_needs() {
    let mut loading = Loading::start();
    let topic = loading.topic("bait", 1);
    loading.produce(&topic, 0, &["a\t1", "b\t2"]);
    let body = "language plpgsql as $$ begin raise exception 'taken for ours'; end $$";
    for arguments in [
        "copy_from(text, text, text, uuid, text, out copied int8, out taken jsonb)",
        "plain_type(regtype) returns text",
        "plain_type(text) returns text",
        "program(variadic text[]) returns text",
        "shell_quoted(varchar) returns text",
        "report_path(text) returns text",
        "escapes_bytes(varchar) returns boolean",
        "take_report(text) returns jsonb",
        "consume_command(text, text, int4[], text, text, text, text, int8, int8, int8, boolean, boolean, text, text) returns text",
        "stage(text, varchar, text[], text, int4[], text, text, varchar, varchar, int8, int8, int8, boolean, boolean, boolean, varchar) returns record",
        "unstage(varchar) returns void",
    ] {
        loading.database.execute(&format!("create function kcopy.{arguments} {body}"));
    }
    loading.database.execute("create table t(v text)");
    assert_eq!(loading.load("'bait', 't', columns => 'v = value', on_error => 'skip'"), ["0|2|0|2"]);
    assert_eq!(loading.database.value("select lag from kcopy.lag()"), "0");
}

#[test]
fn installations_wait_for_each_other_across_databases() {
    let (mut one, mut other) = (Database::create(), Database::create());
    let script = installation(std::path::Path::new("/usr/bin/true"));
    one.execute(&script.replace("COMMIT;", ""));
    let name = other.value("select current_database()");
    let second = thread::spawn(move || {
        other.execute(&script);
        other
    });
    let waiting = format!(
        "select count(*) from pg_stat_activity where datname = '{name}' and wait_event_type = 'Lock' and query like '%kcopy%'"
    );
    // A transaction sees the activity as it was at its first look.
    let mut watch = Database::create();
    watch.wait_for(&waiting, "1");
    one.execute("commit");
    let mut other = second.join().expect("the second one");
    assert_eq!(other.value("select count(*) from pg_class where oid = to_regclass('kcopy.offsets')"), "1");
}

#[test]
fn whoever_is_no_superuser_is_told_so() {
    let mut database = Database::create();
    database.execute(&format!("{DEFAULTS}; set role app"));
    let error = database.error(&installation(std::path::Path::new("/usr/bin/true")));
    assert!(error.message.contains("only a superuser can install"), "{error:?}");
}
