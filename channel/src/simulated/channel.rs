//! The owner of the partition.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use millrace_event::{ObjectName, Timestamp};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::log::Client;
use super::server::{Debtor, Server, Write};
use super::view::View;
use super::{Shared, commit, lanes};
use crate::{
    Attempt, Change, Channel, ChannelError, Forgotten, Lane, LaneId, LaneSpec, LaneState, Log, Parked,
    ParkedQuery, Position, Record, Rows, Usage, Work,
};

/// Attempts kept in the history.
const HISTORY: usize = 10_000;

/// One claim of the partition.
#[derive(Debug)]
pub(super) struct Owner {
    shared: Arc<Shared>,
    log: Client,
    claim: u64,
    is_unclean: bool,
    view: Mutex<View>,
    /// One writer at a time. Whether the last one was given up on its way.
    writing: tokio::sync::Mutex<bool>,
    commands: watch::Sender<u64>,
    history: Mutex<Vec<Attempt>>,
}

// === impl Owner ===

impl Owner {
    pub(super) fn claim(shared: Arc<Shared>) -> Self {
        let (claim, state, is_unclean) = shared.server.lock().claim();
        let partition = shared.options.partition;
        Self {
            log: Client::new(shared.clone()),
            shared,
            claim,
            is_unclean,
            view: Mutex::new(View::load(partition, state)),
            writing: tokio::sync::Mutex::new(false),
            commands: watch::Sender::new(0),
            history: Mutex::default(),
        }
    }

    /// Stores what `make` wants written, in chunks. Once it has begun it goes on until all of it is stored,
    /// or another process owns the partition.
    async fn change<T>(
        &self,
        make: impl FnOnce(&View, &mut Server) -> (Vec<Write>, T),
    ) -> Result<T, ChannelError> {
        let mut is_unknown = self.writing.lock().await;
        if self.log.is_closed() {
            return Err(ChannelError::Closed);
        }
        if *is_unknown {
            self.shared.travel().await;
            let state = self.shared.server.lock().read(self.claim)?;
            *self.view.lock() = View::load(self.partition(), state);
            *is_unknown = false;
        }
        let (writes, made) = make(&self.view.lock(), &mut self.shared.server.lock());
        // Until it has come to its end.
        *is_unknown = true;
        for chunk in writes.chunks(self.shared.options.chunk.max(1)) {
            self.shared.write(self.claim, chunk).await?;
            if self.view.lock().apply(chunk) {
                self.command();
            }
        }
        *is_unknown = false;
        Ok(made)
    }

    fn command(&self) {
        self.commands.send_modify(|count| *count += 1);
    }

    /// As `change`, and tells who watches commands if something was written.
    async fn of_orphans(
        &self,
        trigger: &ObjectName,
        forget: fn(&View, LaneId) -> (Vec<Write>, u64),
    ) -> Result<Forgotten, ChannelError> {
        let of_trigger = lanes::of_trigger(&self.view.lock(), trigger);
        if of_trigger.is_empty() {
            return Ok(Forgotten::Unknown);
        }
        let gone: Vec<_> = of_trigger.iter().filter(|(_, is_gone)| *is_gone).collect();
        if gone.is_empty() {
            return Ok(Forgotten::InUse);
        }
        let mut rows = 0;
        for (lane, _) in gone {
            rows += self.command_to(|view, _| forget(view, *lane)).await?;
        }
        Ok(Forgotten::Rows(rows))
    }

    async fn command_to<T>(
        &self,
        make: impl FnOnce(&View, &mut Server) -> (Vec<Write>, T),
    ) -> Result<T, ChannelError> {
        let (is_changed, made) = self
            .change(|view, server| {
                let (writes, made) = make(view, server);
                let is_changed = !writes.is_empty();
                (writes, (is_changed, made))
            })
            .await?;
        if is_changed {
            self.command();
        }
        Ok(made)
    }
}

#[async_trait::async_trait]
impl Channel for Owner {
    fn partition(&self) -> u32 {
        self.shared.options.partition
    }

    fn log(&self) -> &dyn Log {
        &self.log
    }

    fn head(&self) -> Position {
        let server = self.shared.server.lock();
        server.at(server.head())
    }

    async fn get(&self, at: Position) -> Result<Option<Record>, ChannelError> {
        self.shared.travel().await;
        let stored = {
            let server = self.shared.server.lock();
            server.check_readable(at.offset)?;
            server.get(at.offset)
        };
        if stored.is_some() {
            return Ok(stored);
        }
        let view = self.view.lock();
        let mut copies = view.state.debts.values().filter_map(|debt| debt.event.as_ref());
        Ok(copies.find(|copy| copy.position == at).cloned())
    }

    async fn find(
        &self,
        id: &str,
        source: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Position>, ChannelError> {
        let copies: Vec<_> = {
            let view = self.view.lock();
            let copies = view.state.debts.values().filter_map(|debt| debt.event.clone());
            copies.collect()
        };
        let server = self.shared.server.lock();
        let is_it = |record: &Record| {
            record.event.id() == id && source.is_none_or(|source| source == record.event.source())
        };
        let all = server.entries.iter().map(|entry| server.record(entry));
        let found: BTreeSet<_> = all
            .chain(copies)
            .filter(is_it)
            .map(|record| record.position)
            .collect();
        let surplus = found.len().saturating_sub(limit);
        Ok(found.into_iter().skip(surplus).collect())
    }

    fn recovered_uncleanly(&self) -> bool {
        self.is_unclean
    }

    async fn router(&self) -> Result<Position, ChannelError> {
        Ok(Position {
            partition: self.partition(),
            offset: self.view.lock().state.progress.router,
        })
    }

    async fn lanes(&self) -> Result<Vec<Lane>, ChannelError> {
        Ok(self.view.lock().lanes())
    }

    async fn open_lanes(&self, specs: Vec<LaneSpec>) -> Result<Vec<Lane>, ChannelError> {
        let now = self.shared.options.clock.steady();
        let opened = self
            .change(|view, server| lanes::open(view, server, &specs, now))
            .await?;
        let all = self.view.lock().lanes();
        let find = |id: &LaneId| all.iter().find(|lane| lane.id == *id).cloned();
        Ok(opened.iter().filter_map(find).collect())
    }

    async fn drop_lane(&self, lane: LaneId) -> Result<u64, ChannelError> {
        self.command_to(|view, _| lanes::forget(view, lane)).await
    }

    async fn forget_orphan(&self, trigger: &ObjectName) -> Result<Forgotten, ChannelError> {
        self.of_orphans(trigger, lanes::forget).await
    }

    async fn forget_work(&self, trigger: &ObjectName) -> Result<Forgotten, ChannelError> {
        self.of_orphans(trigger, lanes::forget_work).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), ChannelError> {
        self.change(|view, server| (commit::writes(view, server, &changes), ()))
            .await
    }

    async fn due(&self, lane: LaneId, until: Timestamp, limit: usize) -> Result<Vec<Work>, ChannelError> {
        let view = self.view.lock();
        let mut due: Vec<_> = view
            .rows(lane)
            .filter(|work| work.due <= until)
            .cloned()
            .collect();
        due.sort_by_key(|work| (work.due, work.key.position));
        due.truncate(limit);
        Ok(due)
    }

    async fn next_due(&self, lane: LaneId, after: Timestamp) -> Result<Option<Timestamp>, ChannelError> {
        Ok(self.view.lock().next_due(lane, after))
    }

    async fn rows_of(&self, lanes: &[LaneId], at: Position) -> Result<HashMap<LaneId, Rows>, ChannelError> {
        let view = self.view.lock();
        let rows = lanes.iter().filter_map(|lane| {
            let debt = view.state.debts.get(&(*lane, at.offset))?;
            let rows = Rows {
                work: debt.work.values().cloned().collect(),
                parked: debt.parked.values().map(|(_, parked)| parked.clone()).collect(),
            };
            Some((*lane, rows))
        });
        Ok(rows.collect())
    }

    async fn parked(&self, query: ParkedQuery) -> Result<Vec<Parked>, ChannelError> {
        Ok(self.view.lock().parked(&query))
    }

    async fn parked_by_id(&self, id: &str) -> Result<Option<Parked>, ChannelError> {
        let found = self.view.lock().parked_by_id(id);
        Ok(found.map(|(_, parked)| parked))
    }

    async fn redrive(&self, id: &str) -> Result<bool, ChannelError> {
        let now = self.shared.options.clock.steady();
        let redriven = self.command_to(|view, _| match view.parked_by_id(id) {
            None => (Vec::new(), Ok(false)),
            Some((debtor, parked)) if !view.state.lanes.contains_key(&debtor.0) => {
                (Vec::new(), Err(ChannelError::LaneGone(parked.trigger)))
            }
            Some((debtor, parked)) => (back(view, debtor, parked, now), Ok(true)),
        });
        redriven.await?
    }

    async fn drop_parked(&self, id: &str) -> Result<bool, ChannelError> {
        self.command_to(|view, _| match view.parked_by_id(id) {
            None => (Vec::new(), false),
            Some((debtor, parked)) => {
                let mut debt = view.state.debts.get(&debtor).cloned().unwrap_or_default();
                debt.parked.remove(&parked.stage);
                let write = Write::Debt(debtor, (!debt.is_empty()).then_some(debt));
                (vec![write], true)
            }
        })
        .await
    }

    async fn set_orphaned(&self, since: Option<Timestamp>) -> Result<(), ChannelError> {
        self.change(|view, _| {
            let mut progress = view.state.progress.clone();
            let known = progress.orphaned;
            progress.orphaned = since.map(|since| known.unwrap_or(since));
            let is_new = progress.orphaned != known;
            let write = is_new.then(|| Write::Progress(Box::new(progress)));
            (write.into_iter().collect(), ())
        })
        .await
    }

    async fn set_lane_state(&self, lane: LaneId, state: LaneState) -> Result<(), ChannelError> {
        self.command_to(|view, _| (lanes::set_state(view, lane, state), ()))
            .await
    }

    fn commands(&self) -> watch::Receiver<u64> {
        self.commands.subscribe()
    }

    fn record(&self, attempt: Attempt) {
        let mut history = self.history.lock();
        if history.len() < HISTORY {
            history.push(attempt);
        }
    }

    async fn attempts(&self, of: Position) -> Result<Vec<Attempt>, ChannelError> {
        let history = self.history.lock();
        let of_event = history.iter().filter(|attempt| attempt.position == of);
        Ok(of_event.cloned().collect())
    }

    fn usage(&self) -> Usage {
        let server = self.shared.server.lock();
        let bytes = server
            .entries
            .iter()
            .map(|entry| entry.event.stored().len() as u64);
        Usage {
            head: server.at(server.head()),
            oldest: server.at(server.oldest()),
            log_bytes: bytes.sum(),
            parked: server
                .state
                .debts
                .values()
                .map(|debt| debt.parked.len() as u64)
                .sum(),
            orphaned: server.state.progress.orphaned,
            ..Usage::default()
        }
    }

    async fn close(&self) -> Result<(), ChannelError> {
        let closed = self.change(|view, _| {
            let mut progress = view.state.progress.clone();
            progress.is_clean = true;
            (vec![Write::Progress(Box::new(progress))], ())
        });
        match closed.await {
            Ok(()) | Err(ChannelError::Closed) => self.log.close(),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A parked event goes back to where its attempts begin: one record, so one step.
fn back(view: &View, debtor: Debtor, parked: Parked, now: Timestamp) -> Vec<Write> {
    let mut debt = view.state.debts.get(&debtor).cloned().unwrap_or_default();
    debt.parked.remove(&parked.stage);
    let row = parked.redriven(now);
    debt.work.insert(row.key.stage, row);
    vec![Write::Debt(debtor, Some(debt))]
}
