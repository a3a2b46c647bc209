//! numeric: exact decimal numbers, in binary as digits to the base of 10,000.

use super::{NumericSize, Refusal, scalar::trim};

const REFUSED: Refusal = "not a number";
const OVERFLOW: Refusal = "more digits than numeric can hold";

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;

/// The most decimal digits before and after the point.
const MAX_BEFORE: i64 = 131_072;
const MAX_AFTER: i64 = 16_383;
/// PostgreSQL's limit for exponents, so that sums of positions stay small.
const MAX_EXPONENT: i64 = i32::MAX as i64 / 2;
const HEADER_LEN: usize = 8;
const DIGITS: i64 = 4;

/// A number as it was written: sign, decimal digits, and where the point is.
struct Written<'a> {
    negative: bool,
    before: &'a [u8],
    after: &'a [u8],
    exponent: i64,
}

impl<'a> Written<'a> {
    fn parse(text: &'a [u8]) -> Result<Written<'a>, Refusal> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let (before, rest) = digits(text);
        let (after, rest) = match rest {
            [b'.', rest @ ..] => digits(rest),
            rest => (&[][..], rest),
        };
        if before.is_empty() && after.is_empty() {
            return Err(REFUSED);
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent(rest)?,
            _ => return Err(REFUSED),
        };
        Ok(Written { negative, before, after, exponent })
    }

    /// The digits behind the point, as far as they were written.
    fn scale(&self) -> i64 {
        (self.after.len() as i64 - self.exponent).max(0)
    }

    /// The digit at a decimal position: 0 is the one before the point, -1 the first behind it.
    #[inline]
    fn at(&self, position: i64) -> u8 {
        let index = self.before.len() as i64 + self.exponent - 1 - position;
        let Ok(index) = usize::try_from(index) else { return 0 };
        let digit = match index.checked_sub(self.before.len()) {
            None => self.before.get(index),
            Some(index) => self.after.get(index),
        };
        digit.map_or(0, |digit| digit - b'0')
    }

    /// The position of the first digit that is not zero.
    fn first(&self) -> Option<i64> {
        let zeros = self.before.iter().chain(self.after).position(|digit| *digit != b'0')?;
        Some(self.before.len() as i64 + self.exponent - 1 - zeros as i64)
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let len = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(len)
}

fn exponent(text: &[u8]) -> Result<i64, Refusal> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (digits, rest) = digits(text);
    if digits.is_empty() || !rest.is_empty() {
        return Err(REFUSED);
    }
    let add = |number: i64, digit: &u8| number.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    let exponent = digits.iter().fold(0, add);
    match exponent < MAX_EXPONENT {
        true if negative => Ok(-exponent),
        true => Ok(exponent),
        false => Err(OVERFLOW),
    }
}

/// Appends the binary form of what `text` says, rounded to the scale of `size` (half away from zero).
pub(super) fn parse(text: &[u8], size: Option<NumericSize>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let text = trim(text);
    let special = |sign: u16, out: &mut Vec<u8>| {
        put_header(out, 0, 0, sign, 0);
        Ok(())
    };
    match text {
        [b'0'..=b'9', ..] => {}
        _ if text.eq_ignore_ascii_case(b"nan") => return special(NAN, out),
        _ => {
            let (sign, word) = match text {
                [b'-', rest @ ..] => (NEGATIVE_INFINITY, rest),
                [b'+', rest @ ..] => (INFINITY, rest),
                rest => (INFINITY, rest),
            };
            if word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"infinity") {
                return if size.is_none() {
                    special(sign, out)
                } else {
                    Err("numeric with a precision cannot be infinite")
                };
            }
        }
    }
    put(&Written::parse(text)?, size, out)
}

/// Whether a number is one that numeric without a size can hold.
pub(crate) fn fits(text: &[u8]) -> bool {
    Written::parse(text).is_ok_and(|written| {
        written.scale() <= MAX_AFTER && written.first().is_none_or(|first| first < MAX_BEFORE)
    })
}

fn put(written: &Written<'_>, size: Option<NumericSize>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let own_scale = written.scale();
    if own_scale > MAX_AFTER && size.is_none() {
        return Err(OVERFLOW);
    }
    let scale = size.map_or(own_scale, |size| i64::from(size.scale));
    let shown_scale = scale.max(0);
    let rounds_up = written.at(-scale - 1) >= 5;
    let Some(first) = written.first().filter(|first| *first >= -scale || rounds_up) else {
        put_header(out, 0, 0, 0, shown_scale as u16);
        return Ok(());
    };
    if first >= MAX_BEFORE {
        return Err(OVERFLOW);
    }

    // Digits of the base 10,000 by their position: number 0 ends at the decimal point.
    let weight = first.max(-scale).div_euclid(DIGITS);
    let last = (-scale).div_euclid(DIGITS);
    let start = out.len();
    out.resize(start + HEADER_LEN, 0);
    for position in (last..=weight).rev() {
        let decimals = (position * DIGITS..(position + 1) * DIGITS).rev();
        let digit = decimals
            .fold(0u16, |number, at| number * 10 + if at >= -scale { u16::from(written.at(at)) } else { 0 });
        out.extend_from_slice(&digit.to_be_bytes());
    }
    let mut weight = weight;
    if rounds_up {
        let unit = 10u16.pow((-scale).rem_euclid(DIGITS) as u32);
        if add_to_last(&mut out[start + HEADER_LEN..], unit) {
            weight += 1;
            out.splice(start + HEADER_LEN..start + HEADER_LEN, 1u16.to_be_bytes());
        }
    }
    let weight = finish(out, start, weight, written.negative, shown_scale as u16);
    let fits = match size {
        // The digits before the scale's last one.
        Some(NumericSize { precision, .. }) => highest_position(&out[start..], weight)
            .is_none_or(|highest| highest + scale < i64::from(precision)),
        None => true,
    };
    if !fits {
        out.truncate(start);
        return Err("more digits than the precision allows");
    }
    Ok(())
}

/// Adds to the last digit; whether a 1 is carried beyond the first.
fn add_to_last(digits: &mut [u8], unit: u16) -> bool {
    let (digits, _) = digits.as_chunks_mut::<2>();
    let mut carried = unit;
    for digit in digits.iter_mut().rev() {
        let sum = u16::from_be_bytes(*digit) + carried;
        carried = sum / 10_000;
        *digit = (sum % 10_000).to_be_bytes();
        if carried == 0 {
            break;
        }
    }
    carried > 0
}

/// Strips zeros at both ends and writes the header. The weight of the first digit is returned.
fn finish(out: &mut Vec<u8>, start: usize, weight: i64, negative: bool, scale: u16) -> i64 {
    let digits = start + HEADER_LEN;
    while out.len() > digits && out.ends_with(&[0, 0]) {
        out.truncate(out.len() - 2);
    }
    let zeros = out[digits..].iter().take_while(|byte| **byte == 0).count() / 2;
    out.drain(digits..digits + zeros * 2);
    let count = (out.len() - digits) / 2;
    let weight = if count == 0 { 0 } else { weight - zeros as i64 };
    let sign = if negative && count > 0 { NEGATIVE } else { 0 };
    let mut header = Vec::with_capacity(HEADER_LEN);
    put_header(&mut header, count as u16, weight as i16, sign, scale);
    out[start..digits].copy_from_slice(&header);
    weight
}

fn put_header(out: &mut Vec<u8>, count: u16, weight: i16, sign: u16, scale: u16) {
    let header = [count, weight as u16, sign, scale];
    header.iter().for_each(|part| out.extend_from_slice(&part.to_be_bytes()));
}

/// The decimal position of the first digit.
fn highest_position(binary: &[u8], weight: i64) -> Option<i64> {
    let first = u16::from_be_bytes(*binary.get(HEADER_LEN..)?.first_chunk::<2>()?);
    Some(weight * DIGITS + i64::from(first.checked_ilog10()?))
}

/// Appends the text form of a numeric in binary.
pub(super) fn show(binary: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    const CORRUPT: Refusal = "not a binary numeric";
    let (header, digits) = binary.split_first_chunk::<HEADER_LEN>().ok_or(CORRUPT)?;
    let part = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (count, weight, sign, scale) = (part(0), i64::from(part(2) as i16), part(4), i64::from(part(6)));
    let (digits, rest) = digits.as_chunks::<2>();
    let is_digit = |digit: &[u8; 2]| u16::from_be_bytes(*digit) < 10_000;
    if usize::from(count) != digits.len()
        || !rest.is_empty()
        || !digits.iter().all(is_digit)
        || scale > MAX_AFTER
    {
        return Err(CORRUPT);
    }
    let word: &[u8] = match sign {
        0 => b"",
        NEGATIVE => b"-",
        NAN => b"NaN",
        INFINITY => b"Infinity",
        NEGATIVE_INFINITY => b"-Infinity",
        _ => return Err(CORRUPT),
    };
    out.extend_from_slice(word);
    if word.len() > 1 {
        return Ok(());
    }
    let digit_at = |position: i64| {
        let index = usize::try_from(weight - position).ok();
        index.and_then(|index| digits.get(index)).map_or(0, |digit| u16::from_be_bytes(*digit))
    };
    let four = |digit: u16| {
        [digit / 1000, digit / 100 % 10, digit / 10 % 10, digit % 10].map(|digit| b'0' + digit as u8)
    };
    let start = out.len();
    for position in (0..=weight.max(0)).rev() {
        out.extend_from_slice(&four(digit_at(position)));
    }
    let zeros = out[start..].iter().take_while(|byte| **byte == b'0').count().min(out.len() - start - 1);
    out.drain(start..start + zeros);
    if scale > 0 {
        out.push(b'.');
        let end = out.len() + scale as usize;
        let positions = (scale + DIGITS - 1) / DIGITS;
        for position in 1..=positions {
            out.extend_from_slice(&four(digit_at(-position)));
        }
        out.truncate(end);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn convert(text: &str, size: Option<(u16, i16)>) -> Result<String, Refusal> {
        let size = size.map(|(precision, scale)| NumericSize { precision, scale });
        let mut binary = Vec::new();
        parse(text.as_bytes(), size, &mut binary)?;
        let mut out = Vec::new();
        show(&binary, &mut out)?;
        Ok(String::from_utf8(out).expect("ASCII"))
    }

    #[test]
    fn numbers_as_postgres_shows_them() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("0.00", "0.00"),
            ("-0.00", "0.00"),
            ("1", "1"),
            ("007", "7"),
            ("-1.50", "-1.50"),
            (" +.5 ", "0.5"),
            ("5.", "5"),
            ("10000", "10000"),
            ("99999999", "99999999"),
            ("0.0001", "0.0001"),
            ("0.00001", "0.00001"),
            ("1e10", "10000000000"),
            ("1.5E-5", "0.000015"),
            ("1.20e1", "12.0"),
            ("123e-2", "1.23"),
            ("nan", "NaN"),
            ("-INF", "-Infinity"),
            ("Infinity", "Infinity"),
            ("12345678901234567890123456789.123456789", "12345678901234567890123456789.123456789"),
        ] {
            assert_eq!(convert(text, None).as_deref(), Ok(expected), "{text}");
        }
        let mut binary = Vec::new();
        parse(b"-12345.678", None, &mut binary).expect("a number");
        assert_eq!(binary, b"\0\x03\0\x01\x40\0\0\x03\0\x01\x09\x29\x1a\x7c");
    }

    #[test]
    fn scales_round_and_precisions_limit() {
        for (text, size, expected) in [
            ("1.005", (5, 2), Some("1.01")),
            ("-1.005", (5, 2), Some("-1.01")),
            ("1.004", (5, 2), Some("1.00")),
            ("999.994", (5, 2), Some("999.99")),
            ("999.995", (5, 2), None),
            ("1000", (5, 2), None),
            ("9999.5", (4, 0), None),
            ("9999.4", (4, 0), Some("9999")),
            ("0.5", (1, 0), Some("1")),
            ("0.4", (1, 0), Some("0")),
            ("-0.4", (1, 0), Some("0")),
            ("12345", (3, -2), Some("12300")),
            ("12350", (3, -2), Some("12400")),
            ("99950", (3, -2), None),
            ("0.00012", (2, 5), Some("0.00012")),
            ("0.0012", (2, 5), None),
            ("0.00095", (2, 4), Some("0.0010")),
            ("9999.99995", (9, 4), Some("10000.0000")),
            ("50", (2, -2), Some("100")),
            ("49", (2, -2), Some("0")),
            ("5", (2, -2), Some("0")),
            ("NaN", (2, 0), Some("NaN")),
            ("inf", (2, 0), None),
            ("1e-20", (2, 0), Some("0")),
            // As COPY has it, where the size comes first; a cast makes a numeric without one first, and refuses them.
            ("1e-20000", (2, 0), Some("0")),
            ("35.00E-131072", (6, 2), Some("0.00")),
            ("0e-1073741823", (6, 2), None),
        ] {
            assert_eq!(convert(text, Some(size)).ok().as_deref(), expected, "{text} {size:?}");
        }
    }

    #[test]
    fn what_is_no_numeric() {
        for wrong in [
            "", " ", ".", "-", "1e", "1e+", "x", "1x", "1 2", "1_0", "0x1", "--1", "1.2.3", "e5", "infinit",
            "-nan",
        ] {
            assert_eq!(convert(wrong, None), Err(REFUSED), "{wrong}");
        }
        for wrong in ["1e131072", "1e-16384", "1e99999999999999999999", "1e-99999999999999999999"] {
            assert_eq!(convert(wrong, None), Err(OVERFLOW), "{wrong}");
        }
        assert!(convert("1e131071", None).is_ok());
        assert!(convert("0e131072", None).is_ok());
        let zeros = "0".repeat(150_000);
        assert_eq!(convert(&format!("0.{zeros}1e150000"), None).as_deref(), Ok("0.1"));
        for corrupt in [&b""[..], b"\0\x01\0\0\0\0\0\0", b"\0\0\0\0\0\x01\0\0", b"\0\x01\0\0\0\0\0\0\x27\x10"]
        {
            assert!(show(corrupt, &mut Vec::new()).is_err());
        }
    }

    proptest! {
        #[test]
        fn every_number_survives(text in "-?[1-9][0-9]{0,60}(\\.[0-9]{0,60}[1-9])?") {
            prop_assert_eq!(convert(&text, None), Ok(text));
        }

        #[test]
        fn rounding_is_that_of_integers(number in -1_000_000i64..1_000_000, scale in 0i16..6) {
            let text = format!("{number}e-6");
            let unit = 10i64.pow(6 - scale as u32);
            let rounded = (number.abs() + unit / 2) / unit * number.signum();
            let expected = convert(&format!("{rounded}e-{scale}"), None);
            prop_assert_eq!(convert(&text, Some((20, scale))), expected);
        }
    }
}
