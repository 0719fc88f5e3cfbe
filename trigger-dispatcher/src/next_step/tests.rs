//! Each case of what comes after an attempt, and the settings that other tests share.

use std::sync::Arc;

use bytes::Bytes;
use millrace_channel::{LaneId, Position};
use millrace_event::ObjectName;
use millrace_filter::Compiled;
use millrace_model::{DeliveryPolicy, MissingSecret, NoSecret, NoTarget, Target, Trigger};

use super::*;

/// The wall clock was set back by an hour since the process began.
const NOW: Moment = Moment {
    wall: Timestamp(1_000),
    steady: Timestamp(3_601_000),
};

pub(crate) fn settings(retry: u32, sink: Option<Result<&str, ()>>) -> Settings {
    let http = |uri: &str| Target::http(uri.parse().expect("a uri"));
    let trigger = Trigger {
        name: ObjectName::new("shop", "ship"),
        uid: None,
        resume: false,
        broker: ObjectName::new("shop", "default"),
        filters: Vec::new(),
        compiled: Arc::new(Compiled::new(&[]).expect("no filter compiles")),
        subscriber: Ok(http("http://127.0.0.1:9001/ship")),
        subscriber_auth: None,
        dead_letter_auth: None,
        dead_letter: sink.map(|sink| sink.map(http).map_err(|()| NoTarget::NotNamed)),
        delivery: DeliveryPolicy {
            retry,
            ..DeliveryPolicy::default()
        },
        parallelism: 32,
        max_deferred: 10,
        max_parked: 10,
    };
    Settings::alone(trigger)
}

fn attempted(stage: Stage, attempt: u32) -> Attempted {
    let key = WorkKey {
        lane: LaneId(1),
        position: Position {
            partition: 0,
            offset: 7,
        },
        stage,
    };
    Attempted {
        attempt,
        ..Attempted::first(key)
    }
}

fn failure(verdict: Verdict) -> millrace_delivery::Failure {
    millrace_delivery::Failure {
        verdict,
        status: Some(503),
        reason: "503 Service Unavailable".to_owned(),
        body: Bytes::from_static(b"busy"),
        retry_after: None,
        is_about_event: false,
    }
}

#[test]
fn a_dead_letter_waits_for_a_sink_that_has_not_been_looked_up() {
    let mut settings = settings(0, Some(Err(())));
    let pending = MissingSecret {
        secret: ObjectName::new("shop", "dead"),
        key: "token".to_owned(),
        why: NoSecret::Pending,
    };
    settings.dead_letter = Some(Err(NoTarget::NoSecret(pending.clone())));
    assert!(settings.awaits_sink());
    let given_up = give_up(&settings, attempted(Stage::Subscriber, 0), "busy".to_owned(), NOW);
    let Next::Put(row) = given_up else {
        panic!("{given_up:?}")
    };
    assert_eq!((row.key.stage, row.attempt), (Stage::DeadLetter, 0));
    for (lasts, wait) in [(0, 500), (3_000, 3_000), (60_000, 10_000)] {
        let again = await_sink(attempted(Stage::DeadLetter, 2), Duration::from_millis(lasts), NOW);
        let Next::Put(row) = again else {
            panic!("{again:?}")
        };
        assert_eq!(
            (row.key.stage, row.attempt),
            (Stage::DeadLetter, 2),
            "no attempt is counted"
        );
        assert_eq!(row.due, NOW.steady.after(Duration::from_millis(wait)));
    }
    let why = NoSecret::NotFound;
    settings.dead_letter = Some(Err(NoTarget::NoSecret(MissingSecret { why, ..pending })));
    assert!(!settings.awaits_sink(), "it is known that there is none");
    let given_up = give_up(&settings, attempted(Stage::Subscriber, 0), "busy".to_owned(), NOW);
    assert!(matches!(given_up, Next::Park { .. }), "{given_up:?}");
}

#[test]
fn each_failure_has_one_next_step() {
    let sink = Some(Ok("http://127.0.0.1:9009/dead"));
    let cases = [
        (
            "a retry is left",
            Stage::Subscriber,
            0,
            1,
            Verdict::Again,
            sink,
            "put Subscriber 1",
        ),
        (
            "no retry is left",
            Stage::Subscriber,
            1,
            1,
            Verdict::Again,
            sink,
            "put DeadLetter 0",
        ),
        (
            "final at once",
            Stage::Subscriber,
            0,
            5,
            Verdict::Final,
            sink,
            "put DeadLetter 0",
        ),
        ("no sink", Stage::Subscriber, 1, 1, Verdict::Again, None, "park"),
        (
            "an unknown sink",
            Stage::Subscriber,
            0,
            0,
            Verdict::Again,
            Some(Err(())),
            "park",
        ),
        (
            "the sink is retried too",
            Stage::DeadLetter,
            0,
            1,
            Verdict::Again,
            sink,
            "put DeadLetter 1",
        ),
        (
            "the sink refuses for good",
            Stage::DeadLetter,
            0,
            1,
            Verdict::Final,
            sink,
            "park",
        ),
        (
            "a refused reply's sink is exhausted",
            Stage::Reply,
            1,
            1,
            Verdict::Again,
            sink,
            "park",
        ),
    ];
    for (name, stage, attempt, retry, verdict, sink, expected) in cases {
        let settings = settings(retry, sink);
        let next = after_failure(
            &settings,
            attempted(stage, attempt),
            &failure(verdict),
            "t",
            3,
            NOW,
            0.0,
        );
        let said = match next {
            Next::Done => "done".to_owned(),
            Next::Put(work) => format!("put {:?} {}", work.key.stage, work.attempt),
            Next::Park { .. } => "park".to_owned(),
        };
        assert_eq!(said, expected, "{name}");
    }
}

#[test]
fn a_row_waits_by_the_steady_clock_and_its_failure_is_told_by_the_wall_clock() {
    let settings = settings(3, None);
    let step = after_failure(
        &settings,
        attempted(Stage::Subscriber, 0),
        &failure(Verdict::Again),
        "t",
        3,
        NOW,
        0.0,
    );
    let Next::Put(row) = step else {
        panic!("a retry is left")
    };
    let wait = backoff::wait(&settings.trigger.delivery, 0, None, 0.0);
    assert_eq!((row.due, row.failures[0].at), (NOW.steady.after(wait), NOW.wall));
}

#[test]
fn the_failure_that_a_dead_letter_tells_is_never_forgotten() {
    let settings = settings(100, Some(Ok("http://127.0.0.1:9009/dead")));
    let mut next = attempted(Stage::Subscriber, 0);
    next.attempt = 100;
    let mut step = after_failure(&settings, next, &failure(Verdict::Again), "t", 0, NOW, 0.0);
    for _ in 0..50 {
        let Next::Put(work) = step else {
            panic!("retried 100 times")
        };
        let again = Attempted {
            key: work.key,
            attempt: work.attempt,
            crashes: 0,
            suspect: false,
            undecided: false,
            failures: work.failures,
            body: None,
        };
        step = after_failure(&settings, again, &failure(Verdict::Again), "t", 0, NOW, 0.0);
    }
    let Next::Put(work) = step else {
        panic!("retried 100 times")
    };
    assert_eq!(work.failures.len(), Work::KEPT_FAILURES);
    assert!(
        work.failures
            .iter()
            .any(|failure| failure.stage == Stage::Subscriber)
    );
}
