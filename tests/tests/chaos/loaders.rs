//! The two ways into a table, each under way for as long as the test kills.

use std::{
    mem,
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::Duration,
};

use kcopy_tests::{Broker, DEADLINE, Running, program, run};
use postgres::{Config, NoTls};
use rustix::process::Signal;

use crate::{ASKED_BY_SIGNAL, Random, server::Server};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Append,
    Upsert,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Append => "append",
            Mode::Upsert => "upsert",
        }
    }
}

pub(crate) enum Loader {
    /// `kcopy load --follow`, which no kill but its own may end.
    Wire { arguments: Vec<String>, mode: Mode, running: Running },
    /// A session that calls `kcopy.load` again and again.
    Inside { mode: Mode, stop: SyncSender<()>, ended: Receiver<Tally> },
}

/// How often `kcopy.load` did what it was asked, and what it said otherwise.
#[derive(Default)]
pub(crate) struct Tally {
    committed: u64,
    failed: u64,
    last: String,
}

impl Loader {
    pub(crate) fn over_the_wire(broker: &Broker, topic: &str, server: &Server, mode: Mode) -> Self {
        let mut arguments = wire(broker, topic, server, mode);
        let more = ["--follow", "--connections", "2", "--batch-time", "20ms", "--batch-rows", "700"];
        arguments.extend(more.map(str::to_owned));
        let running = start(&arguments);
        Loader::Wire { arguments, mode, running }
    }

    pub(crate) fn inside(topic: &str, server: &Server, mode: Mode, random: Random) -> Self {
        let (stop, stopped) = mpsc::sync_channel(1);
        let (end, ended) = mpsc::sync_channel(1);
        let (topic, config) = (topic.to_owned(), server.config("kcopy.load"));
        thread::spawn(move || {
            let tally = call_until(&stopped, &config, &topic, mode, random);
            // The test may have failed already.
            let _ = end.send(tally);
        });
        Loader::Inside { mode, stop, ended }
    }

    pub(crate) fn assert_it_runs(&mut self) {
        match self {
            Loader::Wire { arguments, running, .. } => {
                if running.ends_within(Duration::ZERO) {
                    let ended = mem::replace(running, start(arguments));
                    panic!("the loader has ended by itself: {:?}", ended.finish());
                }
            }
            Loader::Inside { ended, .. } => {
                assert!(ended.try_recv().is_err(), "the session has ended by itself");
            }
        }
    }

    /// Ends the program of this one, and starts another; a session has none of its own.
    pub(crate) fn kill(&mut self, signal: Signal) -> Option<&'static str> {
        let Loader::Wire { arguments, running, .. } = self else { return None };
        running.signal(signal);
        assert!(running.ends_within(DEADLINE), "{signal:?} does not end the loader");
        *running = start(arguments);
        Some(if signal == Signal::KILL { "kcopy load" } else { ASKED_BY_SIGNAL })
    }

    /// Ends it in order, and loads what is left; returns what it has been through.
    pub(crate) fn finish(self, broker: &Broker, topic: &str, server: &Server) -> String {
        match self {
            Loader::Wire { mode, running, .. } => {
                running.signal(Signal::TERM);
                running.finish();
                run(program("kcopy").args(wire(broker, topic, server, mode))).expect_success();
                format!("kcopy load, {}", mode.name())
            }
            Loader::Inside { mode, stop, ended } => {
                stop.send(()).expect("a session that listens");
                let tally = ended.recv_timeout(DEADLINE).expect("the last call comes to an end");
                let last = server.connect().batch_execute(&sql(topic, mode, "fail", None));
                last.expect("the last load");
                assert!(tally.committed > 0, "no call has committed: {}", tally.last);
                let Tally { committed, failed, last } = tally;
                let mode = mode.name();
                format!("kcopy.load, {mode}: {committed} calls committed, {failed} failed, the last: {last}")
            }
        }
    }
}

fn start(arguments: &[String]) -> Running {
    Running::start(program("kcopy").args(arguments))
}

fn wire(broker: &Broker, topic: &str, server: &Server, mode: Mode) -> Vec<String> {
    let (table, url) = (format!("load_{}", mode.name()), server.url());
    let mut arguments =
        vec!["load", topic, "--into", &table, "-b", broker.bootstrap(), "-d", &url, "--mode", mode.name()];
    if mode == Mode::Upsert {
        arguments.push("--delete-on-tombstone");
    }
    arguments.into_iter().map(str::to_owned).collect()
}

fn sql(topic: &str, mode: Mode, on_error: &str, max_rows: Option<u32>) -> String {
    let (name, limit) = (mode.name(), max_rows.map_or("null".to_owned(), |rows| rows.to_string()));
    format!(
        "select * from kcopy.load('{topic}', 'sql_{name}', columns => 'key, n = value.n, partition, offset',
                                  mode => '{name}', on_error => '{on_error}', max_rows => {limit})"
    )
}

/// By turns straight and through a stage, bounded and not; some calls are rolled back.
fn call_until(stopped: &Receiver<()>, config: &Config, topic: &str, mode: Mode, mut random: Random) -> Tally {
    let mut tally = Tally::default();
    let mut session = None;
    while stopped.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
        let Some(mut client) = session.take().or_else(|| config.connect(NoTls).ok()) else { continue };
        let on_error = if random.chance(2) { "fail" } else { "skip" };
        let load = sql(topic, mode, on_error, random.chance(3).then_some(700));
        let is_undone = random.chance(8);
        let sql = if is_undone { format!("begin; {load}; rollback") } else { load };
        match client.batch_execute(&sql) {
            Ok(()) => {
                tally.committed += u64::from(!is_undone);
                session = Some(client);
            }
            Err(error) => {
                tally.failed += 1;
                tally.last =
                    error.as_db_error().map_or(error.to_string(), |error| error.message().to_owned());
            }
        }
    }
    tally
}
