//! Frames out of a byte stream: small ones by the dozen out of one read, large ones straight into a
//! pooled buffer.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes};
use kcopy_wire::frame;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{
    error::{Error, Result},
    pool::{BufferPool, PooledBuffer},
};

/// What one read takes at most while no large frame is under way.
const STAGING_BYTES: usize = 16 * 1024;
/// The first step in which a large frame's buffer grows; each further one doubles it. It grows only as
/// bytes really arrive, whatever length the peer claims.
const FIRST_GROWTH: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct FrameReader {
    pool: Arc<BufferPool>,
    max_frame_bytes: usize,
    staging: Vec<u8>,
    /// How much of `staging` is consumed.
    consumed: usize,
    large: Option<LargeFrame>,
}

#[derive(Debug)]
struct LargeFrame {
    buffer: PooledBuffer,
    length: usize,
}

impl FrameReader {
    pub(super) fn new(pool: Arc<BufferPool>, max_frame_bytes: usize) -> FrameReader {
        FrameReader { pool, max_frame_bytes, staging: Vec::new(), consumed: 0, large: None }
    }

    /// The next frame; `None` at a clean end of the stream.
    pub(super) fn poll_frame(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin + ?Sized),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>>> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Poll::Ready(Ok(Some(frame)));
            }
            let read = match &mut self.large {
                Some(large) => ready!(large.poll_fill(stream, cx)),
                None => {
                    self.staging.drain(..self.consumed);
                    self.consumed = 0;
                    self.staging.reserve_exact(STAGING_BYTES.saturating_sub(self.staging.len()));
                    let room = STAGING_BYTES - self.staging.len();
                    let mut target = (&mut self.staging).limit(room);
                    ready!(pin!(stream.read_buf(&mut target)).poll(cx))
                }
            };
            match read {
                Ok(0) if self.large.is_none() && self.staging.is_empty() => return Poll::Ready(Ok(None)),
                Ok(0) => {
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, self.progress());
                    return Poll::Ready(Err(Error::disconnected("the broker closed the connection", error)));
                }
                Ok(_) => {}
                Err(error) => {
                    return Poll::Ready(Err(Error::disconnected(
                        "reading from the connection failed",
                        error,
                    )));
                }
            }
        }
    }

    /// A whole frame out of what has been read; begins a large one when it finds its length.
    fn take_frame(&mut self) -> Result<Option<Bytes>> {
        if let Some(large) = &self.large {
            if large.buffer.bytes.len() < large.length {
                return Ok(None);
            }
            return Ok(self.large.take().map(|large| large.buffer.freeze()));
        }
        let rest = &self.staging[self.consumed..];
        let Some(prefix) = rest.first_chunk::<4>() else { return Ok(None) };
        let length = frame::checked_length(*prefix, self.max_frame_bytes)?;
        let body = &rest[4..];
        if let Some(body) = body.get(..length) {
            let frame = Bytes::copy_from_slice(body);
            self.consumed += 4 + length;
            return Ok(Some(frame));
        }
        if 4 + length > STAGING_BYTES {
            let mut buffer = self.pool.take(length);
            buffer.bytes.extend_from_slice(body);
            self.staging.clear();
            self.consumed = 0;
            self.large = Some(LargeFrame { buffer, length });
        }
        Ok(None)
    }

    /// Where the stream is, for an error.
    fn progress(&self) -> String {
        let (have, length) = match &self.large {
            Some(large) => (large.buffer.bytes.len(), Some(large.length)),
            None => {
                let prefix = self.staging.first_chunk::<4>();
                let length = prefix.map(|prefix| u32::from_be_bytes(*prefix) as usize);
                (self.staging.len().saturating_sub(4), length)
            }
        };
        match length {
            Some(length) => format!("in the middle of an answer, after {have} of {length} bytes"),
            None => "within the length of an answer".into(),
        }
    }
}

impl LargeFrame {
    fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin + ?Sized),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let bytes = &mut self.buffer.bytes;
        if bytes.len() == bytes.capacity() {
            let grown = (bytes.capacity() * 2).max(FIRST_GROWTH).min(self.length);
            bytes.reserve_exact(grown - bytes.len());
        }
        let room = self.length.min(bytes.capacity()) - bytes.len();
        let mut target = bytes.limit(room);
        pin!(stream.read_buf(&mut target)).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    fn prefixed(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes(), body].concat()
    }

    #[tokio::test]
    async fn frames_of_every_size_in_pieces_of_every_size() {
        let bodies: Vec<Vec<u8>> = [0, 1, 5, 300, 16_379, 16_380, 16_381, 70_000, 3, 600_000, 0, 9]
            .iter()
            .enumerate()
            .map(|(at, size)| vec![at as u8; *size])
            .collect();
        for piece in [1, 3, 4_096, 16_384, 1 << 20] {
            let bytes: Vec<u8> = bodies.iter().flat_map(|body| prefixed(body)).collect();
            let (mut ours, mut theirs) = duplex(1 << 20);
            let writer = tokio::spawn(async move {
                for part in bytes.chunks(piece) {
                    theirs.write_all(part).await.unwrap();
                }
            });
            let mut reader = FrameReader::new(BufferPool::new(4 << 20), 1 << 20);
            for body in &bodies {
                let frame = poll_fn(|cx| reader.poll_frame(&mut ours, cx)).await.unwrap().unwrap();
                assert!(frame == body[..], "{} bytes in pieces of {piece}", body.len());
            }
            writer.await.unwrap();
            assert!(poll_fn(|cx| reader.poll_frame(&mut ours, cx)).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn a_claimed_length_allocates_nothing() {
        let (mut ours, mut theirs) = duplex(64);
        theirs.write_all(b"\x3f\xff\xff\xffabc").await.unwrap();
        drop(theirs);
        let mut reader = FrameReader::new(BufferPool::new(1 << 20), usize::MAX);
        let error = poll_fn(|cx| reader.poll_frame(&mut ours, cx)).await.unwrap_err();
        assert!(error.message().contains("after 3 of 1073741823 bytes"), "{error}");
        assert!(reader.large.unwrap().buffer.bytes.capacity() <= FIRST_GROWTH);
    }

    #[tokio::test]
    async fn a_length_above_the_limit_is_an_error() {
        for (prefix, text) in [
            (
                &b"\x7f\xff\xff\xff"[..],
                "an answer of 2147483647 bytes is above receive.message.max.bytes, which is 1000",
            ),
            (b"\xff\xff\xff\xff", "a frame cannot have the length -1"),
            (b"HTTP/1.1 400", "HTTP"),
        ] {
            let (mut ours, mut theirs) = duplex(64);
            theirs.write_all(prefix).await.unwrap();
            let mut reader = FrameReader::new(BufferPool::new(1 << 20), 1000);
            let error = poll_fn(|cx| reader.poll_frame(&mut ours, cx)).await.unwrap_err();
            assert!(error.message().contains(text), "{error}");
        }
    }
}
