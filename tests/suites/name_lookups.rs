//! Promise: names that no name server answers hold up no other Trigger. Waiting for a lookup is not a failed
//! attempt; a name that does not exist is one.

use std::collections::BTreeSet;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::name_server::NameServer;
use millrace_tests::{Answer, Event, Mesh, Sink, namespace, wait_until};
use serde_json::Value;

const EVENTS: usize = 30;
const HEALTHY: usize = 5;

fn events(prefix: &str) -> Vec<Event> {
    (0..EVENTS)
        .map(|id| Event::new(&format!("{prefix}{id}"), "x"))
        .collect()
}

/// The same sink, addressed by a name.
fn named(sink: &Sink, name: &str, path: &str) -> String {
    let url = sink.url(path);
    url.replacen("127.0.0.1", name, 1)
}

#[tokio::test]
async fn dead_names_hold_up_no_other_trigger() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let prepare = NameServer::mounted(folder.path())?;
    if !namespace::inside("dead_names_hold_up_no_other_trigger", &prepare).await? {
        return Ok(());
    }
    let (server, sink) = (NameServer::start()?, Sink::start().await?);
    let mut documents = Documents::broker();
    for number in 0..700 {
        let url = format!("http://dead-{number}.example/");
        documents = documents.trigger(&Trigger::new(&format!("dead-{number}"), &url));
    }
    for number in 0..HEALTHY {
        let path = format!("/takes-{number}");
        // Each answer ends its connection, so that each event needs a lookup.
        sink.answer(&path, [Answer::ok().header("connection", "close")]);
        let url = named(&sink, &format!("alive-{number}.example"), &path);
        documents = documents.trigger(&Trigger::new(&path[1..], &url).delivery("{retry: 0}"));
    }
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &events("")).await?;
    let mut wanted: BTreeSet<String> = (0..EVENTS).map(|id| id.to_string()).collect();
    for number in 0..HEALTHY {
        sink.until_all(&format!("/takes-{number}"), &wanted).await?;
    }
    // Again, now that the names that hang are known.
    mesh.send("shop/default", &events("again-")).await?;
    wanted.extend((0..EVENTS).map(|id| format!("again-{id}")));
    for number in 0..HEALTHY {
        let path = format!("/takes-{number}");
        sink.until_all(&path, &wanted).await?;
        assert_eq!(sink.count(&path), wanted.len(), "{path}: each once");
        let state = mesh.admin().trigger(&format!("shop{path}")).await?;
        assert_eq!(
            (&state["parked"], &state["failedAttempts"]),
            (&0.into(), &0.into()),
            "{state}"
        );
    }
    // Dead names were looked up all the time, and still are: each lookup hangs for seconds, and then is
    // repeated.
    let limit = mesh
        .admin()
        .metric("millrace_delivery_running_lookups_limit")
        .await?;
    let before = server.unanswered();
    assert!(before > 0, "no dead name was looked up");
    wait_until("more lookups of dead names", || async {
        let running = mesh.admin().metric("millrace_delivery_running_lookups").await?;
        assert!(running <= limit, "{running} of {limit}");
        Ok((running > 0.0 && server.unanswered() > before).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_name_that_does_not_exist_and_one_that_hangs_are_failed_attempts() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let prepare = NameServer::mounted(folder.path())?;
    let test = "a_name_that_does_not_exist_and_one_that_hangs_are_failed_attempts";
    if !namespace::inside(test, &prepare).await? {
        return Ok(());
    }
    let (_server, sink) = (NameServer::start()?, Sink::start().await?);
    let documents = Documents::broker()
        .trigger(&Trigger::new("missing", "http://missing.example/").delivery("{retry: 0}"))
        .trigger(&Trigger::new("dead", "http://dead.example/").delivery("{retry: 0}"))
        .trigger(&Trigger::new("local", &named(&sink, "localhost", "/local")).delivery("{retry: 0}"));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &events("")[..1]).await?;
    sink.wait_for("/local", 1).await?;
    for (name, reason) in [
        ("shop/missing", "name not found: missing.example"),
        ("shop/dead", "no answer to the lookup of dead.example within 5 s"),
    ] {
        let state = wait_until(&format!("{name} to park its event"), || async {
            let state = mesh.admin().trigger(name).await?;
            Ok(Some(state).filter(|state| state["parked"] == 1))
        })
        .await?;
        assert_eq!(state["failedAttempts"], 1, "{state}");
        let said = state["lastFailure"]["reason"].as_str().unwrap_or_default();
        assert!(said.starts_with(reason), "{state}");
        assert_eq!(state["shortage"], Value::Null, "{state}");
    }
    Ok(())
}
