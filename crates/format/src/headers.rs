//! All headers of a record as one JSON text, without loss.
//!
//! Written is an array of pairs, in order, with repetitions: `[["trace","a1"],["trace","a2"],["gone",null]]`. No
//! headers are `[]`. A name or value that is not UTF-8, or holds a NUL byte (which jsonb refuses), becomes
//! `{"base64":"/wA="}`.
//!
//! Read is that form; also an object (`{"trace":"a1"}`, the natural one in SQL) and kcat's flat array
//! (`["trace","a1","gone",null]`). A value that is a number, `true`, `false`, an array or an object is taken as
//! its JSON text.

use kcopy_wire::records::{Headers, HeadersBuf};

use super::{
    base64::decode_base64,
    error::Problem,
    json::{JsonError, Nesting, Rules, Scanner, put_base64_marker, put_bytes_as_string},
};

/// Appends `headers` as JSON.
pub(super) fn put_headers(out: &mut Vec<u8>, headers: Headers<'_>) {
    out.push(b'[');
    for (index, (name, value)) in headers.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"[" } else { b",[" });
        put_text_or_marker(out, name);
        out.push(b',');
        match value {
            Some(value) => put_text_or_marker(out, value),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b']');
    }
    out.push(b']');
}

fn put_text_or_marker(out: &mut Vec<u8>, bytes: &[u8]) {
    if memchr::memchr(0, bytes).is_some() || !put_bytes_as_string(out, bytes) {
        put_base64_marker(out, bytes);
    }
}

/// Room that is used again from row to row.
#[derive(Debug, Default)]
pub(super) struct HeadersParser {
    nesting: Nesting,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl HeadersParser {
    /// Appends the headers that `json` describes.
    pub(super) fn parse(&mut self, json: &[u8], headers: &mut HeadersBuf) -> Result<(), Problem> {
        super::write::require_utf8(json)?;
        let mut scanner = Scanner::new(json);
        let parsed = match scanner.peek() {
            Some(b'{') => self.object(&mut scanner, headers),
            Some(b'[') => self.array(&mut scanner, headers),
            Some(b'n') => scanner.value(Rules::Json, &mut self.nesting).map(drop).map_err(Problem::from),
            _ => Err(Problem::UnexpectedJson("headers must be a JSON array of pairs, or an object")),
        };
        parsed.and_then(|()| Ok(scanner.end()?))
    }

    /// Appends the headers of a flat array in which names and values are in base64.
    pub(super) fn parse_base64(&mut self, json: &[u8], headers: &mut HeadersBuf) -> Result<(), Problem> {
        let mut scanner = Scanner::new(json);
        scanner.expect(b'[', "an array was expected")?;
        while scanner.peek() == Some(b'"') {
            self.name.clear();
            base64_string(&mut scanner, &mut self.name)?;
            scanner.expect(b',', "the value of a header was expected")?;
            self.value.clear();
            let has_value = scanner.peek() == Some(b'"');
            if has_value {
                base64_string(&mut scanner, &mut self.value)?;
            } else {
                scanner.value(Rules::Json, &mut self.nesting)?;
            }
            headers.push(&self.name, has_value.then_some(self.value.as_slice()));
            if !scanner.take(b',') {
                break;
            }
        }
        scanner.expect(b']', "a comma or ] was expected")?;
        Ok(scanner.end()?)
    }

    fn object(&mut self, scanner: &mut Scanner<'_>, headers: &mut HeadersBuf) -> Result<(), Problem> {
        scanner.expect(b'{', "an object was expected")?;
        if scanner.take(b'}') {
            return Ok(());
        }
        loop {
            let raw = scanner.string(Rules::Json)?;
            scanner.expect(b':', "a colon was expected")?;
            self.name.clear();
            scanner.unescape(raw, &mut self.name);
            super::write::require_whole_characters(&self.name)?;
            self.value_of(scanner, headers)?;
            if !scanner.take(b',') {
                return Ok(scanner.expect(b'}', "a comma or } was expected")?);
            }
        }
    }

    fn array(&mut self, scanner: &mut Scanner<'_>, headers: &mut HeadersBuf) -> Result<(), Problem> {
        scanner.expect(b'[', "an array was expected")?;
        if scanner.take(b']') {
            return Ok(());
        }
        let are_pairs = scanner.peek() == Some(b'[');
        loop {
            if are_pairs {
                scanner.expect(b'[', "a pair of name and value was expected")?;
            }
            self.name_of(scanner)?;
            scanner.expect(b',', "the value of a header was expected")?;
            self.value_of(scanner, headers)?;
            if are_pairs {
                scanner.expect(b']', "a pair has two elements")?;
            }
            if !scanner.take(b',') {
                return Ok(scanner.expect(b']', "a comma or ] was expected")?);
            }
        }
    }

    fn name_of(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Problem> {
        self.name.clear();
        match scanner.peek() {
            Some(b'"') => {
                let raw = scanner.string(Rules::Json)?;
                scanner.unescape(raw, &mut self.name);
                super::write::require_whole_characters(&self.name)?;
            }
            Some(b'{') => {
                let (start, end) = scanner.value(Rules::Json, &mut self.nesting)?;
                if !decode_marker(scanner.slice(start, end), &mut self.name) {
                    return Err(NAME_EXPECTED);
                }
            }
            _ => return Err(NAME_EXPECTED),
        }
        Ok(())
    }

    fn value_of(&mut self, scanner: &mut Scanner<'_>, headers: &mut HeadersBuf) -> Result<(), Problem> {
        let is_string = scanner.peek() == Some(b'"');
        let value = put_value(scanner, &mut self.nesting, &mut self.value)?;
        if is_string {
            super::write::require_whole_characters(&self.value)?;
        }
        headers.push(&self.name, value.then_some(self.value.as_slice()));
        Ok(())
    }
}

fn base64_string(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), Problem> {
    let raw = scanner.string(Rules::Json)?;
    if decode_base64(out, scanner.slice(raw.start, raw.end)) {
        Ok(())
    } else {
        Err(Problem::UnexpectedJson("a string in base64 was expected"))
    }
}

const NAME_EXPECTED: Problem = Problem::UnexpectedJson("the name of a header must be a string");

/// Steps over a value and puts what it stands for into `out`, which is emptied before: a string its text, the
/// base64 marker its bytes, anything else its JSON text. `false` for null.
pub(super) fn put_value(
    scanner: &mut Scanner<'_>,
    nesting: &mut Nesting,
    out: &mut Vec<u8>,
) -> Result<bool, JsonError> {
    out.clear();
    if scanner.peek() == Some(b'"') {
        let raw = scanner.string(Rules::Json)?;
        scanner.unescape(raw, out);
        return Ok(true);
    }
    let (start, end) = scanner.value(Rules::Json, nesting)?;
    let json = scanner.slice(start, end);
    if json == b"null" {
        return Ok(false);
    }
    if json[0] != b'{' || !decode_marker(json, out) {
        out.extend_from_slice(json);
    }
    Ok(true)
}

/// Appends what a valid JSON object stands for if it is the base64 marker and nothing else.
pub(super) fn decode_marker(json: &[u8], out: &mut Vec<u8>) -> bool {
    let mut scanner = Scanner::new(json);
    let text = |scanner: &mut Scanner<'_>| {
        let raw = scanner.string(Rules::Json).ok()?;
        Some((raw.start, raw.end))
    };
    if !scanner.take(b'{') {
        return false;
    }
    match text(&mut scanner) {
        Some((start, end)) if scanner.slice(start, end) == b"base64" && scanner.take(b':') => {}
        _ => return false,
    }
    match text(&mut scanner) {
        Some((start, end)) if scanner.take(b'}') && scanner.end().is_ok() => {
            decode_base64(out, scanner.slice(start, end))
        }
        _ => false,
    }
}

impl From<JsonError> for Problem {
    fn from(JsonError { position, reason }: JsonError) -> Self {
        Problem::InvalidJson { position, reason }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    fn parse(json: &str) -> Result<Owned, Problem> {
        let mut headers = HeadersBuf::new();
        HeadersParser::default().parse(json.as_bytes(), &mut headers)?;
        Ok(headers.as_headers().iter().map(|(n, v)| (n.to_vec(), v.map(<[u8]>::to_vec))).collect())
    }

    fn owned(pairs: &[(&[u8], Option<&[u8]>)]) -> Owned {
        pairs.iter().map(|(n, v)| (n.to_vec(), v.map(<[u8]>::to_vec))).collect()
    }

    #[test]
    fn all_forms_are_read() {
        let expected = owned(&[(b"a", Some(b"1")), (b"b", None), (b"a", Some(b""))]);
        assert_eq!(parse(r#"[["a","1"],["b",null],["a",""]]"#).as_ref(), Ok(&expected));
        assert_eq!(parse(r#" { "a" : "1", "b" : null, "a" : "" } "#).as_ref(), Ok(&expected));
        assert_eq!(parse(r#"["a","1","b",null,"a",""]"#).as_ref(), Ok(&expected));
        for none in ["[]", "{}", "null"] {
            assert_eq!(parse(none), Ok(Vec::new()), "{none}");
        }
        assert_eq!(
            parse(r#"{"n":1.5,"t":true,"l":[1, 2],"o":{"x":1},"m":{"base64":"/wA="},"u":"\u00e9"}"#),
            Ok(owned(&[
                (b"n", Some(b"1.5")),
                (b"t", Some(b"true")),
                (b"l", Some(b"[1, 2]")),
                (b"o", Some(b"{\"x\":1}")),
                (b"m", Some(b"\xff\x00")),
                (b"u", Some("é".as_bytes())),
            ]))
        );
    }

    #[test]
    fn what_is_no_headers_is_refused() {
        for json in [
            "",
            "1",
            "\"a\"",
            "[\"a\"]",
            "[[\"a\"]]",
            "[[\"a\",1,2]]",
            "[[1,2]]",
            "{\"a\"}",
            "[[\"a\",1],",
            "[[\"a\",1]] x",
            "[[{\"base64\":\"!\"},1]]",
            "nul",
        ] {
            assert!(parse(json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_headers_survive(
            pairs in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..5), prop::option::of(prop::collection::vec(any::<u8>(), 0..20))),
                0..6,
            )
        ) {
            let mut headers = HeadersBuf::new();
            for (name, value) in &pairs {
                headers.push(name, value.as_deref());
            }
            let mut json = Vec::new();
            put_headers(&mut json, headers.as_headers());
            Scanner::check(&json, Rules::Jsonb, &mut Nesting::default()).expect("jsonb takes it");
            let json = String::from_utf8(json).expect("UTF-8");
            prop_assert_eq!(parse(&json), Ok(pairs));
        }
    }
}
