//! `--create-table`: a table for records that nobody has described.
//!
//! The first records say what there is: members of JSON objects become columns, with the narrowest type that
//! holds all of their values. What does not fit later is an error like any other.

use kcopy_client::{Assignment, Client, ConsumerConfig, Event, StartOffset, wire::Str};

use super::{catalog::quoted, infer::Sample, trouble::Trouble};
use crate::plan::Load;

/// Records that are looked at, for each table.
const MAX_RECORDS: i64 = 1000;

/// The SQL that makes a table for its topics, and what people should know about it.
///
/// # Errors
/// There are no records to infer anything from, or they cannot be read.
pub(super) async fn statement(
    client: &Client,
    plan: &Load,
    config: &ConsumerConfig,
    table: &str,
) -> Result<(String, Vec<String>), Trouble> {
    let mut notes = Vec::new();
    let columns = match &plan.columns {
        Some(columns) => {
            let typed = columns.as_slice().iter();
            typed.map(|column| format!("{} {}", quoted(&column.name), column.column_type)).collect()
        }
        None => {
            let topics: Vec<&str> = plan
                .routes
                .iter()
                .filter(|route| route.table == table)
                .map(|route| route.topic.as_str())
                .collect();
            let sample = take_sample(client, config, &topics).await?;
            if sample.records == 0 {
                return Err(Trouble::Final(format!(
                    "--create-table: {} has no records yet to infer the columns of {table} from; name them with \
                     --columns, or make the table",
                    topics.join(", ")
                )));
            }
            let (columns, told) = sample.columns(plan.mode, table);
            notes = told;
            columns
        }
    };
    let columns: Vec<String> = columns.iter().map(|column| format!("    {column}")).collect();
    Ok((format!("create table if not exists {table} (\n{}\n);", columns.join(",\n")), notes))
}

async fn take_sample(client: &Client, config: &ConsumerConfig, topics: &[&str]) -> Result<Sample, Trouble> {
    let failed = |error: kcopy_client::Error| Trouble::kafka(&error);
    let metadata = client.topics(topics).await.map_err(failed)?;
    let mut assignments = Vec::new();
    for name in topics {
        let partitions = metadata.topic(name).map(|topic| topic.partitions.as_slice()).unwrap_or_default();
        for partition in partitions {
            assignments.push(Assignment::new(Str::from(*name), partition.index, StartOffset::Earliest));
        }
    }
    let mut ranges = client.resolve(&assignments, config).await.map_err(failed)?;
    for range in &mut ranges {
        let end = range.last_stable_offset.min(range.start.saturating_add(MAX_RECORDS));
        range.end = Some(end);
    }
    let mut sample = Sample::new()?;
    let mut consumer = client.consume(ranges, config.clone()).map_err(failed)?;
    while let Some(event) = consumer.next().await.map_err(failed)? {
        let Event::Batch(batch) = event else { continue };
        for record in batch.records() {
            let record = record.map_err(failed)?;
            sample.add(batch.topic(), batch.partition(), &record);
            if sample.records >= MAX_RECORDS {
                return Ok(sample);
            }
        }
    }
    Ok(sample)
}
