//! A walk over JSON text that allocates nothing but a bit of nesting, and knows where it is.

use crate::{
    base64::hex_digit,
    scan::{Pattern, Special, count_digits},
    types::fits_numeric,
};

/// What is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// RFC 8259, as PostgreSQL's json.
    Json,
    /// What PostgreSQL's jsonb can hold: no `\u0000`, no lone surrogates, numbers within numeric's range.
    Jsonb,
}

/// Where text stops being JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JsonError {
    pub(crate) position: usize,
    pub(crate) reason: &'static str,
}

/// A string within the text: its bytes between the quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawString {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) has_escapes: bool,
}

/// Numbers of fewer bytes and without an exponent are within what a numeric can hold.
const PLAIN_NUMBER_LEN: usize = 16_383;

/// How deep json and jsonb may be nested. PostgreSQL's limit is its stack, and 2 MB, the default, are enough for
/// twice this.
const MAX_DEPTH: usize = 5000;

/// Walks JSON text, which must be valid UTF-8 (checked by the caller where it matters).
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Scanner { bytes, position: 0 }
    }

    /// Checks that `bytes` are one JSON text that a column of type json or jsonb can hold. `nesting` is room that is used again from text to text.
    pub(crate) fn check(bytes: &'a [u8], rules: Rules, nesting: &mut Nesting) -> Result<(), JsonError> {
        let mut scanner = Scanner::new(bytes);
        nesting.clear();
        scanner.value(rules, nesting)?;
        if nesting.deepest > MAX_DEPTH {
            return Err(scanner.error("PostgreSQL has no stack for JSON that is nested more than 5000 deep"));
        }
        scanner.end()
    }

    /// How far the walk has come.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// What stands between two positions.
    pub(crate) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        &self.bytes[start..end]
    }

    #[cold]
    pub(crate) fn error(&self, reason: &'static str) -> JsonError {
        JsonError { position: self.position, reason }
    }

    /// The next byte that is no white space; none at the end.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.position)?;
            // Most white space is none.
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.position += 1;
        }
    }

    /// Steps over `wanted` if it comes next.
    #[inline]
    pub(crate) fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.position += usize::from(found);
        found
    }

    /// Steps over a string if it comes next and is found.
    #[inline]
    pub(crate) fn take_pattern(&mut self, wanted: &Pattern) -> bool {
        self.peek();
        let found = wanted.begins(&self.bytes[self.position..]);
        self.position += found.unwrap_or(0);
        found.is_some()
    }

    /// Steps over `wanted`.
    #[inline]
    pub(crate) fn expect(&mut self, wanted: u8, reason: &'static str) -> Result<(), JsonError> {
        if self.take(wanted) { Ok(()) } else { Err(self.error(reason)) }
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("more follows the JSON text")),
        }
    }

    /// Steps over one value of any kind and returns where it begins and ends.
    pub(crate) fn value(&mut self, rules: Rules, nesting: &mut Nesting) -> Result<(usize, usize), JsonError> {
        let first = self.peek();
        let start = self.position;
        if matches!(first, Some(b'{' | b'[')) {
            self.container(rules, nesting)?;
        } else {
            self.scalar(rules)?;
        }
        Ok((start, self.position))
    }

    /// An object or array with all that is in it, without recursion.
    fn container(&mut self, rules: Rules, nesting: &mut Nesting) -> Result<(), JsonError> {
        nesting.clear();
        loop {
            // A value is due.
            match self.peek() {
                Some(b'{') => {
                    self.position += 1;
                    nesting.push(true);
                    if !self.take(b'}') {
                        self.member_name(rules)?;
                        continue;
                    }
                    nesting.pop();
                }
                Some(b'[') => {
                    self.position += 1;
                    nesting.push(false);
                    if !self.take(b']') {
                        continue;
                    }
                    nesting.pop();
                }
                _ => self.scalar(rules)?,
            }
            // A value has ended: what encloses it goes on, or ends as well.
            loop {
                let Some(in_object) = nesting.last() else { return Ok(()) };
                if self.take(b',') {
                    if in_object {
                        self.member_name(rules)?;
                    }
                    break;
                }
                if in_object {
                    self.expect(b'}', "a comma or } was expected")?;
                } else {
                    self.expect(b']', "a comma or ] was expected")?;
                }
                nesting.pop();
            }
        }
    }

    fn member_name(&mut self, rules: Rules) -> Result<(), JsonError> {
        self.string(rules)?;
        self.expect(b':', "a colon was expected")
    }

    fn scalar(&mut self, rules: Rules) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string(rules).map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(rules),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(_) => Err(self.error("a value was expected")),
            None => Err(self.error("the text ends where a value was expected")),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if !self.bytes[self.position..].starts_with(word) {
            return Err(self.error("a value was expected"));
        }
        self.position += word.len();
        Ok(())
    }

    /// Steps over a number.
    #[inline]
    pub(crate) fn number(&mut self, rules: Rules) -> Result<(), JsonError> {
        // Most are nothing but digits, few enough for every type.
        let rest = &self.bytes[self.position..];
        let len = count_digits(rest);
        let is_plain = (1..PLAIN_NUMBER_LEN).contains(&len) && (len == 1 || rest[0] != b'0');
        if is_plain && !matches!(rest.get(len), Some(b'.' | b'e' | b'E')) {
            self.position += len;
            return Ok(());
        }
        self.any_number(rules)
    }

    #[inline(never)]
    fn any_number(&mut self, rules: Rules) -> Result<(), JsonError> {
        let start = self.position;
        self.position += usize::from(self.bytes[self.position] == b'-');
        let integer = self.digits()?;
        if integer.len() > 1 && integer[0] == b'0' {
            self.position = start;
            return Err(self.error("a number must not start with 0"));
        }
        if self.follows(b".") {
            self.digits()?;
        }
        let mut is_plain = self.position - start < PLAIN_NUMBER_LEN;
        if self.follows(b"eE") {
            self.follows(b"+-");
            self.digits()?;
            is_plain = false;
        }
        if rules == Rules::Jsonb && !is_plain && !fits_numeric(&self.bytes[start..self.position]) {
            self.position = start;
            return Err(self.error("jsonb cannot hold a number of this size"));
        }
        Ok(())
    }

    fn follows(&mut self, any_of: &[u8]) -> bool {
        let found = self.bytes.get(self.position).is_some_and(|byte| any_of.contains(byte));
        self.position += usize::from(found);
        found
    }

    fn digits(&mut self) -> Result<&'a [u8], JsonError> {
        let rest = &self.bytes[self.position..];
        let len = count_digits(rest);
        if len == 0 {
            return Err(self.error("a digit was expected"));
        }
        self.position += len;
        Ok(&rest[..len])
    }

    /// Steps over a string.
    #[inline]
    pub(crate) fn string(&mut self, rules: Rules) -> Result<RawString, JsonError> {
        self.expect(b'"', "a string was expected")?;
        let start = self.position;
        let mut has_escapes = false;
        loop {
            let rest = &self.bytes[self.position..];
            self.position += Special::JSON.find(rest);
            match self.bytes.get(self.position) {
                Some(b'"') => {
                    self.position += 1;
                    return Ok(RawString { start, end: self.position - 1, has_escapes });
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape(rules)?;
                }
                Some(_) => return Err(self.error("a control character must be escaped")),
                None => return Err(self.error("a string does not end")),
            }
        }
    }

    fn escape(&mut self, rules: Rules) -> Result<(), JsonError> {
        match self.bytes.get(self.position + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.position += 2,
            Some(b'u') => {
                let unit = self.unit_at(self.position).ok_or_else(|| self.error("\\u needs four digits"))?;
                match (rules, unit) {
                    (Rules::Jsonb, 0) => return Err(self.error("jsonb cannot hold \\u0000")),
                    (Rules::Jsonb, 0xd800..=0xdbff) => {
                        if !matches!(self.unit_at(self.position + 6), Some(0xdc00..=0xdfff)) {
                            return Err(self.error("a high surrogate stands alone"));
                        }
                        self.position += 6;
                    }
                    (Rules::Jsonb, 0xdc00..=0xdfff) => {
                        return Err(self.error("a low surrogate stands alone"));
                    }
                    _ => {}
                }
                self.position += 6;
            }
            _ => return Err(self.error("an unknown escape")),
        }
        Ok(())
    }

    /// The UTF-16 unit of a `\uXXXX` at `position`.
    fn unit_at(&self, position: usize) -> Option<u16> {
        let digits = self.bytes.get(position..)?.strip_prefix(b"\\u")?.get(..4)?;
        digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | u16::from(hex_digit(digit)?)))
    }

    /// What a string says: the text itself, or unescaped into `scratch`, see [`Scanner::unescape`].
    pub(crate) fn text_of<'t>(&self, raw: RawString, scratch: &'t mut Vec<u8>) -> &'t [u8]
    where
        'a: 't,
    {
        if !raw.has_escapes {
            return &self.bytes[raw.start..raw.end];
        }
        scratch.clear();
        self.unescape(raw, scratch);
        scratch
    }

    /// Appends what a string says. A surrogate without its other half becomes its three bytes, which are not valid UTF-8,
    /// for somebody else to decide.
    pub(crate) fn unescape(&self, raw: RawString, out: &mut Vec<u8>) {
        let mut at = raw.start;
        while let Some(plain) = memchr::memchr(b'\\', &self.bytes[at..raw.end]) {
            out.extend_from_slice(&self.bytes[at..at + plain]);
            at += plain;
            at += self.unescape_one(at, out);
        }
        out.extend_from_slice(&self.bytes[at..raw.end]);
    }

    /// Appends what the valid escape at `at` stands for and returns its length.
    fn unescape_one(&self, at: usize, out: &mut Vec<u8>) -> usize {
        let byte = match self.bytes[at + 1] {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let first = self.unit_at(at).unwrap_or(0xfffd);
                let second = self.unit_at(at + 6).unwrap_or(0);
                let mut decoded = char::decode_utf16([first, second]);
                let (character, len) = match decoded.next() {
                    Some(Ok(character)) => (character, if character > '\u{ffff}' { 12 } else { 6 }),
                    _ => {
                        let [high, middle, low] =
                            [first >> 12, first >> 6 & 63, first & 63].map(|bits| bits as u8);
                        out.extend_from_slice(&[0xe0 | high, 0x80 | middle, 0x80 | low]);
                        return 6;
                    }
                };
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return len;
            }
            itself => itself,
        };
        out.push(byte);
        2
    }
}

/// Which of the enclosing values are objects: one bit each, so that no depth is out of reach.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nesting {
    outer: Vec<u64>,
    bits: u64,
    depth: usize,
    /// How deep the value was that was walked last.
    deepest: usize,
}

impl Nesting {
    fn clear(&mut self) {
        self.outer.clear();
        (self.bits, self.depth, self.deepest) = (0, 0, 0);
    }

    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(is_object);
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.bits = if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.pop().unwrap_or_default()
        } else {
            self.bits >> 1
        };
    }

    fn last(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, rules: Rules) -> Result<(), JsonError> {
        Scanner::check(text.as_bytes(), rules, &mut Nesting::default())
    }

    #[test]
    fn accepts_json_of_every_kind() {
        for text in [
            "null",
            " true ",
            "false",
            "0",
            "-0",
            "-1.5e+10",
            "1E2",
            r#""""#,
            r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#,
            "[]",
            "[ ]",
            "{}",
            "[1,[2,[]],{}]",
            r#"{"a":1,"b":{"c":[null]},"a":2}"#,
            "\t{\r\n\"a\" : [ 1 , 2 ] }\n",
        ] {
            assert_eq!(check(text, Rules::Json), Ok(()), "{text}");
            assert_eq!(check(text, Rules::Jsonb), Ok(()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_json_and_says_where() {
        for (text, position) in [
            ("", 0),
            (" ", 1),
            ("nul", 0),
            ("01", 0),
            ("1.", 2),
            ("-", 1),
            ("1e", 2),
            ("+1", 0),
            (".5", 0),
            ("\"a", 2),
            ("\"\t\"", 1),
            ("\"\\x\"", 1),
            ("\"\\u12g4\"", 1),
            ("[1", 2),
            ("[1,]", 3),
            ("[1 2]", 3),
            ("[1}", 2),
            ("{\"a\"}", 4),
            ("{\"a\":1,}", 7),
            ("{a:1}", 1),
            ("{\"a\":}", 5),
            ("{\"a\":1]", 6),
            ("1 2", 2),
            ("{} x", 3),
            ("]", 0),
        ] {
            assert_eq!(check(text, Rules::Json).map_err(|error| error.position), Err(position), "{text}");
        }
    }

    #[test]
    fn jsonb_is_stricter() {
        for (text, position) in [
            (r#"{"a":"x\u0000"}"#, 7),
            (r#"{"\u0000":1}"#, 2),
            (r#""\ud83d""#, 1),
            (r#""\ud83dA""#, 1),
            (r#""\ude00""#, 1),
            ("1e131072", 0),
            ("1e-16384", 0),
            ("[1e99999999999999999999]", 1),
            ("[0e1099999999999]", 1),
            ("0e-16384", 0),
            ("0.5e131073", 0),
        ] {
            assert_eq!(check(text, Rules::Json), Ok(()), "{text}");
            assert_eq!(check(text, Rules::Jsonb).map_err(|error| error.position), Err(position), "{text}");
        }
        for text in
            ["1e131071", "1e-16383", "0e999999", "0.5E131072", "-0.0005e131075", "0e1073741822", "12.50"]
        {
            assert_eq!(check(text, Rules::Jsonb), Ok(()), "{text}");
        }
    }

    #[test]
    fn nesting_is_limited_by_what_postgresql_holds() {
        for depth in [1, 63, 64, 65, 128, 129, MAX_DEPTH / 2] {
            let mut text = "[".repeat(depth);
            text.push_str(&"{\"a\":".repeat(depth));
            text.push('1');
            text.push_str(&"}".repeat(depth));
            text.push_str(&"]".repeat(depth));
            assert_eq!(check(&text, Rules::Jsonb), Ok(()), "{depth}");
            text.pop();
            assert!(check(&text, Rules::Jsonb).is_err(), "{depth}");
        }
        let mut nesting = Nesting::default();
        let deep = ["[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1)].concat();
        assert!(Scanner::check(deep.as_bytes(), Rules::Json, &mut nesting).is_err());
        assert_eq!(Scanner::check(b"1", Rules::Json, &mut nesting), Ok(()), "what was before does not count");
    }

    #[test]
    fn strings_are_unescaped() {
        for (text, expected) in [
            (r#""plain""#, "plain"),
            (r#""\u00e9\ud83d\ude00!""#, "é😀!"),
            (r#""\"\\\/\b\f\n\r\t\u0000""#, "\"\\/\x08\x0c\n\r\t\0"),
        ] {
            let mut scanner = Scanner::new(text.as_bytes());
            let raw = scanner.string(Rules::Json).expect("valid");
            assert_eq!(scanner.text_of(raw, &mut Vec::new()), expected.as_bytes(), "{text}");
        }
        let mut scanner = Scanner::new(br#""\ud83dx\ude00""#);
        let raw = scanner.string(Rules::Json).expect("valid");
        assert_eq!(
            scanner.text_of(raw, &mut Vec::new()),
            b"\xed\xa0\xbdx\xed\xb8\x80",
            "nothing else says this"
        );
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{}:,"\\ a0-9eE.+\-ntfu]{0,12}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            // serde_json refuses lone surrogates and numbers beyond f64 on its own account.
            let ours = check(&text, Rules::Json).is_ok();
            if theirs { prop_assert!(ours); }
            if ours && !theirs { prop_assert!(text.contains("\\u") || text.contains(['e', 'E'])); }
        }
    }
}
