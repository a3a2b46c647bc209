//! Our broker itself: how soon it answers, what it holds, and how fast kcat is on it.

use anyhow::Result;

use super::{compared, partitions_text, rate};
use crate::{
    input::RECORD_BYTES,
    lab::{Lab, Side},
    measure::median,
    report::{Cell, Measure, Report, Row, Target, Unit},
    server::Server,
};

const READY_MILLISECONDS: f64 = 5.0;
const MEMORY_FOR_EACH_BYTE: f64 = 1.2;

/// Alone, and beside Apache Kafka where it is there.
pub(super) fn run(lab: &Lab, kafka: Option<&Server>, report: &mut Report) -> Result<()> {
    report.push(readiness(lab, kafka)?);
    report.push(memory(lab)?);
    if let Some(kafka) = kafka {
        for &partitions in &lab.options.partitions {
            kcat_on_both(lab, kafka, partitions, report)?;
        }
    }
    Ok(())
}

fn readiness(lab: &Lab, kafka: Option<&Server>) -> Result<Row> {
    let mut millis = Vec::new();
    for _ in 0..lab.options.runs {
        millis.push(1e3 * Server::ours()?.ready_after().as_secs_f64());
    }
    let cell = |value| Cell { value, unit: Unit::Milliseconds, cpu_seconds: None };
    let ours = median(millis);
    let theirs = kafka.map(|kafka| 1e3 * kafka.ready_after().as_secs_f64());
    Ok(Row {
        scenario: "ready after its start".to_owned(),
        broker: "kcopy broker".to_owned(),
        against: kafka.map(|kafka| kafka.name().to_owned()).unwrap_or_default(),
        theirs: theirs.map(cell),
        ours: cell(ours),
        wall: theirs.map(|theirs| theirs / ours),
        cpu: None,
        targets: vec![Target::AtMost(Measure::Value, READY_MILLISECONDS)],
    })
}

/// What it holds for each byte of the records' values.
fn memory(lab: &Lab) -> Result<Row> {
    let server = Server::ours()?;
    let topic = server.create_topic(lab, 1)?;
    let before = server.resident_bytes()?;
    lab.produce(Side::Kcat, &server, &topic, "none")?;
    let after = server.resident_bytes()?;
    let received = (lab.options.records * RECORD_BYTES) as f64;
    Ok(Row {
        scenario: "memory for each byte of records".to_owned(),
        broker: server.name().to_owned(),
        against: String::new(),
        theirs: None,
        ours: Cell { value: (after - before) as f64 / received, unit: Unit::Times, cpu_seconds: None },
        wall: None,
        cpu: None,
        targets: vec![Target::AtMost(Measure::Value, MEMORY_FOR_EACH_BYTE)],
    })
}

/// The same kcat on Apache Kafka and on ours, in turns.
fn kcat_on_both(lab: &Lab, kafka: &Server, partitions: u32, report: &mut Report) -> Result<()> {
    let ours = Server::ours()?;
    let (mut produced, mut consumed) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for number in 0..lab.options.pairs {
        for (index, server) in [kafka, &ours].into_iter().enumerate() {
            let topic = server.create_topic(lab, partitions)?;
            produced[index].push(lab.produce(Side::Kcat, server, &topic, "none")?);
            if number == 0 {
                lab.check_filled(server, &topic, partitions, server.name())?;
            }
            // With its default kcat fetches nothing for a second whenever 100,000 messages lie ready: its own pauses would
            // be measured, and a faster broker causes more of them.
            let consume =
                lab.consume(Side::Kcat, server, &topic).args(&["-X", "queued.min.messages=10000000"]);
            consumed[index].push(consume.run()?);
            server.delete_topic(&topic)?;
        }
    }
    for (verb, [theirs, ours]) in [("produces", produced), ("consumes", consumed)] {
        let scenario = format!("kcat {verb}, {}", partitions_text(partitions));
        let targets = vec![Target::MoreThan(Measure::Wall, 1.0)];
        let (cell, runs) = (rate(lab.options.records), (&*theirs, &*ours));
        report.push(compared(scenario, "kcopy broker", kafka.name(), runs, cell, targets));
    }
    Ok(())
}
