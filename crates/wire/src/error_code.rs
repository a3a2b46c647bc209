//! Error codes as brokers send them.

use std::fmt;

/// An error code of the protocol; unknown numbers survive.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub i16);

include!(concat!(env!("OUT_DIR"), "/error_codes.rs"));

impl ErrorCode {
    /// No error.
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// Any error, known or not.
    pub const fn is_err(self) -> bool {
        self.0 != 0
    }

    /// `Ok` without an error, else the code itself.
    ///
    /// # Errors
    /// The code, when it is not 0.
    pub const fn into_result(self) -> Result<(), ErrorCode> {
        if self.is_ok() { Ok(()) } else { Err(self) }
    }

    /// The name of the protocol's specification, or `UNKNOWN`.
    pub const fn name(self) -> &'static str {
        match self.known_name() {
            Some(name) => name,
            None => "UNKNOWN",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known_name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}({})", self.0)
    }
}

impl std::error::Error for ErrorCode {}
