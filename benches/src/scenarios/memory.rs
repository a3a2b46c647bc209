//! What the client holds at its peak.

use std::time::Duration;

use anyhow::Result;

use crate::{
    lab::{Lab, SIDES, Side},
    measure::{Usage, median},
    report::{Cell, Measure, Report, Row, Target, Unit},
    server::Server,
};

const LIMIT_MEGABYTES: f64 = 64.0;
const ROUND_TRIP: Duration = Duration::from_millis(5);

/// A large topic, and one of many partitions: filled and read, and read by one who does not keep up.
pub(super) fn run(lab: &Lab, server: &Server, report: &mut Report) -> Result<()> {
    for (partitions, name) in [(8, "a large topic"), (1_000, "1,000 partitions")] {
        let mut source = None;
        let mut produced = Vec::new();
        for side in SIDES {
            let topic = server.create_topic(lab, partitions)?;
            produced.push(lab.produce(side, server, &topic, "none")?);
            lab.check_filled(server, &topic, partitions, side.name())?;
            match source {
                None => source = Some(topic),
                Some(_) => server.delete_topic(&topic)?,
            }
        }
        report.push(row(format!("peak memory, produce, {name}"), server, &produced));

        let source = source.expect("both sides have produced");
        let mut consumed = Vec::new();
        for side in SIDES {
            consumed.push(lab.consume(side, server, &source).run()?);
        }
        report.push(row(format!("peak memory, consume, {name}"), server, &consumed));

        let mut read_slowly = Vec::new();
        for side in SIDES {
            // Digesting takes longer than fetching.
            let (usage, digest) = lab.consume(side, server, &source).digest()?;
            lab.check_input(digest, false, side.name())?;
            read_slowly.push(usage);
        }
        report.push(row(format!("peak memory, consume, {name}, slow reader"), server, &read_slowly));
        server.delete_topic(&source)?;
    }
    for codec in ["none", "lz4", "zstd"] {
        produce_by_key(lab, server, codec, report)?;
    }
    from_far_away(lab, report)
}

/// More is fetched ahead, and the reader does not keep up.
fn from_far_away(lab: &Lab, report: &mut Report) -> Result<()> {
    const PARTITIONS: u32 = 100;
    let mut server = Server::simulated(lab)?;
    let topic = server.create_topic(lab, PARTITIONS)?;
    lab.produce(Side::Kcat, &server, &topic, "none")?;
    server.set_round_trip(ROUND_TRIP)?;
    let mut consumed = Vec::new();
    for side in SIDES {
        let (usage, digest) = lab.consume(side, &server, &topic).digest()?;
        lab.check_input(digest, false, side.name())?;
        consumed.push(usage);
    }
    let millis = ROUND_TRIP.as_millis();
    let scenario =
        format!("peak memory, consume, {PARTITIONS} partitions, {millis} ms round trip, slow reader");
    report.push(row(scenario, &server, &consumed));
    Ok(())
}

/// Keys fill the batches of all partitions at once, and each of them waits to be compressed.
fn produce_by_key(lab: &Lab, server: &Server, codec: &str, report: &mut Report) -> Result<()> {
    const PARTITIONS: u32 = 400;
    let mut produced = Vec::new();
    for side in SIDES {
        let topic = server.create_topic(lab, PARTITIONS)?;
        let by_key = ["-P", "-b", server.bootstrap(), "-t", &topic, "-z", codec, "-q", "-K", ";"];
        produced.push(lab.job(side).args(&by_key).stdin(lab.input.path()).run()?);
        let with_keys = lab.consume(Side::Kcat, server, &topic).args(&["-f", "%k;%s\n"]);
        let (_, digest) = with_keys.digest()?;
        lab.check_input(digest, false, side.name())?;
        server.delete_topic(&topic)?;
    }
    let scenario = format!("peak memory, produce by key, {codec}, {PARTITIONS} partitions");
    report.push(row(scenario, server, &produced));
    Ok(())
}

/// `usages` are kcat's and kcopy's.
fn row(scenario: String, server: &Server, usages: &[Usage]) -> Row {
    let cell = |side: Side| Cell {
        value: median(usages.get(side as usize).map(|usage| usage.max_resident_bytes as f64 / 1e6)),
        unit: Unit::Megabytes,
        cpu_seconds: None,
    };
    Row {
        scenario,
        broker: server.name().to_owned(),
        against: "kcat".to_owned(),
        theirs: Some(cell(Side::Kcat)),
        ours: cell(Side::Kcopy),
        wall: None,
        cpu: None,
        targets: vec![Target::AtMost(Measure::Value, LIMIT_MEGABYTES)],
    }
}
