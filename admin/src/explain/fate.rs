//! From facts to a word and a sentence: what became of an event for one trigger. Pure, so that each story is
//! a row of a table.

use millrace_channel::{LaneState, Parked, Stage, Work};
use millrace_event::Timestamp;
use millrace_model::status::UnderWay;

use super::attempts::Known;
use super::facts::{Facts, Stored};
use crate::wire::{Rfc3339, ordinal};

/// What became of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// `not-matched`, `admitted-later`, `not-served`, `behind`, `in-hand`, `retrying`, `dead-lettering`,
    /// `paused`, `orphaned`, `not-ready`, `blocked`, or an end: `delivered`, `dead-lettered`, `parked`,
    /// `looping`, `dropped`, `settled`.
    pub(super) state: &'static str,
    pub(super) why: String,
    /// When the next attempt is due.
    pub(super) next_due: Option<Timestamp>,
    /// Positions that the trigger has to read before this one.
    pub(super) behind: Option<u64>,
}

/// What is known of an event of which nothing is left to do and nothing is remembered.
const READ_PAST: &str = "the trigger has read past it and owes nothing of it: it was settled so long ago that its attempts are not \
                         in the history any more, or the filter did not let it pass then";

/// The remark that is added where the history has a hole.
const LEFT_OUT: &str =
    "; the history is incomplete: it could not be written, and attempts of that time were left out";

/// What became of the event, by these facts.
pub(super) fn of(facts: &Facts) -> Fate {
    let untouched = facts.attempts.list.is_empty() && facts.rows == millrace_channel::Rows::default();
    let said = facts.explanation.as_ref();
    if let (Some(said), true) = (said.filter(|said| !said.matched), untouched) {
        let because = said.decided_by.as_ref().map(|clause| clause.because.clone());
        return end("not-matched", because.unwrap_or_default());
    }
    let Some(lane) = facts.lane else {
        return end(
            "not-served",
            "its broker does not serve this trigger yet".to_owned(),
        );
    };
    if untouched && facts.position < lane.start {
        let why = format!(
            "the trigger was admitted after this event: it begins at position {}, the event is at {}",
            lane.start, facts.position
        );
        return end("admitted-later", why);
    }
    let mut fate = written_down(facts)
        .or_else(|| under_way(facts))
        .or_else(|| attempted(facts, lane))
        .unwrap_or_else(|| unattempted(facts, lane));
    if said.is_some_and(|said| !said.matched) {
        fate.why
            .push_str("; its filter does not match this event any more, but did when it was read");
    }
    if facts.attempts.left_out {
        fate.why.push_str(LEFT_OUT);
    }
    if fate.next_due.is_some() || ["behind", "in-hand", "retrying"].contains(&fate.state) {
        halted(&mut fate, facts, lane);
    }
    fate
}

fn end(state: &'static str, why: String) -> Fate {
    Fate {
        state,
        why,
        next_due: None,
        behind: None,
    }
}

/// By the rows of state.
fn written_down(facts: &Facts) -> Option<Fate> {
    if let Some(parked) = facts.rows.parked.last() {
        return Some(is_parked(facts, parked));
    }
    let work = facts.rows.work.last()?;
    let cause = work
        .failures
        .last()
        .map_or("it failed", |failure| failure.reason.as_str());
    let (next, next_due) = next(facts, work);
    let (state, why) = match work.key.stage {
        Stage::Subscriber if work.open => ("in-hand", next),
        Stage::Subscriber if work.undecided => {
            let why = "the process ended when its filters were about to be asked; they are asked before the first attempt";
            ("in-hand", format!("{why}; {next}"))
        }
        Stage::Subscriber if work.failures.is_empty() && work.suspect => {
            let why = "it was being attempted, or may have been, when the process ended";
            ("in-hand", format!("{why}; {next}"))
        }
        Stage::Subscriber if work.failures.is_empty() => ("in-hand", format!("owed since a change; {next}")),
        Stage::Subscriber => ("retrying", format!("{cause}; {next}")),
        Stage::DeadLetter => (
            "dead-lettering",
            format!("given up on ({cause}); at the dead-letter sink {next}"),
        ),
        Stage::Reply => (
            "dead-lettering",
            format!("delivered, but {cause}; at the dead-letter sink {next}"),
        ),
    };
    Some(Fate {
        next_due,
        ..end(state, why)
    })
}

fn is_parked(facts: &Facts, parked: &Parked) -> Fate {
    let loops = facts
        .attempts
        .list
        .iter()
        .rev()
        .find(|known| known.stage == Stage::Subscriber)
        .is_some_and(|known| known.outcome == "looping");
    let state = if loops { "looping" } else { "parked" };
    let since = Rfc3339(parked.since);
    let (id, reason) = (&parked.id, &parked.reason);
    let why = match parked.stage {
        Stage::Reply => format!("delivered, but {reason}; the reply is parked as {id} since {since}"),
        Stage::Subscriber | Stage::DeadLetter => format!("{reason}; parked as {id} since {since}"),
    };
    end(state, why)
}

/// The next attempt in words, and when it is due. One that is under way is not due any more.
fn next(facts: &Facts, work: &Work) -> (String, Option<Timestamp>) {
    let number = format!("attempt {}", ordinal(work.attempt));
    match facts.under_way.filter(|now| now.attempt == work.attempt) {
        Some(now) => (format!("{number} is {}", in_words(now)), None),
        None if work.open => (format!("{number} is under way"), None),
        None if work.due <= facts.now => {
            let why = format!(
                "{number} has been due since {} and waits for its turn",
                Rfc3339(work.due)
            );
            (why, Some(work.due))
        }
        None => (
            format!("{number} is due at {}", Rfc3339(work.due)),
            Some(work.due),
        ),
    }
}

fn in_words(now: UnderWay) -> String {
    let since = Rfc3339(now.since);
    match now.shortage {
        Some(shortage) => format!("{shortage}, since {since}"),
        None => format!("under way since {since}"),
    }
}

/// The fate by the attempt that is under way, for a first attempt: no row exists yet.
fn under_way(facts: &Facts) -> Option<Fate> {
    let now = facts.under_way?;
    Some(end("in-hand", format!("its first attempt is {}", in_words(now))))
}

/// By the last attempt, where no row says more.
fn attempted(facts: &Facts, lane: Stored) -> Option<Fate> {
    let last = facts.attempts.last()?;
    let Known { outcome, reason, .. } = last;
    let answered = || {
        let status = last
            .status
            .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        format!("{status} at {}", Rfc3339(last.at))
    };
    let number = format!("attempt {}", u64::from(last.attempt) + 1);
    let just_now = lane.in_hand || facts.position >= lane.reads_at;
    Some(match outcome.as_str() {
        "delivered" => end("delivered", format!("{number}: {}", answered())),
        "replied" => end(
            "delivered",
            format!("{number}: {}, and its reply is stored", answered()),
        ),
        "dead-lettered" => {
            let cause = facts
                .attempts
                .last_failure()
                .map_or("the cause is not known any more", |known| known.reason.as_str());
            let why = format!(
                "given up on ({cause}); the dead-letter sink took it: {}",
                answered()
            );
            end("dead-lettered", why)
        }
        "looping" => end("looping", reason.clone()),
        "reply-refused" => end("delivered", format!("{number}: {}, but {reason}", answered())),
        "parked" if !just_now => end(
            "dropped",
            format!("{reason}; it was parked, and dropped by command since"),
        ),
        "parked" => end("parked", reason.clone()),
        _ if just_now => end(
            "retrying",
            format!("{reason}; what follows is being written down"),
        ),
        _ => end(
            "settled",
            format!("{reason}; it was settled after that, and how is not in the history"),
        ),
    })
}

/// Without any attempt that is known of.
fn unattempted(facts: &Facts, lane: Stored) -> Fate {
    let reads_at = facts
        .status
        .as_ref()
        .map_or(lane.reads_at, |status| status.reads_at.max(lane.reads_at));
    if facts.position >= reads_at {
        let behind = facts.position - reads_at;
        let why = match behind {
            0 => "it is the next that the trigger reads".to_owned(),
            1 => "the trigger has one position to read before it".to_owned(),
            n => format!("the trigger has {n} positions to read before it"),
        };
        return Fate {
            behind: Some(behind),
            ..end("behind", why)
        };
    }
    let first_open = facts.status.as_ref().map_or(0, |status| status.cursor);
    if lane.in_hand || (facts.position >= lane.reads_at && facts.position >= first_open) {
        return end("in-hand", "queued, or its first attempt is under way".to_owned());
    }
    end("settled", READ_PAST.to_owned())
}

/// Something is still to be done, and the lane may not do it.
fn halted(fate: &mut Fate, facts: &Facts, lane: Stored) {
    let status = facts
        .status
        .as_ref()
        .map(|status| (status.state, status.reason.as_deref()));
    let (state, reason) = match (status, lane.state) {
        (_, LaneState::Orphaned(since)) => (
            "orphaned",
            format!(
                "its trigger is in no document since {}; what it is owed is kept for the grace period",
                Rfc3339(since)
            ),
        ),
        (Some((state @ ("not-ready" | "blocked"), reason)), _) => {
            (state, reason.unwrap_or("the trigger cannot go on").to_owned())
        }
        (Some(("paused", _)), _) | (_, LaneState::Paused) => ("paused", "the trigger is paused".to_owned()),
        (Some(_) | None, LaneState::Active) => return,
    };
    fate.state = state;
    fate.why = format!("{reason}; {}", fate.why);
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use millrace_channel::{Attempt, Failure, LaneId, Position, Rows, WorkKey};
    use millrace_event::ObjectName;
    use millrace_filter::{Clause, Explanation, Verdict};
    use millrace_model::Shortage;
    use millrace_model::status::TriggerStatus;

    use super::super::attempts::Attempts;
    use super::*;

    const KEY: WorkKey = WorkKey {
        lane: LaneId(1),
        position: Position {
            partition: 0,
            offset: 7,
        },
        stage: Stage::Subscriber,
    };

    /// A lane that began at 2 and has read up to 10, for an event at 7 that matches.
    fn facts() -> Facts {
        Facts {
            trigger: ObjectName::new("shop", "ship"),
            position: 7,
            explanation: Some(said(true)),
            lane: Some(Stored {
                start: 2,
                reads_at: 10,
                in_hand: false,
                state: LaneState::Active,
            }),
            status: Some(TriggerStatus {
                state: "live",
                cursor: 10,
                reads_at: 10,
                ..TriggerStatus::default()
            }),
            under_way: None,
            now: Timestamp(500),
            rows: Rows::default(),
            attempts: Attempts::default(),
        }
    }

    fn said(matched: bool) -> Explanation {
        Explanation {
            matched,
            decided_by: Some(Clause {
                path: "filters[0].exact.type".to_owned(),
                verdict: Verdict::Different,
                because: "type is \"a\", not \"b\"".to_owned(),
            }),
            clauses: Vec::new(),
            omitted: 0,
        }
    }

    fn attempt(stage: Stage, attempt: u32, outcome: &'static str, status: Option<u16>, why: &str) -> Attempt {
        Attempt {
            position: KEY.position,
            trigger: ObjectName::new("shop", "ship"),
            stage,
            attempt,
            at: Timestamp(i64::from(attempt) + i64::from(stage != Stage::Subscriber) * 100),
            millis: 1,
            status,
            outcome: Cow::Borrowed(outcome),
            detail: why.to_owned(),
            answer: String::new(),
        }
    }

    fn with(attempts: &[Attempt], rows: Rows) -> Facts {
        Facts {
            attempts: Attempts::of(attempts.iter().cloned(), &rows),
            rows,
            ..facts()
        }
    }

    fn work(stage: Stage, attempt: u32, open: bool, failed: bool) -> Rows {
        let failure = Failure {
            at: Timestamp(0),
            stage: Stage::Subscriber,
            attempt: 0,
            target: String::new(),
            status: Some(503),
            reason: "503 Service Unavailable".to_owned(),
            body: Vec::new(),
            millis: 1,
        };
        let work = Work {
            key: WorkKey { stage, ..KEY },
            attempt,
            due: Timestamp(1_000),
            open,
            crashes: 0,
            suspect: false,
            undecided: false,
            failures: if failed { vec![failure] } else { Vec::new() },
            body: None,
        };
        Rows {
            work: vec![work],
            parked: Vec::new(),
        }
    }

    fn parked(stage: Stage, reason: &str) -> Rows {
        let parked = Parked {
            id: "0a".to_owned(),
            lane: KEY.lane,
            trigger: ObjectName::new("shop", "ship"),
            position: KEY.position,
            stage,
            event: None,
            reason: reason.to_owned(),
            since: Timestamp(0),
            attempts: 1,
            failures: Vec::new(),
        };
        Rows {
            work: Vec::new(),
            parked: vec![parked],
        }
    }

    #[track_caller]
    fn assert_fate(facts: &Facts, state: &str, why: &str) {
        let fate = of(facts);
        assert_eq!((fate.state, fate.why.as_str()), (state, why));
    }

    #[test]
    fn what_has_not_been_attempted_says_where_it_stands() {
        let not_matched = Facts {
            explanation: Some(said(false)),
            ..facts()
        };
        assert_fate(&not_matched, "not-matched", "type is \"a\", not \"b\"");
        let unserved = Facts {
            lane: None,
            ..facts()
        };
        assert_fate(
            &unserved,
            "not-served",
            "its broker does not serve this trigger yet",
        );
        let mut late = facts();
        late.position = 1;
        let why = "the trigger was admitted after this event: it begins at position 2, the event is at 1";
        assert_fate(&late, "admitted-later", why);
        let mut behind = facts();
        behind.position = 12;
        assert_fate(&behind, "behind", "the trigger has 2 positions to read before it");
        assert_eq!(of(&behind).behind, Some(2));
        let mut held = facts();
        held.lane = held.lane.map(|lane| Stored {
            in_hand: true,
            ..lane
        });
        assert_fate(&held, "in-hand", "queued, or its first attempt is under way");
        assert_fate(&facts(), "settled", READ_PAST);
    }

    #[test]
    fn a_lane_that_stands_still_says_so_first() {
        let cases = [
            ("paused", None, "the trigger is paused"),
            ("not-ready", Some("there is no Service"), "there is no Service"),
            ("blocked", Some("10 events are parked"), "10 events are parked"),
        ];
        for (state, reason, says) in cases {
            let mut waiting = with(&[], work(Stage::Subscriber, 1, false, true));
            waiting.status = Some(TriggerStatus {
                state,
                reason: reason.map(str::to_owned),
                ..TriggerStatus::default()
            });
            let why =
                format!("{says}; 503 Service Unavailable; attempt 2 is due at 1970-01-01T00:00:01.000Z");
            assert_fate(&waiting, state, &why);
            assert_eq!(of(&waiting).next_due, Some(Timestamp(1_000)));
        }
        let mut gone = with(&[], work(Stage::Subscriber, 1, false, true));
        gone.explanation = None;
        gone.lane = gone.lane.map(|lane| Stored {
            state: LaneState::Orphaned(Timestamp(0)),
            ..lane
        });
        assert_eq!(of(&gone).state, "orphaned");
    }

    #[test]
    fn what_is_written_down_counts_more_than_the_last_attempt() {
        let failed = [attempt(
            Stage::Subscriber,
            0,
            "failed",
            Some(503),
            "503 Service Unavailable",
        )];
        let due = "is due at 1970-01-01T00:00:01.000Z";
        let cases = [
            (
                work(Stage::Subscriber, 1, false, true),
                "retrying",
                format!("503 Service Unavailable; attempt 2 {due}"),
            ),
            (
                work(Stage::Subscriber, 1, true, true),
                "in-hand",
                "attempt 2 is under way".to_owned(),
            ),
            (
                work(Stage::Subscriber, 0, false, false),
                "in-hand",
                format!("owed since a change; attempt 1 {due}"),
            ),
            (
                work(Stage::DeadLetter, 0, false, true),
                "dead-lettering",
                format!("given up on (503 Service Unavailable); at the dead-letter sink attempt 1 {due}"),
            ),
            (
                parked(Stage::Subscriber, "503 after 1 attempt"),
                "parked",
                "503 after 1 attempt; parked as 0a since 1970-01-01T00:00:00.000Z".to_owned(),
            ),
            (
                parked(Stage::Reply, "the reply was refused: no"),
                "parked",
                "delivered, but the reply was refused: no; the reply is parked as 0a since 1970-01-01T00:00:00.000Z"
                    .to_owned(),
            ),
        ];
        for (rows, state, why) in cases {
            assert_fate(&with(&failed, rows), state, &why);
        }
        let looped = [attempt(
            Stage::Subscriber,
            0,
            "looping",
            Some(200),
            "too many brokers",
        )];
        assert_eq!(
            of(&with(&looped, parked(Stage::Reply, "too many brokers"))).state,
            "looping"
        );
    }

    #[test]
    fn an_attempt_that_is_under_way_is_not_told_to_be_due() {
        let now = |attempt, shortage| {
            Some(UnderWay {
                attempt,
                since: Timestamp(2_000),
                shortage,
            })
        };
        let mut retried = with(&[], work(Stage::Subscriber, 1, false, true));
        retried.now = Timestamp(3_000);
        let cause = "503 Service Unavailable; attempt 2";
        let waits = "has been due since 1970-01-01T00:00:01.000Z and waits for its turn";
        assert_fate(&retried, "retrying", &format!("{cause} {waits}"));
        assert_eq!(of(&retried).next_due, Some(Timestamp(1_000)));

        retried.under_way = now(1, None);
        let since = "since 1970-01-01T00:00:02.000Z";
        assert_fate(&retried, "retrying", &format!("{cause} is under way {since}"));
        assert_eq!(of(&retried).next_due, None);

        let shortage = Shortage::Descriptors;
        retried.under_way = now(1, Some(shortage));
        assert_fate(&retried, "retrying", &format!("{cause} is {shortage}, {since}"));

        let mut first = facts();
        first.under_way = now(0, None);
        assert_fate(
            &first,
            "in-hand",
            &format!("its first attempt is under way {since}"),
        );
        first.under_way = now(0, Some(shortage));
        assert_fate(
            &first,
            "in-hand",
            &format!("its first attempt is {shortage}, {since}"),
        );
    }

    #[test]
    fn the_last_attempt_says_where_it_ended() {
        let failed = attempt(
            Stage::Subscriber,
            0,
            "failed",
            Some(503),
            "503 Service Unavailable",
        );
        let at = "at 1970-01-01T00:00:00";
        let cases = [
            (
                attempt(Stage::Subscriber, 1, "delivered", Some(202), ""),
                "delivered",
                format!("attempt 2: 202 {at}.001Z"),
            ),
            (
                attempt(Stage::Subscriber, 1, "replied", Some(200), ""),
                "delivered",
                format!("attempt 2: 200 {at}.001Z, and its reply is stored"),
            ),
            (
                attempt(Stage::DeadLetter, 0, "dead-lettered", Some(200), ""),
                "dead-lettered",
                format!("given up on (503 Service Unavailable); the dead-letter sink took it: 200 {at}.100Z"),
            ),
            (
                attempt(Stage::Subscriber, 1, "looping", None, "too many brokers"),
                "looping",
                "too many brokers".to_owned(),
            ),
            (
                attempt(Stage::Subscriber, 1, "parked", Some(400), "400 Bad Request"),
                "dropped",
                "400 Bad Request; it was parked, and dropped by command since".to_owned(),
            ),
        ];
        for (last, state, why) in cases {
            assert_fate(&with(&[failed.clone(), last], Rows::default()), state, &why);
        }
        let mut changed = with(
            &[attempt(Stage::Subscriber, 0, "delivered", Some(202), "")],
            Rows::default(),
        );
        changed.explanation = Some(said(false));
        assert!(of(&changed).why.contains("did when it was read"));
    }

    #[test]
    fn attempts_that_were_left_out_are_said_to_be_so() {
        let mut facts = with(&[], Rows::default());
        facts.attempts.left_out = true;
        assert!(of(&facts).why.ends_with(LEFT_OUT), "{:?}", of(&facts));
    }

    #[test]
    fn attempts_that_are_gone_are_said_to_be_so() {
        let later = with(
            &[attempt(Stage::Subscriber, 3, "delivered", Some(202), "")],
            Rows::default(),
        );
        assert!(later.attempts.forgotten);
        let all = with(
            &[attempt(Stage::Subscriber, 0, "delivered", Some(202), "")],
            Rows::default(),
        );
        assert!(!all.attempts.forgotten);
    }
}
