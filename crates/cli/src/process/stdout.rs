//! Standard output for data: large blocks, and a reader that is watched.

use std::{
    fmt,
    io::{self, Write},
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::FileType,
    io::{Errno, ioctl_fionread},
    pipe::fcntl_setpipe_size,
    stdio::stdout,
};

use super::EXIT_READER_GONE;

/// The room that a pipe to the reader gets, so that neither side waits for the other at every block.
const PIPE_BYTES: usize = 1 << 20;

/// The bytes that are gathered before they are written. PostgreSQL reads 4 KiB at a time, and each write
/// that it has to wait for costs a switch between the two processes.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// The reader of standard output has gone away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of standard output has gone away")
    }
}

impl std::error::Error for ReaderGone {}

/// Standard output.
///
/// What is appended to [`Stdout::buffer`] is written in blocks by [`Stdout::write_if_full`], and the rest
/// by `flush`. Nothing is written when it is dropped: an end without `flush` is an end in error.
#[derive(Debug)]
pub struct Stdout {
    buffer: Vec<u8>,
    kind: FileType,
}

impl Stdout {
    /// Standard output, its pipe enlarged where it is one, its reader watched as by [`watch_reader`].
    pub fn new() -> Stdout {
        let kind = kind();
        if kind == FileType::Fifo {
            // Only speed is lost where the system refuses.
            let _ = fcntl_setpipe_size(stdout(), PIPE_BYTES);
        }
        watch_reader();
        Stdout { buffer: Vec::with_capacity(BLOCK_BYTES + (BLOCK_BYTES >> 2)), kind }
    }

    /// Where output is appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes the buffer once it holds a block.
    ///
    /// # Errors
    /// The write failed.
    #[inline]
    pub fn write_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    /// Waits until the reader has taken all that was written, so that what it covers may be committed.
    ///
    /// Written is not read: a pipe holds up to a megabyte. Other kinds of output have no reader to ask.
    ///
    /// # Errors
    /// The reader went away, or the last write failed.
    pub fn wait_until_taken(&mut self) -> io::Result<()> {
        self.flush()?;
        if self.kind != FileType::Fifo {
            return Ok(());
        }
        let mut pause = Duration::from_micros(50);
        loop {
            let waiting = ioctl_fionread(stdout())?;
            // Nothing tells that a pipe is drained. That its reader went ends the pause at once.
            if reader_is_gone(if waiting == 0 { Duration::ZERO } else { pause })? {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, ReaderGone));
            }
            if waiting == 0 {
                return Ok(());
            }
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }
}

impl Default for Stdout {
    fn default() -> Stdout {
        Stdout::new()
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.write_if_full()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            match rustix::io::write(stdout(), rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait_until_writable()?,
                Err(error) => {
                    self.buffer.clear();
                    return Err(error.into());
                }
            }
        }
        self.buffer.clear();
        Ok(())
    }
}

/// Somebody else may have made the pipe non-blocking: it is shared with every process that has it.
fn wait_until_writable() -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(stdout(), PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn reader_is_gone(within: Duration) -> io::Result<bool> {
    let timeout = rustix::event::Timespec::try_from(within).map_err(io::Error::other)?;
    let mut polled = [PollFd::from_borrowed_fd(stdout(), PollFlags::empty())];
    poll(&mut polled, Some(&timeout))?;
    Ok(polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

fn kind() -> FileType {
    rustix::fs::fstat(stdout()).map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}

static WATCHED: AtomicBool = AtomicBool::new(false);

type LastWords = Box<dyn FnOnce() -> bool + Send>;
static LAST_WORDS: Mutex<Option<LastWords>> = Mutex::new(None);

/// From here on the process ends when the reader of standard output goes away, even while there is nothing to write.
///
/// A silent program would keep the backend that runs it waiting for ever, beyond the reach of `statement_timeout`.
pub fn watch_reader() {
    static STARTED: Once = Once::new();
    if matches!(kind(), FileType::Fifo | FileType::Socket) {
        WATCHED.store(true, Ordering::Release);
        STARTED.call_once(|| {
            std::thread::spawn(exit_when_reader_goes);
        });
    }
}

/// Before the process ends because the reader of standard output has gone, this is called; it goes on if that says false.
pub fn set_last_words(last_words: impl FnOnce() -> bool + Send + 'static) {
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(last_words));
}

/// From here on only a write tells that the reader is gone: one that takes all and leaves at once was served well.
pub fn leave_reader_to_writes() {
    WATCHED.store(false, Ordering::Release);
}

fn exit_when_reader_goes() {
    let mut polled = [PollFd::from_borrowed_fd(stdout(), PollFlags::empty())];
    loop {
        match poll(&mut polled, None) {
            Ok(_) if polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => {
                let last_words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner).take();
                if WATCHED.load(Ordering::Acquire) && last_words.is_none_or(|last_words| last_words()) {
                    std::process::exit(EXIT_READER_GONE);
                }
                return;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
