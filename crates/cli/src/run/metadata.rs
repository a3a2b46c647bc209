//! kcat's `-L` and `-Q`, and `kcopy cluster describe`.

use kcopy_client::{IsolationLevel, OffsetSpec, wire::ErrorCode};

use super::{failure::Failure, print::print, session::Session, view};
use crate::{
    kcat::metadata::{self, MetadataView, OffsetAnswer, error_text},
    plan::{ClusterDescribe, ListMetadata, OffsetQuery, QueryOffsets, Shape},
    tables,
    view::ClusterView,
};

/// `-L`.
///
/// # Errors
/// No broker answers. A topic that does not exist is part of the answer.
pub(super) fn list(plan: &ListMetadata) -> Result<(), Failure> {
    let session = Session::new(&plan.common)?;
    let topics = plan.topic.as_deref().map(|topic| vec![topic]);
    let listing = session
        .block_on(session.client.admin().list_topics(topics.as_deref()))
        .map_err(|error| Failure::Told(format!("Failed to acquire metadata: {error}")))?;
    let shown = MetadataView {
        originating_broker_id: listing.originating_broker,
        originating_broker: listing.originating_address.to_string(),
        query: plan.topic.clone(),
        controller_id: listing.controller_id,
        brokers: listing.brokers.iter().map(view::broker).collect(),
        topics: listing.topics.iter().map(|topic| view::topic(topic, error_text)).collect(),
    };
    print(&if plan.json { metadata::list_json(&shown) + "\n" } else { metadata::list(&shown) })
}

/// `-Q`.
///
/// # Errors
/// No broker answers, or a partition that was asked for is not there. Where others are, stdout shows them all.
pub(super) fn offsets(plan: &QueryOffsets) -> Result<(), Failure> {
    let session = Session::new(&plan.common)?;
    let question = |query: &OffsetQuery| {
        let spec = match query.timestamp {
            -1 => OffsetSpec::Latest,
            -2 => OffsetSpec::Earliest,
            -3 => OffsetSpec::MaxTimestamp,
            timestamp => OffsetSpec::Timestamp(timestamp),
        };
        kcopy_client::OffsetQuery::new(&query.topic, query.partition, spec)
    };
    let questions: Vec<_> = plan.queries.iter().map(question).collect();
    let listing = session.client.list_offsets(&questions, IsolationLevel::ReadUncommitted);
    let listed = session.block_on(listing)?;
    // Where nothing was found there is no answer to print, only a reason to give. kcat does likewise.
    if let Some(Err(error)) = listed.first()
        && listed.iter().all(Result::is_err)
    {
        let reason =
            error.code().map_or_else(|| error.to_string(), |code| in_partition(&plan.queries[0], code));
        return Err(Failure::Told(format!("offsets_for_times failed: {reason}")));
    }
    let failed = listed.iter().any(Result::is_err);
    let mut answers = Vec::with_capacity(listed.len());
    for (query, answer) in plan.queries.iter().zip(listed) {
        let (offset, error) = match answer {
            Ok(listed) => (listed.offset.unwrap_or(-1), None),
            Err(error) => (-1, Some(error.code().map_or_else(|| error.to_string(), error_text))),
        };
        answers.push(OffsetAnswer { topic: query.topic.clone(), partition: query.partition, offset, error });
    }
    print(&if plan.json { metadata::offsets_json(&answers) + "\n" } else { metadata::offsets(&answers) })?;
    if failed { Err(Failure::AlreadyTold) } else { Ok(()) }
}

fn in_partition(query: &OffsetQuery, code: ErrorCode) -> String {
    format!("{} [{}]: {}", query.topic, query.partition, error_text(code))
}

/// `kcopy cluster describe`.
///
/// # Errors
/// No broker answers.
pub(super) fn describe_cluster(plan: &ClusterDescribe) -> Result<(), Failure> {
    let session = Session::new(&plan.common)?;
    let cluster = session.block_on(session.client.admin().describe_cluster())?;
    let shown = ClusterView {
        cluster_id: cluster.cluster_id,
        controller_id: cluster.controller_id,
        brokers: cluster.brokers.iter().map(|described| view::broker(&described.broker)).collect(),
    };
    print(&match plan.shape {
        Shape::Json => tables::cluster_describe_json(&shown),
        Shape::Table | Shape::Apache => tables::cluster_describe(&shown),
    })
}
