//! Promise: documents change while events flow; what runs changes with them, and nothing of anybody is lost or repeated.

use std::fs;
use std::future::Future;
use std::time::Duration;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Event, Gate, Mesh, Producers, Sink, wait_until};
use serde_json::Value;

/// Retries soon, and longer than any test takes.
const PATIENT: &str = "{retry: 100000, backoffPolicy: linear, backoffDelay: PT0.05S, backoffMax: PT0.05S}";

fn events(prefix: &str, kind: &str, count: usize) -> Vec<Event> {
    (0..count)
        .map(|n| Event::new(&format!("{prefix}{n}"), kind))
        .collect()
}

fn ids(prefix: &str, count: usize) -> Vec<String> {
    sorted((0..count).map(|n| format!("{prefix}{n}")).collect())
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// The trigger of the steady traffic: it must get each of its events once, whatever happens to the others.
fn steady(sink: &Sink) -> Trigger {
    Trigger::new("steady", &sink.url("/steady")).attributes("{type: steady}")
}

/// Lets steady traffic flow while something happens, and checks that all of it arrived, once each.
async fn under_traffic<F>(mesh: &Mesh, sink: &Sink, happens: F) -> anyhow::Result<()>
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
    assert_eq!(sorted(sink.ids("/steady")), sorted(accepted));
    Ok(())
}

/// Waits until a load was refused; gives the reason.
async fn refused(mesh: &Mesh) -> anyhow::Result<String> {
    let admin = mesh.admin();
    wait_until("the documents to be refused", || async {
        let mesh = admin.get("mesh").await?;
        Ok(mesh["lastReloadError"].as_str().map(str::to_owned))
    })
    .await
}

/// Does something to the files, and waits until another revision runs.
async fn taken(mesh: &Mesh, change: impl FnOnce() -> std::io::Result<()>) -> anyhow::Result<()> {
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

async fn until_not_refused(mesh: &Mesh) -> anyhow::Result<()> {
    let admin = mesh.admin();
    wait_until("the documents to be taken again", || async {
        let mesh = admin.get("mesh").await?;
        Ok(Some(()).filter(|()| mesh["lastReloadError"] == Value::Null))
    })
    .await
}

async fn until_state(mesh: &Mesh, trigger: &str, state: &str) -> anyhow::Result<()> {
    mesh.admin()
        .until_trigger(trigger, state, |trigger| trigger["state"] == state)
        .await
        .map(drop)
}

#[tokio::test]
async fn triggers_come_change_and_go_without_a_restart() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let base = Documents::broker().trigger(&steady(&sink));
    let with = |kind: &str, path: &str| {
        let trigger = Trigger::new("t", &sink.url(path)).attributes(&format!("{{type: {kind}}}"));
        base.clone().trigger(&trigger)
    };
    let mesh = Mesh::start(base.text()).await?;
    under_traffic(&mesh, &sink, async {
        mesh.reload(with("a", "/one").text()).await?;
        mesh.send("shop/default", &events("a1-", "a", 10)).await?;
        mesh.send("shop/default", &events("b1-", "b", 10)).await?;
        sink.wait_for("/one", 10).await?;
        mesh.reload(with("a", "/two").text()).await?;
        mesh.send("shop/default", &events("a2-", "a", 10)).await?;
        sink.wait_for("/two", 10).await?;
        mesh.reload(base.text()).await?;
        mesh.send("shop/default", &events("a3-", "a", 10)).await?;
        Ok(())
    })
    .await?;
    assert_eq!(sorted(sink.ids("/one")), ids("a1-", 10));
    assert_eq!(
        sorted(sink.ids("/two")),
        ids("a2-", 10),
        "and none after its removal"
    );
    Ok(())
}

#[tokio::test]
async fn a_changed_filter_counts_for_what_is_read_from_then_on() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let with = |filters: &str| {
        Documents::broker()
            .trigger(&steady(&sink))
            .trigger(&Trigger::new("t", &sink.url("/t")).filters(filters))
    };
    let mesh = Mesh::start(with("[{prefix: {type: a}}]").text()).await?;
    under_traffic(&mesh, &sink, async {
        mesh.send("shop/default", &events("a1-", "a", 20)).await?;
        mesh.send("shop/default", &events("b1-", "b", 20)).await?;
        sink.wait_for("/t", 20).await?;
        mesh.reload(with("[{exact: {type: b}}]").text()).await?;
        mesh.send("shop/default", &events("a2-", "a", 20)).await?;
        mesh.send("shop/default", &events("b2-", "b", 20)).await?;
        sink.wait_for("/t", 40).await.map(drop)
    })
    .await?;
    let mut expected = ids("a1-", 20);
    expected.extend(ids("b2-", 20));
    assert_eq!(sorted(sink.ids("/t")), sorted(expected));
    Ok(())
}

/// Events that wait under the old filter, then another filter; `crash`: and then a `kill -9`.
async fn owed_under_the_old_filter(crash: bool) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let gate = Gate::closed();
    sink.answer("/t", [Answer::ok().after(&gate)]);
    let with = |kind: &str| {
        let trigger = Trigger::new("t", &sink.url("/t"))
            .annotation("millrace.dev/parallelism", "2")
            .attributes(&format!("{{type: {kind}}}"));
        Documents::broker().trigger(&trigger)
    };
    let mut mesh = Mesh::start(with("a").text()).await?;
    mesh.send("shop/default", &events("a-", "a", 60)).await?;
    mesh.admin()
        .until_trigger("shop/t", "all is read", |trigger| trigger["backlog"] == 0)
        .await?;
    sink.wait_for("/t", 2).await?;
    mesh.reload(with("b").text()).await?;
    mesh.send("shop/default", &events("b-", "b", 5)).await?;
    if crash {
        mesh.kill().await?;
        mesh.restart().await?;
    }
    gate.open();
    mesh.until_settled().await?;
    let mut arrived = sorted(sink.ids("/t"));
    if crash {
        // What was in flight comes again.
        arrived.dedup();
    }
    let mut expected = ids("a-", 60);
    expected.extend(ids("b-", 5));
    assert_eq!(arrived, sorted(expected));
    Ok(())
}

#[tokio::test]
async fn what_was_owed_under_the_old_filter_is_still_delivered() -> anyhow::Result<()> {
    owed_under_the_old_filter(false).await
}

#[tokio::test]
async fn what_was_owed_under_the_old_filter_outlives_a_crash() -> anyhow::Result<()> {
    owed_under_the_old_filter(true).await
}

#[tokio::test]
async fn subscriber_and_policy_count_from_the_next_attempt_on() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/broken", [Answer::status(500)]);
    let with = |path: &str, delivery: &str| {
        let trigger = Trigger::new("t", &sink.url(path))
            .attributes("{type: x}")
            .delivery(delivery);
        Documents::broker().trigger(&steady(&sink)).trigger(&trigger)
    };
    let mesh = Mesh::start(with("/broken", PATIENT).text()).await?;
    under_traffic(&mesh, &sink, async {
        mesh.send("shop/default", &events("1-", "x", 10)).await?;
        sink.wait_for("/broken", 20).await?;
        mesh.reload(with("/mended", PATIENT).text()).await?;
        sink.wait_for("/mended", 10).await.map(drop)
    })
    .await?;
    assert_eq!(sorted(sink.ids("/mended")), ids("1-", 10));

    mesh.reload(with("/broken", PATIENT).text()).await?;
    let before = sink.count("/broken");
    mesh.send("shop/default", &events("2-", "x", 3)).await?;
    sink.wait_for("/broken", before + 6).await?;
    mesh.reload(with("/broken", "{retry: 0}").text()).await?;
    mesh.admin().until_parked(3).await.map(drop)
}

#[tokio::test]
async fn invalid_documents_are_refused_with_their_place_and_the_old_mesh_goes_on() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let good = Documents::broker().trigger(&steady(&sink));
    // The document, what its refusal says, and the line of the fault behind the good ones.
    let cases = [
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: bad, namespace: shop}\nspec:\n  broker: default\n  subscriber: {uri: \"not a uri\"}\n",
            "spec.subscriber.uri",
            7,
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: bad, namespace: shop}\nspec:\n  broker: default\n  subscriber: {uri: \"http://127.0.0.1:1/\"}\n  unknown: 1\n",
            "spec.unknown",
            8,
        ),
        ("kind: [\n", "", 0),
    ];
    let mut mesh = Mesh::start(good.text()).await?;
    let revision = mesh.admin().get("mesh").await?["revision"].clone();
    let lines = good.text().lines().count();
    for (bad, path, line) in cases {
        under_traffic(&mesh, &sink, async {
            mesh.setup().write(&format!("{}---\n{bad}", good.text()))?;
            let why = refused(&mesh).await?;
            assert!(why.contains("mesh.yaml:") && why.contains(path), "{why}");
            if line > 0 {
                assert!(why.contains(&format!("mesh.yaml:{}:", lines + line)), "{why}");
            }
            Ok(())
        })
        .await?;
        let said = mesh.process().stderr();
        assert!(said.contains("mesh.yaml:") && said.contains(path), "{said}");
        assert_eq!(mesh.admin().get("mesh").await?["revision"], revision);
        mesh.setup().write(good.text())?;
        until_not_refused(&mesh).await?;
        sink.take("/steady");
    }
    Ok(())
}

#[tokio::test]
async fn a_reload_that_leaves_no_broker_is_refused() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&steady(&sink));
    let mesh = Mesh::start(documents.text()).await?;
    let only_trigger = Documents::default().trigger(&steady(&sink));
    for left in ["", "# nothing but a remark\n", only_trigger.text()] {
        under_traffic(&mesh, &sink, async {
            mesh.setup().write(left)?;
            let why = refused(&mesh).await?;
            assert!(why.contains("Broker"), "{why}");
            Ok(())
        })
        .await?;
        mesh.setup().write(documents.text())?;
        until_not_refused(&mesh).await?;
        sink.take("/steady");
    }
    assert_eq!(mesh.admin().get("mesh").await?["revision"], 1);
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_emptied_in_place_for_a_moment_loses_nothing() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&steady(&sink));
    let mesh = Mesh::start(documents.text()).await?;
    let file = mesh.setup().file();
    under_traffic(&mesh, &sink, async {
        // Too short to be looked at, and long enough to be.
        fs::write(&file, "")?;
        fs::write(&file, documents.text())?;
        fs::write(&file, "")?;
        refused(&mesh).await?;
        fs::write(&file, documents.text())?;
        until_not_refused(&mesh).await
    })
    .await
}

#[tokio::test]
async fn the_only_file_may_be_renamed_away_and_back() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&steady(&sink));
    let mesh = Mesh::start(documents.text()).await?;
    let (file, aside) = (mesh.setup().file(), mesh.setup().folder().join("aside"));
    under_traffic(&mesh, &sink, async {
        fs::rename(&file, &aside)?;
        let why = refused(&mesh).await?;
        assert!(why.contains("mesh.yaml"), "{why}");
        fs::rename(&aside, &file)?;
        until_not_refused(&mesh).await
    })
    .await
}

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
    // It is a new trigger when it comes back: it starts at the end.
    mesh.send("shop/default", &events("2-", "x", 5)).await?;
    sink.answer("/t", [Answer::ok()]);
    sink.take("/t");
    taken(&mesh, || fs::rename(&aside, &file)).await?;
    mesh.send("shop/default", &events("3-", "x", 5)).await?;
    mesh.until_settled().await?;
    assert_eq!(sorted(sink.ids("/t")), ids("3-", 5));
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
