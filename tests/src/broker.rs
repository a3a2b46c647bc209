//! The broker that a test talks to: ours, or Apache Kafka.

use std::{
    env,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Output, process, program, run, run_with};

/// A broker for one test. Ours is started for it and stopped with it; Apache Kafka (`KCOPY_KAFKA`) is shared, and
/// topics get names of their own there.
pub struct Broker {
    bootstrap: String,
    suffix: String,
    /// The port of its control.
    control: Option<u16>,
    child: Option<Child>,
    /// Kept open, lest the broker finds nobody there.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Broker {
    /// Apache Kafka where `KCOPY_KAFKA` names one, else [`Broker::ours`] without arguments.
    pub fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        match env::var("KCOPY_KAFKA") {
            Ok(bootstrap) => {
                let count = COUNT.fetch_add(1, Ordering::Relaxed);
                Self {
                    bootstrap,
                    suffix: format!("-{}-{count}", std::process::id()),
                    control: None,
                    child: None,
                    _stdout: None,
                }
            }
            Err(_) => Self::ours(&[]),
        }
    }

    /// Our own broker, with these arguments of `kcopy broker`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn ours(arguments: &[&str]) -> Self {
        Self::ours_at("127.0.0.1:0", arguments)
    }

    /// Our own broker, which [`Broker::control`] can tell what to do.
    ///
    /// # Panics
    /// When it does not start.
    pub fn controlled() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.expect("a port").port();
        let mut broker = Self::ours(&["--control", &port.to_string()]);
        broker.control = Some(port);
        broker
    }

    /// Sends `METHOD PATH` to the control port of [`Broker::controlled`].
    ///
    /// # Panics
    /// When it has none, or it refuses.
    pub fn control(&self, request: &str, body: &str) {
        let port = self.control.expect("a control port");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the control port");
        let length = body.len();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 2"), "{request}: {answer}");
    }

    /// One that somebody else has started, at `HOST:PORT`.
    pub fn at(bootstrap: String) -> Self {
        Self { bootstrap, suffix: String::new(), control: None, child: None, _stdout: None }
    }

    fn ours_at(address: &str, arguments: &[&str]) -> Self {
        let mut command = program("kcopy");
        command.args(["broker", "--listen", address]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("kcopy broker starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout"));
        stdout.read_line(&mut line).expect("the bootstrap line");
        let bootstrap = line.trim().to_owned();
        assert!(bootstrap.contains(':'), "kcopy broker says {bootstrap:?} and not HOST:PORT");
        Self { bootstrap, suffix: String::new(), control: None, child: Some(child), _stdout: Some(stdout) }
    }

    /// `HOST:PORT`, for `-b`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Is it Apache Kafka?
    pub fn is_apache_kafka(&self) -> bool {
        self.child.is_none()
    }

    /// The name under which this test knows that topic.
    pub fn topic(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    /// What only this test's commands have on their command line.
    fn mark(&self) -> &str {
        if self.suffix.is_empty() { &self.bootstrap } else { &self.suffix }
    }

    /// The processes of this test that are still there.
    pub fn leftovers(&self) -> Vec<String> {
        process::leftovers(self.mark())
    }

    /// Kills it without a farewell.
    ///
    /// # Panics
    /// When it is not ours.
    pub fn kill(&mut self) {
        let child = self.child.as_mut().expect("only our own broker can be killed");
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    /// Kills it, and starts another one at its address: another cluster, without any topic.
    ///
    /// # Panics
    /// When it is not ours.
    pub fn replace(&mut self) {
        self.kill();
        *self = Self::ours_at(&self.bootstrap, &[]);
    }

    /// Creates a topic and returns its name here.
    pub fn create(&self, name: &str, partitions: u32) -> String {
        let topic = self.topic(name);
        let partitions = partitions.to_string();
        let arguments =
            ["--create", "--replication-factor", "1", "--partitions", &partitions, "--topic", &topic];
        self.topics(&arguments).expect_success();
        topic
    }

    /// `kafka-topics` with these arguments.
    pub fn topics(&self, arguments: &[&str]) -> Output {
        run(program("kafka-topics").args(["--bootstrap-server", &self.bootstrap]).args(arguments))
    }

    /// `kafkacat -b BROKER` with these arguments and that input.
    pub fn kcat(&self, arguments: &[&str], input: &[u8]) -> Output {
        run_with(program("kafkacat").args(["-b", &self.bootstrap]).args(arguments), input)
    }

    /// `kcopy VERB -b BROKER` with these arguments and that input.
    pub fn kcopy(&self, verb: &str, arguments: &[&str], input: &[u8]) -> Output {
        run_with(program("kcopy").args([verb, "-b", &self.bootstrap]).args(arguments), input)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                // It may have been killed by the test.
                let _ = kill_process(pid, Signal::TERM);
            }
            if !process::ends_within(child.id(), crate::DEADLINE) {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }
}
