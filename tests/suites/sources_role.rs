//! `millrace sources`: sources alone send to a sink somewhere else, and lose nothing while it or they are
//! down.

use http::Method;
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Mesh, Sink, tls, wait_until};
use serde_json::Value;

/// A CronSource `shop/tick` every second, with these fields more.
fn tick(more: &str) -> String {
    format!(
        "apiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {{name: tick, namespace: shop}}\n\
         spec: {{schedule: '* * * * * *', catchUp: all{more}}}\n"
    )
}

/// A role that sends to this sink, whatever its documents say.
fn to(sink: &Sink, documents: &str) -> anyhow::Result<Setup> {
    Ok(Setup::new(documents)?
        .sources()
        .environment("K_SINK", &sink.url("/in")))
}

/// Ids without repeats, in order; each is an instant.
fn seconds(sink: &Sink) -> Vec<String> {
    let mut ids = sink.ids("/in");
    ids.sort();
    ids.dedup();
    ids
}

/// Whether the seconds follow each other without a gap.
fn is_whole(ids: &[String]) -> bool {
    let second = |id: &str| -> i64 {
        let parts = id.get(11..19).unwrap_or_default().split(':');
        parts.fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap_or_default())
    };
    ids.windows(2)
        .all(|pair| (second(&pair[1]) - second(&pair[0])).rem_euclid(86_400) == 1)
}

#[tokio::test]
async fn ticks_go_to_k_sink_with_its_overrides_in_the_place_of_every_sink() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let more = ", ceOverrides: {extensions: {team: a, own: b}}, sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: x}}";
    let mesh = to(&sink, &tick(more))?
        .environment("K_CE_OVERRIDES", r#"{"extensions": {"team": "z"}}"#)
        .start()
        .await?;
    let received = sink.wait_for("/in", 2).await?;
    assert_eq!(received[0].header("ce-type"), Some("dev.knative.sources.ping"));
    assert_eq!(received[0].header("ce-team"), Some("z"));
    assert_eq!(received[0].header("ce-own"), Some("b"));
    let admin = mesh.admin();
    let source = admin
        .until_source("shop/tick", "ready", |source| source["state"] == "ready")
        .await?;
    assert_eq!(source["sink"], sink.url("/in"));
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(admin.ask(&Method::GET, path).await?.status, 200, "{path}");
    }
    assert_eq!(admin.get("brokers").await?.as_array().map(Vec::len), Some(0));
    // There is no Broker to take an event.
    let event = millrace_tests::Event::new("1", "t");
    assert_eq!(mesh.post("shop/x", &event.binary()).await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn while_the_sink_is_down_nothing_is_lost() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = to(&sink, &tick(""))?.start().await?;
    sink.wait_for("/in", 2).await?;
    sink.down();
    let admin = mesh.admin();
    admin
        .until_source("shop/tick", "an error", |source| source["lastError"].is_object())
        .await?;
    sink.up().await?;
    sink.answer("/in", [Answer::status(503), Answer::status(500), Answer::ok()]);
    let before = sink.count("/in");
    sink.wait_for("/in", before + 6).await?;
    let ids = seconds(&sink);
    assert!(is_whole(&ids), "a second is missing: {ids:?}");
    Ok(())
}

#[tokio::test]
async fn only_an_answer_about_the_event_ends_it_and_every_other_is_tried_again() -> anyhow::Result<()> {
    const FINAL: [u16; 5] = [400, 413, 415, 422, 431];
    const TAKEN: [u16; 5] = [200, 201, 202, 204, 299];
    let others = [300, 301, 302, 303, 304, 307, 308];
    let others = others
        .into_iter()
        .chain(401..=431)
        .chain([451, 499])
        .chain(500..=511);
    let others: Vec<u16> = others.filter(|status| !FINAL.contains(status)).collect();
    let sink = Sink::start().await?;
    // A source for each status; its sink answers it twice.
    let source = |status: &u16| {
        let path = format!("/{status}");
        let scripted = Answer::status(*status).header("location", &sink.url("/elsewhere"));
        sink.answer(&path, [scripted.clone(), scripted, Answer::ok()]);
        let text = tick(&format!(", sink: {{uri: '{}'}}", sink.url(&path)));
        text.replace("name: tick", &format!("name: s{status}"))
    };
    let documents: Vec<String> = [FINAL.as_slice(), &TAKEN, &others]
        .concat()
        .iter()
        .map(source)
        .collect();
    let mesh = Setup::new(&documents.join("---\n"))?.sources().start().await?;
    let came = async |status: u16, count: usize| {
        let received = sink.wait_for(&format!("/{status}"), count).await?;
        let ids = received.iter().map(|received| received.event().id().to_owned());
        anyhow::Ok(ids.take(count).collect::<Vec<_>>())
    };
    for status in others {
        let ids = came(status, 4).await?;
        assert!(
            ids[0] == ids[1] && ids[1] == ids[2] && ids[2] < ids[3],
            "{status}: {ids:?}"
        );
    }
    for status in FINAL {
        let ids = came(status, 3).await?;
        assert!(ids[0] < ids[1] && ids[1] < ids[2], "{status}: {ids:?}");
        let told = |source: &Value| source["lastError"]["reason"].as_str().map(str::to_owned);
        let name = format!("shop/s{status}");
        let is_told =
            |source: &Value| told(source).is_some_and(|reason| reason.contains(&status.to_string()));
        mesh.admin()
            .until_source(&name, "one that tells of it", is_told)
            .await?;
    }
    for status in TAKEN {
        let ids = came(status, 3).await?;
        assert!(ids[0] < ids[1] && ids[1] < ids[2], "{status}: {ids:?}");
    }
    assert_eq!(sink.count("/elsewhere"), 0, "a redirect is not followed");
    Ok(())
}

#[tokio::test]
async fn what_was_missed_while_the_role_was_down_is_made_up() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mut mesh = to(&sink, &tick(""))?.start().await?;
    sink.wait_for("/in", 2).await?;
    for clean in [false, true] {
        if clean {
            assert!(mesh.stop().await?.success());
        } else {
            mesh.kill().await?;
        }
        let before = seconds(&sink).len();
        mesh.restart().await?;
        wait_until("more seconds", || async {
            Ok(Some(()).filter(|()| seconds(&sink).len() > before + 2))
        })
        .await?;
    }
    mesh.stop().await?;
    let ids = seconds(&sink);
    assert!(is_whole(&ids), "a second is missing: {ids:?}");
    Ok(())
}

#[tokio::test]
async fn k_sink_is_trusted_by_k_ca_certs() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let (identity, authority) = tls::signed()?;
    let address = tls::before(&sink, &identity).await?;
    let other = tls::self_signed(&["nobody.example"], true)?;
    let setup = Setup::new(&tick(""))?
        .sources()
        .environment("K_SINK", &format!("https://{address}/in"))
        .environment("SSL_CERT_DIR", "");
    let none = setup.folder().join("none.pem");
    std::fs::write(&none, other.certificate)?;
    let setup = setup.environment("SSL_CERT_FILE", &none.to_string_lossy());
    let _mesh = setup.environment("K_CA_CERTS", &authority).start().await?;
    sink.wait_for("/in", 1).await?;
    Ok(())
}

#[tokio::test]
async fn without_k_sink_a_url_of_the_document_is_used_and_a_broker_is_not_there() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let url = format!(", sink: {{uri: '{}'}}", sink.url("/in"));
    let broker = ", sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: x}}";
    let other = tick(broker).replace("name: tick", "name: other");
    let mesh = Setup::new(&format!("{}---\n{other}", tick(&url)))?
        .sources()
        .start()
        .await?;
    sink.wait_for("/in", 1).await?;
    let source = mesh
        .admin()
        .until_source("shop/other", "not ready", |source| source["state"] == "not-ready")
        .await?;
    let reason = source["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("Set K_SINK to the URL"), "{source}");
    // A reload is taken up; one that leaves no source is refused.
    mesh.reload(&tick(&url)).await?;
    mesh.setup().write("# nothing\n")?;
    let refused = millrace_tests::reload::refused(&mesh).await?;
    assert_eq!(
        refused,
        "there is no source in the documents; `millrace sources` needs one"
    );
    Ok(())
}

#[tokio::test]
async fn a_folder_in_use_and_variables_that_make_no_sense_have_their_exit_codes() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh: Mesh = to(&sink, &tick(""))?.start().await?;
    let second = to(&sink, &tick(""))?.data(mesh.setup().data_folder());
    let (status, said) = second.fail().await?;
    assert_eq!(status.code(), Some(4), "{said}");
    for (name, value) in [
        ("K_SINK", "broker"),
        ("K_CA_CERTS", "trust me"),
        ("K_CE_OVERRIDES", "{"),
        ("K_SINK_TIMEOUT", "soon"),
    ] {
        let (status, said) = Setup::new(&tick(""))?
            .sources()
            .environment(name, value)
            .fail()
            .await?;
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(name), "{said}");
    }
    let (status, said) = Setup::new("# nothing\n")?.sources().fail().await?;
    assert_eq!(status.code(), Some(3), "{said}");
    Ok(())
}
