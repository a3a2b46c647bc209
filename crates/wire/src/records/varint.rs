//! Zigzag varints, as records use them: lengths of one and two bytes are the fast path.

/// The most bytes a 64-bit varint takes.
pub(super) const MAX_LEN_64: usize = 10;

/// Bytes that [`Cursor`] has not taken yet. `None` from a read means that they ended, or that a varint is
/// longer than its type allows.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    #[inline(always)]
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    #[inline(always)]
    pub(super) fn varint(&mut self) -> Option<i32> {
        match *self.0 {
            [a, ref rest @ ..] if a < 0x80 => {
                self.0 = rest;
                Some(zigzag_32(u32::from(a)))
            }
            [a, b, ref rest @ ..] if b < 0x80 => {
                self.0 = rest;
                Some(zigzag_32(u32::from(a & 0x7f) | u32::from(b) << 7))
            }
            // Kafka drops what overflows in the fifth byte: so does this.
            _ => {
                let (value, rest) = long_form(self.0, 5)?;
                self.0 = rest;
                Some(zigzag_32(value as u32))
            }
        }
    }

    #[inline(always)]
    pub(super) fn varlong(&mut self) -> Option<i64> {
        match *self.0 {
            [a, ref rest @ ..] if a < 0x80 => {
                self.0 = rest;
                Some(zigzag_64(u64::from(a)))
            }
            [a, b, ref rest @ ..] if b < 0x80 => {
                self.0 = rest;
                Some(zigzag_64(u64::from(a & 0x7f) | u64::from(b) << 7))
            }
            _ => {
                let (value, rest) = long_form(self.0, MAX_LEN_64)?;
                self.0 = rest;
                Some(zigzag_64(value))
            }
        }
    }

    /// Bytes behind a varint length: `Some(None)` for a negative length, which means null.
    #[inline(always)]
    pub(super) fn nullable_bytes(&mut self) -> Option<Option<&'a [u8]>> {
        let len = self.varint()?;
        match usize::try_from(len) {
            Ok(len) => self.take(len).map(Some),
            Err(_) => Some(None),
        }
    }
}

/// A varint of any length, and what follows it. By value: a cursor whose address is taken would live in memory
/// instead of registers.
#[inline(never)]
fn long_form(bytes: &[u8], max_len: usize) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().take(max_len).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[inline(always)]
fn zigzag_32(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[inline(always)]
fn zigzag_64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[inline(always)]
fn unzigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// How many bytes `value` takes. A 32-bit varint is the 64-bit one of the same number.
#[inline(always)]
pub(super) fn len_of(value: i64) -> usize {
    let bits = 64 - (unzigzag(value) | 1).leading_zeros() as usize;
    // Exact for 1 to 64 bits: a division by 7, rounded up, without dividing.
    (bits * 37 + 222) >> 8
}

/// Writes `value` at `at` and returns the position behind it; `out` must have room.
#[inline(always)]
pub(super) fn put(out: &mut [u8], at: usize, value: i64) -> usize {
    let value = unzigzag(value);
    if value < 0x80 {
        out[at] = value as u8;
        return at + 1;
    }
    if value < 0x4000 {
        out[at] = value as u8 | 0x80;
        out[at + 1] = (value >> 7) as u8;
        return at + 2;
    }
    put_long(out, at, value)
}

/// The largest size whose varint [`put_short`] and [`short`] can write.
pub(super) const MAX_SHORT: usize = (1 << 20) - 1;

/// The varint of a number whose size is at most [`MAX_SHORT`]: up to three bytes, the first one lowest, and how
/// many they are.
#[inline(always)]
pub(super) fn short(value: i64) -> (u32, usize) {
    let value = unzigzag(value) as u32;
    if value < 0x80 {
        (value, 1)
    } else if value < 0x4000 {
        (value & 0x7f | 0x80 | (value & 0x3f80) << 1, 2)
    } else {
        (value & 0x7f | 0x80 | (value & 0x3f80) << 1 | 0x8000 | (value & 0x1f_c000) << 2, 3)
    }
}

/// [`put`] of a number whose size is at most [`MAX_SHORT`], in one store of four bytes: `out` must have room for
/// them.
#[inline(always)]
pub(super) fn put_short(out: &mut [u8], at: usize, value: i64) -> usize {
    let (bytes, len) = short(value);
    out[at..at + 4].copy_from_slice(&bytes.to_le_bytes());
    at + len
}

#[inline(never)]
fn put_long(out: &mut [u8], mut at: usize, mut value: u64) -> usize {
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges() -> impl Iterator<Item = i64> {
        (0..64).flat_map(|shift| {
            let power = 1i64 << shift;
            [power.wrapping_sub(1), power, power.wrapping_neg(), !power]
        })
    }

    #[test]
    fn every_length_comes_back_and_is_predicted() {
        for value in edges() {
            let mut out = [0; MAX_LEN_64];
            let end = put(&mut out, 0, value);
            assert_eq!(end, len_of(value), "{value}");
            let mut cursor = Cursor(&out[..end]);
            assert_eq!(cursor.varlong(), Some(value));
            assert!(cursor.0.is_empty());
            if let Ok(small) = i32::try_from(value) {
                assert_eq!(Cursor(&out[..end]).varint(), Some(small));
            }
            if value.unsigned_abs() <= MAX_SHORT as u64 {
                let mut stored = [0xff; MAX_LEN_64];
                assert_eq!((put_short(&mut stored, 1, value), &stored[1..=end]), (1 + end, &out[..end]));
                assert_eq!(short(value).1, end);
            }
            for cut in 0..end {
                assert_eq!(Cursor(&out[..cut]).varlong(), None, "{value} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_varint_that_goes_on_too_long_is_refused() {
        assert_eq!(Cursor(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).varint(), None);
        assert_eq!(Cursor(&[0x80, 0x80, 0x80, 0x80, 0x00]).varint(), Some(0));
        assert_eq!(Cursor(&[0x80; 11]).varlong(), None);
    }
}
