//! kcopy moves data between Kafka and PostgreSQL: everything behind the `kcopy` binary.
//!
//! Two grammars (kcat's and kcopy's own) and Apache Kafka's `kafka-topics` flags are parsed into one
//! checked [`plan::Plan`]. Parsing only validates, running only runs.

pub mod control;
pub mod dispatch;
pub mod environment;
pub mod grammar;
pub mod kafka_topics;
pub mod kcat;
pub mod load;
pub mod plan;
pub mod process;
pub mod properties;
pub mod run;
pub mod sql;
pub mod tables;
pub mod view;

use std::ffi::OsString;

/// Parses a command line, carries it out, and returns the exit code. `args` starts with the name that
/// the program was called by.
pub fn main(args: &[OsString]) -> i32 {
    let plan = match dispatch::parse(args, &environment::Environment::of_process()) {
        Ok(plan) => plan,
        Err(wrong) => {
            run::report_wrong_use(args, &wrong.stderr);
            process::say_text(&wrong.stderr);
            return wrong.exit_code.into();
        }
    };
    let grammar = dispatch::grammar_of(args);
    if grammar == plan::Grammar::Kcat {
        process::heed_termination();
    }
    match run::run(&plan) {
        Ok(()) => 0,
        Err(failure) => failure.report(grammar),
    }
}
