//! DeleteTopics (key 20), versions 1-6.
//!
//! - 4: flexible
//! - 5: error messages
//! - 6: topics by id

use std::collections::{BTreeMap, BTreeSet};

use kcopy_wire::{
    ErrorCode, Str, Uuid,
    messages::{DeleteTopicsRequest, DeleteTopicsResponse, delete_topics_response::DeletableTopicResult},
};

use super::Context;
use crate::cluster::{Cluster, Refused};

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let wanted: Vec<(Option<Str>, Uuid)> = if context.version >= 6 {
        request.topics.into_iter().map(|topic| (topic.name, topic.topic_id)).collect()
    } else {
        request.topic_names.into_iter().map(|name| (Some(name), Uuid::ZERO)).collect()
    };
    // Whatever is named twice, also once by name and once by id, is not deleted at all.
    let target = |(name, id): &(Option<Str>, Uuid)| match name {
        Some(name) => Ok(name.clone()),
        None => cluster.topics.name_of(id).cloned().ok_or(*id),
    };
    let mut counts = BTreeMap::new();
    for topic in &wanted {
        *counts.entry(target(topic)).or_insert(0) += 1;
    }
    let targets: Vec<_> = wanted.iter().map(target).collect();
    let mut refused = BTreeSet::new();
    let mut response = DeleteTopicsResponse::default();
    for ((name, id), target) in wanted.into_iter().zip(targets) {
        let repeated = counts.get(&target).is_some_and(|count| *count > 1);
        if repeated && !refused.insert(target) {
            continue;
        }
        let deleted = if repeated {
            Err(Refused::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."))
        } else {
            delete(cluster, name.as_ref(), id)
        };
        let mut answer = DeletableTopicResult { name, topic_id: id, ..DeletableTopicResult::default() };
        match deleted {
            Ok((name, id)) => (answer.name, answer.topic_id) = (Some(name), id),
            Err(refused) => {
                answer.error_code = refused.error;
                answer.error_message = Some(refused.message.into());
            }
        }
        response.responses.push(answer);
    }
    response
}

fn delete(cluster: &mut Cluster, name: Option<&Str>, id: Uuid) -> Result<(Str, Uuid), Refused> {
    let unknown = |error| Refused::new(error, "This server does not host this topic-partition.");
    let name = match name {
        Some(_) if !id.is_zero() => {
            let message = "You may not specify both topic name and topic id.";
            return Err(Refused::new(ErrorCode::INVALID_REQUEST, message));
        }
        Some(name) => name.clone(),
        None if id.is_zero() => {
            let message = "Neither topic name nor id were specified.";
            return Err(Refused::new(ErrorCode::INVALID_REQUEST, message));
        }
        None => match cluster.topics.name_of(&id) {
            Some(name) => name.clone(),
            None => {
                return Err(Refused::new(
                    ErrorCode::UNKNOWN_TOPIC_ID,
                    "This server does not host this topic ID.",
                ));
            }
        },
    };
    if !cluster.configs.boolean("delete.topic.enable") {
        return Err(Refused::new(ErrorCode::TOPIC_DELETION_DISABLED, "Topic deletion is disabled."));
    }
    let found = cluster.topics.get(&name);
    let id = found.ok_or_else(|| unknown(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?.id;
    cluster.delete_topic(&name);
    Ok((name, id))
}
