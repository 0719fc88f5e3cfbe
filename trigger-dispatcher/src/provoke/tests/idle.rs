//! A lane has tasks only while it has work, so that idle triggers are cheap.

use std::time::Duration;

use millrace_event::{Clock, Timestamp};

use super::world::{World, trigger};
use crate::DispatcherOptions;

const TRIGGERS: usize = 100;

/// The tasks of this test's runtime, which are all there are in it.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn a_lane_without_work_owns_no_task() {
    let folder = tempfile::tempdir().expect("a folder");
    let names: Vec<String> = (0..TRIGGERS).map(|nth| format!("t{nth}")).collect();
    let triggers = names.iter().map(|name| trigger(name, vec![])).collect();
    let options = DispatcherOptions {
        linger: Duration::from_millis(10),
        ..DispatcherOptions::default()
    };
    let clock = Clock::manual(Timestamp(1_000_000));
    let world = World::start_with(folder.path(), clock, triggers, options).await;
    let at_rest = tasks();
    assert!(
        at_rest < TRIGGERS / 2,
        "{at_rest} tasks for {TRIGGERS} idle lanes"
    );
    let held = world.taker.open.acquire_many(100).await.expect("never closed");
    world.append(&["a"]).await;
    world
        .until("every lane to have a task", async || {
            (tasks() >= at_rest + TRIGGERS).then_some(())
        })
        .await;
    drop(held);
    for name in &names {
        world.until_settled(name).await;
    }
    world
        .until("these tasks to end", async || (tasks() <= at_rest).then_some(()))
        .await;
    assert!(names.iter().all(|name| world.taken(name) == ["a"]));
}
