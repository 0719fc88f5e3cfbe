//! What happened in a schedule, and what may not have happened.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use millrace_channel::simulated::Simulated;
use millrace_channel::{Attempt, LaneId, Parked, Stage, Work};

/// A trigger's event at one stage.
type Key = (String, u64, Stage);

/// The book of one schedule.
pub(crate) struct Book {
    pub(crate) choices: fastrand::Rng,
    /// The process that owns the partition.
    pub(crate) live: usize,
    /// Processes that are gone: they reach nobody any more.
    pub(crate) dead: BTreeSet<usize>,
    /// From now on every subscriber takes everything.
    pub(crate) is_calm: bool,
    pub(crate) acknowledged: BTreeSet<String>,
    /// Lost by the servers.
    pub(crate) lost: BTreeSet<String>,
    /// What subscribers and dead-letter sinks took: trigger and id.
    pub(crate) taken: BTreeSet<(String, String)>,
    /// What each trigger's lane is called.
    pub(crate) lanes: BTreeMap<LaneId, String>,
    /// The stored attempts when a process took over.
    floors: BTreeMap<usize, BTreeMap<Key, u32>>,
    stored: BTreeMap<Key, u32>,
    parked: BTreeMap<String, (String, String)>,
    dropped: BTreeSet<(String, u64)>,
    pub(crate) dropped_ids: BTreeSet<(String, String)>,
    /// Parked events that a command may have taken away, and events that were redriven.
    commanded: BTreeSet<String>,
    redriven: BTreeSet<(String, u64)>,
    /// What happened, in order; shown at once where a schedule runs alone.
    pub(crate) told: Vec<String>,
    is_shown: bool,
    pub(crate) broken: Vec<String>,
}

impl Book {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            choices: fastrand::Rng::with_seed(seed ^ 0x5eed),
            live: 0,
            dead: BTreeSet::new(),
            is_calm: false,
            acknowledged: BTreeSet::new(),
            lost: BTreeSet::new(),
            taken: BTreeSet::new(),
            lanes: BTreeMap::new(),
            floors: BTreeMap::new(),
            stored: BTreeMap::new(),
            parked: BTreeMap::new(),
            dropped: BTreeSet::new(),
            dropped_ids: BTreeSet::new(),
            commanded: BTreeSet::new(),
            redriven: BTreeSet::new(),
            told: Vec::new(),
            is_shown: std::env::var_os(crate::ALONE).is_some(),
            broken: Vec::new(),
        }
    }

    pub(crate) fn tell(&mut self, line: String) {
        if self.is_shown {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        self.told.push(line);
    }

    fn key(&self, work: &Work) -> Key {
        let trigger = self.lanes.get(&work.key.lane).cloned().unwrap_or_default();
        (trigger, work.key.position.offset, work.key.stage)
    }

    /// A process takes over: from what is stored no attempt may fall.
    pub(crate) fn takes_over(&mut self, process: usize, servers: &Simulated) {
        self.live = process;
        let rows = servers.rows();
        let floor = rows.iter().map(|work| (self.key(work), work.attempt)).collect();
        self.floors.insert(process, floor);
    }

    /// An attempt ended.
    pub(crate) fn attempted(&mut self, process: usize, attempt: &Attempt) {
        let (trigger, offset) = (attempt.trigger.name().to_owned(), attempt.position.offset);
        let line = format!(
            "{process}: {trigger} {offset} {:?} {} {}",
            attempt.stage, attempt.attempt, attempt.outcome
        );
        self.tell(line.clone());
        if process != self.live || self.dead.contains(&process) {
            return;
        }
        let event = (trigger.clone(), offset);
        if self.dropped.contains(&event) {
            self.broken.push(format!("what was dropped returned: {line}"));
        }
        let key = (trigger, offset, attempt.stage);
        let floor = self.floors.get(&process).and_then(|floor| floor.get(&key));
        if floor.is_some_and(|floor| attempt.attempt < *floor) && !self.redriven.contains(&event) {
            self.broken.push(format!("an attempt count fell: {line}"));
        }
    }

    /// A command reached a parked event; `worked`: `None` when nobody knows.
    pub(crate) fn commanded(&mut self, parked: &Parked, is_drop: bool, worked: Option<bool>) {
        if worked != Some(false) {
            self.commanded.insert(parked.id.clone());
        }
        let event = (parked.trigger.name().to_owned(), parked.position.offset);
        if !is_drop {
            self.redriven.insert(event.clone());
        } else if worked == Some(true) {
            self.dropped.insert(event.clone());
        }
        if is_drop && worked != Some(false) {
            let id = parked.event.as_ref().map(|event| event.id().to_owned());
            self.dropped_ids.insert((event.0, id.unwrap_or_default()));
        }
    }

    /// Looks at what is stored.
    pub(crate) fn look(&mut self, servers: &Simulated) {
        for work in servers.rows() {
            let key = self.key(&work);
            let event = (key.0.clone(), key.1);
            if self.dropped.contains(&event) {
                self.broken
                    .push(format!("what was dropped is owed again: {key:?}"));
            }
            let before = self.stored.insert(key.clone(), work.attempt);
            if before.is_some_and(|before| work.attempt < before) && !self.redriven.contains(&event) {
                self.broken.push(format!(
                    "a stored attempt count fell from {before:?} to {}: {key:?}",
                    work.attempt
                ));
            }
        }
        let mut gone = std::mem::take(&mut self.parked);
        for parked in servers.parked() {
            let event = (parked.trigger.name().to_owned(), parked.position.offset);
            if self.dropped.contains(&event) {
                self.broken
                    .push(format!("what was dropped is parked again: {event:?}"));
            }
            gone.remove(&parked.id);
            let id = parked
                .event
                .map(|event| event.id().to_owned())
                .unwrap_or_default();
            self.parked.insert(parked.id, (event.0, id));
        }
        for (parked, event) in gone {
            if !self.commanded.contains(&parked) {
                self.broken
                    .push(format!("a parked event vanished: {parked} {event:?}"));
            }
        }
    }

    /// What a trigger still has to get.
    pub(crate) fn missing(&self, triggers: &[&str]) -> Vec<(String, String)> {
        let parked: BTreeSet<_> = self.parked.values().collect();
        let wanted = triggers.iter().flat_map(|trigger| {
            let ids = self.acknowledged.difference(&self.lost);
            ids.map(|id| ((*trigger).to_owned(), id.clone()))
        });
        wanted
            .filter(|one| {
                !self.taken.contains(one) && !parked.contains(one) && !self.dropped_ids.contains(one)
            })
            .collect()
    }
}
