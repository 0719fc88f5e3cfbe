//! Promise: documents change while events flow; what runs changes with them, and nothing of anybody is lost
//! or repeated.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use millrace_tests::documents::{Documents, STUBBORN, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::reload::{
    PATIENT, events, ids, refused, sorted, steady, taken, under_traffic, until_not_refused, until_state,
};
use millrace_tests::{Answer, Event, Mesh, Sink, wait_until};

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

/// Its database is moved away, so nothing about its Triggers can be written down.
#[tokio::test]
async fn a_broker_that_cannot_be_served_for_now_holds_up_no_other() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let side = Documents::broker().and_broker("side", "{}");
    let first = Trigger::new("first", &sink.url("/first")).on("side");
    let before = side.clone().trigger(&first);
    let mesh = Mesh::start(before.text()).await?;
    // So that its files are open.
    mesh.send("shop/side", &events("0-", "x", 1)).await?;
    let database = mesh.setup().data_folder().join("brokers/shop/side/state.db");
    let aside = database.with_file_name("aside");
    fs::rename(&database, &aside)?;
    let with = |documents: &Documents, name: &str, broker: &str| {
        let trigger = Trigger::new(name, &sink.url(&format!("/{name}"))).on(broker);
        documents.clone().trigger(&trigger)
    };
    let stuck = with(&before, "stuck", "side");
    let one = with(&stuck, "one", "default");
    mesh.reload(one.text()).await?;
    mesh.send("shop/default", &events("1-", "x", 1)).await?;
    sink.wait_for("/one", 1).await?;
    let two = with(&one, "two", "default");
    mesh.reload(two.text()).await?;
    mesh.send("shop/default", &events("2-", "x", 1)).await?;
    sink.wait_for("/two", 1).await?;
    let known = mesh.admin().get("triggers").await?.to_string();
    assert!(!known.contains("stuck"), "{known}");
    fs::rename(&aside, &database)?;
    until_state(&mesh, "shop/stuck", "live").await?;
    mesh.send("shop/side", &events("3-", "x", 1)).await?;
    sink.wait_for("/stuck", 1).await?;
    assert_eq!(sink.ids("/stuck"), ["3-0"]);
    sink.wait_for("/first", 2).await?;
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

/// Writes a file of the mesh's folder again and again, faster than Millrace looks, until it is dropped.
struct Restless {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Restless {
    fn start(mut write: impl FnMut(u64) + Send + 'static) -> Self {
        let (stop, writes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, count) = (stop.clone(), writes.clone());
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                write(count.fetch_add(1, Ordering::Relaxed));
                // The pace of whoever writes, which is the test's choice; nothing is waited for.
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self {
            stop,
            writes,
            thread: Some(thread),
        }
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A mesh whose documents lie in a folder, with the steady trigger in it.
async fn in_a_folder(sink: &Sink) -> anyhow::Result<(Mesh, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    fs::write(
        folder.path().join("steady.yaml"),
        Documents::default().trigger(&steady(sink)).text(),
    )?;
    let path = folder.path().to_string_lossy().into_owned();
    let setup = Setup::new(Documents::broker().text())?.args(&["-f", &path]);
    Ok((setup.start().await?, folder))
}

#[tokio::test]
async fn a_folder_that_never_stands_still_is_taken_up_all_the_same() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (mesh, folder) = in_a_folder(&sink).await?;
    let busy = folder.path().join("busy.yaml");
    let restless = Restless::start(move |n| {
        // A writer that does not replace the file in one step. The length changes with each write.
        let _ = fs::write(&busy, "# ".repeat(usize::try_from(n % 97).unwrap_or(0) + 1));
    });
    let more =
        Documents::default().trigger(&Trigger::new("more", &sink.url("/more")).attributes("{type: x}"));
    let file = folder.path().join("more.yaml");
    under_traffic(&mesh, &sink, async {
        for round in 0..2 {
            let (before, first) = (round * 10, restless.writes.load(Ordering::Relaxed));
            taken(&mesh, || fs::write(&file, more.text())).await?;
            mesh.send("shop/default", &events(&format!("{round}-"), "x", 10))
                .await?;
            sink.wait_for("/more", before + 10).await?;
            taken(&mesh, || fs::remove_file(&file)).await?;
            // How often depends on the machine.
            assert!(restless.writes.load(Ordering::Relaxed) > first, "it went on");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_file_caught_half_written_leaves_the_mesh_running_and_is_read_again() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (mesh, folder) = in_a_folder(&sink).await?;
    let text = Documents::default()
        .trigger(&Trigger::new("half", &sink.url("/half")).attributes("{type: x}"))
        .text()
        .to_owned();
    let file = folder.path().join("half.yaml");
    let (half, slow) = (text.find("subscriber").unwrap_or(text.len() / 2), file.clone());
    let whole = text.clone();
    // Always only a part of the document: whenever it is read, it is refused.
    let restless = Restless::start(move |n| {
        let end = half + 1 + usize::try_from(n % 9).unwrap_or(0);
        let _ = fs::write(&slow, &text[..end]);
    });
    under_traffic(&mesh, &sink, async {
        refused(&mesh).await?;
        drop(restless);
        taken(&mesh, || fs::write(&file, &whole)).await?;
        until_not_refused(&mesh).await?;
        mesh.send("shop/default", &events("1-", "x", 10)).await?;
        sink.wait_for("/half", 10).await.map(drop)
    })
    .await?;
    assert_eq!(sorted(sink.ids("/half")), ids("1-", 10));
    Ok(())
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

#[tokio::test]
async fn files_of_other_tools_in_the_folder_spoil_nothing_and_any_other_refuses_the_reload()
-> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let folder = tempfile::tempdir()?;
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
    fs::create_dir(folder.path().join("templates"))?;
    for name in ["Chart.yaml", "values.yaml", "kustomization.yaml"] {
        write(name, "name: chart\nimage: {{ .Values.image }}: [\n")?;
    }
    write(
        "service.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {a: !Ref x, a: 1, ? [b] : c}\n",
    )?;
    let documents = Documents::broker().trigger(&Trigger::new("t", &sink.url("/t")));
    let mesh = Setup::new(documents.text())?
        .args(&["-f", &folder.path().to_string_lossy()])
        .start()
        .await?;
    mesh.send("shop/default", &events("a", "a", 1)).await?;
    sink.wait_for("/t", 1).await?;

    for (text, why) in [
        (
            "name: chart\n",
            "a.yaml:1:1: apiVersion: this field is required (missing-field)",
        ),
        ("a: {{ .Values.a }}\n", "(yaml-template)"),
        ("a: [\n", "(yaml-syntax)"),
        ("a: *b\n", "the alias `*b` stands for nothing"),
    ] {
        write("a.yaml", text)?;
        let error = refused(&mesh).await?;
        assert!(error.contains(why), "{text}: {error}");
        fs::remove_file(folder.path().join("a.yaml"))?;
        until_not_refused(&mesh).await?;
    }
    mesh.send("shop/default", &events("b", "a", 1)).await?;
    sink.wait_for("/t", 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_broker_that_cannot_be_opened_for_now_changes_nothing_until_it_can() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.down();
    let trigger = Trigger::new("t", &sink.url("/t")).delivery(STUBBORN);
    let mesh = Mesh::start(Documents::broker().trigger(&trigger).text()).await?;
    mesh.send("shop/default", &events("a", "x", 1)).await?;
    // What stands in the way of the new Broker's folder.
    let in_the_way = mesh.setup().data_folder().join("brokers/shop/new");
    fs::write(&in_the_way, "")?;
    // The Broker that runs comes first in order of name, and is to take no event while it owes one.
    let changed = Documents::broker_annotated(&[("millrace.dev/backlog-bytes", "1")])
        .trigger(&trigger)
        .and_broker("new", "{}");
    mesh.setup().write(changed.text())?;
    let why = refused(&mesh).await?;
    assert!(why.contains("shop/new"), "{why}");
    mesh.send("shop/default", &events("b", "x", 3)).await?;
    assert_eq!(mesh.admin().get("mesh").await?["revision"], 1);

    // Nobody touches the documents again.
    fs::remove_file(&in_the_way)?;
    until_not_refused(&mesh).await?;
    mesh.send("shop/new", &events("c", "x", 1)).await?;
    wait_until("the new limit to count", || async {
        let answer = mesh
            .post("shop/default", &Event::new("late", "x").binary())
            .await?;
        anyhow::ensure!(answer.status == 503, "{}", answer.status);
        assert_eq!(answer.code()?, "backlog-full");
        Ok(Some(()))
    })
    .await
}
