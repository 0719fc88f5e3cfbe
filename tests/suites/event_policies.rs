//! Promise: with an access file, policies are asked about every event that enters a Broker, whichever way it
//! comes. Who sends is enough for a decision, unless a policy that names the sender has filters. `check --as`
//! says which policy decides.

use anyhow::{Context as _, ensure};
use http::Method;
use millrace_tests::access::{Access, ask, code, post};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::process::Process;
use millrace_tests::raw::Socket;
use millrace_tests::webhook::{self, Call};
use millrace_tests::{Client, Event, Mesh, Sink, process, wait_until};
use serde_json::{Value, json};

/// A policy of the namespace `shop`.
fn policy(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: eventing.knative.dev/v1alpha1\nkind: EventPolicy\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {spec}\n"
    )
}

fn broker(name: &str) -> String {
    format!("{{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: {name}}}}}")
}

async fn mesh(access: &Access, documents: &str) -> anyhow::Result<Mesh> {
    let file = access.file().to_string_lossy().into_owned();
    Setup::new(documents)?.args(&["--access", &file]).start().await
}

/// `millrace tail` at work with that token; it has begun when this returns.
async fn follow(access: &Access, mesh: &Mesh, token: &str) -> anyhow::Result<Process> {
    let file = access.folder().join("follower.token");
    std::fs::write(&file, token)?;
    let (admin, file) = (
        format!("http://{}", mesh.admin().address()),
        file.to_string_lossy().into_owned(),
    );
    let args = ["tail", "-o", "json", "--admin", &admin, "--token-file", &file];
    let mut tail = Process::start(&args, access.folder(), &access.folder().join("tail"))?;
    tail.first_line().await?;
    Ok(tail)
}

async fn verdict(mesh: &Mesh, token: &str, (id, kind): (&str, &str)) -> anyhow::Result<(u16, String)> {
    let answer = post(mesh, "default", token, &Event::new(id, kind)).await?;
    Ok((answer.status, code(&answer)))
}

#[tokio::test]
async fn a_producer_needs_a_policy_that_names_it_and_whose_filters_hold() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let mut token = async |name: &str| access.token(name, &["--broker", "*"]).await;
    let (till, buyer, guest) = (token("till").await?, token("buyer").await?, token("guest").await?);
    let operator = access.token("operator", &["--admin-role", "read"]).await?;
    let all = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let to = format!("[{}]", broker("default"));
    let tills = policy(
        "tills",
        &format!("{{to: {to}, from: [{{sub: 'system:millrace:token:till'}}]}}"),
    );
    let paid = "[{exact: {type: paid}}, {not: {prefix: {source: /evil}}}]";
    let buyers = policy(
        "buyers",
        &format!("{{to: {to}, from: [{{sub: 'system:millrace:token:buy*'}}], filters: {paid}}}"),
    );
    let elsewhere = policy(
        "elsewhere",
        &format!("{{to: [{}], from: [{{sub: '*'}}]}}", broker("other")),
    );
    let documents = [all.text(), &tills, &buyers, &elsewhere].concat();
    let mesh = mesh(&access, &documents).await?;
    let (yes, no) = ((202, String::new()), (403, "no-policy-allows".to_owned()));
    for (who, kind, expected) in [
        (&till, "paid", &yes),
        (&till, "other", &yes),
        (&buyer, "paid", &yes),
        (&buyer, "other", &no),
        (&guest, "paid", &no),
    ] {
        assert_eq!(&verdict(&mesh, who, ("e", kind)).await?, expected, "{kind}");
    }

    // One of a batch that is refused refuses all of it, and is named.
    let events = ["paid", "other", "paid"].map(|kind| Event::new(kind, kind));
    let mut batch = Event::batch(&events);
    let bearer = |token: &str| ("authorization".to_owned(), format!("Bearer {token}"));
    batch.headers.push(bearer(&buyer));
    let answer = Client::new(mesh.listen()).post("/shop/default", &batch).await?;
    let problem: Value = serde_json::from_slice(&answer.body)?;
    assert_eq!(
        (answer.status, &problem["field"]),
        (403, &Value::from("[1]")),
        "{problem}"
    );
    batch.headers.pop();
    batch.headers.push(bearer(&till));
    assert_eq!(
        Client::new(mesh.listen())
            .post("/shop/default", &batch)
            .await?
            .status,
        202
    );
    sink.wait_for("/all", 6).await?;

    // Who is refused whatever they send is refused before they have sent it.
    let mut socket = Socket::connect(mesh.listen()).await?;
    let head = format!(
        "POST /shop/default HTTP/1.1\r\nhost: x\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\nce-specversion: 1.0\r\n\
         authorization: Bearer {guest}\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n"
    );
    socket.write(head.as_bytes()).await?;
    assert_eq!(socket.answer().await?.context("no answer")?.status, 403);

    let metrics = ask(&mesh, &operator, &Method::GET, "/metrics").await?;
    let metrics = String::from_utf8(metrics.body.to_vec())?;
    let line = "millrace_broker_requests_refused_total{namespace=\"shop\",broker=\"default\",code=\"no-policy-allows\"} 4";
    ensure!(metrics.contains(line), "{metrics}");

    // Without a policy the default decides.
    mesh.setup().write(all.text())?;
    wait_until("the policies to be gone", || async {
        Ok((verdict(&mesh, &guest, ("free", "other")).await? == yes).then_some(()))
    })
    .await?;
    access.write("authorization: {default: deny-all}\n")?;
    let denied = (403, "denied-by-default".to_owned());
    wait_until("the default to be in effect", || async {
        Ok((verdict(&mesh, &till, ("x", "x")).await? == denied).then_some(()))
    })
    .await
}

#[tokio::test]
async fn filters_of_every_dialect_decide_about_events_of_every_mode() -> anyhow::Result<()> {
    let mut access = Access::new()?;
    let operator = access.token("operator", &["--admin-role", "read"]).await?;
    // Of each, what passes and what does not.
    let rows = [
        ("exact: {type: paid}", ("paid", "/eu/a"), ("unpaid", "/eu/a")),
        ("prefix: {source: /eu/}", ("t", "/eu/a"), ("t", "/us/eu/a")),
        (
            "suffix: {type: .paid}",
            ("order.paid", "/s"),
            ("order.paid.v2", "/s"),
        ),
        (
            "cesql: \"source LIKE '/eu/%' AND type != 'test'\"",
            ("t", "/eu/a"),
            ("test", "/eu/a"),
        ),
        ("jsonpath: {$.paid: true}", ("yes", "/s"), ("no", "/s")),
        (
            "all: [{prefix: {source: /eu/}}, {exact: {type: t}}]",
            ("t", "/eu/a"),
            ("t", "/us/a"),
        ),
        (
            "any: [{prefix: {source: /eu/}}, {exact: {type: t}}]",
            ("t", "/us/a"),
            ("x", "/us/a"),
        ),
        ("not: {exact: {type: test}}", ("t", "/s"), ("test", "/s")),
    ];
    let (mut documents, mut tokens) = (Documents::broker().text().to_owned(), Vec::new());
    for (filter, ..) in &rows {
        let name = filter.split(':').next().unwrap_or_default();
        tokens.push(access.token(name, &["--broker", "*"]).await?);
        let (to, from) = (
            broker("default"),
            format!("{{sub: 'system:millrace:token:{name}'}}"),
        );
        let spec = format!("{{to: [{to}], from: [{from}], filters: [{{{filter}}}]}}");
        documents.push_str(&policy(name, &spec));
    }
    let mesh = mesh(&access, &documents).await?;
    let event = |(kind, source): (&str, &str)| {
        Event::new("1", kind)
            .with("source", source)
            .data("application/json", json!({"paid": kind == "yes"}).to_string())
    };
    for ((filter, good, bad), token) in rows.iter().zip(&tokens) {
        let (good, bad) = (event(*good), event(*bad));
        for (mut message, refused) in [
            (good.binary(), None),
            (bad.binary(), Some(Value::Null)),
            (good.structured(), None),
            (bad.structured(), Some(Value::Null)),
            (Event::batch(&[good.clone(), good.clone()]), None),
            (Event::batch(&[good.clone(), good, bad]), Some(json!("[2]"))),
        ] {
            let bearer = ("authorization".to_owned(), format!("Bearer {token}"));
            message.headers.push(bearer);
            let answer = Client::new(mesh.listen()).post("/shop/default", &message).await?;
            let status = if refused.is_some() { 403 } else { 202 };
            assert_eq!(answer.status, status, "{filter}: {message:?}");
            if let Some(field) = refused {
                let problem = answer.json()?;
                let told = (&problem["code"], &problem["field"]);
                assert_eq!(told, (&json!("no-policy-allows"), &field), "{filter}");
            }
        }
    }
    // What was refused is not stored, nor what came with it.
    let brokers = ask(&mesh, &operator, &Method::GET, "/api/v1/brokers")
        .await?
        .json()?;
    assert_eq!(brokers[0]["head"], rows.len() * 4, "{brokers}");
    Ok(())
}

#[tokio::test]
async fn what_sends_within_the_mesh_is_asked_about_too() -> anyhow::Result<()> {
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let till = access
        .token("till", &["--broker", "*", "--admin-role", "read"])
        .await?;
    let hop = |name: &str| {
        format!(
            "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{broker: default, subscriber: {}}}\n",
            broker("audit")
        )
    };
    let trigger = |name: &str| {
        format!(
            "{{ref: {{apiVersion: eventing.knative.dev/v1, kind: Trigger, name: {name}, namespace: shop}}}}"
        )
    };
    let replies = Trigger::new("replies", &sink.url("/replies")).attributes("{type: t}");
    sink.decide("/replies", |received, _| {
        millrace_tests::sink::Answer::reply(&Event::new(&format!("re-{}", received.event().id()), "reply"))
    });
    let documents = Documents::broker()
        .and_broker("audit", "{}")
        .trigger(&replies)
        .trigger(&Trigger::new("answers", &sink.url("/answers")).attributes("{type: reply}"))
        .trigger(&Trigger::new("audited", &sink.url("/audited")).on("audit"))
        .github("hook", "secret", "audit")
        .github("stranger", "secret", "audit");
    let hook = "{ref: {apiVersion: sources.millrace.dev/v1alpha1, kind: GitWebhookSource, name: hook, namespace: shop}}";
    let audit = policy(
        "audit",
        &format!(
            "{{to: [{}], from: [{}, {hook}]}}",
            broker("audit"),
            trigger("allowed")
        ),
    );
    let mine = policy(
        "mine",
        &format!(
            "{{to: [{}], from: [{{sub: 'system:millrace:token:*'}}]}}",
            broker("default")
        ),
    );
    let text = [documents.text(), &hop("allowed"), &hop("refused"), &audit, &mine].concat();
    let mesh = mesh(&access, &text).await?;
    let tail = follow(&access, &mesh, &till).await?;
    assert_eq!(
        post(&mesh, "default", &till, &Event::new("1", "t")).await?.status,
        202
    );
    // A reply into the Broker that the Trigger reads is always allowed.
    sink.wait_for("/answers", 1).await?;
    // Of the event and its reply, by the one Trigger that may.
    sink.wait_for("/audited", 2).await?;
    wait_until("what may not go there to be parked", || async {
        let parked = ask(&mesh, &till, &Method::GET, "/api/v1/parked").await?;
        let parked = String::from_utf8(parked.body.to_vec())?;
        let count = parked
            .matches("system:millrace:trigger:shop:refused is refused")
            .count();
        Ok((count >= 2).then_some(()))
    })
    .await?;
    // A source by its own name.
    for (name, status) in [("hook", 202), ("stranger", 502)] {
        let call = Call::github("push", name, "{}").signed_by_github("secret");
        let answer = webhook::post(&mesh, name, &call).await?;
        assert_eq!(answer.status, status, "{name}: {}", code(&answer));
        assert_eq!(code(&answer) == "no-policy-allows", status == 502);
    }
    sink.wait_for("/audited", 3).await?;
    // Who follows is told of both, by their names.
    for who in [
        "system:millrace:trigger:shop:refused",
        "system:millrace:gitwebhooksource:shop:stranger",
    ] {
        let line = json!({"kind": "refused", "broker": "shop/audit", "who": who, "code": "no-policy-allows"});
        wait_until(who, || async {
            let lines = tail.stdout();
            let mut lines = lines
                .iter()
                .map(|line| serde_json::from_str::<Value>(line).unwrap_or_default());
            Ok(lines.any(|one| one == line).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_selector_binds_a_policy_to_brokers_by_their_labels() -> anyhow::Result<()> {
    let mut access = Access::new()?;
    let till = access.token("till", &["--broker", "*"]).await?;
    let mut documents = String::new();
    for (name, labels) in [
        ("default", "{tier: open}"),
        ("closed", "{tier: closed, team: a}"),
        ("plain", "{}"),
    ] {
        documents.push_str(&format!(
            "---\napiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {name}, namespace: shop, labels: {labels}}}\n"
        ));
    }
    let selector = "{apiVersion: eventing.knative.dev/v1, kind: Broker, matchLabels: {tier: closed}, \
                    matchExpressions: [{key: team, operator: In, values: [a, b]}]}";
    documents.push_str(&policy(
        "closed",
        &format!("{{to: [{{selector: {selector}}}], from: [{{sub: nobody}}]}}"),
    ));
    let mesh = mesh(&access, &documents).await?;
    for (name, status) in [("default", 202), ("closed", 403), ("plain", 202)] {
        assert_eq!(
            post(&mesh, name, &till, &Event::new("1", "t")).await?.status,
            status,
            "{name}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn check_says_which_policy_decides() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let to = format!("[{}]", broker("default"));
    let documents = [
        Documents::broker().text(),
        &policy("till", &format!("{{to: {to}, from: [{{sub: till}}]}}")),
        &policy(
            "paid",
            &format!("{{to: {to}, from: [{{sub: 'b*'}}], filters: [{{exact: {{type: paid}}}}]}}"),
        ),
    ]
    .concat();
    std::fs::write(folder.path().join("mesh.yaml"), documents)?;
    for kind in ["paid", "other"] {
        std::fs::write(folder.path().join(kind), Event::new("1", kind).json().to_string())?;
    }
    for (args, status, expected) in [
        (&["till"][..], 0, "shop/default: allowed by EventPolicy shop/till"),
        (&["buyer"], 1, "show the event with --event"),
        (
            &["buyer", "--event", "paid"],
            0,
            "allowed by EventPolicy shop/paid",
        ),
        (
            &["buyer", "--event", "other"],
            1,
            "no EventPolicy that is bound to the Broker allows it",
        ),
        (&["guest"], 1, "no EventPolicy that is bound"),
    ] {
        let args = [&["check", "-f", "mesh.yaml", "--as"], args].concat();
        let output = process::run(folder.path(), &args, "").await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {said} {output:?}");
        ensure!(said.contains(expected), "{args:?}: {said}");
    }
    std::fs::write(folder.path().join("bare.yaml"), Documents::broker().text())?;
    let args = [
        "check",
        "-f",
        "bare.yaml",
        "--as",
        "x",
        "--default",
        "allow-same-namespace",
    ];
    let output = process::run(folder.path(), &args, "").await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        said.contains("refused by the default allow-same-namespace"),
        "{said}"
    );
    Ok(())
}
