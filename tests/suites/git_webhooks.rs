//! Promise: what a forge calls in with is stored before it is told so; what is not signed by it never is.

use std::fs;

use http::Method;
use millrace_tests::documents::{Documents, STUBBORN, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::webhook::{Call, assert_refused, post};
use millrace_tests::{Client, Mesh, Sink, process, wait_until};
use serde_json::Value;

const PUSH: &str =
    r#"{"ref": "refs/heads/main",  "repository": {"url": "https://github.com/o/r", "full_name": "o/r"}}"#;

/// A Broker, a trigger for everything, and these documents.
fn with(documents: &str, sink: &Sink) -> String {
    let broker = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    format!("{}{documents}", broker.text())
}

/// A source for GitHub with this `spec` besides.
fn github(rest: &str) -> String {
    format!(
        "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata: {{name: github, namespace: shop}}\n\
         spec:\n  forge: github\n  sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}}}\n  {rest}\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: hooks, namespace: shop}}\nstringData: {{new: new, old: old}}\n"
    )
}

const BY_NEW: &str = "secrets: [{secretKeyRef: {name: hooks, key: new}}]";

#[tokio::test]
async fn a_secret_can_be_replaced_without_a_pause() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hook");
    fs::write(&file, "first\n")?;
    let rest = format!(
        "secrets: [{{secretKeyRef: {{name: hooks, key: old}}}}, {{file: {}}}]",
        file.display()
    );
    let mesh = Setup::new(&with(&github(&rest), &sink))?
        .secret_dir(folder.path())
        .start()
        .await?;
    let call = |id: &str, secret: &str| Call::github("push", id, PUSH).signed_by_github(secret);
    for (n, secret) in ["old", "first"].into_iter().enumerate() {
        assert_eq!(
            post(&mesh, "github", &call(&n.to_string(), secret)).await?.status,
            202,
            "{secret}"
        );
    }
    fs::write(&file, "second")?;
    wait_until("the new secret to be used", || async {
        let answer = post(&mesh, "github", &call("3", "second")).await?;
        Ok(Some(()).filter(|()| answer.status == 202))
    })
    .await?;
    assert_refused(
        &post(&mesh, "github", &call("4", "first")).await?,
        401,
        "signature-wrong",
    )?;
    assert_eq!(post(&mesh, "github", &call("5", "old")).await?.status, 202);
    Ok(())
}

#[tokio::test]
async fn a_source_without_its_secret_takes_nothing_until_it_is_there() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hook");
    let rest = format!("secrets: [{{file: {}}}]", file.display());
    let mesh = Setup::new(&with(&github(&rest), &sink))?
        .secret_dir(folder.path())
        .start()
        .await?;
    let call = Call::github("push", "1", PUSH).signed_by_github("late");
    let answer = post(&mesh, "github", &call).await?;
    assert_refused(&answer, 503, "no-secret")?;
    assert!(answer.header("retry-after").is_some());
    let sources = mesh.admin().get("sources").await?;
    assert_eq!(sources[0]["state"], "not-ready", "{sources}");
    fs::write(&file, "late")?;
    wait_until("the secret to be used", || async {
        let answer = post(&mesh, "github", &call).await?;
        Ok(Some(()).filter(|()| answer.status == 202))
    })
    .await
}

#[tokio::test]
async fn what_is_no_call_of_the_forge_is_refused_in_words() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let setup = Setup::new(&with(&github(BY_NEW), &sink))?.args(&["--max-event-bytes", "4096"]);
    let mesh = setup.start().await?;
    let signed = |call: Call| call.signed_by_github("new");
    let large = format!("[{}1]", "1,".repeat(2_048));
    let gitea = Call::github("push", "1", PUSH).header("x-gitea-event", "push");
    let form = "application/x-www-form-urlencoded";
    for (call, status, code) in [
        (signed(Call::github("push", "1", "{")), 400, "bad-json"),
        (signed(Call::github("push", "1", "")), 400, "bad-json"),
        (
            signed(Call::github("push", "1", "[".repeat(1_000))),
            400,
            "bad-json",
        ),
        (signed(Call::new(&[], PUSH)), 400, "event-header-missing"),
        (signed(gitea), 400, "other-forge"),
        (
            signed(Call::github("push", "1", "a=1").header("content-type", form)),
            400,
            "form-without-payload",
        ),
        (
            signed(Call::github("push", "1", PUSH).header("content-type", "text/xml")),
            415,
            "unsupported-media-type",
        ),
        (
            signed(Call::github("push", "1", PUSH).header("content-encoding", "gzip")),
            415,
            "unsupported-encoding",
        ),
        (signed(Call::github("push", "1", large)), 413, "body-too-large"),
    ] {
        assert_refused(&post(&mesh, "github", &call).await?, status, code)?;
    }
    let call = signed(Call::github("push", "1", PUSH));
    let get = Client::new(mesh.listen())
        .send(&Method::GET, "/sources/shop/github", &call.message())
        .await?;
    assert_refused(&get, 405, "method-not-allowed")?;
    assert_eq!(get.header("allow"), Some("POST"));
    assert_refused(&post(&mesh, "other", &call).await?, 404, "unknown-source")?;
    mesh.until_settled().await?;
    assert_eq!(sink.count("/all"), 0);
    Ok(())
}

#[tokio::test]
async fn a_form_is_unwrapped_and_its_json_kept_byte_for_byte() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(&with(&github(BY_NEW), &sink)).await?;
    let form = "payload=%7B%22ref%22%3A++%22%C3%A9%2B%26%22%7D";
    let call = Call::github("push", "1", form).header("content-type", "application/x-www-form-urlencoded");
    let answer = post(&mesh, "github", &call.signed_by_github("new")).await?;
    assert_eq!(answer.status, 202);
    let received = sink.wait_for("/all", 1).await?;
    assert_eq!(received[0].body, r#"{"ref":  "é+&"}"#);
    Ok(())
}

#[tokio::test]
async fn a_delivery_that_is_repeated_has_the_same_id() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(&with(&github(BY_NEW), &sink)).await?;
    let call = Call::github(
        "ping",
        "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        r#"{"zen":"z","hook_id":1}"#,
    );
    for _ in 0..2 {
        assert_eq!(
            post(&mesh, "github", &call.clone().signed_by_github("new"))
                .await?
                .status,
            202
        );
    }
    sink.wait_for("/all", 2).await?;
    assert_eq!(sink.ids("/all"), ["72d3162e-cc78-11e3-81ab-4c9367dc0958"; 2]);
    Ok(())
}

#[tokio::test]
async fn more_calls_than_allowed_are_told_to_come_back_and_forged_ones_do_not_count() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(&with(
        &github(&format!("requestsPerSecond: 1\n  {BY_NEW}")),
        &sink,
    ))
    .await?;
    let call = |secret| Call::github("push", "1", PUSH).signed_by_github(secret);
    for _ in 0..20 {
        assert_refused(
            &post(&mesh, "github", &call("forged")).await?,
            401,
            "signature-wrong",
        )?;
    }
    assert_eq!(post(&mesh, "github", &call("new")).await?.status, 202);
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(post(&mesh, "github", &call("new")).await?);
    }
    let refused = answers.iter().find(|answer| answer.status != 202);
    let refused = refused.ok_or_else(|| anyhow::anyhow!("51 calls were taken at one a second"))?;
    assert_refused(refused, 429, "too-many-calls")?;
    assert_eq!(refused.header("retry-after"), Some("1"));
    Ok(())
}

#[tokio::test]
async fn a_full_broker_makes_the_forge_come_back() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    sink.down();
    let trigger = Trigger::new("all", &sink.url("/all"))
        .delivery(STUBBORN)
        .annotation("millrace.dev/max-deferred", "1");
    let broker = Documents::broker_annotated(&[("millrace.dev/backlog-bytes", "1Mi")]).trigger(&trigger);
    let mesh = Mesh::start(&format!("{}{}", broker.text(), github(BY_NEW))).await?;
    let body = format!("{{\"x\":\"{}\"}}", "x".repeat(64 << 10));
    let call = |id: &str| Call::github("push", id, body.clone()).signed_by_github("new");
    let mut taken = Vec::new();
    let refused = loop {
        let id = taken.len().to_string();
        let answer = post(&mesh, "github", &call(&id)).await?;
        if answer.status != 202 {
            break answer;
        }
        taken.push(id);
        anyhow::ensure!(taken.len() < 100, "the Broker is never full");
    };
    assert_refused(&refused, 503, "backlog-full")?;
    assert!(refused.header("retry-after").is_some());
    sink.up().await?;
    wait_until("everything that was taken", || async {
        let came = sink.ids("/all");
        Ok(Some(()).filter(|()| taken.iter().all(|id| came.contains(id))))
    })
    .await?;
    wait_until("the Broker to take calls again", || async {
        let answer = post(&mesh, "github", &call("again")).await?;
        Ok(Some(()).filter(|()| answer.status == 202))
    })
    .await
}

#[tokio::test]
async fn no_call_is_lost_to_a_hot_reload_or_a_crash() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = |rate: usize| with(&github(&format!("requestsPerSecond: {rate}\n  {BY_NEW}")), &sink);
    let mut mesh = Mesh::start(&documents(100_000)).await?;
    let (done, mut is_done) = tokio::sync::watch::channel(false);
    let listen = mesh.listen();
    let calls = tokio::spawn(async move {
        let mut client = Client::new(listen);
        let mut taken = Vec::new();
        while !*is_done.borrow_and_update() {
            let id = taken.len().to_string();
            let call = Call::github("push", &id, PUSH).signed_by_github("new");
            let answer = client.post("/sources/shop/github", &call.message()).await?;
            anyhow::ensure!(answer.status == 202, "{}: {:?}", answer.status, answer.body);
            taken.push(id);
        }
        Ok(taken)
    });
    for n in 1..=5 {
        mesh.reload(&documents(100_000 + n)).await?;
    }
    done.send_replace(true);
    let taken = calls.await??;
    mesh.kill().await?;
    mesh.restart().await?;
    wait_until("every call that was taken", || async {
        let came = sink.ids("/all");
        Ok(Some(()).filter(|()| taken.iter().all(|id| came.contains(id))))
    })
    .await?;
    let state: Value = mesh.admin().get("sources").await?;
    assert_eq!(state[0]["kind"], "GitWebhookSource", "{state}");
    Ok(())
}

/// A verified call is not refused for data that JSON's grammar allows.
#[tokio::test]
async fn json_that_few_programs_read_is_stored_as_it_came() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(&with(&github(BY_NEW), &sink)).await?;
    mesh.admin()
        .until_source("shop/github", "ready", |source| source["state"] == "ready")
        .await?;
    let repository = r#""repository": {"url": "https://github.com/o/r", "full_name": "o/r"}"#;
    let bodies = [
        format!(r#"{{"size": 1e400, "ref": "refs/heads/main", {repository}}}"#),
        format!(r#"{{"title": "half \ud800", "ref": "refs/heads/main", {repository}}}"#),
        format!(r#"{{"id": 123456789012345678901234567890, "ref": "refs/heads/main", {repository}}}"#),
    ];
    for (n, body) in bodies.iter().enumerate() {
        let call = Call::github("push", &n.to_string(), body.clone()).signed_by_github("new");
        assert_eq!(post(&mesh, "github", &call).await?.status, 202, "{body}");
    }
    for received in sink.wait_for("/all", bodies.len()).await? {
        let event = received.event();
        assert_eq!(received.body, bodies[event.id().parse::<usize>()?]);
        assert_eq!(event.get("source"), Some("https://github.com/o/r"));
    }
    let call = Call::github("push", "bad", r#"{"size": 1e}"#).signed_by_github("new");
    assert_refused(&post(&mesh, "github", &call).await?, 400, "bad-json")
}

/// A generic source `generic` with Standard Webhooks, and this secret.
fn standard(secret: &str) -> String {
    format!(
        "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata: {{name: generic, namespace: shop}}\n\
         spec:\n  forge: generic\n  verification: standardWebhooks\n  secrets: [{{secretKeyRef: {{name: key, key: key}}}}]\n  \
         sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}}}\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: key, namespace: shop}}\nstringData: {{key: \"{secret}\"}}\n"
    )
}

#[tokio::test]
async fn calls_of_svix_are_standard_webhooks_by_another_name() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let mesh = Mesh::start(&with(&standard(secret), &sink)).await?;
    // The binary under test has the machine's clock, so the signature must too.
    #[expect(clippy::disallowed_methods, reason = "the sender's own clock")]
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    let signed = |secret: &str| -> anyhow::Result<Call> {
        let call = Call::new(&[], "{}").signed_standard("msg_1", now, secret)?;
        Ok(call.renamed("webhook-", "svix-"))
    };
    assert_eq!(post(&mesh, "generic", &signed(secret)?).await?.status, 202);
    assert_eq!(sink.wait_for("/all", 1).await?[0].event().id(), "msg_1");
    // A call that is replayed with an id that is not signed is the same event again.
    let replayed = signed(secret)?.header("webhook-id", "msg_2");
    assert_eq!(post(&mesh, "generic", &replayed).await?.status, 202);
    sink.wait_for("/all", 2).await?;
    assert_eq!(sink.ids("/all"), ["msg_1", "msg_1"]);
    let wrong = signed("whsec_d3Jvbmc=")?;
    assert_refused(&post(&mesh, "generic", &wrong).await?, 401, "signature-wrong")?;
    // The parts of two calls are not put together.
    let mixed = signed(secret)?.header("webhook-signature", "v1,AAAA");
    assert_refused(&post(&mesh, "generic", &mixed).await?, 401, "signature-missing")
}

#[tokio::test]
async fn a_secret_that_can_never_verify_is_refused_by_check_and_its_source_is_never_ready()
-> anyhow::Result<()> {
    let sink = Sink::start().await?;
    for (secret, why) in [
        ("v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "remove `v1,`"),
        ("not base64!", "is not Base64"),
        (" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "blanks around"),
    ] {
        let mesh = Mesh::start(&with(&standard(secret), &sink)).await?;
        let source = mesh
            .admin()
            .until_source("shop/generic", "not ready", |source| {
                source["state"] == "not-ready"
            })
            .await?;
        assert!(
            source["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains(why)),
            "{source}"
        );
        assert_refused(
            &post(&mesh, "generic", &Call::new(&[], "{}")).await?,
            503,
            "no-secret",
        )?;
        let file = mesh.setup().file();
        let args = ["check", "-f", &*file.to_string_lossy()];
        let checked = process::run(mesh.setup().folder(), &args, "").await?;
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(3), "{said}");
        assert!(said.contains("spec.secrets[0]: ") && said.contains(why), "{said}");
        assert!(
            said.contains("(bad-secret)") && !said.contains(secret.trim()),
            "{said}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_unsigned_ping_of_bitbucket_data_center_is_answered_and_stores_nothing() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = github(BY_NEW).replace("forge: github", "forge: bitbucket-server");
    let mesh = Mesh::start(&with(&documents, &sink)).await?;
    let ping = Call::new(&[("x-event-key", "diagnostics:ping")], r#"{"test":true}"#);
    assert_eq!(post(&mesh, "github", &ping).await?.status, 200);
    let wrong = ping.clone().signed("x-hub-signature", "sha256=", "wrong");
    assert_refused(&post(&mesh, "github", &wrong).await?, 401, "signature-wrong")?;
    let push = Call::new(&[("x-event-key", "repo:refs_changed")], "{}");
    assert_refused(&post(&mesh, "github", &push).await?, 401, "signature-missing")?;
    // One that is signed is an event, and the only one.
    let signed = ping
        .header("x-request-id", "1")
        .signed("x-hub-signature", "sha256=", "new");
    assert_eq!(post(&mesh, "github", &signed).await?.status, 202);
    sink.wait_for("/all", 1).await?;
    mesh.until_settled().await?;
    assert_eq!(sink.ids("/all"), ["1"]);
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_not_json_is_told_where() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(&with(&github(BY_NEW), &sink)).await?;
    let call = Call::github("push", "1", "{\n  \"a\": 1,\n  \"b\": oops\n}").signed_by_github("new");
    let answer = post(&mesh, "github", &call).await?;
    assert_refused(&answer, 400, "bad-json")?;
    let detail = answer.json()?["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.ends_with("at line 3, column 8"), "{detail}");
    Ok(())
}
