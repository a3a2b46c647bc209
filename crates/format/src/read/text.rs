//! COPY's text format.

use memchr::{memchr, memchr2};

use super::{
    assemble::ColumnPlan,
    rows::{Form, Found, Place, Rows},
};
use crate::{base64::hex_digit, error::InputErrorKind, options::Dialect};

#[derive(Debug)]
pub(super) struct TextParser {
    dialect: Dialect,
    header: bool,
    /// How many of the unread bytes belong to the row already, and how many lines have ended in it.
    searched: usize,
    lines: u64,
}

impl TextParser {
    pub(super) fn new(dialect: Dialect, header: bool) -> Self {
        TextParser { dialect, header, searched: 0, lines: 0 }
    }

    #[inline]
    pub(super) fn find(
        &mut self,
        unread: &[u8],
        at_end: bool,
        columns: &[ColumnPlan],
        rows: &mut Rows,
    ) -> Result<Found, InputErrorKind> {
        let Some((len, taken)) = self.line(unread, at_end) else { return Ok(Found::Nothing) };
        let lines = std::mem::take(&mut self.lines) + 1;
        if std::mem::take(&mut self.header) {
            rows.skip(lines);
            return Ok(Found::Skip(taken));
        }
        let line = &unread[..len];
        if let Some(rest) = line.strip_prefix(b"\\.") {
            if rest.is_empty() {
                rows.skip(lines);
                return Ok(Found::End(taken));
            }
            rows.begin(lines);
            return Err(InputErrorKind::CorruptEndMarker);
        }
        rows.begin(lines);
        if memchr(b'\\', line).is_none() {
            rows.split_plain(line, &self.dialect);
        } else {
            self.split_escaped(line, rows)?;
        }
        rows.check_count(columns.len())?;
        Ok(Found::Row(taken))
    }

    /// The length of the next line, without and with its end. A line end behind a backslash is part of the
    /// line.
    #[inline]
    fn line(&mut self, unread: &[u8], at_end: bool) -> Option<(usize, usize)> {
        loop {
            let Some(found) = memchr(b'\n', &unread[self.searched..]) else {
                if at_end && !unread.is_empty() {
                    self.searched = 0;
                    return Some((unread.len(), unread.len()));
                }
                self.searched = unread.len();
                return None;
            };
            let end = self.searched + found;
            if is_escaped(&unread[..end]) {
                self.searched = end + 1;
                self.lines += 1;
                continue;
            }
            self.searched = 0;
            // A carriage return as data is always escaped.
            return Some(match &unread[..end] {
                [line @ .., b'\r'] if !is_escaped(line) => (line.len(), end + 1),
                _ => (end, end + 1),
            });
        }
    }

    fn split_escaped(&self, line: &[u8], rows: &mut Rows) -> Result<(), InputErrorKind> {
        let mut start = 0;
        loop {
            let (end, has_escapes) = self.field_end(line, start).ok_or(InputErrorKind::Truncated)?;
            let field = &line[start..end];
            // COPY compares before it unescapes.
            if has_escapes && field != self.dialect.null {
                let from = rows.unescaped.len();
                unescape(field, &mut rows.unescaped);
                rows.push(Form::Text, Place::Unescaped, from, rows.unescaped.len());
            } else {
                rows.push_input(line, start, end, &self.dialect);
            }
            if end == line.len() {
                return Ok(());
            }
            start = end + 1;
        }
    }

    /// Where the field from `start` ends, and whether there are escapes in it. None if the line ends with a
    /// backslash, which only the end of the input can have cut off.
    fn field_end(&self, line: &[u8], start: usize) -> Option<(usize, bool)> {
        let mut at = start;
        let mut has_escapes = false;
        loop {
            match memchr2(self.dialect.delimiter, b'\\', line.get(at..)?) {
                Some(found) if line[at + found] == b'\\' => {
                    has_escapes = true;
                    at += found + 2;
                }
                Some(found) => return Some((at + found, has_escapes)),
                None => return Some((line.len(), has_escapes)),
            }
        }
    }
}

/// Whether an odd number of backslashes stands at the end.
#[inline]
fn is_escaped(before: &[u8]) -> bool {
    before.last() == Some(&b'\\') && before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Appends the field that is meant. Its last byte is no lone backslash.
fn unescape(mut field: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr(b'\\', field) {
        out.extend_from_slice(&field[..at]);
        let escape = &field[at + 1..];
        let (byte, len) = match escape {
            [b'b', ..] => (0x08, 1),
            [b'f', ..] => (0x0c, 1),
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [b'v', ..] => (0x0b, 1),
            [b'0'..=b'7', ..] => {
                let octal = |digit: &u8| matches!(digit, b'0'..=b'7').then(|| digit - b'0');
                // Of a number beyond 377 COPY keeps the low bits.
                let digits = escape.iter().take(3).map_while(octal);
                digits.fold((0u8, 0), |(byte, len), digit| (byte << 3 | digit, len + 1))
            }
            [b'x', digits @ ..] => {
                let mut digits = digits.iter().map_while(|&digit| hex_digit(digit));
                match (digits.next(), digits.next()) {
                    (None, _) => (b'x', 1),
                    (Some(only), None) => (only, 2),
                    (Some(first), Some(second)) => (first << 4 | second, 3),
                }
            }
            [itself, ..] => (*itself, 1),
            [] => (b'\\', 0),
        };
        out.push(byte);
        field = &escape[len..];
    }
    out.extend_from_slice(field);
}
