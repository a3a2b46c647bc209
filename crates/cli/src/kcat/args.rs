//! Reads kcat's options, in order, into [`Args`].

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kcopy_format::pack::Pack;
use kcopy_format::template::Template;

use super::getopt::{Element, Getopt};
use super::{Refusal, usage};
use crate::environment::Environment;
use crate::plan::{Start, Stop, parse_delimiter};
use crate::properties::{self, OffsetReset, PropertySet, Source, read_config};

const OPTIONS: &str = "PCG:LQM:t:p:b:z:o:eED:K:k:H:Od:qvF:X:c:Tuf:ZlVhs:r:Jm:";

/// What the options ask for.
pub(super) enum Read {
    /// Text to print.
    Print(String),
    /// A run.
    Args(Box<Args>),
}

/// The options as they were given, each checked by itself.
pub(super) struct Args {
    pub(super) mode: Option<u8>,
    pub(super) topics: Vec<String>,
    pub(super) operands: Vec<OsString>,
    pub(super) partition: Option<i32>,
    pub(super) properties: PropertySet,
    pub(super) start: Option<Start>,
    pub(super) stop: Option<Stop>,
    pub(super) exit_at_end: bool,
    pub(super) keep_going: bool,
    pub(super) delimiter: Vec<u8>,
    pub(super) key_delimiter: Option<Vec<u8>>,
    pub(super) fixed_key: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(super) template: Option<Template>,
    pub(super) json: bool,
    pub(super) key_pack: Option<Pack>,
    pub(super) value_pack: Option<Pack>,
    pub(super) max_messages: Option<u64>,
    pub(super) null: bool,
    pub(super) line_mode: bool,
    pub(super) tee: bool,
    pub(super) unbuffered: bool,
    pub(super) verbosity: u8,
    pub(super) metadata_timeout: Option<Duration>,
    pub(super) notices: Vec<String>,
    /// `-X dump`.
    dump: bool,
    /// `-b`, which wins over `-X bootstrap.servers`.
    brokers: Option<String>,
    config_files: Vec<PathBuf>,
    default_config: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            mode: None,
            topics: Vec::new(),
            operands: Vec::new(),
            partition: None,
            properties: PropertySet::default(),
            start: None,
            stop: None,
            exit_at_end: false,
            keep_going: false,
            delimiter: b"\n".to_vec(),
            key_delimiter: None,
            fixed_key: None,
            headers: Vec::new(),
            template: None,
            json: false,
            key_pack: None,
            value_pack: None,
            max_messages: None,
            null: false,
            line_mode: false,
            tee: false,
            unbuffered: false,
            verbosity: 1,
            metadata_timeout: Some(Duration::from_secs(5)),
            notices: Vec::new(),
            dump: false,
            brokers: None,
            config_files: Vec::new(),
            default_config: true,
        }
    }
}

/// Reads the command line and the configuration files.
pub(super) fn read(program: &str, args: &[OsString], environment: &Environment<'_>) -> Result<Read, Refusal> {
    let mut read = Args::default();
    for element in Getopt::new(OPTIONS, args) {
        match element {
            Element::Flag(b'h', _) => return Ok(Read::Print(usage::usage(program))),
            Element::Flag(b'V', _) => return Ok(Read::Print(usage::version())),
            Element::Flag(b'X', value) if value == b"list" || value == b"help" => {
                return Ok(Read::Print(properties::list()));
            }
            Element::Flag(letter, value) if value.is_empty() => read.switch(letter)?,
            Element::Flag(letter, value) => read.option(letter, &value)?,
            // kcat has no long options; the two that everyone tries first are answered all the same.
            Element::Long(name) if name == "help" => return Ok(Read::Print(usage::usage(program))),
            Element::Long(name) if name == "version" => return Ok(Read::Print(usage::version())),
            Element::Long(name) => return Err(Refusal::Usage(format!("unknown argument --{name}"))),
            Element::Operand(operand) => read.operands.push(operand),
            Element::Unknown(letter) => {
                let letter = [letter];
                return Err(Refusal::Usage(format!("unknown argument -{}", letter.escape_ascii())));
            }
            Element::NoValue(letter) => {
                return Err(Refusal::Usage(format!("option -{} needs a value", letter as char)));
            }
        }
    }
    read.read_config_files(environment)?;
    if let Some(brokers) = read.brokers.take() {
        read.properties.set("bootstrap.servers", &brokers, Source::CommandLine)?;
    }
    if read.dump {
        return Ok(Read::Print(properties::dump(&read.properties)));
    }
    Ok(Read::Args(Box::new(read)))
}

impl Args {
    /// A letter without a value; also a letter that takes one and got an empty one.
    fn switch(&mut self, letter: u8) -> Result<(), Refusal> {
        match letter {
            b'P' | b'C' | b'L' | b'Q' => self.set_mode(letter),
            b'e' => self.exit_at_end = true,
            b'E' => self.keep_going = true,
            b'J' => self.json = true,
            b'l' => self.line_mode = true,
            b'Z' => self.null = true,
            b'q' => self.verbosity = 0,
            b'v' => self.verbosity = self.verbosity.saturating_add(1),
            b'T' => self.tee = true,
            b'u' => self.unbuffered = true,
            // kcat takes -O and prints no offset: a script that relies on it would be misled either way.
            b'O' => {
                return Err(Refusal::Fatal(
                    "-O: use -f '%o%k%s\\n' to print offsets (kcat ignores -O)".into(),
                ));
            }
            _ => self.option(letter, b"")?,
        }
        Ok(())
    }

    /// The last mode counts, as in kcat 1.7.1. Its unreleased successor refuses the second: hence the notice.
    fn set_mode(&mut self, letter: u8) {
        if let Some(mode) = self.mode.replace(letter).filter(|mode| *mode != letter) {
            self.notices.push(format!("-{} counts: -{} came before it", letter as char, mode as char));
        }
    }

    /// A letter with its value.
    fn option(&mut self, letter: u8, value: &[u8]) -> Result<(), Refusal> {
        match letter {
            b'G' | b'M' => self.set_mode(letter),
            b't' => self.topics.push(text(letter, value)?.to_owned()),
            b'p' => self.partition = partition(value)?,
            b'b' => self.brokers = Some(text(letter, value)?.to_owned()),
            b'z' => self.properties.set("compression.codec", text(letter, value)?, Source::CommandLine)?,
            b'd' => self.properties.set("debug", text(letter, value)?, Source::CommandLine)?,
            b'o' => self.offset(text(letter, value)?)?,
            b'D' => self.delimiter = parse_delimiter(value).map_err(Refusal::Fatal)?,
            b'K' => self.key_delimiter = Some(parse_delimiter(value).map_err(Refusal::Fatal)?),
            b'k' => self.fixed_key = Some(value.to_vec()),
            b'H' => self.headers.push(header(value)?),
            b'f' => {
                let template = Template::parse(value).map_err(|error| Refusal::Fatal(error.to_string()))?;
                self.template = Some(template);
            }
            b's' => self.pack(text(letter, value)?)?,
            b'r' => {
                return Err(Refusal::Fatal(
                    "-r: Avro and the Schema Registry come in a later release".into(),
                ));
            }
            // Zero and less mean no limit in kcat.
            b'c' => {
                self.max_messages = u64::try_from(integer(letter, value)?).ok().filter(|count| *count > 0)
            }
            b'm' => {
                self.metadata_timeout = u64::try_from(integer(letter, value)?).ok().map(Duration::from_secs)
            }
            b'F' => {
                self.default_config = false;
                if value != b"-" && value != b"none" {
                    self.config_files.push(PathBuf::from(text(letter, value)?));
                }
            }
            b'X' if value == b"dump" => self.dump = true,
            b'X' => self.properties.set_pair(text(letter, value)?, Source::CommandLine)?,
            other => return Err(Refusal::Usage(format!("unknown argument -{}", other as char))),
        }
        Ok(())
    }

    /// `-o`: what is no offset is refused, where kcat reads `-o latest` as 0.
    fn offset(&mut self, value: &str) -> Result<(), Refusal> {
        let wrong = || {
            Refusal::Fatal(format!(
                "-o: \"{value}\" is no offset (expected beginning, end, stored, an offset, -N, s@MILLISECONDS or e@MILLISECONDS)"
            ))
        };
        let number = |text: &str| text.parse::<i64>().ok().filter(|it| *it >= 0).ok_or_else(wrong);
        let start = match value {
            "beginning" => Start::Beginning,
            "end" => Start::End,
            "stored" => Start::Committed { otherwise: OffsetReset::Beginning },
            _ => match (value.strip_prefix("s@"), value.strip_prefix("e@"), value.strip_prefix('-')) {
                (Some(timestamp), ..) => Start::Timestamp(number(timestamp)?),
                (_, Some(timestamp), _) => {
                    self.stop = Some(Stop::Timestamp(number(timestamp)?));
                    return Ok(());
                }
                (.., Some(back)) => match number(back)? {
                    // A number, and none below zero: kcat's -0 is the offset 0.
                    0 => Start::Offset(0),
                    back => Start::BeforeEnd(back),
                },
                _ => Start::Offset(number(value)?),
            },
        };
        self.start = Some(start);
        Ok(())
    }

    /// `-s [key=|value=]pack`.
    fn pack(&mut self, value: &str) -> Result<(), Refusal> {
        let (key, pack) = match (value.strip_prefix("key="), value.strip_prefix("value=")) {
            (Some(pack), _) => (Some(true), pack),
            (_, Some(pack)) => (Some(false), pack),
            _ => (None, value),
        };
        let parse = |field| Pack::parse(field, pack).map_err(|error| Refusal::Fatal(error.to_string()));
        if key != Some(false) {
            self.key_pack = Some(parse("key")?);
        }
        if key != Some(true) {
            self.value_pack = Some(parse("value")?);
        }
        Ok(())
    }

    /// The files of `-F`; without any (`none` is no file), the one that the environment names; without `-F` at all, the
    /// user's own.
    fn read_config_files(&mut self, environment: &Environment<'_>) -> Result<(), Refusal> {
        let mut files = std::mem::take(&mut self.config_files);
        if files.is_empty() {
            if let Some(path) = environment.non_empty("KCAT_CONFIG") {
                files.push(path.into());
            } else if let Some(path) = environment.non_empty("KAFKACAT_CONFIG") {
                self.notices.push("KAFKACAT_CONFIG is deprecated: rename it to KCAT_CONFIG".to_owned());
                files.push(path.into());
            }
        }
        if files.is_empty() && self.default_config {
            return self.read_user_config(environment);
        }
        for file in files {
            let content = (environment.read_file)(&file).map_err(|error| {
                Refusal::Fatal(format!("Failed to open {}: {}", file.display(), os_text(&error)))
            })?;
            self.notices.push(format!("Reading configuration from file {}", file.display()));
            self.read_config_file(&file, &content)?;
        }
        Ok(())
    }

    /// `~/.config/kcat.conf`, or kafkacat's. None of them, no home, or one that cannot be read are no error.
    fn read_user_config(&mut self, environment: &Environment<'_>) -> Result<(), Refusal> {
        for name in ["kcat.conf", "kafkacat.conf"] {
            let Some(path) = environment.user_config(name) else { break };
            if let Ok(content) = (environment.read_file)(&path) {
                if name == "kafkacat.conf" {
                    self.notices.push(format!("{} is deprecated: rename it to kcat.conf", path.display()));
                }
                if self.verbosity > 2 {
                    self.notices.push(format!("Reading configuration from file {}", path.display()));
                }
                return self.read_config_file(&path, &content);
            }
        }
        Ok(())
    }

    fn read_config_file(&mut self, path: &Path, content: &[u8]) -> Result<(), Refusal> {
        read_config(path, content, &mut self.properties).map_err(|error| Refusal::Fatal(error.to_string()))
    }
}

/// The system's sentence for an error, without Rust's `(os error 2)`.
fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(sentence, _)| sentence).to_owned()
}

fn text(letter: u8, value: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(value).map_err(|_| {
        Refusal::Fatal(format!("-{}: \"{}\" is not valid UTF-8", letter as char, value.escape_ascii()))
    })
}

/// A whole number; kcat reads `abc` as 0, which hides slips.
fn integer(letter: u8, value: &[u8]) -> Result<i64, Refusal> {
    let text = text(letter, value)?;
    text.trim().parse().map_err(|_| Refusal::Fatal(format!("-{}: \"{text}\" is no number", letter as char)))
}

/// A partition, or -1 for all of them (any of them, when producing).
fn partition(value: &[u8]) -> Result<Option<i32>, Refusal> {
    match i32::try_from(integer(b'p', value)?) {
        Ok(-1) => Ok(None),
        Ok(partition) if partition >= 0 => Ok(Some(partition)),
        _ => Err(Refusal::Fatal(format!(
            "-p: {} is no partition (expected 0 or more, or -1)",
            String::from_utf8_lossy(value)
        ))),
    }
}

/// `name=value`, `name=` (empty value) or `name` (null value).
fn header(value: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>), Refusal> {
    let (name, value) = match value.iter().position(|byte| *byte == b'=') {
        Some(index) => (&value[..index], Some(value[index + 1..].to_vec())),
        None => (value, None),
    };
    if name.is_empty() {
        return Err(Refusal::Fatal("Expected -H \"name=value..\" or -H \"name\"".into()));
    }
    Ok((name.to_vec(), value))
}
