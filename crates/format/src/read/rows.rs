//! The row that a parser has found, before it becomes a record.

use memchr::memchr;

use crate::{error::InputErrorKind, options::Dialect};

/// What a look at the unread bytes has shown.
pub(super) enum Found {
    /// A row of so many bytes, with its fields in [`Rows`].
    Row(usize),
    /// So many bytes that are no row.
    Skip(usize),
    /// So many bytes with the marker that ends the input: nothing may follow.
    End(usize),
    /// More bytes are needed, or there is nothing left.
    Nothing,
}

/// Where bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the row.
    Input,
    /// With the unescaped fields of the row.
    Unescaped,
    /// With what was made of the fields.
    Scratch,
    /// In the document that the members make up.
    Document,
}

/// Bytes somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) place: Place,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What the bytes of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// PostgreSQL's text form of the column's type.
    Text,
    /// PostgreSQL's binary form of the column's type.
    Binary,
    /// The bytes that are meant, whatever the type.
    Bytes,
    /// Valid JSON that is to stay so.
    Json,
    /// A time as a decimal number of milliseconds since 1970.
    Milliseconds,
    /// A JSON array of names and values in base64.
    Base64Headers,
}

/// A field as a parser has found it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// None is NULL.
    pub(super) span: Option<Span>,
    pub(super) form: Form,
}

/// The fields of the row at hand, with room that is used again.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) fields: Vec<Field>,
    pub(super) unescaped: Vec<u8>,
    /// The row that was begun last.
    pub(super) row: u64,
    /// The line on which it starts.
    pub(super) line: u64,
    next_line: u64,
}

impl Rows {
    pub(super) fn new() -> Self {
        Rows { fields: Vec::new(), unescaped: Vec::new(), row: 0, line: 0, next_line: 1 }
    }

    /// Begins a row that takes up `lines` lines.
    #[inline]
    pub(super) fn begin(&mut self, lines: u64) {
        self.row += 1;
        self.skip(lines);
        self.fields.clear();
        self.unescaped.clear();
    }

    /// Counts lines that are no row.
    #[inline]
    pub(super) fn skip(&mut self, lines: u64) {
        self.line = self.next_line;
        self.next_line += lines;
    }

    #[inline]
    pub(super) fn push(&mut self, form: Form, place: Place, start: usize, end: usize) {
        self.fields.push(Field { span: Some(Span { place, start, end }), form });
    }

    #[inline]
    pub(super) fn push_null(&mut self) {
        self.fields.push(Field { span: None, form: Form::Text });
    }

    /// A field that stands in the row as it is meant, or means NULL.
    #[inline(always)]
    pub(super) fn push_input(&mut self, row: &[u8], start: usize, end: usize, dialect: &Dialect) {
        if row[start..end] == dialect.null {
            self.push_null();
        } else {
            self.push(Form::Text, Place::Input, start, end);
        }
    }

    /// The fields of a row in which only the delimiter is special. Of two callers the compiler would inline it in none.
    #[inline(always)]
    pub(super) fn split_plain(&mut self, row: &[u8], dialect: &Dialect) {
        let mut start = 0;
        loop {
            let end = memchr(dialect.delimiter, &row[start..]).map_or(row.len(), |at| start + at);
            self.push_input(row, start, end, dialect);
            if end == row.len() {
                return;
            }
            start = end + 1;
        }
    }

    #[inline]
    pub(super) fn check_count(&self, expected: usize) -> Result<(), InputErrorKind> {
        let found = self.fields.len();
        if found == expected { Ok(()) } else { Err(InputErrorKind::FieldCount { found, expected }) }
    }
}
