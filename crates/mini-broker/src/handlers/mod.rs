//! The APIs, one file each: `(cluster, context, request) -> outcome`, without I/O and without waiting.
//!
//! The table at the end of this file is what the broker speaks; what ApiVersions advertises follows from it.

mod alter_configs;
pub(crate) mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod elect_leaders;
pub(crate) mod fetch;
mod find_coordinator;
mod groups;
mod init_producer_id;
mod list_config_resources;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offset_for_leader_epoch;
pub(crate) mod produce;
mod refuse;
mod unserved;

use std::ops::RangeInclusive;

use kcopy_wire::{
    ApiKey, DecodeError, EncodeError, ErrorCode, Message, Reader, Str,
    frame::{Frame, encode_response},
    messages,
};

pub(crate) use self::refuse::refuse;
use self::unserved::Refuse as _;
use crate::cluster::Cluster;

/// Who sent a request, and how.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) node_id: i32,
    pub(crate) connection_id: u64,
    pub(crate) version: i16,
    pub(crate) client_id: Option<Str>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Reply(ResponseBody),
    /// The rest is work for the connection's task, not for the one that owns the state.
    Finish(Finish),
    /// Answered when there is data, or when time is up.
    Park(Box<fetch::Plan>),
    /// Records to be validated by the connection's task, which then asks for the append.
    Validate(Box<produce::Validation>),
    /// No answer is wanted.
    Silent,
    /// The connection cannot go on.
    Close(&'static str),
}

/// Completes a response away from the state.
pub(crate) struct Finish(pub(crate) Box<dyn FnOnce() -> ResponseBody + Send>);

impl std::fmt::Debug for Finish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Finish")
    }
}

/// An API in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    pub(crate) key: ApiKey,
    pub(crate) min_version: i16,
    pub(crate) max_version: i16,
    /// The least version in ApiVersions; `None` keeps the API out of it.
    pub(crate) advertised_from: Option<i16>,
}

/// ApiVersions names all versions of such an API.
const fn listed(versions: RangeInclusive<i16>) -> Option<i16> {
    Some(*versions.start())
}

/// ApiVersions does not name such an API.
const fn unlisted(_: RangeInclusive<i16>) -> Option<i16> {
    None
}

macro_rules! serve {
    (
        served {$(
            $api:ident $request:ident $response:ident $min:literal - $max:literal $advertised:expr => $handle:path;
        )*}
        unserved {$(
            $unserved:ident $unserved_request:ident $unserved_response:ident $listed:ident => $refuse:path;
        )*}
    ) => {
        /// A request of any API.
        #[derive(Clone, Debug)]
        pub(crate) enum RequestBody {
            $($api(messages::$request),)*
            $($unserved(messages::$unserved_request),)*
        }

        /// A response of any API.
        #[derive(Clone, Debug)]
        pub(crate) enum ResponseBody {
            $($api(messages::$response),)*
            $($unserved(Box<messages::$unserved_response>),)*
        }

        /// What the broker speaks.
        pub(crate) static TABLE: &[Served] = &[
            $(Served {
                key: ApiKey::$api,
                min_version: $min,
                max_version: $max,
                advertised_from: $advertised,
            },)*
            $(Served {
                key: ApiKey::$unserved,
                min_version: *messages::$unserved_request::VERSIONS.start(),
                max_version: *messages::$unserved_request::VERSIONS.end(),
                advertised_from: $listed(messages::$unserved_request::VERSIONS),
            },)*
        ];

        impl RequestBody {
            pub(crate) fn api_key(&self) -> ApiKey {
                match self {
                    $(Self::$api(_) => ApiKey::$api,)*
                    $(Self::$unserved(_) => ApiKey::$unserved,)*
                }
            }

            /// Reads a request of an API in the table; bytes behind it are ignored, as Kafka does.
            pub(crate) fn decode(key: ApiKey, version: i16, reader: &mut Reader) -> Option<Result<Self, DecodeError>> {
                match key {
                    $(ApiKey::$api => Some(messages::$request::decode(reader, version).map(Self::$api)),)*
                    $(ApiKey::$unserved => {
                        Some(messages::$unserved_request::decode(reader, version).map(Self::$unserved))
                    })*
                    _ => None,
                }
            }

            /// The response to a request that is not served, with an error; `None` for one that is.
            fn refuse_unserved(&self, error: ErrorCode) -> Option<ResponseBody> {
                match self {
                    $(Self::$unserved(request) => Some(ResponseBody::$unserved(Box::new(request.refuse(error, None)))),)*
                    _ => None,
                }
            }
        }

        impl ResponseBody {
            pub(crate) fn encode(&self, version: i16, correlation_id: i32) -> Result<Frame, EncodeError> {
                match self {
                    $(Self::$api(response) => {
                        encode_response::<messages::$request>(response, version, correlation_id)
                    })*
                    $(Self::$unserved(response) => {
                        encode_response::<messages::$unserved_request>(response, version, correlation_id)
                    })*
                }
            }
        }

        $(impl From<messages::$response> for Outcome {
            fn from(response: messages::$response) -> Self {
                Outcome::Reply(ResponseBody::$api(response))
            }
        })*

        $(impl From<messages::$unserved_response> for Outcome {
            fn from(response: messages::$unserved_response) -> Self {
                Outcome::Reply(ResponseBody::$unserved(Box::new(response)))
            }
        })*

        /// Hands a request to its API.
        pub(crate) fn dispatch(cluster: &mut Cluster, context: &Context, request: RequestBody) -> Outcome {
            match request {
                $(RequestBody::$api(request) => $handle(cluster, context, request).into(),)*
                $(RequestBody::$unserved(request) => $refuse(cluster, context, request).into(),)*
            }
        }
    };
}

// Produce is advertised from 0 on: librdkafka before 2.11.1 turns compression off otherwise (KAFKA-18659).
serve! {
    served {
        Produce ProduceRequest ProduceResponse 3 - 13 Some(0) => produce::handle;
        Fetch FetchRequest FetchResponse 4 - 18 Some(4) => fetch::handle;
        ListOffsets ListOffsetsRequest ListOffsetsResponse 1 - 11 Some(1) => list_offsets::handle;
        OffsetCommit OffsetCommitRequest OffsetCommitResponse 2 - 10 Some(2) => offset_commit::handle;
        OffsetFetch OffsetFetchRequest OffsetFetchResponse 1 - 10 Some(1) => offset_fetch::handle;
        FindCoordinator FindCoordinatorRequest FindCoordinatorResponse 0 - 6 Some(0) => find_coordinator::handle;
        CreateTopics CreateTopicsRequest CreateTopicsResponse 2 - 7 Some(2) => create_topics::handle;
        DeleteTopics DeleteTopicsRequest DeleteTopicsResponse 1 - 6 Some(1) => delete_topics::handle;
        InitProducerId InitProducerIdRequest InitProducerIdResponse 0 - 5 Some(0) => init_producer_id::handle;
        OffsetForLeaderEpoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse 2 - 4 Some(2)
            => offset_for_leader_epoch::handle;
        DescribeGroups DescribeGroupsRequest DescribeGroupsResponse 0 - 6 Some(0) => groups::describe;
        ListGroups ListGroupsRequest ListGroupsResponse 0 - 5 Some(0) => groups::list;
        DeleteRecords DeleteRecordsRequest DeleteRecordsResponse 0 - 2 Some(0) => delete_records::handle;
        DescribeConfigs DescribeConfigsRequest DescribeConfigsResponse 1 - 4 Some(1) => describe_configs::handle;
        AlterConfigs AlterConfigsRequest AlterConfigsResponse 0 - 2 Some(0) => alter_configs::handle;
        DescribeLogDirs DescribeLogDirsRequest DescribeLogDirsResponse 1 - 5 Some(1) => describe_log_dirs::handle;
        CreatePartitions CreatePartitionsRequest CreatePartitionsResponse 0 - 3 Some(0) => create_partitions::handle;
        DeleteGroups DeleteGroupsRequest DeleteGroupsResponse 0 - 3 Some(0) => groups::delete;
        ElectLeaders ElectLeadersRequest ElectLeadersResponse 0 - 2 Some(0) => elect_leaders::handle;
        IncrementalAlterConfigs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse 0 - 1 Some(0) => alter_configs::handle_incremental;
        ListPartitionReassignments ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse 0 - 0 Some(0) => list_partition_reassignments::handle;
        OffsetDelete OffsetDeleteRequest OffsetDeleteResponse 0 - 0 Some(0) => groups::delete_offsets;
        DescribeCluster DescribeClusterRequest DescribeClusterResponse 0 - 2 Some(0) => describe_cluster::handle;
        DescribeProducers DescribeProducersRequest DescribeProducersResponse 0 - 0 Some(0) => describe_producers::handle;
        ListConfigResources ListConfigResourcesRequest ListConfigResourcesResponse 0 - 1 Some(0) => list_config_resources::handle;
        DescribeTopicPartitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse 0 - 0 Some(0) => describe_topic_partitions::handle;
        DescribeQuorum DescribeQuorumRequest DescribeQuorumResponse 0 - 2 Some(0) => describe_quorum::handle;
        Metadata MetadataRequest MetadataResponse 0 - 13 Some(0) => metadata::handle;
        ApiVersions ApiVersionsRequest ApiVersionsResponse 0 - 5 Some(0) => api_versions::handle;
    }
    unserved {
        SaslHandshake SaslHandshakeRequest SaslHandshakeResponse listed => unserved::authenticated;
        SaslAuthenticate SaslAuthenticateRequest SaslAuthenticateResponse listed => unserved::authenticated;
        DescribeAcls DescribeAclsRequest DescribeAclsResponse listed => unserved::no_authorizer;
        CreateAcls CreateAclsRequest CreateAclsResponse listed => unserved::no_authorizer;
        DeleteAcls DeleteAclsRequest DeleteAclsResponse listed => unserved::no_authorizer;
        CreateDelegationToken CreateDelegationTokenRequest CreateDelegationTokenResponse listed => unserved::not_over_plaintext;
        RenewDelegationToken RenewDelegationTokenRequest RenewDelegationTokenResponse listed => unserved::not_over_plaintext;
        ExpireDelegationToken ExpireDelegationTokenRequest ExpireDelegationTokenResponse listed => unserved::not_over_plaintext;
        DescribeDelegationToken DescribeDelegationTokenRequest DescribeDelegationTokenResponse listed => unserved::not_over_plaintext;
        JoinGroup JoinGroupRequest JoinGroupResponse unlisted => unserved::answer;
        SyncGroup SyncGroupRequest SyncGroupResponse unlisted => unserved::answer;
        Heartbeat HeartbeatRequest HeartbeatResponse unlisted => unserved::answer;
        LeaveGroup LeaveGroupRequest LeaveGroupResponse unlisted => unserved::answer;
        ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse unlisted => unserved::answer;
        ConsumerGroupDescribe ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse unlisted => unserved::answer;
        ShareGroupHeartbeat ShareGroupHeartbeatRequest ShareGroupHeartbeatResponse unlisted => unserved::answer;
        ShareGroupDescribe ShareGroupDescribeRequest ShareGroupDescribeResponse unlisted => unserved::answer;
        ShareFetch ShareFetchRequest ShareFetchResponse unlisted => unserved::answer;
        ShareAcknowledge ShareAcknowledgeRequest ShareAcknowledgeResponse unlisted => unserved::answer;
        DescribeShareGroupOffsets DescribeShareGroupOffsetsRequest DescribeShareGroupOffsetsResponse unlisted => unserved::answer;
        AlterShareGroupOffsets AlterShareGroupOffsetsRequest AlterShareGroupOffsetsResponse unlisted => unserved::answer;
        DeleteShareGroupOffsets DeleteShareGroupOffsetsRequest DeleteShareGroupOffsetsResponse unlisted => unserved::answer;
        StreamsGroupHeartbeat StreamsGroupHeartbeatRequest StreamsGroupHeartbeatResponse unlisted => unserved::answer;
        StreamsGroupDescribe StreamsGroupDescribeRequest StreamsGroupDescribeResponse unlisted => unserved::answer;
        StreamsGroupTopologyDescriptionUpdate StreamsGroupTopologyDescriptionUpdateRequest StreamsGroupTopologyDescriptionUpdateResponse unlisted => unserved::answer;
        AddPartitionsToTxn AddPartitionsToTxnRequest AddPartitionsToTxnResponse unlisted => unserved::answer;
        AddOffsetsToTxn AddOffsetsToTxnRequest AddOffsetsToTxnResponse unlisted => unserved::answer;
        EndTxn EndTxnRequest EndTxnResponse unlisted => unserved::answer;
        WriteTxnMarkers WriteTxnMarkersRequest WriteTxnMarkersResponse unlisted => unserved::answer;
        TxnOffsetCommit TxnOffsetCommitRequest TxnOffsetCommitResponse unlisted => unserved::answer;
        DescribeTransactions DescribeTransactionsRequest DescribeTransactionsResponse unlisted => unserved::answer;
        ListTransactions ListTransactionsRequest ListTransactionsResponse unlisted => unserved::answer;
        AlterPartitionReassignments AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse unlisted => unserved::answer;
        AlterReplicaLogDirs AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse unlisted => unserved::answer;
        DescribeClientQuotas DescribeClientQuotasRequest DescribeClientQuotasResponse unlisted => unserved::answer;
        AlterClientQuotas AlterClientQuotasRequest AlterClientQuotasResponse unlisted => unserved::answer;
        DescribeUserScramCredentials DescribeUserScramCredentialsRequest DescribeUserScramCredentialsResponse unlisted => unserved::answer;
        AlterUserScramCredentials AlterUserScramCredentialsRequest AlterUserScramCredentialsResponse unlisted => unserved::answer;
        UpdateFeatures UpdateFeaturesRequest UpdateFeaturesResponse unlisted => unserved::answer;
        GetTelemetrySubscriptions GetTelemetrySubscriptionsRequest GetTelemetrySubscriptionsResponse unlisted => unserved::answer;
        PushTelemetry PushTelemetryRequest PushTelemetryResponse unlisted => unserved::answer;
    }
}

/// The table's entry for an API.
pub(crate) fn served(key: ApiKey) -> Option<&'static Served> {
    TABLE.iter().find(|served| served.key == key)
}
