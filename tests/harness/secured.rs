//! A mesh whose listeners speak TLS, and the clients that everybody has.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::ensure;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use crate::certificates::Authority;
use crate::documents::{Documents, Trigger};
use crate::mesh::Setup;
use crate::{Event, Mesh, Sink, tls};

/// A mesh whose listeners speak TLS, with what it was given.
#[derive(Debug)]
pub struct Secured {
    /// The mesh, with the Broker `shop/default`, which knows the authority of clients.
    pub mesh: Mesh,
    /// Who has signed the certificate of its listeners, and signs those of clients.
    pub authority: Authority,
    /// Gets all events at `/all`.
    pub sink: Sink,
    _folder: tempfile::TempDir,
}

// === impl Secured ===

impl Secured {
    /// Starts it with more arguments.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(args: &[&str]) -> anyhow::Result<Self> {
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

    /// Where the ingress speaks TLS.
    ///
    /// # Errors
    /// When it does not.
    pub fn listen(&self) -> anyhow::Result<SocketAddr> {
        self.mesh.address("listenTls")
    }

    /// Posts an event by curl; gives its answer as `status version`.
    ///
    /// # Errors
    /// When curl fails.
    pub fn curl(&self, id: &str, flags: &[&str]) -> anyhow::Result<String> {
        let output = self.run_curl(id, flags)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{flags:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same, whatever comes of it.
    ///
    /// # Errors
    /// When curl cannot be started.
    pub fn run_curl(&self, id: &str, flags: &[&str]) -> anyhow::Result<Output> {
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
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn openssl(&self, flags: &[&str]) -> anyhow::Result<Output> {
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

    /// The value of a metric; 0 when there is none.
    ///
    /// # Errors
    /// When the admin listener does not answer.
    pub async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let answer = self.mesh.admin().ask(&http::Method::GET, "/metrics").await?;
        let text = String::from_utf8(answer.body.to_vec())?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Opens a connection for HTTP/1.1.
///
/// # Errors
/// When there is none before the deadline.
pub async fn open(address: SocketAddr, authority: &Path) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = tls::connect(address, authority, &["http/1.1"]).await?;
    let (sender, driver) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    Ok(sender)
}

/// Posts an event; gives the status.
///
/// # Errors
/// When there is no answer.
pub async fn post(connection: &mut SendRequest<Full<Bytes>>, id: &str) -> anyhow::Result<u16> {
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
