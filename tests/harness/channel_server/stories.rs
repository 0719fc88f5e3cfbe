//! What every Broker promises whose channel is on a server, whichever that is. A story starts a server of
//! one kind, and does nothing where that is neither there nor required. As in a test, what comes and is wrong
//! is a panic.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{ChannelServer, PATIENT, all, until_accepted};
use crate::documents::{Documents, Trigger};
use crate::process::Process;
use crate::reload::refused;
use crate::{Answer, Event, Mesh, Producers, Sink, chance, long, wait_until};

/// The way of an event when all goes well, over a stop that was asked for.
///
/// # Errors
/// When something does not come before the deadline.
pub async fn what_is_accepted_is_delivered_and_the_status_says_what_a_202_is_worth<S: ChannelServer>()
-> anyhow::Result<()> {
    let Some(server) = S::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = Mesh::start(server.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let events: Vec<_> = (0..300).map(|n| Event::new(&n.to_string(), "x")).collect();
    mesh.send("shop/default", &events).await?;
    sink.wait_for("/all", 300).await?;
    let status = mesh.admin().get("brokers/shop/default").await?;
    assert_eq!(status["backend"], S::BACKEND, "{status}");
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

/// Millrace dies again and again while producers send and the subscriber fails now and then.
///
/// # Errors
/// When something does not come before the deadline.
pub async fn kill_9_of_millrace_under_load_loses_nothing<S: ChannelServer>() -> anyhow::Result<()> {
    let Some(server) = S::start().await? else {
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
    let mut mesh = Mesh::start(server.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let producers = producers(&mesh, &mut chance);
    for _ in 0..if long() { 30 } else { 5 } {
        until_more(&producers).await?;
        mesh.kill().await?;
        mesh.restart().await?;
        producers.moved(mesh.listen());
    }
    sink.until_all("/all", &wanted(producers.stop().await?)).await?;
    mesh.until_settled().await
}

/// The server dies again and again while producers send; meanwhile they get a 503 and are told to come back.
///
/// # Errors
/// When something does not come before the deadline.
pub async fn kill_9_of_the_server_under_load_loses_nothing_and_producers_are_told_to_come_back<
    S: ChannelServer,
>() -> anyhow::Result<()> {
    let Some(mut server) = S::start().await? else {
        return Ok(());
    };
    let (sink, mut chance) = (Sink::start().await?, chance());
    let mesh = Mesh::start(server.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    let producers = producers(&mesh, &mut chance);
    for _ in 0..if long() { 10 } else { 3 } {
        until_more(&producers).await?;
        server.kill().await?;
        let refused = wait_until("a producer to be refused", || async {
            let answered = mesh
                .post("shop/default", &Event::new("refused", "y").binary())
                .await?;
            Ok(Some(answered).filter(|answered| answered.status == 503))
        });
        let refused = refused.await?;
        assert_eq!(refused.code()?, "backend-unavailable");
        assert!(refused.header("retry-after").is_some());
        server.restart().await?;
    }
    until_more(&producers).await?;
    sink.until_all("/all", &wanted(producers.stop().await?)).await?;
    mesh.until_settled().await
}

/// Its Broker opens when it comes.
///
/// # Errors
/// When something does not come before the deadline.
pub async fn a_server_that_is_away_at_the_start_holds_up_no_other_broker<S: ChannelServer>()
-> anyhow::Result<()> {
    let Some(mut server) = S::start().await? else {
        return Ok(());
    };
    server.kill().await?;
    let sink = Sink::start().await?;
    let documents = server
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
    server.restart().await?;
    until_accepted(&mesh, "3").await?;
    sink.wait_for("/all", 1).await?;
    assert_eq!(sink.ids("/all"), ["3"]);
    Ok(())
}

/// Parked events, `explain` and `tail` do not depend on the backend, and survive `kill -9` of Millrace.
///
/// # Errors
/// When something does not come before the deadline.
pub async fn the_commands_are_the_same<S: ChannelServer>() -> anyhow::Result<()> {
    let Some(server) = S::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/all", [Answer::status(400)]);
    let documents = server.broker("{retry: 0}", &[]).trigger(&all(&sink));
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

/// What is accepted afterwards is delivered.
///
/// # Errors
/// When something does not come before the deadline.
pub async fn a_stop_while_the_server_is_away_ends<S: ChannelServer>() -> anyhow::Result<()> {
    let Some(mut server) = S::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mut mesh = Mesh::start(server.broker(PATIENT, &[]).trigger(&all(&sink)).text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    server.kill().await?;
    mesh.stop().await?;
    server.restart().await?;
    mesh.restart().await?;
    mesh.send("shop/default", &[Event::new("2", "x")]).await?;
    sink.until_all("/all", &BTreeSet::from(["2".to_owned()])).await
}

/// It holds a retry when its server goes.
///
/// # Errors
/// When something does not come before the deadline.
pub async fn a_broker_whose_server_is_away_holds_up_no_change_not_even_of_its_own_and_not_its_end<
    S: ChannelServer,
>() -> anyhow::Result<()> {
    let Some(mut server) = S::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    sink.answer("/all", [Answer::status(503)]);
    let local = |name: &str| Trigger::new(name, &sink.url(&format!("/{name}"))).on("local");
    let side = Documents::default().and_broker("local", "{}");
    let both = server.broker(PATIENT, &[]).trigger(&all(&sink)).and(&side);
    let mesh = Mesh::start(both.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/all", 1).await?;
    server.kill().await?;
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
    server.restart().await?;
    sink.answer("/all", [Answer::ok()]);
    mesh.reload(both.trigger(&local("one")).text()).await?;
    mesh.until_settled().await?;
    let before = sink.count("/all");
    until_accepted(&mesh, "2").await?;
    sink.wait_for("/all", before + 1).await?;
    let both = ["1", "2"].map(str::to_owned);
    sink.until_all("/all", &BTreeSet::from(both)).await
}

/// What its Triggers are owed would be left behind.
///
/// # Errors
/// When something does not come before the deadline.
pub async fn a_broker_goes_neither_from_the_server_to_the_disk_nor_back_by_a_change_of_its_config<
    S: ChannelServer,
>() -> anyhow::Result<()> {
    let Some(server) = S::start().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let remote = server.broker(PATIENT, &[]).trigger(&all(&sink));
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

/// Waits until a hundred more are accepted.
async fn until_more(producers: &Producers) -> anyhow::Result<()> {
    let before = producers.count();
    wait_until("more to be accepted", || async {
        Ok((producers.count() > before + 100).then_some(()))
    })
    .await
}
