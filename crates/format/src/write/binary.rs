//! COPY's binary format.

use kcopy_wire::records::Record;

use super::{
    RecordContext,
    delimited::put_plain,
    field::{Cell, Fault, Row, valid_text},
};
use crate::options::InvalidText;
use crate::{
    columns::{Columns, Type},
    error::Problem,
    options::{FormatOptions, OptionError},
    scan::is_plain_text,
    types::JSONB_VERSION,
};

/// What every binary COPY starts with.
pub(crate) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// PostgreSQL's limit for one value.
const MAX_FIELD_BYTES: usize = 0x3fff_ffff;

#[derive(Debug)]
pub(super) struct BinaryWriter {
    row: Row,
    field_count: [u8; 2],
    invalid_text: InvalidText,
}

impl BinaryWriter {
    pub(super) fn new(options: &FormatOptions, columns: &Columns) -> Result<Self, OptionError> {
        Ok(BinaryWriter {
            // At most 1,600, by the check of the list.
            field_count: (columns.as_slice().len() as u16).to_be_bytes(),
            row: Row::new(columns)?,
            invalid_text: options.invalid_text,
        })
    }

    pub(super) fn column(&self, column: usize) -> (&str, Option<&Type>) {
        self.row.column(column)
    }

    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(SIGNATURE);
        // No flags, no header extension.
        out.extend_from_slice(&[0; 8]);
    }

    pub(super) fn finish(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(-1i16).to_be_bytes());
    }

    #[inline]
    pub(super) fn write(
        &mut self,
        context: &RecordContext<'_>,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        out.extend_from_slice(&self.field_count);
        self.row.begin(record)?;
        for column in 0..self.row.len() {
            self.row
                .cell(column, context, record)
                .and_then(|(cell, column_type)| put_cell(out, cell, column_type, self.invalid_text))
                .map_err(|problem| Fault { column, problem })?;
        }
        Ok(())
    }
}

#[inline]
fn put_cell(
    out: &mut Vec<u8>,
    cell: Cell<'_>,
    column_type: &Type,
    invalid_text: InvalidText,
) -> Result<(), Problem> {
    match (cell, column_type) {
        (Cell::Null, _) => out.extend_from_slice(&(-1i32).to_be_bytes()),
        (Cell::Text(text), _) if is_plain_text(text) => put_bytes(out, text)?,
        (Cell::Text(text), _) => put_bytes(out, &valid_text(text, invalid_text)?)?,
        (Cell::Json(json), Type::Jsonb) => {
            put_length(out, json.len() + 1)?;
            out.push(JSONB_VERSION);
            out.extend_from_slice(json);
        }
        (Cell::Json(bytes) | Cell::Bytea(bytes) | Cell::Typed(bytes), _) => put_bytes(out, bytes)?,
        (Cell::Int(number), Type::Int2) => put_fixed(out, &(number as i16).to_be_bytes()),
        (Cell::Int(number), Type::Int4) => put_fixed(out, &(number as i32).to_be_bytes()),
        (Cell::Int(number), Type::Int8) => put_eight(out, number),
        (Cell::Timestamp(micros), Type::Timestamptz(_)) => put_eight(out, micros),
        // Numbers and times that were declared as text.
        (Cell::Int(_) | Cell::Timestamp(_), _) => {
            let length_at = out.len();
            put_fixed(out, &[]);
            put_plain(out, cell, column_type)?;
            let length = (out.len() - length_at - 4) as i32;
            out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}

#[inline]
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Problem> {
    put_length(out, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

#[inline]
fn put_length(out: &mut Vec<u8>, length: usize) -> Result<(), Problem> {
    if length > MAX_FIELD_BYTES {
        return Err(Problem::TooLong { bytes: length });
    }
    out.extend_from_slice(&(length as i32).to_be_bytes());
    Ok(())
}

/// A value of eight bytes, in one step with its length.
#[inline]
fn put_eight(out: &mut Vec<u8>, value: i64) {
    let field = 8u128 << 64 | u128::from(value as u64);
    out.extend_from_slice(&field.to_be_bytes()[4..]);
}

/// A value of at most eight bytes.
#[inline]
fn put_fixed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}
