//! What a KafkaSource document becomes, and how faults in one are reported.

use millrace_crds::{Loaded, Named, load_text};
use millrace_model::kafka::Mechanism;
use millrace_model::source::{InitialOffset, Kafka, KeyType, Ordering};
use millrace_model::{BackoffPolicy, NamedFile, Secret, SourceSpec};

/// A document with this `spec` in flow style, in line 4, and these labels.
fn document(labels: &str, spec: &str) -> String {
    format!(
        "apiVersion: sources.millrace.dev/v1alpha1\nkind: KafkaSource\nmetadata: {{name: orders, namespace: shop, labels: {{{labels}}}}}\n\
         spec: {{sink: {{uri: \"http://127.0.0.1:1/\"}}, {spec}}}\n"
    )
}

fn source(text: &str) -> Kafka {
    let Loaded { mesh, problems, .. } = load_text(text);
    let mesh = mesh.unwrap_or_else(|| panic!("{problems:#?}"));
    let (_, source) = mesh.sources.first_key_value().expect("a source");
    let SourceSpec::Kafka(kafka) = &source.spec else {
        panic!("{source:?}");
    };
    kafka.as_ref().clone()
}

/// The problems, without the file.
fn problems(spec: &str) -> Vec<String> {
    let loaded = load_text(&document("", spec));
    let shown = loaded.problems.iter().map(|problem| {
        let shown = problem.to_string();
        let (_, rest) = shown.split_once("spec").expect("a field");
        format!("spec{rest}")
    });
    shown.collect()
}

#[test]
fn what_is_not_said_is_as_knative_has_it() {
    let kafka = source(&document("", "bootstrapServers: [\"a:9092\"], topics: [orders]"));
    assert_eq!(
        (kafka.bootstrap_servers, kafka.topics),
        (vec!["a:9092".to_owned()], vec!["orders".to_owned()])
    );
    assert_eq!(kafka.group, "millrace.shop.orders");
    assert_eq!(kafka.initial_offset, InitialOffset::Latest);
    assert_eq!(kafka.ordering, Ordering::Ordered);
    assert_eq!(kafka.key_type, KeyType::Text);
    assert_eq!((kafka.tls, kafka.login, kafka.delivery), (None, None, None));
}

#[test]
fn every_field_is_taken() {
    let text = document(
        "kafkasources.sources.knative.dev/key-type: byte-array",
        "bootstrapServers: [\"a:9092\", \"[::1]:9\"], topicPattern: \"^x.*\", consumerGroup: g, initialOffset: earliest, \
         ordering: unordered, consumers: 1, \
         delivery: {retry: 3, backoffPolicy: linear, backoffDelay: PT1S}, \
         net: {tls: {enable: true, caCert: {file: /ca}, cert: {env: C}, key: {env: K}}, \
         sasl: {enable: true, type: SCRAM-SHA-512, user: me, password: {secretKeyRef: {name: s, key: p}}}}",
    );
    let secret =
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {p: hush}\n";
    let kafka = source(&format!("{text}{secret}"));
    assert_eq!(
        (kafka.topics.len(), kafka.topic_pattern.as_deref()),
        (0, Some("^x.*"))
    );
    assert_eq!(
        (kafka.group.as_str(), kafka.initial_offset),
        ("g", InitialOffset::Earliest)
    );
    assert_eq!(
        (kafka.ordering, kafka.key_type),
        (Ordering::Unordered, KeyType::Bytes)
    );
    let patience = kafka.delivery.expect("a delivery");
    assert_eq!(
        (patience.retry, patience.policy.backoff.policy),
        (Some(3), BackoffPolicy::Linear)
    );
    let tls = kafka.tls.expect("tls");
    let file = NamedFile {
        path: "/ca".into(),
        folder: "".into(),
    };
    assert_eq!(tls.authorities, Some(Secret::File(file)));
    let env = |name: &str| Secret::Env(name.to_owned());
    assert_eq!(tls.identity, Some((env("C"), env("K"))));
    let login = kafka.login.expect("a login");
    assert_eq!(login.mechanism, Mechanism::ScramSha512);
    let value = |text: &str| Secret::Value(text.as_bytes().into());
    assert_eq!((login.user, login.password), (value("me"), value("hush")));
}

#[test]
fn knatives_own_way_to_write_the_login_is_taken() {
    let secret = |key: &str| format!("{{secretKeyRef: {{name: s, key: {key}}}}}");
    let kafka = source(&document(
        "",
        &format!(
            "bootstrapServers: [\"a:1\"], topics: [t], net: {{tls: {{enable: false}}, \
             sasl: {{enable: true, type: {}, user: {}, password: {}}}}}",
            secret("type"),
            secret("user"),
            secret("password")
        ),
    ));
    let login = kafka.login.expect("a login");
    assert!(
        matches!(login.mechanism, Mechanism::Named(Secret::Missing(_))),
        "{login:?}"
    );
    assert_eq!(kafka.tls, None);
}

#[test]
fn what_is_wrong_is_told_with_its_field() {
    let with = |more: &str| problems(&format!("bootstrapServers: [\"a:1\"], topics: [t], {more}"));
    let table: &[(Vec<String>, &str)] = &[
        (
            problems("topics: [t]"),
            "spec.bootstrapServers: this field is required (missing-field)",
        ),
        (
            problems("bootstrapServers: [\"a:1\"]"),
            "spec.topics: a KafkaSource reads `topics`, or what matches `topicPattern`, or both (missing-field)",
        ),
        (
            problems("bootstrapServers: [\"http://a:1\"], topics: [t]"),
            "spec.bootstrapServers[0]: `http://a:1` is not `host:port` (bad-address)",
        ),
        (
            problems("bootstrapServers: [\"a:1\"], topics: [\"^t\"]"),
            "spec.topics[0]: a pattern of names goes into `topicPattern` (bad-topic)",
        ),
        (
            problems("bootstrapServers: [\"a:1\"], topics: [\"a b\"]"),
            "spec.topics[0]: `a b` is not the name of a topic: up to 249 letters, digits, dots, underscores and hyphens (bad-topic)",
        ),
        (
            with("topicPattern: x"),
            "spec.topicPattern: a pattern begins with `^`, as in `^orders-.*` (bad-topic)",
        ),
        (
            with("topicPattern: '^(.)\\1-.*'"),
            "spec.topicPattern: `^(.)\\\\1-.*` is not a supported regular expression; look-around and backreferences cannot be used (bad-topic)",
        ),
        (
            with("initialOffset: newest"),
            "spec.initialOffset: `newest` is not known here; there are `earliest` and `latest` (unknown-value)",
        ),
        (
            with("consumers: 3"),
            "spec.consumers: a process is one consumer of the group; for more, run more processes (not-supported)",
        ),
        (
            with("delivery: {deadLetterSink: {uri: \"http://x/\"}}"),
            "spec.delivery.deadLetterSink: a source has no dead-letter sink: give it a Broker as its sink, whose Triggers have one (not-supported)",
        ),
        (
            with("net: {tls: {caCert: {file: x}}}"),
            "spec.net.tls.enable: this field is required (missing-field)",
        ),
        (
            with("net: {tls: {enable: true, cert: {file: x}}}"),
            "spec.net.tls: `cert` and `key` belong together (missing-field)",
        ),
        (
            with("net: {sasl: {enable: true, type: GSSAPI, user: me, password: {env: P}}}"),
            "spec.net.sasl.type: `GSSAPI` is not known here; there are `PLAIN`, `SCRAM-SHA-256` and `SCRAM-SHA-512` (unknown-value)",
        ),
        (
            with("net: {sasl: {enable: yes, user: me, password: {env: P}}}"),
            "spec.net.sasl.enable: true or false is expected, but this is a boolean (wrong-type)",
        ),
        (
            with("topic: x"),
            "spec.topic: there is no such field; did you mean `topics`? (unknown-field)",
        ),
    ];
    for (found, expected) in table {
        assert_eq!(found, &[(*expected).to_owned()]);
    }
}

#[test]
fn the_type_of_the_keys_is_said_once() {
    let text = document(
        "kafkasources.sources.knative.dev/key-type: int",
        "bootstrapServers: [\"a:1\"], topics: [t], keyType: float",
    );
    let problems = load_text(&text).problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].code.as_str(), "conflicting-fields");
}

#[test]
fn what_an_encryption_names_that_is_off_is_named_by_nobody() {
    for (enable, count) in [("true", 2), ("false", 0)] {
        let net = format!(
            "net: {{tls: {{enable: {enable}, caCert: {{file: /ca}}}}, sasl: {{enable: {enable}, user: u, password: {{env: P}}}}}}"
        );
        let loaded = load_text(&document(
            "",
            &format!("bootstrapServers: [\"a:1\"], topics: [t], {net}"),
        ));
        let named = loaded.external.iter();
        let named = named.filter(|found| !matches!(found.named, Named::Target(_)));
        assert_eq!(named.count(), count, "{enable}: {:?}", loaded.problems);
    }
}
