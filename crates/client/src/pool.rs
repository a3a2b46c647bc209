//! Buffers for large frames, used again when nobody holds a slice of them any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Keeps a few large buffers. Allocating 64 KB and more costs a system call and a page fault per page
/// with many allocators, musl's above all.
#[derive(Debug)]
pub(crate) struct BufferPool {
    state: Mutex<State>,
    /// How large all of them may be together; what is in use beyond it leaves none idle.
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<Vec<u8>>,
    /// The capacity of the frames that somebody holds.
    used: usize,
    /// The part of it that their bytes do not fill.
    wasted: usize,
}

/// How much capacity frames that somebody holds may leave unfilled: a small answer in a large buffer keeps all of its
/// memory, and whoever counts the answers that wait counts only their bytes.
const MAX_WASTED: usize = 4 << 20;

impl BufferPool {
    pub(crate) fn new(max_bytes: usize) -> Arc<BufferPool> {
        Arc::new(BufferPool { state: Mutex::default(), max_bytes })
    }

    /// An empty buffer. Its capacity is whatever the pool has that suits best, perhaps none at all: a
    /// length that a peer claims allocates nothing.
    pub(crate) fn take(self: &Arc<Self>, wanted: usize) -> PooledBuffer {
        let free = &mut self.state().free;
        let fits = (0..free.len()).filter(|at| free[*at].capacity() >= wanted);
        let best = fits.min_by_key(|at| free[*at].capacity());
        let best = best.or_else(|| (0..free.len()).max_by_key(|at| free[*at].capacity()));
        let bytes = best.map(|at| free.swap_remove(at)).unwrap_or_default();
        PooledBuffer { bytes, pool: Arc::clone(self), is_frame: false }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn idle(&self) -> usize {
        self.free.iter().map(Vec::capacity).sum()
    }
}

fn unfilled(bytes: &Vec<u8>) -> usize {
    bytes.capacity() - bytes.len()
}

/// A buffer that goes back into its pool.
#[derive(Debug)]
pub(crate) struct PooledBuffer {
    pub(crate) bytes: Vec<u8>,
    pool: Arc<BufferPool>,
    /// Whether it is filled, and counted.
    is_frame: bool,
}

impl PooledBuffer {
    /// The filled buffer as refcounted bytes; it returns to the pool with the last slice.
    pub(crate) fn freeze(mut self) -> Bytes {
        let mut state = self.pool.state();
        if state.wasted + unfilled(&self.bytes) > MAX_WASTED {
            self.bytes.shrink_to_fit();
        }
        state.used += self.bytes.capacity();
        state.wasted += unfilled(&self.bytes);
        while state.used + state.idle() > self.pool.max_bytes && state.free.pop().is_some() {}
        drop(state);
        self.is_frame = true;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut state = self.pool.state();
        if self.is_frame {
            state.used -= bytes.capacity();
            state.wasted -= unfilled(&bytes);
        }
        bytes.clear();
        if bytes.capacity() > 0 && state.used + state.idle() + bytes.capacity() <= self.pool.max_bytes {
            state.free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used_and_idle(pool: &BufferPool) -> (usize, usize) {
        let state = pool.state();
        (state.used, state.idle())
    }

    #[test]
    fn a_buffer_returns_with_its_last_slice() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer = pool.take(1000);
        assert_eq!(buffer.bytes.capacity(), 0);
        buffer.bytes.extend_from_slice(&[7; 100_000]);
        let address = buffer.bytes.as_ptr();
        let all = buffer.freeze();
        let slice = all.slice(10..20);
        drop(all);
        assert_eq!(pool.take(1).bytes.capacity(), 0);
        drop(slice);
        let again = pool.take(1);
        assert_eq!((again.bytes.as_ptr(), again.bytes.len()), (address, 0));
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let pool = BufferPool::new(1000);
        let buffers = [600, 600, 300].map(|size| {
            let mut buffer = pool.take(0);
            buffer.bytes.reserve_exact(size);
            buffer
        });
        drop(buffers);
        let kept: Vec<usize> = pool.state().free.iter().map(Vec::capacity).collect();
        assert_eq!(kept, [600, 300]);
    }

    #[test]
    fn what_is_in_use_leaves_nothing_idle_beyond_the_limit() {
        let pool = BufferPool::new(1000);
        let of = |size| {
            let mut buffer = pool.take(size);
            buffer.bytes.reserve_exact(size);
            buffer.bytes.resize(size, 1);
            buffer
        };
        drop([of(300), of(400)]);
        let held = of(700).freeze();
        // 400 became 700, and beside these 300 may stay idle.
        assert_eq!(pool.state().idle(), 300);
        let more = of(500).freeze();
        assert_eq!(used_and_idle(&pool), (1200, 0));
        drop(held);
        assert_eq!(used_and_idle(&pool), (500, 0));
        drop(more);
        assert_eq!(used_and_idle(&pool), (0, 500));
    }

    #[test]
    fn small_frames_do_not_hold_large_buffers_for_long() {
        let pool = BufferPool::new(100 << 20);
        let buffers: Vec<_> = (0..8)
            .map(|_| {
                let mut buffer = pool.take(0);
                buffer.bytes.reserve_exact(4 << 20);
                buffer
            })
            .collect();
        drop(buffers);
        let used_and_wasted = || {
            let state = pool.state();
            (state.used, state.wasted)
        };
        let held: Vec<Bytes> = (0..8)
            .map(|_| {
                let mut buffer = pool.take(1 << 20);
                buffer.bytes.resize(1 << 20, 1);
                buffer.freeze()
            })
            .collect();
        assert_eq!(used_and_wasted(), ((8 + 3) << 20, 3 << 20));
        drop(held);
        assert_eq!(used_and_wasted(), (0, 0));
    }
}
