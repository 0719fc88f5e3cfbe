//! Promise: the access file says how much a Broker takes, which all who send to it share. A change of the
//! file counts at once, and gives nobody a new burst.
//!
//! The limits here let through one event a second, or one byte: what a slow machine lets pass meanwhile is
//! less than what the tests send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::ensure;
use millrace_tests::access::Access;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::limited::{batch, metric, post, refused, reread, retry_after, verdict};
use millrace_tests::mesh::Setup;
use millrace_tests::webhook::{self, Call};
use millrace_tests::{Client, Sink, wait_until};
use serde_json::json;

#[tokio::test]
async fn all_who_send_to_a_broker_share_its_limit_and_the_mesh_itself_is_not_held_up() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let a = access
        .token("a", &["--broker", "*", "--admin-role", "read"])
        .await?;
    let b = access.token("b", &["--broker", "*"]).await?;
    access.write(
        "limits:\n  brokers:\n    - {broker: shop/default, eventsPerSecond: 1, eventsAtOnce: 1500}\n    \
         - {broker: shop/audit, eventsPerSecond: 1, eventsAtOnce: 1000, bytesPerSecond: 1, bytesAtOnce: 1000}\n",
    )?;
    let hop = "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: hop, namespace: shop}\nspec: {broker: \
               default, subscriber: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: audit}}}\n";
    let documents = Documents::broker()
        .and_broker("audit", "{}")
        .and_broker("free", "{}")
        .trigger(&Trigger::new("audited", &sink.url("/audited")).on("audit"))
        .github("hook", "secret", "audit");
    let file = access.file().to_string_lossy().into_owned();
    let text = format!("{}{hop}", documents.text());
    let mesh = Setup::new(&text)?.args(&["--access", &file]).start().await?;
    let mut client = Client::new(mesh.listen());
    assert_eq!(post(&mut client, "default", &a, batch(1_000)).await?.status, 202);
    let answer = post(&mut client, "default", &b, batch(1_000)).await?;
    assert_eq!(verdict(&answer), (429, "broker-rate-limited".to_owned()));
    ensure!(retry_after(&answer)? <= 500, "{answer:?}");
    assert_eq!(post(&mut client, "default", &b, batch(400)).await?.status, 202);
    assert_eq!(post(&mut client, "free", &b, batch(1_000)).await?.status, 202);
    // What a Trigger sends on was let in before.
    sink.wait_for("/audited", 1_400).await?;

    // A source is one of those who share. Its call is larger than a burst, and the next one waits for it.
    let body = json!({"ref": "x".repeat(2_000)}).to_string();
    let call = |name: &str| Call::github("push", name, body.clone()).signed_by_github("secret");
    assert_eq!(webhook::post(&mesh, "hook", &call("1")).await?.status, 202);
    let answer = webhook::post(&mesh, "hook", &call("2")).await?;
    assert_eq!(verdict(&answer), (503, "broker-rate-limited".to_owned()));
    retry_after(&answer)?;
    sink.wait_for("/audited", 1_401).await?;
    assert_eq!(
        metric(&mesh, &a, &refused("default", "broker-rate-limited")).await?,
        1
    );
    ensure!(metric(&mesh, &a, &refused("audit", "broker-rate-limited")).await? >= 1);
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_read_again_under_load_gives_nobody_a_new_burst_and_its_limits_count_at_once()
-> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let loud = access.token("loud", &["--broker", "*"]).await?;
    let operator = access.token("operator", &["--admin-role", "read"]).await?;
    let small = "limits:\n  default: {eventsPerSecond: 1, eventsAtOnce: 3000}\n";
    access.write(small)?;
    let mesh = access.mesh(&[], &sink).await?;
    let (goes_on, through) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let load = (0..4).map(|_| {
        let (goes_on, through, loud) = (goes_on.clone(), through.clone(), loud.clone());
        let (mut client, message) = (Client::new(mesh.listen()), batch(600));
        tokio::spawn(async move {
            while goes_on.load(Ordering::Relaxed) {
                let answer = post(&mut client, "default", &loud, message.clone()).await?;
                match answer.status {
                    202 => drop(through.fetch_add(600, Ordering::Relaxed)),
                    _ => ensure!(verdict(&answer).1 == "rate-limited", "{answer:?}"),
                }
            }
            Ok(())
        })
    });
    let load: Vec<_> = load.collect();
    for nth in 0..5 {
        access.token(&format!("new-{nth}"), &["--broker", "*"]).await?;
        reread(&mesh, &operator, "taken", || access.write(small)).await?;
    }
    // Broken ones, and one with a limit of nothing, change nothing.
    for broken in [
        "limits: {default: {eventsPerSecond: 0}}\n",
        "limits: {default: {eventsPerSecond: 99999999999}}\n",
    ] {
        reread(&mesh, &operator, "refused", || access.write(broken)).await?;
    }
    // With another limit, what was spent stays spent.
    let other = "limits:\n  default: {eventsPerSecond: 2, eventsAtOnce: 2000}\n";
    reread(&mesh, &operator, "taken", || access.write(other)).await?;
    assert_eq!(through.load(Ordering::Relaxed), 3_000);

    // None at all counts with the next request.
    reread(&mesh, &operator, "taken", || access.write("")).await?;
    wait_until("the load to be let through", || async {
        Ok((through.load(Ordering::Relaxed) > 6_000).then_some(()))
    })
    .await?;
    goes_on.store(false, Ordering::Relaxed);
    for one in load {
        one.await??;
    }
    Ok(())
}
