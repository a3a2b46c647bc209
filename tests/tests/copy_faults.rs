//! What happens to a COPY whose program, broker, data or client fails: it fails where data is missing, succeeds where
//! PostgreSQL itself stopped early, and leaves nothing running.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    process::Stdio,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use kcopy_tests::{Broker, DEADLINE, Database, PgError, Running, program, run, skipped};
use postgres::Client;
use rustix::process::Signal;

/// Generous for a loaded machine, and far below what a hanging program would take.
const PROMPT: Duration = Duration::from_secs(10);

struct Setting {
    broker: Broker,
    database: Database,
    topic: String,
}

impl Setting {
    /// A topic of one partition with these lines as messages, and a table of one column for them.
    fn new(column: &str, lines: impl IntoIterator<Item = String>) -> Self {
        Self::on(Broker::start(), column, lines)
    }

    /// The same on our own broker in any case: one that may be killed.
    fn mortal(column: &str, lines: impl IntoIterator<Item = String>) -> Self {
        Self::on(Broker::ours(&[]), column, lines)
    }

    fn on(broker: Broker, column: &str, lines: impl IntoIterator<Item = String>) -> Self {
        let mut database = Database::create();
        let topic = broker.create("faults", 1);
        let input = lines.into_iter().map(|line| line + "\n").collect::<String>();
        broker.kcat(&["-P", "-t", &topic], input.as_bytes()).expect_success();
        database.execute(&format!("create table loaded(value {column})"));
        Self { broker, database, topic }
    }

    /// The one-process load.
    fn load(&self, arguments: &str) -> String {
        let (bootstrap, topic) = (self.broker.bootstrap(), &self.topic);
        format!("copy loaded from program 'kcopy consume -q -b {bootstrap} {arguments} {topic}'")
    }

    fn assert_nothing_left(&self) {
        assert_eq!(self.broker.leftovers(), Vec::<String>::new());
    }
}

/// Runs a statement in a session of its own, and hands back its result once it is there.
struct Session {
    process_id: String,
    result: mpsc::Receiver<Result<u64, PgError>>,
    started: Instant,
}

impl Session {
    fn start(database: &Database, before: &str, sql: String) -> Self {
        let mut client = database.connect();
        client.batch_execute(before).expect("the session's settings");
        let process_id = backend(&mut client);
        let (sender, result) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let outcome = client.execute(&sql, &[]).map_err(PgError::from);
            // The test may have given up on it.
            let _ = sender.send(outcome);
        });
        Self { process_id, result, started: Instant::now() }
    }

    /// Waits until the COPY has read something from its program: it does so 64 KiB at a time.
    fn wait_for_data(&self, database: &mut Database) {
        self.wait_until(
            database,
            "select count(*) from pg_stat_progress_copy where pid = $ and bytes_processed > 0",
        );
    }

    /// Waits until a query about the session (`$` is its process id) says 1.
    fn wait_until(&self, database: &mut Database, query: &str) {
        database.wait_for(&query.replace('$', &self.process_id), "1");
    }

    fn error(&self) -> PgError {
        match self.result.recv_timeout(DEADLINE) {
            Ok(Ok(rows)) => panic!("the load succeeds with {rows} rows and should fail"),
            Ok(Err(error)) => error,
            Err(_) => panic!("the load hangs"),
        }
    }
}

fn backend(client: &mut Client) -> String {
    let row = client.query_one("select pg_backend_pid()::text", &[]).expect("pg_backend_pid");
    row.get(0)
}

fn numbers(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|n| n.to_string())
}

/// More than PostgreSQL reads before it parses, more than a pipe holds.
fn big() -> impl Iterator<Item = String> {
    (0..40_000).map(|n| format!("{n:0100}"))
}

#[test]
fn statement_timeout_ends_a_load_that_waits() {
    let setting = Setting::new("text", numbers(3));
    let session =
        Session::start(&setting.database, "set statement_timeout = '500ms'", setting.load("--follow"));
    assert_eq!(session.error().code, "57014");
    assert!(session.started.elapsed() < PROMPT);
    setting.assert_nothing_left();
}

#[test]
fn pg_cancel_backend_ends_a_load_that_waits() {
    let mut setting = Setting::new("text", big());
    let session = Session::start(&setting.database, "", setting.load("--follow"));
    session.wait_for_data(&mut setting.database);
    let cancelled = Instant::now();
    setting.database.execute(&format!("select pg_cancel_backend({})", session.process_id));
    assert_eq!(session.error().code, "57014");
    assert!(cancelled.elapsed() < PROMPT);
    setting.assert_nothing_left();
}

#[test]
fn pg_terminate_backend_ends_a_load_that_waits() {
    let mut setting = Setting::new("text", big());
    let session = Session::start(&setting.database, "", setting.load("--follow"));
    session.wait_for_data(&mut setting.database);
    let terminated = Instant::now();
    setting.database.execute(&format!("select pg_terminate_backend({})", session.process_id));
    // The server's farewell, or a connection that was closed before it came through.
    let error = session.error();
    assert!(["57P01", ""].contains(&error.code.as_str()), "{error:?}");
    assert!(terminated.elapsed() < PROMPT);
    setting.assert_nothing_left();
}

#[test]
fn a_bad_row_fails_the_load_with_its_own_error() {
    let lines = numbers(10).chain(["not a number".to_owned()]).chain(numbers(10));
    let mut setting = Setting::new("int", lines);
    let sql = setting.load("");
    let error = setting.database.error(&sql);
    assert_eq!(error.code, "22P02", "{error:?}");
    assert_eq!(setting.database.value("select count(*) from loaded"), "0");
    setting.assert_nothing_left();
}

#[test]
fn a_bad_row_ends_a_program_that_has_nothing_more_to_say() {
    // Past 64 KiB PostgreSQL parses while the program is silent: only its closed stdout tells it.
    let setting = Setting::new("int", ["not a number".to_owned()].into_iter().chain(numbers(30_000)));
    let session = Session::start(&setting.database, "", setting.load("--follow"));
    assert_eq!(session.error().code, "22P02");
    setting.assert_nothing_left();
}

#[test]
fn a_report_says_which_records_the_rows_were_even_if_the_reader_goes_first() {
    let mut setting = Setting::new("int", ["not a number".to_owned()].into_iter().chain(numbers(30_000)));
    let folder = setting.database.folder();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("a folder for the server");
    let report = folder.join("report");
    let report = report.to_str().expect("a path");
    let session =
        Session::start(&setting.database, "", setting.load(&format!("--follow --report \"{report}\"")));
    assert_eq!(session.error().code, "22P02");
    // The server tells its client before it waits for the program.
    let is_over =
        "select (count(*) = 0)::int from pg_stat_activity where pid = $ and state is distinct from 'idle'";
    session.wait_until(&mut setting.database, is_over);
    let text = run(program("kcopy").args(["report", report])).expect_success().text().to_owned();
    let rows = format!("[[1,\"{}\",0,0,30001]]", setting.topic);
    assert!(text.contains(&format!("\"written\":{rows}")), "{text}");
}

#[test]
fn a_load_that_failed_moves_no_group() {
    let bad_row = ["not a number".to_owned()].into_iter();
    let mut setting = Setting::new("int", bad_row.chain((0..400_000).map(|n| format!("{n:06}"))));
    let group = setting.broker.topic("bad-row");
    let sql = setting.load(&format!("--group {group}"));
    assert_eq!(setting.database.error(&sql).code, "22P02");
    // Two megabytes cannot have been taken: nothing may be committed.
    setting.database.execute("alter table loaded alter value type text");
    assert_eq!(setting.database.count(&sql), 400_001);
    assert_eq!(setting.database.count(&sql), 0);
    setting.assert_nothing_left();
}

#[test]
fn a_limit_over_file_fdw_is_no_failure() {
    let mut setting = Setting::new("text", big());
    let (bootstrap, topic) = (setting.broker.bootstrap(), &setting.topic);
    let available = "select count(*) from pg_available_extensions where name = 'file_fdw'";
    if setting.database.value(available) == "0" {
        return skipped("a_limit_over_file_fdw_is_no_failure", "this PostgreSQL has no file_fdw");
    }
    for follow in ["", "--follow"] {
        let options = format!("program 'kcopy consume -q -b {bootstrap} {follow} {topic}'");
        setting.database.execute(&format!(
            "create extension if not exists file_fdw; drop server if exists kafka cascade; \
             create server kafka foreign data wrapper file_fdw; \
             create foreign table messages(value text) server kafka options ({options})"
        ));
        let first =
            setting.database.value("select max(value) from (select * from messages limit 5) first_ones");
        assert_eq!(first, format!("{:0100}", 4), "{follow}");
        setting.assert_nothing_left();
    }
    setting.database.execute("drop foreign table messages");
}

#[test]
fn a_full_disk_is_a_failure_even_for_one_message() {
    let setting = Setting::new("text", ["only one".to_owned()]);
    let full = || Stdio::from(File::create("/dev/full").expect("/dev/full"));
    let bootstrap = setting.broker.bootstrap();
    let mut consume = program("kcopy");
    consume.args(["consume", "-q", "-b", bootstrap, &setting.topic]);
    let output = Running::start_with_stdout(&mut consume, full()).finish().expect_code(1);
    assert!(output.stderr.contains("No space left on device"), "{output:?}");
    let mut kcat = program("kafkacat");
    kcat.args(["-C", "-qe", "-b", bootstrap, "-t", &setting.topic]);
    let output = Running::start_with_stdout(&mut kcat, full()).finish().expect_code(1);
    assert!(output.stderr.contains("No space left on device"), "{output:?}");
}

#[test]
fn a_broker_that_dies_midway_fails_the_load() {
    let mut setting = Setting::mortal("text", (0..30_000).map(|n| format!("{n:01000}")));
    // The load stops in its first row until the broker is dead: 30 MB are more than what the client and the pipe hold.
    setting.database.execute(
        "create function wait() returns trigger language plpgsql as \
         $$ begin perform pg_advisory_xact_lock_shared(1); return new; end $$; \
         create trigger wait before insert on loaded for each row execute function wait(); \
         select pg_advisory_lock(1)",
    );
    let limits =
        "-X queued.max.messages.kbytes=1024 -X fetch.message.max.bytes=100000 -X fetch.max.bytes=1000000";
    let sql = setting.load(limits);
    let session = Session::start(&setting.database, "", sql);
    let waiting = "select count(*) from pg_locks where pid = $ and locktype = 'advisory' and not granted";
    session.wait_until(&mut setting.database, waiting);
    setting.broker.kill();
    setting.database.execute("select pg_advisory_unlock(1)");
    let error = session.error();
    assert_eq!(error.code, "38000", "{error:?}");
    assert_eq!(setting.database.value("select count(*) from loaded"), "0");
    setting.assert_nothing_left();
}

#[test]
fn an_unknown_topic_or_a_broker_that_is_not_there_fails_the_load() {
    let mut setting = Setting::new("text", numbers(1));
    let sql = setting.load("").replace(&setting.topic, &setting.broker.topic("nosuch"));
    let error = setting.database.error(&sql);
    assert_eq!(error.code, "38000", "{error:?}");
    assert!(error.message.contains("child process exited with exit code 1"), "{error:?}");
    // Port 1 on loopback: nobody listens there.
    let sql = setting.load("--timeout 2s").replace(setting.broker.bootstrap(), "127.0.0.1:1");
    let error = setting.database.error(&sql);
    assert_eq!(error.code, "38000", "{error:?}");
    setting.assert_nothing_left();
}

#[test]
fn an_offset_out_of_range_fails_and_is_never_reset() {
    let mut setting = Setting::new("text", numbers(10));
    let group = setting.broker.topic("range");
    let arguments = format!("--group {group} --max-messages 3");
    let sql = setting.load(&arguments);
    assert_eq!(setting.database.count(&sql), 3);
    // What comes next in the group is deleted meanwhile.
    let mut trim = program("kcopy");
    trim.args(["topic", "trim", "-b", setting.broker.bootstrap(), &setting.topic, "--before", "5"]);
    run(&mut trim).expect_success();

    for arguments in [format!("--group {group}"), "--from 2".to_owned(), "--from 11".to_owned()] {
        let sql = setting.load(&arguments);
        let error = setting.database.error(&sql);
        assert_eq!(error.code, "38000", "{arguments}: {error:?}");
    }
    let log = setting.database.server_log();
    assert!(log.contains("out of range"), "the log says why: {log}");
    // The end itself is in range, and empty.
    let sql = setting.load("--from 10");
    assert_eq!(setting.database.count(&sql), 0);
    let stored = ["-C", "-qe", "-t", &setting.topic, "-X", &format!("group.id={group}"), "-o", "stored"];
    setting.broker.kcat(&stored, b"").expect_code(1);
    setting.assert_nothing_left();
}

#[test]
fn signals_end_a_run_with_failure() {
    let setting = Setting::new("text", numbers(3));
    let bootstrap = setting.broker.bootstrap();
    let mut skipped_signals = Vec::new();
    for signal in [Signal::INT, Signal::TERM, Signal::QUIT] {
        for (name, arguments) in
            [("kcopy", &["consume", "--follow", "-q"][..]), ("kafkacat", &["-C", "-q", "-t"][..])]
        {
            // What a shell starts with & ignores some of them, and so does what it starts in turn, but for kcat.
            let is_kcats = name == "kafkacat" && signal != Signal::QUIT;
            if kcopy_tests::is_ignored(signal) && !is_kcats {
                skipped_signals.push((name, signal));
                continue;
            }
            let mut command = program(name);
            command.args(arguments).arg(&setting.topic).args(["-b", bootstrap]);
            let (reader, writer) = std::io::pipe().expect("a pipe");
            let running = Running::start_with_stdout(&mut command, Stdio::from(writer));
            drop(command);
            // The first byte on its stdout: it is up and waits.
            let mut first = [0];
            std::io::Read::read_exact(&mut &reader, &mut first).expect("the first message");
            running.signal(signal);
            let signalled = Instant::now();
            let output = running.finish();
            assert_ne!(output.code(), 0, "{name} after {signal:?}: {output:?}");
            assert!(signalled.elapsed() < PROMPT, "{name} after {signal:?}: {output:?}");
        }
    }
    if !skipped_signals.is_empty() {
        let reason = format!("ignored here: {skipped_signals:?}");
        kcopy_tests::skipped("signals_end_a_run_with_failure", &reason);
    }
}

#[test]
fn a_binary_stream_without_its_trailer_fails() {
    let setting = Setting::new("text", numbers(1));
    let target = setting.broker.create("torn", 1);
    let whole =
        setting.broker.kcopy("consume", &["-q", "--format", "binary", &setting.topic], b"").expect_success();
    let torn = &whole.stdout[..whole.stdout.len() - 2];
    let output = setting.broker.kcopy("produce", &["-q", "--format", "binary", &target], torn).expect_code(1);
    assert!(output.stderr.contains("trailer"), "{output:?}");
    setting.broker.kcopy("produce", &["-q", "--format", "binary", &target], &whole.stdout).expect_success();
}

#[test]
fn copy_to_fails_when_its_messages_cannot_be_delivered() {
    let mut setting = Setting::mortal("text", numbers(1));
    let bootstrap = setting.broker.bootstrap().to_owned();
    setting.broker.kill();
    for program in ["kcopy produce -q --timeout 2s t", "kafkacat -P -qe -m 2 -X message.timeout.ms=2000 -t t"]
    {
        let error = setting.database.error(&format!("copy (select 1) to program '{program} -b {bootstrap}'"));
        assert_eq!(error.code, "38000", "{program}: {error:?}");
    }
    setting.assert_nothing_left();
}
