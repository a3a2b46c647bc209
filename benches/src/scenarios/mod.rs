//! What is compared. Each file is a part; each part pushes its rows.

mod broker;
mod copy;
mod latency;
mod load;
mod memory;
mod peers;
mod round_trip;
mod throughput;
pub(crate) mod typed;

use std::time::Duration;

use anyhow::Result;

use crate::{
    Part,
    lab::{Lab, SIDES, Side, note},
    measure::{Usage, median},
    report::{Cell, Report, Row, Target, Unit},
    server::{Kind, Server},
};

/// Runs the parts that were asked for, on the brokers that are there.
pub(crate) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let wants = |part| lab.options.wants(part);
    let uses_ours = lab.options.brokers.is_empty() || lab.options.brokers.contains(&Kind::Kcopy);
    let kafka = if ON_KAFKA.into_iter().any(wants) { kafka(lab, report)? } else { None };
    // A broker in memory is a new one for each part, so that none pays for another's topics.
    for (part, scenario) in [
        (Part::Throughput, throughput::run as Scenario),
        (Part::Latency, latency::run),
        (Part::Copy, copy::run),
        (Part::Load, load::run),
    ] {
        if wants(part) {
            if uses_ours {
                lab.settle()?;
                scenario(lab, &Server::ours()?, report)?;
            }
            if let Some(server) = &kafka {
                lab.settle()?;
                scenario(lab, server, report)?;
            }
        }
    }
    // They are members of groups, which only Apache Kafka has.
    if wants(Part::Peers) {
        match &kafka {
            Some(server) => peers::run(lab, server, report)?,
            None => peers::skipped("other loaders", "they need Apache Kafka", report),
        }
    }
    if wants(Part::Typed) {
        typed::run(report)?;
    }
    if uses_ours && wants(Part::RoundTrip) {
        round_trip::run(lab, report)?;
    }
    if uses_ours && wants(Part::Memory) {
        memory::run(lab, &Server::ours()?, report)?;
    }
    if uses_ours && wants(Part::Broker) {
        broker::run(lab, kafka.as_ref(), report)?;
    }
    Ok(())
}

/// The parts that measure on Apache Kafka, too: for others it need not start.
const ON_KAFKA: [Part; 6] =
    [Part::Throughput, Part::Latency, Part::Copy, Part::Load, Part::Peers, Part::Broker];

type Scenario = fn(&Lab, &Server, &mut Report) -> Result<()>;

/// Apache Kafka, warmed up, unless it was not asked for or cannot be had.
fn kafka(lab: &Lab, report: &mut Report) -> Result<Option<Server>> {
    let asked = lab.options.brokers.contains(&Kind::Kafka);
    if !asked && !lab.options.brokers.is_empty() {
        return Ok(None);
    }
    let started = Server::kafka(&lab.options.kafka_version);
    let server = match started {
        Err(error) if !asked => {
            note(&format!("without Apache Kafka: {error:#}"));
            report.facts.push(("skipped", "everything on Apache Kafka: it cannot be had here".to_owned()));
            return Ok(None);
        }
        started => started?,
    };
    note("warming up Apache Kafka");
    let topic = server.create_topic(lab, 1)?;
    for _ in 0..2 {
        lab.produce(Side::Kcat, &server, &topic, "none")?;
        lab.consume(Side::Kcat, &server, &topic).run()?;
    }
    server.delete_topic(&topic)?;
    Ok(Some(server))
}

/// What each side used, run by run.
struct Pairs {
    kcat: Vec<Usage>,
    kcopy: Vec<Usage>,
}

impl Pairs {
    /// kcat, kcopy, kcat, kcopy, ...: `run` gets the number of the pair and the side.
    fn measure(count: usize, mut run: impl FnMut(usize, Side) -> Result<Usage>) -> Result<Self> {
        let mut pairs = Self { kcat: Vec::new(), kcopy: Vec::new() };
        for number in 0..count {
            for side in SIDES {
                let usage = run(number, side)?;
                match side {
                    Side::Kcat => pairs.kcat.push(usage),
                    Side::Kcopy => pairs.kcopy.push(usage),
                }
            }
        }
        Ok(pairs)
    }

    /// A row of records for each second.
    fn throughput(&self, scenario: String, server: &Server, records: u64, targets: Vec<Target>) -> Row {
        self.row(scenario, server, rate(records), targets)
    }

    /// A row of milliseconds.
    fn latency(&self, scenario: String, server: &Server, targets: Vec<Target>) -> Row {
        let cell = |usages: &[Usage]| Cell {
            value: 1e3 * median_wall(usages),
            unit: Unit::Milliseconds,
            cpu_seconds: None,
        };
        self.row(scenario, server, cell, targets)
    }

    fn row(
        &self,
        scenario: String,
        server: &Server,
        cell: impl Fn(&[Usage]) -> Cell,
        targets: Vec<Target>,
    ) -> Row {
        compared(scenario, server.name(), "kcat", (&self.kcat, &self.kcopy), cell, targets)
    }
}

/// Records for each second, and the CPU time of it.
fn rate(records: u64) -> impl Fn(&[Usage]) -> Cell {
    move |usages| Cell {
        value: records as f64 / median_wall(usages),
        unit: Unit::RecordsPerSecond,
        cpu_seconds: Some(median_cpu(usages)),
    }
}

/// A row of runs in pairs.
fn compared(
    scenario: String,
    broker: &str,
    against: &str,
    (theirs, ours): (&[Usage], &[Usage]),
    cell: impl Fn(&[Usage]) -> Cell,
    targets: Vec<Target>,
) -> Row {
    Row {
        scenario,
        broker: broker.to_owned(),
        against: against.to_owned(),
        theirs: Some(cell(theirs)),
        ours: cell(ours),
        wall: Some(ratio(theirs, ours, |usage| usage.wall)),
        cpu: Some(ratio(theirs, ours, |usage| usage.cpu)),
        targets,
    }
}

/// A row of runs in pairs of which only the time is known.
fn timed_row(
    scenario: &str,
    server: &Server,
    against: &str,
    (theirs, ours): (&[Duration], &[Duration]),
    records: u64,
    targets: Vec<Target>,
) -> Row {
    let cell = |times: &[Duration]| Cell {
        value: records as f64 / median(times.iter().map(Duration::as_secs_f64)),
        unit: Unit::RecordsPerSecond,
        cpu_seconds: None,
    };
    Row {
        scenario: scenario.to_owned(),
        broker: server.name().to_owned(),
        against: against.to_owned(),
        theirs: Some(cell(theirs)),
        ours: cell(ours),
        wall: Some(ratio(theirs, ours, |time| *time)),
        cpu: None,
        targets,
    }
}

fn median_wall(usages: &[Usage]) -> f64 {
    median(usages.iter().map(|usage| usage.wall.as_secs_f64()))
}

fn median_cpu(usages: &[Usage]) -> f64 {
    median(usages.iter().map(|usage| usage.cpu.as_secs_f64()))
}

/// How many times less of it `ours` took, pair by pair.
fn ratio<T>(theirs: &[T], ours: &[T], of: impl Fn(&T) -> Duration) -> f64 {
    let seconds = |run| of(run).as_secs_f64();
    median(theirs.iter().zip(ours).map(|(theirs, ours)| seconds(theirs) / seconds(ours)))
}

/// `1 partition`, `8 partitions`.
fn partitions_text(partitions: u32) -> String {
    format!("{partitions} partition{}", if partitions == 1 { "" } else { "s" })
}
