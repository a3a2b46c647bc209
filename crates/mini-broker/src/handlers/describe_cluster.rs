//! DescribeCluster (key 60), versions 0-2.
//!
//! - 1: endpoint types (KIP-919); only brokers' endpoints are known here
//! - 2: fenced brokers (KIP-1073)

use kcopy_wire::{
    ErrorCode,
    messages::{
        DescribeClusterRequest, DescribeClusterResponse, describe_cluster_response::DescribeClusterBroker,
    },
};

use super::{Context, metadata::ALL_CLUSTER_OPERATIONS};
use crate::cluster::{Cluster, Node};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) fn handle(
    cluster: &mut Cluster,
    _: &Context,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let failed = |error_code, message: &str| DescribeClusterResponse {
        error_code,
        error_message: Some(message.into()),
        endpoint_type: request.endpoint_type,
        ..DescribeClusterResponse::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of the wrong type.";
            return failed(ErrorCode::MISMATCHED_ENDPOINT_TYPE, message);
        }
        _ => {
            let message = "The endpoint type is not supported.";
            return failed(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, message);
        }
    }
    let shown = |node: &&Node| node.online || request.include_fenced_brokers;
    let brokers = cluster.nodes.values().filter(shown).map(|node| DescribeClusterBroker {
        broker_id: node.id,
        host: node.host.as_str().into(),
        port: i32::from(node.port),
        rack: node.rack.as_deref().map(Into::into),
        is_fenced: !node.online,
        ..DescribeClusterBroker::default()
    });
    let mut response = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: cluster.cluster_id.clone(),
        controller_id: cluster.controller_id,
        brokers: brokers.collect(),
        ..DescribeClusterResponse::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = ALL_CLUSTER_OPERATIONS;
    }
    response
}
