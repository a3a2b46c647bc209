//! float4 and float8: the nearest value, and the shortest digits that read back as it.

use super::{Refusal, scalar::trim};

const REFUSED: Refusal = "not a number";
const OUT_OF_RANGE: Refusal = "out of range";

/// A floating-point type.
pub(super) trait Float: Copy + PartialEq + std::str::FromStr + std::fmt::LowerExp {
    /// From this decimal exponent on, PostgreSQL writes the number with one.
    const FIRST_EXPONENT: i32;
    fn is_nan(self) -> bool;
    fn is_infinite(self) -> bool;
    fn is_zero(self) -> bool;
    fn is_negative(self) -> bool;
}

impl Float for f32 {
    const FIRST_EXPONENT: i32 = 6;
    fn is_nan(self) -> bool {
        f32::is_nan(self)
    }
    fn is_infinite(self) -> bool {
        f32::is_infinite(self)
    }
    fn is_zero(self) -> bool {
        self == 0.0
    }
    fn is_negative(self) -> bool {
        self.is_sign_negative()
    }
}

impl Float for f64 {
    const FIRST_EXPONENT: i32 = 15;
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
    fn is_infinite(self) -> bool {
        f64::is_infinite(self)
    }
    fn is_zero(self) -> bool {
        self == 0.0
    }
    fn is_negative(self) -> bool {
        self.is_sign_negative()
    }
}

pub(super) fn parse<F: Float>(text: &[u8]) -> Result<F, Refusal> {
    let text = std::str::from_utf8(trim(text)).map_err(|_| REFUSED)?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_word = ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
    if !is_word && !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Err(REFUSED);
    }
    // Rust takes the sign of a NaN as well.
    let number: F = text.parse().map_err(|_| REFUSED)?;
    let has_digits = |text: &str| {
        let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
        mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
    };
    if !is_word && (number.is_infinite() || (number.is_zero() && has_digits(unsigned))) {
        return Err(OUT_OF_RANGE);
    }
    Ok(number)
}

/// Appends the shortest digits, with an exponent where PostgreSQL has one. What is no finite number is its name.
pub(super) fn show<F: Float>(number: F, out: &mut Vec<u8>) {
    if number.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if number.is_negative() {
        out.push(b'-');
    }
    if number.is_infinite() {
        return out.extend_from_slice(b"Infinity");
    }
    if number.is_zero() {
        return out.push(b'0');
    }
    let shortest = format!("{number:e}");
    let shortest = shortest.strip_prefix('-').unwrap_or(&shortest);
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..F::FIRST_EXPONENT).contains(&exponent) {
        out.extend_from_slice(mantissa.as_bytes());
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
        return;
    }
    let digits = mantissa.bytes().filter(|byte| *byte != b'.');
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', exponent.unsigned_abs() as usize - 1));
        out.extend(digits);
        return;
    }
    let before_point = exponent.unsigned_abs() as usize + 1;
    let count = digits.clone().count();
    for (index, digit) in digits.enumerate() {
        if index == before_point {
            out.push(b'.');
        }
        out.push(digit);
    }
    out.extend(std::iter::repeat_n(b'0', before_point.saturating_sub(count)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text<F: Float>(number: F) -> String {
        let mut out = Vec::new();
        show(number, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn shows_what_postgres_shows() {
        // The right side is `$1::float8::text` on PostgreSQL 15.
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (100_000.0, "100000"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.25e-7, "1.25e-07"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (0.1, "0.1"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(text(number), expected);
        }
        assert_eq!(text(123_456.0f32), "123456");
        assert_eq!(text(1e6f32), "1e+06");
        assert_eq!(text(0.1f32), "0.1");
    }

    #[test]
    fn reads_what_postgres_reads() {
        for (written, expected) in [
            (" 1.5 ", 1.5),
            ("+1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-1E-3", -0.001),
            ("inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
            ("0e999", 0.0),
            ("4.9e-324", 5e-324),
        ] {
            assert_eq!(parse::<f64>(written.as_bytes()), Ok(expected), "{written}");
        }
        assert!(parse::<f64>(b"NaN").expect("a value").is_nan());
        for wrong in ["", " ", "x", "1x", "e5", ".", "1e", "0x10", "--1", "1_000", "infinit", "1 2"] {
            assert_eq!(parse::<f64>(wrong.as_bytes()), Err(REFUSED), "{wrong}");
        }
        for wrong in ["1e400", "-1e400", "1e-400"] {
            assert_eq!(parse::<f64>(wrong.as_bytes()), Err(OUT_OF_RANGE), "{wrong}");
        }
        assert_eq!(parse::<f32>(b"1e39"), Err(OUT_OF_RANGE));
    }

    proptest! {
        #[test]
        fn every_number_survives(bits in any::<u64>()) {
            let (wide, narrow) = (f64::from_bits(bits), f32::from_bits(bits as u32));
            if !wide.is_nan() {
                prop_assert_eq!(parse::<f64>(text(wide).as_bytes()), Ok(wide));
            }
            if !narrow.is_nan() {
                prop_assert_eq!(parse::<f32>(text(narrow).as_bytes()), Ok(narrow));
            }
        }
    }
}
