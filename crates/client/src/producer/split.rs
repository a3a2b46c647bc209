//! Cutting a batch in two that a broker found too large.

use kcopy_wire::records::{
    Batch, BatchBuilder, BatchOptions, Batches, ProducerStamp, RecordLimits, RecordsError,
};

use super::batch::{Report, SealedBatch};

/// Takes the records out of `whole` and puts them into two batches of about half the bytes each. `whole`
/// keeps its report if that fails. The parts get the numbers `number` and `number + 1`.
///
/// Java cuts at `batch.size` instead, and loops where that is no smaller (KAFKA-8350).
pub(super) fn split(whole: &mut SealedBatch, number: u64) -> Result<[SealedBatch; 2], Unsplittable> {
    let data = whole.data.clone().ok_or(Unsplittable::Missing)?;
    let batch = Batches::new(data).next().ok_or(Unsplittable::Missing)??;
    let [(first, first_count), (second, second_count)] = cut(&batch)?;
    let report = whole.report.take().ok_or(Unsplittable::Missing)?;
    let second_report = Report {
        base_index: report.base_index + u64::from(first_count),
        record_count: second_count,
        acknowledgement: report.acknowledgement.as_ref().map(|(all, at)| (all.clone(), at + first_count)),
        ..report
    };
    let first_report = Report { record_count: first_count, ..report };
    let part = |data, number, charge, report: Report| SealedBatch {
        number,
        data: Some(data),
        stamp: None,
        record_count: report.record_count,
        deadline: whole.deadline,
        charge,
        report: Some(report),
    };
    let half = whole.charge / 2;
    Ok([
        part(first, number, half, first_report),
        part(second, number + 1, whole.charge - half, second_report),
    ])
}

fn cut(batch: &Batch) -> Result<[(bytes::Bytes, u32); 2], Unsplittable> {
    let open = batch.open(RecordLimits::default())?;
    let options = BatchOptions::new(batch.attributes().compression()?);
    let sizes = open.records().map(|record| record.map(|r| size(&r))).collect::<Result<Vec<_>, _>>()?;
    let half = sizes.iter().sum::<usize>() / 2;
    let mut sum = 0;
    let first_count = sizes
        .iter()
        .take_while(|size| {
            sum += **size;
            sum <= half
        })
        .count()
        .clamp(1, sizes.len().max(2) - 1);
    let mut parts = [BatchBuilder::new(options), BatchBuilder::new(options)];
    for (position, record) in open.records().enumerate() {
        let record = record?;
        parts[usize::from(position >= first_count)].append(
            record.timestamp,
            record.key,
            record.value,
            record.headers,
        )?;
    }
    let [first, second] = parts;
    let counts = [first.len() as u32, second.len() as u32];
    Ok([(first.finish(ProducerStamp::NONE)?, counts[0]), (second.finish(ProducerStamp::NONE)?, counts[1])])
}

fn size(record: &kcopy_wire::records::Record<'_>) -> usize {
    let headers: usize =
        record.headers.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum();
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers + 8
}

/// Why a batch of one's own cannot be read back.
#[derive(Debug)]
pub(super) enum Unsplittable {
    Missing,
    Records(RecordsError),
}

impl From<RecordsError> for Unsplittable {
    fn from(error: RecordsError) -> Self {
        Unsplittable::Records(error)
    }
}

impl std::fmt::Display for Unsplittable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unsplittable::Missing => f.write_str("its bytes are not there"),
            Unsplittable::Records(error) => error.fmt(f),
        }
    }
}
