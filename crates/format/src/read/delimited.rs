//! Records between delimiters: kcat's input, and the raw format.

use kcopy_wire::records::Headers;
use memchr::{memchr, memmem};

use super::{
    InputRecord,
    assemble::ColumnPlan,
    rows::{Form, Found, Place, Rows},
};
use crate::{columns::Type, error::InputPlace, options::OptionError};

/// What kcat's options say about its input.
#[derive(Debug, Clone)]
pub struct DelimitedInput {
    /// `-D`, not empty. The last record needs none behind it.
    pub delimiter: Vec<u8>,
    /// `-K`: the first one in a record ends the key. An empty one never does.
    pub key_delimiter: Option<Vec<u8>>,
    /// `-k`: the key of records without one.
    pub fixed_key: Option<Vec<u8>>,
    /// `-Z`: empty keys and values are NULL. Without `-K` an empty record is then a NULL value, which is skipped
    /// otherwise.
    pub empty_is_null: bool,
    /// The longest record, in bytes; without it 1 GiB.
    pub max_record_bytes: Option<usize>,
}

impl Default for DelimitedInput {
    /// Lines without keys.
    fn default() -> Self {
        DelimitedInput {
            delimiter: b"\n".to_vec(),
            key_delimiter: None,
            fixed_key: None,
            empty_is_null: false,
            max_record_bytes: None,
        }
    }
}

/// Cuts bytes at delimiters of one or more bytes.
#[derive(Debug)]
pub(super) struct Splitter {
    delimiter: Needle,
    key_delimiter: Option<Needle>,
    fixed_key: Option<Vec<u8>>,
    empty_is_null: bool,
    /// What means NULL in the raw format.
    null: Option<Vec<u8>>,
    /// How many of the unread bytes have been searched already.
    searched: usize,
}

#[derive(Debug)]
enum Needle {
    Byte(u8),
    Bytes(Box<memmem::Finder<'static>>),
}

impl Needle {
    fn new(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => None,
            [byte] => Some(Needle::Byte(*byte)),
            bytes => Some(Needle::Bytes(Box::new(memmem::Finder::new(bytes).into_owned()))),
        }
    }

    #[inline]
    fn find(&self, haystack: &[u8]) -> Option<usize> {
        match self {
            Needle::Byte(byte) => memchr(*byte, haystack),
            Needle::Bytes(finder) => finder.find(haystack),
        }
    }

    #[inline]
    fn len(&self) -> usize {
        match self {
            Needle::Byte(_) => 1,
            Needle::Bytes(finder) => finder.needle().len(),
        }
    }
}

/// Records that are nothing but a value, borrowed from the reader: a faster way to those that it has whole.
///
/// It stops before what is not that simple; [`read_record`](super::RecordReader::read_record) goes on from there.
#[derive(Debug)]
pub struct Values<'a> {
    unread: &'a [u8],
    searched: &'a mut usize,
    start: &'a mut usize,
    row: &'a mut u64,
    delimiter: u8,
    empty_is_null: bool,
    max_record_bytes: usize,
}

impl<'a> Iterator for Values<'a> {
    /// None is a NULL value.
    type Item = Option<&'a [u8]>;

    #[inline(always)]
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        loop {
            let len = *self.searched + memchr(self.delimiter, &self.unread[*self.searched..])?;
            if len > self.max_record_bytes {
                return None;
            }
            let (value, rest) = self.unread.split_at(len);
            self.unread = &rest[1..];
            *self.searched = 0;
            *self.start += len + 1;
            *self.row += 1;
            if len > 0 {
                return Some(Some(value));
            }
            if self.empty_is_null {
                return Some(None);
            }
        }
    }
}

impl Splitter {
    pub(super) fn new(input: DelimitedInput) -> Result<Self, OptionError> {
        let delimiter = Needle::new(&input.delimiter)
            .ok_or_else(|| OptionError("the delimiter between records must not be empty".to_owned()))?;
        Ok(Splitter {
            delimiter,
            key_delimiter: input.key_delimiter.as_deref().and_then(Needle::new),
            fixed_key: input.fixed_key,
            empty_is_null: input.empty_is_null,
            null: None,
            searched: 0,
        })
    }

    pub(super) fn with_null(mut self, null: Option<Vec<u8>>) -> Self {
        self.null = null;
        self
    }

    /// The length of the next record, without and with its delimiter.
    #[inline]
    pub(super) fn split(&mut self, unread: &[u8], at_end: bool) -> Option<(usize, usize)> {
        match self.delimiter.find(&unread[self.searched..]) {
            Some(found) => {
                let len = self.searched + found;
                self.searched = 0;
                Some((len, len + self.delimiter.len()))
            }
            None if at_end && !unread.is_empty() => {
                self.searched = 0;
                Some((unread.len(), unread.len()))
            }
            None => {
                // The delimiter may have begun already.
                self.searched = (unread.len() + 1).saturating_sub(self.delimiter.len()).min(unread.len());
                None
            }
        }
    }

    /// The one byte that ends records which are nothing but values, if they are.
    pub(super) fn plain_delimiter(&self) -> Option<u8> {
        match self.delimiter {
            Needle::Byte(byte) if self.key_delimiter.is_none() && self.fixed_key.is_none() => Some(byte),
            _ => None,
        }
    }

    /// Where a row is: on the line of its number, where lines are what is split.
    pub(super) fn place(&self, row: u64) -> InputPlace {
        InputPlace { row, line: matches!(self.delimiter, Needle::Byte(b'\n')).then_some(row) }
    }

    /// Whether an empty record is one at all.
    #[inline]
    pub(super) fn keeps_empty(&self) -> bool {
        self.empty_is_null && self.key_delimiter.is_none()
    }

    /// The record that kcat makes of `bytes`.
    #[inline]
    pub(super) fn record<'a>(&'a self, bytes: &'a [u8], raw: &'a [u8]) -> InputRecord<'a> {
        let (mut key, mut value) = (None, Some(bytes));
        if let Some(delimiter) = &self.key_delimiter
            && let Some(at) = delimiter.find(bytes)
        {
            key = Some(&bytes[..at]);
            value = Some(&bytes[at + delimiter.len()..]);
        }
        if self.empty_is_null {
            key = key.filter(|key| !key.is_empty());
            value = value.filter(|value| !value.is_empty());
        }
        InputRecord {
            topic: None,
            partition: None,
            timestamp: None,
            key: key.or(self.fixed_key.as_deref()),
            value,
            headers: Headers::EMPTY,
            raw,
        }
    }

    /// The values among `unread` up to its last delimiter, for a splitter with a
    /// [plain delimiter](Self::plain_delimiter).
    pub(super) fn values<'a>(
        &'a mut self,
        delimiter: u8,
        unread: &'a [u8],
        start: &'a mut usize,
        row: &'a mut u64,
        max_record_bytes: usize,
    ) -> Values<'a> {
        Values {
            unread,
            searched: &mut self.searched,
            start,
            row,
            delimiter,
            empty_is_null: self.empty_is_null,
            max_record_bytes,
        }
    }

    /// The raw format: each record, empty ones too, is the one column.
    pub(super) fn find(
        &mut self,
        unread: &[u8],
        at_end: bool,
        columns: &[ColumnPlan],
        rows: &mut Rows,
    ) -> Found {
        let Some((len, taken)) = self.split(unread, at_end) else { return Found::Nothing };
        rows.begin(1);
        if self.null.as_deref() == Some(&unread[..len]) {
            rows.push_null();
        } else {
            let form = if columns[0].column_type == Type::Bytea { Form::Bytes } else { Form::Text };
            rows.push(form, Place::Input, 0, len);
        }
        Found::Row(taken)
    }
}
