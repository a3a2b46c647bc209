//! How long record batches take: `cargo run --profile fast -p kcopy-wire --example record_speed`.
//!
//! Values of 100 bytes in batches of about 1 MB, the best of several runs of each step. On one otherwise idle
//! core; compare only numbers of one run.
#![allow(clippy::print_stdout, reason = "an example is to be short")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use kcopy_wire::records::{
    Batch, BatchBuilder, BatchOptions, Batches, Compression, Compressor, Decompressor, Headers, HeadersBuf,
    OpenBatch, ProducerStamp, RecordLimits, RecordsError,
};

const RECORDS: usize = 200_000;
const BATCH_BYTES: usize = 1_000_000;
const RUNS: usize = 15;

fn main() -> Result<(), RecordsError> {
    let values: Vec<[u8; 100]> = (0..1024).map(value).collect();
    let mut headers = HeadersBuf::new();
    headers.push("trace-id", Some(b"0123456789abcdef"));
    headers.push("source", Some(b"speed"));

    // As a producer does, take the buffers of finished batches again.
    let mut spare = Vec::new();
    for (what, headers) in [("encode", Headers::EMPTY), ("encode, two headers", headers.as_headers())] {
        let time = best(|| {
            let batches = encode(&values, headers, &mut spare)?;
            spare.extend(batches.into_iter().filter_map(|batch| batch.try_into_mut().ok()));
            Ok(())
        });
        report(what, RECORDS, time);
    }

    let log: Bytes = encode(&values, Headers::EMPTY, &mut spare)?.concat().into();
    report("walk", RECORDS, best(|| walk(&log, false)));
    report("walk with checksum", RECORDS, best(|| walk(&log, true)));
    let log: Bytes = encode(&values, headers.as_headers(), &mut spare)?.concat().into();
    report("walk, two headers", RECORDS, best(|| walk(&log, false)));

    let batches = encode(&values, Headers::EMPTY, &mut spare)?;
    let mut compressor = Compressor::new();
    let mut decompressor = Decompressor::new();
    let limits = RecordLimits::default();
    for compression in Compression::ALL.into_iter().skip(1) {
        let batch = Batch::new(batches[0].clone())?;
        let open = batch.open(limits)?;
        let compress = best(|| recompress(&open, compression, &mut compressor));
        let small = Batch::new(recompress(&open, compression, &mut compressor)?)?;
        let decompress = best(|| {
            let open = small.open_with(limits, &mut decompressor)?;
            decompressor.recycle(open);
            Ok(())
        });
        println!(
            "{compression:<20} {:>6.0} MB/s in  {:>6.0} MB/s out  to {:>4.1} %",
            rate(batch.size(), compress),
            rate(batch.size(), decompress),
            small.size() as f64 * 100.0 / batch.size() as f64
        );
    }
    Ok(())
}

/// Text with something to compress, as log lines have.
fn value(n: usize) -> [u8; 100] {
    let text = format!(
        "{n:08} INFO user={:06} action=view page=/items/{:05} ms={:03} agent=Mozilla/5.0 (X11; Linux x86_64) ok",
        n.wrapping_mul(7919) % 1_000_000,
        n.wrapping_mul(104_729) % 100_000,
        n % 997
    );
    let mut value = [b' '; 100];
    let len = text.len().min(value.len());
    value[..len].copy_from_slice(&text.as_bytes()[..len]);
    value
}

fn encode(
    values: &[[u8; 100]],
    headers: Headers<'_>,
    spare: &mut Vec<BytesMut>,
) -> Result<Vec<Bytes>, RecordsError> {
    let options = BatchOptions { capacity: BATCH_BYTES, ..BatchOptions::default() };
    let mut next = || BatchBuilder::with_buffer(options, spare.pop().unwrap_or_default());
    let mut batches = Vec::new();
    let mut builder = next();
    for n in 0..RECORDS {
        let value = Some(&values[n % values.len()][..]);
        if builder.estimated_size_with(None, value, headers) > BATCH_BYTES {
            let full = std::mem::replace(&mut builder, next());
            batches.push(full.finish(ProducerStamp::NONE)?);
        }
        builder.append(1_700_000_000_000 + (n / 100) as i64, None, value, headers)?;
    }
    batches.push(builder.finish(ProducerStamp::NONE)?);
    Ok(batches)
}

fn recompress(
    open: &OpenBatch,
    compression: Compression,
    compressor: &mut Compressor,
) -> Result<Bytes, RecordsError> {
    let options = BatchOptions { capacity: BATCH_BYTES, ..BatchOptions::new(compression) };
    let mut builder = BatchBuilder::new(options);
    for record in open.records() {
        let record = record?;
        builder.append(record.timestamp, record.key, record.value, record.headers)?;
    }
    builder.finish_with(ProducerStamp::NONE, compressor)
}

fn walk(log: &Bytes, verify: bool) -> Result<usize, RecordsError> {
    let mut bytes = 0;
    for batch in Batches::new(log.clone()) {
        let batch = batch?;
        if verify {
            batch.verify_crc()?;
        }
        let open = batch.open(RecordLimits::default())?;
        for record in open.records() {
            bytes += black_box(record?.value).map_or(0, <[u8]>::len);
        }
    }
    Ok(bytes)
}

fn best<T>(mut step: impl FnMut() -> Result<T, RecordsError>) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let started = Instant::now();
        match step() {
            Ok(result) => drop(black_box(result)),
            Err(error) => panic!("{error}"),
        }
        best = best.min(started.elapsed());
    }
    best
}

fn report(what: &str, records: usize, time: Duration) {
    println!("{what:<20} {:>6.1} ns per record", time.as_nanos() as f64 / records as f64);
}

fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}
