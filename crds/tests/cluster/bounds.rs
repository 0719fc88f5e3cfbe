//! No object is too odd, and no cluster too large.

use millrace_crds::{Document, assemble};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{EVENTING, Known, SOURCES, broker, trigger};

#[test]
fn ten_thousand_objects_are_read_once_and_assembled_again_and_again() {
    let mut all = vec![broker("shop/default", json!({}))];
    for i in 0..10_000 {
        let filters = json!([{"exact": {"type": format!("t{i}")}}]);
        let subscriber = json!({"uri": format!("http://127.0.0.1:9001/{i}")});
        let spec = json!({"broker": "default", "filters": filters, "subscriber": subscriber});
        all.push(trigger(&format!("shop/t{i}"), spec));
    }
    let first = assemble(&all, &Known::default());
    let second = assemble(&all, &Known::default());
    assert_eq!(first.mesh.triggers.len(), 10_000);
    assert_eq!(first.drafts, second.drafts);
    let mesh = second
        .mesh
        .succeeding(&first.mesh.succeeding(&millrace_model::Mesh::default()));
    assert_eq!(mesh.revision, 1, "nothing changed");
}

#[test]
fn of_an_object_few_problems_are_kept_however_many_it_has() {
    let mut filter = json!({"any": vec![json!({}); 5_000]});
    for _ in 0..40 {
        filter = json!({"not": filter});
    }
    let faulty = trigger("shop/faulty", json!({"broker": "default", "filters": [filter]}));
    assert_eq!(faulty.problems.len(), 20);
    let texts: usize = faulty
        .problems
        .iter()
        .map(|problem| problem.to_string().len())
        .sum();
    assert!(texts < 16 << 10, "{texts} bytes");
}

/// Objects of the right kinds, with anything in them.
fn objects() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z/:.{}]{0,6}".prop_map(Value::from),
        Just(json!("http://127.0.0.1:9/")),
        Just(json!({"apiVersion": "v1", "kind": "Service", "name": "s"})),
        Just(json!({"exact": {"type": "a"}})),
    ];
    let keys = prop::sample::select(vec![
        "broker",
        "brokerRef",
        "subscriber",
        "ref",
        "uri",
        "filters",
        "all",
        "not",
        "exact",
        "delivery",
        "retry",
        "deadLetterSink",
        "schedule",
        "sink",
        "secrets",
        "secretKeyRef",
        "name",
        "key",
        "forge",
        "net",
        "tls",
    ]);
    let part = leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(keys.clone(), inner, 0..6).prop_map(|map| map
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    });
    let kinds = prop::sample::select(vec![
        (EVENTING, "Broker"),
        (EVENTING, "Trigger"),
        (SOURCES, "CronSource"),
        (SOURCES, "GitWebhookSource"),
        (SOURCES, "KafkaSource"),
        (SOURCES, "ApiServerSource"),
        ("v1", "Secret"),
    ]);
    (kinds, part).prop_map(|((api_version, kind), spec)| {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "shop"}, "spec": spec})
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_object_is_in_the_mesh_if_and_only_if_it_is_valid(object in objects()) {
        let read = Document::of_object(&object);
        let assembled = assemble([&read], &Known::default());
        let mesh = &assembled.mesh;
        let served = mesh.brokers.len() + mesh.triggers.len() + mesh.sources.len();
        let has_status = object["kind"] != "Secret";
        prop_assert_eq!(served, usize::from(read.is_valid() && has_status));
        prop_assert_eq!(assembled.drafts.len(), usize::from(has_status));
        for condition in assembled.drafts.iter().flat_map(|draft| draft.conditions()) {
            let is_true = condition.status.as_str() == "True";
            prop_assert!(is_true || (condition.reason.is_some() && !condition.message.is_empty()));
        }
    }
}
