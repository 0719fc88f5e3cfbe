//! What holds the log's segments, mirrored in memory: asked for at every append under a backlog limit. And
//! what else is asked without the database: how much is parked, and since when the Broker is gone.

use std::collections::HashMap;

use millrace_event::{ObjectName, Timestamp};

use super::State;
use crate::LaneId;

/// A change of the mirror, applied once it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The router stands here.
    Router(u64),
    /// A lane needs everything from here on; `None`: it only follows the router.
    Lane(LaneId, Option<u64>),
    /// There is such a lane, of this trigger; gone since this time (`None`: the trigger exists).
    Known(LaneId, ObjectName, Option<Timestamp>),
    /// The lane is forgotten.
    Forgotten(LaneId),
    /// So many bytes of copies more, or less.
    Copies(i64),
    /// So many parked events more, or less.
    Parked(i64),
    /// The Broker is gone since this time (`None`: it is in a document).
    Orphaned(Option<Timestamp>),
}

/// The router's position, and that of every lane that is behind it or has something unsettled.
#[derive(Debug, Default)]
pub(super) struct Holds {
    router: u64,
    lanes: HashMap<LaneId, u64>,
    triggers: HashMap<LaneId, ObjectName>,
    orphans: HashMap<LaneId, Timestamp>,
    copies: i64,
    parked: i64,
    orphaned: Option<Timestamp>,
    version: u64,
}

/// A lane whose trigger is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Orphan {
    pub(crate) lane: LaneId,
    pub(crate) trigger: ObjectName,
    /// Since when, in steady time.
    pub(crate) since: Timestamp,
    /// The first offset that it holds.
    pub(crate) from: u64,
}

/// The lanes that hold the oldest position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hindmost {
    /// Some of their triggers, in order of name. Empty: the router itself has not passed the position yet.
    pub(crate) triggers: Vec<ObjectName>,
    /// How many more there are.
    pub(crate) more: usize,
}

// === impl Holds ===

impl Holds {
    /// Takes changes over.
    pub(super) fn apply(&mut self, changes: &[Held]) {
        self.version += 1;
        for change in changes {
            match change {
                Held::Router(at) => self.router = *at,
                Held::Lane(lane, Some(at)) => {
                    self.lanes.insert(*lane, *at);
                }
                Held::Lane(lane, None) => {
                    self.lanes.remove(lane);
                }
                Held::Known(lane, trigger, gone) => {
                    self.triggers.insert(*lane, trigger.clone());
                    match gone {
                        Some(since) => self.orphans.insert(*lane, *since),
                        None => self.orphans.remove(lane),
                    };
                }
                Held::Forgotten(lane) => {
                    self.lanes.remove(lane);
                    self.triggers.remove(lane);
                    self.orphans.remove(lane);
                }
                Held::Copies(bytes) => self.copies += bytes,
                Held::Parked(count) => self.parked += count,
                Held::Orphaned(since) => self.orphaned = *since,
            }
        }
    }

    /// Bytes of events that rows name and whose segment is deleted.
    pub(super) fn copies(&self) -> u64 {
        self.copies.try_into().unwrap_or_default()
    }

    /// The first offset that somebody still needs.
    pub(super) fn lowest(&self) -> u64 {
        self.lanes.values().copied().fold(self.router, u64::min)
    }

    /// The router's position.
    pub(super) fn router(&self) -> u64 {
        self.router
    }

    /// Another number after every change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The triggers whose events are the oldest unsettled ones; at most `limit` of them by name.
    pub(super) fn hindmost(&self, limit: usize) -> Hindmost {
        let lowest = self.lowest();
        let at_lowest = self.lanes.iter().filter(|(_, at)| **at == lowest);
        let mut triggers: Vec<_> = at_lowest
            .filter_map(|(lane, _)| self.triggers.get(lane))
            .collect();
        let more = triggers.len().saturating_sub(limit);
        if more > 0 {
            // Only those that are named need an order.
            triggers.select_nth_unstable(limit);
            triggers.truncate(limit);
        }
        triggers.sort_unstable();
        let triggers = triggers.into_iter().cloned().collect();
        Hindmost { triggers, more }
    }

    /// The orphan that has been gone for longest, of those that hold events no other lane holds: forgetting
    /// another one frees no room.
    pub(super) fn longest_gone(&self) -> Option<Orphan> {
        let others = self
            .lanes
            .iter()
            .filter(|(lane, _)| !self.orphans.contains_key(lane));
        let floor = others.map(|(_, at)| *at).fold(self.router, u64::min);
        let orphan = |(lane, since): (&LaneId, &Timestamp)| {
            let from = *self.lanes.get(lane)?;
            (from < floor).then_some(())?;
            Some(Orphan {
                lane: *lane,
                trigger: self.triggers.get(lane)?.clone(),
                since: *since,
                from,
            })
        };
        self.orphans
            .iter()
            .filter_map(orphan)
            .min_by_key(|orphan| (orphan.since, orphan.lane))
    }
}

// === impl State: what holds the log ===

impl State {
    /// The router's position.
    pub(crate) fn router(&self) -> u64 {
        self.shared.holds.lock().router()
    }

    /// The first offset that the router or a lane still needs.
    pub(crate) fn lowest(&self) -> u64 {
        self.shared.holds.lock().lowest()
    }

    /// The triggers whose events are the oldest unsettled ones.
    pub(crate) fn hindmost(&self, limit: usize) -> Hindmost {
        self.shared.holds.lock().hindmost(limit)
    }

    /// The orphan to be forgotten first, of those whose end frees room.
    pub(crate) fn longest_gone(&self) -> Option<Orphan> {
        self.shared.holds.lock().longest_gone()
    }

    /// Bytes of events that rows name and whose segment is deleted.
    pub(crate) fn copies(&self) -> u64 {
        self.shared.holds.lock().copies()
    }

    /// How many events are parked.
    pub(crate) fn parked_count(&self) -> u64 {
        self.shared.holds.lock().parked.try_into().unwrap_or_default()
    }

    /// Since when the Broker is in no document any more.
    pub(crate) fn orphaned(&self) -> Option<Timestamp> {
        self.shared.holds.lock().orphaned
    }

    /// Another number whenever `lowest` may have changed.
    pub(crate) fn holds_version(&self) -> u64 {
        self.shared.holds.lock().version()
    }

    /// Ends all waits of [`State::progress_since`].
    pub(crate) fn wake_waiting(&self) {
        self.shared.progressed.notify_waiters();
    }

    /// Ends when `holds_version` is not `seen` any more, or by [`State::wake_waiting`].
    pub(crate) async fn progress_since(&self, seen: u64) {
        let progressed = self.shared.progressed.notified();
        tokio::pin!(progressed);
        // Registered before the look, so that no change between the two is missed.
        progressed.as_mut().enable();
        if self.holds_version() == seen {
            progressed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hindmost_of_router_and_lanes_holds() {
        let (a, b) = (LaneId(1), LaneId(2));
        let steps = [
            (vec![Held::Router(10)], 10),
            (vec![Held::Lane(a, Some(4)), Held::Lane(b, Some(7))], 4),
            (vec![Held::Lane(a, None)], 7),
            (vec![Held::Lane(b, Some(20))], 10),
            (vec![Held::Router(30), Held::Lane(b, None)], 30),
        ];
        let mut holds = Holds::default();
        for (changes, lowest) in steps {
            let before = holds.version();
            holds.apply(&changes);
            assert_eq!(holds.lowest(), lowest, "{changes:?}");
            assert_ne!(holds.version(), before);
        }
    }

    fn known(lane: LaneId, name: &str, gone: Option<i64>) -> Held {
        Held::Known(lane, ObjectName::new("shop", name), gone.map(Timestamp))
    }

    #[test]
    fn the_hindmost_are_named_and_the_rest_is_counted() {
        let mut holds = Holds::default();
        holds.apply(&[Held::Router(10)]);
        assert_eq!(holds.hindmost(2), Hindmost::default());
        for (number, name) in ["d", "b", "c", "a"].into_iter().enumerate() {
            let lane = LaneId(i64::try_from(number).unwrap());
            holds.apply(&[known(lane, name, None), Held::Lane(lane, Some(3))]);
        }
        holds.apply(&[Held::Lane(LaneId(3), Some(9))]);
        let hindmost = holds.hindmost(2);
        let names: Vec<_> = hindmost.triggers.iter().map(ObjectName::name).collect();
        assert_eq!((names, hindmost.more), (vec!["b", "c"], 1));
    }

    #[test]
    fn of_the_orphans_that_hold_others_up_the_longest_gone_comes_first() {
        let (a, b, c, d) = (LaneId(1), LaneId(2), LaneId(3), LaneId(4));
        let mut holds = Holds::default();
        holds.apply(&[
            Held::Router(10),
            known(a, "a", Some(500)),
            Held::Lane(a, Some(2)),
            known(b, "b", Some(400)),
            Held::Lane(b, Some(3)),
            // Gone before the others, but a trigger that exists stands further behind.
            known(c, "c", Some(100)),
            Held::Lane(c, Some(7)),
            known(d, "d", None),
            Held::Lane(d, Some(6)),
        ]);
        let mut forgotten = Vec::new();
        while let Some(orphan) = holds.longest_gone() {
            forgotten.push((orphan.lane, orphan.from));
            holds.apply(&[Held::Forgotten(orphan.lane)]);
        }
        assert_eq!(forgotten, [(b, 3), (a, 2)]);
        assert_eq!(holds.lowest(), 6);
        holds.apply(&[Held::Lane(d, None)]);
        assert_eq!(holds.longest_gone().map(|orphan| orphan.lane), Some(c));
        holds.apply(&[known(c, "c", None)]);
        assert_eq!(holds.longest_gone(), None, "it came back");
    }
}
