//! Promise: a Broker whose `config` says `backend: jetstream` keeps what it has answered with 202 on the NATS
//! server, and delivers it to every Trigger that wants it: over `kill -9` of Millrace and of the server, and
//! whatever else anybody publishes there.

use std::collections::BTreeSet;

use millrace_tests::channel_server::{ChannelServer as _, PATIENT, all, stories, until_accepted};
use millrace_tests::{Event, Mesh, Nats, Sink};
use serde_json::json;

#[tokio::test]
async fn what_is_accepted_is_delivered_and_the_status_says_what_a_202_is_worth() -> anyhow::Result<()> {
    stories::what_is_accepted_is_delivered_and_the_status_says_what_a_202_is_worth::<Nats>().await
}

#[tokio::test]
async fn kill_9_of_millrace_under_load_loses_nothing() -> anyhow::Result<()> {
    stories::kill_9_of_millrace_under_load_loses_nothing::<Nats>().await
}

#[tokio::test]
async fn kill_9_of_the_server_under_load_loses_nothing_and_producers_are_told_to_come_back()
-> anyhow::Result<()> {
    stories::kill_9_of_the_server_under_load_loses_nothing_and_producers_are_told_to_come_back::<Nats>().await
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_holds_up_no_other_broker() -> anyhow::Result<()> {
    stories::a_server_that_is_away_at_the_start_holds_up_no_other_broker::<Nats>().await
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
    stories::the_commands_are_the_same::<Nats>().await
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
    stories::a_stop_while_the_server_is_away_ends::<Nats>().await
}

#[tokio::test]
async fn a_broker_whose_server_is_away_holds_up_no_change_not_even_of_its_own_and_not_its_end()
-> anyhow::Result<()> {
    stories::a_broker_whose_server_is_away_holds_up_no_change_not_even_of_its_own_and_not_its_end::<Nats>()
        .await
}

#[tokio::test]
async fn a_broker_goes_neither_from_the_server_to_the_disk_nor_back_by_a_change_of_its_config()
-> anyhow::Result<()> {
    stories::a_broker_goes_neither_from_the_server_to_the_disk_nor_back_by_a_change_of_its_config::<Nats>()
        .await
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
    until_accepted(&mesh, "20").await?;
    mesh.send("shop/default", &events(21, 40)).await?;
    sink.wait_for("/all", 40).await?;
    mesh.until_settled().await?;
    // The events of the second half are gone, and so is the state that knew them: what comes now has their
    // numbers.
    nats.restore("backup").await?;
    let ids: BTreeSet<String> = (100..140).map(|n| n.to_string()).collect();
    for id in &ids {
        until_accepted(&mesh, id).await?;
    }
    sink.until_all("/all", &ids).await?;
    mesh.stop().await?;
    Ok(())
}
