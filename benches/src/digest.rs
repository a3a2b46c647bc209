//! What a stream of lines contained, small enough to compare.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
};

/// The lines of a stream: how many, which ones in any order, and in which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest {
    /// How many lines.
    pub(crate) lines: u64,
    /// The same for the same lines in another order.
    pub(crate) unordered: u64,
    /// Another one for the same lines in another order.
    pub(crate) ordered: u64,
}

impl Digest {
    /// Adds a line, without its newline.
    pub(crate) fn add(&mut self, line: &[u8]) {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        let hash = hasher.finish();
        self.lines += 1;
        self.unordered = self.unordered.wrapping_add(hash);
        self.ordered = self.ordered.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash;
    }

    /// The lines of `from`, read to its end. A last line without a newline counts.
    pub(crate) fn of(mut from: impl Read) -> io::Result<Self> {
        let mut digest = Self::default();
        let mut buffer = vec![0; 1 << 20];
        let mut held = 0;
        loop {
            if held == buffer.len() {
                buffer.resize(2 * held, 0);
            }
            let read = match from.read(&mut buffer[held..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if read == 0 {
                break;
            }
            let filled = held + read;
            let mut start = 0;
            for newline in memchr::memchr_iter(b'\n', &buffer[..filled]) {
                digest.add(&buffer[start..newline]);
                start = newline + 1;
            }
            buffer.copy_within(start..filled, 0);
            held = filled - start;
        }
        if held > 0 {
            digest.add(&buffer[..held]);
        }
        Ok(digest)
    }

    /// The same lines, in the same order where there is one.
    pub(crate) fn matches(&self, other: &Self, ordered: bool) -> bool {
        if ordered { self == other } else { self.lines == other.lines && self.unordered == other.unordered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_told_apart_from_content() {
        let digest = |text: &str| Digest::of(text.as_bytes()).unwrap();
        let (forth, back, other) = (digest("a\nb\nc\n"), digest("c\nb\na"), digest("a\nb\nd\n"));
        assert_eq!(forth.lines, 3);
        assert!(forth.matches(&back, false));
        assert!(!forth.matches(&back, true));
        assert!(!forth.matches(&other, false));
        assert!(forth.matches(&digest("a\nb\nc"), true));
    }

    #[test]
    fn a_line_longer_than_the_buffer_is_one_line() {
        let line = vec![b'x'; 3 << 20];
        let mut expected = Digest::default();
        expected.add(&line);
        assert_eq!(Digest::of(&line[..]).unwrap(), expected);
    }
}
