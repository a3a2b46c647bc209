//! Responses that carry nothing but an error, for injected faults.

mod admin;
mod offsets;

use kcopy_wire::{
    ErrorCode, RecordBytes,
    messages::{
        ApiVersionsResponse, FetchResponse, MetadataResponse, ProduceResponse,
        fetch_response::{FetchableTopicResponse, PartitionData},
        metadata_response::MetadataResponseTopic,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};

use super::{Context, RequestBody, ResponseBody};

/// Answers `request` with `error` wherever the response has room for it; `None` if it has none.
pub(crate) fn refuse(
    context: &Context,
    request: &RequestBody,
    error_code: ErrorCode,
) -> Option<ResponseBody> {
    Some(match request {
        RequestBody::ApiVersions(_) => {
            ResponseBody::ApiVersions(ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() })
        }
        RequestBody::Produce(request) => {
            if request.acks == 0 {
                return None;
            }
            let topics = request.topic_data.iter().map(|topic| TopicProduceResponse {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partition_responses: topic
                    .partition_data
                    .iter()
                    .map(|partition| PartitionProduceResponse {
                        index: partition.index,
                        error_code,
                        base_offset: -1,
                        ..PartitionProduceResponse::default()
                    })
                    .collect(),
                ..TopicProduceResponse::default()
            });
            ResponseBody::Produce(ProduceResponse {
                responses: topics.collect(),
                ..ProduceResponse::default()
            })
        }
        RequestBody::Fetch(request) => {
            let topics = request.topics.iter().map(|topic| FetchableTopicResponse {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| PartitionData {
                        partition_index: partition.partition,
                        error_code,
                        high_watermark: -1,
                        aborted_transactions: None,
                        // Not left out: librdkafka cannot read an answer without any, whatever its error.
                        records: Some(RecordBytes::default()),
                        ..PartitionData::default()
                    })
                    .collect(),
                ..FetchableTopicResponse::default()
            });
            // An incremental fetch may name no partition: the error is the whole response's then.
            let whole = request.topics.is_empty() && context.version >= 7;
            ResponseBody::Fetch(FetchResponse {
                error_code: if whole { error_code } else { ErrorCode::NONE },
                session_id: request.session_id,
                responses: topics.collect(),
                ..FetchResponse::default()
            })
        }
        RequestBody::Metadata(request) => {
            let topics = request.topics.iter().flatten().map(|topic| MetadataResponseTopic {
                error_code,
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                ..MetadataResponseTopic::default()
            });
            let topics: Vec<_> = topics.collect();
            if topics.is_empty() && context.version < 13 {
                return None;
            }
            ResponseBody::Metadata(MetadataResponse {
                error_code: if context.version >= 13 { error_code } else { ErrorCode::NONE },
                topics,
                ..MetadataResponse::default()
            })
        }
        other => {
            return offsets::refuse(context, other, error_code)
                .or_else(|| admin::refuse(context, other, error_code))
                .or_else(|| other.refuse_unserved(error_code));
        }
    })
}
