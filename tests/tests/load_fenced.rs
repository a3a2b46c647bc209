//! `kcopy load`: two loaders for one table, and positions that others have moved.

use std::time::{Duration, Instant};

use kcopy_tests::{DEADLINE, WireLoad as Setting, numbers};
use rustix::process::Signal;

#[test]
fn a_second_loader_changes_nothing_and_one_of_them_says_so() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("fence", 1);
    setting.database.execute("create table fence(n int4, name text)");
    setting.produce(&topic, &numbers(0, 10));
    let loader = setting.start(&[&topic, "--into", "fence", "--follow", "--batch-time", "20ms"]);
    setting.wait_for("select count(*) from fence", "10");
    // What a second loader does between two transactions of the first.
    setting.database.execute("update kcopy.offsets set next_offset = 11");
    setting.produce(&topic, &numbers(10, 12));
    let fenced = loader.finish().expect_code(1);
    assert!(fenced.stderr.contains("another loader"), "{fenced:?}");
    assert!(
        fenced.stderr.contains("offsets 10 to 1") && fenced.stderr.contains("stands at 11"),
        "{fenced:?}"
    );
    assert_eq!(setting.database.value("select count(*) from fence"), "10");
}

#[test]
fn two_loaders_at_once_never_double_a_row() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("two", 2);
    setting.database.execute("create table two(n int4, name text)");
    setting.produce(&topic, &numbers(0, 20_000));
    let arguments = [topic.as_str(), "--into", "two", "--batch-rows", "500"];
    let loaders = [setting.start(&arguments), setting.start(&arguments)];
    let codes = loaders.map(|loader| {
        let output = loader.finish();
        assert!(output.code() == 0 || output.stderr.contains("another loader"), "{output:?}");
        output.code()
    });
    assert!(codes.contains(&0), "one of them goes on: {codes:?}");
    setting.load(&arguments).expect_success();
    assert_eq!(setting.database.value("select count(*) || ' ' || count(distinct n) from two"), "20000 20000");
}

#[test]
fn what_another_loader_moves_ends_this_one_wherever_its_own_records_are() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("elsewhere", 2);
    setting.database.execute("create table elsewhere(n int4)");
    let produce = |setting: &Setting, n: u32| {
        let line = format!("{{\"n\":{n}}}\n");
        setting.broker.kcat(&["-P", "-t", &topic, "-p", "0"], line.as_bytes()).expect_success();
    };
    let loader = setting.start(&[&topic, "--into", "elsewhere", "--follow", "--batch-time", "20ms"]);
    produce(&setting, 1);
    setting.wait_for("select count(*) from elsewhere", "1");
    setting.database.execute("update kcopy.offsets set next_offset = 7 where partition = 1");
    produce(&setting, 2);
    let fenced = loader.finish().expect_code(1);
    assert!(
        fenced
            .stderr
            .contains("[1]: 0 is the next offset to load, and its position in kcopy.offsets stands at 7"),
        "{fenced:?}"
    );
    assert_eq!(setting.database.value("select count(*) from elsewhere"), "1");
}

#[test]
fn positions_of_other_partitions_tell_that_it_is_another_log() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("others", 2);
    setting.database.execute("create table others(n int4)");
    let load = |setting: &Setting, partition: &str, more: &[&str]| {
        setting.load(&[&[&topic, "--into", "others", "-p", partition], more].concat())
    };
    load(&setting, "0", &[]).expect_success();
    setting.broker.topics(&["--delete", "--topic", &topic]).expect_success();
    setting.topic(&["create", &topic, "--partitions", "2"]);
    setting.broker.kcat(&["-P", "-t", &topic, "-p", "1"], b"{\"n\":1}\n").expect_success();
    let refused = load(&setting, "1", &[]).expect_code(1);
    let told = format!("{topic} [1] was never loaded, and the position of [0] is one of the topic before");
    assert!(refused.stderr.contains(&told), "{refused:?}");
    assert_eq!(setting.database.value("select count(*) from others"), "0");
    load(&setting, "1", &["--accept-loss"]).expect_success();
    load(&setting, "1", &[]).expect_success();
    assert_eq!(setting.database.value("select count(*) from others"), "1");
}

#[test]
fn of_two_services_one_goes_on() {
    let mut setting = Setting::new();
    let topic = setting.broker.create("services", 4);
    setting.database.execute("create table services(n int4)");
    let mut produced = 0;
    for _ in 0..3 {
        let arguments = [topic.as_str(), "--into", "services", "--follow", "--batch-time", "1ms"];
        let loaders = [0, 1].map(|_| setting.start(&arguments));
        let started = Instant::now();
        let ended = loop {
            assert!(started.elapsed() < DEADLINE, "none of them ends");
            for partition in ["0", "1", "2", "3"] {
                let line = format!("{{\"n\":{produced}}}\n");
                let produced_one = ["-P", "-t", &topic, "-p", partition];
                setting.broker.kcat(&produced_one, line.as_bytes()).expect_success();
                produced += 1;
            }
            if let Some(ended) = loaders.iter().position(|loader| loader.ends_within(Duration::ZERO)) {
                break ended;
            }
        };
        setting.wait_for("select count(*) from services", &produced.to_string());
        let [first, second] = loaders;
        let (ended, other) = if ended == 0 { (first, second) } else { (second, first) };
        let fenced = ended.finish().expect_code(1);
        assert!(fenced.stderr.contains("another loader loads the same partition"), "{fenced:?}");
        other.signal(Signal::TERM);
        other.finish().expect_code(143);
    }
    let rows = "select count(*) || ' ' || count(distinct n) from services";
    assert_eq!(setting.database.value(rows), format!("{produced} {produced}"));
}
