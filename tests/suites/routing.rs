//! Promise: each event goes to every trigger whose filter wants it, once each, and to no other.
//!
//! The seven cases and ManyTriggers are Knative's conformance matrix for brokers.

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::{Answer, Event, Mesh, Sink};

/// Sends `events` through triggers `t0`, `t1`, ... with these `filter.attributes`; gives what arrived at
/// each.
async fn routed(filters: &[&str], events: &[Event]) -> anyhow::Result<Vec<Vec<String>>> {
    let sink = Sink::start().await?;
    let mut documents = Documents::broker();
    for (n, filter) in filters.iter().enumerate() {
        let trigger = Trigger::new(&format!("t{n}"), &sink.url(&format!("/t{n}")));
        documents = documents.trigger(&if filter.is_empty() {
            trigger
        } else {
            trigger.attributes(filter)
        });
    }
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", events).await?;
    mesh.until_settled().await?;
    Ok((0..filters.len())
        .map(|n| sorted(sink.ids(&format!("/t{n}"))))
        .collect())
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test]
async fn the_matrix_of_filters_and_triggers() -> anyhow::Result<()> {
    let event = [Event::new("1", "wanted")];
    let (wanted, other) = ("{type: wanted}", "{type: other}");
    let cases: [(&str, &[&str], &[usize]); 6] = [
        ("no filter receives", &[""], &[1]),
        ("a filter that does not match", &[other], &[0]),
        ("a filter that matches", &[wanted], &[1]),
        ("two that match, both receive", &[wanted, wanted], &[1, 1]),
        ("only the matching one receives", &[wanted, other], &[1, 0]),
        ("two without filter, both receive", &["", ""], &[1, 1]),
    ];
    for (name, filters, expected) in cases {
        let counts: Vec<usize> = routed(filters, &event).await?.iter().map(Vec::len).collect();
        assert_eq!(counts, expected, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn the_reply_of_the_first_triggers_the_second() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.answer("/first", [Answer::reply(&Event::new("reply", "answer"))]);
    let documents = Documents::broker()
        .trigger(&Trigger::new("first", &sink.url("/first")).attributes("{type: question}"))
        .trigger(&Trigger::new("second", &sink.url("/second")).attributes("{type: answer}"));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("question", "question")])
        .await?;
    sink.wait_for("/second", 1).await?;
    mesh.until_settled().await?;
    assert_eq!(
        (sink.ids("/first"), sink.ids("/second")),
        (vec!["question".to_owned()], vec!["reply".to_owned()])
    );
    Ok(())
}

#[tokio::test]
async fn many_triggers_get_exactly_what_their_attributes_ask_for() -> anyhow::Result<()> {
    // "" in a filter asks for a value that is there and not empty; None does not ask.
    let types = ["", "t1", "t2"];
    let sources = ["", "/s1", "/s2"];
    let extensions = [None, Some(""), Some("v1")];
    let mut wanted: Vec<(&str, &str, Option<&str>)> = Vec::new();
    for kind in types {
        for source in sources {
            wanted.extend(extensions.map(|extension| (kind, source, extension)));
        }
    }
    let filters: Vec<String> = wanted
        .iter()
        .map(|(kind, source, extension)| {
            let extension = extension
                .map(|value| format!(", ext1: \"{value}\""))
                .unwrap_or_default();
            format!("{{type: \"{kind}\", source: \"{source}\"{extension}}}")
        })
        .collect();
    let mut events = Vec::new();
    for kind in ["t1", "t2"] {
        for source in ["/s1", "/s2"] {
            for extension in [None, Some("v1"), Some("v2")] {
                let id = format!("{kind} {source} {}", extension.unwrap_or("-")).replace([' ', '/'], "_");
                let event = Event::new(&id, kind).with("source", source);
                events.push(match extension {
                    Some(value) => event.with("ext1", value),
                    None => event,
                });
            }
        }
    }
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let arrived = routed(&filters, &events).await?;
    for ((kind, source, extension), arrived) in wanted.iter().zip(arrived) {
        let is_met = |asked: &str, is: Option<&str>| is.is_some_and(|is| asked.is_empty() || asked == is);
        let expected = events.iter().filter(|event| {
            is_met(kind, event.get("type"))
                && is_met(source, event.get("source"))
                && extension.is_none_or(|asked| is_met(asked, event.get("ext1")))
        });
        let expected = sorted(expected.map(|event| event.id().to_owned()).collect());
        assert_eq!(
            arrived, expected,
            "type {kind:?}, source {source:?}, ext1 {extension:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_dialects_of_filters_decide_as_documented() -> anyhow::Result<()> {
    let event = Event::new("1", "order.paid")
        .with("source", "/shop/till/7")
        .with("ext", "value");
    // `filters` in flow style, and whether the event passes.
    let cases = [
        ("[{exact: {type: order.paid}}]", true),
        ("[{exact: {type: order}}]", false),
        ("[{exact: {missing: x}}]", false),
        ("[{prefix: {source: /shop/}}]", true),
        ("[{prefix: {source: /shop/, type: order.}}]", true),
        ("[{prefix: {source: /shop/, type: invoice.}}]", false),
        ("[{suffix: {type: .paid}}]", true),
        ("[{suffix: {missing: x}}]", false),
        (
            "[{all: [{exact: {type: order.paid}}, {prefix: {ext: val}}]}]",
            true,
        ),
        (
            "[{all: [{exact: {type: order.paid}}, {prefix: {ext: x}}]}]",
            false,
        ),
        (
            "[{any: [{exact: {type: t1}}, {exact: {type: t2}}, {exact: {type: order.paid}}]}]",
            true,
        ),
        ("[{any: [{exact: {type: t1}}, {exact: {type: t2}}]}]", false),
        ("[{not: {exact: {type: x}}}]", true),
        ("[{not: {exact: {type: order.paid}}}]", false),
        ("[{not: {exact: {missing: x}}}]", true),
        ("[{exact: {type: order.paid}}, {exact: {ext: value}}]", true),
        ("[{exact: {type: order.paid}}, {exact: {ext: other}}]", false),
        ("[]", true),
    ];
    let sink = Sink::start().await?;
    let mut documents = Documents::broker();
    for (n, (filters, _)) in cases.iter().enumerate() {
        let trigger = Trigger::new(&format!("t{n}"), &sink.url(&format!("/t{n}"))).filters(filters);
        documents = documents.trigger(&trigger);
    }
    // `filters` that say something make `filter` not count; empty ones leave it in force.
    documents = documents
        .trigger(
            &Trigger::new("over", &sink.url("/over"))
                .attributes("{type: x}")
                .filters("[{exact: {ext: value}}]"),
        )
        .trigger(
            &Trigger::new("under", &sink.url("/under"))
                .attributes("{type: x}")
                .filters("[]"),
        );
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[event]).await?;
    mesh.until_settled().await?;
    for (n, (filters, expected)) in cases.iter().enumerate() {
        assert_eq!(sink.count(&format!("/t{n}")) == 1, *expected, "{filters}");
    }
    assert_eq!((sink.count("/over"), sink.count("/under")), (1, 0));
    Ok(())
}

#[tokio::test]
async fn two_triggers_with_the_same_subscriber_deliver_once_each() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker()
        .trigger(&Trigger::new("a", &sink.url("/same")))
        .trigger(&Trigger::new("b", &sink.url("/same")));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/same", 2).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.count("/same"), 2);
    Ok(())
}

#[tokio::test]
async fn brokers_keep_their_events_apart() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker()
        .and_broker("other", "{}")
        .trigger(&Trigger::new("a", &sink.url("/a")))
        .trigger(&Trigger::new("b", &sink.url("/b")).on("other"));
    let mesh = Mesh::start(documents.text()).await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    mesh.send("shop/other", &[Event::new("2", "x")]).await?;
    mesh.until_settled().await?;
    assert_eq!(
        (sink.ids("/a"), sink.ids("/b")),
        (vec!["1".to_owned()], vec!["2".to_owned()])
    );
    Ok(())
}
