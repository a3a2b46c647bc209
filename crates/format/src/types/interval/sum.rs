//! What an interval's parts add up to, in PostgreSQL's order and with its limits.

use super::{
    INEXACT, Interval, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, OUT_OF_RANGE,
    OUT_OF_RANGE_BEFORE_15, Refusal,
};

const DAYS_PER_MONTH: f64 = 30.0;
/// Sums of fractions beyond this differ between versions.
const MAX_DAYS_OF_FRACTION: f64 = 1e9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Years(i64),
    Months,
    Days(i64),
    Micros(i64),
}

impl Unit {
    pub(super) const HOURS: Unit = Unit::Micros(MICROS_PER_HOUR);
    pub(super) const MINUTES: Unit = Unit::Micros(MICROS_PER_MINUTE);
    pub(super) const SECONDS: Unit = Unit::Micros(MICROS_PER_SECOND);
}

/// A number with the sign on both of its parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    pub(super) whole: i64,
    pub(super) fraction: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Sum {
    micros: i64,
    days: i32,
    months: i32,
    years: i32,
    /// What of `micros` came as hours, as minutes, and as all else: seconds, and microseconds beside them. PostgreSQL
    /// 13 and 14 keep these as 32 bits each, and a sum beyond that becomes another number.
    hours: i32,
    minutes: i32,
    seconds: i32,
    rest: i32,
}

impl Sum {
    /// Adds so many units. A fraction of months becomes days (30 each), one of days becomes time.
    pub(super) fn add(&mut self, number: Number, unit: Unit) -> Result<(), Refusal> {
        let Number { whole, fraction } = number;
        if i32::try_from(whole).is_err() {
            return Err(OUT_OF_RANGE_BEFORE_15);
        }
        match unit {
            Unit::Years(years) => {
                add_to(&mut self.years, whole, years)?;
                let months = fraction * (12 * years) as f64;
                // Some versions round, others cut off, and they do not multiply in the same order.
                if months.fract() != 0.0 || months != fraction * 12.0 * years as f64 {
                    return Err("years must be whole months: versions of PostgreSQL round differently");
                }
                add_to(&mut self.months, months as i64, 1)
            }
            Unit::Months => {
                add_to(&mut self.months, whole, 1)?;
                self.add_days(fraction * DAYS_PER_MONTH)
            }
            Unit::Days(days) => {
                add_to(&mut self.days, whole, days)?;
                self.add_days(fraction * days as f64)
            }
            Unit::Micros(micros) => {
                match unit {
                    Unit::HOURS => add_part(&mut self.hours, whole)?,
                    Unit::MINUTES => add_part(&mut self.minutes, whole)?,
                    // Those stay microseconds, also where they are whole seconds.
                    Unit::Micros(1) => add_part(&mut self.rest, whole)?,
                    _ => self.add_seconds(whole * micros)?,
                }
                let whole = whole.checked_mul(micros).ok_or(OUT_OF_RANGE)?;
                self.add_whole_micros(whole)?;
                self.add_micros(fraction * micros as f64, whole)
            }
        }
    }

    fn add_days(&mut self, days: f64) -> Result<(), Refusal> {
        if days.abs() > MAX_DAYS_OF_FRACTION {
            return Err(OUT_OF_RANGE);
        }
        let whole = days.trunc();
        add_to(&mut self.days, whole as i64, 1)?;
        self.add_micros((days - whole) * MICROS_PER_DAY as f64, 0)
    }

    /// `beside`: the whole number that the fraction belongs to.
    fn add_micros(&mut self, micros: f64, beside: i64) -> Result<(), Refusal> {
        let whole = micros.trunc();
        let rest = micros - whole;
        // A half goes to the even number in some versions and towards zero in others; not all of them multiply in
        // the same order.
        let beyond_half = rest.abs() - 0.5;
        let is_odd = (whole as i64 ^ beside) & 1 != 0;
        if (beyond_half == 0.0 && is_odd) || (beyond_half != 0.0 && beyond_half.abs() < 1e-4) {
            return Err(INEXACT);
        }
        let rounded = if beyond_half > 0.0 { rest.signum() as i64 } else { 0 };
        let micros = whole as i64 + rounded;
        self.add_seconds(micros)?;
        self.add_whole_micros(micros)
    }

    /// Only for the limits of the parts.
    fn add_seconds(&mut self, micros: i64) -> Result<(), Refusal> {
        add_part(&mut self.seconds, micros / MICROS_PER_SECOND)?;
        add_part(&mut self.rest, micros % MICROS_PER_SECOND)
    }

    pub(super) fn add_whole_micros(&mut self, micros: i64) -> Result<(), Refusal> {
        self.micros = self.micros.checked_add(micros).ok_or(OUT_OF_RANGE)?;
        Ok(())
    }

    /// Whether nothing has been added to the time.
    pub(super) fn is_without_time(&self) -> bool {
        self.micros == 0
    }

    pub(super) fn finish(self, negate: bool) -> Result<Interval, Refusal> {
        let months = i64::from(self.years) * 12 + i64::from(self.months);
        let months = i32::try_from(months).map_err(|_| OUT_OF_RANGE)?;
        let interval = Interval { micros: self.micros, days: self.days, months };
        if !negate {
            return Ok(interval);
        }
        if [self.hours, self.minutes, self.seconds, self.rest].contains(&i32::MIN) {
            return Err(OUT_OF_RANGE_BEFORE_15);
        }
        let negated = || {
            Some(Interval {
                micros: interval.micros.checked_neg()?,
                days: interval.days.checked_neg()?,
                months: interval.months.checked_neg()?,
            })
        };
        negated().ok_or(OUT_OF_RANGE)
    }
}

fn add_part(part: &mut i32, number: i64) -> Result<(), Refusal> {
    add_to(part, number, 1).map_err(|_| OUT_OF_RANGE_BEFORE_15)
}

fn add_to(place: &mut i32, number: i64, unit: i64) -> Result<(), Refusal> {
    let sum = number.checked_mul(unit).and_then(|number| number.checked_add(i64::from(*place)));
    *place = sum.and_then(|sum| i32::try_from(sum).ok()).ok_or(OUT_OF_RANGE)?;
    Ok(())
}
