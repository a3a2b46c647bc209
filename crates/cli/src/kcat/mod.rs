//! kcat's grammar: the command line that scripts written for kcat and kafkacat use.
//!
//! Options and texts are kcat 1.7.1's; what it gets wrong is mended here, each time with the reason beside it.

mod args;
mod checked;
mod getopt;
pub mod metadata;
mod usage;

use std::ffi::OsString;

use crate::environment::{Environment, WrongUse};
use crate::plan::Plan;
use crate::properties::PropertyError;

/// Parses `args` (without the program's name) in kcat's grammar; `program` is the name that the usage shows.
///
/// # Errors
/// The command line is wrong: `Error: ...` and the usage, or `% ERROR: ...` alone, both with exit code 1.
pub fn parse(program: &str, args: &[OsString], environment: &Environment<'_>) -> Result<Plan, WrongUse> {
    // Old container images run `kcat kcat -b ...`.
    let args = match args.first() {
        Some(first) if first == "kcat" || first == "kafkacat" => &args[1..],
        _ => args,
    };
    let result = args::read(program, args, environment).and_then(|read| match read {
        args::Read::Print(text) => Ok(Plan::Print(text)),
        args::Read::Args(args) => checked::check(*args, environment),
    });
    result.map_err(|refusal| WrongUse { stderr: refusal.text(program), exit_code: 1 })
}

/// Why a command line is refused, by the form of kcat's text for it.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// `Error: ...`, and the usage.
    Usage(String),
    /// `% ERROR: ...`.
    Fatal(String),
    /// `% ...`.
    Plain(String),
}

impl Refusal {
    fn text(&self, program: &str) -> String {
        match self {
            Self::Usage(reason) => format!("Error: {reason}\n\n{}", usage::usage(program)),
            Self::Fatal(reason) => format!("% ERROR: {reason}\n"),
            Self::Plain(text) => format!("% {text}\n"),
        }
    }
}

impl From<PropertyError> for Refusal {
    /// kcat's sentences start with a capital.
    fn from(error: PropertyError) -> Self {
        let text = error.to_string();
        let mut letters = text.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        let text = first.into_iter().chain(letters).collect();
        match error {
            PropertyError::NoValue { .. } => Self::Plain(text),
            _ => Self::Fatal(text),
        }
    }
}
