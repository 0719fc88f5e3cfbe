//! Faults, each with its field, its line and its code.

use millrace_crds::{Code, Input, Mark, load, load_text};

use crate::{broker, shown, with_trigger};

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
        (subscriber("{uri: http://a/, CACerts: pem}"), "spec.subscriber.CACerts", 8, Code::BadCertificate),
        (subscriber("{uri: http://a/, audience: [me]}"), "spec.subscriber.audience", 8, Code::WrongType),
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
