//! Promise: a shortage of Millrace's own is never held against a subscriber. The event waits, the Trigger
//! tells what for, no attempt is counted, and the event is delivered once there is room.

use std::collections::BTreeSet;
use std::fs;

use millrace_tests::admin::OpenAdmin;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::raw::stranger;
use millrace_tests::{Answer, Client, Connects, Event, Gate, Mesh, Sink, descriptors, namespace, wait_until};
use rustix::io::Errno;
use serde_json::Value;

/// One attempt and no other: anything counted as a failure parks the event.
const ONCE: &str = "{retry: 0}";

fn events(from: usize, to: usize) -> Vec<Event> {
    (from..to).map(|id| Event::new(&id.to_string(), "x")).collect()
}

fn ids(from: usize, to: usize) -> BTreeSet<String> {
    (from..to).map(|id| id.to_string()).collect()
}

/// Waits until the Trigger reports that it waits for `shortage`.
async fn until_short(admin: &OpenAdmin, name: &str, shortage: &str) -> anyhow::Result<()> {
    wait_until("the Trigger to say what it waits for", || async {
        let state = admin.trigger(name).await?;
        anyhow::ensure!(state["shortage"] == shortage, "{state}");
        assert_eq!(state["state"], "live", "{state}");
        let reason = state["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with("waiting for "), "{state}");
        Ok(Some(()))
    })
    .await
}

/// Checks that no event was given up and none counted as failed.
async fn nothing_failed(mesh: &Mesh, name: &str, delivered: usize) -> anyhow::Result<()> {
    mesh.until_settled().await?;
    let state = mesh.admin().trigger(name).await?;
    for (member, expected) in [("parked", 0), ("failedAttempts", 0), ("delivered", delivered)] {
        assert_eq!(state[member], expected, "{member} of {state}");
    }
    assert_eq!(state["shortage"], Value::Null, "{state}");
    Ok(())
}

#[tokio::test]
async fn without_descriptors_events_wait_and_each_is_attempted_once() -> anyhow::Result<()> {
    let (sink, dead_letters) = (Sink::start().await?, Sink::start().await?);
    sink.answer("/refuses", [Answer::status(400)]);
    let to_dead_letters = format!(
        "{{retry: 0, deadLetterSink: {{uri: \"{}\"}}}}",
        dead_letters.url("/dead")
    );
    let documents = Documents::broker()
        .trigger(&Trigger::new("takes", &sink.url("/takes")).delivery(ONCE))
        .trigger(&Trigger::new("refuses", &sink.url("/refuses")).delivery(&to_dead_letters));
    let mut mesh = Mesh::start(documents.text()).await?;
    let (mut producer, admin) = (Client::new(mesh.listen()), mesh.admin().open().await?);
    // The connection stays open, so that events come in even if no other connection can be accepted.
    let hello = producer
        .post("/shop/default", &Event::new("hello", "other").binary())
        .await?;
    assert_eq!(hello.status, 202);
    sink.wait_for("/takes", 1).await?;
    dead_letters.wait_for("/dead", 1).await?;

    let before = descriptors::none_left(mesh.process())?;
    let batch = Event::batch(&events(0, 40));
    assert_eq!(producer.post("/shop/default", &batch).await?.status, 202);
    until_short(&admin, "shop/takes", "descriptors").await?;
    let explained = "explain?broker=shop/default&id=39&trigger=shop/takes";
    let story = admin.get(explained).await?;
    let told_of = &story["triggers"][0];
    assert_eq!(told_of["state"], "in-hand", "{story}");
    let why = told_of["why"].as_str().unwrap_or_default();
    assert!(
        why.contains("waiting for a file descriptor") || why.contains("queued"),
        "{story}"
    );
    assert_eq!(told_of["attempts"], Value::Array(Vec::new()), "{story}");
    let told = "deliveries stand still: waiting for a file descriptor";
    wait_until("the log to say so", || async {
        let said = fs::read_to_string(mesh.setup().folder().join("stderr"))?;
        let is_told = |of: &str| said.lines().any(|line| line.contains(told) && line.contains(of));
        Ok(Some(()).filter(|()| is_told("shop/takes") && is_told("shop/refuses")))
    })
    .await?;
    descriptors::set(mesh.process(), before)?;

    sink.until_all("/takes", &ids(0, 40)).await?;
    dead_letters.until_all("/dead", &ids(0, 40)).await?;
    wait_until("the history to have the attempt", || async {
        let story = mesh.admin().get(explained).await?;
        Ok(Some(()).filter(|()| {
            story["triggers"][0]["attempts"]
                .as_array()
                .is_some_and(|all| all.len() == 1)
        }))
    })
    .await?;
    nothing_failed(&mesh, "shop/takes", 41).await?;
    let refused = mesh.admin().trigger("shop/refuses").await?;
    assert_eq!(
        (
            &refused["failedAttempts"],
            &refused["deadLettered"],
            &refused["parked"]
        ),
        (&41.into(), &41.into(), &0.into()),
        "{refused}"
    );
    assert_eq!(sink.count("/takes"), 41, "nothing is delivered twice");
    assert_eq!(sink.count("/refuses"), 41);
    assert!(mesh.admin().metric("millrace_delivery_shortages_total").await? >= 1.0);
    let said = fs::read_to_string(mesh.setup().folder().join("stderr"))?;
    let lines = said
        .lines()
        .filter(|line| line.contains(told) && line.contains("shop/takes"));
    assert_eq!(lines.count(), 1, "one line a trigger");
    Ok(())
}

#[tokio::test]
async fn without_descriptors_a_source_waits_and_its_sink_is_not_blamed() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    // Each answer ends its connection, so that each tick needs one.
    sink.answer("/in", [Answer::ok().header("connection", "close")]);
    let tick = "apiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {name: tick, namespace: shop}\n\
                spec: {schedule: '* * * * * *', catchUp: all}\n";
    let setup = Setup::new(tick)?.sources();
    let mut mesh = setup.environment("K_SINK", &sink.url("/in")).start().await?;
    let admin = mesh.admin().open().await?;
    sink.wait_for("/in", 1).await?;
    let before = descriptors::none_left(mesh.process())?;
    wait_until("the source to say what it waits for", || async {
        let sources = admin.get("sources").await?.to_string();
        anyhow::ensure!(sources.contains("waiting for a file descriptor"), "{sources}");
        Ok(Some(()))
    })
    .await?;
    descriptors::set(mesh.process(), before)?;
    let so_far = sink.count("/in");
    sink.wait_for("/in", so_far + 2).await?;
    assert_eq!(mesh.admin().metric("millrace_source_not_taken_total").await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn idle_connections_of_producers_park_nothing() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("takes", &sink.url("/takes")).delivery(ONCE));
    let few = descriptors::at_most(256);
    let mesh = Setup::new(documents.text())?.before(few).start().await?;
    mesh.send("shop/default", &[Event::new("first", "x")]).await?;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(stranger(mesh.listen()).await?);
    }
    for some in events(0, 200).chunks(20) {
        mesh.send("shop/default", some).await?;
    }
    drop(idle);
    sink.until_all("/takes", &ids(0, 200)).await?;
    nothing_failed(&mesh, "shop/takes", 201).await
}

#[tokio::test]
async fn without_local_ports_events_wait_and_each_is_attempted_once() -> anyhow::Result<()> {
    let few_ports = "ip link set lo up && echo 50000 50015 > /proc/sys/net/ipv4/ip_local_port_range";
    let test = "without_local_ports_events_wait_and_each_is_attempted_once";
    if !namespace::inside(test, few_ports).await? {
        return Ok(());
    }
    let (sink, gate) = (Sink::start().await?, Gate::closed());
    sink.answer("/takes", [Answer::ok().after(&gate)]);
    let documents = Documents::broker().trigger(&Trigger::new("takes", &sink.url("/takes")).delivery(ONCE));
    let mesh = Mesh::start(documents.text()).await?;
    let admin = mesh.admin().open().await?;
    let batch = Event::batch(&events(0, 40));
    assert_eq!(mesh.post("shop/default", &batch).await?.status, 202);
    until_short(&admin, "shop/takes", "ports").await?;
    gate.open();
    // Asked on the open connection: the test has as few ports as the mesh.
    wait_until("each to be delivered", || async {
        let state = admin.trigger("shop/takes").await?;
        for member in ["parked", "failedAttempts"] {
            assert_eq!(state[member], 0, "{member} of {state}");
        }
        anyhow::ensure!(state["delivered"] == 40, "{state}");
        Ok(Some(()))
    })
    .await?;
    assert_eq!(sink.count("/takes"), 40, "each once");
    Ok(())
}

async fn without_kernel_memory(error: Errno) -> anyhow::Result<()> {
    let Some(connects) = Connects::new()? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("takes", &sink.url("/takes")).delivery(ONCE));
    let mesh = connects.of(Setup::new(documents.text())?)?.start().await?;
    let admin = mesh.admin().open().await?;
    connects.fail(Some(error))?;
    mesh.send("shop/default", &events(0, 40)).await?;
    until_short(&admin, "shop/takes", "memory").await?;
    assert_eq!(sink.count("/takes"), 0);
    connects.fail(None)?;
    sink.until_all("/takes", &ids(0, 40)).await?;
    nothing_failed(&mesh, "shop/takes", 40).await?;
    assert_eq!(sink.count("/takes"), 40, "each once");
    Ok(())
}

/// A test cannot use up the kernel's memory, so it makes the kernel's answer itself.
#[tokio::test]
async fn without_kernel_memory_events_wait_and_each_is_attempted_once() -> anyhow::Result<()> {
    for error in [Errno::NOBUFS, Errno::NOMEM] {
        without_kernel_memory(error).await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_an_address_of_the_family_the_attempt_has_failed() -> anyhow::Result<()> {
    let no_ipv6 = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
    let test = "without_an_address_of_the_family_the_attempt_has_failed";
    if !namespace::inside(test, no_ipv6).await? {
        return Ok(());
    }
    let trigger = Trigger::new("nowhere", "http://[::1]:9/").delivery(ONCE);
    let mesh = Mesh::start(Documents::broker().trigger(&trigger).text()).await?;
    mesh.send("shop/default", &events(0, 1)).await?;
    let parked = wait_until("the event to be parked", || async {
        let state = mesh.admin().trigger("shop/nowhere").await?;
        Ok(Some(state).filter(|state| state["parked"] == 1))
    });
    assert_eq!(parked.await?["failedAttempts"], 1);
    Ok(())
}

#[tokio::test]
async fn what_waited_while_its_subscriber_was_lost_is_delivered_once_it_is_back() -> anyhow::Result<()> {
    let (sink, gate) = (Sink::start().await?, Gate::closed());
    sink.answer("/hangs", [Answer::ok().after(&gate)]);
    let with = |subscriber: &str| {
        let metadata = "{name: hangs, namespace: shop, annotations: {millrace.dev/parallelism: \"100\"}}";
        let spec = format!("spec: {{broker: default, subscriber: {subscriber}}}");
        Documents::broker().document("Trigger", metadata, &spec)
    };
    let known = with(&format!("{{uri: \"{}\"}}", sink.url("/hangs")));
    let unknown = with("{ref: {apiVersion: v1, kind: Service, name: nowhere}}");
    let mesh = Setup::new(known.text())?
        .args(&["--max-outgoing-connections", "16"])
        .start()
        .await?;
    mesh.send("shop/default", &events(0, 60)).await?;
    let admin = mesh.admin().open().await?;
    until_short(&admin, "shop/hangs", "connections").await?;
    sink.wait_for("/hangs", 14).await?;

    mesh.reload(unknown.text()).await?;
    gate.open();
    wait_until("nothing to wait for a connection", || async {
        let state = mesh.admin().trigger("shop/hangs").await?;
        Ok(Some(()).filter(|()| state["shortage"] == Value::Null && state["state"] == "not-ready"))
    })
    .await?;
    mesh.send("shop/default", &events(60, 70)).await?;
    assert_eq!(
        sink.count("/hangs"),
        14,
        "nothing goes to a subscriber that is not known"
    );
    mesh.reload(known.text()).await?;
    sink.until_all("/hangs", &ids(0, 70)).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.count("/hangs"), 70, "each once");
    Ok(())
}

#[tokio::test]
async fn what_waits_at_the_end_is_delivered_after_the_next_start() -> anyhow::Result<()> {
    let (sink, gate) = (Sink::start().await?, Gate::closed());
    sink.answer("/hangs", [Answer::ok().after(&gate)]);
    let documents = Documents::broker()
        .trigger(&Trigger::new("hangs", &sink.url("/hangs")).annotation("millrace.dev/parallelism", "100"));
    let mut mesh = Setup::new(documents.text())?
        .args(&["--max-outgoing-connections", "16", "--drain-timeout", "1s"])
        .start()
        .await?;
    assert_eq!(
        mesh.post("shop/default", &Event::batch(&events(0, 60)))
            .await?
            .status,
        202
    );
    let admin = mesh.admin().open().await?;
    until_short(&admin, "shop/hangs", "connections").await?;
    sink.wait_for("/hangs", 14).await?;
    assert_eq!(
        mesh.admin().metric("millrace_delivery_open_connections").await?,
        14.0
    );
    assert_eq!(
        mesh.admin()
            .metric("millrace_delivery_open_connections_limit")
            .await?,
        16.0
    );
    assert_eq!(
        mesh.stop().await?.code(),
        Some(0),
        "what waits does not hold the end up"
    );
    assert_eq!(sink.count("/hangs"), 14, "an eighth is kept for others");
    gate.open();
    mesh.restart().await?;
    sink.until_all("/hangs", &ids(0, 60)).await?;
    mesh.until_settled().await?;
    let state = mesh.admin().trigger("shop/hangs").await?;
    assert_eq!(
        (&state["parked"], &state["failedAttempts"]),
        (&0.into(), &0.into()),
        "{state}"
    );
    assert_eq!(
        sink.count("/hangs"),
        60 + 14,
        "only what was under way comes twice"
    );
    Ok(())
}

#[tokio::test]
async fn a_change_that_met_a_shortage_is_applied_once_there_is_room() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let one = Documents::broker().trigger(&Trigger::new("a", &sink.url("/a")));
    let mut mesh = Mesh::start(one.text()).await?;
    let more = one
        .and_broker("new", "{}")
        .trigger(&Trigger::new("b", &sink.url("/b")).on("new"));
    let log = mesh.setup().folder().join("stderr");
    let said = || {
        let text = fs::read_to_string(&log)?;
        let lines = text
            .lines()
            .filter(|line| line.contains("cannot be applied for now"));
        anyhow::Ok(lines.count())
    };
    let before = descriptors::none_left(mesh.process())?;
    mesh.setup().write(more.text())?;
    wait_until("the log to say so", || async {
        Ok(Some(()).filter(|()| said().is_ok_and(|lines| lines == 1)))
    })
    .await?;
    descriptors::set(mesh.process(), before)?;
    // Nobody touches the file again.
    let event = &events(0, 1)[0];
    wait_until("the new Broker to take an event", || async {
        let answer = mesh.post("shop/new", &event.binary()).await?;
        anyhow::ensure!(answer.status == 202, "{}", answer.status);
        Ok(Some(()))
    })
    .await?;
    sink.wait_for("/b", 1).await?;
    assert_eq!(mesh.admin().get("mesh").await?["lastReloadError"], Value::Null);
    assert_eq!(said()?, 1, "one line, however often it was tried");
    Ok(())
}
