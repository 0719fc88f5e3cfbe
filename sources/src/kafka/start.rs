//! Where a partition begins: decided from its stored place, the group's commit, and what Kafka has.
//!
//! # Contract
//! - No record is missed that Kafka did not have when the source was admitted.
//! - A partition that ends before its stored place has a new life: its topic was deleted and recreated. So
//!   has one with another record before that place; [`Comparison`] names the record to compare.
//! - Nothing here asks Kafka, so all of it is tested without a broker.

use millrace_model::source::InitialOffset;

use super::fingerprint::Fingerprint;
use super::remembered::Position;

/// What Kafka has of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offsets {
    /// The first offset that it still has.
    pub(super) low: i64,
    /// The offset that the next record gets.
    pub(super) end: i64,
    /// What the group has committed.
    pub(super) committed: Option<i64>,
}

/// Where a partition without a stored place begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The last list did not have it: all of it is new.
    Appeared,
    /// The list had it, and it is only now named or matched.
    Now(InitialOffset),
}

/// Where a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The place to store. The first record that becomes an event has its offset or a later one.
    pub(super) position: Position,
    /// The record to compare before that.
    pub(super) check: Option<Check>,
    /// How many offsets Kafka deleted before their records were read.
    pub(super) deleted: i64,
    /// Whether a new life begins here.
    pub(super) is_new_life: bool,
}

/// How the first record to arrive shows which life the partition has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// A record is compared before the first one is taken.
    Compare(Comparison),
    /// The topic was recreated, and Kafka has not told where it begins: any record is of the new life.
    AnythingIsNew,
}

/// A record to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Its offset.
    offset: i64,
    /// What it was; `None`: not known yet, so it is stored.
    expected: Option<Fingerprint>,
    /// Where the partition begins if it is the same.
    next: i64,
    /// Where the partition begins if it is another; `None`: Kafka has not told.
    low: Option<i64>,
}

/// What to do with the first record of a partition that has a [`Check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Take it.
    Take,
    /// Leave it out, and take those after it.
    PassBy,
    /// Continue at this offset.
    Seek(i64),
    /// The partition has a new life, which begins at this offset.
    NewLife(i64),
    /// The partition has a new life, and where that begins must be asked.
    Anew,
}

// === impl Start ===

impl Start {
    /// Where a partition begins.
    pub(super) fn of(known: Option<&Position>, admission: Arrival, found: Offsets) -> Self {
        let Some(position) = known else {
            return Self::first(admission, found);
        };
        if position.is_over {
            return Self::new_life(position, found.low, found.committed);
        }
        let is_cut = |record: Fingerprint| found.end <= record.offset;
        if found.end < position.next || position.record.is_some_and(is_cut) {
            return Self::new_life(position, found.low, found.committed);
        }
        // A commit of an earlier life does not count.
        let committed = found
            .committed
            .filter(|&committed| committed <= found.end && position.stale != Some(committed));
        Self::at(*position, committed.unwrap_or(position.next), found)
    }

    fn first(admission: Arrival, found: Offsets) -> Self {
        let next = match (found.committed, admission) {
            (Some(committed), _) if committed > found.end => {
                let before = Position::at(committed);
                return Self::new_life(&before, found.low, found.committed);
            }
            (Some(committed), _) => committed,
            (None, Arrival::Now(InitialOffset::Latest)) => found.end,
            (None, Arrival::Appeared | Arrival::Now(InitialOffset::Earliest)) => found.low,
        };
        Self::at(Position::at(next), next, found)
    }

    /// The beginning of a new life of a partition.
    pub(super) fn new_life(before: &Position, low: i64, committed: Option<i64>) -> Self {
        Self {
            position: before.new_life(low, committed.unwrap_or(before.next)),
            check: None,
            deleted: 0,
            is_new_life: true,
        }
    }

    fn at(position: Position, next: i64, found: Offsets) -> Self {
        let deleted = (found.low - next).max(0);
        let next = next.max(found.low);
        // Without a known record the one before the beginning is read, to be known next time.
        let (offset, expected) = match position.record {
            Some(record) => (record.offset, Some(record)),
            None => (next - 1, None),
        };
        let check = Check::Compare(Comparison {
            offset,
            expected,
            next,
            low: Some(found.low),
        });
        Self {
            position: Position { next, ..position },
            check: (found.low..found.end).contains(&offset).then_some(check),
            deleted,
            is_new_life: false,
        }
    }

    /// Where a partition begins of which Kafka does not tell what it has: at its place, with the record
    /// before it compared, since the topic may have been recreated meanwhile. If it is known that it was, the
    /// first record to arrive shows that Kafka has it again, and is not taken.
    pub(super) fn unanswered(known: &Position) -> Self {
        let before = |record: Fingerprint| {
            Check::Compare(Comparison {
                offset: record.offset,
                expected: Some(record),
                next: known.next,
                low: None,
            })
        };
        let check = if known.is_over {
            Some(Check::AnythingIsNew)
        } else {
            known.record.map(before)
        };
        Self {
            position: *known,
            check,
            deleted: 0,
            is_new_life: false,
        }
    }

    /// The offset to fetch first.
    pub(super) fn from(&self) -> i64 {
        match self.check {
            Some(Check::Compare(comparison)) => comparison.offset,
            Some(Check::AnythingIsNew) => 0,
            None => self.position.next,
        }
    }
}

// === impl Check ===

impl Check {
    /// What to do with the first record that arrived. It has the wanted offset or a later one.
    pub(super) fn judge(&self, found: &Fingerprint) -> Verdict {
        match self {
            Self::Compare(comparison) => comparison.judge(found),
            Self::AnythingIsNew => Verdict::Anew,
        }
    }

    /// Whether this is the record in question, and was not known yet.
    pub(super) fn learns(&self, found: &Fingerprint) -> bool {
        match self {
            Self::Compare(wanted) => wanted.expected.is_none() && wanted.offset == found.offset,
            Self::AnythingIsNew => false,
        }
    }

    /// Whether nothing is left to compare once the client is at `position` and no record has arrived: there
    /// was none from the wanted offset on, and none is left out before the beginning.
    pub(super) fn is_passed(&self, position: i64) -> bool {
        match self {
            Self::Compare(wanted) => wanted.offset < wanted.next && wanted.next <= position,
            Self::AnythingIsNew => false,
        }
    }
}

// === impl Comparison ===

impl Comparison {
    fn judge(&self, found: &Fingerprint) -> Verdict {
        if found.offset == self.offset && self.expected.is_some_and(|expected| expected != *found) {
            return self.low.map_or(Verdict::Anew, Verdict::NewLife);
        }
        // The record may be missing: compaction removes records, and transactions leave gaps.
        if self.offset < self.next && self.next <= found.offset {
            return Verdict::Take;
        }
        if found.offset + 1 == self.next {
            return Verdict::PassBy;
        }
        Verdict::Seek(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATEST: Arrival = Arrival::Now(InitialOffset::Latest);
    const EARLIEST: Arrival = Arrival::Now(InitialOffset::Earliest);

    fn found(low: i64, end: i64, committed: Option<i64>) -> Offsets {
        Offsets { low, end, committed }
    }

    fn record(offset: i64, checksum: u32) -> Fingerprint {
        Fingerprint {
            offset,
            timestamp: 1,
            checksum,
        }
    }

    fn known(next: i64) -> Position {
        Position {
            record: Some(record(next - 1, 7)),
            ..Position::at(next)
        }
    }

    #[test]
    fn what_was_not_there_begins_at_its_beginning_and_what_is_only_now_named_at_its_end() {
        for (admission, found, expected) in [
            (Arrival::Appeared, found(0, 9, None), 0),
            (LATEST, found(0, 9, None), 9),
            (EARLIEST, found(3, 9, None), 3),
            (Arrival::Appeared, found(3, 9, Some(5)), 5),
            (LATEST, found(0, 9, Some(5)), 5),
            (EARLIEST, found(0, 0, None), 0),
        ] {
            let start = Start::of(None, admission, found);
            assert_eq!(
                (start.position.next, start.is_new_life),
                (expected, false),
                "{admission:?} {found:?}"
            );
        }
    }

    #[test]
    fn the_commit_counts_and_where_there_is_none_what_is_remembered() {
        for (found, expected) in [
            (found(0, 100, Some(50)), 50),
            (found(0, 100, Some(80)), 80),
            // Somebody has set the group back.
            (found(0, 100, Some(10)), 10),
            // The offsets have expired.
            (found(0, 100, None), 50),
            // It was committed in an earlier life.
            (found(0, 100, Some(200)), 50),
        ] {
            let start = Start::of(Some(&known(50)), LATEST, found);
            assert_eq!(
                (start.position.next, start.is_new_life, start.deleted),
                (expected, false, 0)
            );
            assert_eq!(
                start.from(),
                49,
                "the record before the remembered place is read first"
            );
        }
    }

    #[test]
    fn an_end_before_the_place_is_a_new_life() {
        let start = Start::of(Some(&known(50)), LATEST, found(0, 49, Some(50)));
        assert_eq!(
            (start.position.next, start.is_new_life, start.check),
            (0, true, None)
        );
        assert_eq!((start.position.life, start.position.stale), (2, Some(50)));
        // The next assignment ignores the old commit, and sees no further life.
        let again = Start::of(Some(&start.position), LATEST, found(0, 70, Some(50)));
        assert_eq!(
            (again.position.next, again.is_new_life, again.position.life),
            (0, false, 2)
        );
        let first = Start::of(None, EARLIEST, found(0, 3, Some(8)));
        assert_eq!(
            (first.position.next, first.position.life, first.is_new_life),
            (0, 2, true)
        );
    }

    #[test]
    fn a_record_that_is_known_and_not_there_is_a_new_life_wherever_the_group_was_set() {
        let set_back = Start::of(Some(&known(50)), LATEST, found(0, 100, Some(10))).position;
        assert_eq!((set_back.next, set_back.record), (10, Some(record(49, 7))));
        let start = Start::of(Some(&set_back), LATEST, found(0, 20, Some(10)));
        assert_eq!((start.position.next, start.is_new_life), (0, true));
    }

    #[test]
    fn what_is_over_begins_anew_whatever_is_there() {
        let over = Position {
            is_over: true,
            ..known(50)
        };
        let start = Start::of(Some(&over), LATEST, found(0, 100, None));
        assert_eq!((start.position.next, start.is_new_life), (0, true));
        assert_eq!((start.position.life, start.position.is_over), (2, false));
        assert_eq!(
            start.position.stale,
            Some(50),
            "a commit of before may still arrive"
        );
    }

    #[test]
    fn what_kafka_has_deleted_unread_is_counted() {
        let start = Start::of(Some(&known(50)), LATEST, found(60, 100, Some(55)));
        assert_eq!((start.position.next, start.deleted, start.check), (60, 5, None));
        let start = Start::of(Some(&known(50)), LATEST, found(49, 100, Some(10)));
        assert_eq!((start.position.next, start.deleted), (49, 39));
        let start = Start::of(None, LATEST, found(60, 100, Some(60)));
        assert_eq!((start.position.next, start.deleted), (60, 0));
    }

    #[test]
    fn the_record_before_the_place_tells_the_life() {
        let check = |next, committed| {
            Start::of(Some(&known(next)), LATEST, found(0, 100, committed))
                .check
                .expect("a check")
        };
        for (check, record, expected) in [
            (check(50, Some(50)), record(49, 7), Verdict::PassBy),
            (check(50, Some(50)), record(49, 8), Verdict::NewLife(0)),
            // The record is gone, by compaction for example.
            (check(50, Some(50)), record(50, 8), Verdict::Take),
            (check(50, Some(50)), record(53, 8), Verdict::Take),
            // Another member was further, or somebody has set the group back.
            (check(50, Some(80)), record(49, 7), Verdict::Seek(80)),
            (check(50, Some(80)), record(60, 7), Verdict::Seek(80)),
            (check(50, Some(80)), record(80, 7), Verdict::Take),
            (check(50, Some(80)), record(49, 8), Verdict::NewLife(0)),
            (check(50, Some(10)), record(49, 7), Verdict::Seek(10)),
            (check(50, Some(10)), record(60, 7), Verdict::Seek(10)),
        ] {
            assert_eq!(check.judge(&record), expected, "{check:?} {record:?}");
        }
    }

    #[test]
    fn a_record_that_is_not_known_yet_is_learned() {
        let start = Start::of(None, LATEST, found(0, 9, None));
        let check = start.check.expect("a check");
        assert_eq!(start.from(), 8);
        assert!(check.learns(&record(8, 7)) && !check.learns(&record(9, 7)));
        assert_eq!(check.judge(&record(8, 7)), Verdict::PassBy);
        assert_eq!(Start::of(None, LATEST, found(0, 0, None)).check, None);
        assert_eq!(Start::of(None, EARLIEST, found(5, 9, None)).check, None);
    }

    #[test]
    fn without_an_answer_the_record_before_the_place_is_compared_too() {
        let start = Start::unanswered(&known(50));
        let check = start.check.expect("a check");
        assert_eq!(
            (start.position.next, start.from(), start.is_new_life),
            (50, 49, false)
        );
        for (record, expected) in [
            (record(49, 7), Verdict::PassBy),
            // Another client asks where the new life begins.
            (record(49, 8), Verdict::Anew),
            (record(53, 8), Verdict::Take),
        ] {
            assert_eq!(check.judge(&record), expected, "{record:?}");
        }
        let set_back = Position {
            next: 10,
            ..known(50)
        };
        let check = Start::unanswered(&set_back).check.expect("a check");
        assert_eq!(check.judge(&record(49, 7)), Verdict::Seek(10));
        assert_eq!(check.judge(&record(49, 8)), Verdict::Anew);
        let start = Start::unanswered(&Position::at(5));
        assert_eq!((start.from(), start.check), (5, None));
        let over = Position {
            is_over: true,
            ..known(50)
        };
        let start = Start::unanswered(&over);
        let check = start.check.expect("a check");
        assert_eq!(start.from(), 0);
        for offset in [0, 49, 50] {
            assert_eq!(check.judge(&record(offset, 7)), Verdict::Anew);
            assert!(!check.learns(&record(offset, 7)));
            assert!(!check.is_passed(offset + 1));
        }
    }

    #[test]
    fn a_check_is_passed_when_the_client_is_past_the_beginning_and_nothing_arrived() {
        let at = |committed| {
            let start = Start::of(Some(&known(50)), LATEST, found(0, 100, Some(committed)));
            start.check.expect("a check")
        };
        for (committed, position, expected) in [
            (50, 49, false),
            (50, 50, true),
            (50, 60, true),
            (80, 60, false),
            (80, 80, true),
            // The records from 10 on are yet to come.
            (10, 60, false),
        ] {
            assert_eq!(
                at(committed).is_passed(position),
                expected,
                "{committed} {position}"
            );
        }
    }
}
