//! An object of a cluster says what the same YAML says, but for what only a cluster knows.

use millrace_crds::{Document, Input, Origin, assemble, documents};
use millrace_model::{Broker, Mesh, Trigger};
use serde_json::json;

use crate::cases::cases;
use crate::{EVENTING, Known, line, object};

/// The one document of a text.
fn of_text(text: &str) -> Document {
    let read = documents(&[Input {
        file: "mesh.yaml".to_owned(),
        text: text.to_owned(),
        passed_over: None,
    }]);
    assert_eq!(read.len(), 1, "{text}: {read:?}");
    read.into_iter().next().expect("one")
}

/// The mesh, without what only a cluster knows.
fn without_uids(mesh: Mesh) -> String {
    let brokers = mesh.brokers.into_values().map(|broker| Broker {
        uid: None,
        ..(*broker).clone()
    });
    let triggers = mesh.triggers.into_values().map(|trigger| Trigger {
        uid: None,
        ..(*trigger).clone()
    });
    let (brokers, triggers): (Vec<_>, Vec<_>) = (brokers.collect(), triggers.collect());
    format!("{brokers:?} {triggers:?} {:?}", mesh.sources)
}

#[test]
fn an_object_is_the_same_document_as_its_yaml() {
    for (version, kind, name, annotations, spec, yaml) in cases() {
        let ours = Document::of_object(&object(version, kind, name, annotations, spec));
        let text = of_text(&format!("apiVersion: {version}\nkind: {kind}\n{yaml}"));
        assert_eq!(ours.key, text.key, "{name}");
        assert_eq!(ours.wanted(), text.wanted(), "{name}");
        assert_eq!(ours.secrets(), text.secrets(), "{name}");
        let said = |document: &Document| -> Vec<String> {
            let problems = document.problems.iter();
            let problems =
                problems.map(|found| format!("{}: {} ({})", found.path, found.message, found.code));
            // Which ConfigMap a Broker names counts in files only; of a cluster none is read.
            let of_both = document
                .remarks
                .iter()
                .filter(|found| found.path != "spec.config");
            let remarks = of_both.map(|found| format!("{}: {}", found.path, found.message));
            let external = document
                .external
                .iter()
                .map(|found| format!("{}: {:?}", found.path, found.named));
            problems.chain(remarks).chain(external).collect()
        };
        assert_eq!(said(&ours), said(&text), "{name}");
        let mesh = |document: &Document| without_uids(assemble([document], &Known::default()).mesh);
        assert_eq!(mesh(&ours), mesh(&text), "{name}");
        assert!(
            ours.problems
                .iter()
                .all(|problem| problem.at.is_none() && problem.file.is_empty())
        );
        assert!(
            text.problems
                .iter()
                .all(|problem| problem.at.is_some() && problem.file == "mesh.yaml")
        );
    }
}

#[test]
fn the_table_has_what_it_is_about() {
    let all: Vec<Document> = cases()
        .into_iter()
        .map(|(version, kind, name, annotations, spec, _)| {
            Document::of_object(&object(version, kind, name, annotations, spec))
        })
        .collect();
    let invalid = all.iter().filter(|document| !document.is_valid());
    let invalid: Vec<_> = invalid.map(|document| document.problems.len()).collect();
    assert_eq!(
        invalid,
        [7, 1, 1],
        "the bad Trigger, the one of kn, and the old Broker"
    );
    let mesh = assemble(&all, &Known::default()).mesh;
    assert_eq!(
        (mesh.brokers.len(), mesh.triggers.len(), mesh.sources.len()),
        (2, 2, 3)
    );
}

#[test]
fn only_a_cluster_gives_uid_and_generation() {
    let object = object(EVENTING, "Broker", "shop/b", json!({}), json!({}));
    let ours = Document::of_object(&object);
    assert_eq!(
        (ours.uid.as_deref(), ours.generation),
        (Some("uid-of-b"), Some(3))
    );
    assert_eq!(ours.origin, Origin::Cluster);
    let text = of_text(&object.to_string());
    assert_eq!(
        (text.uid, text.generation),
        (None, None),
        "a file may be a copy of another object"
    );
    assert_eq!(text.origin, Origin::File("mesh.yaml".into()));

    let assembled = assemble([&ours], &Known::default());
    let [broker] = &assembled.mesh.brokers.values().collect::<Vec<_>>()[..] else {
        panic!("{assembled:?}")
    };
    assert_eq!(broker.uid.as_deref(), Some("uid-of-b"));
    let draft = &assembled.drafts[0];
    assert_eq!(
        (draft.uid.as_deref(), draft.generation),
        (Some("uid-of-b"), Some(3))
    );
    assert_eq!(draft.key.to_string(), "Broker shop/b");
}

#[test]
fn whatever_an_object_is_it_is_read() {
    for object in [
        json!(null),
        json!([]),
        json!("x"),
        json!({}),
        json!({"apiVersion": 1, "kind": {}}),
        json!({"apiVersion": EVENTING, "kind": "Broker", "metadata": {"name": "b", "uid": 5, "generation": "x"}}),
        json!({"apiVersion": EVENTING, "kind": "Broker", "metadata": {"name": null}, "spec": null}),
        json!({"apiVersion": EVENTING, "kind": "Trigger", "metadata": {"name": "t"}}),
        json!({"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": EVENTING, "kind": "Broker"}]}),
    ] {
        let read = Document::of_object(&object);
        let drafts = assemble([&read], &Known::default()).drafts;
        assert_eq!(drafts.len(), usize::from(read.key.is_some()), "{object}");
        assert_eq!((read.uid, read.generation), (None, None), "{object}");
    }
    let deep = (0..200).fold(json!(1), |inner, _| json!({"a": inner}));
    let read = Document::of_object(&object(EVENTING, "Trigger", "shop/t", json!({}), deep));
    assert_eq!(read.problems[0].code.as_str(), "yaml-too-deep");
    let drafts = assemble([&read], &Known::default()).drafts;
    let conditions: Vec<String> = drafts[0].conditions().iter().map(line).collect();
    assert_eq!(
        conditions,
        ["Ready=False InvalidSpec: documents may be nested 128 deep, and not deeper (yaml-too-deep)"]
    );
}
