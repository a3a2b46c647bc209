//! The fields that PostgreSQL cuts a date, a time or an interval into, before it looks at what they mean.
//!
//! Where a field ends decides about what it means: `PM-05` is one field (and the name of a zone), `PM -05` are two.

use super::{
    Refusal,
    scalar::{is_space, trim},
};

const NO_FIELD: Refusal = "a character that is not part of any date or time";
/// Within what PostgreSQL has room for, in all of its versions.
const MAX_BYTES: usize = 100;
const MAX_FIELDS: usize = 24;

const MONTHS: [&[u8]; 12] = [
    b"january",
    b"february",
    b"march",
    b"april",
    b"may",
    b"june",
    b"july",
    b"august",
    b"september",
    b"october",
    b"november",
    b"december",
];
const WEEKDAYS: [&[u8]; 7] =
    [b"sunday", b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday"];
const SHORT_WEEKDAYS: [&[u8]; 4] = [b"tues", b"weds", b"thur", b"thurs"];
/// Beside the names of months and days of the week: words that end where a digit or a `+` follows. Any other takes them
/// in, as the name of a time zone would.
const WORDS: [&[u8]; 19] = [
    b"ad",
    b"allballs",
    b"am",
    b"at",
    b"bc",
    b"d",
    b"epoch",
    b"h",
    b"infinity",
    b"j",
    b"m",
    b"now",
    b"on",
    b"pm",
    b"s",
    b"t",
    b"today",
    b"tomorrow",
    b"y",
];

/// January is 1.
pub(super) fn month(word: &[u8]) -> Option<i64> {
    let is_name =
        |name: &&[u8]| is_name(word, name) || (*name == b"september" && word.eq_ignore_ascii_case(b"sept"));
    MONTHS.iter().position(is_name).map(|index| index as i64 + 1)
}

pub(super) fn is_weekday(word: &[u8]) -> bool {
    WEEKDAYS.iter().any(|name| is_name(word, name))
        || SHORT_WEEKDAYS.iter().any(|name| word.eq_ignore_ascii_case(name))
}

/// The name itself, or its first three letters.
fn is_name(word: &[u8], name: &[u8]) -> bool {
    word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(&name[..3])
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Digits, with a point or without.
    Number,
    /// What has `-`, `/` or `.` in it: a date, `hhmmss-zz`, years and months, or the name of a time zone.
    Date,
    /// What has a colon in it.
    Time,
    /// A sign and what begins with a digit: an offset from UTC, or any number of an interval.
    Signed,
    /// Letters.
    Word,
    /// A sign and letters.
    SignedWord,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) kind: Kind,
    pub(super) is_negative: bool,
    /// Without the sign.
    pub(super) text: &'a [u8],
}

/// All of them, in their order.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn of(text: &'a [u8]) -> Result<Self, Refusal> {
        let rest = trim(text);
        if rest.len() > MAX_BYTES {
            return Err("longer than any date or time");
        }
        Ok(Fields { rest, count: 0 })
    }

    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, Refusal> {
        self.take_while(|byte| is_space(byte) || matches!(byte, b',' | b'@'));
        let Some(&first) = self.rest.first() else { return Ok(None) };
        self.count += 1;
        if self.count > MAX_FIELDS {
            return Err(NO_FIELD);
        }
        self.field(first).map(Some)
    }

    pub(super) fn all(mut self) -> Result<Vec<Field<'a>>, Refusal> {
        let mut all = Vec::with_capacity(8);
        while let Some(field) = self.next()? {
            all.push(field);
        }
        Ok(all)
    }

    fn field(&mut self, first: u8) -> Result<Field<'a>, Refusal> {
        let is_signed = matches!(first, b'+' | b'-');
        if is_signed {
            self.rest = &self.rest[1..];
            self.take_while(is_space);
        }
        let start = self.rest;
        let kind = match (self.rest.first(), is_signed) {
            (Some(b'0'..=b'9'), false) => self.number(),
            (Some(b'0'..=b'9'), true) => {
                self.take_while(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'-'));
                Kind::Signed
            }
            (Some(b'.'), false) => {
                self.rest = &self.rest[1..];
                self.digits();
                Kind::Number
            }
            (Some(byte), false) if byte.is_ascii_alphabetic() => self.word(),
            (Some(byte), true) if byte.is_ascii_alphabetic() => {
                self.take_while(u8::is_ascii_alphabetic);
                Kind::SignedWord
            }
            _ => return Err(NO_FIELD),
        };
        let text = &start[..start.len() - self.rest.len()];
        Ok(Field { kind, is_negative: first == b'-', text })
    }

    fn number(&mut self) -> Kind {
        self.digits();
        match self.rest.first() {
            Some(b':') => {
                self.take_while(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
                Kind::Time
            }
            Some(&delimiter @ (b'-' | b'/' | b'.')) => {
                self.rest = &self.rest[1..];
                if !self.rest.first().is_some_and(u8::is_ascii_digit) {
                    self.take_while(|byte| byte.is_ascii_alphanumeric() || *byte == delimiter);
                    return Kind::Date;
                }
                self.digits();
                if self.rest.first() == Some(&delimiter) {
                    self.take_while(|byte| byte.is_ascii_digit() || *byte == delimiter);
                    return Kind::Date;
                }
                if delimiter == b'.' { Kind::Number } else { Kind::Date }
            }
            _ => Kind::Number,
        }
    }

    fn word(&mut self) -> Kind {
        let start = self.rest;
        self.take_while(u8::is_ascii_alphabetic);
        let word = &start[..start.len() - self.rest.len()];
        let goes_on = match self.rest.first() {
            Some(b'-' | b'/' | b'.') => true,
            Some(b'+' | b'0'..=b'9') => {
                let is_known = WORDS.iter().any(|known| known.eq_ignore_ascii_case(word));
                !is_known && month(word).is_none() && !is_weekday(word)
            }
            _ => false,
        };
        if !goes_on {
            return Kind::Word;
        }
        self.take_while(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_' | b'.' | b':')
        });
        Kind::Date
    }

    fn digits(&mut self) {
        self.take_while(u8::is_ascii_digit);
    }

    fn take_while(&mut self, is_part: impl Fn(&u8) -> bool) {
        let len = self.rest.iter().take_while(|byte| is_part(byte)).count();
        self.rest = &self.rest[len..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &'static str) -> Vec<(Kind, &'static str)> {
        let fields = Fields::of(text.as_bytes()).and_then(Fields::all).expect(text);
        let text = |field: &Field<'static>| std::str::from_utf8(field.text).expect("ASCII");
        fields.iter().map(|field| (field.kind, text(field))).collect()
    }

    #[test]
    fn where_a_field_ends() {
        use Kind::*;
        for (text, expected) in [
            ("2024-01-01T12:00Z", vec![(Date, "2024-01-01"), (Word, "T"), (Time, "12:00"), (Word, "Z")]),
            ("2024-Jan-29T00", vec![(Date, "2024-Jan-29T00")]),
            ("1:05 PM-05", vec![(Time, "1:05"), (Date, "PM-05")]),
            ("1:05 PM+05", vec![(Time, "1:05"), (Word, "PM"), (Signed, "05")]),
            ("1:05Z+05", vec![(Time, "1:05"), (Date, "Z+05")]),
            ("- 1.5days", vec![(Signed, "1.5"), (Word, "days")]),
            ("1h30min5s", vec![(Number, "1"), (Word, "h"), (Number, "30"), (Date, "min5s")]),
            (".5 -Infinity", vec![(Number, ".5"), (SignedWord, "Infinity")]),
            ("1.2.3 1.2 1-2", vec![(Date, "1.2.3"), (Number, "1.2"), (Date, "1-2")]),
            (" @ 1, 2 ", vec![(Number, "1"), (Number, "2")]),
        ] {
            assert_eq!(cut(text), expected, "{text}");
        }
        for wrong in ["--1", "-.5", "+", "é", "1 \0", "(1)"] {
            assert!(Fields::of(wrong.as_bytes()).and_then(Fields::all).is_err(), "{wrong}");
        }
    }
}
