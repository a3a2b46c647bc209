//! `kcopy load` between a broker and a database of its own.

use crate::{Broker, Database, Output, Running, program, run};

/// A broker, a database, and the program that loads from the one into the other.
pub struct WireLoad {
    /// Where topics are.
    pub broker: Broker,
    /// Where tables are.
    pub database: Database,
}

impl WireLoad {
    /// Both of them fresh.
    #[expect(clippy::new_without_default, reason = "it starts programs")]
    pub fn new() -> Self {
        Self::on(Broker::start())
    }

    /// With that broker, and a fresh database.
    pub fn on(broker: Broker) -> Self {
        Self { broker, database: Database::create() }
    }

    /// Writes lines `key:value`.
    pub fn produce(&self, topic: &str, lines: &str) {
        self.broker.kcat(&["-P", "-t", topic, "-K:"], lines.as_bytes()).expect_success();
    }

    /// `kcopy load` with these arguments.
    pub fn load(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["-d"];
        let url = self.database.url();
        all.push(&url);
        all.extend(arguments);
        self.broker.kcopy("load", &all, b"")
    }

    /// `kcopy topic` with these arguments.
    pub fn topic(&self, arguments: &[&str]) {
        run(program("kcopy").arg("topic").args(arguments).args(["-b", self.broker.bootstrap()]))
            .expect_success();
    }

    /// Starts `kcopy load` with these arguments, and does not wait for its end.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = program("kcopy");
        command.args(["load", "-b", self.broker.bootstrap(), "-d", &self.database.url()]).args(arguments);
        Running::start(&mut command)
    }

    /// [`Database::wait_for`].
    pub fn wait_for(&mut self, query: &str, expected: &str) {
        self.database.wait_for(query, expected);
    }
}

/// Records with a key, `n` and a name, as `kcat -K:` reads them.
pub fn numbers(from: u32, until: u32) -> String {
    (from..until).map(|n| format!("k{n}:{{\"n\":{n},\"name\":\"name {n}\"}}\n")).collect()
}
