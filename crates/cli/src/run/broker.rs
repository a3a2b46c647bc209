//! `kcopy broker`: an in-memory cluster, alone or around a command.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, IsTerminal, Write},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
};

use kcopy_mini_broker::{MiniCluster, PropertyEffect, property_effect};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use tracing_subscriber::filter::LevelFilter;

use super::{failure::Failure, told};
use crate::{
    control::Control,
    plan::BrokerPlan,
    process::{self, say},
};

/// Runs the cluster until a signal comes, or the command beside it ends.
///
/// # Errors
/// Settings that cannot be, an address that is taken, or the command's own exit code.
pub(super) fn run(plan: &BrokerPlan) -> Result<(), Failure> {
    told::all(match plan.verbosity {
        0 => LevelFilter::ERROR,
        1 => LevelFilter::WARN,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    });
    announce_properties(plan)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Told(format!("starting the broker: {error}")))?;
    runtime.block_on(serve(plan))
}

fn announce_properties(plan: &BrokerPlan) -> Result<(), Failure> {
    for (name, value) in &plan.configs {
        match property_effect(name, value) {
            Ok(PropertyEffect::ShownOnly) if plan.verbosity > 0 => {
                say!("kcopy broker: {name} is known, but has no effect on an in-memory broker");
            }
            Ok(_) => {}
            Err(error) => return Err(Failure::WrongUse(error.to_string())),
        }
    }
    Ok(())
}

async fn serve(plan: &BrokerPlan) -> Result<(), Failure> {
    // Before the line that says the broker is ready: from then on a signal may come.
    let mut signals = Signals::new()?;
    let (host, port) = &plan.listen;
    // A cluster and topics of its own each time: positions in another one mean nothing here.
    let seed = RandomState::new().hash_one(std::process::id());
    let mut builder = MiniCluster::builder().listen(host, *port).nodes(plan.nodes.into()).seed(seed);
    for (topic, partitions) in &plan.topics {
        builder = match partitions {
            Some(partitions) => builder.topic(topic, *partitions),
            None => builder.default_topic(topic),
        };
    }
    for (name, value) in &plan.configs {
        builder = builder.config(name, value);
    }
    let mut cluster = builder.start().await.map_err(|error| Failure::Told(error.to_string()))?;
    let control = listen_for_control(plan).await?;
    let servers = cluster.bootstrap_servers();
    let running = async {
        if plan.command.is_empty() {
            announce(&servers)?;
            signals.next().await;
            Ok(())
        } else {
            run_command(plan, &servers, control.as_ref().map(|(_, url)| url.as_str()), &mut signals).await
        }
    };
    let ended = match &control {
        None => running.await,
        Some((control, _)) => tokio::select! {
            ended = running => ended,
            never = control.serve(&mut cluster) => match never {},
        },
    };
    cluster.stop().await;
    ended
}

/// The control port, if one is wanted, with its URL.
async fn listen_for_control(plan: &BrokerPlan) -> Result<Option<(Control, String)>, Failure> {
    let Some((host, port)) = &plan.control else { return Ok(None) };
    let failed =
        |error: io::Error| Failure::Told(format!("listening on {host}:{port} for --control: {error}"));
    let control = Control::bind(host, *port).await.map_err(failed)?;
    let url = format!("http://{}", control.address().map_err(failed)?);
    if plan.verbosity > 0 && plan.command.is_empty() {
        say!("kcopy broker: control port at {url}");
    }
    Ok(Some((control, url)))
}

fn announce(servers: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{servers}").and_then(|()| stdout.flush()).map_err(Failure::writing)
}

async fn run_command(
    plan: &BrokerPlan,
    servers: &str,
    control_url: Option<&str>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let (program, arguments) = plan.command.split_first().expect("a command to run");
    let mut command = tokio::process::Command::new(program);
    command.args(arguments);
    for name in ["KCOPY_BROKERS", "BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"] {
        command.env(name, servers);
    }
    if let Some(url) = control_url {
        command.env("KCOPY_CONTROL_URL", url);
    }
    let mut child = command
        .spawn()
        .map_err(|error| Failure::Told(format!("starting {}: {error}", program.to_string_lossy())))?;
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => {
                break status.map_err(|error| Failure::Told(format!("waiting for the command: {error}")))?;
            }
            passed_on = signals.next() => {
                // A terminal's Ctrl-C and Ctrl-\ reach the command by itself.
                if let Some(id) = id && !(matches!(passed_on, Signal::INT | Signal::QUIT) && std::io::stdin().is_terminal()) {
                    // It may have ended in this very moment.
                    let _ = kill_process(id, passed_on);
                }
            }
        }
    };
    match exit_code(status) {
        0 => Ok(()),
        code => Err(Failure::Child(code)),
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

/// The signals that end the broker, or that its command gets.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// None where nohup has it ignored.
    hang_up: Option<tokio::signal::unix::Signal>,
    quit: tokio::signal::unix::Signal,
    user: [tokio::signal::unix::Signal; 2],
}

impl Signals {
    fn new() -> Result<Signals, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::Told(format!("listening for signals: {error}")));
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: if process::ignores_hang_up() { None } else { Some(listen(SignalKind::hangup())?) },
            quit: listen(SignalKind::quit())?,
            user: [listen(SignalKind::user_defined1())?, listen(SignalKind::user_defined2())?],
        })
    }

    async fn next(&mut self) -> Signal {
        let [first, second] = &mut self.user;
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            Some(_) = recv(&mut self.hang_up) => Signal::HUP,
            _ = self.quit.recv() => Signal::QUIT,
            _ = first.recv() => Signal::USR1,
            _ = second.recv() => Signal::USR2,
        }
    }
}

async fn recv(signal: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}
