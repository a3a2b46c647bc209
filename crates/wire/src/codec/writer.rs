//! The writer: gathers a frame in pieces, so that records are not copied.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    error::EncodeError,
    types::{RecordBytes, Str, TaggedFields, Uuid},
};

/// Records of at least this size travel as a piece of their own; copying less is cheaper than one more
/// slice to send.
const PIECE_BYTES: usize = 4096;

/// Collects a message: small values are copied, large records are kept as refcounted slices.
#[derive(Debug, Default)]
pub struct Writer {
    pieces: Vec<Bytes>,
    pieces_len: usize,
    tail: BytesMut,
}

macro_rules! numbers {
    ($($name:ident $kind:ty;)*) => {$(
        #[doc = concat!("Appends a ", stringify!($kind), ", big-endian.")]
        pub fn $name(&mut self, value: $kind) {
            self.tail.extend_from_slice(&value.to_be_bytes());
        }
    )*};
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// The bytes so far.
    pub fn len(&self) -> usize {
        self.pieces_len + self.tail.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces, in order.
    pub fn into_pieces(mut self) -> Vec<Bytes> {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.freeze());
        }
        self.pieces
    }

    /// All bytes in one piece; copies only if there are several.
    pub fn into_bytes(self) -> Bytes {
        RecordBytes::from_parts(self.into_pieces()).into_bytes()
    }

    numbers! {
        put_i8 i8;
        put_i16 i16;
        put_u16 u16;
        put_i32 i32;
        put_u32 u32;
        put_i64 i64;
        put_f64 f64;
    }

    /// Appends a bool.
    pub fn put_bool(&mut self, value: bool) {
        self.tail.put_u8(value.into());
    }

    /// Appends a UUID.
    pub fn put_uuid(&mut self, value: Uuid) {
        self.tail.extend_from_slice(&value.0);
    }

    /// Appends an unsigned varint.
    pub fn put_unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.tail.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.tail.put_u8(value as u8);
    }

    /// Appends null in place of bytes, records or an array.
    pub fn put_null(&mut self, flexible: bool) {
        if flexible { self.tail.put_u8(0) } else { self.put_i32(-1) }
    }

    /// Appends null in place of a string.
    pub fn put_null_string(&mut self, flexible: bool) {
        if flexible { self.tail.put_u8(0) } else { self.put_i16(-1) }
    }

    /// Appends the length of bytes, records or an array.
    ///
    /// # Errors
    /// More than the protocol can count.
    pub fn put_count(&mut self, count: usize, flexible: bool) -> Result<(), EncodeError> {
        let short = i32::try_from(count).map_err(|_| EncodeError::too_long(count))?;
        if flexible {
            self.put_unsigned_varint(short as u32 + 1)
        } else {
            self.put_i32(short)
        }
        Ok(())
    }

    /// Appends a string.
    ///
    /// # Errors
    /// More than 32,767 bytes.
    pub fn put_string(&mut self, value: &Str, flexible: bool) -> Result<(), EncodeError> {
        let bytes = value.as_bytes();
        let short = i16::try_from(bytes.len()).map_err(|_| EncodeError::too_long(bytes.len()))?;
        if flexible {
            self.put_unsigned_varint(short as u32 + 1)
        } else {
            self.put_i16(short)
        }
        self.tail.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// More than the protocol can count.
    pub fn put_bytes(&mut self, value: &Bytes, flexible: bool) -> Result<(), EncodeError> {
        self.put_count(value.len(), flexible)?;
        self.put_slice_of(value);
        Ok(())
    }

    /// Appends record batches.
    ///
    /// # Errors
    /// More than the protocol can count.
    pub fn put_records(&mut self, value: &RecordBytes, flexible: bool) -> Result<(), EncodeError> {
        self.put_count(value.len(), flexible)?;
        value.parts().for_each(|part| self.put_slice_of(part));
        Ok(())
    }

    fn put_slice_of(&mut self, bytes: &Bytes) {
        if bytes.len() < PIECE_BYTES {
            self.tail.extend_from_slice(bytes);
            return;
        }
        if !self.tail.is_empty() {
            self.pieces_len += self.tail.len();
            self.pieces.push(self.tail.split().freeze());
        }
        self.pieces_len += bytes.len();
        self.pieces.push(bytes.clone());
    }

    /// Collects tagged fields, to be appended with [`Writer::put_tagged_fields`].
    pub fn tagged_fields(&self) -> TaggedWriter {
        TaggedWriter::default()
    }

    /// Appends a section of tagged fields, the unknown ones among them, by ascending tag.
    pub fn put_tagged_fields(&mut self, known: TaggedWriter, unknown: &TaggedFields) {
        self.put_unsigned_varint((known.fields.len() + unknown.0.len()) as u32);
        let mut unknown = unknown.0.iter().peekable();
        for (tag, field) in known.fields {
            while let Some((tag, bytes)) = unknown.next_if(|(other, _)| *other < tag) {
                self.put_tagged(*tag, std::slice::from_ref(bytes));
            }
            self.put_tagged(tag, &field.into_pieces());
        }
        for (tag, bytes) in unknown {
            self.put_tagged(*tag, std::slice::from_ref(bytes));
        }
    }

    fn put_tagged(&mut self, tag: u32, pieces: &[Bytes]) {
        self.put_unsigned_varint(tag);
        self.put_unsigned_varint(pieces.iter().map(Bytes::len).sum::<usize>() as u32);
        pieces.iter().for_each(|piece| self.put_slice_of(piece));
    }
}

/// Tagged fields on their way: each is written apart, since its size comes first.
#[derive(Debug, Default)]
pub struct TaggedWriter {
    fields: Vec<(u32, Writer)>,
}

impl TaggedWriter {
    /// Where the next field is written. Tags ascend.
    pub fn field(&mut self, tag: u32) -> &mut Writer {
        self.fields.push((tag, Writer::new()));
        &mut self.fields.last_mut().expect("just pushed").1
    }
}
