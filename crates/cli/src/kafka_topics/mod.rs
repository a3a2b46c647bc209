//! Apache Kafka's `kafka-topics`: its flags, its texts, its exit codes.

mod args;
pub mod text;

use std::ffi::OsString;

use crate::environment::{Environment, WrongUse};
use crate::plan::Plan;

/// Parses `args` (without the program's name) in the grammar of `kafka-topics`.
///
/// # Errors
/// The command line is wrong; the exit code is 1.
pub fn parse(args: &[OsString], environment: &Environment<'_>) -> Result<Plan, WrongUse> {
    args::parse(args, environment).map_err(|refusal| {
        let stderr = match refusal {
            args::Refusal::Usage(reason) => format!("{reason}\n{}", text::USAGE),
            args::Refusal::Plain(reason) => format!("{reason}\n"),
        };
        WrongUse { stderr, exit_code: 1 }
    })
}

#[cfg(test)]
mod tests;
