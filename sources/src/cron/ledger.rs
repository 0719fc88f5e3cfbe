//! Which run owns a tick and which ticks are done, in the checkpoint that instances of the source share.
//!
//! A tick is claimed before it is sent and done afterwards. A run that finds another's claim waits. A claim
//! that does not move for [`LEASE`] was left behind by a crash, and is taken over. Time is measured here by
//! the process's own clock, which nobody can set.

use std::time::Duration;

use millrace_event::{CheckpointError, Timestamp};
use millrace_model::source::Schedule;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{Memory, SourceError};

/// How long a claim may stand still before it counts as abandoned.
const LEASE: Duration = Duration::from_secs(10);
/// How often a claim is moved, and looked at by others.
pub(super) const RENEW: Duration = Duration::from_secs(2);
/// The name of the checkpoint.
const NAME: &str = "ticks";
/// How many other writers may get in between before this one gives up.
const TRIES: usize = 100;

/// The checkpoint as this run knows it.
#[derive(Debug)]
pub(super) struct Ledger {
    memory: Memory,
    /// What tells this run from others.
    owner: String,
    schedule: String,
    page: Page,
    /// The claim of another as last seen, and since when it stands so.
    others: Option<(Claimed, Instant)>,
}

/// What is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    /// Everything up to this instant is done or left out, in milliseconds since 1970.
    done: i64,
    /// The schedule that it was done by.
    schedule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<Claimed>,
}

/// A tick that some run is sending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claimed {
    tick: i64,
    owner: String,
    /// Counts up while the owner lives.
    beat: u64,
}

/// Which run owns a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// This run's: it is to send it.
    Mine,
    /// Another's.
    Others,
    /// It is done.
    Done,
}

// === impl Ledger ===

impl Ledger {
    /// Reads the checkpoint. A source that never ran begins `now`.
    pub(super) async fn open(
        memory: Memory,
        schedule: &Schedule,
        now: Timestamp,
    ) -> Result<Self, SourceError> {
        let mut ledger = Self {
            memory,
            owner: format!("{:016x}", fastrand::u64(..)),
            schedule: schedule.to_string(),
            page: Page {
                done: now.0,
                schedule: schedule.to_string(),
                claim: None,
            },
            others: None,
        };
        if ledger.read().await?.is_none() {
            // A conflict: another instance begins at this moment too, and what it has written counts.
            match ledger.write(ledger.page.clone()).await {
                Err(CheckpointError::Conflict(_)) => drop(ledger.read().await?),
                written => written?,
            }
        }
        Ok(ledger)
    }

    /// Everything up to this instant is done or left out.
    pub(super) fn done(&self) -> Timestamp {
        Timestamp(self.page.done)
    }

    /// Whether what is done was done by another schedule.
    pub(super) fn has_another_schedule(&self) -> bool {
        self.page.schedule != self.schedule
    }

    /// Leaves out everything up to an instant.
    pub(super) async fn pass(&mut self, until: Timestamp) -> Result<(), SourceError> {
        self.change(|page, _| page.done < until.0, |page, _| page.done = until.0)
            .await
    }

    /// Takes back what was done after `to`. Does nothing if no time after `now` is done: then another
    /// instance has taken it back already and continued.
    pub(super) async fn go_back(&mut self, now: Timestamp, to: Timestamp) -> Result<(), SourceError> {
        self.change(
            |page, _| page.done > now.0 && page.done != to.0,
            |page, _| {
                page.done = to.0;
                page.claim = None;
            },
        )
        .await
    }

    /// Notes the schedule of this run, if what is stored is of another.
    pub(super) async fn adopt(&mut self) -> Result<(), SourceError> {
        let schedule = self.schedule.clone();
        self.change(|page, _| page.schedule != schedule, |_, _| {}).await
    }

    /// Asks for a tick.
    pub(super) async fn claim(&mut self, tick: Timestamp) -> Result<Claim, SourceError> {
        for _ in 0..TRIES {
            self.read().await?;
            if self.page.done >= tick.0 {
                return Ok(Claim::Done);
            }
            if self.is_held_by_another() {
                return Ok(Claim::Others);
            }
            let claim = Claimed {
                tick: tick.0,
                owner: self.owner.clone(),
                beat: 0,
            };
            let page = Page {
                claim: Some(claim),
                ..self.page.clone()
            };
            match self.write(page).await {
                Err(CheckpointError::Conflict(_)) => {}
                written => return Ok(written.map(|()| Claim::Mine)?),
            }
        }
        Ok(Claim::Others)
    }

    /// Says that this run still lives and sends the tick.
    pub(super) async fn renew(&mut self, tick: Timestamp) -> Result<(), SourceError> {
        self.change_claim(tick, |claim| {
            if let Some(claim) = claim {
                claim.beat += 1;
            }
        })
        .await
    }

    /// Gives a tick back that was not sent.
    pub(super) async fn release(&mut self, tick: Timestamp) -> Result<(), SourceError> {
        self.change_claim(tick, |claim| *claim = None).await
    }

    /// The tick is done.
    pub(super) async fn complete(&mut self, tick: Timestamp) -> Result<(), SourceError> {
        self.change(
            |page, _| page.done < tick.0,
            |page, owner| {
                page.done = tick.0;
                if page.claim.as_ref().is_some_and(|claim| claim.owner == owner) {
                    page.claim = None;
                }
            },
        )
        .await
    }

    /// Changes this run's claim, if it is still its own.
    async fn change_claim(
        &mut self,
        tick: Timestamp,
        change: impl Fn(&mut Option<Claimed>),
    ) -> Result<(), SourceError> {
        let is_mine = |page: &Page, owner: &str| {
            page.claim
                .as_ref()
                .is_some_and(|claim| claim.owner == owner && claim.tick == tick.0)
        };
        self.change(is_mine, |page, _| change(&mut page.claim)).await
    }

    /// Changes the stored page, as long as that is still needed. If another writer comes in between, its page
    /// is read and judged again.
    async fn change(
        &mut self,
        is_called_for: impl Fn(&Page, &str) -> bool,
        change: impl Fn(&mut Page, &str),
    ) -> Result<(), SourceError> {
        let mut conflict = CheckpointError::Conflict(NAME.to_owned());
        for _ in 0..TRIES {
            if !is_called_for(&self.page, &self.owner) {
                return Ok(());
            }
            let mut page = self.page.clone();
            change(&mut page, &self.owner);
            match self.write(page).await {
                Err(error @ CheckpointError::Conflict(_)) => {
                    conflict = error;
                    self.read().await?;
                }
                written => return Ok(written?),
            }
        }
        Err(conflict.into())
    }

    /// Whether another run, whose claim still moves, has the tick.
    fn is_held_by_another(&mut self) -> bool {
        let claim = self.page.claim.as_ref().filter(|claim| claim.owner != self.owner);
        let Some(claim) = claim else {
            self.others = None;
            return false;
        };
        match &self.others {
            Some((seen, since)) if seen == claim => since.elapsed() < LEASE,
            _ => {
                self.others = Some((claim.clone(), Instant::now()));
                true
            }
        }
    }

    async fn read(&mut self) -> Result<Option<()>, SourceError> {
        let Some(stored) = self.memory.get(NAME).await? else {
            return Ok(None);
        };
        self.page = serde_json::from_slice(&stored)
            .map_err(|error| SourceError::Unusable(format!("what it remembers cannot be read: {error}")))?;
        Ok(Some(()))
    }

    async fn write(&mut self, mut page: Page) -> Result<(), CheckpointError> {
        page.schedule.clone_from(&self.schedule);
        let text = serde_json::to_vec(&page).map_err(|error| CheckpointError::Storage(error.to_string()))?;
        self.memory.put(NAME, text).await?;
        self.page = page;
        Ok(())
    }
}
