//! `kcopy load`, exactly once, beside `psql \copy` of the same rows as a ready binary file, and `kcopy.load` inside
//! PostgreSQL beside COPY FROM PROGRAM 'cat' of that file.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use kcopy_tests::{Database, installation, kcopy_bin, server_program};

use super::{compared, rate, timed_row};
use crate::{
    lab::{Lab, first_line, note},
    measure::{Job, Usage},
    report::{Measure, Report, Target},
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
        ours.push(load(lab, server, &topic, &mut database)?);
        loaded.push(database.value(DIGEST));
        let url = database.url();
        let copy = |direction| format!("\\copy bench {direction} '{}' (format binary)", file.display());
        let psql = |sql: &str| Job::new(lab, "psql").args(&["-q", "-X", "-d", &url, "-c", sql]).run();
        if number == 0 {
            // Anybody may read it: the server's user does, for `cat`.
            psql(&copy("to"))?;
        }
        empty(&mut database);
        lab.settle()?;
        theirs.push(psql(&copy("from"))?);
        loaded.push(database.value(DIGEST));
    }
    ensure!(loaded.iter().all(|sum| *sum == loaded[0]), "psql and kcopy loaded different rows: {loaded:?}");
    ensure!(loaded[0].starts_with(&format!("{records} ")), "{} rows and not {records}", loaded[0]);
    let at_least = |bound| vec![Target::AtLeast(Measure::Wall, bound)];
    let scenario = "kcopy load, exactly once".to_owned();
    let (psql, runs) = ("psql \\copy, binary", (&*theirs, &*ours));
    report.push(compared(scenario, server.name(), psql, runs, rate(records), at_least(0.6)));

    let inside = inside(lab, server, &mut database, &topic, &file, &loaded[0])?;
    fs::remove_file(&file)?;
    server.delete_topic(&topic)?;
    let cat = "COPY FROM PROGRAM 'cat', binary";
    for (scenario, ours, bound) in
        [("kcopy.load, straight", &inside.straight, 0.85), ("kcopy.load, staged", &inside.staged, 0.45)]
    {
        report.push(timed_row(scenario, server, cat, (&inside.cat, ours), records, at_least(bound)));
    }
    Ok(())
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
            lab.settle()?;
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
    let produce = ["produce", topic, "-b", server.bootstrap(), "--format", "raw", "-q"];
    Job::new(lab, kcopy_bin()).args(&produce).stdin(&path).run()?;
    fs::remove_file(&path)?;
    Ok(())
}

/// `kcopy load` into the table `bench`, made anew.
pub(super) fn load(lab: &Lab, server: &Server, topic: &str, database: &mut Database) -> Result<Usage> {
    empty(database);
    lab.settle()?;
    let url = database.url();
    let arguments = ["load", topic, "--into", "bench", "-b", server.bootstrap(), "-d", &url, "-q"];
    Job::new(lab, kcopy_bin()).args(&arguments).run()
}
