//! What a program in a COPY pipeline owes the process at its other end.
//!
//! - stdout belongs to data; it is written in large blocks, and a write that fails is a failed run.
//! - A reader that went away ends the run with exit code 141, which PostgreSQL takes for success where it
//!   stopped reading on purpose (`\.`, or a `LIMIT` over file_fdw), as it does for death by SIGPIPE.
//! - Nothing depends on stderr: what cannot be written there is dropped.
//! - Signals keep their default effect: prompt, and never exit code 0. In kcat mode SIGINT and SIGTERM get it back
//!   where they are ignored.
//! - Descriptors that the backend leaked into the program are closed.
//!
//! `memory` has the copying of bytes for the static binary, whose C library is slow at it.

mod closed;
mod descriptors;
#[cfg(all(target_arch = "x86_64", any(target_env = "musl", test)))]
mod memory;
mod signals;
mod stderr;
mod stdin;
mod stdout;

pub use self::{
    closed::{stdin_was_closed, stdout_was_closed},
    descriptors::close_inherited_descriptors,
    stdin::Stdin,
    stdout::{ReaderGone, Stdout, leave_reader_to_writes, set_last_words, watch_reader},
};
pub(crate) use self::{
    signals::{heed_termination, ignores_hang_up},
    stderr::{say, say_line, say_text, shown},
};

/// The exit code of a program whose reader went away: 128 + SIGPIPE, as a shell reports it.
pub const EXIT_READER_GONE: i32 = 141;
