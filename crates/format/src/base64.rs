//! Base64 (RFC 4648, the standard alphabet, padded) and hexadecimal.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends `bytes` in base64.
pub fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len().div_ceil(3) * 4);
    let (triples, rest) = bytes.as_chunks::<3>();
    let letter = |bits: u32| ALPHABET[(bits & 63) as usize];
    for &[a, b, c] in triples {
        let bits = u32::from_be_bytes([0, a, b, c]);
        out.extend_from_slice(&[letter(bits >> 18), letter(bits >> 12), letter(bits >> 6), letter(bits)]);
    }
    match *rest {
        [a] => {
            let bits = u32::from_be_bytes([0, a, 0, 0]);
            out.extend_from_slice(&[letter(bits >> 18), letter(bits >> 12), b'=', b'=']);
        }
        [a, b] => {
            let bits = u32::from_be_bytes([0, a, b, 0]);
            out.extend_from_slice(&[letter(bits >> 18), letter(bits >> 12), letter(bits >> 6), b'=']);
        }
        _ => {}
    }
}

/// Appends what `text` stands for, or says nothing and appends nothing where it is no base64. The padding may
/// be left out.
#[must_use]
pub(super) fn decode_base64(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let digits = match text {
        [rest @ .., b'=', b'='] if text.len().is_multiple_of(4) => rest,
        [rest @ .., b'='] if text.len().is_multiple_of(4) => rest,
        _ => text,
    };
    let start = out.len();
    let mut bits = 0u32;
    for (index, &digit) in digits.iter().enumerate() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => {
                out.truncate(start);
                return false;
            }
        };
        bits = bits << 6 | u32::from(value);
        if index % 4 != 0 {
            out.push((bits >> (6 - 2 * (index % 4))) as u8);
        }
    }
    let leftover = match digits.len() % 4 {
        0 => 0,
        2 => bits & 0b1111,
        3 => bits & 0b11,
        _ => 1,
    };
    if leftover != 0 {
        out.truncate(start);
    }
    leftover == 0
}

/// Appends `bytes` in lower-case hexadecimal.
pub(super) fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len() * 2, 0);
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let (pairs, _) = out[start..].as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
}

/// The value of a hexadecimal digit.
pub(super) fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Appends what PostgreSQL's text form of a bytea stands for, be it `\x` and hexadecimal or, with
/// `bytea_output = escape`, text with `\\` and octal `\ooo`. Appends nothing where it is neither.
#[must_use]
pub(super) fn decode_bytea(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let start = out.len();
    let decoded = match text.strip_prefix(b"\\x") {
        Some(digits) => decode_hex(out, digits),
        None => decode_escaped(out, text),
    };
    if !decoded {
        out.truncate(start);
    }
    decoded
}

fn decode_hex(out: &mut Vec<u8>, digits: &[u8]) -> bool {
    let mut digits = digits.iter().copied();
    while let Some(high) = digits.next() {
        // Between pairs PostgreSQL allows white space.
        if high.is_ascii_whitespace() {
            continue;
        }
        let (Some(high), Some(low)) = (hex_digit(high), digits.next().and_then(hex_digit)) else {
            return false;
        };
        out.push(high << 4 | low);
    }
    true
}

fn decode_escaped(out: &mut Vec<u8>, mut text: &[u8]) -> bool {
    while let Some(at) = memchr::memchr(b'\\', text) {
        out.extend_from_slice(&text[..at]);
        text = match &text[at + 1..] {
            [b'\\', rest @ ..] => {
                out.push(b'\\');
                rest
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            _ => return false,
        };
    }
    out.extend_from_slice(text);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            put_base64(&mut out, bytes.as_bytes());
            assert_eq!(out, text.as_bytes());
            for form in [text, text.trim_end_matches('=')] {
                let mut back = Vec::new();
                assert!(decode_base64(&mut back, form.as_bytes()), "{form:?}");
                assert_eq!(back, bytes.as_bytes());
            }
        }
        for text in ["Z", "Zg=", "Z===", "Zm9v!", "Zh==", "Zm9="] {
            let mut out = b"kept".to_vec();
            assert!(!decode_base64(&mut out, text.as_bytes()), "{text:?}");
            assert_eq!(out, b"kept");
        }
    }

    #[test]
    fn bytea_in_both_of_its_forms() {
        for (text, bytes) in [
            ("\\x", &b""[..]),
            ("\\xDEad00", b"\xde\xad\x00"),
            ("\\x de ad", b"\xde\xad"),
            ("", b""),
            ("a\\\\b\\377\\000", b"a\\b\xff\x00"),
        ] {
            let mut out = Vec::new();
            assert!(decode_bytea(&mut out, text.as_bytes()), "{text:?}");
            assert_eq!(out, bytes);
        }
        for text in ["\\xd", "\\xzz", "\\9", "\\400", "\\"] {
            let mut out = b"kept".to_vec();
            assert!(!decode_bytea(&mut out, text.as_bytes()), "{text:?}");
            assert_eq!(out, b"kept");
        }
    }
}
