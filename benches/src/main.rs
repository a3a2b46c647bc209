//! kcopy beside kcat, in one run: the same work on the same broker, A B A B, outputs compared, one table at the end.
//!
//! `scripts/bench` builds what ships and starts this program; see `--help` for how to run a part of it.
#![allow(clippy::print_stdout, reason = "who measures is there to read it")]

mod connect;
mod digest;
mod input;
mod lab;
mod measure;
mod report;
mod scenarios;
mod server;
mod simulated;
mod table;

use std::{ffi::OsString, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use crate::{lab::Lab, report::Report};

/// kcopy beside kcat: speed, CPU, latency and memory in one table
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    mode: Option<Mode>,
    #[command(flatten)]
    options: Options,
}

/// What this program does for itself, in processes of their own.
#[derive(Subcommand)]
enum Mode {
    /// Runs a command and writes what it used to a file
    #[command(hide = true)]
    Measure {
        /// Where to write it
        #[arg(long)]
        report: PathBuf,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// A cluster whose round trip the lines on stdin set, in milliseconds
    #[command(hide = true)]
    Simulated,
    /// JSON into typed columns, alone and in this process: for profilers
    Typed,
}

/// What to run, and how often.
#[derive(clap::Args)]
struct Options {
    /// Records of 100 bytes in each large topic
    #[arg(long, env = "KCOPY_BENCH_RECORDS", default_value_t = 2_000_000)]
    records: u64,
    /// How often each side runs
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// How often each side runs where latency is measured
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Only these parts
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Only these brokers (Apache Kafka needs java and mvn)
    #[arg(long, value_delimiter = ',')]
    brokers: Vec<server::Kind>,
    /// Partition counts
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8])]
    partitions: Vec<u32>,
    /// Codecs
    #[arg(long, value_delimiter = ',', default_value = "none,gzip,snappy,lz4,zstd")]
    codecs: Vec<String>,
    /// Which Apache Kafka
    #[arg(long, default_value = "4.4.0")]
    kafka_version: String,
    /// Do not fill the page cache before each run
    ///
    /// It is filled because of virtual machines whose host takes free memory back: the first use of what it gives
    /// again costs some seconds a gigabyte, which is what a topic that is filled would be measured by. The cache
    /// gives way at once.
    #[arg(long)]
    no_settle: bool,
    /// Write the numbers to this file, too
    #[arg(long)]
    json: Option<PathBuf>,
    /// Exit with 1 when a target is missed
    #[arg(long)]
    strict: bool,
}

/// A part of the whole.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Produce from stdin, consume to stdout, with each codec
    Throughput,
    /// Short runs from start to end
    Latency,
    /// COPY FROM and TO PROGRAM
    Copy,
    /// kcopy load beside psql
    Load,
    /// kcopy load beside a Python script and Debezium's JDBC sink, on Apache Kafka
    Peers,
    /// A slow network
    RoundTrip,
    /// The client's memory
    Memory,
    /// The broker itself
    Broker,
    /// JSON into typed columns
    Typed,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.mode {
        Some(Mode::Measure { report, command }) => measure::wrap(&report, &command),
        Some(Mode::Simulated) => simulated::serve(),
        Some(Mode::Typed) => scenarios::typed::print(),
        None => bench(arguments.options),
    }
}

fn bench(options: Options) -> Result<ExitCode> {
    let (json, strict) = (options.json.clone(), options.strict);
    let lab = Lab::new(options)?;
    let mut report = Report::new(&lab)?;
    scenarios::run(&lab, &mut report)?;
    print!("{}", table::render(&report));
    if let Some(path) = json {
        fs::write(&path, format!("{:#}\n", report.to_json()))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(if strict && report.missed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
