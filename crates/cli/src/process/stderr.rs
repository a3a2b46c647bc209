//! Standard error: for people, and for a server's log.

use std::{
    fmt,
    io::{self, Write},
};

/// Writes a line to standard error. Where it cannot be written there is nobody to tell, and the run goes on: it is about
/// data, and its end is told by the exit code. The standard library's macros end the process there.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::process::say_line(format_args!($($text)*))
    };
}
pub(crate) use say;

/// What [`say!`] does.
#[cold]
pub(crate) fn say_line(line: fmt::Arguments<'_>) {
    say_text(&format!("{line}\n"));
}

/// As [`say!`], for a text that has its newlines. One write, so that the lines of several processes stay whole.
pub(crate) fn say_text(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
