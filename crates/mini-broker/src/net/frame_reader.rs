//! Reading requests' frames from untrusted peers.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kcopy_wire::frame::{FrameError, checked_length};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Frames up to this size are gathered in a shared buffer, several per read.
const SMALL: usize = 16 * 1024;
/// A frame's claimed length is believed up to this at once; memory for more follows the bytes that really come.
const TRUSTED: usize = 256 * 1024;

/// Why no frame comes.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    Frame(FrameError),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Frame(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Takes frames off a stream.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    max_frame_bytes: usize,
    /// The largest frame that came whole: the peer may claim as much again.
    largest: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, max_frame_bytes: usize) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(4096), max_frame_bytes, largest: 0 }
    }

    /// The next frame without its length; `None` when the peer has closed the connection between two frames.
    ///
    /// Dropping the future loses what was read of a large frame: the stream is of no use then.
    ///
    /// # Errors
    /// A length that cannot be, or a stream that broke or ended within a frame.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        while self.buffer.len() < 4 {
            self.buffer.reserve(4096);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
                };
            }
        }
        let mut length = [0; 4];
        length.copy_from_slice(&self.buffer[..4]);
        let length = checked_length(length, self.max_frame_bytes).map_err(ReadError::Frame)?;
        let frame = if length <= SMALL { self.small(length).await? } else { self.large(length).await? };
        Ok(Some(frame))
    }

    async fn small(&mut self, length: usize) -> io::Result<Bytes> {
        while self.buffer.len() < 4 + length {
            self.buffer.reserve(4 + length - self.buffer.len());
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.buffer.advance(4);
        Ok(self.buffer.split_to(length).freeze())
    }

    /// Reads into memory of exactly the frame's size: the log keeps it.
    async fn large(&mut self, length: usize) -> io::Result<Bytes> {
        self.buffer.advance(4);
        let mut frame = Vec::new();
        frame.reserve_exact(length.min(TRUSTED.max(2 * self.largest)));
        let buffered = self.buffer.len().min(length);
        frame.extend_from_slice(&self.buffer[..buffered]);
        self.buffer.advance(buffered);
        while frame.len() < length {
            if frame.len() == frame.capacity() {
                let more = frame.len().min(length - frame.len());
                frame.reserve_exact(more);
            }
            let room = frame.capacity().min(length) - frame.len();
            if self.stream.read_buf(&mut (&mut frame).limit(room)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.largest = self.largest.max(length);
        Ok(Bytes::from(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (fill, length) in (1..).zip(lengths) {
            bytes.put_u32(u32::try_from(*length).unwrap());
            bytes.resize(bytes.len() + length, fill);
        }
        bytes
    }

    #[tokio::test]
    async fn frames_of_all_sizes_arrive_whole() {
        let lengths = [0, 5, SMALL, SMALL + 1, TRUSTED, 3 * TRUSTED + 1, 7, 2_000_000];
        let bytes = framed(&lengths);
        let mut reader = FrameReader::new(&bytes[..], 10_000_000);
        for (fill, length) in (1..).zip(lengths) {
            let frame = reader.next().await.unwrap().unwrap();
            assert_eq!(frame.len(), length);
            assert!(frame.iter().all(|byte| *byte == fill));
        }
        assert!(reader.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_claimed_length_is_not_allocated() {
        let mut bytes = framed(&[SMALL + 1]);
        bytes[..4].copy_from_slice(&100_000_000_u32.to_be_bytes());
        let mut reader = FrameReader::new(&bytes[..], 104_857_600);
        assert!(matches!(reader.next().await, Err(ReadError::Io(_))));
        let mut reader = FrameReader::new(&b"\x7f\xff\xff\xff"[..], 104_857_600);
        assert!(matches!(reader.next().await, Err(ReadError::Frame(_))));
        let mut reader = FrameReader::new(&b"\0\0"[..], 104_857_600);
        assert!(matches!(reader.next().await, Err(ReadError::Io(_))));
    }
}
