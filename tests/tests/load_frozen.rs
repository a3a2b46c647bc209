//! `kcopy load` and a PostgreSQL that takes nothing and says nothing: a backend that is stopped, a line that swallows
//! everything.

use std::{
    collections::BTreeSet,
    os::unix::net::UnixDatagram,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use kcopy_tests::{DEADLINE, Line, Running, WireLoad, kill, program, run};
use rustix::process::Signal;
use tempfile::TempDir;

/// A process of the server that is stopped, until this is dropped.
struct Stopped(u32);

impl Stopped {
    fn new(process: u32) -> Self {
        assert!(kill(process, Signal::STOP), "process {process} of the server");
        Self(process)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        kill(self.0, Signal::CONT);
    }
}

const LOADERS: &str =
    "from pg_stat_activity where datname = current_database() and application_name = 'kcopy load'";
const ALL: &str = "select count(*) || ' ' || count(distinct n) || ' ' || coalesce(sum(n), 0) from frozen";

fn lines(from: u32, until: u32) -> String {
    (from..until).map(|n| format!("k:{{\"n\":{n}}}\n")).collect()
}

/// A topic, and a table whose rows wait for as long as anything stands in `gate`.
fn setting() -> (WireLoad, String) {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("frozen", 1);
    setting.database.execute(
        "create table frozen(n int4); create table gate(closed bool);
         create function pass() returns trigger language plpgsql as $$ begin
            if exists(select from gate) then perform pg_sleep(600); end if; return new; end $$;
         create trigger pass before insert on frozen for each row execute function pass()",
    );
    (setting, topic)
}

/// Stops the backend that is just writing, with all its locks, and takes away what it waits for.
fn stop_while_writing(setting: &mut WireLoad) -> Stopped {
    setting.wait_for(&format!("select count(*) {LOADERS} and wait_event = 'PgSleep'"), "1");
    let writing = setting.database.value(&format!("select pid {LOADERS} and wait_event = 'PgSleep'"));
    let stopped = Stopped::new(writing.parse().expect("a process id"));
    setting.database.execute("delete from gate");
    stopped
}

/// Waits until two backends have waited for a lock: one after the other gives up.
fn two_have_waited(setting: &mut WireLoad) {
    let (mut waiting, started) = (BTreeSet::new(), Instant::now());
    while waiting.len() < 2 {
        waiting.extend(setting.database.rows(&format!("select pid {LOADERS} and wait_event_type = 'Lock'")));
        assert!(started.elapsed() < DEADLINE, "{waiting:?}");
    }
}

#[test]
fn a_backend_that_is_stopped_between_batches_is_given_up_for_a_new_one() {
    let (mut setting, topic) = setting();
    let follow = [&*topic, "--into", "frozen", "--follow", "--batch-time", "20ms", "--write-timeout", "2s"];
    let load = setting.start(&follow);
    setting.produce(&topic, &lines(0, 10));
    setting.wait_for(ALL, "10 10 45");
    let process = setting.database.value(&format!("select pid {LOADERS}"));
    let stopped = Stopped::new(process.parse().expect("a process id"));
    setting.produce(&topic, &lines(10, 20));
    setting.wait_for(ALL, "20 20 190");
    drop(stopped);
    setting.wait_for(&format!("select count(*) {LOADERS} and pid = {process}"), "0");
    setting.produce(&topic, &lines(20, 30));
    setting.wait_for(ALL, "30 30 435");
    load.signal(Signal::TERM);
    let ended = load.finish().expect_code(143);
    assert!(ended.stderr.contains("PostgreSQL has not answered for 2s (--write-timeout)"), "{ended:?}");
}

#[test]
fn a_stopped_backend_that_holds_the_positions_is_named() {
    let (mut setting, topic) = setting();
    let follow = [&*topic, "--into", "frozen", "--follow", "--batch-time", "20ms", "--write-timeout", "2s"];
    let load = setting.start(&follow);
    setting.produce(&topic, &lines(0, 10));
    setting.wait_for(ALL, "10 10 45");
    setting.database.execute("insert into gate values (true)");
    setting.produce(&topic, &lines(10, 20));
    let stopped = stop_while_writing(&mut setting);
    two_have_waited(&mut setting);
    let process = stopped.0;
    drop(stopped);
    setting.wait_for(ALL, "20 20 190");
    load.signal(Signal::TERM);
    let ended = load.finish().expect_code(143);
    let named = format!("process {process} (kcopy load: active, in its transaction for ");
    assert!(ended.stderr.contains(&named) && ended.stderr.contains("[55P03]"), "{ended:?}");
    assert_eq!(setting.database.value("select next_offset || ' ' || rows from kcopy.offsets"), "20 20");
}

#[test]
fn a_run_with_an_end_ends_where_postgresql_says_nothing() {
    let (mut setting, topic) = setting();
    setting.database.execute("insert into gate values (true)");
    setting.produce(&topic, &lines(0, 10));
    let load = setting.start(&[&topic, "--into", "frozen", "--write-timeout", "1s", "--timeout", "2s"]);
    let stopped = stop_while_writing(&mut setting);
    let ended = load.finish().expect_code(1);
    assert!(ended.stderr.contains("PostgreSQL has not answered for 1s"), "{ended:?}");
    assert!(ended.stderr.contains(": --timeout)"), "{ended:?}");
    drop(stopped);
    setting.wait_for(&format!("select count(*) {LOADERS}"), "0");
    setting.load(&[&topic, "--into", "frozen"]).expect_success();
    assert_eq!(setting.database.value(ALL), "10 10 45");
}

#[test]
fn a_batch_that_takes_long_is_committed_as_long_as_postgresql_answers() {
    let (mut setting, topic) = setting();
    // Each attempt takes a while, and there are more than fit into the time for one answer.
    setting.database.execute("create table slow(n int4 primary key, check (n = 1 or pg_sleep(0.4) is null))");
    setting.produce(&topic, &lines(0, 20));
    let upsert = [&topic, "--into", "slow", "--mode", "upsert", "--on-error", "skip", "--follow"];
    let load = setting.start(&upsert);
    let is_writing = format!("select count(*) > 0 {LOADERS} and wait_event = 'PgSleep'");
    setting.wait_for(&is_writing, "t");
    load.signal(Signal::TERM);
    let started = Instant::now();
    let ended = load.finish().expect_code(143);
    assert!(started.elapsed() > Duration::from_secs(8), "{:?}: {ended:?}", started.elapsed());
    assert_eq!(setting.database.value("select next_offset || ' ' || rows from kcopy.offsets"), "20 1");
}

#[test]
fn a_commit_without_an_answer_counts_once_the_positions_tell() {
    let (mut setting, topic) = setting();
    setting.produce(&topic, &lines(0, 10));
    let line = Line::to(setting.database.port());
    line.cut_behind(b"commit\0");
    let url = setting.database.url_at(line.port());
    let mut load = program("kcopy");
    load.args(["load", &topic, "--into", "frozen", "-d", &url, "--write-timeout", "1s", "--json"]);
    let loaded = run(load.args(["-b", setting.broker.bootstrap()])).expect_success();
    assert!(loaded.stderr.contains("PostgreSQL has not answered"), "{loaded:?}");
    assert!(loaded.stderr.contains("loaded 10 records"), "{loaded:?}");
    assert_eq!(loaded.text().matches("\"event\":\"commit\"").count(), 1, "{loaded:?}");
    assert_eq!(setting.database.value(ALL), "10 10 45");
}

#[test]
fn a_signal_ends_a_load_whose_backend_is_stopped() {
    let (mut setting, topic) = setting();
    setting.database.execute("insert into gate values (true)");
    setting.produce(&topic, &lines(0, 10));
    let load = setting.start(&[&topic, "--into", "frozen", "--follow", "--batch-time", "20ms"]);
    let stopped = stop_while_writing(&mut setting);
    load.signal(Signal::TERM);
    let ended = load.finish().expect_code(143);
    assert!(ended.stderr.contains("could not be committed within 8s"), "{ended:?}");
    let process = stopped.0;
    drop(stopped);
    if setting.database.version() < 14 {
        // It does not look whether anybody is there while it works.
        setting.database.execute(&format!("select pg_terminate_backend({process})"));
    }
    setting.wait_for(&format!("select count(*) {LOADERS}"), "0");
    setting.load(&[&topic, "--into", "frozen"]).expect_success();
    assert_eq!(setting.database.value(ALL), "10 10 45");
}

#[test]
fn a_line_that_swallows_everything_silences_the_watchdog_until_a_new_one_is_there() {
    let (mut setting, topic) = setting();
    let line = Line::to(setting.database.port());
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let (sender, told) = mpsc::sync_channel(100_000);
    thread::spawn(move || {
        let mut state = [0; 64];
        while let Ok(length) = socket.recv(&mut state) {
            if sender.send(String::from_utf8_lossy(&state[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut command = program("kcopy");
    command.args(["load", &topic, "--into", "frozen", "-b", setting.broker.bootstrap(), "--follow"]);
    command.args([
        "-d",
        &setting.database.url_at(line.port()),
        "--batch-time",
        "20ms",
        "--write-timeout",
        "2s",
    ]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "60000").env("PGCONNECT_TIMEOUT", "2");
    let load = Running::start(&mut command);
    setting.produce(&topic, &lines(0, 10));
    setting.wait_for(ALL, "10 10 45");
    // The rows of the transaction are locked by a backend that nobody reaches any more.
    setting.database.execute("insert into gate values (true)");
    setting.produce(&topic, &lines(10, 20));
    setting.wait_for(&format!("select count(*) {LOADERS} and wait_event = 'PgSleep'"), "1");
    line.cut();
    let started = Instant::now();
    // Many times the period.
    while told.recv_timeout(Duration::from_secs(1)).is_ok() {
        assert!(started.elapsed() < DEADLINE, "the watchdog is fed for ever");
    }
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}: too early", started.elapsed());
    setting.database.execute("delete from gate");
    line.mend_for_new_ones();
    setting.wait_for(ALL, "20 20 190");
    assert_eq!(told.recv_timeout(DEADLINE).as_deref(), Ok("WATCHDOG=1"));
    load.signal(Signal::TERM);
    load.finish().expect_code(143);
    assert_eq!(setting.database.value("select next_offset || ' ' || rows from kcopy.offsets"), "20 20");
}

#[test]
fn a_table_that_somebody_else_has_locked_is_waited_for_and_he_is_named() {
    let (mut setting, topic) = setting();
    let mut other = setting.database.connect();
    other
        .batch_execute("set application_name = 'vacuum full'; begin; lock table frozen in share mode")
        .expect("a lock");
    let process: i32 = other.query_one("select pg_backend_pid()", &[]).expect("its process").get(0);
    setting.produce(&topic, &lines(0, 10));
    let follow = [&*topic, "--into", "frozen", "--follow", "--batch-time", "20ms", "--write-timeout", "1s"];
    let load = setting.start(&follow);
    two_have_waited(&mut setting);
    other.batch_execute("commit").expect("the end of the lock");
    setting.wait_for(ALL, "10 10 45");
    load.signal(Signal::TERM);
    let ended = load.finish().expect_code(143);
    let named = format!("process {process} (vacuum full: idle in transaction, in its transaction for ");
    assert!(ended.stderr.contains(&named), "{ended:?}");
}

#[test]
fn who_has_locked_the_table_of_positions_is_named() {
    let (setting, topic) = setting();
    setting.load(&[&topic, "--into", "frozen"]).expect_success();
    let mut other = setting.database.connect();
    other.batch_execute("begin; lock table kcopy.offsets in access exclusive mode").expect("a lock");
    let process: i32 = other.query_one("select pg_backend_pid()", &[]).expect("its process").get(0);
    let ended = setting.load(&[&topic, "--into", "frozen", "--timeout", "1s"]).expect_code(1);
    assert!(ended.stderr.contains(&format!("process {process} (: idle in transaction, ")), "{ended:?}");
}

#[test]
fn a_line_that_is_cut_while_a_loader_begins_leaves_no_lock_behind() {
    let (mut setting, topic) = setting();
    let line = Line::to(setting.database.port());
    setting.produce(&topic, &lines(0, 10));
    setting.load(&[&topic, "--into", "frozen"]).expect_success();
    let mut other = setting.database.connect();
    other.batch_execute("begin; select from kcopy.offsets for update").expect("a lock");
    let mut command = program("kcopy");
    command.args(["load", &topic, "--into", "frozen", "-b", setting.broker.bootstrap(), "--follow"]);
    command.args(["-d", &setting.database.url_at(line.port()), "--write-timeout", "4s"]);
    let load = Running::start(&mut command);
    setting.wait_for(&format!("select count(*) {LOADERS} and wait_event_type = 'Lock'"), "1");
    line.mend_for_new_ones();
    // It gets the lock, and nobody reaches it any more.
    other.batch_execute("rollback").expect("the end of the lock");
    setting.wait_for(&format!("select count(*) {LOADERS} and state = 'idle in transaction'"), "1");
    setting.produce(&topic, &lines(10, 20));
    setting.wait_for(ALL, "20 20 190");
    load.signal(Signal::TERM);
    let ended = load.finish().expect_code(143);
    assert!(ended.stderr.contains("PostgreSQL has not answered for 4s (--write-timeout)"), "{ended:?}");
}

#[test]
fn a_lock_timeout_of_the_users_own_is_left_as_it_is() {
    let (setting, topic) = setting();
    let mut other = setting.database.connect();
    other.batch_execute("begin; lock table frozen in share mode").expect("a lock");
    setting.produce(&topic, &lines(0, 10));
    let mut command = program("kcopy");
    command.args(["load", &topic, "--into", "frozen", "-b", setting.broker.bootstrap(), "--timeout", "1s"]);
    command.args(["-d", &setting.database.url()]).env("PGOPTIONS", "-c lock_timeout=100ms");
    // That of kcopy would take minutes.
    let ended = run(&mut command).expect_code(1);
    assert!(ended.stderr.contains("canceling statement due to lock timeout [55P03]"), "{ended:?}");
    assert!(ended.stderr.contains(": idle in transaction, in its transaction for "), "{ended:?}");
}
