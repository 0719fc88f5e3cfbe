//! Promise: both listeners speak https where that is asked for, to any common client, beside http or
//! instead of it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use millrace_tests::certificates::Authority;
use millrace_tests::documents::Documents;
use millrace_tests::mesh::Setup;
use millrace_tests::secured::{Secured, open, post, text};
use millrace_tests::{Event, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

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
