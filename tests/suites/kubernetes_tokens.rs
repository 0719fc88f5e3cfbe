//! Promise: where the operator names a ServiceAccount, deliveries show a token of it that the API server
//! itself vouches for, to the audience of their target and to no other; without the right to ask for it
//! nothing is sent, and the reason is told. No token stands in what anybody reads.

use anyhow::Context as _;
use http::header::AUTHORIZATION;
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use millrace_tests::access::Access;
use millrace_tests::kube::served::{EVENTING, SOURCES, broker, object, of_class, trigger};
use millrace_tests::{Answer, Event, Kube, Mesh, Sink, wait_until};
use serde_json::{Value, json};

const ACCOUNT: &str = "deliverer";
const AUDIENCE: &str = "https://ship.shop.example";
/// The audience of the Broker `shop/default` of any Millrace.
const AUDIENCE_OF_BROKER: &str = "eventing.knative.dev/broker/shop/default";

/// A ServiceAccount of the namespace `shop`.
fn account(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "shop"}})
}

/// A Trigger to that path, for that audience, that makes one attempt.
fn once(sink: &Sink, name: &str, audience: Option<&str>) -> Value {
    let mut once = trigger(name, &sink.url(&format!("/{name}")));
    once["spec"]["subscriber"]["audience"] = json!(audience.unwrap_or_default());
    once["spec"]["delivery"] = json!({"retry": 0});
    once
}

/// Millrace as that user, with these ServiceAccounts.
async fn serve(kube: &Kube, kubeconfig: &std::path::Path, accounts: &str) -> anyhow::Result<Mesh> {
    let setup = kube.served()?.cluster(kubeconfig);
    setup.args(&["--oidc-service-account", accounts]).start().await
}

/// Who the API server says that the bearer of a token is, for that audience.
async fn reviewed(kube: &Kube, token: &str, audience: &str) -> anyhow::Result<Option<String>> {
    let review = json!({"spec": {"token": token, "audiences": [audience]}});
    let reviews: Api<TokenReview> = Api::all(kube.client());
    let answer = reviews
        .create(&PostParams::default(), &serde_json::from_value(review)?)
        .await?;
    let status = answer.status.context("no answer")?;
    let user = status.user.and_then(|user| user.username);
    Ok(user.filter(|_| status.authenticated == Some(true)))
}

/// The token that came with the requests to a path so far, one for each.
fn tokens(sink: &Sink, path: &str) -> Vec<String> {
    let token = |headers: &http::HeaderMap| {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
        value.strip_prefix("Bearer ").map(str::to_owned)
    };
    let received = sink.received(path);
    received
        .iter()
        .map(|received| token(&received.headers).unwrap_or_default())
        .collect()
}

async fn parked(mesh: &Mesh, trigger: &str) -> anyhow::Result<String> {
    let state = wait_until("the event to be parked", || async {
        let state = mesh.admin().trigger(trigger).await?;
        Ok((state["parked"] == 1).then_some(state))
    })
    .await?;
    Ok(state["lastFailure"]["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

#[tokio::test]
async fn a_subscriber_gets_a_token_that_the_api_server_takes_for_its_audience_and_for_no_other()
-> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    kube.apply(&account(ACCOUNT)).await?;
    let sink = Sink::start().await?;
    let mesh = serve(&kube, &kube.kubeconfig(), "shop/deliverer").await?;
    // The audience of an object counts as well, and that of the document counts more.
    let theirs = of_class(broker("theirs", json!({})), "SomebodyElse");
    kube.apply(&theirs).await?;
    let address = json!({"url": sink.url("/theirs"), "audience": "theirs"});
    kube.set_status(&theirs, &json!({"address": address})).await?;
    let reference = json!({"apiVersion": EVENTING, "kind": "Broker", "name": "theirs"});
    let mut by_ref = trigger("by-ref", "");
    by_ref["spec"]["subscriber"] = json!({"ref": reference});
    kube.ready(&broker("default", json!({}))).await?;
    let mut t = once(&sink, "t", Some(AUDIENCE));
    t["spec"]["delivery"] = json!({"retry": 1, "backoffDelay": "PT0.01S"});
    let ready = kube.ready(&t).await?;
    assert_eq!(ready["status"]["auth"]["serviceAccountName"], ACCOUNT);
    assert_eq!(ready["status"]["subscriberAudience"], AUDIENCE);
    let said = ready["status"]["conditions"].to_string();
    assert!(said.contains("TokensShown"), "{said}");
    let ready = kube.ready(&by_ref).await?;
    assert_eq!(ready["status"]["subscriberAudience"], "theirs");
    let ready = kube.ready(&once(&sink, "plain", None)).await?;
    assert!(ready["status"]["auth"].is_null(), "{ready}");

    mesh.send("shop/default", &[Event::new("1", "t"), Event::new("2", "t")])
        .await?;
    for path in ["/t", "/theirs", "/plain"] {
        sink.wait_for(path, 2).await?;
    }
    let shown = tokens(&sink, "/t");
    let user = "system:serviceaccount:shop:deliverer";
    assert_eq!(reviewed(&kube, &shown[0], AUDIENCE).await?.as_deref(), Some(user));
    assert_eq!(reviewed(&kube, &shown[0], "theirs").await?, None);
    assert_eq!(shown[0], shown[1], "it is asked for once");
    let of_theirs = tokens(&sink, "/theirs");
    assert_eq!(
        reviewed(&kube, &of_theirs[0], "theirs").await?.as_deref(),
        Some(user)
    );
    assert_eq!(tokens(&sink, "/plain"), ["", ""]);

    // A receiver that takes a token no more gets another one, and what it repeats is kept without it.
    sink.decide("/t", |received, _| {
        let mut answer = Answer::status(401);
        let shown = received.header("authorization").unwrap_or_default();
        answer.body = shown.to_owned().into();
        answer
    });
    mesh.send("shop/default", &[Event::new("3", "t")]).await?;
    parked(&mesh, "shop/t").await?;
    let explained = mesh
        .millrace(&["explain", "--broker", "shop/default", "--id", "3"])
        .await?;
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("401"), "{explained}");
    let told = [
        explained,
        mesh.admin().get("parked").await?.to_string(),
        mesh.admin().get("triggers").await?.to_string(),
        mesh.admin().get("mesh").await?.to_string(),
        mesh.running().stderr(),
    ];
    let all = tokens(&sink, "/t");
    assert!(all.len() == 4 && all[2] == shown[0] && all[3] != shown[0]);
    for token in all.iter().chain(&of_theirs) {
        assert!(told.iter().all(|told| !told.contains(token.as_str())));
    }
    Ok(())
}

#[tokio::test]
async fn a_source_and_a_dead_letter_sink_are_shown_tokens_too() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    kube.apply(&account(ACCOUNT)).await?;
    let sink = Sink::start().await?;
    sink.answer("/t", [Answer::status(400)]);
    let mesh = serve(&kube, &kube.kubeconfig(), "shop/deliverer").await?;
    let of_broker = json!({"uri": sink.url("/dead"), "audience": "dead"});
    let spec = json!({"delivery": {"deadLetterSink": of_broker}});
    let ready = kube.ready(&broker("default", spec)).await?;
    assert_eq!(ready["status"]["deadLetterSinkAudience"], "dead");
    // The Trigger falls back to the sink of its Broker.
    let ready = kube.ready(&trigger("t", &sink.url("/t"))).await?;
    assert_eq!(ready["status"]["deadLetterSinkAudience"], "dead");
    assert_eq!(ready["status"]["auth"]["serviceAccountName"], ACCOUNT);
    let to = json!({"uri": sink.url("/ticks"), "audience": "ticks"});
    let spec = json!({"schedule": "* * * * * *", "data": "tick", "contentType": "text/plain", "sink": to});
    let ready = kube.ready(&object(SOURCES, "CronSource", "ticks", spec)).await?;
    assert_eq!(ready["status"]["sinkAudience"], "ticks");
    assert_eq!(ready["status"]["auth"]["serviceAccountName"], ACCOUNT);
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/dead", 1).await?;
    sink.wait_for("/ticks", 1).await?;
    let user = "system:serviceaccount:shop:deliverer";
    for audience in ["dead", "ticks"] {
        let shown = tokens(&sink, &format!("/{audience}"));
        assert_eq!(reviewed(&kube, &shown[0], audience).await?.as_deref(), Some(user));
    }
    assert_eq!(tokens(&sink, "/t"), [""], "the subscriber names no audience");
    Ok(())
}

#[tokio::test]
async fn another_millrace_takes_the_tokens_by_the_keys_of_the_api_server() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    kube.apply(&account(ACCOUNT)).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(kube.client(), "shop");
    let request = serde_json::from_value(json!({"spec": {"audiences": []}}))?;
    let own = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await?;
    let (access, sink) = (Access::new()?, Sink::start().await?);
    let own_file = access.folder().join("token");
    std::fs::write(&own_file, own.status.context("no token")?.token)?;
    let issuer = json!({
        "issuer": "https://kubernetes.default.svc",
        "jwksUri": format!("https://127.0.0.1:{}/openid/v1/jwks", kube.port()),
        "caFile": kube.authority(), "tokenFile": own_file,
        "subjects": [{"sub": "system:serviceaccount:shop:*", "brokers": ["shop/*"]}],
    });
    std::fs::write(
        access.file(),
        json!({"authentication": {"issuers": [issuer]}}).to_string(),
    )?;
    let receiving = access.mesh(&[], &sink).await?;

    let mesh = serve(&kube, &kube.kubeconfig(), "shop/deliverer").await?;
    kube.ready(&broker("default", json!({}))).await?;
    for (name, audience) in [("let-in", AUDIENCE_OF_BROKER), ("elsewhere", "elsewhere")] {
        let mut onward = trigger(name, &receiving.url("shop/default"));
        onward["spec"]["subscriber"]["audience"] = json!(audience);
        kube.ready(&onward).await?;
    }
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    sink.wait_for("/all", 1).await?;
    let reason = parked(&mesh, "shop/elsewhere").await?;
    assert!(reason.contains("401"), "{reason}");
    assert_eq!(sink.ids("/all"), ["1"]);
    Ok(())
}

#[tokio::test]
async fn without_the_right_to_ask_nothing_is_sent_and_the_role_of_one_name_is_enough() -> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let resources = json!(["*"]);
    let rules = json!([
        {"apiGroups": ["eventing.knative.dev"], "resources": resources,
         "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["sources.millrace.dev", "sinks.millrace.dev"], "resources": resources,
         "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]},
    ]);
    let kubeconfig = kube.account("millrace", None, &rules).await?;
    kube.apply(&account(ACCOUNT)).await?;
    let sink = Sink::start().await?;
    let mesh = serve(&kube, &kubeconfig, "shop/deliverer,other/nobody").await?;
    kube.ready(&broker("default", json!({}))).await?;
    kube.ready(&once(&sink, "t", Some(AUDIENCE))).await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    let reason = parked(&mesh, "shop/t").await?;
    assert!(
        reason.contains("no token of the ServiceAccount shop/deliverer: Millrace may not ask for it"),
        "{reason}"
    );
    assert_eq!(sink.count("/t"), 0);

    let group = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Role",
        "metadata": {"name": "tokens", "namespace": "shop"},
        "rules": [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"],
                   "resourceNames": [ACCOUNT]}],
    });
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": {"name": "tokens", "namespace": "shop"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "tokens"},
        "subjects": [{"kind": "ServiceAccount", "name": "millrace", "namespace": "default"}],
    });
    kube.apply(&role).await?;
    kube.apply(&binding).await?;
    // The API server applies a role a little later, and each event is tried once.
    let mut id = 1;
    wait_until("a delivery with a token", || {
        id += 1;
        let (mesh, sink, event) = (&mesh, &sink, Event::new(&id.to_string(), "t"));
        async move {
            mesh.send("shop/default", &[event]).await?;
            Ok((sink.count("/t") > 0).then_some(()))
        }
    })
    .await?;
    let user = reviewed(&kube, &tokens(&sink, "/t")[0], AUDIENCE).await?;
    assert_eq!(user.as_deref(), Some("system:serviceaccount:shop:deliverer"));
    Ok(())
}

#[tokio::test]
async fn an_account_that_is_not_there_gives_no_token_and_two_of_one_namespace_are_refused()
-> anyhow::Result<()> {
    let Some(kube) = Kube::with_kinds().await? else {
        return Ok(());
    };
    let sink = Sink::start().await?;
    let mesh = serve(&kube, &kube.kubeconfig(), "shop/nobody").await?;
    kube.ready(&broker("default", json!({}))).await?;
    kube.ready(&once(&sink, "t", Some(AUDIENCE))).await?;
    mesh.send("shop/default", &[Event::new("1", "t")]).await?;
    let reason = parked(&mesh, "shop/t").await?;
    assert!(reason.ends_with("there is no such ServiceAccount"), "{reason}");
    drop(mesh);
    let kubeconfig = kube.kubeconfig().display().to_string();
    let folder = tempfile::tempdir()?;
    let args = [
        "run",
        "--kubernetes",
        "--kubeconfig",
        &kubeconfig,
        "--oidc-service-account=shop/a,shop/b",
    ];
    let refused = millrace_tests::process::run(folder.path(), &args, "").await?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("names shop/a and shop/b"), "{said}");
    Ok(())
}
