//! What calls become, forge by forge: type, source, subject, id, time, and the extensions.

use http::HeaderName;
use millrace_model::source::git_webhook::{EventFields, Field, From, Verification};

use super::*;

/// When the calls come.
const RECEIVED: Timestamp = Timestamp(1_700_000_000_000);
const NOW: &str = "2023-11-14T22:13:20Z";

fn spec(forge: Forge, mapping: Mapping, event: EventFields) -> GitWebhook {
    GitWebhook {
        forge,
        verification: Verification::None,
        secrets: Vec::new(),
        mapping,
        requests_per_second: 1,
        event,
    }
}

fn event_of(spec: &GitWebhook, headers: &[(&'static str, &str)], body: &str) -> Event {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect();
    let payload = Payload::read(body.as_bytes()).unwrap();
    let call = Call {
        headers: &headers,
        payload: &payload,
        data: body.as_bytes(),
        received: RECEIVED,
    };
    let event = Mapper::new(spec, &ObjectName::new("shop", "forge"))
        .unwrap()
        .event(&call)
        .unwrap();
    assert_eq!(event.data().unwrap(), body);
    event
}

fn text(event: &Event, name: &str) -> String {
    event
        .get(name)
        .map(|value| value.text.to_owned())
        .unwrap_or_default()
}

/// Checks that a call becomes `type source subject time`.
fn becomes(forge: Forge, headers: &[(&'static str, &str)], body: &str, expected: [&str; 4]) {
    let event = event_of(
        &spec(forge, Mapping::Adapters, EventFields::default()),
        headers,
        body,
    );
    let found = ["type", "source", "subject", "time"].map(|name| text(&event, name));
    assert_eq!(found, expected, "{headers:?} {body}");
    assert_eq!(text(&event, "datacontenttype"), "application/json");
}

fn github(event: &str, body: &str, expected: [&str; 4]) {
    becomes(Forge::Github, &[("x-github-event", event)], body, expected);
}

#[test]
fn github_events_follow_the_table() {
    let repository = r#""repository":{"url":"https://r","name":"n","owner":{"url":"https://o"},"updated_at":"2020-01-01T00:00:00Z"}"#;
    let of = |rest: &str| format!("{{{rest},{repository}}}");
    for (event, body, expected) in [
        ("push", of(r#""ref":"refs/heads/main""#), ["push", "https://r", "refs/heads/main", NOW]),
        (
            "pull_request",
            of(r#""action":"opened","number":2,"pull_request":{"updated_at":"2019-05-15T15:20:33Z"}"#),
            ["pull_request.opened", "https://r", "2", "2019-05-15T15:20:33Z"],
        ),
        ("create", of(r#""ref_type":"tag","ref":"v1""#), ["create.tag", "https://r", "v1", NOW]),
        ("issue_comment", of(r#""action":"created","issue":{"url":"https://i"},"comment":{"id":7}"#), ["issue_comment.created", "https://i", "7", NOW]),
        ("commit_comment", of(r#""action":"created","comment":{"id":7,"url":"https://c","commit_id":"abc"}"#), ["commit_comment.created", "https://c/abc", "7", NOW]),
        ("deployment", of(r#""action":"created","deployment":{"id":1}"#), ["deployment", "https://r", "1", NOW]),
        ("deployment_status", of(r#""deployment":{"url":"https://d"},"deployment_status":{"state":"success","url":"https://s"}"#), ["deployment_status.success", "https://d", "https://s", NOW]),
        ("status", of(r#""state":"pending","sha":"abc","updated_at":"2019-05-15T15:20:40+00:00""#), ["status.pending", "https://r", "abc", "2019-05-15T15:20:40+00:00"]),
        ("membership", r#"{"action":"added","scope":"team","team":{"url":"https://t"},"member":{"login":"m"}}"#.to_owned(), ["membership.team.added", "https://t", "m", NOW]),
        ("marketplace_purchase", r#"{"action":"purchased","sender":{"url":"https://api/users/m"},"effective_date":"2017-10-25T00:00:00+00:00"}"#.to_owned(), ["marketplace_purchase.purchased", "https://api/users", "", "2017-10-25T00:00:00+00:00"]),
        ("release", of(r#""action":"published","release":{"id":9,"published_at":"2019-05-15T15:20:53Z"}"#), ["release.published", "https://r", "9", "2019-05-15T15:20:53Z"]),
        ("public", of(r#""x":1"#), ["public", "https://o", "n", "2020-01-01T00:00:00Z"]),
        ("security_advisory", r#"{"action":"published","security_advisory":{"ghsa_id":"G"}}"#.to_owned(), ["security_advisory.published", "github.com", "G", NOW]),
        ("installation", r#"{"action":"created","installation":{"id":2,"account":{"url":"https://a"},"updated_at":1557933591}}"#.to_owned(), ["installation.created", "https://a", "2", "2019-05-15T15:19:51Z"]),
        ("repository_dispatch", of(r#""action":"on-demand""#), ["repository_dispatch.on-demand", "https://o", "", NOW]),
        ("ping", r#"{"zen":"z","hook_id":30}"#.to_owned(), ["ping", "https://github.com", "30", NOW]),
    ] {
        let ty = format!("com.github.{}", expected[0]);
        github(event, &body, [&ty, expected[1], expected[2], expected[3]]);
    }
}

#[test]
fn what_github_invents_next_becomes_an_event_too() {
    github(
        "moon_landing",
        r#"{"action":"began","organization":{"url":"https://o"}}"#,
        ["com.github.moon_landing.began", "https://o", "", NOW],
    );
    github(
        "moon_landing",
        "[]",
        ["com.github.moon_landing", "https://github.com", "", NOW],
    );
    github(
        "odd event/1",
        r#"{"action":"a\u0000b"}"#,
        ["com.github.odd_event_1", "https://github.com", "", NOW],
    );
    github(
        "push",
        r#"{"ref":"a\nb","repository":{"url":"not a uri"}}"#,
        ["com.github.push", "https://github.com", "", NOW],
    );
    github(
        "issues",
        r#"{"action":7,"issue":{"number":null,"updated_at":"soon"}}"#,
        ["com.github.issues.7", "https://github.com", "", NOW],
    );
}

#[test]
fn an_enterprise_server_stands_for_what_names_no_source() {
    for (host, body, expected) in [
        ("ghe.example.com:8443", "{}", "https://ghe.example.com:8443"),
        (
            "ghe.example.com",
            r#"{"repository":{"url":"https://r"}}"#,
            "https://r",
        ),
        ("a b", "{}", "https://github.com"),
        ("a:b:c", "{}", "https://github.com"),
        ("[", "{}", "https://github.com"),
    ] {
        let headers = [
            ("x-github-event", "enterprise"),
            ("x-github-enterprise-host", host),
        ];
        becomes(
            Forge::Github,
            &headers,
            body,
            ["com.github.enterprise", expected, "", NOW],
        );
    }
}

#[test]
fn gitlab_events_follow_the_table() {
    let gitlab = |event: &str, body: &str, expected| {
        becomes(
            Forge::Gitlab,
            &[("x-gitlab-event", event), ("x-gitlab-instance", "https://lab")],
            body,
            expected,
        );
    };
    gitlab(
        "Push Hook",
        r#"{"object_kind":"push","checkout_sha":"da1","repository":{"homepage":"https://h"}}"#,
        ["com.gitlab.push", "https://h", "da1", NOW],
    );
    gitlab(
        "Tag Push Hook",
        r#"{"object_kind":"tag_push","ref":"refs/tags/v1","repository":{"homepage":"https://h"}}"#,
        ["com.gitlab.tag_push", "https://h", "refs/tags/v1", NOW],
    );
    gitlab(
        "Issue Hook",
        r#"{"object_kind":"issue","object_attributes":{"iid":23,"state":"opened","action":"open"},"repository":{"homepage":"https://h"}}"#,
        ["com.gitlab.issue.opened", "https://h", "23", NOW],
    );
    gitlab(
        "Note Hook",
        r#"{"object_kind":"note","object_attributes":{"id":1243,"noteable_type":"Commit","created_at":"2015-05-17 18:08:09 UTC"},"commit":{"url":"https://c"}}"#,
        [
            "com.gitlab.note.commit",
            "https://c",
            "1243",
            "2015-05-17T18:08:09Z",
        ],
    );
    gitlab(
        "Note Hook",
        r#"{"object_kind":"note","object_attributes":{"id":1,"noteable_type":"MergeRequest","url":"https://m/1#note_1"}}"#,
        ["com.gitlab.note.merge_request", "https://m/1", "1", NOW],
    );
    gitlab(
        "Merge Request Hook",
        r#"{"object_kind":"merge_request","object_attributes":{"iid":1,"action":"open","created_at":"2013-12-03T17:23:34Z"},"repository":{"homepage":"https://h"}}"#,
        [
            "com.gitlab.merge_request.open",
            "https://h",
            "1",
            "2013-12-03T17:23:34Z",
        ],
    );
    gitlab(
        "Wiki Page Hook",
        r#"{"object_kind":"wiki_page","object_attributes":{"slug":"home","action":"create"},"project":{"web_url":"https://p"}}"#,
        ["com.gitlab.wiki_page.create", "https://p", "home", NOW],
    );
    gitlab(
        "Pipeline Hook",
        r#"{"object_kind":"pipeline","object_attributes":{"id":31,"status":"success"},"project":{"web_url":"https://p"}}"#,
        ["com.gitlab.pipeline.success", "https://p", "31", NOW],
    );
    gitlab(
        "Job Hook",
        r#"{"object_kind":"build","build_status":"created","build_id":1977,"repository":{"homepage":"https://h"}}"#,
        ["com.gitlab.job.created", "https://h", "1977", NOW],
    );
    gitlab(
        "Release Hook",
        r#"{"object_kind":"release","action":"create","project":{"web_url":"https://p"}}"#,
        ["com.gitlab.release.create", "https://p", "", NOW],
    );
    gitlab(
        "System Hook",
        r#"{"event_name":"project_create","name":"n"}"#,
        ["com.gitlab.project_create", "https://lab", "", NOW],
    );
    gitlab(
        "Confidential Issue Hook",
        "{}",
        ["com.gitlab.confidential_issue", "https://lab", "", NOW],
    );
}

#[test]
fn the_other_forges_follow_the_same_manner() {
    let cloud =
        |key, body: &str, expected| becomes(Forge::Bitbucket, &[("x-event-key", key)], body, expected);
    cloud(
        "repo:push",
        r#"{"push":{"changes":[{"new":{"name":"main"}}]},"repository":{"full_name":"o/r"}}"#,
        [
            "org.bitbucket.repo.push",
            "https://bitbucket.org/o/r",
            "main",
            NOW,
        ],
    );
    cloud(
        "pullrequest:created",
        r#"{"pullrequest":{"id":1,"updated_on":"2018-02-06T10:00:00.5+00:00"},"repository":{"links":{"html":{"href":"https://b/o/r"}}}}"#,
        [
            "org.bitbucket.pullrequest.created",
            "https://b/o/r",
            "1",
            "2018-02-06T10:00:00.5+00:00",
        ],
    );
    cloud(
        "new:kind",
        "{}",
        ["org.bitbucket.new.kind", "https://bitbucket.org", "", NOW],
    );

    let center =
        |key, body: &str, expected| becomes(Forge::BitbucketServer, &[("x-event-key", key)], body, expected);
    center(
        "repo:refs_changed",
        r#"{"date":"2017-09-19T09:45:32+1000","repository":{"slug":"r","project":{"key":"P"}},"changes":[{"ref":{"id":"refs/heads/main"}}]}"#,
        [
            "com.atlassian.bitbucket.repo.refs_changed",
            "/projects/P/repos/r",
            "refs/heads/main",
            "2017-09-19T09:45:32+10:00",
        ],
    );
    center(
        "pr:opened",
        r#"{"pullRequest":{"id":1,"toRef":{"repository":{"links":{"self":[{"href":"https://b"}]}}}}}"#,
        ["com.atlassian.bitbucket.pr.opened", "https://b", "1", NOW],
    );
    center(
        "diagnostics:ping",
        r#"{"test":true}"#,
        ["com.atlassian.bitbucket.diagnostics.ping", "/bitbucket", "", NOW],
    );

    let repository = r#""repository":{"html_url":"https://g/o/r","url":"https://api"}"#;
    let push = format!(r#"{{"ref":"refs/heads/main",{repository}}}"#);
    becomes(
        Forge::Gitea,
        &[("x-gitea-event", "push"), ("x-github-event", "push")],
        &push,
        ["io.gitea.push", "https://g/o/r", "refs/heads/main", NOW],
    );
    let opened = format!(
        r#"{{"action":"opened","number":3,"pull_request":{{"number":3,"updated_at":"2020-01-01T00:00:00+01:00"}},{repository}}}"#
    );
    becomes(
        Forge::Forgejo,
        &[("x-forgejo-event", "pull_request")],
        &opened,
        [
            "org.forgejo.pull_request.opened",
            "https://g/o/r",
            "3",
            "2020-01-01T00:00:00+01:00",
        ],
    );
    becomes(
        Forge::Gitea,
        &[("x-gitea-event", "create")],
        r#"{"ref":"v1","ref_type":"tag"}"#,
        ["io.gitea.create.tag", "/gitea", "v1", NOW],
    );
}

#[test]
fn a_delivery_keeps_its_id_and_one_without_gets_its_own() {
    for (forge, header) in [
        (Forge::Github, "x-github-delivery"),
        (Forge::Gitlab, "idempotency-key"),
        (Forge::Gitlab, "webhook-id"),
        (Forge::Bitbucket, "x-request-uuid"),
        (Forge::BitbucketServer, "x-request-id"),
        (Forge::Gitea, "x-gitea-delivery"),
        (Forge::Forgejo, "x-forgejo-delivery"),
    ] {
        let spec = spec(forge, Mapping::Adapters, EventFields::default());
        assert_eq!(
            event_of(&spec, &[(header, "72d3162e")], "{}").id(),
            "72d3162e",
            "{header}"
        );
        assert_eq!(event_of(&spec, &[], "{}").id().len(), 36);
    }
}

#[test]
fn knative_events_are_those_of_knatives_sources() {
    let github = spec(Forge::Github, Mapping::Knative, EventFields::default());
    let body = r#"{"ref":"refs/heads/main","compare":"https://github.com/o/r/compare/a...b","created":false,"pusher":{"name":"p"},
        "repository":{"full_name":"o/r","name":"r","owner":{"login":"o"}},"sender":{"login":"s"},"installation":{"id":5}}"#;
    let event = event_of(
        &github,
        &[("x-github-event", "push"), ("x-github-delivery", "d")],
        body,
    );
    for (name, expected) in [
        ("type", "dev.knative.source.github.push"),
        ("source", "https://github.com/o/r"),
        ("subject", "a...b"),
        ("id", "d"),
        ("owner", "o"),
        ("repository", "r"),
        ("sender", "s"),
        ("pusher", "p"),
        ("ref", "refs/heads/main"),
        ("created", "false"),
        ("installation", "5"),
        ("action", ""),
    ] {
        assert_eq!(text(&event, name), expected, "{name}");
    }
    for (event, body, subject) in [
        (
            "gollum",
            r#"{"pages":[{"page_name":"Home"},{"page_name":"Main"}]}"#,
            "Home,Main",
        ),
        (
            "issue_comment",
            r#"{"comment":{"html_url":"https://g/o/r/issues/2#issuecomment-3"}}"#,
            "2#issuecomment-3",
        ),
        ("release", r#"{"release":{"tag_name":"v1"}}"#, "v1"),
        ("workflow_run", r#"{"action":"completed"}"#, ""),
    ] {
        let found = event_of(&github, &[("x-github-event", event)], body);
        assert_eq!(text(&found, "subject"), subject, "{event}");
        assert_eq!(found.ty(), format!("dev.knative.source.github.{event}"));
    }

    let gitlab = spec(Forge::Gitlab, Mapping::Knative, EventFields::default());
    let body = r#"{"object_kind":"merge_request","project":{"web_url":"https://p"}}"#;
    let event = event_of(&gitlab, &[("x-gitlab-event", "Merge Request Hook")], body);
    let found = ["type", "source", "comgitlabevent", "subject"].map(|name| text(&event, name));
    assert_eq!(
        found,
        [
            "dev.knative.sources.gitlab.merge_request",
            "https://p",
            "Merge Request Hook",
            ""
        ]
    );
}

#[test]
fn a_generic_event_says_what_the_document_does() {
    let field = |from| Field {
        from,
        prefix: String::new(),
        default: None,
    };
    let fields = EventFields {
        ty: Some(Field {
            prefix: "com.azure.".to_owned(),
            default: Some("com.azure.other".to_owned()),
            ..field(From::JsonPath("$.eventType".to_owned()))
        }),
        source: Some(field(From::Const("https://dev.azure.com/acme".to_owned()))),
        subject: Some(field(From::Header("x-subject".to_owned()))),
        id: Some(field(From::BodyHash)),
        time: Some(field(From::JsonPath("$.at".to_owned()))),
        extensions: vec![("team".to_owned(), field(From::JsonPath("$.teams[0]".to_owned())))],
    };
    let spec = spec(Forge::Generic, Mapping::Adapters, fields);
    let body = r#"{"eventType":"git.push","at":1557933565,"teams":["a","b"]}"#;
    let event = event_of(
        &spec,
        &[("x-subject", "s"), ("content-type", "application/x+json")],
        body,
    );
    for (name, expected) in [
        ("type", "com.azure.git.push"),
        ("source", "https://dev.azure.com/acme"),
        ("subject", "s"),
        ("time", "2019-05-15T15:19:25Z"),
        ("team", "a"),
        ("datacontenttype", "application/x+json"),
    ] {
        assert_eq!(text(&event, name), expected, "{name}");
    }
    assert_eq!(event.id(), event_of(&spec, &[], body).id());
    assert_eq!(event_of(&spec, &[], "{}").ty(), "com.azure.other");
}

#[test]
fn a_generic_event_of_which_nothing_is_said_is_one_all_the_same() {
    let mut spec = spec(Forge::Generic, Mapping::Adapters, EventFields::default());
    let event = event_of(&spec, &[("webhook-id", "msg_1")], "[]");
    assert_eq!(event.ty(), "dev.millrace.webhook");
    assert_eq!(
        event.source(),
        "/apis/sources.millrace.dev/v1alpha1/namespaces/shop/gitwebhooksources/forge"
    );
    assert_eq!(text(&event, "time"), NOW);
    assert_eq!(event.id().len(), 36);
    spec.verification = Verification::StandardWebhooks;
    let signed = [("webhook-id", "msg_1"), ("webhook-signature", "v1,x")];
    assert_eq!(event_of(&spec, &signed, "[]").id(), "msg_1");
}

#[test]
fn no_unsigned_header_changes_the_id_of_a_signed_call() {
    let mut generic = spec(Forge::Generic, Mapping::Adapters, EventFields::default());
    generic.verification = Verification::StandardWebhooks;
    let gitlab = spec(Forge::Gitlab, Mapping::Adapters, EventFields::default());
    let knative = spec(Forge::Gitlab, Mapping::Knative, EventFields::default());
    for spec in [&generic, &gitlab, &knative] {
        for (signed, other) in [("webhook", "svix"), ("svix", "webhook")] {
            let names = [
                format!("{signed}-id"),
                format!("{signed}-signature"),
                format!("{other}-id"),
            ];
            let [id, signature, other] =
                names.map(|name| HeaderName::try_from(name).expect("the name of a header"));
            let mut headers = HeaderMap::new();
            for (name, value) in [(id, "signed"), (signature, "v1,x"), (other, "added")] {
                headers.insert(name, value.parse().expect("a value"));
            }
            headers.insert("idempotency-key", "added".parse().expect("a value"));
            let payload = Payload::read(b"{}").expect("JSON");
            let call = Call {
                headers: &headers,
                payload: &payload,
                data: b"{}",
                received: RECEIVED,
            };
            let mapper = Mapper::new(spec, &ObjectName::new("shop", "forge")).expect("a mapper");
            let event = mapper.event(&call).expect("an event");
            assert_eq!(event.id(), "signed", "{:?} {headers:?}", spec.forge);
        }
    }
}
