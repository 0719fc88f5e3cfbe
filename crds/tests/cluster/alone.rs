//! Each object stands alone: what is wrong with one harms no other, and none reaches into the process.

use millrace_crds::{ConditionType, Document, assemble};
use millrace_model::Target;
use serde_json::{Value, json};

use crate::{EVENTING, Known, SOURCES, broker, condition, line, name, object, trigger};

fn shop() -> Vec<Document> {
    vec![
        broker("shop/default", json!({"delivery": {"retry": 3}})),
        trigger(
            "shop/ship",
            json!({"broker": "default", "subscriber": {"uri": "http://127.0.0.1:9001/ship"}}),
        ),
    ]
}

#[test]
fn a_bad_trigger_of_another_tenant_harms_nobody() {
    let alone = assemble(&shop(), &Known::default());
    for (spec, reason) in [
        (
            json!({}),
            "InvalidSpec: spec.broker: a Trigger needs the name of its broker (missing-field); and 1 more",
        ),
        (
            json!({"broker": "default", "subscriber": {"uri": "http://127.0.0.1:9/"}, "filters": [{}]}),
            "InvalidFilter: spec.filters[0]: a filter needs one dialect: exact, prefix, suffix, cesql, jsonpath, all, \
             any, not (empty-filter)",
        ),
        (
            json!({"broker": "default", "subscriber": {"uri": "http://127.0.0.1:9/"}, "filters": [{"cesql": "type ="}]}),
            "InvalidFilter: spec.filters[0].cesql: at column 7: a value is expected here, not the end (bad-filter)",
        ),
    ] {
        let mut all = vec![trigger("rogue/bad", spec)];
        all.extend(shop());
        let assembled = assemble(&all, &Known::default());
        assert_eq!(assembled.mesh.triggers, alone.mesh.triggers);
        assert_eq!(assembled.mesh.brokers, alone.mesh.brokers);
        assert_eq!(assembled.drafts[1..], alone.drafts[..]);
        let conditions: Vec<String> = assembled.drafts[0].conditions().iter().map(line).collect();
        assert_eq!(conditions, [format!("Ready=False {reason}")]);
    }
    let ready = |draft| line(&condition(draft, ConditionType::Ready));
    assert_eq!(
        alone.drafts.iter().map(ready).collect::<Vec<_>>(),
        ["Ready=True", "Ready=True"]
    );
}

#[test]
fn a_bad_broker_takes_its_own_triggers_along_and_no_others() {
    let mut all = shop();
    all[0] = broker("shop/default", json!({"delivery": {"retry": -1}}));
    all.push(broker("other/default", json!({})));
    let uri = json!({"uri": "http://127.0.0.1:9001/"});
    all.push(trigger(
        "other/t",
        json!({"broker": "default", "subscriber": uri}),
    ));
    let to_shop =
        json!({"ref": {"apiVersion": EVENTING, "kind": "Broker", "name": "default", "namespace": "shop"}});
    all.push(trigger(
        "other/u",
        json!({"broker": "default", "subscriber": to_shop}),
    ));
    let assembled = assemble(&all, &Known::default());
    assert_eq!(
        assembled.mesh.brokers.keys().collect::<Vec<_>>(),
        [&name("other/default")]
    );
    assert_eq!(assembled.mesh.triggers.len(), 3, "they wait");
    let ready = assembled
        .drafts
        .iter()
        .map(|draft| line(&condition(draft, ConditionType::Ready)));
    assert_eq!(
        ready.collect::<Vec<_>>(),
        [
            "Ready=False InvalidSpec: spec.delivery.retry: -1 is not between 0 and 2147483647 (out-of-range)",
            "Ready=False BrokerInvalid: the Broker shop/default is invalid, as its own status says",
            "Ready=True",
            "Ready=True",
            "Ready=False BrokerInvalid: the Broker shop/default is invalid, as its own status says",
        ]
    );
}

#[test]
fn what_others_refer_to_may_come_later() {
    let mut all = shop();
    let late = all.remove(0);
    let before = assemble(&all, &Known::default());
    let ready = |draft| line(&condition(draft, ConditionType::BrokerReady));
    assert_eq!(
        ready(&before.drafts[0]),
        "BrokerReady=False BrokerDoesNotExist: there is no Broker shop/default; the Trigger waits for it"
    );
    assert_eq!(before.mesh.triggers[&name("shop/ship")].delivery.retry, 10);
    all.push(late);
    let after = assemble(&all, &Known::default());
    assert_eq!(ready(&after.drafts[0]), "BrokerReady=True");
    let trigger = &after.mesh.triggers[&name("shop/ship")];
    assert_eq!(trigger.delivery.retry, 3, "what the Broker gives its Triggers");
    let expected = Target::http("http://127.0.0.1:9001/ship".parse().expect("a URL"));
    assert_eq!(trigger.subscriber, Ok(expected));
    assert_eq!(trigger.uid.as_deref(), Some("uid-of-ship"));
}

#[test]
fn what_only_holds_for_files_is_not_said_of_objects() {
    let class = json!({"eventing.knative.dev/broker.class": "Kafka"});
    let foreign = Document::of_object(&object(EVENTING, "Broker", "shop/default", class, json!({})));
    assert!(foreign.is_valid() && foreign.remarks.is_empty(), "{foreign:?}");
}

#[test]
fn of_two_objects_of_one_name_the_first_is_served() {
    let old = object(
        EVENTING,
        "Broker",
        "shop/default",
        json!({"millrace.dev/on-full": "refuse"}),
        json!({}),
    );
    let mut new = old.clone();
    new["metadata"]["uid"] = json!("another");
    let both = [Document::of_object(&old), Document::of_object(&new)];
    let mesh = assemble(&both, &Known::default()).mesh;
    assert_eq!(
        mesh.brokers[&name("shop/default")].uid.as_deref(),
        Some("uid-of-default")
    );
}

#[test]
fn a_tenants_object_names_nothing_of_the_process() {
    let sink = json!({"uri": "http://127.0.0.1:9/"});
    let net = |password: Value| json!({"sasl": {"enable": true, "user": "me", "password": password}});
    for (kind, spec, path) in [
        (
            "GitWebhookSource",
            json!({"forge": "github", "secrets": [{"env": "AWS_SECRET"}], "sink": sink}),
            "spec.secrets[0].env",
        ),
        (
            "KafkaSource",
            json!({"bootstrapServers": ["a:1"], "topics": ["t"], "sink": sink,
                   "net": net(json!({"file": "/var/run/secrets/kubernetes.io/serviceaccount/token"}))}),
            "spec.net.sasl.password.file",
        ),
        (
            "ApiServerSource",
            json!({"kubeconfig": "/etc/kubeconfig", "resources": [{"apiVersion": "v1", "kind": "Pod"}], "sink": sink}),
            "spec.kubeconfig",
        ),
    ] {
        let read = Document::of_object(&object(SOURCES, kind, "shop/s", json!({}), spec));
        let found: Vec<_> = read
            .problems
            .iter()
            .map(|found| (&*found.path, found.code.as_str()))
            .collect();
        assert_eq!(found, [(path, "not-open")], "{kind}");
        let named = read.external.iter().map(|found| &*found.path);
        assert_eq!(named.collect::<Vec<_>>(), ["spec.sink.uri"], "{kind}");
        let assembled = assemble([&read], &Known::default());
        assert!(assembled.mesh.sources.is_empty(), "{kind}");
    }
}
