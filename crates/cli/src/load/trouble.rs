//! What can go wrong, and what follows from it.

use std::fmt;

use kcopy_client::wire::{ApiKey, ErrorCode};
use tokio_postgres::error::SqlState;

use super::postgres::connect::{ConnectError, Outlook, outlook_of, reason};

/// Why a worker stopped.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may pass: the position is read again, and loading goes on from there.
    Passing(String),
    /// The same, and PostgreSQL did not even say so.
    Silent(String),
    /// Somebody else holds what is to be locked, and has held it for too long.
    Locked(String),
    /// It passes only when somebody mends it: a run without end waits for that.
    Unmended(String),
    /// A table is not what it was: it is looked at again at once.
    TableChanged(String),
    /// A record that its table cannot take, as far as the table was known when reading began.
    Refused(String),
    /// A topic that is not there. Brokers that have just begun do not know all of them: it may pass, but not for long.
    Missing(String),
    /// Nothing that waiting would mend.
    Final(String),
}

impl Trouble {
    /// An error of PostgreSQL; `doing` says what was tried.
    pub(super) fn postgres(doing: &str, error: &tokio_postgres::Error) -> Trouble {
        let text = format!("{doing}: {}", reason(error));
        if is_lock_timeout(error) {
            return Trouble::Locked(text);
        }
        Trouble::with(outlook_of(error), text)
    }

    fn with(outlook: Outlook, text: String) -> Trouble {
        match outlook {
            Outlook::Passing => Trouble::Passing(text),
            Outlook::Silent => Trouble::Silent(text),
            Outlook::OnceMended => Trouble::Unmended(text),
            Outlook::Never => Trouble::Final(text),
        }
    }

    /// Says which records it is about, where waiting does not mend it.
    pub(super) fn at(self, place: &str) -> Trouble {
        match self {
            Trouble::Final(text) if !place.is_empty() => Trouble::Final(format!("{place}: {text}")),
            other => other,
        }
    }

    /// An error of Kafka's side.
    pub(super) fn kafka(error: &kcopy_client::Error) -> Trouble {
        if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) {
            Trouble::Missing(error.to_string())
        } else if error.is_retriable() || is_nameless(error) {
            Trouble::Passing(error.to_string())
        } else {
            Trouble::Final(error.to_string())
        }
    }
}

/// Whether a fetch has failed with an error that has no name: the client has tried again, and a run without end goes on.
fn is_nameless(error: &kcopy_client::Error) -> bool {
    let is_fetch = error.api().is_some_and(|(api, _)| api == ApiKey::Fetch);
    is_fetch && error.code() == Some(ErrorCode::UNKNOWN_SERVER_ERROR)
}

/// Whether `lock_timeout` has passed. A trigger may raise the same code, and means something else.
fn is_lock_timeout(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        *error.code() == SqlState::LOCK_NOT_AVAILABLE && error.routine() == Some("ProcessInterrupts")
    })
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Trouble {
        Trouble::with(error.outlook, error.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Passing(text)
            | Trouble::Silent(text)
            | Trouble::Locked(text)
            | Trouble::Unmended(text)
            | Trouble::Missing(text)
            | Trouble::TableChanged(text)
            | Trouble::Refused(text)
            | Trouble::Final(text) => f.write_str(text),
        }
    }
}
