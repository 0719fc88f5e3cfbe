//! What can be asked of the state: from memory, by the connection that writes, or as a search.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use millrace_event::Timestamp;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::worker::Order;
use super::{State, StateError, copies, lanes, parked, work};
use crate::embedded::blocking::blocking;
use crate::{Lane, LaneId, Parked, ParkedQuery, Record, Rows, Work};

// === impl State ===

impl State {
    /// What the last look found wrong with the database's files.
    pub(crate) fn fault(&self) -> Option<String> {
        self.shared.files.fault.get()
    }

    /// Looks whether the database's files are where they were opened.
    pub(crate) async fn look_over(&self) {
        let shared = self.shared.clone();
        // The task fails only when the process ends.
        let _ = tokio::task::spawn_blocking(move || shared.files.look()).await;
    }

    /// The same at once, on this thread. Blocking.
    pub(crate) fn look_over_now(&self) {
        self.shared.files.look();
    }

    /// Follows the count of commands.
    pub(crate) fn commands(&self) -> watch::Receiver<u64> {
        self.shared.commands.subscribe()
    }

    /// Every lane. While the database is closed they do not change, so it is opened for them once.
    pub(crate) async fn lanes(&self) -> Result<Vec<Lane>, StateError> {
        let openings = self.shared.openings.load(Ordering::Acquire);
        let was_closed = !self.is_open();
        if was_closed
            && let Some((_, lanes)) = self
                .shared
                .at_rest
                .lock()
                .as_ref()
                .filter(|known| known.0 == openings)
        {
            return Ok(lanes.clone());
        }
        let lanes = self.read(lanes::all).await?;
        if was_closed && !self.is_open() {
            *self.shared.at_rest.lock() = Some((openings, lanes.clone()));
        }
        Ok(lanes)
    }

    /// Rows due at or before `until`.
    pub(crate) async fn due(
        &self,
        lane: LaneId,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Work>, StateError> {
        self.read(move |db| work::due(db, lane, until, limit)).await
    }

    /// The earliest due time later than `after`.
    pub(crate) async fn next_due(
        &self,
        lane: LaneId,
        after: Timestamp,
    ) -> Result<Option<Timestamp>, StateError> {
        self.read(move |db| work::next_due(db, lane, after)).await
    }

    /// A page of parked rows, whose events are still to be found unless they are replies.
    pub(crate) async fn parked(&self, query: ParkedQuery) -> Result<Vec<Parked>, StateError> {
        self.search(move |db| parked::list(db, &query)).await
    }

    /// One parked row.
    pub(crate) async fn parked_by_id(&self, id: &str) -> Result<Option<Parked>, StateError> {
        let id = id.to_owned();
        self.read(move |db| parked::get(db, &id)).await
    }

    /// The copy of an event.
    pub(crate) async fn copy(&self, offset: u64) -> Result<Option<Record>, StateError> {
        self.read(move |db| copies::get(db, offset)).await
    }

    /// What is written down of one event by these lanes.
    pub(crate) async fn rows_of(
        &self,
        lanes: &[LaneId],
        offset: u64,
    ) -> Result<HashMap<LaneId, Rows>, StateError> {
        let lanes: HashSet<LaneId> = lanes.iter().copied().collect();
        self.read(move |db| {
            let mut rows: HashMap<LaneId, Rows> = HashMap::new();
            for work in work::of(db, &lanes, offset)? {
                rows.entry(work.key.lane).or_default().work.push(work);
            }
            for parked in parked::of(db, &lanes, offset)? {
                rows.entry(parked.lane).or_default().parked.push(parked);
            }
            Ok(rows)
        })
        .await
    }

    /// Which of the next `page` copies above an offset hold these bytes, and where to go on.
    pub(crate) async fn copies_holding(
        &self,
        bytes: Vec<u8>,
        after: i64,
        page: usize,
    ) -> Result<(Vec<u64>, Option<i64>), StateError> {
        self.search(move |db| copies::holding(db, &bytes, after, page))
            .await
    }

    /// Asks a question that takes few rows: it is answered between two transactions.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let (reply, answer) = oneshot::channel();
        let ask = |db: Result<&Connection, StateError>| {
            // The caller may be gone.
            let _ = reply.send(db.and_then(question));
        };
        self.order(Order::Answer(Box::new(ask))).await?;
        answer.await.map_err(|_| StateError::Closed)?
    }

    /// Asks a question that may take long.
    async fn search<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let searches = self.searches.clone().lock_owned().await;
        let shared = self.shared.clone();
        let asked = blocking(shared.span.clone(), move || {
            searches.ask(shared.files.path(), question)
        });
        match asked.await.map_err(|_| StateError::Closed)? {
            Ok(answer) => answer,
            // The connection that writes is open already; if not, this tells what is wrong.
            Err(question) => self.read(question).await,
        }
    }
}
