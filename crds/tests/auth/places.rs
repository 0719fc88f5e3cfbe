//! Whose credentials go where, and what is said of targets that are shown nothing.

use millrace_crds::{Code, Document, load_text};
use millrace_model::{Credentials, NoTarget, ObjectName};
use serde_json::json;

use super::{SECRET, hush, load, text, trigger};

/// To a Broker events go within Millrace, and a topic has a login of its own.
#[test]
fn what_no_target_is_shown_is_remarked_on() {
    let bearer = format!("bearer: {SECRET}");
    let broker = "deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}";
    let topic = "deadLetterSink: {ref: {apiVersion: sinks.millrace.dev/v1alpha1, kind: KafkaSink, name: k}}";
    for (sink, expected) in [
        (broker, Some("events go to the Broker shop/b within Millrace")),
        (topic, Some("the KafkaSink shop/k has its own login")),
        ("deadLetterSink: {uri: \"http://d/\"}", None),
    ] {
        let loaded = load_text(&format!(
            "{}---\napiVersion: sinks.millrace.dev/v1alpha1\nkind: KafkaSink\nmetadata: {{name: k, namespace: shop}}\n\
             spec: {{bootstrapServers: [\"k:9092\"], topic: t}}\n",
            text("dead-letter-auth", &bearer, sink)
        ));
        let path = "metadata.annotations[millrace.dev/dead-letter-auth]";
        let unused = loaded.remarks.iter().find(|remark| remark.path == path);
        let expected = expected.map(|why| format!("this is not used: {why}"));
        assert_eq!(unused.map(|remark| &remark.message), expected.as_ref(), "{sink}");
    }
}

/// Only a cluster gives out tokens for an audience.
#[test]
fn a_target_that_may_wait_for_a_token_is_remarked_on_in_files() {
    let to = |audience: &str| format!("{{uri: \"http://d/\", audience: \"{audience}\"}}");
    for (audience, is_said) in [("ship", true), ("", false)] {
        let sink = to(audience);
        let loaded = load_text(&format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, namespace: shop}}\n\
             spec: {{delivery: {{deadLetterSink: {sink}}}}}\n---\n\
             apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t, namespace: shop}}\n\
             spec: {{broker: b, subscriber: {sink}, delivery: {{deadLetterSink: {sink}}}}}\n---\n\
             apiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {{name: c, namespace: shop}}\n\
             spec: {{schedule: \"@daily\", sink: {sink}}}\n"
        ));
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        let said = loaded.remarks.iter();
        let mut said: Vec<_> = said
            .filter(|remark| remark.message.contains("asks for a token"))
            .map(|remark| remark.path.as_str())
            .collect();
        said.sort_unstable();
        let sinks = [
            "spec.delivery.deadLetterSink",
            "spec.delivery.deadLetterSink",
            "spec.sink",
            "spec.subscriber",
        ];
        assert_eq!(said, if is_said { sinks.to_vec() } else { Vec::new() });
    }
}

#[test]
fn whoever_names_a_dead_letter_sink_says_what_it_is_shown() {
    let bearer = format!("bearer: {SECRET}");
    let stray = load("dead-letter-auth", &bearer, "retry: 1");
    assert_eq!(stray.problems[0].code, Code::MissingField, "{:?}", stray.problems);
    let own = load(
        "dead-letter-auth",
        &bearer,
        "deadLetterSink: {uri: \"http://d/\"}",
    );
    let mesh = own.mesh.expect("valid");
    assert!(trigger(&mesh).dead_letter_auth.is_some() && trigger(&mesh).subscriber_auth.is_none());

    let of_broker = |delivery: &str| {
        let loaded = load_text(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: shop}}\nstringData: {{k: hush}}\n---\n\
             apiVersion: eventing.knative.dev/v1\nkind: Broker\n\
             metadata: {{name: b, namespace: shop, annotations: {{millrace.dev/dead-letter-auth: \"{bearer}\"}}}}\n\
             spec: {{delivery: {{deadLetterSink: {{uri: \"http://brokers/\"}}}}}}\n---\n\
             apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t, namespace: shop}}\n\
             spec: {{broker: b, subscriber: {{uri: \"http://a/\"}}, delivery: {{{delivery}}}}}\n"
        ));
        let mesh = loaded.mesh.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        trigger(&mesh).dead_letter_auth.is_some()
    };
    assert!(
        of_broker("retry: 1"),
        "the Broker's sink is shown what the Broker says"
    );
    assert!(
        !of_broker("deadLetterSink: {uri: \"http://own/\"}"),
        "and no other sink is"
    );
}

#[test]
fn a_trigger_whose_secret_is_missing_has_no_target() {
    let loaded = load(
        "subscriber-auth",
        "bearer: {secretKeyRef: {name: s, key: other}}",
        "",
    );
    let mesh = loaded.mesh.expect("valid");
    assert!(matches!(&trigger(&mesh).subscriber, Err(NoTarget::NoSecret(_))));
    let said: Vec<_> = loaded.remarks.iter().map(ToString::to_string).collect();
    assert!(
        said.iter()
            .any(|one| one.contains("the Secret shop/s has no entry `other`")),
        "{said:?}"
    );
}

#[test]
fn an_object_of_a_cluster_names_secrets_of_its_own_namespace_only() {
    let object = |auth: &str| {
        Document::of_object(&json!({
            "apiVersion": "eventing.knative.dev/v1", "kind": "Trigger",
            "metadata": {"name": "t", "namespace": "shop", "annotations": {"millrace.dev/subscriber-auth": auth}},
            "spec": {"broker": "b", "subscriber": {"uri": "http://a/"}},
        }))
    };
    for (auth, code) in [
        ("bearer: {file: /run/secrets/t}", Code::NotOpen),
        ("bearer: {env: MILLRACE_SECRET_T}", Code::NotOpen),
        (
            "bearer: {secretKeyRef: {name: s, key: k, namespace: other}}",
            Code::UnknownField,
        ),
    ] {
        let document = object(auth);
        assert!(
            document.problems.iter().any(|one| one.code == code),
            "{auth}: {:?}",
            document.problems
        );
    }
    let document = object(&format!("bearer: {SECRET}"));
    assert!(document.is_valid(), "{:?}", document.problems);
    assert_eq!(
        document.secrets(),
        [(&ObjectName::new("shop", "s"), "k")],
        "so that it is watched"
    );
}

#[test]
fn a_source_shows_its_sink_what_its_document_says() {
    let load = |key: &str| {
        load_text(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: shop}}\nstringData: {{k: hush}}\n---\n\
             apiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\n\
             metadata: {{name: c, namespace: shop, annotations: {{millrace.dev/sink-auth: \"bearer: {{secretKeyRef: {{name: s, key: {key}}}}}\"}}}}\n\
             spec: {{schedule: '@daily', sink: {{uri: \"http://a/\"}}}}\n"
        ))
    };
    let mesh = load("k").mesh.expect("valid");
    let source = mesh.sources.values().next().expect("a source");
    assert!(source.sink.is_ok());
    let auth = source.sink_auth.as_deref().expect("there is one");
    assert_eq!(auth.credentials, Some(Credentials::Bearer(hush())));
    let mesh = load("other").mesh.expect("valid");
    let source = mesh.sources.values().next().expect("a source");
    assert!(
        matches!(&source.sink, Err(NoTarget::NoSecret(_))),
        "{:?}",
        source.sink
    );
}
