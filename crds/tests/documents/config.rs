//! The ConfigMap that says where a Broker's channel is kept.

use millrace_crds::load_text;
use millrace_model::{Backend, DurabilityWanted, JetStream, KafkaTopics};

use super::{mesh, name};

fn documents(data: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: on-nats, namespace: shop}}\ndata:\n  {}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: default, namespace: shop}}\nspec: \
         {{config: {{apiVersion: v1, kind: ConfigMap, name: on-nats}}}}\n",
        data.replace('\n', "\n  ")
    )
}

fn jetstream(text: &str) -> JetStream {
    match &mesh(text).brokers[&name("shop/default")].backend {
        Backend::JetStream(jetstream) => (**jetstream).clone(),
        other => panic!("it is on {}", other.as_str()),
    }
}

fn kafka(text: &str) -> KafkaTopics {
    match &mesh(text).brokers[&name("shop/default")].backend {
        Backend::Kafka(topics) => (**topics).clone(),
        other => panic!("it is on {}", other.as_str()),
    }
}

#[test]
fn a_broker_is_kept_where_its_config_says() {
    let least = jetstream(&documents(
        "backend: jetstream\nservers: nats://a:4222, tls://[::1]:4222",
    ));
    assert_eq!(least.servers, ["nats://a:4222", "tls://[::1]:4222"]);
    assert_eq!(
        (
            least.partitions,
            least.replicas,
            least.max_bytes,
            least.durability
        ),
        (1, 1, JetStream::MAX_BYTES, None)
    );
    assert!(least.secrets.is_empty() && least.missing.is_none());
    let all = "backend: jetstream\nservers: nats://a\nreplicas: \"3\"\npartitions: \"8\"\nmax-bytes: 64Mi\n\
               durability: replicated\nauth-secret: for-nats";
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: for-nats, namespace: shop}\n\
                  stringData: {user: till, password: hunter2, other: x}\n";
    let all = jetstream(&format!("{}{secret}", documents(all)));
    assert_eq!((all.partitions, all.replicas, all.max_bytes), (8, 3, 64 << 20));
    assert_eq!(all.durability, Some(DurabilityWanted::Replicated));
    assert_eq!(
        all.secrets.keys().copied().collect::<Vec<_>>(),
        ["password", "user"]
    );
    assert!(!format!("{all:?}").contains("hunter2"));
}

#[test]
fn a_broker_on_kafka_says_where_and_how() {
    let least = kafka(&documents("backend: kafka\nservers: a:9092, [::1]:9092"));
    assert_eq!(least.servers, ["a:9092", "[::1]:9092"]);
    assert_eq!((least.replicas, least.durability, least.tls), (1, None, false));
    let all = "backend: kafka\nservers: a:9092\nreplicas: \"3\"\npartitions: \"1\"\ntls: \"true\"\n\
               durability: replicated\nauth-secret: for-kafka";
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: for-kafka, namespace: shop}\n\
                  stringData: {user: till, password: hunter2, sasl.mechanism: PLAIN, other: x}\n";
    let all = kafka(&format!("{}{secret}", documents(all)));
    assert_eq!((all.replicas, all.tls), (3, true));
    assert_eq!(all.durability, Some(DurabilityWanted::Replicated));
    let keys: Vec<_> = all.secrets.keys().copied().collect();
    assert_eq!(keys, ["password", "sasl.mechanism", "user"]);
    assert!(!format!("{all:?}").contains("hunter2"));
    let nowhere = documents("backend: kafka\nservers: a:9092\nauth-secret: nowhere");
    assert_eq!(
        kafka(&nowhere).missing.map(|missing| missing.secret),
        Some(name("shop/nowhere"))
    );
}

#[test]
fn a_secret_that_is_nowhere_is_known_and_no_problem() {
    let text = documents("backend: jetstream\nservers: nats://a\nauth-secret: nowhere");
    let missing = jetstream(&text).missing.expect("it is missing");
    assert_eq!(missing.secret, name("shop/nowhere"));
}

#[test]
fn a_config_map_of_others_is_passed_over_and_the_remark_says_where_the_broker_is() {
    let loaded = load_text(&documents("bootstrap.servers: kafka:9092\nanything: 5"));
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let remark = loaded.remarks.iter().map(ToString::to_string).collect::<String>();
    assert!(remark.contains("kept on the local disk"), "{remark}");
}

#[test]
fn what_is_wrong_is_told_with_its_field() {
    for (data, field, words) in [
        ("backend: rabbit\nservers: nats://a", "data.backend", "`kafka`"),
        ("backend: kafka\nservers: nats://a", "data.servers", "host:port"),
        ("backend: kafka\nservers: a", "data.servers", "host:port"),
        (
            "backend: kafka\nservers: till:hunter2@a:9092",
            "data.servers",
            "Secret",
        ),
        (
            "backend: kafka\nservers: a:9092\npartitions: \"8\"",
            "data.partitions",
            "one partition",
        ),
        (
            "backend: kafka\nservers: a:9092\nmax-bytes: 64Mi",
            "data.max-bytes",
            "max-bytes",
        ),
        (
            "backend: kafka\nservers: a:9092\ntls: maybe",
            "data.tls",
            "`true`",
        ),
        ("backend: jetstream", "data.servers", "required"),
        (
            "backend: jetstream\nservers: http://a",
            "data.servers",
            "nats://host:port",
        ),
        (
            "backend: jetstream\nservers: nats://till:hunter2@a",
            "data.servers",
            "Secret",
        ),
        (
            "backend: jetstream\nservers: nats://a\npartitions: \"65\"",
            "data.partitions",
            "1 to 64",
        ),
        (
            "backend: jetstream\nservers: nats://a\npartitions: \"0\"",
            "data.partitions",
            "1 to 64",
        ),
        (
            "backend: jetstream\nservers: nats://a\npartitions: \"8\"\nmax-bytes: 31Mi",
            "data.max-bytes",
            "32Mi",
        ),
        (
            "backend: jetstream\nservers: nats://a\nreplicas: \"2\"",
            "data.replicas",
            "1, 3 or 5",
        ),
        (
            "backend: jetstream\nservers: nats://a\nreplicas: \"x\"",
            "data.replicas",
            "whole number",
        ),
        (
            "backend: jetstream\nservers: nats://a\nmax-bytes: 1Mi",
            "data.max-bytes",
            "16Mi",
        ),
        (
            "backend: jetstream\nservers: nats://a\ndurability: always",
            "data.durability",
            "`synced`",
        ),
        (
            "backend: jetstream\nservers: nats://a\nserver: b",
            "data.server",
            "`servers`",
        ),
    ] {
        let loaded = load_text(&documents(data));
        let told: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        let is_told = told
            .iter()
            .any(|told| told.contains(field) && told.contains(words));
        assert!(is_told && loaded.mesh.is_none(), "{data}: {told:?}");
        assert!(!told.concat().contains("hunter2"), "{told:?}");
    }
}
