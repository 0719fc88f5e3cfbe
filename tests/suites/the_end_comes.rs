//! Promise: after SIGTERM the process ends in good order, whatever hangs.

use std::fs;

use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Event, Sink, wait_until};
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
