//! Who coordinates a group or a transactional id.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kcopy_wire::{
    ApiKey, Str,
    messages::{FindCoordinatorRequest, FindCoordinatorResponse},
};

use super::Client;
use crate::{
    config::HostPort,
    error::{Error, Result},
};

/// What a coordinator coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CoordinatorKind {
    /// A consumer group.
    Group,
    /// A transactional id.
    Transaction,
}

impl CoordinatorKind {
    fn number(self) -> i8 {
        match self {
            CoordinatorKind::Group => 0,
            CoordinatorKind::Transaction => 1,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Coordinators(Mutex<HashMap<(CoordinatorKind, String), HostPort>>);

impl Client {
    /// Where the coordinator is; asks any broker unless it is known. One attempt.
    pub(super) async fn coordinator(&self, kind: CoordinatorKind, key: &str) -> Result<HostPort> {
        let known = |client: &Client| {
            let coordinators = client.0.coordinators.0.lock().unwrap_or_else(PoisonError::into_inner);
            coordinators.get(&(kind, key.to_owned())).cloned()
        };
        if let Some(address) = known(self) {
            return Ok(address);
        }
        let connection = self.any_connection().await?;
        let version = connection.version_of::<FindCoordinatorRequest>()?;
        // From version 4 on one request can ask for many keys (KIP-699).
        let (single, many) = match version {
            ..=3 => (Str::from(key), Vec::new()),
            _ => (Str::default(), vec![Str::from(key)]),
        };
        let request = FindCoordinatorRequest {
            key: single,
            key_type: kind.number(),
            coordinator_keys: many,
            ..Default::default()
        };
        let timeout = self.0.config.request_timeout;
        let response = connection.send(&request, version, timeout).await?.await?;
        let address = address(&response, version).map_err(|error| {
            let error = error.with_api(ApiKey::FindCoordinator, Some(version));
            let error = error.with_broker(connection.broker_name());
            if kind == CoordinatorKind::Group { error.with_group(key) } else { error }
        })?;
        let mut coordinators = self.0.coordinators.0.lock().unwrap_or_else(PoisonError::into_inner);
        coordinators.insert((kind, key.to_owned()), address.clone());
        Ok(address)
    }

    /// Coordinators have moved: they are looked up again.
    pub(crate) fn forget_coordinators(&self) {
        self.0.coordinators.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn address(response: &FindCoordinatorResponse, version: i16) -> Result<HostPort> {
    let (code, message, host, port) = if version < 4 {
        (response.error_code, response.error_message.as_deref(), &response.host, response.port)
    } else {
        let first = response.coordinators.first();
        let first = first.ok_or_else(|| Error::protocol("an answer without a coordinator"))?;
        (first.error_code, first.error_message.as_deref(), &first.host, first.port)
    };
    code.into_result().map_err(|code| Error::broker_with_message(code, message))?;
    let port = u16::try_from(port).map_err(|_| Error::protocol(format!("a coordinator at port {port}")))?;
    Ok(HostPort { host: host.to_string(), port })
}
