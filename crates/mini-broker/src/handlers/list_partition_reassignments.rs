//! ListPartitionReassignments (key 46), version 0.
//!
//! Replicas share their log, so a reassignment is never under way.

use kcopy_wire::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::Context;
use crate::cluster::Cluster;

pub(crate) fn handle(
    _: &mut Cluster,
    _: &Context,
    _: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse {
        error_message: None,
        ..ListPartitionReassignmentsResponse::default()
    }
}
