//! Errors of the library's own functions.

use std::io;

use kcopy_wire::ErrorCode;

use crate::{builder::Address, cluster::Refused, config::ConfigError};

/// Why the cluster could not do what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: Option<ErrorCode>,
    message: String,
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self { code: None, message: message.into() }
    }

    pub(crate) fn stopped() -> Self {
        Self::new("the cluster was stopped")
    }

    pub(crate) fn no_node(node_id: i32) -> Self {
        Self::new(format!("there is no running broker {node_id}"))
    }

    pub(crate) fn no_partition(topic: &str, partition: i32) -> Self {
        Self::new(format!("there is no partition {partition} of a topic {topic}"))
    }

    pub(crate) fn bind(address: &Address, error: &io::Error) -> Self {
        Self::new(format!("cannot listen on {}:{}: {error}", address.bind_host, address.port))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(message)
    }

    /// What a client would have been told.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.code
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self { code: Some(refused.error), message: refused.message }
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self { code: Some(ErrorCode::INVALID_CONFIG), message: error.to_string() }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(f, "{code}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}
