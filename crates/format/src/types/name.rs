//! The names of types, as people and `format_type()` write them.

use std::fmt;

use super::{NumericSize, Type};

/// Why a text is no name of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeNameError(String);

impl fmt::Display for TypeNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TypeNameError {}

/// PostgreSQL's limits.
const MAX_PRECISION: i64 = 1000;
const MAX_TEXT_LENGTH: i64 = 10_485_760;
const MAX_SECOND_DIGITS: i64 = 6;

/// Names of several words that are none of ours: what else has spaces is a mistake.
const OTHER_NAMES: [&str; 1] = ["bit varying"];

pub(super) fn parse(written: &str) -> Result<Type, TypeNameError> {
    let written = written.trim();
    if written.is_empty() {
        return Err(TypeNameError("a type is missing".to_owned()));
    }
    match strip_array(written) {
        None => parse_element(written),
        Some(element) => {
            let element = parse(element).map_err(|error| match element.is_empty() {
                true => TypeNameError(format!("{written} is no type")),
                false => error,
            })?;
            Ok(element.into_array())
        }
    }
}

/// `int[]`, `int[3]`, `int array`, `int array[3]`: what stands before.
fn strip_array(written: &str) -> Option<&str> {
    if let Some(inner) = written.strip_suffix(']') {
        let (element, bound) = inner.rsplit_once('[')?;
        let element = element.trim_end();
        return bound.trim().bytes().all(|byte| byte.is_ascii_digit()).then(|| {
            let len = element.len().checked_sub(" array".len());
            match len.map(|len| element.split_at_checked(len)) {
                Some(Some((shorter, word))) if word.eq_ignore_ascii_case(" array") => shorter.trim_end(),
                _ => element,
            }
        });
    }
    let (element, word) = written.rsplit_once(char::is_whitespace)?;
    word.eq_ignore_ascii_case("array").then(|| element.trim_end())
}

fn parse_element(written: &str) -> Result<Type, TypeNameError> {
    if written.contains('"') {
        return Ok(parse_quoted(written));
    }
    let (before, modifiers, after) = split_modifiers(written)?;
    let words: Vec<_> =
        before.split_whitespace().chain(after.split_whitespace()).map(str::to_ascii_lowercase).collect();
    let name = words.join(" ");
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    match known(name, modifiers.as_deref())? {
        Some(found) => Ok(found),
        None => {
            let is_one_word =
                !name.contains(' ') || OTHER_NAMES.contains(&name) || interval_fields(name).is_some();
            let is_name = name.starts_with(|first: char| first.is_alphabetic() || first == '_');
            if !is_name || !is_one_word {
                return Err(TypeNameError(format!("{written} is no type that is known")));
            }
            Ok(Type::Other(written.into()))
        }
    }
}

/// `day to second` of `interval day to second`.
fn interval_fields(name: &str) -> Option<&str> {
    let fields = name.strip_prefix("interval")?;
    let is_field = |word: &str| ["year", "month", "day", "hour", "minute", "second", "to"].contains(&word);
    let is_apart = fields.is_empty() || fields.starts_with(' ');
    (is_apart && fields.split_whitespace().all(is_field)).then(|| fields.trim())
}

/// A name in quotes is the one of the catalog: `"int4"` is a type, `"integer"` is none, and `"char"` another.
fn parse_quoted(written: &str) -> Type {
    let plain = written.trim_matches('"');
    let is_catalog_name =
        plain != "char" && matches!(known(plain, None), Ok(Some(ref found)) if name_of(found) == plain);
    match known(plain, None) {
        Ok(Some(found)) if is_catalog_name => found,
        _ => Type::Other(written.into()),
    }
}

type Modifiers<'a> = (&'a str, Option<Vec<i64>>, &'a str);

/// `timestamp(3) with time zone`: before, the numbers, after.
fn split_modifiers(written: &str) -> Result<Modifiers<'_>, TypeNameError> {
    let Some((before, rest)) = written.split_once('(') else { return Ok((written, None, "")) };
    let wrong = || TypeNameError(format!("{written} is no type: numbers in parentheses were expected"));
    let (numbers, after) = rest.split_once(')').ok_or_else(wrong)?;
    // Those of other types, such as geometry(Point,4326), need not be numbers.
    let numbers: Result<Vec<i64>, _> = numbers.split(',').map(|number| number.trim().parse()).collect();
    match numbers {
        Ok(numbers) => Ok((before, Some(numbers), after)),
        Err(_) if after.trim().is_empty() && known(&before.trim().to_ascii_lowercase(), None) == Ok(None) => {
            Ok((before, None, after))
        }
        Err(_) => Err(wrong()),
    }
}

fn known(name: &str, modifiers: Option<&[i64]>) -> Result<Option<Type>, TypeNameError> {
    let mut takes_modifier = true;
    let found = match name {
        "varchar"
        | "character varying"
        | "char varying"
        | "nchar varying"
        | "national character varying"
        | "national char varying" => Type::Varchar(length(name, modifiers)?),
        "bpchar" => Type::Char(length(name, modifiers)?),
        "char" | "character" | "nchar" | "national character" | "national char" => {
            Type::Char(Some(length(name, modifiers)?.unwrap_or(1)))
        }
        "numeric" | "decimal" | "dec" => Type::Numeric(numeric_size(name, modifiers)?),
        "float" => match modifiers {
            Some([1..=24]) => Type::Float4,
            None | Some([25..=53]) => Type::Float8,
            Some(_) => return Err(out_of_range(name, "1 to 53")),
        },
        "time" | "time without time zone" => Type::Time(seconds(name, modifiers)?),
        "timetz" | "time with time zone" => Type::Timetz(seconds(name, modifiers)?),
        "timestamp" | "timestamp without time zone" => Type::Timestamp(seconds(name, modifiers)?),
        "timestamptz" | "timestamp with time zone" => Type::Timestamptz(seconds(name, modifiers)?),
        "enum" => Type::Enum(match modifiers {
            None => None,
            Some([oid]) if u32::try_from(*oid).is_ok_and(|oid| oid > 0) => u32::try_from(*oid).ok(),
            Some(_) => return Err(out_of_range(name, "an OID")),
        }),
        _ => {
            // Where seconds are not the last field, or minutes the first, a number without a unit means another one:
            // PostgreSQL reads it. Else it is for the table's column which fields are kept.
            if let Some("" | "second" | "day to second" | "hour to second") = interval_fields(name) {
                return Ok(Some(Type::Interval(seconds("interval", modifiers)?)));
            }
            takes_modifier = false;
            match name {
                "bool" | "boolean" => Type::Bool,
                "int2" | "smallint" => Type::Int2,
                "int4" | "int" | "integer" => Type::Int4,
                "int8" | "bigint" => Type::Int8,
                "float4" | "real" => Type::Float4,
                "float8" | "double precision" => Type::Float8,
                "text" => Type::Text,
                "bytea" => Type::Bytea,
                "uuid" => Type::Uuid,
                "json" => Type::Json,
                "jsonb" => Type::Jsonb,
                "date" => Type::Date,
                "inet" => Type::Inet,
                "cidr" => Type::Cidr,
                "macaddr" => Type::Macaddr,
                _ => return Ok(None),
            }
        }
    };
    if !takes_modifier && modifiers.is_some() {
        return Err(TypeNameError(format!("{name} takes no number in parentheses")));
    }
    Ok(Some(found))
}

fn out_of_range(name: &str, right: &str) -> TypeNameError {
    TypeNameError(format!("the number in parentheses behind {name} must be {right}"))
}

fn length(name: &str, modifiers: Option<&[i64]>) -> Result<Option<u32>, TypeNameError> {
    match modifiers {
        None => Ok(None),
        Some(&[length @ 1..=MAX_TEXT_LENGTH]) => Ok(u32::try_from(length).ok()),
        Some(_) => Err(out_of_range(name, "1 to 10485760")),
    }
}

fn seconds(name: &str, modifiers: Option<&[i64]>) -> Result<Option<u8>, TypeNameError> {
    match modifiers {
        None => Ok(None),
        Some(&[digits]) if digits >= 0 => Ok(u8::try_from(digits.min(MAX_SECOND_DIGITS)).ok()),
        Some(_) => Err(out_of_range(name, "0 to 6")),
    }
}

fn numeric_size(name: &str, modifiers: Option<&[i64]>) -> Result<Option<NumericSize>, TypeNameError> {
    let (precision, scale) = match modifiers {
        None => return Ok(None),
        Some(&[precision]) => (precision, 0),
        Some(&[precision, scale]) => (precision, scale),
        Some(_) => return Err(out_of_range(name, "a precision and a scale")),
    };
    if !(1..=MAX_PRECISION).contains(&precision) || !(-MAX_PRECISION..=MAX_PRECISION).contains(&scale) {
        return Err(out_of_range(name, "a precision from 1 to 1000 and a scale from -1000 to 1000"));
    }
    Ok(Some(NumericSize { precision: precision as u16, scale: scale as i16 }))
}

/// The name without what follows in parentheses.
fn name_of(of: &Type) -> &str {
    match of {
        Type::Bool => "bool",
        Type::Int2 => "int2",
        Type::Int4 => "int4",
        Type::Int8 => "int8",
        Type::Float4 => "float4",
        Type::Float8 => "float8",
        Type::Numeric(_) => "numeric",
        Type::Text => "text",
        Type::Varchar(_) => "varchar",
        Type::Char(Some(_)) => "char",
        Type::Char(None) => "bpchar",
        Type::Bytea => "bytea",
        Type::Uuid => "uuid",
        Type::Json => "json",
        Type::Jsonb => "jsonb",
        Type::Date => "date",
        Type::Time(_) => "time",
        Type::Timetz(_) => "timetz",
        Type::Timestamp(_) => "timestamp",
        Type::Timestamptz(_) => "timestamptz",
        Type::Interval(_) => "interval",
        Type::Inet => "inet",
        Type::Cidr => "cidr",
        Type::Macaddr => "macaddr",
        Type::Enum(_) => "enum",
        Type::Array(element) => name_of(element),
        Type::Other(name) => name,
    }
}

/// Writes the shortest name that reads back as the type.
pub(super) fn write(of: &Type, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Type::Array(element) = of {
        return write!(f, "{element}[]");
    }
    f.write_str(name_of(of))?;
    match of {
        Type::Numeric(Some(NumericSize { precision, scale })) => write!(f, "({precision},{scale})"),
        Type::Varchar(Some(number)) | Type::Char(Some(number)) | Type::Enum(Some(number)) => {
            write!(f, "({number})")
        }
        Type::Time(Some(digits))
        | Type::Timetz(Some(digits))
        | Type::Timestamp(Some(digits))
        | Type::Timestamptz(Some(digits))
        | Type::Interval(Some(digits)) => write!(f, "({digits})"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, expected: Type) {
        assert_eq!(parse(written), Ok(expected.clone()), "{written}");
        assert_eq!(parse(&expected.to_string()), Ok(expected), "{written}");
    }

    #[test]
    fn names_and_aliases_of_every_type() {
        for (names, expected) in [
            ("bool boolean BOOLEAN pg_catalog.bool \"bool\"", Type::Bool),
            ("int2 smallint", Type::Int2),
            ("int4 int integer", Type::Int4),
            ("int8 bigint", Type::Int8),
            ("float4 real float(24)", Type::Float4),
            ("float8 float float(53)", Type::Float8),
            ("numeric decimal dec", Type::Numeric(None)),
            ("numeric(5) decimal(5,0)", Type::Numeric(Some(NumericSize { precision: 5, scale: 0 }))),
            ("numeric(5,-2)", Type::Numeric(Some(NumericSize { precision: 5, scale: -2 }))),
            ("text TEXT", Type::Text),
            ("varchar", Type::Varchar(None)),
            ("varchar(20)", Type::Varchar(Some(20))),
            ("char character char(1)", Type::Char(Some(1))),
            ("bpchar \"bpchar\"", Type::Char(None)),
            ("timestamptz", Type::Timestamptz(None)),
            ("timestamptz(3)", Type::Timestamptz(Some(3))),
            ("interval", Type::Interval(None)),
            ("int4[] int[3] _int4", Type::Int4.into_array()),
            ("mood", Type::Other("mood".into())),
            ("public.Mood", Type::Other("public.Mood".into())),
            ("\"char\"", Type::Other("\"char\"".into())),
            ("\"My\"", Type::Other("\"My\"".into())),
            ("geometry(Point,4326)", Type::Other("geometry(Point,4326)".into())),
            ("bit(3)", Type::Other("bit(3)".into())),
            ("enum", Type::Enum(None)),
            ("enum(16404)", Type::Enum(Some(16404))),
        ] {
            for name in names.split(' ').filter(|name| *name != "_int4") {
                check(name, expected.clone());
            }
        }
    }

    #[test]
    fn names_of_several_words() {
        for (name, expected) in [
            ("double precision", Type::Float8),
            ("character varying(20)", Type::Varchar(Some(20))),
            ("character  VARYING", Type::Varchar(None)),
            ("numeric(10, 2)", Type::Numeric(Some(NumericSize { precision: 10, scale: 2 }))),
            ("timestamp without time zone", Type::Timestamp(None)),
            ("timestamp(3) without time zone", Type::Timestamp(Some(3))),
            ("timestamp (3) with time zone", Type::Timestamptz(Some(3))),
            ("time with time zone", Type::Timetz(None)),
            ("time(0) without time zone", Type::Time(Some(0))),
            ("interval day to second(3)", Type::Interval(Some(3))),
            ("interval(9)", Type::Interval(Some(6))),
            ("interval minute", Type::Other("interval minute".into())),
            ("interval minute to second[]", Type::Other("interval minute to second".into()).into_array()),
            ("timestamp(3) with time zone[]", Type::Timestamptz(Some(3)).into_array()),
            ("integer[][]", Type::Int4.into_array()),
            ("integer [ 3 ] [4]", Type::Int4.into_array()),
            ("integer array", Type::Int4.into_array()),
            ("integer ARRAY[4]", Type::Int4.into_array()),
            ("mood[]", Type::Other("mood".into()).into_array()),
            ("bit varying(5)", Type::Other("bit varying(5)".into())),
            ("\"My Type\"[]", Type::Other("\"My Type\"".into()).into_array()),
        ] {
            check(name, expected);
        }
    }

    #[test]
    fn what_is_no_type() {
        for wrong in [
            "",
            "[]",
            "text foo",
            "int(4)",
            "numeric()",
            "numeric(0)",
            "numeric(1001)",
            "numeric(1,2,3)",
            "varchar(0)",
            "varchar(x)",
            "varchar(10485761)",
            "float(54)",
            "timestamp(-1)",
            "timestamp(3",
            "interval foo",
            "enum(x)",
            "enum(0)",
            "date(3)",
            "]",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}: {:?}", parse(wrong));
        }
    }

    #[test]
    fn what_has_a_binary_form() {
        for (name, expected) in [
            ("int4", true),
            ("enum", true),
            ("enum[]", false),
            ("enum(5)[]", true),
            ("mood", false),
            ("mood[]", false),
        ] {
            assert_eq!(parse(name).expect(name).has_binary(), expected, "{name}");
        }
    }
}
