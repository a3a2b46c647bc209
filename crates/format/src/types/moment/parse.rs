//! From text to a day, a time of day and an offset, as far as PostgreSQL's rules do not depend on its settings.

use super::{MICROS_PER_DAY, MICROS_PER_SECOND, Refusal};
use crate::{
    datetime::{civil_from_days, days_from_civil, micros_of_fraction},
    types::scalar::trim,
};

const NO_MOMENT: Refusal = "not a date or time";
const AMBIGUOUS: Refusal =
    "the order of day, month and year depends on DateStyle: write the year first, with four digits";
const NAMED_ZONE: Refusal =
    "time zones by name depend on the server's tables: write an offset from UTC such as +02";
const DEPENDS_ON_NOW: Refusal = "it depends on when it is read";
const FIELD_OUT_OF_RANGE: Refusal = "a field is out of range";

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
/// Julian day 0 in days since 1970.
const JULIAN_EPOCH: i64 = -2_440_588;
/// Years beyond are out of every range.
const MAX_YEAR: i64 = 6_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Day {
    /// Days since 1970.
    Number(i64),
    Infinity,
    NegativeInfinity,
}

/// What a text says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) day: Option<Day>,
    /// Microseconds since midnight; a whole day is possible, and a leap second beyond it.
    pub(super) time: Option<i64>,
    /// Seconds east of UTC.
    pub(super) offset: Option<i32>,
}

impl Moment {
    /// `is_time`: a bare number is a time of day.
    pub(super) fn parse(text: &[u8], is_time: bool) -> Result<Moment, Refusal> {
        let text = trim(text);
        if text.len() > 200 || !text.is_ascii() {
            return Err(NO_MOMENT);
        }
        let mut reader = Reader { rest: text, is_time, ..Reader::default() };
        while !reader.rest.is_empty() {
            reader.token()?;
        }
        reader.finish()
    }

    pub(super) fn is_infinite(&self) -> bool {
        matches!(self.day, Some(Day::Infinity | Day::NegativeInfinity))
    }
}

#[derive(Default)]
struct Reader<'a> {
    rest: &'a [u8],
    is_time: bool,
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    special: Option<Day>,
    before_christ: Option<bool>,
    time: Option<i64>,
    afternoon: Option<bool>,
    offset: Option<i32>,
    weekday: bool,
    /// A T stands before what follows.
    after_t: bool,
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("something is there twice"),
    }
}

impl<'a> Reader<'a> {
    fn token(&mut self) -> Result<(), Refusal> {
        match self.rest[0] {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | b',' => {
                self.rest = &self.rest[1..];
                Ok(())
            }
            b'0'..=b'9' => self.number(),
            b'+' | b'-' => self.signed(),
            byte if byte.is_ascii_alphabetic() => self.word(),
            _ => Err(NO_MOMENT),
        }
    }

    fn digits(&mut self) -> &'a [u8] {
        let len = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(len);
        self.rest = rest;
        digits
    }

    fn letters(&mut self) -> &'a [u8] {
        let len = self.rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (letters, rest) = self.rest.split_at(len);
        self.rest = rest;
        letters
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.rest.first() == Some(&wanted);
        self.rest = &self.rest[usize::from(found)..];
        found
    }

    fn has_day(&self) -> bool {
        self.day.is_some() || self.day_of_year.is_some() || self.special.is_some()
    }

    fn number(&mut self) -> Result<(), Refusal> {
        let digits = self.digits();
        match self.rest.first() {
            Some(b':') => self.clock(digits),
            Some(&delimiter @ (b'-' | b'/' | b'.')) if !self.has_day() && !self.is_clock(digits) => {
                self.date(digits, delimiter)
            }
            _ => self.bare(digits),
        }
    }

    /// `040506-08` and `040506.7` are no dates where a time is expected.
    fn is_clock(&self, digits: &[u8]) -> bool {
        (self.is_time || self.after_t) && digits.len() == 6
    }

    /// What follows the first number of a date with delimiters.
    fn date(&mut self, first: &[u8], delimiter: u8) -> Result<(), Refusal> {
        self.rest = &self.rest[1..];
        if self.rest.first().is_some_and(u8::is_ascii_alphabetic) {
            let month = month(self.letters()).ok_or(NO_MOMENT)?;
            set(&mut self.month, month)?;
            if !self.take(delimiter) {
                return Err(NO_MOMENT);
            }
            let last = self.digits();
            return match (first.len(), last.len()) {
                (3.., 1..=2) => self.set_year_and_day(first, last),
                (1..=2, 3..) => self.set_year_and_day(last, first),
                _ => Err(AMBIGUOUS),
            };
        }
        if first.len() < 3 {
            return Err(AMBIGUOUS);
        }
        let second = self.digits();
        if self.take(delimiter) {
            let third = self.digits();
            if !(1..=2).contains(&second.len()) || !(1..=2).contains(&third.len()) {
                return Err(NO_MOMENT);
            }
            set(&mut self.month, number(second)?)?;
            return self.set_year_and_day(first, third);
        }
        if second.len() != 3 {
            return Err("a day is missing");
        }
        set(&mut self.year, number(first)?)?;
        set(&mut self.day_of_year, number(second)?)
    }

    fn set_year_and_day(&mut self, year: &[u8], day: &[u8]) -> Result<(), Refusal> {
        set(&mut self.year, number(year)?)?;
        set(&mut self.day, number(day)?)
    }

    /// A number without anything in it.
    fn bare(&mut self, digits: &[u8]) -> Result<(), Refusal> {
        let is_clock = self.after_t || self.has_day() || (self.is_time && self.month.is_none());
        match digits.len() {
            // The year or day beside a month's name.
            1..=2 if self.month.is_some() && self.day.is_none() => set(&mut self.day, number(digits)?),
            3.. if self.month.is_some() && self.year.is_none() => set(&mut self.year, number(digits)?),
            1..=2 if self.month.is_none() && !self.is_time && !self.has_day() && self.names_month() => {
                set(&mut self.day, number(digits)?)
            }
            4 if self.month.is_none() && !self.is_time && !self.has_day() && self.names_month() => {
                set(&mut self.year, number(digits)?)
            }
            6 | 4 if is_clock && self.time.is_none() => {
                let at = |index: usize| number(digits.get(index..index + 2).unwrap_or(b"0"));
                let fraction = if digits.len() == 6 { self.fraction()? } else { 0 };
                self.set_time(at(0)?, at(2)?, at(4)?, fraction)
            }
            8 if !self.has_day() => {
                set(&mut self.month, number(&digits[4..6])?)?;
                self.set_year_and_day(&digits[..4], &digits[6..])
            }
            6 if !self.has_day() && self.month.is_none() => {
                let year = number(&digits[..2])?;
                set(&mut self.year, if year < 70 { 2000 + year } else { 1900 + year })?;
                set(&mut self.month, number(&digits[2..4])?)?;
                set(&mut self.day, number(&digits[4..])?)
            }
            1..=2 if self.month.is_some() => Err(AMBIGUOUS),
            _ => Err(NO_MOMENT),
        }
    }

    /// Whether a month's name is still to come.
    fn names_month(&self) -> bool {
        let words = self.rest.split(|byte| !byte.is_ascii_alphabetic());
        words.into_iter().any(|word| month(word).is_some())
    }

    /// `hh:mm[:ss[.fff]]`, behind the hours.
    fn clock(&mut self, hours: &[u8]) -> Result<(), Refusal> {
        self.rest = &self.rest[1..];
        let minutes = self.digits();
        if hours.len() > 2 || !(1..=2).contains(&minutes.len()) {
            return Err(NO_MOMENT);
        }
        let (mut seconds, mut fraction) = (0, 0);
        if self.take(b':') {
            let digits = self.digits();
            if !(1..=2).contains(&digits.len()) {
                return Err(NO_MOMENT);
            }
            seconds = number(digits)?;
            fraction = self.fraction()?;
        }
        self.set_time(number(hours)?, number(minutes)?, seconds, fraction)
    }

    fn fraction(&mut self) -> Result<i64, Refusal> {
        if self.take(b'.') { Ok(micros_of_fraction(self.digits())) } else { Ok(0) }
    }

    fn set_time(&mut self, hours: i64, minutes: i64, seconds: i64, fraction: i64) -> Result<(), Refusal> {
        self.after_t = false;
        if hours > 24 || minutes > 59 || seconds * MICROS_PER_SECOND + fraction > 60 * MICROS_PER_SECOND {
            return Err(FIELD_OUT_OF_RANGE);
        }
        let micros = ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + fraction;
        if hours == 24 && micros > MICROS_PER_DAY {
            return Err(FIELD_OUT_OF_RANGE);
        }
        set(&mut self.time, micros)
    }

    /// An offset from UTC, or `-infinity`.
    fn signed(&mut self) -> Result<(), Refusal> {
        let is_negative = self.rest[0] == b'-';
        self.rest = &self.rest[1..];
        if self.rest.first().is_some_and(u8::is_ascii_alphabetic) {
            let word = self.letters();
            if !word.eq_ignore_ascii_case(b"infinity") {
                return Err(NO_MOMENT);
            }
            return set(&mut self.special, if is_negative { Day::NegativeInfinity } else { Day::Infinity });
        }
        if self.time.is_none() && !self.has_day() {
            return Err(NO_MOMENT);
        }
        let digits = self.digits();
        let (hours, minutes, seconds) = match digits.len() {
            1..=2 if self.take(b':') => {
                let minutes = self.digits();
                let seconds = if self.take(b':') { self.digits() } else { b"0" };
                (number(digits)?, number(minutes)?, number(seconds)?)
            }
            1..=2 => (number(digits)?, 0, 0),
            3..=4 => (number(digits)? / 100, number(digits)? % 100, 0),
            _ => return Err(NO_MOMENT),
        };
        if hours > 15 || minutes > 59 || seconds > 59 {
            return Err(FIELD_OUT_OF_RANGE);
        }
        let offset = (hours * 3600 + minutes * 60 + seconds) as i32;
        set(&mut self.offset, if is_negative { -offset } else { offset })
    }

    fn word(&mut self) -> Result<(), Refusal> {
        let word = self.letters().to_ascii_lowercase();
        let next_is_digit = self.rest.first().is_some_and(u8::is_ascii_digit);
        match word.as_slice() {
            b"t" if next_is_digit && self.time.is_none() => {
                self.after_t = true;
                return Ok(());
            }
            b"j" if next_is_digit && !self.has_day() => {
                let day = number(self.digits())?;
                return set(&mut self.special, Day::Number(JULIAN_EPOCH + day));
            }
            b"z" | b"zulu" | b"utc" | b"gmt" | b"ut" => {
                if matches!(self.rest.first(), Some(b'+' | b'-' | b'0'..=b'9')) {
                    return Err(NAMED_ZONE);
                }
                return set(&mut self.offset, 0);
            }
            b"am" => return set(&mut self.afternoon, false),
            b"pm" => return set(&mut self.afternoon, true),
            b"bc" => return set(&mut self.before_christ, true),
            b"ad" => return set(&mut self.before_christ, false),
            b"infinity" => return set(&mut self.special, Day::Infinity),
            b"epoch" if self.special.is_none() => {
                self.special = Some(Day::Number(0));
                set(&mut self.time, 0)?;
                return set(&mut self.offset, 0);
            }
            b"allballs" => {
                set(&mut self.time, 0)?;
                return set(&mut self.offset, 0);
            }
            b"at" | b"on" => return Ok(()),
            b"now" | b"today" | b"tomorrow" | b"yesterday" => return Err(DEPENDS_ON_NOW),
            _ => {}
        }
        if next_is_digit {
            return Err(NO_MOMENT);
        }
        if let Some(month) = month(&word) {
            set(&mut self.month, month)?;
            // Jan-08-1999.
            if self.take(b'-') {
                let day = self.digits();
                if !self.take(b'-') || day.is_empty() || day.len() > 2 {
                    return Err(NO_MOMENT);
                }
                let year = self.digits();
                return if year.len() > 2 { self.set_year_and_day(year, day) } else { Err(AMBIGUOUS) };
            }
            return Ok(());
        }
        if !self.weekday && is_weekday(&word) {
            self.weekday = true;
            // `Thu.` is possible, too.
            return Ok(());
        }
        let is_zone = self.time.is_some() && (word.len() >= 3 || self.rest.first() == Some(&b'/'));
        Err(if is_zone { NAMED_ZONE } else { NO_MOMENT })
    }

    fn finish(self) -> Result<Moment, Refusal> {
        if self.after_t {
            return Err(NO_MOMENT);
        }
        let day = match self.special {
            Some(_) if self.year.is_some() || self.month.is_some() || self.day.is_some() => {
                return Err(NO_MOMENT);
            }
            Some(Day::Number(day)) => Some(Day::Number(day)),
            Some(infinite) => {
                let is_alone = self.time.is_none() && self.offset.is_none() && self.before_christ.is_none();
                return match is_alone && !self.weekday {
                    true => Ok(Moment { day: Some(infinite), time: None, offset: None }),
                    false => Err(NO_MOMENT),
                };
            }
            None => self.calendar_day()?,
        };
        let time = match (self.time, self.afternoon) {
            (Some(time), Some(afternoon)) => Some(on_half_a_day(time, afternoon)?),
            (None, Some(_)) => return Err(NO_MOMENT),
            (time, None) => time,
        };
        if time.is_none() && day.is_none() {
            return Err(NO_MOMENT);
        }
        Ok(Moment { day, time, offset: self.offset })
    }

    fn calendar_day(&self) -> Result<Option<Day>, Refusal> {
        let is_none = self.year.is_none() && self.month.is_none() && self.day.is_none();
        if is_none && self.day_of_year.is_none() {
            return if self.before_christ.is_none() { Ok(None) } else { Err(NO_MOMENT) };
        }
        let year = self.year.ok_or("a year is missing")?;
        if year == 0 || year > MAX_YEAR {
            return Err(FIELD_OUT_OF_RANGE);
        }
        let year = if self.before_christ == Some(true) { 1 - year } else { year };
        if let Some(day_of_year) = self.day_of_year {
            let days = days_from_civil(year, 1, 1) + day_of_year - 1;
            let is_right = day_of_year > 0 && civil_from_days(days).0 == year;
            return if is_right { Ok(Some(Day::Number(days))) } else { Err(FIELD_OUT_OF_RANGE) };
        }
        let (Some(month), Some(day)) = (self.month, self.day) else {
            return Err("a month or day is missing");
        };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(FIELD_OUT_OF_RANGE);
        }
        let (month, day) = (month as u32, day as u32);
        let days = days_from_civil(year, month, day);
        if civil_from_days(days) != (year, month, day) {
            return Err("the month has no such day");
        }
        Ok(Some(Day::Number(days)))
    }
}

fn on_half_a_day(time: i64, afternoon: bool) -> Result<i64, Refusal> {
    let hour = MICROS_PER_SECOND * 3600;
    match (time / hour, afternoon) {
        (13.., _) => Err(FIELD_OUT_OF_RANGE),
        (12, false) => Ok(time - 12 * hour),
        (12, true) | (_, false) => Ok(time),
        (_, true) => Ok(time + 12 * hour),
    }
}

fn number(digits: &[u8]) -> Result<i64, Refusal> {
    if digits.is_empty() {
        return Err(NO_MOMENT);
    }
    if digits.len() > 9 {
        return Err(FIELD_OUT_OF_RANGE);
    }
    Ok(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

fn month(word: &[u8]) -> Option<i64> {
    let is_name = |name: &&str| {
        word.eq_ignore_ascii_case(name.as_bytes())
            || word.eq_ignore_ascii_case(&name.as_bytes()[..3])
            || (*name == "september" && word.eq_ignore_ascii_case(b"sept"))
    };
    MONTHS.iter().position(is_name).map(|index| index as i64 + 1)
}

fn is_weekday(word: &[u8]) -> bool {
    let short = ["tues", "wednes", "weds", "thur", "thurs"];
    WEEKDAYS.iter().any(|name| word == name.as_bytes() || word == &name.as_bytes()[..3])
        || short.iter().any(|name| word == name.as_bytes())
}
