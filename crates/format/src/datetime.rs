//! Times as PostgreSQL writes and reads them: microseconds since 2000 in binary, ISO 8601 as text.

use super::number::put_i64;

/// Milliseconds from 1970-01-01 to 2000-01-01, where PostgreSQL starts to count.
const EPOCH_DIFFERENCE_MS: i64 = 946_684_800_000;
const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// 2000-01-01 in days since 1970.
pub(super) const EPOCH_DAYS: i64 = EPOCH_DIFFERENCE_MS / 1000 / SECONDS_PER_DAY;
/// 4714-11-24 BC, the first day of PostgreSQL's calendar.
pub(super) const MIN_MICROS: i64 = -211_813_488_000_000_000;
/// The first instant after 294276 AD.
pub(super) const END_MICROS: i64 = 9_223_371_331_200_000_000;

/// What PostgreSQL sends for `infinity`.
pub(super) const INFINITY: i64 = i64::MAX;
/// What PostgreSQL sends for `-infinity`.
pub(super) const NEGATIVE_INFINITY: i64 = i64::MIN;

/// PostgreSQL's microseconds for Kafka's milliseconds; none beyond what a timestamptz can hold.
#[inline]
pub(super) fn micros_from_kafka(timestamp_ms: i64) -> Option<i64> {
    let micros = timestamp_ms.checked_sub(EPOCH_DIFFERENCE_MS)?.checked_mul(1000)?;
    (MIN_MICROS..END_MICROS).contains(&micros).then_some(micros)
}

/// Kafka's milliseconds for PostgreSQL's microseconds, rounded down; none for the infinities.
pub(super) fn kafka_from_micros(micros: i64) -> Option<i64> {
    if matches!(micros, INFINITY | NEGATIVE_INFINITY) {
        return None;
    }
    micros.div_euclid(1000).checked_add(EPOCH_DIFFERENCE_MS)
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `2026-11-22 18:48:00.5+00`, byte for byte what PostgreSQL writes with `TimeZone = UTC`.
    Postgres,
    /// `2026-11-22T18:48:00.5Z`, RFC 3339.
    Rfc3339,
}

/// Appends a timestamptz as text in UTC.
pub(super) fn put_timestamptz(out: &mut Vec<u8>, micros: i64, style: Style) {
    match micros {
        INFINITY => return out.extend_from_slice(b"infinity"),
        NEGATIVE_INFINITY => return out.extend_from_slice(b"-infinity"),
        _ => {}
    }
    let seconds = micros.div_euclid(MICROS_PER_SECOND) + EPOCH_DIFFERENCE_MS / 1000;
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY) as u32;

    put_date(out, year, month, day);
    let mut rest = *b" 00:00:00";
    if style == Style::Rfc3339 {
        rest[0] = b'T';
    }
    for (at, number) in [(1, of_day / 3600), (4, of_day / 60 % 60), (7, of_day % 60)] {
        rest[at..at + 2].copy_from_slice(&two_digits(number));
    }
    out.extend_from_slice(&rest);
    put_fraction(out, fraction as u32);
    out.extend_from_slice(if style == Style::Postgres { b"+00" } else { b"Z" });
    if year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

/// Whether the four digits of RFC 3339 can hold the year.
pub(super) fn fits_rfc3339(micros: i64) -> bool {
    let days =
        micros.div_euclid(MICROS_PER_SECOND * SECONDS_PER_DAY) + EPOCH_DIFFERENCE_MS / 1000 / SECONDS_PER_DAY;
    (1..=9999).contains(&civil_from_days(days).0)
}

/// Appends `2026-11-22`; what is before Christ is left to the caller.
pub(super) fn put_date(out: &mut Vec<u8>, year: i64, month: u32, day: u32) {
    // There is no year zero: 1 BC comes before 1 AD.
    put_padded_year(out, if year > 0 { year } else { 1 - year });
    let ([a, b], [c, d]) = (two_digits(month), two_digits(day));
    out.extend_from_slice(&[b'-', a, b, b'-', c, d]);
}

fn put_padded_year(out: &mut Vec<u8>, year: i64) {
    match u32::try_from(year) {
        Ok(year @ 0..=9999) => {
            let ([a, b], [c, d]) = (two_digits(year / 100), two_digits(year % 100));
            out.extend_from_slice(&[a, b, c, d]);
        }
        _ => put_i64(out, year),
    }
}

/// The digits of a number below 100.
pub(super) fn two_digits(number: u32) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// Without trailing zeros, as PostgreSQL does.
pub(super) fn put_fraction(out: &mut Vec<u8>, micros: u32) {
    if micros == 0 {
        return;
    }
    let mut digits = *b".000000";
    let mut rest = micros;
    for digit in digits[1..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    out.extend_from_slice(&digits[..digits.len() - zeros]);
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
pub(super) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    // Years begin in March here, so that the leap day is their last; an era is 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

/// The inverse of [`civil_from_days`].
pub(super) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Reads what PostgreSQL writes with `DateStyle = ISO` (any time zone), and RFC 3339. An offset from UTC is
/// required: without it the time would depend on where it is read.
pub(super) fn parse_timestamptz(text: &[u8]) -> Option<i64> {
    match parse_fixed(text) {
        Some((micros, Some(offset))) => Some(micros - i64::from(offset) * MICROS_PER_SECOND),
        Some((_, None)) => None,
        None => parse_iso(text),
    }
}

/// The most frequent form, `2026-11-22T18:48:00.123` with `Z`, `+01`, `+01:30` or nothing behind it, without a look at any
/// other: microseconds since 2000 by the clock that it was read from, and seconds east of UTC. Whatever it does not take
/// may still be right.
#[inline]
pub(super) fn parse_fixed(text: &[u8]) -> Option<(i64, Option<i32>)> {
    let (clock, offset) = match *text {
        [ref clock @ .., b'Z'] => (clock, Some(0)),
        [ref clock @ .., sign @ (b'+' | b'-'), a, b] => (clock, Some(fixed_offset(sign, [a, b], *b"00")?)),
        [ref clock @ .., sign @ (b'+' | b'-'), a, b, b':', c, d] => {
            (clock, Some(fixed_offset(sign, [a, b], [c, d])?))
        }
        ref clock => (clock, None),
    };
    Some((parse_fixed_clock(clock)?, offset))
}

/// `2026-11-22T18:48:00.123`.
#[inline]
fn parse_fixed_clock(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let (clock, fraction) = rest.split_first_chunk::<9>()?;
    let mut odd = u8::from(clock[0] != b'T' && clock[0] != b' ') | (clock[3] ^ b':') | (clock[6] ^ b':');
    let mut pair = |at: usize| pair_of([clock[at], clock[at + 1]], &mut odd);
    let (hour, minute, second) = (pair(1), pair(4), pair(7));
    let fraction = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => {
            let mut micros = 0;
            for byte in digits {
                let digit = byte.wrapping_sub(b'0');
                odd |= u8::from(digit > 9);
                micros = micros * 10 + i64::from(digit);
            }
            micros * [1, 100_000, 10_000, 1000, 100, 10, 1][digits.len()]
        }
        _ => return None,
    };
    if odd != 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = parse_fixed_date(date)? - EPOCH_DAYS;
    let in_day = i64::from(hour * 3600 + minute * 60 + second);
    Some((days * SECONDS_PER_DAY + in_day) * MICROS_PER_SECOND + fraction)
}

/// `2026-11-22` in days since 1970.
#[inline]
pub(super) fn parse_fixed_date(text: &[u8; 10]) -> Option<i64> {
    let mut odd = (text[4] ^ b'-') | (text[7] ^ b'-');
    let mut pair = |at: usize| pair_of([text[at], text[at + 1]], &mut odd);
    let (century, year, month, day) = (pair(0), pair(2), pair(5), pair(8));
    let year = i64::from(century * 100 + year);
    if odd != 0 || year == 0 || month.wrapping_sub(1) > 11 || day.wrapping_sub(1) > 30 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    (day <= 28 || civil_from_days(days).2 == day).then_some(days)
}

/// Seconds east of UTC.
fn fixed_offset(sign: u8, hours: [u8; 2], minutes: [u8; 2]) -> Option<i32> {
    let mut odd = 0;
    let (hours, minutes) = (pair_of(hours, &mut odd), pair_of(minutes, &mut odd));
    let seconds = (hours * 3600 + minutes * 60) as i32;
    (odd == 0 && hours < 16 && minutes < 60).then_some(if sign == b'-' { -seconds } else { seconds })
}

/// The number of two digits; `odd` is no longer 0 where they are none.
#[inline]
fn pair_of(digits: [u8; 2], odd: &mut u8) -> u32 {
    let [tens, ones] = digits.map(|digit| digit.wrapping_sub(b'0'));
    *odd |= u8::from(tens > 9) | u8::from(ones > 9);
    u32::from(tens) * 10 + u32::from(ones)
}

fn parse_iso(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    match text {
        b"infinity" => return Some(INFINITY),
        b"-infinity" => return Some(NEGATIVE_INFINITY),
        _ => {}
    }
    let (text, before_christ) = match text.strip_suffix(b" BC") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let mut cursor = Cursor(text);
    let year = i64::from(cursor.digits(4, 6)?);
    cursor.one_of(b"-")?;
    let month = cursor.digits(2, 2)?;
    cursor.one_of(b"-")?;
    let day = cursor.digits(2, 2)?;
    cursor.one_of(b" Tt")?;
    let hour = cursor.digits(2, 2)?;
    cursor.one_of(b":")?;
    let minute = cursor.digits(2, 2)?;
    // Without seconds PostgreSQL takes a fraction to say that minutes and seconds are meant.
    let (mut second, mut fraction) = (0, 0);
    if cursor.one_of(b":").is_some() {
        second = cursor.digits(2, 2)?;
        fraction = if cursor.one_of(b".").is_some() { cursor.micros()? } else { 0 };
    }
    let offset_seconds = cursor.offset()?;
    if !cursor.0.is_empty() || year == 0 {
        return None;
    }

    let year = if before_christ { 1 - year } else { year };
    let in_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    let is_beyond_minute = i64::from(second) * MICROS_PER_SECOND + fraction > 60 * MICROS_PER_SECOND;
    let is_beyond_day = in_day * MICROS_PER_SECOND + fraction > SECONDS_PER_DAY * MICROS_PER_SECOND;
    if !(1..=12).contains(&month) || day == 0 || is_beyond_minute || minute > 59 || is_beyond_day {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if day > 28 && civil_from_days(days) != (year, month, day) {
        return None;
    }
    let seconds = days * SECONDS_PER_DAY + in_day - offset_seconds - EPOCH_DIFFERENCE_MS / 1000;
    let micros = seconds.checked_mul(MICROS_PER_SECOND)?.checked_add(fraction)?;
    (MIN_MICROS..END_MICROS).contains(&micros).then_some(micros)
}

/// The digits behind the point as microseconds, rounded as PostgreSQL does: through a float, half to even.
pub(super) fn micros_of_fraction(digits: &[u8]) -> i64 {
    if digits.len() > 6 {
        let text = [b"0.", digits].concat();
        let fraction: f64 =
            std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        return (fraction * 1e6).round_ties_even() as i64;
    }
    let at = |index: usize| digits.get(index).map_or(0, |digit| i64::from(digit - b'0'));
    (0..6).fold(0, |number, index| number * 10 + at(index))
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        wanted.contains(&first).then(|| self.0 = rest)?;
        Some(first)
    }

    fn digits(&mut self, at_least: usize, at_most: usize) -> Option<u32> {
        let len = self.0.iter().take(at_most).take_while(|byte| byte.is_ascii_digit()).count();
        if len < at_least {
            return None;
        }
        let (digits, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    }

    /// The digits after the point as microseconds.
    fn micros(&mut self) -> Option<i64> {
        let len = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(len);
        self.0 = rest;
        (len > 0).then(|| micros_of_fraction(digits))
    }

    /// `Z`, or `+hh`, `+hh:mm`, `+hhmm`, `+hh:mm:ss`: seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.digits(2, 2)?;
        let has_colon = self.one_of(b":").is_some();
        let minutes = if has_colon || !self.0.is_empty() { self.digits(2, 2)? } else { 0 };
        let seconds = if has_colon && self.one_of(b":").is_some() { self.digits(2, 2)? } else { 0 };
        (hours < 16 && minutes < 60 && seconds < 60)
            .then_some(sign * i64::from(hours * 3600 + minutes * 60 + seconds))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The form of [`parse_fixed`], and what is close to it.
    pub(crate) const FIXED: &str = "(0000|[0-2][0-9]{3})[-/]?[01][0-9]-[0-3][0-9][ Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9]\
        (\\.[0-9]{0,7})?( ?Z|z|[+-][01][0-9](:[0-6][0-9]){0,2}|[+-][01][0-9]{3}| BC)?";

    fn text(micros: i64, style: Style) -> String {
        let mut out = Vec::new();
        put_timestamptz(&mut out, micros, style);
        String::from_utf8(out).expect("digits and punctuation")
    }

    #[test]
    fn writes_what_postgres_writes() {
        // The right side is `select to_timestamp(ms / 1000.0)` with TimeZone UTC on PostgreSQL 15.
        for (ms, expected) in [
            (0, "1970-01-01 00:00:00+00"),
            (946_684_800_000, "2000-01-01 00:00:00+00"),
            (1_795_373_280_120, "2026-11-22 18:48:00.12+00"),
            (1_709_208_000_001, "2024-02-29 12:00:00.001+00"),
            (-1, "1969-12-31 23:59:59.999+00"),
            (253_402_300_800_000, "10000-01-01 00:00:00+00"),
            (-62_135_596_800_001, "0001-12-31 23:59:59.999+00 BC"),
            (-62_135_596_800_000, "0001-01-01 00:00:00+00"),
        ] {
            let micros = micros_from_kafka(ms).expect("in range");
            assert_eq!(text(micros, Style::Postgres), expected);
            assert_eq!(parse_timestamptz(expected.as_bytes()), Some(micros), "{expected}");
            assert_eq!(kafka_from_micros(micros), Some(ms));
        }
        assert_eq!(
            text(micros_from_kafka(1_795_373_280_120).expect("in range"), Style::Rfc3339),
            "2026-11-22T18:48:00.12Z"
        );
        assert_eq!(text(INFINITY, Style::Postgres), "infinity");
        assert_eq!(text(NEGATIVE_INFINITY, Style::Postgres), "-infinity");
    }

    #[test]
    fn the_range_of_timestamptz_is_respected() {
        assert_eq!(micros_from_kafka(i64::MAX), None);
        assert_eq!(micros_from_kafka(i64::MIN), None);
        assert_eq!(micros_from_kafka(9_224_318_015_999_999), Some(END_MICROS - 1000));
        assert_eq!(micros_from_kafka(9_224_318_016_000_000), None);
        assert_eq!(kafka_from_micros(INFINITY), None);
        assert!(fits_rfc3339(0));
        assert!(!fits_rfc3339(END_MICROS - 1));
        assert!(!fits_rfc3339(MIN_MICROS));
    }

    #[test]
    fn reads_offsets_and_fractions() {
        let noon = micros_from_kafka(1_709_208_000_000);
        for same in [
            "2024-02-29 12:00:00+00",
            "2024-02-29T12:00:00Z",
            "2024-02-29 12:00Z",
            "2024-02-29 17:30:00+05:30",
            "2024-02-29 17:30:00+0530",
            "2024-02-29 04:00:00.000-08",
            "2024-02-29 12:19:32+00:19:32",
        ] {
            assert_eq!(parse_timestamptz(same.as_bytes()), noon, "{same}");
        }
        let micros = parse_timestamptz(b"2000-01-01 00:00:00.1234567+00");
        assert_eq!(micros, Some(123_457));
        assert_eq!(parse_timestamptz(b"1999-12-31 24:00:00+00"), Some(0));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for wrong in [
            "",
            "now",
            "2024-02-29 12:00:00",
            "2023-02-29 12:00:00+00",
            "2024-13-01 12:00:00+00",
            "2024-02-29 24:00:01+00",
            "2024-02-29 12:00:00+00 junk",
            "2024-02-29 12:00:00.+00",
            "0000-01-01 00:00:00+00",
            "29.02.2024 12:00:00 CET",
            "Thu Feb 29 12:00:00 2024 UTC",
            "294277-01-01 00:00:00+00",
        ] {
            assert_eq!(parse_timestamptz(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        /// What parse_iso requires, the short way may lack: an offset.
        #[test]
        fn the_short_way_agrees(text in FIXED) {
            if let Some((_, Some(_))) = parse_fixed(text.as_bytes()) {
                prop_assert_eq!(parse_timestamptz(text.as_bytes()), parse_iso(text.as_bytes()));
            }
        }

        #[test]
        fn every_time_survives_both_styles(micros in MIN_MICROS..END_MICROS) {
            prop_assert_eq!(parse_timestamptz(text(micros, Style::Postgres).as_bytes()), Some(micros));
            prop_assert_eq!(parse_timestamptz(text(micros, Style::Rfc3339).as_bytes()), Some(micros));
        }
    }
}
