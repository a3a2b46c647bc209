//! What a run without end owes the system that it runs under: signals, systemd's notifications.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::Arc,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use super::shared::{Command, Shared};

/// How long a run that shall end waits for a side that does not answer.
const GRACE: Duration = Duration::from_secs(8);

/// The signals that end a run in an orderly way: what was read is committed first. A second one ends it at
/// once; what was not committed is loaded by the next run.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Must be called on a runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }

    /// Waits for signals, for as long as the run lasts. `ended_by` is set to the number of the first.
    pub(super) async fn watch(
        mut self,
        shared: Arc<Shared>,
        commander: Arc<watch::Sender<Command>>,
        ended_by: watch::Sender<Option<i32>>,
        notify: Arc<Notify>,
    ) {
        let number = self.next().await;
        notify.send("STOPPING=1");
        shared.reporter.tell("stopping", &format!("signal {number}: finishing what was read"));
        ended_by.send_replace(Some(number));
        commander.send_replace(Command::Stop);
        let second = tokio::select! {
            number = self.next() => number,
            () = patience(&shared) => {
                let text = format!("what was read could not be committed within {GRACE:?}: the next run loads it");
                shared.reporter.tell("given_up", &text);
                number
            }
        };
        std::process::exit(128 + second);
    }
}

/// Lasts for as long as a run that shall end is waited for: a batch may take its time, as long as PostgreSQL answers.
async fn patience(shared: &Shared) {
    tokio::time::sleep(GRACE).await;
    while shared.was_heard_within(GRACE) {
        tokio::time::sleep(GRACE / 16).await;
    }
}

/// systemd's socket for `Type=notify`, where there is one.
pub(super) struct Notify(Option<UnixDatagram>);

impl Notify {
    /// From `NOTIFY_SOCKET`.
    pub(super) fn new() -> Notify {
        Notify(env::var_os("NOTIFY_SOCKET").and_then(|path| {
            let socket = UnixDatagram::unbound().ok()?;
            let bytes = path.as_encoded_bytes();
            let address = match bytes.strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&path),
            };
            socket.connect_addr(&address.ok()?).ok()?;
            Some(socket)
        }))
    }

    /// Tells systemd. Whether anybody listens changes nothing of the load.
    pub(super) fn send(&self, state: &str) {
        if let Some(socket) = &self.0 {
            let _ = socket.send(state.as_bytes());
        }
    }

    /// Shows signs of life, twice as often as systemd wants them, for as long as the network's thread runs
    /// and PostgreSQL says anything at all.
    pub(super) async fn watchdog(self: Arc<Self>, shared: Arc<Shared>) {
        let is_meant = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let period = env::var("WATCHDOG_USEC").ok().and_then(|period| period.parse().ok());
        let Some(period) = period.filter(|period| is_meant && *period > 1) else { return };
        let mut ticks = tokio::time::interval(Duration::from_micros(period) / 2);
        loop {
            ticks.tick().await;
            if !shared.is_silent() {
                self.send("WATCHDOG=1");
            }
        }
    }
}
