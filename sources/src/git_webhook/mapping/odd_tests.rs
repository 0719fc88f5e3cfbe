//! Whatever a call says, an event comes of it.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::super::payload::Payload;
use super::github_table::{Source, TABLE};
use super::*;
use millrace_model::source::git_webhook::{EventFields, Verification};

/// Something that a forge should not send, or not there.
fn odd(chance: &mut Rng) -> Value {
    match chance.u8(..12) {
        0 => Value::Null,
        1 => json!(""),
        2 => json!("\u{0}\u{1b}[31m"),
        3 => json!("a\r\nce-id: b"),
        4 => json!("ü\u{fffe}\u{10ffff}"),
        5 => json!("x".repeat(chance.usize(1_000..70_000))),
        6 => json!(chance.i64(..)),
        7 => json!(1e308),
        8 => json!([[], {}, [{"a": "b"}]]),
        9 => json!({"links": {"self": "x"}, "login": [], "url": 7}),
        10 => json!("9999-99-99 99:99:99 +9999"),
        _ => json!("://%zz?#[]"),
    }
}

/// Puts a value at a path.
fn put(document: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            document.insert(path.to_owned(), value);
        }
        Some((name, rest)) => {
            let below = document.entry(name).or_insert_with(|| json!({}));
            if let Some(below) = below.as_object_mut() {
                put(below, rest, value);
            }
        }
    }
}

#[test]
fn an_event_comes_of_whatever_a_call_says() {
    let seed = 20_131_203;
    let mut chance = Rng::with_seed(seed);
    let general = [
        "action",
        "object_kind",
        "event_name",
        "object_attributes.noteable_type",
        "object_attributes.state",
        "object_attributes.url",
        "repository.url",
        "repository.full_name",
        "repository.html_url",
        "project.web_url",
        "pullrequest.id",
        "date",
        "pages",
        "compare",
        "comment.html_url",
        "sender.url",
        "ref_type",
        "state",
        "scope",
        "release",
        "pullRequest.toRef.repository.project.key",
        "pullRequest.toRef.repository.slug",
    ];
    let forges = [
        Forge::Github,
        Forge::Gitlab,
        Forge::Bitbucket,
        Forge::BitbucketServer,
        Forge::Gitea,
        Forge::Forgejo,
        Forge::Generic,
    ];
    for round in 0..2_000 {
        let row = chance.choice(TABLE).expect("rows");
        let mut document = Map::new();
        let own = row.subject.iter().chain(row.time).copied();
        let source = if let Source::At(path) = row.source {
            path
        } else {
            "comment.url"
        };
        for path in own.chain(general).chain([source]) {
            if chance.bool() {
                put(&mut document, path, odd(&mut chance));
            }
        }
        let body = serde_json::to_vec(&document).expect("JSON");
        let mut headers = HeaderMap::new();
        for name in [
            "x-github-event",
            "x-gitlab-event",
            "x-event-key",
            "x-gitea-event",
            "x-github-delivery",
            "idempotency-key",
            "content-type",
        ] {
            let value = chance
                .choice([row.event, "", " ", "\u{e9}", "a b/c;d", "Push Hook"])
                .expect("values");
            headers.insert(
                http::HeaderName::from_static(name),
                http::HeaderValue::from_bytes(value.as_bytes()).expect("bytes"),
            );
        }
        let payload = Payload::read(&body).expect("JSON");
        for forge in forges {
            for mapping in [Mapping::Adapters, Mapping::Knative] {
                let spec = GitWebhook {
                    forge,
                    mapping,
                    verification: Verification::None,
                    secrets: Vec::new(),
                    requests_per_second: 1,
                    event: EventFields::default(),
                };
                let mapper = Mapper::new(&spec, &ObjectName::new("shop", "forge")).expect("a mapper");
                let call = Call {
                    headers: &headers,
                    payload: &payload,
                    data: &body,
                    received: Timestamp(0),
                };
                let event = mapper
                    .event(&call)
                    .unwrap_or_else(|invalid| panic!("seed {seed}, round {round}, {forge:?}: {invalid}"));
                assert_eq!(event.data().expect("data"), body);
            }
        }
    }
}
