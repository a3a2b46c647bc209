//! JSON values into types, and typed values into JSON.

use super::{
    Refusal, Type,
    array::{Builder, Elements},
    codec::{JSONB_VERSION, fixed, put_json},
    moment,
};
use crate::{
    base64::put_hex,
    datetime::{Style, fits_rfc3339, put_timestamptz},
    json::{Nesting, RawString, Rules, Scanner, put_string},
};

/// They would be lost.
const BOUNDED: Refusal =
    "JSON has no array bounds: declare the column as text, or select a slice such as a[:], which begins at 1";

/// What a JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonKind {
    Null,
    Bool,
    Number,
    /// A string with or without escapes.
    String {
        has_escapes: bool,
    },
    Array,
    Object,
}

impl JsonKind {
    /// The kind of a valid JSON text.
    pub(crate) fn of(json: &[u8]) -> JsonKind {
        match json.first() {
            Some(b'"') => JsonKind::String { has_escapes: memchr::memchr(b'\\', json).is_some() },
            first => JsonKind::of_first(first.copied().unwrap_or_default()),
        }
    }

    /// The kind of a valid JSON text that is no string, by its first byte.
    #[inline]
    pub(crate) fn of_first(byte: u8) -> JsonKind {
        match byte {
            b'{' => JsonKind::Object,
            b'[' => JsonKind::Array,
            b't' | b'f' => JsonKind::Bool,
            b'n' => JsonKind::Null,
            _ => JsonKind::Number,
        }
    }
}

impl Type {
    /// Appends the binary form of a JSON value that is valid, not null and not a string.
    pub(crate) fn parse_json(&self, kind: JsonKind, json: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        match (self, kind) {
            (Type::Array(element), JsonKind::Array) => parse_array(element, json, out),
            (Type::Int2 | Type::Int4 | Type::Int8, JsonKind::Number) => {
                let number = self.parse_json_integer(json)?;
                let bytes = number.to_be_bytes();
                out.extend_from_slice(&bytes[8 - self.width().unwrap_or(8)..]);
                Ok(())
            }
            (Type::Timestamp(precision) | Type::Timestamptz(precision), JsonKind::Number) => {
                out.extend_from_slice(&moment::parse_milliseconds(json, *precision)?.to_be_bytes());
                Ok(())
            }
            (Type::Json, _) => put_json(json, Rules::Json, out),
            (Type::Jsonb, _) => put_json(json, Rules::Jsonb, out),
            (_, JsonKind::Object | JsonKind::Array) if !self.is_text() => {
                Err(if kind == JsonKind::Object { "a JSON object" } else { "a JSON array" })
            }
            // A number would be taken for a time of day or a date.
            (Type::Date | Type::Time(_) | Type::Timetz(_) | Type::Interval(_), JsonKind::Number) => {
                Err("a JSON number says nothing about its unit: a string was expected")
            }
            _ => self.parse(json, out),
        }
    }

    /// A JSON number as an integer of this type: 1.0 and 1e3 are whole, too.
    #[inline]
    pub(crate) fn parse_json_integer(&self, json: &[u8]) -> Result<i64, Refusal> {
        match self.parse_integer(json) {
            Err(_) if memchr::memchr3(b'.', b'e', b'E', json).is_some() => {
                self.parse_integer(&whole_number(json)?)
            }
            parsed => parsed,
        }
    }

    /// A JSON number as a timestamptz.
    pub(crate) fn parse_json_time(&self, json: &[u8]) -> Result<i64, Refusal> {
        let precision = if let Type::Timestamptz(precision) = self { *precision } else { None };
        moment::parse_milliseconds(json, precision)
    }

    /// Appends a value in binary as JSON: numbers and booleans as such, JSON embedded, arrays as arrays, all else
    /// as a string.
    pub(crate) fn put_as_json(&self, binary: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self {
            Type::Bool => out.extend_from_slice(if fixed::<1>(binary)? == [0] { b"false" } else { b"true" }),
            Type::Int2 | Type::Int4 | Type::Int8 => self.show(binary, out)?,
            Type::Float4 | Type::Float8 | Type::Numeric(_) => {
                let start = out.len();
                self.show(binary, out)?;
                // NaN and the infinities.
                if out[start..].iter().any(|byte| matches!(byte, b'N' | b'I')) {
                    out.insert(start, b'"');
                    out.push(b'"');
                }
            }
            Type::Json => out.extend_from_slice(binary),
            Type::Jsonb => {
                out.extend_from_slice(binary.strip_prefix(&[JSONB_VERSION]).ok_or("not a binary jsonb")?)
            }
            Type::Timestamp(_) | Type::Timestamptz(_) => {
                let micros = i64::from_be_bytes(fixed(binary)?);
                let style = if fits_rfc3339(micros) { Style::Rfc3339 } else { Style::Postgres };
                out.push(b'"');
                match self {
                    Type::Timestamp(_) => moment::show_timestamp(micros, out, style)?,
                    _ => {
                        moment::check_timestamp(micros)?;
                        put_timestamptz(out, micros, style);
                    }
                }
                out.push(b'"');
            }
            Type::Bytea => {
                out.extend_from_slice(b"\"\\\\x");
                put_hex(out, binary);
                out.push(b'"');
            }
            Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Enum(_) | Type::Other(_) => {
                put_string(out, std::str::from_utf8(binary).map_err(|_| "not valid UTF-8")?);
            }
            Type::Array(element) => {
                let mut elements = Elements::new(binary)?;
                if elements.dimensions.iter().any(|(_, lower)| *lower != 1) {
                    return Err(BOUNDED);
                }
                elements.put_nested([b'[', b']'], out, &mut |value, out| match value {
                    Some(value) => element.put_as_json(value, out),
                    None => {
                        out.extend_from_slice(b"null");
                        Ok(())
                    }
                })?;
            }
            // Nothing in their text needs an escape.
            Type::Uuid
            | Type::Date
            | Type::Time(_)
            | Type::Timetz(_)
            | Type::Interval(_)
            | Type::Inet
            | Type::Cidr
            | Type::Macaddr => {
                out.push(b'"');
                self.show(binary, out)?;
                out.push(b'"');
            }
        }
        Ok(())
    }
}

/// The digits of a JSON number with a fraction or an exponent, if it is whole.
#[cold]
fn whole_number(json: &[u8]) -> Result<Vec<u8>, Refusal> {
    const NOT_WHOLE: Refusal = "not a whole number";
    let text = std::str::from_utf8(json).map_err(|_| NOT_WHOLE)?;
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = [whole, fraction].concat();
    if digits.bytes().all(|byte| matches!(byte, b'0' | b'-')) {
        return Ok(b"0".to_vec());
    }
    // Beyond the reach of any integer.
    let exponent: i64 = exponent.parse().map_err(|_| "out of range")?;
    let shift = exponent - fraction.len() as i64;
    match shift {
        0.. if shift < 20 => digits.extend(std::iter::repeat_n('0', shift as usize)),
        0.. => return Err("out of range"),
        _ => {
            let kept = digits.len() as i64 + shift;
            let kept = usize::try_from(kept).map_err(|_| NOT_WHOLE)?;
            if digits[kept..].bytes().any(|byte| byte != b'0')
                || digits[..kept].trim_start_matches('-').is_empty()
            {
                return Err(NOT_WHOLE);
            }
            digits.truncate(kept);
        }
    }
    Ok(digits.into_bytes())
}

/// Appends the binary form of a JSON array; arrays within are further dimensions, but for elements that are JSON.
fn parse_array(element: &Type, json: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut scanner = Scanner::new(json);
    let mut builder = Builder::new(element, out);
    let (mut nesting, mut room) = (Nesting::default(), Vec::new());
    let mut depth = 0usize;
    let invalid = "invalid JSON";
    loop {
        // A value is due.
        if scanner.peek() == Some(b'[') && (depth == 0 || !element.is_json()) {
            scanner.take(b'[');
            builder.open()?;
            depth += 1;
            if scanner.peek() != Some(b']') {
                continue;
            }
        } else {
            let (start, end) = scanner.value(Rules::Json, &mut nesting).map_err(|error| error.reason)?;
            let value = scanner.slice(start, end);
            put_element(element, &scanner, (start, value), &mut builder, &mut room)?;
        }
        while scanner.take(b']') {
            builder.close()?;
            depth = depth.checked_sub(1).ok_or(invalid)?;
            if depth == 0 {
                return builder.finish();
            }
        }
        if !scanner.take(b',') {
            return Err(invalid);
        }
    }
}

fn put_element(
    element: &Type,
    scanner: &Scanner<'_>,
    (start, value): (usize, &[u8]),
    builder: &mut Builder<'_>,
    room: &mut Vec<u8>,
) -> Result<(), Refusal> {
    match JsonKind::of(value) {
        JsonKind::Null => builder.null(),
        JsonKind::String { has_escapes } if !element.is_json() => {
            let raw = RawString { start: start + 1, end: start + value.len() - 1, has_escapes };
            let text = scanner.text_of(raw, room);
            builder.text(text)
        }
        kind => builder.value(|out| element.parse_json(kind, value, out)),
    }
}
