//! Configuration files: `key=value` lines, in librdkafka's spelling, or `key: value` ones in Java's.

use std::fmt;
use std::path::{Path, PathBuf};

use super::set::{PropertyError, PropertySet, Source};

/// A configuration file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFileError {
    path: PathBuf,
    /// Counted from 1; absent when the file as a whole is the trouble.
    line: Option<usize>,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    NotUtf8,
    NoPair,
    Property(PropertyError),
}

impl fmt::Display for ConfigFileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(formatter, "{line}:")?;
        }
        match &self.reason {
            Reason::NotUtf8 => write!(formatter, " not valid UTF-8"),
            Reason::NoPair => write!(formatter, " expected property=value"),
            Reason::Property(error) => write!(formatter, " {error}"),
        }
    }
}

impl std::error::Error for ConfigFileError {}

/// Sets every property of the file `path`, whose bytes are `content`.
///
/// Empty lines and lines that start with `#` or `!` are skipped, space around key and value too. The first `=` or `:`
/// ends the key, which has none of them; `\:` and `\=` are what some Java tools write for `:` and `=`.
///
/// # Errors
/// A line is no `key=value`, or sets a property wrongly; the error names file and line.
pub fn read_config(path: &Path, content: &[u8], set: &mut PropertySet) -> Result<(), ConfigFileError> {
    let fail = |line, reason| ConfigFileError { path: path.to_owned(), line, reason };
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let text = std::str::from_utf8(content).map_err(|error| {
        let line = content[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        fail(Some(line), Reason::NotUtf8)
    })?;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let number = Some(index + 1);
        let line = line.replace("\\:", ":").replace("\\=", "=");
        match line.split_once(['=', ':']) {
            Some((name, value)) if !name.trim().is_empty() => set
                .set(name.trim(), value.trim(), Source::File)
                .map_err(|error| fail(number, Reason::Property(error)))?,
            _ => return Err(fail(number, Reason::NoPair)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<PropertySet, String> {
        let mut set = PropertySet::default();
        match read_config(Path::new("/etc/k.conf"), content, &mut set) {
            Ok(()) => Ok(set),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn comments_blanks_and_java_escapes_are_understood() {
        let set = read(b"# brokers\r\n\n  bootstrap.servers = localhost\\:9092 \r\nclient.id=a=b\nacks=all")
            .unwrap();
        assert_eq!(set.value("bootstrap.servers"), Some("localhost:9092"));
        assert_eq!(set.value("client.id"), Some("a=b"));
        assert_eq!(set.value("acks"), Some("all"));
        assert_eq!(set.source("acks"), Some(Source::File));
    }

    #[test]
    fn a_colon_ends_a_key_as_in_javas_files() {
        let set = read(b"! of a Java tool\nbootstrap.servers: localhost:9092\nclient.id :a=b").unwrap();
        assert_eq!(set.value("bootstrap.servers"), Some("localhost:9092"));
        assert_eq!(set.value("client.id"), Some("a=b"));
    }

    #[test]
    fn bad_lines_name_file_and_line() {
        for (content, expected) in [
            (&b"acks=all\nhello"[..], "/etc/k.conf:2: expected property=value"),
            (b"=x", "/etc/k.conf:1: expected property=value"),
            (b"ack=all", "/etc/k.conf:1: no such configuration property: \"ack\" (did you mean \"acks\"?)"),
            (b"\n\nclient.id=\xff", "/etc/k.conf:3: not valid UTF-8"),
        ] {
            assert_eq!(read(content).unwrap_err(), expected);
        }
    }
}
