//! `kcopy load --on-error dead-letter=TOPIC` where that topic takes nothing.

use std::time::{Duration, Instant};

use kcopy_tests::{Broker, WireLoad};
use rustix::process::Signal;

/// A topic whose record at offset 1 no table takes, a topic for dead letters, and the table.
fn setting(max_message_bytes: u32) -> (WireLoad, String, String) {
    let mut setting = WireLoad::on(Broker::controlled());
    let topic = setting.broker.create("source", 1);
    let dead = setting.broker.topic("dead");
    setting.topic(&["create", &dead, "--config", &format!("max.message.bytes={max_message_bytes}")]);
    setting.produce(&topic, &format!("a:{{\"n\":1}}\nb:{{\"n\":\"{}\"}}\n", "x".repeat(3000)));
    setting.database.execute("create table t(n int4)");
    (setting, topic, dead)
}

#[test]
fn timeout_is_how_long_dead_letters_are_waited_for() {
    let (setting, topic, dead) = setting(1_000_000);
    setting.broker.control("POST /faults", r#"{"action":"silence","api":"Produce"}"#);
    let letters = format!("dead-letter={dead}");
    let started = Instant::now();
    let arguments = [&*topic, "--into", "t", "--on-error", &letters, "--timeout", "1s"];
    let failed = setting.load(&arguments).expect_code(1);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let record = format!("{topic} [0] offset 1: its dead letter cannot be written to {dead}: ");
    assert!(
        failed.stderr.contains(&record) && failed.stderr.contains("nothing was acknowledged for 1 s"),
        "{failed:?}"
    );
}

#[test]
fn a_dead_letter_that_is_too_large_names_its_record() {
    let (setting, topic, dead) = setting(2000);
    let letters = format!("dead-letter={dead}");
    let failed = setting.load(&[&topic, "--into", "t", "--on-error", &letters]).expect_code(1);
    let record =
        format!("{topic} [0] offset 1: its dead letter cannot be written to {dead}: MESSAGE_TOO_LARGE");
    assert!(failed.stderr.contains(&record), "{failed:?}");
    // What the client itself refuses is told in the same way, and -X message.max.bytes is the limit.
    let limited = [&*topic, "--into", "t", "--on-error", &letters, "-X", "message.max.bytes=2500"];
    let failed = setting.load(&limited).expect_code(1);
    assert!(
        failed.stderr.contains(&record[..record.len() - "MESSAGE_TOO_LARGE".len()])
            && failed.stderr.contains("2500 of message.max.bytes"),
        "{failed:?}"
    );
}

#[test]
fn a_run_that_follows_says_that_its_dead_letter_topic_is_gone_and_waits_for_another() {
    let (mut setting, topic, dead) = setting(1_000_000);
    let letters = format!("dead-letter={dead}");
    let follow = [&*topic, "--into", "t", "--follow", "--batch-time", "20ms", "--on-error", &letters];
    let load = setting.start(&follow);
    // Rows and positions come together, and dead letters before them.
    setting.wait_for("select count(*) from t", "1");
    setting.topic(&["delete", &dead]);
    let started = Instant::now();
    setting.produce(&topic, "c:no json\nd:{\"n\":2}\n");
    load.wait_for_stderr(&format!("there is no topic {dead} for dead letters"));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    setting.topic(&["create", &dead]);
    setting.wait_for("select count(*) from t", "2");
    load.signal(Signal::TERM);
    load.finish().expect_code(143);
    let sent = setting.broker.kcat(&["-C", "-t", &dead, "-e", "-q", "-f", "%k\n"], b"").expect_success();
    assert_eq!(sent.lines(), ["c"]);
}
