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
        let signals = {
            let _here = runtime.enter();
            Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            }
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(signals.tell(&sender, drain_timeout)))?;
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

    /// Tells of each signal, and ends the process when it does not end by itself.
    async fn tell(mut self, sender: &watch::Sender<u32>, drain_timeout: Duration) {
        self.next().await;
        sender.send_modify(|count| *count += 1);
        let mut deadline = Instant::now() + drain_timeout + WRITING;
        loop {
            tokio::select! {
                () = self.next() => {
                    sender.send_modify(|count| *count += 1);
                    deadline = deadline.min(Instant::now() + AT_ONCE);
                }
                () = sleep_until(deadline) => break,
            }
        }
        tracing::error!("something hangs, so the process ends now without waiting for it");
        std::process::exit(i32::from(Exit::Failed.code()));
    }
}
