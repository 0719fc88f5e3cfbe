//! Memory for events in flight that comes back at the wrong moment.

use std::sync::Arc;

use millrace_budget::{Ledger, Use as _};
use millrace_channel::LaneState;
use millrace_event::{Clock, Timestamp};
use millrace_filter::Filter;
use millrace_model::{DeliveryPolicy, Shortage, Target, Trigger, TriggerState};

use super::world::*;
use crate::DispatcherOptions;
use crate::lane::bytes_of;
use crate::watched::Task;

/// What an attempt with this event takes.
fn in_flight_of(id: &str) -> usize {
    bytes_of(&event(id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_that_is_given_back_just_before_a_lane_stands_in_line_for_it_is_found() {
    // Both events are as large. Somebody else has half of the memory.
    let bytes = in_flight_of("1");
    let in_flight = Arc::new(Ledger::new(2 * bytes));
    in_flight.take_anyway(bytes);
    let folder = tempfile::tempdir().expect("a folder");
    let options = DispatcherOptions {
        in_flight: in_flight.clone(),
        ..DispatcherOptions::default()
    };
    let clock = Clock::manual(Timestamp(1_000_000));
    // One worker has the first event in hand, and the other one is the only one that looks for the second.
    let trigger = Trigger {
        parallelism: 2,
        ..trigger("t", vec![])
    };
    let world = World::start_with(folder.path(), clock, vec![trigger], options).await;
    let closed = world.taker.open.acquire_many(100).await;
    let closed = closed.expect("it is never closed");
    let held = world.provoked.hold(Task::Worker, "2", 0);
    world.append(&["1", "2"]).await;
    world.until_reached(&held).await;
    in_flight.give_back(bytes);
    held.until.send(()).expect("a worker stands still");
    world
        .until("the second attempt to begin", async || {
            (in_flight.used() == 2 * bytes).then_some(())
        })
        .await;
    drop(closed);
    world.until_settled("t").await;
    assert_eq!(world.taken("t"), ["1", "2"]);
    assert_eq!(in_flight.used(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_that_a_paused_trigger_waited_for_goes_to_the_next_one() {
    let large = "large".repeat(20);
    let asks = |ids: &str| vec![Filter::Cesql(format!("id IN ({ids})"))];
    let closed_target = Target::http("http://127.0.0.1:9/".parse().expect("a URL"));
    let triggers = vec![
        trigger("paused", asks("'1', '2'")),
        // It has more in flight, so it comes after the paused one.
        trigger("next", asks(&format!("'{large}', '2'"))),
        // Its only attempt fails at once, and its end looks for one lane to wake.
        Trigger {
            subscriber: Ok(closed_target),
            delivery: DeliveryPolicy {
                retry: 0,
                ..DeliveryPolicy::default()
            },
            ..trigger("ends", asks("'end'"))
        },
    ];
    let (small, large_bytes) = (in_flight_of("1"), in_flight_of(&large));
    let in_flight = Arc::new(Ledger::new(2 * small + large_bytes));
    // Somebody else has the room for one more attempt.
    in_flight.take_anyway(small);
    let options = DispatcherOptions {
        in_flight: in_flight.clone(),
        ..DispatcherOptions::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::manual(Timestamp(1_000_000));
    let world = World::start_with(folder.path(), clock, triggers, options).await;
    let closed = world.taker.open.acquire_many(100).await;
    let closed = closed.expect("it is never closed");
    world.append(&["1", &large]).await;
    let full = 2 * small + large_bytes;
    world
        .until("the memory to be full", async || {
            (in_flight.used() == full).then_some(())
        })
        .await;
    world.append(&["2"]).await;
    world
        .until("both triggers to wait for memory", async || {
            let waits = |name| world.status(name).shortage == Some(Shortage::Budget);
            (waits("paused") && waits("next")).then_some(())
        })
        .await;
    let lanes = world.channel.lanes().await.expect("they are listed");
    let paused = lanes.iter().find(|lane| lane.trigger == name("paused"));
    let paused = paused.expect("the lane").id;
    let set = world.channel.set_lane_state(paused, LaneState::Paused).await;
    set.expect("it is stored");
    world
        .until("the pause", async || {
            (world.status("paused").state == TriggerState::Paused).then_some(())
        })
        .await;
    in_flight.give_back(small);
    world.append(&["end"]).await;
    world
        .until("the next one to have its second attempt", async || {
            (in_flight.used() == full && world.status("next").shortage.is_none()).then_some(())
        })
        .await;
    drop(closed);
    world.until_settled("next").await;
    assert_eq!(world.taken("next"), all_of(&[&large, "2"]));
}
