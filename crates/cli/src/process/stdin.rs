//! Blocks of standard input.

use std::io::{self, Read};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::FileType,
    io::ioctl_fionread,
    pipe::fcntl_setpipe_size,
};

/// Room that a writer at the other end of a pipe gets.
const PIPE_BYTES: usize = 1 << 20;
/// Reads of less are not worth waking up for, while more is coming.
const GOOD_READ: usize = 64 << 10;
/// How long a writer is given to write more. PostgreSQL writes 4 KiB at a time: a reader that waits in `read` is
/// woken by each, and takes the processor from the server that often.
const GATHERING: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000 };

/// Standard input without a buffer of its own: readers bring large blocks.
#[derive(Debug)]
pub struct Stdin {
    is_pipe: bool,
    last_read: usize,
}

impl Stdin {
    /// Standard input, its pipe enlarged where it is one.
    pub fn new() -> Stdin {
        let stdin = rustix::stdio::stdin();
        let is_pipe = rustix::fs::fstat(stdin)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        if is_pipe {
            // Only speed is lost where the system refuses.
            let _ = fcntl_setpipe_size(stdin, PIPE_BYTES);
        }
        Stdin { is_pipe, last_read: 0 }
    }

    /// Gives a writer that is writing a moment to write more.
    fn gather(&self) {
        let is_writing = self.is_pipe && (1..GOOD_READ).contains(&self.last_read);
        if is_writing && available() < GOOD_READ {
            // No event but the last writer's end.
            let mut stdin = [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::empty())];
            // Whatever it says, the read knows better.
            let _ = poll(&mut stdin, Some(&GATHERING));
        }
    }
}

impl Default for Stdin {
    fn default() -> Stdin {
        Stdin::new()
    }
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.gather();
        loop {
            match rustix::io::read(rustix::stdio::stdin(), &mut *buffer) {
                Err(rustix::io::Errno::INTR) => {}
                result => {
                    self.last_read = result?;
                    return Ok(self.last_read);
                }
            }
        }
    }
}

/// How much can be read at once.
fn available() -> usize {
    ioctl_fionread(rustix::stdio::stdin()).map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}
