//! Promise: each document that is not right, or odd, is told in these words: the whole of what is said of it,
//! problems and remarks.
//!
//! The words are part of the product. A change of them is a change of this table, to be read as its user
//! reads it.

use millrace_crds::load_text;

/// A document, and all that is said of it.
type Case = (&'static str, &'static [&'static str]);

/// Checks each case. A problem stands as it is printed, a remark with `(warning)` behind it, as `check`
/// prints it.
fn say(cases: &[Case]) {
    for (text, expected) in cases {
        let loaded = load_text(text);
        assert_eq!(loaded.mesh.is_none(), !loaded.problems.is_empty(), "{text}");
        let problems = loaded.problems.iter().map(ToString::to_string);
        let remarks = loaded.remarks.iter().map(|remark| format!("{remark} (warning)"));
        let said: Vec<String> = problems.chain(remarks).collect();
        assert_eq!(said, *expected, "{text}");
    }
}

#[test]
fn yaml_of_other_kinds_spoils_nothing() {
    say(&[
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\n{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {a: 1, a: 2}}\n",
            &["-:3:1: a Service of v1 is nothing that Millrace serves: skipped (warning)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: apps/v1\nkind: Deployment\nspec: {env: !Ref Name, keys: {? [a, b] : c}}\n",
            &["-:3:1: a Deployment of apps/v1 is nothing that Millrace serves: skipped (warning)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: v1\nkind: Pod\nbase: &base {a: 1}\nspec: {<<: *base, <<: text}\n",
            &["-:3:1: a Pod of v1 is nothing that Millrace serves: skipped (warning)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: v1\nkind: ConfigMap\ndata: {x: {{ .Values.x }}, x: !!binary aGk=}\n",
            &[],
        ),
        (
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, a: 1, a: 2}\n- {apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n",
            &["-:4:3: a Pod of v1 is nothing that Millrace serves: skipped (warning)"],
        ),
    ]);
}

#[test]
fn the_same_in_ours_is_told() {
    say(&[
        (
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, a: 1, a: 2}\n- {apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b, name: b}}\n",
            &[
                "-:5:75: the key `name` is here twice, first in line 5 (duplicate-key)",
                "-:4:3: a Pod of v1 is nothing that Millrace serves: skipped (warning)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {}}\nspec: {delivery: {retry: 1, retry: 2}}\n",
            &["-:4:29: the key `retry` is here twice, first in line 4 (duplicate-key)"],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {}}\nspec: {delivery: !Ref x}\n",
            &["-:4:18: the tag `!Ref` is not supported here (yaml-unsupported)"],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {}}\nspec: {? [a, b] : c}\n",
            &["-:4:10: a key must be a text (yaml-unsupported)"],
        ),
        (
            "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: x, a: y}}\n",
            &[
                "-:1:72: the key `a` is here twice, first in line 1 (duplicate-key)",
                "-:1:75: stringData.a: a text is expected, but YAML reads y as a boolean; write it in quotes: \"y\" (not-a-string)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Service\nkind: Trigger\nmetadata: {name: t}\n",
            &[
                "-:3:1: the key `kind` is here twice, first in line 2 (duplicate-key)",
                "-:1:1: a Service of eventing.knative.dev/v1 is nothing that Millrace serves: skipped (warning)",
            ],
        ),
        (
            "a: !thing x\n",
            &["-:1:4: the tag `!thing` is not supported here (yaml-unsupported)"],
        ),
    ]);
}

#[test]
fn merge_keys() {
    say(&[
        (
            "x: &x {retry: 1}\n",
            &[
                "-:1:1: apiVersion: this field is required (missing-field)",
                "-:1:1: kind: this field is required (missing-field)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: &s {uri: http://a/}\n  delivery: {<<: {retry: 1, timeout: PT1S}, retry: 2}\n",
            &[],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {<<: [{retry: 1}, {retry: many}]}\n",
            &[],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {<<: 5}\n",
            &["-:9:18: a merge key (`<<`) takes a mapping, or a list of mappings (yaml-unsupported)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {<<: {retry: 1}, <<: {timeout: PT1S}}\n",
            &[
                "-:9:30: the key `<<` is here twice, first in line 9; write `<<: [*one, *other]` (duplicate-key)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {<<: {retires: 1}}\n",
            &[
                "-:9:19: spec.delivery.retires: there is no such field; there are deadLetterSink, retry, backoffPolicy, backoffDelay, backoffMax, timeout, retryAfterMax, format (unknown-field)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {\"<<\": {retry: 1}}\n",
            &[
                "-:9:14: spec.delivery.<<: there is no such field; there are deadLetterSink, retry, backoffPolicy, backoffDelay, backoffMax, timeout, retryAfterMax, format (unknown-field)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {<<: *none}\n",
            &[
                "-:9:18: the alias `*none` stands for nothing: no anchor `&none` is before it in this document (yaml-syntax)",
            ],
        ),
        (
            "a: *b\n",
            &[
                "-:1:4: the alias `*b` stands for nothing: no anchor `&b` is before it in this document (yaml-syntax)",
            ],
        ),
        (
            "a: [*b, 1]\n",
            &[
                "-:1:5: the alias `*b` stands for nothing: no anchor `&b` is before it in this document (yaml-syntax)",
            ],
        ),
        (
            "a: &a [*a]\n",
            &["-:1:8: an alias must not stand within what it stands for (yaml-unsupported)"],
        ),
    ]);
}

#[test]
fn templates_byte_order_marks_and_what_is_no_document() {
    say(&[
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: {{ .Release.Name }}}\n",
            &[
                "-:3:19: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (yaml-template)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: {{ .Release.Name }}\n",
            &[
                "-:4:10: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (yaml-template)",
            ],
        ),
        (
            "{{- if .Values.on }}\napiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n{{- end }}\n",
            &[
                "-:1:3: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (yaml-template)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: \"{{ .Release.Name }}\"}\n",
            &[
                "-:3:18: metadata.name: `{{ .Release.Name }}` is not a name: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (bad-name)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, namespace: \"{{ .Release.Namespace }}\"}\n",
            &[
                "-:3:32: metadata.namespace: `{{ .Release.Namespace }}` is not a namespace: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (bad-name)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: \"http://{{ .host }}/\"}\n",
            &[
                "-:8:21: spec.subscriber.uri: this is a template (`{{ … }}`) that is not rendered: render it first, as with `helm template` (bad-uri)",
            ],
        ),
        (
            "\u{feff}{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n",
            &[],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\n\u{feff}apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: c}\n",
            &[
                "-:3:1: here is a byte order mark (U+FEFF), which may only be the first character of a file: remove it (yaml-syntax)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n\u{feff}---\napiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: c}\n",
            &[],
        ),
        (
            "name: chart\nversion: 1\n",
            &[
                "-:1:1: apiVersion: this field is required (missing-field)",
                "-:1:1: kind: this field is required (missing-field)",
            ],
        ),
        (
            "just a text\n",
            &["-:1:1: a mapping is expected, but this is a text (wrong-type)"],
        ),
        (
            "- a\n",
            &["-:1:1: a mapping is expected, but this is a list (wrong-type)"],
        ),
        ("", &[]),
        ("# nothing\n---\n", &[]),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Triger\nmetadata: {name: t}\n",
            &[
                "-:1:1: a Triger of eventing.knative.dev/v1 is nothing that Millrace serves: skipped; did you mean `Trigger`? (warning)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1beta1\nkind: Broker\nmetadata: {name: t}\n",
            &[
                "-:1:13: apiVersion: there is no Broker of eventing.knative.dev/v1beta1; write eventing.knative.dev/v1 (unsupported-version)",
            ],
        ),
        (
            "a: [1\nb: 2\n",
            &["-:2:2: this is not YAML: illegal placement of ':' indicator (yaml-syntax)"],
        ),
        (
            "a: b: c\n",
            &["-:1:5: this is not YAML: mapping values are not allowed in this context (yaml-syntax)"],
        ),
        (
            "a:\n\t- b\n",
            &[
                "-:2:2: this is not YAML: tabs disallowed within this context (block indentation) (yaml-syntax)",
            ],
        ),
    ]);
}

#[test]
fn did_you_mean() {
    say(&[
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  filters: [{and: [{exact: {type: a}}]}]\n  subscriber: {uri: http://a/}\n",
            &[
                "-:8:14: spec.filters[0].and: there is no such filter dialect; did you mean `all`? (unknown-dialect)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  filters: [{or: [{exact: {type: a}}]}]\n  subscriber: {uri: http://a/}\n",
            &[
                "-:8:14: spec.filters[0].or: there is no such filter dialect; did you mean `any`? (unknown-dialect)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  filters: [{OR: []}]\n  subscriber: {uri: http://a/}\n",
            &[
                "-:8:14: spec.filters[0].OR: there is no such filter dialect; did you mean `any`? (unknown-dialect)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  filters: [{none: {exact: {type: a}}}]\n  subscriber: {uri: http://a/}\n",
            &[
                "-:8:14: spec.filters[0].none: there is no such filter dialect; did you mean `not`? (unknown-dialect)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  filters: [{an: []}]\n  subscriber: {uri: http://a/}\n",
            &[
                "-:8:14: spec.filters[0].an: there is no such filter dialect; there are exact, prefix, suffix, cesql, jsonpath, all, any, not (unknown-dialect)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  filters: [{nor: []}]\n  subscriber: {uri: http://a/}\n",
            &[
                "-:8:14: spec.filters[0].nor: there is no such filter dialect; there are exact, prefix, suffix, cesql, jsonpath, all, any, not (unknown-dialect)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  filters: [{exakt: {type: a}}]\n  subscriber: {uri: http://a/}\n",
            &[
                "-:8:14: spec.filters[0].exakt: there is no such filter dialect; did you mean `exact`? (unknown-dialect)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  filters: [{startsWith: {type: a}}]\n  subscriber: {uri: http://a/}\n",
            &[
                "-:8:14: spec.filters[0].startsWith: there is no such filter dialect; did you mean `prefix`? (unknown-dialect)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  filters: [{sql: \"type = 'a'\"}]\n  subscriber: {uri: http://a/}\n",
            &[
                "-:8:14: spec.filters[0].sql: there is no such filter dialect; did you mean `cesql`? (unknown-dialect)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  filters: [{regex: {type: a}}]\n  subscriber: {uri: http://a/}\n",
            &[
                "-:8:14: spec.filters[0].regex: there is no such filter dialect; there are exact, prefix, suffix, cesql, jsonpath, all, any, not (unknown-dialect)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscribr: {uri: http://a/}\n",
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
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: \"http://a/\\n\"}\n",
            &[
                "-:8:21: spec.subscriber.uri: the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-` (bad-uri)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber:\n    uri: |\n      http://a/\n",
            &[
                "-:10:7: spec.subscriber.uri: the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-` (bad-uri)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: \" http://a/\"}\n",
            &["-:8:21: spec.subscriber.uri: there are blanks around it: remove them (bad-uri)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: \"http://a/ \"}\n",
            &["-:8:21: spec.subscriber.uri: there are blanks around it: remove them (bad-uri)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: \"http://a b/\"}\n",
            &[
                "-:8:21: spec.subscriber.uri: a URL has no spaces and no characters beyond ASCII: percent-encode them (bad-uri)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: |\n    b\n  subscriber: {uri: http://a/}\n",
            &[
                "-:8:5: spec.broker: `b\\n` is not a name: the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-` (bad-name)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: \"b \"\n  subscriber: {uri: http://a/}\n",
            &["-:7:11: spec.broker: `b ` is not a name: there are blanks around it: remove them (bad-name)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: 010}\n",
            &[
                "-:9:21: spec.delivery.retry: `010` is 8 to YAML 1.1 and 10 to YAML 1.2: write 8 or 10 (bad-number)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: 007}\n",
            &["-:9:21: spec.delivery.retry: `007`: write it without zeros before it: 7 (bad-number)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: 089}\n",
            &["-:9:21: spec.delivery.retry: `089`: write it without zeros before it: 89 (bad-number)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: 0x10}\n",
            &["-:9:21: spec.delivery.retry: `0x10`: write it in decimal digits: 16 (bad-number)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: 0o17}\n",
            &["-:9:21: spec.delivery.retry: `0o17`: write it in decimal digits: 15 (bad-number)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: 0b11}\n",
            &["-:9:21: spec.delivery.retry: `0b11`: write it in decimal digits: 3 (bad-number)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: 1_000}\n",
            &["-:9:21: spec.delivery.retry: `1_000`: write it in decimal digits: 1000 (bad-number)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: 1e3}\n",
            &["-:9:21: spec.delivery.retry: `1e3` is not a whole number (bad-number)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: 5.0}\n",
            &["-:9:21: spec.delivery.retry: `5.0` is not a whole number (bad-number)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: \"5\"}\n",
            &[
                "-:9:21: spec.delivery.retry: a whole number is expected: write it without quotes (wrong-type)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: -1}\n",
            &["-:9:21: spec.delivery.retry: -1 is not between 0 and 2147483647 (out-of-range)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {retry: 00}\n",
            &["-:9:21: spec.delivery.retry: `00`: write it without zeros before it: 0 (bad-number)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {backoffDelay: 5s}\n",
            &[
                "-:9:28: spec.delivery.backoffDelay: `5s`: Knative's fields take ISO 8601 durations only; write for example PT0.2S, PT1M30S or P1D (bad-duration)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {backoffDelay: \"PT5S \"}\n",
            &[
                "-:9:28: spec.delivery.backoffDelay: `PT5S `: there are blanks around it: remove them (bad-duration)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {timeout: 5}\n",
            &[
                "-:9:23: spec.delivery.timeout: a duration is expected, not a number: PT5S is in seconds (bad-duration)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {timeout: PT5}\n",
            &[
                "-:9:23: spec.delivery.timeout: `PT5`: this is not an ISO 8601 duration; write for example PT0.2S, PT1M30S or P1D (bad-duration)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {backoffPolicy: \"linear\\n\"}\n",
            &[
                "-:9:29: spec.delivery.backoffPolicy: `linear\\n` is not known here: the text ends with a line break, as a block with `|` or `>` does: write it on the line of its key, or use `|-` (unknown-value)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {backoffPolicy: Linear}\n",
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
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {millrace.dev/retention-age: 24h, millrace.dev/retention-bytes: 1GiB, millrace.dev/backlog-bytes: 512MB}}\nspec: {}\n",
            &[],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {millrace.dev/retention-age: PT24H, millrace.dev/retention-bytes: 1Gi}}\nspec: {}\n",
            &[],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {millrace.dev/retention-age: 24}}\nspec: {}\n",
            &[
                "-:3:63: metadata.annotations[millrace.dev/retention-age]: `24`: this is not a duration; write for example 500ms, 30s, 1h30m, 24h or 2d, or as ISO 8601 PT30S or P1D (bad-duration)",
                "-:3:63: metadata.annotations[millrace.dev/retention-age]: write it in quotes: Kubernetes refuses an annotation that is a number (warning)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {millrace.dev/retention-age: 24hours}}\nspec: {}\n",
            &[
                "-:3:63: metadata.annotations[millrace.dev/retention-age]: `24hours`: this is not a duration; write for example 500ms, 30s, 1h30m, 24h or 2d, or as ISO 8601 PT30S or P1D (bad-duration)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {millrace.dev/retention-age: P1M}}\nspec: {}\n",
            &[
                "-:3:63: metadata.annotations[millrace.dev/retention-age]: `P1M`: years and months have no fixed length; write days, for example P30D (bad-duration)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {millrace.dev/retention-bytes: 1gb}}\nspec: {}\n",
            &[
                "-:3:65: metadata.annotations[millrace.dev/retention-bytes]: this is not a number of bytes; write for example 1048576, 64Mi or 1Gi (bad-number)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {millrace.dev/retention-bytes: 1.5Gi}}\nspec: {}\n",
            &[
                "-:3:65: metadata.annotations[millrace.dev/retention-bytes]: this is not a number of bytes; write for example 1048576, 64Mi or 1Gi (bad-number)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {name: c}\nspec:\n  schedule: '@daily'\n  jitter: 90s\n  catchUpMaxAge: 2d\n  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}\n",
            &[],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {name: c}\nspec:\n  schedule: '@daily'\n  jitter: 2d\n  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}\n",
            &["-:8:11: spec.jitter: the jitter may be at most 24h (out-of-range)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {name: c}\nspec:\n  schedule: '@daily'\n  jitter: 5 s\n  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}\n",
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
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a/}\n  delivery: {deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}}\n",
            &[
                "-:9:30: spec.delivery.deadLetterSink: dead letters go back into the Broker default/b that they come from: each Trigger that matches them gets them again, and so on until their TTL ends (warning)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {}}\nspec: {delivery: {deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}}}\n",
            &[
                "-:4:35: spec.delivery.deadLetterSink: dead letters go back into the Broker default/b that they come from: each Trigger that matches them gets them again, and so on until their TTL ends (warning)",
            ],
        ),
        (
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {}}\nspec: {delivery: {deadLetterSink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: lost}}}}\n",
            &[
                "-:4:35: spec.delivery.deadLetterSink: dead letters are parked: there is no Broker default/lost (warning)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: lost\n  subscriber: {uri: http://a/}\n",
            &[
                "-:7:11: spec.broker: there is no Broker default/lost in these files; the Trigger waits for it (warning)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://u:p@a/}\n",
            &["-:8:21: spec.subscriber.uri: a URL must not hold a user name or password (bad-uri)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: http://a:0/}\n",
            &["-:8:21: spec.subscriber.uri: the port of a URL is a number from 1 to 65535 (bad-uri)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {uri: /a}\n",
            &["-:8:21: spec.subscriber.uri: an absolute URL with http:// or https:// is expected (bad-uri)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec:\n  broker: b\n  subscriber: {ref: {apiVersion: v1, kind: Service, name: s}}\n",
            &[
                "-:8:15: spec.subscriber: the Trigger is not ready: the address of Service default/s (v1) is known to Kubernetes only; without it, write a `uri` (warning)",
            ],
        ),
    ]);
}

#[test]
fn schedules() {
    say(&[
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {name: c}\nspec:\n  schedule: 0 0 * * Monday\n  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}\n",
            &[
                "-:7:13: spec.schedule: the day of week does not make sense: `Monday` is spelled out: write MON (bad-schedule)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {name: c}\nspec:\n  schedule: 0 22-2 * * *\n  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}\n",
            &[
                "-:7:13: spec.schedule: the hour does not make sense: `22-2` runs backwards: write 22-23,0-2 (bad-schedule)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {name: c}\nspec:\n  schedule: \"*,5 * * * *\"\n  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}\n",
            &[
                "-:7:13: spec.schedule: the minute does not make sense: `*,5`: `*` is every value already: write * or 5 (bad-schedule)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {name: c}\nspec:\n  schedule: 0 0 * * 8\n  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}\n",
            &[
                "-:7:13: spec.schedule: the day of week does not make sense: `8`: there are 0 to 7 (bad-schedule)",
            ],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {name: c}\nspec:\n  schedule: 0 0 30 2 *\n  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}\n",
            &["-:7:13: spec.schedule: no day is like that: this schedule would never come (bad-schedule)"],
        ),
        (
            "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}\n---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {name: c}\nspec:\n  schedule: '@daily'\n  timezone: UTC+8\n  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}\n",
            &[
                "-:8:13: spec.timezone: there is no time zone `UTC+8`; write `Etc/GMT-8`, whose sign is the other way round (bad-schedule)",
            ],
        ),
    ]);
}
