//! JSON without documents in memory: strings are written, texts are checked and walked in place.

mod scan;

pub(super) use self::scan::{JsonError, Nesting, RawString, Rules, Scanner};

use super::{
    base64::put_base64,
    scan::{Escape, Special, none},
};

const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends valid UTF-8 as a JSON string, with its quotes: `\b \f \n \r \t \" \\` short, other control characters
/// as `\u001F`, all else as it is.
#[inline]
pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    put_text(out, text.as_bytes());
    out.push(b'"');
}

/// As [`put_string`], for bytes that need not be UTF-8: then nothing is written and `false` returned.
#[inline]
#[must_use]
pub(super) fn put_bytes_as_string(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    // Most is plain ASCII, which one look at each byte shows.
    if none(bytes, |byte| ((byte as i8) < 0x20) | (byte == b'"') | (byte == b'\\')) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
        return true;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            put_string(out, text);
            true
        }
        Err(_) => false,
    }
}

/// Appends any bytes as a JSON string; what is not UTF-8 becomes U+FFFD.
pub(super) fn put_lossy_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        put_text(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Appends bytes as `{"base64":"..."}`, the marker for what a JSON string cannot hold.
pub(super) fn put_base64_marker(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"{\"base64\":\"");
    put_base64(out, bytes);
    out.extend_from_slice(b"\"}");
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    Special::JSON.put_escaped(out, text, escape);
}

fn escape(special: u8) -> Escape {
    let letter = match special {
        b'"' | b'\\' => special,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let (high, low) = (UPPER_HEX[usize::from(special >> 4)], UPPER_HEX[usize::from(special & 15)]);
            return Escape::Six([b'\\', b'u', b'0', b'0', high, low]);
        }
    };
    Escape::Two([b'\\', letter])
}

/// Appends a JSON text on one line: line ends outside of strings, the only place where they can be, become
/// spaces.
pub(super) fn put_on_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let start = out.len();
    out.extend_from_slice(json);
    if memchr::memchr2(b'\n', b'\r', json).is_some() {
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_are_escaped_as_yajl_does() {
        for (text, expected) in [
            ("", r#""""#),
            ("plain / \x7f é 😀", "\"plain / \x7f é 😀\""),
            ("\"\\", r#""\"\\""#),
            ("\x08\x0c\n\r\t", r#""\b\f\n\r\t""#),
            ("\x00\x1f\x0b", r#""\u0000\u001F\u000B""#),
        ] {
            let mut out = Vec::new();
            put_string(&mut out, text);
            assert_eq!(out, expected.as_bytes(), "{text:?}");
            let mut out = Vec::new();
            assert!(put_bytes_as_string(&mut out, text.as_bytes()));
            assert_eq!(out, expected.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text() {
        let mut out = b"kept".to_vec();
        assert!(!put_bytes_as_string(&mut out, b"ab\xff"));
        assert_eq!(out, b"kept");
        out.clear();
        put_lossy_string(&mut out, b"a\xff\xfe\"b");
        assert_eq!(out, "\"a\u{fffd}\u{fffd}\\\"b\"".as_bytes());
        out.clear();
        put_base64_marker(&mut out, b"\xff");
        assert_eq!(out, br#"{"base64":"/w=="}"#);
    }

    #[test]
    fn one_line_is_one_line() {
        let mut out = b"\n".to_vec();
        put_on_one_line(&mut out, b"{\n  \"a\": \"\\n\"\r\n}");
        assert_eq!(out, b"\n{   \"a\": \"\\n\"  }");
    }

    proptest! {
        #[test]
        fn another_parser_reads_what_is_written(text in ".*") {
            let mut out = Vec::new();
            prop_assert!(put_bytes_as_string(&mut out, text.as_bytes()));
            let back: String = serde_json::from_slice(&out).expect("valid JSON");
            prop_assert_eq!(&back, &text);
            let mut scanner = Scanner::new(&out);
            let raw = scanner.string(Rules::Json).expect("valid JSON");
            let mut unescaped = Vec::new();
            prop_assert_eq!(scanner.text_of(raw, &mut unescaped), text.as_bytes());
        }

        #[test]
        fn any_bytes_become_valid_json(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut out = Vec::new();
            put_lossy_string(&mut out, &bytes);
            let back: String = serde_json::from_slice(&out).expect("valid JSON");
            prop_assert_eq!(back, String::from_utf8_lossy(&bytes));
        }
    }
}
