//! Where the messages are: our broker, whose connections are cut, or an Apache Kafka that is killed.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use kcopy_tests::{Broker, project};

use crate::Random;

pub(crate) enum Source {
    Ours { broker: Broker, control: u16 },
    Apache(Apache),
}

/// An Apache Kafka of this test's own; it keeps its port and its data when it is killed.
pub(crate) struct Apache {
    broker: Broker,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    is_starting: bool,
    _child: Child,
}

impl Source {
    pub(crate) fn ours() -> Self {
        let control = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let control = control.expect("a port").port();
        Source::Ours { broker: Broker::ours(&["--control", &control.to_string()]), control }
    }

    pub(crate) fn apache_kafka(version: &str) -> Self {
        let mut command = Command::new(project().join("scripts/kafka"));
        // A broker that comes back has to wait until the controller has given its predecessor up.
        command.args([
            "serve",
            version,
            "broker.session.timeout.ms=1000",
            "broker.heartbeat.interval.ms=100",
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("scripts/kafka starts");
        let stdin = child.stdin.take().expect("stdin");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let broker = Broker::at(address(&mut stdout));
        Source::Apache(Apache { broker, stdin, stdout, is_starting: false, _child: child })
    }

    pub(crate) fn broker(&self) -> &Broker {
        match self {
            Source::Ours { broker, .. } | Source::Apache(Apache { broker, .. }) => broker,
        }
    }

    pub(crate) fn is_apache_kafka(&self) -> bool {
        matches!(self, Source::Apache(_))
    }

    /// Cuts connections, or kills; returns what it was.
    pub(crate) fn disturb(&mut self, random: &mut Random) -> &'static str {
        match self {
            Source::Ours { control, .. } => disturb_ours(*control, random),
            Source::Apache(apache) => {
                apache.settle();
                // The other kills came while it was starting: now it shall be at work.
                thread::park_timeout(Duration::from_millis(random.below(2000)));
                writeln!(apache.stdin, "restart").expect("scripts/kafka reads");
                apache.is_starting = true;
                "Apache Kafka"
            }
        }
    }

    /// Waits until it answers.
    pub(crate) fn settle(&mut self) {
        if let Source::Apache(apache) = self {
            apache.settle();
        }
    }
}

impl Apache {
    fn settle(&mut self) {
        if std::mem::take(&mut self.is_starting) {
            assert_eq!(address(&mut self.stdout), self.broker.bootstrap());
        }
    }
}

fn address(stdout: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line from scripts/kafka");
    assert!(line.contains(':'), "scripts/kafka says {line:?}, which is no address");
    line.trim().to_owned()
}

/// One connection, at the next request of some kind, before or after it is carried out; or all of them, and new ones
/// are refused for a while.
fn disturb_ours(control: u16, random: &mut Random) -> &'static str {
    if random.chance(3) {
        ask(control, "/nodes/1/stop", "");
        thread::park_timeout(Duration::from_millis(random.below(200)));
        ask(control, "/nodes/1/start", "");
        return "all connections";
    }
    let apis = ["Fetch", "Fetch", "Produce", "Produce", "ListOffsets", "Metadata", "OffsetForLeaderEpoch"];
    let api = random.pick(&apis).expect("one of them");
    let action = if random.chance(2) { "close" } else { "close_after" };
    ask(control, "/faults", &format!(r#"{{"action":"{action}","api":"{api}","times":1}}"#));
    "one connection"
}

fn ask(control: u16, path: &str, body: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", control)).expect("the control port");
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 2"), "{path}: {answer}");
}
