//! COPY's csv format.

use memchr::{memchr, memchr_iter, memchr2};

use super::{
    assemble::ColumnPlan,
    rows::{Form, Found, Place, Rows},
};
use crate::{error::InputErrorKind, options::Dialect};

#[derive(Debug)]
pub(super) struct CsvParser {
    dialect: Dialect,
    header: bool,
    /// How many of the unread bytes belong to the row already, and whether a quote is open there.
    searched: usize,
    in_quote: bool,
}

impl CsvParser {
    pub(super) fn new(dialect: Dialect, header: bool) -> Self {
        CsvParser { dialect, header, searched: 0, in_quote: false }
    }

    #[inline]
    pub(super) fn find(
        &mut self,
        unread: &[u8],
        at_end: bool,
        columns: &[ColumnPlan],
        rows: &mut Rows,
    ) -> Result<Found, InputErrorKind> {
        if let Some(end) = self.row_end(unread) {
            return self.row(&unread[..end], end + 1, columns, rows);
        }
        if !at_end || unread.is_empty() {
            return Ok(Found::Nothing);
        }
        if self.in_quote {
            rows.begin(1);
            return Err(InputErrorKind::UnterminatedQuote);
        }
        self.searched = 0;
        self.row(unread, unread.len(), columns, rows)
    }

    /// Where the line end stands that ends the row: the first one outside of quotes.
    #[inline]
    fn row_end(&mut self, unread: &[u8]) -> Option<usize> {
        let quote = self.dialect.quote;
        loop {
            let rest = &unread[self.searched..];
            // A doubled quote that the end of the bytes tears apart closes and opens, which comes to the same.
            let found = if self.in_quote { memchr(quote, rest) } else { memchr2(quote, b'\n', rest) };
            let Some(at) = found.map(|found| self.searched + found) else {
                self.searched = unread.len();
                return None;
            };
            if unread[at] == b'\n' {
                self.searched = 0;
                return Some(at);
            }
            if self.in_quote && unread.get(at + 1) == Some(&quote) {
                self.searched = at + 2;
            } else {
                self.in_quote = !self.in_quote;
                self.searched = at + 1;
            }
        }
    }

    fn row(
        &mut self,
        row: &[u8],
        taken: usize,
        columns: &[ColumnPlan],
        rows: &mut Rows,
    ) -> Result<Found, InputErrorKind> {
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        let has_quotes = memchr(self.dialect.quote, row).is_some();
        let lines = if has_quotes { memchr_iter(b'\n', row).count() as u64 + 1 } else { 1 };
        if std::mem::take(&mut self.header) {
            rows.skip(lines);
            return Ok(Found::Skip(taken));
        }
        if row == b"\\." {
            rows.skip(lines);
            return Ok(Found::End(taken));
        }
        rows.begin(lines);
        if has_quotes {
            self.split_quoted(row, rows);
        } else {
            rows.split_plain(row, &self.dialect);
        }
        rows.check_count(columns.len())?;
        Ok(Found::Row(taken))
    }

    /// A row in which all quotes are closed.
    fn split_quoted(&self, row: &[u8], rows: &mut Rows) {
        let Dialect { delimiter, quote, .. } = self.dialect;
        let mut start = 0;
        loop {
            let first = memchr2(delimiter, quote, &row[start..]).map_or(row.len(), |at| start + at);
            let end = if row.get(first) == Some(&quote) {
                self.quoted_field(row, start, first, rows)
            } else {
                rows.push_input(row, start, first, &self.dialect);
                first
            };
            if end >= row.len() {
                return;
            }
            start = end + 1;
        }
    }

    /// A field from `start` with its first quote at `opening`; returns where it ends.
    fn quoted_field(&self, row: &[u8], start: usize, opening: usize, rows: &mut Rows) -> usize {
        let Dialect { delimiter, quote, .. } = self.dialect;
        let closing = |from: usize| memchr(quote, &row[from..]).map_or(row.len(), |at| from + at);
        let close = closing(opening + 1);
        if opening == start && row.get(close + 1).is_none_or(|next| *next == delimiter) {
            // All of it in quotes, none of them doubled: it can stay where it is.
            rows.push(Form::Text, Place::Input, opening + 1, close);
            return close + 1;
        }
        let out = &mut rows.unescaped;
        let from = out.len();
        let mut at = start;
        let end = loop {
            // Outside of quotes.
            let next = memchr2(delimiter, quote, &row[at..]).map_or(row.len(), |found| at + found);
            out.extend_from_slice(&row[at..next]);
            if row.get(next) != Some(&quote) {
                break next;
            }
            at = next + 1;
            // Within.
            loop {
                let close = closing(at);
                out.extend_from_slice(&row[at..close]);
                at = (close + 1).min(row.len());
                if row.get(at) != Some(&quote) {
                    break;
                }
                out.push(quote);
                at += 1;
            }
        };
        let to = rows.unescaped.len();
        rows.push(Form::Text, Place::Unescaped, from, to);
        end
    }
}
