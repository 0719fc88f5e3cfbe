//! What a KafkaSink document becomes, where references to one lead, and how faults in one are reported.

use millrace_crds::{Loaded, load_text};
#[cfg(feature = "kafka")]
use millrace_model::Target;
use millrace_model::kafka::Mechanism;
use millrace_model::{Format, KafkaSink, Mesh, Secret};

/// A document with this `spec` in flow style, in line 4.
fn document(spec: &str) -> String {
    format!(
        "apiVersion: sinks.millrace.dev/v1alpha1\nkind: KafkaSink\nmetadata: {{name: orders, namespace: shop}}\nspec: {{{spec}}}\n"
    )
}

const SPEC: &str = "bootstrapServers: [\"a:9092\"], topic: orders";

/// A Broker, and a Trigger whose subscriber and dead-letter sink are that destination.
fn trigger(destination: &str) -> String {
    format!(
        "---\napiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: default, namespace: shop}}\n\
         ---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t, namespace: shop}}\n\
         spec: {{broker: default, subscriber: {destination}, delivery: {{deadLetterSink: {destination}}}}}\n"
    )
}

fn to(name: &str) -> String {
    format!("{{ref: {{apiVersion: sinks.millrace.dev/v1alpha1, kind: KafkaSink, name: {name}}}}}")
}

fn mesh(text: &str) -> Mesh {
    let Loaded { mesh, problems, .. } = load_text(text);
    mesh.unwrap_or_else(|| panic!("{problems:#?}"))
}

fn sink(spec: &str) -> KafkaSink {
    let mesh = mesh(&document(spec));
    let (_, sink) = mesh.kafka_sinks.first_key_value().expect("a sink");
    (**sink).clone()
}

fn problems(text: &str) -> Vec<String> {
    load_text(text).problems.iter().map(ToString::to_string).collect()
}

/// What the author is told, without the file.
fn remarks(text: &str) -> Vec<String> {
    let loaded = load_text(text);
    loaded.remarks.into_iter().map(|remark| remark.message).collect()
}

#[test]
fn fields_are_taken_and_have_their_defaults() {
    let plain = sink(SPEC);
    assert_eq!((plain.topic.as_str(), plain.format), ("orders", Format::Binary));
    assert_eq!(plain.cluster.bootstrap_servers, ["a:9092"]);
    assert_eq!((plain.cluster.tls, plain.cluster.login), (None, None));
    let full = sink(&format!(
        "{SPEC}, contentMode: structured, net: {{tls: {{enable: true, caCert: {{env: CA}}}}, \
         sasl: {{enable: true, type: SCRAM-SHA-512, user: me, password: {{env: PASSWORD}}}}}}"
    ));
    assert_eq!(full.format, Format::Json);
    let authorities = full.cluster.tls.expect("encryption").authorities;
    assert_eq!(authorities, Some(Secret::Env("CA".to_owned())));
    let login = full.cluster.login.expect("a login");
    assert_eq!(login.mechanism, Mechanism::ScramSha512);
    assert_eq!(login.password, Secret::Env("PASSWORD".to_owned()));
}

#[test]
fn faults_are_named_with_their_field() {
    for (spec, expected) in [
        ("topic: orders", "spec.bootstrapServers: this field is required"),
        (
            "bootstrapServers: [\"a:9092\"]",
            "spec.topic: this field is required",
        ),
        ("bootstrapServers: [a], topic: orders", "spec.bootstrapServers[0]"),
        ("bootstrapServers: [\"a:1\"], topic: \"no topic\"", "spec.topic"),
        (
            "bootstrapServers: [\"a:1\"], topic: o, contentMode: both",
            "spec.contentMode",
        ),
        (
            "bootstrapServers: [\"a:1\"], topic: o, numPartitions: 3",
            "spec.numPartitions",
        ),
        (
            "bootstrapServers: [\"a:1\"], topic: o, net: {tls: {}}",
            "spec.net.tls",
        ),
    ] {
        let found = problems(&document(spec));
        let is_named = found.iter().any(|problem| problem.contains(expected));
        assert!(is_named && found.len() == 1, "{spec}: {expected} in {found:?}");
    }
    let version = document(SPEC).replace("/v1alpha1", "/v1");
    assert!(problems(&version)[0].contains("there is no KafkaSink of sinks.millrace.dev/v1"));
    let twice = format!("{}---\n{}", document(SPEC), document(SPEC));
    assert!(problems(&twice)[0].contains("KafkaSink shop/orders is here twice"));
}

#[cfg(not(feature = "kafka"))]
#[test]
fn a_build_without_kafka_says_so_and_events_wait() {
    let text = document(SPEC) + &trigger(&to("orders"));
    let mesh = mesh(&text);
    let (_, trigger) = mesh.triggers.first_key_value().expect("a trigger");
    assert!(trigger.subscriber.is_err() && mesh.kafka_sinks.len() == 1);
    let why = "the Trigger is not ready: the KafkaSink shop/orders cannot be written to: this millrace was built \
               without the feature `kafka`";
    let told = remarks(&text);
    assert!(told.contains(&why.to_owned()), "{told:?}");
}

#[cfg(feature = "kafka")]
#[test]
fn a_reference_leads_to_the_sink_of_these_files() {
    let mesh = mesh(&(document(SPEC) + &trigger(&to("orders"))));
    let (_, trigger) = mesh.triggers.first_key_value().expect("a trigger");
    let sink = mesh.kafka_sinks.values().next().expect("a sink").clone();
    assert_eq!(trigger.subscriber, Ok(Target::Kafka(sink.clone())));
    assert_eq!(trigger.dead_letter, Some(Ok(Target::Kafka(sink))));
}

#[cfg(feature = "kafka")]
#[test]
fn a_reference_that_leads_nowhere_is_said_and_its_events_wait() {
    let missing = trigger(&to("orders"));
    let told = remarks(&missing);
    assert!(
        told.contains(&"the Trigger is not ready: there is no KafkaSink shop/orders".to_owned()),
        "{told:?}"
    );
    let lacks = "sasl: {enable: true, user: me, password: {secretKeyRef: {name: login, key: p}}}";
    let lacking = document(&format!("{SPEC}, net: {{{lacks}}}")) + &trigger(&to("orders"));
    let told = remarks(&lacking);
    let secret = "there is no Secret shop/login in these files";
    assert!(
        told.contains(&format!("a secret is missing: {secret}")),
        "{told:?}"
    );
    assert!(
        told.contains(&format!("the Trigger is not ready: {secret}")),
        "{told:?}"
    );
    let path = trigger(&to("orders").replace("}}", "}, uri: /in}"));
    let found = problems(&(document(SPEC) + &path));
    assert!(
        found[0].contains("a path relative to a KafkaSink is not supported"),
        "{found:?}"
    );
}
