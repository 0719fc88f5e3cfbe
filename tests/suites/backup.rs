//! Promise: a backup of a data folder in use holds every event that was accepted before it began, and a
//! process started on it delivers them. The original is not affected.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use millrace_tests::documents::{Documents, STUBBORN, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Event, Gate, Mesh, Producers, Sink, Volume, process, wait_until};

/// Two Brokers with segments of 256 KiB. One keeps no history, so that its segments come and go, and its
/// subscriber takes everything. The subscriber of the other, at `/late`, may be away.
fn documents(sink: &Sink) -> Documents {
    Documents::broker_annotated(&[("millrace.dev/retention-bytes", "0")])
        .trigger(&Trigger::new("prompt", &sink.url("/prompt")).delivery(STUBBORN))
        .document(
            "Broker",
            "{name: slow, namespace: shop, annotations: {millrace.dev/retention-bytes: \"1Mi\"}}",
            "spec: {}",
        )
        .trigger(
            &Trigger::new("late", &sink.url("/late"))
                .on("slow")
                .delivery(STUBBORN),
        )
}

fn event(id: &str) -> Event {
    Event::new(id, "x").data("text/plain", vec![b'.'; 16 << 10])
}

async fn backup(mesh: &Mesh, to: &Path) -> anyhow::Result<Output> {
    let args = [
        "backup".to_owned(),
        "--data".to_owned(),
        mesh.setup().data_folder().display().to_string(),
        to.display().to_string(),
        "--output".to_owned(),
        "json".to_owned(),
    ];
    process::run(mesh.setup().folder(), &args, "").await
}

fn report(output: &Output) -> anyhow::Result<serde_json::Value> {
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn as_set(ids: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    ids.into_iter().collect()
}

/// Starts a process on a backup and checks that it delivers what it owes and finds nothing wrong with the
/// files.
async fn restored(
    data: &Path,
    owed_late: &BTreeSet<String>,
    owed_prompt: &BTreeSet<String>,
) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mut mesh = Setup::new(documents(&sink).text())?.data(data).start().await?;
    sink.until_all("/late", owed_late).await?;
    sink.until_all("/prompt", owed_prompt).await?;
    mesh.until_settled().await?;
    for metric in [
        "millrace_channel_corrupt_frames_total",
        "millrace_channel_lost_events_total",
        "millrace_channel_torn_bytes_total",
    ] {
        assert_eq!(mesh.admin().metric(metric).await?, 0.0, "{metric}");
    }
    // The backup is a data folder like any other: what it takes from now on survives a kill.
    mesh.send("shop/slow", &[event("after")]).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    sink.until_all("/late", &as_set(["after".to_owned()])).await?;
    mesh.until_settled().await?;
    mesh.stop().await?;
    let words = mesh.process().stderr();
    for word in ["corrupt", "torn", "skipped", "ERROR"] {
        assert!(!words.contains(word), "{word} in {words}");
    }
    Ok(())
}

#[tokio::test]
async fn everything_accepted_before_a_backup_under_load_is_in_it() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/late", [Answer::status(503)]);
    let mesh = Mesh::start(documents(&sink).text()).await?;
    let start = |broker: &str, seeds| {
        let pause = Duration::from_millis(2);
        Producers::start(mesh.listen(), &format!("/shop/{broker}"), seeds, pause, event)
    };
    let (prompt, slow) = (start("default", [1, 2, 3]), start("slow", [4, 5, 6]));
    let copies = tempfile::tempdir()?;
    let mut backups = Vec::new();
    for number in 0..4 {
        let seen = (prompt.count(), slow.count());
        wait_until("traffic", || async {
            let more = (prompt.count() > seen.0 + 60) && (slow.count() > seen.1 + 60);
            Ok(Some(()).filter(|()| more))
        })
        .await?;
        let before = (as_set(prompt.accepted()), as_set(slow.accepted()));
        let at = copies.path().join(number.to_string());
        let report = report(&backup(&mesh, &at).await?)?;
        assert_eq!(report["brokers"], 2, "{report}");
        // Events that the prompt Trigger had delivered by then need not come again.
        let delivered = as_set(sink.ids("/prompt"));
        backups.push((at, before.1, before.0.difference(&delivered).cloned().collect()));
    }
    let linked: BTreeSet<_> = fs::read_dir(backups[3].0.join("brokers/shop/slow/log"))?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    assert!(linked.len() > 1, "several segments: {linked:?}");
    // The original keeps running while processes run on its copies.
    for (at, late, prompt) in &backups {
        restored(at, late, prompt).await?;
    }
    let (prompt, slow) = (as_set(prompt.stop().await?), as_set(slow.stop().await?));
    sink.answer("/late", [Answer::ok()]);
    sink.until_all("/prompt", &prompt).await?;
    sink.until_all("/late", &slow).await?;
    mesh.until_settled().await?;
    assert_eq!(
        mesh.admin().metric("millrace_channel_lost_events_total").await?,
        0.0
    );
    Ok(())
}

#[tokio::test]
async fn work_due_later_and_parked_events_are_in_a_backup_of_a_folder_at_rest() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/parks", [Answer::status(500)]);
    sink.answer("/waits", [Answer::status(503)]);
    let documents = Documents::broker()
        .trigger(&Trigger::new("parks", &sink.url("/parks")).delivery("{retry: 0}"))
        .trigger(&Trigger::new("waits", &sink.url("/waits")).delivery("{retry: 9, backoffDelay: PT1H}"));
    let mut mesh = Mesh::start(documents.text()).await?;
    let events: Vec<_> = (0..10).map(|id| event(&id.to_string())).collect();
    mesh.send("shop/default", &events).await?;
    mesh.admin().until_parked(10).await?;
    mesh.admin()
        .until_trigger("shop/waits", "everything waits", |trigger| {
            trigger["deferred"] == 10
        })
        .await?;
    mesh.stop().await?;
    let copies = tempfile::tempdir()?;
    let at = copies.path().join("copy");
    report(&backup(&mesh, &at).await?)?;
    let other = Setup::new(documents.text())?.data(&at).start().await?;
    let parked = other.admin().until_parked(10).await?;
    assert!(
        parked.iter().all(|parked| parked["event"]["id"].is_string()),
        "{parked:?}"
    );
    assert_eq!(other.admin().trigger("shop/waits").await?["deferred"], 10);
    mesh.restart().await?;
    mesh.admin().until_parked(10).await.map(drop)
}

#[tokio::test]
async fn a_backup_on_another_file_system_is_a_copy() -> anyhow::Result<()> {
    let Some(volume) = Volume::mount(64)? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/late", [Answer::status(503)]);
    let mesh = Mesh::start(documents(&sink).text()).await?;
    let ids: Vec<_> = (0..40).map(|id| id.to_string()).collect();
    let events: Vec<_> = ids.iter().map(|id| event(id)).collect();
    mesh.send("shop/slow", &events).await?;
    let at = volume.path().join("copy");
    let report = report(&backup(&mesh, &at).await?)?;
    assert_eq!(report["linkedSegments"], 0, "{report}");
    restored(&at, &as_set(ids), &BTreeSet::new()).await
}

#[tokio::test]
async fn what_is_no_place_for_a_backup_is_refused_in_words() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(documents(&sink).text()).await?;
    let temp = tempfile::tempdir()?;
    let full = temp.path().join("full");
    fs::create_dir_all(full.join("something"))?;
    let data = mesh.setup().data_folder();
    for (to, words) in [
        (full.clone(), "not an empty folder"),
        (data.to_path_buf(), "not an empty folder"),
        (data.join("copy"), "within the data folder"),
    ] {
        let output = backup(&mesh, &to).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(fs::read_dir(&full)?.count(), 1, "nothing was added");
    let output = process::run(temp.path(), &["backup", "--data", "full", "elsewhere"], "").await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("no data folder"), "{said}");
    assert!(!temp.path().join("elsewhere").exists());
    mesh.send("shop/default", &[event("1")]).await?;
    mesh.until_settled().await
}

/// To delete a segment that a backup has too gives no room back.
#[tokio::test]
async fn what_a_backup_keeps_is_not_given_up_for_room() -> anyhow::Result<()> {
    let Some(volume) = Volume::mount(64)? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let gate = Gate::closed();
    sink.answer("/late", [Answer::ok().after(&gate)]);
    let documents = Documents::broker_annotated(&[
        ("millrace.dev/on-full", "drop-oldest"),
        ("millrace.dev/retention-bytes", "1Mi"),
    ]);
    let documents = documents.trigger(&Trigger::new("late", &sink.url("/late")));
    let mesh = Setup::new(documents.text())?
        .data(&volume.path().join("data"))
        .start()
        .await?;
    let mut sent: BTreeSet<_> = (0..400).map(|number| number.to_string()).collect();
    for id in &sent {
        mesh.send("shop/default", &[event(id)]).await?;
    }
    let copy = volume.path().join("copy");
    report(&backup(&mesh, &copy).await?)?;
    let dropped = async || mesh.admin().metric("millrace_channel_dropped_events_total").await;

    // Half of the reserve is missing, and the log has less than that.
    // Grows or shrinks in place, so that there is never more room than meant.
    let mut filler = File::create(volume.path().join("filler"))?;
    let mut leave = |free: u64| -> anyhow::Result<()> {
        match volume.free()?.checked_sub(free) {
            Some(more) => filler.write_all(&vec![0; usize::try_from(more)?])?,
            None => {
                let less = filler.metadata()?.len() + volume.free()? - free;
                filler.set_len(less)?;
                filler.seek(SeekFrom::End(0))?;
            }
        }
        Ok(filler.sync_all()?)
    };
    leave(8 << 20)?;
    for _ in 0..5 {
        let answer = mesh.post("shop/default", &event("refused").binary()).await?;
        assert_eq!(answer.status, 503);
    }
    // Little is missing, and all of it is in the backup too.
    leave(15 << 20)?;
    for _ in 0..5 {
        let answer = mesh.post("shop/default", &event("refused").binary()).await?;
        assert_eq!(answer.status, 503);
    }
    assert_eq!(dropped().await?, 0.0, "nothing was given up in vain");

    // Without the backup the oldest events give their room.
    fs::remove_dir_all(&copy)?;
    leave(15 << 20)?;
    // The first ones may still find the room that the backup gave back.
    while dropped().await? == 0.0 {
        let id = format!("taken-{}", sent.len());
        let answer = mesh.post("shop/default", &event(&id).binary()).await?;
        eprintln!(
            "{} {} {}",
            volume.free()?,
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        if answer.status == 202 {
            sent.insert(id);
        }
    }
    let lost = dropped().await?;
    assert!(lost < 400.0, "{lost}");
    fs::remove_file(volume.path().join("filler"))?;
    gate.open();
    sink.wait_for("/late", sent.len() - lost as usize).await?;
    Ok(())
}
