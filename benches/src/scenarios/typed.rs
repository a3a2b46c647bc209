//! JSON into typed COPY binary, without a network: what one core takes.

use std::{process::ExitCode, time::Instant};

use anyhow::{Result, ensure};
use kcopy_format::{
    Columns, Format, FormatOptions,
    write::{RecordContext, RecordWriter},
};
use kcopy_wire::records::{Headers, Record, TimestampType};

use crate::{
    measure::median,
    report::{Cell, Measure, Report, Row, Target, Unit},
};

const COLUMNS: &str = "id int8, customer int8, name text, at timestamptz";
const DOCUMENT_LEN: usize = 100;
/// Enough to leave every cache but the last.
const DOCUMENTS: usize = 50_000;
const ROUNDS: usize = 40;
const LEAST_MEGABYTES_PER_SECOND: f64 = 500.0;

/// Appends the row.
pub(super) fn run(report: &mut Report) -> Result<()> {
    report.push(Row {
        scenario: "JSON to typed COPY binary, one core".to_owned(),
        broker: "none".to_owned(),
        against: "a target".to_owned(),
        theirs: None,
        ours: Cell { value: measure()?, unit: Unit::MegabytesPerSecond, cpu_seconds: None },
        wall: None,
        cpu: None,
        targets: vec![Target::AtLeast(Measure::Value, LEAST_MEGABYTES_PER_SECOND)],
    });
    Ok(())
}

/// Prints the number alone.
pub(crate) fn print() -> Result<ExitCode> {
    println!("{COLUMNS} from JSON of {DOCUMENT_LEN} bytes: {:.0} MB/s", measure()?);
    Ok(ExitCode::SUCCESS)
}

/// Megabytes of JSON for each second.
fn measure() -> Result<f64> {
    let documents = documents();
    let columns = Columns::parse(COLUMNS)?;
    let options = FormatOptions { columns: Some(columns), ..FormatOptions::new(Format::Binary) };
    let mut writer = RecordWriter::new(&options)?;
    let context =
        RecordContext { topic: "bench", partition: 0, broker: 0, timestamp_type: TimestampType::CreateTime };
    let mut out = Vec::with_capacity(1 << 20);
    let mut speeds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let mut written = 0;
        for (offset, document) in documents.chunks_exact(DOCUMENT_LEN).enumerate() {
            let record = Record {
                offset: offset as i64,
                timestamp: -1,
                key: None,
                value: Some(document),
                headers: Headers::EMPTY,
            };
            writer.write(&context, &record, &mut out)?;
            if out.len() > 64 * 1024 {
                written += out.len();
                out.clear();
            }
        }
        speeds.push(documents.len() as f64 / 1e6 / started.elapsed().as_secs_f64());
        ensure!(written > 0, "nothing was written");
    }
    Ok(median(speeds))
}

fn documents() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut documents = Vec::with_capacity(DOCUMENTS * DOCUMENT_LEN);
    for id in 0..DOCUMENTS {
        let (customer, second, milli) = (random.u32(1_000_000..), random.u32(0..60), random.u32(0..1000));
        let mut document =
            format!(r#"{{"id":{},"customer":{customer},"name":""#, 1_000_000_000_000 + id as u64)
                .into_bytes();
        let end = format!(r#"","at":"2026-11-22T18:48:{second:02}.{milli:03}Z"}}"#);
        while document.len() + end.len() < DOCUMENT_LEN {
            document.push(random.lowercase() as u8);
        }
        document.extend_from_slice(end.as_bytes());
        document.truncate(DOCUMENT_LEN);
        documents.extend_from_slice(&document);
    }
    documents
}
