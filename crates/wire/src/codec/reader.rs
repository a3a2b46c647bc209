//! The reader: bounded against hostile bytes.

use bytes::Bytes;

use super::{
    error::{DecodeError, DecodeErrorKind},
    types::{RecordBytes, Str, TaggedFields, Uuid},
};

/// What decoded elements may take beyond twice their frame: a small frame of many small elements is
/// legitimate, a huge one is not.
const ELEMENT_ALLOWANCE: usize = 64 << 20;
/// What they may take for each byte of a frame that is not huge. Of legitimate ones, long lists of topics with short
/// names come closest.
const ELEMENT_RATIO: usize = 16;
/// What they may take in the smallest frame.
const LEAST_ALLOWANCE: usize = 1 << 20;

/// Reads one frame.
///
/// Strings, bytes and records are refcounted slices of the frame. A message is walked through before any of
/// its elements is stored, so that one that is malformed anywhere allocates nothing, whatever its counts and
/// lengths say.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
    message: &'static str,
    version: i16,
    /// How much memory the elements of arrays may still take.
    allowance: usize,
    /// Whether this is the walk before the reading: elements are read and dropped.
    walking: bool,
    /// Whether nothing may follow the message.
    expects_end: bool,
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident $kind:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// Too few bytes.
        pub fn $name(&mut self) -> Result<$kind, DecodeError> {
            const SIZE: usize = size_of::<$kind>();
            match self.rest().first_chunk::<SIZE>() {
                Some(chunk) => {
                    let value = <$kind>::from_be_bytes(*chunk);
                    self.position += SIZE;
                    Ok(value)
                }
                None => Err(self.short(SIZE)),
            }
        }
    )*};
}

impl Reader {
    /// Reads a frame from its first byte.
    pub fn new(bytes: Bytes) -> Reader {
        let of_huge = bytes.len().saturating_mul(2).saturating_add(ELEMENT_ALLOWANCE);
        let allowance =
            bytes.len().saturating_mul(ELEMENT_RATIO).saturating_add(LEAST_ALLOWANCE).min(of_huge);
        Reader {
            bytes,
            position: 0,
            message: "frame",
            version: 0,
            allowance,
            walking: false,
            expects_end: false,
        }
    }

    /// Names the message that is read from here on, for errors.
    pub(super) fn begin(&mut self, message: &'static str, version: i16) {
        (self.message, self.version) = (message, version);
    }

    /// Reads a message twice: the first time to see that it is one, and that its elements keep within their
    /// allowance.
    pub(crate) fn whole<T>(
        &mut self,
        version: i16,
        read: fn(&mut Reader, i16) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let start = self.position;
        self.walking = true;
        let walked = read(self, version).map(drop);
        self.walking = false;
        walked?;
        if self.expects_end && self.remaining() > 0 {
            return Err(self.error(DecodeErrorKind::TrailingBytes(self.remaining())));
        }
        self.position = start;
        read(self, version)
    }

    /// Takes the memory of what the message holds out of its allowance.
    fn charge(&mut self, memory: usize) -> Result<(), DecodeError> {
        if self.walking {
            let rest = self.allowance.checked_sub(memory);
            self.allowance = rest.ok_or_else(|| self.error(DecodeErrorKind::TooLarge))?;
        }
        Ok(())
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// From here on, bytes behind the message that is read are an error.
    pub fn expect_end(&mut self) {
        self.expects_end = true;
    }

    pub(super) fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(self.message, self.version, self.position, kind)
    }

    #[cold]
    fn short(&self, needed: usize) -> DecodeError {
        self.error(DecodeErrorKind::UnexpectedEnd { needed, remaining: self.remaining() })
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.position..]
    }

    numbers! {
        /// An int8.
        i8 i8;
        /// An int16, big-endian as all numbers here.
        i16 i16;
        /// A uint16.
        u16 u16;
        /// An int32.
        i32 i32;
        /// A uint32.
        u32 u32;
        /// An int64.
        i64 i64;
        /// A float64.
        f64 f64;
    }

    /// A bool: anything but 0 is true, as Kafka's own reader has it.
    ///
    /// # Errors
    /// Too few bytes.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// A UUID.
    ///
    /// # Errors
    /// Too few bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        match self.rest().first_chunk::<16>() {
            Some(chunk) => {
                let value = Uuid(*chunk);
                self.position += 16;
                Ok(value)
            }
            None => Err(self.short(16)),
        }
    }

    /// An unsigned varint of at most five bytes.
    ///
    /// # Errors
    /// Too few bytes, or a number beyond 32 bits.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value: u64 = 0;
        for (at, byte) in self.rest().iter().take(5).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                let value = u32::try_from(value).map_err(|_| self.error(DecodeErrorKind::InvalidVarint))?;
                self.position += at + 1;
                return Ok(value);
            }
        }
        Err(if self.remaining() < 5 { self.short(1) } else { self.error(DecodeErrorKind::InvalidVarint) })
    }

    /// The length of a string, of bytes or of an array; None for null.
    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return Ok(self.unsigned_varint()?.checked_sub(1).map(|length| length as usize));
        }
        self.signed_length(|r| r.i32().map(i64::from))
    }

    fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            let length = self.length(true)?;
            return match length {
                // Kafka refuses longer ones though the compact form could carry them.
                Some(length) if length > i16::MAX as usize => {
                    Err(self.error(DecodeErrorKind::InvalidLength(length as i64)))
                }
                length => Ok(length),
            };
        }
        self.signed_length(|r| r.i16().map(i64::from))
    }

    fn signed_length(
        &mut self,
        read: impl FnOnce(&mut Reader) -> Result<i64, DecodeError>,
    ) -> Result<Option<usize>, DecodeError> {
        match read(self)? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(self.error(DecodeErrorKind::InvalidLength(length))),
            },
        }
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.short(length));
        }
        let bytes = self.bytes.slice(self.position..self.position + length);
        self.position += length;
        Ok(bytes)
    }

    fn not_null<T>(&self, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or_else(|| self.error(DecodeErrorKind::UnexpectedNull))
    }

    /// A string.
    ///
    /// # Errors
    /// Too few bytes, null, or not UTF-8.
    pub fn string(&mut self, flexible: bool) -> Result<Str, DecodeError> {
        let value = self.nullable_string(flexible)?;
        self.not_null(value)
    }

    /// A string or null.
    ///
    /// # Errors
    /// Too few bytes, or not UTF-8.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Str>, DecodeError> {
        let Some(length) = self.string_length(flexible)? else { return Ok(None) };
        let bytes = self.slice(length)?;
        Str::from_utf8(bytes).map(Some).map_err(|_| self.error(DecodeErrorKind::InvalidUtf8))
    }

    /// Bytes.
    ///
    /// # Errors
    /// Too few bytes, or null.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        let value = self.nullable_bytes(flexible)?;
        self.not_null(value)
    }

    /// Bytes or null.
    ///
    /// # Errors
    /// Too few bytes.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        let Some(length) = self.length(flexible)? else { return Ok(None) };
        self.slice(length).map(Some)
    }

    /// Record batches.
    ///
    /// # Errors
    /// Too few bytes, or null.
    pub fn records(&mut self, flexible: bool) -> Result<RecordBytes, DecodeError> {
        self.bytes(flexible).map(RecordBytes::from)
    }

    /// Record batches or null.
    ///
    /// # Errors
    /// Too few bytes.
    pub fn nullable_records(&mut self, flexible: bool) -> Result<Option<RecordBytes>, DecodeError> {
        Ok(self.nullable_bytes(flexible)?.map(RecordBytes::from))
    }

    /// An array. `least` is the least size of an element in bytes.
    ///
    /// # Errors
    /// Null, a count that the remaining bytes cannot hold, or an element's own error.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        least: usize,
        read: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let value = self.nullable_array(flexible, least, read)?;
        self.not_null(value)
    }

    /// An array or null.
    ///
    /// # Errors
    /// A count that the remaining bytes cannot hold, or an element's own error.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        least: usize,
        mut read: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible)? else { return Ok(None) };
        let remaining = self.remaining();
        if count.saturating_mul(least) > remaining {
            return Err(self.error(DecodeErrorKind::ImpossibleCount { count: count as i64, remaining }));
        }
        self.charge(count.saturating_mul(size_of::<T>()))?;
        let mut items = Vec::with_capacity(if self.walking { 0 } else { count });
        for index in 0..count {
            let item = read(self).map_err(|error| error.in_index(index))?;
            if !self.walking {
                items.push(item);
            }
        }
        Ok(Some(items))
    }

    /// A struct behind a byte that says whether it is there.
    ///
    /// # Errors
    /// The struct's own error, or a byte that is neither -1 nor 1.
    pub fn nullable_struct<T>(
        &mut self,
        read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.i8()? {
            // Kafka takes every negative number for null and all others for a struct that follows; it
            // writes but these two.
            -1 => Ok(None),
            1 => read(self).map(Some),
            byte => Err(self.error(DecodeErrorKind::InvalidPresence(byte))),
        }
    }

    /// The section of tagged fields. `known` reads a tag that it knows and says so; the others are
    /// returned.
    ///
    /// # Errors
    /// Too few bytes, or a field whose content does not have the size that it claims.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(&mut Reader, u32) -> Result<bool, DecodeError>,
    ) -> Result<TaggedFields, DecodeError> {
        let count = self.unsigned_varint()?;
        let remaining = self.remaining();
        // A tag and a size take a byte each.
        if count as usize > remaining / 2 {
            return Err(self.error(DecodeErrorKind::ImpossibleCount { count: i64::from(count), remaining }));
        }
        let mut unknown = Vec::new();
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            if size > self.remaining() {
                return Err(self.short(size));
            }
            let end = self.position + size;
            if known(self, tag)? {
                if self.position != end {
                    return Err(self.error(DecodeErrorKind::TaggedFieldSize { tag }));
                }
            } else {
                self.charge(size_of::<(u32, Bytes)>())?;
                let field = (tag, self.slice(size)?);
                if !self.walking {
                    unknown.push(field);
                }
            }
        }
        Ok(TaggedFields(unknown))
    }
}
