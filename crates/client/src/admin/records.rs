//! Deleting the oldest records of partitions.

use kcopy_wire::{
    ApiKey, Str,
    messages::{
        DeleteRecordsRequest,
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    },
};

use super::Admin;
use crate::{
    client::by_leader::{AboutPartition, Asked},
    connection::Connection,
    error::{Error, Result},
};

/// What of a partition shall be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRecords {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: i32,
    /// The first offset that stays; None deletes everything up to the high watermark.
    pub before: Option<i64>,
}

impl AboutPartition for DeleteRecords {
    fn topic(&self) -> &Str {
        &self.topic
    }

    fn partition(&self) -> i32 {
        self.partition
    }
}

/// What is left of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletedRecords {
    /// The first offset that the partition has now.
    pub low_watermark: i64,
}

impl Admin {
    /// Deletes the oldest records of partitions. Name each partition once.
    ///
    /// # Errors
    /// Each partition has its own result.
    pub async fn delete_records(&self, records: &[DeleteRecords]) -> Result<Vec<Result<DeletedRecords>>> {
        self.refuse_validation("deleting records")?;
        let timeout_ms = self.timeout_ms();
        self.client
            .by_leader("deleting records", records, move |connection, records| {
                delete(connection, records, timeout_ms)
            })
            .await
    }
}

async fn delete(
    connection: Connection,
    records: Vec<Asked<DeleteRecords>>,
    timeout_ms: i32,
) -> Result<Vec<(usize, Result<DeletedRecords>)>> {
    let version = connection.version_of::<DeleteRecordsRequest>()?;
    let mut topics: Vec<DeleteRecordsTopic> = Vec::new();
    for (_, record, _) in &records {
        let partition = DeleteRecordsPartition {
            partition_index: record.partition,
            offset: record.before.unwrap_or(-1),
            ..Default::default()
        };
        match topics.iter_mut().rev().find(|topic| topic.name == record.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(DeleteRecordsTopic {
                name: record.topic.clone(),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    let request = DeleteRecordsRequest { topics, timeout_ms, ..Default::default() };
    let response = connection.send(&request, version, connection.request_timeout()).await?.await?;
    let find = |record: &DeleteRecords| {
        let mut topics = response.topics.iter().filter(|topic| topic.name == record.topic);
        let answer = topics.find_map(|topic| {
            topic.partitions.iter().find(|answer| answer.partition_index == record.partition)
        });
        let answer = answer.ok_or_else(|| Error::protocol("the answer leaves the partition out"))?;
        answer.error_code.into_result().map_err(Error::broker)?;
        Ok(DeletedRecords { low_watermark: answer.low_watermark })
    };
    let context = |error: Error| {
        error.with_api(ApiKey::DeleteRecords, Some(version)).with_broker(connection.broker_name())
    };
    Ok(records.iter().map(|(at, record, _)| (*at, find(record).map_err(context))).collect())
}
