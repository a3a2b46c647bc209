//! Where the messages are: our broker, whose connections are cut, or an Apache Kafka that is killed.

use std::{
    io::{BufRead, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use kcopy_tests::{Broker, project};

use crate::Random;

pub(crate) enum Source {
    Ours(Broker),
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
        Source::Ours(Broker::controlled())
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
            Source::Ours(broker) | Source::Apache(Apache { broker, .. }) => broker,
        }
    }

    pub(crate) fn is_apache_kafka(&self) -> bool {
        matches!(self, Source::Apache(_))
    }

    /// Cuts connections, or kills; returns what it was.
    pub(crate) fn disturb(&mut self, random: &mut Random) -> &'static str {
        match self {
            Source::Ours(broker) => disturb_ours(broker, random),
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
fn disturb_ours(broker: &Broker, random: &mut Random) -> &'static str {
    if random.chance(3) {
        broker.control("POST /nodes/1/stop", "");
        thread::park_timeout(Duration::from_millis(random.below(200)));
        broker.control("POST /nodes/1/start", "");
        return "all connections";
    }
    let apis = ["Fetch", "Fetch", "Produce", "Produce", "ListOffsets", "Metadata", "OffsetForLeaderEpoch"];
    let api = random.pick(&apis).expect("one of them");
    let action = if random.chance(2) { "close" } else { "close_after" };
    broker.control("POST /faults", &format!(r#"{{"action":"{action}","api":"{api}","times":1}}"#));
    "one connection"
}
