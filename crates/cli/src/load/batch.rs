//! What goes into one transaction.

use std::sync::Arc;

use bytes::Bytes;
use kcopy_client::wire::records::Record;
use tokio::time::Instant;

/// Rows, rejected records and positions that are written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// By the place of the table.
    pub(super) tables: Vec<TableRows>,
    /// The positions that move.
    pub(super) moves: Vec<Move>,
    pub(super) rejected: Vec<Rejected>,
    /// Records read, rejected ones among them.
    pub(super) records: u64,
    /// Bytes of rows and of rejected records.
    pub(super) bytes: usize,
    /// When its first record came.
    pub(super) since: Option<Instant>,
    /// The largest timestamp of its records, in milliseconds since 1970.
    pub(super) newest_ms: Option<i64>,
}

/// The rows of one table.
#[derive(Debug, Default)]
pub(super) struct TableRows {
    pub(super) bytes: Bytes,
    pub(super) origins: Vec<Origin>,
    /// The rows at which tombstones begin or end.
    pub(super) turns: Vec<usize>,
}

/// Where a row comes from, and where it ends in the bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) end: u32,
    /// The place of the partition.
    pub(super) partition: u32,
    pub(super) offset: i64,
    /// The leader epoch of its record, or -1.
    pub(super) epoch: i32,
}

/// A position that moves.
#[derive(Debug, Clone)]
pub(super) struct Move {
    /// The place of the partition.
    pub(super) partition: usize,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) leader_epoch: Option<i32>,
    pub(super) rows: i64,
}

/// A record that its table cannot take.
#[derive(Debug, Clone)]
pub(super) struct Rejected {
    /// The place of the partition.
    pub(super) partition: usize,
    pub(super) offset: i64,
    /// The leader epoch of its record, or -1.
    pub(super) epoch: i32,
    /// None where nobody wants it, and where PostgreSQL refused the row: the record is read once more then.
    pub(super) content: Option<Arc<Content>>,
    pub(super) reason: String,
}

/// What a record holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Content {
    pub(super) fn of(record: &Record<'_>) -> Content {
        let header = |(name, value): (&[u8], Option<&[u8]>)| (name.to_vec(), value.map(<[u8]>::to_vec));
        Content {
            timestamp_ms: (record.timestamp >= 0).then_some(record.timestamp),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(header).collect(),
        }
    }

    /// What it takes of memory.
    pub(super) fn size(&self) -> usize {
        let of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + of(value));
        of(&self.key) + of(&self.value) + headers.sum::<usize>() + size_of_val(&*self.headers)
    }
}

impl Batch {
    /// Whether there is nothing to write, not even a position.
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0 && self.moves.is_empty()
    }
}

impl TableRows {
    /// The bytes of a range of rows.
    pub(super) fn span(&self, from: usize, until: usize) -> std::ops::Range<usize> {
        let end_of = |row: usize| row.checked_sub(1).map_or(0, |before| self.origins[before].end as usize);
        end_of(from)..end_of(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_take_memory_as_well() {
        let header = (b"name".to_vec(), Some(vec![0; 1000]));
        let content = Content { key: Some(vec![0; 10]), headers: vec![header; 3], ..Content::default() };
        assert!(content.size() >= 10 + 3 * 1004);
    }
}
