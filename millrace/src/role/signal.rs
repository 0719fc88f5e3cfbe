//! The signals that ask the process to end, and the forced end if something hangs.
//!
//! They are received on a thread of their own: a task that blocks, on a file system that does not answer for
//! example, must not prevent the end of the process.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::cli::exit::Exit;

/// Tells when the process has been asked to end.
#[derive(Debug)]
pub(crate) struct Ended {
    asked: watch::Receiver<u32>,
}

/// Receives SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// How long the process may take beyond the drain timeout, to write down what was in hand.
const WRITING: Duration = Duration::from_secs(10);
/// How long it may take to end once it was asked a second time.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How soon after a signal another one still means the same request: `timeout` and terminals signal a
/// process and its group.
const ONE_WISH: Duration = Duration::from_millis(500);
/// How long the forced end waits for its line in the log.
const LAST_WORDS: Duration = Duration::from_millis(200);

// === impl Ended ===

impl Ended {
    /// Receives SIGTERM and SIGINT from now on. After the first one the process ends: by itself within the
    /// drain timeout, or by force [`WRITING`] after it. Accepted events are durable before they are
    /// acknowledged, so force costs repeats and no event.
    pub(crate) fn listen(drain_timeout: Duration) -> io::Result<Self> {
        let (sender, asked) = watch::channel(0);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _here = runtime.enter();
            Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            }
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(until_overdue(
                    async || signals.next().await,
                    &sender,
                    drain_timeout,
                ));
                last_words();
                std::process::exit(i32::from(Exit::Failed.code()));
            })?;
        Ok(Self { asked })
    }

    /// Waits for the next of them.
    pub(crate) async fn asked(&mut self) {
        if self.asked.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

// === impl Signals ===

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Passes on each request to end, and returns when the process should have ended by itself but has not.
async fn until_overdue(mut signal: impl AsyncFnMut(), sender: &watch::Sender<u32>, drain_timeout: Duration) {
    signal().await;
    sender.send_modify(|count| *count += 1);
    let mut last = Instant::now();
    let mut deadline = last + drain_timeout + WRITING;
    loop {
        tokio::select! {
            () = signal() => {
                if last.elapsed() < ONE_WISH {
                    continue;
                }
                last = Instant::now();
                sender.send_modify(|count| *count += 1);
                deadline = deadline.min(last + AT_ONCE);
            }
            () = sleep_until(deadline) => return,
        }
    }
}

/// Logs why the process ends, if that is possible at once. Standard error may be a full pipe that nobody
/// reads: writing to it then hangs, and so does every thread that waits for its lock.
fn last_words() {
    let (told, said) = mpsc::channel();
    let words = move || {
        tracing::error!("something hangs, so the process ends now without waiting for it");
        let _ = told.send(());
    };
    // Without a thread nothing is logged; the end comes all the same.
    let _ = std::thread::Builder::new()
        .name("last words".to_owned())
        .spawn(words);
    let _ = said.recv_timeout(LAST_WORDS);
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    const DRAIN: Duration = Duration::from_secs(30);

    /// The test does not wait in real time: paused time advances when nothing else can happen.
    #[tokio::test(start_paused = true)]
    async fn a_process_that_hangs_is_ended_after_the_drain_timeout_or_at_once_when_asked_again() {
        for (wishes, limit) in [(1, DRAIN + WRITING), (2, AT_ONCE), (3, AT_ONCE - ONE_WISH)] {
            let (send, mut receive) = mpsc::channel(8);
            let (told, asked) = watch::channel(0);
            let next = async || {
                if receive.recv().await.is_none() {
                    std::future::pending::<()>().await;
                }
            };
            let mut overdue = std::pin::pin!(until_overdue(next, &told, DRAIN));
            let moment = Duration::from_millis(1);
            let unasked = timeout(2 * (DRAIN + WRITING), &mut overdue).await;
            assert!(unasked.is_err(), "nobody asked");
            for wish in 0..wishes {
                if wish > 0 {
                    let pause = timeout(ONE_WISH, &mut overdue).await;
                    assert!(pause.is_err(), "{wish}: too early");
                }
                // As `timeout` does it: to the process, and to its group.
                send.send(()).await.expect("it listens");
                send.send(()).await.expect("it listens");
            }
            let early = timeout(limit - moment, &mut overdue).await;
            assert!(early.is_err(), "{wishes}: too early");
            let due = timeout(2 * moment, &mut overdue).await;
            assert!(due.is_ok(), "{wishes}: too late");
            assert_eq!(*asked.borrow(), wishes);
        }
    }
}
