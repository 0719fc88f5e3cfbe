//! The time limit of an attempt. The time stands still while the attempt waits for memory of our own, since
//! the target is not at fault.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The time that one attempt has used.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    paused: Mutex<Paused>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Paused {
    /// The total of the pauses that are over.
    total: Duration,
    /// When the present pause began.
    since: Option<Instant>,
}

/// A pause that has not ended.
struct Pause<'a>(&'a Patience);

// === impl Patience ===

impl Patience {
    /// The result of `work`; `None`: it took longer than `limit`, pauses left out.
    pub(crate) async fn limit<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let end = Instant::now() + limit;
        let mut work = pin!(work);
        let mut alarm = pin!(tokio::time::sleep_until(end));
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            let Paused { total, since } = *self.paused.lock();
            if since.is_some() {
                // Only the work can end the pause, and it was just polled.
                return Poll::Pending;
            }
            if alarm.deadline() != end + total {
                alarm.as_mut().reset(end + total);
            }
            alarm.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Waits for something of our own, within the work; this time is not counted.
    pub(crate) async fn pause<T>(&self, waiting: impl Future<Output = T>) -> T {
        self.paused.lock().since = Some(Instant::now());
        let _pause = Pause(self);
        waiting.await
    }

    /// How long it has paused; `None`: never.
    pub(crate) fn paused(&self) -> Option<Duration> {
        Some(self.paused.lock().total).filter(|total| !total.is_zero())
    }
}

// === impl Pause ===

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        let mut paused = self.0.paused.lock();
        if let Some(since) = paused.since.take() {
            paused.total += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_of_our_own_takes_none_of_the_time() {
        let (patience, began) = (Patience::default(), Instant::now());
        let work = async {
            for _ in 0..3 {
                sleep(SECOND).await;
                patience.pause(sleep(100 * SECOND)).await;
            }
            pending::<()>().await;
        };
        assert_eq!(patience.limit(5 * SECOND, work).await, None);
        assert_eq!(began.elapsed().as_secs(), 305);
        assert_eq!(patience.paused().map(|time| time.as_secs()), Some(300));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_in_time_is_kept_and_a_pause_may_last_for_ever() {
        let patience = Patience::default();
        assert_eq!(patience.limit(SECOND, async { 1 }).await, Some(1));
        assert_eq!(patience.paused(), None);
        let long = patience.limit(SECOND, patience.pause(pending::<()>()));
        assert!(tokio::time::timeout(1_000 * SECOND, long).await.is_err());
        assert_eq!(
            patience.limit(SECOND, pending::<()>()).await,
            None,
            "the pause was given up"
        );
    }
}
