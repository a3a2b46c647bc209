//! The batches of a fetch response, a produce request or a log segment.

use bytes::Bytes;

use super::{
    batch::{Batch, Extent, check_offsets, extent},
    error::RecordsError,
};

/// Splits bytes into batches, and ends after the first error.
///
/// A fetch is cut off at a number of bytes, not at a batch: an incomplete batch at the end is not an error,
/// is not returned, and is reported by [`Batches::incomplete`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
    incomplete: Option<Incomplete>,
    position: usize,
}

/// A batch that the bytes end in the midst of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incomplete {
    /// How many bytes of it there are.
    pub available: usize,
    /// How many it has, if its length field is among them.
    pub size: Option<usize>,
}

impl Batches {
    /// Reads batches from `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Batches { rest: bytes, incomplete: None, position: 0 }
    }

    /// The batch that was cut off, once the iterator has come to it. If no batch came before it, the fetch
    /// brought nothing and the same fetch would bring nothing again: ask for more bytes.
    pub fn incomplete(&self) -> Option<Incomplete> {
        self.incomplete
    }

    /// How many bytes the batches so far have taken.
    pub fn position(&self) -> usize {
        self.position
    }

    fn split(&mut self) -> Result<Option<Batch>, RecordsError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        match extent(&self.rest)? {
            Extent::Whole(size) => {
                check_offsets(&self.rest)?;
                self.position += size;
                Batch::new(self.rest.split_to(size)).map(Some)
            }
            Extent::Incomplete(size) => {
                self.incomplete = Some(Incomplete { available: self.rest.len(), size });
                self.rest = Bytes::new();
                Ok(None)
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.split().transpose();
        if matches!(next, Some(Err(_))) {
            self.rest = Bytes::new();
        }
        next
    }
}
