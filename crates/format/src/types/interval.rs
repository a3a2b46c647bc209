//! interval: months, days and microseconds, each with its own sign.

use super::{
    Refusal,
    moment::{put_clock, round},
    scalar::trim,
};
use crate::number::put_i64;

const REFUSED: Refusal = "not an interval";
const OUT_OF_RANGE: Refusal = "out of range";

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;
const DAYS_PER_MONTH: i64 = 30;

/// What an interval holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Interval {
    pub(super) micros: i64,
    pub(super) days: i32,
    pub(super) months: i32,
}

/// Infinite intervals came with PostgreSQL 17.
const INFINITY: Interval = Interval { micros: i64::MAX, days: i32::MAX, months: i32::MAX };
const NEGATIVE_INFINITY: Interval = Interval { micros: i64::MIN, days: i32::MIN, months: i32::MIN };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Months(i64),
    Days(i64),
    Micros(i64),
}

/// Units by their names; the number tells which are the same.
fn unit(word: &[u8]) -> Option<(u32, Unit)> {
    let word = word.to_ascii_lowercase();
    Some(match word.as_slice() {
        b"microsecond" | b"microseconds" | b"us" | b"usec" | b"usecs" | b"microsecon" => (0, Unit::Micros(1)),
        b"millisecond" | b"milliseconds" | b"ms" | b"msec" | b"msecs" | b"msecond" | b"mseconds"
        | b"millisecon" => (1, Unit::Micros(1000)),
        b"second" | b"seconds" | b"s" | b"sec" | b"secs" => (2, Unit::Micros(MICROS_PER_SECOND)),
        b"minute" | b"minutes" | b"m" | b"min" | b"mins" => (3, Unit::Micros(MICROS_PER_MINUTE)),
        b"hour" | b"hours" | b"h" | b"hr" | b"hrs" => (4, Unit::Micros(MICROS_PER_HOUR)),
        b"day" | b"days" | b"d" => (5, Unit::Days(1)),
        b"week" | b"weeks" | b"w" => (6, Unit::Days(7)),
        b"month" | b"months" | b"mon" | b"mons" => (7, Unit::Months(1)),
        b"year" | b"years" | b"y" | b"yr" | b"yrs" => (8, Unit::Months(12)),
        b"decade" | b"decades" | b"dec" | b"decs" => (9, Unit::Months(120)),
        b"century" | b"centuries" | b"c" | b"cent" => (10, Unit::Months(1200)),
        b"millennium" | b"millennia" | b"mil" | b"mils" => (11, Unit::Months(12_000)),
        _ => return None,
    })
}

/// The sum while it is read.
#[derive(Default)]
struct Sum {
    micros: i128,
    days: i64,
    months: i64,
    seen: u32,
}

impl Sum {
    /// Each unit counts once.
    fn see(&mut self, number: u32) -> Result<(), Refusal> {
        let bit = 1 << number;
        if self.seen & bit != 0 {
            return Err("a unit is there twice");
        }
        self.seen |= bit;
        Ok(())
    }

    /// Adds so many units. A fraction of months becomes days (30 each), one of days becomes time.
    fn add(&mut self, number: Number, unit: Unit) -> Result<(), Refusal> {
        let Number { whole, fraction } = number;
        match unit {
            Unit::Months(1) => {
                self.months += whole;
                self.add_days(fraction * DAYS_PER_MONTH as f64);
            }
            Unit::Months(months) => {
                self.months += whole.checked_mul(months).ok_or(OUT_OF_RANGE)?;
                self.months += (fraction * months as f64).round_ties_even() as i64;
            }
            Unit::Days(days) => {
                self.days += whole.checked_mul(days).ok_or(OUT_OF_RANGE)?;
                self.add_days(fraction * days as f64);
            }
            Unit::Micros(micros) => {
                self.micros += i128::from(whole) * i128::from(micros);
                self.add_micros(fraction * micros as f64);
            }
        }
        Ok(())
    }

    fn add_days(&mut self, days: f64) {
        let whole = days.trunc();
        self.days += whole as i64;
        self.add_micros((days - whole) * MICROS_PER_DAY as f64);
    }

    fn add_micros(&mut self, micros: f64) {
        let whole = micros.trunc();
        let rest = micros - whole;
        let rounded = if rest > 0.5 {
            1
        } else if rest < -0.5 {
            -1
        } else {
            0
        };
        self.micros += i128::from(whole as i64 + rounded);
    }

    fn finish(self, negate: bool) -> Result<Interval, Refusal> {
        let sign = if negate { -1 } else { 1 };
        Ok(Interval {
            micros: i64::try_from(self.micros * i128::from(sign)).map_err(|_| OUT_OF_RANGE)?,
            days: i32::try_from(self.days * sign).map_err(|_| OUT_OF_RANGE)?,
            months: i32::try_from(self.months * sign).map_err(|_| OUT_OF_RANGE)?,
        })
    }
}

/// A number with the sign on both of its parts.
#[derive(Debug, Clone, Copy)]
struct Number {
    whole: i64,
    fraction: f64,
}

/// Takes a number with its sign and fraction off the front.
fn number(text: &[u8]) -> Result<(Number, &[u8]), Refusal> {
    let (negative, unsigned) = sign(text);
    let (whole_digits, mut rest) = digits(unsigned);
    let mut fraction = 0.0;
    let mut has_fraction = false;
    if let [b'.', behind @ ..] = rest {
        let (fraction_digits, after) = digits(behind);
        has_fraction = !fraction_digits.is_empty();
        let written = [b"0.", fraction_digits, b"0"].concat();
        fraction = std::str::from_utf8(&written).ok().and_then(|text| text.parse().ok()).ok_or(REFUSED)?;
        rest = after;
    }
    if whole_digits.is_empty() && !has_fraction {
        return Err(REFUSED);
    }
    let whole = integer(whole_digits)?;
    let signed = match negative {
        true => Number { whole: -whole, fraction: -fraction },
        false => Number { whole, fraction },
    };
    Ok((signed, rest))
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

fn letters(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count())
}

/// Small enough that no sum of a few overflows.
fn integer(digits: &[u8]) -> Result<i64, Refusal> {
    let add = |number: i64, digit: &u8| number.checked_mul(10)?.checked_add(i64::from(digit - b'0'));
    let number = digits.iter().try_fold(0, add).filter(|number| *number <= i64::MAX / 16);
    number.ok_or(OUT_OF_RANGE)
}

pub(super) fn parse(text: &[u8], precision: Option<u8>) -> Result<Interval, Refusal> {
    let text = trim(text);
    let parsed = match text {
        [b'P' | b'p', rest @ ..] => parse_iso(rest)?,
        _ => parse_words(text)?,
    };
    Ok(Interval { micros: round(parsed.micros, precision), ..parsed })
}

/// `1 year 2 mons -3 days 04:05:06.7`, `@ 1 hour ago`, `1-2 3 4:05:06`.
fn parse_words(text: &[u8]) -> Result<Interval, Refusal> {
    let mut sum = Sum::default();
    let mut rest = text;
    let mut ago = false;
    let mut is_empty = true;
    loop {
        rest = trim(rest);
        let Some(&first) = rest.first() else { break };
        if ago {
            return Err(REFUSED);
        }
        match first {
            b'@' | b',' => rest = &rest[1..],
            b'+' | b'-' | b'.' | b'0'..=b'9' => {
                rest = quantity(rest, &mut sum)?;
                is_empty = false;
            }
            _ => {
                let (word, after) = letters(rest);
                if !word.eq_ignore_ascii_case(b"ago") {
                    return Err(REFUSED);
                }
                ago = true;
                rest = after;
            }
        }
    }
    if is_empty { Err(REFUSED) } else { sum.finish(ago) }
}

/// A number with its unit, a time of day, or years and months: all that begins with a digit or a sign.
fn quantity<'a>(text: &'a [u8], sum: &mut Sum) -> Result<&'a [u8], Refusal> {
    let (negative, unsigned) = sign(text);
    let unsigned_rest = trim(unsigned);
    let (leading, after) = digits(unsigned_rest);
    match after {
        [b':', ..] if !leading.is_empty() => return clock(leading, after, negative, sum),
        // `1-2`: years and months.
        [b'-', rest @ ..] if !leading.is_empty() && rest.first().is_some_and(u8::is_ascii_digit) => {
            let (months, rest) = digits(rest);
            let months = integer(months)?;
            if months >= 12 || rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                return Err(REFUSED);
            }
            sum.see(8)?;
            sum.see(7)?;
            let all = integer(leading)?.checked_mul(12).ok_or(OUT_OF_RANGE)? + months;
            sum.months += if negative { -all } else { all };
            return Ok(rest);
        }
        _ => {}
    }
    let (mut number, rest) = number(unsigned_rest)?;
    if negative {
        number = Number { whole: -number.whole, fraction: -number.fraction };
    }
    let rest = trim(rest);
    let (word, after) = letters(rest);
    if let Some((bit, unit)) = unit(word) {
        sum.see(bit)?;
        sum.add(number, unit)?;
        return Ok(after);
    }
    // Without a unit: days before a time of day, seconds at the end.
    let is_last = rest.is_empty() || word.eq_ignore_ascii_case(b"ago");
    let (_, next) = sign(rest);
    let is_before_clock = !is_last && digits(next).1.first() == Some(&b':');
    match (is_last, is_before_clock) {
        (true, _) => {
            sum.see(2)?;
            sum.add(number, Unit::Micros(MICROS_PER_SECOND))?;
        }
        (_, true) => {
            sum.see(5)?;
            sum.add(number, Unit::Days(1))?;
        }
        _ => return Err(REFUSED),
    }
    Ok(rest)
}

/// `hh:mm`, `hh:mm:ss.fff`, and `mm:ss.fff` where a fraction shows that it is meant.
fn clock<'a>(leading: &[u8], after: &'a [u8], negative: bool, sum: &mut Sum) -> Result<&'a [u8], Refusal> {
    let (second, rest) = digits(&after[1..]);
    if second.is_empty() || second.len() > 2 {
        return Err(REFUSED);
    }
    let (hours, minutes, seconds, rest) = match rest {
        [b':', rest @ ..] => {
            let (seconds, rest) = number(rest)?;
            (integer(leading)?, integer(second)?, seconds, rest)
        }
        [b'.', ..] => {
            let (seconds, rest) = number(&after[1..])?;
            (0, integer(leading)?, seconds, rest)
        }
        _ => (integer(leading)?, integer(second)?, Number { whole: 0, fraction: 0.0 }, rest),
    };
    let is_wrong = minutes > 59 || !(0..=60).contains(&seconds.whole) || seconds.fraction < 0.0;
    if is_wrong || rest.first().is_some_and(u8::is_ascii_alphanumeric) {
        return Err(OUT_OF_RANGE);
    }
    [2, 3, 4].into_iter().try_for_each(|bit| sum.see(bit))?;
    let fraction = (seconds.fraction * 1e6).round_ties_even() as i128;
    let micros = i128::from(hours) * i128::from(MICROS_PER_HOUR)
        + i128::from(minutes * MICROS_PER_MINUTE + seconds.whole * MICROS_PER_SECOND)
        + fraction;
    sum.micros += if negative { -micros } else { micros };
    Ok(rest)
}

/// ISO 8601 behind its P: `1Y2M3W4DT5H6M7.8S`, and the alternative `0001-02-03T04:05:06`.
fn parse_iso(text: &[u8]) -> Result<Interval, Refusal> {
    let mut sum = Sum::default();
    let mut rest = text;
    let mut in_time = false;
    if rest.is_empty() {
        return Err(REFUSED);
    }
    if let Some(dashed) = parse_iso_alternative(text, &mut sum)? {
        return if dashed { sum.finish(false) } else { Err(REFUSED) };
    }
    while !rest.is_empty() {
        if let [b'T' | b't', behind @ ..] = rest {
            if in_time || behind.is_empty() {
                return Err(REFUSED);
            }
            in_time = true;
            rest = behind;
            continue;
        }
        let (number, behind) = number(rest)?;
        let (&designator, behind) = behind.split_first().ok_or(REFUSED)?;
        let unit = match (designator.to_ascii_uppercase(), in_time) {
            (b'Y', false) => Unit::Months(12),
            (b'M', false) => Unit::Months(1),
            (b'W', false) => Unit::Days(7),
            (b'D', false) => Unit::Days(1),
            (b'H', true) => Unit::Micros(MICROS_PER_HOUR),
            (b'M', true) => Unit::Micros(MICROS_PER_MINUTE),
            (b'S', true) => Unit::Micros(MICROS_PER_SECOND),
            _ => return Err(REFUSED),
        };
        sum.add(number, unit)?;
        rest = behind;
    }
    sum.finish(false)
}

/// `0001-02-03T04:05:06` and its parts; none where it is not of this form.
fn parse_iso_alternative(text: &[u8], sum: &mut Sum) -> Result<Option<bool>, Refusal> {
    let (date, time) = match text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'T')) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[][..]),
    };
    let is_plain = |part: &[u8], delimiter: u8| {
        part.contains(&delimiter)
            && part.iter().all(|byte| byte.is_ascii_digit() || *byte == delimiter || *byte == b'.')
    };
    let is_alternative = is_plain(date, b'-') || (date.is_empty() && is_plain(time, b':'));
    if !is_alternative {
        return Ok(None);
    }
    let mut parts = date.split(|byte| *byte == b'-');
    if !date.is_empty() {
        let mut next = || parts.next().map(|part| number(part).and_then(whole_number)).transpose();
        let (years, months, days) = (next()?, next()?, next()?);
        sum.months += years.unwrap_or(0).checked_mul(12).ok_or(OUT_OF_RANGE)? + months.unwrap_or(0);
        sum.days += days.unwrap_or(0);
        if parts.next().is_some() {
            return Ok(Some(false));
        }
    }
    if time.is_empty() {
        return Ok(Some(true));
    }
    let (hours, after) = digits(time);
    if after.first() != Some(&b':') || hours.is_empty() {
        return Ok(Some(false));
    }
    let rest = clock(hours, after, false, sum)?;
    Ok(Some(rest.is_empty()))
}

fn whole_number((number, rest): (Number, &[u8])) -> Result<i64, Refusal> {
    if rest.is_empty() && number.fraction == 0.0 { Ok(number.whole) } else { Err(REFUSED) }
}

/// Appends it as `IntervalStyle = postgres` does.
pub(super) fn show(interval: Interval, out: &mut Vec<u8>) {
    match interval {
        INFINITY => return out.extend_from_slice(b"infinity"),
        NEGATIVE_INFINITY => return out.extend_from_slice(b"-infinity"),
        _ => {}
    }
    let Interval { micros, days, months } = interval;
    let mut is_first = true;
    let mut is_before = false;
    for (number, name) in
        [(i64::from(months / 12), " year"), (i64::from(months % 12), " mon"), (i64::from(days), " day")]
    {
        if number == 0 {
            continue;
        }
        if !is_first {
            out.push(b' ');
        }
        if is_before && number > 0 {
            out.push(b'+');
        }
        put_i64(out, number);
        out.extend_from_slice(name.as_bytes());
        if number != 1 {
            out.push(b's');
        }
        is_before = number < 0;
        is_first = false;
    }
    if is_first || micros != 0 {
        if !is_first {
            out.push(b' ');
        }
        match (micros < 0, is_before) {
            (true, _) => out.push(b'-'),
            (false, true) => out.push(b'+'),
            _ => {}
        }
        // The smallest has no positive counterpart, but an hour less has.
        match micros.checked_abs() {
            Some(micros) => put_clock(micros, out),
            None => out.extend_from_slice(b"2562047788:00:54.775808"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn convert(text: &str) -> Result<String, Refusal> {
        let mut out = Vec::new();
        show(parse(text.as_bytes(), None)?, &mut out);
        Ok(String::from_utf8(out).expect("ASCII"))
    }

    #[test]
    fn every_style_is_read() {
        // The right side is `$1::interval::text` on PostgreSQL 15.
        for (text, expected) in [
            ("1 year 2 mons 3 days 04:05:06.789", "1 year 2 mons 3 days 04:05:06.789"),
            ("@ 1 hour 2 minutes ago", "-01:02:00"),
            ("1-2 3 4:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"),
            ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("PT1.5H", "01:30:00"),
            ("P-1Y2M", "-10 mons"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 days", "1 day 12:00:00"),
            ("0.5 weeks", "3 days 12:00:00"),
            ("1.5 years", "1 year 6 mons"),
            ("-1 year -2 mons +3 days -04:05:06", "-1 years -2 mons +3 days -04:05:06"),
            ("1 decade 2 centuries", "210 years"),
            ("5", "00:00:05"),
            ("1 day 5", "1 day 00:00:05"),
            ("3 4:05:06", "3 days 04:05:06"),
            ("-4:05", "-04:05:00"),
            ("4:05.5", "00:04:05.5"),
            ("100:00:00", "100:00:00"),
            ("1h 2m 3s 4ms 5us", "01:02:03.004005"),
            ("0", "00:00:00"),
            ("1 day -1 hour", "1 day -01:00:00"),
            ("-1 day 1 hour", "-1 days +01:00:00"),
        ] {
            assert_eq!(convert(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_interval() {
        for wrong in [
            "",
            " ",
            "@",
            "ago",
            "x",
            "1 x",
            "1 day 2 days",
            "P",
            "PT",
            "P1H",
            "1 2 3",
            "999999999999 years",
            "infinity",
            "12:60:00",
        ] {
            assert!(convert(wrong).is_err(), "{wrong}: {:?}", convert(wrong));
        }
    }

    proptest! {
        #[test]
        fn every_interval_survives(micros in -(1i64 << 58)..1i64 << 58, days in any::<i16>(), months in any::<i16>()) {
            let interval = Interval { micros, days: days.into(), months: months.into() };
            let mut out = Vec::new();
            show(interval, &mut out);
            prop_assert_eq!(parse(&out, None), Ok(interval));
        }
    }
}
