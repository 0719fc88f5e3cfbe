//! Promise: an event is judged by the filter that counted when its Trigger read it. Another filter counts for
//! what is read from then on, whatever is queued, and whatever `kill -9` interrupts.

use std::ops::Range;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::reload::sorted;
use millrace_tests::story::tells_in_a_row;
use millrace_tests::{Answer, Event, Gate, Mesh, Sink};
use serde_json::Value;

/// A Trigger whose subscriber takes two events and answers none of them until the gate opens: what else the
/// Trigger reads is queued.
struct Held {
    mesh: Mesh,
    sink: Sink,
    gate: Gate,
}

/// The documents with a Trigger that wants events of these types, in YAML's flow style.
fn documents(sink: &Sink, types: &str) -> Documents {
    let trigger = Trigger::new("t", &sink.url("/t"))
        .annotation("millrace.dev/parallelism", "2")
        .filters(&format!("[{{any: [{types}]}}]"));
    Documents::broker().trigger(&trigger)
}

fn only(kind: &str) -> String {
    format!("{{exact: {{type: {kind}}}}}")
}

/// The ids of events of a type, as [`Held::send`] sends them.
fn ids(kind: &str, range: Range<usize>) -> Vec<String> {
    range.map(|n| format!("{kind}{n}")).collect()
}

// === impl Held ===

impl Held {
    async fn start(types: &str) -> anyhow::Result<Self> {
        let (sink, gate) = (Sink::start().await?, Gate::closed());
        sink.answer("/t", [Answer::ok().after(&gate)]);
        let mesh = Mesh::start(documents(&sink, types).text()).await?;
        Ok(Self { mesh, sink, gate })
    }

    /// Sends an event of type `a` and one of type `b` for each number, and waits until all are read.
    async fn send(&self, range: Range<usize>) -> anyhow::Result<()> {
        self.offer(range).await?;
        let read = |trigger: &Value| trigger["backlog"] == 0;
        self.mesh
            .admin()
            .until_trigger("shop/t", "all is read", read)
            .await
            .map(drop)
    }

    async fn offer(&self, range: Range<usize>) -> anyhow::Result<()> {
        let both = range.flat_map(|n| ["a", "b"].map(|kind| Event::new(&format!("{kind}{n}"), kind)));
        self.mesh.send("shop/default", &both.collect::<Vec<_>>()).await
    }

    async fn edit(&self, types: &str) -> anyhow::Result<()> {
        self.mesh.reload(documents(&self.sink, types).text()).await
    }

    /// Kills the process, and starts it again with these documents.
    async fn kill_and_start(&mut self, types: &str) -> anyhow::Result<()> {
        self.mesh.kill().await?;
        self.mesh.setup().write(documents(&self.sink, types).text())?;
        self.mesh.restart().await
    }

    /// What the subscriber got in the end, each once: what is in flight at a crash comes again.
    async fn arrived(&self) -> anyhow::Result<Vec<String>> {
        self.gate.open();
        self.mesh.until_settled().await?;
        let mut arrived = sorted(self.sink.ids("/t"));
        arrived.dedup();
        Ok(arrived)
    }
}

/// Filters that follow each other while events are queued. `crash`: then a `kill -9`.
async fn each_judges_what_was_read_by_it(crash: bool) -> anyhow::Result<()> {
    let mut held = Held::start(&only("a")).await?;
    held.send(0..30).await?;
    held.edit(&only("b")).await?;
    held.send(30..35).await?;
    for (id, row) in [
        (
            "a20",
            "shop/t yes in-hand queued, or its first attempt is under way",
        ),
        ("b20", "shop/t no not-matched type is \"b\", not \"a\""),
        ("a33", "shop/t no not-matched type is \"a\", not \"b\""),
        (
            "b33",
            "shop/t yes in-hand queued, or its first attempt is under way",
        ),
    ] {
        tells_in_a_row(&held.mesh, &format!("--broker shop/default --id {id}"), row).await?;
    }
    held.edit(&only("none")).await?;
    held.send(35..40).await?;
    let both = format!("{}, {}", only("a"), only("b"));
    held.edit(&both).await?;
    if crash {
        held.kill_and_start(&both).await?;
    }
    held.send(40..42).await?;
    let mut expected = ids("a", 0..30);
    expected.extend(ids("b", 30..35));
    expected.extend(ids("a", 40..42));
    expected.extend(ids("b", 40..42));
    assert_eq!(held.arrived().await?, sorted(expected));
    Ok(())
}

#[tokio::test]
async fn what_was_queued_is_judged_by_the_filter_that_counted_then() -> anyhow::Result<()> {
    each_judges_what_was_read_by_it(false).await
}

#[tokio::test]
async fn what_was_queued_is_judged_by_the_filter_that_counted_then_after_a_crash_too() -> anyhow::Result<()> {
    each_judges_what_was_read_by_it(true).await
}

/// The second crash comes while what was queued at the first one is queued again.
#[tokio::test]
async fn documents_that_were_edited_while_it_was_down_count_for_what_comes_after_the_start()
-> anyhow::Result<()> {
    let mut held = Held::start(&only("a")).await?;
    held.send(0..30).await?;
    held.kill_and_start(&only("b")).await?;
    held.send(30..35).await?;
    held.kill_and_start(&only("a")).await?;
    held.send(35..40).await?;
    let mut expected = ids("a", 0..30);
    expected.extend(ids("b", 30..35));
    expected.extend(ids("a", 35..40));
    assert_eq!(held.arrived().await?, sorted(expected));
    Ok(())
}

/// What was read is perhaps not written down yet. A Trigger that had kept up has read all the same.
#[tokio::test]
async fn what_was_accepted_in_the_last_moment_before_a_crash_is_judged_by_the_filter_of_that_time()
-> anyhow::Result<()> {
    let mut held = Held::start(&only("a")).await?;
    held.offer(0..20).await?;
    held.kill_and_start(&only("b")).await?;
    held.send(20..25).await?;
    let mut expected = ids("a", 0..20);
    expected.extend(ids("b", 20..25));
    assert_eq!(held.arrived().await?, sorted(expected));
    Ok(())
}

/// More than a queue holds: the Trigger has not read the rest, and another filter judges that.
#[tokio::test]
async fn what_a_trigger_that_lags_has_not_read_is_judged_by_the_new_filter() -> anyhow::Result<()> {
    const EVENTS: usize = 1_300;
    let mut held = Held::start(&only("a")).await?;
    held.offer(0..EVENTS).await?;
    let lags = |trigger: &Value| trigger["state"] == "behind" && trigger["queued"].as_u64() > Some(1_000);
    held.mesh
        .admin()
        .until_trigger("shop/t", "a full queue", lags)
        .await?;
    held.kill_and_start(&only("b")).await?;
    let arrived = held.arrived().await?;
    let read = arrived.iter().filter(|id| id.starts_with('a')).count();
    assert!((1_000..EVENTS).contains(&read), "{read} were read before");
    let mut expected = ids("a", 0..read);
    // The last that was read may have been an `a` or the `b` behind it.
    let unread = if arrived.contains(&format!("b{}", read - 1)) {
        read - 1
    } else {
        read
    };
    expected.extend(ids("b", unread..EVENTS));
    assert_eq!(arrived, sorted(expected));
    Ok(())
}
