//! Records into bytes and bytes into records: everything that passes through stdout and stdin.
//!
//! | | |
//! |---|---|
//! | [`columns`] | the language of `--columns` |
//! | [`types`] | PostgreSQL's types: names, text, binary, JSON |
//! | [`mod@write`] | [`RecordWriter`](write::RecordWriter): COPY text, csv and binary, JSON lines, raw; kcat's output |
//! | [`read`] | [`RecordReader`](read::RecordReader): the same formats, and kcat's input |
//! | [`template`], [`envelope`], [`pack`] | kcat's `-f`, `-J` and `-s` |
//! | [`headers`] | headers as JSON |
//!
//! Nothing here does I/O. Writers append to a buffer, readers borrow from one; neither allocates per record.

pub mod base64;
pub mod columns;
mod datetime;
pub mod envelope;
pub mod error;
pub mod headers;
mod json;
mod number;
pub mod options;
pub mod pack;
mod paths;
pub mod read;
mod scan;
pub mod template;
pub mod types;
pub mod write;

pub use self::{
    columns::Columns,
    error::{FormatError, InputError, InputErrorKind, InputPlace, Problem},
    options::{Format, FormatOptions, InvalidText, OptionError},
};

#[cfg(test)]
mod tests;
