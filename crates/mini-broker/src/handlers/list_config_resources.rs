//! ListConfigResources (key 74), versions 0-1.
//!
//! - 0: ListClientMetricsResources (KIP-1000): client metrics only
//! - 1: topics, brokers, groups and client metrics (KIP-1142)

use kcopy_wire::{
    ErrorCode, Str,
    messages::{
        ListConfigResourcesRequest, ListConfigResourcesResponse,
        list_config_resources_response::ConfigResource,
    },
};

use super::{Context, describe_configs::resource_type};
use crate::cluster::Cluster;

const ALL: [i8; 5] = [
    resource_type::TOPIC,
    resource_type::BROKER,
    resource_type::BROKER_LOGGER,
    resource_type::CLIENT_METRICS,
    resource_type::GROUP,
];

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let wanted: Vec<i8> = match &request.resource_types[..] {
        _ if context.version == 0 => vec![resource_type::CLIENT_METRICS],
        [] => ALL.to_vec(),
        some => some.to_vec(),
    };
    if wanted.iter().any(|kind| !ALL.contains(kind)) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION,
            ..ListConfigResourcesResponse::default()
        };
    }
    let mut response = ListConfigResourcesResponse::default();
    for kind in ALL.into_iter().filter(|kind| wanted.contains(kind)) {
        let names: Vec<Str> = match kind {
            resource_type::TOPIC => cluster.topics.iter().map(|topic| topic.name.clone()).collect(),
            resource_type::BROKER | resource_type::BROKER_LOGGER => {
                cluster.online_nodes().map(|node| node.id.to_string().into()).collect()
            }
            resource_type::GROUP => cluster.group_properties.keys().map(Str::from).collect(),
            _ => cluster.client_metrics.keys().map(Str::from).collect(),
        };
        response.config_resources.extend(names.into_iter().map(|resource_name| ConfigResource {
            resource_name,
            resource_type: kind,
            ..ConfigResource::default()
        }));
    }
    response
}
