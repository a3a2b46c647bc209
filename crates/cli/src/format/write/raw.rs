//! The bytes of one column, with a delimiter after each record.

use kcopy_wire::records::Record;

use super::{
    RecordContext,
    field::{Cell, Fault, Field, Scratch},
};
use crate::format::{
    columns::Columns,
    datetime::{Style, put_timestamptz},
    number::put_i64,
    options::{FormatOptions, OptionError},
};

#[derive(Debug)]
pub(super) struct RawWriter {
    field: Field,
    delimiter: Vec<u8>,
    null: Vec<u8>,
    scratch: Scratch,
}

impl RawWriter {
    pub(super) fn new(options: &FormatOptions, columns: &Columns) -> Result<Self, OptionError> {
        let mut fields = Field::list(columns);
        let field = match (fields.pop(), fields.is_empty()) {
            (Some(field), true) => field,
            _ => {
                let message = "--format raw writes the bytes of one column; for more there is --template";
                return Err(OptionError(message.to_owned()));
            }
        };
        Ok(RawWriter {
            field,
            delimiter: options.raw_delimiter(),
            null: options.null.clone().unwrap_or_default().into_bytes(),
            scratch: Scratch::default(),
        })
    }

    pub(super) fn column_name(&self, _column: usize) -> &str {
        &self.field.name
    }

    #[inline]
    pub(super) fn write(
        &mut self,
        context: &RecordContext<'_>,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let cell = self
            .field
            .cell(context, record, &mut self.scratch)
            .map_err(|problem| Fault { column: 0, problem })?;
        match cell {
            Cell::Null => out.extend_from_slice(&self.null),
            Cell::Text(bytes) | Cell::Bytea(bytes) | Cell::Json(bytes) => out.extend_from_slice(bytes),
            Cell::Int(number) => put_i64(out, number),
            Cell::Timestamp(micros) => put_timestamptz(out, micros, Style::Postgres),
        }
        out.extend_from_slice(&self.delimiter);
        Ok(())
    }
}
