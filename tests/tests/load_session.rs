//! `kcopy load` in databases and roles with settings of their own.

use kcopy_tests::{Broker, Database, Running, WireLoad, program, run, skipped};
use rustix::process::Signal;

#[test]
fn settings_of_the_database_change_no_value() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("settings", 1);
    setting.produce(
        &topic,
        "k:{\"id\":1,\"tags\":[\"a\",null],\"days\":\"[2020-02-01,2020-03-04)\",\"length\":\"-1 day -02:03:04\",\
         \"doc\":\"<a/>b\"}\n",
    );
    let name = setting.database.value("select current_database()");
    // A range goes as text, and with it the whole table.
    setting.database.execute(&format!(
        "create table \"back\\'slash\"(id int8, tags text[], days daterange, length interval, doc xml);
         alter database {name} set array_nulls = off; alter database {name} set datestyle = 'sql, dmy';
         alter database {name} set intervalstyle = sql_standard; alter database {name} set xmloption = document;
         alter database {name} set standard_conforming_strings = off"
    ));
    setting.load(&[&topic, "--into", "\"back\\'slash\""]).expect_success();
    assert_eq!(
        setting.database.value("select id || ' ' || tags::text || ' ' || days || ' ' || length || ' ' || doc::text from \"back\\'slash\""),
        "1 {a,NULL} [2020-02-01,2020-03-04) -1 days -02:03:04 <a/>b"
    );
}

#[test]
fn a_session_that_waits_for_records_is_not_ended_for_it() {
    let mut setting = WireLoad::new();
    if setting.database.version() < 14 {
        let test = "a_session_that_waits_for_records_is_not_ended_for_it";
        return skipped(test, "before PostgreSQL 14 no session is ended for being idle");
    }
    let topic = setting.broker.create("idle", 1);
    let name = setting.database.value("select current_database()");
    setting.database.execute(&format!(
        "create table idle(n int4);
         alter database {name} set idle_session_timeout = '100ms'; set idle_session_timeout = 0"
    ));
    let loader = setting.start(&[&topic, "--into", "idle", "--follow", "--batch-time", "20ms"]);
    let idle = "select count(*) from pg_stat_activity where application_name = 'kcopy load' and state = 'idle' \
                and datname = current_database() and state_change < clock_timestamp() - interval '400 ms'";
    for n in 0..2 {
        setting.produce(&topic, &format!("k:{{\"n\":{n}}}\n"));
        setting.wait_for("select count(*) from idle", &(n + 1).to_string());
        setting.wait_for(idle, "1");
    }
    loader.signal(Signal::TERM);
    let ended = loader.finish().expect_code(143);
    assert!(!ended.stderr.contains("trying again"), "{ended:?}");
    // What the connection string says holds.
    let url = format!("{}?options=-c%20idle_session_timeout%3D100ms", setting.database.url());
    let mut command = program("kcopy");
    command.args(["load", &topic, "--into", "idle", "--follow", "--batch-time", "10ms", "-d", &url]);
    let loader = Running::start(command.args(["-b", setting.broker.bootstrap()]));
    let sessions = "select count(*) from pg_stat_activity where application_name = 'kcopy load' \
                    and datname = current_database()";
    for n in 2..4 {
        setting.produce(&topic, &format!("k:{{\"n\":{n}}}\n"));
        setting.wait_for("select count(*) from idle", &(n + 1).to_string());
        setting.wait_for(sessions, "0");
    }
    loader.signal(Signal::TERM);
    let ended = loader.finish().expect_code(143);
    assert!(ended.stderr.contains("trying again"), "{ended:?}");
    // A batch would never be full.
    let mut command = program("kcopy");
    command.args(["load", &topic, "--into", "idle", "--follow", "--batch-time", "100ms", "-d", &url]);
    let ended = run(command.args(["-b", setting.broker.bootstrap()])).expect_code(1);
    let reason =
        "set to 100 ms, ends a session before its batch is full: it must be longer than --batch-time (100ms)";
    assert!(ended.stderr.contains(reason), "{ended:?}");
}

#[test]
fn reasons_fit_into_a_database_of_another_encoding() {
    let database = Database::create_as("encoding 'latin1' locale 'C'");
    let mut setting = WireLoad { broker: Broker::start(), database };
    let topic = setting.broker.create("latin", 1);
    setting.database.execute("create table latin(id int8, note text)");
    setting.produce(
        &topic,
        "k:{\"id\":\"5 € and é\"}\nk:{\"id\":1,\"note\":\"é\"}\nk:{\"id\":2,\"note\":\"€\"}\nk:{\"id\":3}\n",
    );
    setting.load(&[&topic, "--into", "latin", "--on-error", "reject-table"]).expect_success();
    assert_eq!(setting.database.rows("select id, note from latin order by 1"), ["1|é", "3|∅"]);
    let rejected = setting.database.rows("select \"offset\", reason from kcopy.rejected order by 1");
    assert!(rejected[0].starts_with("0|") && rejected[0].contains("5 \\u20ac and é"), "{rejected:?}");
    let reason = "has no equivalent in encoding \"LATIN1\"";
    assert!(rejected[1].starts_with("2|") && rejected[1].contains(reason), "{rejected:?}");
}

#[test]
fn loaders_that_are_the_first_ones_together_all_go_on() {
    let mut setting = WireLoad::new();
    let topics = [0, 1, 2].map(|at| setting.broker.create(&format!("first-{at}"), 1));
    for (at, topic) in topics.iter().enumerate() {
        setting.database.execute(&format!("create table first{at}(n int4)"));
        setting.produce(topic, "k:{\"n\":1}\n");
    }
    let waiting = |kind: &str| {
        format!(
            "select count(*) from pg_locks l join pg_stat_activity a using (pid) where not l.granted \
             and l.locktype = '{kind}' and a.datname = current_database() and a.application_name = 'kcopy load'"
        )
    };
    // The lock under which the schema is made: all of them have seen that it is not there.
    let lock = i64::from_be_bytes(*b"kcopy_of");
    setting.database.execute(&format!("select pg_advisory_lock({lock})"));
    let loaders: Vec<Running> = (topics.iter().enumerate())
        .map(|(at, topic)| setting.start(&[topic, "--into", &format!("first{at}")]))
        .collect();
    setting.wait_for(&waiting("advisory"), "3");
    setting.database.execute(&format!("select pg_advisory_unlock({lock})"));
    for loader in loaders {
        loader.finish().expect_success();
    }
    let rows = "select (select count(*) from first0) + (select count(*) from first1) + (select count(*) from first2)";
    assert_eq!(setting.database.value(rows), "3");

    // A schema, and a table, that somebody makes without the lock.
    setting.database.execute("drop schema kcopy cascade");
    let mut other = setting.database.connect();
    other.batch_execute("begin; create schema kcopy").expect("a schema");
    let loader = setting.start(&[&topics[0], "--into", "first0"]);
    setting.wait_for(&waiting("transactionid"), "1");
    other.batch_execute("commit").expect("a commit");
    loader.finish().expect_success();
    other.batch_execute("begin; create table made(n int4)").expect("a table");
    let loader = setting.start(&[&topics[0], "--into", "made", "--create-table"]);
    setting.wait_for(&waiting("transactionid"), "1");
    other.batch_execute("commit").expect("a commit");
    loader.finish().expect_success();
    assert_eq!(setting.database.value("select count(*) from made"), "1");
}

#[test]
fn a_role_that_is_set_after_the_login_may_load() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("roled", 1);
    setting.produce(&topic, "k:{\"n\":1}\n");
    let database = setting.database.value("select current_database()");
    setting.database.execute(&format!(
        "create role importer; create table roled(n int4); alter table roled owner to importer;
         grant create, temp on database {database} to importer"
    ));
    // Such a one may not see when its own session began.
    let options = ["-d", &setting.database.url(), "--into", "roled"];
    let mut load = kcopy_tests::program("kcopy");
    load.args(["load", &topic, "-b", setting.broker.bootstrap()])
        .args(options)
        .env("PGOPTIONS", "-c role=importer");
    let loaded = kcopy_tests::run(&mut load);
    let rows = setting.database.value("select count(*) from roled");
    setting.database.execute("drop owned by importer; drop role importer");
    loaded.expect_success();
    assert_eq!(rows, "1");
}

#[test]
fn a_number_without_a_unit_is_of_the_intervals_own() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("units", 1);
    let names = ["year", "month", "day", "hour", "minute", "minute to second", "day to second", "second"];
    let column = |at: usize| format!("c{at}");
    let mut members = Vec::new();
    let mut columns = Vec::new();
    let mut cast = Vec::new();
    for (at, fields) in names.iter().enumerate() {
        let text = if fields.contains(" to ") { "01:02" } else { "90" };
        members.push(format!("\"{}\":\"{text}\"", column(at)));
        columns.push(format!("{} interval {fields}", column(at)));
        cast.push(format!("interval '{text}' {fields}"));
    }
    setting.produce(&topic, &format!("k:{{{}}}\n", members.join(",")));
    setting.database.execute(&format!("create table units({})", columns.join(", ")));
    setting.load(&[&topic, "--into", "units"]).expect_success();
    let differing = format!("select * from units except select {}", cast.join(", "));
    assert_eq!(setting.database.rows(&differing), [""; 0]);
}
