//! Looking for the few bytes that need care, many bytes at a time.

/// How many bytes are looked at together. A fixed length lets the compiler use vector instructions.
const BLOCK: usize = 32;

/// The position of the first byte for which `special` holds, or the length.
///
/// `special` must be a plain combination of comparisons: it is evaluated for whole blocks without branches.
#[inline(always)]
pub(super) fn find(bytes: &[u8], special: impl Fn(u8) -> bool + Copy) -> usize {
    let any = |block: &[u8; BLOCK]| block.iter().fold(0u8, |seen, &byte| seen | u8::from(special(byte))) != 0;
    let (blocks, tail) = bytes.as_chunks::<BLOCK>();
    for (index, block) in blocks.iter().enumerate() {
        if any(block) {
            let within = block.iter().position(|&byte| special(byte)).unwrap_or(BLOCK);
            return index * BLOCK + within;
        }
    }
    // The end overlaps what was looked at already: one more block instead of up to 31 single bytes.
    if !tail.is_empty() && bytes.last_chunk::<BLOCK>().is_some_and(|last| !any(last)) {
        return bytes.len();
    }
    let before = bytes.len() - tail.len();
    before + tail.iter().position(|&byte| special(byte)).unwrap_or(tail.len())
}

/// Text that every COPY format takes as it is: ASCII without NUL. What is not may still be valid.
#[inline]
pub(super) fn is_plain_text(bytes: &[u8]) -> bool {
    find(bytes, |byte| (byte as i8) <= 0) == bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_at_every_position_of_every_length() {
        for len in 0..100 {
            let mut bytes = vec![b'a'; len];
            assert_eq!(find(&bytes, |byte| byte == b'x'), len);
            for at in (0..len).rev() {
                bytes[at] = b'x';
                assert_eq!(find(&bytes, |byte| byte == b'x'), at, "length {len}");
            }
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
