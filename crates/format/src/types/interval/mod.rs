//! interval: months, days and microseconds, each with its own sign.

mod iso;
mod sum;
mod words;

use self::sum::Sum;
use super::{
    Refusal,
    fields::{Fields, Kind},
    moment::{put_clock, round},
};
use crate::number::put_i64;

const REFUSED: Refusal = "not an interval";
const OUT_OF_RANGE: Refusal = "out of range";
const OUT_OF_RANGE_BEFORE_15: Refusal = "a number that is out of range for PostgreSQL 14 and older";
const INEXACT: Refusal = "a fraction that versions of PostgreSQL round differently";

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

/// PostgreSQL 13 and 14 store more hours than that, but fail wherever they are to show them.
const MAX_HOURS: i64 = i32::MAX as i64;

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

pub(super) fn parse(text: &[u8], precision: Option<u8>) -> Result<Interval, Refusal> {
    let mut sum = Sum::default();
    // PostgreSQL takes neither white space nor a small letter there.
    let is_ago = match text {
        [b'P', rest @ ..] => iso::read(rest, &mut sum).map(|()| false)?,
        _ => words::read(text, &mut sum)?,
    };
    let interval = sum.finish(is_ago)?;
    let micros = round(interval.micros, precision);
    // This excludes what is infinite in some versions, too.
    if (micros / MICROS_PER_HOUR).abs() > MAX_HOURS {
        return Err(OUT_OF_RANGE_BEFORE_15);
    }
    Ok(Interval { micros, ..interval })
}

/// Whether a first minus negates the numbers behind it as well, as it does with `IntervalStyle = sql_standard` where none
/// of these has a sign: `-3 4:05:06`. No other style writes such a text.
pub(super) fn depends_on_style(text: &[u8]) -> bool {
    let Ok(fields) = Fields::of(text).and_then(Fields::all) else { return false };
    let Some((first, others)) = fields.split_first() else { return false };
    let is_signed = |kind| matches!(kind, Kind::Signed | Kind::SignedWord);
    is_signed(first.kind)
        && first.is_negative
        && others.iter().any(|field| field.kind != Kind::Word)
        && !others.iter().any(|field| is_signed(field.kind))
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
            ("01:00 1 day", "1 day 01:00:00"),
            (".5 days", "12:00:00"),
            ("1h30m", "01:30:00"),
            ("-2147483648 days", "-2147483648 days"),
            ("P1.25Y", "1 year 3 mons"),
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
            "--1 day",
            "-.5 days",
            "P+1M",
            " P1D",
            "p1d",
            "1min30s",
            // PostgreSQL forgets the fraction.
            "01:00 1.5 days",
            "01:00:00 .5 day",
            // Some versions of it refuse these, or round differently.
            "01:00 5 ms",
            "5 ago",
            "1. day",
            "day 1",
            "1.99 years",
            "1.5 us",
            "P17.7M",
            "P0001-02-03T04:05.5",
            "5000000000 us",
            "178956970 years 7 mons 2147483647 days 2562047788:00:54.775807",
        ] {
            assert!(convert(wrong).is_err(), "{wrong}: {:?}", convert(wrong));
        }
    }

    #[test]
    fn a_first_minus_may_be_for_all() {
        for text in ["-3 4:05:06", "-1 day 2 hours", " - 1-2 3 4:05:06", "-1-2 3", "-3 0:00:00"] {
            assert!(depends_on_style(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "-4:05:06",
            "-1-2",
            "-3 days",
            "3 4:05:06",
            "-1-2 -3 -4:05:06",
            "-1-2 +3 -4:05:06",
            "+1-2 -3 +4:05:06",
            "-1 days +02:00:00",
            "-1 mons +3 days 04:05:06",
            "@ 3 days -4 hours ago",
            "P-3DT4H",
            "-infinity",
            "-3 (",
        ] {
            assert!(!depends_on_style(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_postgresql_14_cannot_hold_is_refused() {
        let most = "2147483647:59:59.999999";
        for (text, expected) in [
            (most, most),
            ("-2147483647:59:59.999999", "-2147483647:59:59.999999"),
            ("PT2147483647H", "2147483647:00:00"),
            ("2147483647 h 59 min", "2147483647:59:00"),
            ("-2147483648 h 1 min", "-2147483647:59:00"),
            ("1 d 2147483647:00:00", "1 day 2147483647:00:00"),
            ("2147483647 s 1 min", "596523:15:07"),
            ("2147483647.6 s", "596523:14:07.6"),
            ("-2147483648 s", "-596523:14:08"),
            ("2147483647 us 1 s", "00:35:48.483647"),
            ("2147483647 ms 1 us", "596:31:23.647001"),
        ] {
            assert_eq!(convert(text).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "2147483648:00:00",
            "-2147483648:00:00",
            "2562047788:00:54.775807",
            "-2562047788:00:54.775807",
            "1 d 2147483648:00:00",
            "2147483648:00:00 ago",
            "P0001-02-03T2147483648:00:00",
            "PT2147483648H",
            "PT-2147483648H",
            "-2147483648 hours",
            "-2147483648 h ago",
            // By addition.
            "2147483647 h 60 min",
            "1.5 d 2147483647:00:00",
            "P0.5DT2147483647H",
            "PT2147483647H1H",
            "-2147483648 h 1 min ago",
            // Less than hours, beyond 32 bits.
            "2147483647 s 5000 ms",
            "2147483647 s 1.5 min",
            "2147483647 us 9 ms",
            "2147483647.75 us",
            "-2147483648 us ago",
            "0.5 day 2147483647 s",
            "PT2147483647S2147483647S",
            "PT2147483647M60M",
            "PT2147483647.7S",
            "-2147483648 s ago",
            "-2147483648 min ago",
        ] {
            assert_eq!(convert(text), Err(OUT_OF_RANGE_BEFORE_15), "{text}");
        }
        let rounded = |precision| parse(most.as_bytes(), Some(precision)).map(|interval| interval.micros);
        assert_eq!(rounded(5), Err(OUT_OF_RANGE_BEFORE_15));
        assert_eq!(rounded(6), Ok(7_730_941_132_799_999_999));
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
