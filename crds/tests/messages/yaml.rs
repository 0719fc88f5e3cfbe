//! What is said about the YAML itself: that of other kinds, keys that stand twice, merge keys, templates,
//! byte order marks, and texts that are no document.

use super::{broker, say, trigger};

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
                "-:9:19: spec.delivery.retires: there is no such field; there are deadLetterSink, format, retry, backoffPolicy, backoffDelay, backoffMax, timeout, retryAfterMax (unknown-field)",
            ],
        ),
        (
            trigger("broker: b\nsubscriber: {uri: http://a/}\ndelivery: {\"<<\": {retry: 1}}"),
            &[
                "-:9:14: spec.delivery.<<: there is no such field; there are deadLetterSink, format, retry, backoffPolicy, backoffDelay, backoffMax, timeout, retryAfterMax (unknown-field)",
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
