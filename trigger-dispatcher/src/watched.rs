//! Keeps tasks alive that must never end: a panic is caught, told, counted, and the task begins again after a while.
//!
//! # Guarantees
//! After a panic a task begins again after 1, 2, 4 … 60 s. What it had in hand is neither lost nor counted twice: each
//! task sees to that where it takes something.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use crate::serving::Serving;

/// The first wait after a panic, and the longest. A task that lived for longer than that begins with the first again.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The tasks of a broker that must never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Task {
    Router,
    CatchUp,
    Due,
    Progress,
    Commands,
    Worker,
}

/// A panic that was caught, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panic(String);

/// The panics of a broker's tasks since the process started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panics {
    count: u64,
    last: Option<(Task, Panic)>,
}

/// Runs what `begin` gives until it ends by itself, again after each panic.
pub(crate) async fn watched<F: Future<Output = ()>>(
    serving: Arc<Serving>,
    task: Task,
    begin: impl Fn(Arc<Serving>) -> F,
) {
    let mut waits = waits();
    loop {
        let began = Instant::now();
        let Err(panic) = caught(begin(serving.clone())).await else {
            return;
        };
        if began.elapsed() > WAITS.1 {
            waits = self::waits();
        }
        serving.note_panic(task, &panic);
        tokio::select! {
            () = serving.stop.cancelled() => return,
            () = tokio::time::sleep(waits.next().unwrap_or(WAITS.1)) => {}
        }
    }
}

/// 1, 2, 4 … 60 s.
pub(crate) fn waits() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(WAITS.0)
        .with_max_delay(WAITS.1)
        .with_factor(2.0)
        .without_max_times()
        .build()
}

/// The wait after so many panics in a row.
pub(crate) fn wait_after(panics: u32) -> Duration {
    let before = usize::try_from(panics.saturating_sub(1)).unwrap_or(usize::MAX);
    waits().nth(before.min(16)).unwrap_or(WAITS.1)
}

/// What a future gives, or its panic.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        match caught_at_once(|| future.as_mut().poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            // It is not polled again.
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// What a function gives, or its panic. What it has changed by then must not matter.
pub(crate) fn caught_at_once<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| Panic::of(&*payload))
}

// === impl Panic ===

impl Panic {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(text.unwrap_or("a panic without words").to_owned())
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Task ===

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Router => "router",
            Self::CatchUp => "catch-up reader",
            Self::Due => "timer of due work",
            Self::Progress => "writer of progress",
            Self::Commands => "watcher of commands",
            Self::Worker => "worker",
        })
    }
}

// === impl Panics ===

impl Panics {
    pub(crate) fn note(&mut self, task: Task, panic: &Panic) {
        self.count += 1;
        self.last = Some((task, panic.clone()));
    }

    /// For a status: nothing without a panic.
    pub(crate) fn in_words(&self) -> Option<String> {
        let (task, panic) = self.last.as_ref()?;
        Some(format!(
            "tasks of Millrace panicked {} times since the start, last the {task}: {panic}; please report this",
            self.count
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_minute_and_go_on() {
        let seconds: Vec<u64> = waits().take(9).map(|wait| wait.as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(wait_after(1).as_secs(), 1);
        assert_eq!(wait_after(3).as_secs(), 4);
        assert_eq!(wait_after(u32::MAX).as_secs(), 60);
    }

    #[tokio::test]
    async fn a_panic_is_given_in_its_own_words() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let text = caught(async { panic!("at {}", 3) }).await;
        assert_eq!(text.map(|(): ()| ()), Err(Panic("at 3".to_owned())));
        let later = caught(async {
            tokio::task::yield_now().await;
            std::panic::panic_any(7)
        });
        assert_eq!(
            later.await.map(|(): ()| ()),
            Err(Panic("a panic without words".to_owned()))
        );
    }
}
