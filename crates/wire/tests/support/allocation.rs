//! An allocator that knows how much memory a piece of code held at once.

// An allocator cannot be written without: this one only counts around the system's.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// Bytes that this thread has allocated and not freed, and the most there have been.
    static LIVE: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, counted for each thread.
pub(crate) struct Counting;

fn count(bytes: isize) {
    // A thread that ends frees memory when its counters are gone.
    let _ = LIVE.try_with(|live| {
        let (now, peak) = live.get();
        live.set((now + bytes, peak.max(now + bytes)));
    });
}

// SAFETY: every call goes to the system's allocator with the caller's own arguments; counting touches a
// thread-local without a destructor and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both the old and the new block may exist while bytes move.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps to the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The most bytes that `run` held at once on this thread, beyond what there was before.
pub(crate) fn peak_of<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let (before, _) = LIVE.get();
    LIVE.set((before, before));
    let result = run();
    let (_, peak) = LIVE.get();
    ((peak - before) as usize, result)
}
