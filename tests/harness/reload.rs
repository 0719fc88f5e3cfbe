//! What the suites about changing documents share: traffic that must not notice, and waiting for what a
//! change brings.

use std::future::Future;
use std::time::Duration;

use serde_json::Value;

use crate::documents::Trigger;
use crate::{Answer, Event, Mesh, Producers, Sink, wait_until};

/// A policy that retries soon, and longer than any test takes.
pub const PATIENT: &str =
    "{retry: 100000, backoffPolicy: linear, backoffDelay: PT0.05S, backoffMax: PT0.05S}";

/// Events of one type with the ids `<prefix>0` and so on.
pub fn events(prefix: &str, kind: &str, count: usize) -> Vec<Event> {
    (0..count)
        .map(|n| Event::new(&format!("{prefix}{n}"), kind))
        .collect()
}

/// The ids of so many such events, sorted.
pub fn ids(prefix: &str, count: usize) -> Vec<String> {
    sorted((0..count).map(|n| format!("{prefix}{n}")).collect())
}

/// The same, sorted.
pub fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// The trigger of the steady traffic: it must get each of its events once, whatever happens to the others.
pub fn steady(sink: &Sink) -> Trigger {
    Trigger::new("steady", &sink.url("/steady")).attributes("{type: steady}")
}

/// Lets steady traffic flow while something happens, and checks that all of it arrived, once each.
///
/// # Errors
/// When it is not so, and with what happens before the deadline.
pub async fn under_traffic<F>(mesh: &Mesh, sink: &Sink, happens: F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let pause = Duration::from_millis(4);
    let producers = Producers::start(mesh.listen(), "/shop/default", [1, 2], pause, |id| {
        Event::new(id, "steady")
    });
    wait_until("traffic", || async {
        Ok(Some(()).filter(|()| producers.count() > 20))
    })
    .await?;
    happens.await?;
    let then = producers.count();
    wait_until("traffic to go on", || async {
        Ok(Some(()).filter(|()| producers.count() > then + 20))
    })
    .await?;
    let accepted = producers.stop().await?;
    sink.wait_for("/steady", accepted.len()).await?;
    mesh.admin()
        .until_trigger("shop/steady", "nothing is in flight", |trigger| {
            trigger["queued"] == 0 && trigger["deferred"] == 0 && trigger["backlog"] == 0
        })
        .await?;
    let (arrived, accepted) = (sorted(sink.ids("/steady")), sorted(accepted));
    anyhow::ensure!(
        arrived == accepted,
        "of the traffic, accepted {accepted:?}, arrived {arrived:?}"
    );
    Ok(())
}

/// Waits until a load was refused; gives the reason.
///
/// # Errors
/// When that is not so before the deadline.
pub async fn refused(mesh: &Mesh) -> anyhow::Result<String> {
    let admin = mesh.admin();
    wait_until("the documents to be refused", || async {
        let mesh = admin.get("mesh").await?;
        Ok(mesh["lastReloadError"].as_str().map(str::to_owned))
    })
    .await
}

/// Does something to the files, and waits until another revision runs.
///
/// # Errors
/// When that is not so before the deadline.
pub async fn taken(mesh: &Mesh, change: impl FnOnce() -> std::io::Result<()>) -> anyhow::Result<()> {
    let admin = mesh.admin();
    let before = admin.get("mesh").await?["revision"].clone();
    change()?;
    wait_until("the changed files to run", || async {
        let mesh = admin.get("mesh").await?;
        anyhow::ensure!(mesh["revision"] != before, "{mesh}");
        Ok(Some(()))
    })
    .await
}

/// Waits until the documents are taken again.
///
/// # Errors
/// When that is not so before the deadline.
pub async fn until_not_refused(mesh: &Mesh) -> anyhow::Result<()> {
    let admin = mesh.admin();
    wait_until("the documents to be taken again", || async {
        let mesh = admin.get("mesh").await?;
        Ok(Some(()).filter(|()| mesh["lastReloadError"] == Value::Null))
    })
    .await
}

/// Waits until a trigger is in a state.
///
/// # Errors
/// When that is not so before the deadline.
pub async fn until_state(mesh: &Mesh, trigger: &str, state: &str) -> anyhow::Result<()> {
    mesh.admin()
        .until_trigger(trigger, state, |trigger| trigger["state"] == state)
        .await
        .map(drop)
}

/// Checks that the trigger `shop/t`, which was given up, is a new one when it comes back: it starts at the
/// end.
///
/// # Errors
/// When it does not, or nothing comes before the deadline.
pub async fn comes_back_as_a_new_one(
    mesh: &Mesh,
    sink: &Sink,
    back: impl FnOnce() -> std::io::Result<()>,
) -> anyhow::Result<()> {
    sink.answer("/t", [Answer::ok()]);
    sink.take("/t");
    taken(mesh, back).await?;
    mesh.send("shop/default", &events("new-", "x", 5)).await?;
    mesh.until_settled().await?;
    let (arrived, expected) = (sorted(sink.ids("/t")), ids("new-", 5));
    anyhow::ensure!(arrived == expected, "{arrived:?}");
    Ok(())
}
