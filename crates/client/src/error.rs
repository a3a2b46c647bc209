//! What went wrong, where, and what to do about it.

use std::{error::Error as StdError, fmt, io, sync::Arc};

use kcopy_wire::{ApiKey, DecodeError, EncodeError, ErrorCode, frame::FrameError};

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with its context: broker, API and version, topic and partition, group.
///
/// Cheap to clone, since one lost connection fails many requests.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    /// Where the message goes on behind the words of whoever gave up.
    cause_at: usize,
    broker: Option<String>,
    api: Option<(ApiKey, Option<i16>)>,
    topic: Option<String>,
    partition: Option<i32>,
    group: Option<String>,
    persisted: Persisted,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The sort of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What the caller asked for cannot be: a configuration, a name, an offset.
    InvalidInput,
    /// No connection could be made.
    Connect,
    /// A connection broke, or was closed by the broker.
    Disconnected,
    /// An answer, or the whole operation, took too long.
    Timeout,
    /// The peer does not keep to the protocol.
    Protocol,
    /// An answer is larger than `receive_message_max_bytes`. The next one would be as well.
    AnswerTooLarge,
    /// The broker does not speak a version that is needed.
    UnsupportedVersion,
    /// The broker answered with this error code.
    Broker(ErrorCode),
    /// Records that are damaged, or compressed beyond the limit.
    CorruptRecords,
    /// The group has members, so nothing may be read or committed past them.
    GroupHasMembers,
    /// The client, producer or consumer was closed.
    Closed,
}

/// What to do after an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// The same again, after a while.
    BackOff,
    /// Ask for metadata, then the same again.
    RefreshMetadata,
    /// Look the coordinator up, then the same again.
    FindCoordinator,
    /// Connect again, then the same again; metadata may have changed as well.
    Reconnect,
    /// Nothing: the same request would fail again.
    Never,
}

/// Whether what was produced is in the log, or what was committed in the group, in spite of the error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Persisted {
    /// It is not.
    #[default]
    No,
    /// It may be: the request was sent, the answer never came.
    Maybe,
    /// It is.
    Yes,
}

impl Error {
    /// An error of a kind; `message` is lowercase and has no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner {
            kind,
            message: message.into(),
            cause_at: 0,
            broker: None,
            api: None,
            topic: None,
            partition: None,
            group: None,
            persisted: Persisted::No,
            source: None,
        }))
    }

    /// The broker answered with an error code.
    pub fn broker(code: ErrorCode) -> Error {
        Error::new(ErrorKind::Broker(code), describe(code))
    }

    /// The broker answered with an error code and perhaps a text of its own.
    pub fn broker_with_message(code: ErrorCode, message: Option<&str>) -> Error {
        match message {
            Some(text) if !text.is_empty() => {
                Error::new(ErrorKind::Broker(code), format!("{}: {}", code, text.trim_end_matches('.')))
            }
            _ => Error::broker(code),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn closed(what: &str) -> Error {
        Error::new(ErrorKind::Closed, format!("the {what} is closed"))
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Protocol, message)
    }

    pub(crate) fn disconnected(message: impl Into<String>, source: io::Error) -> Error {
        let message = format!("{}: {source}", message.into());
        Error::new(ErrorKind::Disconnected, message).with_source(source)
    }

    fn inner(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Error {
        self.inner().kind = kind;
        self
    }

    /// Says which error lies behind.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Error {
        self.inner().source = Some(Arc::new(source));
        self
    }

    /// Names the broker, unless one is named already.
    #[must_use]
    pub fn with_broker(mut self, broker: impl fmt::Display) -> Error {
        self.inner().broker.get_or_insert_with(|| broker.to_string());
        self
    }

    /// Names the API, unless one is named already.
    #[must_use]
    pub fn with_api(mut self, api: ApiKey, version: Option<i16>) -> Error {
        self.inner().api.get_or_insert((api, version));
        self
    }

    /// Names the topic, unless one is named already.
    #[must_use]
    pub fn with_topic(mut self, topic: &str) -> Error {
        self.inner().topic.get_or_insert_with(|| topic.to_owned());
        self
    }

    /// Names the topic and the partition, unless they are named already.
    #[must_use]
    pub fn with_partition(mut self, topic: &str, partition: i32) -> Error {
        let inner = self.inner();
        inner.topic.get_or_insert_with(|| topic.to_owned());
        inner.partition.get_or_insert(partition);
        self
    }

    /// Names the group, unless one is named already.
    #[must_use]
    pub fn with_group(mut self, group: &str) -> Error {
        self.inner().group.get_or_insert_with(|| group.to_owned());
        self
    }

    /// Says whether what was produced may be in the log, or what was committed in the group.
    #[must_use]
    pub fn with_persisted(mut self, persisted: Persisted) -> Error {
        self.inner().persisted = persisted;
        self
    }

    /// Puts more words in front; kind and context stay.
    #[must_use]
    pub fn prefixed(mut self, words: &str) -> Error {
        let inner = self.inner();
        inner.message = format!("{words}: {}", inner.message);
        inner.cause_at = 0;
        self
    }

    /// Says in front what was given up after how long. An operation that gave up inside of another is not mentioned
    /// any more: what lasted longer and what lay below it are what matters.
    #[must_use]
    pub(crate) fn given_up(mut self, words: &str) -> Error {
        let inner = self.inner();
        inner.message = format!("{words}: {}", &inner.message[inner.cause_at..]);
        inner.cause_at = words.len() + ": ".len();
        self
    }

    /// The sort of error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The broker's error code, if a broker sent one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self.0.kind {
            ErrorKind::Broker(code) => Some(code),
            _ => None,
        }
    }

    /// What happened, without the context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The broker that this is about, such as `broker 1 at localhost:9092`.
    pub fn broker_name(&self) -> Option<&str> {
        self.0.broker.as_deref()
    }

    /// The API that this is about, and the version where it is known.
    pub fn api(&self) -> Option<(ApiKey, Option<i16>)> {
        self.0.api
    }

    /// The topic that this is about.
    pub fn topic(&self) -> Option<&str> {
        self.0.topic.as_deref()
    }

    /// The partition that this is about.
    pub fn partition(&self) -> Option<i32> {
        self.0.partition
    }

    /// The group that this is about.
    pub fn group(&self) -> Option<&str> {
        self.0.group.as_deref()
    }

    /// Whether what was produced is in the log in spite of this error.
    pub fn persisted(&self) -> Persisted {
        self.0.persisted
    }

    /// What to do next.
    pub fn advice(&self) -> Advice {
        match self.0.kind {
            ErrorKind::Connect | ErrorKind::Disconnected | ErrorKind::Timeout => Advice::Reconnect,
            // A peer that sends nonsense once may be a proxy that is starting; another connection, or
            // another broker, may do better, and the overall deadline still holds.
            ErrorKind::Protocol => Advice::Reconnect,
            ErrorKind::Broker(ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE) => {
                Advice::FindCoordinator
            }
            // The last one: an epoch of a topic that was made anew since, and no broker will ever know it.
            ErrorKind::Broker(ErrorCode::NOT_CONTROLLER | ErrorCode::UNKNOWN_LEADER_EPOCH) => {
                Advice::RefreshMetadata
            }
            ErrorKind::Broker(code) if code.refreshes_metadata() => Advice::RefreshMetadata,
            ErrorKind::Broker(code) if code.is_retriable() => Advice::BackOff,
            _ => Advice::Never,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_retriable(&self) -> bool {
        self.advice() != Advice::Never
    }

    /// Whether nothing more can be done with the producer or consumer that reported this.
    pub fn is_fatal(&self) -> bool {
        match self.0.kind {
            ErrorKind::Closed => true,
            ErrorKind::Broker(code) => matches!(
                code,
                ErrorCode::PRODUCER_FENCED
                    | ErrorCode::INVALID_PRODUCER_EPOCH
                    | ErrorCode::INVALID_PRODUCER_ID_MAPPING
                    | ErrorCode::FENCED_INSTANCE_ID
                    | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
                    | ErrorCode::SASL_AUTHENTICATION_FAILED
                    | ErrorCode::UNSUPPORTED_SASL_MECHANISM
                    | ErrorCode::ILLEGAL_SASL_STATE
            ),
            _ => false,
        }
    }

    /// Whether a transaction that meets this error can only be aborted.
    pub fn requires_abort(&self) -> bool {
        self.code() == Some(ErrorCode::TRANSACTION_ABORTABLE)
    }
}

/// A line for people; the name always comes along, so that it can be searched for.
fn describe(code: ErrorCode) -> String {
    let hint = match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "there is no such topic or partition",
        ErrorCode::UNKNOWN_TOPIC_ID => "the topic was deleted, or deleted and created again",
        ErrorCode::OFFSET_OUT_OF_RANGE => "the offset is outside of what the partition holds",
        ErrorCode::NOT_LEADER_OR_FOLLOWER => "the partition has moved to another broker",
        ErrorCode::LEADER_NOT_AVAILABLE => "the partition has no leader at present",
        ErrorCode::MESSAGE_TOO_LARGE => "the batch is larger than the topic's max.message.bytes",
        ErrorCode::INVALID_TOPIC_EXCEPTION => {
            "a topic name has 1 to 249 of the characters a-z A-Z 0-9 . _ - and is neither . nor .."
        }
        ErrorCode::TOPIC_ALREADY_EXISTS => "the topic exists already",
        ErrorCode::NOT_ENOUGH_REPLICAS | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
            "fewer replicas are in sync than min.insync.replicas asks for"
        }
        ErrorCode::NON_EMPTY_GROUP | ErrorCode::UNKNOWN_MEMBER_ID => "the group has members",
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED => "an ACL denies this",
        ErrorCode::POLICY_VIOLATION => "a policy of the cluster or of the topic forbids this",
        ErrorCode::REQUEST_TIMED_OUT => "the broker ran out of time",
        _ => "",
    };
    if hint.is_empty() { format!("the broker answered {code}") } else { format!("{code}: {hint}") }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.write_str(&inner.message)?;
        let mut separator = " (";
        let mut part = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            f.write_str(separator)?;
            separator = ", ";
            f.write_fmt(text)
        };
        match (&inner.topic, inner.partition) {
            (Some(topic), Some(partition)) => part(f, format_args!("topic {topic} [{partition}]"))?,
            (Some(topic), None) => part(f, format_args!("topic {topic}"))?,
            _ => {}
        }
        if let Some(group) = &inner.group {
            part(f, format_args!("group {group}"))?;
        }
        match inner.api {
            Some((api, Some(version))) => part(f, format_args!("{} v{version}", api.name()))?,
            Some((api, None)) => part(f, format_args!("{}", api.name()))?,
            None => {}
        }
        if let Some(broker) = &inner.broker {
            part(f, format_args!("{broker}"))?;
        }
        if separator == ", " { f.write_str(")") } else { Ok(()) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Error {
        Error::protocol(error.to_string()).with_source(error)
    }
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Error {
        if error.is_too_large() {
            let FrameError { length, max_frame_bytes } = error;
            let message = format!(
                "an answer of {length} bytes is above receive.message.max.bytes, which is {max_frame_bytes}"
            );
            return Error::new(ErrorKind::AnswerTooLarge, message).with_source(error);
        }
        Error::protocol(error.to_string()).with_source(error)
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Error {
        let kind = match error.unsupported_field() {
            Some(_) => ErrorKind::UnsupportedVersion,
            None => ErrorKind::InvalidInput,
        };
        Error::new(kind, error.to_string()).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_what_it_is_about() {
        let error = Error::broker(ErrorCode::NOT_LEADER_OR_FOLLOWER)
            .with_partition("t", 3)
            .with_api(ApiKey::Fetch, Some(12))
            .with_broker("broker 1 at h:9092")
            .with_broker("another");
        let text = "NOT_LEADER_OR_FOLLOWER: the partition has moved to another broker \
                    (topic t [3], Fetch v12, broker 1 at h:9092)";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.advice(), Advice::RefreshMetadata);
        assert!(error.is_retriable() && !error.is_fatal());
        assert_eq!(Error::broker(ErrorCode::UNKNOWN_LEADER_EPOCH).advice(), Advice::RefreshMetadata);
    }

    #[test]
    fn unknown_codes_survive() {
        let error = Error::broker(ErrorCode(1234));
        assert_eq!(error.to_string(), "the broker answered error 1234");
        assert_eq!((error.code(), error.advice()), (Some(ErrorCode(1234)), Advice::Never));
    }
}
