//! What a run did, for a caller that keeps the positions itself: the JSON file of `--report`.
//!
//! It is made at the very end, also of a run that failed, and never over a file that is there.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use kcopy_client::{
    PartitionRange, Topic,
    wire::{Str, records::Record},
};
use kcopy_format::{FormatError, base64::put_base64};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, openat},
    process::geteuid,
};
use serde_json::{Value, json};

use super::{
    failure::Failure,
    written::{SharedWritten, Written},
};
use crate::{
    plan::{Consume, Output},
    process::say,
};

/// Skipped records that a report holds at most, and their bytes: a run ends before the one that is too many.
const MAX_REJECTED: usize = 10_000;
const MAX_REJECTED_BYTES: usize = 32 << 20;

/// Longer reports are none of ours.
const MAX_REPORT_BYTES: u64 = 128 << 20;

/// A report is taken as soon as its run has ended: one that is older is left over.
const REPORT_AGE: Duration = Duration::from_secs(6 * 3600);
/// How much of a folder is looked at for such.
const MAX_SWEPT: usize = 10_000;

/// What becomes of one partition.
#[derive(Debug)]
pub(super) struct PartitionReport {
    pub(super) range: PartitionRange,
    pub(super) next_offset: i64,
    /// The leader epoch of what is before `next_offset`, as far as it was read.
    pub(super) leader_epoch: Option<i32>,
    pub(super) records: u64,
}

/// Gathers what is known as the run goes on.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) cluster_id: Option<String>,
    /// The id of each topic, and how many partitions it has.
    topics: BTreeMap<Str, (Option<String>, usize)>,
    /// Why partitions do not start where they were to.
    gaps: BTreeMap<(Str, i32), String>,
    columns: Vec<String>,
    pub(super) partitions: Vec<PartitionReport>,
    rejected: Vec<Value>,
    rejected_bytes: usize,
    pub(super) written: SharedWritten,
}

impl Report {
    pub(super) fn new(plan: &Consume) -> Report {
        let mut report = Report::default();
        if let Output::Format(options) = &plan.output {
            let columns = options.columns_or_default();
            report.columns = columns.as_slice().iter().map(|column| column.name.clone()).collect();
        }
        report
    }

    pub(super) fn add_topic(&mut self, topic: &Topic) {
        let facts = (topic.id.map(|id| id.to_string()), topic.partitions.len());
        self.topics.insert(topic.name.clone(), facts);
    }

    pub(super) fn add_gap(&mut self, topic: &Str, partition: i32, reason: String) {
        self.gaps.insert((topic.clone(), partition), reason);
    }

    pub(super) fn has_gap(&self, topic: &Str, partition: i32) -> bool {
        self.gaps.contains_key(&(topic.clone(), partition))
    }

    /// Whether one more record can be taken in. The first always can, so that each run gets on.
    pub(super) fn has_room(&self, record: &Record<'_>) -> bool {
        let bytes = self.rejected_bytes.saturating_add(size(record));
        self.rejected.is_empty() || self.rejected.len() < MAX_REJECTED && bytes <= MAX_REJECTED_BYTES
    }

    /// Takes a record in that the columns cannot hold.
    pub(super) fn reject(&mut self, error: &FormatError, record: &Record<'_>) {
        let base64 = |bytes: &[u8]| {
            let mut text = Vec::new();
            put_base64(&mut text, bytes);
            String::from_utf8_lossy(&text).into_owned()
        };
        self.rejected_bytes = self.rejected_bytes.saturating_add(size(record));
        self.rejected.push(json!({
            "topic": error.topic(),
            "partition": error.partition(),
            "offset": record.offset,
            "key": record.key.map(base64),
            "value": record.value.map(base64),
            "reason": without_nul(&error.to_string()),
        }));
    }

    /// Makes the file.
    ///
    /// # Errors
    /// It is there already, or cannot be written.
    pub(super) fn write(&self, path: &Path, ended: &Result<(), Failure>) -> Result<(), Failure> {
        let (error, is_gap) = match ended {
            Ok(()) => (None, false),
            Err(failure) => (Some(failure.to_string()), matches!(failure, Failure::Gap(_))),
        };
        let written = self.written.take_or_stop();
        sweep(path);
        write_file(path, &self.json(error.as_deref(), is_gap, &written))
    }

    /// What is to be done once the reader has gone while the run waits for something else.
    pub(super) fn last_words(&self, path: &Path) -> impl FnOnce() -> bool + Send + 'static {
        let (written, path) = (self.written.clone(), path.to_owned());
        move || {
            let Some(written) = written.take() else { return false };
            let report = Report::default().json(Some(&Failure::ReaderGone.to_string()), false, &written);
            // There is nobody to tell.
            let _ = write_file(&path, &report);
            true
        }
    }

    fn json(&self, error: Option<&str>, is_gap: bool, written: &Written) -> Value {
        let topics: Vec<Value> = self
            .topics
            .iter()
            .map(|(topic, (id, count))| {
                let partitions = self.partitions.iter().filter(|partition| partition.range.topic == *topic);
                let partitions: Vec<Value> = partitions.map(|partition| self.partition(partition)).collect();
                json!({ "topic": &**topic, "topic_id": id, "partition_count": count, "partitions": partitions })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cluster_id": self.cluster_id,
            "columns": self.columns,
            "topics": topics,
            "rejected": self.rejected,
            "written": written.json(),
            "error": error.map(without_nul),
            "is_gap": is_gap,
        })
    }

    fn partition(&self, partition: &PartitionReport) -> Value {
        let range = &partition.range;
        json!({
            "partition": range.partition,
            "from": range.start,
            "next_offset": partition.next_offset,
            "leader_epoch": partition.leader_epoch,
            "records": partition.records,
            "log_start_offset": range.log_start_offset,
            "high_watermark": range.high_watermark,
            "last_stable_offset": range.last_stable_offset,
            "gap": self.gaps.get(&(range.topic.clone(), range.partition)),
        })
    }
}

fn size(record: &Record<'_>) -> usize {
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)
}

/// No text of PostgreSQL can hold NUL, nor can its jsonb.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn write_file(path: &Path, report: &Value) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Told(format!("making the report {}: {error}", path.display()));
    // Neither a file nor a link that somebody has put there is written to.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
    File::from(file).write_all(report.to_string().as_bytes()).map_err(failed)
}

/// Removes what stayed beside this report because the backend that was to take it was killed: nobody else knows the
/// names. Best effort, and only where this one has the name that `kcopy.load` gives.
fn sweep(path: &Path) {
    let (Some(folder), true) = (path.parent(), path.file_name().is_some_and(is_report_name)) else { return };
    let own = geteuid().as_raw();
    let is_left = |path: &Path| -> io::Result<bool> {
        let found = path.symlink_metadata()?;
        let age = found.modified()?.elapsed().unwrap_or_default();
        Ok(found.is_file() && found.uid() == own && age > REPORT_AGE)
    };
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries.flatten().take(MAX_SWEPT).filter(|entry| is_report_name(&entry.file_name())) {
        let path = entry.path();
        if is_left(&path).unwrap_or(false) {
            // Another load may have been faster.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// `kcopy-` and a UUID as PostgreSQL shows it.
fn is_report_name(name: &OsStr) -> bool {
    let Some(id) = name.to_str().and_then(|name| name.strip_prefix("kcopy-")) else { return false };
    id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// A command line that asks for a report and is not understood reports that. Best effort: it is told on
/// standard error as well.
pub fn report_wrong_use(args: &[OsString], message: &str) {
    let Some(path) = report_path(args) else { return };
    let text = message.strip_prefix("kcopy: error: ").unwrap_or(message).trim_end();
    if let Err(failure) = write_file(&path, &Report::default().json(Some(text), false, &Written::default())) {
        say!("kcopy: {failure}");
    }
}

fn report_path(args: &[OsString]) -> Option<PathBuf> {
    if args.get(1)? != "consume" {
        return None;
    }
    let mut rest = args[2..].iter().take_while(|arg| *arg != "--");
    while let Some(arg) = rest.next() {
        if arg == "--report" {
            return rest.next().map(PathBuf::from);
        }
        if let Some(path) = arg.to_str().and_then(|arg| arg.strip_prefix("--report=")) {
            return Some(OsStr::new(path).into());
        }
    }
    None
}

/// Prints a report as a row of COPY text and removes it. A report that is not there is NULL: its run was
/// killed.
pub(super) fn take(path: &Path, is_ascii: bool) -> Result<(), Failure> {
    let line = match read(path) {
        Ok(report) if is_ascii => ascii(&report).replace('\\', "\\\\"),
        Ok(report) => report.replace('\\', "\\\\"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "\\N".to_owned(),
        Err(error) => return Err(Failure::Told(format!("reading the report {}: {error}", path.display()))),
    };
    super::print::print(&format!("{line}\n"))
}

/// JSON of ASCII alone. A backslash in a string is `\u005c`, so that one before a `u` always begins an escape.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut letters = json.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('\\') => text.push_str("\\u005c"),
                escaped => text.extend(['\\'].into_iter().chain(escaped)),
            },
            '\0'..='\x7f' => text.push(letter),
            _ => {
                let units = letter
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}"))
                    .collect::<String>();
                text.push_str(&units);
            }
        }
    }
    text
}

fn read(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    let refuse = |reason: &str| Err(io::Error::new(io::ErrorKind::InvalidData, reason.to_owned()));
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return refuse("it is not a regular file");
    }
    let mut text = String::new();
    File::from(file).take(MAX_REPORT_BYTES).read_to_string(&mut text)?;
    // Only what is a report is removed.
    match serde_json::from_str::<Value>(&text) {
        Ok(report) if report.get("version").is_some() && !text.contains(['\n', '\t', '\r']) => {
            std::fs::remove_file(path)?;
            Ok(text)
        }
        _ => refuse("it is no report of kcopy consume"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_wrong_command_line_finds_its_report() {
        let path = |line: &str| report_path(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(path("kcopy consume t --report /r --columns ="), Some("/r".into()));
        assert_eq!(path("kcopy consume t --report=/r"), Some("/r".into()));
        for line in
            ["kcopy consume t --report", "kcopy consume -- --report /r", "kcopy produce --report /r", "kcopy"]
        {
            assert_eq!(path(line), None, "{line}");
        }
    }

    #[test]
    fn a_report_is_made_once_and_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report");
        write_file(&path, &Report::default().json(Some("a \\ \"b\"\n"), false, &Written::default())).unwrap();
        let error = write_file(&path, &Value::Null).unwrap_err();
        assert!(error.to_string().contains("exists"), "{error}");
        assert!(read(&path).unwrap().contains(r#""error":"a \\ \"b\"\n""#));
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_report_in_ascii_means_the_same() {
        let value = json!({ "größe": "€ 😀 \\ \\u20ac \" \n \u{1} \\\\" });
        let text = ascii(&value.to_string());
        assert!(text.is_ascii(), "{text}");
        assert!(!text.contains(r"\\"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn reports_that_nobody_took_are_removed_by_a_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let id = |digit: char| format!("kcopy-{0}{0}-{0}-{0}-{0}-{0}{0}{0}", digit.to_string().repeat(4));
        let old = SystemTime::now() - REPORT_AGE - Duration::from_secs(60);
        let make = |name: &str, at: SystemTime| {
            File::create(path(name)).unwrap().set_modified(at).unwrap();
        };
        let kept =
            ["kcopy-pg.aaaa".to_owned(), id('2') + "0", id('3').to_uppercase(), id('4').replace('4', "g")];
        kept.iter().for_each(|name| make(name, old));
        make(&id('0'), old);
        make(&id('1'), SystemTime::now());
        std::os::unix::fs::symlink(path(&kept[0]), path(&id('5'))).unwrap();
        std::fs::create_dir(path(&id('6'))).unwrap();
        File::open(path(&id('6'))).unwrap().set_modified(old).unwrap();
        Report::default().write(&path("mine"), &Ok(())).unwrap();
        assert!(path(&id('0')).exists(), "another name, another's folder");
        Report::default().write(&path(&id('7')), &Ok(())).unwrap();
        assert!(!path(&id('0')).exists());
        for name in kept.iter().chain(&[id('1'), id('5'), id('6'), id('7')]) {
            assert!(path(name).symlink_metadata().is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_no_report_is_neither_shown_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "{\"secret\":1}").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link, &folder.path().to_owned()] {
            assert!(read(path).is_err(), "{path:?}");
        }
        assert!(write_file(&link, &Value::Null).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"{\"secret\":1}");
    }
}
