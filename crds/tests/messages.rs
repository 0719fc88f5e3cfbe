//! Promise: for each faulty or odd document the messages are exactly these: all problems and remarks. Where
//! the documents are served all the same, so is what is served.
//!
//! The words are part of the product. A change of them is a change of this table, to be read as its user
//! reads it.

use millrace_crds::{Loaded, load_text};
use millrace_model::Mesh;

/// Documents, and all that is said of them.
type Case = (String, &'static [&'static str]);

/// A Broker `b`, and a Trigger `t` with this `spec`, which begins in line 7.
fn trigger(spec: &str) -> String {
    with_broker("eventing.knative.dev/v1", "Trigger", "t", spec)
}

/// A Broker `b`, and a CronSource `c` with this `spec`, which begins in line 7. Its sink is the Broker.
fn cron(spec: &str) -> String {
    let sink = "sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}";
    let spec = format!("{spec}\n{sink}");
    with_broker("sources.millrace.dev/v1alpha1", "CronSource", "c", &spec)
}

/// A Broker `b` with these annotations in line 3 and this `spec` in line 4.
fn broker(annotations: &str, spec: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, annotations: {{{annotations}}}}}\n\
         spec: {{{spec}}}\n"
    )
}

fn with_broker(version: &str, kind: &str, name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "{{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {{name: b}}}}\n---\n\
         apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{spec}"
    )
}

/// Checks each case. A problem stands as it is printed, a remark with `(warning)` behind it, as `check`
/// prints it. Where a mesh comes of the documents, what is in it stands first.
fn say(cases: &[Case]) {
    for (text, expected) in cases {
        let Loaded {
            mesh,
            problems,
            remarks,
            ..
        } = load_text(text);
        assert_eq!(mesh.is_none(), !problems.is_empty(), "{text}");
        let problems = problems.iter().map(ToString::to_string);
        let remarks = remarks.iter().map(|remark| format!("{remark} (warning)"));
        let said: Vec<String> = mesh.iter().map(names).chain(problems).chain(remarks).collect();
        assert_eq!(said, *expected, "{text}");
    }
}

/// The names of all that is in a mesh.
fn names(mesh: &Mesh) -> String {
    let brokers = mesh.brokers.keys().map(|name| format!("Broker {name}"));
    let triggers = mesh.triggers.keys().map(|name| format!("Trigger {name}"));
    let sources = mesh.sources.keys().map(ToString::to_string);
    let names: Vec<String> = brokers.chain(triggers).chain(sources).collect();
    match &names[..] {
        [] => "serves nothing".to_owned(),
        names => format!("serves {}", names.join(", ")),
    }
}

#[test]
fn yaml_of_other_kinds_spoils_nothing() {
    say(&[
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\n{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {a: 1, a: 2}}\n".into(),
            &[
                "serves Broker default/b",
                "-:3:1: skipped: Millrace does not use a Service of v1 (warning)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: apps/v1\nkind: Deployment\nspec: {env: !Ref Name, keys: {? [a, b] : c}}\n".into(),
            &[
                "serves Broker default/b",
                "-:3:1: skipped: Millrace does not use a Deployment of apps/v1 (warning)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: v1\nkind: Pod\nbase: &base {a: 1}\nspec: {<<: *base, <<: text}\n".into(),
            &[
                "serves Broker default/b",
                "-:3:1: skipped: Millrace does not use a Pod of v1 (warning)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: v1\nkind: ConfigMap\ndata: {x: {{ .Values.x }}, x: !!binary aGk=}\n".into(),
            &["serves Broker default/b"],
        ),
        (
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, a: 1, a: 2}\n- {apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n".into(),
            &[
                "serves Broker default/b",
                "-:4:3: skipped: Millrace does not use a Pod of v1 (warning)",
            ],
        ),
    ]);
}

#[test]
fn the_same_in_ours_is_told() {
    say(&[
        (
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, a: 1, a: 2}\n- {apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b, name: b}}\n".into(),
            &[
                "-:5:75: the key `name` is here twice, first in line 5 (duplicate-key)",
                "-:4:3: skipped: Millrace does not use a Pod of v1 (warning)",
            ],
        ),
        (
            broker("", "delivery: {retry: 1, retry: 2}"),
            &["-:4:29: the key `retry` is here twice, first in line 4 (duplicate-key)"],
        ),
        (
            broker("", "delivery: !Ref x"),
            &["-:4:18: the tag `!Ref` is not supported here (yaml-unsupported)"],
        ),
        (
            broker("", "? [a, b] : c"),
            &["-:4:10: a key must be a text (yaml-unsupported)"],
        ),
        (
            "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: x, a: y}}\n".into(),
            &[
                "-:1:72: the key `a` is here twice, first in line 1 (duplicate-key)",
                "-:1:75: stringData.a: a text is expected, but YAML reads it as a boolean; write it in quotes: \"...\" (not-a-string)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Service\nkind: Trigger\nmetadata: {name: t}\n".into(),
            &[
                "-:3:1: the key `kind` is here twice, first in line 2 (duplicate-key)",
                "-:1:1: skipped: Millrace does not use a Service of eventing.knative.dev/v1 (warning)",
            ],
        ),
        (
            "a: !thing x\n".into(),
            &["-:1:4: the tag `!thing` is not supported here (yaml-unsupported)"],
        ),
    ]);
}

#[test]
fn merge_keys() {
    say(&[
        (
            "x: &x {retry: 1}\n".into(),
            &[
                "-:1:1: apiVersion: this field is required (missing-field)",
                "-:1:1: kind: this field is required (missing-field)",
            ],
        ),
        (
            trigger(
                "broker: b\nsubscriber: &s {uri: http://a/}\ndelivery: {<<: {retry: 1, timeout: PT1S}, retry: 2}",
            ),
            &["serves Broker default/b, Trigger default/t"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {<<: [{retry: 1}, {retry: many}]}"),
            &["serves Broker default/b, Trigger default/t"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {<<: 5}"),
            &["-:9:18: a merge key (`<<`) takes a mapping, or a list of mappings (yaml-unsupported)"],
        ),
        (
            trigger(
                "broker: b\nsubscriber: {uri: http://a/}\ndelivery: {<<: {retry: 1}, <<: {timeout: PT1S}}",
            ),
            &[
                "-:9:30: the key `<<` is here twice, first in line 9; write `<<: [*one, *other]` (duplicate-key)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {<<: {retires: 1}}"),
            &[
                "-:9:19: spec.delivery.retires: there is no such field; there are deadLetterSink, retry, backoffPolicy, backoffDelay, backoffMax, timeout, retryAfterMax, format (unknown-field)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {\"<<\": {retry: 1}}"),
            &[
                "-:9:14: spec.delivery.<<: there is no such field; there are deadLetterSink, retry, backoffPolicy, backoffDelay, backoffMax, timeout, retryAfterMax, format (unknown-field)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {<<: *none}"),
            &[
                "-:9:18: the alias `*none` stands for nothing: no anchor `&none` is before it in this document (yaml-syntax)",
            ],
        ),
        (
            "a: *b\n".into(),
            &[
                "-:1:4: the alias `*b` stands for nothing: no anchor `&b` is before it in this document (yaml-syntax)",
            ],
        ),
        (
            "a: [*b, 1]\n".into(),
            &[
                "-:1:5: the alias `*b` stands for nothing: no anchor `&b` is before it in this document (yaml-syntax)",
            ],
        ),
        (
            "a: &a [*a]\n".into(),
            &["-:1:8: an alias must not stand within what it stands for (yaml-unsupported)"],
        ),
    ]);
}

#[test]
fn templates_byte_order_marks_and_what_is_no_document() {
    say(&[
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: {{ .Release.Name }}}\n".into(),
            &[
                "-:3:19: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (yaml-template)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: {{ .Release.Name }}\n".into(),
            &[
                "-:4:10: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (yaml-template)",
            ],
        ),
        (
            "{{- if .Values.on }}\napiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n{{- end }}\n".into(),
            &[
                "-:1:3: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (yaml-template)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: \"{{ .Release.Name }}\"}\n".into(),
            &[
                "-:3:18: metadata.name: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (bad-name)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, namespace: \"{{ .Release.Namespace }}\"}\n".into(),
            &[
                "-:3:32: metadata.namespace: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (bad-name)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: \"http://{{ .host }}/\"}"),
            &[
                "-:8:21: spec.subscriber.uri: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (bad-uri)",
            ],
        ),
        (
            "\u{feff}{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n".into(),
            &["serves Broker default/b"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\n\u{feff}apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: c}\n".into(),
            &[
                "-:3:1: here is a byte order mark (U+FEFF), which may only be the first character of a file: remove it (yaml-syntax)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n\u{feff}---\napiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: c}\n".into(),
            &["serves Broker default/b, Broker default/c"],
        ),
        (
            "name: chart\nversion: 1\n".into(),
            &[
                "-:1:1: apiVersion: this field is required (missing-field)",
                "-:1:1: kind: this field is required (missing-field)",
            ],
        ),
        (
            "just a text\n".into(),
            &["-:1:1: a mapping is expected, but this is a text (wrong-type)"],
        ),
        (
            "- a\n".into(),
            &["-:1:1: a mapping is expected, but this is a list (wrong-type)"],
        ),
        ("".into(), &["serves nothing"]),
        ("# nothing\n---\n".into(), &["serves nothing"]),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Triger\nmetadata: {name: t}\n".into(),
            &[
                "serves nothing",
                "-:1:1: skipped: Millrace does not use a Triger of eventing.knative.dev/v1; did you mean `Trigger`? (warning)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1beta1\nkind: Broker\nmetadata: {name: t}\n".into(),
            &[
                "-:1:13: apiVersion: there is no Broker of eventing.knative.dev/v1beta1; write eventing.knative.dev/v1 (unsupported-version)",
            ],
        ),
        (
            "a: [1\nb: 2\n".into(),
            &["-:2:2: this is not YAML: illegal placement of ':' indicator (yaml-syntax)"],
        ),
        (
            "a: b: c\n".into(),
            &["-:1:5: this is not YAML: mapping values are not allowed in this context (yaml-syntax)"],
        ),
        (
            "a:\n\t- b\n".into(),
            &[
                "-:2:2: this is not YAML: tabs disallowed within this context (block indentation) (yaml-syntax)",
            ],
        ),
        (
            "{{ if .x }}\napiVersion: v1\nkind: Pod\n".into(),
            &[
                "-:1:1: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (yaml-template)",
            ],
        ),
        (
            "spec:\n  {{ include \"x\" . }}\n\n  # here\n  a: b\n".into(),
            &[
                "-:2:3: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (yaml-template)",
            ],
        ),
        (
            "a: \"{{ default \"x\" .y }}\"\n".into(),
            &[
                "-:1:17: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (yaml-template)",
            ],
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\ndata:\n  u: http://{{pod}}/\n\tx: 1\n".into(),
            &["-:4:6: this is not YAML: while scanning a plain scalar, found a tab (yaml-syntax)"],
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\ndata:\n  u: \"{{pod}}\"\n  v: w: x\n".into(),
            &["-:5:7: this is not YAML: mapping values are not allowed in this context (yaml-syntax)"],
        ),
        (
            "a: b: c # {{ .x }}\n".into(),
            &["-:1:5: this is not YAML: mapping values are not allowed in this context (yaml-syntax)"],
        ),
        (
            "apiVersion: sources.millrace.dev/v1\nkind: CronSource\nmetadata: {name: c}\n".into(),
            &[
                "-:1:13: apiVersion: there is no CronSource of sources.millrace.dev/v1; write sources.millrace.dev/v1alpha1 (unsupported-version)",
            ],
        ),
        (
            "apiVersion: eventing.knative.develop/v1\nkind: Broker\nmetadata: {name: c}\n".into(),
            &[
                "serves nothing",
                "-:1:1: skipped: Millrace does not use a Broker of eventing.knative.develop/v1 (warning)",
            ],
        ),
    ]);
}

#[test]
fn did_you_mean() {
    say(&[
        (
            trigger("broker: b\nfilters: [{and: [{exact: {type: a}}]}]\nsubscriber: {uri: http://a/}"),
            &[
                "-:8:14: spec.filters[0].and: there is no such filter dialect; did you mean `all`? (unknown-dialect)",
            ],
        ),
        (
            trigger("broker: b\nfilters: [{or: [{exact: {type: a}}]}]\nsubscriber: {uri: http://a/}"),
            &[
                "-:8:14: spec.filters[0].or: there is no such filter dialect; did you mean `any`? (unknown-dialect)",
            ],
        ),
        (
            trigger("broker: b\nfilters: [{OR: []}]\nsubscriber: {uri: http://a/}"),
            &[
                "-:8:14: spec.filters[0].OR: there is no such filter dialect; did you mean `any`? (unknown-dialect)",
            ],
        ),
        (
            trigger("broker: b\nfilters: [{none: {exact: {type: a}}}]\nsubscriber: {uri: http://a/}"),
            &[
                "-:8:14: spec.filters[0].none: there is no such filter dialect; did you mean `not`? (unknown-dialect)",
            ],
        ),
        (
            trigger("broker: b\nfilters: [{an: []}]\nsubscriber: {uri: http://a/}"),
            &[
                "-:8:14: spec.filters[0].an: there is no such filter dialect; there are exact, prefix, suffix, cesql, jsonpath, all, any, not (unknown-dialect)",
            ],
        ),
        (
            trigger("broker: b\nfilters: [{nor: []}]\nsubscriber: {uri: http://a/}"),
            &[
                "-:8:14: spec.filters[0].nor: there is no such filter dialect; there are exact, prefix, suffix, cesql, jsonpath, all, any, not (unknown-dialect)",
            ],
        ),
        (
            trigger("broker: b\nfilters: [{exakt: {type: a}}]\nsubscriber: {uri: http://a/}"),
            &[
                "-:8:14: spec.filters[0].exakt: there is no such filter dialect; did you mean `exact`? (unknown-dialect)",
            ],
        ),
        (
            trigger("broker: b\nfilters: [{startsWith: {type: a}}]\nsubscriber: {uri: http://a/}"),
            &[
                "-:8:14: spec.filters[0].startsWith: there is no such filter dialect; did you mean `prefix`? (unknown-dialect)",
            ],
        ),
        (
            trigger("broker: b\nfilters: [{sql: \"type = 'a'\"}]\nsubscriber: {uri: http://a/}"),
            &[
                "-:8:14: spec.filters[0].sql: there is no such filter dialect; did you mean `cesql`? (unknown-dialect)",
            ],
        ),
        (
            trigger("broker: b\nfilters: [{regex: {type: a}}]\nsubscriber: {uri: http://a/}"),
            &[
                "-:8:14: spec.filters[0].regex: there is no such filter dialect; there are exact, prefix, suffix, cesql, jsonpath, all, any, not (unknown-dialect)",
            ],
        ),
        (
            trigger("broker: b\nsubscribr: {uri: http://a/}"),
            &[
                "-:7:3: spec.subscriber: this field is required (missing-field)",
                "-:8:3: spec.subscribr: there is no such field; did you mean `subscriber`? (unknown-field)",
            ],
        ),
    ]);
}

#[test]
fn values_that_went_wrong_by_a_hair() {
    say(&[
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: \"http://a/\\n\"}\n".into(),
            &[
                "-:8:21: spec.subscriber.uri: the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-` (bad-uri)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber:\n  uri: |\n    http://a/"),
            &[
                "-:10:7: spec.subscriber.uri: the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-` (bad-uri)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: \" http://a/\"}"),
            &["-:8:21: spec.subscriber.uri: there are blanks around the text: remove them (bad-uri)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: \"http://a/ \"}"),
            &["-:8:21: spec.subscriber.uri: there are blanks around the text: remove them (bad-uri)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: \"http://a b/\"}"),
            &[
                "-:8:21: spec.subscriber.uri: a URL has no spaces and no characters beyond ASCII: percent-encode them (bad-uri)",
            ],
        ),
        (
            trigger("broker: |\n  b\nsubscriber: {uri: http://a/}"),
            &[
                "-:8:5: spec.broker: the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-` (bad-name)",
            ],
        ),
        (
            trigger("broker: \"b \"\nsubscriber: {uri: http://a/}"),
            &["-:7:11: spec.broker: there are blanks around the text: remove them (bad-name)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: 010}"),
            &[
                "-:9:21: spec.delivery.retry: `010` is 8 to YAML 1.1 and 10 to YAML 1.2: write 8 or 10 (bad-number)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: 007}"),
            &["-:9:21: spec.delivery.retry: `007`: write it without zeros before it: 7 (bad-number)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: 089}"),
            &["-:9:21: spec.delivery.retry: `089`: write it without zeros before it: 89 (bad-number)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: 0x10}"),
            &["-:9:21: spec.delivery.retry: `0x10`: write it in decimal digits: 16 (bad-number)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: 0o17}"),
            &["-:9:21: spec.delivery.retry: `0o17`: write it in decimal digits: 15 (bad-number)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: 0b11}"),
            &["-:9:21: spec.delivery.retry: `0b11`: write it in decimal digits: 3 (bad-number)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: 1_000}"),
            &["-:9:21: spec.delivery.retry: `1_000`: write it in decimal digits: 1000 (bad-number)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: 1e3}"),
            &["-:9:21: spec.delivery.retry: `1e3` is not a whole number (bad-number)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: 5.0}"),
            &["-:9:21: spec.delivery.retry: `5.0` is not a whole number (bad-number)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: \"5\"}"),
            &[
                "-:9:21: spec.delivery.retry: a whole number is expected: write it without quotes (wrong-type)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: -1}"),
            &["-:9:21: spec.delivery.retry: -1 is not between 0 and 2147483647 (out-of-range)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: 00}"),
            &["-:9:21: spec.delivery.retry: `00`: write it without zeros before it: 0 (bad-number)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {backoffDelay: 5s}"),
            &[
                "-:9:28: spec.delivery.backoffDelay: `5s`: this field takes ISO 8601 only; write for example PT0.2S, PT1M30S or P1D (bad-duration)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {backoffDelay: \"PT5S \"}"),
            &[
                "-:9:28: spec.delivery.backoffDelay: there are blanks around the text: remove them (bad-duration)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {timeout: 5}"),
            &[
                "-:9:23: spec.delivery.timeout: a duration is expected, not a number: PT5S is in seconds (bad-duration)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {timeout: PT5}"),
            &[
                "-:9:23: spec.delivery.timeout: `PT5`: this is not an ISO 8601 duration; write for example PT0.2S, PT1M30S or P1D (bad-duration)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {backoffPolicy: \"linear\\n\"}\n".into(),
            &[
                "-:9:29: spec.delivery.backoffPolicy: the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-` (unknown-value)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {backoffPolicy: Linear}"),
            &[
                "-:9:29: spec.delivery.backoffPolicy: `Linear` is not known here; there are `linear` and `exponential` (unknown-value)",
            ],
        ),
    ]);
}

#[test]
fn units_of_annotations_and_sources() {
    say(&[
        (
            broker(
                "millrace.dev/retention-age: 24h, millrace.dev/retention-bytes: 1GiB, millrace.dev/backlog-bytes: 512MB",
                "",
            ),
            &["serves Broker default/b"],
        ),
        (
            broker(
                "millrace.dev/retention-age: PT24H, millrace.dev/retention-bytes: 1Gi",
                "",
            ),
            &["serves Broker default/b"],
        ),
        (
            broker("millrace.dev/retention-age: 24", ""),
            &[
                "-:3:63: metadata.annotations[millrace.dev/retention-age]: `24`: this is not a duration; write for example 500ms, 30s, 1h30m, 24h or 2d, or as ISO 8601 PT30S or P1D (bad-duration)",
                "-:3:63: metadata.annotations[millrace.dev/retention-age]: write it in quotes: Kubernetes refuses an annotation that is a number (warning)",
            ],
        ),
        (
            broker("millrace.dev/retention-age: 24hours", ""),
            &[
                "-:3:63: metadata.annotations[millrace.dev/retention-age]: `24hours`: this is not a duration; write for example 500ms, 30s, 1h30m, 24h or 2d, or as ISO 8601 PT30S or P1D (bad-duration)",
            ],
        ),
        (
            broker("millrace.dev/retention-age: P1M", ""),
            &[
                "-:3:63: metadata.annotations[millrace.dev/retention-age]: `P1M`: years and months have no fixed length; write days, for example P30D (bad-duration)",
            ],
        ),
        (
            broker("millrace.dev/retention-bytes: 1gb", ""),
            &[
                "-:3:65: metadata.annotations[millrace.dev/retention-bytes]: this is not a number of bytes; write for example 1048576, 64Mi or 1Gi (bad-number)",
            ],
        ),
        (
            broker("millrace.dev/retention-bytes: 1.5Gi", ""),
            &[
                "-:3:65: metadata.annotations[millrace.dev/retention-bytes]: this is not a number of bytes; write for example 1048576, 64Mi or 1Gi (bad-number)",
            ],
        ),
        (
            cron("schedule: '@daily'\njitter: 90s\ncatchUpMaxAge: 2d"),
            &["serves Broker default/b, CronSource default/c"],
        ),
        (
            cron("schedule: '@daily'\njitter: 2d"),
            &["-:8:11: spec.jitter: the jitter may be at most 24h (out-of-range)"],
        ),
        (
            cron("schedule: '@daily'\njitter: 5 s"),
            &[
                "-:8:11: spec.jitter: `5 s`: this is not a duration; write for example 500ms, 30s, 1h30m, 24h or 2d, or as ISO 8601 PT30S or P1D (bad-duration)",
            ],
        ),
    ]);
}

#[test]
fn where_events_go() {
    say(&[
        (
            trigger(
                "broker: b\nsubscriber: {uri: http://a/}\ndelivery: {deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}}",
            ),
            &[
                "serves Broker default/b, Trigger default/t",
                "-:9:30: spec.delivery.deadLetterSink: dead letters go back to the Broker default/b itself: matching Triggers get them again, until the TTL ends (warning)",
            ],
        ),
        (
            broker(
                "",
                "delivery: {deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}}",
            ),
            &[
                "serves Broker default/b",
                "-:4:35: spec.delivery.deadLetterSink: dead letters go back to the Broker default/b itself: matching Triggers get them again, until the TTL ends (warning)",
            ],
        ),
        (
            broker(
                "",
                "delivery: {deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: lost}}}",
            ),
            &[
                "serves Broker default/b",
                "-:4:35: spec.delivery.deadLetterSink: dead letters are parked: there is no Broker default/lost (warning)",
            ],
        ),
        (
            trigger("broker: lost\nsubscriber: {uri: http://a/}"),
            &[
                "serves Broker default/b, Trigger default/t",
                "-:7:11: spec.broker: there is no Broker default/lost in these files; the Trigger waits for it (warning)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://u:p@a/}"),
            &["-:8:21: spec.subscriber.uri: a URL must not hold a user name or password (bad-uri)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a:0/}"),
            &["-:8:21: spec.subscriber.uri: the port of a URL is a number from 1 to 65535 (bad-uri)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: /a}"),
            &["-:8:21: spec.subscriber.uri: an absolute URL with http:// or https:// is expected (bad-uri)"],
        ),
        (
            trigger(
                "broker: b\nsubscriber: {ref: {apiVersion: v1, kind: Service, name: s}, uri: '//other/in'}",
            ),
            &[
                "-:8:68: spec.subscriber.uri: beside `ref` a path is expected, such as /orders?kind=new (bad-uri)",
            ],
        ),
        (
            trigger(
                "broker: b\nsubscriber: {ref: {apiVersion: v1, kind: Service, name: s}, uri: '/in#there'}",
            ),
            &[
                "-:8:68: spec.subscriber.uri: beside `ref` a path is expected, such as /orders?kind=new (bad-uri)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {ref: {apiVersion: v1, kind: Service, name: s}, uri: '/a b'}"),
            &[
                "-:8:68: spec.subscriber.uri: beside `ref` a path is expected, such as /orders?kind=new (bad-uri)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {ref: {apiVersion: v1, kind: Service, name: s}}"),
            &[
                "serves Broker default/b, Trigger default/t",
                "-:8:15: spec.subscriber: the Trigger is not ready: the address of Service default/s (v1) is known to Kubernetes only; without it, write a `uri` (warning)",
            ],
        ),
    ]);
}

#[test]
fn schedules() {
    say(&[
        (
            cron("schedule: 0 0 * * Monday"),
            &[
                "-:7:13: spec.schedule: the day of week does not make sense: `Monday` is spelled out: write MON (bad-schedule)",
            ],
        ),
        (
            cron("schedule: 0 22-2 * * *"),
            &[
                "-:7:13: spec.schedule: the hour does not make sense: `22-2` runs backwards: write 22-23,0-2 (bad-schedule)",
            ],
        ),
        (
            cron("schedule: \"*,5 * * * *\""),
            &[
                "-:7:13: spec.schedule: the minute does not make sense: `*,5`: `*` already means every value: write * or 5 (bad-schedule)",
            ],
        ),
        (
            cron("schedule: 0 0 * * 8"),
            &[
                "-:7:13: spec.schedule: the day of week does not make sense: `8`: there are 0 to 7 (bad-schedule)",
            ],
        ),
        (
            cron("schedule: 0 0 30 2 *"),
            &["-:7:13: spec.schedule: no day is like that: this schedule would never come (bad-schedule)"],
        ),
        (
            cron("schedule: '@daily'\ntimezone: UTC+8"),
            &[
                "-:8:13: spec.timezone: there is no time zone `UTC+8`; write `Etc/GMT-8`, whose sign is the other way round (bad-schedule)",
            ],
        ),
    ]);
}

#[test]
fn a_word_that_gives_away_what_went_wrong() {
    say(&[
        (
            cron("schedule: '@daily'\ntimezone: |\n  Europe/Berlin"),
            &[
                "-:9:5: spec.timezone: the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-` (bad-schedule)",
            ],
        ),
        (
            cron("schedule: '{{ .Values.schedule }}'"),
            &[
                "-:7:13: spec.schedule: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (bad-schedule)",
            ],
        ),
        (
            cron("schedule: |\n  0 0 * * 8"),
            &[
                "-:8:5: spec.schedule: the day of week does not make sense: `8`: there are 0 to 7 (bad-schedule)",
            ],
        ),
        (
            cron("schedule: '@daily'\ncatchUp: ' last'"),
            &["-:8:12: spec.catchUp: there are blanks around the text: remove them (unknown-value)"],
        ),
        (
            broker("millrace.dev/retention-bytes: ' 1Gi'", ""),
            &[
                "-:3:65: metadata.annotations[millrace.dev/retention-bytes]: there are blanks around the text: remove them (bad-number)",
            ],
        ),
        (
            broker("millrace.dev/on-full: '{{ .Values.full }}'", ""),
            &[
                "-:3:57: metadata.annotations[millrace.dev/on-full]: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (unknown-value)",
            ],
        ),
        (
            trigger("broker: \"b\\n\"\nsubscriber: {uri: http://a/}"),
            &[
                "-:7:11: spec.broker: the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-` (bad-name)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: \" http://u:secret@a/\"}"),
            &["-:8:21: spec.subscriber.uri: there are blanks around the text: remove them (bad-uri)"],
        ),
        (
            "apiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata: {name: g}\nspec: {forge: \"github\\n\", verification: none, sink: {uri: http://a/}}\n".into(),
            &[
                "-:4:15: spec.forge: the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-` (unknown-value)",
            ],
        ),
        (
            "apiVersion: sources.millrace.dev/v1alpha1\nkind: KafkaSource\nmetadata: {name: k}\nspec: {bootstrapServers: [\"{{ .kafka }}:9092\"], topics: [\"a \"], sink: {uri: http://a/}}\n".into(),
            &[
                "-:4:27: spec.bootstrapServers[0]: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (bad-address)",
                "-:4:58: spec.topics[0]: there are blanks around the text: remove them (bad-topic)",
            ],
        ),
    ]);
}

#[test]
fn a_number_below_zero_is_out_of_range_however_it_is_written() {
    say(&[
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: -010}"),
            &["-:9:21: spec.delivery.retry: -010 is not between 0 and 2147483647 (out-of-range)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: -1_000}"),
            &["-:9:21: spec.delivery.retry: -1_000 is not between 0 and 2147483647 (out-of-range)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: -0x10}"),
            &["-:9:21: spec.delivery.retry: -0x10 is not between 0 and 2147483647 (out-of-range)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: +0x10}"),
            &["-:9:21: spec.delivery.retry: `+0x10`: write it in decimal digits: 16 (bad-number)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: -00}"),
            &["-:9:21: spec.delivery.retry: `-00`: write it without zeros before it: 0 (bad-number)"],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {retry: +010}"),
            &[
                "-:9:21: spec.delivery.retry: `+010` is 8 to YAML 1.1 and 10 to YAML 1.2: write 8 or 10 (bad-number)",
            ],
        ),
    ]);
}
