//! Promise: what a forge calls in with is stored before it is told so; what is not signed by it never is.
//!
//! The sources are those of the guide, so that its examples are what is tested.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::webhook::Call;
use millrace_tests::{Answered, Client, Mesh, Sink, wait_until};
use serde_json::Value;

const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PUSH: &str =
    r#"{"ref": "refs/heads/main",  "repository": {"url": "https://github.com/o/r", "full_name": "o/r"}}"#;

/// The examples of the guide, as one file.
fn guide() -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/git-webhooks.md");
    let text = fs::read_to_string(path)?;
    let blocks = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    Ok(blocks.map(|block| format!("---\n{block}")).collect())
}

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

async fn post(mesh: &Mesh, source: &str, call: &Call) -> anyhow::Result<Answered> {
    Client::new(mesh.listen())
        .post(&format!("/sources/shop/{source}"), &call.message())
        .await
}

fn assert_refused(answer: &Answered, status: u16, code: &str) -> anyhow::Result<()> {
    assert_eq!((answer.status, answer.code()?.as_str()), (status, code));
    Ok(())
}

fn seconds() -> anyhow::Result<u64> {
    // The binary under test has the machine's clock, so the signature must too.
    #[expect(clippy::disallowed_methods, reason = "the sender's own clock")]
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// A call for each source of the guide: signed, and the type and id of its event. Any other secret is wrong.
fn calls() -> anyhow::Result<Vec<(&'static str, Call, Call, &'static str, &'static str)>> {
    let now = seconds()?;
    let both = |call: &Call, header: &str, prefix: &str, secret: &str| {
        let signed = |secret| call.clone().signed(header, prefix, secret);
        (signed(secret), signed("wrong"))
    };
    let wrong_key = "whsec_d3Jvbmc=";
    let push = Call::github("push", "d-1", PUSH);
    let (github, no_github) = both(&push, "x-hub-signature-256", "sha256=", "a long random text");
    let merge = Call::new(
        &[("x-gitlab-event", "Push Hook"), ("idempotency-key", "d-2")],
        "{}",
    );
    let signed = |secret| {
        Call::new(&[("x-gitlab-event", "Job Hook")], r#"{"object_kind":"build"}"#)
            .signed_standard("d-3", now, secret)
    };
    let cloud = Call::new(&[("x-event-key", "repo:push"), ("x-request-uuid", "d-4")], "{}");
    let (cloud, no_cloud) = both(&cloud, "x-hub-signature", "sha256=", "a third");
    let center = Call::new(&[("x-event-key", "pr:opened"), ("x-request-id", "d-5")], "{}");
    let (center, no_center) = both(&center, "x-hub-signature", "sha256=", "a third");
    let tea = Call::github("push", "d-6", PUSH)
        .header("x-gitea-event", "push")
        .header("x-gitea-delivery", "d-6");
    let forge = tea
        .clone()
        .header("x-forgejo-event", "push")
        .header("x-forgejo-delivery", "d-7");
    let (tea, no_tea) = both(&tea, "x-gitea-signature", "", "a fourth");
    let (forge, no_forge) = both(&forge, "x-forgejo-signature", "", "a fourth");
    let deploy = Call::new(
        &[("x-delivery", "d-8")],
        r#"{"kind":"done","targets":[{"region":"eu"}]}"#,
    );
    let paid = |secret| Call::new(&[], r#"{"type":"com.example.paid"}"#).signed_standard("d-9", now, secret);
    let alert = Call::new(&[], "[]");
    let hash = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945";
    let (knative, no_knative) = both(
        &Call::github("push", "d-10", PUSH),
        "x-hub-signature-256",
        "sha256=",
        "a long random text",
    );
    let bearer = |token: &str| alert.clone().header("authorization", &format!("Bearer {token}"));
    let token = |token| merge.clone().header("x-gitlab-token", token);
    let base64 = |secret| deploy.clone().signed_base64("x-signature", "v0=", secret);
    Ok(vec![
        ("github", github, no_github, "com.github.push", "d-1"),
        (
            "gitlab",
            token("another one"),
            token("wrong"),
            "com.gitlab.push",
            "d-2",
        ),
        (
            "gitlab",
            signed(SIGNING)?,
            signed(wrong_key)?,
            "com.gitlab.job",
            "d-3",
        ),
        ("bitbucket", cloud, no_cloud, "org.bitbucket.repo.push", "d-4"),
        (
            "bitbucket-server",
            center,
            no_center,
            "com.atlassian.bitbucket.pr.opened",
            "d-5",
        ),
        ("gitea", tea, no_tea, "io.gitea.push", "d-6"),
        ("forgejo", forge, no_forge, "org.forgejo.push", "d-7"),
        (
            "deploys",
            base64("a fifth"),
            base64("wrong"),
            "com.example.deploy.done",
            "d-8",
        ),
        (
            "payments",
            paid(SIGNING)?,
            paid(wrong_key)?,
            "com.example.paid",
            "d-9",
        ),
        (
            "alerts",
            bearer("a sixth"),
            bearer("wrong"),
            "dev.millrace.webhook",
            hash,
        ),
        (
            "as-knative",
            knative,
            no_knative,
            "dev.knative.source.github.push",
            "d-10",
        ),
    ])
}

/// The same call without what it is verified by.
fn unsigned(call: &Call) -> Call {
    let mut bare = Call::new(&[], call.message().body);
    for (name, value) in &call.message().headers {
        if !name.contains("signature") && !name.contains("token") && name != "authorization" {
            bare = bare.header(name, value);
        }
    }
    bare
}

#[tokio::test]
async fn every_forge_of_the_guide_gets_its_events_stored_and_nobody_else_does() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(&with(&guide()?, &sink)).await?;
    let calls = calls()?;
    for (source, signed, wrong, _, id) in &calls {
        let outcome = [
            post(&mesh, source, wrong).await?,
            post(&mesh, source, &unsigned(signed)).await?,
        ];
        assert_refused(&outcome[0], 401, "signature-wrong")?;
        assert_refused(&outcome[1], 401, "signature-missing")?;
        assert!(outcome[0].header("www-authenticate").is_some());
        let taken = post(&mesh, source, signed).await?;
        anyhow::ensure!(
            taken.status == 202,
            "{source} {id}: {} {:?}",
            taken.status,
            taken.body
        );
    }
    sink.wait_for("/all", calls.len()).await?;
    mesh.until_settled().await?;
    let received = sink.received("/all");
    assert_eq!(received.len(), calls.len());
    for ((source, signed, _, ty, id), received) in calls.iter().zip(&received) {
        let event = received.event();
        assert_eq!((event.get("type"), event.id()), (Some(*ty), *id), "{source}");
        assert_eq!(received.body, signed.message().body, "{source}");
        assert_eq!(
            event.get("team"),
            (*source == "github").then_some("payments"),
            "{source}"
        );
    }
    let refused = mesh.admin().metric("millrace_source_refused_total").await?;
    assert!((refused - 2.0 * calls.len() as f64).abs() < 0.5, "{refused}");
    let sources = mesh.admin().get("sources").await?;
    let github = sources
        .as_array()
        .into_iter()
        .flatten()
        .find(|source| source["name"] == "shop/github");
    let github = github.cloned().unwrap_or_default();
    assert_eq!(
        (&github["state"], &github["events"], &github["refused"]),
        (&"ready".into(), &1.into(), &2.into()),
        "{github}"
    );
    Ok(())
}

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
    let mesh = Mesh::start(&with(&github(&rest), &sink)).await?;
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
    let mesh = Mesh::start(&with(&github(&rest), &sink)).await?;
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
        .delivery("{retry: 2000000000, backoffDelay: PT0.05S, backoffMax: PT0.2S}")
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
