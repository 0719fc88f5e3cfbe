//! Promise: the place of a trigger that is gone lasts while there is room. It gives way before a producer is
//! refused, and when somebody says so.

use std::fs;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::reload::{
    PATIENT, comes_back_as_a_new_one, events, ids, sorted, steady, taken, until_state,
};
use millrace_tests::{Answer, Event, Mesh, Sink, wait_until};

/// A mesh whose Broker may hold 1 MiB. Its Trigger `t` is in a file of its own, and the subscriber of `t` is
/// away.
async fn with_limit(sink: &Sink) -> anyhow::Result<(Mesh, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let t = Documents::default().trigger(
        &Trigger::new("t", &sink.url("/t"))
            .attributes("{type: x}")
            .delivery(PATIENT)
            .annotation("millrace.dev/max-deferred", "1"),
    );
    fs::write(folder.path().join("t.yaml"), t.text())?;
    let documents =
        Documents::broker_annotated(&[("millrace.dev/backlog-bytes", "1Mi")]).trigger(&steady(sink));
    let path = folder.path().to_string_lossy().into_owned();
    let mesh = Setup::new(documents.text())?.args(&["-f", &path]).start().await?;
    sink.answer("/t", [Answer::status(500)]);
    Ok((mesh, folder))
}

fn large(prefix: &str, kind: &str, count: usize) -> Vec<Event> {
    let event = |n| Event::new(&format!("{prefix}{n}"), kind).data("text/plain", vec![b'.'; 16 << 10]);
    (0..count).map(event).collect()
}

/// Sends until an event is refused for the sake of this Trigger. Before the router has passed the events, the
/// refusal names none.
async fn until_full(mesh: &Mesh, of: &str) -> anyhow::Result<()> {
    let event = &large("full-", "x", 1)[0];
    wait_until("a refusal that says whose", || async {
        let answer = mesh.post("shop/default", &event.binary()).await?;
        if answer.status == 202 {
            return Ok(None);
        }
        assert_eq!((answer.status, answer.code()?.as_str()), (503, "backlog-full"));
        let detail = answer.json()?["detail"].to_string();
        Ok(Some(()).filter(|()| detail.contains(&format!("the oldest for {of}"))))
    })
    .await
}

#[tokio::test]
async fn the_place_of_a_trigger_that_is_gone_gives_way_before_a_producer_is_refused() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (mut mesh, folder) = with_limit(&sink).await?;
    let (file, aside) = (folder.path().join("t.yaml"), folder.path().join("t.away"));
    until_full(&mesh, "shop/t").await?;
    taken(&mesh, || fs::rename(&file, &aside)).await?;
    until_state(&mesh, "shop/t", "orphaned").await?;
    // Far more than the limit. The first is not refused; later ones only while the other Trigger itself is
    // that far behind.
    let (first, more) = (large("s-", "steady", 1), large("s-", "steady", 200));
    mesh.send("shop/default", &first).await?;
    for event in &more[1..] {
        wait_until("an event to be accepted", || async {
            let answer = mesh.post("shop/default", &event.binary()).await?;
            anyhow::ensure!(answer.status == 202, "{:?}", answer.body);
            Ok(Some(()))
        })
        .await?;
    }
    sink.wait_for("/steady", 200).await?;
    assert_eq!(sorted(sink.ids("/steady")), ids("s-", 200));
    let admin = mesh.admin();
    admin
        .until_metric("millrace_channel_dropped_orphans_total", 1.0)
        .await?;
    assert_eq!(admin.get("brokers").await?[0]["forgotten"], 1);
    assert!(
        admin.metric("millrace_dispatch_dropped_debts_total").await? > 0.0,
        "its debts are counted"
    );
    let words = mesh.process().stderr();
    assert!(
        words.contains("was given up before the end of its grace period"),
        "{words}"
    );
    comes_back_as_a_new_one(&mesh, &sink, || fs::rename(&aside, &file)).await
}

#[tokio::test]
async fn while_there_is_room_a_trigger_that_is_gone_keeps_its_place() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (mesh, folder) = with_limit(&sink).await?;
    let (file, aside) = (folder.path().join("t.yaml"), folder.path().join("t.away"));
    taken(&mesh, || fs::rename(&file, &aside)).await?;
    until_state(&mesh, "shop/t", "orphaned").await?;
    mesh.send("shop/default", &large("2-", "x", 20)).await?;
    sink.answer("/t", [Answer::ok()]);
    taken(&mesh, || fs::rename(&aside, &file)).await?;
    mesh.until_settled().await?;
    assert_eq!(sorted(sink.ids("/t")), ids("2-", 20));
    assert_eq!(mesh.admin().get("brokers").await?[0]["forgotten"], 0);
    Ok(())
}

#[tokio::test]
async fn a_trigger_that_is_gone_is_forgotten_by_hand_and_one_that_is_there_is_not() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (mut mesh, folder) = with_limit(&sink).await?;
    let (file, aside) = (folder.path().join("t.yaml"), folder.path().join("t.away"));
    let refused = mesh.millrace(&["triggers", "forget", "shop/t"]).await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("only one that is gone"), "{said}");
    let unknown = mesh.millrace(&["triggers", "forget", "shop/none"]).await?;
    assert_eq!(unknown.status.code(), Some(1));

    mesh.send("shop/default", &large("1-", "x", 5)).await?;
    for restarted in [false, true] {
        taken(&mesh, || fs::rename(&file, &aside)).await?;
        until_state(&mesh, "shop/t", "orphaned").await?;
        if restarted {
            // A Trigger that no document has named since the restart can be forgotten too.
            mesh.stop().await?;
            mesh.restart().await?;
            until_state(&mesh, "shop/t", "orphaned").await?;
        }
        let done = mesh.millrace(&["triggers", "forget", "shop/t"]).await?;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let admin = mesh.admin();
        wait_until("the trigger to be forgotten", || async {
            Ok(admin.trigger("shop/t").await.is_err().then_some(()))
        })
        .await?;
        let again = mesh.millrace(&["triggers", "forget", "shop/t"]).await?;
        assert_eq!(
            again.status.code(),
            Some(1),
            "there is nothing to forget any more"
        );
        sink.take("/t");
        taken(&mesh, || fs::rename(&aside, &file)).await?;
        let prefix = if restarted { "3-" } else { "2-" };
        mesh.send("shop/default", &events(prefix, "x", 5)).await?;
        mesh.admin()
            .until_trigger("shop/t", "only new events come", |trigger| {
                trigger["deferred"].as_u64() >= Some(1)
            })
            .await?;
        assert!(sink.ids("/t").iter().all(|id| id.starts_with(prefix)));
    }
    Ok(())
}
