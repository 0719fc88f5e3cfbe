//! Each way in which a reference ends has its words, its condition and its place in the mesh.

use millrace_crds::{ConditionType, Document, Draft, Input, Standing, assemble, documents};
use millrace_model::{NoSecret, NoTarget, Secret, SourceSpec, Target, Unresolved};
use serde_json::{Value, json};

use crate::{EVENTING, Known, SOURCES, broker, condition, line, name, object, trigger};

fn service(name: &str) -> Value {
    json!({"ref": {"apiVersion": "v1", "kind": "Service", "name": name}})
}

fn known(service: Result<&str, Unresolved>) -> Known {
    let address = service.map(|address| address.parse().expect("a URL"));
    let mut known = Known::default();
    known
        .addresses
        .insert("Service shop/ship (v1)".to_owned(), address);
    known
}

fn lines(draft: &Draft) -> Vec<String> {
    draft.conditions().iter().map(line).collect()
}

#[test]
fn each_end_of_a_reference_has_its_reason_and_its_words() {
    let ports = vec![8080, 9090];
    let table = [
        (
            Unresolved::NotFound,
            "False ServiceNotFound: there is no Service shop/ship",
        ),
        (
            Unresolved::KindNotFound,
            "False KindNotFound: Service shop/ship (v1) cannot be found: this cluster has no such kind",
        ),
        (
            Unresolved::Ambiguous { ports },
            "False AmbiguousPort: the Service shop/ship has the ports 8080 and 9090: name one of them `http` (`https` where there are `CACerts`), or write a `uri`",
        ),
        (
            Unresolved::Forbidden,
            "False Forbidden: Millrace may not read the Service shop/ship: its ServiceAccount needs get, list and watch \
             for this kind of v1",
        ),
        (
            Unresolved::NotAddressable,
            "False NotAddressable: the Service shop/ship has no address (`status.address.url`)",
        ),
        (
            Unresolved::Pending,
            "Unknown NotResolvedYet: the Service shop/ship has not been looked up yet",
        ),
    ];
    let all = [
        broker("shop/default", json!({})),
        trigger(
            "shop/t",
            json!({"broker": "default", "subscriber": service("ship")}),
        ),
        trigger(
            "shop/u",
            json!({"broker": "default", "subscriber": {"uri": "http://127.0.0.1:9/"}, "delivery": {"deadLetterSink": service("ship")}}),
        ),
        Document::of_object(&object(
            SOURCES,
            "CronSource",
            "shop/c",
            json!({}),
            json!({"schedule": "@daily", "sink": service("ship")}),
        )),
    ];
    for (why, expected) in table {
        let assembled = assemble(&all, &known(Err(why.clone())));
        let [_, subscriber, sink, source] = &assembled.drafts[..] else {
            panic!("{assembled:?}")
        };
        assert_eq!(
            lines(subscriber),
            [
                "BrokerReady=True".to_owned(),
                "DeadLetterSinkResolved=True DeadLetterSinkNotConfigured".to_owned(),
                format!("Ready={expected}"),
                format!("SubscriberResolved={expected}"),
            ]
        );
        let parked = expected.replacen(": ", ": dead letters are parked: ", 1);
        assert_eq!(
            lines(sink),
            [
                "BrokerReady=True".to_owned(),
                format!("DeadLetterSinkResolved={parked}"),
                format!("Ready={parked}"),
                "SubscriberResolved=True".to_owned(),
            ]
        );
        assert_eq!(
            lines(source),
            [
                format!("Ready={expected}"),
                "SecretsResolved=True".to_owned(),
                format!("SinkProvided={expected}"),
            ]
        );
        // The mesh has the same reason, as data: the lane and the source wait, and deliveries go on.
        let mesh = &assembled.mesh;
        let (t, u) = (&mesh.triggers[&name("shop/t")], &mesh.triggers[&name("shop/u")]);
        assert!(matches!(&t.subscriber, Err(NoTarget::Unresolved(_, found)) if *found == why));
        assert!(u.subscriber.is_ok());
        assert!(matches!(&u.dead_letter, Some(Err(NoTarget::Unresolved(_, found))) if *found == why));
        assert!(mesh.sources.values().all(|source| source.sink == t.subscriber));
    }
}

#[test]
fn what_is_found_is_joined_with_the_path_of_the_document() {
    let mut subscriber = service("ship");
    subscriber["uri"] = json!("/in?x=y");
    let all = [
        broker(
            "shop/default",
            json!({"delivery": {"deadLetterSink": service("ship")}}),
        ),
        trigger("shop/t", json!({"broker": "default", "subscriber": subscriber})),
    ];
    let assembled = assemble(&all, &known(Ok("http://ship.shop.svc.cluster.local")));
    let trigger = &assembled.mesh.triggers[&name("shop/t")];
    let url = |text: &str| Target::http(text.parse().expect("a URL"));
    assert_eq!(
        trigger.subscriber,
        Ok(url("http://ship.shop.svc.cluster.local/in?x=y"))
    );
    // A Trigger without a dead-letter sink has its Broker's.
    assert_eq!(
        trigger.dead_letter,
        Some(Ok(url("http://ship.shop.svc.cluster.local")))
    );
    for draft in &assembled.drafts {
        assert!(
            lines(draft).iter().all(|line| line.ends_with("=True")),
            "{draft:?}"
        );
    }
}

#[test]
fn a_broker_among_the_documents_needs_no_address_and_another_is_looked_up() {
    let to = |name: &str| json!({"ref": {"apiVersion": EVENTING, "kind": "Broker", "name": name, "namespace": "other"}});
    let all = [
        broker("shop/default", json!({})),
        broker("other/here", json!({})),
        trigger(
            "shop/here",
            json!({"broker": "default", "subscriber": to("here")}),
        ),
        trigger(
            "shop/foreign",
            json!({"broker": "default", "subscriber": to("foreign")}),
        ),
        trigger(
            "shop/lost",
            json!({"broker": "default", "subscriber": to("lost")}),
        ),
    ];
    let foreign = format!("Broker other/foreign ({EVENTING})");
    let mut known = Known::default();
    known.addresses.insert(
        foreign,
        Ok("http://kafka.svc/other/foreign".parse().expect("a URL")),
    );
    let assembled = assemble(&all, &known);
    let subscriber = |text: &str| assembled.mesh.triggers[&name(text)].subscriber.clone();
    assert_eq!(subscriber("shop/here"), Ok(Target::Broker(name("other/here"))));
    let url = "http://kafka.svc/other/foreign".parse().expect("a URL");
    assert_eq!(subscriber("shop/foreign"), Ok(Target::http(url)));
    let lost = condition(&assembled.drafts[4], ConditionType::SubscriberResolved);
    assert_eq!(
        line(&lost),
        "SubscriberResolved=False BrokerNotFound: there is no Broker other/lost"
    );
    let channel = json!({"ref": {"apiVersion": "messaging.knative.dev/v1", "kind": "Channel", "name": "c"}});
    let one = trigger("shop/t", json!({"broker": "default", "subscriber": channel}));
    let draft = &assemble([&one], &known).drafts[0];
    let lost = condition(draft, ConditionType::SubscriberResolved);
    assert_eq!(
        line(&lost),
        "SubscriberResolved=False NotFound: there is no Channel shop/c"
    );
}

#[test]
fn each_end_of_a_secret_has_its_reason_and_its_words() {
    let spec = json!({"forge": "github", "secrets": [{"secretKeyRef": {"name": "s", "key": "k"}}], "sink": {"uri": "http://127.0.0.1:9/"}});
    let source = Document::of_object(&object(SOURCES, "GitWebhookSource", "shop/w", json!({}), spec));
    for (found, expected) in [
        (Ok(b"hush".as_slice().into()), "True"),
        (
            Err(NoSecret::NotFound),
            "False SecretNotFound: there is no Secret shop/s",
        ),
        (
            Err(NoSecret::NoEntry),
            "False SecretEntryNotFound: the Secret shop/s has no entry `k`",
        ),
        (
            Err(NoSecret::Forbidden),
            "False SecretForbidden: Millrace may not read the Secret shop/s: its ServiceAccount needs a Role with get \
             and watch for it",
        ),
        (
            Err(NoSecret::Pending),
            "Unknown NotResolvedYet: the Secret shop/s has not been looked up yet",
        ),
    ] {
        let mut known = Known::default();
        known.secrets.insert("shop/s k".to_owned(), found.clone());
        let assembled = assemble([&source], &known);
        let draft = &assembled.drafts[0];
        assert_eq!(
            line(&condition(draft, ConditionType::SecretsResolved)),
            format!("SecretsResolved={expected}")
        );
        assert_eq!(
            line(&condition(draft, ConditionType::Ready)),
            format!("Ready={expected}")
        );
        let source = assembled
            .mesh
            .sources
            .values()
            .next()
            .expect("it is in the mesh and waits");
        let SourceSpec::GitWebhook(webhook) = &source.spec else {
            panic!("{source:?}")
        };
        match (&webhook.secrets[..], found) {
            ([Secret::Value(value)], Ok(expected)) => assert_eq!(*value, expected),
            ([Secret::Missing(gap)], Err(why)) => assert_eq!(gap.why, why),
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_source_without_a_sink_says_so() {
    let source = object(
        SOURCES,
        "CronSource",
        "shop/c",
        json!({}),
        json!({"schedule": "@daily"}),
    );
    let assembled = assemble([&Document::of_object(&source)], &Known::default());
    let provided = condition(&assembled.drafts[0], ConditionType::SinkProvided);
    assert_eq!(
        line(&provided),
        "SinkProvided=False SinkNotConfigured: it has no `sink`"
    );
}

#[test]
fn files_and_a_cluster_may_be_assembled_together() {
    let text = format!(
        "{{apiVersion: {EVENTING}, kind: Broker, metadata: {{name: default, namespace: shop}}}}\n---\n\
         {{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: shop}}, stringData: {{k: hush}}}}\n"
    );
    let mut all = documents(&[Input {
        file: "mesh.yaml".to_owned(),
        text,
        passed_over: None,
    }]);
    all.push(trigger(
        "shop/t",
        json!({"broker": "default", "subscriber": service("ship")}),
    ));
    let assembled = assemble(&all, &known(Ok("http://ship.shop.svc")));
    assert_eq!(assembled.drafts.len(), 2, "a Secret has no status");
    let debug = format!("{all:?}");
    assert!(
        !debug.contains("hush") && !debug.contains("104, 117, 115, 104"),
        "{debug}"
    );
    assert!(assembled.mesh.triggers[&name("shop/t")].subscriber.is_ok());
}

#[test]
fn a_document_lists_what_it_refers_to() {
    let one = trigger(
        "shop/t",
        json!({"broker": "default", "subscriber": service("ship"), "delivery": {"deadLetterSink": service("dead")}}),
    );
    let wanted = one.wanted().into_iter();
    let references: Vec<String> = wanted.map(|wanted| wanted.resource.to_string()).collect();
    assert_eq!(references, ["Service shop/ship (v1)", "Service shop/dead (v1)",]);
    let invalid = trigger("shop/t", json!({"broker": "default", "subscriber": {}}));
    assert!(invalid.wanted().is_empty());

    let key = |key: &str| json!({"secretKeyRef": {"name": "s", "key": key}});
    let net = json!({
        "tls": {"enable": true, "caCert": key("ca"), "cert": key("cert"), "key": key("key")},
        "sasl": {"enable": true, "type": key("type"), "user": key("user"), "password": key("password")},
    });
    let spec = json!({"bootstrapServers": ["a:1"], "topics": ["t"], "net": net, "sink": service("ship")});
    let kafka = Document::of_object(&object(SOURCES, "KafkaSource", "shop/k", json!({}), spec));
    let expected = ["ca", "cert", "key", "type", "user", "password"];
    let secret = name("shop/s");
    assert_eq!(kafka.secrets(), expected.map(|key| (&secret, key)));
    // Each of them is looked up, and no other.
    let standing = &assemble([&kafka], &Known::default()).drafts[0].standing;
    let Standing::Source { missing, .. } = standing else {
        panic!("{standing:?}")
    };
    let missing: Vec<_> = missing.iter().map(|gap| (&gap.secret, &*gap.key)).collect();
    assert_eq!(missing, kafka.secrets());
}
