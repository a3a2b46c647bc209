//! Frames: a length of four bytes, a header, a message.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    ApiKey,
    codec::{DecodeError, EncodeError, Message, Reader, Request, Str, Writer},
    messages::{RequestHeader, ResponseHeader},
};

/// A frame ready to be sent: its pieces in order, the length among them.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// What goes onto the wire, one piece after the other.
    pub segments: Vec<Bytes>,
}

impl Frame {
    /// All bytes, the four of the length included.
    pub fn len(&self) -> usize {
        self.segments.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.segments.iter().all(Bytes::is_empty)
    }

    /// All bytes in one piece; for tests and for small frames.
    pub fn to_bytes(&self) -> Bytes {
        self.segments.concat().into()
    }

    fn new(writer: Writer) -> Result<Frame, EncodeError> {
        let mut length = Writer::new();
        length.put_count(writer.len(), false)?;
        let mut segments = writer.into_pieces();
        // The header was written behind four empty bytes, so that the length needs no piece of its own.
        let mut first = BytesMut::from(std::mem::take(&mut segments[0]));
        let length = (first.len() - 4 + segments.iter().map(Bytes::len).sum::<usize>()) as u32;
        first[..4].copy_from_slice(&length.to_be_bytes());
        segments[0] = first.freeze();
        Ok(Frame { segments })
    }
}

/// A frame with a request.
///
/// # Errors
/// The version cannot carry the request.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Frame, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::API_KEY as i16,
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(Str::from),
        ..Default::default()
    };
    let mut w = Writer::new();
    w.put_i32(0);
    header.encode(R::API_KEY.request_header_version(version), &mut w)?;
    request.encode(version, &mut w)?;
    Frame::new(w)
}

/// A frame with the answer to an `R`.
///
/// # Errors
/// The version cannot carry the answer.
pub fn encode_response<R: Request>(
    response: &R::Response,
    version: i16,
    correlation_id: i32,
) -> Result<Frame, EncodeError> {
    let mut w = Writer::new();
    w.put_i32(0);
    let header = ResponseHeader { correlation_id, ..Default::default() };
    header.encode(R::API_KEY.response_header_version(version), &mut w)?;
    response.encode(version, &mut w)?;
    Frame::new(w)
}

/// The API key, version and correlation id at the start of every request, whatever follows.
///
/// # Errors
/// A frame of fewer than eight bytes.
pub fn peek_request(frame: &Bytes) -> Result<(i16, i16, i32), DecodeError> {
    let mut r = Reader::new(frame.clone());
    Ok((r.i16()?, r.i16()?, r.i32()?))
}

/// Reads the header of a request of a known API; the message itself is left in the reader.
///
/// # Errors
/// Bytes that are no header.
pub fn decode_request_header(
    frame: Bytes,
    key: ApiKey,
    version: i16,
) -> Result<(RequestHeader, Reader), DecodeError> {
    let mut r = Reader::new(frame);
    let header = RequestHeader::decode(&mut r, key.request_header_version(version))?;
    Ok((header, r))
}

/// The correlation id at the start of every answer.
///
/// # Errors
/// A frame of fewer than four bytes.
pub fn peek_response(frame: &Bytes) -> Result<i32, DecodeError> {
    Reader::new(frame.clone()).i32()
}

/// Reads the answer to an `R`, which must fill the frame.
///
/// # Errors
/// Bytes that are no such answer, or bytes behind it.
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<(i32, R::Response), DecodeError> {
    let mut r = Reader::new(frame);
    let header = ResponseHeader::decode(&mut r, R::API_KEY.response_header_version(version))?;
    r.expect_end();
    Ok((header.correlation_id, R::Response::decode(&mut r, version)?))
}

/// Takes the next frame, without its length, off the front of `buffer`; `None` until it is whole.
///
/// # Errors
/// A length that is negative or above `max_frame_bytes`: the connection cannot go on.
pub fn split(buffer: &mut BytesMut, max_frame_bytes: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = checked_length(*length, max_frame_bytes)?;
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// The length of the frame that follows.
///
/// # Errors
/// A length that is negative or above `max_frame_bytes`.
pub fn checked_length(length: [u8; 4], max_frame_bytes: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(length);
    match usize::try_from(length) {
        Ok(bytes) if bytes <= max_frame_bytes => Ok(bytes),
        _ => Err(FrameError { length, max_frame_bytes }),
    }
}

/// A frame whose length cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// The length as sent.
    pub length: i32,
    /// The most that is taken.
    pub max_frame_bytes: usize,
}

impl FrameError {
    /// What the peer speaks instead of the plain Kafka protocol, where the bytes in the length's place show it.
    pub fn other_protocol(&self) -> Option<&'static str> {
        match &self.length.to_be_bytes() {
            b"HTTP" => Some("HTTP"),
            // An alert, or a handshake.
            [0x15 | 0x16, 3, ..] => Some("TLS"),
            // An ErrorResponse of less than 64 KiB.
            [b'E', 0, 0, _] => Some("PostgreSQL's protocol"),
            _ => None,
        }
    }

    /// Whether it may well be a frame, and is only longer than what is taken.
    pub fn is_too_large(&self) -> bool {
        self.length >= 0 && self.other_protocol().is_none() && !self.is_text()
    }

    fn is_text(&self) -> bool {
        self.length.to_be_bytes().iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n'))
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FrameError { length, max_frame_bytes } = self;
        // Peers that speak another protocol are the common case.
        if let Some(protocol) = self.other_protocol() {
            let plain = if protocol == "TLS" { "plain " } else { "" };
            return write!(f, "the peer speaks {protocol}, not the {plain}Kafka protocol");
        }
        if self.is_text() {
            let text = length.to_be_bytes();
            return write!(
                f,
                "the peer sends text that begins with \"{}\", not a frame",
                text.escape_ascii()
            );
        }
        match length {
            ..0 => write!(f, "a frame cannot have the length {length}"),
            _ => write!(f, "a frame of {length} bytes is above the limit of {max_frame_bytes}"),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{ApiVersionsRequest, FetchRequest, FetchResponse, MetadataRequest, fetch_response};

    #[test]
    fn a_request_has_its_length_in_front() {
        let frame = encode_request(&ApiVersionsRequest::default(), 0, 7, Some("me")).unwrap().to_bytes();
        assert_eq!(&frame[..], b"\0\0\0\x0c\0\x12\0\0\0\0\0\x07\0\x02me");
        assert_eq!(peek_request(&frame.slice(4..)).unwrap(), (18, 0, 7));
    }

    #[test]
    fn large_records_are_not_copied() {
        let records = Bytes::from(vec![7; 100_000]);
        let mut response = FetchResponse::default();
        let mut topic = fetch_response::FetchableTopicResponse { topic: "t".into(), ..Default::default() };
        topic.partitions.push(fetch_response::PartitionData {
            records: Some(records.clone().into()),
            ..Default::default()
        });
        response.responses.push(topic);
        let frame = encode_response::<FetchRequest>(&response, 12, 3).unwrap();
        assert!(frame.segments.iter().any(|piece| piece.as_ptr() == records.as_ptr()));
        let bytes = frame.to_bytes();
        assert_eq!(bytes.len(), frame.len());
        let (id, read) = decode_response::<FetchRequest>(bytes.slice(4..), 12).unwrap();
        assert_eq!((id, &read), (3, &response));
    }

    #[test]
    fn a_huge_count_is_refused_before_anything_is_allocated() {
        let bytes = Bytes::from_static(b"\0\x03\0\x01\0\0\0\x01\xff\xff\x7f\xff\xff\xff");
        let (_, mut r) = decode_request_header(bytes, ApiKey::Metadata, 1).unwrap();
        let error = MetadataRequest::decode(&mut r, 1).unwrap_err();
        let text = "malformed MetadataRequest v1, field topics, byte 14: 2147483647 elements cannot be in the 0 bytes that remain";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn split_takes_whole_frames_only() {
        let mut buffer = BytesMut::from(&b"\0\0\0\x02ab\0\0\0\x01"[..]);
        assert_eq!(split(&mut buffer, 100), Ok(Some(Bytes::from_static(b"ab"))));
        assert_eq!(split(&mut buffer, 100), Ok(None));
        let mut http = BytesMut::from(&b"HTTP/1.1 400 Bad Request"[..]);
        assert!(split(&mut http, 100).unwrap_err().to_string().contains("speaks HTTP"));
        for (bytes, text) in [
            (&b"\x15\x03\x01\0\x02"[..], "speaks TLS, not the plain Kafka protocol"),
            (b"E\0\0\0\x89SFATAL\0", "speaks PostgreSQL's protocol"),
            (b"SSH-2.0", "sends text that begins with \"SSH-\""),
            (b"\x4a\0\0\0\x0a5.7", "a frame of 1241513984 bytes is above the limit of 100"),
        ] {
            let error = split(&mut BytesMut::from(bytes), 100).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        let is_too_large = |length| FrameError { length, max_frame_bytes: 100 }.is_too_large();
        let text = i32::from_be_bytes(*b"SSH-");
        assert_eq!([101, i32::MAX, -1, text].map(is_too_large), [true, true, false, false]);
    }
}
