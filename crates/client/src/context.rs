//! What the client tells through `tracing`, by librdkafka's debug contexts: the targets are `kcopy_client::CONTEXT`,
//! those of single requests and answers `kcopy_client::protocol`, with the context that they belong to behind it.
//!
//! Nothing is told of single records, and never what is in them: an event costs nothing where nobody listens, but one
//! for each of millions of records would.

pub(crate) const BROKER: &str = "kcopy_client::broker";
pub(crate) const FEATURE: &str = "kcopy_client::feature";
pub(crate) const FETCH: &str = "kcopy_client::fetch";
pub(crate) const GENERIC: &str = "kcopy_client::generic";
pub(crate) const METADATA: &str = "kcopy_client::metadata";
pub(crate) const TOPIC: &str = "kcopy_client::topic";

/// An event about a request or its answer, of the context that the API belongs to.
macro_rules! tell_of_request {
    ($api:expr, $($event:tt)+) => {{
        use kcopy_wire::ApiKey::*;
        match $api {
            Produce => tracing::debug!(target: "kcopy_client::protocol::msg", $($event)+),
            Fetch => tracing::debug!(target: "kcopy_client::protocol::fetch", $($event)+),
            Metadata => tracing::debug!(target: "kcopy_client::protocol::metadata", $($event)+),
            ListOffsets | OffsetForLeaderEpoch => {
                tracing::debug!(target: "kcopy_client::protocol::topic", $($event)+);
            }
            FindCoordinator | OffsetCommit | OffsetFetch | DescribeGroups => {
                tracing::debug!(target: "kcopy_client::protocol::cgrp", $($event)+);
            }
            InitProducerId => tracing::debug!(target: "kcopy_client::protocol::eos", $($event)+),
            ApiVersions => tracing::debug!(target: "kcopy_client::protocol::feature", $($event)+),
            CreateTopics | DeleteTopics | CreatePartitions | DeleteRecords | DescribeConfigs
            | IncrementalAlterConfigs | DescribeCluster => {
                tracing::debug!(target: "kcopy_client::protocol::admin", $($event)+);
            }
            _ => tracing::debug!(target: "kcopy_client::protocol", $($event)+),
        }
    }};
}
pub(crate) use tell_of_request;
