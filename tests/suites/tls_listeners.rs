//! Promise: both listeners speak https where that is asked for, to any common client, beside http or
//! instead of it. A certificate is replaced without a lost request, and one that cannot be used changes
//! nothing.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use millrace_tests::certificates::{Authority, Pair};
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::{Event, Mesh, Sink, tls, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A mesh whose listeners speak TLS, with what it was given.
struct Secured {
    mesh: Mesh,
    authority: Authority,
    sink: Sink,
    _folder: tempfile::TempDir,
}

impl Secured {
    async fn start(args: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::make(folder.path(), "ca")?;
        let pair = authority.server("server")?;
        let sink = Sink::start().await?;
        let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
        let clients = text(&authority.file);
        let setup = Setup::new(documents.text())?
            .args(&pair.listening())
            .args(&["--admin-listen-tls", "127.0.0.1:0", "--tls-client-ca", &clients])
            .args(args);
        Ok(Self {
            mesh: setup.start().await?,
            authority,
            sink,
            _folder: folder,
        })
    }

    fn listen(&self) -> anyhow::Result<SocketAddr> {
        self.mesh.address("listenTls")
    }

    /// Posts an event by curl; gives its answer as `status version`.
    fn curl(&self, id: &str, flags: &[&str]) -> anyhow::Result<String> {
        let output = self.run_curl(id, flags)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{flags:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn run_curl(&self, id: &str, flags: &[&str]) -> anyhow::Result<Output> {
        let url = format!("https://{}/shop/default", self.listen()?);
        let id = format!("ce-id: {id}");
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--output",
            "/dev/null",
        ]);
        command
            .args(["--write-out", "%{http_code} %{http_version}", "--cacert"])
            .arg(&self.authority.file);
        command.args([
            "-X",
            "POST",
            "-H",
            "ce-specversion: 1.0",
            "-H",
            "ce-source: /s",
            "-H",
            "ce-type: t",
            "-H",
        ]);
        command.arg(id).args(flags).arg(url);
        Ok(command.output()?)
    }

    /// `openssl s_client` with these flags, without anything to say.
    fn openssl(&self, flags: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-connect", &self.listen()?.to_string(), "-CAfile"])
            .arg(&self.authority.file);
        command
            .args(["-verify_return_error"])
            .args(flags)
            .stdin(Stdio::null());
        Ok(command.output()?)
    }

    async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let answer = self.mesh.admin().ask(&http::Method::GET, "/metrics").await?;
        let text = String::from_utf8(answer.body.to_vec())?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[tokio::test]
async fn common_clients_send_by_either_protocol_and_version() -> anyhow::Result<()> {
    let secured = Secured::start(&[]).await?;
    let cases: [(&[&str], &str); 6] = [
        (&[], "202 2"),
        (&["--http1.1"], "202 1.1"),
        (&["--no-alpn"], "202 1.1"),
        (&["--tlsv1.2", "--tls-max", "1.2"], "202 2"),
        (&["--tlsv1.3"], "202 2"),
        (&["--http2", "--data", "x", "-H", "expect: 100-continue"], "202 2"),
    ];
    for (nth, (flags, expected)) in cases.iter().enumerate() {
        assert_eq!(
            secured.curl(&format!("tls-{nth}"), flags)?,
            *expected,
            "{flags:?}"
        );
    }
    // http beside it, and the admin side.
    secured
        .mesh
        .send("shop/default", &[Event::new("plain", "t")])
        .await?;
    secured.sink.wait_for("/all", cases.len() + 1).await?;
    let admin = format!("https://{}/readyz", secured.mesh.address("adminTls")?);
    let output = Command::new("curl")
        .args([
            "--silent",
            "--fail",
            "--write-out",
            "%{http_version}",
            "--output",
            "/dev/null",
            "--cacert",
        ])
        .arg(&secured.authority.file)
        .arg(admin)
        .output()?;
    assert_eq!(String::from_utf8(output.stdout)?, "2");
    Ok(())
}

#[tokio::test]
async fn old_versions_and_strangers_are_refused_and_counted() -> anyhow::Result<()> {
    let secured = Secured::start(&[]).await?;
    for version in ["-tls1_2", "-tls1_3"] {
        let output = secured.openssl(&[version])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success() && said.contains("Verify return code: 0"),
            "{version}: {said}"
        );
    }
    for version in ["-tls1", "-tls1_1"] {
        let output = secured.openssl(&[version, "-cipher", "ALL:@SECLEVEL=0"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && said.contains("alert"),
            "{version}: {said}"
        );
    }
    // Ciphers that prove or hide nothing, are broken, have no forward secrecy, or a MAC of old.
    for cipher in [
        "aNULL:eNULL",
        "RC4:3DES:CAMELLIA",
        "AES128-SHA",
        "ECDHE-ECDSA-AES128-SHA",
    ] {
        let weak = format!("{cipher}:@SECLEVEL=0");
        let output = secured.openssl(&["-tls1_2", "-cipher", &weak])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && said.contains("alert handshake failure"),
            "{cipher}: {said}"
        );
    }
    // A certificate of an authority that nobody named, and http where https is spoken.
    let other = tempfile::tempdir()?;
    let stranger = Authority::make(other.path(), "other")?.client("stranger", &[])?;
    let (cert, key) = (text(&stranger.certificate), text(&stranger.key));
    let output = secured.run_curl("stranger", &["--cert", &cert, "--key", &key])?;
    ensure!(!output.status.success(), "a stranger was let in");
    let mut plain = TcpStream::connect(secured.listen()?).await?;
    plain
        .write_all(b"POST /shop/default HTTP/1.1\r\nhost: x\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    ensure!(!answer.starts_with(b"HTTP/"), "an answer in clear text");
    wait_until("the failed handshakes to be counted", || async {
        let name = "millrace_http_tls_handshakes_failed_total{listener=\"ingress\",reason=\"failed\"}";
        Ok((secured.metric(name).await? >= 4).then_some(()))
    })
    .await?;
    assert_eq!(secured.curl("after", &[])?, "202 2");
    Ok(())
}

#[tokio::test]
async fn nobody_negotiates_anew() -> anyhow::Result<()> {
    let secured = Secured::start(&[]).await?;
    let mut client = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &secured.listen()?.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // It ends at the end of its input, so that stays open until the refusal has ended it.
    let mut input = client.stdin.take().context("no input")?;
    input.write_all(b"R\n")?;
    let output = client.wait_with_output()?;
    drop(input);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    for words in ["RENEGOTIATING", "no renegotiation"] {
        ensure!(said.contains(words), "{words}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn client_certificates_may_be_required() -> anyhow::Result<()> {
    let secured = Secured::start(&["--tls-clients", "required"]).await?;
    let client = secured
        .authority
        .client("checkout", &["spiffe://example.org/checkout"])?;
    let (cert, key) = (text(&client.certificate), text(&client.key));
    assert_eq!(secured.curl("known", &["--cert", &cert, "--key", &key])?, "202 2");
    ensure!(!secured.run_curl("nobody", &[])?.status.success());
    let server = secured.authority.server("another-server")?;
    let (cert, key) = (text(&server.certificate), text(&server.key));
    let as_server = secured.run_curl("a server", &["--cert", &cert, "--key", &key])?;
    ensure!(!as_server.status.success(), "a certificate for servers was taken");
    secured
        .mesh
        .send("shop/default", &[Event::new("plain", "t")])
        .await?;
    secured.sink.wait_for("/all", 2).await?;
    Ok(())
}

#[tokio::test]
async fn http_can_be_off() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::make(folder.path(), "ca")?;
    let pair = authority.server("server")?;
    let setup = Setup::new(Documents::broker().text())?
        .listen("off")
        .args(&pair.listening());
    let mesh = setup.start().await?;
    assert!(
        mesh.ready().get("listen").is_none() && mesh.ready().get("adminTls").is_none(),
        "{}",
        mesh.ready()
    );
    let mut connection = open(mesh.address("listenTls")?, &authority.file).await?;
    assert_eq!(post(&mut connection, "only").await?, 202);
    Ok(())
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

/// Opens a connection for HTTP/1.1.
async fn open(address: SocketAddr, authority: &Path) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = tls::connect(address, authority, &["http/1.1"]).await?;
    let (sender, driver) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    Ok(sender)
}

/// Posts an event; gives the status.
async fn post(connection: &mut SendRequest<Full<Bytes>>, id: &str) -> anyhow::Result<u16> {
    let mut request = http::Request::post("/shop/default").header("host", "localhost");
    for (name, value) in Event::new(id, "t").binary().headers {
        request = request.header(name, value);
    }
    connection.ready().await?;
    let answer = connection.send_request(request.body(Full::default())?).await?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await?;
    Ok(status)
}

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

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended_and_holds_up_nobody() -> anyhow::Result<()> {
    let secured = Secured::start(&[]).await?;
    let mut slow = TcpStream::connect(secured.listen()?).await?;
    // The begin of a record that never comes to its end.
    slow.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await?;
    let silent = TcpStream::connect(secured.listen()?).await?;
    assert_eq!(secured.curl("beside", &[])?, "202 2");
    for mut stream in [slow, silent] {
        let mut rest = Vec::new();
        let _ = millrace_tests::within("the end of the connection", async {
            anyhow::Ok(stream.read_to_end(&mut rest).await)
        })
        .await?;
    }
    wait_until("both to be counted", || async {
        let name = "millrace_http_tls_handshakes_failed_total{listener=\"ingress\",reason=\"timeout\"}";
        Ok((secured.metric(name).await? == 2).then_some(()))
    })
    .await?;
    // And a drain does not wait for one.
    let mut secured = secured;
    let _open = TcpStream::connect(secured.listen()?).await?;
    ensure!(secured.mesh.stop().await?.success());
    Ok(())
}
