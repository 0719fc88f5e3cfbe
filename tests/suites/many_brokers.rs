//! Promise: many Brokers cost little, and what is not needed any more costs nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use millrace_tests::descriptors;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::reload::{events, refused, until_not_refused};
use millrace_tests::{Mesh, Sink, wait_until};

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

/// How many files each Broker of `shop` has open.
fn open_files(mesh: &Mesh) -> anyhow::Result<BTreeMap<String, usize>> {
    let brokers = mesh.setup().data_folder().join("brokers/shop").canonicalize()?;
    let mut open = BTreeMap::new();
    for file in mesh.running().files_below(&brokers)? {
        let broker = file.strip_prefix(&brokers)?.components().next();
        let broker = broker.map(|name| name.as_os_str().to_string_lossy().into_owned());
        *open.entry(broker.unwrap_or_default()).or_default() += 1;
    }
    Ok(open)
}

#[tokio::test]
async fn a_broker_with_traffic_keeps_four_files_open_also_if_its_subscriber_is_down() -> anyhow::Result<()> {
    const BUSY: usize = 8;
    const IDLE: usize = 8;
    let (sink, dead) = (Sink::start().await?, Sink::start().await?);
    dead.down();
    let mut documents = Documents::broker();
    for n in 0..BUSY + IDLE {
        documents = documents.and_broker(&format!("b{n}"), "{}");
    }
    for n in 0..BUSY {
        // Half of them try again and again.
        let subscriber = if n % 2 == 0 {
            sink.url("/up")
        } else {
            dead.url("/down")
        };
        let trigger = Trigger::new(&format!("t{n}"), &subscriber)
            .on(&format!("b{n}"))
            .delivery("{retry: 100000, backoffPolicy: linear, backoffDelay: PT0.2S}");
        documents = documents.trigger(&trigger);
    }
    let mesh = Mesh::start(documents.text()).await?;
    let expected: BTreeMap<_, _> = (0..BUSY).map(|n| (format!("b{n}"), 4)).collect();
    for round in 0..3 {
        for n in 0..BUSY {
            let prefix = format!("{round}-{n}-");
            mesh.send(&format!("shop/b{n}"), &events(&prefix, "x", 20))
                .await?;
        }
        sink.wait_for("/up", (round + 1) * 20 * BUSY / 2).await?;
        // The file of the attempts' history is open while it is written.
        wait_until(
            "four files of each busy Broker, and none of an idle one",
            || async {
                let open = open_files(&mesh)?;
                anyhow::ensure!(open == expected, "{open:?}");
                Ok(Some(()))
            },
        )
        .await?;
    }
    Ok(())
}

/// How often the threads that run now were woken after `before`.
fn woken(mesh: &Mesh, before: &BTreeMap<OsString, u64>) -> anyhow::Result<u64> {
    let now = mesh.running().sleeps()?;
    let more =
        |(thread, count): (&OsString, &u64)| count.saturating_sub(before.get(thread).copied().unwrap_or(0));
    Ok(now.iter().map(more).sum())
}

#[tokio::test]
async fn idle_brokers_wake_no_thread_and_need_none() -> anyhow::Result<()> {
    const MANY: usize = 150;
    const WHILE: Duration = Duration::from_secs(10);
    let many = (0..MANY).fold(Documents::broker(), |all, n| {
        all.and_broker(&format!("b{n}"), "{}")
    });
    let (one, many) = (
        Mesh::start(Documents::broker().text()).await?,
        Mesh::start(many.text()).await?,
    );
    for mesh in [&one, &many] {
        until_at_most(mesh, 40).await?;
    }
    wait_until("the threads of the start to end", || async {
        let (one, many) = (one.running().threads()?, many.running().threads()?);
        // The looks at the documents keep a few threads for blocking calls alive, which take turns.
        anyhow::ensure!(many <= one + 10, "{many}, and {one} with one Broker");
        Ok(Some(()))
    })
    .await?;
    let before = (one.running().sleeps()?, many.running().sleeps()?);
    // That nothing happens for a while is what this test is about.
    tokio::time::sleep(WHILE).await;
    let (one, many) = (woken(&one, &before.0)?, woken(&many, &before.1)?);
    // One wake-up of each Broker would be as many.
    assert!(
        many < one + MANY as u64,
        "{many} in 10 s, and {one} with one Broker"
    );
    Ok(())
}
