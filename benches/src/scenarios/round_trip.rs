//! A network that takes its time.

use std::time::Duration;

use anyhow::Result;

use super::{Pairs, compared, rate};
use crate::{
    lab::{Lab, Side},
    report::{Measure, Report, Target},
    server::Server,
};

const PARTITIONS: u32 = 8;
const ROUND_TRIP: Duration = Duration::from_millis(5);
/// Costing no throughput, but for what repeated runs differ by anyway.
const NO_COST: f64 = 0.9;

/// How often the topic holds the input: a short read shows what it takes to begin, which is four round trips.
const COPIES: u64 = 10;

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
    let scenario = format!("consume, {PARTITIONS} partitions, {} ms round trip", ROUND_TRIP.as_millis());
    let targets = vec![Target::AtLeast(Measure::Wall, NO_COST)];
    let (near, far) = (&near[..], &far[..]);
    report.push(compared(
        scenario.clone(),
        server.name(),
        "kcopy, 0 ms",
        (near, far),
        rate(records),
        targets,
    ));

    let pairs = Pairs::measure(lab.options.pairs, |_, side| lab.consume(side, &server, &topic).run())?;
    report.push(pairs.throughput(scenario, &server, records, vec![]));
    Ok(())
}
