//! One connection to one broker: requests are pipelined, answers matched in order.

mod frames;
mod negotiate;
mod task;

#[cfg(test)]
mod tests;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use kcopy_wire::{ApiKey, Request, frame};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

pub use self::negotiate::ApiVersionRanges;
use self::{
    frames::FrameReader,
    task::{Answer, Command, Driver},
};
use crate::{
    config::HostPort,
    error::{Error, ErrorKind, Result},
    pool::BufferPool,
    transport::BoxStream,
};

/// A handle on a connection; cheap to clone. The connection ends with its last handle.
///
/// Dropping the future of a request abandons the answer, never the connection: the answer is read and
/// thrown away when it comes.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    queue: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    versions: OnceLock<ApiVersionRanges>,
    next_correlation_id: AtomicI32,
    client_id: String,
    request_timeout: Duration,
}

/// What the handles and the task share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// For errors: `broker host:port`.
    pub(crate) broker: String,
    address: HostPort,
    poison: OnceLock<Error>,
    waker: Mutex<Option<Waker>>,
    /// How long the quickest answer took, in nanoseconds.
    quickest: AtomicU64,
}

impl Shared {
    /// An answer has come after so long.
    fn answered(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.quickest.fetch_min(nanos, Ordering::Relaxed);
    }

    /// Ends the connection; the first reason counts.
    fn poison(&self, error: Error) {
        // A second reason is a consequence of the first.
        let _ = self.poison.set(error);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_poisoned(&self, cx: &mut Context<'_>) -> Option<Error> {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        drop(waker);
        self.poison.get().cloned()
    }
}

/// How a connection behaves.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionOptions {
    pub(crate) client_id: String,
    pub(crate) request_timeout: Duration,
    pub(crate) max_frame_bytes: usize,
    pub(crate) max_in_flight: usize,
}

impl Connection {
    /// Takes a stream over and asks which versions the broker speaks.
    ///
    /// # Errors
    /// The broker does not answer, or not with what a broker answers.
    pub(crate) async fn start(
        stream: BoxStream,
        address: HostPort,
        options: &ConnectionOptions,
        pool: Arc<BufferPool>,
    ) -> Result<Connection> {
        let shared = Arc::new(Shared {
            broker: format!("broker {address}"),
            address,
            poison: OnceLock::new(),
            waker: Mutex::default(),
            quickest: AtomicU64::new(u64::MAX),
        });
        let (queue, commands) = mpsc::channel(options.max_in_flight);
        let reader = FrameReader::new(pool, options.max_frame_bytes);
        let driver = Driver::new(stream, reader, commands, options.max_in_flight, Arc::clone(&shared));
        tokio::spawn(driver.run());
        let connection = Connection(Arc::new(Handle {
            queue,
            shared,
            versions: OnceLock::new(),
            next_correlation_id: AtomicI32::new(0),
            client_id: options.client_id.clone(),
            request_timeout: options.request_timeout,
        }));
        let versions = negotiate::negotiate(&connection).await?;
        // Nobody else has the handle yet, so this is the only one to set it.
        let _ = connection.0.versions.set(versions);
        Ok(connection)
    }

    /// Where the broker is.
    pub fn address(&self) -> &HostPort {
        &self.0.shared.address
    }

    /// The broker's name for people, such as `broker localhost:9092`.
    pub fn broker_name(&self) -> &str {
        &self.0.shared.broker
    }

    /// How long an answer may take unless the caller says otherwise.
    pub fn request_timeout(&self) -> Duration {
        self.0.request_timeout
    }

    /// Whether the connection has ended; then every request fails.
    pub fn is_closed(&self) -> bool {
        self.0.shared.poison.get().is_some() || self.0.queue.is_closed()
    }

    /// What the broker speaks.
    pub fn versions(&self) -> &ApiVersionRanges {
        self.0.versions.get().unwrap_or(&negotiate::NOTHING)
    }

    /// The highest version of `R` that both sides speak.
    ///
    /// # Errors
    /// There is none.
    pub fn version_of<R: Request>(&self) -> Result<i16> {
        self.version_within::<R>(i16::MIN, i16::MAX)
    }

    /// The highest version of `R` that both sides speak, `least` and `most` included.
    ///
    /// # Errors
    /// There is none.
    pub fn version_within<R: Request>(&self, least: i16, most: i16) -> Result<i16> {
        let least = least.max(*R::VERSIONS.start());
        let most = most.min(*R::VERSIONS.end());
        let range = self.versions().range(R::API_KEY);
        let version = range.and_then(|(lowest, highest)| {
            let version = most.min(highest);
            (version >= least.max(lowest)).then_some(version)
        });
        version.ok_or_else(|| {
            let name = R::API_KEY.name();
            let spoken = match range {
                Some((lowest, highest)) => format!("speaks {name} v{lowest} to v{highest}"),
                None => format!("does not know {name}"),
            };
            let message = format!("the broker {spoken}, v{least} to v{most} is needed");
            Error::new(ErrorKind::UnsupportedVersion, message).with_broker(self.broker_name())
        })
    }

    /// Sends a request in the highest version that both sides speak, and waits for the answer. Error
    /// codes inside the answer are the caller's to read.
    ///
    /// # Errors
    /// The connection broke, the answer did not come in time, or it was malformed.
    pub async fn request<R: Request>(&self, request: &R) -> Result<R::Response> {
        let version = self.version_of::<R>()?;
        self.send(request, version, self.0.request_timeout).await?.await
    }

    /// How far away the broker is: the time of the quickest answer until now.
    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_nanos(self.0.shared.quickest.load(Ordering::Relaxed))
    }

    /// As [`Connection::request`], but once this returns the request is in the queue, in the order of
    /// these calls; the returned future waits for the answer. Waits itself while the queue is full.
    ///
    /// # Errors
    /// The version cannot carry the request, or the connection has ended.
    pub async fn send<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<PendingResponse<R>> {
        let (sender, answer) = oneshot::channel();
        self.submit(request, version, timeout, Answer::Frame(sender)).await?;
        Ok(PendingResponse { answer, version, connection: self.clone(), request: std::marker::PhantomData })
    }

    /// Sends a request that the broker does not answer: a produce with `acks=0`. Returns when it is
    /// written to the socket.
    ///
    /// # Errors
    /// The version cannot carry the request, or the connection has ended.
    pub async fn send_without_answer<R: Request>(&self, request: &R, version: i16) -> Result<()> {
        let (sender, written) = oneshot::channel();
        self.submit(request, version, self.0.request_timeout, Answer::Written(sender)).await?;
        match written.await {
            Ok(result) => result,
            Err(_) => Err(self.ended(R::API_KEY, version)),
        }
    }

    async fn submit<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
        answer: Answer,
    ) -> Result<()> {
        let correlation_id = self.0.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let context =
            |error: Error| error.with_api(R::API_KEY, Some(version)).with_broker(self.broker_name());
        let frame = frame::encode_request(request, version, correlation_id, Some(&self.0.client_id))
            .map_err(|error| context(error.into()))?;
        let deadline = Instant::now() + timeout;
        let command = Command { frame, api: R::API_KEY, version, correlation_id, deadline, answer };
        self.0.queue.send(command).await.map_err(|_| self.ended(R::API_KEY, version))
    }

    /// Ends the connection, for a reason that the next callers will see: an answer that makes no sense.
    pub(crate) fn poison(&self, error: Error) {
        self.0.shared.poison(error);
    }

    fn ended(&self, api: ApiKey, version: i16) -> Error {
        let reason = self.0.shared.poison.get().cloned();
        let reason = reason.unwrap_or_else(|| Error::closed("connection"));
        // A later caller did not cause this: to him the connection is gone, whatever the first one met.
        let kind = match reason.kind() {
            ErrorKind::Timeout | ErrorKind::Protocol | ErrorKind::AnswerTooLarge => ErrorKind::Disconnected,
            kind => kind,
        };
        let message = format!("the connection had ended: {}", reason.message());
        Error::new(kind, message).with_api(api, Some(version)).with_broker(self.broker_name())
    }
}

/// An answer that is waited for. Dropping it abandons the answer.
#[derive(Debug)]
#[must_use = "a future does nothing until it is awaited"]
pub struct PendingResponse<R: Request> {
    answer: oneshot::Receiver<Result<Bytes>>,
    version: i16,
    connection: Connection,
    request: std::marker::PhantomData<fn() -> R>,
}

impl<R: Request> PendingResponse<R> {
    /// The version in which the request was sent.
    pub fn version(&self) -> i16 {
        self.version
    }

    fn decode(&self, frame: Bytes) -> Result<R::Response> {
        match frame::decode_response::<R>(frame, self.version) {
            Ok((_, response)) => Ok(response),
            Err(error) => {
                let error = Error::from(error)
                    .with_api(R::API_KEY, Some(self.version))
                    .with_broker(self.connection.broker_name());
                self.connection.poison(error.clone());
                Err(error)
            }
        }
    }
}

impl<R: Request> Future for PendingResponse<R> {
    type Output = Result<R::Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(|received| match received {
            Ok(Ok(frame)) => self.decode(frame),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.connection.ended(R::API_KEY, self.version)),
        })
    }
}

/// An answer as it came, for the negotiation.
async fn raw<R: Request>(connection: &Connection, request: &R, version: i16) -> Result<Bytes> {
    debug_assert!(R::VERSIONS.contains(&version), "{} v{version}", R::NAME);
    let (sender, answer) = oneshot::channel();
    let timeout = connection.0.request_timeout;
    connection.submit(request, version, timeout, Answer::Frame(sender)).await?;
    match answer.await {
        Ok(result) => result,
        Err(_) => Err(connection.ended(R::API_KEY, version)),
    }
}
