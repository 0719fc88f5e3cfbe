//! Memory for events in flight that comes back at the wrong moment.

use std::sync::Arc;

use millrace_budget::{Ledger, Use as _};
use millrace_event::{Clock, Timestamp};
use millrace_model::Trigger;

use super::world::*;
use crate::DispatcherOptions;
use crate::watched::Task;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_that_is_given_back_just_before_a_lane_stands_in_line_for_it_is_found() {
    // Both events are as large. Somebody else has half of the memory.
    let bytes = event("1").stored().len();
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
