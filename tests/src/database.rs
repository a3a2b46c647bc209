//! PostgreSQL: one throw-away cluster for each test program, one database in it for each test.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::{DEADLINE, kcopy_bin, project};

/// The cluster: `scripts/pg serve` keeps it up until the pipe to its stdin closes, which the end of this process does
/// too, whatever ends it.
struct Cluster {
    port: u16,
    folder: PathBuf,
    _child: Child,
    _stdin: ChildStdin,
}

impl Cluster {
    fn shared() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let mut command = Command::new(project().join("scripts/pg"));
        command.arg("serve").arg(kcopy_bin()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("scripts/pg starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout"))
            .read_line(&mut line)
            .expect("a line from scripts/pg");
        let facts: HashMap<_, _> = line.split_whitespace().filter_map(|fact| fact.split_once('=')).collect();
        let fact =
            |name| *facts.get(name).unwrap_or_else(|| panic!("scripts/pg says {line:?} without {name}"));
        Self {
            port: fact("port").parse().expect("a port"),
            folder: PathBuf::from(fact("dir")),
            _stdin: child.stdin.take().expect("stdin"),
            _child: child,
        }
    }
}

/// An error of PostgreSQL, taken apart.
#[derive(Debug)]
pub struct PgError {
    /// Its SQLSTATE.
    pub code: String,
    /// MESSAGE and DETAIL, joined by a newline.
    pub message: String,
    /// CONTEXT.
    pub context: String,
}

impl From<postgres::Error> for PgError {
    fn from(error: postgres::Error) -> Self {
        match error.as_db_error() {
            Some(error) => {
                let detail = error.detail().unwrap_or_default();
                let context = error.where_().unwrap_or_default().to_owned();
                let message = format!("{}\n{detail}", error.message());
                Self { code: error.code().code().to_owned(), message, context }
            }
            None => Self { code: String::new(), message: error.to_string(), context: String::new() },
        }
    }
}

/// A database for one test, reached over TCP as a superuser. Programs of COPY find `kcopy`, `kcat`, `kafkacat` and
/// `kafka-topics` by name.
pub struct Database {
    cluster: &'static Cluster,
    name: String,
    client: Client,
}

impl Database {
    /// Makes one.
    ///
    /// # Panics
    /// When there is no PostgreSQL to be had.
    pub fn create() -> Self {
        Self::create_as("")
    }

    /// Makes one with these options of `create database`.
    ///
    /// # Panics
    /// As [`Database::create`].
    pub fn create_as(options: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cluster = Cluster::shared();
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut first = connect(cluster, "postgres");
        first
            .batch_execute(&format!("create database {name} template template0 {options}"))
            .expect("create database");
        let client = connect(cluster, &name);
        Self { cluster, name, client }
    }

    /// Another session.
    pub fn connect(&self) -> Client {
        connect(self.cluster, &self.name)
    }

    /// Where it is, for programs that connect by themselves.
    pub fn url(&self) -> String {
        self.url_at(self.port())
    }

    /// The same through a [`Line`](crate::Line).
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{}", self.name)
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.cluster.port
    }

    /// PostgreSQL's version: 13 and later.
    ///
    /// # Panics
    /// When it does not say so.
    pub fn version(&mut self) -> i32 {
        self.value("show server_version_num").parse::<i32>().expect("a number") / 10_000
    }

    /// A folder that the server's user may read and others may fill.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn folder(&self) -> PathBuf {
        let folder = self.cluster.folder.join(format!("files-{}", self.name));
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// What the server wrote to its log: the only place where a program's stderr shows.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn server_log(&self) -> String {
        fs::read_to_string(self.cluster.folder.join("log")).expect("the server's log")
    }

    /// Runs statements whose result does not matter.
    ///
    /// # Panics
    /// When they fail.
    pub fn execute(&mut self, sql: &str) {
        self.client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {:?}", PgError::from(error)));
    }

    /// Runs one statement: the number of rows in its command tag (`COPY 12`).
    ///
    /// # Errors
    /// The server's.
    pub fn try_count(&mut self, sql: &str) -> Result<u64, PgError> {
        count(&mut self.client, sql)
    }

    /// Like [`Database::try_count`].
    ///
    /// # Panics
    /// When it fails.
    pub fn count(&mut self, sql: &str) -> u64 {
        self.try_count(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The error of a statement that must fail.
    ///
    /// # Panics
    /// When it succeeds.
    pub fn error(&mut self, sql: &str) -> PgError {
        match self.try_count(sql) {
            Ok(rows) => panic!("{sql} succeeds with {rows} rows and should fail"),
            Err(error) => error,
        }
    }

    /// The rows of a query as text, columns joined by `|`, NULL as `∅`.
    ///
    /// # Panics
    /// When it fails.
    pub fn rows(&mut self, sql: &str) -> Vec<String> {
        let messages = self.client.simple_query(sql);
        let messages = messages.unwrap_or_else(|error| panic!("{sql}: {:?}", PgError::from(error)));
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| (0..row.len()).map(|i| row.get(i).unwrap_or("∅")).collect::<Vec<_>>().join("|"))
            .collect()
    }

    /// The only value of a query.
    ///
    /// # Panics
    /// When there is not exactly one row.
    pub fn value(&mut self, sql: &str) -> String {
        let mut rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.remove(0)
    }

    /// Waits until the only value of a query is the expected one.
    ///
    /// # Panics
    /// When it never is.
    pub fn wait_for(&mut self, sql: &str, expected: &str) {
        let started = Instant::now();
        loop {
            let found = self.value(sql);
            if found == expected {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "{sql} says {found} and should say {expected}");
            self.execute("select pg_sleep(0.01)");
        }
    }
}

/// The number of rows in a statement's command tag.
fn count(client: &mut Client, sql: &str) -> Result<u64, PgError> {
    let messages = client.simple_query(sql)?;
    let complete = messages.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
        _ => None,
    });
    Ok(complete.unwrap_or(0))
}

fn connect(cluster: &Cluster, database: &str) -> Client {
    let mut config = Config::new();
    config.host("127.0.0.1").port(cluster.port).user("postgres").dbname(database);
    config.connect(NoTls).unwrap_or_else(|error| panic!("PostgreSQL on port {}: {error}", cluster.port))
}

/// A SQL literal.
pub fn sql_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
