//! Short runs, from the start of the process to its end.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::Pairs;
use crate::{
    digest::Digest,
    input::Input,
    lab::{Lab, Side},
    measure::Usage,
    report::{Measure, Report, Target},
    server::Server,
};

const MESSAGES: u64 = 100;

/// Each kind of short run.
pub(super) fn run(lab: &Lab, server: &Server, report: &mut Report) -> Result<()> {
    let small = Input::create(lab.path("small"), MESSAGES)?;
    let topic = server.create_topic(lab, 1)?;
    lab.job(Side::Kcat).args(&["-P", "-b", server.bootstrap(), "-t", &topic]).stdin(small.path()).run()?;
    let runs = lab.options.runs;

    let pairs = Pairs::measure(runs, |_, side| read_all(lab, server, side, &topic, &small, &[]))?;
    let targets = vec![Target::AtLeast(Measure::Wall, 20.0)];
    report.push(pairs.latency(format!("-C -e, {MESSAGES} messages"), server, targets.clone()));

    let pairs = Pairs::measure(runs, |_, side| {
        // kcat starts at the end where nothing was committed.
        let group = format!("group.id={}", lab.fresh_name("group"));
        let start = ["-o", "stored", "-X", &group, "-X", "auto.offset.reset=earliest"];
        read_all(lab, server, side, &topic, &small, &start)
    })?;
    report.push(pairs.latency(format!("-C -o stored -e, {MESSAGES} messages"), server, targets));

    let pairs = Pairs::measure(runs, |_, side| list(lab, server, side, &topic))?;
    report.push(pairs.latency("-L".to_owned(), server, vec![Target::AtLeast(Measure::Wall, 1.0)]));

    let one = lab.path("one");
    fs::write(&one, "one message\n")?;
    let written = server.create_topic(lab, 1)?;
    let pairs = Pairs::measure(runs, |_, side| {
        lab.job(side).args(&["-P", "-b", server.bootstrap(), "-t", &written]).stdin(&one).run()
    })?;
    report.push(pairs.latency(
        "-P, one message".to_owned(),
        server,
        vec![Target::AtLeast(Measure::Wall, 1.0)],
    ));
    let (_, digest) = lab.consume(Side::Kcat, server, &written).digest()?;
    let mut expected = Digest::default();
    (0..2 * runs).for_each(|_| expected.add(b"one message"));
    ensure!(digest == expected, "{} messages were written, and not {}", digest.lines, expected.lines);
    server.delete_topic(&written)?;
    server.delete_topic(&topic)
}

/// All messages, from wherever `start` says.
fn read_all(
    lab: &Lab,
    server: &Server,
    side: Side,
    topic: &str,
    expected: &Input,
    start: &[&str],
) -> Result<Usage> {
    let job = lab.job(side).args(&["-C", "-b", server.bootstrap(), "-t", topic, "-e", "-q"]).args(start);
    let (usage, digest) = job.digest()?;
    ensure!(
        digest == expected.digest,
        "{} read {} messages and not the {} there are",
        side.name(),
        digest.lines,
        expected.digest.lines
    );
    Ok(usage)
}

/// The topic is in the list.
fn list(lab: &Lab, server: &Server, side: Side, topic: &str) -> Result<Usage> {
    let (usage, bytes) = lab.job(side).args(&["-L", "-b", server.bootstrap()]).output()?;
    let text = String::from_utf8(bytes).context("-L writes UTF-8")?;
    let line = format!("  topic \"{topic}\" with 1 partitions:");
    ensure!(text.lines().any(|found| found == line), "-L of {} does not show {line:?}", side.name());
    Ok(usage)
}
