//! Running programs with a deadline, and finding what was left behind.

use std::{
    fmt, fs,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use crate::DEADLINE;

/// What a program left.
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it wrote to stdout.
    pub stdout: Vec<u8>,
    /// All that it wrote to stderr.
    pub stderr: String,
    /// From its start to its end.
    pub elapsed: Duration,
}

impl Output {
    /// stdout as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("stdout is UTF-8")
    }

    /// The lines of stdout.
    pub fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// The exit code, or 128 and the signal's number as a shell says it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// This output, when the program ended with exit code 0.
    ///
    /// # Panics
    /// When it did not.
    pub fn expect_success(self) -> Self {
        assert_eq!(self.code(), 0, "{self:?}");
        self
    }

    /// This output, when the program ended with that exit code.
    ///
    /// # Panics
    /// When it did not.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{self:?}");
        self
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.stdout[..self.stdout.len().min(2_000)];
        writeln!(formatter, "exit code {} after {:?}", self.code(), self.elapsed)?;
        writeln!(formatter, "stdout ({} bytes): {}", self.stdout.len(), String::from_utf8_lossy(shown))?;
        write!(formatter, "stderr: {}", self.stderr)
    }
}

/// Runs a program without input to its end.
///
/// # Panics
/// When it cannot start, or hangs.
pub fn run(command: &mut Command) -> Output {
    run_with(command, b"")
}

/// Runs a program on that input to its end.
///
/// # Panics
/// When it cannot start, or hangs.
pub fn run_with(command: &mut Command, input: &[u8]) -> Output {
    let mut running = Running::start(command);
    running.write(input);
    running.finish()
}

/// A program under way: stdin is a pipe, stdout and stderr are collected. Killed when dropped.
pub struct Running {
    child: Child,
    started: Instant,
    shown: String,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    said: Arc<Said>,
}

/// What has come on stderr so far.
#[derive(Default)]
struct Said {
    text: Mutex<Vec<u8>>,
    news: Condvar,
}

impl Running {
    /// Starts a program.
    ///
    /// # Panics
    /// When it cannot start.
    pub fn start(command: &mut Command) -> Self {
        Self::start_with_stdout(command, Stdio::piped())
    }

    /// Starts a program whose stdout goes elsewhere.
    ///
    /// # Panics
    /// When it cannot start.
    pub fn start_with_stdout(command: &mut Command, stdout: Stdio) -> Self {
        let shown = format!("{command:?}");
        command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown} does not start: {error}"));
        let stdout = child.stdout.take().map(collect);
        let said = Arc::new(Said::default());
        let listener = Arc::clone(&said);
        let stderr = child.stderr.take().map(|from| thread::spawn(move || listener.collect(from)));
        Self { child, started: Instant::now(), shown, stdout, stderr, said }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its stdin. A program that no longer reads is no error: its exit code tells.
    pub fn write(&mut self, input: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("stdin is open");
        if let Err(error) = stdin.write_all(input).and_then(|()| stdin.flush()) {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{}: {error}", self.shown);
        }
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is no longer there.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(self.id()), signal).unwrap_or_else(|error| panic!("{}: {error}", self.shown));
    }

    /// Waits until it has written that to stderr.
    ///
    /// # Panics
    /// When it does not, for too long.
    pub fn wait_for_stderr(&self, wanted: &str) {
        let said = self.said.text.lock().unwrap_or_else(PoisonError::into_inner);
        let is_missing = |said: &mut Vec<u8>| !String::from_utf8_lossy(said).contains(wanted);
        let (said, waited) = self
            .said
            .news
            .wait_timeout_while(said, DEADLINE, is_missing)
            .unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said);
        assert!(!waited.timed_out(), "{} does not say {wanted:?}, but: {said}", self.shown);
    }

    /// Whether it ends within this time.
    pub fn ends_within(&self, limit: Duration) -> bool {
        ends_within(self.id(), limit)
    }

    /// Closes its stdin and waits for its end.
    ///
    /// # Panics
    /// When it hangs: it is killed first.
    pub fn finish(mut self) -> Output {
        drop(self.child.stdin.take());
        if !ends_within(self.id(), DEADLINE) {
            self.child.kill().expect("kill");
            let stderr = self.stderr.take().map(|thread| thread.join().expect("reader")).unwrap_or_default();
            panic!("{} hangs; stderr so far: {}", self.shown, String::from_utf8_lossy(&stderr));
        }
        let status = self.child.wait().expect("wait");
        let elapsed = self.started.elapsed();
        let read =
            |thread: Option<JoinHandle<_>>| thread.map(|t| t.join().expect("reader")).unwrap_or_default();
        let stdout = read(self.stdout.take());
        let stderr = String::from_utf8_lossy(&read(self.stderr.take())).into_owned();
        Output { status, stdout, stderr, elapsed }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already waited for: both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this process ignores a signal, and with it every program that it starts.
pub fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).expect("a mask of signals");
    mask >> (signal.as_raw() - 1) & 1 == 1
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

impl Said {
    fn collect(&self, mut from: impl Read) -> Vec<u8> {
        let mut block = [0; 4096];
        loop {
            let count = from.read(&mut block).expect("a pipe can be read");
            let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
            if count == 0 {
                return text.clone();
            }
            text.extend_from_slice(&block[..count]);
            self.news.notify_all();
        }
    }
}

/// Sends a signal to any process; whether it was there.
///
/// # Panics
/// When this is no process id.
pub fn kill(id: u32, signal: Signal) -> bool {
    kill_process(pid(id), signal).is_ok()
}

fn pid(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id")
}

/// Waits for the end of any process, a child or not.
pub(crate) fn ends_within(id: u32, limit: Duration) -> bool {
    let Ok(handle) = pidfd_open(pid(id), PidfdFlags::empty()) else {
        return true;
    };
    let limit = Timespec::try_from(limit).expect("a limit of seconds");
    let mut watched = [PollFd::new(&handle, PollFlags::IN)];
    poll(&mut watched, Some(&limit)).expect("poll") > 0
}

/// The processes whose command line contains `mark`, once those about to end have ended: what nobody waits for.
/// The caller makes sure that `mark` (a port, a topic) is its own.
pub fn leftovers(mark: &str) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let found = processes(mark);
        let left = until.saturating_duration_since(Instant::now());
        match found.first() {
            Some((id, _)) if !left.is_zero() => {
                ends_within(*id, left);
            }
            _ => return found.into_iter().map(|(id, line)| format!("{id}: {line}")).collect(),
        }
    }
}

/// The processes whose command line contains `mark`, with that line.
///
/// # Panics
/// Without /proc.
pub fn processes(mark: &str) -> Vec<(u32, String)> {
    let ids = fs::read_dir("/proc").expect("/proc").flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| *id != std::process::id())
        .filter_map(|id| {
            let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(mark).then_some((id, line))
        })
        .collect()
}
