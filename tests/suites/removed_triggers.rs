//! Promise: what a trigger owes when its document disappears waits for its return, and is dropped and counted
//! after the grace period.

use std::fs;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::reload::{
    PATIENT, comes_back_as_a_new_one, events, ids, sorted, steady, taken, under_traffic, until_state,
};
use millrace_tests::{Answer, Mesh, Sink, wait_until};

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
