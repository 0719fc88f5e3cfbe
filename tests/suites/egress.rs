//! Promise: connections lead only where the operator lets them, whoever names the place.

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Answer, Event, Mesh, Sink};

const ONCE: &str = "{retry: 0}";

/// The reason of each parked event, by Trigger, once there are so many.
async fn parked(mesh: &Mesh, count: usize) -> anyhow::Result<Vec<(String, String)>> {
    let rows = mesh.admin().until_parked(count).await?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = rows
        .iter()
        .map(|row| (text(&row["trigger"]), text(&row["reason"])))
        .collect();
    all.sort();
    Ok(all)
}

#[tokio::test]
async fn what_is_denied_gets_nothing_and_everything_else_does() -> anyhow::Result<()> {
    let (open, closed) = (Sink::start().await?, Sink::start().await?);
    open.answer("/fails", [Answer::status(400)]);
    let letters = |sink: &Sink| format!("{{retry: 0, deadLetterSink: {{uri: '{}'}}}}", sink.url("/dead"));
    let token = format!(
        "{{oauth2: {{tokenUrl: '{}', clientId: c, clientSecret: {{env: MILLRACE_SECRET_C}}}}}}",
        closed.url("/token")
    );
    let documents = Documents::broker()
        .trigger(&Trigger::new("open", &open.url("/open")).delivery(ONCE))
        .trigger(&Trigger::new("closed", &closed.url("/closed")).delivery(ONCE))
        .trigger(&Trigger::new("letters", &open.url("/fails")).delivery(&letters(&closed)))
        .trigger(
            &Trigger::new("token", &open.url("/token"))
                .delivery(ONCE)
                .annotation("millrace.dev/subscriber-auth", &token),
        );
    let deny = format!("127.0.0.0/8:{}", closed.address().port());
    let setup = Setup::new(documents.text())?
        .environment("MILLRACE_SECRET_C", "hush")
        .args(&["--egress-deny", &deny]);
    let mesh = setup.start().await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    open.wait_for("/open", 1).await?;
    for (trigger, reason) in parked(&mesh, 3).await? {
        let reason_of = trigger != "shop/letters";
        assert!(
            !reason_of || reason.contains("--egress-deny names where it leads"),
            "{trigger}: {reason}"
        );
    }
    assert_eq!(
        closed.count("/closed") + closed.count("/dead") + closed.count("/token"),
        0
    );
    assert_eq!(open.count("/token"), 0, "nothing is sent without its token");
    Ok(())
}

#[tokio::test]
async fn where_something_is_allowed_only_that_is() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let port = sink.address().port();
    let documents = Documents::broker()
        .trigger(&Trigger::new("name", &format!("http://localhost:{port}/name")).delivery(ONCE))
        .trigger(&Trigger::new("address", &sink.url("/address")).delivery(ONCE));
    let setup =
        Setup::new(documents.text())?.args(&["--egress-allow", &format!("public:443,localhost:{port}")]);
    let mesh = setup.start().await?;
    mesh.send("shop/default", &[Event::new("1", "x")]).await?;
    sink.wait_for("/name", 1).await?;
    let parked = parked(&mesh, 1).await?;
    assert_eq!(parked[0].0, "shop/address");
    assert!(
        parked[0].1.contains("no place that --egress-allow names"),
        "{parked:?}"
    );
    assert_eq!(sink.count("/address"), 0);
    Ok(())
}
