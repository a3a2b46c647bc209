//! Clients that others wrote, against our broker (and Apache Kafka, to keep the tests honest).

use std::process::Command;

use kcopy_tests::{Broker, foreign_python, project, run, skipped};

/// One scenario of `tests/foreign/confluent.py`.
fn confluent(scenario: &str) {
    let Some(python) = foreign_python() else {
        return skipped(scenario, "there is no Python with confluent-kafka");
    };
    let broker = Broker::start();
    let script = project().join("tests/foreign/confluent.py");
    let topic = broker.topic(&format!("confluent-{scenario}"));
    let mut command = Command::new(python);
    run(command.arg(script).args([scenario, broker.bootstrap(), &topic])).expect_success();
}

#[test]
fn confluent_kafka_produces_and_consumes_with_every_codec() {
    confluent("produce_and_consume");
}

#[test]
fn confluent_kafka_asks_for_and_commits_positions() {
    confluent("positions");
}

#[test]
fn confluent_kafka_administers_topics() {
    confluent("administration");
}
