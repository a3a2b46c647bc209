//! Which grammar a command line is in.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::environment::{Environment, WrongUse};
use crate::plan::{Grammar, Plan};
use crate::{grammar, kafka_topics, kcat};

/// Parses a whole command line; `args` starts with the name that the program was called by.
///
/// # Errors
/// The command line is wrong in its grammar.
pub fn parse(args: &[OsString], environment: &Environment<'_>) -> Result<Plan, WrongUse> {
    let (program, args) = split(args);
    match choose(program, args) {
        Grammar::Kcat => kcat::parse(&name(program), args, environment),
        Grammar::KafkaTopics => kafka_topics::parse(args, environment),
        Grammar::Kcopy => grammar::parse(args, environment),
    }
}

/// The grammar of a whole command line.
pub fn grammar_of(args: &[OsString]) -> Grammar {
    let (program, args) = split(args);
    choose(program, args)
}

fn split(args: &[OsString]) -> (&OsStr, &[OsString]) {
    args.split_first().map_or((OsStr::new("kcopy"), args), |(first, rest)| (&**first, rest))
}

/// The grammar: by the program's name, then by the first argument.
///
/// A single dash (`kcopy -b B -L`) is kcat's, and so is a leading word `kcat` or `kafkacat`.
pub fn choose(program: &OsStr, args: &[OsString]) -> Grammar {
    match name(program).as_str() {
        "kcat" | "kafkacat" => return Grammar::Kcat,
        "kafka-topics" | "kafka-topics.sh" => return Grammar::KafkaTopics,
        _ => {}
    }
    match args.first().map(|first| first.as_encoded_bytes()) {
        Some(b"kcat" | b"kafkacat") => Grammar::Kcat,
        Some([b'-', second, ..]) if *second != b'-' => Grammar::Kcat,
        _ => Grammar::Kcopy,
    }
}

/// The program's name without its folder.
fn name(program: &OsStr) -> String {
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_then_the_first_argument() {
        for (line, expected) in [
            ("kcat", Grammar::Kcat),
            ("/usr/bin/kafkacat --help", Grammar::Kcat),
            ("kcat consume t", Grammar::Kcat),
            ("./kafka-topics --list", Grammar::KafkaTopics),
            ("kafka-topics.sh -L", Grammar::KafkaTopics),
            ("kcopy", Grammar::Kcopy),
            ("kcopy -b B -L", Grammar::Kcat),
            ("kcopy -h", Grammar::Kcat),
            ("kcopy kcat -L", Grammar::Kcat),
            ("kcopy --help", Grammar::Kcopy),
            ("kcopy --", Grammar::Kcopy),
            ("kcopy -", Grammar::Kcopy),
            ("kcopy consume t -q", Grammar::Kcopy),
            ("kcopy-1.0 -L", Grammar::Kcat),
        ] {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            assert_eq!(choose(&words[0], &words[1..]), expected, "{line}");
        }
    }

    #[test]
    fn no_arguments_at_all_are_wrong_use() {
        let environment = Environment {
            variable: &|_| None,
            read_file: &|_| Err(std::io::Error::from_raw_os_error(2)),
            stdin_is_terminal: false,
            now_ms: 0,
        };
        assert_eq!(parse(&[], &environment).unwrap_err().exit_code, 2);
        assert_eq!(parse(&["kcat".into()], &environment).unwrap_err().exit_code, 1);
        assert_eq!(parse(&["kafka-topics".into()], &environment).unwrap_err().exit_code, 1);
    }
}
