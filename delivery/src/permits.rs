//! [`Shares`] for tasks that wait. A permit is given back when dropped; a place in the line is left when
//! dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, oneshot};

use crate::shares::{Kept, OwnerId, Rank, Shares, Ticket};

/// A limited number of permits.
#[derive(Debug)]
pub(crate) struct Permits {
    books: Mutex<Books>,
    /// How many wait in line: while there are none, nothing is locked.
    waiting: AtomicUsize,
    /// Signals that a permit came back.
    freed: Notify,
    shown: Shown,
}

/// The gauges that show the books.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) limit: Gauge,
    pub(crate) used: Gauge,
    pub(crate) waiting: Gauge,
}

#[derive(Debug)]
struct Books {
    shares: Shares,
    answers: HashMap<Ticket, oneshot::Sender<Permit>>,
}

/// A permit. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit {
    permits: Arc<Permits>,
    owner: OwnerId,
}

/// A place in the line. Dropping it leaves the line.
#[derive(Debug)]
pub(crate) struct Pending {
    permits: Arc<Permits>,
    ticket: Ticket,
    answer: oneshot::Receiver<Permit>,
}

// === impl Permits ===

impl Permits {
    pub(crate) fn new(limit: usize, kept: Kept, shown: Shown) -> Arc<Self> {
        shown.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        Arc::new(Self {
            books: Mutex::new(Books {
                shares: Shares::new(limit, kept),
                answers: HashMap::new(),
            }),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            shown,
        })
    }

    /// Stands in line. The permit may be there at once.
    pub(crate) fn ask(self: &Arc<Self>, owner: OwnerId, rank: Rank) -> Pending {
        let (sender, answer) = oneshot::channel();
        let ticket = self.change(|books| {
            let ticket = books.shares.ask(owner, rank);
            books.answers.insert(ticket, sender);
            ticket
        });
        // Whoever parks a connection from now on sees this request. The other half of this handshake is in
        // `Parked::put`.
        fence(Ordering::SeqCst);
        Pending {
            permits: self.clone(),
            ticket,
            answer,
        }
    }

    /// Waits until a permit comes back. Returns at once if one has come back since the last wait.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Whether a waiting owner would get a permit that this owner gives back.
    pub(crate) fn is_wanted_of(&self, owner: OwnerId) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 && self.books.lock().shares.is_wanted_of(owner)
    }

    /// Every owner that holds permits, and how many.
    pub(crate) fn holders(&self) -> Vec<(OwnerId, usize)> {
        self.books.lock().shares.holders().collect()
    }

    /// Changes the books, then grants what can be granted.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Books) -> T) -> T {
        let mut books = self.books.lock();
        let changed = change(&mut books);
        let granted: Vec<_> = books
            .shares
            .grant()
            .into_iter()
            .filter_map(|(ticket, owner)| Some((books.answers.remove(&ticket)?, owner)))
            .collect();
        let count = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let waiting = books.shares.waiting();
        self.waiting.store(waiting, Ordering::Relaxed);
        self.shown.used.set(count(books.shares.used()));
        self.shown.waiting.set(count(waiting));
        drop(books);
        for (answer, owner) in granted {
            // A request that was given up drops its permit, which comes back here: so not under the lock.
            drop(answer.send(Permit {
                permits: self.clone(),
                owner,
            }));
        }
        changed
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.change(|books| books.shares.give_back(self.owner));
        self.permits.freed.notify_one();
    }
}

// === impl Pending ===

impl Pending {
    /// The permit, if it has been granted.
    pub(crate) fn granted(&mut self) -> Option<Permit> {
        self.answer.try_recv().ok()
    }

    /// Waits for the permit.
    ///
    /// # Guarantees
    /// Dropping the future keeps the place in the line.
    pub(crate) async fn permit(&mut self) -> Permit {
        match (&mut self.answer).await {
            Ok(permit) => permit,
            // It was taken before: no caller asks a second time.
            Err(_) => std::future::pending().await,
        }
    }

    /// How many permits its owner holds.
    pub(crate) fn owner_holds(&self, owner: OwnerId) -> usize {
        self.permits.books.lock().shares.held(owner)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.permits.change(|books| {
            books.answers.remove(&self.ticket);
            books.shares.withdraw(self.ticket)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(limit: usize) -> Arc<Permits> {
        Permits::new(limit, |_| 0, Shown::default())
    }

    #[tokio::test]
    async fn a_permit_that_comes_back_goes_to_who_waits() {
        let permits = permits(1);
        let first = permits.ask(1, Rank::Usual).granted().expect("free");
        let mut second = permits.ask(2, Rank::Usual);
        assert!(second.granted().is_none());
        assert!(permits.is_wanted_of(1) && !permits.is_wanted_of(3));
        drop(first);
        let held = second.permit().await;
        assert_eq!(permits.holders(), [(2, 1)]);
        drop((held, second));
        assert_eq!(permits.holders(), []);
    }

    #[tokio::test]
    async fn who_waits_is_known_whatever_the_metrics_show() {
        // Two of these share what they show, as the connectors of one process may.
        let shown = Shown::default();
        let permits = Permits::new(1, |_| 0, shown.clone());
        let held = permits.ask(1, Rank::Usual).granted().expect("free");
        let waits = permits.ask(2, Rank::Usual);
        let other = Permits::new(1, |_| 0, shown.clone());
        drop(other.ask(3, Rank::Usual).granted());
        assert_eq!(shown.waiting.get(), 0, "what the other one has set last");
        assert!(permits.is_wanted_of(1));
        drop((waits, held));
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_line_and_loses_no_permit() {
        let permits = permits(1);
        let first = permits.ask(1, Rank::Usual).granted().expect("free");
        let (gone, mut third) = (permits.ask(2, Rank::Usual), permits.ask(3, Rank::Usual));
        drop(gone);
        drop(first);
        // Granted by now, and dropped unseen.
        let unseen = permits.ask(4, Rank::Usual);
        drop(third.permit().await);
        drop(unseen);
        assert_eq!((permits.shown.used.get(), permits.shown.waiting.get()), (0, 0));
        assert!(permits.ask(5, Rank::Usual).granted().is_some());
    }
}
