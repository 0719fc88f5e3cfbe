//! Leases on a real NATS server.

use std::time::Duration;

use millrace_channel_jetstream::{About, Members, Streams};
use millrace_event::ObjectName;

use crate::server::{Server, options};

const NONE: [u32; 0] = [];

async fn process(server: &Server, id: &str) -> (Streams, Members) {
    let broker = ObjectName::new("leases", "b");
    let streams = Streams::open(options(server.url(), &broker)).await.expect("open");
    let about = About {
        id: id.to_owned(),
        name: id.to_owned(),
        admin: String::new(),
    };
    let members = Members::join(&streams, about).await.expect("it joins");
    (streams, members)
}

async fn lapses(members: &Members) {
    while !members.look().await.expect("an answer").leased.is_empty() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// As a process does that was suspended.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_has_lapsed_is_made_anew_unless_another_process_had_the_partition() {
    let test = "a_lease_that_has_lapsed_is_made_anew_unless_another_process_had_the_partition";
    let Some(server) = Server::start(test).await else {
        return;
    };
    let (one, of_one) = process(&server, "one").await;
    let (two, of_two) = process(&server, "two").await;
    assert_eq!(of_one.take(0, false).await, Ok(true));
    let held = one.claim(0).await.expect("it is claimed").channel();
    lapses(&of_two).await;
    assert_eq!(of_one.renew().await, NONE, "nobody else had it");
    assert!(held.is_held());
    lapses(&of_two).await;
    assert_eq!(of_two.take(0, false).await, Ok(true));
    two.claim(0).await.expect("it is claimed");
    of_two.give_up(0).await;
    assert_eq!(of_one.renew().await, [0], "another process had it");
    assert!(!held.is_held());
    assert_eq!(of_one.renew().await, NONE, "it is said once");
}
