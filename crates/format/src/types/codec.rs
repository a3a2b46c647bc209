//! Text into binary and back, for every type.

use super::{
    Refusal, Type, array, float,
    interval::{self, Interval},
    moment, network, numeric, scalar,
};
use crate::{
    base64::{decode_bytea, put_hex},
    datetime::{Style, put_timestamptz},
    json::{Nesting, Rules, Scanner},
    number::{IntegerError, parse_i64, put_i64},
};

/// The version that starts a binary jsonb.
pub(crate) const JSONB_VERSION: u8 = 1;

const NO_UTF8: Refusal = "not valid UTF-8";
const NUL: Refusal = "a NUL byte cannot be part of a text";

impl Type {
    /// Appends the binary form of what PostgreSQL's input function would make of `text`. After an error what was
    /// appended is of no use.
    pub(crate) fn parse(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self {
            Type::Bool => out.push(u8::from(scalar::parse_bool(text)?)),
            Type::Int2 => out.extend_from_slice(&(self.parse_integer(text)? as i16).to_be_bytes()),
            Type::Int4 => out.extend_from_slice(&(self.parse_integer(text)? as i32).to_be_bytes()),
            Type::Int8 => out.extend_from_slice(&self.parse_integer(text)?.to_be_bytes()),
            Type::Float4 => out.extend_from_slice(&float::parse::<f32>(text)?.to_be_bytes()),
            Type::Float8 => out.extend_from_slice(&float::parse::<f64>(text)?.to_be_bytes()),
            Type::Numeric(size) => numeric::parse(text, *size, out)?,
            Type::Text | Type::Enum(_) | Type::Other(_) => out.extend_from_slice(valid(text)?.as_bytes()),
            Type::Varchar(limit) | Type::Char(limit) => {
                out.extend_from_slice(scalar::check_length(valid(text)?, *limit)?.as_bytes());
            }
            Type::Bytea if !decode_bytea(out, text) => return Err("not a bytea such as \\x00ff"),
            Type::Bytea => {}
            Type::Uuid => out.extend_from_slice(&scalar::parse_uuid(text)?),
            Type::Json => put_json(text, Rules::Json, out)?,
            Type::Jsonb => put_json(text, Rules::Jsonb, out)?,
            Type::Date => out.extend_from_slice(&moment::parse_date(text)?.to_be_bytes()),
            Type::Time(precision) => {
                out.extend_from_slice(&moment::parse_time(text, *precision)?.to_be_bytes())
            }
            Type::Timetz(precision) => {
                let (micros, west_seconds) = moment::parse_timetz(text, *precision)?;
                out.extend_from_slice(&micros.to_be_bytes());
                out.extend_from_slice(&west_seconds.to_be_bytes());
            }
            Type::Timestamp(precision) => {
                out.extend_from_slice(&moment::parse_timestamp(text, *precision)?.to_be_bytes());
            }
            Type::Timestamptz(_) => out.extend_from_slice(&self.parse_point_in_time(text)?.to_be_bytes()),
            Type::Interval(precision) => {
                let Interval { micros, days, months } = interval::parse(text, *precision)?;
                out.extend_from_slice(&micros.to_be_bytes());
                out.extend_from_slice(&days.to_be_bytes());
                out.extend_from_slice(&months.to_be_bytes());
            }
            Type::Inet => network::parse(text, false, out)?,
            Type::Cidr => network::parse(text, true, out)?,
            Type::Macaddr => out.extend_from_slice(&network::parse_macaddr(text)?),
            Type::Array(element) => array::parse(element, text, out, Type::parse)?,
        }
        Ok(())
    }

    /// As [`parse`](Self::parse), for text that another session wrote: what its settings decide about is refused.
    pub(crate) fn parse_written(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self {
            Type::Interval(_) if interval::depends_on_style(text) => Err(
                "its signs depend on IntervalStyle: set intervalstyle = postgres or iso_8601 where it is written",
            ),
            Type::Array(element) => array::parse(element, text, out, Type::parse_written),
            _ => self.parse(text, out),
        }
    }

    /// An integer within the range of the type.
    #[inline]
    pub(crate) fn parse_integer(&self, text: &[u8]) -> Result<i64, Refusal> {
        match parse_i64(text) {
            Ok(number) if self.holds(number) => Ok(number),
            Ok(_) | Err(IntegerError::OutOfRange) => Err("out of range"),
            Err(IntegerError::Syntax) => Err("not an integer"),
        }
    }

    /// A timestamptz.
    #[inline]
    pub(crate) fn parse_point_in_time(&self, text: &[u8]) -> Result<i64, Refusal> {
        let precision = if let Type::Timestamptz(precision) = self { *precision } else { None };
        moment::parse_timestamptz_with(text, precision)
    }

    /// Appends the text form of a value in binary, as PostgreSQL's output function would.
    pub(crate) fn show(&self, binary: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self {
            Type::Bool => out.push(if fixed::<1>(binary)? == [0] { b'f' } else { b't' }),
            Type::Int2 => put_i64(out, i64::from(i16::from_be_bytes(fixed(binary)?))),
            Type::Int4 => put_i64(out, i64::from(i32::from_be_bytes(fixed(binary)?))),
            Type::Int8 => put_i64(out, i64::from_be_bytes(fixed(binary)?)),
            Type::Float4 => float::show(f32::from_be_bytes(fixed(binary)?), out),
            Type::Float8 => float::show(f64::from_be_bytes(fixed(binary)?), out),
            Type::Numeric(_) => numeric::show(binary, out)?,
            Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Enum(_) | Type::Other(_) | Type::Json => {
                out.extend_from_slice(valid(binary)?.as_bytes());
            }
            Type::Jsonb => {
                let json = binary.strip_prefix(&[JSONB_VERSION]).ok_or("not a binary jsonb")?;
                out.extend_from_slice(valid(json)?.as_bytes());
            }
            Type::Bytea => {
                out.extend_from_slice(b"\\x");
                put_hex(out, binary);
            }
            Type::Uuid => scalar::show_uuid(&fixed(binary)?, out),
            Type::Date => moment::show_date(i32::from_be_bytes(fixed(binary)?), out)?,
            Type::Time(_) => moment::show_time(i64::from_be_bytes(fixed(binary)?), out)?,
            Type::Timetz(_) => {
                let binary: [u8; 12] = fixed(binary)?;
                let [a, b, c, d, e, f, g, h, zone @ ..] = binary;
                moment::show_timetz(
                    i64::from_be_bytes([a, b, c, d, e, f, g, h]),
                    i32::from_be_bytes(zone),
                    out,
                )?;
            }
            Type::Timestamp(_) => {
                moment::show_timestamp(i64::from_be_bytes(fixed(binary)?), out, Style::Postgres)?;
            }
            Type::Timestamptz(_) => {
                let micros = i64::from_be_bytes(fixed(binary)?);
                moment::check_timestamp(micros)?;
                put_timestamptz(out, micros, Style::Postgres);
            }
            Type::Interval(_) => interval::show(interval_of(binary)?, out),
            Type::Inet => network::show(binary, false, out)?,
            Type::Cidr => network::show(binary, true, out)?,
            Type::Macaddr => network::show_macaddr(&fixed(binary)?, out),
            Type::Array(element) => array::show(element, binary, out)?,
        }
        Ok(())
    }
}

pub(super) fn fixed<const N: usize>(binary: &[u8]) -> Result<[u8; N], Refusal> {
    binary.try_into().map_err(|_| "not as long as its type")
}

fn interval_of(binary: &[u8]) -> Result<Interval, Refusal> {
    let binary: [u8; 16] = fixed(binary)?;
    let [a, b, c, d, e, f, g, h, days @ ..] = binary;
    let [i, j, k, l, months @ ..] = days;
    Ok(Interval {
        micros: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        days: i32::from_be_bytes([i, j, k, l]),
        months: i32::from_be_bytes(months),
    })
}

/// Text that PostgreSQL can hold.
fn valid(text: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| NO_UTF8)?;
    if text.contains('\0') { Err(NUL) } else { Ok(text) }
}

/// Appends checked JSON in its binary form.
pub(super) fn put_json(json: &[u8], rules: Rules, out: &mut Vec<u8>) -> Result<(), Refusal> {
    std::str::from_utf8(json).map_err(|_| NO_UTF8)?;
    Scanner::check(json, rules, &mut Nesting::default()).map_err(|error| error.reason)?;
    if rules == Rules::Jsonb {
        out.push(JSONB_VERSION);
    }
    out.extend_from_slice(json);
    Ok(())
}
