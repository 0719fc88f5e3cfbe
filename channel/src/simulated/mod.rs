//! A remote backend that is only simulated: what a log and a state store on other machines promise and do,
//! in memory and without a thread. It proves the contract before any server is involved.
//!
//! [`Simulated`] is what the servers hold. Each [`open`](Simulated::open) stands for a process that takes the
//! partition over; an earlier owner lives on as a zombie. What an owner does is not simulated: it is that of
//! every remote backend ([`remote`](crate::remote)). Here are the way to the servers (`way`), and the servers
//! that take chunks, if the fence lets them (`server`).
//!
//! # Guarantees
//! - A chunk is stored whole or not at all.
//! - Only the newest owner writes: each chunk names its claim.
//! - Positions begin anywhere and have gaps.
//! - Everything random comes from the seed. With one thread and a paused clock the same seed gives the same
//!   run.

mod server;
#[cfg(test)]
mod tests;
mod way;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millrace_event::{Clock, ObjectName};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::remote::{Client, Owner, OwnerOptions};
use crate::{Channel, LaneId, Log, Parked, Position, Work};
use server::{Cut, Server};
use way::Way;

/// How it behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// What its choices come from.
    pub seed: u64,
    /// The number of the partition that it keeps.
    pub partition: u32,
    /// The most records that are written in one step.
    pub chunk: usize,
    /// Whether the events of one append are stored in one step.
    pub atomic_batch: bool,
    /// The longest time that a request takes; zero for none.
    pub latency: Duration,
    /// The clock of every process.
    pub clock: Clock,
}

/// One partition of one broker, as the servers hold it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Simulated {
    shared: Arc<Shared>,
}

/// What all processes reach.
#[derive(Debug)]
struct Shared {
    options: Options,
    server: Mutex<Server>,
    /// Wakes readers when there is more to read, in the order in which they came.
    appends: Notify,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            // Not 0, so that nobody relies on that.
            partition: 3,
            chunk: 2,
            atomic_batch: false,
            latency: Duration::ZERO,
            clock: Clock::System,
        }
    }
}

// === impl Simulated ===

impl Simulated {
    /// Servers that hold nothing yet.
    pub fn new(options: Options) -> Self {
        let server = Server::new(options.seed, options.partition);
        Self {
            shared: Arc::new(Shared {
                options,
                server: Mutex::new(server),
                appends: Notify::new(),
            }),
        }
    }

    /// A process that only appends and reads.
    pub fn log(&self) -> Arc<dyn Log> {
        let epochs = self.shared.server.lock().state.epochs().clone();
        Arc::new(Client::new(Arc::new(Way::new(self.shared.clone())), epochs))
    }

    /// Takes the partition over. From now on the owner before is fenced off.
    ///
    /// # Panics
    /// When an owner waits for something before it has begun: the servers are at once with a new one.
    pub fn open(&self) -> Arc<dyn Channel> {
        let way = Arc::new(Way::of_new_owner(self.shared.clone()));
        let options = OwnerOptions {
            clock: self.shared.options.clock.clone(),
            seed: self.shared.options.seed,
            salt: 0,
        };
        let claim = pin!(Owner::claim(way.clone(), options));
        let Poll::Ready(Ok(owner)) = claim.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("a claim waits for nothing here and is never refused");
        };
        way.begin();
        Arc::new(owner)
    }

    /// The partition's number.
    pub fn partition(&self) -> u32 {
        self.shared.options.partition
    }

    /// All events of the log: where each stands, and its id.
    pub fn events(&self) -> Vec<(Position, String)> {
        let server = self.shared.server.lock();
        let entries = server.entries.iter();
        entries
            .map(|entry| (server.position(entry.number), entry.event.id().to_owned()))
            .collect()
    }

    /// The trigger of each lane that is stored.
    pub fn triggers(&self) -> BTreeMap<LaneId, ObjectName> {
        let server = self.shared.server.lock();
        let triggers = server.state.triggers();
        triggers.map(|(id, trigger)| (id, trigger.clone())).collect()
    }

    /// All rows of work that are stored.
    pub fn rows(&self) -> Vec<Work> {
        let server = self.shared.server.lock();
        server.state.rows().cloned().collect()
    }

    /// All parked events that are stored.
    pub fn parked(&self) -> Vec<Parked> {
        let server = self.shared.server.lock();
        server.state.parked().cloned().collect()
    }

    /// Fails a write of the owner of now, once so many chunks have been stored from now on. `is_stored`: that
    /// chunk is stored, and only the answer is lost. The owner tries again.
    pub fn cut_once(&self, chunks: usize, is_stored: bool) {
        self.shared.server.lock().cut = Some(Cut {
            chunks,
            is_stored,
            for_good: false,
        });
    }

    /// Stores only so many more chunks of the owner of now: it is as good as killed.
    pub fn cut_off(&self, chunks: usize) {
        self.shared.server.lock().cut = Some(Cut {
            chunks,
            is_stored: false,
            for_good: true,
        });
    }

    /// Fails the next append after so many of its steps.
    pub fn cut_append(&self, steps: usize) {
        self.shared.server.lock().cut_append = Some(steps);
    }

    /// Makes the events from one position up to another unreadable until the next call. They are not lost.
    pub fn hide(&self, from: Position, to: Position) {
        let mut server = self.shared.server.lock();
        server.hidden = server.number(from)..server.number(to);
        drop(server);
        // Readers that wait look again.
        self.shared.appends.notify_waiters();
    }

    /// Loses the newest events although they were acknowledged, as a power cut may: those from `from` on.
    /// The servers have restarted, so whoever owned the partition has lost it. Returns the ids of the lost.
    pub fn lose_suffix(&self, from: Position) -> Vec<String> {
        let mut server = self.shared.server.lock();
        let number = server.number(from);
        let lost = server.lose_suffix(number);
        drop(server);
        self.shared.appends.notify_waiters();
        lost
    }
}

// === impl Shared ===

impl Shared {
    /// The way to the servers or back: other tasks run meanwhile.
    async fn travel(&self) {
        let longest = self.options.latency.as_micros();
        let longest = u64::try_from(longest).unwrap_or(u64::MAX);
        if longest > 0 {
            let micros = self.server.lock().choices.u64(0..=longest);
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }
}
