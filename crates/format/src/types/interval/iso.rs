//! ISO 8601 behind its P: `1Y2M3W4DT5H6M7.8S`, and the alternative `0001-02-03T04:05:06`.

use super::{
    INEXACT, OUT_OF_RANGE_BEFORE_15, REFUSED, Refusal,
    sum::{Number, Sum, Unit},
};
use crate::scan::short_number;

const DATE_UNITS: &[(u8, Unit)] =
    &[(b'Y', Unit::Years(1)), (b'M', Unit::Months), (b'W', Unit::Days(7)), (b'D', Unit::Days(1))];
const TIME_UNITS: &[(u8, Unit)] = &[(b'H', Unit::HOURS), (b'M', Unit::MINUTES), (b'S', Unit::SECONDS)];

pub(super) fn read(text: &[u8], sum: &mut Sum) -> Result<(), Refusal> {
    let (date, time) = match text.iter().position(|byte| *byte == b'T') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    if date.is_empty() && time.is_none() || time.is_some_and(<[u8]>::is_empty) {
        return Err(REFUSED);
    }
    let is_alternative = date.first().is_some_and(u8::is_ascii_digit)
        && date.contains(&b'-')
        && !date.iter().any(u8::is_ascii_alphabetic);
    match is_alternative {
        true => delimited(date, b'-', [Unit::Years(1), Unit::Months, Unit::Days(1)], sum)?,
        false => designated(date, DATE_UNITS, sum)?,
    }
    match time {
        None => Ok(()),
        Some(time) if time.contains(&b':') => {
            delimited(time, b':', [Unit::HOURS, Unit::MINUTES, Unit::SECONDS], sum)
        }
        Some(time) => designated(time, TIME_UNITS, sum),
    }
}

/// Numbers, each with a letter behind it.
fn designated(text: &[u8], units: &[(u8, Unit)], sum: &mut Sum) -> Result<(), Refusal> {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.iter().position(u8::is_ascii_alphabetic).ok_or(REFUSED)?;
        let (_, unit) = units.iter().find(|(letter, _)| *letter == rest[end]).ok_or(REFUSED)?;
        add(&rest[..end], *unit, sum)?;
        rest = &rest[end + 1..];
    }
    Ok(())
}

/// Two or three whole numbers; the last may be a fraction of seconds.
fn delimited(text: &[u8], delimiter: u8, units: [Unit; 3], sum: &mut Sum) -> Result<(), Refusal> {
    let mut units = units.into_iter();
    for part in text.split(|byte| *byte == delimiter) {
        let unit = units.next().ok_or(REFUSED)?;
        let has_point = part.contains(&b'.');
        if !part.first().is_some_and(u8::is_ascii_digit) || (has_point && unit != Unit::SECONDS) {
            return Err(REFUSED);
        }
        add(part, unit, sum)?;
    }
    Ok(())
}

/// Adds a number with a minus sign or none, and a fraction or none, but with a digit before the point. Some versions
/// read the fraction by itself, some take it from the whole number; where that makes a difference, none is right.
fn add(text: &[u8], unit: Unit, sum: &mut Sum) -> Result<(), Refusal> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let whole = sign * short_number(&digits[..point]).ok_or(REFUSED)?;
    if point == digits.len() {
        return sum.add(Number { whole, fraction: 0.0 }, unit);
    }
    if point + 1 == digits.len() || !digits[point + 1..].iter().all(u8::is_ascii_digit) {
        return Err(REFUSED);
    }
    let float =
        |text| std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok()).ok_or(REFUSED);
    if !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&float(text)?) {
        return Err(OUT_OF_RANGE_BEFORE_15);
    }
    let before = *sum;
    let mut other = before;
    sum.add(Number { whole, fraction: sign as f64 * float(&digits[point..])? }, unit)?;
    other.add(Number { whole, fraction: float(text)?.fract() }, unit)?;
    if sum.finish(false) == other.finish(false) { Ok(()) } else { Err(INEXACT) }
}
