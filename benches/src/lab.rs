//! The programs that are compared, and the folder that they work in.

use std::{
    cell::RefCell,
    env,
    ffi::OsString,
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    Options,
    digest::Digest,
    input::Input,
    measure::{Job, Usage},
    server::Server,
};

/// What every scenario needs.
pub(crate) struct Lab {
    /// What the user asked for.
    pub(crate) options: Options,
    /// This program.
    pub(crate) own_program: PathBuf,
    /// kcat, on librdkafka.
    pub(crate) kcat: PathBuf,
    /// kcopy under the name kcat.
    pub(crate) kcopy: OsString,
    /// [`Options::records`] lines.
    pub(crate) input: Input,
    folder: TempDir,
    /// What keeps memory in use.
    zeros: RefCell<Vec<File>>,
}

/// One of the two that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// kcat, on librdkafka.
    Kcat,
    /// kcopy under the name kcat.
    Kcopy,
}

/// In the order in which they take turns.
pub(crate) const SIDES: [Side; 2] = [Side::Kcat, Side::Kcopy];

impl Side {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kcat => "kcat",
            Self::Kcopy => "kcopy",
        }
    }
}

impl Lab {
    /// Finds the programs and writes the input.
    pub(crate) fn new(options: Options) -> Result<Self> {
        ensure!(
            env::var_os("KCOPY_BIN").is_some(),
            "KCOPY_BIN does not name the kcopy binary to measure: scripts/bench sets it"
        );
        ensure!(options.pairs > 0 && options.runs > 0, "--pairs and --runs start at 1");
        let kcat = kcopy_tests::foreign_kcat().context("there is no kcat on librdkafka to compare with")?;
        let kcopy = kcopy_tests::program("kcat").get_program().to_owned();
        let folder = TempDir::with_prefix("kcopy-bench.")?;
        note(&format!("writing {} records of 100 bytes", options.records));
        let input = Input::create(folder.path().join("input"), options.records)?;
        Ok(Self {
            options,
            own_program: env::current_exe()?,
            kcat,
            kcopy,
            input,
            folder,
            zeros: RefCell::default(),
        })
    }

    /// Sees to it that memory is in use already: see `--no-settle`.
    pub(crate) fn settle(&self) -> Result<()> {
        /// What is left free: whatever is, the host has taken.
        const SPARE: u64 = 128 << 20;
        let free = free_memory()?.saturating_sub(SPARE);
        if self.options.no_settle || free < SPARE {
            return Ok(());
        }
        // A file of zeros that no disk holds. Its pages are kept for as long as it is open.
        let mut zeros = tempfile::tempfile_in(self.folder())?;
        zeros.set_len(free)?;
        let mut buffer = vec![0; 1 << 20];
        while zeros.read(&mut buffer)? > 0 {}
        self.zeros.borrow_mut().push(zeros);
        Ok(())
    }

    /// The folder that goes away with this program.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file there.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of that side.
    pub(crate) fn job(&self, side: Side) -> Job<'_> {
        match side {
            Side::Kcat => Job::new(self, &self.kcat),
            Side::Kcopy => Job::new(self, &self.kcopy),
        }
    }

    /// A name that no topic or group had before.
    pub(crate) fn fresh_name(&self, prefix: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("{prefix}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// All of the input into that topic, from stdin.
    pub(crate) fn produce(&self, side: Side, server: &Server, topic: &str, codec: &str) -> Result<Usage> {
        let arguments = ["-P", "-b", server.bootstrap(), "-t", topic, "-z", codec, "-q"];
        self.job(side).args(&arguments).stdin(self.input.path()).run()
    }

    /// All of that topic, to stdout.
    pub(crate) fn consume(&self, side: Side, server: &Server, topic: &str) -> Job<'_> {
        self.job(side).args(&["-C", "-b", server.bootstrap(), "-t", topic, "-o", "beginning", "-e", "-q"])
    }

    /// Reads a topic back with kcat, whoever filled it: it must hold the input, once, and in its order where one
    /// partition keeps it.
    pub(crate) fn check_filled(&self, server: &Server, topic: &str, partitions: u32, by: &str) -> Result<()> {
        let (_, digest) = self.consume(Side::Kcat, server, topic).digest()?;
        self.check_input(digest, partitions == 1, by)
    }

    /// Is this the input?
    pub(crate) fn check_input(&self, digest: Digest, ordered: bool, by: &str) -> Result<()> {
        let expected = self.input.digest;
        ensure!(
            digest.matches(&expected, ordered),
            "what {by} moved is not the input: {} lines instead of {}{}",
            digest.lines,
            expected.lines,
            if digest.unordered == expected.unordered { ", in another order" } else { "" }
        );
        Ok(())
    }
}

/// Memory that nobody uses, in bytes.
fn free_memory() -> Result<u64> {
    let facts = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let free = facts.lines().find_map(|line| line.strip_prefix("MemFree:")?.trim().strip_suffix(" kB"));
    Ok(free.context("no MemFree in /proc/meminfo")?.parse::<u64>()? << 10)
}

/// A line on stderr for those who wait.
pub(crate) fn note(text: &str) {
    // Nobody has to be there.
    let _ = writeln!(std::io::stderr(), "   {text}");
}

/// The first line of what a program says about its version.
pub(crate) fn first_line(program: impl AsRef<std::ffi::OsStr>, argument: &str) -> Result<String> {
    let program = program.as_ref();
    let output = Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("running {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned())
}
