//! The brokers that the clients talk to: ours and Apache Kafka, each a process of its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Lab;

/// Whose broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// `kcopy broker`.
    Kcopy,
    /// Apache Kafka.
    Kafka,
}

/// A running broker. It ends with this value, and with this process however that ends.
pub(crate) struct Server {
    kind: Kind,
    name: String,
    bootstrap: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
    stdin: Option<ChildStdin>,
    ready_after: Duration,
}

impl Server {
    /// `kcopy broker`.
    pub(crate) fn ours() -> Result<Self> {
        let mut command = kcopy_tests::program("kcopy");
        command.args(["broker", "--listen", "127.0.0.1:0"]).stdin(Stdio::null());
        Self::start(Kind::Kcopy, "kcopy broker".to_owned(), command)
    }

    /// Apache Kafka, where Java and its jars are there.
    pub(crate) fn kafka(version: &str) -> Result<Self> {
        let mut command = Command::new(kcopy_tests::project().join("scripts/kafka"));
        command.args(["serve", version]).stdin(Stdio::piped());
        Self::start(Kind::Kafka, format!("Apache Kafka {version}"), command)
    }

    /// Ours inside this program, where a slow network can be simulated.
    pub(crate) fn simulated(lab: &Lab) -> Result<Self> {
        let mut command = Command::new(&lab.own_program);
        command.arg("simulated").stdin(Stdio::piped());
        Self::start(Kind::Kcopy, "kcopy broker, simulated network".to_owned(), command)
    }

    fn start(kind: Kind, name: String, mut command: Command) -> Result<Self> {
        let started = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting {name}"))?;
        let mut stdout = BufReader::new(child.stdout.take().context("a pipe from stdout")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let ready_after = started.elapsed();
        let bootstrap = line.trim().to_owned();
        let stdin = child.stdin.take();
        let server = Self { kind, name, bootstrap, child, stdout, stdin, ready_after };
        ensure!(server.bootstrap.contains(':'), "{} says {line:?} and not HOST:PORT", server.name);
        Ok(server)
    }

    /// Whose it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `HOST:PORT`.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// From its start to the line that says where it answers.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The memory that it holds now.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib = kib.context("no VmRSS in /proc/PID/status")?.trim().parse::<u64>()?;
        Ok(kib * 1_024)
    }

    /// A simulated broker answers that much later from now on.
    pub(crate) fn set_round_trip(&mut self, round_trip: Duration) -> Result<()> {
        use std::io::Write;

        let stdin = self.stdin.as_mut().context("a simulated broker")?;
        writeln!(stdin, "{}", round_trip.as_millis())?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(line.trim() == "ok", "{} says {line:?} and not ok", self.name);
        Ok(())
    }

    /// Creates a topic under a name of its own.
    pub(crate) fn create_topic(&self, lab: &Lab, partitions: u32) -> Result<String> {
        let topic = lab.fresh_name("bench");
        let partitions = partitions.to_string();
        self.topics(&[
            "--create",
            "--replication-factor",
            "1",
            "--partitions",
            &partitions,
            "--topic",
            &topic,
        ])?;
        Ok(topic)
    }

    /// Forgets a topic and what it holds.
    pub(crate) fn delete_topic(&self, topic: &str) -> Result<()> {
        self.topics(&["--delete", "--topic", topic])
    }

    fn topics(&self, arguments: &[&str]) -> Result<()> {
        let mut command = kcopy_tests::program("kafka-topics");
        let output = command.args(["--bootstrap-server", &self.bootstrap]).args(arguments).output()?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("kafka-topics {} ends with {}: {}", arguments.join(" "), output.status, stderr.trim());
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either may be gone already: waiting for it is what counts.
        self.stdin = None;
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
