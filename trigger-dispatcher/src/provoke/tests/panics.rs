//! A task that panics begins again, and an event that provokes it each time is given up.

use millrace_channel::LaneState;
use millrace_event::Event;
use millrace_filter::Filter;
use millrace_model::TriggerState;

use super::world::*;
use crate::watched::Task;

const IDS: [&str; 5] = ["a", "b", "bad", "c", "d"];

#[tokio::test]
async fn an_attempt_that_panics_once_is_made_again_and_counted_once() {
    let world = World::start(vec![trigger("t", vec![])]).await;
    world.provoked.panic(Task::Worker, Some("bad"), 2);
    world.append(&IDS).await;
    world.until_panicked().await;
    world.until_settled("t").await;
    assert_eq!(world.taken("t"), all_of(&IDS));
    assert_eq!(world.parked().await, Vec::new());
    assert_eq!(world.status("t").delivered, 5);
}

#[tokio::test]
async fn an_event_whose_attempts_panic_five_times_is_given_up_on() {
    let world = World::start(vec![trigger("t", vec![])]).await;
    world.provoked.panic(Task::Worker, Some("bad"), 5);
    world.append(&IDS).await;
    world.until_panicked().await;
    world.until_settled("t").await;
    let parked = world
        .until("it to be parked", async || {
            Some(world.parked().await).filter(|parked| !parked.is_empty())
        })
        .await;
    assert_eq!(parked.len(), 1);
    assert!(
        parked[0].reason.contains("a task of it panicked"),
        "{}",
        parked[0].reason
    );
    let told = &parked[0].failures[0].reason;
    assert!(
        told.contains("provoke.rs:") && !told.contains("provoked in"),
        "{told}"
    );
    assert_eq!(world.taken("t"), all_of(&["a", "b", "c", "d"]));
}

#[tokio::test]
async fn an_event_whose_filters_panic_is_decided_by_each_lane_for_itself() {
    let asks = |text: &str| vec![Filter::Cesql(text.to_owned())];
    let triggers = vec![
        trigger("wants", asks("LENGTH(id) > 0")),
        trigger("wants-not", asks("LENGTH(id) > 50")),
        trigger(
            "cheap",
            vec![Filter::Exact(vec![("id".to_owned(), "bad".to_owned())])],
        ),
    ];
    let world = World::start(triggers).await;
    world.provoked.panic(Task::Router, Some("bad"), 1);
    world.append(&IDS).await;
    world.until_panicked().await;
    for trigger in ["wants", "wants-not", "cheap"] {
        world.until_settled(trigger).await;
    }
    assert_eq!(world.taken("wants"), all_of(&IDS));
    assert_eq!(world.taken("wants-not"), Vec::<String>::new());
    assert_eq!(world.taken("cheap"), ["bad"]);
}

#[tokio::test]
async fn each_task_begins_again_and_nothing_is_lost() {
    for task in [Task::Router, Task::Progress, Task::Worker] {
        let world = World::start(vec![trigger("t", vec![])]).await;
        world.provoked.panic(task, None, 2);
        world.append(&IDS).await;
        world.until_panicked().await;
        world.append(&["later"]).await;
        world.until_settled("t").await;
        assert_eq!(
            world.taken("t"),
            all_of(&[&IDS[..], &["later"]].concat()),
            "{task}"
        );
        assert_eq!(world.status("t").delivered, 6, "{task}");
    }
}

#[tokio::test]
async fn rows_that_are_due_are_fetched_after_a_panic() {
    let world = World::start(vec![trigger("t", vec![])]).await;
    *world.taker.refuses.lock() = 1;
    world.provoked.panic(Task::Due, None, 2);
    world.append(&["a"]).await;
    world.until_panicked().await;
    world.until_settled("t").await;
    assert_eq!(world.taken("t"), ["a"]);
}

#[tokio::test]
async fn a_lane_that_fell_behind_is_fed_after_a_panic() {
    let world = World::start(vec![trigger("t", vec![])]).await;
    let closed = world
        .taker
        .open
        .acquire_many(100)
        .await
        .expect("it is never closed");
    let ids: Vec<String> = (0..1_500).map(|n| format!("{n:04}")).collect();
    let events: Vec<Event> = ids.iter().map(|id| event(id)).collect();
    for events in events.chunks(100) {
        world.append_all(events.to_vec()).await;
    }
    world
        .until("the lane to fall behind", async || {
            (world.status("t").state == TriggerState::Behind).then_some(())
        })
        .await;
    world.provoked.panic(Task::CatchUp, None, 2);
    drop(closed);
    world.until_panicked().await;
    world.until_settled("t").await;
    assert_eq!(world.taken("t"), ids);
}

#[tokio::test]
async fn a_command_is_carried_out_after_a_panic() {
    let world = World::start(vec![trigger("t", vec![])]).await;
    let lanes = world.channel.lanes().await.expect("they are listed");
    world.provoked.panic(Task::Commands, None, 2);
    let paused = world.channel.set_lane_state(lanes[0].id, LaneState::Paused).await;
    paused.expect("it is stored");
    world.until_panicked().await;
    world
        .until("the pause", async || {
            (world.status("t").state == TriggerState::Paused).then_some(())
        })
        .await;
}

#[tokio::test]
async fn an_event_that_some_lanes_were_given_before_a_panic_is_given_to_each_once() {
    let names = ["one", "two", "three"];
    let world = World::start(names.map(|name| trigger(name, vec![])).into()).await;
    // Where the filters are asked, and after the event was given to the first lane.
    world.provoked.panic(Task::Router, Some("bad"), 2);
    world.append(&IDS).await;
    world.until_panicked().await;
    for name in names {
        world.until_settled(name).await;
        assert_eq!(world.taken(name), all_of(&IDS), "{name}");
        assert_eq!(world.status(name).delivered, 5, "{name}");
    }
    let counted = (world.counts.routed.get(), world.counts.matched.get());
    assert_eq!(counted, (5, 15), "each event and each match once");
}

#[tokio::test]
async fn rows_of_no_lane_are_lost_by_a_panic_between_two_lanes() {
    let names = ["one", "two", "three"];
    let world = World::start(names.map(|name| trigger(name, vec![])).into()).await;
    *world.taker.refuses.lock() = 3;
    world.provoked.panic(Task::Progress, None, 2);
    world.append(&["a"]).await;
    world.until_panicked().await;
    for name in names {
        world.until_settled(name).await;
        assert_eq!(world.taken(name), ["a"], "{name}");
    }
}
