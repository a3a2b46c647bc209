//! PostgreSQL's types: their names, and their values as text and as COPY's binary.
//!
//! | | |
//! |---|---|
//! | `name` | from `character varying(20)[]` to a [`Type`] and back |
//! | `codec` | text into binary and binary into text, for all types |
//! | `fields` | what dates, times and intervals are cut into
//! | `scalar`, `float`, `numeric`, `moment`, `interval`, `network`, `array` | the types |
//! | `json` | from and to JSON values |
//!
//! The binary form is what values are kept in: text that PostgreSQL's input function would take is parsed into
//! it, and PostgreSQL's output functions (with `DateStyle` ISO, `IntervalStyle` postgres, `TimeZone` UTC) are
//! followed when it is shown. So the same value means the same in COPY's text, csv and binary.
//!
//! What depends on where and when it is read is refused with a reason: times with a zone but without an offset,
//! named time zones, dates whose order of day and month depends on `DateStyle`, `now` and `today`.
//! So is what PostgreSQL's versions take differently, and what means something else to it than to its reader: in
//! `01:05 PM-05` it sees a time zone named `PM-05`, in `01:00 1.5 days` it forgets the half day.

mod array;
mod codec;
mod fields;
mod float;
mod interval;
mod json;
mod moment;
mod name;
mod network;
mod numeric;
mod scalar;

use std::fmt;

pub(super) use self::{
    codec::JSONB_VERSION, json::JsonKind, moment::round as rounded, numeric::fits as fits_numeric,
    scalar::check_length,
};
pub use self::{moment::milliseconds_since_1970, name::TypeNameError};

/// Why a text is no value of its type.
pub(super) type Refusal = &'static str;

/// A PostgreSQL type.
///
/// A precision, scale or length is checked and applied as `COPY` would: numerics and times are rounded, texts
/// that are too long refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Type {
    /// `bool`.
    Bool,
    /// 16-bit integer.
    Int2,
    /// 32-bit integer.
    Int4,
    /// 64-bit integer.
    Int8,
    /// 32-bit floating point.
    Float4,
    /// 64-bit floating point.
    Float8,
    /// Decimal numbers of any length.
    Numeric(Option<NumericSize>),
    /// Valid UTF-8 without NUL.
    Text,
    /// Text of at most so many characters.
    Varchar(Option<u32>),
    /// Text that PostgreSQL pads to so many characters; `bpchar` without a number.
    Char(Option<u32>),
    /// Any bytes.
    Bytea,
    /// 128 bits.
    Uuid,
    /// JSON, kept as it is written.
    Json,
    /// JSON, which PostgreSQL takes apart: `\u0000` and lone surrogates are not allowed.
    Jsonb,
    /// A day.
    Date,
    /// A time of day, with so many digits after the second's point.
    Time(Option<u8>),
    /// A time of day with an offset from UTC.
    Timetz(Option<u8>),
    /// Date and time of day without a zone.
    Timestamp(Option<u8>),
    /// A point in time with microseconds.
    Timestamptz(Option<u8>),
    /// Months, days and microseconds.
    Interval(Option<u8>),
    /// An IPv4 or IPv6 address, with or without its network's length.
    Inet,
    /// An IPv4 or IPv6 network.
    Cidr,
    /// A MAC address of six bytes.
    Macaddr,
    /// One of the labels of an enum, any of them; the enum's OID, which an array of it needs in binary.
    Enum(Option<u32>),
    /// An array, of any number of dimensions. The element is no array.
    Array(Box<Type>),
    /// Any other type, by the name that it was given: its text form, which only text and csv can carry.
    Other(Box<str>),
}

/// What `numeric(precision, scale)` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NumericSize {
    /// All digits, 1 to 1000.
    pub precision: u16,
    /// Digits after the point, -1000 to 1000.
    pub scale: i16,
}

impl Type {
    /// The type that a name as of `format_type()`, or one of its usual aliases, stands for. A name that is not
    /// known is [`Type::Other`].
    ///
    /// # Errors
    /// If the text cannot be the name of a type, or has a modifier that is out of range.
    pub fn of_name(name: &str) -> Result<Type, TypeNameError> {
        name::parse(name)
    }

    /// An array of this type, which is the type itself where it is an array already.
    #[must_use]
    pub fn into_array(self) -> Type {
        match self {
            Type::Array(_) => self,
            element => Type::Array(Box::new(element)),
        }
    }

    /// Whether its values can be written in COPY's binary format. Where not, [`binary_advice`](Self::binary_advice)
    /// says what to do.
    pub fn has_binary(&self) -> bool {
        match self {
            Type::Other(_) => false,
            Type::Array(element) => element.oid().is_some(),
            _ => true,
        }
    }

    /// Why there is no binary form, and what would be right.
    pub fn binary_advice(&self) -> String {
        match self {
            Type::Array(element) if matches!(**element, Type::Enum(_)) => {
                "in binary an array names the OID of its elements' type: write enum(OID)[], or use --format text \
                 or csv"
                    .to_owned()
            }
            _ => format!(
                "the binary form of {self} is not known: declare an enum (or citext, name, xml) as text, which \
                 has the same binary form, and a domain as its base type; for all others use --format text or csv"
            ),
        }
    }

    /// The OID that every PostgreSQL has for the type; none where it differs from database to database.
    pub fn oid(&self) -> Option<u32> {
        Some(match self {
            Type::Bool => 16,
            Type::Bytea => 17,
            Type::Int8 => 20,
            Type::Int2 => 21,
            Type::Int4 => 23,
            Type::Text => 25,
            Type::Json => 114,
            Type::Cidr => 650,
            Type::Float4 => 700,
            Type::Float8 => 701,
            Type::Macaddr => 829,
            Type::Inet => 869,
            Type::Char(_) => 1042,
            Type::Varchar(_) => 1043,
            Type::Date => 1082,
            Type::Time(_) => 1083,
            Type::Timestamp(_) => 1114,
            Type::Timestamptz(_) => 1184,
            Type::Interval(_) => 1186,
            Type::Timetz(_) => 1266,
            Type::Numeric(_) => 1700,
            Type::Uuid => 2950,
            Type::Jsonb => 3802,
            Type::Enum(oid) => return *oid,
            Type::Array(_) | Type::Other(_) => return None,
        })
    }

    /// The bytes of a value in COPY's binary format, where they are the same for all.
    pub fn width(&self) -> Option<usize> {
        Some(match self {
            Type::Bool => 1,
            Type::Int2 => 2,
            Type::Int4 | Type::Float4 | Type::Date => 4,
            Type::Int8 | Type::Float8 | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_) => 8,
            Type::Macaddr => 6,
            Type::Timetz(_) => 12,
            Type::Uuid | Type::Interval(_) => 16,
            _ => return None,
        })
    }

    /// Whether values are integers.
    pub fn is_integer(&self) -> bool {
        matches!(self, Type::Int2 | Type::Int4 | Type::Int8)
    }

    /// Whether a value in binary is the bytes of its text.
    pub fn is_text(&self) -> bool {
        matches!(self, Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Enum(_) | Type::Other(_))
    }

    /// Whether values are JSON.
    pub fn is_json(&self) -> bool {
        matches!(self, Type::Json | Type::Jsonb)
    }

    pub(super) fn integer_of_width(width: usize) -> Option<Type> {
        [Type::Int2, Type::Int4, Type::Int8].into_iter().find(|ty| ty.width() == Some(width))
    }

    /// Whether the integer type can hold `number`.
    #[inline]
    pub(super) fn holds(&self, number: i64) -> bool {
        match self {
            Type::Int2 => i16::try_from(number).is_ok(),
            Type::Int4 => i32::try_from(number).is_ok(),
            _ => true,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name::write(self, f)
    }
}
