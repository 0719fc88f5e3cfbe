//! A real NATS server with JetStream in a folder of its own, and a client of a few lines that can also send
//! what no client library would.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::channel_server::ChannelServer;
use crate::process::Process;
use crate::{peers, ports, within};

/// How often a start is tried: another process may have taken its port.
const TRIES: usize = 3;

/// A NATS server. Dropping it kills it and deletes its data.
#[derive(Debug)]
pub struct Nats {
    // Before the folder, so that it is dead when that is deleted.
    process: Option<Process>,
    folder: TempDir,
    program: PathBuf,
    port: u16,
    args: Vec<String>,
    starts: usize,
}

/// A connection that speaks the protocol as text.
#[derive(Debug)]
pub struct Wire(BufReader<TcpStream>);

// === impl Nats ===

impl Nats {
    /// Starts a server that lets anybody in; `None` when the peer is not there and not required.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        Self::start_with(&[]).await
    }

    /// Starts a server with more arguments, such as `--user` and `--pass`.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_with(args: &[&str]) -> anyhow::Result<Option<Self>> {
        let Some(program) = peers::nats_server()? else {
            return Ok(None);
        };
        let mut nats = Self {
            process: None,
            folder: tempfile::tempdir()?,
            program,
            port: 0,
            args: args.iter().map(ToString::to_string).collect(),
            starts: 0,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            nats.port = ports::free(1)?[0];
            match nats.restart().await {
                Ok(()) => return Ok(Some(nats)),
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Its URL for clients.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it is not gone before the deadline.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// Starts it again on the same data and port; stops it first when it runs.
    ///
    /// # Errors
    /// When it does not end or not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM)?;
            process.ended().await?;
        }
        self.starts += 1;
        let log = self.folder.path().join(format!("nats-{}.log", self.starts));
        let mut command = Command::new(&self.program);
        command
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"])
            .arg(self.folder.path().join("data"))
            .args(&self.args);
        let mut process = Process::spawn("nats-server", command, &log)?;
        process
            .until_ready(|| {
                let said = fs::read_to_string(&log);
                async { Ok(said?.contains("Server is ready")) }
            })
            .await?;
        self.process = Some(process);
        Ok(())
    }

    /// Copies its data aside, while it stands still.
    ///
    /// # Errors
    /// When the files cannot be copied.
    pub async fn keep(&mut self, name: &str) -> anyhow::Result<()> {
        self.stop().await?;
        let (from, to) = (self.folder.path().join("data"), self.folder.path().join(name));
        copy(&from, &to)?;
        self.restart().await
    }

    /// Puts that copy in the place of its data, as a restored backup.
    ///
    /// # Errors
    /// When the files cannot be copied.
    pub async fn restore(&mut self, name: &str) -> anyhow::Result<()> {
        self.stop().await?;
        let (from, to) = (self.folder.path().join(name), self.folder.path().join("data"));
        fs::remove_dir_all(&to)?;
        copy(&from, &to)?;
        self.restart().await
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM)?;
            process.ended().await?;
        }
        Ok(())
    }

    /// Connects to it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connect(&self) -> anyhow::Result<Wire> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let mut wire = Wire(BufReader::new(stream));
        wire.line().await.context("its greeting")?;
        let hello = "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nPING\r\n";
        wire.0.get_mut().write_all(hello.as_bytes()).await?;
        while wire.line().await? != "PONG" {}
        Ok(wire)
    }

    /// Asks JetStream's API.
    ///
    /// # Errors
    /// When it does not answer, or not in JSON.
    pub async fn api(&self, what: &str, body: &Value) -> anyhow::Result<Value> {
        let mut wire = self.connect().await?;
        let answer = wire
            .ask(&format!("$JS.API.{what}"), &serde_json::to_vec(body)?)
            .await?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl ChannelServer for Nats {
    const BACKEND: &'static str = "jetstream";

    async fn start() -> anyhow::Result<Option<Self>> {
        Self::start().await
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        self.kill().await
    }

    async fn restart(&mut self) -> anyhow::Result<()> {
        self.restart().await
    }

    fn servers(&self) -> String {
        self.url()
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &place)?,
            false => drop(fs::copy(entry.path(), place)?),
        }
    }
    Ok(())
}

// === impl Wire ===

impl Wire {
    /// Publishes a message with these header lines (each ends with `\r\n`), which may be any octets, and
    /// waits until the server has it.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn publish(&mut self, subject: &str, headers: &[u8], payload: &[u8]) -> anyhow::Result<()> {
        let head = [b"NATS/1.0\r\n", headers, b"\r\n"].concat();
        let total = head.len() + payload.len();
        let line = format!("HPUB {subject} {} {total}\r\n", head.len());
        let message = [line.as_bytes(), &head, payload, b"\r\nPING\r\n"].concat();
        self.0.get_mut().write_all(&message).await?;
        loop {
            match self.line().await?.as_str() {
                "PONG" => return Ok(()),
                refused if refused.starts_with("-ERR") => anyhow::bail!("{refused}"),
                _ => {}
            }
        }
    }

    /// Sends a request and gives the payload of its answer.
    ///
    /// # Errors
    /// When none comes.
    pub async fn ask(&mut self, subject: &str, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
        let line = format!(
            "SUB _INBOX.ask 1\r\nPUB {subject} _INBOX.ask {}\r\n",
            payload.len()
        );
        let message = [line.as_bytes(), payload, b"\r\n"].concat();
        self.0.get_mut().write_all(&message).await?;
        loop {
            let line = self.line().await?;
            let Some(told) = line.strip_prefix("MSG ").or_else(|| line.strip_prefix("HMSG ")) else {
                continue;
            };
            let size = told.split(' ').next_back().context("a size")?.parse()?;
            let mut body = vec![0; size];
            self.0.read_exact(&mut body).await?;
            return Ok(body);
        }
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = Vec::new();
        within("a line of NATS", self.0.read_until(b'\n', &mut line)).await?;
        anyhow::ensure!(!line.is_empty(), "the server has closed the connection");
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}
