//! What holds the log's segments, mirrored in memory: asked for at every append under a backlog limit.

use std::collections::HashMap;

use crate::LaneId;

/// A change of the mirror, applied once it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The router stands here.
    Router(u64),
    /// A lane needs everything from here on; `None`: it only follows the router.
    Lane(LaneId, Option<u64>),
}

/// The router's position, and that of every lane that is behind it or has something unsettled.
#[derive(Debug, Default)]
pub(super) struct Holds {
    router: u64,
    lanes: HashMap<LaneId, u64>,
    version: u64,
}

// === impl Holds ===

impl Holds {
    /// Takes changes over.
    pub(super) fn apply(&mut self, changes: &[Held]) {
        self.version += 1;
        for change in changes {
            match *change {
                Held::Router(at) => self.router = at,
                Held::Lane(lane, Some(at)) => {
                    self.lanes.insert(lane, at);
                }
                Held::Lane(lane, None) => {
                    self.lanes.remove(&lane);
                }
            }
        }
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
}
