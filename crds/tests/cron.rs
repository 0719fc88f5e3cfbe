//! CronSource documents: what they become, and what is refused with which words.

use std::time::Duration;

use millrace_crds::{Loaded, load_text};
use millrace_model::source::{CatchUp, Cron};
use millrace_model::{SourceSpec, Target};

/// A CronSource whose `spec` begins in line 5, and its Broker.
fn document(spec: &str) -> String {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {{name: tick, namespace: shop}}\nspec:\n{indented}\
         \n  sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}}}\n---\n\
         {{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {{name: default, namespace: shop}}}}\n"
    )
}

fn cron(spec: &str) -> Cron {
    let Loaded { mesh, problems, .. } = load_text(&document(spec));
    let mesh = mesh.unwrap_or_else(|| panic!("{problems:#?}"));
    let source = mesh.sources.values().next().expect("a source");
    assert!(matches!(&source.sink, Ok(Target::Broker(broker)) if broker.to_string() == "shop/default"));
    let SourceSpec::Cron(cron) = &source.spec else {
        panic!("not a CronSource: {:?}", source.spec)
    };
    cron.as_ref().clone()
}

#[test]
fn a_schedule_alone_is_enough() {
    let cron = cron("schedule: \"*/5 * * * *\"");
    assert_eq!(cron.schedule.to_string(), "*/5 * * * * (UTC)");
    assert_eq!((cron.content_type, cron.data), (None, None));
    assert_eq!((cron.jitter, cron.catch_up), (Duration::ZERO, CatchUp::Last));
    assert_eq!(cron.catch_up_max_age, Duration::from_secs(86_400));
}

#[test]
fn every_field_is_taken() {
    let cron = cron(
        "schedule: \"0 30 2 * * MON-FRI\"\ntimezone: europe/berlin\ncontentType: application/json\n\
         dataBase64: eyJqb2IiOiAi\n  dGlkeSJ9\njitter: 30s\ncatchUp: all\ncatchUpMaxAge: P3D",
    );
    assert_eq!(cron.schedule.to_string(), "0 30 2 * * MON-FRI (Europe/Berlin)");
    assert_eq!(cron.content_type.as_deref(), Some("application/json"));
    assert_eq!(cron.data.as_deref(), Some(br#"{"job": "tidy"}"#.as_slice()));
    assert_eq!(
        (cron.jitter, cron.catch_up),
        (Duration::from_secs(30), CatchUp::All)
    );
    assert_eq!(cron.catch_up_max_age, Duration::from_secs(3 * 86_400));
}

#[test]
fn every_fault_has_its_line_and_its_words() {
    let every = "schedule: \"@daily\"\n";
    let cases = [
        ("{}", "spec.schedule: this field is required (missing-field)"),
        (
            "schedule: \"@every 5m\"",
            "-:5:13: spec.schedule: `@every` has no fixed times",
        ),
        ("schedule: \"0 0 30 2 *\"", "would never come (bad-schedule)"),
        ("schedule: \"* * *\"", "this has 3 (bad-schedule)"),
        ("schedule: 5", "write it in quotes"),
        (
            &format!("{every}timezone: Europe/Berln"),
            "-:6:13: spec.timezone: there is no time zone `Europe/Berln`; did you mean `Europe/Berlin`? (bad-schedule)",
        ),
        (
            &format!("{every}timezone: UTC+8"),
            "-:6:13: spec.timezone: there is no time zone `UTC+8`; write `Etc/GMT-8`, whose sign is the other way round (bad-schedule)",
        ),
        (&format!("{every}timezone: GMT-05:00"), "write `Etc/GMT+5`,"),
        (&format!("{every}timezone: \"+0100\""), "write `Etc/GMT-1`,"),
        (&format!("{every}timezone: UTC+05:30"), "for example Asia/Kolkata"),
        (&format!("{every}timezone: UTC-13"), "write the name of a place"),
        (&format!("{every}timezone: UTC+00"), "`UTC+00`; write UTC"),
        (&format!("{every}timezone: PST"), "there is no time zone"),
        (
            &format!("{every}timezone: Local"),
            "write one of the IANA database",
        ),
        (
            &format!("{every}contentType: json"),
            "spec.contentType: this is not a media type",
        ),
        (
            &format!("{every}data: a\ndataBase64: YQ=="),
            "-:7:15: spec.dataBase64: `data` and `dataBase64` exclude each other (conflicting-fields)",
        ),
        (
            &format!("{every}dataBase64: \"%\""),
            "spec.dataBase64: this is not base64 (bad-data)",
        ),
        (
            &format!("{every}contentType: application/cloud+json\ndata: \"{{\""),
            "spec.data: `contentType` says that this is JSON, and it is not (bad-data)",
        ),
        (
            &format!("{every}jitter: P2D"),
            "spec.jitter: the jitter may be at most 24h (out-of-range)",
        ),
        (&format!("{every}jitter: 5 s"), "bad-duration"),
        (
            &format!("{every}catchUp: lst"),
            "did you mean `last`? (unknown-value)",
        ),
        (
            &format!("{every}catchUp: everything"),
            "there are `none`, `last` and `all` (unknown-value)",
        ),
        (
            &format!("{every}catchUpMaxAge: P1M"),
            "spec.catchUpMaxAge: `P1M`: years and months have no fixed length",
        ),
        (
            &format!("{every}ceOverrides: {{extensions: {{team: \"a\\n\"}}}}"),
            "spec.ceOverrides.extensions.team: ",
        ),
        (
            &format!("{every}ceOverrides: {{extensions: {{time: now}}}}"),
            "sets extensions, not the attributes of the specification (bad-override)",
        ),
        (
            &format!("{every}ceOverrides: {{extensions: {{Team: a}}}}"),
            "an attribute's name has lower-case letters and digits (bad-override)",
        ),
        (
            &format!("{every}timeZone: UTC"),
            "did you mean `timezone`? (unknown-field)",
        ),
    ];
    for (spec, expected) in cases {
        let spec = if spec == "{}" { "timezone: UTC" } else { spec };
        let problems = load_text(&document(spec)).problems;
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            shown.len() == 1 && shown[0].contains(expected),
            "{spec}: {shown:#?}"
        );
    }
}

#[test]
fn text_data_without_a_media_type_may_be_anything() {
    assert_eq!(
        cron("schedule: \"@daily\"\ndata: \"{\"").data.as_deref(),
        Some(b"{".as_slice())
    );
}
