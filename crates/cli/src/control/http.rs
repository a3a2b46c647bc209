//! As much of HTTP/1.1 as tests need: requests with a content length, answers in JSON, connections that are kept.

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest request line and headers together.
const MAX_HEAD: usize = 16 * 1024;
/// The longest body.
const MAX_BODY: usize = 64 * 1024;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) query: String,
    pub(super) body: Vec<u8>,
    /// Whether the connection goes on after the answer.
    pub(super) keep: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Response {
    pub(super) fn done(body: Value) -> Response {
        Response { status: 200, body }
    }

    pub(super) fn refused(status: u16, reason: impl Into<String>) -> Response {
        Response { status, body: json!({"error": reason.into()}) }
    }
}

/// A connection that is read as requests and written as answers.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(stream: S) -> Self {
        Connection { stream, buffer: Vec::new() }
    }

    /// The next request; `None` at the connection's end.
    ///
    /// # Errors
    /// What to answer to something that is no request, or one that is too large, before closing.
    pub(super) async fn read(&mut self) -> Result<Option<Request>, Response> {
        let head_len = loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(Response::refused(431, format!("headers are limited to {MAX_HEAD} bytes")));
            }
            if !self.fill().await {
                return Ok(None);
            }
        };
        let head = Head::parse(&self.buffer[..head_len])?;
        if head.expects_continue && self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
            return Ok(None);
        }
        let len = head_len + head.content_length;
        while self.buffer.len() < len {
            if !self.fill().await {
                return Ok(None);
            }
        }
        let body = self.buffer[head_len..len].to_vec();
        self.buffer.drain(..len);
        Ok(Some(Request { body, ..head.request }))
    }

    /// Reads more; `false` at the connection's end, orderly or not.
    async fn fill(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|read| read > 0)
    }

    /// Writes an answer.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) async fn write(&mut self, response: &Response, keep: bool) -> std::io::Result<()> {
        let mut body = response.body.to_string();
        body.push('\n');
        let connection = if keep { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            response.status,
            reason(response.status),
            body.len()
        );
        self.stream.write_all((head + &body).as_bytes()).await?;
        self.stream.flush().await
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        _ => "Bad Request",
    }
}

/// What stands before the body.
struct Head {
    request: Request,
    content_length: usize,
    expects_continue: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Head, Response> {
        let bad = |what: &str| Response::refused(400, what);
        let text = std::str::from_utf8(bytes).map_err(|_| bad("the headers are not UTF-8"))?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad("the first line is not METHOD TARGET VERSION"));
        };
        if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
            return Err(bad("only HTTP/1.1 is spoken here"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut head = Head {
            request: Request {
                method: method.to_owned(),
                path: path.to_owned(),
                query: query.to_owned(),
                body: Vec::new(),
                keep: version == "HTTP/1.1",
            },
            content_length: 0,
            expects_continue: false,
        };
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| bad("a header is not NAME: VALUE"))?;
            head.header(&name.to_ascii_lowercase(), value.trim())?;
        }
        Ok(head)
    }

    fn header(&mut self, name: &str, value: &str) -> Result<(), Response> {
        match name {
            "content-length" => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let length = value.parse::<u64>().ok().filter(|_| digits);
                let length =
                    length.ok_or_else(|| Response::refused(400, "the content length is no number"))?;
                self.content_length =
                    usize::try_from(length).ok().filter(|length| *length <= MAX_BODY).ok_or_else(|| {
                        Response::refused(413, format!("bodies are limited to {MAX_BODY} bytes"))
                    })?;
            }
            "transfer-encoding" => return Err(Response::refused(501, "a body needs a Content-Length")),
            "connection" => self.request.keep &= !value.eq_ignore_ascii_case("close"),
            "expect" => self.expects_continue = value.eq_ignore_ascii_case("100-continue"),
            _ => {}
        }
        Ok(())
    }
}
