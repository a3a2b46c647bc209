//! Record headers: names and values in order, with repetitions, names in whatever bytes they have.

use super::{
    error::RecordsError,
    varint::{Cursor, MAX_LEN_64, len_of, put},
};

/// The headers of a record, borrowed from its batch and walked on demand.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Headers<'a> {
    /// Validated: exactly `count` headers, none with a negative name length.
    bytes: &'a [u8],
    count: u32,
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const EMPTY: Headers<'static> = Headers { bytes: &[], count: 0 };

    /// Takes what follows the values of a record: the header count, the headers, and nothing else.
    pub(super) fn parse(mut cursor: Cursor<'a>) -> Result<Self, RecordsError> {
        let count = cursor.varint().ok_or_else(|| RecordsError::invalid("header count cut off"))?;
        let count = u32::try_from(count)
            .map_err(|_| RecordsError::invalid(format!("negative header count {count}")))?;
        // Each takes two bytes at least, so a huge count ends the walk below as soon as the bytes end.
        let bytes = cursor.0;
        for at in 0..count {
            let name_len = cursor.varint().ok_or_else(|| cut_off(at, count))?;
            let name_len = usize::try_from(name_len).map_err(|_| {
                RecordsError::invalid(format!("header {at} has a negative name length {name_len}"))
            })?;
            cursor.take(name_len).ok_or_else(|| cut_off(at, count))?;
            cursor.nullable_bytes().ok_or_else(|| cut_off(at, count))?;
        }
        if !cursor.0.is_empty() {
            return Err(RecordsError::invalid(format!("{} bytes follow the last header", cursor.0.len())));
        }
        Ok(Headers { bytes, count })
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Names and values in their order. A value may be null.
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter { cursor: Cursor(self.bytes), left: self.count }
    }

    /// The value of the last header with this name, which is the one that counts for most applications.
    pub fn last(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.iter().filter(|(n, _)| *n == name).last().map(|(_, value)| value)
    }

    /// How many bytes names and values take in a record.
    pub fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn encoded(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }
}

impl Default for Headers<'_> {
    fn default() -> Self {
        Headers::EMPTY
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets, and are never logged.
        f.debug_struct("Headers").field("len", &self.count).finish_non_exhaustive()
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// Walks [`Headers`].
#[derive(Clone)]
pub struct HeadersIter<'a> {
    cursor: Cursor<'a>,
    left: u32,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = self.cursor.nullable_bytes()??;
        let value = self.cursor.nullable_bytes()?;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}

/// Headers to be written, already in their encoded form: an append copies them in one piece. Built once, it
/// serves any number of records.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeadersBuf {
    bytes: Vec<u8>,
    count: u32,
}

impl HeadersBuf {
    /// No headers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header after the others; the same name may occur again.
    ///
    /// # Panics
    /// If name or value are longer than the 2 GiB that the format can express.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: Option<&[u8]>) {
        self.put_bytes(Some(name.as_ref()));
        self.put_bytes(value);
        self.count += 1;
    }

    /// The headers, to append a record with.
    pub fn as_headers(&self) -> Headers<'_> {
        Headers { bytes: &self.bytes, count: self.count }
    }

    /// Removes all headers and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn put_bytes(&mut self, bytes: Option<&[u8]>) {
        let len = bytes
            .map_or(-1, |b| i64::from(i32::try_from(b.len()).expect("a header must be shorter than 2 GiB")));
        let mut prefix = [0; MAX_LEN_64];
        let end = put(&mut prefix, 0, len);
        debug_assert_eq!(end, len_of(len));
        self.bytes.extend_from_slice(&prefix[..end]);
        self.bytes.extend_from_slice(bytes.unwrap_or_default());
    }
}

impl std::fmt::Debug for HeadersBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_headers().fmt(f)
    }
}

#[cold]
fn cut_off(at: u32, count: u32) -> RecordsError {
    RecordsError::invalid(format!("header {at} of {count} cut off"))
}
