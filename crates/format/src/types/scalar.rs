//! bool, uuid, and the lengths of texts.

use super::Refusal;
use crate::base64::{hex_digit, put_hex};

/// What PostgreSQL takes for white space around values.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

pub(super) fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Whether `text` is the beginning of `word`, in any case.
fn begins(word: &[u8], text: &[u8]) -> bool {
    text.len() <= word.len() && text.eq_ignore_ascii_case(&word[..text.len()])
}

/// Any beginning of true, false, yes, no, on and off that is not ambiguous, 1 and 0.
pub(super) fn parse_bool(text: &[u8]) -> Result<bool, Refusal> {
    let text = trim(text);
    match text {
        b"" => Err("empty"),
        b"1" => Ok(true),
        b"0" => Ok(false),
        _ if begins(b"true", text) || begins(b"yes", text) => Ok(true),
        _ if begins(b"false", text) || begins(b"no", text) => Ok(false),
        _ if text.len() > 1 && begins(b"on", text) => Ok(true),
        _ if text.len() > 1 && begins(b"off", text) => Ok(false),
        _ => Err("neither true nor false"),
    }
}

/// 32 hexadecimal digits, with hyphens behind any group of four, and in braces or not.
pub(super) fn parse_uuid(text: &[u8]) -> Result<[u8; 16], Refusal> {
    const REFUSED: Refusal = "not 32 hexadecimal digits, with hyphens or without";
    let digits = match text {
        [b'{', inner @ .., b'}'] => inner,
        _ => text,
    };
    let mut uuid = [0; 16];
    let mut rest = digits;
    for (index, byte) in uuid.iter_mut().enumerate() {
        let [high, low, after @ ..] = rest else { return Err(REFUSED) };
        let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low)) else { return Err(REFUSED) };
        *byte = high << 4 | low;
        rest = match after {
            [b'-', after @ ..] if index % 2 == 1 && index < 15 => after,
            after => after,
        };
    }
    if rest.is_empty() { Ok(uuid) } else { Err(REFUSED) }
}

pub(super) fn show_uuid(uuid: &[u8; 16], out: &mut Vec<u8>) {
    for (index, group) in
        [&uuid[..4], &uuid[4..6], &uuid[6..8], &uuid[8..10], &uuid[10..]].into_iter().enumerate()
    {
        if index > 0 {
            out.push(b'-');
        }
        put_hex(out, group);
    }
}

/// Checks text that has at most `limit` characters, but for spaces at its end, which COPY cuts off.
pub(crate) fn check_length(text: &str, limit: Option<u32>) -> Result<&str, Refusal> {
    let Some(limit) = limit.map(|limit| limit as usize) else { return Ok(text) };
    if text.len() <= limit {
        return Ok(text);
    }
    match text.char_indices().nth(limit) {
        None => Ok(text),
        Some((end, _)) if text[end..].bytes().all(|byte| byte == b' ') => Ok(&text[..end]),
        Some(_) => Err("more characters than the type can hold"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_in_all_their_spellings() {
        for text in ["t", "TRUE", "tr", " yes ", "y", "on", "1"] {
            assert_eq!(parse_bool(text.as_bytes()), Ok(true), "{text}");
        }
        for text in ["f", "False", "no", "n", "of", "OFF", "0\n"] {
            assert_eq!(parse_bool(text.as_bytes()), Ok(false), "{text}");
        }
        for text in ["", " ", "o", "2", "10", "truer", "ja"] {
            assert!(parse_bool(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn uuids_in_all_their_spellings() {
        let expected = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for text in [
            expected,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            let mut out = Vec::new();
            show_uuid(&parse_uuid(text.as_bytes()).expect(text), &mut out);
            assert_eq!(out, expected.as_bytes(), "{text}");
        }
        for text in [
            "",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a1",
            "a0eebc999c0b4ef8bb6d6bb9bd380a111",
            "a0-eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
            "a0eebc999c0b4ef8bb6d6bb9bd380a1g",
            " a0eebc999c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert!(parse_uuid(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_count_characters() {
        assert_eq!(check_length("éé", Some(2)), Ok("éé"));
        assert_eq!(check_length("éé  ", Some(2)), Ok("éé"));
        assert_eq!(check_length("éé ", Some(3)), Ok("éé "));
        assert!(check_length("ééé", Some(2)).is_err());
        assert_eq!(check_length("ééé", None), Ok("ééé"));
    }
}
