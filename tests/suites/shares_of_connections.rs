//! Promise: Triggers whose subscribers hang take no other Trigger's connections. What is limited is shared: a
//! share is a guarantee and no ceiling.

use std::collections::BTreeSet;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Event, Gate, Sink};

/// Triggers whose subscribers never answer: each wants 32 connections.
const HANGING: usize = 34;
/// Triggers whose subscribers answer at once.
const HONEST: usize = 12;
const EVENTS: usize = 100;
const LIMIT: usize = 160;

#[tokio::test]
async fn triggers_that_hang_leave_connections_for_all_others() -> anyhow::Result<()> {
    let (sink, hanging, gate) = (Sink::start().await?, Sink::start().await?, Gate::closed());
    let mut documents = Documents::broker().and_broker("other", "{}");
    for number in 0..HANGING {
        let path = format!("/hangs-{number}");
        hanging.answer(&path, [Answer::ok().after(&gate)]);
        documents = documents.trigger(&Trigger::new(&path[1..], &hanging.url(&path)));
    }
    for number in 0..HONEST {
        let path = format!("/takes-{number}");
        let broker = if number % 2 == 0 { "default" } else { "other" };
        documents = documents.trigger(
            &Trigger::new(&path[1..], &sink.url(&path))
                .on(broker)
                .delivery("{retry: 0}"),
        );
    }
    let mesh = Setup::new(documents.text())?
        .args(&["--max-outgoing-connections", &LIMIT.to_string()])
        .start()
        .await?;
    let admin = mesh.admin();
    // First come those that hang: each takes what it can get.
    let first: Vec<_> = (0..32)
        .map(|id| Event::new(&format!("first-{id}"), "x"))
        .collect();
    assert_eq!(
        mesh.post("shop/default", &Event::batch(&first)).await?.status,
        202
    );
    for number in 0..HANGING {
        hanging.wait_for(&format!("/hangs-{number}"), 1).await?;
    }
    let mut wanted: BTreeSet<String> = first.iter().map(|event| event.id().to_owned()).collect();
    for id in 0..EVENTS {
        let event = Event::new(&id.to_string(), "x");
        mesh.send("shop/default", std::slice::from_ref(&event)).await?;
        mesh.send("shop/other", &[event]).await?;
        wanted.insert(id.to_string());
    }
    for number in 0..HONEST {
        let others: BTreeSet<String> = (0..EVENTS).map(|id| id.to_string()).collect();
        let wanted = if number % 2 == 0 { &wanted } else { &others };
        let path = format!("/takes-{number}");
        sink.until_all(&path, wanted).await?;
        assert_eq!(sink.count(&path), wanted.len(), "{path}: each once");
        let state = admin.trigger(&format!("shop{path}")).await?;
        for member in ["parked", "failedAttempts", "deferred"] {
            assert_eq!(state[member], 0, "{member} of {state}");
        }
    }
    let open = admin.metric("millrace_delivery_open_connections").await?;
    assert!(open <= LIMIT as f64, "{open}");
    admin
        .until_trigger("shop/hangs-0", "waits for connections", |trigger| {
            trigger["shortage"] == "connections"
        })
        .await?;

    // The deliveries that hung continue, and none of them is lost.
    gate.open();
    mesh.until_settled().await?;
    for number in 0..HANGING {
        let path = format!("/hangs-{number}");
        assert_eq!(hanging.count(&path), wanted.len(), "{path}");
        let state = admin.trigger(&format!("shop{path}")).await?;
        assert_eq!(
            (&state["parked"], &state["failedAttempts"]),
            (&0.into(), &0.into()),
            "{state}"
        );
    }
    Ok(())
}
