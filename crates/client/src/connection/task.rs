//! The task that owns a connection's stream.
//!
//! ```text
//!          command                written               answer
//! queue ───────────> writing ──────────────> in flight ────────> caller
//!   │                   │                        │
//!   └───────────────────┴── error or deadline ───┴──> every caller gets the reason; the end
//! ```

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use kcopy_wire::{ApiKey, frame::Frame};
use tokio::{
    io::AsyncWrite,
    sync::{mpsc, oneshot},
    time::{Instant, Sleep, sleep_until},
};

use super::{Shared, frames::FrameReader};
use crate::{
    context::{BROKER, tell_of_request},
    error::{Error, ErrorKind, Result},
    transport::BoxStream,
};

/// Commands are left in the queue while more bytes than this wait to be written.
const MAX_UNWRITTEN_BYTES: usize = 4 << 20;
/// To read an answer of this many bytes takes a while.
const LARGE_ANSWER: usize = 64 << 10;
/// Pieces that one system call writes.
const MAX_SLICES: usize = 64;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) frame: Frame,
    pub(super) api: ApiKey,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) deadline: Instant,
    /// Where the answer goes.
    pub(super) answer: Answer,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// An answer comes, or an error.
    Frame(oneshot::Sender<Result<Bytes>>),
    /// The broker does not answer (a produce with `acks=0`); `Ok` once it is written.
    Written(oneshot::Sender<Result<()>>),
}

impl Answer {
    fn fail(self, error: &Error) {
        // A receiver that is gone has given up, and needs no answer.
        match self {
            Answer::Frame(sender) => drop(sender.send(Err(error.clone()))),
            Answer::Written(sender) => drop(sender.send(Err(error.clone()))),
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Answer::Frame(sender) => sender.is_closed(),
            Answer::Written(sender) => sender.is_closed(),
        }
    }
}

#[derive(Debug)]
struct InFlight {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    sent: Instant,
    deadline: Instant,
    answer: oneshot::Sender<Result<Bytes>>,
}

pub(super) struct Driver {
    stream: BoxStream,
    reader: FrameReader,
    queue: mpsc::Receiver<Command>,
    queue_closed: bool,
    unwritten: VecDeque<Bytes>,
    unwritten_bytes: usize,
    /// Requests without an answer, done when everything before them is written.
    written: VecDeque<oneshot::Sender<Result<()>>>,
    needs_flush: bool,
    in_flight: VecDeque<InFlight>,
    max_in_flight: usize,
    /// Whoever got the last answer is let run before the next one is read.
    gives_way: bool,
    timer: Pin<Box<Sleep>>,
    shared: Arc<Shared>,
}

impl Driver {
    pub(super) fn new(
        stream: BoxStream,
        reader: FrameReader,
        queue: mpsc::Receiver<Command>,
        max_in_flight: usize,
        shared: Arc<Shared>,
    ) -> Driver {
        Driver {
            stream,
            reader,
            queue,
            queue_closed: false,
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            written: VecDeque::new(),
            needs_flush: false,
            in_flight: VecDeque::new(),
            max_in_flight,
            gives_way: false,
            timer: Box::pin(sleep_until(Instant::now())),
            shared,
        }
    }

    /// Runs until the connection breaks, or until nobody can use it any more.
    pub(super) async fn run(mut self) {
        let ended = poll_fn(|cx| self.poll(cx)).await;
        let error = match ended {
            Ok(()) => Error::closed("connection").with_broker(&self.shared.broker),
            Err(error) => error.with_broker(&self.shared.broker),
        };
        tracing::debug!(target: BROKER, broker = %self.shared.address, reason = error.message(), "disconnected");
        // First the reason, then the callers: whoever tries again must not find this connection open.
        self.shared.poison(error.clone());
        self.queue.close();
        let mut error = error;
        for request in self.in_flight.drain(..) {
            Answer::Frame(request.answer).fail(&error.clone().with_api(request.api, Some(request.version)));
            if error.kind() == ErrorKind::AnswerTooLarge {
                // That was the answer to this one; the others have only lost their connection.
                error = error.with_kind(ErrorKind::Disconnected);
            }
        }
        for sender in self.written.drain(..) {
            Answer::Written(sender).fail(&error);
        }
        while let Ok(command) = self.queue.try_recv() {
            let error = error.clone().with_api(command.api, Some(command.version));
            command.answer.fail(&error);
        }
        // A peer that is gone cannot be told so.
        let _ = poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(error) = self.shared.poll_poisoned(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            // Answers before requests: they make room.
            let answered = self.poll_answers(cx)?;
            let taken = self.poll_commands(cx)?;
            let written = self.poll_write(cx)?;
            if self.is_unused() {
                return Poll::Ready(Ok(()));
            }
            if std::mem::take(&mut self.gives_way) {
                cx.waker().wake_by_ref();
                break;
            }
            if !(answered || taken || written) {
                break;
            }
        }
        self.poll_deadlines(cx)
    }

    /// Whether nobody can ask anything or waits for anything.
    fn is_unused(&self) -> bool {
        self.queue_closed
            && self.unwritten.is_empty()
            && !self.needs_flush
            && self.in_flight.iter().all(|request| request.answer.is_closed())
    }

    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        let mut progress = false;
        while let Poll::Ready(frame) = self.reader.poll_frame(&mut self.stream, cx)? {
            let Some(frame) = frame else {
                let waiting = match self.in_flight.front() {
                    Some(request) => format!(" while {} was waited for", request.api.name()),
                    None => String::new(),
                };
                let message = format!("the broker closed the connection{waiting}");
                return Err(Error::new(ErrorKind::Disconnected, message));
            };
            let correlation_id = kcopy_wire::frame::peek_response(&frame)?;
            let Some(request) = self.in_flight.pop_front() else {
                let message = format!("an answer to no request (correlation id {correlation_id})");
                return Err(Error::protocol(message));
            };
            if request.correlation_id != correlation_id {
                let message = format!(
                    "an answer with correlation id {correlation_id} where {} was due",
                    request.correlation_id
                );
                let error = Error::protocol(message).with_api(request.api, Some(request.version));
                self.in_flight.push_front(request);
                return Err(error);
            }
            let time = request.sent.elapsed();
            self.shared.answered(time);
            tell_of_request!(
                request.api,
                api = request.api.name(),
                id = correlation_id,
                bytes = frame.len(),
                microseconds = %time.as_micros(),
                broker = %self.shared.address,
                "answer"
            );
            // While the next answers are read nobody else runs on a runtime of one thread, and the request that follows
            // from this one would leave late: a round trip is lost each time that the line runs dry.
            self.gives_way = frame.len() >= LARGE_ANSWER;
            // Without a receiver the caller has gone away; the answer had to be read all the same.
            let _ = request.answer.send(Ok(frame));
            progress = true;
            if self.gives_way {
                break;
            }
        }
        Ok(progress)
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        let mut progress = false;
        while !self.queue_closed
            && self.in_flight.len() < self.max_in_flight
            && self.unwritten_bytes < MAX_UNWRITTEN_BYTES
        {
            match self.queue.poll_recv(cx) {
                Poll::Ready(Some(command)) => self.begin(command),
                Poll::Ready(None) => self.queue_closed = true,
                Poll::Pending => break,
            }
            progress = true;
        }
        Ok(progress)
    }

    fn begin(&mut self, command: Command) {
        let Command { frame, api, version, correlation_id, deadline, answer } = command;
        if answer.is_abandoned() {
            return;
        }
        let now = Instant::now();
        if deadline <= now {
            let message = "no answer in time: the request waited behind others";
            let error = Error::new(ErrorKind::Timeout, message).with_api(api, Some(version));
            answer.fail(&error.with_broker(&self.shared.broker));
            return;
        }
        tell_of_request!(
            api,
            api = api.name(),
            version,
            id = correlation_id,
            bytes = frame.len(),
            broker = %self.shared.address,
            "request"
        );
        self.unwritten_bytes += frame.len();
        self.unwritten.extend(frame.segments.into_iter().filter(|segment| !segment.is_empty()));
        match answer {
            Answer::Frame(answer) => {
                self.in_flight.push_back(InFlight {
                    api,
                    version,
                    correlation_id,
                    sent: now,
                    deadline,
                    answer,
                });
            }
            Answer::Written(sender) => self.written.push_back(sender),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        let failed = |error: io::Error| Error::disconnected("writing to the connection failed", error);
        let mut progress = false;
        while !self.unwritten.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slice, segment) in slices.iter_mut().zip(&self.unwritten) {
                *slice = IoSlice::new(segment);
                count += 1;
            }
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]) {
                Poll::Ready(Ok(0)) => return Err(failed(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.advance(written),
                Poll::Ready(Err(error)) => return Err(failed(error)),
                Poll::Pending => break,
            }
            progress = true;
            self.needs_flush = true;
        }
        if self.needs_flush && self.unwritten.is_empty() {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.needs_flush = false,
                Poll::Ready(Err(error)) => return Err(failed(error)),
                Poll::Pending => return Ok(progress),
            }
            for sender in self.written.drain(..) {
                // Gone is gone: the request is out either way.
                let _ = sender.send(Ok(()));
            }
        }
        Ok(progress)
    }

    fn advance(&mut self, mut written: usize) {
        self.unwritten_bytes -= written;
        while written > 0 {
            let Some(segment) = self.unwritten.front_mut() else { return };
            if segment.len() > written {
                segment.advance(written);
                return;
            }
            written -= segment.len();
            self.unwritten.pop_front();
        }
    }

    fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let first = self.in_flight.iter().min_by_key(|request| request.deadline);
        let Some(first) = first else { return Poll::Pending };
        if self.timer.deadline() != first.deadline {
            self.timer.as_mut().reset(first.deadline);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let error = Error::new(ErrorKind::Timeout, format!("no answer to {} in time", first.api.name()));
        Poll::Ready(Err(error.with_api(first.api, Some(first.version))))
    }
}
