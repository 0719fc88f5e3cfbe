//! Promise: a Broker whose `config` says `backend: jetstream` keeps what it has answered with 202 on the NATS
//! server, and delivers it to every Trigger that wants it: over `kill -9` of Millrace and of the server, and
//! whatever else anybody publishes there.

use std::collections::BTreeSet;
use std::time::Duration;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::process::Process;
use millrace_tests::reload::refused;
use millrace_tests::{Answer, Event, Mesh, Nats, Producers, Sink, chance, long, wait_until};
use serde_json::json;

/// A policy that keeps trying, often.
const PATIENT: &str = "{retry: 100000, backoffPolicy: exponential, backoffDelay: PT0.1S, backoffMax: PT0.5S}";

fn all(sink: &Sink) -> Trigger {
    Trigger::new("all", &sink.url("/all"))
}

fn wanted(accepted: Vec<String>) -> BTreeSet<String> {
    accepted.into_iter().collect()
}

fn producers(mesh: &Mesh, chance: &mut fastrand::Rng) -> Producers {
    let seeds: Vec<u64> = (0..4).map(|_| chance.u64(..)).collect();
    let event = |id: &str| Event::new(id, "x");
    Producers::start(
        mesh.listen(),
        "/shop/default",
        seeds,
        Duration::from_millis(4),
        event,
    )
}

#[tokio::test]
async fn what_is_accepted_is_delivered_and_the_status_says_what_a_202_is_worth() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = Mesh::start(nats.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let events: Vec<_> = (0..300).map(|n| Event::new(&n.to_string(), "x")).collect();
    mesh.send("shop/default", &events).await?;
    sink.wait_for("/all", 300).await?;
    let status = mesh.admin().get("brokers/shop/default").await?;
    assert_eq!(status["backend"], "jetstream", "{status}");
    assert_eq!(status["durability"]["word"], "single-copy", "{status}");
    assert_eq!(status["state"], "ready", "{status}");
    // A stop that was asked for repeats nothing.
    mesh.until_settled().await?;
    assert!(mesh.stop().await?.success());
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("last", "x")]).await?;
    sink.wait_for("/all", 301).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.count("/all"), 301);
    Ok(())
}

#[tokio::test]
async fn kill_9_of_millrace_under_load_loses_nothing() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let (sink, mut chance) = (Sink::start().await?, chance());
    sink.decide("/all", {
        let mut chance = chance.fork();
        move |_, _| {
            if chance.u8(..10) < 2 {
                Answer::status(500)
            } else {
                Answer::ok()
            }
        }
    });
    let mut mesh = Mesh::start(nats.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let producers = producers(&mesh, &mut chance);
    for _ in 0..if long() { 30 } else { 5 } {
        let before = producers.count();
        wait_until("more to be accepted", || async {
            Ok((producers.count() > before + 100).then_some(()))
        })
        .await?;
        mesh.kill().await?;
        mesh.restart().await?;
        producers.moved(mesh.listen());
    }
    sink.until_all("/all", &wanted(producers.stop().await?)).await?;
    mesh.until_settled().await
}

#[tokio::test]
async fn kill_9_of_the_server_under_load_loses_nothing_and_producers_are_told_to_come_back()
-> anyhow::Result<()> {
    let Some(mut nats) = Nats::start().await? else {
        return Ok(());
    };
    let (sink, mut chance) = (Sink::start().await?, chance());
    let mesh = Mesh::start(nats.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let producers = producers(&mesh, &mut chance);
    for _ in 0..if long() { 10 } else { 3 } {
        let before = producers.count();
        wait_until("more to be accepted", || async {
            Ok((producers.count() > before + 100).then_some(()))
        })
        .await?;
        nats.kill().await?;
        let refused = wait_until("a producer to be refused", || async {
            let answered = mesh
                .post("shop/default", &Event::new("refused", "y").binary())
                .await?;
            Ok(Some(answered).filter(|answered| answered.status == 503))
        });
        let refused = refused.await?;
        assert_eq!(refused.code()?, "backend-unavailable");
        assert!(refused.header("retry-after").is_some());
        nats.restart().await?;
    }
    let before = producers.count();
    wait_until("more to be accepted", || async {
        Ok((producers.count() > before + 100).then_some(()))
    })
    .await?;
    sink.until_all("/all", &wanted(producers.stop().await?)).await?;
    mesh.until_settled().await
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_holds_up_no_other_broker() -> anyhow::Result<()> {
    let Some(mut nats) = Nats::start().await? else {
        return Ok(());
    };
    nats.kill().await?;
    let sink = Sink::start().await?;
    let documents = nats
        .broker(PATIENT, &[])
        .trigger(&all(&sink))
        .and_broker("local", "{}");
    let local = Trigger::new("local", &sink.url("/local")).on("local");
    let mesh = Mesh::start(documents.trigger(&local).text()).await?;
    mesh.send("shop/local", &[Event::new("1", "x")]).await?;
    sink.wait_for("/local", 1).await?;
    let refused = mesh.post("shop/default", &Event::new("2", "x").binary()).await?;
    assert_eq!(
        (refused.status, refused.code()?.as_str()),
        (503, "backend-unavailable")
    );
    nats.restart().await?;
    wait_until("it to be accepted", || async {
        let answered = mesh.post("shop/default", &Event::new("3", "x").binary()).await?;
        Ok((answered.status == 202).then_some(()))
    })
    .await?;
    sink.wait_for("/all", 1).await?;
    assert_eq!(sink.ids("/all"), ["3"]);
    Ok(())
}

#[tokio::test]
async fn what_others_publish_is_routed_and_what_is_no_event_is_skipped_and_counted() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mesh = Mesh::start(nats.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let mut wire = nats.connect().await?;
    let subject = "millrace.shop.default.in.order-7";
    let event = |id: &str| {
        format!("ce-specversion: 1.0\r\nCE-Id: {id}\r\nce-source: /other\r\nce-type: x\r\nce-odd: 50%25\r\n")
    };
    wire.publish(subject, event("first").as_bytes(), b"data").await?;
    let odd: [&[u8]; 5] = [
        b"other: 1\r\n",
        b"ce-id: 1\r\n",
        b"ce-specversion: 1.0\r\nce-id: \xff\xfe\r\nce-source: /s\r\nce-type: x\r\n",
        b"ce-specversion: 1.0\r\nce-id: a\rb\r\nce-source: /s\r\nce-type: x\r\n",
        b"\xff\xff: x\r\n",
    ];
    for (n, headers) in odd.into_iter().enumerate() {
        wire.publish(subject, headers, b"no event").await?;
        wire.publish(subject, event(&n.to_string()).as_bytes(), b"data")
            .await?;
    }
    wire.publish(
        subject,
        b"Content-Type: application/cloudevents+json\r\n",
        br#"{"specversion":"1.0","id":"structured","source":"/other","type":"x"}"#,
    )
    .await?;
    let received = sink.wait_for("/all", 7).await?;
    let first = received
        .iter()
        .find(|one| one.event().id() == "first")
        .expect("it came");
    assert_eq!(first.event().get("odd"), Some("50%25"), "spelled as over HTTP");
    let ids: BTreeSet<_> = sink.ids("/all").into_iter().collect();
    let expected = ["0", "1", "2", "3", "4", "first", "structured"].map(str::to_owned);
    assert_eq!(ids, BTreeSet::from(expected));
    mesh.admin()
        .until_metric("millrace_dispatch_unreadable_messages_total", 5.0)
        .await?;
    // Nothing stands still behind them.
    mesh.send("shop/default", &[Event::new("last", "x")]).await?;
    sink.wait_for("/all", 8).await?;
    Ok(())
}

#[tokio::test]
async fn the_commands_are_the_same() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/all", [Answer::status(400)]);
    let documents = nats.broker("{retry: 0}", &[]).trigger(&all(&sink));
    let mut mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("7", "x")]).await?;
    mesh.admin().until_parked(1).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    let parked = mesh.admin().until_parked(1).await?;
    assert_eq!(parked[0]["event"]["id"], "7", "{parked:?}");
    let admin = format!("http://{}", mesh.admin().address());
    let folder = mesh.setup().folder();
    let args = ["tail", "--output", "json", "--admin", &admin];
    let mut tail = Process::start(&args, folder, &folder.join("tail-stderr"))?;
    tail.first_line().await?;
    let said = mesh
        .millrace(&["explain", "--broker", "shop/default", "--id", "7"])
        .await?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("parked"), "{said}");
    sink.answer("/all", [Answer::ok()]);
    let id = parked[0]["id"].as_str().unwrap_or_default().to_owned();
    assert!(mesh.millrace(&["parked", "redrive", &id]).await?.status.success());
    sink.wait_for("/all", 2).await?;
    mesh.admin().until_parked(0).await?;
    wait_until("tail to tell of the delivery", || async {
        let told = tail.stdout().join("\n");
        anyhow::ensure!(told.contains("\"outcome\"") && told.contains("\"7\""), "{told}");
        Ok(Some(()))
    })
    .await?;
    mesh.until_settled().await
}

#[tokio::test]
async fn a_second_process_takes_events_too_and_serves_when_the_first_is_killed() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let text = nats.broker(PATIENT, &[]).trigger(&all(&sink)).text().to_owned();
    let mut first = Mesh::start(&text).await?;
    first.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    let mut second = Mesh::start(&text).await?;
    second.send("shop/default", &[Event::new("2", "x")]).await?;
    first.send("shop/default", &[Event::new("3", "x")]).await?;
    sink.wait_for("/all", 3).await?;
    // One of them has the partition, the other one takes it.
    first.kill().await?;
    second.send("shop/default", &[Event::new("4", "x")]).await?;
    sink.wait_for("/all", 4).await?;
    first.restart().await?;
    second.kill().await?;
    first.send("shop/default", &[Event::new("5", "x")]).await?;
    let ids = ["1", "2", "3", "4", "5"].map(str::to_owned);
    sink.until_all("/all", &BTreeSet::from(ids)).await?;
    first.until_settled().await
}

#[tokio::test]
async fn a_stop_while_the_server_is_away_ends() -> anyhow::Result<()> {
    let Some(mut nats) = Nats::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = Mesh::start(nats.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    nats.kill().await?;
    mesh.stop().await?;
    nats.restart().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("2", "x")]).await?;
    sink.until_all("/all", &BTreeSet::from(["2".to_owned()])).await
}

/// It holds a retry when its server goes.
#[tokio::test]
async fn a_broker_whose_server_is_away_holds_up_no_change_not_even_of_its_own_and_not_its_end()
-> anyhow::Result<()> {
    let Some(mut nats) = Nats::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/all", [Answer::status(503)]);
    let local = |name: &str| Trigger::new(name, &sink.url(&format!("/{name}"))).on("local");
    let side = Documents::default().and_broker("local", "{}");
    let both = nats.broker(PATIENT, &[]).trigger(&all(&sink)).and(&side);
    let mesh = Mesh::start(both.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    nats.kill().await?;
    let late = Trigger::new("late", &sink.url("/late"));
    let mut sent = 0;
    for documents in [
        both.clone().trigger(&local("one")),
        both.clone().trigger(&local("one")).trigger(&late),
        side.clone().trigger(&local("one")),
    ] {
        mesh.reload(documents.text()).await?;
        sent += 1;
        mesh.send("shop/local", &[Event::new(&format!("l{sent}"), "x")])
            .await?;
        sink.wait_for("/one", sent).await?;
    }
    // It comes back where it was.
    nats.restart().await?;
    sink.answer("/all", [Answer::ok()]);
    mesh.reload(both.trigger(&local("one")).text()).await?;
    mesh.until_settled().await?;
    let before = sink.count("/all");
    wait_until("it to be accepted", || async {
        let answered = mesh.post("shop/default", &Event::new("2", "x").binary()).await?;
        Ok((answered.status == 202).then_some(()))
    })
    .await?;
    sink.wait_for("/all", before + 1).await?;
    let both = ["1", "2"].map(str::to_owned);
    sink.until_all("/all", &BTreeSet::from(both)).await
}

/// What its Triggers are owed would be left behind.
#[tokio::test]
async fn a_broker_goes_neither_from_the_server_to_the_disk_nor_back_by_a_change_of_its_config()
-> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let remote = nats.broker(PATIENT, &[]).trigger(&all(&sink));
    let local = Documents::broker().trigger(&all(&sink));
    let mut sent = 0;
    for (before, after) in [(&remote, &local), (&local, &remote)] {
        let mesh = Mesh::start(before.text()).await?;
        let mut send = async || {
            sent += 1;
            mesh.send("shop/default", &[Event::new(&sent.to_string(), "x")])
                .await?;
            sink.wait_for("/all", sent).await
        };
        send().await?;
        mesh.setup().write(after.text())?;
        let why = refused(&mesh).await?;
        assert!(why.contains("would be left behind"), "{why}");
        send().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_of_another_shape_is_refused_in_words_and_left_as_it_is() -> anyhow::Result<()> {
    let Some(nats) = Nats::start().await? else {
        return Ok(());
    };
    let config = json!({
        "name": "millrace-shop-default",
        "subjects": ["millrace.shop.default.p.0", "millrace.shop.default.in.*"],
        "max_age": 3_600_000_000_000u64,
        "storage": "file",
    });
    nats.api("STREAM.CREATE.millrace-shop-default", &config).await?;
    let before = nats.api("STREAM.INFO.millrace-shop-default", &json!({})).await?;
    let sink = Sink::start().await?;
    let mesh = Mesh::start(nats.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let refused = mesh.post("shop/default", &Event::new("1", "x").binary()).await?;
    assert_eq!(refused.status, 503);
    let said = String::from_utf8_lossy(&refused.body).into_owned();
    for word in [
        "millrace-shop-default",
        "max_age",
        "discards old",
        "left as it is",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let after = nats.api("STREAM.INFO.millrace-shop-default", &json!({})).await?;
    assert_eq!(before["config"], after["config"]);
    Ok(())
}

#[tokio::test]
async fn a_backup_that_is_put_back_is_noticed_and_nothing_new_is_skipped() -> anyhow::Result<()> {
    let Some(mut nats) = Nats::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = Mesh::start(nats.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let events =
        |from: usize, to: usize| -> Vec<_> { (from..to).map(|n| Event::new(&n.to_string(), "x")).collect() };
    mesh.send("shop/default", &events(0, 20)).await?;
    sink.wait_for("/all", 20).await?;
    mesh.until_settled().await?;
    nats.keep("backup").await?;
    wait_until("it to be accepted", || async {
        let answered = mesh.post("shop/default", &Event::new("20", "x").binary()).await?;
        Ok((answered.status == 202).then_some(()))
    })
    .await?;
    mesh.send("shop/default", &events(21, 40)).await?;
    sink.wait_for("/all", 40).await?;
    mesh.until_settled().await?;
    // The events of the second half are gone, and so is the state that knew them: what comes now has their
    // numbers.
    nats.restore("backup").await?;
    let ids: BTreeSet<String> = (100..140).map(|n| n.to_string()).collect();
    for id in &ids {
        wait_until("it to be accepted", || async {
            let answered = mesh.post("shop/default", &Event::new(id, "x").binary()).await?;
            Ok((answered.status == 202).then_some(()))
        })
        .await?;
    }
    sink.until_all("/all", &ids).await?;
    mesh.stop().await?;
    Ok(())
}
