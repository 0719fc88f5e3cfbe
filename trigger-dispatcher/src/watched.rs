//! Restarts tasks that must never end: a panic is caught, logged and counted, and the task starts again after
//! a while.
//!
//! # Guarantees
//! After a panic a task starts again after 1, 2, 4 … 60 s. What it had in hand is neither lost nor counted
//! twice: each task ensures that where it takes something.
//!
//! The message of a panic may hold a tenant's data, so it goes into the log alone. Statuses and failures show
//! the place in the source instead.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Once};
use std::task::Poll;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use crate::serving::Serving;

/// The first and the longest wait after a panic. A task that lived longer than the longest wait starts over
/// with the first.
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

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panic {
    words: String,
    place: Option<String>,
}

thread_local! {
    /// Where the last panic of this thread was, until it is caught.
    static LAST_PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// The panics of a broker's tasks since the process started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panics {
    count: u64,
    last: Option<(Task, Panic)>,
}

/// Records from now on where panics of this process happen. The earlier panic hook is still called.
pub(crate) fn note_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            LAST_PLACE.set(
                info.location()
                    .map(|place| format!("{}:{}", place.file(), place.line())),
            );
            before(info);
        }));
    });
}

/// Runs the future from `begin` until it ends by itself; starts it again after each panic.
pub(crate) async fn watched<F: Future<Output = ()>>(
    serving: Arc<Serving>,
    task: Task,
    begin: impl Fn(Arc<Serving>) -> F,
) {
    let mut waits = waits();
    loop {
        let began = Instant::now();
        let panic = {
            let task = pin!(begin(serving.clone()));
            match caught(task).await {
                Ok(()) => return,
                Err(panic) => panic,
            }
        };
        if began.elapsed() > WAITS.1 {
            waits = self::waits();
        }
        serving.note_panic(task, &panic);
        tokio::select! {
            biased;
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

/// The result of a future, or its panic. The caller pins the future, because one that is passed by value is
/// stored twice.
pub(crate) async fn caught<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panic> {
    std::future::poll_fn(|context| {
        match caught_at_once(|| future.as_mut().poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            // It is never polled again.
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// The result of a function, or its panic. Changes that it made before the panic must not matter.
pub(crate) fn caught_at_once<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(run)).map_err(Panic::of)
}

/// The result of a function. A panic in it keeps its place, and is caught elsewhere, perhaps by another
/// thread.
pub(crate) fn with_place<T>(run: impl FnOnce() -> T) -> T {
    caught_at_once(run).unwrap_or_else(|panic| panic.go_on())
}

// === impl Panic ===

impl Panic {
    fn of(payload: Box<dyn Any + Send>) -> Self {
        let payload = match payload.downcast::<Self>() {
            Ok(panic) => return *panic,
            Err(payload) => payload,
        };
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self {
            words: text.unwrap_or("a panic without words").to_owned(),
            place: LAST_PLACE.take(),
        }
    }

    /// The place in the source, without the message: that may hold an event's data.
    pub(crate) fn place(&self) -> &str {
        self.place.as_deref().unwrap_or("an unknown place")
    }

    /// Resumes the panic with its original place.
    pub(crate) fn go_on(self) -> ! {
        resume_unwind(Box::new(self))
    }
}

/// Place and message, for the log.
impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.words, self.place())
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

    /// For a status; `None` without a panic.
    pub(crate) fn in_words(&self) -> Option<String> {
        let (task, panic) = self.last.as_ref()?;
        Some(format!(
            "tasks of Millrace panicked {} times since the start, last the {task} at {}; please report this, the log has more",
            self.count,
            panic.place()
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
    async fn a_panic_is_given_with_its_words_and_its_place() {
        note_places();
        assert_eq!(caught(pin!(async { 7 })).await, Ok(7));
        let words = |caught: Result<(), Panic>| caught.map_err(|panic| (panic.words.clone(), panic));
        let line = line!() + 1;
        let (text, panic) = words(caught(pin!(async { panic!("at {}", 3) })).await).expect_err("it panics");
        assert_eq!(text, "at 3");
        assert_eq!(panic.place(), format!("{}:{line}", file!()));
        assert!(!panic.place().contains("at 3"), "words are for the log");
        let later = pin!(async {
            tokio::task::yield_now().await;
            std::panic::panic_any(7)
        });
        let (text, _) = words(caught(later).await).expect_err("it panics");
        assert_eq!(text, "a panic without words");
    }

    #[tokio::test]
    async fn a_panic_of_another_thread_keeps_its_place() {
        note_places();
        let elsewhere = std::thread::spawn(|| with_place(|| -> () { panic!("elsewhere") }));
        let line = line!() - 1;
        let payload = elsewhere.join().expect_err("it panics");
        let caught = caught_at_once(|| resume_unwind(payload));
        let panic = caught.map(|(): ()| ()).expect_err("it panics");
        assert_eq!(panic.place(), format!("{}:{line}", file!()));
    }
}
