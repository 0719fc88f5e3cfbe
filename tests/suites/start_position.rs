//! Promise: a trigger gets the events admitted after it was, all of them, and none from before; a restart
//! changes nothing.

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::reload::{PATIENT, events, ids, sorted};
use millrace_tests::{Answer, Event, Mesh, Sink, wait_until};

fn named(sink: &Sink, name: &str) -> Trigger {
    Trigger::new(name, &sink.url(&format!("/{name}"))).delivery(PATIENT)
}

#[tokio::test]
async fn a_trigger_added_to_a_running_mesh_sees_only_what_comes_after_it() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&named(&sink, "old"));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &events("before-", "x", 20)).await?;
    mesh.reload(documents.trigger(&named(&sink, "new")).text())
        .await?;
    mesh.send("shop/default", &events("after-", "x", 20)).await?;
    mesh.until_settled().await?;
    assert_eq!(sorted(sink.ids("/new")), ids("after-", 20));
    assert_eq!(sink.count("/old"), 40);
    Ok(())
}

#[tokio::test]
async fn the_backlog_of_others_is_not_a_new_triggers() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/down", [Answer::status(503)]);
    let documents = Documents::broker().trigger(&named(&sink, "down"));
    let mut mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &events("before-", "x", 20)).await?;
    mesh.reload(documents.trigger(&named(&sink, "new")).text())
        .await?;
    // Nothing has been delivered to it yet: its start is known all the same.
    mesh.kill().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &events("after-", "x", 3)).await?;
    sink.answer("/down", [Answer::ok()]);
    mesh.until_settled().await?;
    assert_eq!(sorted(sink.ids("/new")), ids("after-", 3));
    Ok(())
}

#[tokio::test]
async fn a_trigger_that_comes_while_millrace_is_down_starts_at_the_end() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&named(&sink, "old"));
    let mut mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &events("before-", "x", 20)).await?;
    mesh.kill().await?;
    mesh.setup()
        .write(documents.trigger(&named(&sink, "new")).text())?;
    mesh.restart().await?;
    mesh.send("shop/default", &events("after-", "x", 5)).await?;
    mesh.until_settled().await?;
    assert_eq!(sorted(sink.ids("/new")), ids("after-", 5));
    Ok(())
}

#[tokio::test]
async fn a_clean_restart_repeats_nothing() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&named(&sink, "t"));
    let mut mesh = Mesh::start(documents.text()).await?;
    for round in ["first-", "second-", "third-"] {
        mesh.send("shop/default", &events(round, "x", 50)).await?;
        sink.wait_for("/t", 50).await?;
        let status = mesh.stop().await?;
        assert!(status.success(), "{status}");
        mesh.restart().await?;
        mesh.until_settled().await?;
        assert_eq!(sorted(sink.ids("/t")), ids(round, 50));
        sink.take("/t");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_written_down_is_not_replayed_after_a_crash() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/probe", [Answer::status(500), Answer::ok()]);
    let documents = Documents::broker()
        .trigger(&named(&sink, "t"))
        .trigger(&named(&sink, "probe").attributes("{type: probe}"));
    let mut mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &events("old-", "x", 50)).await?;
    mesh.until_settled().await?;
    // A second attempt comes from a row: the commit that wrote it holds all that was settled before.
    mesh.send("shop/default", &[Event::new("probe", "probe")]).await?;
    sink.wait_for("/probe", 2).await?;
    sink.wait_for("/t", 51).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("new", "x")]).await?;
    mesh.until_settled().await?;
    let arrived = sink.ids("/t");
    let again = arrived[51..].iter().filter(|id| id.starts_with("old-")).count();
    assert_eq!(again, 0, "{:?}", &arrived[51..]);
    assert!(arrived.contains(&"new".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_subscriber_that_was_away_over_a_restart_gets_what_it_missed() -> anyhow::Result<()> {
    let (here, away) = (Sink::start().await?, Sink::start().await?);
    away.down();
    let documents = Documents::broker()
        .trigger(&named(&here, "here"))
        .trigger(&named(&away, "away"));
    let mut mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &events("one-", "x", 40)).await?;
    here.wait_for("/here", 40).await?;
    mesh.stop().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &events("two-", "x", 40)).await?;
    here.wait_for("/here", 80).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    away.up().await?;
    let mut all = ids("one-", 40);
    all.extend(ids("two-", 40));
    wait_until("everything that was missed", || async {
        let mut arrived = sorted(away.ids("/away"));
        arrived.dedup();
        Ok(Some(()).filter(|()| arrived == all))
    })
    .await?;
    mesh.until_settled().await
}
