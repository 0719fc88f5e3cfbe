//! What a connection is doing and since when, so that one timer a connection can tell a slow client from an
//! idle one.
//!
//! hyper offers one timeout, for headers, which also ends idle connections and costs a timer for each
//! request. Here the socket, the service and the response's body write down what they see; the connection's
//! task looks at it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::options::ServeOptions;

/// The state of one connection. Only its task writes it. The listener reads it when it needs room, and asks
/// it to leave.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    phase: AtomicU8,
    /// Milliseconds from `begun` to the begin of the phase.
    since: AtomicU64,
    /// Milliseconds from `begun` to when the socket took no more, plus one; 0 while it takes.
    blocked: AtomicU64,
    ended: AtomicBool,
    /// The listener wants the connection to end as soon as no request is in hand.
    leaving: AtomicBool,
    /// Milliseconds from `begun` to when the client of an HTTP/2 stream took no more, plus one; 0 while all
    /// take.
    stalled: AtomicU64,
    /// The client does things that cost much and bring nothing.
    abused: AtomicBool,
    asked: Notify,
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// Nothing came at all, or nothing after the last answer.
    Idle,
    /// A header was begun and not finished.
    Header,
    /// The client does not take what it is sent.
    Write,
}

const NEW: u8 = 0;
const IDLE: u8 = 1;
const HEADER: u8 = 2;
const BUSY: u8 = 3;
/// HTTP/2 without a request in hand. What comes then need not be a request, so nothing but one ends it.
const QUIET: u8 = 4;

// === impl Progress ===

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            phase: AtomicU8::new(NEW),
            since: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            stalled: AtomicU64::new(0),
            abused: AtomicBool::new(false),
            asked: Notify::new(),
        }
    }

    /// When the connection was accepted.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// The TLS handshake is done: the first header may begin, and is measured from the connection's begin.
    pub(crate) fn secured(&self) {
        self.phase.store(NEW, Relaxed);
    }

    /// HTTP/2 has no request in hand.
    pub(crate) fn quiet(&self) {
        self.since.store(self.now(), Relaxed);
        self.phase.store(QUIET, Relaxed);
    }

    /// Since when the client of a stream takes nothing of its answer.
    pub(crate) fn stalled(&self, since: Option<Instant>) {
        let millis = since.map_or(0, |at| {
            let after = at.saturating_duration_since(self.begun).as_millis();
            u64::try_from(after).unwrap_or(u64::MAX - 1) + 1
        });
        self.stalled.store(millis, Relaxed);
    }

    /// The connection is to end at once.
    pub(crate) fn abused(&self) {
        self.abused.store(true, Release);
        self.asked.notify_one();
    }

    pub(crate) fn is_abused(&self) -> bool {
        self.abused.load(Relaxed)
    }

    /// Asks the connection to end: now if it is idle, otherwise after the request in hand.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Release);
        self.asked.notify_one();
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Acquire)
    }

    /// Wakes the connection's task once it is asked to leave.
    pub(crate) fn asked(&self) -> Notified<'_> {
        self.asked.notified()
    }

    /// Whether a request is in hand.
    pub(crate) fn is_busy(&self) -> bool {
        self.phase.load(Relaxed) == BUSY
    }

    /// Whether no byte has come at all.
    pub(crate) fn is_silent(&self) -> bool {
        self.phase.load(Relaxed) == NEW
    }

    /// How long no request has been in hand; `None` while one is.
    pub(crate) fn idle_for(&self, now: Instant) -> Option<Duration> {
        (!self.is_busy()).then(|| now.saturating_duration_since(self.at(self.since.load(Relaxed))))
    }

    /// A request's header is complete; the service has it.
    pub(crate) fn busy(&self) {
        self.phase.store(BUSY, Relaxed);
    }

    /// Whether the client has closed its half.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// When something runs out, if nothing happens until then. Asked after every step, so it must be cheap.
    pub(crate) fn deadline(&self, options: &ServeOptions) -> Option<Instant> {
        let waits = match self.phase.load(Relaxed) {
            BUSY => None,
            IDLE | QUIET => Some(options.idle_timeout),
            _ => Some(options.header_read_timeout),
        };
        let reading = waits.map(|limit| self.at(self.since.load(Relaxed)) + limit);
        // Either is a client that takes nothing; the longer wait runs out first.
        let blocked = match (self.blocked.load(Relaxed), self.stalled.load(Relaxed)) {
            (0, at) | (at, 0) => at,
            (one, other) => one.min(other),
        };
        let writing = blocked
            .checked_sub(1)
            .map(|at| self.at(at) + options.write_timeout);
        match (reading, writing) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }
    }

    /// What it was that ran out.
    pub(crate) fn expired(&self) -> Expired {
        if self.blocked.load(Relaxed) != 0 || self.stalled.load(Relaxed) != 0 {
            Expired::Write
        } else if self.phase.load(Relaxed) == HEADER {
            Expired::Header
        } else {
            Expired::Idle
        }
    }

    fn idle(&self) {
        self.since.store(self.now(), Relaxed);
        self.phase.store(IDLE, Relaxed);
    }

    fn received(&self, bytes: usize) {
        if bytes == 0 {
            self.ended.store(true, Relaxed);
            return;
        }
        match self.phase.load(Relaxed) {
            // The first header is measured from the connection's begin.
            NEW => self.phase.store(HEADER, Relaxed),
            IDLE => {
                self.since.store(self.now(), Relaxed);
                self.phase.store(HEADER, Relaxed);
            }
            _ => {}
        }
    }

    fn written<T>(&self, outcome: &Poll<T>) {
        if outcome.is_ready() {
            self.blocked.store(0, Relaxed);
        } else if self.blocked.load(Relaxed) == 0 {
            self.blocked.store(self.now() + 1, Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn at(&self, millis: u64) -> Instant {
        self.begun + Duration::from_millis(millis)
    }
}

/// The socket, telling what passes through it.
#[derive(Debug)]
pub(crate) struct Socket<T> {
    inner: T,
    progress: Arc<Progress>,
}

// === impl Socket ===

impl<T> Socket<T> {
    pub(crate) fn new(inner: T, progress: Arc<Progress>) -> Self {
        Self { inner, progress }
    }

    pub(crate) fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        if matches!(outcome, Poll::Ready(Ok(()))) {
            self.progress.received(buf.filled().len() - before);
        }
        outcome
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.progress.written(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.progress.written(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A response's body; when hyper lets go of it the connection is idle again.
#[derive(Debug)]
pub(crate) struct Answer<B> {
    inner: B,
    progress: Arc<Progress>,
}

// === impl Answer ===

impl<B> Answer<B> {
    pub(crate) fn new(inner: B, progress: Arc<Progress>) -> Self {
        Self { inner, progress }
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        self.progress.idle();
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_its_own_deadline_and_name() {
        let options = ServeOptions::default();
        let progress = Progress::new();
        assert_eq!(
            progress.deadline(&options),
            Some(progress.begun + options.header_read_timeout)
        );
        assert_eq!(progress.expired(), Expired::Idle);
        progress.received(1);
        assert_eq!(
            progress.deadline(&options),
            Some(progress.begun + options.header_read_timeout)
        );
        assert_eq!(progress.expired(), Expired::Header);
        progress.busy();
        assert_eq!(progress.deadline(&options), None, "a service may take its time");
        progress.idle();
        assert!(progress.deadline(&options) >= Some(progress.begun + options.idle_timeout));
        assert_eq!(progress.expired(), Expired::Idle);
    }

    #[test]
    fn a_client_that_takes_nothing_is_seen_in_any_phase() {
        let options = ServeOptions::default();
        let progress = Progress::new();
        progress.busy();
        progress.written(&Poll::<()>::Pending);
        assert!(progress.deadline(&options).is_some());
        assert_eq!(progress.expired(), Expired::Write);
        progress.written(&Poll::Ready(()));
        assert_eq!(progress.deadline(&options), None);
    }

    #[test]
    fn http2_is_idle_until_the_next_request_whatever_comes() {
        let options = ServeOptions::default();
        let progress = Progress::new();
        progress.received(1);
        progress.secured();
        progress.quiet();
        progress.received(1);
        assert_eq!(progress.expired(), Expired::Idle);
        assert!(progress.deadline(&options) >= Some(progress.begun + options.idle_timeout));
        progress.busy();
        assert_eq!(progress.deadline(&options), None);
        let since = progress.begun + Duration::from_secs(5);
        progress.stalled(Some(since));
        progress.written(&Poll::Ready(()));
        let until = progress.deadline(&options).expect("a deadline");
        assert!(
            until >= since + options.write_timeout
                && until <= since + options.write_timeout + Duration::from_millis(1)
        );
        assert_eq!(progress.expired(), Expired::Write);
        progress.stalled(None);
        assert_eq!(progress.deadline(&options), None);
    }

    #[test]
    fn the_end_of_what_a_client_sends_is_remembered() {
        let progress = Progress::new();
        assert!(!progress.ended());
        progress.received(0);
        assert!(progress.ended());
    }
}
