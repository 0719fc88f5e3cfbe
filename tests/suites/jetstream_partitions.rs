//! Promise: a Broker on NATS with several partitions keeps and delivers what one with a single partition
//! does. The events of a key stand in one partition, in order; commands answer over all of them, and the
//! number stays what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::Method;
use millrace_tests::channel_server::{ChannelServer as _, PATIENT, all};
use millrace_tests::reload::refused;
use millrace_tests::{Answer, Event, Mesh, Nats, Producers, Sink, chance, long, wait_until};
use serde_json::Value;

const FOUR: [&str; 1] = ["partitions: \"4\""];

fn keyed(id: &str, key: &str) -> Event {
    Event::new(id, "x").with("partitionkey", key)
}

/// The events that the Broker keeps: of each the partition, its id and its key.
async fn kept(mesh: &Mesh) -> anyhow::Result<Vec<(String, String, Option<String>)>> {
    let mut all = Vec::new();
    let mut from = String::new();
    loop {
        let path = format!("/api/v1/events?broker=shop/default&limit=7{from}");
        let answer = mesh.admin().ask(&Method::GET, &path).await?;
        let text = String::from_utf8(answer.body.to_vec())?;
        let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        for line in &lines {
            let (Some(position), event) = (line["position"].as_str(), &line["event"]) else {
                continue;
            };
            let partition = position.split_once(':').map_or("0", |(partition, _)| partition);
            let text = |name: &str| event[name].as_str().map(str::to_owned);
            let id = text("id").unwrap_or_default();
            all.push((partition.to_owned(), id, text("partitionkey")));
        }
        let end = lines.last().cloned().unwrap_or_default();
        anyhow::ensure!(end["error"].is_null(), "{end}");
        match end["next"].as_str() {
            Some(next) => from = format!("&from={next}"),
            None => return Ok(all),
        }
    }
}

#[tokio::test]
async fn what_is_accepted_is_delivered_over_kill_9_whatever_its_partition() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let (sink, mut chance) = (Sink::start().await?, chance());
    sink.decide("/all", {
        let mut chance = chance.fork();
        move |_, _| match chance.u8(..10) < 2 {
            true => Answer::status(500),
            false => Answer::ok(),
        }
    });
    let mut mesh = Mesh::start(nats.broker(PATIENT, &FOUR).trigger(&all(&sink)).text()).await?;
    let seeds: Vec<u64> = (0..4).map(|_| chance.u64(..)).collect();
    let event = |id: &str| {
        let key = format!("k{}", id.len() + usize::from(id.as_bytes()[id.len() - 1]));
        keyed(id, &key)
    };
    let pause = Duration::from_millis(4);
    let producers = Producers::start(mesh.listen(), "/shop/default", seeds, pause, event);
    for _ in 0..if long() { 20 } else { 3 } {
        let before = producers.count();
        wait_until("more to be accepted", || async {
            Ok((producers.count() > before + 100).then_some(()))
        })
        .await?;
        mesh.kill().await?;
        mesh.restart().await?;
        producers.moved(mesh.listen());
    }
    let accepted: BTreeSet<_> = producers.stop().await?.into_iter().collect();
    sink.until_all("/all", &accepted).await?;
    mesh.until_settled().await?;
    let kept = kept(&mesh).await?;
    let ids: BTreeSet<_> = kept.iter().map(|(_, id, _)| id.clone()).collect();
    assert!(ids.is_superset(&accepted), "each page of events is there");
    let used: BTreeSet<_> = kept.iter().map(|(partition, ..)| partition.as_str()).collect();
    assert_eq!(used, BTreeSet::from(["0", "1", "2", "3"]));
    let mut of_keys: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (partition, _, key) in &kept {
        of_keys.entry(key.clone()).or_default().insert(partition);
    }
    assert!(of_keys.values().all(|of| of.len() == 1), "{of_keys:?}");
    Ok(())
}

/// Each attempt fails at first, so that the order is not that of a quick way by chance.
#[tokio::test]
async fn with_a_parallelism_of_one_the_events_of_a_key_keep_their_order() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    for (broker, partitions) in [("four", 4), ("one", 1)] {
        let sink = Sink::start().await?;
        let one = all(&sink).annotation("millrace.dev/parallelism", "1");
        let more = [format!("partitions: \"{partitions}\"")];
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let text = nats
            .broker(PATIENT, &more)
            .trigger(&one)
            .text()
            .replace("name: default", &format!("name: {broker}"));
        let text = text.replace("broker: default", &format!("broker: {broker}"));
        let mesh = Mesh::start(&text).await?;
        let events: Vec<_> = (0..200)
            .map(|n| keyed(&format!("{n:04}"), &format!("k{}", n % 10)))
            .collect();
        // Some of them in batches, which are spread over the partitions.
        for (n, some) in events.chunks(20).enumerate() {
            match n % 2 {
                0 => mesh.send(&format!("shop/{broker}"), some).await?,
                _ => {
                    let answer = mesh.post(&format!("shop/{broker}"), &Event::batch(some)).await?;
                    assert_eq!(answer.status, 202);
                }
            }
        }
        let received = sink.wait_for("/all", 200).await?;
        let mut of_keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for one in &received {
            let event = one.event();
            let key = event.get("partitionkey").unwrap_or_default().to_owned();
            of_keys.entry(key).or_default().push(event.id().to_owned());
        }
        assert_eq!(of_keys.len(), 10);
        for (key, ids) in &of_keys {
            assert!(ids.is_sorted() && ids.len() == 20, "{broker}: {key}: {ids:?}");
        }
        if partitions == 1 {
            assert!(sink.ids("/all").is_sorted(), "one partition is strictly serial");
        }
    }
    Ok(())
}

#[tokio::test]
async fn commands_answer_over_all_partitions() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/all", [Answer::status(400)]);
    let documents = nats.broker("{retry: 0}", &FOUR).trigger(&all(&sink));
    let mut mesh = Mesh::start(documents.text()).await?;
    let events: Vec<_> = (0..20).map(|n| Event::new(&format!("e{n}"), "x")).collect();
    mesh.send("shop/default", &events).await?;
    mesh.admin().until_parked(20).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    let parked = mesh.admin().until_parked(20).await?;
    let ids: BTreeSet<_> = parked.iter().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!(ids.len(), 20, "no two of them have one id");
    let partitions: BTreeSet<_> = parked
        .iter()
        .filter_map(|one| Some(one["position"].as_str()?.split_once(':').map_or("0", |(p, _)| p)))
        .collect();
    assert_eq!(partitions, BTreeSet::from(["0", "1", "2", "3"]));
    let status = mesh.admin().trigger("shop/all").await?;
    assert_eq!(
        (&status["parked"], &status["backlog"]),
        (&20.into(), &0.into()),
        "{status}"
    );
    for one in &parked {
        let (id, position) = (&one["event"]["id"], &one["position"]);
        let [id, position] = [id, position].map(|text| text.as_str().unwrap_or_default());
        let args = ["explain", "--broker", "shop/default", "--id", id];
        for args in [args.to_vec(), [&args[..], &["--position", position]].concat()] {
            let said = mesh.millrace(&args).await?;
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(
                said.contains("parked") && said.contains(&format!("position {position} ")),
                "{said}"
            );
        }
    }
    let unknown = mesh
        .millrace(&["explain", "--broker", "shop/default", "--id", "none"])
        .await?;
    let unknown = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.contains("the events that are kept begin at"), "{unknown}");
    sink.answer("/all", [Answer::ok()]);
    let (first, others) = parked.split_first().expect("20 are parked");
    let id = |one: &Value| one["id"].as_str().unwrap_or_default().to_owned();
    assert!(
        mesh.millrace(&["parked", "drop", &id(first)])
            .await?
            .status
            .success()
    );
    for one in others {
        assert!(
            mesh.millrace(&["parked", "redrive", &id(one)])
                .await?
                .status
                .success()
        );
    }
    sink.wait_for("/all", 39).await?;
    mesh.admin().until_parked(0).await?;
    mesh.until_settled().await
}

/// The server's mapping and we agree on the partition of a key.
#[tokio::test]
async fn a_server_that_maps_keys_puts_events_of_others_beside_ours() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("nats.conf");
    let mapping =
        "mappings = {\"millrace.shop.default.in.*\": \"millrace.shop.default.p.{{partition(4,1)}}\"}\n";
    std::fs::write(&file, mapping)?;
    let Some(nats) = Nats::start_with(&["-c", &file.to_string_lossy()]).await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mesh = Mesh::start(nats.broker(PATIENT, &FOUR).trigger(&all(&sink)).text()).await?;
    let mut wire = nats.connect().await?;
    for n in 0..20 {
        let key = format!("till-{n}");
        let headers = format!(
            "ce-specversion: 1.0\r\nce-id: other-{n}\r\nce-source: /other\r\nce-type: x\r\nce-partitionkey: {key}\r\n"
        );
        let subject = format!("millrace.shop.default.in.{key}");
        wire.publish(&subject, headers.as_bytes(), b"data").await?;
        mesh.send("shop/default", &[keyed(&format!("ours-{n}"), &key)])
            .await?;
    }
    sink.wait_for("/all", 40).await?;
    let mut of_keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (partition, _, key) in kept(&mesh).await? {
        of_keys.entry(key).or_default().push(partition);
    }
    assert_eq!(of_keys.len(), 20);
    assert!(
        of_keys.values().all(|of| of.len() == 2 && of[0] == of[1]),
        "{of_keys:?}"
    );
    let used: BTreeSet<_> = of_keys.values().flatten().collect();
    assert_eq!(used.len(), 4);
    Ok(())
}

#[tokio::test]
async fn another_number_of_partitions_is_refused_in_words() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let with = |number: u32| {
        let line = format!("partitions: \"{number}\"");
        nats.broker(PATIENT, &[&line])
            .trigger(&all(&sink))
            .text()
            .to_owned()
    };
    let mut mesh = Mesh::start(&with(4)).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    mesh.setup().write(&with(8))?;
    let why = refused(&mesh).await?;
    assert!(why.contains("has 4 partition(s), and its config says 8"), "{why}");
    mesh.send("shop/default", &[Event::new("2", "x")]).await?;
    sink.wait_for("/all", 2).await?;
    // What nobody remembers, the streams do.
    mesh.stop().await?;
    for other in [8, 1] {
        mesh.setup().write(&with(other))?;
        mesh.restart().await?;
        let refused = mesh.post("shop/default", &Event::new("3", "x").binary()).await?;
        let said = String::from_utf8_lossy(&refused.body).into_owned();
        assert_eq!(refused.status, 503);
        assert!(
            said.contains(&format!(
                "has 4 partition(s) on the NATS servers, and its config says {other}"
            )),
            "{said}"
        );
        mesh.stop().await?;
    }
    mesh.setup().write(&with(4))?;
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("4", "x")]).await?;
    sink.wait_for("/all", 3).await?;
    Ok(())
}
