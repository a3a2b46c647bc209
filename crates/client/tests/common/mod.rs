//! A cluster in memory, on simulated time, and a client of it.

// Each test file is a program of its own and uses what it needs.
#![allow(dead_code, unreachable_pub)]

use std::{collections::BTreeMap, io};

use kcopy_client::{
    Assignment, BoxFuture, BoxStream, Client, ClientConfig, ClientConfigBuilder, Connect, Consumer,
    ConsumerConfig, Event, Result, StartOffset, Target,
    wire::{
        ErrorCode,
        messages::{
            ProduceRequest,
            produce_request::{PartitionProduceData, TopicProduceData},
        },
        records::{BatchBuilder, BatchOptions, Headers, ProducerStamp},
    },
};
use kcopy_mini_broker::{Fault, FaultAction, MemoryNetwork, MiniCluster, MiniClusterBuilder};

/// Connects through memory.
pub struct InMemory(MemoryNetwork);

impl Connect for InMemory {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move { Ok(Box::new(self.0.connect(host, port).await?) as BoxStream) })
    }
}

pub fn in_memory(nodes: i32) -> MiniClusterBuilder {
    MiniCluster::builder().in_memory().nodes(nodes)
}

pub fn client_config(cluster: &MiniCluster) -> ClientConfigBuilder {
    ClientConfig::builder()
        .bootstrap_servers(cluster.bootstrap_servers())
        .connector(InMemory(cluster.network()))
}

pub async fn client(cluster: &MiniCluster) -> Client {
    Client::connect(client_config(cluster).build().unwrap()).await.unwrap()
}

/// Appends one batch; the values are the numbers of the records.
pub async fn produce(client: &Client, topic: &str, partition: i32, numbers: std::ops::Range<u64>) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for number in numbers {
        let value = number.to_string();
        builder.append(1000 + number as i64, None, Some(value.as_bytes()), Headers::EMPTY).unwrap();
    }
    let data = PartitionProduceData {
        index: partition,
        records: Some(builder.finish(ProducerStamp::NONE).unwrap().into()),
        ..Default::default()
    };
    let metadata = client.refresh_metadata(&[topic], client.metadata().generation).await.unwrap();
    let topic = TopicProduceData {
        name: topic.into(),
        topic_id: metadata.topic(topic).unwrap().id.unwrap(),
        partition_data: vec![data],
        ..Default::default()
    };
    let leader = metadata.leader(&topic.name, partition).unwrap().id;
    let request =
        ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() };
    let response = client.request(Target::Broker(leader), &request).await.unwrap();
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
}

pub fn from_earliest(topic: &str, partitions: i32) -> Vec<Assignment> {
    (0..partitions).map(|partition| Assignment::new(topic, partition, StartOffset::Earliest)).collect()
}

pub async fn consume(
    client: &Client,
    assignments: &[Assignment],
    config: ConsumerConfig,
) -> Result<Consumer> {
    let ranges = client.resolve(assignments, &config).await?;
    client.consume(ranges, config)
}

/// What a consumer reported: offsets and values by partition, and where partitions ended.
#[derive(Debug, Default, PartialEq)]
pub struct Report {
    pub records: BTreeMap<i32, Vec<(i64, u64)>>,
    pub ends: BTreeMap<i32, i64>,
}

impl Report {
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Batch(batch) => {
                let records = self.records.entry(batch.partition()).or_default();
                assert!(!self.ends.contains_key(&batch.partition()), "records after the end");
                for record in batch.records() {
                    let record = record.unwrap();
                    let value = std::str::from_utf8(record.value.unwrap()).unwrap();
                    records.push((record.offset, value.parse().unwrap()));
                }
            }
            Event::EndOfPartition { partition, offset, .. } => {
                assert!(self.ends.insert(partition, offset).is_none(), "two ends");
            }
            _ => panic!("an event of a new kind"),
        }
    }
}

pub async fn read_to_end(consumer: &mut Consumer) -> Result<Report> {
    let mut report = Report::default();
    while let Some(event) = consumer.next().await? {
        report.take(event);
    }
    Ok(report)
}

/// Offsets that are the numbers of the records.
pub fn numbered(numbers: std::ops::Range<u64>) -> Vec<(i64, u64)> {
    numbers.map(|number| (number as i64, number)).collect()
}

pub async fn inject(cluster: &MiniCluster, action: FaultAction, change: impl FnOnce(Fault) -> Fault) {
    cluster.inject(change(Fault::new(action))).await.unwrap();
}
