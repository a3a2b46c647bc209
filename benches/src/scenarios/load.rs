//! `kcopy load`, exactly once, beside `psql \copy` of the same rows as a ready binary file, and `kcopy.load` inside
//! PostgreSQL beside COPY FROM PROGRAM 'cat' of that file.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use kcopy_tests::{Database, installation, kcopy_bin, server_program};

use crate::{
    lab::{Lab, first_line, note},
    measure::median,
    report::{Cell, Measure, Report, Row, Target, Unit},
    server::Server,
};

/// The id of the first record; each one is the one before and 1.
pub(super) const FIRST_ID: u64 = 1_000_000_000;
/// Equal for equal rows, in whatever order.
pub(super) const DIGEST: &str = "select count(*) || ' ' || sum(hashtextextended(bench::text, 0)) from bench";
const COLUMNS: &str = "(id int8, customer int8, name text, at timestamptz)";

/// One connection each, into a table that is logged: positions and rows must share their fate.
pub(super) fn run(lab: &Lab, server: &Server, report: &mut Report) -> Result<()> {
    if first_line("psql", "--version").is_err() {
        note("without psql: kcopy load is not compared");
        report.facts.push(("skipped", "kcopy load beside psql: it is not installed".to_owned()));
        return Ok(());
    }
    let mut database = Database::create();
    let records = lab.options.records;
    let topic = server.create_topic(lab, 1)?;
    fill(lab, server, &topic, records)?;
    let file = database.folder().join("rows");
    let (mut theirs, mut ours, mut loaded) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..lab.options.pairs {
        empty(&mut database);
        ours.push(load(server, &topic, &database.url())?);
        loaded.push(database.value(DIGEST));
        if number == 0 {
            // Anybody may read it: the server's user does, for `cat`.
            let copy = format!("\\copy bench to '{}' (format binary)", file.display());
            timed(Command::new("psql").args(["-q", "-X", "-d", &database.url(), "-c", &copy]))?;
        }
        empty(&mut database);
        let copy = format!("\\copy bench from '{}' (format binary)", file.display());
        let url = database.url();
        theirs.push(timed(Command::new("psql").args(["-q", "-X", "-d", &url, "-c", &copy]))?);
        loaded.push(database.value(DIGEST));
    }
    ensure!(loaded.iter().all(|sum| *sum == loaded[0]), "psql and kcopy loaded different rows: {loaded:?}");
    ensure!(loaded[0].starts_with(&format!("{records} ")), "{} rows and not {records}", loaded[0]);
    report.push(row(
        ("kcopy load, exactly once", "psql \\copy, binary"),
        server,
        records,
        (&theirs, &ours),
        0.6,
    ));

    let inside = inside(lab, server, &mut database, &topic, &file, &loaded[0])?;
    fs::remove_file(&file)?;
    server.delete_topic(&topic)?;
    let cat = "COPY FROM PROGRAM 'cat', binary";
    report.push(row(("kcopy.load, straight", cat), server, records, (&inside.cat, &inside.straight), 0.85));
    report.push(row(("kcopy.load, staged", cat), server, records, (&inside.cat, &inside.staged), 0.45));
    Ok(())
}

fn row(
    (scenario, against): (&str, &str),
    server: &Server,
    records: u64,
    (theirs, ours): (&[Duration], &[Duration]),
    target: f64,
) -> Row {
    let cell = |times: &[Duration]| Cell {
        value: records as f64 / median(times.iter().map(Duration::as_secs_f64)),
        unit: Unit::RecordsPerSecond,
        cpu_seconds: None,
    };
    let ratios = theirs.iter().zip(ours).map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64());
    Row {
        scenario: scenario.to_owned(),
        broker: server.name().to_owned(),
        against: against.to_owned(),
        theirs: Some(cell(theirs)),
        ours: cell(ours),
        wall: Some(median(ratios)),
        cpu: None,
        targets: vec![Target::AtLeast(Measure::Wall, target)],
    }
}

/// What the server's own three ways took.
#[derive(Default)]
struct Inside {
    cat: Vec<Duration>,
    straight: Vec<Duration>,
    staged: Vec<Duration>,
}

/// `kcopy.load` by a role that may run programs, by one that may not, and `cat` of the same rows.
fn inside(
    lab: &Lab,
    server: &Server,
    database: &mut Database,
    topic: &str,
    file: &Path,
    digest: &str,
) -> Result<Inside> {
    database.execute(&installation(&server_program(&database.folder(), server.bootstrap())));
    // Roles outlive the databases: another broker's turn may have made it.
    database.execute(
        "do $$ begin create role bench_loader in role kcopy_loader; exception when duplicate_object then null; end $$",
    );
    let mut times = Inside::default();
    let cat = format!("copy bench from program 'cat {}' (format binary)", file.display());
    let load = format!("select count(*) from kcopy.load('{topic}', 'bench')");
    for _ in 0..lab.options.pairs {
        let Inside { cat: by_cat, straight, staged } = &mut times;
        for (role, sql, times) in
            [("none", &cat, by_cat), ("none", &load, straight), ("bench_loader", &load, staged)]
        {
            empty(database);
            database.execute("truncate kcopy.offsets; grant insert, select on bench to bench_loader");
            database.execute(&format!("set role {role}"));
            let started = Instant::now();
            database.execute(sql);
            times.push(started.elapsed());
            database.execute("reset role");
            let loaded = database.value(DIGEST);
            ensure!(loaded == digest, "{sql} as {role} loaded other rows: {loaded}");
        }
    }
    Ok(times)
}

/// The table `bench`, without rows.
pub(super) fn empty(database: &mut Database) {
    database.execute(&format!(
        "drop table if exists bench; create table bench {COLUMNS} with (autovacuum_enabled = false); checkpoint"
    ));
}

/// JSON of about 100 bytes: two integers, a text, a time.
pub(super) fn fill(lab: &Lab, server: &Server, topic: &str, records: u64) -> Result<()> {
    let path = lab.path("load-input");
    let mut lines = String::with_capacity(110 * usize::try_from(records)?);
    for id in 0..records {
        let (customer, second) = (id.wrapping_mul(2_654_435_761) % 10_000_000, id % 60);
        writeln!(
            lines,
            "{{\"id\":{0},\"customer\":{customer},\"name\":\"customer number {customer:08}\",\
             \"at\":\"2026-01-31T12:00:{second:02}.{1:06}Z\"}}",
            FIRST_ID + id,
            id % 1_000_000
        )?;
    }
    fs::write(&path, lines).with_context(|| format!("writing {}", path.display()))?;
    let input = fs::File::open(&path)?;
    let mut produce = Command::new(kcopy_bin());
    produce
        .args(["produce", topic, "-b", server.bootstrap(), "--format", "raw", "-q"])
        .stdin(Stdio::from(input));
    timed(&mut produce)?;
    fs::remove_file(&path)?;
    Ok(())
}

fn load(server: &Server, topic: &str, url: &str) -> Result<Duration> {
    let mut load = Command::new(kcopy_bin());
    load.args(["load", topic, "--into", "bench", "-b", server.bootstrap(), "-d", url, "-q"]);
    timed(&mut load)
}

fn timed(command: &mut Command) -> Result<Duration> {
    let started = Instant::now();
    let status = command.status().with_context(|| format!("{command:?} does not start"))?;
    let elapsed = started.elapsed();
    ensure!(status.success(), "{command:?} ends with {status}");
    Ok(elapsed)
}
