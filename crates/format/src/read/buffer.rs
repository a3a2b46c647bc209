//! The bytes between the caller's reads and the records cut out of them.

/// What a fresh buffer holds, and so how much is read at a time.
/// Tests do with less, and see more of it.
const BLOCK: usize = if cfg!(test) { 4 * 1024 } else { 512 * 1024 };
/// With less free space than this the buffer grows: then a record is larger than it.
const MIN_SPACE: usize = BLOCK / 8;

#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
}

impl Buffer {
    /// What has been read and not been cut into records.
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Everything, for positions that [`take`](Self::take) has returned.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether nothing will follow.
    #[inline]
    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    /// Takes `len` bytes off the unread ones and returns where they begin. They stay where they are until the
    /// next [`space`](Self::space).
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> usize {
        let start = self.start;
        self.start += len;
        debug_assert!(self.start <= self.end);
        start
    }

    /// What is unread, and how to take some of it while it is borrowed: by moving where it starts.
    #[inline]
    pub(super) fn unread_and_start(&mut self) -> (&[u8], &mut usize) {
        (&self.bytes[self.start..self.end], &mut self.start)
    }

    /// Drops all that is unread.
    pub(super) fn clear(&mut self) {
        self.start = self.end;
    }

    /// Where to read the next bytes to; never empty.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() - self.end < MIN_SPACE {
            let len = (self.bytes.len() * 2).max(BLOCK);
            self.bytes.resize(len, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Says that the first `len` bytes of the space have been filled; none is the end of the input.
    pub(super) fn filled(&mut self, len: usize) {
        self.at_end |= len == 0;
        self.end += len;
        assert!(self.end <= self.bytes.len(), "more bytes were filled than there was space for");
    }
}
