//! The bytes of one column, with a delimiter after each record.

use kcopy_wire::records::Record;

use super::{
    RecordContext,
    delimited::put_plain,
    field::{Cell, Fault, Row},
};
use crate::{
    columns::{Columns, Type},
    options::{FormatOptions, OptionError},
};

#[derive(Debug)]
pub(super) struct RawWriter {
    row: Row,
    delimiter: Vec<u8>,
    null: Vec<u8>,
}

impl RawWriter {
    pub(super) fn new(options: &FormatOptions, columns: &Columns) -> Result<Self, OptionError> {
        if columns.as_slice().len() != 1 {
            let message = "--format raw writes the bytes of one column; for more there is --template";
            return Err(OptionError(message.to_owned()));
        }
        Ok(RawWriter {
            row: Row::new(columns)?,
            delimiter: options.raw_delimiter(),
            null: options.null.clone().unwrap_or_default().into_bytes(),
        })
    }

    pub(super) fn column(&self, _column: usize) -> (&str, Option<&Type>) {
        self.row.column(0)
    }

    #[inline]
    pub(super) fn write(
        &mut self,
        context: &RecordContext<'_>,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.row.begin(record)?;
        let fault = |problem| Fault { column: 0, problem };
        let (cell, column_type) = self.row.cell(0, context, record).map_err(fault)?;
        match cell {
            Cell::Null => out.extend_from_slice(&self.null),
            Cell::Text(bytes) | Cell::Bytea(bytes) | Cell::Json(bytes) => out.extend_from_slice(bytes),
            Cell::Int(_) | Cell::Timestamp(_) | Cell::Typed(_) => {
                put_plain(out, cell, column_type).map_err(fault)?;
            }
        }
        out.extend_from_slice(&self.delimiter);
        Ok(())
    }
}
