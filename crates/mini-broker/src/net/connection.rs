//! One connection: reads requests, has them answered one after the other, writes the answers in order.
//!
//! As in Kafka, the next request is handed on only when the one before it is answered. Reading goes on meanwhile, and
//! so does writing: an answer that travels slowly holds up nothing but the connection's own later answers.

use std::{collections::VecDeque, future::pending, io, panic::resume_unwind, time::Duration};

use bytes::{Buf as _, Bytes};
use kcopy_wire::{
    ApiKey,
    frame::{decode_request_header, peek_request},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, split},
    sync::{Semaphore, mpsc},
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};

use super::frame_reader::{FrameReader, ReadError};
use crate::{
    actor::Handle,
    clock::Clock,
    faults::Delivery,
    handlers::{Context, Outcome, RequestBody, ResponseBody, api_versions, served},
};

/// Answers that may wait to be written; more than that and no further request is read.
const OUTGOING: usize = 64;
/// Slices per write; Linux takes 1,024.
const SLICES: usize = 512;

/// How late tokio's timer is on average, nearly: it rounds up to milliseconds, once for the wheel and once for epoll. A
/// round trip that is simulated shall be what was asked for. Where time itself is simulated, all is in milliseconds, and
/// less than one of them changes nothing.
const TIMER_LATENESS: Duration = Duration::from_micros(999);

/// What a connection needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) node_id: i32,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_idle: Duration,
    pub(crate) clock: Clock,
}

struct Outgoing {
    body: ResponseBody,
    version: i16,
    correlation_id: i32,
    not_before: Option<Instant>,
}

/// Serves a connection until it ends.
pub(crate) async fn serve<S>(stream: S, settings: Settings, actor: Handle)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(connection_id) = actor.control(|actor| actor.new_connection_id()).await else {
        return;
    };
    let (read_half, write_half) = split(stream);
    let (outgoing, answers) = mpsc::channel(OUTGOING);
    let reader = Reader {
        frames: FrameReader::new(read_half, settings.max_request_bytes),
        connection_id,
        settings: &settings,
        actor: &actor,
        outgoing,
    };
    let mut writing = std::pin::pin!(write_answers(write_half, answers));
    let reason = tokio::select! {
        biased;
        written = &mut writing => written.err().map(Reason::other),
        reason = reader.run() => {
            // What was answered before still goes out, if the peer takes it.
            match timeout(settings.max_idle, writing).await {
                Ok(Ok(())) => reason,
                Ok(Err(error)) => reason.or(Some(Reason::other(error))),
                Err(_) => Some(Reason::other("the peer does not read")),
            }
        }
    };
    let node_id = settings.node_id;
    match reason {
        Some(Reason::Request(reason)) => {
            tracing::warn!(node_id, connection_id, %reason, "connection closed");
        }
        Some(Reason::Other(reason)) => {
            tracing::debug!(node_id, connection_id, %reason, "connection closed");
        }
        None => {}
    }
    actor.disconnected(connection_id).await;
}

struct Reader<'a, R> {
    frames: FrameReader<R>,
    connection_id: u64,
    settings: &'a Settings,
    actor: &'a Handle,
    outgoing: mpsc::Sender<Outgoing>,
}

/// Whether a connection goes on.
enum Next {
    Read,
    Close(Reason),
}

/// Why a connection ends.
enum Reason {
    /// What the peer has sent is no request, or none that is known here: whoever wrote the peer wants to know.
    Request(String),
    Other(String),
}

impl Reason {
    fn request(text: impl ToString) -> Reason {
        Reason::Request(text.to_string())
    }

    fn other(text: impl ToString) -> Reason {
        Reason::Other(text.to_string())
    }
}

impl<R: AsyncRead + Unpin> Reader<'_, R> {
    /// Reads until the connection ends; says why, unless the peer just closed it.
    async fn run(mut self) -> Option<Reason> {
        loop {
            // The time limit is for a whole frame, so that one byte now and then does not keep a connection.
            let frame = match timeout(self.settings.max_idle, self.frames.next()).await {
                Err(_) => return Some(Reason::other("idle for too long")),
                Ok(Err(error @ ReadError::Io(_))) => return Some(Reason::other(error)),
                Ok(Err(error)) => return Some(Reason::request(error)),
                Ok(Ok(None)) => return None,
                Ok(Ok(Some(frame))) => frame,
            };
            match self.request(frame).await {
                Next::Read => {}
                Next::Close(reason) => return Some(reason),
            }
        }
    }

    async fn request(&mut self, frame: Bytes) -> Next {
        let frame_len = frame.len();
        let (key, version, correlation_id) = match peek_request(&frame) {
            Ok(peeked) => peeked,
            Err(error) => return Next::Close(Reason::request(error)),
        };
        let Some(served) = ApiKey::try_from(key).ok().and_then(served) else {
            return Next::Close(Reason::Request(format!("unknown API key {key}")));
        };
        let known_version = (served.min_version..=served.max_version).contains(&version);
        if !known_version {
            if served.key == ApiKey::ApiVersions {
                let body = ResponseBody::ApiVersions(api_versions::unsupported());
                return self.answer(body, 0, correlation_id, Delivery::default()).await;
            }
            return Next::Close(Reason::Request(format!("{} version {version} is not served", served.key)));
        }
        let frame = with_readable_client_id(frame);
        let decoded = decode_request_header(frame, served.key, version).and_then(|(header, mut reader)| {
            let body = RequestBody::decode(served.key, version, &mut reader);
            body.transpose().map(|body| (header, body))
        });
        let (header, body) = match decoded {
            Ok((header, Some(body))) => (header, body),
            Ok((_, None)) => return Next::Close(Reason::Request(format!("{} is not served", served.key))),
            Err(error) => return Next::Close(Reason::request(error)),
        };
        let context = Context {
            node_id: self.settings.node_id,
            connection_id: self.connection_id,
            version,
            client_id: header.client_id,
        };
        self.ask(context, body, correlation_id, frame_len).await
    }

    async fn ask(
        &mut self,
        context: Context,
        body: RequestBody,
        correlation_id: i32,
        frame_len: usize,
    ) -> Next {
        let version = context.version;
        let mut asked = self.actor.request(context, body).await;
        if let Ok((Outcome::Validate(validation), delivery)) = asked {
            let now_ms = self.settings.clock.now_ms();
            let append = if validation.takes_long() {
                aside(move || validation.run(now_ms, frame_len)).await
            } else {
                validation.run(now_ms, frame_len)
            };
            asked = self.actor.append(append, delivery).await;
        }
        let Ok((outcome, delivery)) = asked else {
            return Next::Close(Reason::other("the cluster was stopped"));
        };
        let body = match outcome {
            Outcome::Reply(body) => body,
            Outcome::Finish(finish) => aside(finish.0).await,
            Outcome::Silent => return Next::Read,
            Outcome::Close(reason) => return Next::Close(Reason::other(reason)),
            Outcome::Park(_) | Outcome::Validate(_) => {
                return Next::Close(Reason::other("an outcome out of place"));
            }
        };
        self.answer(body, version, correlation_id, delivery).await
    }

    async fn answer(
        &mut self,
        body: ResponseBody,
        version: i16,
        correlation_id: i32,
        delivery: Delivery,
    ) -> Next {
        if delivery.close_instead {
            return Next::Close(Reason::other("a fault was injected"));
        }
        if delivery.never {
            // Silent for good: the peer's own time limits are what ends this.
            pending::<()>().await;
        }
        let outgoing = Outgoing {
            body,
            version,
            correlation_id,
            not_before: (!delivery.delay.is_zero()).then(|| Instant::now() + delivery.delay),
        };
        match self.outgoing.send(outgoing).await {
            Ok(()) => Next::Read,
            Err(_) => Next::Close(Reason::other("the connection is broken")),
        }
    }
}

/// One at a time: together they would take as much memory as there are connections times what a batch may become.
static DECOMPRESSION: Semaphore = Semaphore::const_new(1);

/// Runs what decompresses on a thread of its own. It takes as long as whoever made the batch wants, up to its limit, and
/// the other connections go on meanwhile.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let permit = DECOMPRESSION.acquire().await;
    let done = spawn_blocking(work).await;
    drop(permit);
    match done {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and this task with it.
            Err(_) => pending().await,
        },
    }
}

/// Writes answers until no more come.
async fn write_answers<W>(mut stream: W, mut answers: mpsc::Receiver<Outgoing>) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut segments = VecDeque::new();
    while let Some(answer) = answers.recv().await {
        if let Some(not_before) = answer.not_before {
            sleep_until(not_before - TIMER_LATENESS).await;
        }
        let frame = answer
            .body
            .encode(answer.version, answer.correlation_id)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        segments.extend(frame.segments.into_iter().filter(|segment| !segment.is_empty()));
        write_all(&mut stream, &mut segments).await?;
    }
    stream.shutdown().await
}

/// Writes all of `segments` without copying them together.
async fn write_all<W: AsyncWrite + Unpin>(stream: &mut W, segments: &mut VecDeque<Bytes>) -> io::Result<()> {
    while !segments.is_empty() {
        let written = if segments.len() == 1 {
            stream.write(&segments[0]).await?
        } else {
            let slices: Vec<io::IoSlice<'_>> =
                segments.iter().take(SLICES).map(|segment| io::IoSlice::new(segment)).collect();
            stream.write_vectored(&slices).await?
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        consume(segments, written);
    }
    stream.flush().await
}

fn consume(segments: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = segments.front_mut() {
        if first.len() > written {
            first.advance(written);
            return;
        }
        written -= first.len();
        segments.pop_front();
    }
}

/// Kafka takes client ids that are not UTF-8, and any negative length for none.
fn with_readable_client_id(frame: Bytes) -> Bytes {
    let Some((length, rest)) = frame.get(8..).and_then(|rest| rest.split_first_chunk()) else { return frame };
    let length = i16::from_be_bytes(*length);
    let Ok(size) = usize::try_from(length) else {
        if length == -1 {
            return frame;
        }
        return [&frame[..8], &(-1_i16).to_be_bytes(), rest].concat().into();
    };
    match rest.get(..size) {
        Some(id) if std::str::from_utf8(id).is_err() => {
            let id: Vec<u8> = id.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }).collect();
            [&frame[..10], &id, &rest[size..]].concat().into()
        }
        _ => frame,
    }
}
