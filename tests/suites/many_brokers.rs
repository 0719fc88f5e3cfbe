//! Promise: many Brokers cost little, and what is not needed any more costs nothing.

use std::fs;

use millrace_tests::descriptors;
use millrace_tests::documents::Documents;
use millrace_tests::mesh::Setup;
use millrace_tests::reload::{events, refused, until_not_refused};
use millrace_tests::{Mesh, wait_until};

#[tokio::test]
async fn what_a_refused_mesh_opened_is_closed_and_its_new_folders_go() -> anyhow::Result<()> {
    const MANY: usize = 60;
    let mesh = Mesh::start(Documents::broker().text()).await?;
    let process = mesh.running();
    // The last in order of name, so that others are opened before.
    let in_the_way = mesh.setup().data_folder().join("brokers/shop/z");
    fs::write(&in_the_way, "")?;
    let before = (process.descriptors()?, process.threads()?);
    let many = (0..MANY).fold(Documents::broker(), |all, n| {
        all.and_broker(&format!("b{n}"), "{}")
    });
    mesh.setup().write(many.clone().and_broker("z", "{}").text())?;
    let why = refused(&mesh).await?;
    assert!(why.contains("shop/z"), "{why}");
    // It is tried again meanwhile, and what that opens is closed too.
    wait_until("what was opened to be closed", || async {
        let now = (process.descriptors()?, process.threads()?);
        let brokers = fs::read_dir(mesh.setup().data_folder().join("brokers/shop"))?.count();
        // Two threads and seven files for each Broker would be more.
        let is_closed = now.0 < before.0 + MANY && now.1 < before.1 + MANY && brokers == 2;
        anyhow::ensure!(is_closed, "{before:?} became {now:?}, with {brokers} folders");
        Ok(Some(()))
    })
    .await?;

    fs::remove_file(&in_the_way)?;
    until_not_refused(&mesh).await?;
    for broker in ["shop/default", "shop/b0", "shop/b59", "shop/z"] {
        mesh.send(broker, &events(broker, "x", 1)).await?;
    }
    Ok(())
}

/// Waits until so many descriptors are open, at most.
async fn until_at_most(mesh: &Mesh, descriptors: usize) -> anyhow::Result<()> {
    wait_until("idle Brokers to close their files", || async {
        let now = mesh.running().descriptors()?;
        anyhow::ensure!(now <= descriptors, "{now} are open, {descriptors} may be");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn idle_brokers_keep_no_file_open_and_more_of_them_run_than_files_may_be_open() -> anyhow::Result<()> {
    const MANY: usize = 120;
    const LIMIT: u32 = 256;
    let many = (0..MANY).fold(Documents::broker(), |all, n| {
        all.and_broker(&format!("b{n}"), "{}")
    });
    let setup = Setup::new(many.text())?.before(descriptors::at_most(LIMIT));
    let mut mesh = setup.start().await?;
    // What a mesh with one Broker has, and a little more.
    let few = 40;
    until_at_most(&mesh, few).await?;
    // Each in turn wakes, and gives its files back.
    for some in [0..25, 25..50] {
        for n in some {
            mesh.send(&format!("shop/b{n}"), &events(&format!("{n}-"), "x", 1))
                .await?;
        }
        until_at_most(&mesh, few).await?;
    }
    mesh.stop().await?;
    mesh.restart().await?;
    until_at_most(&mesh, few).await?;
    mesh.send("shop/b7", &events("again", "x", 1)).await?;
    mesh.kill().await?;
    mesh.restart().await?;
    mesh.send("shop/b7", &events("at-last", "x", 1)).await
}
