//! The owner of the partition.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_event::{Clock, ObjectName, Timestamp};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::claim::{self, Claimed};
use super::epochs::Epochs;
use super::facts::{Facts, Wanted};
use super::ids::Ids;
use super::lanes;
use super::log::Client;
use super::servers::Servers;
use super::state::Write;
use super::view::View;
use crate::{Attempt, Channel as _, ChannelError, Forgotten, LaneId, Log as _, Position};

/// How often it is looked whether the servers still answer while a change is under way.
const LOOK: Duration = Duration::from_secs(1);
/// Attempts kept in the history, the newest.
pub(super) const HISTORY: usize = 10_000;

/// What an owner is given.
#[derive(Clone, Debug)]
pub struct OwnerOptions {
    /// The clock of the process.
    pub clock: Clock,
    /// What the uids of lanes come from.
    pub seed: u64,
    /// Tells the Broker from others, in the ids of parked events: always the same.
    pub salt: u64,
}

/// One claim of the partition.
#[derive(Debug)]
pub struct Owner {
    pub(super) servers: Arc<dyn Servers>,
    pub(super) log: Client,
    pub(super) clock: Clock,
    claim: u64,
    salt: u64,
    pub(super) is_unclean: bool,
    has_lost: bool,
    /// Another owner has been seen.
    is_taken_over: AtomicBool,
    pub(super) view: Mutex<View>,
    /// One writer at a time.
    writing: tokio::sync::Mutex<Writing>,
    pub(super) commands: watch::Sender<u64>,
    pub(super) history: Mutex<VecDeque<Attempt>>,
    pub(super) ids: tokio::sync::Mutex<Ids>,
}

#[derive(Debug)]
struct Writing {
    /// The last write was given up on its way.
    is_unknown: bool,
    /// The servers have lost records: what is known here is to be stored again, whole. Until it is, what they
    /// have must not take its place.
    owes_all: bool,
    /// Events parked under this claim.
    parked: u64,
    choices: fastrand::Rng,
}

// === impl Owner ===

impl Owner {
    /// Takes the partition over. From now on the owner before is fenced off.
    pub async fn claim(servers: Arc<dyn Servers>, options: OwnerOptions) -> Result<Self, ChannelError> {
        let Claimed {
            claim,
            state,
            is_unclean,
            has_lost,
        } = claim::claim(&*servers).await?;
        let epochs = state.progress.epochs.clone();
        let mut choices = fastrand::Rng::with_seed(options.seed ^ claim.rotate_left(32));
        choices.u64(..);
        Ok(Self {
            log: Client::new(servers.clone(), epochs),
            clock: options.clock,
            claim,
            salt: options.salt,
            is_unclean,
            has_lost,
            is_taken_over: AtomicBool::new(false),
            view: Mutex::new(View::load(servers.partition(), options.salt, state)),
            servers,
            writing: tokio::sync::Mutex::new(Writing {
                is_unknown: false,
                owes_all: false,
                parked: 0,
                choices,
            }),
            commands: watch::Sender::new(0),
            history: Mutex::default(),
            ids: tokio::sync::Mutex::default(),
        })
    }

    /// The log, for whoever only appends and reads.
    pub fn client(&self) -> Client {
        self.log.clone()
    }

    /// How positions stand to the numbers of the log.
    pub fn epochs(&self) -> Epochs {
        (*self.log.epochs()).clone()
    }

    /// Whether the log had lost events that it had acknowledged when the partition was taken over.
    pub fn has_lost(&self) -> bool {
        self.has_lost
    }

    /// Deletes what is settled and was appended before that time, as far as no lane and no row needs it.
    pub async fn delete_settled(&self, before: Timestamp) -> Result<(), ChannelError> {
        let first = self.servers.first_since(before).await?;
        let epochs = self.log.epochs();
        // What stored progress needs, and no more than that.
        let needed = epochs.number(self.view.lock().lowest_needed());
        let below = first.unwrap_or(u64::MAX).min(needed);
        match below > self.servers.ends().start {
            true => self.servers.delete_below(below).await,
            false => Ok(()),
        }
    }

    /// Whether another process is known to have taken the partition over.
    pub fn is_taken_over(&self) -> bool {
        self.is_taken_over.load(Ordering::Relaxed)
    }

    /// How many records the state has.
    pub fn records(&self) -> usize {
        let view = self.view.lock();
        view.state.lanes.len() + view.state.debts.len() + 1
    }

    /// Stores every record again, for servers that keep more than the newest of each.
    pub async fn write_again(&self) -> Result<(), ChannelError> {
        let ask = |_: &View| Wanted::default();
        self.change(ask, |view, _| (all_of(view), ())).await
    }

    /// Stores what `make` wants written, in chunks. Once it has begun it goes on until all of it is stored,
    /// the servers do not answer, or another process owns the partition.
    pub(super) async fn change<T>(
        &self,
        ask: impl FnOnce(&View) -> Wanted,
        make: impl FnOnce(&View, &mut Facts) -> (Vec<Write>, T),
    ) -> Result<T, ChannelError> {
        let changed = self.while_answered(self.try_change(ask, make)).await;
        if matches!(changed, Err(ChannelError::NotOwner)) {
            self.is_taken_over.store(true, Ordering::Relaxed);
        }
        changed
    }

    async fn try_change<T>(
        &self,
        ask: impl FnOnce(&View) -> Wanted,
        make: impl FnOnce(&View, &mut Facts) -> (Vec<Write>, T),
    ) -> Result<T, ChannelError> {
        let mut writing = self.writing.lock().await;
        if self.log.is_closed() {
            return Err(ChannelError::Closed);
        }
        if writing.is_unknown {
            let found = self.servers.read(self.claim).await?;
            writing.owes_all |= found.is_none();
            if let Some(state) = found.filter(|_| !writing.owes_all) {
                *self.view.lock() = View::load(self.partition(), self.salt, state);
            } else {
                let all = all_of(&self.view.lock());
                self.store(&all).await?;
                writing.owes_all = false;
            }
            writing.is_unknown = false;
        }
        let wanted = ask(&self.view.lock());
        let mut facts = self.facts(wanted, &writing).await?;
        let (writes, made) = make(&self.view.lock(), &mut facts);
        // Until it has come to its end.
        *writing = Writing {
            is_unknown: true,
            owes_all: false,
            parked: facts.parked,
            choices: facts.choices,
        };
        self.store(&writes).await?;
        writing.is_unknown = false;
        Ok(made)
    }

    /// Stores writes in chunks, and moves the view on with each.
    async fn store(&self, writes: &[Write]) -> Result<(), ChannelError> {
        let mut rest = writes;
        while !rest.is_empty() {
            let (chunk, others) = rest.split_at(self.servers.fits(rest));
            self.servers.write(self.claim, chunk).await?;
            if self.view.lock().apply(chunk) {
                self.command();
            }
            rest = others;
        }
        Ok(())
    }

    /// Gives a change up while the servers do not answer: whoever waits for it may have others to serve. What
    /// became of it is asked before the next one.
    async fn while_answered<T>(
        &self,
        change: impl Future<Output = Result<T, ChannelError>>,
    ) -> Result<T, ChannelError> {
        let mut change = pin!(change);
        loop {
            if let Some(fault) = self.servers.fault() {
                return Err(ChannelError::Storage(fault));
            }
            if let Ok(changed) = timeout(LOOK, &mut change).await {
                return changed;
            }
        }
    }

    async fn facts(&self, wanted: Wanted, writing: &Writing) -> Result<Facts, ChannelError> {
        let at = |offset| Position {
            partition: self.partition(),
            offset,
        };
        let positions: Vec<_> = wanted.copies.into_iter().map(at).collect();
        let found = match positions.is_empty() {
            true => Vec::new(),
            false => self.log.get_many(&positions).await?,
        };
        let mut copies: BTreeMap<_, _> = found
            .into_iter()
            .flatten()
            .map(|record| (record.position.offset, record))
            .collect();
        // One that is too large stays in the log as long as it is needed.
        copies.retain(|_, record| record.event.stored().len() <= self.servers.longest_copy());
        let head = self.head().offset;
        let print = match wanted.named {
            Some(named) if wanted.names_head => self.print_below(named.max(head)).await?,
            Some(named) => self.print_below(named).await?,
            None => None,
        };
        Ok(Facts {
            head,
            copies,
            print,
            claim: self.claim,
            parked: writing.parked,
            choices: writing.choices.clone(),
        })
    }

    /// The fingerprint of what stands below a position, unless it is known to state.
    async fn print_below(&self, position: u64) -> Result<Option<(u64, u64)>, ChannelError> {
        let number = self.log.epochs().number(position);
        let newest = self.view.lock().state.progress.prints.newest();
        if newest.is_some_and(|newest| newest + 1 >= number) {
            return Ok(None);
        }
        if let Some(noted) = self.log.noted_below(number) {
            return Ok(Some(noted));
        }
        let found = self.servers.last_below(number).await?;
        Ok(found.map(|entry| (entry.number, entry.print)))
    }

    pub(super) fn command(&self) {
        self.commands.send_modify(|count| *count += 1);
    }

    /// As `change`, and tells who watches commands if something was written.
    pub(super) async fn of_orphans(
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
            rows += self.command_to(|view| forget(view, *lane)).await?;
        }
        Ok(Forgotten::Rows(rows))
    }

    pub(super) async fn command_to<T>(
        &self,
        make: impl FnOnce(&View) -> (Vec<Write>, T),
    ) -> Result<T, ChannelError> {
        let make = |view: &View, _: &mut Facts| {
            let (writes, made) = make(view);
            let is_changed = !writes.is_empty();
            (writes, (is_changed, made))
        };
        let (is_changed, made) = self.change(|_| Wanted::default(), make).await?;
        if is_changed {
            self.command();
        }
        Ok(made)
    }
}

/// Every record of the state.
fn all_of(view: &View) -> Vec<Write> {
    let lanes = view.state.lanes.iter();
    let lanes = lanes.map(|(id, lane)| Write::Lane(*id, Some(lane.clone())));
    let debts = view.state.debts.iter();
    let debts = debts.map(|(debtor, debt)| Write::Debt(*debtor, Some(debt.clone())));
    lanes.chain(debts).chain([view.state.progress()]).collect()
}
