//! The options that shape bytes, the same for `consume` and `produce`.

use clap::ValueEnum;
use kcopy_format::{
    Columns, Format, FormatOptions, InvalidText,
    columns::{Column, Source, Type},
};

use crate::plan::{edit_distance, parse_delimiter};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Format")]
pub(super) struct FormatArgs {
    /// PostgreSQL's COPY formats, JSON lines, or bytes with a delimiter [default: text]
    #[arg(long, env = "KCOPY_FORMAT", value_name = "FORMAT")]
    pub(super) format: Option<FormatName>,
    /// Columns: NAME [TYPE] [= SOURCE], separated by commas [default: value]
    ///
    /// TYPE is any type of PostgreSQL, by any of its names: int8, numeric(12,2), timestamp(3) with time zone, text[].
    /// SOURCE is key, value, topic, partition, offset, timestamp, timestamp_type, headers, header.NAME, a constant in
    /// single quotes, or a path into a JSON key or value: value.order.lines[0].sku. Without one the NAME is the source,
    /// and one that is none of these is the member of that name of the value.
    #[arg(long, env = "KCOPY_COLUMNS", value_name = "LIST")]
    columns: Option<String>,
    /// What stands for NULL, as in COPY
    #[arg(long, env = "KCOPY_NULL", value_name = "TEXT", allow_hyphen_values = true)]
    null: Option<String>,
    /// Between columns (text, csv) or after records (raw); \n \r \t \0 \xNN are understood
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
pub(super) enum FormatName {
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

    /// Refuses what looks like a slip in `--columns`: a type that is not known is taken as text, and a member that no
    /// value has is NULL, so that nothing would ever tell. In double quotes both are meant.
    pub(super) fn check_names(&self) -> Result<(), String> {
        let Some(Ok(columns)) = self.columns.as_deref().map(Columns::parse) else { return Ok(()) };
        let is_quoted =
            |name: &str| self.columns.as_ref().is_some_and(|list| list.contains(&format!("\"{name}\"")));
        for Column { name, column_type, source, .. } in columns.as_slice() {
            if let Some((written, meant)) = misspelt(column_type) {
                return Err(format!(
                    "--columns: column {name}: {written} is no type that is known (did you mean {meant}? A type of \
                     your own stands in double quotes)"
                ));
            }
            if let (Source::Path(_), Some((before, after))) = (source, name.split_once(':'))
                && !is_quoted(name)
                && let Ok(meant) = Type::of_name(after)
            {
                let meant = misspelt(&meant).map_or(meant.to_string(), |(_, meant)| meant.to_owned());
                if TYPES.contains(&meant.as_str()) {
                    return Err(format!(
                        "--columns: no colon stands before a type (did you mean \"{before} {meant}\"? A name with a \
                         colon stands in double quotes)"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The options, checked as far as they can be without a direction.
    pub(super) fn options(self, invalid_text: InvalidText) -> Result<FormatOptions, String> {
        let delimiter = |option: &str, text: Option<String>| {
            let parsed = text.map(|text| parse_delimiter(text.as_bytes())).transpose();
            parsed.map_err(|reason| format!("--{option}: {reason}"))
        };
        let columns = self.columns.as_deref().map(Columns::parse).transpose();
        Ok(FormatOptions {
            format: self.format.map(Format::from).unwrap_or_default(),
            columns: columns.map_err(|error| error.to_string())?,
            null: self.null,
            delimiter: delimiter("delimiter", self.delimiter)?,
            quote: delimiter("quote", self.quote)?,
            header: self.header,
            invalid_text,
            max_record_bytes: None,
        })
    }
}

/// Types by their names of one word, as people write them.
#[rustfmt::skip]
const TYPES: &[&str] = &[
    "bool", "boolean", "int2", "smallint", "int4", "int", "integer", "int8", "bigint", "float4", "real", "float8",
    "float", "numeric", "decimal", "text", "varchar", "char", "character", "bpchar", "bytea", "uuid", "json", "jsonb",
    "date", "time", "timetz", "timestamp", "timestamptz", "interval", "inet", "cidr", "macaddr", "enum",
];

const IN_BITS: &[(&str, &str)] =
    &[("int16", "int2"), ("int32", "int4"), ("int64", "int8"), ("float32", "float4"), ("float64", "float8")];

/// A type that is none of the known ones, but nearly one, and that one.
fn misspelt(column_type: &Type) -> Option<(&str, &'static str)> {
    let written: &str = match column_type {
        Type::Array(element) => return misspelt(element),
        Type::Other(written) => written,
        _ => return None,
    };
    let name = written.split('(').next()?.trim().to_ascii_lowercase();
    // Those of PostgreSQL's own that are near others, and names that are built of one.
    if name == "macaddr8" || name == "cid" || name.contains(['"', '.', '_']) {
        return None;
    }
    // Those that count bits are near those that count bytes, but not the same.
    if let Some((_, meant)) = IN_BITS.iter().find(|(bits, _)| *bits == name) {
        return Some((written, meant));
    }
    let limit = if name.len() < 8 { 1 } else { 2 };
    let near = TYPES.iter().map(|known| (edit_distance(&name, known), *known));
    let nearest = near.filter(|(distance, _)| *distance <= limit).min_by_key(|(distance, _)| *distance);
    nearest.map(|(_, known)| (written, known))
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Text => Self::Text,
            FormatName::Csv => Self::Csv,
            FormatName::Binary => Self::Binary,
            FormatName::Json => Self::Json,
            FormatName::Raw => Self::Raw,
        }
    }
}
