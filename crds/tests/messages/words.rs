//! What is said about words that were nearly right, and about texts that give away what went wrong.

use super::{broker, cron, say, trigger};

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
