//! ApiVersions (key 18), versions 0-5.
//!
//! Lists what the table of handlers serves. A version that is not known is answered with version 0 and
//! UNSUPPORTED_VERSION (KIP-511); that happens where frames are read, for such a request cannot be decoded.
//!
//! - 3: client software name and version are checked; features
//! - 4: features whose minimum is 0 (KAFKA-17011)
//! - 5: the cluster and node that the client expects (KIP-1242)

use kcopy_wire::{
    ApiKey, ErrorCode,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse,
        api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
    },
};

use super::{Context, TABLE};
use crate::cluster::Cluster;

/// Features of Apache Kafka 4.4: name, lowest and highest level, the level in use.
static FEATURES: &[(&str, i16, i16, i16)] = &[
    ("eligible.leader.replicas.version", 0, 1, 1),
    ("group.version", 0, 1, 1),
    ("kraft.version", 0, 1, 0),
    ("metadata.version", 7, 33, 33),
    ("share.version", 0, 2, 2),
    ("streams.version", 0, 1, 1),
    ("transaction.version", 0, 2, 2),
];

pub(crate) fn handle(
    cluster: &mut Cluster,
    context: &Context,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    let named = |text: &str| {
        let edge = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
        let inner = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
        edge(text.chars().next()) && edge(text.chars().last()) && text.chars().all(inner)
    };
    if context.version >= 3
        && !(named(&request.client_software_name) && named(&request.client_software_version))
    {
        return failed(ErrorCode::INVALID_REQUEST);
    }
    if let Err(error) = check_expectation(cluster, context, &request) {
        return failed(error);
    }
    // A minimum of 0 was not understood before version 4.
    let supported = FEATURES.iter().filter(|(_, min, _, _)| context.version >= 4 || *min > 0);
    ApiVersionsResponse {
        api_keys: api_keys(),
        supported_features: supported
            .map(|(name, min_version, max_version, _)| SupportedFeatureKey {
                name: (*name).into(),
                min_version: *min_version,
                max_version: *max_version,
                ..SupportedFeatureKey::default()
            })
            .collect(),
        finalized_features_epoch: 1,
        finalized_features: FEATURES
            .iter()
            .filter(|(_, _, _, level)| *level > 0)
            .map(|(name, _, _, level)| FinalizedFeatureKey {
                name: (*name).into(),
                max_version_level: *level,
                min_version_level: *level,
                ..FinalizedFeatureKey::default()
            })
            .collect(),
        ..ApiVersionsResponse::default()
    }
}

fn failed(error_code: ErrorCode) -> ApiVersionsResponse {
    ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() }
}

/// A client may say whom it expects to talk to, with cluster and node, or not at all.
fn check_expectation(
    cluster: &Cluster,
    context: &Context,
    request: &ApiVersionsRequest,
) -> Result<(), ErrorCode> {
    match (request.cluster_id.as_ref(), request.node_id) {
        (None, -1) => Ok(()),
        (None, _) | (Some(_), -1) => Err(ErrorCode::INVALID_REQUEST),
        (Some(cluster_id), node_id) if *cluster_id == cluster.cluster_id && node_id == context.node_id => {
            Ok(())
        }
        _ => Err(ErrorCode::REBOOTSTRAP_REQUIRED),
    }
}

/// The answer to a version that is not known; to be sent as version 0.
pub(crate) fn unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        // Only what the client needs to try again.
        api_keys: api_keys().into_iter().filter(|api| api.api_key == ApiKey::ApiVersions as i16).collect(),
        ..ApiVersionsResponse::default()
    }
}

fn api_keys() -> Vec<ApiVersion> {
    let mut keys: Vec<ApiVersion> = TABLE
        .iter()
        .filter_map(|served| {
            Some(ApiVersion {
                api_key: served.key as i16,
                min_version: served.advertised_from?,
                max_version: served.max_version,
                ..ApiVersion::default()
            })
        })
        .collect();
    keys.sort_by_key(|api| api.api_key);
    keys
}
