//! Our broker itself: how soon it answers, what it holds, and how fast kcat is on it.

use anyhow::{Context, Result, ensure};

use super::{compared, median_wall, partitions_text, rate};
use crate::{
    input::{Input, RECORD_BYTES},
    lab::{Lab, Side},
    measure::{Usage, median},
    report::{Cell, Measure, Report, Row, Target, Unit},
    server::Server,
};

const READY_MILLISECONDS: f64 = 5.0;
const MEMORY_FOR_EACH_BYTE: f64 = 1.2;
/// With its defaults kcat would measure its own pauses. It fetches nothing for up to a second where 100,000 messages lie
/// ready, which a faster broker causes more often; without that limit it keeps the more answers in fresh memory the sooner
/// they come. So it may hold 8 MB, and is woken to see that it holds less. For the fetch at the end, which finds nothing,
/// any broker waits half a second.
const STEADY: [&str; 8] = [
    "-X",
    "queued.min.messages=10000000",
    "-X",
    "queued.max.messages.kbytes=8192",
    "-X",
    "topic.metadata.refresh.interval.ms=10",
    "-X",
    "fetch.wait.max.ms=5",
];
/// Messages of a short run.
const FEW: u64 = 100;
/// No answer without records has so many bytes.
const EMPTY_ANSWER: u64 = 1_000;

/// Alone, and beside Apache Kafka where it is there.
pub(super) fn run(lab: &Lab, kafka: Option<&Server>, report: &mut Report) -> Result<()> {
    report.push(readiness(lab, kafka)?);
    report.push(memory(lab)?);
    if let Some(kafka) = kafka {
        short_runs(lab, kafka, report)?;
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
    let mut waited = [Vec::new(), Vec::new()];
    for number in 0..lab.options.pairs {
        for (index, server) in [kafka, &ours].into_iter().enumerate() {
            let topic = server.create_topic(lab, partitions)?;
            produced[index].push(lab.produce(Side::Kcat, server, &topic, "none")?);
            if number == 0 {
                lab.check_filled(server, &topic, partitions, server.name())?;
            }
            let consume = || lab.consume(Side::Kcat, server, &topic).args(&STEADY);
            consumed[index].push(consume().run()?);
            let told = consume().args(&["-d", "protocol"]).told()?;
            waited[index].push(waited_for_records(&told).context("kcat tells of no answer with records")?);
            server.delete_topic(&topic)?;
        }
    }
    // To read is its own work nearly alone; what the broker has to do with it is the row behind it.
    let faster = vec![Target::MoreThan(Measure::Wall, 1.0)];
    for (verb, [theirs, ours], targets) in
        [("produces", produced, faster.clone()), ("consumes", consumed, Vec::new())]
    {
        let scenario = format!("kcat {verb}, {}", partitions_text(partitions));
        let (cell, runs) = (rate(lab.options.records), (&*theirs, &*ours));
        report.push(compared(scenario, "kcopy broker", kafka.name(), runs, cell, targets));
    }
    let [theirs, ours] = waited;
    let cell = |millis: &[f64]| Cell {
        value: median(millis.iter().copied()),
        unit: Unit::Milliseconds,
        cpu_seconds: None,
    };
    report.push(Row {
        scenario: format!("kcat waits for records, {}", partitions_text(partitions)),
        broker: "kcopy broker".to_owned(),
        against: kafka.name().to_owned(),
        theirs: Some(cell(&theirs)),
        ours: cell(&ours),
        wall: Some(median(theirs.iter().zip(&ours).map(|(theirs, ours)| theirs / ours))),
        cpu: None,
        targets: faster,
    });
    Ok(())
}

/// What a test suite asks of a broker most: the same kcat, from its start to its end.
fn short_runs(lab: &Lab, kafka: &Server, report: &mut Report) -> Result<()> {
    let ours = Server::ours()?;
    let small = Input::create(lab.path("few"), FEW)?;
    let count = FEW.to_string();
    let mut topics = Vec::new();
    for server in [kafka, &ours] {
        let topic = server.create_topic(lab, 1)?;
        lab.job(Side::Kcat)
            .args(&["-P", "-b", server.bootstrap(), "-t", &topic])
            .stdin(small.path())
            .run()?;
        topics.push(topic);
    }
    for (scenario, arguments) in [
        ("kcat -L".to_owned(), &["-L"][..]),
        (format!("kcat -C -c {FEW}"), &["-C", "-q", "-o", "beginning", "-c", &count]),
    ] {
        let mut usages = [Vec::new(), Vec::new()];
        for _ in 0..lab.options.runs {
            for (index, server) in [kafka, &ours].into_iter().enumerate() {
                let place = ["-b", server.bootstrap(), "-t", &topics[index]];
                let (usage, told) = lab.job(Side::Kcat).args(arguments).args(&place).output()?;
                ensure!(!told.is_empty(), "{scenario} on {} prints nothing", server.name());
                usages[index].push(usage);
            }
        }
        let cell = |usages: &[Usage]| Cell {
            value: 1e3 * median_wall(usages),
            unit: Unit::Milliseconds,
            cpu_seconds: None,
        };
        let targets = vec![Target::MoreThan(Measure::Wall, 1.0)];
        let [theirs, ours] = &usages;
        report.push(compared(scenario, "kcopy broker", kafka.name(), (theirs, ours), cell, targets));
    }
    kafka.delete_topic(&topics[0])
}

/// The milliseconds between kcat's requests and the answers that brought it records, all in all: the part of its time
/// that is the broker's. It tells them itself, as in "Received FetchResponse (v11, 1000018 bytes, CorrId 9, rtt 0.27ms)".
fn waited_for_records(told: &str) -> Option<f64> {
    let mut sum = None;
    for line in told.lines() {
        let Some((_, answer)) = line.split_once("Received FetchResponse (") else { continue };
        let parts: Vec<&str> = answer.trim_end_matches(')').split(", ").collect();
        let [_, bytes, _, time] = parts[..] else { continue };
        let bytes: u64 = bytes.strip_suffix(" bytes")?.parse().ok()?;
        let millis: f64 = time.strip_prefix("rtt ")?.strip_suffix("ms")?.parse().ok()?;
        if bytes > EMPTY_ANSWER {
            *sum.get_or_insert(0.0) += millis;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_with_records_count() {
        let line = |bytes, millis| {
            format!(
                "%7|1.5|RECV|c#1| [thrd:b]: b/1: Received FetchResponse (v11, {bytes} bytes, CorrId 9, rtt {millis}ms)\n"
            )
        };
        let told = line(1_000_018, 0.25) + "%7|another\n" + &line(60, 500.0) + &line(5_000, 1.5);
        assert_eq!(waited_for_records(&told), Some(1.75));
        assert_eq!(waited_for_records("%7|another"), None);
    }
}
