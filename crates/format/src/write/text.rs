//! COPY's text format: byte for byte what `COPY ... TO` writes.

use super::delimited::Escaping;
use crate::{
    base64::put_hex,
    options::Dialect,
    scan::{Escape, Special, none},
};

#[derive(Debug)]
pub(super) struct Text;

impl Escaping for Text {
    const BEFORE_BYTEA: &'static [u8] = b"\\";

    #[inline]
    fn is_plain(bytes: &[u8], dialect: &Dialect) -> bool {
        let delimiter = dialect.delimiter;
        none(bytes, |byte| ((byte as i8) < 0x20) | (byte == b'\\') | (byte == delimiter))
            && (bytes.len() != dialect.null.len() || bytes.is_empty())
    }

    /// An empty text cannot be told from `--null ''`; COPY itself has it so.
    fn put_field(out: &mut Vec<u8>, text: &[u8], dialect: &Dialect, _is_alone: bool) {
        let start = out.len();
        put_escaped(out, text, dialect.delimiter);
        if out[start..] == dialect.null && !text.is_empty() {
            // COPY compares before it unescapes, so any escape makes the difference.
            out.truncate(start);
            // A whole character, since no line may hold a part of one.
            let first = text[1..].iter().take_while(|byte| (0x80..0xc0).contains(*byte)).count() + 1;
            for byte in &text[..first] {
                out.extend_from_slice(b"\\x");
                put_hex(out, &[*byte]);
            }
            put_escaped(out, &text[first..], dialect.delimiter);
        }
    }

    /// Nobody takes a name for NULL.
    fn put_name(out: &mut Vec<u8>, name: &[u8], dialect: &Dialect, _is_alone: bool) {
        put_escaped(out, name, dialect.delimiter);
    }
}

fn put_escaped(out: &mut Vec<u8>, text: &[u8], delimiter: u8) {
    Special::new(0x20, b'\\', delimiter).put_escaped(out, text, |special| {
        let letter = match special {
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0b => b'v',
            0x0c => b'f',
            b'\r' => b'r',
            itself if itself == b'\\' || itself == delimiter => itself,
            other => return Escape::One(other),
        };
        Escape::Two([b'\\', letter])
    });
}
