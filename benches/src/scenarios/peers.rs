//! `kcopy load` beside what people use to fill a table from Kafka: a Python script (confluent-kafka, psycopg's COPY) and
//! Debezium's JDBC sink in Kafka Connect, standalone. All of them read the same bytes from Kafka and write into the same
//! logged table; neither of the two is exactly once.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use kcopy_tests::{Database, project};

use super::{
    compared,
    load::{DIGEST, FIRST_ID, empty, fill, load},
    median_wall, rate,
};
use crate::{
    connect::{Connect, Progress},
    lab::{Lab, note},
    measure::{Job, Usage, median},
    report::{Cell, Report, Row, Unit},
    server::Server,
};

/// Debezium's sink is slow: enough for its compiled code to count, and no more.
const DEBEZIUM_RECORDS: u64 = 200_000;
/// With fewer behind the first ones that were seen, a rate says nothing.
const RECORDS_FOR_A_RATE: u64 = 50_000;

const PYTHON: &str = "Python, psycopg COPY";
const DEBEZIUM: &str = "Connect, Debezium JDBC";

/// Each of them that is there.
pub(super) fn run(lab: &Lab, server: &Server, report: &mut Report) -> Result<()> {
    let python = python(report);
    let connect = prepared(["connect", "debezium"], DEBEZIUM, report);
    let connect = connect.map(|[jars, plugins]| Connect { jars, plugins });
    if python.is_none() && connect.is_none() {
        return Ok(());
    }
    let mut database = Database::create();
    let ours = beside_python(lab, server, &mut database, python.as_deref(), report)?;
    if let Some(connect) = connect {
        report.facts.push(("Connect", connect.versions()?));
        beside_debezium(lab, server, &mut database, &connect, &ours, report)?;
    }
    Ok(())
}

/// One that is new enough for the script.
fn python(report: &mut Report) -> Option<PathBuf> {
    let [python] = prepared(["psycopg"], PYTHON, report)?;
    let check = "import sys; sys.exit(sys.version_info < (3, 11))";
    if Command::new(&python).args(["-c", check]).status().is_ok_and(|status| status.success()) {
        return Some(python);
    }
    skipped(PYTHON, "it needs Python 3.11", report);
    None
}

/// What `scripts/setup` prints for each of these, or a fact that says what is skipped.
fn prepared<const N: usize>(names: [&str; N], who: &str, report: &mut Report) -> Option<[PathBuf; N]> {
    let paths = names.map(|name| {
        let output =
            Command::new(project().join("scripts/setup")).arg(name).stderr(Stdio::inherit()).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    });
    if paths.iter().any(Option::is_none) {
        skipped(who, "it cannot be had here", report);
        return None;
    }
    Some(paths.map(Option::unwrap_or_default))
}

/// Says so, here and in the report.
pub(super) fn skipped(who: &str, why: &str, report: &mut Report) {
    note(&format!("without {who}: {why}"));
    report.facts.push(("skipped", format!("kcopy load beside {who}: {why}")));
}

/// All records, where there is a Python. What kcopy took is returned in any case.
fn beside_python(
    lab: &Lab,
    server: &Server,
    database: &mut Database,
    python: Option<&Path>,
    report: &mut Report,
) -> Result<Vec<Usage>> {
    let records = lab.options.records;
    let topic = server.create_topic(lab, 1)?;
    fill(lab, server, &topic, records)?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..lab.options.pairs {
        ours.push(load(lab, server, &topic, database)?);
        let expected = loaded(database, records)?;
        let Some(python) = python else { continue };
        empty(database);
        let script = project().join("benches/peers/load.py");
        let (group, url) = (lab.fresh_name("peer"), database.url());
        let arguments = [&*script.to_string_lossy(), server.bootstrap(), &topic, &group, &url, "bench"];
        theirs.push(Job::new(lab, python).args(&arguments).run()?);
        same(&loaded(database, records)?, &expected, PYTHON)?;
    }
    server.delete_topic(&topic)?;
    if let Some(python) = python {
        report.facts.push(("Python", python_versions(lab, python)?));
        let (scenario, runs) = ("kcopy load, JSON".to_owned(), (&*theirs, &*ours));
        report.push(compared(scenario, server.name(), PYTHON, runs, rate(records), vec![]));
    }
    Ok(ours)
}

/// Fewer records, for both. `all` is what kcopy took for all of them.
fn beside_debezium(
    lab: &Lab,
    server: &Server,
    database: &mut Database,
    connect: &Connect,
    all: &[Usage],
    report: &mut Report,
) -> Result<()> {
    let records = lab.options.records.min(DEBEZIUM_RECORDS);
    let topic = server.create_topic(lab, 1)?;
    fill(lab, server, &topic, records)?;
    let (mut theirs, mut ours) = (Vec::<Progress>::new(), Vec::new());
    for _ in 0..lab.options.pairs {
        ours.push(load(lab, server, &topic, database)?);
        let expected = loaded(database, records)?;
        empty(database);
        theirs.push(connect.load(lab, server, &topic, database, (records, FIRST_ID + records - 1))?);
        same(&loaded(database, records)?, &expected, DEBEZIUM)?;
    }
    server.delete_topic(&topic)?;
    let usages: Vec<_> = theirs.iter().map(|progress| progress.usage).collect();
    let scenario = format!("kcopy load, JSON, {} k records, from its start", records / 1_000);
    report.push(compared(scenario, server.name(), DEBEZIUM, (&usages, &ours), rate(records), vec![]));
    let rates: Option<Vec<_>> = theirs.iter().map(|progress| progress.rate(RECORDS_FOR_A_RATE)).collect();
    if let Some(rates) = rates {
        report.push(rate_row(server, median(rates), lab.options.records as f64 / median_wall(all)));
    }
    Ok(())
}

fn loaded(database: &mut Database, records: u64) -> Result<String> {
    let digest = database.value(DIGEST);
    ensure!(digest.starts_with(&format!("{records} ")), "{digest} rows and not {records}");
    Ok(digest)
}

fn same(theirs: &str, ours: &str, who: &str) -> Result<()> {
    ensure!(theirs == ours, "{who} loaded other rows than kcopy: {theirs} and {ours}");
    Ok(())
}

fn python_versions(lab: &Lab, python: &Path) -> Result<String> {
    let code = "import platform, confluent_kafka, psycopg; print(platform.python_version() + ', confluent-kafka ' + \
                confluent_kafka.__version__ + ', psycopg ' + psycopg.__version__ + ' (' + psycopg.pq.__impl__ + ')')";
    let (_, output) = Job::new(lab, python).args(&["-c", code]).output()?;
    Ok(String::from_utf8(output)?.trim().to_owned())
}

/// Theirs without its start, ours with it, over all records: a start-up hardly counts there.
fn rate_row(server: &Server, theirs: f64, ours: f64) -> Row {
    let cell = |value| Cell { value, unit: Unit::RecordsPerSecond, cpu_seconds: None };
    Row {
        scenario: "kcopy load, JSON, without Connect's start".to_owned(),
        broker: server.name().to_owned(),
        against: DEBEZIUM.to_owned(),
        theirs: Some(cell(theirs)),
        ours: cell(ours),
        wall: Some(ours / theirs),
        cpu: None,
        targets: vec![],
    }
}
