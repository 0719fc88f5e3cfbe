//! Promise: a trigger gets exactly the events that its filters let pass, in every dialect, from attributes
//! and data.
//!
//! One mesh, a trigger for each row, and the same handful of events for all of them.

use bytes::Bytes;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::event::Message;
use millrace_tests::mesh::Setup;
use millrace_tests::{Event, Mesh, Sink, process};

/// What a row says: why, the filters in flow style, and the events that pass.
type Row = (&'static str, &'static str, &'static [&'static str]);

/// Pull requests and orders. `typed`, `base64` and `nothing` come as JSON events without `datacontenttype`,
/// the first with a Boolean and an Integer; the others come in binary mode. `odd` has data that only JSON's
/// grammar allows.
fn events() -> (Vec<Event>, [Message; 3]) {
    let merged = r#"{"action": "closed", "n": 3, "pull_request": {"merged": true, "labels": ["a", "b"]}, "user": null}"#;
    let open = r#"{"action": "opened", "n": 30, "pull_request": {"merged": false, "labels": []}}"#;
    let odd = r#"{"action": "odd", "n": 1e400, "half": "\ud800", "big": 123456789012345678901234567890, "deep": {"n": 1e400}}"#;
    let json = "application/json";
    let binary = vec![
        Event::new("odd", "git.odd").data(json, odd),
        Event::new("merged", "git.pull").data(json, merged),
        Event::new("open", "git.pull")
            .with("source", "/eu/repo")
            .with("region", "eu")
            .data("application/vnd.git+json; charset=utf-8", open),
        Event::new("text", "order.paid")
            .with("vip", "true")
            .data("text/plain", merged),
        Event::new("broken", "order.late")
            .with("count", "42")
            .data(json, "{\"action\": "),
        Event::new("bare", "order.paid").with("region", "us").no_data(),
    ];
    let typed = r#"{"specversion": "1.0", "id": "typed", "source": "/tests", "type": "order.paid", "vip": true,
                    "count": 42, "time": "2026-01-02T03:04:05.10+02:00", "data": {"action": "opened", "n": "3"}}"#;
    let headers = vec![(
        "content-type".to_owned(),
        "application/cloudevents+json".to_owned(),
    )];
    let others = ["base64\", \"data_base64\": \"e30=\"", "nothing\""].map(|rest| {
        format!("{{\"specversion\": \"1.0\", \"source\": \"/tests\", \"type\": \"bare\", \"id\": \"{rest}}}")
    });
    let [base64, nothing] = others;
    let message = |body: String| Message {
        headers: headers.clone(),
        body: Bytes::from(body),
    };
    (binary, [typed.to_owned(), base64, nothing].map(message))
}

const ATTRIBUTES: &[Row] = &[
    (
        "nothing is asked",
        "[]",
        &[
            "bare", "base64", "broken", "merged", "nothing", "odd", "open", "text", "typed",
        ],
    ),
    (
        "the media type that JSON data implies",
        "[{exact: {datacontenttype: application/json}}]",
        &["broken", "merged", "odd", "typed"],
    ),
    (
        "and nothing else does",
        "[{exact: {type: bare}}, {cesql: \"NOT EXISTS datacontenttype\"}]",
        &["base64", "nothing"],
    ),
    (
        "also in an expression",
        "[{cesql: \"EXISTS datacontenttype AND type = 'order.paid'\"}]",
        &["text", "typed"],
    ),
    (
        "the whole text",
        "[{exact: {type: git.pull}}]",
        &["merged", "open"],
    ),
    ("case matters", "[{exact: {type: Git.pull}}]", &[]),
    ("the beginning", "[{prefix: {source: /eu/}}]", &["open"]),
    ("the end", "[{suffix: {type: .late}}]", &["broken"]),
    (
        "what is missing never holds",
        "[{prefix: {region: e}}]",
        &["open"],
    ),
    (
        "so its contrary does",
        "[{not: {exact: {region: eu}}}]",
        &[
            "bare", "base64", "broken", "merged", "nothing", "odd", "text", "typed",
        ],
    ),
    (
        "all of a list",
        "[{exact: {type: order.paid}}, {exact: {region: us}}]",
        &["bare"],
    ),
    (
        "any of a list",
        "[{any: [{exact: {region: us}}, {suffix: {type: .late}}]}]",
        &["bare", "broken"],
    ),
    (
        "the time as it came",
        "[{prefix: {time: \"2026-01-02T03:04:05.10+\"}}]",
        &["typed"],
    ),
    (
        "an integer by its text",
        "[{exact: {count: \"42\"}}]",
        &["broken", "typed"],
    ),
];

const EXPRESSIONS: &[Row] = &[
    (
        "an equality",
        "[{cesql: \"type = 'git.pull'\"}]",
        &["merged", "open"],
    ),
    ("a pattern", "[{cesql: \"type LIKE '%.l_te'\"}]", &["broken"]),
    (
        "a set",
        "[{cesql: \"region IN ('eu', 'us')\"}]",
        &["bare", "open"],
    ),
    (
        "a missing attribute is an error",
        "[{cesql: \"region != 'eu'\"}]",
        &["bare"],
    ),
    (
        "which a NOT of the language does not turn",
        "[{cesql: \"NOT (region = 'eu')\"}]",
        &["bare"],
    ),
    (
        "and a not of the filter does",
        "[{not: {cesql: \"region = 'eu'\"}}]",
        &[
            "bare", "base64", "broken", "merged", "nothing", "odd", "text", "typed",
        ],
    ),
    (
        "short circuit",
        "[{cesql: \"type = 'order.late' OR region = 'us'\"}]",
        &["bare", "broken"],
    ),
    (
        "presence",
        "[{cesql: \"EXISTS region AND NOT EXISTS vip\"}]",
        &["bare", "open"],
    ),
    (
        "a Boolean is one only in a JSON event",
        "[{cesql: vip}]",
        &["typed"],
    ),
    (
        "and compares as one from everywhere",
        "[{cesql: \"vip = TRUE\"}]",
        &["text", "typed"],
    ),
    (
        "a text that is a number",
        "[{cesql: \"count > 41\"}]",
        &["broken", "typed"],
    ),
    (
        "a text that is none is an error",
        "[{cesql: \"region > 41\"}]",
        &[],
    ),
    (
        "functions",
        "[{cesql: \"LENGTH(UPPER(id)) = 4 AND LEFT(type, 5) = 'order'\"}]",
        &["bare", "text"],
    ),
    (
        "AND takes all that follows",
        "[{cesql: \"EXISTS count AND type = 'x' OR TRUE\"}]",
        &["broken", "typed"],
    ),
    (
        "brackets",
        "[{cesql: \"(EXISTS count AND type = 'x') OR region = 'us'\"}]",
        &["bare"],
    ),
    (
        "the broker's own attribute is absent",
        "[{cesql: EXISTS knativebrokerttl}]",
        &[],
    ),
    (
        "beside another dialect",
        "[{exact: {type: order.paid}}, {cesql: \"EXISTS vip\"}]",
        &["text", "typed"],
    ),
];

const DATA: &[Row] = &[
    (
        "something is there",
        "[{jsonpath: $.pull_request}]",
        &["merged", "open"],
    ),
    ("null is there", "[{jsonpath: $.user}]", &["merged"]),
    (
        "a condition",
        "[{jsonpath: \"$[?@.merged == true]\"}]",
        &["merged"],
    ),
    (
        "of the children, not of itself",
        "[{jsonpath: \"$.pull_request[?@.merged == true]\"}]",
        &[],
    ),
    (
        "deep below",
        "[{jsonpath: \"$..labels[?@ == 'b']\"}]",
        &["merged"],
    ),
    ("a text", "[{jsonpath: {$.action: opened}}]", &["open", "typed"]),
    ("a number is no text", "[{jsonpath: {$.n: 3}}]", &["merged"]),
    ("and a text no number", "[{jsonpath: {$.n: \"3\"}}]", &["typed"]),
    ("numbers as numbers", "[{jsonpath: {$.n: 3.0e+1}}]", &["open"]),
    ("null", "[{jsonpath: {$.user: null}}]", &["merged"]),
    (
        "all of the map",
        "[{jsonpath: {$.action: opened, $.n: 30}}]",
        &["open"],
    ),
    (
        "any of what is selected",
        "[{jsonpath: {\"$.pull_request.labels[*]\": b}}]",
        &["merged"],
    ),
    (
        "what is no JSON selects nothing",
        "[{not: {jsonpath: $.action}}]",
        &["bare", "base64", "broken", "nothing", "text"],
    ),
    (
        "odd members hide no others",
        "[{jsonpath: {$.action: odd}}]",
        &["odd"],
    ),
    (
        "a number that no double holds",
        "[{jsonpath: {$.n: 1e400}}]",
        &["odd"],
    ),
    (
        "is more than others",
        "[{jsonpath: \"$[?@.n > 1000]\"}]",
        &["odd"],
    ),
    ("and not less", "[{jsonpath: \"$[?@.n < 1000]\"}]", &[]),
    (
        "more than 64 bits are compared exactly",
        "[{jsonpath: {$.big: 123456789012345678901234567890}}]",
        &["odd"],
    ),
    (
        "to the last digit",
        "[{jsonpath: {$.big: 123456789012345678901234567891}}]",
        &[],
    ),
    (
        "half a pair is no text",
        "[{jsonpath: {$.half: \"\u{fffd}\"}}]",
        &[],
    ),
    (
        "beside an attribute",
        "[{jsonpath: {$.action: opened}}, {prefix: {type: order}}]",
        &["typed"],
    ),
];

#[tokio::test]
async fn each_event_passes_the_filters_that_the_tables_say() -> anyhow::Result<()> {
    let rows: Vec<&Row> = [ATTRIBUTES, EXPRESSIONS, DATA].into_iter().flatten().collect();
    let sink = Sink::start().await?;
    let mut documents = Documents::broker();
    for (n, (_, filters, _)) in rows.iter().enumerate() {
        let trigger = Trigger::new(&format!("t{n}"), &sink.url(&format!("/t{n}")));
        documents = documents.trigger(&trigger.filters(filters));
    }
    let mesh = Mesh::start(documents.text()).await?;
    let (binary, typed) = events();
    mesh.send("shop/default", &binary).await?;
    for message in &typed {
        assert_eq!(mesh.post("shop/default", message).await?.status, 202);
    }
    mesh.until_settled().await?;
    // What cannot be evaluated is no match, and is counted.
    let errors = mesh
        .admin()
        .metric("millrace_dispatch_filter_errors_total")
        .await?;
    assert!(errors > 0.0);
    let mut wrong = Vec::new();
    for (n, (why, filters, expected)) in rows.iter().enumerate() {
        let mut arrived = sink.ids(&format!("/t{n}"));
        arrived.sort();
        if arrived != *expected {
            wrong.push(format!("{why}: {filters} let {arrived:?} pass, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_decided_is_refused_and_what_never_matches_is_remarked() -> anyhow::Result<()> {
    let documents = |filters: &str| {
        let trigger = Trigger::new("t", "http://127.0.0.1:9/").filters(filters);
        Documents::broker().trigger(&trigger).text().to_owned()
    };
    let refused = [
        ("[{cesql: \"type = \"}]", "at column 8: a value is expected"),
        ("[{cesql: type}]", "a filter must be a Boolean"),
        ("[{cesql: \"SHA256(type) = 'x'\"}]", "there is no function SHA256"),
        ("[{jsonpath: a.b}]", "a path begins with `$`"),
        (
            "[{jsonpath: \"$[?match(@.a, 'x.*')]\"}]",
            "`match()` is not supported",
        ),
    ];
    for (filters, message) in refused {
        let (status, told) = Setup::new(&documents(filters))?.fail().await?;
        assert_eq!(status.code(), Some(3), "{filters}: {told}");
        assert!(
            told.contains("bad-filter") && told.contains(message),
            "{filters}: {told}"
        );
    }
    let remarked = [
        (
            "[{exact: {type: a}}, {exact: {type: b}}]",
            "this never matches: type cannot be",
        ),
        (
            "[{cesql: \"NOT id = 'x'\"}]",
            "NOT binds tighter than a comparison",
        ),
    ];
    for (filters, message) in remarked {
        let setup = Setup::new(&documents(filters))?;
        let file = setup.file().display().to_string();
        let checked = process::run(setup.folder(), &["check", "-f", &file], "").await?;
        let told =
            String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(
            checked.status.success() && told.contains(message),
            "{filters}: {told}"
        );
    }
    Ok(())
}
