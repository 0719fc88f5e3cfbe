//! Promise: a Broker that is gone gives its folder back after the grace period, or when somebody says so.
//! Parked events keep it until then, nothing that comes back is lost, and one of the same name begins above
//! every position that was ever used.

use std::collections::BTreeSet;
use std::fs;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::reload::{PATIENT, events, ids, sorted, steady, under_traffic, until_state};
use millrace_tests::{Answer, Mesh, Sink, wait_until};
use serde_json::Value;

const SIDE: &str = "shop/side";
const SOON: &[&str] = &["--orphan-grace", "1s"];
/// Longer than any test takes.
const LATER: &[&str] = &["--orphan-grace", "1h"];
/// The first failure is the last.
const ONCE: &str = "{retry: 0}";

/// The documents without the Broker `side`, and those with it and its Trigger `t`.
fn documents(sink: &Sink, delivery: &str) -> (Documents, Documents) {
    let without = Documents::broker().trigger(&steady(sink));
    let side = Trigger::new("t", &sink.url("/t")).on("side").delivery(delivery);
    let with = without.clone().and_broker("side", "{}").trigger(&side);
    (without, with)
}

/// What is listed of `shop/side`.
async fn side(mesh: &Mesh) -> anyhow::Result<Option<Value>> {
    let brokers = mesh.admin().get("brokers").await?;
    let mut all = brokers.as_array().into_iter().flatten();
    Ok(all.find(|broker| broker["name"] == SIDE).cloned())
}

async fn until_given_back(mesh: &Mesh) -> anyhow::Result<()> {
    let folder = mesh.setup().data_folder().join("brokers").join(SIDE);
    wait_until("the folder to be given back", || async {
        let listed = side(mesh).await?;
        anyhow::ensure!(listed.is_none(), "{listed:?}");
        // It goes after the Broker is listed no longer.
        Ok(Some(()).filter(|()| !folder.exists()))
    })
    .await
}

/// Runs a command; gives its exit code and what it says.
async fn said(mesh: &Mesh, line: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let done = mesh.millrace(line).await?;
    let text = [done.stdout, done.stderr].concat();
    Ok((done.status.code(), String::from_utf8_lossy(&text).into_owned()))
}

/// The Broker is in the documents again: it begins at `end`, and its Trigger gets what is new and nothing
/// else.
async fn begins_above(mesh: &Mesh, sink: &Sink, with: &Documents, end: u64) -> anyhow::Result<()> {
    sink.answer("/t", [Answer::ok()]);
    sink.take("/t");
    mesh.reload(with.text()).await?;
    let made = side(mesh).await?.unwrap_or_default();
    anyhow::ensure!(
        (made["oldest"].as_u64(), made["head"].as_u64()) == (Some(end), Some(end)),
        "{made}"
    );
    mesh.send(SIDE, &events("new-", "x", 3)).await?;
    mesh.until_settled().await?;
    let arrived = sorted(sink.ids("/t"));
    anyhow::ensure!(arrived == ids("new-", 3), "{arrived:?}");
    anyhow::ensure!(side(mesh).await?.unwrap_or_default()["head"] == end + 3);
    Ok(())
}

#[tokio::test]
async fn after_the_grace_period_the_folder_is_given_back_and_counted() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (without, with) = documents(&sink, PATIENT);
    let mut mesh = Setup::new(with.text())?.args(SOON).start().await?;
    sink.answer("/t", [Answer::status(500)]);
    mesh.send(SIDE, &events("1-", "x", 5)).await?;
    sink.wait_for("/t", 10).await?;
    under_traffic(&mesh, &sink, async {
        mesh.reload(without.text()).await?;
        until_given_back(&mesh).await
    })
    .await?;
    let admin = mesh.admin();
    admin
        .until_metric("millrace_channel_forgotten_brokers_total", 1.0)
        .await?;
    assert_eq!(admin.metric("millrace_dispatch_dropped_debts_total").await?, 5.0);
    let series = admin.series("millrace_channel_appended_events_total").await?;
    assert!(
        series.iter().all(|(labels, _)| !labels.contains("side")),
        "{series:?}"
    );
    let words = mesh.process().stderr();
    let line = words
        .lines()
        .find(|line| line.contains("its folder is given back"));
    assert!(
        line.is_some_and(|line| line.contains("broker{broker=shop/side}")),
        "{words}"
    );
    begins_above(&mesh, &sink, &with, 5).await?;
    // The end outlives the process, also when that is killed.
    mesh.reload(without.text()).await?;
    until_given_back(&mesh).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    begins_above(&mesh, &sink, &with, 8).await
}

#[tokio::test]
async fn the_grace_period_goes_on_over_restarts_and_ends_for_one_that_went_meanwhile() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (without, with) = documents(&sink, PATIENT);
    // The grace period is a day.
    let mut mesh = Mesh::start(with.text()).await?;
    mesh.send(SIDE, &events("1-", "x", 2)).await?;
    mesh.until_settled().await?;
    mesh.stop().await?;
    mesh.setup().write(without.text())?;
    mesh.restart().await?;
    let kept = side(&mesh).await?.unwrap_or_default();
    assert_eq!(kept["state"], "orphaned", "{kept}");
    assert!(kept["reason"].to_string().contains("grace period"), "{kept}");
    mesh.kill().await?;
    mesh.restart_with(SOON).await?;
    until_given_back(&mesh).await?;
    begins_above(&mesh, &sink, &with, 2).await
}

#[tokio::test]
async fn parked_events_keep_a_broker_until_they_are_dropped() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (without, with) = documents(&sink, ONCE);
    let mut mesh = Setup::new(with.text())?.args(SOON).start().await?;
    sink.answer("/t", [Answer::status(500)]);
    mesh.send(SIDE, &events("1-", "x", 2)).await?;
    mesh.admin().until_parked(2).await?;
    mesh.reload(without.text()).await?;
    for restarted in [false, true] {
        if restarted {
            mesh.kill().await?;
            mesh.restart().await?;
        }
        let said_before = usize::from(restarted);
        wait_until("the log to say why it stays", || async {
            let said = mesh.running().stderr();
            Ok(Some(()).filter(|()| said.matches("it stays for its parked events").count() > said_before))
        })
        .await?;
        let kept = side(&mesh).await?.unwrap_or_default();
        assert_eq!(
            (&kept["state"], &kept["parked"]),
            (&"orphaned".into(), &2.into()),
            "{kept}"
        );
        let (code, table) = said(&mesh, &["brokers"]).await?;
        assert_eq!(code, Some(0), "{table}");
        let row = table
            .lines()
            .find(|line| line.starts_with(SIDE))
            .unwrap_or_default();
        assert!(
            row.contains("orphaned") && row.contains("2 parked events keep it"),
            "{table}"
        );
    }
    let parked = mesh.admin().until_parked(2).await?;
    for event in &parked {
        assert!(side(&mesh).await?.is_some(), "one is still parked");
        let id = event["id"].as_str().unwrap_or_default();
        let (code, words) = said(&mesh, &["parked", "drop", id]).await?;
        assert_eq!(code, Some(0), "{words}");
    }
    until_given_back(&mesh).await?;
    begins_above(&mesh, &sink, &with, 2).await
}

#[tokio::test]
async fn a_broker_that_is_gone_is_forgotten_by_hand_and_one_that_is_there_is_not() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (without, with) = documents(&sink, ONCE);
    let mut mesh = Setup::new(with.text())?.args(LATER).start().await?;
    sink.answer("/t", [Answer::status(500)]);
    mesh.send(SIDE, &events("1-", "x", 3)).await?;
    mesh.admin().until_parked(3).await?;
    for (name, code) in [(SIDE, "broker-in-use"), ("shop/none", "unknown-broker")] {
        let (exit, words) = said(&mesh, &["brokers", "forget", name]).await?;
        assert_eq!(exit, Some(1), "{words}");
        assert!(words.contains(code), "{words}");
    }
    mesh.reload(without.text()).await?;
    until_state(&mesh, "shop/t", "orphaned").await?;
    under_traffic(&mesh, &sink, async {
        let (exit, words) = said(&mesh, &["brokers", "forget", SIDE]).await?;
        anyhow::ensure!(exit == Some(0), "{words}");
        // Its answer comes when it is done.
        let folder = mesh.setup().data_folder().join("brokers").join(SIDE);
        anyhow::ensure!(side(&mesh).await?.is_none() && !folder.exists());
        Ok(())
    })
    .await?;
    let words = mesh.process().stderr();
    assert!(
        words.contains("was forgotten; its folder is given back"),
        "{words}"
    );
    let (exit, words) = said(&mesh, &["brokers", "forget", SIDE]).await?;
    assert_eq!(exit, Some(1), "there is nothing to forget any more: {words}");
    mesh.kill().await?;
    mesh.restart().await?;
    begins_above(&mesh, &sink, &with, 3).await
}

/// With no grace at all a Broker is given back at the moment when it may come back.
#[tokio::test]
async fn one_that_goes_and_comes_back_all_the_time_loses_nothing_that_it_accepts() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (without, with) = documents(&sink, PATIENT);
    let mesh = Setup::new(with.text())?
        .args(&["--orphan-grace", "0s"])
        .start()
        .await?;
    let (mut head, mut accepted) = (0, Vec::new());
    under_traffic(&mesh, &sink, async {
        for round in 0..8 {
            let prefix = format!("{round}-");
            mesh.send(SIDE, &events(&prefix, "x", 3)).await?;
            accepted.extend(ids(&prefix, 3));
            sink.wait_for("/t", accepted.len()).await?;
            let now = side(&mesh).await?.unwrap_or_default()["head"]
                .as_u64()
                .unwrap_or(0);
            anyhow::ensure!(now >= head + 3, "{now} after {head}");
            head = now;
            mesh.reload(without.text()).await?;
            if round % 2 == 1 {
                until_given_back(&mesh).await?;
            }
            mesh.reload(with.text()).await?;
        }
        Ok(())
    })
    .await?;
    let arrived: BTreeSet<String> = sink.ids("/t").into_iter().collect();
    assert_eq!(arrived, accepted.into_iter().collect::<BTreeSet<_>>());
    Ok(())
}

#[tokio::test]
async fn wherever_a_kill_comes_the_next_one_begins_above() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (without, with) = documents(&sink, PATIENT);
    let mut mesh = Setup::new(with.text())?.args(LATER).start().await?;
    let mut used = 0;
    for round in 0..7_u32 {
        mesh.send(SIDE, &events(&format!("{round}-"), "x", 3)).await?;
        mesh.until_settled().await?;
        used += 3;
        mesh.reload(without.text()).await?;
        // The kill comes somewhere, then once the end is written, and then once the folder is moved.
        let data = mesh.setup().data_folder();
        let (end, folder) = (data.join("ends").join(SIDE), data.join("brokers").join(SIDE));
        let before = fs::read(&end).ok();
        {
            let forget = mesh.millrace(&["brokers", "forget", SIDE]);
            let moment = async {
                match round {
                    0..3 => tokio::time::sleep(std::time::Duration::from_millis(u64::from(round) * 60)).await,
                    3..5 => {
                        while fs::read(&end).ok() == before {
                            tokio::task::yield_now().await
                        }
                    }
                    _ => {
                        while folder.exists() {
                            tokio::task::yield_now().await
                        }
                    }
                }
            };
            tokio::select! {
                biased;
                () = moment => {}
                done = forget => drop(done?),
            }
        }
        mesh.kill().await?;
        mesh.setup().write(with.text())?;
        mesh.restart().await?;
        let trash = mesh.setup().data_folder().join("trash");
        let left = fs::read_dir(trash).map_or(0, Iterator::count);
        assert_eq!(left, 0, "the start finishes what a kill cut off");
        let made = side(&mesh).await?.unwrap_or_default();
        let (oldest, head) = (made["oldest"].as_u64(), made["head"].as_u64());
        assert_eq!(head, Some(used), "{made}");
        assert!(oldest <= head, "{made}");
    }
    Ok(())
}

/// Somebody deleted its files under the process, so that nothing about it can be written down.
#[tokio::test]
async fn one_whose_files_are_gone_holds_up_no_change_of_the_documents() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (without, with) = documents(&sink, PATIENT);
    let bare = Documents::broker().and_broker("side", "{}");
    for all in [with.text(), bare.text()] {
        let mesh = Mesh::start(all).await?;
        mesh.send(SIDE, &events("1-", "x", 1)).await?;
        fs::remove_dir_all(mesh.setup().data_folder().join("brokers").join(SIDE))?;
        mesh.reload(without.text()).await?;
        let more = without.clone().trigger(&Trigger::new("more", &sink.url("/more")));
        mesh.reload(more.text()).await?;
        let seen = sink.count("/more");
        mesh.send("shop/default", &events("2-", "x", 1)).await?;
        sink.wait_for("/more", seen + 1).await?;
    }
    Ok(())
}
