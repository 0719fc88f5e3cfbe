//! A partition is served while this process owns it: what is lost is left as it was stored, and what is
//! gained is taken up from there.

use std::sync::Arc;

use millrace_channel::Channel;

use super::world::{World, name, trigger};

#[tokio::test]
async fn a_lost_partition_is_left_as_it_was_stored_and_taken_up_when_it_is_gained_again() {
    let world = World::start(vec![trigger("a", vec![])]).await;
    world.append(&["before"]).await;
    world.until_settled("a").await;
    let stored = world.channel.router().await.expect("it is stored");

    let lost: Arc<dyn Channel> = world.owned.lose(&name("default"), 0).expect("it was owned");
    world
        .until("nothing to be served", async || {
            world.board.brokers().is_empty().then_some(())
        })
        .await;
    world.append(&["meanwhile"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(world.taken("a"), ["before"]);
    assert_eq!(world.channel.router().await.expect("it is stored"), stored);

    world.owned.gain([(name("default"), lost)]);
    world
        .until("the rest", async || (world.taken("a").len() == 2).then_some(()))
        .await;
    assert_eq!(world.taken("a"), ["before", "meanwhile"]);
    world.until_settled("a").await;
    world.stop().await;
}
