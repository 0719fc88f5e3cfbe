//! A trigger that a cluster deletes and makes anew between two meshes has the same name, and is another one.

use std::sync::Arc;

use millrace_channel::LaneState;
use millrace_model::Trigger;

use super::world::{World, by_name, trigger};

fn with_uid(uid: &str) -> Trigger {
    Trigger {
        uid: Some(uid.to_owned()),
        ..trigger("a", vec![])
    }
}

#[tokio::test]
async fn a_trigger_made_anew_under_the_same_name_gets_a_lane_of_its_own() {
    let world = World::start(vec![with_uid("first")]).await;
    world.append(&["before"]).await;
    world.until_settled("a").await;
    world.desired.send_modify(|mesh| {
        let mut next = mesh.as_ref().clone();
        next.triggers = by_name(vec![with_uid("second")]);
        next.revision += 1;
        *mesh = Arc::new(next);
    });
    let revision = world.desired.borrow().revision;
    let mut applied = world.applied.clone();
    applied
        .wait_for(|applied| applied.has_all_of(revision))
        .await
        .expect("it is applied");
    let lanes = world.channel.lanes().await.expect("they are read");
    let mut found: Vec<(&str, bool)> = lanes
        .iter()
        .map(|lane| (lane.uid.as_str(), lane.state == LaneState::Active))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [("first", false), ("second", true)]);
    world.append(&["after"]).await;
    world.until_settled("a").await;
    assert_eq!(world.taken("a"), ["after", "before"], "each once");
    world.stop().await;
}
