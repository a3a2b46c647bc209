//! Control records: what brokers write into a log for each other.

use super::{error::RecordsError, record::Record};

/// What a control record says, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ControlRecordType {
    /// The transaction of the batch's producer is aborted.
    Abort,
    /// The transaction of the batch's producer is committed.
    Commit,
    /// A KRaft quorum has a new leader.
    LeaderChange,
    /// A KRaft snapshot begins.
    SnapshotHeader,
    /// A KRaft snapshot ends.
    SnapshotFooter,
    /// The version of the KRaft protocol.
    KRaftVersion,
    /// The voters of a KRaft quorum.
    KRaftVoters,
    /// A type that is not known: to be skipped.
    Unknown(i16),
}

impl ControlRecordType {
    /// Reads the type from the key of a control record.
    ///
    /// # Errors
    /// If there is no key, or it is too short or of a negative version.
    pub fn parse(record: &Record<'_>) -> Result<Self, RecordsError> {
        let key = record.key.unwrap_or_default();
        let Some((&[v0, v1, t0, t1], _)) = key.split_first_chunk::<4>() else {
            return Err(RecordsError::invalid(format!(
                "control record at offset {} has a key of {} bytes, where at least 4 are needed",
                record.offset,
                key.len()
            )));
        };
        let version = i16::from_be_bytes([v0, v1]);
        if version < 0 {
            return Err(RecordsError::invalid(format!(
                "control record at offset {} has the invalid version {version}",
                record.offset
            )));
        }
        Ok(Self::from_id(i16::from_be_bytes([t0, t1])))
    }

    /// The type with this number.
    pub fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            _ => Self::Unknown(id),
        }
    }

    /// The number of the type.
    pub fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::KRaftVoters => 6,
            Self::Unknown(id) => id,
        }
    }
}

/// The marker that ends a transaction in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndTxnMarker {
    /// Whether the transaction is committed, or else aborted.
    pub committed: bool,
    /// The epoch of the transaction coordinator.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// Reads a marker; `None` for control records of other types.
    ///
    /// # Errors
    /// If the key or the value are too short, or of a negative version.
    pub fn parse(record: &Record<'_>) -> Result<Option<Self>, RecordsError> {
        let committed = match ControlRecordType::parse(record)? {
            ControlRecordType::Commit => true,
            ControlRecordType::Abort => false,
            _ => return Ok(None),
        };
        let value = record.value.unwrap_or_default();
        let Some((&[v0, v1, e0, e1, e2, e3], _)) = value.split_first_chunk::<6>() else {
            return Err(RecordsError::invalid(format!(
                "end transaction marker at offset {} has a value of {} bytes, where at least 6 are needed",
                record.offset,
                value.len()
            )));
        };
        let version = i16::from_be_bytes([v0, v1]);
        if version < 0 {
            return Err(RecordsError::invalid(format!(
                "end transaction marker at offset {} has the invalid version {version}",
                record.offset
            )));
        }
        Ok(Some(EndTxnMarker { committed, coordinator_epoch: i32::from_be_bytes([e0, e1, e2, e3]) }))
    }

    /// The key of the control record.
    pub fn key(&self) -> [u8; 4] {
        let kind = if self.committed { ControlRecordType::Commit } else { ControlRecordType::Abort };
        let [t0, t1] = kind.id().to_be_bytes();
        [0, 0, t0, t1]
    }

    /// The value of the control record.
    pub fn value(&self) -> [u8; 6] {
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        [0, 0, e0, e1, e2, e3]
    }
}
