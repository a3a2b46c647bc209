//! APIs that are understood and not served: groups with members, transactions, quotas and the like (`SKIPPED.md`).
//!
//! ApiVersions does not list them, so clients that look there fail by themselves. One that asks all the same gets the
//! API's own response with UNSUPPORTED_VERSION, which is what Apache Kafka says of an API that is switched off and what
//! clients take as final, and keeps its connection.
//!
//! What Apache Kafka refuses as well where there is neither an authorizer nor a secure listener is answered as there,
//! and listed.

mod items;

use kcopy_wire::{ErrorCode, Request, Str, messages::*};

use super::Context;
use crate::cluster::Cluster;

/// What responses say that have room for words.
const NOT_SERVED: Str =
    Str::from_static("this broker does not serve the API; its SKIPPED.md says what it leaves out");
const NO_AUTHORIZER: Str = Str::from_static("No Authorizer is configured.");
const AUTHENTICATED: Str =
    Str::from_static("SaslAuthenticate request received after successful authentication");

/// A request that can be answered with nothing but an error.
pub(crate) trait Refuse: Request {
    /// The response with this error, wherever it has room for one, and the message where it has room for words.
    fn refuse(&self, error_code: ErrorCode, message: Option<Str>) -> Self::Response;
}

/// Answers a request that is not served, and tells the owner of the cluster.
pub(super) fn answer<R: Refuse>(_: &mut Cluster, context: &Context, request: R) -> R::Response {
    tell(context, R::NAME);
    request.refuse(ErrorCode::UNSUPPORTED_VERSION, Some(NOT_SERVED))
}

/// Tells the owner of the cluster what a client wants and does not get.
pub(super) fn tell(context: &Context, request: &'static str) {
    tracing::warn!(
        request,
        version = context.version,
        client_id = context.client_id.as_deref().unwrap_or_default(),
        node_id = context.node_id,
        "not served"
    );
}

/// ACLs: there is no authorizer.
pub(super) fn no_authorizer<R: Refuse>(_: &mut Cluster, _: &Context, request: R) -> R::Response {
    request.refuse(ErrorCode::SECURITY_DISABLED, Some(NO_AUTHORIZER))
}

/// Delegation tokens: nobody may have one over a listener without authentication.
pub(super) fn not_over_plaintext<R: Refuse>(_: &mut Cluster, _: &Context, request: R) -> R::Response {
    request.refuse(ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, None)
}

/// SASL: a listener without authentication takes everybody for authenticated.
pub(super) fn authenticated<R: Refuse>(_: &mut Cluster, _: &Context, request: R) -> R::Response {
    request.refuse(ErrorCode::ILLEGAL_SASL_STATE, Some(AUTHENTICATED))
}

/// Responses with one error for the whole, with a message or without.
macro_rules! refuse_whole {
    (error_code: $($code:ident)*; error_code error_message: $($text:ident)*;) => {
        $(impl Refuse for $code {
            fn refuse(&self, error_code: ErrorCode, _: Option<Str>) -> Self::Response {
                let mut response = <Self::Response>::default();
                response.error_code = error_code;
                response
            }
        })*
        $(impl Refuse for $text {
            fn refuse(&self, error_code: ErrorCode, message: Option<Str>) -> Self::Response {
                let mut response = <Self::Response>::default();
                response.error_code = error_code;
                response.error_message = message;
                response
            }
        })*
    };
}

refuse_whole! {
    error_code:
        JoinGroupRequest SyncGroupRequest HeartbeatRequest LeaveGroupRequest SaslHandshakeRequest AddOffsetsToTxnRequest
        EndTxnRequest ListTransactionsRequest RenewDelegationTokenRequest ExpireDelegationTokenRequest
        DescribeDelegationTokenRequest GetTelemetrySubscriptionsRequest PushTelemetryRequest;
    error_code error_message:
        ConsumerGroupHeartbeatRequest ShareGroupHeartbeatRequest StreamsGroupHeartbeatRequest ShareFetchRequest
        ShareAcknowledgeRequest AlterShareGroupOffsetsRequest DeleteShareGroupOffsetsRequest
        StreamsGroupTopologyDescriptionUpdateRequest DescribeAclsRequest SaslAuthenticateRequest
        AlterPartitionReassignmentsRequest DescribeClientQuotasRequest DescribeUserScramCredentialsRequest
        UpdateFeaturesRequest;
}
