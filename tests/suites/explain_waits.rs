//! Promise: for an event that a trigger still owes, `explain` tells what it waits for and what changed around
//! it: due later, in hand, behind, not ready, blocked, orphaned, admitted later.

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::story::tells_in_a_row;
use millrace_tests::{Answer, Event, Gate, Mesh, Sink};

const NO_RETRY: &str = "{retry: 0}";
const LONG_WAIT: &str = "{retry: 3, backoffDelay: PT1H}";

fn paid(id: &str) -> Event {
    Event::new(id, "order.paid")
}

#[tokio::test]
async fn what_still_waits_is_told_with_what_it_waits_for() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let gate = Gate::closed();
    sink.answer("/slow", [Answer::ok().after(&gate)]);
    sink.answer("/failing", [Answer::status(503)]);
    sink.answer("/full", [Answer::status(400)]);
    let unready = "spec: {broker: default, filter: {attributes: {type: unready}}, \
                   subscriber: {ref: {apiVersion: v1, kind: Service, name: nowhere}}}";
    let documents = Documents::broker()
        .trigger(
            &Trigger::new("failing", &sink.url("/failing"))
                .attributes("{type: failing}")
                .delivery(LONG_WAIT),
        )
        .trigger(
            &Trigger::new("full", &sink.url("/full"))
                .attributes("{type: full}")
                .delivery(NO_RETRY)
                .annotation("millrace.dev/max-parked", "1"),
        )
        .trigger(
            &Trigger::new("slow", &sink.url("/slow"))
                .attributes("{type: slow}")
                .annotation("millrace.dev/parallelism", "1"),
        )
        .document("Trigger", "{name: unready, namespace: shop}", unready);
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send(
        "shop/default",
        &[
            Event::new("f", "failing"),
            Event::new("u", "unready"),
            Event::new("p", "full"),
        ],
    )
    .await?;
    mesh.admin().until_parked(1).await?;
    mesh.send("shop/default", &[Event::new("q", "full")]).await?;
    let slow: Vec<Event> = (0..1_500).map(|n| Event::new(&format!("s{n}"), "slow")).collect();
    mesh.send("shop/default", &slow).await?;
    let cases = [
        (
            "f",
            "failing",
            "retrying 503 Service Unavailable; attempt 2 is due at TIME",
        ),
        ("s0", "slow", "in-hand attempt 1 is under way"),
        ("s1", "slow", "in-hand queued, or its first attempt is under way"),
        (
            "s1499",
            "slow",
            "behind the trigger has N positions to read before it",
        ),
    ];
    for (id, trigger, row) in cases {
        let args = format!("--broker shop/default --id {id} --trigger shop/{trigger}");
        tells_in_a_row(&mesh, &args, &format!("shop/{trigger} yes {row}")).await?;
    }
    // What these two wait for is said first, and then how far they have come.
    for (id, trigger, begins) in [
        ("u", "unready", "shop/unready yes not-ready "),
        (
            "q",
            "full",
            "shop/full yes blocked 1 event is parked, as many as allowed; ",
        ),
    ] {
        let args = format!("--broker shop/default --id {id} --trigger shop/{trigger}");
        tells_in_a_row(&mesh, &args, begins).await?;
    }
    gate.open();
    Ok(())
}

#[tokio::test]
async fn what_changed_around_the_event_is_told() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/gone", [Answer::status(503)]);
    let ship = Trigger::new("ship", &sink.url("/ship"));
    let gone = Trigger::new("gone", &sink.url("/gone")).delivery(LONG_WAIT);
    let before = Documents::broker().trigger(&ship).trigger(&gone);
    let mesh = Mesh::start(before.text()).await?;
    mesh.send("shop/default", &[paid("1")]).await?;
    sink.wait_for("/gone", 1).await?;
    sink.wait_for("/ship", 1).await?;
    let after = Documents::broker()
        .trigger(&ship.clone().attributes("{type: other}"))
        .trigger(&Trigger::new("late", &sink.url("/late")));
    mesh.reload(after.text()).await?;
    let rows = [
        (
            "late",
            "shop/late yes admitted-later the trigger was admitted after this event: it begins at position 1, the event is at 0",
        ),
        (
            "ship",
            "shop/ship no delivered attempt 1: 200 at TIME; its filter does not match this event any more, but did when it was read",
        ),
        (
            "gone",
            "shop/gone ? orphaned its trigger is in no document since TIME; what it is owed is kept for the grace period; \
             503 Service Unavailable; attempt 2 is due at TIME",
        ),
    ];
    for (name, row) in rows {
        let args = format!("--broker shop/default --id 1 --trigger shop/{name}");
        tells_in_a_row(&mesh, &args, row).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_attempt_that_is_under_way_is_told_with_its_beginning_and_not_as_due() -> anyhow::Result<()> {
    let (sink, gate) = (Sink::start().await?, Gate::closed());
    sink.answer("/slow", [Answer::status(503), Answer::ok().after(&gate)]);
    let slow = Trigger::new("slow", &sink.url("/slow")).delivery("{retry: 3, backoffDelay: PT0.1S}");
    let mesh = Mesh::start(Documents::broker().trigger(&slow).text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/slow", 2).await?;
    let answer = mesh.admin().get("explain?broker=shop/default&id=1").await?;
    let told = &answer["triggers"][0];
    let why = told["why"].as_str().unwrap_or_default();
    assert!(
        why.starts_with("503 Service Unavailable; attempt 2 is under way since "),
        "{why}"
    );
    assert_eq!(
        (&told["state"], &told["nextDue"]),
        (&"retrying".into(), &serde_json::Value::Null),
        "{told}"
    );
    gate.open();
    mesh.until_settled().await
}
