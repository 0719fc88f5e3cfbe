//! Promise: history is as old as the time that has passed, whatever the clock says. Only a start believes the
//! clock.

use std::collections::BTreeSet;

use anyhow::Context as _;
use millrace_tests::clocks::{DAY, until_jumps};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::reload::{PATIENT, events, ids};
use millrace_tests::{Answer, Clocks, Mesh, Sink, wait_until};

/// A Broker of `shop` that keeps settled events for so long, with a Trigger of its name.
fn keeping(documents: Documents, broker: &str, age: &str, sink: &Sink) -> Documents {
    let metadata =
        format!("{{name: {broker}, namespace: shop, annotations: {{millrace.dev/retention-age: {age}}}}}");
    let trigger = Trigger::new(broker, &sink.url(&format!("/{broker}"))).on(broker);
    documents
        .document("Broker", &metadata, "spec: {}")
        .trigger(&trigger.delivery(PATIENT))
}

/// The oldest readable position of a Broker's log, and the next one to be written.
async fn kept(mesh: &Mesh, broker: &str) -> anyhow::Result<(Option<u64>, Option<u64>)> {
    let brokers = mesh.admin().get("brokers").await?;
    let mut all = brokers.as_array().into_iter().flatten();
    let found = all.find(|shown| shown["name"] == broker);
    let found = found.with_context(|| format!("no {broker} in {brokers}"))?;
    Ok((found["oldest"].as_u64(), found["head"].as_u64()))
}

async fn until_nothing_kept(mesh: &Mesh, broker: &str) -> anyhow::Result<()> {
    wait_until(&format!("the history of {broker} to be gone"), || async {
        let (oldest, head) = kept(mesh, broker).await?;
        anyhow::ensure!(oldest.is_some() && oldest == head, "{oldest:?} {head:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn history_is_as_old_as_time_that_passed_and_only_a_start_believes_the_clock() -> anyhow::Result<()> {
    let Some(clocks) = Clocks::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/owed", [Answer::status(503)]);
    let documents = keeping(Documents::default(), "settled", "PT1H", &sink);
    let documents = keeping(documents, "owed", "PT1H", &sink);
    let documents = keeping(documents, "brief", "PT1S", &sink);
    let mut mesh = clocks.of(Setup::new(documents.text())?)?.start().await?;
    mesh.send("shop/settled", &events("", "x", 10)).await?;
    mesh.send("shop/owed", &events("", "x", 10)).await?;
    sink.wait_for("/settled", 10).await?;
    sink.wait_for("/owed", 10).await?;
    let before = kept(&mesh, "shop/settled").await?;
    clocks.set(DAY)?;
    until_jumps(&mesh, 1).await?;
    // By now retention has run: what is kept for a second only is gone.
    mesh.send("shop/brief", &events("", "x", 10)).await?;
    until_nothing_kept(&mesh, "shop/brief").await?;
    assert_eq!(kept(&mesh, "shop/settled").await?, before, "it got no older");

    mesh.stop().await?;
    mesh.restart().await?;
    until_nothing_kept(&mesh, "shop/settled").await?;
    // What a Trigger still owes is no history.
    sink.take("/owed");
    sink.answer("/owed", [Answer::ok()]);
    mesh.until_settled().await?;
    let owed = sink.ids("/owed").into_iter().collect();
    assert!(
        ids("", 10).into_iter().collect::<BTreeSet<_>>().is_subset(&owed),
        "{owed:?}"
    );
    Ok(())
}
