//! Reading a request's body within bounds: of size, of time, and of the memory that all bodies together may
//! take.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use millrace_budget::part::SMALL;
use millrace_budget::{Hold, Pace, Part};
use tokio::time::Instant;

use crate::{Peer, Problem};

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the limit, or says so.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It did not come in the time allowed.
    #[error("the body did not arrive within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// Less than 1 KiB a second of it came for ten seconds.
    #[error("less than 1 KiB a second of the body arrived for {} s", Pace::WINDOW.as_secs())]
    TooSlow,
    /// The connection ended within it, or its framing is wrong.
    #[error("the body is broken: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// So many bodies are being read that there is no memory set aside for one more.
    #[error("too many requests are being read; try again in a moment")]
    NoMemory,
}

/// The memory that all bodies together may use, so that many connections with large bodies cannot exhaust the
/// process. Cheap to clone; clones share the budget.
///
/// # Guarantees
/// - Bytes are counted as they come, and until the [`Hold`] is dropped.
/// - A large body whose length is known waits, within its timeout, until all of it has room; it holds nothing
///   meanwhile. It keeps the room set aside for it as long as it arrives quickly. If it lags while another
///   body waits, only room for what has arrived is left to it. So a client that announces much and sends
///   little holds up nobody.
/// - A body that cannot grow is refused: one of unknown length, or one that lagged.
/// - Small bodies have room that no large one can take. One of the largest size always fits.
///
/// [`Part`] decides which waiting body comes first.
#[derive(Clone, Debug)]
pub struct BodyBudget {
    part: Part,
}

/// A body on its way in.
struct Reading<B> {
    body: B,
    limit: usize,
    timeout: Duration,
    /// When reading began, or resumed after waiting for room.
    begun: Instant,
    looked: Instant,
    pace: Pace,
    read: usize,
    /// `None`: bytes are not counted.
    hold: Option<Hold>,
    /// Whether room for all of it was set aside.
    is_set_aside: bool,
}

// === impl BodyError ===

impl BodyError {
    /// The answer for this error. Every such answer leaves the request half read and so ends the connection.
    pub fn problem(&self) -> Problem {
        let detail = self.to_string();
        let (status, code) = match self {
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
            Self::Timeout(_) => (StatusCode::REQUEST_TIMEOUT, "body-timeout"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow"),
            Self::Broken(_) => (StatusCode::BAD_REQUEST, "body-broken"),
            Self::NoMemory => (StatusCode::SERVICE_UNAVAILABLE, "memory-full"),
        };
        let problem = Problem::new(status, code, detail).closing();
        match self {
            Self::NoMemory => problem.retry_after(Duration::from_secs(1)),
            _ => problem,
        }
    }
}

// === impl BodyBudget ===

impl BodyBudget {
    /// A budget for bodies from this part of the memory.
    pub fn new(part: Part) -> Self {
        Self { part }
    }

    /// Reads as [`read_body`] does, within the budget. Waiting for room takes at most `timeout`, and so does
    /// reading. A large body counts for `peer`; [`crate::serve`] puts it into the extensions of requests with
    /// such a body.
    pub async fn read<B>(
        &self,
        body: B,
        limit: usize,
        timeout: Duration,
        peer: Option<Peer>,
    ) -> Result<(Bytes, Hold), BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let length = announced(&body, limit)?;
        let mut reading = Reading::new(body, limit, timeout, Some(self.part.hold()));
        let bytes = reading.run(length, Some((&self.part, peer))).await?;
        let hold = reading.hold.take().unwrap_or_else(|| self.part.hold());
        Ok((bytes, hold))
    }
}

/// Whether a body is more than a small one, or may be.
pub(crate) fn is_large(body: &impl Body) -> bool {
    body.size_hint()
        .upper()
        .is_none_or(|length| length > SMALL as u64)
}

/// Reads a whole body of at most `limit` bytes in at most `timeout`, at no less than 1 KiB a second over ten
/// seconds.
///
/// An announced length over the limit is refused before anything is read (and before `100 Continue` is sent).
/// A body that came in one piece, as small ones do, is not copied.
pub async fn read_body<B>(body: B, limit: usize, timeout: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let length = announced(&body, limit)?;
    Reading::new(body, limit, timeout, None).run(length, None).await
}

/// The length that the request announces, if it does and it is within the limit.
fn announced(body: &impl Body, limit: usize) -> Result<Option<usize>, BodyError> {
    let hint = body.size_hint();
    if hint.lower() > limit as u64 {
        return Err(BodyError::TooLarge { limit });
    }
    Ok(hint.exact().and_then(|length| usize::try_from(length).ok()))
}

// === impl Reading ===

impl<B> Reading<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn new(body: B, limit: usize, timeout: Duration, hold: Option<Hold>) -> Self {
        let now = Instant::now();
        Self {
            body,
            limit,
            timeout,
            begun: now,
            looked: now,
            pace: Pace::begin(now),
            read: 0,
            hold,
            is_set_aside: false,
        }
    }

    async fn run(
        &mut self,
        length: Option<usize>,
        budget: Option<(&Part, Option<Peer>)>,
    ) -> Result<Bytes, BodyError> {
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        if self.body.is_end_stream() && first.len() <= self.limit {
            self.grow(first.len())?;
            return Ok(first);
        }
        // A client that has sent nothing yet is not admitted. Bytes that came stay in the connection's own
        // buffer meanwhile.
        if let (Some((part, peer)), Some(length)) = (budget, length.filter(|length| *length > SMALL)) {
            self.enter(part, peer, length).await?;
        }
        let mut whole = BytesMut::with_capacity(length.unwrap_or(first.len()).min(self.limit));
        let mut next = Some(first);
        while let Some(data) = next {
            let size = whole.len().saturating_add(data.len());
            if size > self.limit {
                return Err(BodyError::TooLarge { limit: self.limit });
            }
            let room = if size <= whole.capacity() {
                size
            } else {
                // A buffer that doubles is copied twice at most.
                size.max(whole.capacity().saturating_mul(2)).min(self.limit)
            };
            self.grow(room)?;
            if size > whole.capacity() {
                whole.reserve(room - whole.len());
            }
            whole.extend_from_slice(&data);
            next = self.next().await?;
        }
        Ok(whole.freeze())
    }

    /// Waits until all of the body has room.
    async fn enter(&mut self, part: &Part, peer: Option<Peer>, length: usize) -> Result<(), BodyError> {
        let entering = part.enter(peer.map_or(0, Peer::number), length);
        let entered = tokio::time::timeout(self.timeout, entering).await;
        self.hold = Some(entered.map_err(|_| BodyError::NoMemory)?);
        self.is_set_aside = true;
        // The time spent waiting for room does not count against the client.
        let now = Instant::now();
        (self.begun, self.looked, self.pace) = (now, now, Pace::begin(now));
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), BodyError> {
        let fits = self.hold.as_mut().is_none_or(|hold| hold.grow(bytes));
        if fits { Ok(()) } else { Err(BodyError::NoMemory) }
    }

    /// The next piece of data.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let step = if self.is_set_aside {
                Pace::STEP
            } else {
                Pace::WINDOW
            };
            let until = (self.looked + step).min(self.begun + self.timeout);
            let Some(data) = within(until, next_data(&mut self.body)).await else {
                self.look()?;
                continue;
            };
            let data = data?;
            let came = data.as_ref().map_or(0, Bytes::len);
            self.pace.came(came);
            self.read += came;
            if self.is_kept() && self.looked.elapsed() >= step {
                self.look()?;
            }
            return Ok(data);
        }
    }

    /// Whether it keeps room beyond what has arrived, which others may need.
    fn is_kept(&self) -> bool {
        self.is_set_aside || self.hold.as_ref().is_some_and(Hold::is_guaranteed)
    }

    /// Whether the rest of the body is still worth waiting for.
    fn look(&mut self) -> Result<(), BodyError> {
        let now = Instant::now();
        self.looked = now;
        if now >= self.begun + self.timeout {
            return Err(BodyError::Timeout(self.timeout));
        }
        if self.pace.is_too_slow(now) {
            return Err(BodyError::TooSlow);
        }
        let read = self.read;
        let lags = self.is_kept() && self.pace.lags(now);
        match &mut self.hold {
            Some(hold) if lags => match hold.lag(read) {
                true => Ok(()),
                false => Err(BodyError::NoMemory),
            },
            _ => Ok(()),
        }
    }
}

/// What a future gives by that time. A timer is made only if the future is not ready at once, as most are.
async fn within<F: Future>(until: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let now = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
    match now {
        Poll::Ready(output) => Some(output),
        Poll::Pending => tokio::time::timeout_at(until, future).await.ok(),
    }
}

/// The next piece of data; trailers are passed over.
async fn next_data<B>(body: &mut B) -> Result<Option<Bytes>, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.into()))?;
        if let Ok(data) = Frame::into_data(frame) {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Reads and drops what is left of a body whose request is refused anyway; says whether it came to its end
/// within `limit` bytes and `timeout`. If so the connection can serve on, if not it must be closed after the
/// answer.
pub async fn discard<B>(mut body: B, limit: usize, timeout: Duration) -> bool
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.is_end_stream() {
        return true;
    }
    if body.size_hint().lower() > limit as u64 {
        return false;
    }
    let until = Instant::now() + timeout;
    let mut seen = 0_usize;
    loop {
        match tokio::time::timeout_at(until, next_data(&mut body)).await {
            Ok(Ok(Some(data))) => {
                seen = seen.saturating_add(data.len());
                if seen > limit {
                    return false;
                }
            }
            Ok(Ok(None)) => return true,
            Ok(Err(_)) | Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body_util::Full;
    use hyper::body::SizeHint;
    use millrace_budget::Use as _;

    use super::*;

    /// A body of given pieces, with what follows them and the length that it announces.
    struct Pieces {
        left: VecDeque<&'static [u8]>,
        then: Then,
        announced: Option<u64>,
    }

    #[derive(Clone, Copy)]
    enum Then {
        End,
        Break,
        Wait,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            if let Some(piece) = self.left.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece)))));
            }
            match self.then {
                Then::End => Poll::Ready(None),
                Then::Break => Poll::Ready(Some(Err(io::Error::other("cut")))),
                Then::Wait => Poll::Pending,
            }
        }

        fn size_hint(&self) -> SizeHint {
            self.announced
                .map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    fn pieces(pieces: &[&'static [u8]]) -> Pieces {
        then(pieces, Then::End)
    }

    fn then(pieces: &[&'static [u8]], then: Then) -> Pieces {
        Pieces {
            left: pieces.iter().copied().collect(),
            then,
            announced: None,
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied() {
        let sent = Bytes::from(vec![7; 100]);
        let read = read_body(Full::new(sent.clone()), 100, LONG).await.unwrap();
        assert_eq!(read.as_ptr(), sent.as_ptr());
    }

    #[tokio::test]
    async fn pieces_become_one_body_up_to_the_limit() {
        assert_eq!(
            read_body(pieces(&[b"ab", b"", b"c"]), 3, LONG).await.unwrap(),
            &b"abc"[..]
        );
        assert_eq!(read_body(pieces(&[]), 3, LONG).await.unwrap(), Bytes::new());
        let error = read_body(pieces(&[b"ab", b"cd"]), 3, LONG).await.unwrap_err();
        assert!(matches!(error, BodyError::TooLarge { limit: 3 }));
        let error = read_body(pieces(&[b"abcd"]), 3, LONG).await.unwrap_err();
        assert!(matches!(error, BodyError::TooLarge { limit: 3 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_ends_in_a_timeout() {
        let short = Duration::from_secs(5);
        let error = read_body(then(&[b"a"], Then::Wait), 3, short).await.unwrap_err();
        assert!(matches!(error, BodyError::Timeout(_)));
    }

    #[tokio::test]
    async fn a_broken_body_is_told_from_a_short_one() {
        let error = read_body(then(&[b"a"], Then::Break), 3, LONG).await.unwrap_err();
        assert!(matches!(error, BodyError::Broken(_)));
    }

    /// A part with room for eight small bodies beside two of 1 MiB.
    fn budget() -> (BodyBudget, Part) {
        let part = Part::new(0, 1 << 20);
        (BodyBudget::new(part.clone()), part)
    }

    #[tokio::test]
    async fn the_budget_is_held_while_the_body_is_and_then_given_back() {
        let (budget, part) = budget();
        let body = || Full::new(Bytes::from(vec![0; 2048]));
        let (_, first) = budget.read(body(), 10_000, LONG, None).await.unwrap();
        let (_, second) = budget.read(body(), 10_000, LONG, None).await.unwrap();
        assert_eq!(part.used(), 4096);
        drop(first);
        assert_eq!(part.used(), 2048);
        drop(second);
        assert_eq!(part.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_announces_much_and_sends_little_holds_up_nobody() {
        let (budget, part) = budget();
        let mut slow = Vec::new();
        for _ in 0..100 {
            let budget = budget.clone();
            slow.push(tokio::spawn(async move {
                let mut body = then(&[b"a"], Then::Wait);
                body.announced = Some(1 << 20);
                budget
                    .read(body, 1 << 20, LONG, Some(Peer::of([10, 0, 0, 1].into())))
                    .await
                    .err()
            }));
        }
        tokio::task::yield_now().await;
        // Its own body comes in two pieces, so it too must wait at the door.
        let mut honest = pieces(&[&[0_u8; 100_000], &[0; 100_000]]);
        honest.announced = Some(200_000);
        let peer = Some(Peer::of([10, 0, 0, 2].into()));
        let began = Instant::now();
        let (bytes, _) = budget.read(honest, 1 << 20, LONG, peer).await.unwrap();
        assert_eq!(bytes.len(), 200_000);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        for task in slow {
            let error = task.await.unwrap().unwrap();
            assert!(
                matches!(error, BodyError::TooSlow | BodyError::NoMemory),
                "{error}"
            );
        }
        assert_eq!(part.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_unknown_length_that_finds_no_room_is_refused() {
        let (budget, part) = budget();
        let all = [part.enter(1, 1 << 20).await, part.enter(1, 1 << 20).await];
        static LARGE: [u8; 100_000] = [0; 100_000];
        let grown = budget.read(pieces(&[&LARGE, b"b"]), 1 << 20, LONG, None).await;
        assert!(matches!(grown, Err(BodyError::NoMemory)));
        let small = budget.read(pieces(&[b"a", b"b"]), 1 << 20, LONG, None).await;
        assert!(small.is_ok(), "small ones have room of their own");
        drop(all);
        assert!(
            budget
                .read(pieces(&[&LARGE, b"b"]), 1 << 20, LONG, None)
                .await
                .is_ok()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_too_slow_after_ten_seconds() {
        let error = read_body(then(&[b"a"], Then::Wait), 3, LONG).await.unwrap_err();
        assert!(matches!(error, BodyError::TooSlow), "{error}");
        assert_eq!(error.problem().code(), "body-too-slow");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_body_is_drained_only_when_it_is_short() {
        assert!(discard(Full::new(Bytes::from_static(b"abc")), 3, LONG).await);
        assert!(!discard(Full::new(Bytes::from_static(b"abcd")), 3, LONG).await);
        assert!(!discard(pieces(&[b"abc", b"d"]), 3, LONG).await);
        assert!(!discard(then(&[], Then::Wait), 3, LONG).await);
    }
}
