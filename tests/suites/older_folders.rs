//! Promise: a data folder that an older version made is opened and moved on in place, with everything that it
//! owes. One that a later version made is refused in words, and left as it is.
//!
//! `tests/data/README.md` tells how the folder was made.

use std::fs;
use std::path::Path;
use std::process::Command;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::reload::{ids, sorted};
use millrace_tests::story::tells_in_a_row;
use millrace_tests::{Event, Mesh, Sink};

/// The versions of the state database of which there is a folder, as the process left it that was killed.
const OLDEST: u32 = 1;
const WITH_NAMED_QUEUES: u32 = 4;
/// Events that its Trigger `away` still owes.
const OWED: usize = 40;
/// Where SQLite keeps the version of a state database: four bytes, the highest first.
const VERSION_AT: usize = 60;

/// The documents with which the folder was made, but for where the subscribers are.
fn documents(sink: &Sink) -> Documents {
    let away = Trigger::new("away", &sink.url("/away"))
        .attributes("{type: owed}")
        .delivery("{retry: 1000, backoffPolicy: linear, backoffDelay: PT1S}");
    let refuses = Trigger::new("refuses", &sink.url("/refuses"))
        .attributes("{type: refused}")
        .delivery("{retry: 0}");
    Documents::broker().trigger(&away).trigger(&refuses)
}

fn state(setup: &Setup) -> std::path::PathBuf {
    setup.data_folder().join("brokers/shop/default/state.db")
}

fn version(database: &Path) -> anyhow::Result<u32> {
    let bytes = fs::read(database)?;
    let bytes: [u8; 4] = bytes[VERSION_AT..VERSION_AT + 4].try_into()?;
    Ok(u32::from_be_bytes(bytes))
}

/// A mesh on the folder that this version left.
async fn opened(sink: &Sink, of: u32) -> anyhow::Result<Mesh> {
    let setup = Setup::new(documents(sink).text())?;
    let packed = format!("{}/data/state-{of}.tar.gz", env!("CARGO_MANIFEST_DIR"));
    let unpacked = Command::new("tar")
        .args(["-xzf", &packed, "-C"])
        .arg(setup.folder())
        .status()?;
    anyhow::ensure!(unpacked.success(), "tar: {unpacked}");
    assert_eq!(version(&state(&setup))?, of);
    setup.start().await
}

async fn is_moved_on(of: u32) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mut mesh = opened(&sink, of).await?;
    sink.wait_for("/away", OWED).await?;
    mesh.until_settled().await?;
    let mut arrived = sorted(sink.ids("/away"));
    // What was in flight when it was killed is in doubt, and may come twice.
    arrived.dedup();
    assert_eq!(arrived, ids("owed-", OWED));

    let parked = mesh.admin().until_parked(1).await?.remove(0);
    assert_eq!(
        (&parked["event"]["id"], &parked["trigger"]),
        (&"refused".into(), &"shop/refuses".into())
    );
    let id = parked["id"].as_str().unwrap_or_default().to_owned();
    let told = "shop/refuses yes parked 500 Internal Server Error after 1 attempt";
    let args = "--broker shop/default --id refused --trigger shop/refuses";
    tells_in_a_row(&mesh, args, told).await?;

    // It stays so, and goes on as any other folder does.
    assert!(mesh.stop().await?.success());
    let now = version(&state(mesh.setup()))?;
    assert!(of < now, "{now}");
    mesh.restart().await?;
    assert_eq!(mesh.admin().until_parked(1).await?[0]["id"], id.as_str());
    let redriven = mesh.millrace(&["parked", "redrive", &id]).await?;
    assert!(redriven.status.success(), "{redriven:?}");
    sink.wait_for("/refuses", 1).await?;
    mesh.send("shop/default", &[Event::new("new", "owed")]).await?;
    mesh.until_settled().await?;
    assert!(sink.ids("/away").contains(&"new".to_owned()));
    Ok(())
}

#[tokio::test]
async fn the_oldest_folder_is_moved_on_with_its_backlog_and_what_is_parked() -> anyhow::Result<()> {
    is_moved_on(OLDEST).await
}

#[tokio::test]
async fn a_folder_that_names_each_queued_event_is_moved_on_with_its_backlog_and_what_is_parked()
-> anyhow::Result<()> {
    is_moved_on(WITH_NAMED_QUEUES).await
}

#[tokio::test]
async fn a_folder_of_a_later_version_is_refused_in_words_and_left_as_it_is() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let mut mesh = opened(&sink, OLDEST).await?;
    mesh.until_settled().await?;
    assert!(mesh.stop().await?.success());
    let (file, format) = (state(mesh.setup()), mesh.setup().data_folder().join("FORMAT"));
    let ours = version(&file)?;

    let mut later = fs::read(&file)?;
    later[VERSION_AT..VERSION_AT + 4].copy_from_slice(&(ours + 1).to_be_bytes());
    fs::write(&file, &later)?;
    let (status, said) = mesh.setup().fail().await?;
    assert_eq!(status.code(), Some(1), "{said}");
    let why = format!(
        "it has version {} and this Millrace reads up to version {ours}",
        ours + 1
    );
    assert!(said.contains(&why) && said.contains("state.db"), "{said}");
    assert!(fs::read(&file)? == later, "it is left as it is");

    let number = fs::read_to_string(&format)?;
    let next = number.replace('1', "2");
    fs::write(&format, &next)?;
    let (status, said) = mesh.setup().fail().await?;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(next.trim()), "{said}");
    assert_eq!(fs::read_to_string(&format)?, next);
    Ok(())
}
