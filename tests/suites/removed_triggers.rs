//! Promise: what a trigger owes when its document disappears waits for its return, and is dropped and counted
//! after the grace period.

use std::fs;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::reload::{PATIENT, events, ids, sorted, steady, taken, under_traffic, until_state};
use millrace_tests::{Answer, Event, Mesh, Sink, wait_until};
use serde_json::{Value, json};

/// A mesh whose second trigger is in a file of a folder.
async fn with_folder(sink: &Sink, extra: &[&str]) -> anyhow::Result<(Mesh, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let broker = Documents::broker();
    let t = Documents::default().trigger(
        &Trigger::new("t", &sink.url("/t"))
            .attributes("{type: x}")
            .delivery(PATIENT),
    );
    fs::write(folder.path().join("t.yaml"), t.text())?;
    fs::write(
        folder.path().join("steady.yml"),
        Documents::default().trigger(&steady(sink)).text(),
    )?;
    let path = folder.path().to_string_lossy().into_owned();
    let setup = Setup::new(broker.text())?.args(&["-f", &path]).args(extra);
    Ok((setup.start().await?, folder))
}

#[tokio::test]
async fn a_trigger_whose_file_goes_and_comes_back_reads_on_without_a_gap() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (mesh, folder) = with_folder(&sink, &[]).await?;
    let (file, aside) = (folder.path().join("t.yaml"), folder.path().join("t.away"));
    under_traffic(&mesh, &sink, async {
        mesh.send("shop/default", &events("1-", "x", 10)).await?;
        sink.wait_for("/t", 10).await?;
        taken(&mesh, || fs::rename(&file, &aside)).await?;
        until_state(&mesh, "shop/t", "orphaned").await?;
        mesh.send("shop/default", &events("2-", "x", 10)).await?;
        assert_eq!(sink.count("/t"), 10, "an orphaned trigger delivers nothing");
        taken(&mesh, || fs::rename(&aside, &file)).await?;
        mesh.send("shop/default", &events("3-", "x", 10)).await?;
        sink.wait_for("/t", 30).await?;
        // And emptied instead of renamed.
        let text = fs::read(&file)?;
        taken(&mesh, || fs::write(&file, "")).await?;
        mesh.send("shop/default", &events("4-", "x", 10)).await?;
        taken(&mesh, || fs::write(&file, text)).await
    })
    .await?;
    mesh.until_settled().await?;
    let expected = ["1-", "2-", "3-", "4-"].iter().flat_map(|prefix| ids(prefix, 10));
    assert_eq!(sorted(sink.ids("/t")), sorted(expected.collect()));
    Ok(())
}

#[tokio::test]
async fn debts_wait_for_a_trigger_that_comes_back_even_over_restarts() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (mut mesh, folder) = with_folder(&sink, &[]).await?;
    let (file, aside) = (folder.path().join("t.yaml"), folder.path().join("t.away"));
    sink.answer("/t", [Answer::status(500)]);
    mesh.send("shop/default", &events("1-", "x", 5)).await?;
    sink.wait_for("/t", 10).await?;
    taken(&mesh, || fs::rename(&file, &aside)).await?;
    until_state(&mesh, "shop/t", "orphaned").await?;
    mesh.send("shop/default", &events("2-", "x", 5)).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &events("3-", "x", 5)).await?;
    mesh.stop().await?;
    mesh.restart().await?;
    sink.answer("/t", [Answer::ok()]);
    sink.take("/t");
    taken(&mesh, || fs::rename(&aside, &file)).await?;
    mesh.until_settled().await?;
    let expected = ["1-", "2-", "3-"].iter().flat_map(|prefix| ids(prefix, 5));
    assert_eq!(sorted(sink.ids("/t")), sorted(expected.collect()));
    Ok(())
}

#[tokio::test]
async fn a_trigger_removed_while_millrace_is_down_reads_on_when_it_is_back() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (mut mesh, folder) = with_folder(&sink, &[]).await?;
    let (file, aside) = (folder.path().join("t.yaml"), folder.path().join("t.away"));
    mesh.send("shop/default", &events("1-", "x", 5)).await?;
    mesh.until_settled().await?;
    mesh.stop().await?;
    fs::rename(&file, &aside)?;
    mesh.restart().await?;
    mesh.send("shop/default", &events("2-", "x", 5)).await?;
    mesh.send("shop/default", &events("s-", "steady", 5)).await?;
    sink.wait_for("/steady", 5).await?;
    taken(&mesh, || fs::rename(&aside, &file)).await?;
    mesh.send("shop/default", &events("3-", "x", 5)).await?;
    mesh.until_settled().await?;
    let expected = ["1-", "2-", "3-"].iter().flat_map(|prefix| ids(prefix, 5));
    assert_eq!(sorted(sink.ids("/t")), sorted(expected.collect()));
    Ok(())
}

#[tokio::test]
async fn a_rename_is_a_removal_and_an_addition() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let with = |name: &str, path: &str| {
        let trigger = Trigger::new(name, &sink.url(path))
            .attributes("{type: x}")
            .delivery(PATIENT);
        Documents::broker().trigger(&steady(&sink)).trigger(&trigger)
    };
    sink.answer("/old", [Answer::status(500)]);
    let mesh = Mesh::start(with("old", "/old").text()).await?;
    under_traffic(&mesh, &sink, async {
        mesh.send("shop/default", &events("1-", "x", 10)).await?;
        sink.wait_for("/old", 20).await?;
        mesh.reload(with("new", "/new").text()).await?;
        until_state(&mesh, "shop/old", "orphaned").await?;
        mesh.send("shop/default", &events("2-", "x", 10)).await?;
        sink.wait_for("/new", 10).await.map(drop)
    })
    .await?;
    assert_eq!(
        sorted(sink.ids("/new")),
        ids("2-", 10),
        "not the debts of the old one"
    );
    assert_eq!(mesh.admin().trigger("shop/old").await?["deferred"], 10);
    Ok(())
}

#[tokio::test]
async fn after_the_grace_period_debts_are_dropped_and_counted() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (mesh, folder) = with_folder(&sink, &["--orphan-grace", "1s"]).await?;
    let (file, aside) = (folder.path().join("t.yaml"), folder.path().join("t.away"));
    sink.answer("/t", [Answer::status(500)]);
    mesh.send("shop/default", &events("1-", "x", 10)).await?;
    sink.wait_for("/t", 20).await?;
    under_traffic(&mesh, &sink, async {
        taken(&mesh, || fs::rename(&file, &aside)).await?;
        let admin = mesh.admin();
        wait_until("the trigger to be forgotten", || async {
            let triggers = admin.get("triggers").await?;
            let names = triggers.as_array().into_iter().flatten();
            let is_gone = names.map(|trigger| &trigger["name"]).all(|name| name != "shop/t");
            Ok(Some(()).filter(|()| is_gone))
        })
        .await
    })
    .await?;
    assert_eq!(
        mesh.admin()
            .metric("millrace_dispatch_dropped_debts_total")
            .await?,
        10.0
    );
    mesh.send("shop/default", &events("2-", "x", 5)).await?;
    comes_back_as_a_new_one(&mesh, &sink, || fs::rename(&aside, &file)).await
}

/// Checks that a trigger which was given up is a new one when it comes back: it starts at the end.
async fn comes_back_as_a_new_one(
    mesh: &Mesh,
    sink: &Sink,
    back: impl FnOnce() -> std::io::Result<()>,
) -> anyhow::Result<()> {
    sink.answer("/t", [Answer::ok()]);
    sink.take("/t");
    taken(mesh, back).await?;
    mesh.send("shop/default", &events("new-", "x", 5)).await?;
    mesh.until_settled().await?;
    assert_eq!(sorted(sink.ids("/t")), ids("new-", 5));
    Ok(())
}

#[tokio::test]
async fn a_folder_may_gain_and_lose_files() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (mesh, folder) = with_folder(&sink, &[]).await?;
    let more = folder.path().join("more.yaml");
    let text =
        Documents::default().trigger(&Trigger::new("more", &sink.url("/more")).attributes("{type: x}"));
    under_traffic(&mesh, &sink, async {
        taken(&mesh, || fs::write(&more, text.text())).await?;
        mesh.send("shop/default", &events("1-", "x", 10)).await?;
        sink.wait_for("/more", 10).await?;
        taken(&mesh, || fs::remove_file(&more)).await?;
        mesh.send("shop/default", &events("2-", "x", 10)).await?;
        sink.wait_for("/t", 20).await.map(drop)
    })
    .await?;
    assert_eq!(sorted(sink.ids("/more")), ids("1-", 10));
    Ok(())
}

#[tokio::test]
async fn a_broker_that_goes_and_comes_back_owes_what_it_owed() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let other = Documents::broker();
    let side = Trigger::new("t", &sink.url("/t")).on("side").delivery(PATIENT);
    let both = other.clone().and_broker("side", "{}").trigger(&side);
    let mut mesh = Mesh::start(both.text()).await?;
    sink.answer("/t", [Answer::status(500)]);
    mesh.send("shop/side", &events("1-", "x", 5)).await?;
    sink.wait_for("/t", 5).await?;
    mesh.reload(other.text()).await?;
    until_state(&mesh, "shop/t", "orphaned").await?;
    let refused = mesh.send("shop/side", &events("2-", "x", 1)).await;
    assert!(refused.is_err(), "its door is closed");
    mesh.kill().await?;
    mesh.restart().await?;
    sink.answer("/t", [Answer::ok()]);
    sink.take("/t");
    mesh.reload(both.text()).await?;
    mesh.send("shop/side", &events("3-", "x", 5)).await?;
    mesh.until_settled().await?;
    let expected = ["1-", "3-"].iter().flat_map(|prefix| ids(prefix, 5));
    assert_eq!(sorted(sink.ids("/t")), sorted(expected.collect()));
    Ok(())
}

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

/// Sends until an event is refused; returns the detail of the refusal.
async fn until_full(mesh: &Mesh) -> anyhow::Result<String> {
    for event in large("full-", "x", 200) {
        let answer = mesh.post("shop/default", &event.binary()).await?;
        if answer.status != 202 {
            assert_eq!((answer.status, answer.code()?.as_str()), (503, "backlog-full"));
            return Ok(answer.json()?["detail"].to_string());
        }
    }
    anyhow::bail!("all were accepted")
}

#[tokio::test]
async fn the_place_of_a_trigger_that_is_gone_gives_way_before_a_producer_is_refused() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (mut mesh, folder) = with_limit(&sink).await?;
    let (file, aside) = (folder.path().join("t.yaml"), folder.path().join("t.away"));
    let detail = until_full(&mesh).await?;
    assert!(
        detail.contains("the oldest for shop/t"),
        "it says whose: {detail}"
    );
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
