//! Where filters are asked that need more than an allowance: off the I/O threads, in slices, in turns.
//!
//! # Guarantees
//! - At most as many slices run at once as there are threads for it, in the whole process.
//! - Who waits longest has the next slice. So one who needs many waits as often as there are others, and each of those
//!   waits for one slice of each other at most.
//!
//! # Caveats
//! A slice ends after a filter, not within one: it takes [`SLICE`] steps, and what the last filter may take beyond.

use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::compiled::{Compiled, Decision};
use crate::meter::{Allowance, MAX_STEPS};
use crate::subject::Subject;

/// So much work is done in one turn, in steps: some ten milliseconds, by what is asked.
pub const SLICE: u64 = MAX_STEPS;

/// The turns of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

// === impl Turns ===

impl Turns {
    /// Turns on so many threads.
    pub fn new(threads: usize) -> Self {
        Self(Arc::new(Semaphore::new(threads.max(1))))
    }

    /// Turns on half of the machine's processors, and on one at least.
    pub fn of_this_machine() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from) / 2)
    }

    /// Does the job, slice by slice. `slice` works for about [`SLICE`] steps and says whether all is done.
    ///
    /// When this is dropped, the slice under way ends in the background and no other follows.
    ///
    /// # Panics
    /// When `slice` does, with its panic; and outside of a Tokio runtime.
    pub async fn work<J: Send + 'static>(&self, mut job: J, slice: fn(&mut J) -> bool) -> J {
        let mut turn = self.next().await;
        loop {
            let worked = tokio::task::spawn_blocking(move || {
                let done = slice(&mut job);
                (job, done, turn)
            });
            let (returned, done, ended) = match worked.await {
                Ok(worked) => worked,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is shutting down, and this with it.
                    Err(_) => std::future::pending().await,
                },
            };
            if done {
                return returned;
            }
            job = returned;
            // Behind those who wait, before one of them is let in: it may be back sooner.
            let mut next = std::pin::pin!(self.next());
            let now = std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
            drop(ended);
            turn = match now {
                Poll::Ready(turn) => turn,
                Poll::Pending => next.await,
            };
        }
    }

    /// What a filter says of an event: at once if an allowance suffices, else in turns.
    ///
    /// # Panics
    /// As [`Turns::work`].
    pub async fn decide(&self, subject: Subject, filter: &Arc<Compiled>) -> Decision {
        match filter.decide(&subject, &Allowance::brief()) {
            Decision::Later => {}
            decision => return decision,
        }
        let job = (subject, filter.clone(), Decision::Later);
        let decided = self.work(job, |(subject, filter, decision)| {
            *decision = filter.decide(subject, &Allowance::unlimited());
            true
        });
        decided.await.2
    }

    async fn next(&self) -> OwnedSemaphorePermit {
        let turn = self.0.clone().acquire_owned().await;
        turn.expect("invariant: nobody closes it")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Job {
        name: char,
        slices: usize,
        log: Arc<Mutex<String>>,
    }

    fn one(job: &mut Job) -> bool {
        job.slices -= 1;
        job.log.lock().expect("nobody panicked").push(job.name);
        job.slices == 0
    }

    #[tokio::test]
    async fn those_who_need_many_slices_take_turns() {
        let turns = Turns::new(1);
        let log = Arc::new(Mutex::new(String::new()));
        // Both wait while the only thread is taken.
        let taken = turns.0.clone().acquire_owned().await;
        let job = |name, slices| {
            let (turns, log) = (turns.clone(), log.clone());
            tokio::spawn(async move { turns.work(Job { name, slices, log }, one).await.name })
        };
        let (long, short) = (job('a', 4), job('b', 2));
        tokio::task::yield_now().await;
        drop(taken);
        assert_eq!(long.await.expect("no panic"), 'a');
        assert_eq!(short.await.expect("no panic"), 'b');
        assert_eq!(*log.lock().expect("nobody panicked"), "ababaa");
    }

    #[tokio::test]
    #[should_panic(expected = "broken")]
    async fn a_panic_is_the_callers() {
        Turns::new(1).work((), |()| panic!("broken")).await;
    }
}
