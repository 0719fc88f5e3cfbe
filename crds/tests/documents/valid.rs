//! What becomes of valid documents, and what is remarked on.

use std::time::Duration;

use millrace_crds::load_text;
use millrace_filter::{Filter, Scalar};
use millrace_model::{BackoffPolicy, Format, OnFull, Target};

use crate::{SHOP, broker, mesh, name, shown, trigger, with_trigger};

#[test]
fn the_documents_of_the_first_page_become_a_mesh() {
    let mesh = mesh(SHOP);
    let broker = &mesh.brokers[&name("shop/default")];
    assert_eq!(
        (broker.retention.age, broker.on_full),
        (Duration::from_secs(86_400), OnFull::Refuse)
    );
    let trigger = &mesh.triggers[&name("shop/ship")];
    assert_eq!(trigger.broker, name("shop/default"));
    assert_eq!(
        trigger.subscriber,
        Ok(Target::http("http://127.0.0.1:9001/ship".parse().expect("a URL")))
    );
    assert_eq!(
        trigger.dead_letter,
        Some(Ok(Target::http(
            "http://127.0.0.1:9009/dead".parse().expect("a URL")
        )))
    );
    assert_eq!((trigger.delivery.retry, trigger.parallelism), (5, 32));
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    assert_eq!(
        trigger.filters,
        [
            Filter::Exact(pair("type", "order.paid")),
            Filter::Prefix(pair("source", "/shop/"))
        ]
    );
}

#[test]
fn every_option_is_taken() {
    let text = broker(
        "millrace.dev/retention-age: P2D, millrace.dev/retention-bytes: 64Mi, millrace.dev/backlog-bytes: \"1000\", millrace.dev/on-full: drop-oldest",
        "",
    );
    let mesh = mesh(&text);
    let broker = &mesh.brokers[&name("default/b")];
    assert_eq!(broker.retention.age, Duration::from_secs(2 * 86_400));
    assert_eq!(
        (broker.retention.bytes, broker.backlog_bytes, broker.on_full),
        (64 << 20, Some(1000), OnFull::DropOldest)
    );

    let trigger = trigger(
        "brokerRef: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}\n\
         filter: {attributes: {type: a, subject: \"\"}}\n\
         subscriber: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}\n\
         delivery:\n  retry: 3\n  backoffPolicy: linear\n  backoffDelay: PT0.05S\n  backoffMax: PT1M\n  timeout: PT5S\n  retryAfterMax: PT0S\n  format: json\n",
    );
    assert_eq!(trigger.broker, name("default/default"));
    assert_eq!(trigger.subscriber, Ok(Target::Broker(name("default/default"))));
    assert_eq!(trigger.dead_letter, None);
    assert!(matches!(&trigger.filters[..], [Filter::Attributes(pairs)] if pairs.len() == 2));
    let policy = trigger.delivery;
    assert_eq!(
        (policy.retry, policy.backoff.policy, policy.format),
        (3, BackoffPolicy::Linear, Format::Json)
    );
    assert_eq!(
        (policy.backoff.delay, policy.backoff.max),
        (Duration::from_millis(50), Some(Duration::from_secs(60)))
    );
    assert_eq!(
        (policy.timeout, policy.retry_after_max),
        (Duration::from_secs(5), Duration::ZERO)
    );
}

#[test]
fn a_trigger_that_cannot_be_ready_stays_in_the_mesh_with_its_reason() {
    let service = "subscriber: {ref: {apiVersion: v1, kind: Service, name: ship}, uri: /path}";
    let lost = "subscriber: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: lost}}";
    for (subscriber, word) in [
        (service, "Service default/ship"),
        (lost, "no Broker default/lost"),
    ] {
        let loaded = load_text(&with_trigger(&format!("broker: default\n{subscriber}")));
        let mesh = loaded.mesh.expect("valid");
        let subscriber = &mesh.triggers[&name("default/t")].subscriber;
        assert!(
            subscriber
                .as_ref()
                .is_err_and(|why| why.to_string().contains(word)),
            "{subscriber:?}"
        );
        assert!(
            loaded
                .remarks
                .iter()
                .any(|remark| remark.path == "spec.subscriber" && remark.at.is_some_and(|at| at.line == 7))
        );
    }
    let loaded = load_text(&with_trigger("broker: other\nsubscriber: {uri: http://a/}"));
    assert_eq!(loaded.mesh.expect("valid").triggers.len(), 1);
    assert_eq!(
        loaded.remarks[0].to_string(),
        "-:6:11: spec.broker: there is no Broker default/other in these files; the Trigger waits for it"
    );
}

#[test]
fn what_is_not_ours_is_remarked_on_or_passed_over() {
    let cases: &[(&str, Option<&str>)] = &[
        (
            "{apiVersion: v1, kind: Service, metadata: {name: s}}",
            Some("Service of v1"),
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Triger, metadata: {name: s}}",
            Some("did you mean `Trigger`?"),
        ),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}", None),
        ("{apiVersion: v1, kind: Secret, metadata: {name: s}}", None),
        ("# nothing\n---\n---\n", None),
        (
            &broker("eventing.knative.dev/broker.class: Kafka", ""),
            Some("another class"),
        ),
        (
            &broker(
                "eventing.knative.dev/broker.class: Millrace, else.dev/x: {y: [1]}",
                "",
            ),
            None,
        ),
        (&broker("millrace.dev/retention-bytes: 5", ""), Some("in quotes")),
        (
            &broker("", "config: {apiVersion: v1, kind: ConfigMap, name: c}"),
            Some("no ConfigMap default/c of these documents has a `backend`"),
        ),
        (
            &broker(
                "",
                "delivery: {deadLetterSink: {ref: {apiVersion: v1, kind: Service, name: s}}}",
            ),
            Some("dead letters are parked"),
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, status: {x: y}, metadata: {name: b, uid: x, creationTimestamp: null, labels: {a: b}}}",
            None,
        ),
        (
            &with_trigger(
                "broker: default\nfilter: {attributes: {type: a}}\nfilters: [{exact: {type: b}}]\nsubscriber: {uri: http://a/}",
            ),
            Some("ignored"),
        ),
        (
            &with_trigger(
                "broker: default\nfilters: [{exact: {type: a}}, {exact: {type: b}}]\nsubscriber: {uri: http://a/}",
            ),
            Some("spec.filters: this never matches: type cannot be \"a\" and be \"b\" at once"),
        ),
        (
            &with_trigger(
                "broker: default\nfilters: [{cesql: NOT vip = TRUE}]\nsubscriber: {uri: http://a/}",
            ),
            Some("spec.filters[0].cesql: NOT binds tighter than a comparison"),
        ),
        (
            &with_trigger(
                "broker: default\nfilter: {attributes: {knativebrokerttl: \"1\"}}\nsubscriber: {uri: http://a/}",
            ),
            Some("spec.filter.attributes.knativebrokerttl: this never matches"),
        ),
    ];
    for (text, expected) in cases {
        let loaded = load_text(text);
        assert!(loaded.mesh.is_some(), "{text}: {:?}", shown(&loaded.problems));
        let remarks: Vec<String> = loaded.remarks.iter().map(ToString::to_string).collect();
        match expected {
            Some(expected) => assert!(
                matches!(&remarks[..], [one] if one.contains(expected)),
                "{text}: {remarks:?}"
            ),
            None => assert_eq!(remarks, [""; 0], "{text}"),
        }
    }
}

#[test]
fn an_empty_list_of_filters_is_no_filter_and_does_not_hide_the_older_one() {
    let passes = trigger("broker: default\nfilter: {}\nfilters: []\nsubscriber: {uri: http://a/}");
    assert!(passes.filters.is_empty());
    let older = trigger(
        "broker: default\nfilter: {attributes: {type: a}}\nfilters: []\nsubscriber: {uri: http://a/}",
    );
    assert!(matches!(&older.filters[..], [Filter::Attributes(_)]));
}

#[test]
fn expressions_and_paths_are_read_with_the_types_that_yaml_gives_their_values() {
    let read = trigger(
        "broker: default\nsubscriber: {uri: http://a/}\nfilters:\n- cesql: type = 'a'\n- jsonpath: $.a\n\
         - not:\n    jsonpath:\n      $.a: opened\n      $.b: \"3\"\n      $.c: 3\n      $.d: True\n      $.e: null\n      $['x.y']: \"\"",
    );
    let path = |path: &str, value| (path.to_owned(), value);
    let pairs = vec![
        path("$.a", Scalar::Text("opened".to_owned())),
        path("$.b", Scalar::Text("3".to_owned())),
        path("$.c", Scalar::Number("3".to_owned())),
        path("$.d", Scalar::Boolean(true)),
        path("$.e", Scalar::Null),
        path("$['x.y']", Scalar::Text(String::new())),
    ];
    let expected = [
        Filter::Cesql("type = 'a'".to_owned()),
        Filter::JsonPath("$.a".to_owned()),
        Filter::Not(Box::new(Filter::JsonPathEquals(pairs))),
    ];
    assert_eq!(read.filters, expected);
}

#[test]
fn a_list_as_kubectl_prints_it_is_its_items() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n- {apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: c}, spec: {x: 1}}\n";
    let loaded = load_text(text);
    assert_eq!(
        shown(&loaded.problems),
        ["-:5:83: items[1].spec.x: there is no such field; there are config, delivery (unknown-field)"]
    );
}

#[test]
fn a_policy_is_bound_by_name_and_by_labels_and_says_whom_nobody_knows() {
    let text = "apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: one, namespace: shop, labels: {tier: a}}
---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: two, namespace: shop}
---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: one, namespace: bank, labels: {tier: a}}
---
apiVersion: eventing.knative.dev/v1alpha1
kind: EventPolicy
metadata: {name: all, namespace: shop}
spec: {from: [{sub: 'a*'}, {sub: b}]}
---
apiVersion: eventing.knative.dev/v1alpha1
kind: EventPolicy
metadata: {name: labelled, namespace: shop}
spec:
  to: [{selector: {matchExpressions: [{key: tier, operator: Exists}]}}]
  from: [{ref: {apiVersion: eventing.knative.dev/v1, kind: Trigger, name: gone}}]
---
apiVersion: eventing.knative.dev/v1alpha1
kind: EventPolicy
metadata: {name: elsewhere, namespace: other}
spec: {from: [{sub: '*'}]}
";
    let loaded = millrace_crds::load_text(text);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let mesh = loaded.mesh.expect("a mesh");
    let bound = |namespace: &str, name: &str| -> Vec<String> {
        let policy = &mesh.policies[&millrace_model::ObjectName::new(namespace, name)];
        policy.brokers.iter().map(ToString::to_string).collect()
    };
    assert_eq!(bound("shop", "all"), ["shop/one", "shop/two"]);
    assert_eq!(bound("shop", "labelled"), ["shop/one"]);
    assert!(bound("other", "elsewhere").is_empty());
    let said: Vec<_> = loaded
        .remarks
        .iter()
        .map(|one| (&*one.path, &*one.message))
        .collect();
    assert_eq!(
        said,
        [
            (
                "spec.from",
                "nobody may send by this entry: there is no Trigger shop/gone"
            ),
            ("spec.to", "no Broker of these files is meant by it"),
        ]
    );
}
