//! What happened in a schedule, and what may not have happened.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use millrace_channel::simulated::Simulated;
use millrace_channel::{Attempt, LaneId, Parked, Position, Stage, Work};
use millrace_event::ObjectName;

use crate::documents::{Documents, TRIGGERS};

/// A trigger's event.
type Of = (String, Position);
/// A trigger's event at one stage.
type Key = (String, Position, Stage);

/// An event that was sent.
pub(crate) struct Sent {
    pub(crate) partition: u32,
    pub(crate) kind: &'static str,
    /// The triggers that had a lane in the partition.
    pub(crate) triggers: BTreeSet<String>,
    /// The revision of the documents that was in effect: no earlier one judges it.
    pub(crate) from: u64,
    /// By trigger, the newest revision when it was known to be read: no later one judges it.
    pub(crate) read: BTreeMap<String, u64>,
}

/// The book of one schedule.
pub(crate) struct Book {
    pub(crate) choices: fastrand::Rng,
    /// The process that owns each partition.
    live: BTreeMap<u32, usize>,
    /// Processes that are gone: they reach nobody any more.
    pub(crate) dead: BTreeSet<usize>,
    /// From now on every subscriber takes everything.
    pub(crate) is_calm: bool,
    pub(crate) sent: BTreeMap<String, Sent>,
    pub(crate) acknowledged: BTreeSet<String>,
    /// Lost by the servers.
    pub(crate) lost: BTreeSet<String>,
    /// Replies that were refused for good: trigger and id.
    pub(crate) replies: BTreeSet<(String, String)>,
    /// The same with those of which it is not known whether they were stored.
    pub(crate) offered: BTreeSet<(String, String)>,
    /// What subscribers and dead-letter sinks took: trigger and id.
    taken: BTreeSet<(String, String)>,
    /// What was taken from a process that does not know that it owns the partition no more, or not the newest
    /// documents.
    by_zombies: BTreeSet<(String, String)>,
    /// The stored attempts when a partition was taken over.
    floors: BTreeMap<u32, BTreeMap<Key, u32>>,
    stored: BTreeMap<Key, u32>,
    parked: BTreeMap<String, (String, String)>,
    dropped: BTreeSet<Key>,
    dropped_ids: BTreeSet<(String, String)>,
    /// Parked events that a command may have taken away, and events that were redriven.
    commanded: BTreeSet<String>,
    redriven: BTreeSet<Of>,
    /// What happened, in order; shown at once where a schedule runs alone.
    pub(crate) told: Vec<String>,
    is_shown: bool,
    pub(crate) broken: Vec<String>,
}

/// The key of a row, by the trigger's name.
fn key(triggers: &BTreeMap<LaneId, ObjectName>, work: &Work) -> Key {
    let trigger = triggers.get(&work.key.lane).map(ObjectName::name);
    (
        trigger.unwrap_or_default().to_owned(),
        work.key.position,
        work.key.stage,
    )
}

impl Book {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            choices: fastrand::Rng::with_seed(seed ^ 0x5eed),
            live: BTreeMap::new(),
            dead: BTreeSet::new(),
            is_calm: false,
            sent: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            lost: BTreeSet::new(),
            replies: BTreeSet::new(),
            offered: BTreeSet::new(),
            taken: BTreeSet::new(),
            by_zombies: BTreeSet::new(),
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

    /// A process takes a partition over: from what is stored no attempt may fall.
    pub(crate) fn takes_over(&mut self, process: usize, servers: &Simulated) {
        self.tell(format!("{process} takes {} over", servers.partition()));
        self.live.insert(servers.partition(), process);
        let triggers = servers.triggers();
        let rows = servers.rows();
        let floor = rows.iter().map(|work| (key(&triggers, work), work.attempt));
        self.floors.insert(servers.partition(), floor.collect());
    }

    /// A subscriber or a dead-letter sink took an event from this process.
    pub(crate) fn take(&mut self, process: usize, trigger: &str, id: &str) {
        let of = (trigger.to_owned(), id.to_owned());
        let owner = self.sent.get(id).and_then(|sent| self.live.get(&sent.partition));
        if owner.is_some_and(|owner| *owner != process) {
            self.by_zombies.insert(of.clone());
        }
        self.taken.insert(of);
    }

    /// An attempt ended.
    pub(crate) fn attempted(&mut self, process: usize, attempt: &Attempt) {
        let (trigger, at) = (attempt.trigger.name().to_owned(), attempt.position);
        let line = format!(
            "{process}: {trigger} {at} {:?} {} {}",
            attempt.stage, attempt.attempt, attempt.outcome
        );
        self.tell(line.clone());
        if self.live.get(&at.partition) != Some(&process) || self.dead.contains(&process) {
            return;
        }
        let key = (trigger.clone(), at, attempt.stage);
        if self.dropped.contains(&key) {
            self.broken.push(format!("what was dropped returned: {line}"));
        }
        let floor = self.floors.get(&at.partition).and_then(|floor| floor.get(&key));
        if floor.is_some_and(|floor| attempt.attempt < *floor) && !self.redriven.contains(&(trigger, at)) {
            self.broken.push(format!("an attempt count fell: {line}"));
        }
    }

    /// A command reached a parked event; `worked`: `None` when nobody knows.
    pub(crate) fn commanded(&mut self, parked: &Parked, is_drop: bool, worked: Option<bool>) {
        if worked != Some(false) {
            self.commanded.insert(parked.id.clone());
        }
        let trigger = parked.trigger.name().to_owned();
        if !is_drop {
            self.redriven.insert((trigger.clone(), parked.position));
        } else if worked == Some(true) {
            // It was parked at its last stage, and none of them returns.
            let stages = match parked.stage {
                Stage::Reply => vec![Stage::Reply],
                Stage::Subscriber | Stage::DeadLetter => vec![Stage::Subscriber, Stage::DeadLetter],
            };
            let keys = stages
                .into_iter()
                .map(|stage| (trigger.clone(), parked.position, stage));
            self.dropped.extend(keys);
        }
        if is_drop && worked != Some(false) {
            let id = parked.event.as_ref().map(|event| event.id().to_owned());
            self.dropped_ids.insert((trigger, id.unwrap_or_default()));
        }
    }

    /// The servers lost events. What is still there is perhaps read once more, and judged anew.
    pub(crate) fn lose(&mut self, partition: u32, lost: Vec<String>) {
        self.tell(format!("{partition} lost {lost:?}"));
        self.lost.extend(lost);
        let of_partition = self.sent.values_mut().filter(|sent| sent.partition == partition);
        of_partition.for_each(|sent| sent.read.clear());
    }

    /// Looks at what is stored.
    pub(crate) fn look(&mut self, servers: &[Simulated]) {
        for servers in servers {
            let triggers = servers.triggers();
            for work in servers.rows() {
                self.look_at_row(&key(&triggers, &work), &work);
            }
        }
        let mut gone = std::mem::take(&mut self.parked);
        for parked in servers.iter().flat_map(Simulated::parked) {
            let key = (parked.trigger.name().to_owned(), parked.position, parked.stage);
            if self.dropped.contains(&key) {
                self.broken
                    .push(format!("what was dropped is parked again: {key:?}"));
            }
            gone.remove(&parked.id);
            let event = parked.event.map(|event| event.id().to_owned());
            self.parked.insert(parked.id, (key.0, event.unwrap_or_default()));
        }
        for (parked, event) in gone {
            if !self.commanded.contains(&parked) {
                self.broken
                    .push(format!("a parked event vanished: {parked} {event:?}"));
            }
        }
    }

    fn look_at_row(&mut self, key: &Key, work: &Work) {
        if self.dropped.contains(key) {
            self.broken
                .push(format!("what was dropped is owed again: {key:?}"));
        }
        let before = self.stored.insert(key.clone(), work.attempt);
        let is_redriven = self.redriven.contains(&(key.0.clone(), key.1));
        if before.is_some_and(|before| work.attempt < before) && !is_redriven {
            self.broken.push(format!(
                "a stored attempt count fell from {before:?} to {}: {key:?}",
                work.attempt
            ));
        }
    }

    /// What a trigger still has to get: every acknowledged event that each filter lets pass which may judge
    /// it, and every reply.
    pub(crate) fn missing(&self, documents: &Documents) -> Vec<(String, String)> {
        let parked: BTreeSet<_> = self.parked.values().collect();
        let is_wanted = |trigger: &str, id: &String| {
            let sent = &self.sent[id];
            let mut judging = judging(documents, trigger, sent).peekable();
            sent.triggers.contains(trigger) && judging.peek().is_some() && judging.all(|passes| passes)
        };
        let of_trigger = |trigger: &&'static str| {
            let trigger = *trigger;
            let ids = self.acknowledged.difference(&self.lost);
            let ids = ids.filter(move |id| is_wanted(trigger, id));
            ids.map(move |id| (trigger.to_owned(), id.clone()))
        };
        let wanted = TRIGGERS.iter().flat_map(of_trigger);
        wanted
            .chain(self.replies.iter().cloned())
            .filter(|one| {
                !self.taken.contains(one) && !parked.contains(one) && !self.dropped_ids.contains(one)
            })
            .collect()
    }

    /// What a trigger got although no filter lets it pass that may have judged it.
    pub(crate) fn unwanted(&self, documents: &Documents) -> Vec<(String, String)> {
        let got = self.taken.iter().chain(self.parked.values());
        let is_unwanted = |(trigger, id): &&(String, String)| {
            let sent = self.sent.get(id);
            sent.is_some_and(|sent| !judging(documents, trigger, sent).any(|passes| passes))
        };
        got.filter(|of| !self.by_zombies.contains(of))
            .filter(is_unwanted)
            .cloned()
            .collect()
    }
}

/// Whether each filter that may judge the event lets it pass.
fn judging<'a>(
    documents: &'a Documents,
    trigger: &'a str,
    sent: &'a Sent,
) -> impl Iterator<Item = bool> + 'a {
    let until = sent.read.get(trigger).copied();
    let until = until.unwrap_or(documents.newest());
    let wanted = documents.wanted(trigger, sent.from, until);
    wanted.map(|wants| wants.lets_pass(sent.kind))
}
