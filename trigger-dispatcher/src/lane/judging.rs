//! Which filter judges what a lane reads: the present one, or an earlier one for what it reads again.
//!
//! An event is judged once, when it is read. Only what is still queued when the process ends is judged again,
//! and then by the filter that counted when it was read first.

use std::sync::Arc;

use millrace_channel::{EarlierFilter, Position};
use millrace_filter::Compiled;

use super::{Inner, Place};
use crate::window::Named;

/// A filter that counted before, ready to run.
pub(crate) type Earlier = EarlierFilter<Arc<Compiled>>;

impl Inner {
    /// Everything below this it has read, now or before a restart: what follows is judged by the filter that
    /// counts when it is read. `router`: where the router is.
    pub(crate) fn has_read(&self, router: u64) -> u64 {
        self.reads_at(router).max(self.read_before)
    }

    fn reads_at(&self, router: u64) -> u64 {
        match self.place {
            Place::Live { from } => from.max(router),
            Place::Behind { cursor } => cursor,
        }
    }

    /// The first position that is queued, here or in the log.
    pub(super) fn first_queued(&self, named: &Named) -> Option<u64> {
        let again = match self.place {
            Place::Behind { cursor } if cursor < self.read_before => Some(cursor),
            Place::Behind { .. } | Place::Live { .. } => None,
        };
        named.queued.into_iter().chain(again).min()
    }

    /// The filter that judges the event at this offset, and the offset at which it ends.
    pub(crate) fn filter_at(&self, offset: u64) -> (&Arc<Compiled>, Option<u64>) {
        let earlier = self.earlier.iter().find(|one| offset < one.until.offset);
        match earlier {
            Some(one) => (&one.filter, Some(one.until.offset)),
            None => (&self.settings.trigger.compiled, None),
        }
    }

    /// Takes over the earlier filters as they are stored.
    pub(crate) fn judge_by(&mut self, earlier: Vec<Earlier>) {
        let until = earlier.last().map_or(0, |last| last.until.offset);
        self.read_before = self.read_before.max(until);
        self.earlier = earlier;
    }

    /// The lane reads nothing below this offset again: filters that end before it judge nothing any more.
    pub(super) fn forget_filters_below(&mut self, offset: u64) {
        self.earlier.retain(|one| offset < one.until.offset);
    }

    /// Prepares for one more earlier filter. If there are as many as are kept, progress is to name all that
    /// is queued: then none of it is judged again.
    pub(crate) fn make_room_for_filter(&mut self, router: u64) {
        let begins = self.first_queued(&self.window.named());
        self.forget_filters_below(begins.unwrap_or_else(|| self.has_read(router)));
        if self.earlier.len() >= EarlierFilter::KEPT {
            self.name_queue(router);
        }
    }

    /// From `from` on another filter counts than the present one.
    pub(crate) fn replace_filter(&mut self, from: Position) {
        let begins = self.first_queued(&self.window.named()).unwrap_or(from.offset);
        let begins = Position {
            offset: begins,
            ..from
        };
        let present = self.settings.trigger.compiled.clone();
        EarlierFilter::replace(&mut self.earlier, present, from, begins);
    }

    /// Progress names each event that is queued here, and none of them is judged again.
    pub(crate) fn name_queue(&mut self, router: u64) {
        self.window.name_below(self.reads_at(router));
        self.dirty = true;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millrace_budget::Ledger;
    use millrace_event::Timestamp;

    use super::*;
    use crate::budget::Budget;
    use crate::lane::tests::{at, event, restored, restored_by_router, stored};
    use crate::lane::{Lane, Snapshot};

    fn budget() -> Budget {
        Budget::new(Arc::new(Ledger::new(1 << 20)), Arc::new(Ledger::new(1 << 20)))
    }

    /// What the next commit says of the lane: cursor, first queued position, and the others that it owes.
    fn progress(lane: &Lane, router: u64) -> (Option<u64>, Option<u64>, Vec<u64>) {
        let Snapshot { progress, .. } = lane.snapshot(&mut lane.inner.lock(), router);
        let progress = progress.expect("progress");
        let offset = |position: Position| position.offset;
        let unsettled = progress.unsettled.into_iter().map(offset).collect();
        (
            progress.cursor.map(offset),
            progress.queued.map(offset),
            unsettled,
        )
    }

    #[test]
    fn what_was_queued_is_read_again_and_stays_so_until_it_was() {
        let stored = millrace_channel::Lane {
            cursor: Some(at(61)),
            queued: Some(at(5)),
            unsettled: vec![at(3)],
            ..stored()
        };
        let (lane, budget) = (restored(&stored, 0), budget());
        assert_eq!(lane.inner.lock().place, Place::Behind { cursor: 5 });
        assert_eq!(progress(&lane, 90), (Some(61), Some(5), vec![3]), "as it was");
        {
            let mut inner = lane.inner.lock();
            assert!(inner.offer(9, &event(), &budget));
            inner.place = Place::Behind { cursor: 20 };
        }
        assert_eq!(progress(&lane, 90), (Some(61), Some(9), vec![3]));
        let taken = lane.take(&mut lane.inner.lock(), &budget, Timestamp(1_000));
        assert_eq!(taken.map(|job| job.attempted.key.position), Some(at(9)));
        assert_eq!(progress(&lane, 90), (Some(61), Some(20), vec![3, 9]));
        lane.inner.lock().place = Place::Behind { cursor: 70 };
        assert_eq!(progress(&lane, 90), (Some(70), None, vec![3, 9]));
    }

    #[test]
    fn a_lane_that_followed_the_router_leaves_it_for_what_was_queued() {
        let follows = millrace_channel::Lane {
            cursor: None,
            ..stored()
        };
        let queued = millrace_channel::Lane {
            queued: Some(at(5)),
            ..follows.clone()
        };
        let judged = millrace_channel::Lane {
            earlier: vec![EarlierFilter {
                until: at(70),
                filter: String::new(),
            }],
            ..follows.clone()
        };
        for (stored, place, says) in [
            (follows, Place::Live { from: 61 }, (None, None)),
            (queued, Place::Behind { cursor: 5 }, (Some(61), Some(5))),
            // It had read up to 70, and that was not written down any more.
            (judged, Place::Behind { cursor: 61 }, (Some(70), Some(61))),
        ] {
            let lane = restored_by_router(&stored, 61);
            let is_dirty = lane.inner.lock().dirty;
            assert_eq!(lane.inner.lock().place, place);
            assert_eq!(is_dirty, says.0.is_some(), "the next commit says so: {place:?}");
            let (cursor, queued, unsettled) = progress(&lane, 61);
            assert_eq!(((cursor, queued), unsettled), (says, vec![]));
        }
    }

    #[test]
    fn each_filter_judges_what_was_read_by_it() {
        let lane = restored(&stored(), 0);
        let mut inner = lane.inner.lock();
        let filter = |name: &str| {
            let text = format!(r#"[{{"exact":[["type","{name}"]]}}]"#);
            Arc::new(millrace_filter::text::compile(&text).expect("a valid filter"))
        };
        let (first, second) = (filter("a"), filter("b"));
        let until = |offset, filter: &Arc<Compiled>| Earlier {
            until: at(offset),
            filter: filter.clone(),
        };
        inner.judge_by(vec![until(10, &first), until(20, &second)]);
        let present = inner.settings.trigger.compiled.clone();
        for (offset, filter, ends) in [
            (0, &first, Some(10)),
            (9, &first, Some(10)),
            (10, &second, Some(20)),
            (20, &present, None),
        ] {
            let (found, found_ends) = inner.filter_at(offset);
            assert!(Arc::ptr_eq(found, filter) && found_ends == ends, "{offset}");
        }
        assert_eq!(inner.has_read(15), 20, "it reads again what lies before");
        inner.forget_filters_below(10);
        assert!(Arc::ptr_eq(inner.filter_at(0).0, &second));
    }

    #[test]
    fn a_queue_that_saw_too_many_filters_is_named() {
        let lane = restored(&stored(), 0);
        let budget = budget();
        let kept = EarlierFilter::KEPT as u64;
        for n in 1..=kept {
            let mut inner = lane.inner.lock();
            assert!(inner.offer(n, &event(), &budget));
            inner.place = Place::Behind { cursor: n + 1 };
            inner.make_room_for_filter(0);
            inner.replace_filter(at(n + 1));
        }
        assert_eq!(lane.inner.lock().earlier.len(), EarlierFilter::KEPT);
        assert_eq!(progress(&lane, 0), (Some(kept + 1), Some(1), vec![]));
        {
            let mut inner = lane.inner.lock();
            inner.make_room_for_filter(0);
            inner.replace_filter(at(kept + 1));
            assert_eq!(inner.earlier.len(), 0);
        }
        let all: Vec<u64> = (1..=kept).collect();
        assert_eq!(progress(&lane, 0), (Some(kept + 1), None, all));
    }
}
