//! A lane as the channel remembers it: one trigger's progress.

use std::time::Duration;

use millrace_event::{ObjectName, Timestamp};

use crate::Position;

/// The number of a lane within its channel; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub i64);

/// A filter that counted before. It judges what the lane read then, should that be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierFilter<F = String> {
    /// The first position for which it does not count any more.
    pub until: Position,
    /// The filter, in the words of [`LaneSpec::filter`] or ready to run.
    pub filter: F,
}

/// What is asked when a trigger is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSpec {
    /// The trigger's name.
    pub trigger: ObjectName,
    /// The uid from Kubernetes: another one than the stored makes a new lane at the end. `None` (files): the
    /// name is the identity.
    pub uid: Option<String>,
    /// Where no lane has that uid, the newest of that name becomes its own, with all that it holds.
    pub resume: bool,
    /// The filter by which it judges events. The channel keeps the text and does not read it.
    pub filter: String,
    /// The longest wait that a row of work can have. A row that waits longer was written while the clock was
    /// wrong.
    pub longest_wait: Duration,
}

/// A lane as stored.
///
/// # Progress
/// The lane has read every position below its cursor (`cursor`, or the router's position where that is
/// `None`). Of those it still owes `unsettled`, its rows of [`crate::Work`], and what its filter lets pass
/// from `queued` on. That is read again after a crash, and judged by the filter that counted when it was read
/// first ([`Lane::earlier`]). Positions below `start` were never its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its number.
    pub id: LaneId,
    /// The trigger's name.
    pub trigger: ObjectName,
    /// The uid, Kubernetes' or generated.
    pub uid: String,
    /// The log's end when the trigger was admitted.
    pub start: Position,
    /// Where it reads on; `None`: it follows the router.
    pub cursor: Option<Position>,
    /// The first position of its queue: it is below the cursor, and nothing from there on has been attempted
    /// or written down. `None`: nothing was queued.
    pub queued: Option<Position>,
    /// Positions below `queued` (or the cursor) that matched and are not settled, in order.
    pub unsettled: Vec<Position>,
    /// The filters that counted before, the oldest first. Behind the last of them the present filter counts.
    /// One that ends before everything that the lane may read again does not matter any more.
    pub earlier: Vec<EarlierFilter>,
    /// Positions that this progress still owes although a row or a parked event stands for each, in order: a
    /// commit was cut off behind its rows. They are passed without being offered again. Until stored progress
    /// has passed them, what stands for them is neither due nor listed. Empty where commits are atomic.
    pub covered: Vec<Position>,
    /// Active, paused or orphaned.
    pub state: LaneState,
    /// Rows of work.
    pub deferred: u64,
    /// Parked events.
    pub parked: u64,
    /// The earliest due time among its rows of work, in steady time.
    pub next_due: Option<Timestamp>,
}

/// Whether a lane runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// It runs.
    Active,
    /// Paused by command.
    Paused,
    /// Its trigger disappeared at this steady time; its debts are kept for the grace period.
    Orphaned(Timestamp),
}

// === impl EarlierFilter ===

impl EarlierFilter {
    /// Earlier filters that are kept for a lane. Where there would be more, the present one is not kept: the
    /// next filter also judges what was read by it.
    pub const KEPT: usize = 8;
}

impl<F> EarlierFilter<F> {
    /// The earlier filters once another one counts from `from` on instead of `present`. `begins`: the lane
    /// reads nothing below that again.
    ///
    /// An earlier filter keeps what it was given to judge, even if the lane stands before its end.
    pub fn replace(earlier: &mut Vec<Self>, present: F, from: Position, begins: Position) {
        earlier.retain(|one| begins < one.until);
        let counts_from = earlier.last().map_or(begins, |last| last.until);
        if counts_from < from && earlier.len() < EarlierFilter::KEPT {
            earlier.push(Self {
                until: from,
                filter: present,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { partition: 0, offset }
    }

    #[test]
    fn each_filter_keeps_what_was_read_by_it() {
        let mut earlier = Vec::new();
        let mut steps = Vec::new();
        // The present filter, from where the next one counts, and where the lane would begin to read again.
        for (present, from, begins) in [
            ("a", 61, 5),  // 5 to 60 are queued
            ("b", 61, 5),  // it has judged nothing
            ("c", 80, 7),  //
            ("d", 70, 20), // read again: what the others judge stays theirs
            ("e", 90, 65), // the first is done with
            ("f", 95, 95), // nothing is queued
        ] {
            EarlierFilter::replace(&mut earlier, present.to_owned(), at(from), at(begins));
            let ends = earlier.iter().map(|one| (one.filter.as_str(), one.until.offset));
            steps.push(
                ends.map(|(filter, until)| format!("{filter}{until}"))
                    .collect::<String>(),
            );
        }
        assert_eq!(steps, ["a61", "a61", "a61c80", "a61c80", "c80e90", ""]);
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let mut earlier = Vec::new();
        for n in 0..20 {
            EarlierFilter::replace(&mut earlier, n.to_string(), at(10 + n), at(1));
        }
        assert_eq!(earlier.len(), EarlierFilter::KEPT);
        assert_eq!(
            earlier.last().map(|last| last.until),
            Some(at(17)),
            "the oldest stay"
        );
    }
}
