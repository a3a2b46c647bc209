//! Records into bytes.
//!
//! A [`RecordWriter`] appends to a buffer that its caller empties and uses again: [`begin`](RecordWriter::begin)
//! once, [`write`](RecordWriter::write) per record, [`finish`](RecordWriter::finish) once. No record allocates.
//! An error leaves nothing of its record in the buffer.

mod binary;
mod csv;
mod delimited;
mod field;
mod json_lines;
mod raw;
mod text;

use kcopy_wire::records::{Record, TimestampType};

use super::{
    envelope::Envelope,
    error::{FormatError, Problem},
    options::{Format, FormatOptions, OptionError},
    template::Template,
};
pub(super) use binary::SIGNATURE;
use delimited::RowWriter;
pub(super) use field::Fault;
pub(super) use field::{require_utf8, require_whole_characters};

/// What a record does not know about itself.
#[derive(Debug, Clone, Copy)]
pub struct RecordContext<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// The broker that it was fetched from.
    pub broker: i32,
    /// What its timestamp means, which its batch says.
    pub timestamp_type: TimestampType,
}

/// Writes records in one format.
#[derive(Debug)]
pub struct RecordWriter(Kind);

#[derive(Debug)]
enum Kind {
    Text(RowWriter<text::Text>),
    Csv(RowWriter<csv::Csv>),
    Binary(binary::BinaryWriter),
    Json(json_lines::JsonWriter),
    Raw(raw::RawWriter),
    Template(Template),
    Envelope(Box<Envelope>),
}

impl RecordWriter {
    /// A writer of kcopy's own formats.
    ///
    /// # Errors
    /// If an option means nothing in the format, or a column cannot be filled from a record, or not with its constant.
    pub fn new(options: &FormatOptions) -> Result<Self, OptionError> {
        options.check()?;
        let columns = options.columns_or_default();
        if options.format == Format::Binary {
            columns.check_for_binary()?;
        }
        Ok(RecordWriter(match options.format {
            Format::Text => Kind::Text(RowWriter::new(options, &columns)?),
            Format::Csv => Kind::Csv(RowWriter::new(options, &columns)?),
            Format::Binary => Kind::Binary(binary::BinaryWriter::new(options, &columns)?),
            Format::Json => Kind::Json(json_lines::JsonWriter::new(options)?),
            Format::Raw => Kind::Raw(raw::RawWriter::new(options, &columns)?),
        }))
    }

    /// A writer of kcat's `-f`, or of its output without one.
    pub fn template(template: Template) -> Self {
        RecordWriter(Kind::Template(template))
    }

    /// A writer of kcat's `-J`.
    pub fn envelope(envelope: Envelope) -> Self {
        RecordWriter(Kind::Envelope(Box::new(envelope)))
    }

    /// Appends what comes before the first record: the signature of the binary format, the names of the columns.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        match &self.0 {
            Kind::Text(writer) => writer.begin(out),
            Kind::Csv(writer) => writer.begin(out),
            Kind::Binary(writer) => writer.begin(out),
            Kind::Json(_) | Kind::Raw(_) | Kind::Template(_) | Kind::Envelope(_) => {}
        }
    }

    /// Appends a record.
    ///
    /// # Errors
    /// If the format cannot express it. Then nothing has been appended.
    pub fn write(
        &mut self,
        context: &RecordContext<'_>,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        let start = out.len();
        let written = match &mut self.0 {
            Kind::Text(writer) => writer.write(context, record, out),
            Kind::Csv(writer) => writer.write(context, record, out),
            Kind::Binary(writer) => writer.write(context, record, out),
            Kind::Json(writer) => writer.write(context, record, out),
            Kind::Raw(writer) => writer.write(context, record, out),
            Kind::Template(writer) => writer.write(context, record, out),
            Kind::Envelope(writer) => writer.write(context, record, out),
        };
        written.map_err(|fault| {
            out.truncate(start);
            self.explain(context, record, fault)
        })
    }

    /// Appends what comes after the last record: the trailer of the binary format, and nothing elsewhere. It
    /// belongs only behind a run that delivered everything.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Kind::Binary(writer) = &self.0 {
            writer.finish(out);
        }
    }

    #[cold]
    fn explain(&self, context: &RecordContext<'_>, record: &Record<'_>, fault: Fault) -> FormatError {
        let column = match &self.0 {
            Kind::Text(writer) => writer.column(fault.column),
            Kind::Csv(writer) => writer.column(fault.column),
            Kind::Binary(writer) => writer.column(fault.column),
            Kind::Json(writer) => writer.column(fault.column),
            Kind::Raw(writer) => writer.column(fault.column),
            Kind::Template(_) | Kind::Envelope(_) if fault.column == Fault::KEY => ("key", None),
            Kind::Template(_) | Kind::Envelope(_) => ("value", None),
        };
        let place = (context.topic, context.partition, record.offset);
        let advice = advice(&fault.problem);
        FormatError::new(place, column, fault.problem, advice)
    }
}

fn advice(problem: &Problem) -> &'static str {
    match problem {
        Problem::InvalidUtf8 { .. } | Problem::LoneSurrogate { .. } | Problem::NulByte { .. } => {
            "use --invalid-text replace, base64 or hex, or declare the column as bytea"
        }
        Problem::InvalidJson { .. } => "declare the column as text or bytea to load it as it is",
        Problem::InvalidValue { .. } => "declare the column as text to load it as it is",
        Problem::TimestampOutOfRange | Problem::IntegerOutOfRange(_) => {
            "declare the column as int8 or text to load it"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests;
