//! Rows of fields with a delimiter between them, as COPY's text and csv have them.

use std::{fmt::Debug, marker::PhantomData};

use kcopy_wire::records::Record;

use super::{
    RecordContext,
    field::{Cell, Fault, Row, valid_text},
};
use crate::{
    base64::put_hex,
    columns::{Columns, Type},
    datetime::{Style, put_timestamptz},
    error::Problem,
    number::put_i64,
    options::{Dialect, FormatOptions, InvalidText, OptionError},
};

/// How a format keeps a field from being taken for something else.
pub(super) trait Escaping: Debug {
    /// What comes before the `\x` of a bytea.
    const BEFORE_BYTEA: &'static [u8];

    /// Whether a field is written as it is: ASCII without anything special. What is not plain may still be valid.
    fn is_plain(bytes: &[u8], dialect: &Dialect) -> bool;

    /// Appends valid text so that it is not taken for NULL. `is_alone`: the row has no other field.
    fn put_field(out: &mut Vec<u8>, text: &[u8], dialect: &Dialect, is_alone: bool);

    /// Appends the name of a column.
    fn put_name(out: &mut Vec<u8>, name: &[u8], dialect: &Dialect, is_alone: bool) {
        Self::put_field(out, name, dialect, is_alone);
    }
}

#[derive(Debug)]
pub(super) struct RowWriter<E> {
    row: Row,
    dialect: Dialect,
    header: bool,
    invalid_text: InvalidText,
    /// Whether numbers, times and hexadecimal digits need no care.
    plain_is_safe: bool,
    plain: Vec<u8>,
    escaping: PhantomData<E>,
}

impl<E: Escaping> RowWriter<E> {
    pub(super) fn new(options: &FormatOptions, columns: &Columns) -> Result<Self, OptionError> {
        let dialect = options.dialect()?;
        Ok(RowWriter {
            row: Row::new(columns)?,
            plain_is_safe: is_plain_safe(&dialect),
            dialect,
            header: options.header,
            invalid_text: options.invalid_text,
            plain: Vec::new(),
            escaping: PhantomData,
        })
    }

    pub(super) fn column(&self, column: usize) -> (&str, Option<&Type>) {
        self.row.column(column)
    }

    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        if !self.header {
            return;
        }
        for (index, name) in self.row.names().enumerate() {
            if index > 0 {
                out.push(self.dialect.delimiter);
            }
            E::put_name(out, name.as_bytes(), &self.dialect, self.row.len() == 1);
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
        let RowWriter { row, dialect, plain, .. } = self;
        let is_alone = row.len() == 1;
        let (cell, column_type) = row.cell(column, context, record)?;
        match cell {
            Cell::Text(bytes) if E::is_plain(bytes, dialect) => out.extend_from_slice(bytes),
            Cell::Text(bytes) => {
                let text = valid_text(bytes, self.invalid_text)?;
                E::put_field(out, &text, dialect, is_alone);
            }
            Cell::Null => out.extend_from_slice(&dialect.null),
            // Valid already, and no NUL can be in it.
            Cell::Json(json) => E::put_field(out, json, dialect, is_alone),
            Cell::Bytea(_) if self.plain_is_safe => {
                out.extend_from_slice(E::BEFORE_BYTEA);
                put_plain(out, cell, column_type)?;
            }
            Cell::Int(_) | Cell::Timestamp(_) if self.plain_is_safe => put_plain(out, cell, column_type)?,
            Cell::Typed(_) if self.plain_is_safe && !matches!(column_type, Type::Array(_)) => {
                put_plain(out, cell, column_type)?;
            }
            Cell::Bytea(_) | Cell::Int(_) | Cell::Timestamp(_) | Cell::Typed(_) => {
                plain.clear();
                put_plain(plain, cell, column_type)?;
                E::put_field(out, plain, dialect, is_alone);
            }
        }
        Ok(())
    }
}

/// Whether delimiter, quote and NULL are neither found in numbers, times, addresses and `\x00ff`, nor mistaken for them.
fn is_plain_safe(dialect: &Dialect) -> bool {
    let is_in_them = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b':' | b'.' | b' ' | b'/' | b'\\')
    };
    !is_in_them(dialect.delimiter) && !is_in_them(dialect.quote) && matches!(&*dialect.null, b"" | b"\\N")
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
