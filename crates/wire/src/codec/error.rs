//! Errors that say which API, version, field and byte they are about.

use std::fmt;

use super::Message;

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodeError(Box<DecodeErrorInner>);

#[derive(Clone, Debug, PartialEq)]
struct DecodeErrorInner {
    message: &'static str,
    version: i16,
    /// Innermost first: it is filled while the error travels outwards.
    path: Vec<Step>,
    position: usize,
    kind: DecodeErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Field(&'static str),
    Index(usize),
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The version is none that this crate speaks.
    UnknownVersion,
    /// The bytes end too early.
    UnexpectedEnd {
        /// How many more bytes the value needs.
        needed: usize,
        /// How many there are.
        remaining: usize,
    },
    /// A count that the remaining bytes cannot hold.
    ImpossibleCount {
        /// The claimed number of elements.
        count: i64,
        /// How many bytes remain.
        remaining: usize,
    },
    /// Null where the field cannot be null.
    UnexpectedNull,
    /// A length below -1, or above what the type can have.
    InvalidLength(i64),
    /// A string that is not UTF-8.
    InvalidUtf8,
    /// A varint of more bytes than its type can have.
    InvalidVarint,
    /// A nullable struct begins with neither -1 nor 1.
    InvalidPresence(i8),
    /// A tagged field's content is shorter or longer than its size says.
    TaggedFieldSize {
        /// The tag.
        tag: u32,
    },
    /// More elements than the memory for one message allows.
    TooLarge,
    /// Bytes follow the message.
    TrailingBytes(usize),
}

impl DecodeError {
    pub(super) fn new(
        message: &'static str,
        version: i16,
        position: usize,
        kind: DecodeErrorKind,
    ) -> DecodeError {
        DecodeError(Box::new(DecodeErrorInner { message, version, path: Vec::new(), position, kind }))
    }

    pub(super) fn in_index(mut self, index: usize) -> DecodeError {
        self.0.path.push(Step::Index(index));
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> DecodeErrorKind {
        self.0.kind
    }

    /// The message that was read, such as `FetchResponse`.
    pub fn message(&self) -> &'static str {
        self.0.message
    }

    /// The version that was read.
    pub fn version(&self) -> i16 {
        self.0.version
    }

    /// The byte at which reading stopped, from the start of the frame.
    pub fn position(&self) -> usize {
        self.0.position
    }

    /// The field, such as `topics[3].partitions[0].records`; empty for the message as a whole.
    pub fn field(&self) -> String {
        let mut out = String::new();
        for step in self.0.path.iter().rev() {
            match step {
                Step::Field(name) if out.is_empty() => out.push_str(name),
                Step::Field(name) => out.extend([".", name]),
                Step::Index(index) => out.push_str(&format!("[{index}]")),
            }
        }
        out
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DecodeErrorInner { message, version, position, kind, .. } = &*self.0;
        write!(f, "malformed {message} v{version}")?;
        if !self.0.path.is_empty() {
            write!(f, ", field {}", self.field())?;
        }
        write!(f, ", byte {position}: {kind}")
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeErrorKind::UnknownVersion => write!(f, "unknown version"),
            DecodeErrorKind::UnexpectedEnd { needed, remaining } => {
                write!(f, "{needed} bytes needed, {remaining} remain")
            }
            DecodeErrorKind::ImpossibleCount { count, remaining } => {
                write!(f, "{count} elements cannot be in the {remaining} bytes that remain")
            }
            DecodeErrorKind::UnexpectedNull => write!(f, "null in a field that cannot be null"),
            DecodeErrorKind::InvalidLength(length) => write!(f, "impossible length {length}"),
            DecodeErrorKind::InvalidUtf8 => write!(f, "a string that is not UTF-8"),
            DecodeErrorKind::InvalidVarint => write!(f, "a varint without an end"),
            DecodeErrorKind::InvalidPresence(byte) => {
                write!(f, "a nullable struct begins with -1 or 1, not {byte}")
            }
            DecodeErrorKind::TaggedFieldSize { tag } => {
                write!(f, "tagged field {tag} does not have the size that it claims")
            }
            DecodeErrorKind::TooLarge => write!(f, "more elements than a message may have"),
            DecodeErrorKind::TrailingBytes(count) => write!(f, "{count} bytes follow the message"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Names the field in which decoding failed.
pub(crate) trait Context {
    fn in_field(self, name: &'static str) -> Self;
}

impl<T> Context for Result<T, DecodeError> {
    fn in_field(mut self, name: &'static str) -> Self {
        if let Err(error) = &mut self {
            error.0.path.push(Step::Field(name));
        }
        self
    }
}

/// A message that cannot be written.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodeError {
    message: &'static str,
    version: i16,
    what: EncodeErrorKind,
}

#[derive(Clone, Debug, PartialEq)]
enum EncodeErrorKind {
    Version,
    Unsupported(&'static str),
    Null(&'static str),
    TooLong(usize),
}

impl EncodeError {
    pub(crate) fn version<M: Message>(version: i16) -> EncodeError {
        EncodeError { message: M::NAME, version, what: EncodeErrorKind::Version }
    }

    pub(crate) fn unsupported<M: Message>(version: i16, field: &'static str) -> EncodeError {
        EncodeError { message: M::NAME, version, what: EncodeErrorKind::Unsupported(field) }
    }

    pub(crate) fn null<M: Message>(version: i16, field: &'static str) -> EncodeError {
        EncodeError { message: M::NAME, version, what: EncodeErrorKind::Null(field) }
    }

    pub(super) fn too_long(length: usize) -> EncodeError {
        EncodeError { message: "message", version: -1, what: EncodeErrorKind::TooLong(length) }
    }

    /// The field that the version cannot carry, if that is what is wrong.
    pub fn unsupported_field(&self) -> Option<&'static str> {
        match self.what {
            EncodeErrorKind::Unsupported(field) | EncodeErrorKind::Null(field) => Some(field),
            _ => None,
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EncodeError { message, version, what } = self;
        match what {
            EncodeErrorKind::Version => write!(f, "{message} has no version {version} here"),
            EncodeErrorKind::Unsupported(field) => {
                write!(f, "{message} v{version} cannot carry a value in {field}")
            }
            EncodeErrorKind::Null(field) => write!(f, "{message} v{version} cannot carry null in {field}"),
            EncodeErrorKind::TooLong(length) => {
                write!(f, "a value of length {length} is too long to be sent")
            }
        }
    }
}

impl std::error::Error for EncodeError {}
