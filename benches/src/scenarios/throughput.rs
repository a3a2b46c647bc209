//! Everything in from stdin, everything out to stdout.

use anyhow::Result;

use super::{Pairs, partitions_text};
use crate::{
    lab::{Lab, SIDES, Side},
    report::{Measure, Report, Target},
    server::{Kind, Server},
};

/// Each number of partitions with each codec.
pub(super) fn run(lab: &Lab, server: &Server, report: &mut Report) -> Result<()> {
    for &partitions in &lab.options.partitions {
        for codec in &lab.options.codecs {
            let source = produce(lab, server, partitions, codec, report)?;
            consume(lab, server, &source, partitions, codec, report)?;
            server.delete_topic(&source)?;
        }
    }
    Ok(())
}

/// Every run fills a topic of its own. What kcat filled first is returned, for both to read.
fn produce(lab: &Lab, server: &Server, partitions: u32, codec: &str, report: &mut Report) -> Result<String> {
    let mut source = None;
    let pairs = Pairs::measure(lab.options.pairs, |number, side| {
        lab.settle()?;
        let topic = server.create_topic(lab, partitions)?;
        let usage = lab.produce(side, server, &topic, codec)?;
        if number == 0 {
            lab.check_filled(server, &topic, partitions, side.name())?;
        }
        if number == 0 && side == Side::Kcat {
            source = Some(topic);
        } else {
            server.delete_topic(&topic)?;
        }
        Ok(usage)
    })?;
    let scenario = format!("produce, {}, {codec}", partitions_text(partitions));
    let targets = targets(server, codec, 2.0);
    report.push(pairs.throughput(scenario, server, lab.options.records, targets));
    Ok(source.expect("there is at least one pair"))
}

fn consume(
    lab: &Lab,
    server: &Server,
    topic: &str,
    partitions: u32,
    codec: &str,
    report: &mut Report,
) -> Result<()> {
    for side in SIDES {
        let (_, digest) = lab.consume(side, server, topic).digest()?;
        lab.check_input(digest, partitions == 1, side.name())?;
    }
    let pairs = Pairs::measure(lab.options.pairs, |_, side| lab.consume(side, server, topic).run())?;
    let scenario = format!("consume, {}, {codec}", partitions_text(partitions));
    let targets = targets(server, codec, 5.0);
    report.push(pairs.throughput(scenario, server, lab.options.records, targets));
    Ok(())
}

fn targets(server: &Server, codec: &str, wall_on_kafka: f64) -> Vec<Target> {
    match (codec, server.kind()) {
        ("none", Kind::Kcopy) => vec![Target::AtLeast(Measure::Cpu, 8.0)],
        ("none", Kind::Kafka) => {
            vec![Target::AtLeast(Measure::Cpu, 8.0), Target::AtLeast(Measure::Wall, wall_on_kafka)]
        }
        _ => vec![Target::AtLeast(Measure::Wall, 1.0)],
    }
}
