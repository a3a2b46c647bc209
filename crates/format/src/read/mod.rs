//! Bytes into records.
//!
//! The caller reads blocks straight into the reader's buffer, and takes the records out that borrow from it:
//!
//! ```
//! # use std::io::Read;
//! # use kcopy_format::{Columns, Format, FormatOptions, read::RecordReader};
//! let mut input = &b"a\tx\n\\N\ty\n"[..];
//! let columns = Some(Columns::parse("key, value")?);
//! let mut reader = RecordReader::new(&FormatOptions { columns, ..FormatOptions::new(Format::Text) })?;
//! let mut keys = Vec::new();
//! while !reader.is_finished() {
//!     let len = input.read(reader.space())?;
//!     reader.filled(len);
//!     while let Some(record) = reader.read_record()? {
//!         keys.push(record.key.map(<[u8]>::to_vec));
//!     }
//! }
//! assert_eq!(keys, [Some(b"a".to_vec()), None]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assemble;
mod binary;
mod buffer;
mod csv;
mod delimited;
mod json_lines;
mod members;
mod rows;
mod text;

use kcopy_wire::records::Headers;

use super::{
    columns::Columns,
    error::{InputError, InputErrorKind, InputPlace},
    options::{DEFAULT_MAX_RECORD_BYTES, Format, FormatOptions, OptionError},
};
use assemble::{Assembled, Assembler};
use buffer::Buffer;
pub use delimited::{DelimitedInput, Values};
use rows::{Found, Place, Rows, Span};

/// A record as the input has it, borrowed from the reader.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct InputRecord<'a> {
    /// The topic, where the input names one.
    pub topic: Option<&'a str>,
    /// The partition, where the input names one; not negative.
    pub partition: Option<i32>,
    /// Milliseconds since 1970, where the input has a time.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
    /// The row as it came, with the delimiter behind it.
    pub raw: &'a [u8],
}

/// Reads records in one format.
#[derive(Debug)]
pub struct RecordReader {
    buffer: Buffer,
    kind: Kind,
    assembler: Assembler,
    rows: Rows,
    max_record_bytes: usize,
    finished: bool,
}

#[derive(Debug)]
enum Kind {
    Delimited(Box<delimited::Splitter>),
    Raw(Box<delimited::Splitter>),
    Text(text::TextParser),
    Csv(csv::CsvParser),
    Binary(binary::BinaryParser),
    Json(json_lines::JsonParser),
}

impl RecordReader {
    /// A reader of kcopy's own formats.
    ///
    /// # Errors
    /// If an option means nothing in the format, or a column has no place in a record.
    pub fn new(options: &FormatOptions) -> Result<Self, OptionError> {
        options.check()?;
        let columns = match (&options.columns, options.format) {
            (None, Format::Json) => json_lines::record_columns(),
            _ => options.columns_or_default(),
        };
        let assembler = Assembler::new(&columns)?;
        let kind = match options.format {
            Format::Text => Kind::Text(text::TextParser::new(options.dialect()?, options.header)),
            Format::Csv => Kind::Csv(csv::CsvParser::new(options.dialect()?, options.header)),
            Format::Binary => {
                columns.check_for_binary()?;
                Kind::Binary(binary::BinaryParser::new())
            }
            Format::Json if options.columns.is_none() => Kind::Json(json_lines::JsonParser::of_records()),
            Format::Json => Kind::Json(json_lines::JsonParser::new(&columns)),
            Format::Raw => Kind::Raw(Box::new(raw_splitter(options, &columns)?)),
        };
        Ok(Self::with(kind, assembler, options.max_record_bytes))
    }

    /// A reader of kcat's input: delimiters between records, and between keys and values.
    ///
    /// # Errors
    /// If the delimiter between records is empty.
    pub fn delimited(input: DelimitedInput) -> Result<Self, OptionError> {
        let max_record_bytes = input.max_record_bytes;
        let assembler = Assembler::new(&Columns::default())?;
        let splitter = delimited::Splitter::new(input)?;
        Ok(Self::with(Kind::Delimited(Box::new(splitter)), assembler, max_record_bytes))
    }

    fn with(kind: Kind, assembler: Assembler, max_record_bytes: Option<usize>) -> Self {
        RecordReader {
            buffer: Buffer::default(),
            kind,
            assembler,
            rows: Rows::new(),
            max_record_bytes: max_record_bytes.unwrap_or(DEFAULT_MAX_RECORD_BYTES),
            finished: false,
        }
    }

    /// Where the next bytes of the input are to be read to: half a megabyte at first, 64 KiB or more always.
    /// Records taken before are gone then.
    pub fn space(&mut self) -> &mut [u8] {
        self.buffer.space()
    }

    /// Says that the first `len` bytes of [`space`](Self::space) have been filled; none is the end of the input.
    ///
    /// # Panics
    /// If there was less space.
    pub fn filled(&mut self, len: usize) {
        self.buffer.filled(len);
    }

    /// Whether everything has been read: the input has ended, or a marker within it says so. In the second case
    /// its writer's end should be waited for nevertheless: `read_record` goes on checking that nothing follows.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Where the row is that was begun last.
    pub fn place(&self) -> InputPlace {
        let row = self.rows.row;
        match &self.kind {
            Kind::Text(_) | Kind::Csv(_) | Kind::Json(_) => InputPlace { row, line: Some(self.rows.line) },
            Kind::Delimited(splitter) | Kind::Raw(splitter) => splitter.place(row),
            Kind::Binary(_) => InputPlace { row, line: None },
        }
    }

    /// The next record. None if more input is needed for it, or everything has been read.
    ///
    /// # Errors
    /// If the input is not what the format promises. Reading on makes no sense then.
    pub fn read_record(&mut self) -> Result<Option<InputRecord<'_>>, InputError> {
        if !matches!(self.kind, Kind::Delimited(_)) {
            return self.read_row();
        }
        // The shortest way for the most frequent input: nothing but a search for two delimiters.
        let Kind::Delimited(splitter) = &mut self.kind else { return Ok(None) };
        loop {
            let Some((len, taken)) = splitter.split(self.buffer.unread(), self.buffer.at_end()) else {
                return match pause(&self.buffer, &mut self.finished, self.max_record_bytes) {
                    Ok(()) => Ok(None),
                    Err(kind) => {
                        self.rows.row += 1;
                        Err(InputError::new(kind, splitter.place(self.rows.row)))
                    }
                };
            };
            self.rows.row += 1;
            let start = self.buffer.take(taken);
            if len > self.max_record_bytes {
                let kind = InputErrorKind::TooLarge { max_record_bytes: self.max_record_bytes };
                return Err(InputError::new(kind, splitter.place(self.rows.row)));
            }
            if len > 0 || splitter.keeps_empty() {
                let raw = &self.buffer.bytes()[start..start + taken];
                return Ok(Some(splitter.record(&raw[..len], raw)));
            }
        }
    }

    /// The whole records at hand, where the input is nothing but values behind one another. What is left then,
    /// errors too, is for [`read_record`](Self::read_record).
    pub fn values(&mut self) -> Option<Values<'_>> {
        let Kind::Delimited(splitter) = &mut self.kind else { return None };
        let delimiter = splitter.plain_delimiter()?;
        let (unread, start) = self.buffer.unread_and_start();
        Some(splitter.values(delimiter, unread, start, &mut self.rows.row, self.max_record_bytes))
    }

    fn read_row(&mut self) -> Result<Option<InputRecord<'_>>, InputError> {
        if self.finished {
            self.after_end()?;
            return Ok(None);
        }
        loop {
            let (unread, at_end) = (self.buffer.unread(), self.buffer.at_end());
            let (columns, rows) = (self.assembler.columns(), &mut self.rows);
            let found = match &mut self.kind {
                Kind::Text(parser) => parser.find(unread, at_end, columns, rows),
                Kind::Csv(parser) => parser.find(unread, at_end, columns, rows),
                Kind::Binary(parser) => parser.find(unread, at_end, columns, rows),
                Kind::Json(parser) => parser.find(unread, at_end, columns, rows),
                Kind::Delimited(splitter) | Kind::Raw(splitter) => {
                    Ok(splitter.find(unread, at_end, columns, rows))
                }
            };
            match found.map_err(|kind| self.error(kind))? {
                Found::Row(len) => {
                    let start = self.buffer.take(len);
                    let assembled = self.assemble(start, len)?;
                    return Ok(Some(self.record(start, len, assembled)));
                }
                Found::Skip(len) => {
                    self.buffer.take(len);
                }
                Found::End(len) => {
                    self.buffer.take(len);
                    self.finished = true;
                    self.after_end()?;
                    return Ok(None);
                }
                Found::Nothing => {
                    if let Err(kind) = pause(&self.buffer, &mut self.finished, self.max_record_bytes) {
                        self.rows.begin(1);
                        return Err(self.error(kind));
                    }
                    return Ok(None);
                }
            }
        }
    }

    #[inline]
    fn assemble(&mut self, start: usize, len: usize) -> Result<Assembled, InputError> {
        if len > self.max_record_bytes {
            return Err(self.too_large());
        }
        let input = &self.buffer.bytes()[start..start + len];
        self.assembler.assemble(&self.rows, input).map_err(|(column, problem)| {
            let column = self.assembler.columns()[column].name.clone();
            self.error(InputErrorKind::Field { column, problem })
        })
    }

    #[inline]
    fn record(&self, start: usize, len: usize, assembled: Assembled) -> InputRecord<'_> {
        let raw = &self.buffer.bytes()[start..start + len];
        let resolve = |span: Option<Span>| {
            let Span { place, start, end } = span?;
            Some(match place {
                Place::Input => &raw[start..end],
                Place::Unescaped => &self.rows.unescaped[start..end],
                Place::Scratch => &self.assembler.scratch()[start..end],
                Place::Document => &self.assembler.document()[start..end],
            })
        };
        InputRecord {
            topic: resolve(assembled.topic).and_then(|topic| std::str::from_utf8(topic).ok()),
            partition: assembled.partition,
            timestamp: assembled.timestamp,
            key: resolve(assembled.key),
            value: resolve(assembled.value),
            headers: self.assembler.headers(),
            raw,
        }
    }

    /// Nothing may follow an end marker. COPY itself drops what does, which nobody would notice here.
    fn after_end(&mut self) -> Result<(), InputError> {
        if self.buffer.unread().is_empty() {
            return Ok(());
        }
        self.buffer.clear();
        if matches!(self.kind, Kind::Binary(_)) {
            return Err(self.error(InputErrorKind::AfterTrailer));
        }
        self.rows.begin(1);
        Err(self.error(InputErrorKind::AfterEndMarker))
    }

    #[cold]
    fn too_large(&self) -> InputError {
        self.error(InputErrorKind::TooLarge { max_record_bytes: self.max_record_bytes })
    }

    #[cold]
    fn error(&self, kind: InputErrorKind) -> InputError {
        InputError::new(kind, self.place())
    }
}

/// More input is needed, unless there is none.
fn pause(buffer: &Buffer, finished: &mut bool, max_record_bytes: usize) -> Result<(), InputErrorKind> {
    if buffer.at_end() {
        *finished = true;
    } else if buffer.unread().len() > max_record_bytes {
        return Err(InputErrorKind::TooLarge { max_record_bytes });
    }
    Ok(())
}

fn raw_splitter(options: &FormatOptions, columns: &Columns) -> Result<delimited::Splitter, OptionError> {
    if columns.as_slice().len() != 1 {
        let message = "--format raw reads one column; text and csv have a delimiter between columns";
        return Err(OptionError(message.to_owned()));
    }
    let input = DelimitedInput { delimiter: options.raw_delimiter(), ..DelimitedInput::default() };
    let null = options.null.as_ref().map(|null| null.clone().into_bytes());
    delimited::Splitter::new(input).map(|splitter| splitter.with_null(null))
}

#[cfg(test)]
mod tests;
