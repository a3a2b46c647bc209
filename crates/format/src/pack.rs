//! kcat's `-s`: binary keys and values unpacked by a format string in the manner of Python's `struct`.
//!
//! | | |
//! |---|---|
//! | `<` `>` | little-endian, big-endian (the default) from here on |
//! | `b` `B` `h` `H` `i` `I` `q` `Q` | signed and unsigned integers of 8, 16, 32 and 64 bits, printed in decimal |
//! | `c` | one byte as it is |
//! | `s` | the remaining bytes as they are |
//! | `$` | nothing may remain |
//! | space | a space |

use std::fmt;

use super::{
    error::Problem,
    number::{put_i64, put_u64},
};

/// A checked pack format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    tokens: Vec<u8>,
}

impl Pack {
    /// Checks a format; `what` is `key` or `value`.
    ///
    /// # Errors
    /// If it is empty, `avro`, or has a character that means nothing.
    pub fn parse(what: &str, format: &str) -> Result<Self, PackError> {
        if format.is_empty() {
            return Err(PackError(format!("{what} pack-format must not be empty")));
        }
        if format == "avro" {
            let message = "-s avro needs a schema registry, which is not supported yet: -s takes a pack-format \
                           such as '>iq$', and without -s the bytes come as they are";
            return Err(PackError(message.to_owned()));
        }
        match format.chars().find(|token| !" <>bBhHiIqQcs$".contains(*token)) {
            Some(token) => {
                Err(PackError(format!("Invalid token '{token}' in {what} pack-format, see -s usage.")))
            }
            None => Ok(Pack { tokens: format.as_bytes().to_vec() }),
        }
    }

    /// Appends what `bytes` say. Bytes that remain at the end of the format are ignored.
    pub(super) fn unpack(&self, what: &str, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Problem> {
        let mut cursor = Cursor { what, rest: bytes, little_endian: false };
        for &token in &self.tokens {
            match token {
                b'<' => cursor.little_endian = true,
                b'>' => cursor.little_endian = false,
                b'b' => put_i64(out, i64::from(i8::from_be_bytes(cursor.take(token)?))),
                b'B' => put_u64(out, u64::from(u8::from_be_bytes(cursor.take(token)?))),
                b'h' => put_i64(out, i64::from(i16::from_be_bytes(cursor.take(token)?))),
                b'H' => put_u64(out, u64::from(u16::from_be_bytes(cursor.take(token)?))),
                b'i' => put_i64(out, i64::from(i32::from_be_bytes(cursor.take(token)?))),
                b'I' => put_u64(out, u64::from(u32::from_be_bytes(cursor.take(token)?))),
                b'q' => put_i64(out, i64::from_be_bytes(cursor.take(token)?)),
                b'Q' => put_u64(out, u64::from_be_bytes(cursor.take(token)?)),
                b'c' => out.extend_from_slice(&cursor.take::<1>(token)?),
                b's' => out.extend_from_slice(std::mem::take(&mut cursor.rest)),
                b'$' if !cursor.rest.is_empty() => {
                    let remaining = cursor.rest.len();
                    let message = format!("expected {what} end-of-input, but {remaining} bytes remaining");
                    return Err(Problem::Unpack(message));
                }
                b'$' => {}
                other => out.push(other),
            }
        }
        Ok(())
    }
}

struct Cursor<'a> {
    what: &'a str,
    rest: &'a [u8],
    little_endian: bool,
}

impl Cursor<'_> {
    /// The next bytes, in big-endian order.
    fn take<const N: usize>(&mut self, token: u8) -> Result<[u8; N], Problem> {
        let Some((&taken, rest)) = self.rest.split_first_chunk::<N>() else {
            let (what, token, remaining) = (self.what, char::from(token), self.rest.len());
            return Err(Problem::Unpack(format!(
                "{what} truncated, expected {N} bytes to unpack {token} but only {remaining} bytes remaining"
            )));
        };
        self.rest = rest;
        let mut bytes = taken;
        if self.little_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }
}

/// A pack format that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackError(String);

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PackError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(format: &str, bytes: &[u8]) -> Result<String, String> {
        let mut out = Vec::new();
        let pack = Pack::parse("value", format).map_err(|error| error.to_string())?;
        pack.unpack("value", bytes, &mut out).map_err(|problem| problem.to_string())?;
        Ok(out.into_iter().map(char::from).collect())
    }

    #[test]
    fn unpacks_every_token() {
        for (format, bytes, expected) in [
            ("b", &b"\xff"[..], "-1"),
            ("B", b"\xff", "255"),
            ("h", b"\x80\x00", "-32768"),
            ("H", b"\x80\x00", "32768"),
            ("i", b"\xff\xff\xff\xfe", "-2"),
            ("I", b"\xff\xff\xff\xfe", "4294967294"),
            ("q", b"\xff\xff\xff\xff\xff\xff\xff\xff", "-1"),
            ("Q", b"\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
            ("<h", b"\x01\x00", "1"),
            (">h", b"\x00\x01", "1"),
            ("<i>i", b"\x01\0\0\0\0\0\0\x01", "11"),
            ("c c", b"ab", "a b"),
            ("h s", b"\x00\x07rest", "7 rest"),
            ("h s$", b"\x00\x07", "7 "),
            ("i$", b"\0\0\0\x05", "5"),
            ("h", b"\x00\x07ignored", "7"),
        ] {
            assert_eq!(unpack(format, bytes).as_deref(), Ok(expected), "{format}");
        }
    }

    #[test]
    fn says_what_does_not_fit() {
        for (format, bytes, expected) in [
            ("", &b""[..], "value pack-format must not be empty"),
            ("x", b"", "Invalid token 'x' in value pack-format, see -s usage."),
            ("q", b"abc", "value truncated, expected 8 bytes to unpack q but only 3 bytes remaining"),
            ("c", b"", "value truncated, expected 1 bytes to unpack c but only 0 bytes remaining"),
            ("b$", b"ab", "expected value end-of-input, but 1 bytes remaining"),
        ] {
            assert_eq!(unpack(format, bytes), Err(expected.to_owned()), "{format}");
        }
        assert!(unpack("avro", b"").expect_err("not there").contains("avro"));
    }
}
