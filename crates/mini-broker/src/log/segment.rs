//! Storage of a log: batches as they came, in few allocations and with few bytes around them.
//!
//! A big batch stays the slice of the request that brought it; only its first sixteen bytes (offset, length, epoch)
//! are stored anew. Small ones are copied into chunks. Either way a fetch hands out references, never copies.

use bytes::{BufMut, Bytes, BytesMut};

use super::batch::{self, BatchBounds, PREFIX_LEN};

/// Batches from this size on keep the bytes they arrived in.
pub(crate) const LARGE_BATCH: usize = 16 * 1024;
/// Small batches are gathered into runs of about this size.
const CHUNK: usize = 64 * 1024;

/// A closed run of batches.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base_offset: i64,
    pub(super) next_offset: i64,
    /// Bytes in the log before this segment, counted from the log's creation.
    pub(super) position: u64,
    /// The largest timestamp up to and including this segment; never decreases, so it can be searched.
    pub(super) running_max_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) data: Data,
}

#[derive(Debug)]
pub(super) enum Data {
    /// Several small batches, contiguous.
    Chunk(Bytes),
    /// One batch: its own first bytes, and the received batch whose first bytes are stale.
    Large { prefix: Bytes, received: Bytes },
}

impl Segment {
    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Chunk(bytes) => bytes.len(),
            Data::Large { received, .. } => received.len(),
        }
    }

    pub(super) fn end_position(&self) -> u64 {
        self.position + self.len() as u64
    }
}

/// The open end of a log, where small batches are gathered.
#[derive(Debug)]
pub(super) struct Tail {
    /// What readers have already been given.
    frozen: Vec<Bytes>,
    frozen_len: usize,
    open: BytesMut,
    pub(super) base_offset: i64,
    pub(super) position: u64,
    pub(super) max_timestamp: i64,
}

impl Tail {
    pub(super) fn new() -> Self {
        Self {
            frozen: Vec::new(),
            frozen_len: 0,
            open: BytesMut::new(),
            base_offset: 0,
            position: 0,
            max_timestamp: i64::MIN,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.frozen_len + self.open.len()
    }

    pub(super) fn has_room(&self, len: usize) -> bool {
        self.is_empty() || self.len() + len <= CHUNK
    }

    /// Copies a batch in, with the offset and epoch that it gets.
    pub(super) fn push(&mut self, received: &[u8], bounds: BatchBounds, leader_epoch: i32) {
        self.open.reserve(received.len());
        self.open.put_i64(bounds.base_offset);
        self.open.put_slice(&received[8..12]);
        self.open.put_i32(leader_epoch);
        self.open.put_slice(&received[PREFIX_LEN..]);
        self.max_timestamp = self.max_timestamp.max(bounds.max_timestamp);
    }

    /// Everything so far, for a reader. Appending goes on behind it.
    pub(super) fn freeze(&mut self) -> &[Bytes] {
        if !self.open.is_empty() {
            self.frozen_len += self.open.len();
            self.frozen.push(self.open.split().freeze());
        }
        &self.frozen
    }

    /// Closes the tail: one contiguous run without slack.
    pub(super) fn take(&mut self) -> Bytes {
        let len = self.len();
        let chunk = if self.frozen.is_empty() && self.open.capacity() - self.open.len() < len / 16 {
            std::mem::take(&mut self.open).freeze()
        } else {
            let mut chunk = Vec::with_capacity(len);
            for part in &self.frozen {
                chunk.extend_from_slice(part);
            }
            chunk.extend_from_slice(&self.open);
            Bytes::from(chunk)
        };
        *self = Self::new();
        chunk
    }
}

/// Gathers the slices of a fetch, whole batches only.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) parts: Vec<Bytes>,
    len: usize,
    from_offset: i64,
    end_offset: i64,
    max_bytes: usize,
    at_least_one: bool,
}

impl Gather {
    pub(super) fn new(from_offset: i64, end_offset: i64, max_bytes: usize, at_least_one: bool) -> Self {
        Self { parts: Vec::new(), len: 0, from_offset, end_offset, max_bytes, at_least_one }
    }

    fn takes(&self, bounds: &BatchBounds) -> bool {
        let fits = self.len + bounds.len <= self.max_bytes || (self.at_least_one && self.len == 0);
        fits && bounds.base_offset < self.end_offset
    }

    /// Takes what fits of a segment; false when the fetch is full.
    pub(super) fn segment(&mut self, segment: &Segment) -> bool {
        match &segment.data {
            Data::Chunk(bytes) => self.run(bytes, segment.base_offset, segment.next_offset),
            Data::Large { prefix, received } => {
                let bounds = BatchBounds {
                    base_offset: segment.base_offset,
                    next_offset: segment.next_offset,
                    max_timestamp: segment.max_timestamp,
                    len: received.len(),
                };
                if !self.takes(&bounds) {
                    return false;
                }
                self.parts.push(prefix.clone());
                self.parts.push(received.slice(PREFIX_LEN..));
                self.len += bounds.len;
                true
            }
        }
    }

    /// Takes what fits of a contiguous run that spans `base_offset..next_offset`.
    pub(super) fn run(&mut self, bytes: &Bytes, base_offset: i64, next_offset: i64) -> bool {
        let whole = base_offset >= self.from_offset
            && next_offset <= self.end_offset
            && self.len + bytes.len() <= self.max_bytes;
        if whole {
            self.len += bytes.len();
            self.parts.push(bytes.clone());
            return true;
        }
        let (mut start, mut end) = (0, 0);
        let mut full = false;
        while let Some(bounds) = BatchBounds::read(&bytes[end..]) {
            if bounds.next_offset <= self.from_offset {
                start = end + bounds.len;
            } else if self.takes(&bounds) {
                self.len += bounds.len;
            } else {
                full = true;
                break;
            }
            end += bounds.len;
        }
        if end > start {
            self.parts.push(bytes.slice(start..end));
        }
        !full
    }
}

/// The batches of a segment, with true offsets in the bounds; the bytes' own first sixteen may be stale.
pub(super) fn batches_of(data: &Data, segment: &Segment) -> Vec<(BatchBounds, Bytes)> {
    match data {
        Data::Chunk(bytes) => batch::batches(bytes).collect(),
        Data::Large { received, .. } => {
            let bounds = BatchBounds {
                base_offset: segment.base_offset,
                next_offset: segment.next_offset,
                max_timestamp: segment.max_timestamp,
                len: received.len(),
            };
            vec![(bounds, received.clone())]
        }
    }
}
