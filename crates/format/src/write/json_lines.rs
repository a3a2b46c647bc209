//! One JSON object a line: the whole record, or the columns asked for.
//!
//! ```text
//! {"topic":"t","partition":0,"offset":7,"timestamp":"2026-11-22T18:48:00.5Z","key":null,"value":"v","headers":[["n","v"]]}
//! ```
//! Every line is valid JSON. Keys and values are strings; bytes that are not UTF-8 become
//! `{"base64":"/wA="}`. A time beyond the years 1 to 9999 is a number of milliseconds, none is null.
//!
//! With `--columns`, members have the names of the columns: text is a string, bytea a string such as
//! `"\\x00ff"`, integers are numbers, times RFC 3339 strings, json and jsonb are embedded, other types as their values are in JSON. What would read back
//! as something else when embedded (the JSON text `null`, and the base64 marker itself) is embedded as base64.

use kcopy_wire::records::{NO_TIMESTAMP, Record};

use super::{
    RecordContext,
    field::{Cell, Fault, Row},
};
use crate::options::InvalidText;
use crate::{
    base64::put_hex,
    columns::Type,
    datetime::{Style, fits_rfc3339, micros_from_kafka, put_timestamptz},
    error::Problem,
    headers::{decode_marker, put_headers},
    json::{put_base64_marker, put_bytes_as_string, put_lossy_string, put_on_one_line, put_string},
    number::put_i64,
    options::{FormatOptions, OptionError},
};

#[derive(Debug)]
pub(super) struct JsonWriter {
    columns: Option<JsonColumns>,
    invalid_text: InvalidText,
    plain: Vec<u8>,
}

#[derive(Debug)]
struct JsonColumns {
    row: Row,
    /// `"name":` for each, after a comma or an opening brace.
    prefixes: Vec<Vec<u8>>,
}

impl JsonWriter {
    pub(super) fn new(options: &FormatOptions) -> Result<Self, OptionError> {
        let columns = options.columns.as_ref().map(|columns| -> Result<_, OptionError> {
            let row = Row::new(columns)?;
            let prefix = |(index, name): (usize, &str)| {
                let mut prefix = if index == 0 { vec![b'{'] } else { vec![b','] };
                put_string(&mut prefix, name);
                prefix.push(b':');
                prefix
            };
            let prefixes = row.names().enumerate().map(prefix).collect();
            Ok(JsonColumns { row, prefixes })
        });
        let columns = columns.transpose()?;
        Ok(JsonWriter { columns, invalid_text: options.invalid_text, plain: Vec::new() })
    }

    pub(super) fn column(&self, column: usize) -> (&str, Option<&Type>) {
        self.columns.as_ref().map_or(("value", None), |columns| columns.row.column(column))
    }

    #[inline]
    pub(super) fn write(
        &mut self,
        context: &RecordContext<'_>,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Some(JsonColumns { row, prefixes }) = &mut self.columns else {
            put_record(out, context, record, self.invalid_text);
            return Ok(());
        };
        row.begin(record)?;
        for (column, prefix) in prefixes.iter().enumerate() {
            out.extend_from_slice(prefix);
            row.cell(column, context, record)
                .and_then(|(cell, column_type)| {
                    put_cell(out, cell, column_type, self.invalid_text, &mut self.plain)
                })
                .map_err(|problem: Problem| Fault { column, problem })?;
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

fn put_record(
    out: &mut Vec<u8>,
    context: &RecordContext<'_>,
    record: &Record<'_>,
    invalid_text: InvalidText,
) {
    out.extend_from_slice(b"{\"topic\":");
    put_string(out, context.topic);
    out.extend_from_slice(b",\"partition\":");
    put_i64(out, i64::from(context.partition));
    out.extend_from_slice(b",\"offset\":");
    put_i64(out, record.offset);
    out.extend_from_slice(b",\"timestamp\":");
    match (record.timestamp, micros_from_kafka(record.timestamp)) {
        (NO_TIMESTAMP, _) => out.extend_from_slice(b"null"),
        (_, Some(micros)) if fits_rfc3339(micros) => put_time(out, micros),
        (timestamp_ms, _) => put_i64(out, timestamp_ms),
    }
    out.extend_from_slice(b",\"key\":");
    put_nullable(out, record.key, invalid_text);
    out.extend_from_slice(b",\"value\":");
    put_nullable(out, record.value, invalid_text);
    out.extend_from_slice(b",\"headers\":");
    put_headers(out, record.headers);
    out.extend_from_slice(b"}\n");
}

fn put_cell(
    out: &mut Vec<u8>,
    cell: Cell<'_>,
    column_type: &Type,
    invalid_text: InvalidText,
    plain: &mut Vec<u8>,
) -> Result<(), Problem> {
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        Cell::Text(text) => put_text(out, text, invalid_text),
        Cell::Bytea(bytes) => put_bytea(out, bytes),
        Cell::Int(number) if column_type.is_integer() => put_i64(out, number),
        Cell::Int(number) => {
            out.push(b'"');
            put_i64(out, number);
            out.push(b'"');
        }
        Cell::Timestamp(micros) => put_time(out, micros),
        Cell::Typed(binary) => column_type
            .put_as_json(binary, out)
            .map_err(|reason| Problem::typed(column_type, binary, reason))?,
        Cell::Json(json) if column_type.is_text() => put_text(out, json, invalid_text),
        Cell::Json(json) => {
            plain.clear();
            if json.trim_ascii() == b"null" || decode_marker(json, plain) {
                put_base64_marker(out, json);
            } else {
                put_on_one_line(out, json);
            }
        }
    }
    Ok(())
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>, invalid_text: InvalidText) {
    match bytes {
        Some(bytes) => put_text(out, bytes, invalid_text),
        None => out.extend_from_slice(b"null"),
    }
}

#[inline]
fn put_text(out: &mut Vec<u8>, bytes: &[u8], invalid_text: InvalidText) {
    if put_bytes_as_string(out, bytes) {
        return;
    }
    match invalid_text {
        InvalidText::Error | InvalidText::Base64 => put_base64_marker(out, bytes),
        InvalidText::Replace => put_lossy_string(out, bytes),
        InvalidText::Hex => put_bytea(out, bytes),
    }
}

fn put_bytea(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"\"\\\\x");
    put_hex(out, bytes);
    out.push(b'"');
}

fn put_time(out: &mut Vec<u8>, micros: i64) {
    out.push(b'"');
    put_timestamptz(out, micros, if fits_rfc3339(micros) { Style::Rfc3339 } else { Style::Postgres });
    out.push(b'"');
}
