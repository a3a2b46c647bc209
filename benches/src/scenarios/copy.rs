//! COPY FROM and TO PROGRAM, beside `cat` and kcat.

use std::{
    ffi::OsStr,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use kcopy_tests::{Database, sql_quoted};

use super::timed_row;
use crate::{
    lab::{Lab, Side},
    report::{Measure, Report, Target},
    server::Server,
};

/// The three programs that take turns, and what each run took.
#[derive(Default)]
struct Rounds {
    cat: Vec<Duration>,
    kcat: Vec<Duration>,
    kcopy: Vec<Duration>,
}

/// Both directions.
pub(super) fn run(lab: &Lab, server: &Server, report: &mut Report) -> Result<()> {
    let mut database = Database::create();
    // Without statistics and vacuum in between, and without a write-ahead log.
    database.execute("create unlogged table bench (line text) with (autovacuum_enabled = false)");
    let file = database.folder().join("input");
    fs::copy(lab.input.path(), &file).with_context(|| format!("writing {}", file.display()))?;
    let topic = server.create_topic(lab, 1)?;
    lab.produce(Side::Kcat, server, &topic, "none")?;

    let rounds = from_program(lab, server, &mut database, &topic, &format!("cat {}", file.display()))?;
    let records = lab.options.records;
    let at_least = |bound| vec![Target::AtLeast(Measure::Wall, bound)];
    let mut push = |scenario, against, theirs: &[Duration], ours: &[Duration], targets| {
        report.push(timed_row(scenario, server, against, (theirs, ours), records, targets));
    };
    push("COPY FROM PROGRAM", "cat", &rounds.cat, &rounds.kcopy, at_least(0.9));
    push("COPY FROM PROGRAM", "kcat", &rounds.kcat, &rounds.kcopy, at_least(4.0));

    let rounds = to_program(lab, server, &mut database)?;
    push("COPY TO PROGRAM", "cat >/dev/null", &rounds.cat, &rounds.kcopy, vec![]);
    push("COPY TO PROGRAM", "kcat", &rounds.kcat, &rounds.kcopy, at_least(3.0));
    fs::remove_file(&file)?;
    server.delete_topic(&topic)
}

fn from_program(
    lab: &Lab,
    server: &Server,
    database: &mut Database,
    topic: &str,
    cat: &str,
) -> Result<Rounds> {
    let consume = format!("-C -b {} -t {topic} -o beginning -e -q", server.bootstrap());
    let kcat = format!("{} {consume}", lab.kcat.display());
    let kcopy = format!("kafkacat {consume}");
    let mut rounds = Rounds::default();
    let mut loaded = Vec::new();
    for number in 0..lab.options.pairs {
        let Rounds { cat: by_cat, kcat: by_kcat, kcopy: by_kcopy } = &mut rounds;
        for (program, times) in [(cat, by_cat), (&kcat, by_kcat), (&kcopy, by_kcopy)] {
            database.execute("truncate bench; checkpoint");
            lab.settle()?;
            let sql = format!("copy bench from program {}", sql_quoted(program));
            times.push(timed(database, &sql, lab.options.records)?);
            if number == 0 {
                loaded.push(
                    database.value("select count(*) || ' ' || sum(hashtextextended(line, 0)) from bench"),
                );
            }
        }
    }
    ensure!(
        loaded.iter().all(|sum| *sum == loaded[0]),
        "cat, kcat and kcopy loaded different rows: {loaded:?}"
    );
    Ok(rounds)
}

/// Out of the table that [`from_program`] left.
fn to_program(lab: &Lab, server: &Server, database: &mut Database) -> Result<Rounds> {
    let mut rounds = Rounds::default();
    for number in 0..lab.options.pairs {
        lab.settle()?;
        let sql = format!("copy bench to program {}", sql_quoted("cat >/dev/null"));
        rounds.cat.push(timed(database, &sql, lab.options.records)?);
        let kcat = lab.kcat.clone().into_os_string();
        for (side, program) in [(Side::Kcat, kcat.as_os_str()), (Side::Kcopy, OsStr::new("kafkacat"))] {
            lab.settle()?;
            let topic = server.create_topic(lab, 1)?;
            let produce = format!("{} -P -b {} -t {topic} -q", program.display(), server.bootstrap());
            let sql = format!("copy bench to program {}", sql_quoted(&produce));
            let elapsed = timed(database, &sql, lab.options.records)?;
            match side {
                Side::Kcat => rounds.kcat.push(elapsed),
                Side::Kcopy => rounds.kcopy.push(elapsed),
            }
            if number == 0 {
                lab.check_filled(server, &topic, 1, side.name())?;
            }
            server.delete_topic(&topic)?;
        }
    }
    Ok(rounds)
}

fn timed(database: &mut Database, sql: &str, records: u64) -> Result<Duration> {
    let started = Instant::now();
    let rows = database.try_count(sql).map_err(|error| anyhow::anyhow!("{sql}: {}", error.message))?;
    let elapsed = started.elapsed();
    ensure!(rows == records, "{sql}: {rows} rows and not {records}");
    Ok(elapsed)
}
