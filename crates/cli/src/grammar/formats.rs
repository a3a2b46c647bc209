//! The options that shape bytes, the same for `consume` and `produce`.

use clap::ValueEnum;

use crate::plan::{FormatName, FormatSpec, InvalidText};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Format")]
pub(super) struct FormatArgs {
    /// PostgreSQL's COPY formats, JSON lines, or bytes with a delimiter [default: text]
    #[arg(long, env = "KCOPY_FORMAT", value_name = "FORMAT")]
    pub(super) format: Option<Format>,
    /// Columns: NAME [TYPE] [= SOURCE], separated by commas [default: value]
    #[arg(long, env = "KCOPY_COLUMNS", value_name = "LIST")]
    columns: Option<String>,
    /// What stands for NULL, as in COPY
    #[arg(long, env = "KCOPY_NULL", value_name = "TEXT", allow_hyphen_values = true)]
    null: Option<String>,
    /// Between columns (text, csv) or after records (raw); \n \r \t \xNN are understood
    #[arg(long, env = "KCOPY_DELIMITER", value_name = "TEXT", allow_hyphen_values = true)]
    delimiter: Option<String>,
    /// The quote character of csv
    #[arg(long, env = "KCOPY_QUOTE", value_name = "CHAR", allow_hyphen_values = true)]
    quote: Option<String>,
    /// The first line holds the columns' names
    #[arg(long, env = "KCOPY_HEADER")]
    header: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Text,
    Csv,
    Binary,
    Json,
    Raw,
}

/// `--invalid-text`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Invalid {
    Error,
    Replace,
    Base64,
    Hex,
}

impl From<Invalid> for InvalidText {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::Error => Self::Error,
            Invalid::Replace => Self::Replace,
            Invalid::Base64 => Self::Base64,
            Invalid::Hex => Self::Hex,
        }
    }
}

impl FormatArgs {
    /// The first of the options that are meaningless beside `--template`, if one was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        [
            ("--format", self.format.is_some()),
            ("--columns", self.columns.is_some()),
            ("--null", self.null.is_some()),
            ("--delimiter", self.delimiter.is_some()),
            ("--quote", self.quote.is_some()),
            ("--header", self.header),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }

    pub(super) fn spec(self, invalid_text: InvalidText) -> FormatSpec {
        let format = match self.format.unwrap_or(Format::Text) {
            Format::Text => FormatName::Text,
            Format::Csv => FormatName::Csv,
            Format::Binary => FormatName::Binary,
            Format::Json => FormatName::Json,
            Format::Raw => FormatName::Raw,
        };
        FormatSpec {
            format,
            columns: self.columns,
            null: self.null,
            delimiter: self.delimiter,
            quote: self.quote,
            header: self.header,
            invalid_text,
        }
    }
}
