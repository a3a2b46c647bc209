//! What a command used: wall time, CPU and memory of that command alone.
//!
//! The kernel adds up what the children of a process used, and keeps the largest resident size among them. So each
//! command gets a parent of its own: this program again, as `measure`.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::Read,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

use crate::{digest::Digest, lab::Lab};

/// What one run of a command used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// From its start to its end.
    pub(crate) wall: Duration,
    /// Its own and the kernel's for it.
    pub(crate) cpu: Duration,
    /// The most memory that it held at once.
    pub(crate) max_resident_bytes: u64,
}

impl Usage {
    fn to_line(self) -> String {
        format!("{} {} {}\n", self.wall.as_nanos(), self.cpu.as_nanos(), self.max_resident_bytes)
    }

    fn from_line(line: &str) -> Option<Self> {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let (wall, cpu) = (Duration::from_nanos(next()?), Duration::from_nanos(next()?));
        Some(Self { wall, cpu, max_resident_bytes: next()? })
    }
}

/// The mode `measure`: runs the command on this process's stdin and stdout.
pub(crate) fn wrap(report: &Path, command: &[OsString]) -> Result<ExitCode> {
    let (program, arguments) = command.split_first().context("a command to measure")?;
    let started = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .status()
        .with_context(|| format!("starting {}", program.display()))?;
    let wall = started.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let usage = Usage {
        wall,
        cpu: Duration::from_micros(u64::try_from(micros)?),
        max_resident_bytes: u64::try_from(usage.max_rss())? * 1_024,
    };
    fs::write(report, usage.to_line())?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(u8::try_from(code.unwrap_or(1)).unwrap_or(1)))
}

/// A command to be measured. It must succeed.
pub(crate) struct Job<'a> {
    lab: &'a Lab,
    line: Vec<OsString>,
    stdin: Option<&'a Path>,
}

impl<'a> Job<'a> {
    /// One that runs that program.
    pub(crate) fn new(lab: &'a Lab, program: impl AsRef<OsStr>) -> Self {
        Self { lab, line: vec![program.as_ref().to_owned()], stdin: None }
    }

    /// With these arguments, beside those before.
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.line.extend(arguments.iter().map(OsString::from));
        self
    }

    /// Reads that file.
    pub(crate) fn stdin(mut self, path: &'a Path) -> Self {
        self.stdin = Some(path);
        self
    }

    /// Runs it; what it writes to stdout is thrown away.
    pub(crate) fn run(self) -> Result<Usage> {
        let child = self.spawn(Stdio::null())?;
        self.finish(child)
    }

    /// Runs it; the lines that it writes to stdout, a pipe, are digested.
    pub(crate) fn digest(self) -> Result<(Usage, Digest)> {
        let mut child = self.spawn(Stdio::piped())?;
        let stdout = child.stdout.take().context("a pipe from stdout")?;
        let digest = Digest::of(stdout)?;
        Ok((self.finish(child)?, digest))
    }

    /// Runs it and returns what it writes to stdout.
    pub(crate) fn output(self) -> Result<(Usage, Vec<u8>)> {
        let mut child = self.spawn(Stdio::piped())?;
        let mut bytes = Vec::new();
        child.stdout.take().context("a pipe from stdout")?.read_to_end(&mut bytes)?;
        Ok((self.finish(child)?, bytes))
    }

    /// Runs it and returns what it writes to stderr.
    pub(crate) fn told(self) -> Result<String> {
        let child = self.spawn(Stdio::null())?;
        self.finish(child)?;
        self.stderr()
    }

    /// Starts it with a pipe for stdin; what it writes to stdout is thrown away.
    pub(crate) fn start(self) -> Result<Started<'a>> {
        let child = self.spawn_with(Stdio::piped(), Stdio::null())?;
        Ok(Started { job: self, child })
    }

    fn spawn(&self, stdout: Stdio) -> Result<Child> {
        let stdin = match self.stdin {
            Some(path) => File::open(path).with_context(|| format!("opening {}", path.display()))?.into(),
            None => Stdio::null(),
        };
        self.spawn_with(stdin, stdout)
    }

    fn spawn_with(&self, stdin: Stdio, stdout: Stdio) -> Result<Child> {
        let mut command = Command::new(&self.lab.own_program);
        command.arg("measure").arg("--report").arg(self.lab.path("usage")).arg("--").args(&self.line);
        // A configuration of the user's would be no fair start.
        command.env_remove("KCAT_CONFIG").env_remove("KAFKACAT_CONFIG").env("HOME", self.lab.folder());
        command.stdin(stdin).stdout(stdout).stderr(File::create(self.lab.path("stderr"))?);
        command.spawn().with_context(|| format!("starting {}", self.shown()))
    }

    fn finish(&self, mut child: Child) -> Result<Usage> {
        let status = child.wait()?;
        if !status.success() {
            bail!("{} ends with {status}: {}", self.shown(), self.stderr()?.trim());
        }
        let line = fs::read_to_string(self.lab.path("usage"))?;
        Usage::from_line(&line).with_context(|| format!("the usage of {} is {line:?}", self.shown()))
    }

    fn stderr(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.lab.path("stderr"))?).into_owned())
    }

    fn shown(&self) -> String {
        self.line.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }
}

/// A command under way that ends once its stdin does: when it is asked to, or with this value.
pub(crate) struct Started<'a> {
    job: Job<'a>,
    child: Child,
}

impl Started<'_> {
    /// What it has written to stderr so far.
    pub(crate) fn stderr(&self) -> Result<String> {
        self.job.stderr()
    }

    /// Has it ended by itself?
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Ends its stdin and waits for it. It must succeed.
    pub(crate) fn stop(self) -> Result<Usage> {
        // Waiting closes the pipe first.
        self.job.finish(self.child)
    }
}

/// The middle of the values, or the mean of the two in the middle. NaN without any.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (0, 0) => f64::NAN,
        (middle, 0) => (values[middle - 1] + values[middle]) / 2.0,
        (middle, _) => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_survives_its_line() {
        let usage = Usage {
            wall: Duration::from_millis(1_234),
            cpu: Duration::from_micros(999),
            max_resident_bytes: 5 << 30,
        };
        assert_eq!(Usage::from_line(&usage.to_line()), Some(usage));
        assert_eq!(Usage::from_line("1 2"), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
