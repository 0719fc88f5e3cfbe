//! What the dispatcher and commands ask of an owner.

use std::collections::{BTreeSet, HashMap};

use millrace_event::{ObjectName, Timestamp};
use tokio::sync::watch;

use super::facts::Wanted;
use super::owner::{HISTORY, Owner};
use super::state::{Debtor, Write};
use super::view::View;
use super::{commit, lanes};
use crate::{
    Attempt, Change, Channel, ChannelError, Forgotten, Lane, LaneId, LaneSpec, LaneState, Log, Parked,
    ParkedQuery, Position, Record, Rows, Usage, Work,
};

/// Events read at a time to see whether they are looked for.
const FOUND_AT_A_TIME: usize = 64;

#[async_trait::async_trait]
impl Channel for Owner {
    fn partition(&self) -> u32 {
        self.servers.partition()
    }

    fn partitions(&self) -> u32 {
        self.servers.partitions()
    }

    fn is_held(&self) -> bool {
        self.servers.is_held()
    }

    fn log(&self) -> &dyn Log {
        &self.log
    }

    fn head(&self) -> Position {
        self.log.at(self.servers.ends().end)
    }

    async fn get(&self, at: Position) -> Result<Option<Record>, ChannelError> {
        let stored = self.log.get_many(&[at]).await?;
        let stored = stored.into_iter().next().flatten();
        Ok(stored.or_else(|| self.view.lock().copy(at.offset).cloned()))
    }

    async fn find(
        &self,
        id: &str,
        source: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Position>, ChannelError> {
        let is_it = |record: &Record| {
            record.event.id() == id && source.is_none_or(|source| source == record.event.source())
        };
        let mut found: BTreeSet<_> = {
            let view = self.view.lock();
            let copies = view.copies().filter(|copy| is_it(copy));
            copies.map(|copy| copy.position).collect()
        };
        let numbers = self.ids.lock().await.find(&*self.servers, id).await?;
        // The newest first, so that of thousands only so many are read.
        for numbers in numbers.rchunks(limit.clamp(1, FOUND_AT_A_TIME)) {
            let entries = self.servers.get(numbers).await?.into_iter().flatten();
            let records = entries.filter_map(|entry| self.log.record(entry));
            found.extend(records.filter(is_it).map(|record| record.position));
            if found.len() >= limit {
                break;
            }
        }
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
        let now = self.clock.steady();
        let ask = |view: &View| Wanted {
            copies: BTreeSet::new(),
            named: Some(view.state.highest_read()),
            names_head: true,
        };
        let opened = self
            .change(ask, |view, facts| lanes::open(view, facts, &specs, now))
            .await?;
        let all = self.view.lock().lanes();
        let find = |id: &LaneId| all.iter().find(|lane| lane.id == *id).cloned();
        Ok(opened.iter().filter_map(find).collect())
    }

    async fn drop_lane(&self, lane: LaneId) -> Result<u64, ChannelError> {
        self.command_to(|view| lanes::forget(view, lane)).await
    }

    async fn forget_orphan(&self, trigger: &ObjectName) -> Result<Forgotten, ChannelError> {
        self.of_orphans(trigger, lanes::forget).await
    }

    async fn forget_work(&self, trigger: &ObjectName) -> Result<Forgotten, ChannelError> {
        self.of_orphans(trigger, lanes::forget_work).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), ChannelError> {
        let ask = |view: &View| Wanted {
            copies: commit::copied(view, &changes).collect(),
            named: commit::named(view, &changes),
            names_head: false,
        };
        self.change(ask, |view, facts| (commit::writes(view, facts, &changes), ()))
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
        let now = self.clock.steady();
        let redriven = self.command_to(|view| match view.parked_by_id(id) {
            None => (Vec::new(), Ok(false)),
            Some((debtor, parked)) if !view.state.lanes.contains_key(&debtor.0) => {
                (Vec::new(), Err(ChannelError::LaneGone(parked.trigger)))
            }
            Some((debtor, parked)) => (back(view, debtor, parked, now), Ok(true)),
        });
        redriven.await?
    }

    async fn drop_parked(&self, id: &str) -> Result<bool, ChannelError> {
        self.command_to(|view| match view.parked_by_id(id) {
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
        let ask = |_: &View| Wanted::default();
        self.change(ask, |view, _| {
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
        self.command_to(|view| (lanes::set_state(view, lane, state), ()))
            .await
    }

    fn commands(&self) -> watch::Receiver<u64> {
        self.commands.subscribe()
    }

    fn record(&self, attempt: Attempt) {
        let mut history = self.history.lock();
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(attempt);
    }

    async fn attempts(&self, of: Position) -> Result<Vec<Attempt>, ChannelError> {
        let history = self.history.lock();
        let of_event = history.iter().filter(|attempt| attempt.position == of);
        Ok(of_event.cloned().collect())
    }

    fn usage(&self) -> Usage {
        let ends = self.servers.ends();
        let view = self.view.lock();
        Usage {
            head: self.log.at(ends.end),
            oldest: self.log.at(ends.start),
            log_bytes: self.servers.log_bytes(),
            refusing: self.servers.refusing(),
            parked: view.state.parked().count() as u64,
            orphaned: view.state.progress.orphaned,
            ..Usage::default()
        }
    }

    async fn close(&self) -> Result<(), ChannelError> {
        let ask = |_: &View| Wanted::default();
        let closed = self.change(ask, |view, _| {
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
