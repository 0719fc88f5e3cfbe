//! Promise: several processes with the same documents serve a Broker on NATS together. Each takes events for
//! every partition; each partition has one owner. Whichever of them comes, stops, is killed or is paused,
//! nothing that was accepted is lost, and a process that was asked to stop repeats nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_tests::channel_server::{ChannelServer as _, PATIENT, all};
use millrace_tests::{Answer, Event, Mesh, Nats, Producers, Sink, chance, long, wait_until};
use rustix::process::Signal;
use serde_json::Value;

const SIX: [&str; 1] = ["partitions: \"6\""];

/// The partitions that a process serves of six, and those that nobody does.
async fn serves(mesh: &Mesh) -> anyhow::Result<(BTreeSet<u64>, usize)> {
    let status = mesh.admin().get("brokers/shop/default").await?;
    let elsewhere = status["elsewhere"].as_array().cloned().unwrap_or_default();
    let others: BTreeSet<_> = elsewhere
        .iter()
        .filter_map(|one| one["partition"].as_u64())
        .collect();
    let nobody = elsewhere.iter().filter(|one| one["owner"].is_null()).count();
    Ok((
        (0..6).filter(|partition| !others.contains(partition)).collect(),
        nobody,
    ))
}

/// Waits until these processes serve as many partitions as each is to have, and each partition once.
async fn shared(processes: &[&Mesh]) -> anyhow::Result<()> {
    wait_until("the partitions to be shared", || async {
        let mut all = Vec::new();
        for process in processes {
            let (served, nobody) = serves(process).await?;
            anyhow::ensure!(
                nobody == 0 && served.len() == 6 / processes.len(),
                "{served:?} {nobody}"
            );
            all.extend(served);
        }
        let each: BTreeSet<_> = all.iter().collect();
        anyhow::ensure!(each.len() == 6 && all.len() == 6, "{all:?}");
        Ok(Some(()))
    })
    .await
}

fn producers(mesh: &Mesh, name: &'static str, chance: &mut fastrand::Rng) -> Producers {
    let seeds: Vec<u64> = (0..2).map(|_| chance.u64(..)).collect();
    let event = move |id: &str| Event::new(&format!("{name}-{id}"), "x");
    Producers::start(
        mesh.listen(),
        "/shop/default",
        seeds,
        Duration::from_millis(8),
        event,
    )
}

/// Waits until so many more are accepted.
async fn more(producers: &Producers, count: usize) -> anyhow::Result<()> {
    let before = producers.count();
    wait_until("more to be accepted", || async {
        Ok((producers.count() > before + count).then_some(()))
    })
    .await
}

/// The ids that were accepted, as they were sent.
fn named(name: &str, accepted: Vec<String>) -> impl Iterator<Item = String> {
    accepted.into_iter().map(move |id| format!("{name}-{id}"))
}

/// How often events were delivered more than once.
fn repeats(sink: &Sink) -> usize {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for id in sink.ids("/all") {
        *counts.entry(id).or_default() += 1;
    }
    counts.values().map(|count| count - 1).sum()
}

#[tokio::test]
async fn processes_that_come_and_stop_share_the_partitions_and_repeat_nothing() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let (sink, mut chance) = (Sink::start().await?, chance());
    let text = nats.broker(PATIENT, &SIX).trigger(&all(&sink)).text().to_owned();
    let (first, mut second) = (Mesh::start(&text).await?, Mesh::start(&text).await?);
    shared(&[&first, &second]).await?;
    let load = producers(&first, "first", &mut chance);
    let mut third = Mesh::start(&text).await?;
    let other = producers(&third, "third", &mut chance);
    shared(&[&first, &second, &third]).await?;
    more(&load, 100).await?;
    for _ in 0..if long() { 10 } else { 1 } {
        assert!(second.stop().await?.success());
        more(&load, 100).await?;
        second.restart().await?;
        shared(&[&first, &second, &third]).await?;
        more(&load, 100).await?;
    }
    let mut accepted: BTreeSet<_> = named("third", other.stop().await?).collect();
    assert!(third.stop().await?.success());
    shared(&[&first, &second]).await?;
    accepted.extend(named("first", load.stop().await?));
    sink.until_all("/all", &accepted).await?;
    assert_eq!(repeats(&sink), 0, "a clean stop repeats nothing");
    Ok(())
}

#[tokio::test]
async fn kill_9_and_pauses_of_any_of_three_processes_under_load_lose_nothing() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let (sink, mut chance) = (Sink::start().await?, chance());
    sink.decide("/all", {
        let mut chance = chance.fork();
        move |_, _| match chance.u8(..20) == 0 {
            true => Answer::status(500),
            false => Answer::ok(),
        }
    });
    let text = nats.broker(PATIENT, &SIX).trigger(&all(&sink)).text().to_owned();
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(Mesh::start(&text).await?);
    }
    let names = ["a", "b", "c"];
    let loads = processes.iter().zip(names);
    let loads: Vec<_> = loads
        .map(|(process, name)| producers(process, name, &mut chance))
        .collect();
    shared(&processes.iter().collect::<Vec<_>>()).await?;
    for round in 0..if long() { 20 } else { 3 } {
        let victim = chance.usize(..3);
        let others: Vec<_> = (0..3).filter(|other| *other != victim).collect();
        match round % 3 {
            // Its partitions go to the others before it comes back.
            0 => {
                processes[victim].kill().await?;
                shared(&others.iter().map(|other| &processes[*other]).collect::<Vec<_>>()).await?;
                processes[victim].restart().await?;
            }
            // It wakes up as one that has been replaced.
            1 => {
                processes[victim].running().signal(Signal::STOP)?;
                shared(&others.iter().map(|other| &processes[*other]).collect::<Vec<_>>()).await?;
                processes[victim].running().signal(Signal::CONT)?;
            }
            // It comes back before anybody has noticed.
            _ => {
                processes[victim].kill().await?;
                processes[victim].restart().await?;
            }
        }
        loads[victim].moved(processes[victim].listen());
        shared(&processes.iter().collect::<Vec<_>>()).await?;
        for load in &loads {
            more(load, 50).await?;
        }
    }
    let mut accepted = BTreeSet::new();
    for (load, name) in loads.into_iter().zip(names) {
        accepted.extend(named(name, load.stop().await?));
    }
    sink.until_all("/all", &accepted).await
}

#[tokio::test]
async fn what_another_process_serves_is_named() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/all", [Answer::status(400)]);
    let text = nats
        .broker("{retry: 0}", &SIX)
        .trigger(&all(&sink))
        .text()
        .to_owned();
    let (first, second) = (Mesh::start(&text).await?, Mesh::start(&text).await?);
    shared(&[&first, &second]).await?;
    let events: Vec<_> = (0..30).map(|n| Event::new(&n.to_string(), "x")).collect();
    first.send("shop/default", &events).await?;
    let parked = |mesh: &Mesh| {
        let admin = mesh.admin();
        async move { Ok::<_, anyhow::Error>(admin.get("parked").await?.as_array().cloned().unwrap_or_default()) }
    };
    let both = wait_until("all to be parked", || async {
        let both = [parked(&first).await?, parked(&second).await?];
        Ok((both[0].len() + both[1].len() == 30).then_some(both))
    })
    .await?;
    let address = second.admin().address().to_string();
    let theirs = both[1].first().expect("each has some");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (event, id) = (text(&theirs["event"]["id"]), text(&theirs["id"]));
    for args in [
        &["explain", "--broker", "shop/default", "--id", &event][..],
        &["parked", "show", &id],
        &["parked", "redrive", &id],
    ] {
        let there = first.millrace(args).await?;
        let said = String::from_utf8_lossy(&there.stderr).into_owned();
        assert!(
            !there.status.success() && said.contains(&address),
            "{args:?}: {said}"
        );
        assert!(second.millrace(args).await?.status.success(), "{args:?}");
    }
    Ok(())
}
