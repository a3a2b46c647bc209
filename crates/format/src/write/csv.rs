//! COPY's csv format: byte for byte what `COPY ... TO ... (format csv)` writes.

use kcopy_wire::records::Record;

use super::{
    RecordContext,
    field::{Cell, Fault, Row, valid_text},
    text::{is_plain_safe, put_plain},
};
use crate::options::InvalidText;
use crate::{
    columns::{Columns, Type},
    error::Problem,
    options::{Dialect, FormatOptions, OptionError},
    scan::{Escape, Special, none},
};

#[derive(Debug)]
pub(super) struct CsvWriter {
    row: Row,
    dialect: Dialect,
    header: bool,
    invalid_text: InvalidText,
    /// Whether numbers, times and hexadecimal digits never need quotes.
    plain_is_safe: bool,
    plain: Vec<u8>,
}

impl CsvWriter {
    pub(super) fn new(options: &FormatOptions, columns: &Columns) -> Result<Self, OptionError> {
        let dialect = options.dialect()?;
        Ok(CsvWriter {
            row: Row::new(columns),
            plain_is_safe: is_plain_safe(&dialect) && dialect.null.is_empty(),
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
            put_field(out, name.as_bytes(), &self.dialect, self.row.len() == 1);
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
        let CsvWriter { row, dialect, plain, .. } = self;
        let is_alone = row.len() == 1;
        let (cell, column_type) = row.cell(column, context, record)?;
        match cell {
            Cell::Text(bytes) => put_text(out, bytes, dialect, is_alone, self.invalid_text)?,
            Cell::Null => out.extend_from_slice(&dialect.null),
            Cell::Json(json) => put_field(out, json, dialect, is_alone),
            Cell::Bytea(_) | Cell::Int(_) | Cell::Timestamp(_) if self.plain_is_safe => {
                put_plain(out, cell, column_type)?;
            }
            Cell::Typed(_) if self.plain_is_safe && !matches!(column_type, Type::Array(_)) => {
                put_plain(out, cell, column_type)?;
            }
            Cell::Bytea(_) | Cell::Int(_) | Cell::Timestamp(_) | Cell::Typed(_) => {
                plain.clear();
                put_plain(plain, cell, column_type)?;
                put_field(out, plain, dialect, is_alone);
            }
        }
        Ok(())
    }
}

#[inline]
fn put_text(
    out: &mut Vec<u8>,
    bytes: &[u8],
    dialect: &Dialect,
    is_alone: bool,
    invalid_text: InvalidText,
) -> Result<(), Problem> {
    let Dialect { delimiter, quote, ref null } = *dialect;
    // Plain ASCII without anything special: nothing to check, nothing to quote.
    let special =
        |byte| (byte as i8) <= 0 || byte == b'\n' || byte == b'\r' || byte == delimiter || byte == quote;
    if none(bytes, special) && bytes.len() != null.len() && bytes.len() != END_MARKER.len() {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    let text = valid_text(bytes, invalid_text)?;
    put_field(out, &text, dialect, is_alone);
    Ok(())
}

/// What ends the input when it stands alone on a line.
const END_MARKER: &[u8] = b"\\.";

/// Appends valid text, in quotes where it would be misunderstood without.
fn put_field(out: &mut Vec<u8>, text: &[u8], dialect: &Dialect, is_alone: bool) {
    let Dialect { delimiter, quote, ref null } = *dialect;
    let special = |byte| (byte == b'\n') | (byte == b'\r') | (byte == delimiter) | (byte == quote);
    let is_misunderstood = text == null || (is_alone && text == END_MARKER);
    if !is_misunderstood && none(text, special) {
        return out.extend_from_slice(text);
    }
    out.push(quote);
    Special::new(0, quote, quote).put_escaped(out, text, |quote| Escape::Two([quote, quote]));
    out.push(quote);
}
