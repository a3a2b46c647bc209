//! What parsing may ask of its surroundings, and how it refuses.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The surroundings of a command line: environment variables, files, the terminal, the clock.
///
/// A struct of closures, so that every rule can be tested without touching the process.
pub struct Environment<'a> {
    /// Looks an environment variable up.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Reads a whole configuration file.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Whether standard input is a terminal: kcat then consumes, else it produces.
    pub stdin_is_terminal: bool,
    /// Milliseconds since the epoch; relative times count from here.
    pub now_ms: i64,
}

impl Environment<'static> {
    /// The surroundings of this process.
    pub fn of_process() -> Self {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Environment {
            variable: &|name| std::env::var_os(name),
            read_file: &|path| std::fs::read(path),
            stdin_is_terminal: io::IsTerminal::is_terminal(&io::stdin()),
            now_ms: since_epoch.map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

impl Environment<'_> {
    /// The value of `name`, unless it is unset or empty.
    pub fn non_empty(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// `name` in the user's `~/.config`, if there is a home at all: PostgreSQL's children often have none.
    pub fn user_config(&self, name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(self.non_empty("HOME")?).join(".config").join(name))
    }
}

/// A command line that was not understood: what goes to stderr, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongUse {
    /// The whole text for stderr, with its final newline.
    pub stderr: String,
    /// 1 in kcat's and kafka-topics' grammar, 2 in kcopy's own.
    pub exit_code: u8,
}
