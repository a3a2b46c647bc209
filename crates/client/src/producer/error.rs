//! Errors of producing.

use std::{fmt, sync::Arc};

use kcopy_wire::ErrorCode;

use crate::error::{Error, Persisted};

/// What a broker says of one record of a refused batch (KIP-467).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Which record of the batch, from 0.
    pub batch_index: u32,
    /// What is wrong with it, if the broker says.
    pub message: Option<String>,
}

/// Records that were not delivered: consecutive ones of one partition.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeliveryFailure {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// How many records were appended to this partition before the first of these:
    /// [`Position::index`](super::Position::index) of that one.
    pub base_index: u64,
    /// How many records there are.
    pub record_count: u64,
    /// What happened; [`Error::persisted`] says whether the records may be in the log.
    pub error: Error,
    /// Which records the broker finds fault with, if it says. The others would be accepted without them.
    pub record_errors: Arc<[RecordError]>,
}

impl fmt::Display for DeliveryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = if self.record_count == 1 { "record" } else { "records" };
        write!(f, "{} {records} for {} [{}]: {}", self.record_count, self.topic, self.partition, self.error)?;
        match (self.error.persisted(), self.record_count) {
            (Persisted::Maybe, 1) => f.write_str("; it may have been written all the same"),
            (Persisted::Maybe, _) => f.write_str("; they may have been written all the same"),
            _ => Ok(()),
        }
    }
}

/// Why a batch was not delivered.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) record_errors: Arc<[RecordError]>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, record_errors: Arc::default() }
    }
}

impl Failure {
    /// The error for one record of the batch, with what the broker says of that very record.
    pub(super) fn of_record(&self, batch_index: u32) -> Error {
        let about = self.record_errors.iter().find(|about| about.batch_index == batch_index);
        match about.and_then(|about| about.message.as_deref()) {
            Some(message) => self.error.clone().prefixed(message),
            None => self.error.clone(),
        }
    }
}

/// Why a record was not appended. Nothing of it was kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AppendError {
    /// The buffer is full: wait for room, and append the record again.
    Full,
    /// The record cannot be sent at all: it is larger than `max_message_bytes`.
    TooLarge {
        /// The size of a batch of this record alone.
        size: usize,
        /// What is allowed.
        max_message_bytes: usize,
    },
    /// The partition that was asked for does not exist.
    UnknownPartition {
        /// The one asked for.
        partition: i32,
        /// How many the topic has.
        partition_count: u32,
    },
    /// The producer has been closed, or has failed for good.
    Closed(Error),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Full => f.write_str("the producer's buffer is full"),
            AppendError::TooLarge { size, max_message_bytes } => write!(
                f,
                "a record that takes {size} bytes exceeds the {max_message_bytes} of message.max.bytes"
            ),
            AppendError::UnknownPartition { partition, partition_count } => write!(
                f,
                "partition {partition} does not exist: the topic's partitions are 0 to {}",
                partition_count.saturating_sub(1)
            ),
            AppendError::Closed(error) => write!(f, "the producer takes no more records: {error}"),
        }
    }
}

impl std::error::Error for AppendError {}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Error {
        match error {
            AppendError::Closed(error) => error,
            error => Error::invalid(error.to_string()),
        }
    }
}

/// Errors that a leader only gives before it appends, so that this attempt has written nothing. Any other may
/// come after the append: even `NOT_LEADER_OR_FOLLOWER` does where the leader moved while it waited for its
/// followers.
pub(super) fn proves_absence(code: ErrorCode) -> bool {
    [
        ErrorCode::CORRUPT_MESSAGE,
        ErrorCode::MESSAGE_TOO_LARGE,
        ErrorCode::INVALID_TOPIC_EXCEPTION,
        ErrorCode::RECORD_LIST_TOO_LARGE,
        ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::INVALID_REQUIRED_ACKS,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        ErrorCode::INVALID_TIMESTAMP,
        ErrorCode::UNSUPPORTED_VERSION,
        ErrorCode::INVALID_REQUEST,
        ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
        ErrorCode::POLICY_VIOLATION,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::INVALID_TXN_STATE,
        ErrorCode::INVALID_PRODUCER_ID_MAPPING,
        ErrorCode::UNKNOWN_PRODUCER_ID,
        ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        ErrorCode::INVALID_RECORD,
    ]
    .contains(&code)
}
