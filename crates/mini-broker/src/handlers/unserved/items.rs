//! Responses with an error for every thing that was asked for.

use kcopy_wire::{
    ErrorCode, Str,
    messages::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AlterClientQuotasRequest,
        AlterClientQuotasResponse, AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
        AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, ConsumerGroupDescribeRequest,
        CreateAclsRequest, CreateAclsResponse, CreateDelegationTokenRequest, CreateDelegationTokenResponse,
        DeleteAclsRequest, DeleteAclsResponse, DescribeShareGroupOffsetsRequest,
        DescribeShareGroupOffsetsResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
        ShareGroupDescribeRequest, StreamsGroupDescribeRequest, TxnOffsetCommitRequest,
        TxnOffsetCommitResponse, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
        add_partitions_to_txn_response::{AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult},
        alter_client_quotas_response,
        alter_replica_log_dirs_response::{AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult},
        alter_user_scram_credentials_response::AlterUserScramCredentialsResult,
        create_acls_response::AclCreationResult,
        delete_acls_response::DeleteAclsFilterResult,
        describe_share_group_offsets_response::DescribeShareGroupOffsetsResponseGroup,
        describe_transactions_response::TransactionState,
        txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic},
        write_txn_markers_response::{
            WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
        },
    },
};

use super::Refuse;

/// A result for every item.
fn each<T, R>(items: &[T], result: impl Fn(&T) -> R) -> Vec<R> {
    items.iter().map(result).collect()
}

impl Refuse for AddPartitionsToTxnRequest {
    fn refuse(&self, error_code: ErrorCode, _: Option<Str>) -> AddPartitionsToTxnResponse {
        AddPartitionsToTxnResponse {
            // Versions from 4 on have this, those before the results; either kind is left out where it does not belong.
            error_code,
            results_by_topic_v3_and_below: each(&self.v3_and_below_topics, |topic| {
                AddPartitionsToTxnTopicResult {
                    name: topic.name.clone(),
                    results_by_partition: each(&topic.partitions, |partition| {
                        AddPartitionsToTxnPartitionResult {
                            partition_index: *partition,
                            partition_error_code: error_code.0,
                            ..Default::default()
                        }
                    }),
                    ..Default::default()
                }
            }),
            ..Default::default()
        }
    }
}

impl Refuse for WriteTxnMarkersRequest {
    fn refuse(&self, error_code: ErrorCode, _: Option<Str>) -> WriteTxnMarkersResponse {
        let partition = |index: &i32| WritableTxnMarkerPartitionResult {
            partition_index: *index,
            error_code,
            ..Default::default()
        };
        let markers = each(&self.markers, |marker| WritableTxnMarkerResult {
            producer_id: marker.producer_id,
            topics: each(&marker.topics, |topic| WritableTxnMarkerTopicResult {
                name: topic.name.clone(),
                partitions: each(&topic.partition_indexes, partition),
                ..Default::default()
            }),
            ..Default::default()
        });
        WriteTxnMarkersResponse { markers, ..Default::default() }
    }
}

impl Refuse for TxnOffsetCommitRequest {
    fn refuse(&self, error_code: ErrorCode, _: Option<Str>) -> TxnOffsetCommitResponse {
        let topics = each(&self.topics, |topic| TxnOffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: each(&topic.partitions, |partition| TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code,
                ..Default::default()
            }),
            ..Default::default()
        });
        TxnOffsetCommitResponse { topics, ..Default::default() }
    }
}

impl Refuse for DescribeTransactionsRequest {
    fn refuse(&self, error_code: ErrorCode, _: Option<Str>) -> DescribeTransactionsResponse {
        let transaction_states = each(&self.transactional_ids, |transactional_id| TransactionState {
            error_code,
            transactional_id: transactional_id.clone(),
            ..Default::default()
        });
        DescribeTransactionsResponse { transaction_states, ..Default::default() }
    }
}

/// The APIs that describe groups of the newer kinds look alike.
macro_rules! refuse_groups {
    ($($request:ident $described:ident)*) => {
        $(impl Refuse for $request {
            fn refuse(&self, error_code: ErrorCode, error_message: Option<Str>) -> Self::Response {
                let mut response = <Self::Response>::default();
                response.groups = each(&self.group_ids, |group_id| {
                    kcopy_wire::messages::$described::DescribedGroup {
                        error_code,
                        error_message: error_message.clone(),
                        group_id: group_id.clone(),
                        ..Default::default()
                    }
                });
                response
            }
        })*
    };
}

refuse_groups! {
    ConsumerGroupDescribeRequest consumer_group_describe_response
    ShareGroupDescribeRequest share_group_describe_response
    StreamsGroupDescribeRequest streams_group_describe_response
}

impl Refuse for DescribeShareGroupOffsetsRequest {
    fn refuse(&self, error_code: ErrorCode, error_message: Option<Str>) -> DescribeShareGroupOffsetsResponse {
        let groups = each(&self.groups, |group| DescribeShareGroupOffsetsResponseGroup {
            group_id: group.group_id.clone(),
            error_code,
            error_message: error_message.clone(),
            ..Default::default()
        });
        DescribeShareGroupOffsetsResponse { groups, ..Default::default() }
    }
}

impl Refuse for CreateAclsRequest {
    fn refuse(&self, error_code: ErrorCode, error_message: Option<Str>) -> CreateAclsResponse {
        let results = each(&self.creations, |_| AclCreationResult {
            error_code,
            error_message: error_message.clone(),
            ..Default::default()
        });
        CreateAclsResponse { results, ..Default::default() }
    }
}

impl Refuse for DeleteAclsRequest {
    fn refuse(&self, error_code: ErrorCode, error_message: Option<Str>) -> DeleteAclsResponse {
        let filter_results = each(&self.filters, |_| DeleteAclsFilterResult {
            error_code,
            error_message: error_message.clone(),
            ..Default::default()
        });
        DeleteAclsResponse { filter_results, ..Default::default() }
    }
}

impl Refuse for CreateDelegationTokenRequest {
    fn refuse(&self, error_code: ErrorCode, _: Option<Str>) -> CreateDelegationTokenResponse {
        let user = Str::from_static("User");
        let anonymous = Str::from_static("ANONYMOUS");
        // The names came with version 3.
        let owner = |given: &Option<Str>, default: &Str| {
            given.clone().filter(|given| !given.is_empty()).unwrap_or_else(|| default.clone())
        };
        CreateDelegationTokenResponse {
            error_code,
            principal_type: owner(&self.owner_principal_type, &user),
            principal_name: owner(&self.owner_principal_name, &anonymous),
            issue_timestamp_ms: -1,
            expiry_timestamp_ms: -1,
            max_timestamp_ms: -1,
            ..Default::default()
        }
    }
}

impl Refuse for AlterReplicaLogDirsRequest {
    fn refuse(&self, error_code: ErrorCode, _: Option<Str>) -> AlterReplicaLogDirsResponse {
        let topics = self.dirs.iter().flat_map(|dir| &dir.topics);
        let results = topics.map(|topic| AlterReplicaLogDirTopicResult {
            topic_name: topic.name.clone(),
            partitions: each(&topic.partitions, |partition| AlterReplicaLogDirPartitionResult {
                partition_index: *partition,
                error_code,
                ..Default::default()
            }),
            ..Default::default()
        });
        AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() }
    }
}

impl Refuse for AlterClientQuotasRequest {
    fn refuse(&self, error_code: ErrorCode, error_message: Option<Str>) -> AlterClientQuotasResponse {
        let entries = each(&self.entries, |entry| alter_client_quotas_response::EntryData {
            error_code,
            error_message: error_message.clone(),
            entity: each(&entry.entity, |entity| alter_client_quotas_response::EntityData {
                entity_type: entity.entity_type.clone(),
                entity_name: entity.entity_name.clone(),
                ..Default::default()
            }),
            ..Default::default()
        });
        AlterClientQuotasResponse { entries, ..Default::default() }
    }
}

impl Refuse for AlterUserScramCredentialsRequest {
    fn refuse(&self, error_code: ErrorCode, error_message: Option<Str>) -> AlterUserScramCredentialsResponse {
        let deleted = self.deletions.iter().map(|deletion| &deletion.name);
        let users = deleted.chain(self.upsertions.iter().map(|upsertion| &upsertion.name));
        let results = users.map(|user| AlterUserScramCredentialsResult {
            user: user.clone(),
            error_code,
            error_message: error_message.clone(),
            ..Default::default()
        });
        AlterUserScramCredentialsResponse { results: results.collect(), ..Default::default() }
    }
}
