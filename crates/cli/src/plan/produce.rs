//! Reading stdin or files and writing records to Kafka.

use std::{path::PathBuf, time::Duration};

use kcopy_format::{
    FormatOptions, OptionError,
    read::{DelimitedInput, RecordReader},
};

use super::Common;

/// stdin or files to Kafka.
#[derive(Debug, Clone, PartialEq)]
pub struct Produce {
    /// Brokers, properties, verbosity.
    pub common: Common,
    /// Where records go, unless a `topic` column of the input says otherwise.
    pub topic: String,
    /// Where they come from.
    pub input: Input,
    /// What the input is.
    pub format: InputFormat,
    /// Headers for every record, duplicates kept, before the record's own; `None` is a null value.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The partition for every record, or the partitioner's choice.
    pub partition: Option<i32>,
    /// Stop after so many records.
    pub max_messages: Option<u64>,
    /// Copy the input to stdout (`-T`).
    pub tee: bool,
    /// How long brokers may acknowledge nothing; as long as `message.timeout.ms` where it is not set.
    pub unreachable_timeout: Option<Duration>,
    /// Go on after errors that are not fatal (`-E`).
    pub keep_going: bool,
}

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file that is split like standard input (`-l`).
    File(PathBuf),
    /// Files of which each is the value of one record.
    WholeFiles(Vec<PathBuf>),
}

/// What the input is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputFormat {
    /// Records between delimiters.
    Delimited {
        /// Between records; never empty.
        delimiter: Vec<u8>,
        /// Between key and value (`-K`); the first one in a record splits. Empty ones never split.
        key_delimiter: Option<Vec<u8>>,
        /// The key where the record has none (`-k`).
        fixed_key: Option<Vec<u8>>,
        /// Empty keys and values are NULL (`-Z`). Without `-K`, an empty record is then a NULL value, else it
        /// is skipped.
        empty_is_null: bool,
    },
    /// One of `--format`: from COPY ... TO, JSON lines, or bytes.
    Format(FormatOptions),
}

impl InputFormat {
    /// The reader of this input. A row of more than `max_record_bytes` is an error rather than memory.
    ///
    /// # Errors
    /// An option that means nothing in the format, or a column that has no place in a record.
    pub fn reader(&self, max_record_bytes: usize) -> Result<RecordReader, OptionError> {
        let max_record_bytes = Some(max_record_bytes);
        match self {
            Self::Delimited { delimiter, key_delimiter, fixed_key, empty_is_null } => {
                RecordReader::delimited(DelimitedInput {
                    delimiter: delimiter.clone(),
                    key_delimiter: key_delimiter.clone(),
                    fixed_key: fixed_key.clone(),
                    empty_is_null: *empty_is_null,
                    max_record_bytes,
                })
            }
            Self::Format(options) => {
                RecordReader::new(&FormatOptions { max_record_bytes, ..options.clone() })
            }
        }
    }

    /// The key of a record that is a whole file (`-k`).
    pub fn fixed_key(&self) -> Option<&[u8]> {
        match self {
            Self::Delimited { fixed_key, .. } => fixed_key.as_deref(),
            Self::Format(_) => None,
        }
    }
}
