//! `memcpy` and `memmove` of the static binary.
//!
//! musl's own start `rep movsq` for every length, which takes longer than copying a record of 100 bytes: a third of the
//! time of reading a topic went there. Fields, keys and values are short, so short copies are a few overlapping
//! loads and stores here, and only long ones go to the processor's string instruction.
//!
//! The symbols take the place of the C library's, for every crate in the binary.
#![allow(unsafe_code, reason = "it stands in for the C library")]

use std::arch::{
    asm,
    x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128},
};

/// From here on the string instruction pays for its start.
const LONG: usize = 1024;
const BLOCK: usize = 2 * size_of::<__m128i>();

/// Two registers full of bytes.
type Block = (__m128i, __m128i);

/// # Safety
/// `BLOCK` bytes at `from` can be read.
#[inline(always)]
unsafe fn load(from: *const u8) -> Block {
    let from = from.cast::<__m128i>();
    // SAFETY: two registers are a block, which the caller vouches for; neither needs to be aligned.
    unsafe { (_mm_loadu_si128(from), _mm_loadu_si128(from.add(1))) }
}

/// # Safety
/// `BLOCK` bytes at `to` can be written.
#[inline(always)]
unsafe fn store(to: *mut u8, block: Block) {
    let to = to.cast::<__m128i>();
    // SAFETY: as in `load`.
    unsafe {
        _mm_storeu_si128(to, block.0);
        _mm_storeu_si128(to.add(1), block.1);
    }
}

/// Copies `T` at both ends, which is all of `size_of::<T>()` to twice as many bytes. All is read before anything is
/// written, so the two may overlap.
///
/// # Safety
/// `len` bytes at `from` can be read, and at `to` be written; `T` is no larger than that, and any bytes are a `T`.
#[inline(always)]
unsafe fn copy_ends<T: Copy>(to: *mut u8, from: *const u8, len: usize) {
    let behind = len - size_of::<T>();
    // SAFETY: both values lie within the `len` bytes that the caller vouches for.
    unsafe {
        let head = from.cast::<T>().read_unaligned();
        let tail = from.add(behind).cast::<T>().read_unaligned();
        to.cast::<T>().write_unaligned(head);
        to.add(behind).cast::<T>().write_unaligned(tail);
    }
}

/// Copies up to a block, overlapping or not.
///
/// # Safety
/// As [`copy_ends`], with `len <= BLOCK`.
#[inline(always)]
unsafe fn copy_short(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: each size is at most `len` in its range.
    unsafe {
        match len {
            0 => {}
            1 => *to = *from,
            2..4 => copy_ends::<u16>(to, from, len),
            4..8 => copy_ends::<u32>(to, from, len),
            8..16 => copy_ends::<u64>(to, from, len),
            _ => copy_ends::<__m128i>(to, from, len),
        }
    }
}

/// Copies more than a block, from the first byte to the last: what is written may lie before what is read.
///
/// # Safety
/// `len` bytes at `from` can be read, and at `to` be written, `len > BLOCK`, and `to` does not lie within the bytes to
/// be read.
#[inline(always)]
unsafe fn copy_forward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: `at + BLOCK <= len` for each block, and the last one ends at `len`. It is read first, since blocks that
    // are written may reach it.
    unsafe {
        let last = load(from.add(len - BLOCK));
        if len < LONG {
            let mut at = 0;
            while at + BLOCK < len {
                store(to.add(at), load(from.add(at)));
                at += BLOCK;
            }
        } else {
            // The direction flag is clear, as the calling convention has it.
            asm!(
                "rep movsq",
                inout("rcx") (len - 1) / 8 => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                options(nostack, preserves_flags)
            );
        }
        store(to.add(len - BLOCK), last);
    }
}

/// Copies more than a block, from the last byte to the first: what is written may lie behind what is read.
///
/// # Safety
/// As [`copy_forward`], with the ends changed.
#[inline(always)]
unsafe fn copy_backward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: `BLOCK <= at <= len` for each block, and the first one begins at 0.
    unsafe {
        let first = load(from);
        let mut at = len;
        while at > BLOCK {
            at -= BLOCK;
            store(to.add(at), load(from.add(at)));
        }
        store(to, first);
    }
}

/// C's `memcpy`.
///
/// # Safety
/// As in C.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller's promise is that of C.
    unsafe {
        if len <= BLOCK {
            copy_short(to, from, len);
        } else {
            copy_forward(to, from, len);
        }
    }
    to
}

/// C's `memmove`.
///
/// # Safety
/// As in C.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller's promise is that of C. Where `to` lies within what is read the difference is below `len`.
    unsafe {
        if len <= BLOCK {
            copy_short(to, from, len);
        } else if to.addr().wrapping_sub(from.addr()) >= len {
            copy_forward(to, from, len);
        } else {
            copy_backward(to, from, len);
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length around each limit, at every alignment and distance: what `copy_within` does, and nothing beside it.
    #[test]
    fn copies_what_the_standard_library_copies() {
        let lengths = (0..200).chain(LONG - 70..LONG + 70).chain([4096, 4097]);
        for len in lengths {
            for distance in [-100, -33, -32, -16, -7, -1, 0, 1, 7, 8, 16, 31, 32, 33, 100] {
                let from = 128 + len % 17;
                let to = from.checked_add_signed(distance).expect("in the buffer");
                let mut bytes: Vec<u8> = (0..len + 512).map(|at| (at * 7 + at / 256) as u8).collect();
                let mut expected = bytes.clone();
                expected.copy_within(from..from + len, to);
                let start = bytes.as_mut_ptr();
                // SAFETY: both ranges lie in the buffer.
                unsafe { memmove(start.add(to), start.add(from), len) };
                assert_eq!(bytes, expected, "{len} bytes, {distance} further");

                let mut copy = vec![0xaa; len + 64];
                // SAFETY: the two are different buffers.
                unsafe { memcpy(copy.as_mut_ptr().add(32), bytes.as_ptr().add(from), len) };
                assert_eq!(copy[32..][..len], bytes[from..][..len], "{len} bytes");
                assert!(copy[..32].iter().chain(&copy[32 + len..]).all(|byte| *byte == 0xaa), "{len} bytes");
            }
        }
    }
}
