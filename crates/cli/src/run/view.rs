//! From what brokers answer to what is shown of it.

use kcopy_client::{Broker, Topic, wire::ErrorCode};

use crate::view::{BrokerView, PartitionView, TopicView};

pub(super) fn broker(broker: &Broker) -> BrokerView {
    BrokerView { id: broker.id, host: broker.host.clone(), port: broker.port, rack: broker.rack.clone() }
}

/// A topic; `words` turns error codes into the words of the program that prints them.
pub(super) fn topic(topic: &Topic, words: fn(ErrorCode) -> String) -> TopicView {
    let partitions = topic.partitions.iter().map(|partition| PartitionView {
        partition: partition.index,
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        offline_replicas: partition.offline_replicas.clone(),
        error: partition.error.map(words),
        ..PartitionView::default()
    });
    TopicView {
        name: topic.name.to_string(),
        topic_id: topic.id.map(|id| id.to_string()),
        internal: topic.is_internal,
        error: topic.error.map(words),
        partitions: partitions.collect(),
        ..TopicView::default()
    }
}

/// The protocol's own name of an error.
pub(super) fn error_name(code: ErrorCode) -> String {
    code.to_string()
}
