//! Promise: the work that one Trigger's filters may do for an event is bounded, and the bound does not depend
//! on other Triggers. Costly Triggers of one Broker hold up neither the producers and subscribers of another
//! Broker nor the health probes.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use http::Method;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::story::explain;
use millrace_tests::{Answer, Event, Gate, Mesh, Sink, wait_until};
use serde_json::Value;

/// Large events in a round: each hostile filter is asked about every one.
const LARGE: usize = 2;
/// The least that the neighbour and the probes must get done while the hostile filters are at work.
const MEANWHILE: usize = 20;
/// The most rounds until that was seen. A fast machine may need several.
const ROUNDS: usize = 8;

/// What has been done besides the hostile Triggers' work.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    /// Events of the neighbour that were accepted.
    accepted: usize,
    /// Events that arrived at its subscriber.
    arrived: usize,
    /// Probes that were answered.
    probes: usize,
}

// === impl Done ===

impl Done {
    /// This, and what was done between two looks.
    fn and_between(self, earlier: Self, later: Self) -> Self {
        Self {
            accepted: self.accepted + later.accepted - earlier.accepted,
            arrived: self.arrived + later.arrived - earlier.arrived,
            probes: self.probes + later.probes - earlier.probes,
        }
    }

    fn is_enough(self) -> bool {
        [self.accepted, self.arrived, self.probes]
            .iter()
            .all(|&count| count >= MEANWHILE)
    }
}

/// About 240 kB: many small objects, each in forty lists.
fn large(id: &str) -> Event {
    let item = format!(r#"{}{{"b":1,"name":"x"}}{}"#, "[".repeat(40), "]".repeat(40));
    let items = vec![&*item; 240_000 / (item.len() + 1)].join(",");
    Event::new(id, "large")
        .with("subject", &"a-".repeat(4_000))
        .data("application/json", format!(r#"{{"hit":true,"items":[{items}]}}"#))
}

/// Filters that need too much work for a large event.
fn hostile() -> Vec<(&'static str, String)> {
    let each = |path: fn(usize) -> String, count| (2..count).map(path).collect::<Vec<_>>().join(", ");
    let filters = each(|n| format!("{{jsonpath: '$..[?@.b == {n}]'}}"), 990);
    let map = each(|n| format!("\"$..[?@.name == 'x' || @.b == {n}].b\": 1"), 200);
    vec![
        ("many-conditions", format!("[{{any: [{filters}]}}]")),
        ("turned-round", format!("[{{not: {{any: [{filters}]}}}}]")),
        ("nested", "[{jsonpath: '$..*..absent'}]".to_owned()),
        (
            "counting",
            "[{jsonpath: '$..[?count(@..*) > 1000000]'}]".to_owned(),
        ),
        ("map-form", format!("[{{jsonpath: {{{map}}}}}]")),
        (
            "like",
            format!("[{{cesql: \"subject LIKE '{}'\"}}]", "%_a_-_a_-_b".repeat(100)),
        ),
        (
            "long-texts",
            format!(
                "[{{cesql: \"LENGTH(CONCAT(subject{})) = 1\"}}]",
                ", subject".repeat(400)
            ),
        ),
    ]
}

/// Filters that ask a large event for something ordinary.
fn ordinary() -> Vec<(&'static str, &'static str)> {
    vec![
        ("anywhere", "[{jsonpath: '$..name'}]"),
        ("condition", "[{jsonpath: '$..[?@.b == 1]'}]"),
        ("value", "[{jsonpath: {$.hit: true, '$.items[-1]..b': 1}}]"),
        ("attribute", "[{exact: {type: large}}]"),
    ]
}

async fn too_much_work(mesh: &Mesh, trigger: &str) -> anyhow::Result<u64> {
    let shown = mesh.admin().trigger(trigger).await?;
    shown["tooMuchWork"].as_u64().context("no count")
}

/// Asks for `/healthz` until told to stop, and counts the answers.
async fn probe(mesh: &Mesh, stop: &AtomicBool, answered: &AtomicUsize) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let answer = mesh.admin().ask(&Method::GET, "/healthz").await?;
        ensure!(
            answer.status == 200,
            "a probe: {}: {:?}",
            answer.status,
            answer.body
        );
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Checks that a mesh with this Trigger alone decides the same about the same events.
async fn says_the_same_alone(sink: &Sink, name: &str, filters: &str) -> anyhow::Result<()> {
    let path = format!("/alone/{name}");
    let trigger = Trigger::new(name, &sink.url(&path)).filters(filters);
    let mesh = Mesh::start(Documents::broker().trigger(&trigger).text()).await?;
    mesh.send("shop/default", &[large("0")]).await?;
    wait_until("the count", || async {
        Ok((too_much_work(&mesh, &format!("shop/{name}")).await? == 1).then_some(()))
    })
    .await?;
    assert_eq!(sink.count(&path), 0, "{name}");
    Ok(())
}

#[tokio::test]
async fn filters_that_ask_for_too_much_do_not_match_and_cost_another_broker_nothing() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mut documents = Documents::broker().and_broker("honest", "{}");
    for (name, filters) in &hostile() {
        documents = documents.trigger(&Trigger::new(name, &sink.url(&format!("/{name}"))).filters(filters));
    }
    for (name, filters) in ordinary() {
        documents = documents.trigger(&Trigger::new(name, &sink.url(&format!("/{name}"))).filters(filters));
    }
    documents = documents.trigger(&Trigger::new("neighbour", &sink.url("/neighbour")).on("honest"));
    let mesh = Mesh::start(documents.text()).await?;

    let stop = AtomicBool::new(false);
    let (accepted, probes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let so_far = || Done {
        accepted: accepted.load(Ordering::Relaxed),
        arrived: sink.count("/neighbour"),
        probes: probes.load(Ordering::Relaxed),
    };
    let hostile_side = async {
        // Counted only while at least one hostile filter is undecided.
        let (mut meanwhile, mut sent) = (Done::default(), 0);
        while !meanwhile.is_enough() && sent < ROUNDS * LARGE {
            let at_first = so_far();
            for n in sent..sent + LARGE {
                mesh.send("shop/default", &[large(&n.to_string())]).await?;
            }
            sent += LARGE;
            let at_last = Cell::new(at_first);
            for (name, _) in &hostile() {
                wait_until(name, || async {
                    let before = so_far();
                    let decided = too_much_work(&mesh, &format!("shop/{name}")).await? == sent as u64;
                    if !decided {
                        at_last.set(before);
                    }
                    Ok(decided.then_some(()))
                })
                .await?;
            }
            meanwhile = meanwhile.and_between(at_first, at_last.get());
        }
        stop.store(true, Ordering::Relaxed);
        ensure!(
            meanwhile.is_enough(),
            "{meanwhile:?} while {sent} events were looked at"
        );
        anyhow::Ok(sent)
    };
    let honest_side = async {
        while !stop.load(Ordering::Relaxed) {
            let id = accepted.load(Ordering::Relaxed).to_string();
            let answer = mesh.post("shop/honest", &Event::new(&id, "t").binary()).await?;
            ensure!(answer.status == 202, "{id}: {}: {:?}", answer.status, answer.body);
            accepted.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    };
    let (sent, (), ()) = tokio::try_join!(hostile_side, honest_side, probe(&mesh, &stop, &probes))?;

    let honest: BTreeSet<String> = (0..accepted.into_inner()).map(|n| n.to_string()).collect();
    sink.until_all("/neighbour", &honest).await?;
    for (name, _) in ordinary() {
        sink.wait_for(&format!("/{name}"), sent).await?;
    }
    mesh.until_settled().await?;
    for (name, filters) in &hostile() {
        assert_eq!(sink.count(&format!("/{name}")), 0, "{name} is no match");
        let args = format!("--broker shop/default --id 0 --trigger shop/{name} --output json");
        let told = explain(&mesh, &args).await?;
        assert!(told.contains("error: too much work"), "{name}: {told}");
        assert!(told.contains("too-much-work"), "{name}: {told}");
        says_the_same_alone(&sink, name, filters).await?;
    }
    for (name, _) in ordinary() {
        assert_eq!(too_much_work(&mesh, &format!("shop/{name}")).await?, 0, "{name}");
        assert_eq!(sink.count(&format!("/{name}")), sent, "{name}");
    }
    let counted = mesh
        .admin()
        .metric("millrace_dispatch_too_much_work_total")
        .await?;
    assert_eq!(counted, (sent * hostile().len()) as f64);
    assert_eq!(mesh.admin().until_parked(0).await?, Vec::<Value>::new());
    Ok(())
}

#[tokio::test]
async fn events_whose_filters_take_long_keep_their_place_in_the_log() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker()
        .trigger(&Trigger::new("slow", &sink.url("/slow")).filters(&hostile()[0].1))
        .trigger(&Trigger::new("all", &sink.url("/all")).annotation("millrace.dev/parallelism", "1"));
    let mesh = Mesh::start(documents.text()).await?;
    let mut ids = Vec::new();
    for n in 0..12 {
        let id = n.to_string();
        let event = if n % 3 == 0 {
            large(&id)
        } else {
            Event::new(&id, "small")
        };
        mesh.send("shop/default", &[event]).await?;
        ids.push(id);
    }
    sink.wait_for("/all", ids.len()).await?;
    assert_eq!(sink.ids("/all"), ids);
    Ok(())
}

#[tokio::test]
async fn a_lane_that_fell_behind_gets_what_its_filter_lets_pass_however_long_that_takes() -> anyhow::Result<()>
{
    let sink = Sink::start().await?;
    // Applies to a1 and a10 to a19.
    let greedy = hostile()[0].1.replacen('[', "[{prefix: {id: a1}}, ", 1);
    let open = Gate::closed();
    sink.answer("/behind", [Answer::ok().after(&open)]);
    let documents = Documents::broker()
        .trigger(
            &Trigger::new("behind", &sink.url("/behind"))
                .filters("[{jsonpath: '$..[?@.b == 1]'}, {prefix: {id: a}}]")
                .delivery("{timeout: PT10M}")
                .annotation("millrace.dev/parallelism", "1"),
        )
        .trigger(&Trigger::new("greedy", &sink.url("/greedy")).filters(&greedy));
    let mesh = Mesh::start(documents.text()).await?;
    // More events than a lane holds in memory.
    let wanted: BTreeSet<String> = (0..30).map(|n| format!("a{n}")).collect();
    for id in &wanted {
        mesh.send("shop/default", &[large(id), Event::new(&format!("b{id}"), "t")])
            .await?;
    }
    mesh.admin()
        .until_trigger("shop/behind", "behind", |shown| shown["state"] == "behind")
        .await?;
    open.open();
    sink.until_all("/behind", &wanted).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.count("/behind"), wanted.len());
    assert_eq!(too_much_work(&mesh, "shop/greedy").await?, 11);
    Ok(())
}

#[tokio::test]
async fn a_trigger_that_lags_does_not_wait_for_costly_filters_of_another_broker() -> anyhow::Result<()> {
    const COSTLY: usize = 6;
    let sink = Sink::start().await?;
    let open = Gate::closed();
    sink.answer("/fine", [Answer::ok().after(&open)]);
    sink.answer("/costly", [Answer::ok().after(&open)]);
    let documents = |filters: &str| {
        let fine = Trigger::new("fine", &sink.url("/fine"))
            .on("fine")
            .delivery("{timeout: PT10M}");
        let documents = Documents::broker().and_broker("fine", "{}").trigger(&fine);
        (0..COSTLY).fold(documents, |documents, nth| {
            let costly = Trigger::new(&format!("costly-{nth}"), &sink.url("/costly"))
                .filters(filters)
                .delivery("{timeout: PT10M}");
            documents.trigger(&costly)
        })
    };
    // With the least budget one Broker at a time reads back what its Triggers have not read.
    let setup = Setup::new(documents("[]").text())?.args(&["--memory-budget", "1"]);
    let mesh = setup.start().await?;
    let ids: BTreeSet<String> = (0..2_000).map(|n| n.to_string()).collect();
    let small: Vec<_> = ids.iter().map(|id| Event::new(id, "small")).collect();
    mesh.send("shop/fine", &small).await?;
    for n in 0..30 {
        mesh.send("shop/default", &[large(&n.to_string())]).await?;
    }
    let is_behind = |shown: &Value| shown["state"] == "behind";
    mesh.admin()
        .until_trigger("shop/fine", "behind", is_behind)
        .await?;
    mesh.admin()
        .until_trigger("shop/costly-0", "behind", is_behind)
        .await?;

    mesh.reload(documents(&hostile()[0].1).text()).await?;
    open.open();
    sink.until_all("/fine", &ids).await?;
    let costly = mesh.admin().trigger("shop/costly-0").await?;
    assert_eq!(
        costly["state"], "behind",
        "its filters are still at work: {costly}"
    );
    assert_eq!(sink.count("/fine"), ids.len());
    Ok(())
}
