//! A network that takes its time.

use std::time::Duration;

use anyhow::Result;

use super::{Pairs, cpu_ratio, median_cpu, median_wall, wall_ratio};
use crate::{
    lab::{Lab, Side},
    report::{Cell, Measure, Report, Row, Target, Unit},
    server::Server,
};

const PARTITIONS: u32 = 8;
const ROUND_TRIP: Duration = Duration::from_millis(5);
/// Costing no throughput, but for what repeated runs differ by anyway.
const NO_COST: f64 = 0.9;

/// How often the topic holds the input: a short read shows what it takes to begin.
const COPIES: u64 = 5;

/// Large reads, near and far.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let mut server = Server::simulated(lab)?;
    let topic = server.create_topic(lab, PARTITIONS)?;
    lab.produce(Side::Kcat, &server, &topic, "none")?;
    let (_, digest) = lab.consume(Side::Kcopy, &server, &topic).digest()?;
    lab.check_input(digest, false, Side::Kcopy.name())?;
    for _ in 1..COPIES {
        lab.produce(Side::Kcat, &server, &topic, "none")?;
    }
    let records = COPIES * lab.options.records;

    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..lab.options.pairs {
        server.set_round_trip(Duration::ZERO)?;
        near.push(lab.consume(Side::Kcopy, &server, &topic).run()?);
        server.set_round_trip(ROUND_TRIP)?;
        far.push(lab.consume(Side::Kcopy, &server, &topic).run()?);
    }
    let cell = |usages: &[_]| Cell {
        value: records as f64 / median_wall(usages),
        unit: Unit::RecordsPerSecond,
        cpu_seconds: Some(median_cpu(usages)),
    };
    let scenario = format!("consume, {PARTITIONS} partitions, {} ms round trip", ROUND_TRIP.as_millis());
    report.push(Row {
        scenario: scenario.clone(),
        broker: server.name().to_owned(),
        against: "kcopy, 0 ms".to_owned(),
        theirs: Some(cell(&near)),
        ours: cell(&far),
        wall: Some(wall_ratio(&near, &far)),
        cpu: Some(cpu_ratio(&near, &far)),
        targets: vec![Target::AtLeast(Measure::Wall, NO_COST)],
    });

    let pairs = Pairs::measure(lab.options.pairs, |_, side| lab.consume(side, &server, &topic).run())?;
    report.push(pairs.throughput(scenario, &server, records, vec![]));
    Ok(())
}
