//! Promise: many Brokers cost little, and what is not needed any more costs nothing.

use std::fs;

use millrace_tests::documents::Documents;
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
        let is_closed = now.0 <= before.0 + MANY / 2 && now.1 <= before.1 + MANY / 2 && brokers == 2;
        anyhow::ensure!(is_closed, "{before:?} became {now:?}, with {brokers} folders");
        Ok(Some(()))
    })
    .await?;

    fs::remove_file(&in_the_way)?;
    until_not_refused(&mesh).await?;
    for broker in ["shop/default", "shop/b0", "shop/b59", "shop/z"] {
        mesh.send(broker, &events(broker, "x", 1)).await?;
    }
    // Two threads for each Broker would be more.
    let threads = process.threads()?;
    assert!(threads < before.1 + MANY, "{} became {threads}", before.1);
    Ok(())
}
