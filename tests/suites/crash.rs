//! Promise: an event that was answered 202 is delivered to every trigger that wants it, whatever `kill -9`
//! interrupts; and what is delivered again after a crash is bounded.
//!
//! A trigger with a parallelism of one keeps the order of the log in its first attempts, also over kills.
//!
//! The bound (per trigger and crash): what was in flight, and the outcomes that a lane may have without a
//! commit. Only deliveries that the subscriber answered with 200 count: a failed attempt asks to be repeated.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::{Answer, Event, Mesh, Producers, Sink, chance, long, wait_until};
use parking_lot::Mutex;

/// In flight per trigger: the default parallelism.
const IN_FLIGHT: usize = 32;
/// The most outcomes of a trigger that are not written down.
const UNCOMMITTED: usize = 1_000;
/// A mesh lives so long between two kills, at most.
const LIFE: Duration = Duration::from_millis(900);
/// Every fourth restart or so is killed before it is ready, or soon after.
const STUMBLE: Duration = Duration::from_millis(200);

/// How often each event was taken by a subscriber, and how often it failed there.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<HashMap<String, Counted>>>);

#[derive(Clone, Copy, Default)]
struct Counted {
    taken: usize,
    failed: usize,
}

// === impl Tally ===

impl Tally {
    /// A subscriber at `path` that takes a little while for each answer and fails each event up to `failures`
    /// times, by chance.
    fn subscriber(sink: &Sink, path: &str, failures: usize, mut chance: fastrand::Rng) -> Self {
        let tally = Self::default();
        let counts = tally.clone();
        sink.decide(path, move |received, _| {
            let mut counts = counts.0.lock();
            let counted = counts.entry(received.event().id().to_owned()).or_default();
            if counted.failed < failures && chance.u8(..10) < 3 {
                counted.failed += 1;
                return Answer::status(500);
            }
            counted.taken += 1;
            Answer::ok().slow(Duration::from_micros(chance.u64(..8_000)))
        });
        tally
    }

    fn missing(&self, wanted: &[String]) -> Vec<String> {
        let counts = self.0.lock();
        let is_taken = |id: &String| counts.get(id).is_some_and(|counted| counted.taken > 0);
        wanted.iter().filter(|id| !is_taken(id)).cloned().collect()
    }

    /// Waits until all of these were taken, however long that takes as long as more and more are.
    async fn until_taken(&self, wanted: &[String]) -> anyhow::Result<()> {
        let mut missing = self.missing(wanted);
        while !missing.is_empty() {
            missing = wait_until(&format!("more of {} missing events", missing.len()), || async {
                let left = self.missing(&missing);
                Ok(Some(left).filter(|left| left.len() < missing.len()))
            })
            .await?;
        }
        Ok(())
    }

    fn repeats(&self) -> usize {
        let counts = self.0.lock();
        counts
            .values()
            .map(|counted| counted.taken.saturating_sub(1))
            .sum()
    }

    fn failures(&self) -> usize {
        self.0.lock().values().map(|counted| counted.failed).sum()
    }
}

fn documents(sink: &Sink) -> Documents {
    // More retries than a subscriber here ever fails, and soon.
    let soon = "{retry: 30, backoffPolicy: linear, backoffDelay: PT0.02S}";
    Documents::broker()
        .trigger(&Trigger::new("steady", &sink.url("/steady")).delivery(soon))
        .trigger(&Trigger::new("flaky", &sink.url("/flaky")).delivery(soon))
        .trigger(
            &Trigger::new("half", &sink.url("/half"))
                .attributes("{type: even}")
                .delivery(soon),
        )
}

/// Every second one is for `half`; one in a hundred is so large that the log writes it past the page cache.
fn event(id: &str) -> Event {
    let is_even = id.ends_with(['0', '2', '4', '6', '8']);
    let event = Event::new(id, if is_even { "even" } else { "odd" });
    if id.ends_with("77") {
        event.data("text/plain", vec![b'x'; 300 << 10])
    } else {
        event
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_delivered_whenever_the_process_is_killed() -> anyhow::Result<()> {
    let rounds = if long() { 200 } else { 12 };
    let mut chance = chance();
    let sink = Sink::start().await?;
    let tallies = [("/steady", 0), ("/flaky", 3), ("/half", 0)]
        .map(|(path, failures)| (path, Tally::subscriber(&sink, path, failures, chance.fork())));
    let mut mesh = Mesh::start(documents(&sink).text()).await?;
    let seeds: Vec<u64> = (0..6).map(|_| chance.u64(..)).collect();
    let pause = Duration::from_millis(1);
    let producers = Producers::start(mesh.listen(), "/shop/default", seeds, pause, event);
    let (mut kills, mut worst) = (0, 0);
    for round in 0..rounds {
        let before: usize = tallies.iter().map(|(_, tally)| tally.repeats()).sum();
        // The moment of the kill is what this test is about; nothing waits for it.
        tokio::time::sleep(LIFE.mul_f64(chance.f64())).await;
        mesh.kill().await?;
        kills += 1;
        while chance.u8(..4) == 0 {
            mesh.stumble(STUMBLE.mul_f64(chance.f64())).await?;
            kills += 1;
        }
        mesh.restart().await?;
        producers.moved(mesh.listen());
        for (path, _) in &tallies {
            // The tallies know it all; the records would only grow.
            sink.take(path);
        }
        let after: usize = tallies.iter().map(|(_, tally)| tally.repeats()).sum();
        worst = worst.max(after - before);
        if long() && round % 20 == 0 {
            println!("round {round}: {} accepted, {after} repeats", producers.count());
        }
    }
    let accepted = producers.stop().await?;
    for (path, tally) in &tallies {
        let wanted: Vec<String> = match *path {
            "/half" => accepted
                .iter()
                .filter(|id| id.ends_with(['0', '2', '4', '6', '8']))
                .cloned()
                .collect(),
            _ => accepted.clone(),
        };
        let arrived = tally.until_taken(&wanted).await;
        if arrived.is_err() {
            println!("after {kills} kills: {:#}", mesh.admin().get("triggers").await?);
        }
        arrived.with_context(|| format!("at {path}"))?;
    }
    mesh.until_settled().await?;
    assert_eq!(
        mesh.admin().until_parked(0).await?,
        Vec::<serde_json::Value>::new()
    );
    for (path, tally) in &tallies {
        let repeats = tally.repeats();
        println!("{path}: {repeats} repeats, {} failed attempts", tally.failures());
        assert!(
            repeats <= kills * (IN_FLIGHT + UNCOMMITTED),
            "{path}: {repeats} repeats after {kills} kills"
        );
    }
    println!(
        "{} events accepted, {rounds} rounds, {kills} kills, at most {worst} repeats between two restarts",
        accepted.len()
    );
    assert!(accepted.len() > rounds, "there was no load");
    Ok(())
}

/// Only with a parallelism of one. What was attempted before the kill may come again meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_attempts_keep_their_order_when_the_process_is_killed() -> anyhow::Result<()> {
    let rounds = if long() { 40 } else { 4 };
    let mut chance = chance();
    let sink = Sink::start().await?;
    let came: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, mut unlucky) = (came.clone(), chance.fork());
    sink.decide("/one", move |received, _| {
        let id = received.event().id().to_owned();
        let mut seen = seen.lock();
        if !seen.contains(&id) {
            seen.push(id);
        }
        // A retry comes later, and must not hold up or overtake a first attempt.
        if unlucky.u8(..10) == 0 {
            return Answer::status(503);
        }
        Answer::ok().slow(Duration::from_millis(5))
    });
    let one = Trigger::new("one", &sink.url("/one"))
        .annotation("millrace.dev/parallelism", "1")
        .delivery("{retry: 100, backoffPolicy: linear, backoffDelay: PT0.02S}");
    let mut mesh = Mesh::start(Documents::broker().trigger(&one).text()).await?;
    let mut sent = Vec::new();
    let until_came = async |count: usize| {
        wait_until(&format!("{count} first attempts"), || async {
            Ok(Some(()).filter(|()| came.lock().len() >= count))
        })
        .await
    };
    for _ in 0..rounds {
        let ids: Vec<String> = (0..40).map(|n| (sent.len() + n).to_string()).collect();
        // One after the other: so they lie in the log.
        let events: Vec<Event> = ids.iter().map(|id| Event::new(id, "even")).collect();
        mesh.send("shop/default", &events).await?;
        sent.extend(ids);
        let before = came.lock().len();
        // On a busy machine nearly all may have come while the last were sent.
        until_came((before + chance.usize(1..15)).min(sent.len())).await?;
        mesh.kill().await?;
        if chance.bool() {
            mesh.stumble(STUMBLE.mul_f64(chance.f64())).await?;
        }
        mesh.restart().await?;
    }
    until_came(sent.len()).await?;
    assert_eq!(*came.lock(), sent);
    Ok(())
}
