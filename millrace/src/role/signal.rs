//! The signals that ask the process to end, and the end that comes whatever hangs.
//!
//! They are heard on a thread of their own: a task that blocks, on a file system that does not answer for example, must not
//! keep anybody from ending the process.

use std::io;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::cli::exit::Exit;

/// Tells when the process was asked to end.
#[derive(Debug)]
pub(crate) struct Ended {
    asked: watch::Receiver<u32>,
}

/// What hears SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// How long the process may take beyond the drain timeout, to write down what was in hand.
const WRITING: Duration = Duration::from_secs(10);
/// How long it may take to end once it was asked a second time.
const AT_ONCE: Duration = Duration::from_secs(1);

// === impl Ended ===

impl Ended {
    /// Hears SIGTERM and SIGINT from now on. Once there was one, the process ends: by itself within the drain timeout, or by
    /// force [`WRITING`] after it. What is accepted is durable before it is acknowledged, so force costs repeats and no event.
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
                tracing::error!("something hangs, so the process ends now without waiting for it");
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

/// Tells of each signal, and returns when the process should have ended by itself and has not.
async fn until_overdue(mut signal: impl AsyncFnMut(), sender: &watch::Sender<u32>, drain_timeout: Duration) {
    signal().await;
    sender.send_modify(|count| *count += 1);
    let mut deadline = Instant::now() + drain_timeout + WRITING;
    loop {
        tokio::select! {
            () = signal() => {
                sender.send_modify(|count| *count += 1);
                deadline = deadline.min(Instant::now() + AT_ONCE);
            }
            () = sleep_until(deadline) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    const DRAIN: Duration = Duration::from_secs(30);

    /// Time is not waited for here: it passes when nothing else can happen.
    #[tokio::test(start_paused = true)]
    async fn a_process_that_hangs_is_ended_after_the_drain_timeout_or_at_once_when_asked_again() {
        for (signals, limit) in [(1, DRAIN + WRITING), (2, AT_ONCE), (5, AT_ONCE)] {
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
            for _ in 0..signals {
                send.send(()).await.expect("it listens");
            }
            let early = timeout(limit - moment, &mut overdue).await;
            assert!(early.is_err(), "{signals}: too early");
            let due = timeout(2 * moment, &mut overdue).await;
            assert!(due.is_ok(), "{signals}: too late");
            assert_eq!(*asked.borrow(), signals);
        }
    }
}
