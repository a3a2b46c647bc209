//! FindCoordinator (key 10), versions 0-6.
//!
//! Coordinators of groups and of transactional ids are spread over the brokers as the partitions of Kafka's internal
//! topics would be.
//!
//! - 1: key types, error messages
//! - 4: several keys (KIP-699)
//! - 6: share groups (KIP-932), which are not served

use kcopy_wire::{
    ErrorCode, Str,
    messages::{FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator},
};

use super::Context;
use crate::cluster::Cluster;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if context.version >= 4 {
        let find = |key: &Str| find(cluster, key, request.key_type);
        return FindCoordinatorResponse {
            coordinators: request.coordinator_keys.iter().map(find).collect(),
            ..FindCoordinatorResponse::default()
        };
    }
    let found = find(cluster, &request.key, request.key_type);
    FindCoordinatorResponse {
        error_code: found.error_code,
        // Kafka writes the error's name here even if there is none; the form with several keys leaves it empty.
        error_message: Some(match found.error_message.as_deref() {
            None | Some("") if found.error_code.is_ok() => "NONE".into(),
            message => message.unwrap_or_default().into(),
        }),
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

fn find(cluster: &Cluster, key: &Str, key_type: i8) -> Coordinator {
    let failed = |error_code, message: Option<&str>| Coordinator {
        key: key.clone(),
        error_code,
        error_message: Some(message.unwrap_or_default().into()),
        node_id: -1,
        port: -1,
        ..Coordinator::default()
    };
    if !matches!(key_type, GROUP | TRANSACTION) {
        return failed(
            ErrorCode::INVALID_REQUEST,
            Some("this broker coordinates groups and transactions only"),
        );
    }
    let node = cluster.coordinator(key).and_then(|id| cluster.nodes.get(&id));
    match node {
        None => failed(ErrorCode::COORDINATOR_NOT_AVAILABLE, None),
        Some(node) => Coordinator {
            key: key.clone(),
            node_id: node.id,
            host: node.host.as_str().into(),
            port: i32::from(node.port),
            error_message: Some(Str::default()),
            ..Coordinator::default()
        },
    }
}
