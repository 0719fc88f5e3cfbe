//! What the loader promises: a valid text becomes the mesh that it says, and every fault is told with its
//! line.

use std::time::{Duration, Instant};

use millrace_crds::{Code, Input, Loaded, Mark, Problem, load, load_text};
use millrace_filter::{Filter, Scalar};
use millrace_model::{BackoffPolicy, Format, Mesh, ObjectName, OnFull, Target, Trigger};
use proptest::prelude::*;

const SHOP: &str = r#"
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default, namespace: shop}
spec:
  delivery: {retry: 5, backoffPolicy: exponential, backoffDelay: PT0.2S, deadLetterSink: {uri: "http://127.0.0.1:9009/dead"}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: ship, namespace: shop}
spec:
  broker: default
  filters: [{exact: {type: order.paid}}, {prefix: {source: /shop/}}]
  subscriber: {uri: "http://127.0.0.1:9001/ship"}
"#;

fn name(text: &str) -> ObjectName {
    text.parse().expect("a name")
}

fn mesh(text: &str) -> Mesh {
    let Loaded { mesh, problems, .. } = load_text(text);
    mesh.unwrap_or_else(|| panic!("{problems:#?}"))
}

/// A Broker `default` and a Trigger `t` in the namespace `default`, whose `spec` begins in line 6.
fn with_trigger(spec: &str) -> String {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "{{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {{name: default}}}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Trigger\nspec:\n{indented}\nmetadata: {{name: t}}\n"
    )
}

fn trigger(spec: &str) -> Trigger {
    (*mesh(&with_trigger(spec)).triggers[&name("default/t")]).clone()
}

/// A document of one line each for head and spec; the spec is in line 4.
fn broker(annotations: &str, spec: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, annotations: {{{annotations}}}}}\nspec: {{{spec}}}\n"
    )
}

fn shown(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

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
        Ok(Target::Http("http://127.0.0.1:9001/ship".parse().expect("a URL")))
    );
    assert_eq!(
        trigger.dead_letter,
        Some(Ok(Target::Http(
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
            subscriber.as_ref().is_err_and(|why| why.contains(word)),
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
            Some("`config`"),
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
fn every_fault_of_a_trigger_has_its_line_and_its_code() {
    let rest = "broker: default\nsubscriber: {uri: http://a/}\n";
    let filter = |text: &str| format!("{rest}filters:\n- exact: {{type: a}}\n- {text}");
    let delivery = |text: &str| format!("{rest}delivery:\n  {text}");
    let subscriber = |text: &str| format!("broker: default\nsubscriber:\n  {text}");
    let cases: &[(String, &str, u32, Code)] = &[
        ("subscriber: {uri: http://a/}".into(), "spec.broker", 6, Code::MissingField),
        ("broker: default".into(), "spec.subscriber", 6, Code::MissingField),
        ("broker: Default\nsubscriber: {uri: http://a/}".into(), "spec.broker", 6, Code::BadName),
        ("broker: 5\nsubscriber: {uri: http://a/}".into(), "spec.broker", 6, Code::NotAString),
        ("broker: {}\nsubscriber: {uri: http://a/}".into(), "spec.broker", 6, Code::WrongType),
        (format!("{rest}brokerRef: {{kind: Broker, name: default, apiVersion: eventing.knative.dev/v1}}"), "spec.broker", 6, Code::ConflictingFields),
        ("subscriber: {uri: http://a/}\nbrokerRef: {kind: Broker, name: b, namespace: other, apiVersion: eventing.knative.dev/v1}".into(), "spec.brokerRef", 7, Code::NotSupported),
        ("subscriber: {uri: http://a/}\nbrokerRef: {kind: Service, name: b, apiVersion: v1}".into(), "spec.brokerRef", 7, Code::BadReference),
        (format!("{rest}subscribr: x"), "spec.subscribr", 8, Code::UnknownField),
        (filter("exact: {Type: a}"), "spec.filters[1].exact.Type", 10, Code::BadAttributeName),
        (filter("exact: {s-pace: a}"), "spec.filters[1].exact.s-pace", 10, Code::BadAttributeName),
        (filter("exact: {123: a}"), "spec.filters[1].exact.123", 10, Code::BadAttributeName),
        (filter("exact: {on: a}"), "spec.filters[1].exact.on", 10, Code::NotAString),
        (filter("exact: {type: true}"), "spec.filters[1].exact.type", 10, Code::NotAString),
        (filter("exact: {type: yes}"), "spec.filters[1].exact.type", 10, Code::NotAString),
        (filter("prefix: {type: 5}"), "spec.filters[1].prefix.type", 10, Code::NotAString),
        (filter("suffix: {type: }"), "spec.filters[1].suffix.type", 10, Code::NotAString),
        (filter("suffix: {type: \"\"}"), "spec.filters[1].suffix.type", 10, Code::EmptyValue),
        (filter("suffix: {type: [a]}"), "spec.filters[1].suffix.type", 10, Code::WrongType),
        (filter("exact: {}"), "spec.filters[1].exact", 10, Code::EmptyFilter),
        (filter("all: []"), "spec.filters[1].all", 10, Code::EmptyFilter),
        (filter("{}"), "spec.filters[1]", 10, Code::EmptyFilter),
        (filter("not: {any: [{exact: {type: a}}, {suffix: {A: b}}]}"), "spec.filters[1].not.any[1].suffix.A", 10, Code::BadAttributeName),
        (filter("{exact: {type: a}, prefix: {type: b}}"), "spec.filters[1]", 10, Code::ManyDialects),
        (filter("cesql: \"type = \""), "spec.filters[1].cesql", 10, Code::BadFilter),
        (filter("cesql: LENGTH(type)"), "spec.filters[1].cesql", 10, Code::BadFilter),
        (filter("cesql: true"), "spec.filters[1].cesql", 10, Code::NotAString),
        (filter("cesql: \" \""), "spec.filters[1].cesql", 10, Code::EmptyFilter),
        (filter("cesql: {type: a}"), "spec.filters[1].cesql", 10, Code::WrongType),
        (filter("jsonpath: a.b"), "spec.filters[1].jsonpath", 10, Code::BadFilter),
        (filter("jsonpath: \"$[?match(@.a, 'x')]\""), "spec.filters[1].jsonpath", 10, Code::BadFilter),
        (filter("jsonpath: \"\""), "spec.filters[1].jsonpath", 10, Code::EmptyFilter),
        (filter("jsonpath: [$.a]"), "spec.filters[1].jsonpath", 10, Code::WrongType),
        (filter("jsonpath: {}"), "spec.filters[1].jsonpath", 10, Code::EmptyFilter),
        (filter("jsonpath:\n    $.a: 1\n    a.b: 2"), "spec.filters[1].jsonpath.a.b", 12, Code::BadFilter),
        (filter("jsonpath:\n    $.a: yes"), "spec.filters[1].jsonpath.$.a", 11, Code::WrongType),
        (filter("jsonpath:\n    $.a: 0x1F"), "spec.filters[1].jsonpath.$.a", 11, Code::BadFilter),
        (filter("jsonpath:\n    $.a:"), "spec.filters[1].jsonpath.$.a", 11, Code::EmptyValue),
        (filter("jsonpath:\n    $.a: [1]"), "spec.filters[1].jsonpath.$.a", 11, Code::WrongType),
        (filter("exakt: {type: a}"), "spec.filters[1].exakt", 10, Code::UnknownDialect),
        (filter(&format!("exact: {{type: {}}}", "x".repeat(5000))), "spec.filters[1].exact.type", 10, Code::BadFilter),
        (format!("{rest}filter: {{attributes: {{TYPE: a}}}}"), "spec.filter.attributes.TYPE", 8, Code::BadAttributeName),
        (format!("{rest}filter: {{attribute: {{type: a}}}}"), "spec.filter.attribute", 8, Code::UnknownField),
        (format!("{rest}filters: {{exact: {{type: a}}}}"), "spec.filters", 8, Code::WrongType),
        (subscriber("{}"), "spec.subscriber", 8, Code::MissingField),
        (subscriber("uri: /ship"), "spec.subscriber.uri", 8, Code::BadUri),
        (subscriber("uri: ftp://a/"), "spec.subscriber.uri", 8, Code::BadUri),
        (subscriber("uri: http://me:secret@a/"), "spec.subscriber.uri", 8, Code::BadUri),
        (subscriber("url: http://a/"), "spec.subscriber", 8, Code::MissingField),
        (subscriber("{uri: http://a/, CACerts: pem}"), "spec.subscriber.CACerts", 8, Code::NotSupported),
        (subscriber("{uri: http://a/, audience: me}"), "spec.subscriber.audience", 8, Code::NotSupported),
        (subscriber("{uri: http://a/, ref: {apiVersion: v1, kind: Service, name: s}}"), "spec.subscriber.uri", 8, Code::ConflictingFields),
        (subscriber("{uri: /a, ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: s}}"), "spec.subscriber.uri", 8, Code::NotSupported),
        (subscriber("ref: {kind: Service, name: s}"), "spec.subscriber.ref.apiVersion", 8, Code::MissingField),
        (subscriber("ref: {apiVersion: v1, kind: Service, name: s, group: g}"), "spec.subscriber.ref.group", 8, Code::NotSupported),
        (subscriber("ref: {apiVersion: eventing.knative.dev/v1beta1, kind: Broker, name: s}"), "spec.subscriber.ref", 8, Code::BadReference),
        (subscriber("ref: {apiVersion: v1, kind: Service, name: s, namespace: a.b}"), "spec.subscriber.ref.namespace", 8, Code::BadName),
        (delivery("retry: -1"), "spec.delivery.retry", 9, Code::OutOfRange),
        (delivery("retry: 2147483648"), "spec.delivery.retry", 9, Code::OutOfRange),
        (delivery("retry: 1.5"), "spec.delivery.retry", 9, Code::BadNumber),
        (delivery("retry: \"3\""), "spec.delivery.retry", 9, Code::WrongType),
        (delivery("retry: many"), "spec.delivery.retry", 9, Code::WrongType),
        (delivery("backoffPolicy: Linear"), "spec.delivery.backoffPolicy", 9, Code::UnknownValue),
        (delivery("backoffDelay: 5s"), "spec.delivery.backoffDelay", 9, Code::BadDuration),
        (delivery("backoffMax: -PT1S"), "spec.delivery.backoffMax", 9, Code::BadDuration),
        (delivery("timeout: PT0S"), "spec.delivery.timeout", 9, Code::OutOfRange),
        (delivery("retryAfterMax: P1Y"), "spec.delivery.retryAfterMax", 9, Code::BadDuration),
        (delivery("format: xml"), "spec.delivery.format", 9, Code::UnknownValue),
        (delivery("deadLetterSink: {uri: dead}"), "spec.delivery.deadLetterSink.uri", 9, Code::BadUri),
        (delivery("retries: 5"), "spec.delivery.retries", 9, Code::UnknownField),
    ];
    for (spec, path, line, code) in cases {
        let loaded = load_text(&with_trigger(spec));
        assert!(loaded.mesh.is_none(), "{spec}");
        let found = loaded.problems.iter().find(|problem| problem.path == *path);
        let found = found.unwrap_or_else(|| panic!("{spec}\n{:#?}", shown(&loaded.problems)));
        assert_eq!(
            (found.code, found.at.map(|at| at.line)),
            (*code, Some(*line)),
            "{spec}\n{found}"
        );
        assert_eq!(found.document.as_deref(), Some("Trigger default/t"), "{spec}");
        assert!(!found.message.contains("secret"), "{found}");
    }
}

#[test]
fn every_fault_of_a_head_or_a_broker_has_its_line_and_its_code() {
    let version = "apiVersion: eventing.knative.dev/v1\n";
    let cases: &[(String, &str, u32, Code)] = &[
        (
            "kind: Broker\nmetadata: {name: b}".into(),
            "apiVersion",
            1,
            Code::MissingField,
        ),
        (
            format!("{version}metadata: {{name: b}}"),
            "kind",
            1,
            Code::MissingField,
        ),
        (
            format!("{version}kind: Broker"),
            "metadata",
            1,
            Code::MissingField,
        ),
        (
            format!("{version}kind: Broker\nmetadata: {{}}"),
            "metadata.name",
            3,
            Code::MissingField,
        ),
        (
            format!("{version}kind: Broker\nmetadata: {{name: a_b}}"),
            "metadata.name",
            3,
            Code::BadName,
        ),
        (
            format!("{version}kind: Broker\nmetadata: {{name: a/b}}"),
            "metadata.name",
            3,
            Code::BadName,
        ),
        (
            format!("{version}kind: Broker\nmetadata: {{name: {}}}", "a".repeat(254)),
            "metadata.name",
            3,
            Code::BadName,
        ),
        (
            format!("{version}kind: Broker\nmetadata: {{name: a, namespace: b.c}}"),
            "metadata.namespace",
            3,
            Code::BadName,
        ),
        (
            format!("{version}kind: Broker\nmetadata: {{name: a}}\nsepc: {{}}"),
            "sepc",
            4,
            Code::UnknownField,
        ),
        (
            "apiVersion: eventing.knative.dev/v1beta1\nkind: Trigger".into(),
            "apiVersion",
            1,
            Code::UnsupportedVersion,
        ),
        ("just a text".into(), "", 1, Code::WrongType),
        ("- a list".into(), "", 1, Code::WrongType),
        (
            broker("millrace.dev/retention-aeg: P1D", ""),
            "metadata.annotations[millrace.dev/retention-aeg]",
            3,
            Code::UnknownAnnotation,
        ),
        (
            broker("millrace.dev/parallelism: \"5\"", ""),
            "metadata.annotations[millrace.dev/parallelism]",
            3,
            Code::UnknownAnnotation,
        ),
        (
            broker("millrace.dev/retention-age: 24 h", ""),
            "metadata.annotations[millrace.dev/retention-age]",
            3,
            Code::BadDuration,
        ),
        (
            broker("millrace.dev/retention-bytes: much", ""),
            "metadata.annotations[millrace.dev/retention-bytes]",
            3,
            Code::BadNumber,
        ),
        (
            broker("millrace.dev/backlog-bytes: \"0\"", ""),
            "metadata.annotations[millrace.dev/backlog-bytes]",
            3,
            Code::OutOfRange,
        ),
        (
            broker("millrace.dev/on-full: drop", ""),
            "metadata.annotations[millrace.dev/on-full]",
            3,
            Code::UnknownValue,
        ),
        (
            broker("", "deliverry: {}"),
            "spec.deliverry",
            4,
            Code::UnknownField,
        ),
        (
            broker("", "delivery: {retry: -1}"),
            "spec.delivery.retry",
            4,
            Code::OutOfRange,
        ),
        (
            format!("{}---\n{}", broker("", ""), broker("", "")),
            "metadata.name",
            6,
            Code::DuplicateDocument,
        ),
        (format!("{}---\na: [", broker("", "")), "", 7, Code::YamlSyntax),
        (
            format!("{}a: 1\na: 2\n", broker("", "")),
            "",
            6,
            Code::DuplicateKey,
        ),
    ];
    for (text, path, line, code) in cases {
        let loaded = load_text(text);
        assert!(loaded.mesh.is_none(), "{text}");
        let found = loaded
            .problems
            .iter()
            .find(|problem| problem.path == *path && problem.code == *code);
        let found = found.unwrap_or_else(|| panic!("{text}\n{:#?}", shown(&loaded.problems)));
        assert_eq!(found.at.map(|at| at.line), Some(*line), "{text}\n{found}");
    }
    for parallelism in ["0", "1001", "-1"] {
        let text = with_trigger("broker: default\nsubscriber: {uri: http://a/}");
        let text = text.replace(
            "{name: t}",
            &format!("{{name: t, annotations: {{millrace.dev/parallelism: \"{parallelism}\"}}}}"),
        );
        assert_eq!(
            load_text(&text).problems[0].code,
            Code::OutOfRange,
            "{parallelism}"
        );
    }
}

#[test]
fn all_problems_of_all_files_are_told_in_one_go() {
    let inputs = [
        Input {
            file: "a.yaml".into(),
            text: with_trigger(
                "broker: B\nfilters: [{exact: {Type: a, B: c}}, {cesql: x AND }]\nsubscriber: {uri: x}\nextra: 1",
            ),
            passed_over: None,
        },
        Input {
            file: "b.yaml".into(),
            text: "x: [".into(),
            passed_over: None,
        },
        Input {
            file: "c.yaml".into(),
            text: with_trigger("broker: default\nsubscriber: {uri: http://a/}"),
            passed_over: None,
        },
    ];
    let loaded = load(&inputs);
    assert_eq!(
        shown(&loaded.problems),
        [
            "a.yaml:6:11: spec.broker: `B` is not a name: a name has 1 to 253 lower-case letters, digits, hyphens and dots, and each part begins and ends with a letter or digit (bad-name)",
            "a.yaml:7:22: spec.filters[0].exact.Type: attribute names are lower-case letters and digits, and begin with a letter (bad-attribute-name)",
            "a.yaml:7:31: spec.filters[0].exact.B: attribute names are lower-case letters and digits, and begin with a letter (bad-attribute-name)",
            "a.yaml:7:47: spec.filters[1].cesql: at column 6: a value is expected here, not the end (bad-filter)",
            "a.yaml:8:21: spec.subscriber.uri: an absolute URL with http:// or https:// is expected (bad-uri)",
            "a.yaml:9:3: spec.extra: there is no such field; there are broker, brokerRef, filter, filters, subscriber, delivery (unknown-field)",
            "b.yaml:2:1: this is not YAML: while parsing a node, did not find expected node content (yaml-syntax)",
            "c.yaml:1:1: metadata.name: Broker default/default is here twice, first in a.yaml:1 (duplicate-document)",
            "c.yaml:3:1: metadata.name: Trigger default/t is here twice, first in a.yaml:3 (duplicate-document)",
        ]
    );
    assert_eq!(loaded.problems[0].at, Some(Mark { line: 6, column: 11 }));
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
fn a_file_of_nothing_but_faults_does_not_flood() {
    let text =
        "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: B}}\n---\n".repeat(5_000);
    let loaded = load_text(&text);
    assert_eq!(loaded.problems.len(), 1_001);
    assert_eq!(
        loaded.problems.last().map(|last| last.code),
        Some(Code::TooManyProblems)
    );
}

#[test]
fn more_documents_than_the_bound_are_refused() {
    let text = "{apiVersion: v1, kind: ConfigMap}\n---\n".repeat(100_001);
    let loaded = load_text(&text);
    assert_eq!(
        loaded.problems.iter().map(|p| p.code).collect::<Vec<_>>(),
        [Code::TooManyDocuments]
    );
}

#[test]
fn ten_thousand_triggers_load() {
    let mut text = SHOP.to_owned();
    for i in 0..10_000 {
        text.push_str(&format!(
            "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: t{i}\n  namespace: shop\nspec:\n  broker: default\n  filters:\n  - exact:\n      type: t{i}\n  subscriber:\n    uri: http://127.0.0.1:9001/{i}\n"
        ));
    }
    let start = Instant::now();
    let mesh = mesh(&text);
    assert_eq!(mesh.triggers.len(), 10_001);
    println!("10 001 triggers, {} KiB: {:?}", text.len() >> 10, start.elapsed());
}

fn lines() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "apiVersion: eventing.knative.dev/v1",
        "kind: Trigger",
        "kind: Broker",
        "metadata:",
        "  name: t",
        "spec:",
        "  broker: b",
        "  filters:",
        "  - exact:",
        "      type: a",
        "  - not: {any: [*x]}",
        "  subscriber: &x {uri: http://a/}",
        "---",
        "- ",
        "? ",
        "{",
        "}",
        "[",
        "\t",
        "|",
        "  >-",
        "*x",
        "&x",
        "!!str 5",
        "delivery: {retry: 1e99, timeout: PT9S}",
        "\u{feff}",
        "%YAML 1.2",
        "...",
        "'",
        "\"",
        "<<: *x",
        "é: \u{0}",
    ]);
    prop::collection::vec(words, 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC{0,300}") {
        let _ = load_text(&text);
    }

    #[test]
    fn no_heap_of_yaml_makes_the_loader_panic(text in lines()) {
        let loaded = load_text(&text);
        prop_assert_eq!(loaded.mesh.is_some(), loaded.problems.is_empty());
    }

    #[test]
    fn no_damage_to_a_valid_text_makes_the_loader_panic(at in 0..SHOP.len(), with in "\\PC{0,4}", cut in 0_usize..30) {
        let mut text = SHOP.to_owned();
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &with);
        let loaded = load_text(&text);
        prop_assert_eq!(loaded.mesh.is_some(), loaded.problems.is_empty());
    }
}
