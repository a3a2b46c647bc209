//! A database with `kcopy sql` installed, and a broker that only the server knows.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{Broker, Database, PgError, program, run};

/// What the tests of `kcopy.load` need: a broker, and a database whose functions find it by the server's own
/// configuration.
pub struct Loading {
    /// The broker.
    pub broker: Broker,
    /// The database.
    pub database: Database,
}

impl Loading {
    /// Starts a broker of our own and installs the functions.
    ///
    /// # Panics
    /// When that fails.
    pub fn start() -> Self {
        Self::on(Broker::ours(&[]), Database::create())
    }

    /// Installs the functions for this broker.
    ///
    /// # Panics
    /// When that fails.
    pub fn on(broker: Broker, mut database: Database) -> Self {
        // Roles belong to the whole cluster, and the tests of a program share one.
        static INSTALLING: Mutex<()> = Mutex::new(());
        let path = server_program(&database.folder(), broker.bootstrap());
        let installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
        database.execute(&installation(&path));
        drop(installing);
        Self { broker, database }
    }

    /// Makes a topic, without messages, and returns its name.
    pub fn topic(&self, name: &str, partitions: u32) -> String {
        self.broker.create(name, partitions)
    }

    /// Produces `KEY\tVALUE` lines to one partition.
    ///
    /// # Panics
    /// When it fails.
    pub fn produce(&self, topic: &str, partition: i32, lines: &[&str]) {
        let mut input = String::new();
        for line in lines {
            input.push_str(&format!("{partition}\t{line}\n"));
        }
        let columns = ["--columns", "partition int4, key, value", topic];
        self.broker.kcopy("produce", &columns, input.as_bytes()).expect_success();
    }

    /// The result of `kcopy.load` with these arguments, as `partition|rows|rejected|next_offset`.
    pub fn load(&mut self, arguments: &str) -> Vec<String> {
        self.database.rows(&format!("select * from kcopy.load({arguments})"))
    }

    /// The error of `kcopy.load` with these arguments.
    pub fn error(&mut self, arguments: &str) -> PgError {
        self.database.error(&format!("select * from kcopy.load({arguments})"))
    }

    /// Positions as `partition|next_offset|rows`.
    pub fn positions(&mut self) -> Vec<String> {
        self.database
            .rows("select partition, next_offset, rows from kcopy.offsets order by target, topic, partition")
    }
}

/// The program as the server starts it: the brokers are in its environment.
///
/// # Panics
/// When it cannot be written.
pub fn server_program(folder: &Path, brokers: &str) -> PathBuf {
    // The name holds what has to be quoted, for SQL and for the shell.
    let path = folder.join(r"it's kc$(opy) \\ here");
    let script = format!("#!/bin/sh\nKCOPY_BROKERS={brokers} exec kcopy \"$@\"\n");
    fs::write(&path, script).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its rights");
    path
}

/// What `kcopy sql` prints for a program.
///
/// # Panics
/// When it fails.
pub fn installation(path: &Path) -> String {
    run(program("kcopy").arg("sql").arg("--program").arg(path)).expect_success().text().to_owned()
}
