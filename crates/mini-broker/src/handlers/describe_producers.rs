//! DescribeProducers (key 61), version 0 (KIP-664).
//!
//! The idempotent producers that a partition remembers.

use kcopy_wire::{
    ErrorCode,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
    },
};

use super::Context;
use crate::cluster::{Cluster, topics::check_name};

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.iter().map(|topic| TopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| describe(cluster, context, &topic.name, *index))
            .collect(),
        ..TopicResponse::default()
    });
    DescribeProducersResponse { topics: topics.collect(), ..DescribeProducersResponse::default() }
}

fn describe(cluster: &Cluster, context: &Context, topic: &str, partition_index: i32) -> PartitionResponse {
    let failed = |error_code, message: Option<String>| PartitionResponse {
        partition_index,
        error_code,
        error_message: message.map(Into::into),
        ..PartitionResponse::default()
    };
    let found = cluster.topics.get(topic).and_then(|topic| topic.partition(partition_index));
    let Some(partition) = found else {
        return match check_name(topic) {
            // Kafka explains this for topics, not for partitions.
            Ok(()) => {
                let message = "This server does not host this topic-partition.";
                let unknown_topic = cluster.topics.get(topic).is_none();
                failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, unknown_topic.then(|| message.into()))
            }
            Err(message) => failed(ErrorCode::INVALID_TOPIC_EXCEPTION, Some(message)),
        };
    };
    if let Err(error) = partition.check_leader(context.node_id, None) {
        return failed(error, None);
    }
    let now_ms = cluster.clock.now_ms();
    let expiration_ms = cluster.configs.number("producer.id.expiration.ms", None);
    let producers = partition.producers.active(now_ms, expiration_ms);
    PartitionResponse {
        partition_index,
        active_producers: producers
            .map(|(producer_id, producer)| ProducerState {
                producer_id,
                producer_epoch: i32::from(producer.producer_epoch),
                last_sequence: producer.last_sequence().unwrap_or(-1),
                last_timestamp: producer.last_batch_timestamp().unwrap_or(-1),
                coordinator_epoch: -1,
                ..ProducerState::default()
            })
            .collect(),
        ..PartitionResponse::default()
    }
}
