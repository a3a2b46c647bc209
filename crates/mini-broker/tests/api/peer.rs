//! A client that says exactly what a test wants.

use bytes::{Bytes, BytesMut};
use kcopy_mini_broker::{Clock, MiniCluster, MiniClusterBuilder};
use kcopy_wire::{
    ErrorCode, Request, Uuid,
    frame::{decode_response, encode_request, split},
    messages::{
        CreateTopicsRequest, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest,
        create_topics_request, fetch_request, fetch_response, metadata_request, produce_request,
        produce_response,
    },
    records::{BatchBuilder, BatchOptions, Compression, Headers, ProducerStamp},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// When simulated clocks start: 2023-11-14.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// A cluster in memory whose clock stands at [`START_MS`].
pub(crate) fn builder() -> MiniClusterBuilder {
    MiniCluster::builder().in_memory().clock(Clock::starting_at(START_MS))
}

/// A connection to one broker.
pub(crate) struct Peer {
    stream: DuplexStream,
    buffer: BytesMut,
    correlation_id: i32,
}

impl Peer {
    /// Connects to the first broker.
    pub(crate) async fn connect(cluster: &MiniCluster) -> Self {
        Self::connect_to(cluster, 1).await
    }

    /// Connects to a broker.
    pub(crate) async fn connect_to(cluster: &MiniCluster, node_id: i32) -> Self {
        let address = cluster.address(node_id).expect("the broker exists");
        let (host, port) = address.rsplit_once(':').expect("a host and a port");
        let port = port.parse().expect("a port number");
        let stream = cluster.network().connect(host, port).await.expect("the broker runs");
        Self { stream, buffer: BytesMut::new(), correlation_id: 0 }
    }

    /// Sends a request without waiting for the answer.
    pub(crate) async fn send<R: Request>(&mut self, request: &R, version: i16) {
        self.correlation_id += 1;
        let frame =
            encode_request(request, version, self.correlation_id, Some("test")).expect("the request fits");
        self.send_bytes(&frame.to_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        // A broker that has closed the connection is what some tests expect to see when they read.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame; `None` when the broker has closed the connection.
    pub(crate) async fn read_frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = split(&mut self.buffer, 1 << 30).expect("a sane length") {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The answer to the oldest request that has none yet.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let frame = self.read_frame().await.expect("an answer");
        decode_response::<R>(frame, version).expect("a well-formed answer").1
    }

    /// Sends a request and waits for the answer.
    pub(crate) async fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version).await;
        self.receive::<R>(version).await
    }

    /// Produces one batch with acks=-1.
    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> produce_response::PartitionProduceResponse {
        let response = self.call(&produce(topic, partition, batch), 9).await;
        response.responses[0].partition_responses[0].clone()
    }

    /// Fetches one partition without waiting.
    pub(crate) async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> fetch_response::PartitionData {
        let response: FetchResponse = self.call(&fetch(topic, partition, offset), 12).await;
        response.responses[0].partitions[0].clone()
    }

    /// The id of a topic.
    pub(crate) async fn topic_id(&mut self, topic: &str) -> Uuid {
        let request = MetadataRequest {
            topics: Some(vec![metadata_request::MetadataRequestTopic {
                name: Some(topic.into()),
                ..Default::default()
            }]),
            ..Default::default()
        };
        self.call(&request, 12).await.topics[0].topic_id
    }

    /// Creates a topic with properties.
    pub(crate) async fn create_topic(&mut self, name: &str, configs: &[(&str, &str)]) -> ErrorCode {
        let configs = configs.iter().map(|(name, value)| create_topics_request::CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        });
        let request = CreateTopicsRequest {
            topics: vec![create_topics_request::CreatableTopic {
                name: name.into(),
                num_partitions: 1,
                replication_factor: 1,
                configs: configs.collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        self.call(&request, 7).await.topics[0].error_code
    }
}

pub(crate) fn produce(topic: &str, partition: i32, batch: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![produce_request::TopicProduceData {
            name: topic.into(),
            partition_data: vec![produce_request::PartitionProduceData {
                index: partition,
                records: Some(batch.into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(crate) fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![fetch_request::FetchTopic {
            topic: topic.into(),
            partitions: vec![fetch_request::FetchPartition {
                partition,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A batch of records without keys, all at [`START_MS`].
pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_with(Compression::None, ProducerStamp::NONE, START_MS, values)
}

/// A batch of an idempotent producer.
pub(crate) fn stamped(id: i64, epoch: i16, base_sequence: i32, values: &[&str]) -> Bytes {
    let stamp = ProducerStamp { id, epoch, base_sequence, transactional: false };
    batch_with(Compression::None, stamp, START_MS, values)
}

pub(crate) fn batch_with(
    compression: Compression,
    stamp: ProducerStamp,
    timestamp: i64,
    values: &[&str],
) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::new(compression));
    for value in values {
        builder.append(timestamp, None, Some(value.as_bytes()), Headers::EMPTY).expect("the record fits");
    }
    builder.finish(stamp).expect("the batch fits")
}

/// The values and offsets of fetched records.
pub(crate) fn values(data: &fetch_response::PartitionData) -> Vec<(i64, String)> {
    let records = data.records.clone().unwrap_or_default().into_bytes();
    let mut values = Vec::new();
    for batch in kcopy_wire::records::Batches::new(records) {
        let batch = batch.expect("a whole batch");
        batch.verify_crc().expect("an intact batch");
        let open = batch.open(Default::default()).expect("readable records");
        for record in open.records() {
            let record = record.expect("a readable record");
            let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            values.push((record.offset, value));
        }
    }
    values
}
