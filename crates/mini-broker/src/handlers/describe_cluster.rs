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
    let failed = |error_code, message: String| DescribeClusterResponse {
        error_code,
        error_message: Some(message.into()),
        ..DescribeClusterResponse::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            return failed(ErrorCode::MISMATCHED_ENDPOINT_TYPE, message.into());
        }
        other => {
            let message = format!("Unsupported endpoint type {other}");
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
