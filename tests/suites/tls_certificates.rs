//! Promise: a listener's certificate is replaced without a lost request, and one that cannot be used changes
//! nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use millrace_tests::certificates::{Authority, Pair};
use millrace_tests::documents::Documents;
use millrace_tests::mesh::Setup;
use millrace_tests::secured::{Secured, open, post};
use millrace_tests::{tls, wait_until};

/// Replaces both files, the certificate before the key.
fn replace(pair: &Pair, by: &Pair) -> anyhow::Result<()> {
    fs::copy(&by.certificate, &pair.certificate)?;
    fs::copy(&by.key, &pair.key)?;
    Ok(())
}

/// The certificate that is served to new connections.
async fn served(address: SocketAddr, authority: &Path) -> anyhow::Result<Vec<u8>> {
    let stream = tls::connect(address, authority, &[]).await?;
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates().and_then(<[_]>::first);
    Ok(shown.context("no certificate")?.to_vec())
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_refuses_the_start_in_words() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::make(folder.path(), "ca")?;
    let (one, other) = (authority.server("one")?, authority.server("other")?);
    let unlike = Pair {
        certificate: one.certificate,
        key: other.key,
    };
    let (status, said) = Setup::new(Documents::broker().text())?
        .args(&unlike.listening())
        .fail()
        .await?;
    ensure!(
        status.code() == Some(1) && said.contains("do not go together"),
        "{status} {said}"
    );
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_replaced_under_load_without_a_failed_request() -> anyhow::Result<()> {
    let secured = Secured::start(&[]).await?;
    let address = secured.listen()?;
    let pair = Pair {
        certificate: secured.authority.file.with_file_name("server.pem"),
        key: secured.authority.file.with_file_name("server.key"),
    };
    let (done, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..2)
        .map(|nth| {
            let (done, sent) = (done.clone(), sent.clone());
            tokio::spawn(load(
                address,
                secured.authority.file.clone(),
                nth == 0,
                done,
                sent,
            ))
        })
        .collect();
    for name in ["second", "third"] {
        let before = served(address, &secured.authority.file).await?;
        // Files that cannot be used, in between.
        let refused = "millrace_files_reread_total{files=\"tls\",outcome=\"refused\"}";
        let count = secured.metric(refused).await?;
        fs::write(&pair.key, "no key")?;
        wait_until("the unusable key to be refused", || async {
            Ok((secured.metric(refused).await? > count).then_some(()))
        })
        .await?;
        assert_eq!(served(address, &secured.authority.file).await?, before);

        replace(&pair, &secured.authority.server(name)?)?;
        wait_until("the new certificate to be served", || async {
            Ok((served(address, &secured.authority.file).await? != before).then_some(()))
        })
        .await?;
        let so_far = sent.load(Ordering::SeqCst);
        wait_until("requests after it", || async {
            Ok((sent.load(Ordering::SeqCst) > so_far + 10).then_some(()))
        })
        .await?;
    }
    done.store(true, Ordering::SeqCst);
    for task in load {
        task.await??;
    }
    secured.sink.wait_for("/all", sent.load(Ordering::SeqCst)).await?;
    Ok(())
}

/// Sends events until `done`, on one connection or on a new one each. Each must be taken.
async fn load(
    address: SocketAddr,
    authority: PathBuf,
    keeps: bool,
    done: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
) -> anyhow::Result<()> {
    let mut connection = open(address, &authority).await?;
    let mut nth = 0;
    while !done.load(Ordering::SeqCst) {
        if !keeps {
            connection = open(address, &authority).await?;
        }
        let id = format!("{keeps}-{nth}");
        ensure!(post(&mut connection, &id).await? == 202, "{id}");
        sent.fetch_add(1, Ordering::SeqCst);
        nth += 1;
    }
    Ok(())
}
