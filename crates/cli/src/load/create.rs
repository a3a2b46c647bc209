//! `--create-table`: a table for records that nobody has described.
//!
//! The first records say what there is: members of JSON objects become columns, with the narrowest type that
//! holds all of their values. What does not fit later is an error like any other.

use kcopy_client::{Assignment, Client, ConsumerConfig, Event, StartOffset, wire::Str};

use kcopy_format::{
    Columns,
    columns::{Column, Path, PathRoot, Source},
};

use super::{catalog::quoted, infer::Sample, trouble::Trouble};
use crate::plan::{Load, Mode};

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
    let of_table = plan.routes.iter().filter(|route| route.table == table);
    let topics: Vec<&str> = of_table.map(|route| route.topic.as_str()).collect();
    let (columns, notes) = match &plan.columns {
        Some(columns) => {
            let key = key_of(columns);
            if plan.mode == Mode::Upsert && key.is_empty() {
                return Err(Trouble::Final(format!(
                    "--create-table: --mode upsert needs a primary key, and nothing in --columns is filled from the \
                     records' keys: add a column for {table} such as 'id = key', or make the table"
                )));
            }
            let mut sample = Sample::new(Some(columns))?;
            let is_inferred = (0..columns.as_slice().len()).any(|at| !columns.is_typed(at));
            if is_inferred {
                take_sample(client, config, &topics, &mut sample).await?;
            }
            let (mut listed, mut notes) = sample.named_columns(columns, table);
            if is_inferred && sample.records == 0 {
                notes.push(format!(
                    "{} has no records yet to infer types from: columns of {table} whose type --columns does not say are \
                     what they are by themselves, parts of JSON text",
                    topics.join(", ")
                ));
            }
            if plan.mode == Mode::Upsert {
                listed.push(format!("primary key ({})", key.join(", ")));
            }
            (listed, notes)
        }
        None => {
            let mut sample = Sample::new(None)?;
            take_sample(client, config, &topics, &mut sample).await?;
            if sample.records == 0 {
                return Err(Trouble::Final(format!(
                    "--create-table: {} has no records yet to infer the columns of {table} from; name them with \
                     --columns, or make the table",
                    topics.join(", ")
                )));
            }
            sample.columns(plan.mode, table)
        }
    };
    let columns: Vec<String> = columns.iter().map(|column| format!("    {column}")).collect();
    Ok((format!("create table if not exists {table} (\n{}\n);", columns.join(",\n")), notes))
}

/// The column that is the records' key, or those that are parts of it.
fn key_of(columns: &Columns) -> Vec<String> {
    let list = columns.as_slice();
    let is_part = |column: &&Column| matches!(column.source, Source::Path(Path { root: PathRoot::Key, .. }));
    match list.iter().find(|column| column.source == Source::Key) {
        Some(whole) => vec![quoted(&whole.name)],
        None => list.iter().filter(is_part).map(|column| quoted(&column.name)).collect(),
    }
}

async fn take_sample(
    client: &Client,
    config: &ConsumerConfig,
    topics: &[&str],
    sample: &mut Sample,
) -> Result<(), Trouble> {
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
    let mut consumer = client.consume(ranges, config.clone()).map_err(failed)?;
    while let Some(event) = consumer.next().await.map_err(failed)? {
        let Event::Batch(batch) = event else { continue };
        for record in batch.records() {
            let record = record.map_err(failed)?;
            sample.add(batch.topic(), batch.partition(), &record);
            if sample.records >= MAX_RECORDS {
                return Ok(());
            }
        }
    }
    Ok(())
}
