//! The memory of an answer that may be a reply: counted as it comes, until the reply is stored.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use millrace_budget::part::SMALL;
use millrace_budget::{Hold, Pace, Part};
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::exchange::Bounds;
use crate::no_answer::NoAnswer;
use crate::patience::Patience;

/// The memory of one answer.
///
/// A small answer, and one of unknown length, takes memory as it comes. A large one waits until all of it has
/// room and is not read meanwhile; that wait does not count towards the attempt's timeout. An answer that
/// stalls keeps what was set aside for it only while no other needs it. Once others wait for memory it is cut
/// off, and the attempt has failed.
#[derive(Debug)]
pub(crate) struct ReplyMemory<'a> {
    part: &'a Part,
    /// The time limit of the attempt.
    patience: &'a Patience,
    hold: Hold,
    /// The target that the memory counts for.
    asker: u64,
    /// The length that the answer announces.
    length: Option<usize>,
    max: usize,
    read: usize,
    pace: Pace,
    looked: Instant,
    /// Whether all that it will need was set aside.
    is_set_aside: bool,
}

// === impl ReplyMemory ===

impl<'a> ReplyMemory<'a> {
    /// For an answer from `endpoint`, with its announced length if it has one.
    pub(crate) fn new(bounds: &Bounds<'a>, endpoint: &Endpoint, length: Option<u64>) -> Self {
        let Bounds {
            max,
            replies: part,
            patience,
            ..
        } = *bounds;
        let mut hasher = DefaultHasher::new();
        (&endpoint.host, endpoint.port).hash(&mut hasher);
        let now = Instant::now();
        Self {
            part,
            patience,
            hold: part.hold(),
            asker: hasher.finish(),
            length: length.map(|length| usize::try_from(length).map_or(max, |length| length.min(max))),
            max,
            read: 0,
            pace: Pace::begin(now),
            looked: now,
            is_set_aside: false,
        }
    }

    /// Waits for the next piece, and checks meanwhile whether the wait still makes sense.
    pub(crate) async fn next<T>(&mut self, piece: impl Future<Output = T>) -> Result<T, NoAnswer> {
        let mut piece = std::pin::pin!(piece);
        loop {
            let is_kept = self.is_set_aside || self.hold.is_guaranteed();
            let step = if is_kept { Pace::STEP } else { Pace::WINDOW };
            match tokio::time::timeout_at(self.looked + step, piece.as_mut()).await {
                Ok(piece) => return Ok(piece),
                Err(_) => self.look(is_kept)?,
            }
        }
    }

    /// Notes that so many bytes have come, the last of them perhaps. Waits for room if that is needed to read
    /// on.
    pub(crate) async fn came(&mut self, bytes: usize, is_last: bool) -> Result<(), NoAnswer> {
        let is_first = self.read == 0;
        self.read += bytes;
        self.pace.came(bytes);
        let large = self.length.filter(|length| *length > SMALL);
        let needed = match large {
            Some(length) if is_first && !is_last => return self.enter(length).await,
            _ => self.read.min(self.max),
        };
        if self.hold.grow(needed) {
            return Ok(());
        }
        if self.is_set_aside {
            // It lagged, and what was set aside for it was given to another.
            return Err(NoAnswer::SlowReply);
        }
        self.enter(self.length.unwrap_or(self.max)).await
    }

    /// The memory held, once the answer is complete.
    pub(crate) fn whole(mut self) -> Hold {
        self.hold.shrink(self.read);
        self.hold
    }

    async fn enter(&mut self, bytes: usize) -> Result<(), NoAnswer> {
        self.hold = self.patience.pause(self.part.enter(self.asker, bytes)).await;
        self.is_set_aside = true;
        let now = Instant::now();
        (self.looked, self.pace) = (now, Pace::begin(now));
        Ok(())
    }

    fn look(&mut self, is_kept: bool) -> Result<(), NoAnswer> {
        let now = Instant::now();
        self.looked = now;
        let is_too_slow = self.pace.is_too_slow(now) && self.hold.is_waited_for();
        if is_too_slow || (is_kept && self.pace.lags(now) && !self.hold.lag(self.read)) {
            return Err(NoAnswer::SlowReply);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use millrace_budget::Use as _;

    use super::*;

    const MAX: usize = 1 << 20;

    /// The part lives as long as the test process, so that tasks can read answers.
    fn part() -> &'static Part {
        Box::leak(Box::new(Part::new(0, MAX)))
    }

    fn memory(replies: &'static Part, name: &str, length: Option<u64>) -> ReplyMemory<'static> {
        let endpoint = Endpoint::of(&format!("http://{name}/").parse().unwrap()).unwrap();
        let bounds = Bounds {
            wants_reply: true,
            keep: 0,
            max: MAX,
            replies,
            patience: Box::leak(Box::new(Patience::new(Instant::now()))),
        };
        ReplyMemory::new(&bounds, &endpoint, length)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_counted_as_it_comes_and_until_it_is_stored() {
        let part = part();
        let mut small = memory(part, "a", Some(3000));
        small.came(1000, false).await.unwrap();
        assert_eq!(part.used(), 1024);
        small.came(2000, true).await.unwrap();
        let mut chunked = memory(part, "a", None);
        chunked.came(100_000, false).await.unwrap();
        let held = (small.whole(), chunked.whole());
        assert_eq!(part.used(), 3072 + 98 * 1024);
        drop(held);
        assert_eq!(part.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_answers_give_way_once_others_wait() {
        let part = part();
        let mut stalled = Vec::new();
        for _ in 0..6 {
            let mut memory = memory(part, "stalls", Some(MAX as u64));
            stalled.push(tokio::spawn(async move {
                memory.came(500_000, false).await?;
                memory.next(pending::<()>()).await
            }));
            tokio::task::yield_now().await;
        }
        // Its pieces come in time, so it keeps what it was given.
        let mut good = memory(part, "good", Some(MAX as u64));
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, good.came(500_000, false))
            .await
            .unwrap()
            .unwrap();
        good.came(548_576, true).await.unwrap();
        drop(good);
        for task in stalled.drain(1..5) {
            let error = tokio::time::timeout(patience, task)
                .await
                .unwrap()
                .unwrap()
                .unwrap_err();
            assert!(matches!(error, NoAnswer::SlowReply), "{error}");
        }
        // The first keeps what has come, the last has the guaranteed room: no other waits for either.
        for task in stalled {
            assert!(tokio::time::timeout(patience, task).await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_part_lets_small_answers_pass() {
        let part = part();
        let full = [part.enter(1, MAX).await, part.enter(1, MAX).await];
        let mut small = memory(part, "a", None);
        let came = tokio::time::timeout(Duration::from_secs(1), small.came(1000, true));
        came.await.unwrap().unwrap();
        drop(full);
    }
}
