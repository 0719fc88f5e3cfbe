//! The table of objects as a cluster gives them, each beside the same in YAML.

use serde_json::{Value, json};

use crate::{EVENTING, SOURCES};

/// An object: version, kind, name, annotations and `spec`; and its YAML from the line `metadata` on.
pub(crate) type Case = (
    &'static str,
    &'static str,
    &'static str,
    Value,
    Value,
    &'static str,
);

/// The table.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        (EVENTING, "Broker", "shop/empty", json!(null), json!({}), "metadata: {name: empty, namespace: shop}\n"),
        (
            EVENTING,
            "Broker",
            "shop/full",
            json!({
                "eventing.knative.dev/broker.class": "Millrace",
                "kubectl.kubernetes.io/last-applied-configuration": "{\"kind\": \"Broker\"}",
                "millrace.dev/on-full": "drop-oldest",
                "millrace.dev/retention-age": "2d",
            }),
            json!({
                "config": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "namespace": "knative-eventing"},
                "delivery": {
                    "backoffDelay": "PT0.2S", "backoffPolicy": "linear", "retry": 5, "timeout": "PT5S",
                    "deadLetterSink": {"ref": {"apiVersion": "v1", "kind": "Service", "name": "dead", "namespace": "shop"}},
                },
            }),
            "metadata:
  name: full
  namespace: shop
  annotations:
    eventing.knative.dev/broker.class: Millrace
    millrace.dev/on-full: drop-oldest
    millrace.dev/retention-age: 2d
spec:
  config: {apiVersion: v1, kind: ConfigMap, name: c, namespace: knative-eventing}
  delivery:
    backoffDelay: PT0.2S
    backoffPolicy: linear
    retry: 5
    timeout: PT5S
    deadLetterSink: {ref: {apiVersion: v1, kind: Service, name: dead}}
",
        ),
        (
            EVENTING,
            "Trigger",
            "shop/t",
            json!({"millrace.dev/parallelism": "4"}),
            json!({
                "broker": "full",
                "filter": {},
                "filters": [
                    {"all": [{"exact": {"source": "/shop", "type": "paid"}}, {"not": {"prefix": {"type": "x."}}}]},
                    {"jsonpath": {"$.a": 1, "$.b": true, "$.c": null, "$.d": "1", "$.e": 2.5}},
                    {"cesql": "type = 'paid'"},
                ],
                "subscriber": {"ref": {"apiVersion": "v1", "kind": "Service", "name": "ship", "namespace": "shop"}, "uri": "/in"},
            }),
            "metadata:
  name: t
  namespace: shop
  annotations: {millrace.dev/parallelism: '4'}
spec:
  broker: full
  filters:
  - all: [{exact: {source: /shop, type: paid}}, {not: {prefix: {type: x.}}}]
  - jsonpath: {$.a: 1, $.b: true, $.c: null, $.d: '1', $.e: 2.5}
  - cesql: type = 'paid'
  subscriber: {ref: {apiVersion: v1, kind: Service, name: ship}, uri: /in}
",
        ),
        (
            EVENTING,
            "Trigger",
            "shop/by-ref",
            json!({}),
            json!({
                "brokerRef": {"apiVersion": EVENTING, "kind": "Broker", "name": "full"},
                "filter": {"attributes": {"type": ""}},
                "subscriber": {"ref": {"apiVersion": EVENTING, "kind": "Broker", "name": "far", "namespace": "other"}},
                "delivery": {"deadLetterSink": {"uri": "http://127.0.0.1:9009/dead"}, "format": "json"},
            }),
            "metadata: {name: by-ref, namespace: shop}
spec:
  brokerRef: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: full}
  filter: {attributes: {type: ''}}
  subscriber: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: far, namespace: other}}
  delivery: {deadLetterSink: {uri: 'http://127.0.0.1:9009/dead'}, format: json}
",
        ),
        // Faults are the same too.
        (
            EVENTING,
            "Trigger",
            "shop/bad",
            json!({"millrace.dev/parallelism": "0"}),
            json!({
                "broker": 5, "filters": [{}, {"exact": {"Type": "a"}}],
                "subscriber": {"uri": "/x"}, "typo": true, "delivery": {"retry": -1},
            }),
            "metadata: {name: bad, namespace: shop, annotations: {millrace.dev/parallelism: '0'}}
spec:
  broker: 5
  filters: [{}, {exact: {Type: a}}]
  subscriber: {uri: /x}
  typo: true
  delivery: {retry: -1}
",
        ),
        (EVENTING, "Trigger", "shop/kn", json!({}), json!({"broker": "full", "filter": {}, "subscriber": {}}),
            "metadata: {name: kn, namespace: shop}\nspec: {broker: full, filter: {}, subscriber: {}}\n"),
        (
            SOURCES,
            "CronSource",
            "shop/nightly",
            json!({}),
            json!({"schedule": "@daily", "data": "x", "sink": {"ref": {"apiVersion": EVENTING, "kind": "Broker", "name": "full"}}}),
            "metadata: {name: nightly, namespace: shop}
spec: {schedule: '@daily', data: x, sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: full}}}
",
        ),
        (
            SOURCES,
            "GitWebhookSource",
            "shop/push",
            json!({}),
            json!({"forge": "github", "secrets": [{"secretKeyRef": {"name": "s", "key": "k"}}]}),
            "metadata: {name: push, namespace: shop}
spec: {forge: github, secrets: [{secretKeyRef: {name: s, key: k}}]}
",
        ),
        (
            SOURCES,
            "KafkaSource",
            "shop/orders",
            json!({}),
            json!({
                "bootstrapServers": ["a:1"], "topics": ["t"],
                "net": {"tls": {"enable": true, "caCert": {"secretKeyRef": {"name": "s", "key": "ca"}}},
                        "sasl": {"enable": true, "user": "me", "password": {"secretKeyRef": {"name": "s", "key": "k"}}}},
                "sink": {"uri": "http://127.0.0.1:9/"},
            }),
            "metadata: {name: orders, namespace: shop}
spec:
  bootstrapServers: ['a:1']
  topics: [t]
  net:
    tls: {enable: true, caCert: {secretKeyRef: {name: s, key: ca}}}
    sasl: {enable: true, user: me, password: {secretKeyRef: {name: s, key: k}}}
  sink: {uri: 'http://127.0.0.1:9/'}
",
        ),
        ("v1", "Service", "shop/s", json!({}), json!({}), "metadata: {name: s}\n"),
        (
            "eventing.knative.dev/v1beta1",
            "Broker",
            "shop/old",
            json!({}),
            json!({}),
            "metadata: {name: old, namespace: shop}\n",
        ),
    ]
}
