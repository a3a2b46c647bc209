//! Which versions a broker speaks.

use std::error::Error as _;

use bytes::Bytes;
use kcopy_wire::{
    ApiKey, ErrorCode, Message, Str,
    frame::{self, FrameError},
    messages::{ApiVersionsRequest, ApiVersionsResponse},
};

use super::{Connection, raw};
use crate::{
    context::FEATURE,
    error::{Error, ErrorKind, Result},
};

/// What a broker speaks, by API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiVersionRanges {
    /// By API key, ascending.
    ranges: Vec<(i16, i16, i16)>,
    /// Finalised features and their levels, such as `transaction.version`.
    features: Vec<(Str, i16)>,
}

/// Before anything is known.
pub(super) static NOTHING: ApiVersionRanges = ApiVersionRanges { ranges: Vec::new(), features: Vec::new() };

impl ApiVersionRanges {
    /// The lowest and the highest version of an API; None if the broker does not know it.
    pub fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        let at = self.ranges.binary_search_by_key(&(api as i16), |(key, _, _)| *key).ok()?;
        let (_, lowest, highest) = self.ranges[at];
        Some((lowest, highest))
    }

    /// The level of a finalised feature of the cluster (KIP-584).
    pub fn feature_level(&self, name: &str) -> Option<i16> {
        self.features.iter().find(|(feature, _)| *feature == name).map(|(_, level)| *level)
    }

    fn new(response: &ApiVersionsResponse) -> ApiVersionRanges {
        let mut ranges: Vec<_> =
            response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        ranges.sort_unstable();
        ranges.dedup_by_key(|(key, _, _)| *key);
        let features = response.finalized_features.iter();
        let features = features.map(|feature| (feature.name.detach(), feature.max_version_level)).collect();
        ApiVersionRanges { ranges, features }
    }
}

/// Asks in the newest version; a broker that does not know it answers in version 0 and names what it
/// knows (KIP-511), or nothing at all if it is older than that.
pub(super) async fn negotiate(connection: &Connection) -> Result<ApiVersionRanges> {
    let newest = *ApiVersionsRequest::VERSIONS.end();
    let request = ApiVersionsRequest {
        client_software_name: Str::from_static("kcopy"),
        client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
        ..Default::default()
    };
    let frame = raw(connection, &request, newest).await.map_err(explain)?;
    let response = if refuses_version(&frame) {
        let refusal = decode(connection, frame, 0)?;
        let known = refusal.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions as i16);
        let version = known.map_or(0, |api| api.max_version).clamp(0, newest);
        let frame = raw(connection, &request, version).await.map_err(explain)?;
        decode(connection, frame, version)?
    } else {
        decode(connection, frame, newest)?
    };
    if let Err(code) = response.error_code.into_result() {
        return Err(Error::broker(code)
            .with_api(ApiKey::ApiVersions, None)
            .with_broker(connection.broker_name()));
    }
    let ranges = ApiVersionRanges::new(&response);
    tracing::debug!(
        target: FEATURE,
        broker = %connection.address(),
        apis = ranges.ranges.len(),
        features = ?ranges.features,
        "what a broker speaks"
    );
    Ok(ranges)
}

/// The error code stands behind the correlation id in every version.
fn refuses_version(frame: &Bytes) -> bool {
    frame.get(4..6) == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes())
}

fn decode(connection: &Connection, frame: Bytes, version: i16) -> Result<ApiVersionsResponse> {
    match frame::decode_response::<ApiVersionsRequest>(frame, version) {
        Ok((_, response)) => Ok(response),
        Err(error) => {
            let error = explain(error.into())
                .with_api(ApiKey::ApiVersions, Some(version))
                .with_broker(connection.broker_name());
            connection.poison(error.clone());
            Err(error)
        }
    }
}

/// Brokers close the connection on what they do not expect, and say why only in their own log. Others answer in their
/// own way, which makes a strange frame.
fn explain(error: Error) -> Error {
    let frame_error = error.source().and_then(|source| source.downcast_ref::<FrameError>());
    let is_explained = frame_error.is_some_and(|error| error.other_protocol().is_some());
    match error.kind() {
        ErrorKind::Disconnected => error.prefixed(
            "the version negotiation failed; perhaps this is no Kafka broker, or one that expects TLS or SASL",
        ),
        // Lists of versions are short.
        ErrorKind::Protocol | ErrorKind::AnswerTooLarge if !is_explained => error
            .with_kind(ErrorKind::Protocol)
            .prefixed("the version negotiation failed; perhaps this is no Kafka broker"),
        _ => error,
    }
}
