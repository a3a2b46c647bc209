//! From text to a day, a time of day and an offset, as far as PostgreSQL's rules do not depend on its settings.

use super::{MICROS_PER_DAY, MICROS_PER_SECOND, Refusal};
use crate::{
    datetime::{civil_from_days, days_from_civil, micros_of_fraction},
    scan::short_number,
    types::fields::{Field, Fields, Kind, is_weekday, month},
};

const NO_MOMENT: Refusal = "not a date or time";
const AMBIGUOUS: Refusal =
    "the order of day, month and year depends on DateStyle: write the year first, with four digits";
const NAMED_ZONE: Refusal =
    "time zones by name depend on the server's tables: write an offset from UTC such as +02";
const DEPENDS_ON_NOW: Refusal = "it depends on when it is read";
const FIELD_OUT_OF_RANGE: Refusal = "a field is out of range";

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
    /// Microseconds since midnight; a whole day is possible.
    pub(super) time: Option<i64>,
    /// Seconds east of UTC.
    pub(super) offset: Option<i32>,
}

impl Moment {
    /// `is_time`: only what a time of day may consist of.
    pub(super) fn parse(text: &[u8], is_time: bool) -> Result<Moment, Refusal> {
        let mut fields = Fields::of(text)?;
        let mut reader = Reader { is_time, ..Reader::default() };
        let (mut count, mut next) = (0, fields.next()?);
        while let Some(field) = next {
            next = fields.next()?;
            reader.field(&field, count == 0, next.map(|field| field.kind))?;
            count += 1;
        }
        reader.finish(count)
    }
}

/// What the word before a number has said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Behind a T.
    Time,
    /// Behind a J.
    JulianDay,
}

/// What has been read so far. PostgreSQL looks at it, too, to know what the next field is.
#[derive(Default)]
struct Reader {
    is_time: bool,
    year: Option<i64>,
    /// Of the years 1970 to 2069, unless it is before Christ.
    is_short_year: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    /// A number at the beginning that is a day if the name of a month follows.
    perhaps_day: Option<i64>,
    special: Option<Day>,
    is_epoch: bool,
    before_christ: Option<bool>,
    time: Option<i64>,
    /// As it is written: 60 seconds make another of it.
    hour: i64,
    afternoon: Option<bool>,
    offset: Option<i32>,
    weekday: Option<()>,
    expected: Option<Expected>,
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("something is there twice"),
    }
}

impl Reader {
    fn field(&mut self, field: &Field<'_>, is_first: bool, next: Option<Kind>) -> Result<(), Refusal> {
        match (field.kind, self.expected.take()) {
            (Kind::Number, expected) => self.number(field.text, expected),
            (Kind::Time, None | Some(Expected::Time)) => self.clock(field.text),
            (Kind::Date, None) if self.is_time && is_first && next == Some(Kind::Time) => {
                self.date(field.text)
            }
            (Kind::Date, None) if !self.is_time && !self.has_month_and_day() => {
                // PostgreSQL takes nothing but a zone before a date with delimiters.
                match self.has_part_of_date() || self.has_part_of_time() || self.weekday.is_some() {
                    true => Err("a date with delimiters comes before everything else"),
                    false => self.date(field.text),
                }
            }
            // For a time of day some versions take no T before it.
            (Kind::Date, Some(Expected::Time)) if self.is_time => Err(NO_MOMENT),
            (Kind::Date, None | Some(Expected::Time)) => self.clock_with_offset(field.text),
            (Kind::Signed, None) => {
                let offset = offset(field.text)?;
                set(&mut self.offset, if field.is_negative { -offset } else { offset })
            }
            (Kind::SignedWord, None) if field.is_negative && field.text.eq_ignore_ascii_case(b"infinity") => {
                set(&mut self.special, Day::NegativeInfinity)
            }
            (Kind::Word, None) => self.word(field.text, next),
            _ => Err(NO_MOMENT),
        }
    }

    fn has_part_of_date(&self) -> bool {
        let parts = [self.year, self.month, self.day, self.day_of_year, self.perhaps_day];
        parts.iter().any(Option::is_some) || self.special.is_some()
    }

    fn has_month_and_day(&self) -> bool {
        (self.month.is_some() && self.day.is_some()) || self.day_of_year.is_some() || self.special.is_some()
    }

    fn has_date(&self) -> bool {
        self.special.is_some() || (self.year.is_some() && self.has_month_and_day())
    }

    fn has_part_of_time(&self) -> bool {
        self.time.is_some() || self.afternoon.is_some() || self.before_christ.is_some()
    }

    /// A date with delimiters. Its first number has at least three digits and is the year, or a month is named.
    fn date(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let delimiter = *text.iter().find(|byte| !byte.is_ascii_alphanumeric()).ok_or(NO_MOMENT)?;
        let mut parts = text.split(|byte| *byte == delimiter);
        let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(NO_MOMENT);
        }
        match (first, second.ok_or(NO_MOMENT)?, third) {
            (year, month, Some(day)) if is_number(first) && is_number(month) => {
                if year.len() < 3 {
                    return Err(AMBIGUOUS);
                }
                if month.len() > 2 || day.len() > 2 {
                    return Err(NO_MOMENT);
                }
                self.month = Some(number(month)?);
                self.set_year_and_day(year, day)
            }
            (one, name, Some(other)) if is_number(one) => self.named_date(name, one, other),
            (name, one, Some(other)) => self.named_date(name, one, other),
            (year, day, None) => {
                if year.len() < 3 || day.len() != 3 {
                    return Err(if month(year).is_some() {
                        NO_MOMENT
                    } else {
                        "a year, month or day is missing"
                    });
                }
                self.year = Some(number(year)?);
                set(&mut self.day_of_year, number(day)?)
            }
        }
    }

    /// The name of a month, and two numbers that are year and day.
    fn named_date(&mut self, name: &[u8], one: &[u8], other: &[u8]) -> Result<(), Refusal> {
        let Some(month) = month(name) else {
            return Err(if self.time.is_some() { NAMED_ZONE } else { NO_MOMENT });
        };
        self.month = Some(month);
        match (one.len(), other.len()) {
            (3.., 1..=2) => self.set_year_and_day(one, other),
            (1..=2, 3..) => self.set_year_and_day(other, one),
            (1..=2, 1..=2) => Err(AMBIGUOUS),
            _ => Err(NO_MOMENT),
        }
    }

    fn set_year_and_day(&mut self, year: &[u8], day: &[u8]) -> Result<(), Refusal> {
        set(&mut self.year, number(year)?)?;
        set(&mut self.day, number(day)?)
    }

    /// `hhmmss-zz`, or the name of a time zone.
    fn clock_with_offset(&mut self, text: &[u8]) -> Result<(), Refusal> {
        if !text.first().is_some_and(u8::is_ascii_digit) {
            return Err(NAMED_ZONE);
        }
        if !self.is_time && !self.has_date() {
            return Err(NO_MOMENT);
        }
        let dash = text.iter().position(|byte| *byte == b'-').ok_or(NO_MOMENT)?;
        self.joined_clock(&text[..dash])?;
        let zone = &text[dash + 1..];
        set(&mut self.offset, -offset(zone)?)
    }

    fn number(&mut self, text: &[u8], expected: Option<Expected>) -> Result<(), Refusal> {
        let point = text.iter().position(|byte| *byte == b'.');
        match (expected, point) {
            (Some(Expected::JulianDay), None) => {
                set(&mut self.special, Day::Number(JULIAN_EPOCH + number(text)?))
            }
            (Some(Expected::JulianDay), Some(_)) => Err(NO_MOMENT),
            (Some(Expected::Time), _) => self.joined_clock(text),
            _ if self.is_time => self.joined_clock(text),
            (None, Some(_)) if !self.has_part_of_date() => {
                match self.has_part_of_time() || self.weekday.is_some() {
                    true => Err(NO_MOMENT),
                    false => self.date(text),
                }
            }
            (None, Some(_)) => self.joined_clock(text),
            (None, None) => self.bare(text),
        }
    }

    /// A number without anything in it.
    fn bare(&mut self, digits: &[u8]) -> Result<(), Refusal> {
        if self.has_date() {
            return self.joined_clock(digits);
        }
        if digits.len() >= 6 && (self.time.is_none() || !self.has_part_of_date()) {
            if self.has_part_of_date() {
                return Err("a year of so many digits needs a time of day before it, or - behind it");
            }
            let (year, rest) = digits.split_at(digits.len() - 4);
            self.is_short_year = year.len() == 2;
            self.month = Some(number(&rest[..2])?);
            return self.set_year_and_day(year, &rest[2..]);
        }
        let value = number(digits)?;
        let is_year = digits.len() > 2;
        match (self.year, self.month, self.day) {
            _ if self.perhaps_day.is_some() => Err(AMBIGUOUS),
            (None, _, _) if is_year => set(&mut self.year, value),
            (None, None, None) => set(&mut self.perhaps_day, value),
            (_, Some(_), None) if !is_year => set(&mut self.day, value),
            _ => Err(AMBIGUOUS),
        }
    }

    /// `hh:mm[:ss[.fff]]`.
    fn clock(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let mut parts = text.split(|byte| *byte == b':');
        let two_digits =
            |part: Option<&[u8]>| part.filter(|digits| digits.len() <= 2).map_or(Err(NO_MOMENT), number);
        let (hours, minutes) = (two_digits(parts.next())?, two_digits(parts.next())?);
        let (mut seconds, mut fraction) = (0, 0);
        if let Some(part) = parts.next() {
            let (whole, behind) = cut_fraction(part)?;
            seconds = two_digits(Some(whole))?;
            fraction = behind;
        }
        if parts.next().is_some() {
            return Err(NO_MOMENT);
        }
        self.set_time(hours, minutes, seconds, fraction)
    }

    /// `hhmm`, `hhmmss`, `hhmmss.fff`.
    fn joined_clock(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let (digits, fraction) = cut_fraction(text)?;
        let at = |index: usize| number(digits.get(index..index + 2).unwrap_or(b"0"));
        match (digits.len(), text.len()) {
            (6, _) | (4, 4) => self.set_time(at(0)?, at(2)?, at(4)?, fraction),
            _ => Err(NO_MOMENT),
        }
    }

    fn set_time(&mut self, hours: i64, minutes: i64, seconds: i64, fraction: i64) -> Result<(), Refusal> {
        if hours > 24 || minutes > 59 || seconds * MICROS_PER_SECOND + fraction > 60 * MICROS_PER_SECOND {
            return Err(FIELD_OUT_OF_RANGE);
        }
        let micros = ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + fraction;
        if micros > MICROS_PER_DAY {
            return Err(FIELD_OUT_OF_RANGE);
        }
        self.hour = hours;
        set(&mut self.time, micros)
    }

    fn word(&mut self, word: &[u8], next: Option<Kind>) -> Result<(), Refusal> {
        match word.to_ascii_lowercase().as_slice() {
            b"t" if matches!(next, Some(Kind::Number | Kind::Time | Kind::Date)) => {
                if !self.is_time && !self.has_date() {
                    return Err(NO_MOMENT);
                }
                self.expected = Some(Expected::Time);
                Ok(())
            }
            b"z" | b"zulu" | b"utc" | b"gmt" | b"ut" => set(&mut self.offset, 0),
            b"am" => set(&mut self.afternoon, false),
            b"pm" => set(&mut self.afternoon, true),
            b"allballs" => {
                set(&mut self.time, 0)?;
                set(&mut self.offset, 0)
            }
            b"at" | b"on" => Ok(()),
            b"now" | b"today" | b"tomorrow" | b"yesterday" => Err(DEPENDS_ON_NOW),
            word if self.is_time => Err(if word.len() >= 3 { NAMED_ZONE } else { NO_MOMENT }),
            b"j" if next == Some(Kind::Number) && !self.has_part_of_date() => {
                self.expected = Some(Expected::JulianDay);
                Ok(())
            }
            b"bc" => set(&mut self.before_christ, true),
            b"ad" => set(&mut self.before_christ, false),
            b"infinity" => set(&mut self.special, Day::Infinity),
            b"epoch" => {
                self.is_epoch = true;
                set(&mut self.time, 0)?;
                set(&mut self.offset, 0)?;
                set(&mut self.special, Day::Number(0))
            }
            word => self.name(word),
        }
    }

    fn name(&mut self, word: &[u8]) -> Result<(), Refusal> {
        if let Some(month) = month(word) {
            if let Some(day) = self.perhaps_day.take() {
                set(&mut self.day, day)?;
            }
            return set(&mut self.month, month);
        }
        if is_weekday(word) {
            return set(&mut self.weekday, ());
        }
        Err(if self.time.is_some() && word.len() >= 3 { NAMED_ZONE } else { NO_MOMENT })
    }

    fn finish(self, fields: usize) -> Result<Moment, Refusal> {
        if self.expected.is_some() {
            return Err(NO_MOMENT);
        }
        let day = match self.special {
            Some(_) if self.is_epoch && fields > 1 => return Err(NO_MOMENT),
            Some(infinite @ (Day::Infinity | Day::NegativeInfinity)) if fields == 1 => {
                return Ok(Moment { day: Some(infinite), time: None, offset: None });
            }
            Some(Day::Number(day))
                if self.year.or(self.month).or(self.day).or(self.perhaps_day).is_none() =>
            {
                Some(Day::Number(day))
            }
            Some(_) => return Err(NO_MOMENT),
            None => self.calendar_day()?,
        };
        let time = match (self.time, self.afternoon) {
            (Some(time), Some(afternoon)) => Some(on_half_a_day(time, self.hour, afternoon)?),
            (None, Some(_)) => return Err(NO_MOMENT),
            (time, None) => time,
        };
        if time.is_none() && day.is_none() {
            return Err(NO_MOMENT);
        }
        Ok(Moment { day, time, offset: self.offset })
    }

    fn calendar_day(&self) -> Result<Option<Day>, Refusal> {
        if !self.has_part_of_date() {
            return if self.before_christ.is_none() { Ok(None) } else { Err(NO_MOMENT) };
        }
        let year = self.year.ok_or("a year is missing")?;
        let is_zero = year == 0 && (!self.is_short_year || self.before_christ == Some(true));
        if is_zero || year > MAX_YEAR {
            return Err(FIELD_OUT_OF_RANGE);
        }
        let year = match (self.before_christ, self.is_short_year) {
            (Some(true), _) => 1 - year,
            (_, true) if year < 70 => 2000 + year,
            (_, true) => 1900 + year,
            _ => year,
        };
        if let Some(day_of_year) = self.day_of_year {
            if self.month.or(self.day).is_some() {
                return Err(NO_MOMENT);
            }
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

fn on_half_a_day(time: i64, hour: i64, afternoon: bool) -> Result<i64, Refusal> {
    let half = MICROS_PER_DAY / 2;
    match (hour, afternoon) {
        (13.., _) => Err(FIELD_OUT_OF_RANGE),
        (12, false) => Ok(time - half),
        (12, true) | (_, false) => Ok(time),
        (_, true) => Ok(time + half),
    }
}

fn is_number(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

fn number(digits: &[u8]) -> Result<i64, Refusal> {
    match short_number(digits) {
        Some(_) if digits.len() > 9 => Err(FIELD_OUT_OF_RANGE),
        Some(number) => Ok(number),
        None => Err(NO_MOMENT),
    }
}

/// The digits before a point, and those behind it as microseconds. A point without digits is not for all versions.
fn cut_fraction(text: &[u8]) -> Result<(&[u8], i64), Refusal> {
    let Some(point) = text.iter().position(|byte| *byte == b'.') else { return Ok((text, 0)) };
    let (whole, fraction) = (&text[..point], &text[point + 1..]);
    if fraction.is_empty() || !is_number(fraction) {
        return Err(NO_MOMENT);
    }
    Ok((whole, micros_of_fraction(fraction)))
}

/// Seconds of `hh`, `hhmm`, `hh:mm` or `hh:mm:ss`.
fn offset(text: &[u8]) -> Result<i32, Refusal> {
    let mut parts = text.split(|byte| *byte == b':');
    let first = parts.next().unwrap_or_default();
    let mut two_digits = || match parts.next() {
        None => Ok(None),
        Some(digits @ ([_] | [_, _])) => number(digits).map(Some),
        Some(_) => Err(NO_MOMENT),
    };
    let (second, third) = (two_digits()?, two_digits()?);
    if parts.next().is_some() {
        return Err(NO_MOMENT);
    }
    let (hours, minutes) = match (first.len(), second) {
        (1..=2, _) => (number(first)?, second.unwrap_or(0)),
        (3..=4, None) => (number(first)? / 100, number(first)? % 100),
        _ => return Err(NO_MOMENT),
    };
    let seconds = third.unwrap_or(0);
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(FIELD_OUT_OF_RANGE);
    }
    Ok((hours * 3600 + minutes * 60 + seconds) as i32)
}
