//! Promise: after SIGTERM the process ends properly, whatever hangs.

use std::fs;
use std::io::Write as _;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::raw::Socket;
use millrace_tests::{Answer, Event, Gate, Sink, wait_until};
use rustix::fs::{CWD, FileType, Mode, OFlags};

#[tokio::test]
async fn the_process_ends_whatever_hangs() -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let documents = Documents::broker().trigger(&Trigger::new("ship", &sink.url("/ship")));
    let setup = Setup::new(documents.text())?;
    let file = setup.file();
    let mut mesh = setup.start().await?;
    mesh.send("shop/default", &[Event::new("1", "order.paid")])
        .await?;
    mesh.until_settled().await?;
    // Reading the documents never ends from now on, as on a file system that has gone away.
    let next = file.with_extension("pipe");
    rustix::fs::mknodat(CWD, &next, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    fs::rename(&next, &file)?;
    let _silent = wait_until("the documents to be read", || async {
        // A pipe can be opened for writing once somebody reads it.
        Ok(rustix::fs::open(&file, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok())
    })
    .await?;
    let status = mesh.stop().await?;
    assert_eq!(status.code(), Some(0), "{}", mesh.process().stderr());
    assert_eq!(sink.count("/ship"), 1);
    Ok(())
}

/// Producers that stop amid their bodies, and a subscriber that never answers.
#[tokio::test]
async fn the_process_ends_while_producers_and_a_subscriber_hang() -> anyhow::Result<()> {
    let (sink, never) = (Sink::start().await?, Gate::closed());
    sink.answer("/ship", [Answer::ok().after(&never)]);
    let documents = Documents::broker().trigger(&Trigger::new("ship", &sink.url("/ship")));
    let setup = Setup::new(documents.text())?.args(&["--drain-timeout", "2s"]);
    let mut mesh = setup.start().await?;
    mesh.send("shop/default", &[Event::new("taken", "order.paid")])
        .await?;
    sink.wait_for("/ship", 1).await?;
    let mut producers = Vec::new();
    for number in 0..40 {
        let mut producer = Socket::connect(mesh.listen()).await?;
        let head = format!(
            "POST /shop/default HTTP/1.1\r\nHost: mesh\r\nContent-Type: application/json\r\nCe-Id: {number}\r\n\
             Ce-Source: /s\r\nCe-Type: order.paid\r\nCe-Specversion: 1.0\r\nContent-Length: 1000000\r\n\r\n{{"
        );
        producer.write(head.as_bytes()).await?;
        producers.push(producer);
    }
    wait_until("the bodies to be read", || async {
        let held = mesh.admin().memory("bodies").await?;
        Ok((held >= 40).then_some(()))
    })
    .await?;
    let status = mesh.stop().await?;
    assert_eq!(status.code(), Some(0), "{}", mesh.process().stderr());
    never.open();
    sink.answer("/ship", [Answer::ok()]);
    mesh.restart().await?;
    mesh.until_settled().await?;
    let ids = sink.ids("/ship");
    assert!(ids.len() >= 2 && ids.iter().all(|id| id == "taken"), "{ids:?}");
    Ok(())
}

#[tokio::test]
async fn the_end_by_force_comes_while_nobody_reads_the_log() -> anyhow::Result<()> {
    let setup = Setup::new(Documents::broker().text())?;
    let log = setup.folder().join("log");
    rustix::fs::mknodat(CWD, &log, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    // A pipe whose reader never reads.
    let full = rustix::fs::open(&log, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty())?;
    let into_the_pipe = ["sh", "-c", "exec \"$@\" 2>log", "sh"].map(str::to_owned);
    let setup = setup
        .before(into_the_pipe.to_vec())
        .args(&["--drain-timeout", "1s"]);
    let mut mesh = setup.start().await?;
    let mut full = fs::File::from(full);
    for size in [4_096, 1] {
        while full.write(&vec![b'.'; size]).is_ok() {}
    }
    // Refused documents are logged: from now on the reload hangs, and holds the lock of standard error.
    mesh.setup().write("no: document")?;
    let status = mesh.stop().await?;
    assert_eq!(status.code(), Some(1), "it ends by force");
    Ok(())
}
