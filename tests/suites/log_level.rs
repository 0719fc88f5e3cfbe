//! Promise: what a running Millrace logs is shown and changed without a restart, and a mistake in the filter
//! changes nothing.

use std::process::Output;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Mesh, wait_until};
use serde_json::{Value, json};

/// The documents of a mesh, which differ by the name of their Trigger.
fn documents(name: &str) -> Documents {
    Documents::broker().trigger(&Trigger::new(name, "http://127.0.0.1:9/"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

async fn log_level(mesh: &Mesh, args: &[&str]) -> anyhow::Result<String> {
    let output = mesh.millrace(&[&["log-level"], args].concat()).await?;
    anyhow::ensure!(output.status.success(), "{args:?}: {output:?}");
    Ok(said(&output))
}

/// Replaces the documents; gives the line that a reload logs at level info.
async fn reload(mesh: &Mesh, name: &str) -> anyhow::Result<String> {
    mesh.reload(documents(name).text()).await?;
    let revision = &mesh.admin().get("mesh").await?["revision"];
    Ok(format!("the new mesh is in effect revision={revision}"))
}

async fn until_logged(mesh: &Mesh, line: &str) -> anyhow::Result<()> {
    wait_until(line, || async {
        Ok(mesh.running().stderr().contains(line).then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_level_changes_while_it_runs_and_ends_with_the_process() -> anyhow::Result<()> {
    let setup = Setup::new(documents("a").text())?.environment("MILLRACE_LOG", "info,hyper=warn");
    let mut mesh = setup.start().await?;
    assert_eq!(log_level(&mesh, &[]).await?, "info,hyper=warn");
    assert_eq!(log_level(&mesh, &["warn"]).await?, "warn");
    until_logged(&mesh, "the log level changes from=info,hyper=warn to=\"warn\"").await?;
    let quiet = reload(&mesh, "b").await?;
    // Only a module that tells of reloads.
    let shown = log_level(&mesh, &["warn,millrace=info", "--output", "json"]).await?;
    let expected = json!({"filter": "warn,millrace=info", "initial": "info,hyper=warn"});
    assert_eq!(serde_json::from_str::<Value>(&shown)?, expected);
    let told = reload(&mesh, "c").await?;
    until_logged(&mesh, &told).await?;
    assert!(!mesh.running().stderr().contains(&quiet), "{quiet}");
    assert_eq!(mesh.admin().get("log-level").await?, expected);
    mesh.stop().await?;
    mesh.restart().await?;
    assert_eq!(log_level(&mesh, &[]).await?, "info,hyper=warn");
    Ok(())
}

#[tokio::test]
async fn a_mistake_is_refused_with_its_code_and_changes_nothing() -> anyhow::Result<()> {
    let mesh = Mesh::start(documents("a").text()).await?;
    for (filter, why) in [
        (
            "dbug",
            "\"dbug\" is no level (off, error, warn, info, debug, trace)",
        ),
        ("millrace=loud", "error parsing level filter"),
        ("", "it is empty; off logs nothing"),
    ] {
        let output = mesh.millrace(&["log-level", filter]).await?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{filter}: {error}");
        assert!(
            error.contains(why) && error.contains("(bad-log-filter)"),
            "{filter}: {error}"
        );
    }
    assert_eq!(log_level(&mesh, &[]).await?, "info");
    let told = reload(&mesh, "b").await?;
    until_logged(&mesh, &told).await
}
