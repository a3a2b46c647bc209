//! How a run ends when it does not end well.

use std::{fmt, io};

use crate::{
    plan::Grammar,
    process::{EXIT_READER_GONE, ReaderGone, say},
};

/// Why a run failed.
#[derive(Debug)]
pub enum Failure {
    /// The reader of standard output went away: nothing is said, the exit code is 141.
    ReaderGone,
    /// For stderr, without a prefix or a newline.
    Told(String),
    /// A command line that is wrong in a way that only shows when it is carried out.
    WrongUse(String),
    /// A position is not there any more, for stderr likewise.
    Gap(String),
    /// Everything has been said already.
    AlreadyTold,
    /// A child's exit code.
    Child(i32),
    /// A signal with this number ended the run in an orderly way: the exit code is 128 and the number, as
    /// a shell says it.
    Signal(i32),
}

impl Failure {
    /// Says on stderr what there is to say, in the words of the grammar, and returns the exit code.
    pub fn report(&self, grammar: Grammar) -> i32 {
        match self {
            Failure::ReaderGone => EXIT_READER_GONE,
            Failure::Child(code) => *code,
            Failure::Signal(number) => 128 + number,
            Failure::AlreadyTold => 1,
            Failure::Told(text) | Failure::WrongUse(text) | Failure::Gap(text) => {
                match grammar {
                    Grammar::Kcat => say!("% ERROR: {text}"),
                    Grammar::Kcopy => say!("kcopy: error: {text}"),
                    Grammar::KafkaTopics => say!("Error while executing topic command : {text}"),
                }
                let is_wrong_use = matches!(self, Failure::WrongUse(_)) && grammar == Grammar::Kcopy;
                if is_wrong_use { 2 } else { 1 }
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::ReaderGone => ReaderGone.fmt(f),
            Failure::Told(text) | Failure::WrongUse(text) | Failure::Gap(text) => f.write_str(text),
            Failure::AlreadyTold => f.write_str("the run failed"),
            Failure::Child(code) => write!(f, "the command ended with exit code {code}"),
            Failure::Signal(number) => write!(f, "signal {number} ended the run"),
        }
    }
}

impl From<kcopy_client::Error> for Failure {
    fn from(error: kcopy_client::Error) -> Failure {
        Failure::Told(error.to_string())
    }
}

impl Failure {
    /// A failed write to standard output.
    pub fn writing(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Told(format!("writing to standard output: {error}")),
        }
    }
}
