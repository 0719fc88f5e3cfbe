//! One request and its answer on an open connection.
//!
//! hyper's connection is a future that somebody must poll. It is polled here, by the attempt itself, instead
//! of by a task of its own: that saves two changes of task for each delivery, and a slot that is dropped
//! takes its connection with it. Between attempts nobody polls; a close by the peer is noticed when the
//! connection is used next.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use millrace_budget::{Hold, Part};
use millrace_event::http::is_claimed;
use millrace_model::Authorities;

use crate::auth::Identity;
use crate::endpoint::{Endpoint, To};
use crate::no_answer::{self, NoAnswer, Unmade};
use crate::outcome::BODY_KEPT;
use crate::patience::Patience;
use crate::permits::Permit;
use crate::reply_memory::ReplyMemory;
use crate::stream::{Heard, Stream, Wire};
use crate::tls::Terms;

/// Bytes of an answer's head that are read at most; as much as our own ingress reads of a request's. hyper
/// itself stops at 100 header lines.
const MAX_HEAD: usize = 64 * 1024;

/// An open connection.
pub(crate) struct Open {
    endpoint: Endpoint,
    /// The client certificate that it shows.
    identity: Option<Arc<Identity>>,
    /// Who else was trusted when it was made.
    authorities: Option<Authorities>,
    heard: Heard,
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<TokioIo<Stream>, Full<Bytes>>,
    /// The driver has completed and must not be polled again.
    over: bool,
    /// Last, so that it is given back after the connection is closed.
    permit: Permit,
}

/// The limits within which an answer is read.
pub(crate) struct Bounds<'a> {
    /// Whether the answer may be a reply.
    pub(crate) wants_reply: bool,
    /// The most bytes that are kept of a body that is no reply.
    pub(crate) keep: usize,
    /// The most bytes of the body that are read.
    pub(crate) max: usize,
    /// The memory for replies.
    pub(crate) replies: &'a Part,
    /// The time limit of the attempt.
    pub(crate) patience: &'a Patience,
}

/// What came back. It is filled while it comes, so that an attempt that runs out of time still knows the
/// status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whether its head says that it is a CloudEvent, or several.
    pub(crate) says_event: bool,
    pub(crate) body: Body,
    /// The memory that the body takes, if it may be a reply.
    pub(crate) held: Option<Hold>,
}

/// The body as far as it was read and kept.
#[derive(Debug, Default)]
pub(crate) struct Body {
    // Most bodies come in one piece, which is kept as it is; `joined` takes over with the second one.
    piece: Bytes,
    joined: BytesMut,
    read: usize,
    end: End,
}

/// How the reading ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// Not yet, or with a fault.
    #[default]
    Open,
    /// At the body's end.
    Whole,
    /// At our limit.
    Cut,
}

// === impl Open ===

impl Open {
    /// Speaks HTTP/1.1 on a new connection to `endpoint`.
    pub(crate) async fn new(
        endpoint: Endpoint,
        terms: Terms<'_>,
        wire: Wire,
        permit: Permit,
    ) -> Result<Self, NoAnswer> {
        let heard = Heard::default();
        let io = TokioIo::new(Stream::new(wire, heard.clone()));
        let handshake = http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_HEAD)
            .handshake(io)
            .await;
        let (sender, driver) = handshake.map_err(|error| NoAnswer::from_hyper(&error, false))?;
        Ok(Self {
            endpoint,
            identity: terms.identity.cloned(),
            authorities: terms.authorities.cloned(),
            heard,
            sender,
            driver,
            over: false,
            permit,
        })
    }

    /// Closes it and keeps its permit, for another connection in its place.
    pub(crate) fn into_permit(self) -> Permit {
        self.permit
    }

    /// Whether this connection can take a request of this client: it leads there, the same authorities vouch
    /// for it, nobody has closed it and nothing is left over of the last answer.
    pub(crate) async fn takes(&mut self, to: To<'_>, identity: Option<&Arc<Identity>>) -> bool {
        let is_vouched_for = !self.endpoint.tls || self.authorities.as_ref() == to.authorities;
        self.endpoint.is(to.uri) && is_vouched_for && self.shows(identity) && self.is_idle().await
    }

    /// Whether it shows this client certificate, or none.
    fn shows(&self, identity: Option<&Arc<Identity>>) -> bool {
        match (&self.identity, identity) {
            (None, None) => true,
            (Some(own), Some(wanted)) => Arc::ptr_eq(own, wanted),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Whether the last exchange is over and done with.
    pub(crate) async fn is_idle(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        })
        .await;
        !self.over && self.sender.is_ready()
    }

    /// Whether the peer has sent anything since the last request.
    pub(crate) fn was_heard(&self) -> bool {
        self.heard.anything()
    }

    /// The Host header of this endpoint.
    pub(crate) fn host(&self) -> HeaderValue {
        self.endpoint.host_header.clone()
    }

    /// Sends a request. [`Open::exchange`] drives it.
    pub(crate) fn send(
        &mut self,
        request: http::Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<http::Response<Incoming>>> + use<> {
        self.heard.reset();
        self.sender.send_request(request)
    }

    /// Reads the answer to what was sent into `answer`: the whole head, and as much of the body as the bounds
    /// allow. A body that is not announced as a reply is kept only up to its first kilobyte.
    pub(crate) async fn exchange(
        &mut self,
        mut sent: Pin<&mut impl Future<Output = hyper::Result<http::Response<Incoming>>>>,
        bounds: &Bounds<'_>,
        answer: &mut Option<Answer>,
    ) -> Result<(), Unmade> {
        let response = poll_fn(|cx| {
            self.drive(cx);
            sent.as_mut().poll(cx)
        });
        let response = response.await.map_err(|error| {
            let short = no_answer::shortage_of(&error).filter(|_| !self.was_heard());
            short.map_or_else(
                || NoAnswer::from_hyper(&error, self.was_heard()).into(),
                Unmade::Short,
            )
        })?;
        let (parts, mut incoming) = response.into_parts();
        let answer = answer.insert(Answer::of(parts));
        if answer.announces_reply(bounds.wants_reply) {
            // Boxed: most answers are no replies.
            return Ok(Box::pin(self.read_reply(incoming, answer, bounds)).await?);
        }
        while let Some(piece) = self.next_piece(&mut incoming).await? {
            if !answer.body.take(piece, bounds.keep.min(bounds.max), bounds.max) {
                return Ok(());
            }
        }
        answer.body.end = End::Whole;
        Ok(())
    }

    /// Reads a body that may be a reply, and holds its memory.
    async fn read_reply(
        &mut self,
        mut incoming: Incoming,
        answer: &mut Answer,
        bounds: &Bounds<'_>,
    ) -> Result<(), NoAnswer> {
        let length = incoming.size_hint().exact();
        let mut memory = ReplyMemory::new(bounds, &self.endpoint, length);
        self.read_within(&mut incoming, &mut answer.body, bounds.max, &mut memory)
            .await
            .map_err(|error| error.after_pause(bounds.patience.paused()))?;
        answer.held = Some(memory.whole());
        Ok(())
    }

    /// Reads a body as far as memory allows, to its end or to `max`.
    async fn read_within(
        &mut self,
        incoming: &mut Incoming,
        body: &mut Body,
        max: usize,
        memory: &mut ReplyMemory<'_>,
    ) -> Result<(), NoAnswer> {
        while let Some(piece) = memory.next(self.next_piece(incoming)).await?? {
            memory.came(piece.len(), incoming.is_end_stream()).await?;
            if !body.take(piece, max, max) {
                return Ok(());
            }
        }
        body.end = End::Whole;
        Ok(())
    }

    /// The next piece of the body; `None` at its end.
    async fn next_piece(&mut self, incoming: &mut Incoming) -> Result<Option<Bytes>, NoAnswer> {
        let piece = poll_fn(|cx| {
            // The first question tells the driver that more is wanted, then it reads, and the second one
            // takes that or registers for what is still to come.
            if let Poll::Ready(piece) = poll_data(incoming, cx) {
                return Poll::Ready(piece);
            }
            self.drive(cx);
            poll_data(incoming, cx)
        });
        piece.await.map_err(|error| NoAnswer::from_hyper(&error, true))
    }

    /// Lets hyper do what can be done now. How it ended, if it does, the request's own future tells.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.over && Pin::new(&mut self.driver).poll(cx).is_ready() {
            self.over = true;
        }
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("endpoint", &self.endpoint)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

fn poll_data(incoming: &mut Incoming, cx: &mut Context<'_>) -> Poll<hyper::Result<Option<Bytes>>> {
    loop {
        match ready!(Pin::new(&mut *incoming).poll_frame(cx)).transpose()? {
            None => return Poll::Ready(Ok(None)),
            Some(frame) => {
                // Trailers are nothing to us.
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Ok(Some(data)));
                }
            }
        }
    }
}

// === impl Answer ===

impl Answer {
    /// An answer of which only the head has come.
    fn of(head: http::response::Parts) -> Self {
        Self {
            status: head.status,
            says_event: is_claimed(&head.headers),
            headers: head.headers,
            body: Body::default(),
            held: None,
        }
    }

    /// Whether it is a reply, valid or not, where one is wanted: then its whole body is read.
    pub(crate) fn announces_reply(&self, wanted: bool) -> bool {
        wanted && self.status == StatusCode::OK && self.says_event
    }
}

// === impl Body ===

impl Body {
    /// Takes a piece and keeps of it what fits into `keep`. `false`: that was more than `max` altogether,
    /// read no further.
    fn take(&mut self, piece: Bytes, keep: usize, max: usize) -> bool {
        self.read = self.read.saturating_add(piece.len());
        let room = keep.saturating_sub(self.piece.len() + self.joined.len());
        let piece = if piece.len() > room {
            piece.slice(..room)
        } else {
            piece
        };
        if self.piece.is_empty() && self.joined.is_empty() {
            self.piece = piece;
        } else if !piece.is_empty() {
            if self.joined.is_empty() {
                self.joined.extend_from_slice(&std::mem::take(&mut self.piece));
            }
            self.joined.extend_from_slice(&piece);
        }
        if self.read > max {
            self.end = End::Cut;
        }
        self.end != End::Cut
    }

    /// The body came to its end within the limit.
    pub(crate) fn is_whole(&self) -> bool {
        self.end == End::Whole
    }

    /// Nothing came.
    pub(crate) fn is_empty(&self) -> bool {
        self.read == 0
    }

    /// What was kept.
    pub(crate) fn bytes(&self) -> Bytes {
        if self.joined.is_empty() {
            self.piece.clone()
        } else {
            Bytes::copy_from_slice(&self.joined)
        }
    }

    /// At most [`BODY_KEPT`] bytes from the beginning; a copy, so that a kilobyte in the history does not
    /// keep a connection's whole buffer.
    pub(crate) fn first_bytes(&self) -> Bytes {
        let kept = if self.joined.is_empty() {
            &self.piece[..]
        } else {
            &self.joined[..]
        };
        Bytes::copy_from_slice(&kept[..kept.len().min(BODY_KEPT)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_keeps_its_beginning_and_reads_no_further_than_its_limit() {
        let cases: [(&[&str], usize, usize, bool, &str); 7] = [
            (&[], 8, 8, true, ""),
            (&["abc"], 8, 8, true, "abc"),
            (&["abc", "def"], 8, 8, true, "abcdef"),
            (&["abcd", "efgh"], 8, 8, true, "abcdefgh"),
            (&["abcd", "efgh", "i"], 8, 8, false, "abcdefgh"),
            (&["abc", "def", "g"], 2, 8, true, "ab"),
            (&["a", "b", "cdef"], 3, 8, true, "abc"),
        ];
        for (pieces, keep, max, goes_on, kept) in cases {
            let mut body = Body::default();
            let all = pieces
                .iter()
                .all(|piece| body.take(Bytes::copy_from_slice(piece.as_bytes()), keep, max));
            assert_eq!((all, &body.bytes()[..]), (goes_on, kept.as_bytes()), "{pieces:?}");
        }
    }

    #[test]
    fn the_first_bytes_are_a_kilobyte() {
        let mut body = Body::default();
        assert!(body.take(Bytes::from(vec![7; 1_000]), 5_000, 5_000));
        assert!(body.take(Bytes::from(vec![8; 1_000]), 5_000, 5_000));
        assert_eq!(body.first_bytes().len(), BODY_KEPT);
        assert_eq!(body.bytes().len(), 2_000);
    }
}
