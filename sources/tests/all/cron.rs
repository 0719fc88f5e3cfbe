//! What a CronSource promises, on a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{self};
use crate::support::{Broker, Process, Script, Store, clock, minutely, pass, settle, source, spec};
use millrace_event::{Clock, Refusal};
use millrace_model::SourceState;
use millrace_model::source::{CatchUp, Schedule};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const START: &str = "2026-06-01T10:00:30Z";

fn full() -> Script {
    Script::Refuse(Refusal::Full {
        code: "disk-full",
        reason: "no room".to_owned(),
        retry_after: Duration::from_secs(1),
    })
}

fn parts() -> (Arc<Broker>, Arc<Store>, Clock) {
    (Arc::default(), Arc::default(), clock(START))
}

/// The ids of `count` ticks each minute from 10:01.
fn minutes(range: std::ops::Range<u32>) -> Vec<String> {
    range
        .map(|minute| format!("2026-06-01T{:02}:{:02}:00Z", 10 + minute / 60, minute % 60))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_tick_is_an_event_as_knatives_ping_with_the_scheduled_instant_in_time_and_id() {
    let (broker, store, clock) = parts();
    let process = minutely(CatchUp::Last, &broker, &store, &clock);
    settle().await;
    assert_eq!(process.status("tick").state, SourceState::Ready);
    assert!(
        broker.ids().is_empty(),
        "nothing is due, and the first start makes nothing up"
    );
    pass(&clock, 3 * MINUTE).await;
    assert_eq!(broker.ids(), minutes(1..4));
    let event = broker.taken.lock()[0].clone();
    let get = |name: &str| event.get(name).map(|value| value.text.to_owned());
    assert_eq!(event.ty(), "dev.knative.sources.ping");
    assert_eq!(event.source(), "/apis/v1/namespaces/shop/cronsources/tick");
    assert_eq!(get("time").as_deref(), Some("2026-06-01T10:01:00Z"));
    assert_eq!(get("datacontenttype").as_deref(), Some("application/json"));
    assert_eq!(event.data().as_deref(), Some(br#"{"job":"tidy"}"#.as_slice()));
    let status = process.status("tick");
    assert_eq!((status.events, status.last_event.is_some()), (3, true));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_while_down_is_made_up_as_the_document_says() {
    for (catch_up, expected) in [
        (CatchUp::None, vec![]),
        (CatchUp::Last, minutes(62..63)),
        (CatchUp::All, minutes(3..63)),
    ] {
        for clean in [true, false] {
            let (broker, store, clock) = parts();
            let start = || minutely(catch_up, &broker, &store, &clock);
            let process = start();
            pass(&clock, 2 * MINUTE).await;
            if clean {
                process.stop().await
            } else {
                process.kill().await
            }
            clock.advance(HOUR);
            broker.taken.lock().clear();
            let process = start();
            settle().await;
            assert_eq!(broker.ids(), expected, "{catch_up:?}, stopped cleanly: {clean}");
            process.stop().await;
            let process = start();
            pass(&clock, MINUTE).await;
            assert_eq!(
                broker.ids(),
                [expected.clone(), minutes(63..64)].concat(),
                "made up once"
            );
            process.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_or_too_much_is_not_made_up() {
    let (broker, store, clock) = parts();
    let mut limited = spec("* * * * *", CatchUp::All);
    limited.catch_up_max_age = 10 * MINUTE;
    let sources = || {
        [
            source("limited", limited.clone()),
            source("many", spec("* * * * * *", CatchUp::All)),
        ]
    };
    Process::start(sources(), &broker, &store, &clock).stop().await;
    let process = Process::start(sources(), &broker, &store, &clock);
    settle().await;
    process.stop().await;
    clock.advance(HOUR);
    let process = Process::start(sources(), &broker, &store, &clock);
    settle().await;
    let count = |name: &str| {
        let taken = broker.taken.lock();
        taken
            .iter()
            .filter(|event| event.source().ends_with(name))
            .count()
    };
    assert_eq!((count("limited"), count("many")), (10, 1_000));
    assert_eq!(
        broker.ids().last().map(String::as_str),
        Some("2026-06-01T11:00:30Z")
    );
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_sink_takes_nothing_no_tick_is_lost_and_their_order_stays() {
    let (broker, store, clock) = parts();
    broker.refuse((0..40).map(|_| full()));
    let process = minutely(CatchUp::None, &broker, &store, &clock);
    pass(&clock, HOUR).await;
    assert!(process.status("tick").last_error.is_some());
    tokio::time::sleep(HOUR).await;
    assert_eq!(broker.ids(), minutes(1..61));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_the_sink_refuses_for_good_does_not_hold_up_the_next() {
    let (broker, store, clock) = parts();
    broker.refuse([Script::Refuse(Refusal::TooLarge("too large".to_owned()))]);
    let process = minutely(CatchUp::Last, &broker, &store, &clock);
    pass(&clock, 2 * MINUTE).await;
    assert_eq!(broker.ids(), minutes(2..3));
    assert_eq!(
        process.status("tick").last_error.map(|error| error.1).as_deref(),
        Some("too large")
    );
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_instances_on_one_checkpoint_send_each_tick_once() {
    let (broker, store, clock) = parts();
    let start = || minutely(CatchUp::All, &broker, &store, &clock);
    let (one, other) = (start(), start());
    settle().await;
    for _ in 0..30 {
        pass(&clock, MINUTE).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(broker.ids(), minutes(1..31));
    one.stop().await;
    pass(&clock, 5 * MINUTE).await;
    assert_eq!(broker.ids(), minutes(1..36), "one alone goes on");
    other.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_tick_whose_sender_died_is_taken_over_with_the_same_id_and_one_that_is_slow_is_not() {
    let (broker, store, clock) = parts();
    let start = || minutely(CatchUp::All, &broker, &store, &clock);
    let one = start();
    settle().await;
    broker.refuse([Script::Hang]);
    pass(&clock, MINUTE).await;
    assert_eq!(*broker.offers.lock(), 1, "the first is at it");
    let other = start();
    tokio::time::sleep(HOUR).await;
    assert_eq!(
        *broker.offers.lock(),
        1,
        "and is left to it, however long it takes"
    );
    one.kill().await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(broker.ids(), minutes(1..2));
    assert_eq!(*broker.offers.lock(), 2);
    other.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_sends_nothing_twice() {
    let (broker, store, clock) = parts();
    let process = minutely(CatchUp::Last, &broker, &store, &clock);
    pass(&clock, 2 * MINUTE).await;
    clock.advance(HOUR);
    settle().await;
    assert_eq!(
        broker.ids(),
        [minutes(1..3), minutes(62..63)].concat(),
        "what it leapt over was missed"
    );
    process.stop().await;

    // The machine's clock is right again at the next start.
    let clock = support::clock("2026-06-01T10:10:30Z");
    let process = minutely(CatchUp::Last, &broker, &store, &clock);
    pass(&clock, 30 * MINUTE).await;
    assert_eq!(broker.ids().len(), 3);
    let reason = process.status("tick").reason.unwrap_or_default();
    assert!(reason.contains("the clock was set back"), "{reason}");
    pass(&clock, 23 * MINUTE).await;
    assert_eq!(broker.ids().last(), minutes(63..64).last());
    assert_eq!((broker.ids().len(), process.status("tick").reason), (4, None));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_edited_schedule_goes_on_from_where_it_was_without_a_storm() {
    let (broker, store, clock) = parts();
    let yearly = || source("tick", spec("@yearly", CatchUp::All));
    let often = || source("tick", spec("* * * * *", CatchUp::All));
    let process = Process::start([yearly()], &broker, &store, &clock);
    pass(&clock, 10 * MINUTE).await;
    process.reload([often()]);
    settle().await;
    assert_eq!(
        broker.ids(),
        Vec::<String>::new(),
        "what was before the change is not made up"
    );
    pass(&clock, MINUTE).await;
    assert_eq!(broker.ids(), minutes(11..12));
    process.reload([yearly()]);
    settle().await;
    process.kill().await;
    // Edited while it is down: the last one at most.
    clock.advance(HOUR);
    let process = Process::start([often()], &broker, &store, &clock);
    settle().await;
    assert_eq!(broker.ids(), [minutes(11..12), minutes(71..72)].concat());
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn jitter_moves_the_sending_and_not_the_time_of_the_event() {
    let (broker, store, clock) = parts();
    let mut jittery = spec("0 * * * *", CatchUp::None);
    jittery.jitter = 30 * MINUTE;
    let process = Process::start([source("tick", jittery)], &broker, &store, &clock);
    pass(&clock, HOUR + 29 * MINUTE).await;
    assert_eq!(broker.ids(), ["2026-06-01T11:00:00Z"]);
    let last = process
        .status("tick")
        .last_event
        .map(|time| time.since(support::instant("2026-06-01T11:00:00Z")));
    assert!(
        last.is_some_and(|late| late > Duration::ZERO && late < 30 * MINUTE),
        "{last:?}"
    );
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_hour_that_comes_twice_in_autumn_is_two_hours_for_what_goes_by_the_clock() {
    let (broker, store) = (Arc::<Broker>::default(), Arc::<Store>::default());
    let clock = clock("2026-10-24T23:30:00Z");
    let mut berlin = spec("@daily", CatchUp::Last);
    berlin.schedule = Schedule::parse("30 * * * *", "Europe/Berlin").expect("a schedule");
    let mut daily = spec("@daily", CatchUp::Last);
    daily.schedule = Schedule::parse("30 2 * * *", "Europe/Berlin").expect("a schedule");
    let process = Process::start(
        [source("hourly", berlin), source("daily", daily)],
        &broker,
        &store,
        &clock,
    );
    settle().await;
    pass(&clock, 3 * HOUR).await;
    let of = |name: &str| -> Vec<String> {
        let taken = broker.taken.lock();
        let of = taken.iter().filter(|event| event.source().ends_with(name));
        of.map(|event| event.id().to_owned()).collect()
    };
    assert_eq!(
        of("hourly"),
        [
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T02:30:00Z"
        ]
    );
    assert_eq!(of("daily"), ["2026-10-25T00:30:00Z"]);
    process.stop().await;
}
