//! CronSource end to end: ticks reach a subscriber, once each, over kill and restart and over changes of the
//! documents.

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Mesh, Sink, wait_until};

/// A Broker, a Trigger for everything, and a CronSource `shop/tick` with these fields in flow style.
fn documents(sink: &Sink, spec: &str) -> String {
    let mesh = Documents::broker().trigger(&Trigger::new("all", &sink.url("/in")));
    format!(
        "{}---\napiVersion: sources.millrace.dev/v1alpha1\nkind: CronSource\nmetadata: {{name: tick, namespace: shop}}\n\
         spec: {{{spec}, sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}}}}}\n",
        mesh.text()
    )
}

/// How many seconds lie between ticks with these ids, which are instants of one day.
fn gaps(ids: &[String]) -> anyhow::Result<Vec<i64>> {
    let second = |id: &String| -> anyhow::Result<i64> {
        let time = id.get(11..19).unwrap_or_default();
        let parts: Vec<i64> = time.split(':').map(str::parse).collect::<Result<_, _>>()?;
        Ok(parts.iter().fold(0, |sum, part| sum * 60 + part))
    };
    let seconds: Vec<i64> = ids.iter().map(second).collect::<Result<_, _>>()?;
    Ok(seconds
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).rem_euclid(86_400))
        .collect())
}

#[tokio::test]
async fn every_second_is_an_event_with_its_instant_in_id_and_time() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let spec = "schedule: '* * * * * *', contentType: application/json, data: '{\"job\":\"tidy\"}', ceOverrides: {extensions: {team: payments}}";
    let mesh = Mesh::start(&documents(&sink, spec)).await?;
    let received = sink.wait_for("/in", 3).await?;
    let event = received[0].event();
    assert_eq!(received[0].header("ce-type"), Some("dev.knative.sources.ping"));
    assert_eq!(
        received[0].header("ce-source"),
        Some("/apis/v1/namespaces/shop/cronsources/tick")
    );
    assert_eq!(received[0].header("ce-time"), Some(event.id()));
    assert_eq!(received[0].header("ce-team"), Some("payments"));
    assert_eq!(received[0].header("content-type"), Some("application/json"));
    assert_eq!(received[0].body.as_ref(), br#"{"job":"tidy"}"#);
    assert_eq!(gaps(&sink.ids("/in")[..3])?, [1, 1]);
    let source = mesh
        .admin()
        .until_source("shop/tick", "three events", |source| {
            source["events"].as_u64().is_some_and(|events| events >= 3)
        })
        .await?;
    assert_eq!(
        (&source["kind"], &source["state"]),
        (&"CronSource".into(), &"ready".into())
    );
    assert!(source["lastEvent"].is_string(), "{source}");
    assert!(mesh.admin().metric("millrace_source_events_total").await? >= 3.0);
    Ok(())
}

#[tokio::test]
async fn what_a_kill_cut_off_is_made_up_and_each_tick_comes_once() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mut mesh = Mesh::start(&documents(&sink, "schedule: '* * * * * *', catchUp: all")).await?;
    sink.wait_for("/in", 2).await?;
    for _ in 0..2 {
        mesh.kill().await?;
        let before = sink.count("/in");
        mesh.restart().await?;
        sink.wait_for("/in", before + 3).await?;
    }
    mesh.stop().await?;
    mesh.restart().await?;
    mesh.until_settled().await?;
    let mut ids = sink.ids("/in");
    ids.sort();
    // A repeat (a crash between the append and its note) carries the same id.
    ids.dedup();
    let gaps = gaps(&ids)?;
    assert!(gaps.iter().all(|gap| *gap == 1), "a second is missing: {ids:?}");
    Ok(())
}

#[tokio::test]
async fn a_changed_schedule_takes_effect_without_a_restart_and_without_a_storm() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mesh = Mesh::start(&documents(&sink, "schedule: '@yearly', catchUp: all")).await?;
    let admin = mesh.admin();
    admin
        .until_source("shop/tick", "ready", |source| source["state"] == "ready")
        .await?;
    mesh.reload(&documents(&sink, "schedule: '* * * * * *', catchUp: all"))
        .await?;
    sink.wait_for("/in", 3).await?;
    assert_eq!(gaps(&sink.ids("/in")[..3])?, [1, 1]);
    mesh.reload(&documents(&sink, "schedule: '@yearly', catchUp: all"))
        .await?;
    admin
        .until_source("shop/tick", "begun anew", |source| source["state"] == "ready")
        .await?;
    mesh.until_settled().await?;
    // A document that never comes is refused with its line, and what ran goes on.
    mesh.setup().write(&documents(&sink, "schedule: '0 0 30 2 *'"))?;
    wait_until("the documents to be refused", || async {
        let error = admin.get("mesh").await?["lastReloadError"].clone();
        Ok(error
            .as_str()
            .filter(|error| error.contains("(bad-schedule)"))
            .map(drop))
    })
    .await
}

#[tokio::test]
async fn the_example_of_the_guide_runs() -> anyhow::Result<()> {
    let guide = include_str!("../../docs/guides/cron.md");
    let example = guide
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap_or_default();
    let mesh = Setup::new(example)?.start().await?;
    mesh.admin()
        .until_source("shop/nightly", "ready", |source| source["state"] == "ready")
        .await?;
    Ok(())
}
