//! A PostgreSQL of this test's own, which may be killed.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kcopy_tests::{DEADLINE, kcopy_bin, kill, project};
use postgres::{Client, Config, NoTls};
use rustix::process::Signal;

pub(crate) struct Server {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    facts: HashMap<String, String>,
    _child: Child,
}

impl Server {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(project().join("scripts/pg"));
        command.arg("serve").arg(kcopy_bin()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("scripts/pg starts");
        let stdin = child.stdin.take().expect("stdin");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let mut server = Self { stdin, stdout, facts: HashMap::new(), _child: child };
        server.read_facts();
        server
    }

    fn read_facts(&mut self) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line from scripts/pg");
        let facts = line.split_whitespace().filter_map(|fact| fact.split_once('='));
        self.facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert!(self.facts.contains_key("pid"), "scripts/pg says {line:?}");
    }

    /// Kills the postmaster, which takes its children with it, and starts another one.
    pub(crate) fn kill(&mut self) {
        kill(self.facts["pid"].parse().expect("a process id"), Signal::KILL);
        writeln!(self.stdin, "restart").expect("scripts/pg reads");
        self.read_facts();
    }

    pub(crate) fn folder(&self) -> PathBuf {
        PathBuf::from(&self.facts["dir"])
    }

    /// Where it is, now and after it was killed.
    pub(crate) fn config(&self, application_name: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.facts["port"].parse().expect("a port"));
        config.user("postgres").dbname("postgres").application_name(application_name);
        config
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.facts["port"])
    }

    /// A session, once the server takes one: after a crash it recovers first.
    pub(crate) fn connect(&self) -> Client {
        let config = self.config("the driver");
        let until = Instant::now() + DEADLINE;
        loop {
            match config.connect(NoTls) {
                Ok(client) => return client,
                Err(error) => {
                    assert!(Instant::now() < until, "no connection: {error}");
                    thread::park_timeout(Duration::from_millis(10));
                }
            }
        }
    }
}
