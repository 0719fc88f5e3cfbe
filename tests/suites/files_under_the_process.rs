//! Promise: if files are deleted, moved or made unwritable under a running Millrace, it reports that. No
//! event is acknowledged into a file that is gone, and no second process gets in.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use http::Method;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::named::BROKER;
use millrace_tests::reload::{PATIENT, events, ids, sorted};
use millrace_tests::volume::Bind;
use millrace_tests::{Mesh, Sink, wait_until};
use serde_json::Value;

fn documents(sink: &Sink) -> Documents {
    Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")).delivery(PATIENT))
}

fn broker_folder(mesh: &Mesh) -> PathBuf {
    mesh.setup().data_folder().join("brokers/shop/default")
}

/// The segment that is being written.
fn newest_segment(mesh: &Mesh) -> anyhow::Result<PathBuf> {
    let files = fs::read_dir(broker_folder(mesh).join("log"))?;
    let mut segments: Vec<PathBuf> = files
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    segments.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    segments.into_iter().max().context("a segment")
}

/// Starts another process on a data folder, and checks that it does not get in.
async fn assert_locked(documents: &Documents, data: &Path) -> anyhow::Result<()> {
    let (status, words) = Setup::new(documents.text())?.data(data).fail().await?;
    assert_eq!(status.code(), Some(4), "{words}");
    assert!(words.contains("in use by another process"), "{words}");
    Ok(())
}

/// Waits until `/readyz` refuses with these words, and checks that the Broker reports the same and the
/// process lives.
async fn until_not_ready(mesh: &Mesh, words: &str) -> anyhow::Result<()> {
    let admin = mesh.admin();
    wait_until(&format!("/readyz to say {words:?}"), || async {
        let answer = admin.ask(&Method::GET, "/readyz").await?;
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        anyhow::ensure!(
            answer.status == 503 && said.contains(words),
            "{}: {said}",
            answer.status
        );
        assert_eq!(answer.code()?, "storage-failed");
        Ok(Some(()))
    })
    .await?;
    let brokers = admin.get("brokers").await?;
    assert_eq!(brokers[0]["state"], "not-ready", "{brokers}");
    assert!(
        brokers[0]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains(words)),
        "{brokers}"
    );
    assert_eq!(admin.ask(&Method::GET, "/healthz").await?.status, 200);
    Ok(())
}

async fn until_ready(mesh: &Mesh) -> anyhow::Result<()> {
    let admin = mesh.admin();
    wait_until("/readyz to be content", || async {
        let answer = admin.ask(&Method::GET, "/readyz").await?;
        anyhow::ensure!(answer.status == 200, "{:?}", answer.body);
        Ok(Some(()))
    })
    .await
}

/// Waits until so many events have a retry that is written down.
async fn until_deferred(mesh: &Mesh, count: usize) -> anyhow::Result<()> {
    let all = |trigger: &Value| trigger["deferred"] == count;
    let admin = mesh.admin();
    admin
        .until_trigger("shop/all", "attempts are written down", all)
        .await
        .map(drop)
}

/// Checks that one event is refused with 503.
async fn assert_refused(mesh: &Mesh, id: &str) -> anyhow::Result<()> {
    let answer = mesh.post("shop/default", &events(id, "x", 1)[0].binary()).await?;
    assert_eq!(answer.status, 503, "{:?}", answer.body);
    assert_eq!(answer.code()?, "storage-failed");
    Ok(())
}

/// Checks that the ten events of either prefix came, once each.
fn assert_both_came(sink: &Sink) {
    let expected = ["1-", "2-"].iter().flat_map(|prefix| ids(prefix, 10));
    assert_eq!(sorted(sink.ids("/all")), sorted(expected.collect()));
}

/// Sends events one by one, each until it is accepted.
async fn send_stubbornly(mesh: &Mesh, prefix: &str, count: usize) -> anyhow::Result<()> {
    for event in events(prefix, "x", count) {
        wait_until("an event to be accepted", || async {
            let answer = mesh.post("shop/default", &event.binary()).await?;
            anyhow::ensure!(answer.status == 202, "{}: {:?}", answer.status, answer.body);
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_lock_that_is_deleted_lets_no_second_process_in() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = documents(&sink);
    let mut mesh = Mesh::start(documents.text()).await?;
    let data = mesh.setup().data_folder().to_path_buf();
    let link = mesh.setup().folder().join("link");
    symlink(&data, &link)?;
    fs::remove_file(data.join("LOCK"))?;
    assert_locked(&documents, &data).await?;
    assert_locked(&documents, &link).await?;
    fs::write(data.join("LOCK"), "")?;
    assert_locked(&documents, &data).await?;
    if let Some(bound) = Bind::mount(&data)? {
        assert_locked(&documents, bound.path()).await?;
    }
    mesh.send("shop/default", &events("1-", "x", 10)).await?;
    mesh.until_settled().await?;
    assert_eq!(sorted(sink.ids("/all")), ids("1-", 10));
    mesh.stop().await?;
    let mut next = Setup::new(documents.text())?.data(&link).start().await?;
    next.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_data_folder_that_is_moved_takes_nothing_and_writes_nothing_where_it_was() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = documents(&sink);
    let mesh = Mesh::start(documents.text()).await?;
    let data = mesh.setup().data_folder().to_path_buf();
    let away = mesh.setup().folder().join("away");
    mesh.send("shop/default", &events("1-", "x", 10)).await?;
    fs::rename(&data, &away)?;
    assert_refused(&mesh, "lost-").await?;
    until_not_ready(&mesh, "removed").await?;
    // Another process may start at this path: it gets a folder of its own.
    let other_sink = Sink::start().await?;
    let mut other = Setup::new(self::documents(&other_sink).text())?
        .data(&data)
        .start()
        .await?;
    assert_refused(&mesh, "lost-").await?;
    other.send("shop/default", &events("other-", "x", 10)).await?;
    other.until_settled().await?;
    assert_eq!(sorted(other_sink.ids("/all")), ids("other-", 10));
    other.stop().await?;
    fs::remove_dir_all(&data)?;
    fs::rename(&away, &data)?;
    until_ready(&mesh).await?;
    mesh.send("shop/default", &events("2-", "x", 10)).await?;
    mesh.until_settled().await?;
    assert_both_came(&sink);
    Ok(())
}

/// How a segment is lost under the process.
type Lose = fn(&Path) -> std::io::Result<()>;

const WAYS: [Lose; 3] = [
    |file| fs::remove_file(file),
    |file| fs::rename(file, file.with_extension("aside")),
    // The same bytes in another file.
    |file| {
        let bytes = fs::read(file)?;
        fs::remove_file(file)?;
        fs::write(file, bytes)
    },
];

#[tokio::test]
async fn no_event_is_acknowledged_into_a_segment_that_is_gone() -> anyhow::Result<()> {
    for lose in WAYS {
        let sink = Sink::start().await?;
        sink.down();
        let mut mesh = Mesh::start(documents(&sink).text()).await?;
        mesh.send("shop/default", &events("1-", "x", 10)).await?;
        lose(&newest_segment(&mesh)?)?;
        send_stubbornly(&mesh, "2-", 10).await?;
        // While the process lives, it still delivers what it had acknowledged before.
        sink.up().await?;
        mesh.until_settled().await?;
        assert_both_came(&sink);
        sink.down();
        lose(&newest_segment(&mesh)?)?;
        send_stubbornly(&mesh, "3-", 10).await?;
        mesh.kill().await?;
        sink.take("/all");
        mesh.restart().await?;
        sink.up().await?;
        mesh.until_settled().await?;
        let came = sink.ids("/all");
        for id in ids("3-", 10) {
            assert!(came.contains(&id), "{id} in {came:?}");
        }
        until_ready(&mesh).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_state_database_that_is_gone_makes_the_broker_say_what_to_do() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.down();
    let mut mesh = Mesh::start(documents(&sink).text()).await?;
    mesh.send("shop/default", &events("1-", "x", 10)).await?;
    let file = broker_folder(&mesh).join("state.db");
    let aside = file.with_extension("aside");
    fs::rename(&file, &aside)?;
    until_not_ready(&mesh, "--rebuild-state").await?;
    assert_refused(&mesh, "lost-").await?;
    // Once the file is put back, everything works as before.
    fs::rename(&aside, &file)?;
    until_ready(&mesh).await?;
    mesh.send("shop/default", &events("2-", "x", 10)).await?;
    fs::remove_file(&file)?;
    until_not_ready(&mesh, "--rebuild-state").await?;
    mesh.kill().await?;
    let (status, words) = mesh.setup().fail().await?;
    assert_eq!(status.code(), Some(1), "{words}");
    assert!(words.contains("--rebuild-state"), "{words}");
    mesh.restart_with(&["--rebuild-state"]).await?;
    sink.up().await?;
    mesh.until_settled().await?;
    let came = sink.ids("/all");
    for id in ids("1-", 10).into_iter().chain(ids("2-", 10)) {
        assert!(came.contains(&id), "{id} in {came:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_write_ahead_log_that_is_gone_costs_a_restart_and_nothing_else() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.down();
    let mut mesh = Mesh::start(documents(&sink).text()).await?;
    mesh.send("shop/default", &events("1-", "x", 10)).await?;
    until_deferred(&mesh, 10).await?;
    fs::remove_file(broker_folder(&mesh).join("state.db-wal"))?;
    until_not_ready(&mesh, "SIGTERM").await?;
    assert_refused(&mesh, "lost-").await?;
    mesh.stop().await?;
    mesh.restart().await?;
    until_deferred(&mesh, 10).await?;
    sink.up().await?;
    mesh.until_settled().await?;
    assert_eq!(sorted(sink.ids("/all")), ids("1-", 10));
    Ok(())
}

#[tokio::test]
async fn what_sources_remember_is_asked_for_when_it_is_gone_and_goes_on_when_it_is_back() -> anyhow::Result<()>
{
    let sink = Sink::start().await?;
    let documents = format!(
        "{}---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {{name: tick, namespace: shop}}\n\
         spec: {{schedule: '* * * * * *', sink: {BROKER}}}\n",
        documents(&sink).text()
    );
    let mesh = Mesh::start(&documents).await?;
    let file = mesh.setup().data_folder().join("sources.db");
    let aside = file.with_extension("aside");
    sink.wait_for("/all", 2).await?;
    fs::rename(&file, &aside)?;
    let says = |source: &Value| {
        let reason = source["reason"].as_str().unwrap_or_default();
        reason.contains("sources.db") && reason.contains("put it back")
    };
    let admin = mesh.admin();
    admin.until_source("shop/tick", "says what to do", says).await?;
    fs::rename(&aside, &file)?;
    let is_well = |source: &Value| source["state"] == "ready" && source["reason"].is_null();
    admin
        .until_source("shop/tick", "has nothing to say", is_well)
        .await?;
    let before = sink.count("/all");
    sink.wait_for("/all", before + 2).await.map(drop)
}

#[tokio::test]
async fn a_brokers_folder_that_is_removed_ends_neither_the_process_nor_its_honesty() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mut mesh = Mesh::start(documents(&sink).text()).await?;
    mesh.send("shop/default", &events("1-", "x", 10)).await?;
    mesh.until_settled().await?;
    fs::remove_dir_all(broker_folder(&mesh))?;
    assert_refused(&mesh, "lost-").await?;
    until_not_ready(&mesh, "removed").await?;
    mesh.kill().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &events("2-", "x", 10)).await?;
    mesh.until_settled().await?;
    assert_both_came(&sink);
    Ok(())
}

#[tokio::test]
async fn a_log_folder_that_cannot_be_written_is_said_once_and_so_is_its_end() -> anyhow::Result<()> {
    const SAID: &str = "its files are not in order";
    let sink = Sink::start().await?;
    let mut setup = Setup::new(documents(&sink).text())?;
    if rustix::process::getuid().is_root() {
        // Root is not bound by permissions unless it gives up the capability to override them.
        let before = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
        setup = setup.before(before.map(str::to_owned).to_vec());
    }
    let mut mesh = setup.start().await?;
    let folder = broker_folder(&mesh).join("log");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500))?;
    until_not_ready(&mesh, "cannot be written").await?;
    // Events that fit into the open segment are durable, and so are accepted.
    mesh.send("shop/default", &events("1-", "x", 10)).await?;
    until_not_ready(&mesh, "cannot be written").await?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    until_ready(&mesh).await?;
    wait_until("the end to be logged", || {
        let words = mesh.process().stderr();
        async move {
            Ok(words
                .contains("the broker's files are in order again")
                .then_some(()))
        }
    })
    .await?;
    let words = mesh.process().stderr();
    assert_eq!(words.matches(SAID).count(), 1, "{words}");
    mesh.until_settled().await?;
    assert_eq!(sorted(sink.ids("/all")), ids("1-", 10));
    Ok(())
}
