//! Kafka Connect, standalone, with Debezium's JDBC sink: when its rows are there.
//!
//! It is a service and does not end when it is through with a topic, so the table is watched.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use kcopy_tests::{Database, project};

use crate::{
    lab::Lab,
    measure::{Job, Started, Usage},
    server::Server,
};

const WORKER: &str = include_str!("../peers/worker.properties");
const CONNECTOR: &str = include_str!("../peers/debezium-jdbc.properties");

const LIMIT: Duration = Duration::from_secs(300);
/// What Connect logs when it gives up a task, and goes on without it.
const TASK_FAILED: &str = "Task threw an uncaught and unrecoverable exception";
/// The last row stands in one of the last blocks, since one task writes the rows in their order.
const BLOCKS_WITH_THE_LAST_ROW: u64 = 100;

/// Where its jars are.
pub(crate) struct Connect {
    /// Connect's own.
    pub(crate) jars: PathBuf,
    /// A folder with a folder for each plugin.
    pub(crate) plugins: PathBuf,
}

/// How a run went, from its start.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    first_rows_after: Duration,
    first_rows: u64,
    rows: u64,
    /// Its wall time ends with the last row.
    pub(crate) usage: Usage,
}

impl Progress {
    /// Rows for each second behind the first ones that were seen, when there are enough of them to say so.
    pub(crate) fn rate(&self, enough: u64) -> Option<f64> {
        let rows = self.rows.checked_sub(self.first_rows).filter(|rows| *rows >= enough)?;
        Some(rows as f64 / self.usage.wall.checked_sub(self.first_rows_after)?.as_secs_f64())
    }
}

impl Connect {
    /// `Connect 4.4.0, Debezium JDBC 3.5.0.Final`.
    pub(crate) fn versions(&self) -> Result<String> {
        let connect = version(&self.jars, "connect-runtime-")?;
        let debezium = version(&self.plugins.join("lib"), "debezium-connector-jdbc-")?;
        Ok(format!("Connect {connect}, Debezium JDBC {debezium}"))
    }

    /// Loads a topic of so many records into the table `bench`, which is empty, until the row with that id is there.
    pub(crate) fn load(
        &self,
        lab: &Lab,
        server: &Server,
        topic: &str,
        database: &mut Database,
        (rows, last_id): (u64, u64),
    ) -> Result<Progress> {
        let (worker, connector) = (lab.path("worker.properties"), lab.path("connector.properties"));
        fs::write(&worker, self.worker(server.bootstrap(), &lab.path("connect-offsets")))?;
        // A sink's positions are in Kafka, under a group that has its name.
        let (name, url) = (lab.fresh_name("peer"), jdbc(&database.url())?);
        fs::write(&connector, format!("{CONNECTOR}name={name}\ntopics={topic}\nconnection.url={url}\n"))?;
        let paths = [&self.jars, &worker, &connector].map(|path| path.to_string_lossy().into_owned());
        let started = Instant::now();
        let job = Job::new(lab, project().join("benches/peers/connect"));
        let mut running = job.args(&paths.each_ref().map(String::as_str)).start()?;
        let (first_rows, first_rows_after) = wait(&mut running, started, database, |database| {
            let rows = database.value("select count(*) from bench").parse::<u64>()?;
            Ok((rows > 0).then_some(rows))
        })?;
        let ((), wall) =
            wait(&mut running, started, database, |database| Ok(has_row(database, last_id)?.then_some(())))?;
        let usage = Usage { wall, ..running.stop()? };
        Ok(Progress { first_rows_after, first_rows, rows, usage })
    }

    fn worker(&self, bootstrap: &str, offsets: &Path) -> String {
        format!(
            "{WORKER}bootstrap.servers={bootstrap}\nplugin.path={}\noffset.storage.file.filename={}\n",
            self.plugins.display(),
            offsets.display()
        )
    }
}

/// Asks until there is an answer, and says when there was.
fn wait<T>(
    running: &mut Started<'_>,
    started: Instant,
    database: &mut Database,
    mut ask: impl FnMut(&mut Database) -> Result<Option<T>>,
) -> Result<(T, Duration)> {
    loop {
        if let Some(answer) = ask(database)? {
            return Ok((answer, started.elapsed()));
        }
        let log = running.stderr()?;
        if let Some(at) = log.find(TASK_FAILED) {
            bail!("Connect goes on without its task: {}", log[at..].chars().take(2_000).collect::<String>());
        }
        ensure!(!running.has_ended()?, "Connect has ended: {log}");
        ensure!(started.elapsed() < LIMIT, "Connect is not through after {LIMIT:?}: {log}");
        database.execute("select pg_sleep(0.02)");
    }
}

/// Without reading the whole table each time.
fn has_row(database: &mut Database, id: u64) -> Result<bool> {
    let blocks = "select pg_relation_size('bench') / current_setting('block_size')::int";
    let block = database.value(blocks).parse::<u64>()?.saturating_sub(BLOCKS_WITH_THE_LAST_ROW);
    Ok(database.value(&format!("select exists(select from bench where ctid >= '({block},0)' and id = {id})"))
        == "t")
}

/// JDBC wants the user elsewhere. With it, a batch of INSERTs would be one statement, where unnest did not do that.
fn jdbc(url: &str) -> Result<String> {
    let (_, place) = url.split_once('@').with_context(|| format!("{url} has no user"))?;
    Ok(format!("jdbc:postgresql://{place}?reWriteBatchedInserts=true"))
}

/// From the name of the jar.
fn version(folder: &Path, prefix: &str) -> Result<String> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(version) = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".jar")) {
            return Ok(version.to_owned());
        }
    }
    bail!("there is no {prefix}*.jar in {}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(first_rows: u64) -> Progress {
        let usage = Usage {
            wall: Duration::from_secs(12),
            cpu: Duration::from_secs(20),
            max_resident_bytes: 1 << 30,
        };
        Progress { first_rows_after: Duration::from_secs(7), first_rows, rows: 100_000, usage }
    }

    #[test]
    fn the_rate_leaves_out_the_start() {
        assert_eq!(progress(5_000).rate(50_000), Some(19_000.0));
    }

    #[test]
    fn few_rows_have_no_rate() {
        assert_eq!(progress(95_000).rate(50_000), None);
        assert_eq!(progress(100_000).rate(1), None);
    }

    #[test]
    fn jdbc_gets_host_port_and_database() {
        let url = jdbc("postgres://postgres@127.0.0.1:15432/test_0").unwrap();
        assert_eq!(url, "jdbc:postgresql://127.0.0.1:15432/test_0?reWriteBatchedInserts=true");
        assert!(jdbc("postgres:///test_0").is_err());
    }

    #[test]
    fn versions_are_in_the_names_of_the_jars() {
        let folder = tempfile::tempdir().unwrap();
        let connect = Connect { jars: folder.path().to_owned(), plugins: folder.path().to_owned() };
        assert!(connect.versions().is_err());
        fs::create_dir(folder.path().join("lib")).unwrap();
        for jar in [
            "connect-api-4.4.1.jar",
            "connect-runtime-4.4.0.jar",
            "lib/debezium-connector-jdbc-3.5.0.Final.jar",
        ] {
            fs::write(folder.path().join(jar), "").unwrap();
        }
        assert_eq!(connect.versions().unwrap(), "Connect 4.4.0, Debezium JDBC 3.5.0.Final");
    }

    #[test]
    fn what_the_run_knows_follows_the_fixed_part_on_lines_of_its_own() {
        let connect = Connect { jars: "/jars".into(), plugins: "/plugins".into() };
        let worker = connect.worker("127.0.0.1:9092", Path::new("/offsets"));
        let has = |line: &str| worker.lines().any(|other| other == line);
        assert!(has("plugin.discovery=service_load"), "{worker}");
        assert!(has("bootstrap.servers=127.0.0.1:9092"), "{worker}");
        assert!(has("offset.storage.file.filename=/offsets"), "{worker}");
        assert!(CONNECTOR.ends_with('\n'));
        let schema = CONNECTOR.lines().find_map(|line| line.strip_prefix("value.converter.schema.content="));
        serde_json::from_str::<serde_json::Value>(schema.unwrap()).unwrap();
    }
}
