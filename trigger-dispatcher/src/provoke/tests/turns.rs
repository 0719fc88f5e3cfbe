//! Events that filters are asked about in turns: what they may hold up, and what ends the process with them.

use std::path::Path;

use millrace_channel::Parked;
use millrace_event::{Clock, Timestamp};
use millrace_filter::Filter;
use millrace_model::Trigger;

use super::world::*;
use crate::watched::Task;

/// The filters of another trigger.
fn other() -> Vec<Filter> {
    vec![Filter::Exact(vec![("id".to_owned(), "other".to_owned())])]
}

/// One life of a process that ends as if killed while a task looks at the event `killer`. Returns what is
/// parked once the killer has been given up.
fn live_until_the_killer(folder: &Path, clock: &Clock, first: bool) -> Option<Vec<Parked>> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let triggers = vec![
        trigger("asks", vec![Filter::JsonPath("$..name".to_owned())]),
        trigger("other", other()),
    ];
    let (held, parked) = runtime.block_on(async {
        let world = World::start_in(folder, clock.clone(), triggers).await;
        let task = if first { Task::Router } else { Task::Worker };
        let held = world.provoked.hold(task, "killer", 0);
        if first {
            let killer = vec![heavy("killer"), event("other")];
            world.append_all(killer).await;
        }
        let end = world
            .until("the killer to be looked at, or given up on", async || {
                let reached = held.reached.try_recv().is_ok();
                let parked = world.parked().await;
                (reached || !parked.is_empty()).then_some(parked)
            })
            .await;
        (held, end)
    });
    runtime.shutdown_background();
    drop(held);
    (!parked.is_empty()).then_some(parked)
}

#[test]
fn an_event_whose_routing_ends_the_process_is_given_up_on_by_those_who_ask_about_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::manual(Timestamp(1_000_000));
    let lives = (0..10).find_map(|life| {
        let parked = live_until_the_killer(folder.path(), &clock, life == 0)?;
        Some((life, parked))
    });
    let (lives, parked) = lives.expect("it is given up on");
    assert!(lives >= 5, "{lives} ends are no proof");
    assert_eq!(parked.len(), 1, "by the lane alone whose filter was asked");
    assert_eq!(parked[0].trigger, name("asks"));
    let reason = &parked[0].reason;
    assert!(
        reason.contains("while the filters of this trigger were asked"),
        "{reason}"
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let triggers = vec![
            trigger("asks", vec![Filter::JsonPath("$..name".to_owned())]),
            trigger("other", other()),
        ];
        let world = World::start_in(folder.path(), clock.clone(), triggers).await;
        world.until_settled("asks").await;
        world.until_settled("other").await;
        assert_eq!(world.taken("asks"), Vec::<String>::new());
    });
}

/// Two triggers: one that asks for this path, and one that takes everything.
fn asking(path: &str) -> Vec<Trigger> {
    let asks = vec![Filter::JsonPath(path.to_owned())];
    vec![trigger("asks", asks), trigger("all", vec![])]
}

#[tokio::test]
async fn nothing_is_lost_by_a_stop_while_an_event_is_asked_about_in_turns() {
    // Several times: whether the fault showed depended on the order in which two things were looked at.
    for _ in 0..5 {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(Timestamp(1_000_000));
        let world = World::start_in(folder.path(), clock.clone(), asking("$..name")).await;
        world.append(&["before"]).await;
        world.until_settled("all").await;
        let held = world.provoked.hold(Task::Router, "heavy", 1);
        world.append_all(vec![heavy("heavy")]).await;
        world.until_reached(&held).await;
        world.append(&["a", "b", "c"]).await;
        let taken = world.taker.clone();
        world.stop().await;
        let before = taken.taken.lock().get(&name("all")).cloned();
        assert_eq!(before, Some(all_of(&["before"])), "what follows keeps its order");
        drop(held);
        let world = World::start_in(folder.path(), clock, asking("$..name")).await;
        world.until_settled("all").await;
        world.until_settled("asks").await;
        assert_eq!(world.taken("all"), all_of(&["heavy", "a", "b", "c"]));
        assert_eq!(world.taken("asks"), ["heavy"]);
    }
}

#[tokio::test]
async fn changes_of_filters_do_not_wait_for_an_event_that_is_asked_about_in_turns() {
    let world = World::start(asking("$..name")).await;
    let first = world.provoked.hold(Task::Router, "heavy", 1);
    world.append_all(vec![heavy("heavy")]).await;
    world.until_reached(&first).await;
    world.apply(asking("$..other")).await;
    let second = world.provoked.hold(Task::Router, "heavy", 0);
    first.until.send(()).expect("it stands still");
    world.until_reached(&second).await;
    world.apply(asking("$..name")).await;
    second.until.send(()).expect("it stands still");
    world.append(&["after"]).await;
    world.until_settled("asks").await;
    world.until_settled("all").await;
    assert_eq!(world.taken("asks"), ["heavy"], "by the filter that counts now");
    assert_eq!(world.taken("all"), ["after", "heavy"]);
}

#[tokio::test]
async fn a_change_elsewhere_makes_no_event_be_asked_about_again() {
    let world = World::start(asking("$..name")).await;
    let first = world.provoked.hold(Task::Router, "heavy", 1);
    world.append_all(vec![heavy("heavy")]).await;
    world.until_reached(&first).await;
    let mut triggers = asking("$..name");
    triggers[1].max_parked = 7;
    world.apply(triggers).await;
    let second = world.provoked.hold(Task::Router, "heavy", 0);
    first.until.send(()).expect("it stands still");
    world.until_settled("asks").await;
    assert_eq!(world.taken("asks"), ["heavy"]);
    assert!(second.reached.try_recv().is_err(), "it was asked about once");
}

#[tokio::test]
async fn what_an_allowance_sufficed_for_counts_once_when_the_rest_is_asked_in_turns() {
    let mut triggers = asking("$..name");
    triggers.push(trigger("cheap", vec![Filter::Cesql("LENGTH(id) > 0".to_owned())]));
    let world = World::start(triggers).await;
    world.append(&["light"]).await;
    world.append_all(vec![heavy("heavy")]).await;
    world.append(&["after"]).await;
    for name in ["asks", "all", "cheap"] {
        world.until_settled(name).await;
    }
    assert_eq!(world.taken("asks"), ["heavy"]);
    assert_eq!(world.taken("all"), ["after", "heavy", "light"]);
    assert_eq!(world.taken("cheap"), ["after", "heavy", "light"]);
}
