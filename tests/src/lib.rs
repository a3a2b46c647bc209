//! The harness of the end-to-end tests: a throw-away PostgreSQL, a broker, and programs that are run, timed and
//! cleaned up after.
//!
//! The binary under test is `KCOPY_BIN`, or else the one that cargo built beside the test. The broker is
//! `kcopy broker`, or else the Apache Kafka that `KCOPY_KAFKA=HOST:PORT` names. Whatever a test process starts ends
//! with it, however it ends: the servers read a pipe that only the test process holds.

mod broker;
mod database;
mod line;
mod loading;
mod process;
mod wire;

pub use broker::Broker;
pub use database::{Database, PgError, sql_quoted};
pub use line::Line;
pub use loading::{Loading, installation, server_program};
pub use process::{Output, Running, is_ignored, kill, leftovers, processes, run, run_with};
pub use wire::{WireLoad, numbers};

use std::{
    env, fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use tempfile::TempDir;

/// How long anything may take before it counts as hanging. Long, for a loaded machine: nothing waits for it to pass.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The names that the binary goes by, beside its own.
pub const LINKS: [&str; 4] = ["kcat", "kafkacat", "kafka-topics", "kafka-topics.sh"];

/// The kcopy binary under test.
///
/// # Panics
/// When there is none.
pub fn kcopy_bin() -> PathBuf {
    let path = match env::var_os("KCOPY_BIN") {
        Some(path) => PathBuf::from(path),
        // target/PROFILE/deps/TEST-HASH, and beside deps the binary.
        None => env::current_exe()
            .ok()
            .and_then(|exe| Some(exe.parent()?.parent()?.join("kcopy")))
            .expect("a test program stands in target/PROFILE/deps"),
    };
    assert!(path.is_file(), "there is no {}: `cargo build -p kcopy` makes it", path.display());
    path
}

/// A command for our binary under one of its names: `kcopy`, or one of [`LINKS`].
pub fn program(name: &str) -> Command {
    static LINKED: OnceLock<TempDir> = OnceLock::new();
    if name == "kcopy" {
        return Command::new(kcopy_bin());
    }
    assert!(LINKS.contains(&name), "{name} is no name of kcopy's");
    let folder = LINKED.get_or_init(|| {
        let folder = TempDir::new().expect("a temporary folder");
        let binary = fs::canonicalize(kcopy_bin()).expect("the binary's path");
        for link in LINKS {
            symlink(&binary, folder.path().join(link)).expect("a link");
        }
        folder
    });
    Command::new(folder.path().join(name))
}

/// Debian's kcat (the one on librdkafka), where it is installed.
pub fn foreign_kcat() -> Option<PathBuf> {
    let named = env::var_os("KCOPY_FOREIGN_KCAT").map(PathBuf::from);
    let known = ["/usr/bin/kcat", "/usr/bin/kafkacat", "/usr/local/bin/kcat"].map(PathBuf::from);
    named.into_iter().chain(known).find(|path| {
        let version = Command::new(path).arg("-V").output();
        version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("librdkafka"))
    })
}

/// A Python with the package confluent-kafka: the one that `scripts/setup python` prints, named in `KCOPY_PYTHON`.
pub fn foreign_python() -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os("KCOPY_PYTHON")?);
    let imported = Command::new(&path).args(["-c", "import confluent_kafka"]).output();
    imported.is_ok_and(|output| output.status.success()).then_some(path)
}

/// Says that a test cannot run here, so that the totals can count it as skipped and not as passed.
///
/// # Panics
/// When the file that collects the skipped tests cannot be written.
pub fn skipped(test: &str, reason: &str) {
    // Past libtest's capture, which only takes what the print macros write.
    let line = format!("{test}: {reason}\n");
    std::io::stderr().write_all(format!("skipped {line}").as_bytes()).expect("stderr");
    if let Some(path) = env::var_os("KCOPY_SKIPPED") {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of KCOPY_SKIPPED");
    }
}

/// The project's own folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace around this package")
}
