//! Each story of an event, as a row of a table.

use millrace_channel::{Attempt, FailedAttempt, LaneId, Position, Rows, WorkKey};
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
            state: TriggerState::Live,
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

fn attempt(stage: Stage, attempt: u32, outcome: AttemptOutcome, status: Option<u16>, why: &str) -> Attempt {
    Attempt {
        position: KEY.position,
        trigger: ObjectName::new("shop", "ship"),
        stage,
        attempt,
        at: Timestamp(i64::from(attempt) + i64::from(stage != Stage::Subscriber) * 100),
        millis: 1,
        status,
        outcome,
        detail: why.to_owned(),
        answer: String::new(),
    }
}

fn with(attempts: &[Attempt], rows: Rows) -> Facts {
    Facts {
        attempts: Attempts::of(&ObjectName::new("shop", "ship"), attempts.to_vec(), &rows),
        rows,
        ..facts()
    }
}

fn work(stage: Stage, attempt: u32, open: bool, failed: bool) -> Rows {
    let failure = FailedAttempt {
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
fn assert_fate(facts: &Facts, state: EventState, why: &str) {
    let fate = of(facts);
    assert_eq!((fate.state, fate.why.as_str()), (state, why));
}

#[test]
fn what_has_not_been_attempted_says_where_it_stands() {
    let not_matched = Facts {
        explanation: Some(said(false)),
        ..facts()
    };
    assert_fate(&not_matched, EventState::NotMatched, "type is \"a\", not \"b\"");
    let unserved = Facts {
        lane: None,
        ..facts()
    };
    assert_fate(
        &unserved,
        EventState::NotServed,
        "its broker does not serve this trigger yet",
    );
    let mut late = facts();
    late.position = 1;
    let why = "the trigger was admitted after this event: it begins at position 2, the event is at 1";
    assert_fate(&late, EventState::AdmittedLater, why);
    let mut behind = facts();
    behind.position = 12;
    assert_fate(
        &behind,
        EventState::Behind,
        "the trigger has 2 positions to read before it",
    );
    assert_eq!(of(&behind).behind, Some(2));
    let mut held = facts();
    held.lane = held.lane.map(|lane| Stored {
        in_hand: true,
        ..lane
    });
    assert_fate(
        &held,
        EventState::InHand,
        "queued, or its first attempt is under way",
    );
    assert_fate(&facts(), EventState::Settled, READ_PAST);
}

#[test]
fn a_lane_that_stands_still_says_so_first() {
    let cases = [
        (
            TriggerState::Paused,
            EventState::Paused,
            None,
            "the trigger is paused",
        ),
        (
            TriggerState::NotReady,
            EventState::NotReady,
            Some("there is no Service"),
            "there is no Service",
        ),
        (
            TriggerState::Blocked,
            EventState::Blocked,
            Some("10 events are parked"),
            "10 events are parked",
        ),
    ];
    for (of_trigger, state, reason, says) in cases {
        let mut waiting = with(&[], work(Stage::Subscriber, 1, false, true));
        waiting.status = Some(TriggerStatus {
            state: of_trigger,
            reason: reason.map(str::to_owned),
            ..TriggerStatus::default()
        });
        let why = format!("{says}; 503 Service Unavailable; attempt 2 is due at 1970-01-01T00:00:01.000Z");
        assert_fate(&waiting, state, &why);
        assert_eq!(of(&waiting).next_due, Some(Timestamp(1_000)));
    }
    let mut gone = with(&[], work(Stage::Subscriber, 1, false, true));
    gone.explanation = None;
    gone.lane = gone.lane.map(|lane| Stored {
        state: LaneState::Orphaned(Timestamp(0)),
        ..lane
    });
    assert_eq!(of(&gone).state, EventState::Orphaned);
}

#[test]
fn what_is_written_down_counts_more_than_the_last_attempt() {
    let failed = [attempt(
        Stage::Subscriber,
        0,
        AttemptOutcome::Failed,
        Some(503),
        "503 Service Unavailable",
    )];
    let due = "is due at 1970-01-01T00:00:01.000Z";
    let cases = [
        (
            work(Stage::Subscriber, 1, false, true),
            EventState::Retrying,
            format!("503 Service Unavailable; attempt 2 {due}"),
        ),
        (
            work(Stage::Subscriber, 1, true, true),
            EventState::InHand,
            "attempt 2 is under way".to_owned(),
        ),
        (
            work(Stage::Subscriber, 0, false, false),
            EventState::InHand,
            format!("owed since a change; attempt 1 {due}"),
        ),
        (
            work(Stage::DeadLetter, 0, false, true),
            EventState::DeadLettering,
            format!("given up on (503 Service Unavailable); at the dead-letter sink attempt 1 {due}"),
        ),
        (
            parked(Stage::Subscriber, "503 after 1 attempt"),
            EventState::Parked,
            "503 after 1 attempt; parked as 0a since 1970-01-01T00:00:00.000Z".to_owned(),
        ),
        (
            parked(Stage::Reply, "the reply was refused: no"),
            EventState::Parked,
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
        AttemptOutcome::Looping,
        Some(200),
        "too many brokers",
    )];
    assert_eq!(
        of(&with(&looped, parked(Stage::Reply, "too many brokers"))).state,
        EventState::Looping
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
    assert_fate(&retried, EventState::Retrying, &format!("{cause} {waits}"));
    assert_eq!(of(&retried).next_due, Some(Timestamp(1_000)));

    retried.under_way = now(1, None);
    let since = "since 1970-01-01T00:00:02.000Z";
    assert_fate(
        &retried,
        EventState::Retrying,
        &format!("{cause} is under way {since}"),
    );
    assert_eq!(of(&retried).next_due, None);

    let shortage = Shortage::Descriptors;
    retried.under_way = now(1, Some(shortage));
    assert_fate(
        &retried,
        EventState::Retrying,
        &format!("{cause} is {shortage}, {since}"),
    );

    let mut first = facts();
    first.under_way = now(0, None);
    assert_fate(
        &first,
        EventState::InHand,
        &format!("its first attempt is under way {since}"),
    );
    first.under_way = now(0, Some(shortage));
    assert_fate(
        &first,
        EventState::InHand,
        &format!("its first attempt is {shortage}, {since}"),
    );
}

#[test]
fn the_last_attempt_says_where_it_ended() {
    let failed = attempt(
        Stage::Subscriber,
        0,
        AttemptOutcome::Failed,
        Some(503),
        "503 Service Unavailable",
    );
    let at = "at 1970-01-01T00:00:00";
    let cases = [
        (
            attempt(Stage::Subscriber, 1, AttemptOutcome::Delivered, Some(202), ""),
            EventState::Delivered,
            format!("attempt 2: 202 {at}.001Z"),
        ),
        (
            attempt(Stage::Subscriber, 1, AttemptOutcome::Replied, Some(200), ""),
            EventState::Delivered,
            format!("attempt 2: 200 {at}.001Z, and its reply is stored"),
        ),
        (
            attempt(Stage::DeadLetter, 0, AttemptOutcome::DeadLettered, Some(200), ""),
            EventState::DeadLettered,
            format!("given up on (503 Service Unavailable); the dead-letter sink took it: 200 {at}.100Z"),
        ),
        (
            attempt(
                Stage::Subscriber,
                1,
                AttemptOutcome::Looping,
                None,
                "too many brokers",
            ),
            EventState::Looping,
            "too many brokers".to_owned(),
        ),
        (
            attempt(
                Stage::Subscriber,
                1,
                AttemptOutcome::Parked,
                Some(400),
                "400 Bad Request",
            ),
            EventState::Dropped,
            "400 Bad Request; it was parked, and dropped by command since".to_owned(),
        ),
    ];
    for (last, state, why) in cases {
        assert_fate(&with(&[failed.clone(), last], Rows::default()), state, &why);
    }
    let mut changed = with(
        &[attempt(
            Stage::Subscriber,
            0,
            AttemptOutcome::Delivered,
            Some(202),
            "",
        )],
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
        &[attempt(
            Stage::Subscriber,
            3,
            AttemptOutcome::Delivered,
            Some(202),
            "",
        )],
        Rows::default(),
    );
    assert!(later.attempts.forgotten);
    let all = with(
        &[attempt(
            Stage::Subscriber,
            0,
            AttemptOutcome::Delivered,
            Some(202),
            "",
        )],
        Rows::default(),
    );
    assert!(!all.attempts.forgotten);
}
