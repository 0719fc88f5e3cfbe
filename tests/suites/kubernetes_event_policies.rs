//! Promise: in a cluster, an EventPolicy decides about events as one in a file does, and its status and those
//! of its Brokers say what holds.

use anyhow::ensure;
use millrace_tests::access::{Access, code, post};
use millrace_tests::kube::served;
use millrace_tests::{Event, Kube, wait_until};
use serde_json::{Value, json};

#[tokio::test]
async fn in_a_cluster_a_policy_is_served_and_statuses_say_what_holds() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let mut access = Access::new()?;
    let till = access.token("till", &["--broker", "*"]).await?;
    access.write("authorization: {default: allow-same-namespace}\n")?;
    let default = served::broker("default", json!({}));
    kube.apply(&default).await?;
    let file = access.file().to_string_lossy().into_owned();
    let mesh = kube.served()?.args(&["--access", &file]).start().await?;
    let seen = kube.until(&default, "Ready", "True").await?;
    let audience = &seen["status"]["address"]["audience"];
    assert_eq!(audience, "eventing.knative.dev/broker/shop/default");
    let said = seen["status"]["conditions"].to_string();
    ensure!(said.contains("the default is allow-same-namespace"), "{said}");
    let verdict = async || {
        let answer = post(&mesh, "default", &till, &Event::new("1", "t")).await?;
        anyhow::Ok((answer.status, code(&answer)))
    };
    assert_eq!(verdict().await?, (403, "denied-by-default".to_owned()));

    let policy = |name: &str, from: Value| {
        let to = json!([{"ref": {"apiVersion": served::EVENTING, "kind": "Broker", "name": "default"}}]);
        let spec = json!({"to": to, "from": from});
        served::object("eventing.knative.dev/v1alpha1", "EventPolicy", name, spec)
    };
    let tills = policy("tills", json!([{"sub": "system:millrace:token:*"}]));
    let seen = kube.ready(&tills).await?;
    assert_eq!(seen["status"]["from"], json!(["system:millrace:token:*"]));
    assert_eq!(verdict().await?, (202, String::new()));
    let bound = json!([{"apiVersion": "eventing.knative.dev/v1alpha1", "name": "tills"}]);
    wait_until("the Broker to name its policy", || async {
        let seen = kube.seen(&default).await?;
        Ok((seen["status"]["policies"] == bound).then_some(()))
    })
    .await?;
    let ping = json!([{"ref": {"apiVersion": "sources.knative.dev/v1", "kind": "PingSource", "name": "p"}}]);
    let strange = policy("strange", ping);
    kube.apply(&strange).await?;
    kube.until(&strange, "SubjectsResolved", "False SubjectNotKnown")
        .await?;
    kube.until(&default, "EventPoliciesReady", "False EventPoliciesNotReady")
        .await?;
    // As Knative has it: a Broker waits for its policies.
    kube.until(&default, "Ready", "False EventPoliciesNotReady")
        .await?;

    // Where Knative's controller says how a policy stands, that stays, and the policy counts all the same.
    let theirs = json!({"conditions": [{
        "type": "Ready", "status": "False", "reason": "Theirs", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    kube.set_status(&tills, &theirs).await?;
    let left = wait_until("what is ours to be given up", || async {
        let seen = kube.seen(&tills).await?;
        ensure!(seen["status"]["from"].is_null(), "{seen}");
        Ok(Some(seen))
    })
    .await?;
    assert_eq!(served::condition(&left, "Ready"), "False Theirs", "{left}");
    kube.delete(&strange).await?;
    kube.until(&default, "EventPoliciesReady", "True").await?;
    assert_eq!(kube.seen(&tills).await?, left);
    assert_eq!(verdict().await?, (202, String::new()));
    Ok(())
}
