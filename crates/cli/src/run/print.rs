//! Texts for standard output.

use std::io::Write;

use super::failure::Failure;
use crate::process;

/// Writes `text` to standard output; a reader that is gone or a full disk is a failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    process::leave_reader_to_writes();
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::writing)
}
