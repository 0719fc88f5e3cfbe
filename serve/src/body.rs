//! Reading a request's body within bounds: of size, of time, and of the memory that all bodies together may take.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::Problem;

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
    /// The connection ended within it, or its framing is wrong.
    #[error("the body is broken: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// So many bodies are being read that there is no memory set aside for one more.
    #[error("too many requests are being read; try again in a moment")]
    NoMemory,
}

/// The memory that bodies may take together, so that many connections with large bodies cannot exhaust the process.
/// Cheap to clone; clones share the budget.
///
/// # Guarantees
/// A body whose length is known is begun only when all of it has room, and waits for that within its timeout; it
/// holds nothing while it waits, so bodies cannot wait for each other in a circle. A body of unknown length takes
/// room as it grows and is refused when there is none. Memory is counted until [`Reserved`] is dropped.
#[derive(Clone, Debug)]
pub struct BodyBudget {
    units: Arc<Semaphore>,
    total: u32,
}

/// A part of the budget; given back when dropped. Keep it as long as the body, or what was made of it, is in memory.
#[derive(Debug, Default)]
pub struct Reserved(Option<OwnedSemaphorePermit>);

/// The budget is counted in these, as a semaphore counts in 32 bits.
const UNIT: usize = 1024;
/// What a body of unknown length takes at a time.
const STEP: usize = 64 * 1024;

// === impl BodyError ===

impl BodyError {
    /// The answer that tells it. All but `NoMemory` leave the request half read and so end the connection.
    pub fn problem(&self) -> Problem {
        let detail = self.to_string();
        match self {
            Self::TooLarge { .. } => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail).closing()
            }
            Self::Timeout(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", detail).closing(),
            Self::Broken(_) => Problem::new(StatusCode::BAD_REQUEST, "body-broken", detail).closing(),
            Self::NoMemory => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "memory-full", detail)
                .retry_after(Duration::from_secs(1))
                .closing(),
        }
    }
}

// === impl BodyBudget ===

impl BodyBudget {
    /// A budget of so many bytes (rounded up to KiB). It must be larger than the largest body that is to be read.
    pub fn new(bytes: usize) -> Self {
        let total = units(bytes).min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self {
            units: Arc::new(Semaphore::new(total as usize)),
            total,
        }
    }

    /// Reads as [`read_body`] does, within the budget. Waiting for room takes at most `timeout`, and so does reading.
    pub async fn read<B>(
        &self,
        body: B,
        limit: usize,
        timeout: Duration,
    ) -> Result<(Bytes, Reserved), BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let length = announced(&body, limit)?;
        let reserved = self.reserve(length.unwrap_or(0), timeout).await?;
        within(timeout, read(body, limit, length, Some((self, reserved)))).await
    }

    /// Bytes that are free now.
    pub fn free(&self) -> usize {
        self.units.available_permits() * UNIT
    }

    async fn reserve(&self, bytes: usize, timeout: Duration) -> Result<Reserved, BodyError> {
        let wanted = units(bytes);
        if wanted == 0 {
            return Ok(Reserved::default());
        }
        if let Ok(permit) = self.units.clone().try_acquire_many_owned(wanted) {
            return Ok(Reserved(Some(permit)));
        }
        if wanted > self.total {
            return Err(BodyError::NoMemory);
        }
        match tokio::time::timeout(timeout, self.units.clone().acquire_many_owned(wanted)).await {
            Ok(Ok(permit)) => Ok(Reserved(Some(permit))),
            Ok(Err(_)) | Err(_) => Err(BodyError::NoMemory),
        }
    }

    fn grow(&self, reserved: &mut Reserved, bytes: usize) -> Result<(), BodyError> {
        let held = reserved.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needed = units(bytes);
        if held >= needed as usize {
            return Ok(());
        }
        let more = units(STEP).max(needed - u32::try_from(held).unwrap_or(needed));
        let more = self
            .units
            .clone()
            .try_acquire_many_owned(more)
            .map_err(|_| BodyError::NoMemory)?;
        match &mut reserved.0 {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// Bodies up to this size are small.
pub(crate) const SMALL: usize = 64 * 1024;

/// Whether a body is more than a small one, or may be.
pub(crate) fn is_large(body: &impl Body) -> bool {
    body.size_hint()
        .upper()
        .is_none_or(|length| length > SMALL as u64)
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// Reads a whole body of at most `limit` bytes in at most `timeout`.
///
/// A length that the request announces and that is over the limit is refused before anything is read (and before
/// `100 Continue` is sent). A body that came in one piece, as small ones do, is not copied.
pub async fn read_body<B>(body: B, limit: usize, timeout: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let length = announced(&body, limit)?;
    let (bytes, _) = within(timeout, read(body, limit, length, None)).await?;
    Ok(bytes)
}

/// The length that the request announces, if it does and it is within the limit.
fn announced(body: &impl Body, limit: usize) -> Result<Option<usize>, BodyError> {
    let hint = body.size_hint();
    if hint.lower() > limit as u64 {
        return Err(BodyError::TooLarge { limit });
    }
    Ok(hint.exact().and_then(|length| usize::try_from(length).ok()))
}

/// A timer is set only when the body is not already there: most are.
async fn within<T>(
    timeout: Duration,
    read: impl Future<Output = Result<T, BodyError>>,
) -> Result<T, BodyError> {
    tokio::time::timeout(timeout, read)
        .await
        .unwrap_or(Err(BodyError::Timeout(timeout)))
}

async fn read<B>(
    mut body: B,
    limit: usize,
    length: Option<usize>,
    budget: Option<(&BodyBudget, Reserved)>,
) -> Result<(Bytes, Reserved), BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (budget, mut reserved) = budget.map_or((None, Reserved::default()), |(a, b)| (Some(a), b));
    let Some(first) = next_data(&mut body).await? else {
        return Ok((Bytes::new(), reserved));
    };
    if body.is_end_stream() && first.len() <= limit {
        if let Some(budget) = budget {
            budget.grow(&mut reserved, first.len())?;
        }
        return Ok((first, reserved));
    }
    let mut whole = BytesMut::with_capacity(length.unwrap_or(0));
    let mut next = Some(first);
    while let Some(data) = next {
        let size = whole.len().saturating_add(data.len());
        if size > limit {
            return Err(BodyError::TooLarge { limit });
        }
        if let Some(budget) = budget {
            budget.grow(&mut reserved, size)?;
        }
        whole.extend_from_slice(&data);
        next = next_data(&mut body).await?;
    }
    Ok((whole.freeze(), reserved))
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

/// Reads and drops what is left of a body whose request is refused anyway; says whether it came to its end within
/// `limit` bytes and `timeout`. If so the connection can serve on, if not it must be closed after the answer.
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

    use super::*;

    /// A body of given pieces and no known length, and what comes after them.
    struct Pieces {
        left: VecDeque<&'static [u8]>,
        then: Then,
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
            SizeHint::default()
        }
    }

    fn pieces(pieces: &[&'static [u8]]) -> Pieces {
        then(pieces, Then::End)
    }

    fn then(pieces: &[&'static [u8]], then: Then) -> Pieces {
        Pieces {
            left: pieces.iter().copied().collect(),
            then,
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
        let error = read_body(then(&[b"a"], Then::Wait), 3, LONG).await.unwrap_err();
        assert!(matches!(error, BodyError::Timeout(_)));
    }

    #[tokio::test]
    async fn a_broken_body_is_told_from_a_short_one() {
        let error = read_body(then(&[b"a"], Then::Break), 3, LONG).await.unwrap_err();
        assert!(matches!(error, BodyError::Broken(_)));
    }

    #[tokio::test]
    async fn the_budget_is_held_while_the_body_is_and_then_given_back() {
        let budget = BodyBudget::new(4 * UNIT);
        let body = || Full::new(Bytes::from(vec![0; 2 * UNIT]));
        let (_, first) = budget.read(body(), 10 * UNIT, LONG).await.unwrap();
        let (_, second) = budget.read(body(), 10 * UNIT, LONG).await.unwrap();
        assert_eq!(budget.free(), 0);
        drop(first);
        assert_eq!(budget.free(), 2 * UNIT);
        drop(second);
        assert_eq!(budget.free(), 4 * UNIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_known_body_waits_for_room_and_one_that_grows_is_refused() {
        let budget = BodyBudget::new(2 * UNIT);
        let (_, held) = budget
            .read(Full::new(Bytes::from(vec![0; 2 * UNIT])), UNIT * 2, LONG)
            .await
            .unwrap();
        let known = budget.read(Full::new(Bytes::from_static(b"a")), UNIT, LONG).await;
        assert!(matches!(known, Err(BodyError::NoMemory)), "waited in vain");
        let grown = budget.read(pieces(&[b"a", b"b"]), UNIT, LONG).await;
        assert!(matches!(grown, Err(BodyError::NoMemory)));
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move {
                budget
                    .read(Full::new(Bytes::from_static(b"a")), UNIT, LONG)
                    .await
                    .map(|_| ())
            }
        });
        tokio::task::yield_now().await;
        drop(held);
        assert!(waiting.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_body_is_drained_only_when_it_is_short() {
        assert!(discard(Full::new(Bytes::from_static(b"abc")), 3, LONG).await);
        assert!(!discard(Full::new(Bytes::from_static(b"abcd")), 3, LONG).await);
        assert!(!discard(pieces(&[b"abc", b"d"]), 3, LONG).await);
        assert!(!discard(then(&[], Then::Wait), 3, LONG).await);
    }
}
