//! Promise: a Broker whose `config` says `backend: kafka` keeps what it has answered with 202 on Kafka, and
//! delivers it to every Trigger that wants it: over `kill -9` of Millrace and of Kafka, and whatever else
//! anybody writes to its topic.

use std::collections::BTreeSet;
use std::time::Duration;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::kafka::{Kafka, Record};
use millrace_tests::process::Process;
use millrace_tests::reload::refused;
use millrace_tests::{Answer, Event, Mesh, Producers, Sink, chance, long, wait_until};

/// A policy that keeps trying, often.
const PATIENT: &str = "{retry: 100000, backoffPolicy: exponential, backoffDelay: PT0.1S, backoffMax: PT0.5S}";

/// The topic of the events of `shop/default`.
const TOPIC: &str = "millrace.shop.default";

async fn until_accepted(mesh: &Mesh, id: &str) -> anyhow::Result<()> {
    wait_until("it to be accepted", || async {
        let answered = mesh.post("shop/default", &Event::new(id, "x").binary()).await?;
        Ok((answered.status == 202).then_some(()))
    })
    .await
}

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
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = Mesh::start(kafka.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let events: Vec<_> = (0..300).map(|n| Event::new(&n.to_string(), "x")).collect();
    mesh.send("shop/default", &events).await?;
    sink.wait_for("/all", 300).await?;
    let status = mesh.admin().get("brokers/shop/default").await?;
    assert_eq!(status["backend"], "kafka", "{status}");
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
    let Some(kafka) = Kafka::start().await? else {
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
    let mut mesh = Mesh::start(kafka.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
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
    let Some(mut kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let (sink, mut chance) = (Sink::start().await?, chance());
    let mesh = Mesh::start(kafka.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let producers = producers(&mesh, &mut chance);
    for _ in 0..if long() { 10 } else { 3 } {
        let before = producers.count();
        wait_until("more to be accepted", || async {
            Ok((producers.count() > before + 100).then_some(()))
        })
        .await?;
        kafka.kill().await?;
        let refused = wait_until("a producer to be refused", || async {
            let answered = mesh
                .post("shop/default", &Event::new("refused", "y").binary())
                .await?;
            Ok(Some(answered).filter(|answered| answered.status == 503))
        });
        let refused = refused.await?;
        assert_eq!(refused.code()?, "backend-unavailable");
        assert!(refused.header("retry-after").is_some());
        kafka.restart().await?;
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
    let Some(mut kafka) = Kafka::start().await? else {
        return Ok(());
    };
    kafka.kill().await?;
    let sink = Sink::start().await?;
    let documents = kafka
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
    kafka.restart().await?;
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
async fn what_others_write_is_routed_and_what_is_no_event_is_skipped_and_counted() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mesh = Mesh::start(kafka.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    // The topic is there once the Broker is open.
    mesh.send("shop/default", &[Event::new("own", "x")]).await?;
    let event = |id: &str| {
        let record = Record::of("data")
            .header("ce_specversion", "1.0")
            .header("CE_Id", id);
        let record = record.header("ce_source", "/other").header("ce_type", "x");
        record.header("ce_odd", "50%25")
    };
    let odd = [
        Record::of("no event").header("other", "1"),
        Record::of("no event").header("ce_id", "1"),
        event("x").header("ce_more", b"\xff\xfe".to_vec()),
        Record::default(),
        event("twice").header("ce_id", "again"),
    ];
    let mut records = vec![event("first").key("order-7")];
    for (n, odd) in odd.into_iter().enumerate() {
        records.extend([odd, event(&n.to_string())]);
    }
    records.push(
        Record::of(r#"{"specversion":"1.0","id":"structured","source":"/other","type":"x"}"#)
            .header("content-type", "application/cloudevents+json"),
    );
    kafka.produce(TOPIC, &records).await?;
    // What was aborted nobody has written.
    kafka
        .produce_in_transaction(TOPIC, &[event("aborted")], false)
        .await?;
    kafka
        .produce_in_transaction(TOPIC, &[event("committed")], true)
        .await?;
    let received = sink.wait_for("/all", 9).await?;
    let first = received
        .iter()
        .find(|one| one.event().id() == "first")
        .expect("it came");
    assert_eq!(
        first.event().get("odd"),
        Some("50%2525"),
        "plain in Kafka, spelled over HTTP"
    );
    let ids: BTreeSet<_> = sink.ids("/all").into_iter().collect();
    let expected = ["0", "1", "2", "3", "4", "committed", "first", "own", "structured"].map(str::to_owned);
    assert_eq!(ids, BTreeSet::from(expected));
    mesh.admin()
        .until_metric("millrace_dispatch_unreadable_messages_total", 5.0)
        .await?;
    // Nothing stands still behind them.
    mesh.send("shop/default", &[Event::new("last", "x")]).await?;
    sink.wait_for("/all", 10).await?;
    mesh.until_settled().await?;
    // And what came over HTTP is a CloudEvent to everybody.
    let written = kafka.wait_for(TOPIC, records.len() + 3).await?;
    let own = written.first().expect("the first");
    let header = |name: &str| {
        let found = own.headers.iter().find(|(known, _)| known == name);
        found.and_then(|(_, value)| value.clone())
    };
    assert_eq!(header("ce_id").as_deref(), Some(&b"own"[..]));
    assert_eq!(header("ce_specversion").as_deref(), Some(&b"1.0"[..]));
    Ok(())
}

#[tokio::test]
async fn the_commands_are_the_same() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/all", [Answer::status(400)]);
    let documents = kafka.broker("{retry: 0}", &[]).trigger(&all(&sink));
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
async fn a_second_process_takes_the_broker_over_and_the_first_stops_serving_it() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let (sink, documents) = (Sink::start().await?, |sink: &Sink| {
        kafka.broker(PATIENT, &[]).trigger(&all(sink)).text().to_owned()
    });
    let first = Mesh::start(&documents(&sink)).await?;
    first.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    let second = Mesh::start(&documents(&sink)).await?;
    second.send("shop/default", &[Event::new("2", "x")]).await?;
    let refused = wait_until("the first one to notice", || async {
        let answered = first.post("shop/default", &Event::new("3", "x").binary()).await?;
        Ok(Some(answered).filter(|answered| answered.status == 503))
    });
    let said = String::from_utf8_lossy(&refused.await?.body).into_owned();
    assert!(
        said.contains("another process has taken the broker over"),
        "{said}"
    );
    second.send("shop/default", &[Event::new("4", "x")]).await?;
    let ids = ["1", "2", "3", "4"].map(str::to_owned);
    sink.until_all("/all", &BTreeSet::from(ids)).await?;
    second.until_settled().await
}

#[tokio::test]
async fn a_stop_while_the_server_is_away_ends() -> anyhow::Result<()> {
    let Some(mut kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = Mesh::start(kafka.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    kafka.kill().await?;
    mesh.stop().await?;
    kafka.restart().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("2", "x")]).await?;
    sink.until_all("/all", &BTreeSet::from(["2".to_owned()])).await
}

/// It holds a retry when its server goes.
#[tokio::test]
async fn a_broker_whose_server_is_away_holds_up_no_change_not_even_of_its_own_and_not_its_end()
-> anyhow::Result<()> {
    let Some(mut kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/all", [Answer::status(503)]);
    let local = |name: &str| Trigger::new(name, &sink.url(&format!("/{name}"))).on("local");
    let side = Documents::default().and_broker("local", "{}");
    let both = kafka.broker(PATIENT, &[]).trigger(&all(&sink)).and(&side);
    let mesh = Mesh::start(both.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    kafka.kill().await?;
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
    kafka.restart().await?;
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
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let remote = kafka.broker(PATIENT, &[]).trigger(&all(&sink));
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
async fn a_topic_that_has_lost_its_end_is_noticed_and_nothing_new_is_skipped() -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mesh = Mesh::start(kafka.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let events: Vec<_> = (0..40).map(|n| Event::new(&n.to_string(), "x")).collect();
    mesh.send("shop/default", &events).await?;
    sink.wait_for("/all", 40).await?;
    mesh.until_settled().await?;
    // The events are gone, and the state knows them: what comes now has their offsets.
    kafka.delete_topic(TOPIC).await?;
    let ids: BTreeSet<String> = (100..140).map(|n| n.to_string()).collect();
    for id in &ids {
        until_accepted(&mesh, id).await?;
    }
    sink.until_all("/all", &ids).await?;
    mesh.until_settled().await
}
