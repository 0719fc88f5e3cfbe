//! Runs filters that need more than an allowance: off the I/O threads, in slices, in turns.
//!
//! # Guarantees
//! - In the whole process at most as many slices run at one time as there are threads for them.
//! - The job that has waited longest gets the next slice. So each job waits, for each of its slices, for at
//!   most one slice of every other job.
//!
//! # Caveats
//! A slice ends after a filter, not within one: it takes [`SLICE`] steps, plus what the last filter takes
//! beyond them.

use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::compiled::{Compiled, Decision};
use crate::meter::{Allowance, MAX_STEPS};
use crate::subject::Subject;

/// The work of one turn, in steps: some ten milliseconds, depending on the filters.
pub const SLICE: u64 = MAX_STEPS;

/// The turns of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

// === impl Turns ===

impl Turns {
    /// Turns on this many threads.
    pub fn new(threads: usize) -> Self {
        Self(Arc::new(Semaphore::new(threads.max(1))))
    }

    /// Turns on half of the machine's processors, and on one at least.
    pub fn of_this_machine() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from) / 2)
    }

    /// Does the job, slice by slice. `slice` works for about [`SLICE`] steps and returns whether all is done.
    ///
    /// When this is dropped, the slice under way ends in the background and no other follows.
    ///
    /// # Panics
    /// When `slice` panics, with the same panic; and outside of a Tokio runtime.
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
                    // The runtime is shutting down, and this task with it.
                    Err(_) => std::future::pending().await,
                },
            };
            if done {
                return returned;
            }
            job = returned;
            // Queues behind the waiting jobs before one of them is admitted: that one may be back sooner.
            let mut next = std::pin::pin!(self.next());
            let now = std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
            drop(ended);
            turn = match now {
                Poll::Ready(turn) => turn,
                Poll::Pending => next.await,
            };
        }
    }

    /// Decides about an event: at once if an allowance suffices, otherwise in turns.
    ///
    /// # Panics
    /// As [`Turns::work`].
    pub async fn decide(&self, subject: Subject<'_>, filter: &Arc<Compiled>) -> Decision {
        match filter.decide(&subject, &Allowance::brief()) {
            Decision::Later => {}
            decision => return decision,
        }
        let job = (subject.into_owned(), filter.clone(), Decision::Later);
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
