//! Runs that end for other reasons than the end of a topic, and runs without their standard descriptors.

use std::{net::TcpListener, process::Command};

use kcopy_tests::{Broker, program, run};

fn ten(broker: &Broker, name: &str) -> String {
    let topic = broker.create(name, 1);
    let input: String = (1..=10).map(|number| format!("{number}\n")).collect();
    broker.kcat(&["-P", "-t", &topic], input.as_bytes()).expect_success();
    topic
}

/// The command line in a shell, which can close descriptors; `$K` is the binary, `$B` the broker.
fn shell(broker: &Broker, script: &str) -> kcopy_tests::Output {
    let kcopy = program("kcopy");
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("K", kcopy.get_program()).env("B", broker.bootstrap());
    run(&mut command)
}

#[test]
fn a_deadline_ends_a_run_that_follows() {
    let broker = Broker::start();
    let topic = ten(&broker, "deadline");
    let output = broker.kcopy("consume", &[&topic, "--follow", "--max-time", "200ms"], b"").expect_success();
    assert_eq!(output.lines().len(), 10);
}

#[test]
fn a_run_that_follows_commits_what_a_limit_let_through() {
    let broker = Broker::start();
    let topic = ten(&broker, "limit");
    let group = format!("group.id={}", broker.topic("limited"));
    let load = |count: &str| {
        let arguments = ["-C", "-q", "-t", &topic, "-o", "stored", "-X", &group, "-c", count];
        broker.kcat(&arguments, b"").expect_success().text().to_owned()
    };
    assert_eq!(load("2"), "1\n2\n");
    assert_eq!(load("3"), "3\n4\n5\n");
}

#[test]
fn a_closed_standard_output_fails_and_commits_nothing() {
    let broker = Broker::start();
    let topic = ten(&broker, "closed");
    let group = broker.topic("closed-group");
    let consume = format!("\"$K\" consume {topic} --group {group} -b $B");
    let closed = shell(&broker, &format!("{consume} >&-")).expect_code(1);
    assert!(closed.stderr.contains("standard output is closed"), "{}", closed.stderr);
    assert_eq!(shell(&broker, &consume).expect_success().lines().len(), 10);
    // Nobody wants the output: that is not the same.
    shell(&broker, &format!("{consume} >/dev/null")).expect_success();
}

#[test]
fn a_closed_standard_input_is_not_an_empty_one() {
    let broker = Broker::start();
    let topic = broker.create("no-input", 1);
    let closed = shell(&broker, &format!("\"$K\" produce {topic} -b $B <&-")).expect_code(1);
    assert!(closed.stderr.contains("standard input is closed"), "{}", closed.stderr);
    shell(&broker, &format!("\"$K\" produce {topic} -b $B </dev/null")).expect_success();
}

#[test]
fn a_topic_that_is_named_twice_is_read_once() {
    let broker = Broker::start();
    let topic = ten(&broker, "twice");
    assert_eq!(broker.kcopy("consume", &[&topic, &topic], b"").expect_success().lines().len(), 10);
}

#[test]
fn a_command_beside_the_broker_needs_no_address() {
    let mut command = program("kcopy");
    command.args(["broker", "--topic", "t:3", "--", "sh", "-c"]);
    command.arg("echo hi | \"$K\" -P -t t && \"$K\" -C -t t -e -q && exit 7");
    command.env("K", program("kcopy").get_program()).env_remove("KCOPY_BROKERS");
    let output = run(&mut command).expect_code(7);
    assert_eq!(output.text(), "hi\n");
}

#[test]
fn each_broker_is_a_cluster_of_its_own() {
    let id = || {
        let broker = Broker::ours(&[]);
        let described =
            run(program("kcopy").args(["cluster", "describe", "--json", "-b", broker.bootstrap()]));
        let described = described.expect_success().text().to_owned();
        described.lines().find(|line| line.contains("cluster_id")).expect("an id").to_owned()
    };
    // Positions in the one mean nothing in the other, and nobody would notice.
    assert_ne!(id(), id());
}

#[test]
fn a_broker_that_cannot_be_reached_is_told_of_once_while_it_is_tried_again() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let closed = closed.to_string();
    let told = |name: &str, arguments: &[&str]| {
        let output = run(program(name).args(arguments).args(["-b", &closed])).expect_code(1);
        assert!(output.stderr.contains(&closed), "{}", output.stderr);
        output.stderr.matches("% a broker cannot be reached and is tried again: ").count()
    };
    assert_eq!(told("kcat", &["-L", "-m", "1"]), 1);
    // The first error is the last: it is enough.
    assert_eq!(told("kcat", &["-C", "-q", "-t", "t"]), 0);
}
