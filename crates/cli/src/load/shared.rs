//! What all workers of a run share: what was asked for, whether it shall end, and what has happened so far.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use kcopy_client::{Client, wire::Str};
use serde_json::{Value, json};
use tokio::{runtime::Handle, sync::watch};

use super::pulse::Pulse;
use crate::plan::Load;
use crate::process::say;

/// Whether workers go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// They do.
    Run,
    /// They finish what they have read, and end, to begin anew with what has changed.
    Reload,
    /// They finish what they have read, and end.
    Stop,
}

/// What there is to load has changed: all end and begin anew, unless they shall stop.
pub(super) fn reload(commander: &watch::Sender<Command>) {
    commander.send_if_modified(|command| {
        let is_running = *command == Command::Run;
        if is_running {
            *command = Command::Reload;
        }
        is_running
    });
}

/// See the module.
pub(super) struct Shared {
    pub(super) plan: Arc<Load>,
    pub(super) client: Client,
    pub(super) handle: Handle,
    pub(super) command: watch::Receiver<Command>,
    pub(super) stats: Stats,
    pub(super) reporter: Reporter,
    /// Those of all who wait for PostgreSQL.
    pub(super) pulses: Mutex<Vec<Weak<Pulse>>>,
}

impl Shared {
    /// One more that the watchdog looks at, for as long as it is there.
    pub(super) fn new_pulse(&self) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::new(self.plan.write_timeout));
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(|pulse| pulse.strong_count() > 0);
        pulses.push(Arc::downgrade(&pulse));
        pulse
    }

    /// Whether somebody has heard nothing of PostgreSQL for too long.
    pub(super) fn is_silent(&self) -> bool {
        let pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.iter().filter_map(Weak::upgrade).any(|pulse| pulse.is_silent())
    }

    /// Whether PostgreSQL, which somebody is waiting for, has said something in this time.
    pub(super) fn was_heard_within(&self, time: Duration) -> bool {
        let pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.iter().filter_map(Weak::upgrade).any(|pulse| pulse.was_heard_within(time))
    }

    /// Does `work`, unless there is a command first.
    pub(super) async fn unless_told<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut command = self.command.clone();
        tokio::select! {
            // Its sender lives as long as the run.
            _ = command.wait_for(|command| *command != Command::Run) => None,
            done = work => Some(done),
        }
    }
}

/// Counters, for metrics and for the last words.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) records: AtomicU64,
    /// By the place of the table.
    pub(super) tables: Vec<TableStats>,
    pub(super) commits: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) failures: AtomicU64,
    /// When the last transaction committed, in milliseconds since 1970; 0 before the first.
    pub(super) last_commit_ms: AtomicI64,
    /// From the timestamp of the newest record of the last transaction to its commit; -1 before the first.
    pub(super) latency_ms: AtomicI64,
    pub(super) partitions: Mutex<BTreeMap<(Str, i32), Progress>>,
}

/// What one table got.
#[derive(Debug, Default)]
pub(super) struct TableStats {
    /// As it is written in SQL.
    pub(super) name: String,
    pub(super) records: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) rejected: AtomicU64,
}

/// Where a partition is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// The next offset to load.
    pub(super) position: i64,
    /// The end of its log as it was last seen.
    pub(super) end: i64,
}

impl Stats {
    pub(super) fn new(tables: Vec<String>) -> Stats {
        let tables = tables.into_iter().map(|name| TableStats { name, ..TableStats::default() });
        Stats { tables: tables.collect(), latency_ms: AtomicI64::new(-1), ..Stats::default() }
    }

    pub(super) fn progress(&self, topic: &Str, partition: i32, change: impl FnOnce(&mut Progress)) {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        change(partitions.entry((topic.clone(), partition)).or_default());
    }

    /// Offsets between the positions and the ends.
    pub(super) fn left(&self) -> u64 {
        let partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.values().map(|progress| (progress.end - progress.position).max(0) as u64).sum()
    }

    /// Adds, and returns what it was before.
    pub(super) fn add(counter: &AtomicU64, count: u64) -> u64 {
        counter.fetch_add(count, Ordering::Relaxed)
    }

    pub(super) fn of(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// Tells people on stderr and programs on stdout what happens.
#[derive(Debug)]
pub(super) struct Reporter {
    pub(super) is_quiet: bool,
    pub(super) json: bool,
    pub(super) progress: crate::run::progress::Progress,
    /// Why an event was not written.
    pub(super) unwritten: OnceLock<String>,
}

impl Reporter {
    /// Something that people want to know. `event` names it for programs.
    pub(super) fn tell(&self, event: &str, text: &str) {
        if !self.is_quiet {
            self.progress.suspend(|| say!("% {text}"));
        }
        self.event(event, json!({ "message": text }));
    }

    /// An event for programs: `fields` is an object.
    pub(super) fn event(&self, event: &str, mut fields: Value) {
        if !self.json {
            return;
        }
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("event".into(), event.into());
            fields.insert("at_ms".into(), now_ms().into());
        }
        // What is wrong with standard output must not stop the load. At its end it counts.
        if let Err(error) = writeln!(std::io::stdout().lock(), "{fields}") {
            self.unwritten.get_or_init(|| {
                let text = format!("writing events to standard output: {error}");
                self.progress.suspend(|| say!("kcopy: {text}; loading goes on without"));
                text
            });
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
