//! `1 year 2 mons -3 days 04:05:06.7`, `@ 1 hour ago`, `1-2 3 4:05:06`.

use super::{
    MAX_HOURS, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, OUT_OF_RANGE, OUT_OF_RANGE_BEFORE_15,
    REFUSED, Refusal,
    sum::{Number, Sum, Unit},
};
use crate::{
    datetime::micros_of_fraction,
    scan::short_number,
    types::fields::{Field, Fields, Kind},
};

/// Units by their names; the number tells which are the same.
fn unit(word: &[u8]) -> Option<(u32, Unit)> {
    let word = word.to_ascii_lowercase();
    Some(match word.as_slice() {
        b"microsecond" | b"microseconds" | b"us" | b"usec" | b"usecs" | b"microsecon" => (0, Unit::Micros(1)),
        b"millisecond" | b"milliseconds" | b"ms" | b"msec" | b"msecs" | b"msecond" | b"mseconds"
        | b"millisecon" => (1, Unit::Micros(1000)),
        b"second" | b"seconds" | b"s" | b"sec" | b"secs" => (SECONDS, Unit::SECONDS),
        b"minute" | b"minutes" | b"m" | b"min" | b"mins" => (3, Unit::MINUTES),
        b"hour" | b"hours" | b"h" | b"hr" | b"hrs" => (4, Unit::HOURS),
        b"day" | b"days" | b"d" => (DAYS, Unit::Days(1)),
        b"week" | b"weeks" | b"w" => (6, Unit::Days(7)),
        b"month" | b"months" | b"mon" | b"mons" => (MONTHS, Unit::Months),
        b"year" | b"years" | b"y" | b"yr" | b"yrs" => (YEARS, Unit::Years(1)),
        b"decade" | b"decades" | b"dec" | b"decs" => (9, Unit::Years(10)),
        b"century" | b"centuries" | b"c" | b"cent" => (10, Unit::Years(100)),
        b"millennium" | b"millennia" | b"mil" | b"mils" => (11, Unit::Years(1000)),
        _ => return None,
    })
}

const SECONDS: u32 = 2;
const DAYS: u32 = 5;
const MONTHS: u32 = 7;
const YEARS: u32 = 8;
/// What a fraction of a second counts as, and what a time of day does (in some versions without the first two).
const ALL_SECONDS: &[u32] = &[0, 1, SECONDS];
const CLOCK: &[u32] = &[0, 1, SECONDS, 3, 4];

/// What a number without a unit is, by what is to its right.
#[derive(Clone, Copy)]
enum Right {
    /// Nothing: seconds.
    End,
    /// The word `ago`: seconds in some versions only.
    Ago,
    /// A time of day: days.
    Clock,
    /// Its unit.
    Unit(u32, Unit),
    /// A number that has its unit. PostgreSQL gives some the unit of that one, in some versions.
    Number,
}

/// Reads from right to left as PostgreSQL does, so that units come before their numbers. Tells whether all of it is
/// negated.
pub(super) fn read(text: &[u8], sum: &mut Sum) -> Result<bool, Refusal> {
    let fields = Fields::of(text)?.all()?;
    let (mut fields, mut is_ago) = (fields.as_slice(), false);
    if let [rest @ .., last] = fields
        && last.kind == Kind::Word
        && last.text.eq_ignore_ascii_case(b"ago")
    {
        (fields, is_ago) = (rest, true);
    }
    let mut reader = Reader { sum, seen: 0, right: if is_ago { Right::Ago } else { Right::End } };
    for field in fields.iter().rev() {
        reader.field(field)?;
    }
    // Not one number, or a unit without.
    if matches!(reader.right, Right::End | Right::Ago | Right::Unit(..)) { Err(REFUSED) } else { Ok(is_ago) }
}

struct Reader<'a> {
    sum: &'a mut Sum,
    seen: u32,
    right: Right,
}

impl Reader<'_> {
    fn field(&mut self, field: &Field<'_>) -> Result<(), Refusal> {
        match field.kind {
            Kind::Word if matches!(self.right, Right::Unit(..)) => Err(REFUSED),
            Kind::Word => {
                let (number, unit) = unit(field.text).ok_or(REFUSED)?;
                self.right = Right::Unit(number, unit);
                Ok(())
            }
            Kind::SignedWord => Err(REFUSED),
            _ if field.text.contains(&b':') => self.clock(field),
            _ => self.number(field),
        }
    }

    /// Each unit counts once.
    fn see(&mut self, numbers: &[u32]) -> Result<(), Refusal> {
        for number in numbers {
            if self.seen & 1 << number != 0 {
                return Err("a unit is there twice");
            }
            self.seen |= 1 << number;
        }
        Ok(())
    }

    fn number(&mut self, field: &Field<'_>) -> Result<(), Refusal> {
        if let Some(dash) = field.text.iter().position(|byte| *byte == b'-') {
            return self.years_and_months(field, dash);
        }
        let (number, unit) = match self.right {
            Right::End => (SECONDS, Unit::SECONDS),
            Right::Clock => (DAYS, Unit::Days(1)),
            Right::Unit(number, unit) => (number, unit),
            Right::Ago | Right::Number => return Err("a number without a unit"),
        };
        let (whole, fraction) = match field.text.iter().position(|byte| *byte == b'.') {
            Some(point) => (&field.text[..point], fraction(&field.text[point..])?),
            None => (field.text, 0.0),
        };
        let whole =
            if whole.is_empty() { 0 } else { signed(field.is_negative, short_number(whole).ok_or(REFUSED)?) };
        let fraction = if field.is_negative { -fraction } else { fraction };
        match number {
            SECONDS if fraction != 0.0 => self.see(ALL_SECONDS)?,
            number => self.see(&[number])?,
        }
        self.right = Right::Number;
        self.sum.add(Number { whole, fraction }, unit)
    }

    /// `1-2`, whatever the unit says that stands behind it; so none may.
    fn years_and_months(&mut self, field: &Field<'_>, dash: usize) -> Result<(), Refusal> {
        let (years, months) = (short_number(&field.text[..dash]), short_number(&field.text[dash + 1..]));
        let (Some(years), Some(months @ 0..12)) = (years, months) else { return Err(REFUSED) };
        if matches!(self.right, Right::Unit(..)) {
            return Err(REFUSED);
        }
        self.see(&[MONTHS, YEARS])?;
        self.right = Right::Number;
        let number = |whole| Number { whole: signed(field.is_negative, whole), fraction: 0.0 };
        self.sum.add(number(years), Unit::Years(1))?;
        self.sum.add(number(months), Unit::Months)
    }

    /// `hh:mm`, `hh:mm:ss.fff`, and `mm:ss.fff` where a fraction shows that it is meant.
    fn clock(&mut self, field: &Field<'_>) -> Result<(), Refusal> {
        if matches!(self.right, Right::Unit(..)) {
            return Err(REFUSED);
        }
        if !self.sum.is_without_time() {
            return Err("hours, minutes or less stand behind a time of day, which PostgreSQL would forget");
        }
        self.see(CLOCK)?;
        self.right = Right::Clock;
        let (clock, fraction) = match field.text.iter().position(|byte| *byte == b'.') {
            Some(point) if field.text.len() > point + 1 => field.text.split_at(point),
            Some(_) => return Err(REFUSED),
            None => (field.text, &b""[..]),
        };
        let micros = match fraction {
            [] => 0,
            [_, digits @ ..] if digits.iter().all(u8::is_ascii_digit) => micros_of_fraction(digits),
            _ => return Err(REFUSED),
        };
        let mut parts = [0; 3];
        let mut count = 0;
        for (index, part) in clock.split(|byte| *byte == b':').enumerate() {
            let is_short = index == 0 || part.len() <= 2;
            *parts.get_mut(index).ok_or(REFUSED)? = short_number(part).filter(|_| is_short).ok_or(REFUSED)?;
            count = index + 1;
        }
        let [hours, minutes, seconds] = match (parts, fraction.is_empty()) {
            ([minutes, seconds, _], false) if count == 2 => [0, minutes, seconds],
            (parts, _) => parts,
        };
        if minutes > 59 || seconds > 60 {
            return Err(OUT_OF_RANGE);
        }
        let in_hour = minutes * MICROS_PER_MINUTE + seconds * MICROS_PER_SECOND + micros;
        if hours > MAX_HOURS {
            return Err(OUT_OF_RANGE_BEFORE_15);
        }
        self.sum.add_whole_micros(signed(field.is_negative, hours * MICROS_PER_HOUR + in_hour))
    }
}

fn signed(is_negative: bool, number: i64) -> i64 {
    if is_negative { -number } else { number }
}

/// From a point and digits.
fn fraction(text: &[u8]) -> Result<f64, Refusal> {
    let [_, digits @ ..] = text else { return Err(REFUSED) };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(REFUSED);
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(REFUSED)
}
