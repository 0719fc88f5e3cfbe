//! Promise: a slow or dead subscriber costs the others nothing, and no memory; it gets everything when it
//! returns.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use millrace_tests::documents::{Documents, STUBBORN, Trigger};
use millrace_tests::{Answer, Event, Gate, Mesh, Sink, long, wait_until};
use parking_lot::Mutex;
use serde_json::Value;

/// Sends events `0..count` with so many bytes of data, a hundred in a request.
async fn flood(mesh: &Mesh, count: usize, bytes: usize) -> anyhow::Result<()> {
    let mut client = millrace_tests::Client::new(mesh.listen());
    let ids: Vec<usize> = (0..count).collect();
    for ids in ids.chunks(100) {
        let events: Vec<_> = ids
            .iter()
            .map(|id| {
                let kind = if id % 100 == 0 { "hundredth" } else { "x" };
                Event::new(&id.to_string(), kind).data("text/plain", vec![b'.'; bytes])
            })
            .collect();
        let answer = client.post("/shop/default", &Event::batch(&events)).await?;
        anyhow::ensure!(answer.status == 202, "{}: {:?}", answer.status, answer.body);
    }
    Ok(())
}

fn distinct(sink: &Sink, path: &str) -> usize {
    sink.ids(path).into_iter().collect::<BTreeSet<_>>().len()
}

#[tokio::test]
async fn while_one_subscriber_hangs_the_others_get_everything_and_it_catches_up() -> anyhow::Result<()> {
    const EVENTS: usize = 3000;
    let sink = Sink::start().await?;
    let gate = Gate::closed();
    sink.answer("/hangs", [Answer::ok().after(&gate)]);
    let mut documents =
        Documents::broker().trigger(&Trigger::new("hangs", &sink.url("/hangs")).delivery(STUBBORN));
    let others = ["/a", "/b", "/c"];
    for path in others {
        documents = documents.trigger(&Trigger::new(&path[1..], &sink.url(path)));
    }
    let mesh = Mesh::start(documents.text()).await?;
    flood(&mesh, EVENTS, 100).await?;
    for path in others {
        sink.wait_for(path, EVENTS).await?;
        assert_eq!(distinct(&sink, path), EVENTS, "{path}");
    }
    assert_eq!(
        sink.count("/hangs"),
        32,
        "as many in flight as a trigger may have"
    );
    gate.open();
    sink.wait_for("/hangs", EVENTS).await?;
    mesh.until_settled().await?;
    let ids = sink.ids("/hangs");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), EVENTS);
    assert_eq!(ids.len(), EVENTS, "nothing is delivered twice");
    Ok(())
}

#[tokio::test]
async fn a_dead_subscriber_costs_no_memory_and_gets_its_whole_backlog_when_it_returns() -> anyhow::Result<()>
{
    // Of these bytes a process that kept the backlog in memory would have to hold all.
    let (events, bytes) = if long() {
        (100_000, 8 << 10)
    } else {
        (10_000, 32 << 10)
    };
    // Buffers, queues and what the allocator keeps of batches of 3 MiB: measured up to 185, whether 150 or
    // 600 MiB wait. A process that keeps the backlog needs these and the backlog.
    const BOUND: u64 = 256;
    let (sink, dead) = (Sink::start().await?, Sink::start().await?);
    dead.down();
    let documents = Documents::broker()
        .trigger(&Trigger::new("dead", &dead.url("/dead")).delivery(STUBBORN))
        .trigger(&Trigger::new("alive", &sink.url("/alive")).attributes("{type: hundredth}"));
    let mut mesh = Mesh::start(documents.text()).await?;
    flood(&mesh, events, bytes).await?;
    sink.wait_for("/alive", events / 100).await?;
    let used = mesh.process().resident()?;
    assert!(
        used <= BOUND,
        "{used} MiB with a backlog of {} MiB",
        (events * bytes) >> 20
    );
    dead.up().await?;
    // In steps, each with its own deadline: how long it takes is not what is asked here.
    let mut came = BTreeSet::new();
    for part in 1..=20 {
        wait_until("the backlog to be delivered", || {
            came.extend(
                dead.take("/dead")
                    .iter()
                    .map(|received| received.event().id().to_owned()),
            );
            let enough = came.len() >= events / 20 * part;
            async move { Ok(Some(()).filter(|()| enough)) }
        })
        .await?;
    }
    mesh.until_settled().await?;
    assert_eq!(came.len(), events);
    let used = mesh.process().resident()?;
    assert!(used <= BOUND, "{used} MiB after the backlog was delivered");
    assert_eq!(sink.count("/alive"), events / 100);
    Ok(())
}

#[tokio::test]
async fn parallelism_bounds_what_is_in_flight() -> anyhow::Result<()> {
    const EVENTS: usize = 200;
    let sink = Sink::start().await?;
    let gate = Gate::closed();
    let mut documents = Documents::broker().trigger(&Trigger::new("witness", &sink.url("/witness")));
    let bounds = [1, 3, 32];
    for bound in bounds {
        let path = format!("/{bound}");
        sink.answer(&path, [Answer::ok().after(&gate)]);
        let trigger = Trigger::new(&format!("t{bound}"), &sink.url(&path))
            .delivery(STUBBORN)
            .annotation("millrace.dev/parallelism", &bound.to_string());
        documents = documents.trigger(&trigger);
    }
    let mesh = Mesh::start(documents.text()).await?;
    flood(&mesh, EVENTS, 10).await?;
    sink.wait_for("/witness", EVENTS).await?;
    for bound in bounds {
        let path = format!("/{bound}");
        sink.wait_for(&path, bound).await?;
        assert_eq!(sink.count(&path), bound, "no more than {bound}");
    }
    gate.open();
    for bound in bounds {
        sink.wait_for(&format!("/{bound}"), EVENTS).await?;
    }
    mesh.until_settled().await?;
    let in_order: Vec<_> = (0..EVENTS).map(|id| id.to_string()).collect();
    assert_eq!(sink.ids("/1"), in_order, "one at a time is in order");
    for bound in bounds {
        assert_eq!(distinct(&sink, &format!("/{bound}")), EVENTS, "{bound}");
    }
    Ok(())
}

#[tokio::test]
async fn max_deferred_bounds_what_is_attempted_before_something_is_settled() -> anyhow::Result<()> {
    const EVENTS: usize = 300;
    let sink = Sink::start().await?;
    let seen: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let well = Arc::new(Mutex::new(false));
    let (counted, is_well) = (seen.clone(), well.clone());
    sink.decide("/sick", move |received, _| {
        *counted
            .lock()
            .entry(received.event().id().to_owned())
            .or_default() += 1;
        Answer::status(if *is_well.lock() { 200 } else { 503 })
    });
    let sick = Trigger::new("sick", &sink.url("/sick"))
        .delivery(STUBBORN)
        .annotation("millrace.dev/max-deferred", "5")
        .annotation("millrace.dev/parallelism", "1");
    let documents = Documents::broker()
        .trigger(&sick)
        .trigger(&Trigger::new("fine", &sink.url("/fine")));
    let mesh = Mesh::start(documents.text()).await?;
    flood(&mesh, EVENTS, 10).await?;
    sink.wait_for("/fine", EVENTS).await?;
    let blocked = |trigger: &Value| trigger["state"] == "blocked" && trigger["deferred"] == 5;
    let trigger = mesh
        .admin()
        .until_trigger("shop/sick", "blocked", blocked)
        .await?;
    assert!(
        trigger["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("another attempt")),
        "{trigger}"
    );
    // Many attempts later they are still the same five.
    sink.wait_for("/sick", 40).await?;
    assert_eq!(seen.lock().len(), 5);
    *well.lock() = true;
    mesh.until_settled().await?;
    assert_eq!(seen.lock().len(), EVENTS);
    Ok(())
}
