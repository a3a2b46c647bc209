//! DeleteTopics (key 20), versions 1-6.
//!
//! - 4: flexible
//! - 5: error messages
//! - 6: topics by id

use std::collections::BTreeSet;

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
    let mut seen = BTreeSet::new();
    let mut response = DeleteTopicsResponse::default();
    for (name, id) in wanted {
        let repeated = !seen.insert((name.clone(), id));
        let deleted = if repeated {
            Err(Refused::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name or id."))
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
            let message = "Topic name and id are mutually exclusive.";
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
