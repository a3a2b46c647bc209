//! COPY's text format: byte for byte what `COPY ... TO` writes.

use kcopy_wire::records::Record;

use super::{
    RecordContext,
    field::{Cell, Fault, Row, valid_text},
};
use crate::options::InvalidText;
use crate::{
    base64::put_hex,
    columns::{Columns, Type},
    datetime::{Style, put_timestamptz},
    error::Problem,
    number::put_i64,
    options::{Dialect, FormatOptions, OptionError},
    scan::{Escape, Special, none},
};

#[derive(Debug)]
pub(super) struct TextWriter {
    row: Row,
    dialect: Dialect,
    header: bool,
    invalid_text: InvalidText,
    /// Whether numbers, times and hexadecimal digits can hold neither the delimiter nor what means NULL.
    plain_is_safe: bool,
    plain: Vec<u8>,
}

impl TextWriter {
    pub(super) fn new(options: &FormatOptions, columns: &Columns) -> Result<Self, OptionError> {
        let dialect = options.dialect()?;
        Ok(TextWriter {
            row: Row::new(columns),
            plain_is_safe: is_plain_safe(&dialect) && dialect.null == b"\\N",
            dialect,
            header: options.header,
            invalid_text: options.invalid_text,
            plain: Vec::new(),
        })
    }

    pub(super) fn column_name(&self, column: usize) -> &str {
        self.row.name(column)
    }

    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        if !self.header {
            return;
        }
        for (index, name) in self.row.names().enumerate() {
            if index > 0 {
                out.push(self.dialect.delimiter);
            }
            put_escaped(out, name.as_bytes(), self.dialect.delimiter);
        }
        out.push(b'\n');
    }

    #[inline]
    pub(super) fn write(
        &mut self,
        context: &RecordContext<'_>,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.row.begin(record)?;
        for column in 0..self.row.len() {
            if column > 0 {
                out.push(self.dialect.delimiter);
            }
            self.field(column, context, record, out).map_err(|problem| Fault { column, problem })?;
        }
        out.push(b'\n');
        Ok(())
    }

    #[inline]
    fn field(
        &mut self,
        column: usize,
        context: &RecordContext<'_>,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Problem> {
        let TextWriter { row, dialect, plain, .. } = self;
        let (cell, column_type) = row.cell(column, context, record)?;
        match cell {
            Cell::Text(bytes) => put_text(out, bytes, dialect, self.invalid_text)?,
            Cell::Null => out.extend_from_slice(&dialect.null),
            // Valid already, and no NUL can be in it.
            Cell::Json(json) => put_field(out, json, dialect),
            Cell::Bytea(_) if self.plain_is_safe => {
                out.push(b'\\');
                put_plain(out, cell, column_type)?;
            }
            Cell::Int(_) | Cell::Timestamp(_) if self.plain_is_safe => put_plain(out, cell, column_type)?,
            Cell::Typed(_) if self.plain_is_safe && !matches!(column_type, Type::Array(_)) => {
                put_plain(out, cell, column_type)?;
            }
            Cell::Bytea(_) | Cell::Int(_) | Cell::Timestamp(_) | Cell::Typed(_) => {
                plain.clear();
                put_plain(plain, cell, column_type)?;
                put_field(out, plain, dialect);
            }
        }
        Ok(())
    }
}

/// Whether neither delimiter, nor quote occurs in numbers, times, addresses and `\x00ff`.
pub(super) fn is_plain_safe(dialect: &Dialect) -> bool {
    ![dialect.delimiter, dialect.quote].iter().any(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b':' | b'.' | b' ' | b'/' | b'\\')
    })
}

/// Appends a value that is no text as PostgreSQL's text form of it.
#[inline]
pub(super) fn put_plain(out: &mut Vec<u8>, cell: Cell<'_>, column_type: &Type) -> Result<(), Problem> {
    match cell {
        Cell::Int(number) => put_i64(out, number),
        Cell::Timestamp(micros) => put_timestamptz(out, micros, Style::Postgres),
        Cell::Bytea(bytes) => {
            out.extend_from_slice(b"\\x");
            put_hex(out, bytes);
        }
        Cell::Typed(binary) => {
            column_type.show(binary, out).map_err(|reason| Problem::value(column_type, binary, reason))?;
        }
        Cell::Null | Cell::Text(_) | Cell::Json(_) => {}
    }
    Ok(())
}

#[inline]
fn put_text(
    out: &mut Vec<u8>,
    bytes: &[u8],
    dialect: &Dialect,
    invalid_text: InvalidText,
) -> Result<(), Problem> {
    // Plain ASCII without anything special: nothing to check, nothing to escape.
    let delimiter = dialect.delimiter;
    let is_plain = none(bytes, |byte| ((byte as i8) < 0x20) | (byte == b'\\') | (byte == delimiter));
    if is_plain && (bytes.len() != dialect.null.len() || bytes.is_empty()) {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    let text = valid_text(bytes, invalid_text)?;
    put_field(out, &text, dialect);
    Ok(())
}

/// Appends valid text so that it is not taken for NULL. An empty text cannot be told from `--null ''`; COPY
/// itself has it so.
fn put_field(out: &mut Vec<u8>, text: &[u8], dialect: &Dialect) {
    let start = out.len();
    put_escaped(out, text, dialect.delimiter);
    if out[start..] == dialect.null && !text.is_empty() {
        // COPY compares before it unescapes, so any escape makes the difference.
        out.truncate(start);
        // A whole character, since no line may hold a part of one.
        let first = text[1..].iter().take_while(|byte| (0x80..0xc0).contains(*byte)).count() + 1;
        for byte in &text[..first] {
            out.extend_from_slice(b"\\x");
            put_hex(out, &[*byte]);
        }
        put_escaped(out, &text[first..], dialect.delimiter);
    }
}

fn put_escaped(out: &mut Vec<u8>, text: &[u8], delimiter: u8) {
    Special::new(0x20, b'\\', delimiter).put_escaped(out, text, |special| {
        let letter = match special {
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0b => b'v',
            0x0c => b'f',
            b'\r' => b'r',
            itself if itself == b'\\' || itself == delimiter => itself,
            other => return Escape::One(other),
        };
        Escape::Two([b'\\', letter])
    });
}
