//! Runs that follow, and end at a time that nothing in the topic has come to yet.

use kcopy_tests::{Broker, Running, program};

/// Records with their timestamps, as `produce` reads them.
fn produce(broker: &Broker, topic: &str, partition: u32, records: &[(&str, u32)]) {
    let rows: String = records.iter().map(|(value, at)| format!("{value}\t{at}\n")).collect();
    let partition = partition.to_string();
    let columns = ["--format", "text", "--columns", "value, timestamp int8", "-p", &partition];
    broker.kcopy("produce", &[&[topic][..], &columns].concat(), rows.as_bytes()).expect_success();
}

#[test]
fn a_run_that_follows_waits_for_the_time_at_which_it_stops() {
    let broker = Broker::start();
    let topic = broker.create("timed", 2);
    produce(&broker, &topic, 0, &[("a", 1000)]);
    let bootstrap = broker.bootstrap();
    let kcat = ["-C", "-b", bootstrap, "-t", &topic, "-o", "s@0", "-o", "e@2000", "-u"];
    let kcat = Running::start(program("kcat").args(kcat));
    // It has seen that nothing of that time is there.
    kcat.wait_for_stderr("Reached end of topic");
    let until = ["consume", &topic, "-b", bootstrap, "--follow", "--until", "@2000", "--group", "g"];
    let kcopy = Running::start(program("kcopy").args(until));
    produce(&broker, &topic, 1, &[("b", 1500), ("c", 2000), ("d", 1000)]);
    // One partition has stopped, and the other one goes on.
    produce(&broker, &topic, 0, &[("e", 1000), ("f", 3000)]);
    let mut lines = Vec::new();
    for running in [kcat, kcopy] {
        let ended = running.finish().expect_success();
        let mut found: Vec<String> = ended.lines().into_iter().map(str::to_owned).collect();
        found.sort_unstable();
        lines.push(found);
    }
    assert_eq!(lines, [["a", "b", "e"]; 2]);
    let rest = broker.kcopy("consume", &[&topic, "--group", "g"], b"").expect_success();
    let mut rest = rest.lines();
    rest.sort_unstable();
    assert_eq!(rest, ["c", "d", "f"]);
}
