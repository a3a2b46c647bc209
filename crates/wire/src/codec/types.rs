//! The values of messages.

use std::{borrow::Borrow, fmt, ops::Deref};

use bytes::Bytes;

/// A string: a refcounted slice of the frame that it came in, or bytes of its own.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Str(Bytes);

impl Str {
    /// A string that lives as long as the program.
    pub const fn from_static(text: &'static str) -> Str {
        Str(Bytes::from_static(text.as_bytes()))
    }

    /// Takes bytes that are UTF-8.
    ///
    /// # Errors
    /// The place of the first byte that is not.
    pub fn from_utf8(bytes: Bytes) -> Result<Str, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Str(bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Every constructor has checked this. Checking again is cheaper than unsafe code in a parser of
        // untrusted bytes, and names are short.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// A copy that does not keep a whole frame in memory for the sake of a name.
    #[must_use]
    pub fn detach(&self) -> Str {
        Str(Bytes::copy_from_slice(&self.0))
    }

    /// The bytes of the text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<[u8]> for Str {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Str {
        Str(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Str {
    fn from(text: String) -> Str {
        Str(Bytes::from(text.into_bytes()))
    }
}

impl From<&String> for Str {
    fn from(text: &String) -> Str {
        Str::from(text.as_str())
    }
}

impl From<&Str> for Str {
    fn from(text: &Str) -> Str {
        text.clone()
    }
}

impl From<Str> for String {
    fn from(text: Str) -> String {
        text.to_string()
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A UUID; topic ids above all. All zero means none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// No id.
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// Whether this is no id.
    pub fn is_zero(&self) -> bool {
        *self == Uuid::ZERO
    }

    /// Reads the form that Kafka's tools print: 22 letters of URL-safe base64.
    pub fn parse(text: &str) -> Option<Uuid> {
        let text = text.as_bytes();
        if text.len() != 22 {
            return None;
        }
        let mut bits: u128 = 0;
        for (at, letter) in text.iter().enumerate() {
            let value = BASE64URL.iter().position(|known| known == letter)? as u128;
            // The last letter carries the last two of the 128 bits.
            bits = if at < 21 { bits << 6 | value } else { bits << 2 | value >> 4 };
        }
        Some(Uuid(bits.to_be_bytes()))
    }
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = String::with_capacity(22);
        for at in 0..22 {
            let value = if at < 21 { bits >> (122 - 6 * at) } else { bits << 4 };
            text.push(BASE64URL[(value & 63) as usize] as char);
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Record batches as they stand on the wire, in one piece or several (so that a broker can answer with
/// slices of its log).
#[derive(Clone, Default)]
pub struct RecordBytes {
    first: Bytes,
    rest: Vec<Bytes>,
}

impl RecordBytes {
    /// Several pieces, to be sent one after the other.
    pub fn from_parts(parts: impl IntoIterator<Item = Bytes>) -> RecordBytes {
        let mut parts = parts.into_iter();
        RecordBytes { first: parts.next().unwrap_or_default(), rest: parts.collect() }
    }

    /// The pieces, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The number of bytes in all pieces.
    pub fn len(&self) -> usize {
        self.parts().map(Bytes::len).sum()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.parts().all(Bytes::is_empty)
    }

    /// All bytes in one piece; copies only if there are several.
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut all = Vec::with_capacity(self.len());
        for part in self.parts() {
            all.extend_from_slice(part);
        }
        all.into()
    }
}

impl From<Bytes> for RecordBytes {
    fn from(first: Bytes) -> RecordBytes {
        RecordBytes { first, rest: Vec::new() }
    }
}

impl PartialEq for RecordBytes {
    fn eq(&self, other: &RecordBytes) -> bool {
        self.len() == other.len()
            && self.parts().flat_map(|part| part.iter()).eq(other.parts().flat_map(|part| part.iter()))
    }
}

impl fmt::Debug for RecordBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Records hold what users store: their bytes have no business in a log.
        write!(f, "RecordBytes({} bytes)", self.len())
    }
}

/// Tagged fields (KIP-482) that the schema does not know, by ascending tag.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaggedFields(pub Vec<(u32, Bytes)>);
