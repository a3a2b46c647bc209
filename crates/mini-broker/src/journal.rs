//! What the brokers were asked.

use std::collections::{BTreeMap, VecDeque};

use kcopy_wire::ApiKey;

use crate::handlers::Context;

/// Requests that are remembered one by one; older ones are only counted.
const REMEMBERED: usize = 65_536;

/// A request that a broker has received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenRequest {
    /// The broker.
    pub node_id: i32,
    /// A number of the connection, unique in the cluster.
    pub connection_id: u64,
    /// The API.
    pub api: ApiKey,
    /// The version of the API.
    pub version: i16,
    /// Who the client says it is.
    pub client_id: Option<String>,
    /// When, in milliseconds since 1970, by the cluster's clock.
    pub at_ms: i64,
}

/// The requests so far.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    recent: VecDeque<SeenRequest>,
    counts: BTreeMap<i16, u64>,
}

impl Journal {
    pub(crate) fn record(&mut self, context: &Context, api: ApiKey, at_ms: i64) {
        *self.counts.entry(api as i16).or_default() += 1;
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(SeenRequest {
            node_id: context.node_id,
            connection_id: context.connection_id,
            api,
            version: context.version,
            client_id: context.client_id.as_deref().map(str::to_owned),
            at_ms,
        });
    }

    pub(crate) fn count(&self, api: ApiKey) -> u64 {
        self.counts.get(&(api as i16)).copied().unwrap_or_default()
    }

    pub(crate) fn recent(&self) -> Vec<SeenRequest> {
        self.recent.iter().cloned().collect()
    }
}
