//! What the command line says about formats, checked.

use std::{fmt, str::FromStr};

use super::columns::Columns;

/// A value of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// COPY's text format.
    #[default]
    Text,
    /// COPY's csv format.
    Csv,
    /// COPY's binary format.
    Binary,
    /// One JSON object a line.
    Json,
    /// The bytes of one column, with a delimiter after each.
    Raw,
}

impl Format {
    /// All formats, in the order of the help.
    pub const ALL: [Format; 5] = [Format::Text, Format::Csv, Format::Binary, Format::Json, Format::Raw];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Csv => "csv",
            Format::Binary => "binary",
            Format::Json => "json",
            Format::Raw => "raw",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        Format::ALL
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| OptionError(format!("{text:?} is no format: text, csv, binary, json or raw")))
    }
}

/// What to do with bytes that are not valid text in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidText {
    /// Fail.
    #[default]
    Error,
    /// Write U+FFFD for each invalid sequence.
    Replace,
    /// Write the whole value in base64.
    Base64,
    /// Write the whole value in hexadecimal.
    Hex,
}

/// The options of `consume` and `produce` that shape bytes, as they were given. `None` is COPY's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormatOptions {
    /// `--format`.
    pub format: Format,
    /// `--columns`. Without it the value alone, or with [`Format::Json`] the whole record.
    pub columns: Option<Columns>,
    /// `--null`: what stands for NULL in text (`\N`), csv (nothing) and raw (nothing, and nothing is read as
    /// NULL).
    pub null: Option<String>,
    /// `--delimiter`: one byte between fields in text (tab) and csv (comma), any after each record in raw
    /// (newline).
    pub delimiter: Option<Vec<u8>>,
    /// `--quote` in csv (`"`), one byte.
    pub quote: Option<Vec<u8>>,
    /// `--header`: a first line with the names of the columns, in text and csv.
    pub header: bool,
    /// `--invalid-text`, when writing.
    pub invalid_text: InvalidText,
    /// The longest row that is read, in bytes; without it 1 GiB, PostgreSQL's own limit.
    pub max_record_bytes: Option<usize>,
}

/// The single bytes of text and csv, checked by COPY's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) null: Vec<u8>,
}

/// PostgreSQL's limit for a row of text.
pub(super) const DEFAULT_MAX_RECORD_BYTES: usize = 1 << 30;

impl FormatOptions {
    /// Options that are those of COPY, for `format`.
    pub fn new(format: Format) -> Self {
        FormatOptions { format, ..FormatOptions::default() }
    }

    /// The columns that were asked for: the value alone where none were.
    pub fn columns_or_default(&self) -> Columns {
        self.columns.clone().unwrap_or_default()
    }

    /// Refuses the options that mean nothing in this format.
    pub(super) fn check(&self) -> Result<(), OptionError> {
        let format = self.format;
        let refuse = |option: &str, given: bool, formats: &[Format]| {
            if given && !formats.contains(&format) {
                let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
                return Err(OptionError(format!(
                    "--{option} has no meaning in --format {format}, only in {}",
                    names.join(", ")
                )));
            }
            Ok(())
        };
        refuse("null", self.null.is_some(), &[Format::Text, Format::Csv, Format::Raw])?;
        refuse("delimiter", self.delimiter.is_some(), &[Format::Text, Format::Csv, Format::Raw])?;
        refuse("quote", self.quote.is_some(), &[Format::Csv])?;
        refuse("header", self.header, &[Format::Text, Format::Csv])?;
        let duplicate = self.columns.as_ref().and_then(|columns| {
            let list = columns.as_slice();
            let is_repeated =
                |&index: &usize| list[..index].iter().any(|other| other.name == list[index].name);
            (0..list.len()).find(is_repeated).map(|index| list[index].name.clone())
        });
        match duplicate {
            Some(name) if format == Format::Json => Err(OptionError(format!(
                "--columns: {name} is there twice, which a JSON object cannot express"
            ))),
            _ => Ok(()),
        }
    }

    /// The dialect of text or csv.
    pub(super) fn dialect(&self) -> Result<Dialect, OptionError> {
        let is_csv = self.format == Format::Csv;
        let given = |option: &str, bytes: &Option<Vec<u8>>, default: u8| match bytes {
            Some(bytes) => single_byte(option, bytes),
            None => Ok(default),
        };
        let delimiter = given("delimiter", &self.delimiter, if is_csv { b',' } else { b'\t' })?;
        let quote = given("quote", &self.quote, b'"')?;
        let null = self.null.as_deref().unwrap_or(if is_csv { "" } else { "\\N" }).as_bytes().to_vec();
        if !is_csv && (matches!(delimiter, b'\\' | b'.' | b'a'..=b'z' | b'0'..=b'9')) {
            return Err(OptionError(format!(
                "--delimiter cannot be {:?} in --format text, where it would be taken for an escape",
                char::from(delimiter)
            )));
        }
        if is_csv && delimiter == quote {
            return Err(OptionError("--delimiter and --quote must be different".to_owned()));
        }
        if null.contains(&delimiter) || (is_csv && null.contains(&quote)) {
            return Err(OptionError("--null must contain neither the delimiter nor the quote".to_owned()));
        }
        let backslashes = null.iter().rev().take_while(|byte| **byte == b'\\').count();
        if !is_csv && backslashes % 2 == 1 {
            return Err(OptionError(
                "--null cannot end with a backslash, which escapes what follows".to_owned(),
            ));
        }
        if null.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return Err(OptionError("--null cannot have line ends in it".to_owned()));
        }
        if null == b"\\." {
            return Err(OptionError("--null cannot be \\., which ends the input".to_owned()));
        }
        Ok(Dialect { delimiter, quote, null })
    }

    /// The delimiter of raw records.
    pub(super) fn raw_delimiter(&self) -> Vec<u8> {
        self.delimiter.clone().unwrap_or_else(|| b"\n".to_vec())
    }
}

fn single_byte(option: &str, bytes: &[u8]) -> Result<u8, OptionError> {
    match bytes {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(*byte),
        _ => Err(OptionError(format!(
            "--{option} must be one ASCII character and no line end, not {:?}",
            String::from_utf8_lossy(bytes)
        ))),
    }
}

/// An option that cannot be as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError(pub(super) String);

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OptionError {}

impl From<super::columns::ColumnsError> for OptionError {
    fn from(error: super::columns::ColumnsError) -> Self {
        OptionError(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(format: Format, delimiter: &str, quote: &str, null: &str) -> FormatOptions {
        let given = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        FormatOptions {
            delimiter: given(delimiter),
            quote: given(quote),
            null: (!null.is_empty()).then(|| null.to_owned()),
            ..FormatOptions::new(format)
        }
    }

    #[test]
    fn names_are_read_back() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert!("yaml".parse::<Format>().is_err());
    }

    #[test]
    fn defaults_are_those_of_copy() {
        let text = FormatOptions::new(Format::Text).dialect().expect("valid");
        assert_eq!((text.delimiter, text.null.as_slice()), (b'\t', &b"\\N"[..]));
        let csv = FormatOptions::new(Format::Csv).dialect().expect("valid");
        assert_eq!((csv.delimiter, csv.quote, csv.null.as_slice()), (b',', b'"', &b""[..]));
        assert_eq!(FormatOptions::new(Format::Raw).raw_delimiter(), b"\n");
    }

    #[test]
    fn control_characters_are_fine() {
        let csv = options(Format::Csv, "\x02", "\x01", "NIL").dialect().expect("valid");
        assert_eq!(csv, Dialect { delimiter: 2, quote: 1, null: b"NIL".to_vec() });
        assert_eq!(options(Format::Raw, "\r\n", "", "").raw_delimiter(), b"\r\n");
    }

    #[test]
    fn what_copy_refuses_is_refused() {
        for wrong in [
            options(Format::Text, "ab", "", ""),
            options(Format::Text, "x", "", ""),
            options(Format::Text, ".", "", ""),
            options(Format::Text, "\\", "", ""),
            options(Format::Text, "\n", "", ""),
            options(Format::Text, "é", "", ""),
            options(Format::Text, "\0", "", ""),
            options(Format::Text, ";", "", "a;b"),
            options(Format::Text, "", "", "a\nb"),
            options(Format::Text, "", "", "a\\"),
            options(Format::Csv, "", "", "\\."),
            options(Format::Csv, "'", "'", ""),
            options(Format::Csv, "", "", "\""),
        ] {
            assert!(wrong.dialect().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn options_without_meaning_are_refused() {
        for (wrong, expected) in [
            (options(Format::Binary, ";", "", ""), "--delimiter has no meaning in --format binary"),
            (options(Format::Json, "", "", "x"), "--null has no meaning in --format json"),
            (options(Format::Text, "", "'", ""), "--quote has no meaning in --format text, only in csv"),
            (FormatOptions { header: true, ..FormatOptions::new(Format::Raw) }, "--header has no meaning"),
            (
                FormatOptions {
                    columns: Some(Columns::parse("a = key, a = value").expect("valid")),
                    ..FormatOptions::new(Format::Json)
                },
                "--columns: a is there twice",
            ),
        ] {
            let error = wrong.check().expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
