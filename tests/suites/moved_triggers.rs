//! Promise: a trigger that moves from one Broker to another has a place on each. What is owed on a Broker
//! comes when the trigger is there again.

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::reload::{PATIENT, events, ids, sorted};
use millrace_tests::{Answer, Event, Mesh, Sink, wait_until};
use serde_json::{Value, json};

/// A trigger has a place on each Broker that it was on. Neither hides the other: not where its state is
/// shown, nor where it is told what became of an event.
#[tokio::test]
async fn a_trigger_that_moves_to_another_broker_and_back_is_shown_where_it_is() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    // One name comes before the other's, one after it.
    let on = |broker: &str| {
        let trigger = Trigger::new("t", &sink.url("/t")).on(broker).delivery(PATIENT);
        let brokers = Documents::default().and_broker("a", "{}").and_broker("z", "{}");
        brokers.trigger(&trigger)
    };
    let states = async |mesh: &Mesh| -> anyhow::Result<Value> {
        let all = mesh.admin().get("triggers").await?;
        let rows = all.as_array().into_iter().flatten();
        Ok(rows.map(|row| json!([row["broker"], row["state"]])).collect())
    };
    let told = async |mesh: &Mesh, broker: &str, id: &str| -> anyhow::Result<Value> {
        let path = format!("explain?broker=shop/{broker}&id={id}");
        Ok(mesh.admin().get(&path).await?["triggers"][0]["state"].clone())
    };
    sink.answer("/t", [Answer::status(500)]);
    let mesh = Mesh::start(on("a").text()).await?;
    mesh.send("shop/a", &events("1-", "x", 5)).await?;
    sink.wait_for("/t", 10).await?;
    for (now, before) in [("z", "a"), ("a", "z")] {
        mesh.reload(on(now).text()).await?;
        let is_there = json!([
            [format!("shop/{now}"), "live"],
            [format!("shop/{before}"), "orphaned"]
        ]);
        wait_until("both places to be shown", || async {
            let states = states(&mesh).await?;
            anyhow::ensure!(states == is_there, "{states}");
            Ok(Some(()))
        })
        .await?;
        let id = format!("on-{now}");
        mesh.send(&format!("shop/{now}"), &[Event::new(&id, "x")]).await?;
        wait_until("the event to be retried", || async {
            let state = told(&mesh, now, &id).await?;
            anyhow::ensure!(state == "retrying" || state == "in-flight", "{state}");
            Ok(Some(()))
        })
        .await?;
    }
    sink.answer("/t", [Answer::ok()]);
    sink.take("/t");
    let mut owed = ids("1-", 5);
    owed.push("on-a".to_owned());
    sink.wait_for("/t", owed.len()).await?;
    let mut taken = sorted(sink.ids("/t"));
    taken.dedup();
    assert_eq!(taken, sorted(owed), "what is owed on the Broker that it is on");
    Ok(())
}
