//! What is said about values that are read and make no sense: units, destinations, schedules and numbers.

use super::{broker, cron, say, trigger};

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
