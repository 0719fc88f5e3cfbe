//! The requests of one HTTP/2 connection: how many are in hand, how many its client cancelled, and for which
//! answers it makes us wait.
//!
//! # Guarantees
//! - One connection has at most [`MAX_STREAMS`](crate::options::MAX_STREAMS) requests in hand. Each
//!   connection may have one. Beyond that all connections of the listener together have at most as many as
//!   there may be connections; further ones get 503. So HTTP/2 at most doubles the requests that a listener
//!   has in hand.
//! - A client that takes none of an answer for the write timeout loses the connection, also when it merely
//!   keeps the window of one stream shut.
//! - A client that cancels more than [`MAX_CANCELLED`] requests, and more than it lets us answer, loses the
//!   connection.
//!
//! A stream that is reset drops its service, as does the end of the connection.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::error;

use super::Shared;
use crate::options::MAX_CANCELLED;
use crate::progress::Progress;

/// Requests in hand beyond one of each HTTP/2 connection, over a whole listener.
#[derive(Debug, Default)]
pub(crate) struct Extra(AtomicUsize);

/// The tasks of one connection's requests; they end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// Starts such tasks. Each of them has one, so it does not keep them.
#[derive(Clone, Debug)]
pub(crate) struct TaskStarter(Weak<Mutex<JoinSet<()>>>);

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    progress: Arc<Progress>,
    shared: Arc<Shared>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    in_hand: usize,
    answered: u64,
    cancelled: u64,
    /// Since when the client takes nothing of an answer, by the number of the request.
    kept_waiting: HashMap<u64, Instant>,
    next: u64,
}

/// One request in hand, until its answer is gone.
#[derive(Debug)]
pub(super) struct Stream {
    of: Arc<Streams>,
    number: u64,
    is_extra: bool,
    is_done: bool,
}

/// The body of an answer; `None`: it has none, or is at its end. Without a stream the request was refused
/// unseen.
#[derive(Debug)]
pub(super) struct StreamAnswer<B: Body> {
    inner: Option<B>,
    stream: Option<Stream>,
}

// === impl Extra ===

impl Extra {
    fn take(&self, limit: usize) -> bool {
        let more = |now: usize| (now < limit).then_some(now + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn give_back(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Streams ===

impl Streams {
    pub(super) fn begin(progress: Arc<Progress>, shared: Arc<Shared>) -> Arc<Self> {
        progress.quiet();
        Arc::new(Self {
            progress,
            shared,
            counts: Mutex::default(),
        })
    }

    /// Takes a request in hand, or says with which status it is refused.
    pub(super) fn take<R>(self: &Arc<Self>, request: &Request<R>) -> Result<Stream, StatusCode> {
        if request.headers().len() > self.shared.options.max_headers {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let mut counts = self.counts.lock();
        let is_extra = counts.in_hand > 0;
        if is_extra && !self.shared.extra.take(self.shared.options.max_connections) {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        counts.in_hand += 1;
        counts.next += 1;
        self.progress.busy();
        Ok(Stream {
            of: self.clone(),
            number: counts.next,
            is_extra,
            is_done: false,
        })
    }

    /// Writes down since when the client has let the answer that waits longest wait.
    fn tell(&self, counts: &Counts) {
        self.progress.stalled(counts.kept_waiting.values().min().copied());
    }

    fn ended(&self, stream: &Stream) {
        let mut counts = self.counts.lock();
        counts.in_hand -= 1;
        if counts.kept_waiting.remove(&stream.number).is_some() {
            self.tell(&counts);
        }
        if stream.is_extra {
            self.shared.extra.give_back();
        }
        if stream.is_done {
            counts.answered += 1;
        } else {
            counts.cancelled += 1;
            if counts.cancelled > MAX_CANCELLED && counts.cancelled > counts.answered {
                self.progress.abused();
            }
        }
        if counts.in_hand == 0 {
            self.progress.quiet();
        }
    }
}

/// The answer to a request that was refused unseen, without a body.
pub(super) fn refusal<B: Body>(status: StatusCode) -> Response<StreamAnswer<B>> {
    let mut response = Response::new(StreamAnswer {
        inner: None,
        stream: None,
    });
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let soon = HeaderValue::from_static("1");
        response.headers_mut().insert(RETRY_AFTER, soon);
    }
    response
}

// === impl Tasks ===

impl Tasks {
    pub(super) fn starter(&self) -> TaskStarter {
        TaskStarter(Arc::downgrade(&self.0))
    }
}

impl<F> Executor<F> for TaskStarter
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let Some(tasks) = self.0.upgrade() else { return };
        let mut tasks = tasks.lock();
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                error!(%error, "a request's task panicked");
            }
        }
        tasks.spawn(stream);
    }
}

// === impl Stream ===

impl Stream {
    /// Begins to answer.
    pub(super) fn answer<B: Body>(self, answer: Response<B>) -> Response<StreamAnswer<B>> {
        answer.map(|body| {
            if !body.is_end_stream() {
                self.waits_for_client();
            }
            StreamAnswer {
                inner: Some(body),
                stream: Some(self),
            }
        })
    }

    /// From now on it is the client that must take something.
    fn waits_for_client(&self) {
        let mut counts = self.of.counts.lock();
        counts.kept_waiting.insert(self.number, Instant::now());
        self.of.tell(&counts);
    }

    /// From now on it is the service that must give something.
    fn waits_for_service(&self) {
        let mut counts = self.of.counts.lock();
        counts.kept_waiting.remove(&self.number);
        self.of.tell(&counts);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let of = self.of.clone();
        of.ended(self);
    }
}

// === impl StreamAnswer ===

impl<B: Body + Unpin> Body for StreamAnswer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(inner).poll_frame(cx);
        if let Some(stream) = &this.stream {
            match &frame {
                Poll::Pending => stream.waits_for_service(),
                Poll::Ready(Some(_)) => stream.waits_for_client(),
                Poll::Ready(None) => this.inner = None,
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<B: Body> Drop for StreamAnswer<B> {
    fn drop(&mut self) {
        let is_done = self.inner.as_ref().is_none_or(Body::is_end_stream);
        if let Some(stream) = &mut self.stream {
            stream.is_done = is_done;
        }
    }
}
