//! What a CronSource does when the clock is set, in either direction, by hours and by years.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Broker, Process, Script, Store, clock, instant, minutely, pass, settle};
use millrace_event::{Clock, Refusal};
use millrace_model::source::CatchUp;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A source with a tick a minute that has sent those of 10:01 and 10:02.
struct Minutely {
    broker: Arc<Broker>,
    store: Arc<Store>,
    clock: Clock,
    process: Process,
}

impl Minutely {
    async fn start(catch_up: CatchUp) -> Self {
        let (broker, store) = (Arc::<Broker>::default(), Arc::<Store>::default());
        let clock = clock("2026-06-01T10:00:30Z");
        let process = minutely(catch_up, &broker, &store, &clock);
        let this = Self {
            broker,
            store,
            clock,
            process,
        };
        pass(&this.clock, 2 * MINUTE).await;
        assert_eq!(this.ids(), ["10:01", "10:02"]);
        this
    }

    /// Sets the clock by `forward`, then by `back` the other way.
    async fn set(&self, forward: Duration, back: Duration) {
        self.clock.set(self.clock.now().after(forward).before(back));
        settle().await;
    }

    async fn pass(&self, time: Duration) {
        pass(&self.clock, time).await;
    }

    /// The hour and minute of each tick that was sent.
    fn ids(&self) -> Vec<String> {
        self.broker.ids().iter().map(|id| id[11..16].to_owned()).collect()
    }

    fn reason(&self) -> String {
        self.process.status("tick").reason.unwrap_or_default()
    }
}

#[tokio::test(start_paused = true)]
async fn set_back_by_hours_and_right_again_it_sends_nothing_twice_and_goes_on_at_once() {
    for catch_up in [CatchUp::None, CatchUp::Last, CatchUp::All] {
        let cron = Minutely::start(catch_up).await;
        cron.set(Duration::ZERO, 2 * HOUR).await;
        assert!(
            cron.reason()
                .contains("the clock was set back, and ticks up to 2026-06-01T10:02:00Z were sent")
        );
        cron.pass(75 * SECOND).await;
        assert_eq!(cron.ids(), ["10:01", "10:02"], "it waits");
        assert!(!cron.reason().is_empty());
        cron.set(2 * HOUR, Duration::ZERO).await;
        assert_eq!(cron.ids(), ["10:01", "10:02", "10:03"], "{catch_up:?}: at once");
        assert_eq!(cron.reason(), "");
        cron.pass(MINUTE).await;
        assert_eq!(cron.ids(), ["10:01", "10:02", "10:03", "10:04"]);
        cron.process.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn set_back_by_up_to_three_hours_it_waits_until_it_is_as_late_again() {
    let cron = Minutely::start(CatchUp::All).await;
    cron.set(Duration::ZERO, 3 * HOUR).await;
    cron.pass(3 * HOUR).await;
    assert_eq!((cron.ids().len(), cron.reason()), (2, String::new()));
    cron.pass(MINUTE).await;
    assert_eq!(cron.ids(), ["10:01", "10:02", "10:03"]);
    cron.process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn set_back_by_more_it_goes_on_from_the_new_time() {
    for back in [4 * HOUR, 24 * HOUR, 50 * YEAR] {
        let cron = Minutely::start(CatchUp::All).await;
        cron.set(Duration::ZERO, back).await;
        assert_eq!(cron.reason(), "", "{back:?}");
        cron.pass(3 * MINUTE).await;
        assert_eq!(cron.ids().len(), 2 + 3, "{back:?}");
        // Put right: ticks sent before are not sent again.
        cron.set(back, Duration::ZERO).await;
        cron.pass(MINUTE).await;
        assert_eq!(cron.ids()[5..], ["10:03", "10:04", "10:05", "10:06"], "{back:?}");
        cron.process.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn set_forward_the_times_between_are_missed_and_made_up_as_the_document_says() {
    for forward in [HOUR, 2 * YEAR] {
        for (catch_up, most) in [(CatchUp::None, 0), (CatchUp::Last, 1), (CatchUp::All, 1_000)] {
            let cron = Minutely::start(catch_up).await;
            cron.set(forward, Duration::ZERO).await;
            let between = usize::try_from(forward.as_secs() / 60).unwrap();
            assert_eq!(cron.ids().len(), 2 + between.min(most), "{catch_up:?}");
            let sent = cron.ids().len();
            // Put right, it continues at once, unless all times between were sent.
            cron.set(Duration::ZERO, forward).await;
            cron.pass(2 * MINUTE).await;
            let goes_on = if between > most { 2 } else { 0 };
            assert_eq!(cron.ids().len(), sent + goes_on, "{catch_up:?} {forward:?}");
            assert_eq!(cron.reason().is_empty(), goes_on > 0);
            cron.process.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leap_of_two_hours_that_is_undone_costs_no_tick_and_sends_none_twice() {
    for catch_up in [CatchUp::None, CatchUp::Last] {
        let cron = Minutely::start(catch_up).await;
        cron.set(2 * HOUR, Duration::ZERO).await;
        cron.pass(75 * SECOND).await;
        assert_eq!(cron.ids().last().map(String::as_str), Some("12:03"));
        cron.set(Duration::ZERO, 2 * HOUR).await;
        assert_eq!(cron.ids().last().map(String::as_str), Some("10:03"), "at once");
        assert_eq!(cron.reason(), "");
        cron.pass(3 * HOUR).await;
        let mut ids = cron.ids();
        let sent = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), sent, "none twice");
        // Each from 10:01 to 13:03.
        assert_eq!(sent, 183, "{catch_up:?}");
        cron.process.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_back_and_right_again_but_for_a_minute_sends_nothing_twice() {
    for catch_up in [CatchUp::None, CatchUp::Last, CatchUp::All] {
        for leap in [Duration::ZERO, 70 * YEAR] {
            let cron = Minutely::start(catch_up).await;
            cron.set(leap, Duration::ZERO).await;
            cron.set(Duration::ZERO, leap).await;
            let before = cron.ids().len();
            cron.set(Duration::ZERO, 24 * HOUR).await;
            cron.set(24 * HOUR, MINUTE).await;
            cron.pass(MINUTE).await;
            assert_eq!(cron.ids().len(), before, "{catch_up:?} {leap:?}");
            cron.pass(MINUTE).await;
            assert_eq!(cron.ids()[before..], ["10:03"], "{catch_up:?} {leap:?}");
            cron.process.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_last_tick_that_is_stored_in_the_future_frees_itself() {
    let cron = Minutely::start(CatchUp::Last).await;
    let Minutely {
        broker,
        store,
        clock,
        process,
    } = cron;
    clock.set(instant("2099-01-01T00:00:30Z"));
    pass(&clock, MINUTE).await;
    process.stop().await;
    let sent = broker.ids().len();
    assert!(broker.ids()[2..].iter().all(|id| id.starts_with("2099-01-01")));
    let clock = self::clock("2026-06-01T10:04:30Z");
    let process = minutely(CatchUp::Last, &broker, &store, &clock);
    settle().await;
    assert_eq!(process.status("tick").reason, None);
    pass(&clock, MINUTE).await;
    assert_eq!(broker.ids()[sent..], ["2026-06-01T10:05:00Z"]);
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_leaps_years_while_the_sink_takes_nothing_makes_no_storm() {
    let cron = Minutely::start(CatchUp::All).await;
    let full = Refusal::Full {
        code: "disk-full",
        reason: "no room".to_owned(),
        retry_after: SECOND,
    };
    cron.broker.refuse((0..40).map(|_| Script::Refuse(full.clone())));
    cron.pass(MINUTE).await;
    cron.set(YEAR, Duration::ZERO).await;
    assert_eq!(cron.ids().len(), 2, "it waits with the tick in hand");
    tokio::time::sleep(HOUR).await;
    assert_eq!(
        cron.ids().len(),
        2 + 1 + 1_000,
        "the one in hand, and what is made up"
    );
    cron.process.stop().await;
}
