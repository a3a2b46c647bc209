//! Decimal integers, written and read without allocation.

use super::scan::short_number;

/// Appends `number` in decimal.
#[inline]
pub(super) fn put_i64(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    put_u64(out, number.unsigned_abs());
}

/// Appends `number` in decimal.
#[inline]
pub(super) fn put_u64(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Why bytes are not an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntegerError {
    /// Something else than an optional sign and digits.
    Syntax,
    /// Beyond 64 bits.
    OutOfRange,
}

/// Reads a decimal integer as PostgreSQL 15 does: spaces around it and a sign are allowed.
#[inline]
pub(super) fn parse_i64(bytes: &[u8]) -> Result<i64, IntegerError> {
    // Most are nothing but digits, and few of them.
    if let Some(number) = short_number(bytes) {
        return Ok(number);
    }
    parse_any_i64(bytes)
}

fn parse_any_i64(bytes: &[u8]) -> Result<i64, IntegerError> {
    let trimmed = bytes.trim_ascii();
    let (negative, digits) = match trimmed {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(IntegerError::Syntax);
    }
    let mut number = 0i64;
    for digit in digits {
        let digit = i64::from(digit - b'0');
        // Summed up below zero, because the smallest number has no positive counterpart.
        number = number.checked_mul(10).and_then(|n| n.checked_sub(digit)).ok_or(IntegerError::OutOfRange)?;
    }
    if negative { Ok(number) } else { number.checked_neg().ok_or(IntegerError::OutOfRange) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_the_extremes() {
        for number in [0, 1, -1, 9, 10, 99, 100, i64::from(i32::MIN), i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_i64(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
            assert_eq!(parse_i64(&out), Ok(number));
        }
    }

    #[test]
    fn reads_what_postgres_reads() {
        for (text, expected) in [
            (" +7 ", Ok(7)),
            ("007", Ok(7)),
            ("", Err(IntegerError::Syntax)),
            ("-", Err(IntegerError::Syntax)),
            ("1.0", Err(IntegerError::Syntax)),
            ("1e3", Err(IntegerError::Syntax)),
            ("0x10", Err(IntegerError::Syntax)),
            ("9223372036854775808", Err(IntegerError::OutOfRange)),
            ("-9223372036854775809", Err(IntegerError::OutOfRange)),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), expected, "{text:?}");
        }
    }
}
