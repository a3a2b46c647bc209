//! What goes wrong between records and bytes.

use std::{error::Error, fmt};

use super::columns::Type;

/// Why a field cannot be expressed, or not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes are no valid UTF-8.
    InvalidUtf8 {
        /// Where in the field.
        position: usize,
        /// The byte there.
        byte: u8,
    },
    /// Half of a character beyond U+FFFF, which JSON can escape and no text can hold.
    LoneSurrogate {
        /// Where in the field.
        position: usize,
        /// The UTF-16 unit.
        unit: u16,
    },
    /// A NUL byte, which no PostgreSQL text can hold.
    NulByte {
        /// Where in the field.
        position: usize,
    },
    /// The bytes are no valid JSON.
    InvalidJson {
        /// Where in the field.
        position: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Valid JSON, but not of the form that is needed here.
    UnexpectedJson(&'static str),
    /// The bytes that paths lead into are no JSON document.
    InvalidDocument {
        /// `key` or `value`.
        part: &'static str,
        /// Where in it.
        position: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A value that its type does not take.
    InvalidValue {
        /// The type that was declared.
        column_type: Type,
        /// The beginning of the value.
        excerpt: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An integer that the type cannot hold.
    IntegerOutOfRange(Type),
    /// A time that the type cannot hold.
    TimestampOutOfRange,
    /// The millisecond before 1970, whose number Kafka takes for no timestamp.
    MeansNoTimestamp,
    /// A field of a fixed width has another one.
    WrongWidth {
        /// The type that was declared.
        column_type: Type,
        /// The bytes that were found.
        found: usize,
    },
    /// jsonb in binary starts with a version, which is 1.
    JsonbVersion,
    /// The field is longer than what the format can express.
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A topic name must be there, and be text.
    InvalidTopic,
    /// A partition is a number from 0 up.
    InvalidPartition,
    /// The pack format and the bytes do not fit together.
    Unpack(String),
}

/// So much of a value is shown.
const EXCERPT_CHARS: usize = 60;

impl Problem {
    /// Whether it tells the column's type itself, or is about none.
    fn tells_type(&self) -> bool {
        use Problem::{IntegerOutOfRange, InvalidDocument, InvalidValue, WrongWidth};
        matches!(
            self,
            InvalidValue { .. } | IntegerOutOfRange(_) | WrongWidth { .. } | InvalidDocument { .. }
        )
    }

    #[cold]
    pub(super) fn value(column_type: &Type, bytes: &[u8], reason: &'static str) -> Problem {
        Problem::InvalidValue { column_type: column_type.clone(), excerpt: excerpt(bytes), reason }
    }

    /// Of a value in binary: told in its text form, if it has one.
    #[cold]
    pub(super) fn typed(column_type: &Type, binary: &[u8], reason: &'static str) -> Problem {
        Problem::InvalidValue {
            column_type: column_type.clone(),
            excerpt: column_type.excerpt(binary),
            reason,
        }
    }
}

impl Type {
    /// The beginning of a value in binary, in its text form, if it has one.
    #[must_use]
    #[cold]
    pub fn excerpt(&self, binary: &[u8]) -> String {
        let mut text = Vec::new();
        match self.show(binary, &mut text) {
            Ok(()) => excerpt(&text),
            Err(_) => excerpt(binary),
        }
    }
}

/// The beginning of a value in its text form, for messages.
#[must_use]
pub fn excerpt(text: &[u8]) -> String {
    let beginning = String::from_utf8_lossy(&text[..text.len().min(EXCERPT_CHARS * 4)]);
    let mut excerpt: String = beginning.chars().take(EXCERPT_CHARS).collect();
    if excerpt.len() < text.len() && beginning.chars().count() > EXCERPT_CHARS {
        excerpt.push('…');
    }
    excerpt
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::InvalidUtf8 { position, byte } => {
                write!(f, "byte 0x{byte:02x} at position {position} is not valid UTF-8")
            }
            Problem::LoneSurrogate { position, unit } => {
                write!(
                    f,
                    "\\u{unit:04x} at byte {position} is half of a character: PostgreSQL's text cannot hold it"
                )
            }
            Problem::NulByte { position } => {
                write!(f, "the NUL byte at position {position} cannot be part of a text")
            }
            Problem::InvalidJson { position, reason } => {
                write!(f, "invalid JSON at position {position}: {reason}")
            }
            Problem::UnexpectedJson(what) => f.write_str(what),
            Problem::InvalidDocument { part, position, reason } => {
                write!(f, "the {part} is no JSON document: at position {position}, {reason}")
            }
            Problem::InvalidValue { column_type, excerpt, reason } => {
                write!(f, "{excerpt:?} cannot be {column_type}: {reason}")
            }
            Problem::IntegerOutOfRange(ty) => write!(f, "the number is out of the range of {ty}"),
            Problem::TimestampOutOfRange => f.write_str("the time is out of range"),
            Problem::MeansNoTimestamp => {
                f.write_str("Kafka takes 1969-12-31 23:59:59.999+00, which is -1 ms, for no timestamp")
            }
            Problem::WrongWidth { column_type, found } => {
                write!(f, "{found} bytes cannot be of type {column_type}")?;
                match (column_type.width(), Type::integer_of_width(*found)) {
                    (Some(width), Some(right)) => {
                        write!(f, ", which has {width}: declare the column as {right}")
                    }
                    (Some(width), None) => write!(f, ", which has {width}"),
                    (None, _) => Ok(()),
                }
            }
            Problem::JsonbVersion => f.write_str(
                "not a binary jsonb, which starts with its version 1: declare the column as json or text",
            ),
            Problem::TooLong { bytes } => {
                write!(f, "{bytes} bytes are more than a field can hold, which is 1 GiB")
            }
            Problem::InvalidTopic => f.write_str("a topic name must be UTF-8 text that is not empty"),
            Problem::InvalidPartition => f.write_str("a partition is a number from 0 to 2147483647"),
            Problem::Unpack(message) => f.write_str(message),
        }
    }
}

/// A record that cannot be written in the format asked for. Nothing of it has been written.
#[derive(Debug, Clone)]
pub struct FormatError(Box<FormatErrorParts>);

#[derive(Debug, Clone)]
struct FormatErrorParts {
    topic: String,
    partition: i32,
    offset: i64,
    column: String,
    /// Where the problem is about it and does not tell it.
    column_type: Option<Type>,
    problem: Problem,
    advice: &'static str,
}

impl FormatError {
    #[cold]
    pub(super) fn new(
        (topic, partition, offset): (&str, i32, i64),
        (column, column_type): (&str, Option<&Type>),
        problem: Problem,
        advice: &'static str,
    ) -> Self {
        let (topic, column) = (topic.to_owned(), column.to_owned());
        let column_type = column_type.filter(|_| !problem.tells_type()).cloned();
        let parts = FormatErrorParts { topic, partition, offset, column, column_type, problem, advice };
        FormatError(Box::new(parts))
    }

    /// The topic of the record.
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    /// Its offset.
    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    /// The column, or the part of the record, that does not fit.
    pub fn column(&self) -> &str {
        &self.0.column
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }
}

impl FormatError {
    /// Without what a user of kcopy consume could do about it.
    pub fn without_advice(mut self) -> Self {
        self.0.advice = "";
        self
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FormatErrorParts { topic, partition, offset, column, column_type, problem, advice } = &*self.0;
        if let Problem::Unpack(problem) = problem {
            // Only kcat's `-s` unpacks, which has no columns: in kcat's words.
            return write!(
                f,
                "Failed to format message in {topic} [{partition}] at offset {offset}: {problem}"
            );
        }
        write!(f, "topic {topic} [{partition}] at offset {offset}, column {column}")?;
        if let Some(column_type) = column_type {
            write!(f, " of type {column_type}")?;
        }
        write!(f, ": {problem}")?;
        if advice.is_empty() { Ok(()) } else { write!(f, "; {advice}") }
    }
}

impl Error for FormatError {}

/// Why input is not what its format promises.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputErrorKind {
    /// A field does not have the type of its column.
    Field {
        /// The column's name.
        column: String,
        /// What is wrong.
        problem: Problem,
    },
    /// A row has more or fewer fields than there are columns.
    FieldCount {
        /// Fields in the row.
        found: usize,
        /// Columns.
        expected: usize,
    },
    /// The input is no JSON object.
    Json {
        /// Where in the line.
        position: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A member of a JSON object that no column is called.
    UnknownMember(String),
    /// A quote is open at the end of the input.
    UnterminatedQuote,
    /// `\.` has to stand alone on its line.
    CorruptEndMarker,
    /// Something follows the line `\.`.
    AfterEndMarker,
    /// The input does not start with the signature of COPY's binary format.
    Signature,
    /// A flag of the binary header that is not known.
    UnsupportedFlags(u32),
    /// A length in the binary format makes no sense.
    InvalidLength(i32),
    /// The input ends within a row.
    Truncated,
    /// The binary trailer is missing: the query that wrote the input was aborted.
    MissingTrailer,
    /// Bytes follow the binary trailer.
    AfterTrailer,
    /// A record is longer than allowed.
    TooLarge {
        /// The limit.
        max_record_bytes: usize,
    },
}

/// Input that cannot be turned into a record, with its place.
#[derive(Debug, Clone)]
pub struct InputError(Box<InputErrorParts>);

#[derive(Debug, Clone)]
struct InputErrorParts {
    kind: InputErrorKind,
    place: InputPlace,
}

/// Where in its input a record is; shown as `line 3`, `row 2, line 3` or `row 2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputPlace {
    /// The row, counted from 1; a header line is no row.
    pub row: u64,
    /// The line on which the row starts, counted from 1, where the format has lines.
    pub line: Option<u64>,
}

impl fmt::Display for InputPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) if line == self.row => write!(f, "line {line}"),
            Some(line) => write!(f, "row {}, line {line}", self.row),
            None => write!(f, "row {}", self.row),
        }
    }
}

impl InputError {
    #[cold]
    pub(super) fn new(kind: InputErrorKind, place: InputPlace) -> Self {
        InputError(Box::new(InputErrorParts { kind, place }))
    }

    /// What is wrong.
    pub fn kind(&self) -> &InputErrorKind {
        &self.0.kind
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.0.place)?;
        match &self.0.kind {
            InputErrorKind::Field { column, problem } => write!(f, "column {column}: {problem}"),
            InputErrorKind::FieldCount { found, expected } => {
                write!(f, "{found} fields, where --columns names {expected}")
            }
            InputErrorKind::Json { position, reason } => {
                write!(f, "invalid JSON at position {position}: {reason}")
            }
            InputErrorKind::UnknownMember(name) => {
                write!(f, "no column is called {name:?}: name it in --columns, or leave it out of the input")
            }
            InputErrorKind::UnterminatedQuote => f.write_str("the input ends within a quoted field"),
            InputErrorKind::CorruptEndMarker => {
                f.write_str("the end marker \\. must stand alone on its line")
            }
            InputErrorKind::AfterEndMarker => {
                f.write_str("data follows the end marker \\. of the line before: it is not read")
            }
            InputErrorKind::Signature => f.write_str(
                "the input does not start with the signature of COPY's binary format: was it written with \
                 (format binary)?",
            ),
            InputErrorKind::UnsupportedFlags(flags) => {
                write!(f, "the binary header has flags 0x{flags:08x} that are not supported")
            }
            InputErrorKind::InvalidLength(length) => write!(f, "{length} is no length of a field"),
            InputErrorKind::Truncated => f.write_str("the input ends within a row"),
            InputErrorKind::MissingTrailer => {
                f.write_str("the input ends without its trailer: the query that wrote it was aborted")
            }
            InputErrorKind::AfterTrailer => f.write_str("bytes follow the binary trailer"),
            InputErrorKind::TooLarge { max_record_bytes } => {
                write!(f, "the record is larger than {max_record_bytes} bytes")
            }
        }
    }
}

impl Error for InputError {}
