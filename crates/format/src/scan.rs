//! Looking for the few bytes that need care, many bytes at a time, in plain safe code.

const WORD: usize = 8;
/// The longest escape.
const MAX_ESCAPE: usize = 6;
/// Short pieces are cheaper to put together in so many bytes than one by one in a vector.
const BUFFER: usize = 256;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = ONES << 7;

/// Whether `special` holds for none of the bytes.
///
/// All of them are looked at, which compiles to vector instructions. Whether `special` is better off with `|` or with `||`
/// is to be measured.
#[inline(always)]
pub(super) fn none(bytes: &[u8], special: impl Fn(u8) -> bool) -> bool {
    !bytes.iter().fold(false, |seen, &byte| seen | special(byte))
}

/// Text that every COPY format takes as it is: ASCII without NUL. What is not may still be valid.
#[inline]
pub(super) fn is_plain_text(bytes: &[u8]) -> bool {
    none(bytes, |byte| (byte as i8) <= 0)
}

/// What differs from the digit 0, and bytes that are no digit with their high bit set: the lowest such bit belongs to
/// the first of them, higher ones may be wrong.
#[inline(always)]
fn digits_of(word: &[u8; WORD]) -> (u64, u64) {
    let digits = u64::from_le_bytes(*word) ^ (ONES * b'0' as u64);
    // 0 to 9 stay below 0x80; the first that does not has had no carry from those before it.
    (digits, (digits.wrapping_add(ONES * 0x76) | digits) & HIGH_BITS)
}

/// How many decimal digits come first.
#[inline]
pub(super) fn count_digits(bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some(word) = bytes[count..].first_chunk::<WORD>() {
        let (_, others) = digits_of(word);
        if others != 0 {
            return count + others.trailing_zeros() as usize / 8;
        }
        count += WORD;
    }
    count + bytes[count..].iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The number that up to 18 decimal digits stand for; none where there is anything else.
#[inline]
pub(super) fn short_number(mut bytes: &[u8]) -> Option<i64> {
    if !(1..=18).contains(&bytes.len()) {
        return None;
    }
    let mut number = 0;
    while let Some((word, rest)) = bytes.split_first_chunk::<WORD>() {
        let (digits, others) = digits_of(word);
        if others != 0 {
            return None;
        }
        // Neighbours are joined: digits to pairs, pairs to fours, fours to eight.
        let pairs = digits.wrapping_mul(10 * 256 + 1) >> 8 & 0x00ff_00ff_00ff_00ff;
        let fours = pairs.wrapping_mul(100 * 65536 + 1) >> 16 & 0x0000_ffff_0000_ffff;
        let eight = fours.wrapping_mul((10_000 << 32) + 1) >> 32;
        number = number * 100_000_000 + eight as i64;
        bytes = rest;
    }
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(number)
}

/// A string of JSON with its quotes, to be found where it is expected. One that is longer than it is worth, or would
/// have to be escaped, is never found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pattern {
    bytes: u128,
    mask: u128,
    len: usize,
}

impl Pattern {
    const MAX: usize = size_of::<u128>();

    pub(super) fn new(text: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX];
        let len = text.len() + 2;
        if len > Self::MAX || Special::JSON.find(text) < text.len() {
            return Pattern { bytes: 1, mask: 0, len: 0 };
        }
        bytes[0] = b'"';
        bytes[1..len - 1].copy_from_slice(text);
        bytes[len - 1] = b'"';
        Pattern { bytes: u128::from_le_bytes(bytes), mask: u128::MAX >> (8 * (Self::MAX - len)), len }
    }

    /// Its length if `bytes` begin with it. At the very end of a text it may not be found.
    #[inline(always)]
    pub(super) fn begins(&self, bytes: &[u8]) -> Option<usize> {
        let head = u128::from_le_bytes(*bytes.first_chunk()?);
        (head & self.mask == self.bytes).then_some(self.len)
    }
}

/// Bytes to be looked for: those below a limit, and two others (or twice the same).
#[derive(Debug, Clone, Copy)]
pub(super) struct Special {
    below: u64,
    first: u64,
    second: u64,
}

impl Special {
    /// What JSON strings do not hold as it is.
    pub(super) const JSON: Special = Special::new(0x20, b'"', b'\\');

    /// `below` is at most 128.
    pub(super) const fn new(below: u8, first: u8, second: u8) -> Self {
        Special { below: ONES * below as u64, first: ONES * first as u64, second: ONES * second as u64 }
    }

    #[inline(always)]
    fn contains(self, byte: u8) -> bool {
        (byte < self.below as u8) | (byte == self.first as u8) | (byte == self.second as u8)
    }

    /// The lowest bit that is set belongs to the first byte that is special; higher ones may be wrong.
    #[inline(always)]
    fn mark(self, word: &[u8; WORD]) -> u64 {
        let word = u64::from_le_bytes(*word);
        let zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let below = word.wrapping_sub(self.below) & !word;
        (below | zero(word ^ self.first) | zero(word ^ self.second)) & HIGH_BITS
    }

    /// The position of the first special byte, or the length.
    #[inline]
    pub(super) fn find(self, bytes: &[u8]) -> usize {
        let (words, rest) = bytes.as_chunks::<WORD>();
        for (index, word) in words.iter().enumerate() {
            let mark = self.mark(word);
            if mark != 0 {
                return index * WORD + mark.trailing_zeros() as usize / 8;
            }
        }
        let in_rest = rest.iter().position(|&byte| self.contains(byte)).unwrap_or(rest.len());
        bytes.len() - rest.len() + in_rest
    }

    /// Appends `bytes` with `escape` in the place of each special one. Made for texts with many of them: what
    /// lies between is copied a word at a time.
    #[inline(always)]
    pub(super) fn put_escaped(self, out: &mut Vec<u8>, bytes: &[u8], escape: impl Fn(u8) -> Escape) {
        let mut buffer = [0; BUFFER];
        let mut len = 0;
        let (words, rest) = bytes.as_chunks::<WORD>();
        for word in words {
            // Room for a word in which everything is escaped.
            if len > BUFFER - WORD * MAX_ESCAPE {
                out.extend_from_slice(&buffer[..len]);
                len = 0;
            }
            if self.mark(word) == 0 {
                buffer[len..len + WORD].copy_from_slice(word);
                len += WORD;
            } else {
                len = self.put_bytes(&mut buffer, len, word, &escape);
            }
        }
        out.extend_from_slice(&buffer[..len]);
        len = self.put_bytes(&mut buffer, 0, rest, &escape);
        out.extend_from_slice(&buffer[..len]);
    }

    /// Puts the bytes of a word at `len`, one by one, and returns where they end.
    #[inline(always)]
    fn put_bytes(
        self,
        buffer: &mut [u8; BUFFER],
        mut len: usize,
        bytes: &[u8],
        escape: &impl Fn(u8) -> Escape,
    ) -> usize {
        for &byte in bytes {
            if !self.contains(byte) {
                buffer[len] = byte;
                len += 1;
                continue;
            }
            match escape(byte) {
                Escape::One(byte) => {
                    buffer[len] = byte;
                    len += 1;
                }
                Escape::Two([first, second]) => {
                    buffer[len] = first;
                    buffer[len + 1] = second;
                    len += 2;
                }
                Escape::Six(six) => {
                    buffer[len..len + MAX_ESCAPE].copy_from_slice(&six);
                    len += MAX_ESCAPE;
                }
            }
        }
        len
    }
}

/// What a special byte becomes.
pub(super) enum Escape {
    /// A byte.
    One(u8),
    /// Two of them.
    Two([u8; 2]),
    /// Six.
    Six([u8; MAX_ESCAPE]),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_at_every_position_of_every_length() {
        let special = Special::new(0x20, b'x', 0xff);
        for len in 0..40 {
            // Neighbours of special bytes, with all kinds of high bits.
            let mut bytes: Vec<_> = [0x20, 0x80, b'y', 0xfe, 0x9f].into_iter().cycle().take(len).collect();
            assert_eq!(special.find(&bytes), len);
            assert!(none(&bytes, |byte| special.contains(byte)));
            for at in (0..len).rev() {
                for byte in [b'x', 0xff, 0x00, 0x1f] {
                    bytes[at] = byte;
                    assert_eq!(special.find(&bytes), at, "length {len}");
                    assert!(!none(&bytes, |byte| special.contains(byte)));
                }
            }
        }
    }

    #[test]
    fn escapes_at_every_position_of_every_length() {
        let special = Special::new(b'a', b'x', b'y');
        let escape = |byte| match byte {
            b'x' => Escape::Two([b'\\', byte]),
            b'y' => Escape::Six(*b"012345"),
            other => Escape::One(other),
        };
        for len in 0..100 {
            for at in 0..=len {
                let mut bytes = vec![b'a'; len];
                bytes.iter_mut().skip(at).step_by(3).for_each(|byte| *byte = b'x');
                bytes.iter_mut().skip(at).step_by(7).for_each(|byte| *byte = b'y');
                bytes.iter_mut().skip(at).step_by(11).for_each(|byte| *byte = b'\n');
                let mut out = b"before".to_vec();
                special.put_escaped(&mut out, &bytes, escape);
                let text = String::from_utf8(bytes).expect("letters");
                let expected = format!("before{}", text.replace('x', "\\x").replace('y', "012345"));
                assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
            }
        }
        let mut out = Vec::new();
        special.put_escaped(&mut out, &[b'y'; 1000], escape);
        assert_eq!(out, b"012345".repeat(1000));
    }

    #[test]
    fn digits_are_counted_and_read_at_every_length() {
        let text = b"123456789012345678901234567890";
        for len in 0..=text.len() {
            for end in [&b""[..], b"/", b":", b"\xff", b"\x00", b"x1", b"\xb1\xb2\xb3"] {
                let bytes = [&text[..len], end].concat();
                assert_eq!(count_digits(&bytes), len, "{}", bytes.escape_ascii());
                let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<i64>().ok());
                let expected = number.filter(|_| (1..=18).contains(&bytes.len()));
                assert_eq!(short_number(&bytes), expected, "{}", bytes.escape_ascii());
            }
        }
        for (text, number) in
            [("00000000", 0), ("99999999", 99_999_999), ("999999999999999999", 999_999_999_999_999_999)]
        {
            assert_eq!(short_number(text.as_bytes()), Some(number));
        }
        for text in ["+1234567", "-12345678", "1234 678", "12345678 ", ""] {
            assert_eq!(short_number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn plain_text_has_no_nul_and_no_high_bit() {
        assert!(is_plain_text(b""));
        assert!(is_plain_text(b"abc\x01\x7f"));
        assert!(!is_plain_text(b"a\0"));
        assert!(!is_plain_text("é".as_bytes()));
    }
}
