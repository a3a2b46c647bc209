//! Buffers for large frames, used again when nobody holds a slice of them any more.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Keeps a few large buffers. Allocating 64 KB and more costs a system call and a page fault per page
/// with many allocators, musl's above all.
#[derive(Debug)]
pub(crate) struct BufferPool {
    free: Mutex<Vec<Vec<u8>>>,
    /// The most that is kept without use.
    max_idle_bytes: usize,
}

impl BufferPool {
    pub(crate) fn new(max_idle_bytes: usize) -> Arc<BufferPool> {
        Arc::new(BufferPool { free: Mutex::default(), max_idle_bytes })
    }

    /// An empty buffer. Its capacity is whatever the pool has that suits best, perhaps none at all: a
    /// length that a peer claims allocates nothing.
    pub(crate) fn take(self: &Arc<Self>, wanted: usize) -> PooledBuffer {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = (0..free.len()).filter(|at| free[*at].capacity() >= wanted);
        let best = fits.min_by_key(|at| free[*at].capacity());
        let best = best.or_else(|| (0..free.len()).max_by_key(|at| free[*at].capacity()));
        let bytes = best.map(|at| free.swap_remove(at)).unwrap_or_default();
        drop(free);
        PooledBuffer { bytes, pool: Arc::clone(self) }
    }

    fn put(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let idle: usize = free.iter().map(Vec::capacity).sum();
        if bytes.capacity() > 0 && idle + bytes.capacity() <= self.max_idle_bytes {
            free.push(bytes);
        }
    }
}

/// A buffer that goes back into its pool.
#[derive(Debug)]
pub(crate) struct PooledBuffer {
    pub(crate) bytes: Vec<u8>,
    pool: Arc<BufferPool>,
}

impl PooledBuffer {
    /// The filled buffer as refcounted bytes; it returns to the pool with the last slice.
    pub(crate) fn freeze(self) -> Bytes {
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
        self.pool.put(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let kept: Vec<usize> = pool.free.lock().unwrap().iter().map(Vec::capacity).collect();
        assert_eq!(kept, [600, 300]);
    }
}
