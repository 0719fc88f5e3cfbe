//! Promise: a Broker whose `config` says `backend: kafka` keeps what it has answered with 202 on Kafka, and
//! delivers it to every Trigger that wants it: over `kill -9` of Millrace and of Kafka, and whatever else
//! anybody writes to its topic.

use std::collections::BTreeSet;

use millrace_tests::channel_server::{ChannelServer as _, PATIENT, all, stories, until_accepted};
use millrace_tests::kafka::{Kafka, Record};
use millrace_tests::{Event, Mesh, Sink, wait_until};

/// The topic of the events of `shop/default`.
const TOPIC: &str = "millrace.shop.default";

#[tokio::test]
async fn what_is_accepted_is_delivered_and_the_status_says_what_a_202_is_worth() -> anyhow::Result<()> {
    stories::what_is_accepted_is_delivered_and_the_status_says_what_a_202_is_worth::<Kafka>().await
}

#[tokio::test]
async fn kill_9_of_millrace_under_load_loses_nothing() -> anyhow::Result<()> {
    stories::kill_9_of_millrace_under_load_loses_nothing::<Kafka>().await
}

#[tokio::test]
async fn kill_9_of_the_server_under_load_loses_nothing_and_producers_are_told_to_come_back()
-> anyhow::Result<()> {
    stories::kill_9_of_the_server_under_load_loses_nothing_and_producers_are_told_to_come_back::<Kafka>()
        .await
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_holds_up_no_other_broker() -> anyhow::Result<()> {
    stories::a_server_that_is_away_at_the_start_holds_up_no_other_broker::<Kafka>().await
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
    stories::the_commands_are_the_same::<Kafka>().await
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
    stories::a_stop_while_the_server_is_away_ends::<Kafka>().await
}

#[tokio::test]
async fn a_broker_whose_server_is_away_holds_up_no_change_not_even_of_its_own_and_not_its_end()
-> anyhow::Result<()> {
    stories::a_broker_whose_server_is_away_holds_up_no_change_not_even_of_its_own_and_not_its_end::<Kafka>()
        .await
}

#[tokio::test]
async fn a_broker_goes_neither_from_the_server_to_the_disk_nor_back_by_a_change_of_its_config()
-> anyhow::Result<()> {
    stories::a_broker_goes_neither_from_the_server_to_the_disk_nor_back_by_a_change_of_its_config::<Kafka>()
        .await
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
