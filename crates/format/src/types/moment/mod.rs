//! Dates and times: date, time, timetz, timestamp, timestamptz.
//!
//! In binary a date is days, a timestamp microseconds since 2000; a time of day is microseconds since midnight.

mod parse;

use self::parse::{Day, Moment};
use super::Refusal;
use crate::datetime::{
    END_MICROS, EPOCH_DAYS, INFINITY, MIN_MICROS, NEGATIVE_INFINITY, Style, civil_from_days,
    kafka_from_micros, micros_of_fraction, parse_fixed, parse_fixed_date, parse_timestamptz, put_date,
    put_fraction, put_timestamptz, two_digits,
};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// 4714-11-24 BC and the day after 5874897-12-31.
const MIN_DATE: i64 = -2_451_545;
const END_DATE: i64 = 2_145_031_949;
/// What stands for `infinity` and `-infinity` in a date.
const DATE_INFINITY: i32 = i32::MAX;
const DATE_NEGATIVE_INFINITY: i32 = i32::MIN;
/// Offsets from UTC are smaller.
const END_OFFSET_SECONDS: i32 = 16 * 3600;

const OUT_OF_RANGE: Refusal = "out of range";
const NO_DATE: Refusal = "a date is missing";
const NO_TIME: Refusal = "a time of day is missing";
const NO_OFFSET: Refusal = "without an offset from UTC such as +00 it would depend on the server's TimeZone (declare the column without time zone)";

pub(super) fn parse_date(text: &[u8]) -> Result<i32, Refusal> {
    if let Some(days) = <&[u8; 10]>::try_from(text).ok().and_then(parse_fixed_date) {
        return Ok((days - EPOCH_DAYS) as i32);
    }
    let moment = Moment::parse(text, false)?;
    let days = match moment.day.ok_or(NO_DATE)? {
        Day::Infinity => return Ok(DATE_INFINITY),
        Day::NegativeInfinity => return Ok(DATE_NEGATIVE_INFINITY),
        Day::Number(days) => days - EPOCH_DAYS,
    };
    // Beyond, only the time of day tells a date from none, as it does in PostgreSQL.
    if (MIN_DATE..END_DATE).contains(&days) { Ok(days as i32) } else { Err(OUT_OF_RANGE) }
}

pub(super) fn parse_timestamp(text: &[u8], precision: Option<u8>) -> Result<i64, Refusal> {
    // The clock is what counts here, wherever it hangs.
    if let Some((micros, _)) = parse_fixed(text) {
        return in_range(micros, precision);
    }
    let moment = Moment::parse(text, false)?;
    in_range(micros_of(&moment, 0)?, precision)
}

#[inline]
pub(super) fn parse_timestamptz_with(text: &[u8], precision: Option<u8>) -> Result<i64, Refusal> {
    if let Some(micros) = parse_timestamptz(text) {
        return in_range(micros, precision);
    }
    let moment = Moment::parse(text, false)?;
    match (moment.day, moment.offset) {
        (Some(Day::Infinity | Day::NegativeInfinity), _) => micros_of(&moment, 0),
        (None, _) => Err(NO_DATE),
        (_, None) => Err(NO_OFFSET),
        (_, Some(offset)) => in_range(micros_of(&moment, offset)?, precision),
    }
}

/// A JSON number as a point in time: milliseconds since 1970, as Kafka and JavaScript count.
pub(super) fn parse_milliseconds(text: &[u8], precision: Option<u8>) -> Result<i64, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| OUT_OF_RANGE)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().any(|byte| !byte.is_ascii_digit()) || whole.contains(['e', 'E']) {
        return Err("as a number it must be milliseconds since 1970, without an exponent");
    }
    let milliseconds: i64 = whole.parse().map_err(|_| OUT_OF_RANGE)?;
    let micros = if fraction.is_empty() {
        milliseconds.checked_mul(1000)
    } else {
        // As a fraction of a second. The sign is that of the text: -0 has none as a number.
        let positive = milliseconds.checked_abs().ok_or(OUT_OF_RANGE)?;
        let in_second = micros_of_fraction(format!("{:03}{fraction}", positive % 1000).as_bytes());
        let micros = (positive / 1000).checked_mul(MICROS_PER_SECOND);
        let micros = micros.and_then(|micros| micros.checked_add(in_second));
        if whole.starts_with('-') { micros.map(|micros| -micros) } else { micros }
    };
    let micros = micros.and_then(|micros| micros.checked_sub(EPOCH_DAYS * MICROS_PER_DAY));
    in_range(micros.ok_or(OUT_OF_RANGE)?, precision)
}

/// The milliseconds since 1970, rounded down, of a date with a time of day and an offset: what means the same
/// everywhere. RFC 3339 and what else PostgreSQL reads so.
#[must_use]
pub fn milliseconds_since_1970(text: &str) -> Option<i64> {
    let moment = Moment::parse(text.as_bytes(), false).ok()?;
    moment.time?;
    kafka_from_micros(in_range(micros_of(&moment, moment.offset?).ok()?, None).ok()?)
}

fn micros_of(moment: &Moment, offset_seconds: i32) -> Result<i64, Refusal> {
    let days = match moment.day.ok_or(NO_DATE)? {
        Day::Infinity => return Ok(INFINITY),
        Day::NegativeInfinity => return Ok(NEGATIVE_INFINITY),
        Day::Number(days) => days - EPOCH_DAYS,
    };
    let in_day = moment.time.unwrap_or(0) - i64::from(offset_seconds) * MICROS_PER_SECOND;
    days.checked_mul(MICROS_PER_DAY).and_then(|micros| micros.checked_add(in_day)).ok_or(OUT_OF_RANGE)
}

/// Rounds, and checks what a timestamp can hold.
fn in_range(micros: i64, precision: Option<u8>) -> Result<i64, Refusal> {
    if matches!(micros, INFINITY | NEGATIVE_INFINITY) {
        return Ok(micros);
    }
    if !(MIN_MICROS..END_MICROS).contains(&micros) {
        return Err(OUT_OF_RANGE);
    }
    let rounded = round(micros, precision);
    if (MIN_MICROS..END_MICROS).contains(&rounded) { Ok(rounded) } else { Err(OUT_OF_RANGE) }
}

/// To so many digits behind the second's point, half away from zero.
pub(crate) fn round(micros: i64, precision: Option<u8>) -> i64 {
    let Some(digits) = precision.filter(|digits| *digits < 6) else { return micros };
    let unit = 10i64.pow(u32::from(6 - digits));
    // As PostgreSQL does it: the sign counts, seen from 2000.
    match micros >= 0 {
        true => micros.saturating_add(unit / 2) / unit * unit,
        false => -((-micros).saturating_add(unit / 2) / unit * unit),
    }
}

pub(super) fn parse_time(text: &[u8], precision: Option<u8>) -> Result<i64, Refusal> {
    let moment = Moment::parse(text, true)?;
    time_of_day(&moment, precision)
}

/// Microseconds since midnight, and the offset: seconds *west* of UTC.
pub(super) fn parse_timetz(text: &[u8], precision: Option<u8>) -> Result<(i64, i32), Refusal> {
    let moment = Moment::parse(text, true)?;
    let micros = time_of_day(&moment, precision)?;
    Ok((micros, -moment.offset.ok_or(NO_OFFSET)?))
}

fn time_of_day(moment: &Moment, precision: Option<u8>) -> Result<i64, Refusal> {
    Ok(round(moment.time.ok_or(NO_TIME)?, precision))
}

pub(super) fn show_date(days: i32, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match days {
        DATE_INFINITY => out.extend_from_slice(b"infinity"),
        DATE_NEGATIVE_INFINITY => out.extend_from_slice(b"-infinity"),
        _ if !(MIN_DATE..END_DATE).contains(&i64::from(days)) => return Err(OUT_OF_RANGE),
        _ => {
            let (year, month, day) = civil_from_days(i64::from(days) + EPOCH_DAYS);
            put_date(out, year, month, day);
            if year <= 0 {
                out.extend_from_slice(b" BC");
            }
        }
    }
    Ok(())
}

pub(super) fn show_time(micros: i64, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if !(0..=MICROS_PER_DAY).contains(&micros) {
        return Err(OUT_OF_RANGE);
    }
    put_clock(micros, out);
    Ok(())
}

/// `hh:mm:ss.fff` of what is not negative.
pub(super) fn put_clock(micros: i64, out: &mut Vec<u8>) {
    let seconds = micros / MICROS_PER_SECOND;
    let hours = seconds / 3600;
    match u32::try_from(hours) {
        Ok(hours @ 0..=99) => out.extend_from_slice(&two_digits(hours)),
        _ => crate::number::put_i64(out, hours),
    }
    for number in [seconds / 60 % 60, seconds % 60] {
        out.push(b':');
        out.extend_from_slice(&two_digits(number as u32));
    }
    put_fraction(out, (micros % MICROS_PER_SECOND) as u32);
}

pub(super) fn show_timetz(micros: i64, west_seconds: i32, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if west_seconds.checked_abs().is_none_or(|seconds| seconds >= END_OFFSET_SECONDS) {
        return Err(OUT_OF_RANGE);
    }
    show_time(micros, out)?;
    out.push(if west_seconds <= 0 { b'+' } else { b'-' });
    let seconds = west_seconds.unsigned_abs();
    out.extend_from_slice(&two_digits(seconds / 3600));
    for part in [seconds / 60 % 60, seconds % 60].into_iter().take(match (seconds / 60 % 60, seconds % 60) {
        (0, 0) => 0,
        (_, 0) => 1,
        _ => 2,
    }) {
        out.push(b':');
        out.extend_from_slice(&two_digits(part));
    }
    Ok(())
}

/// As PostgreSQL writes it, or with the `T` of ISO 8601 where its four digits hold the year.
pub(super) fn show_timestamp(micros: i64, out: &mut Vec<u8>, style: Style) -> Result<(), Refusal> {
    check_timestamp(micros)?;
    let start = out.len();
    put_timestamptz(out, micros, style);
    // The zone is the only difference.
    let (zone, keeps): (&[u8], &[u8]) = match style {
        Style::Rfc3339 => (b"Z", b""),
        Style::Postgres if out.ends_with(b"+00 BC") => (b"+00 BC", b" BC"),
        Style::Postgres => (b"+00", b""),
    };
    if out[start..].ends_with(zone) {
        out.truncate(out.len() - zone.len());
        out.extend_from_slice(keeps);
    }
    Ok(())
}

pub(super) fn check_timestamp(micros: i64) -> Result<(), Refusal> {
    let is_infinite = matches!(micros, INFINITY | NEGATIVE_INFINITY);
    if is_infinite || (MIN_MICROS..END_MICROS).contains(&micros) { Ok(()) } else { Err(OUT_OF_RANGE) }
}

#[cfg(test)]
mod tests;
