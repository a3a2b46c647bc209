use proptest::prelude::*;

use super::*;
use crate::{datetime::tests::FIXED, types::Type};

/// The bounds of the years of one to four digits, in microseconds since 2000.
const YEAR_1: i64 = -63_082_281_600 * MICROS_PER_SECOND;
const YEAR_10000: i64 = 252_455_616_000 * MICROS_PER_SECOND;

fn convert(name: &str, text: &str) -> Result<String, Refusal> {
    let column_type = Type::of_name(name).expect(name);
    let (mut binary, mut out) = (Vec::new(), Vec::new());
    column_type.parse(text.as_bytes(), &mut binary)?;
    column_type.show(&binary, &mut out)?;
    Ok(String::from_utf8(out).expect("ASCII"))
}

#[test]
fn dates_and_times_in_all_their_spellings() {
    for (name, text, expected) in [
        ("date", "2024-02-29", "2024-02-29"),
        ("date", " 2024/2/9 ", "2024-02-09"),
        ("date", "20240229", "2024-02-29"),
        ("date", "2024-060", "2024-02-29"),
        ("date", "29-Feb-2024", "2024-02-29"),
        ("date", "February 29, 2024", "2024-02-29"),
        ("date", "29 feb 2024", "2024-02-29"),
        ("date", "2024 Feb 29", "2024-02-29"),
        ("date", "Thu, 29 Feb 2024 12:00:00 GMT", "2024-02-29"),
        ("date", "2024-02-29T12:00:00Z", "2024-02-29"),
        ("date", "0044-03-15 BC", "0044-03-15 BC"),
        ("date", "J2451187", "1999-01-08"),
        ("date", "infinity", "infinity"),
        ("date", "-infinity", "-infinity"),
        ("date", "epoch", "1970-01-01"),
        ("date", "240229", "2024-02-29"),
        ("date", "240228 BC", "0024-02-28 BC"),
        ("date", "1 Jan 00:00 294276", "294276-01-01"),
        ("date", "Mon 20240101", "2024-01-01"),
        ("date", "5874897-12-31", "5874897-12-31"),
        ("date", "4714-11-24 BC", "4714-11-24 BC"),
        ("time", "04:05", "04:05:00"),
        ("time", "04:05:06.789", "04:05:06.789"),
        ("time", "040506", "04:05:06"),
        ("time", "0405", "04:05:00"),
        ("time", "04:05 PM", "16:05:00"),
        ("time", "12:05 am", "00:05:00"),
        ("time", "11:59:60 AM", "12:00:00"),
        ("time", "24:00:00", "24:00:00"),
        ("time", "23:59:60", "24:00:00"),
        ("time", "allballs", "00:00:00"),
        ("time", "2024-02-29 12:00:00+05", "12:00:00"),
        ("time(0)", "12:00:00.5", "12:00:01"),
        ("timetz", "04:05:06+02", "04:05:06+02"),
        ("timetz", "04:05:06-05:30", "04:05:06-05:30"),
        ("timetz", "04:05:06.5 Z", "04:05:06.5+00"),
        ("timetz", "040506-08", "04:05:06-08"),
        ("timetz", "01:05 PM -05", "13:05:00-05"),
        ("timestamp", "2024-02-29 12:00:00", "2024-02-29 12:00:00"),
        ("timestamp", "2024-02-29T12:00:00.5+05", "2024-02-29 12:00:00.5"),
        ("timestamp", "20240229T120000", "2024-02-29 12:00:00"),
        ("timestamp", "2024-02-29", "2024-02-29 00:00:00"),
        ("timestamp", "2016-12-31 23:59:60", "2017-01-01 00:00:00"),
        ("timestamp", "2024-02-29 24:00", "2024-03-01 00:00:00"),
        ("timestamp", "0001-01-01 00:00:00 BC", "0001-01-01 00:00:00 BC"),
        ("timestamp(3)", "2024-02-29 12:00:00.1235", "2024-02-29 12:00:00.124"),
        ("timestamptz", "2024-02-29 12:00:00+05:30", "2024-02-29 06:30:00+00"),
        ("timestamptz", "Thu Feb 29 12:00:00 2024 UTC", "2024-02-29 12:00:00+00"),
        ("timestamptz", "2024-02-29 12:00:00.1234567Z", "2024-02-29 12:00:00.123457+00"),
        ("timestamptz", "2024-02-29 7 Z", ""),
        ("timestamptz(0)", "2024-02-29 23:59:59.5Z", "2024-03-01 00:00:00+00"),
        ("timestamptz", "infinity", "infinity"),
        ("timestamptz", "2024-02-29 12:00:00+00 BC", ""),
        ("timestamptz", "0005-02-28 12:00:00+00 BC", "0005-02-28 12:00:00+00 BC"),
    ] {
        assert_eq!(convert(name, text).unwrap_or_default(), expected, "{text}: {:?}", convert(name, text));
    }
}

#[test]
fn what_is_wrong_or_depends_on_something_else() {
    for (name, text) in [
        ("date", ""),
        ("date", "12:00:00"),
        ("date", "2024-02-30"),
        ("date", "2023-02-29"),
        ("date", "2024-13-01"),
        ("date", "2024-00-01"),
        ("date", "0000-01-01"),
        ("date", "2024-02"),
        ("date", "2024-366-1"),
        ("date", "2023-366"),
        ("date", "01/02/2024"),
        ("date", "1-2-3"),
        ("date", "now"),
        ("date", "today"),
        ("date", "2024-02-29 2024-02-29"),
        ("date", "5874898-01-01"),
        ("date", "4714-11-23 BC"),
        ("date", "infinity 2024-01-01"),
        ("time", "25:00"),
        ("time", "24:00:01"),
        ("time", "12:60"),
        ("time", "12:00:61"),
        ("time", "13:00 PM"),
        ("time", "2024-02-29"),
        ("time", "infinity"),
        ("timetz", "12:00"),
        ("timetz", "12:00+16"),
        ("timestamp", "now"),
        ("timestamp", "294277-01-01"),
        ("timestamp", "12:00"),
        ("timestamptz", "2024-02-29 12:00:00"),
        ("timestamptz", "2024-02-29"),
        ("timestamptz", "2024-02-29 12:00 Europe/Berlin"),
        ("timestamptz", "2024-02-29 12:00 CET"),
        ("timestamptz", "2024-02-29 12:00:00 UTC+3"),
        ("timestamptz", "2024-02-29 12:00:00+00 junk"),
        ("timestamptz", "1709208000"),
        ("timestamptz", "2024-02-29T"),
        ("timestamptz", "\u{e9}"),
        // These have another meaning in PostgreSQL than one would think.
        ("timestamptz", "2024-01-01 01:05 PM-05"),
        ("timestamptz", "0044-03-15 12:00 BC-05"),
        ("timestamptz", "2024-03-15 AD-05"),
        ("timestamptz", "2024-01-01 12:00.5+00"),
        ("timetz", "01:05 PM-05"),
        // And these have none, in all versions or in some.
        ("timestamptz", "2024-Jan-29T00:59Z"),
        ("timestamptz", "+123456"),
        ("timestamptz", "2024-01-01 12:00+0530:15"),
        ("timestamptz", "2024-01-01 24:00:00.5+00"),
        ("timestamptz", "2024-02-29 12:00:00.Z"),
        ("date", "Mon 2024-01-01"),
        ("date", "12:00 2024-01-01"),
        ("date", "1 Jan 294276"),
        ("date", "2024-060 Feb"),
        ("date", "+infinity"),
    ] {
        assert!(convert(name, text).is_err(), "{name} {text}: {:?}", convert(name, text));
    }
    assert_eq!(
        convert("timestamptz", "2024-02-29 12:00 CET"),
        Err("time zones by name depend on the server's tables: write an offset from UTC such as +02")
    );
}

proptest! {
    #[test]
    fn every_day_and_time_survives(days in MIN_DATE as i32..END_DATE as i32, micros in 0..=MICROS_PER_DAY, west in -57_599i32..57_600) {
        let mut out = Vec::new();
        prop_assert!(show_date(days, &mut out).is_ok());
        prop_assert_eq!(parse_date(&out), Ok(days));
        out.clear();
        prop_assert!(show_timetz(micros, west, &mut out).is_ok());
        prop_assert_eq!(parse_timetz(&out, None), Ok((micros, west)));
    }

    #[test]
    fn every_timestamp_survives(micros in MIN_MICROS..END_MICROS) {
        let mut out = Vec::new();
        prop_assert!(show_timestamp(micros, &mut out, Style::Postgres).is_ok());
        prop_assert_eq!(parse_timestamp(&out, None), Ok(micros));
        out.clear();
        prop_assert!(show_timestamp(micros, &mut out, Style::Rfc3339).is_ok());
        prop_assert_eq!(parse_timestamp(&out, None), Ok(micros));
    }

    #[test]
    fn the_short_way_and_the_long_way_agree(text in "[0-9]{4}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\\.[0-9]{1,8})?)?(Z|[+-][01][0-9](:[0-5][0-9])?)( BC)?") {
        if let Some(micros) = parse_timestamptz(text.as_bytes()) {
            let long = Moment::parse(text.as_bytes(), false).and_then(|moment| micros_of(&moment, moment.offset.unwrap_or(1)));
            prop_assert_eq!(long, Ok(micros));
        }
    }

    #[test]
    fn the_fixed_form_means_what_any_other_does(text in FIXED) {
        if let Some((micros, offset)) = parse_fixed(text.as_bytes()) {
            let long = Moment::parse(text.as_bytes(), false);
            prop_assert_eq!(long.and_then(|moment| Ok((micros_of(&moment, 0)?, moment.offset))), Ok((micros, offset)));
        }
    }

    #[test]
    fn a_date_of_fixed_form_means_what_any_other_does(text in "[0-9]{4}[-/][01][0-9]-[0-3][0-9]") {
        let long = Moment::parse(text.as_bytes(), false).map(|moment| moment.day);
        match <&[u8; 10]>::try_from(text.as_bytes()).ok().and_then(parse_fixed_date) {
            Some(days) => prop_assert_eq!(long, Ok(Some(Day::Number(days)))),
            None => prop_assert!(text.contains('/') || long.is_err(), "{}: {:?}", text, long),
        }
    }

    #[test]
    fn the_fixed_form_is_taken(micros in YEAR_1..YEAR_10000, style in 0..2, minutes in prop::option::of(-959i32..960)) {
        let mut text = Vec::new();
        let style = if style == 0 { Style::Postgres } else { Style::Rfc3339 };
        prop_assert!(show_timestamp(micros, &mut text, style).is_ok());
        if let Some(minutes) = minutes {
            let (sign, absolute) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
            let zone = match absolute % 60 {
                0 => format!("{sign}{:02}", absolute / 60),
                rest => format!("{sign}{:02}:{rest:02}", absolute / 60),
            };
            text.extend_from_slice(zone.as_bytes());
        }
        prop_assert_eq!(parse_fixed(&text), Some((micros, minutes.map(|minutes| minutes * 60))), "{}", text.escape_ascii());
        if minutes.is_none() {
            text.push(b'Z');
            prop_assert_eq!(parse_fixed(&text), Some((micros, Some(0))));
        }
    }
}

#[test]
fn milliseconds_are_rounded_to_microseconds() {
    // The right side is the same fraction of a second, read by PostgreSQL 15.
    for (milliseconds, expected) in [
        ("0", "1970-01-01 00:00:00"),
        ("48.999999999", "1970-01-01 00:00:00.049"),
        ("48.9994", "1970-01-01 00:00:00.048999"),
        ("48.9996", "1970-01-01 00:00:00.049"),
        ("0.0005", "1970-01-01 00:00:00"),
        ("0.0015", "1970-01-01 00:00:00.000002"),
        ("999.9999", "1970-01-01 00:00:01"),
        ("1767225600000.1236", "2026-01-01 00:00:00.000124"),
        ("-0.0006", "1969-12-31 23:59:59.999999"),
        ("-48.999999999", "1969-12-31 23:59:59.951"),
        ("-1000.4996", "1969-12-31 23:59:58.9995"),
    ] {
        let micros = parse_milliseconds(milliseconds.as_bytes(), None).expect(milliseconds);
        assert_eq!(Ok(micros), parse_timestamp(expected.as_bytes(), None), "{milliseconds}");
    }
    for wrong in ["1e3", "1.5e3", "9223372036854775807.5", "-9223372036854775808.5", "99999999999999999999"] {
        assert!(parse_milliseconds(wrong.as_bytes(), None).is_err(), "{wrong}");
    }
}

#[test]
fn only_what_means_the_same_everywhere_is_a_time_in_milliseconds() {
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2026-01-31T12:00:00.9999Z", Some(1_769_860_800_999)),
        ("2026-01-31 12:00:00-05:30", Some(1_769_880_600_000)),
        ("1969-12-31T23:59:59.9995Z", Some(-1)),
        ("2026-01-31T12:00:00", None),
        ("2026-01-31Z", None),
        ("2026-01-31T12:00:00+01:00[Europe/Berlin]", None),
        ("2026-02-30T12:00:00Z", None),
        ("12:00:00Z", None),
        ("infinity", None),
        ("now", None),
        ("", None),
    ] {
        assert_eq!(super::milliseconds_since_1970(text), expected, "{text}");
    }
}
