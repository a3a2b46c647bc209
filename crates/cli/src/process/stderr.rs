//! Standard error: for people, and for a server's log.

use std::{
    borrow::Cow,
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
    let _ = io::stderr().lock().write_all(shown(text).as_bytes());
}

/// A text without what a terminal might take for a command: parts of it may be a peer's.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    let is_plain = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            _ if is_plain(letter) => shown.push(letter),
            _ => shown.extend(letter.escape_default()),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, expected) in [
            ("plain é \t\n", "plain é \t\n"),
            ("a\0b\u{1b}[31m\r\n", "a\\u{0}b\\u{1b}[31m\\r\n"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
