//! Blocks of standard input.

use std::io::{self, Read};

use rustix::{fs::FileType, pipe::fcntl_setpipe_size};

/// Room that a writer at the other end of a pipe gets.
const PIPE_BYTES: usize = 1 << 20;

/// Standard input without a buffer of its own: readers bring large blocks.
#[derive(Debug)]
pub struct Stdin(());

impl Stdin {
    /// Standard input, its pipe enlarged where it is one.
    pub fn new() -> Stdin {
        let stdin = rustix::stdio::stdin();
        if rustix::fs::fstat(stdin).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
        {
            // Only speed is lost where the system refuses.
            let _ = fcntl_setpipe_size(stdin, PIPE_BYTES);
        }
        Stdin(())
    }
}

impl Default for Stdin {
    fn default() -> Stdin {
        Stdin::new()
    }
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(rustix::stdio::stdin(), &mut *buffer) {
                Err(rustix::io::Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}
