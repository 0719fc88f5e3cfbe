//! The time limit of an attempt. The time stands still while the attempt waits for memory of our own, since
//! the target is not at fault.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The time that one attempt has used. Only the attempt's own task uses it. It has atomics, and not cells, so
/// that the task can move between threads.
#[derive(Debug)]
pub(crate) struct Patience {
    began: Instant,
    /// The total of the pauses that are over, in nanoseconds.
    total: AtomicU64,
    /// When the present pause began, in nanoseconds from the beginning; or [`NONE`].
    since: AtomicU64,
}

/// There is no pause at present.
const NONE: u64 = u64::MAX;

/// A pause that has not ended.
struct Pause<'a>(&'a Patience);

// === impl Patience ===

impl Patience {
    /// The time of an attempt that began then.
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            began,
            total: AtomicU64::new(0),
            since: AtomicU64::new(NONE),
        }
    }

    /// The result of `work`; `None`: it was not done by `end`, pauses left out. `alarm` is set to that time.
    pub(crate) async fn limit<T>(
        &self,
        end: Instant,
        mut alarm: Pin<&mut Sleep>,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            if self.since.load(Ordering::Relaxed) != NONE {
                // Only the work can end the pause, and it was just polled.
                return Poll::Pending;
            }
            let end = end + self.total();
            if alarm.deadline() != end {
                alarm.as_mut().reset(end);
            }
            alarm.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Waits for something of our own, within the work; this time is not counted.
    pub(crate) async fn pause<T>(&self, waiting: impl Future<Output = T>) -> T {
        self.since.store(nanos(self.began.elapsed()), Ordering::Relaxed);
        let _pause = Pause(self);
        waiting.await
    }

    /// How long it has paused; `None`: never.
    pub(crate) fn paused(&self) -> Option<Duration> {
        Some(self.total()).filter(|total| !total.is_zero())
    }

    fn total(&self) -> Duration {
        Duration::from_nanos(self.total.load(Ordering::Relaxed))
    }
}

/// Enough for five hundred years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NONE - 1)
}

// === impl Pause ===

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        let Patience { began, total, since } = self.0;
        let began_at = since.swap(NONE, Ordering::Relaxed);
        let lasted = nanos(began.elapsed()).saturating_sub(began_at);
        total.fetch_add(lasted, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A timer that another attempt has used: it rings at once.
    fn used() -> Pin<Box<Sleep>> {
        Box::pin(sleep(Duration::ZERO))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_of_our_own_takes_none_of_the_time() {
        let began = Instant::now();
        let patience = Patience::new(began);
        let work = async {
            for _ in 0..3 {
                sleep(SECOND).await;
                patience.pause(sleep(100 * SECOND)).await;
            }
            pending::<()>().await;
        };
        let end = began + 5 * SECOND;
        assert_eq!(patience.limit(end, used().as_mut(), pin!(work)).await, None);
        assert_eq!(began.elapsed().as_secs(), 305);
        assert_eq!(patience.paused().map(|time| time.as_secs()), Some(300));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_in_time_is_kept_and_a_pause_may_last_for_ever() {
        let mut alarm = used();
        let end = Instant::now() + SECOND;
        let patience = Patience::new(Instant::now());
        let quick = patience.limit(end, alarm.as_mut(), pin!(async { 1 })).await;
        assert_eq!((quick, patience.paused()), (Some(1), None));
        {
            let pause = pin!(patience.pause(pending::<()>()));
            let long = patience.limit(end, alarm.as_mut(), pause);
            assert!(tokio::time::timeout(1_000 * SECOND, long).await.is_err());
        }
        assert_eq!(
            patience.limit(end, alarm.as_mut(), pin!(pending::<()>())).await,
            None,
            "the pause was given up"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_is_used_again_for_earlier_and_for_later_ends() {
        let mut alarm = used();
        for seconds in [100, 3, 50, 1] {
            let began = Instant::now();
            let end = began + seconds * SECOND;
            let late = Patience::new(began)
                .limit(end, alarm.as_mut(), pin!(pending::<()>()))
                .await;
            assert_eq!((late, began.elapsed()), (None, seconds * SECOND));
        }
    }
}
