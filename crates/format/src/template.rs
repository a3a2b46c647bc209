//! kcat's `-f`: what is printed for each message. Also its output without `-f`, made of `-D` and `-K`.
//!
//! | | |
//! |---|---|
//! | `%s` `%S` `%R` | the value, its length (-1 for NULL), its length as four big-endian bytes |
//! | `%k` `%K` | the key and its length |
//! | `%T` | the timestamp in milliseconds since 1970, -1 for none |
//! | `%h` | the headers: `name=value,name2=NULL` |
//! | `%t` `%p` `%o` | topic, partition, offset |
//! | `%%` | a percent sign |
//! | `\n` `\r` `\t` `\\` | what they are everywhere |
//! | `\xNN` | the byte of that hexadecimal number, of one or two digits |
//! | `\NNN` | the byte of that number: octal if it begins with 0, else decimal |
//!
//! Any other character after a backslash stands for itself, and so does a backslash before a `%` or the end.

use std::fmt;

use kcopy_wire::records::Record;

use super::{
    base64::hex_digit,
    error::Problem,
    number::put_i64,
    pack::Pack,
    write::{Fault, RecordContext},
};

/// What stands for NULL with `-Z`.
const NULL: &[u8] = b"NULL";

/// A parsed `-f`, or the format that `-D` and `-K` describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    tokens: Vec<Token>,
    prints_null: bool,
    key_pack: Option<Pack>,
    value_pack: Option<Pack>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(Vec<u8>),
    Value,
    ValueLength,
    ValueLengthBinary,
    Key,
    KeyLength,
    Timestamp,
    Headers,
    Topic,
    Partition,
    Offset,
}

impl Template {
    /// Parses a format.
    ///
    /// # Errors
    /// For a `%` before anything that is not in the table above, and an escape that is no byte.
    pub fn parse(format: impl AsRef<[u8]>) -> Result<Self, TemplateError> {
        let mut tokens = Vec::new();
        let mut literal = Vec::new();
        let mut rest = format.as_ref();
        while let Some(at) = memchr::memchr2(b'%', b'\\', rest) {
            literal.extend_from_slice(&rest[..at]);
            let is_escape = rest[at] == b'\\';
            rest = &rest[at + 1..];
            if is_escape {
                let len = parse_escape(rest, &mut literal)?;
                rest = &rest[len..];
                continue;
            }
            let (&name, after) = rest.split_first().ok_or(TemplateError::Empty)?;
            let token = match name {
                b's' => Token::Value,
                b'S' => Token::ValueLength,
                b'R' => Token::ValueLengthBinary,
                b'k' => Token::Key,
                b'K' => Token::KeyLength,
                b'T' => Token::Timestamp,
                b'h' => Token::Headers,
                b't' => Token::Topic,
                b'p' => Token::Partition,
                b'o' => Token::Offset,
                b'%' => {
                    literal.push(b'%');
                    rest = after;
                    continue;
                }
                _ => return Err(TemplateError::Unsupported(shown(rest, 1))),
            };
            rest = after;
            if !literal.is_empty() {
                tokens.push(Token::Literal(std::mem::take(&mut literal)));
            }
            tokens.push(token);
        }
        literal.extend_from_slice(rest);
        if !literal.is_empty() {
            tokens.push(Token::Literal(literal));
        }
        Ok(Template::new(tokens))
    }

    /// The value and a delimiter, with the key and another one before it if there is one.
    pub fn delimited(delimiter: &[u8], key_delimiter: Option<&[u8]>) -> Self {
        let mut tokens = Vec::new();
        if let Some(key_delimiter) = key_delimiter {
            tokens.extend([Token::Key, Token::Literal(key_delimiter.to_vec())]);
        }
        tokens.extend([Token::Value, Token::Literal(delimiter.to_vec())]);
        Template::new(tokens)
    }

    fn new(tokens: Vec<Token>) -> Self {
        Template { tokens, prints_null: false, key_pack: None, value_pack: None }
    }

    /// Whether `NULL` is printed for null keys and values (`-Z`), which print nothing otherwise.
    #[must_use]
    pub fn prints_null(mut self, prints_null: bool) -> Self {
        self.prints_null = prints_null;
        self
    }

    /// How keys and values are unpacked (`-s`).
    #[must_use]
    pub fn packs(mut self, key: Option<Pack>, value: Option<Pack>) -> Self {
        (self.key_pack, self.value_pack) = (key, value);
        self
    }

    #[inline]
    pub(super) fn write(
        &self,
        context: &RecordContext<'_>,
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        // Values between delimiters are what nearly everybody wants: no token is looked at twice.
        if let ([Token::Value, Token::Literal(delimiter)], Some(value), None) =
            (&self.tokens[..], record.value, &self.value_pack)
        {
            out.reserve(value.len() + delimiter.len());
            out.extend_from_slice(value);
            match delimiter[..] {
                [byte] => out.push(byte),
                _ => out.extend_from_slice(delimiter),
            }
            return Ok(());
        }
        for token in &self.tokens {
            match token {
                Token::Literal(bytes) => out.extend_from_slice(bytes),
                Token::Value => self
                    .put(out, "value", record.value, self.value_pack.as_ref())
                    .map_err(|problem| Fault { column: Fault::VALUE, problem })?,
                Token::Key => self
                    .put(out, "key", record.key, self.key_pack.as_ref())
                    .map_err(|problem| Fault { column: Fault::KEY, problem })?,
                Token::ValueLength => put_i64(out, length(record.value)),
                Token::KeyLength => put_i64(out, length(record.key)),
                // Kafka's lengths have 32 bits.
                Token::ValueLengthBinary => {
                    out.extend_from_slice(&(length(record.value) as i32).to_be_bytes());
                }
                Token::Timestamp => put_i64(out, record.timestamp),
                Token::Headers => put_headers(out, record),
                Token::Topic => out.extend_from_slice(context.topic.as_bytes()),
                Token::Partition => put_i64(out, i64::from(context.partition)),
                Token::Offset => put_i64(out, record.offset),
            }
        }
        Ok(())
    }

    #[inline]
    fn put(
        &self,
        out: &mut Vec<u8>,
        what: &str,
        bytes: Option<&[u8]>,
        pack: Option<&Pack>,
    ) -> Result<(), Problem> {
        match (bytes, pack) {
            (Some(bytes), Some(pack)) if !bytes.is_empty() => pack.unpack(what, bytes, out)?,
            (Some(bytes), _) => out.extend_from_slice(bytes),
            (None, _) if self.prints_null => out.extend_from_slice(NULL),
            (None, _) => {}
        }
        Ok(())
    }
}

fn length(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| bytes.len() as i64)
}

fn put_headers(out: &mut Vec<u8>, record: &Record<'_>) {
    for (index, (name, value)) in record.headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value.unwrap_or(NULL));
    }
}

/// Appends what follows a backslash and returns how long it was.
fn parse_escape(rest: &[u8], literal: &mut Vec<u8>) -> Result<usize, TemplateError> {
    let wrong = || TemplateError::Escape(shown(rest, 4));
    let (byte, len) = match rest {
        [] | [b'%', ..] => (b'\\', 0),
        [b'n', ..] => (b'\n', 1),
        [b'r', ..] => (b'\r', 1),
        [b't', ..] => (b'\t', 1),
        [b'x', digits @ ..] => {
            let mut digits = digits.iter().map_while(|&digit| hex_digit(digit));
            let first = digits.next().ok_or_else(wrong)?;
            digits.next().map_or((first, 2), |second| (first << 4 | second, 3))
        }
        [b'0'..=b'9', ..] => {
            let len = rest.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
            let radix = if rest[0] == b'0' { 8 } else { 10 };
            let digits = std::str::from_utf8(&rest[..len]).map_err(|_| wrong())?;
            (u8::from_str_radix(digits, radix).map_err(|_| wrong())?, len)
        }
        [itself, ..] => (*itself, 1),
    };
    literal.push(byte);
    Ok(len)
}

fn shown(rest: &[u8], characters: usize) -> String {
    String::from_utf8_lossy(rest).chars().take(characters).collect()
}

/// What is wrong with a format.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateError {
    /// A `%` at the end.
    Empty,
    /// A `%` before a character that means nothing.
    Unsupported(String),
    /// A backslash before what is no byte.
    Escape(String),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TemplateError::Empty => f.write_str("Empty formatter"),
            TemplateError::Unsupported(name) => {
                write!(f, "Unsupported formatter: %{name} (there are %s %S %R %k %K %T %h %t %p %o %%)")
            }
            TemplateError::Escape(text) => write!(f, "\\{text} is no byte"),
        }
    }
}

impl std::error::Error for TemplateError {}

#[cfg(test)]
mod tests {
    use kcopy_wire::records::{Headers, HeadersBuf, TimestampType};

    use super::*;

    const CONTEXT: RecordContext<'_> =
        RecordContext { topic: "t", partition: 3, broker: 1, timestamp_type: TimestampType::CreateTime };

    fn write(template: &Template, key: Option<&[u8]>, value: Option<&[u8]>, headers: Headers<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let record = Record { offset: 42, timestamp: 1_700_000_000_000, key, value, headers };
        template.write(&CONTEXT, &record, &mut out).expect("no pack format");
        out
    }

    fn check(format: &str, expected: &[u8]) {
        let mut headers = HeadersBuf::new();
        headers.push("a", Some(b"1"));
        headers.push("b", None);
        headers.push("a", Some(b""));
        let template = Template::parse(format).expect(format);
        let out = write(&template, Some(b"key"), Some(b"value"), headers.as_headers());
        assert_eq!(out, expected, "{format}: {}", out.escape_ascii());
    }

    #[test]
    fn every_token() {
        check("%s|%S|%k|%K", b"value|5|key|3");
        check("%R", b"\0\0\0\x05");
        check("%T %t [%p] at %o\\n", b"1700000000000 t [3] at 42\n");
        check("%h", b"a=1,b=NULL,a=");
        check("100%% of %%s", b"100% of %s");
        check("", b"");
        check("no token", b"no token");
    }

    #[test]
    fn every_escape() {
        check("\\n\\r\\t\\\\", b"\n\r\t\\");
        check("\\x41\\x4\\xabcd\\xff", b"A\x04\xabcd\xff");
        check("\\0\\10\\065\\65\\255", b"\0\n5A\xff");
        check("\\q\\\"", b"q\"");
        check("\\é", "é".as_bytes());
        check("\\%s\\", b"\\value\\");
        check("é%sé", "évalueé".as_bytes());
    }

    #[test]
    fn wrong_formats_are_refused() {
        for (format, expected) in [
            ("%", "Empty formatter"),
            ("a%", "Empty formatter"),
            ("%x", "Unsupported formatter: %x"),
            ("%é", "Unsupported formatter: %é"),
            ("\\xg", "\\xg is no byte"),
            ("\\256", "\\256 is no byte"),
        ] {
            let error = Template::parse(format).expect_err(format);
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }

    #[test]
    fn null_and_empty() {
        let template = Template::parse("[%k][%K][%s][%S]").expect("valid");
        let with_null = template.clone().prints_null(true);
        let none = Headers::EMPTY;
        assert_eq!(write(&template, None, None, none), b"[][-1][][-1]");
        assert_eq!(write(&with_null, None, None, none), b"[NULL][-1][NULL][-1]");
        assert_eq!(write(&with_null, Some(b""), Some(b""), none), b"[][0][][0]");
        assert_eq!(write(&Template::parse("%R").expect("valid"), None, None, none), b"\xff\xff\xff\xff");
        assert_eq!(write(&Template::parse("<%h>").expect("valid"), None, None, none), b"<>");
    }

    #[test]
    fn without_a_format_value_and_delimiter() {
        let none = Headers::EMPTY;
        let (key, value) = (Some(&b"k"[..]), Some(&b"v"[..]));
        assert_eq!(write(&Template::delimited(b"\n", None), key, value, none), b"v\n");
        assert_eq!(write(&Template::delimited(b"%s;", Some(b"%k:")), key, value, none), b"k%k:v%s;");
        assert_eq!(write(&Template::delimited(b"\n", Some(b":")), None, None, none), b":\n");
        let with_null = Template::delimited(b"\n", Some(b":")).prints_null(true);
        assert_eq!(write(&with_null, None, None, none), b"NULL:NULL\n");
    }
}
