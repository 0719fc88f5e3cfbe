//! Promise: each example of the guide on git webhooks stores what its forge sends, and nothing that anybody
//! else does.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::webhook::{Call, assert_refused, post};
use millrace_tests::{Mesh, Received, Sink};

const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PUSH: &str = r#"{"ref": "refs/heads/main",  "repository": {"url": "https://github.com/o/r"}}"#;

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

fn seconds() -> anyhow::Result<u64> {
    // The binary under test has the machine's clock, so the signature must too.
    #[expect(clippy::disallowed_methods, reason = "the sender's own clock")]
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// A call of a source in the guide.
struct Example {
    source: &'static str,
    signed: Call,
    /// The same by a secret that is not the source's.
    wrong: Call,
    /// The type and id of the event.
    event: (&'static str, &'static str),
}

/// A call for each source of the guide.
fn calls() -> anyhow::Result<Vec<Example>> {
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
    let examples = vec![
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
    ];
    let example = |(source, signed, wrong, ty, id)| Example {
        source,
        signed,
        wrong,
        event: (ty, id),
    };
    Ok(examples.into_iter().map(example).collect())
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
    let broker = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
    let mesh = Mesh::start(&format!("{}{}", broker.text(), guide()?)).await?;
    let calls = calls()?;
    for Example {
        source,
        signed,
        wrong,
        ..
    } in &calls
    {
        let forged = post(&mesh, source, wrong).await?;
        assert_refused(&forged, 401, "signature-wrong")?;
        assert!(forged.header("www-authenticate").is_some());
        let bare = post(&mesh, source, &unsigned(signed)).await?;
        assert_refused(&bare, 401, "signature-missing")?;
        let taken = post(&mesh, source, signed).await?;
        anyhow::ensure!(taken.status == 202, "{source}: {} {:?}", taken.status, taken.body);
    }
    sink.wait_for("/all", calls.len()).await?;
    mesh.until_settled().await?;
    let received = sink.received("/all");
    assert_eq!(received.len(), calls.len());
    for example in &calls {
        let source = example.source;
        // Several deliveries are under way at once, so any may come first.
        let is_it = |received: &&Received| {
            let event = received.event();
            (event.get("type"), event.id()) == (Some(example.event.0), example.event.1)
        };
        let received = received.iter().find(is_it);
        let received = received.with_context(|| format!("no event of {source}"))?;
        let event = received.event();
        assert_eq!(received.body, example.signed.message().body, "{source}");
        assert_eq!(
            event.get("team"),
            (source == "github").then_some("payments"),
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
