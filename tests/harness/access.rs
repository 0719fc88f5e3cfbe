//! An access file for a test, and requests that show something.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::documents::{Documents, Trigger};
use crate::event::Message;
use crate::mesh::Setup;
use crate::{Answered, Client, Event, Mesh, Sink, process};

/// Tokens, and the file that knows them.
#[derive(Debug)]
pub struct Access {
    folder: TempDir,
    /// Its entries, a line each.
    pub entries: String,
}

// === impl Access ===

impl Access {
    /// Nobody yet.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            entries: String::new(),
        })
    }

    /// Makes a token with these flags and names it in the file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn token(&mut self, name: &str, flags: &[&str]) -> anyhow::Result<String> {
        let args = [&["access", "token", "--name", name, "-o", "json"], flags].concat();
        let output = process::run(self.folder.path(), &args, "").await?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let made: Value = serde_json::from_slice(&output.stdout)?;
        self.entries.push_str(&format!("    - {}\n", made["entry"]));
        self.write("")?;
        Ok(made["token"].as_str().context("no token")?.to_owned())
    }

    /// Writes the file, with more behind the tokens.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, more: &str) -> anyhow::Result<()> {
        let tokens = format!("authentication:\n  tokens:\n{}{more}", self.entries);
        Ok(fs::write(self.file(), tokens)?)
    }

    /// The folder of the file.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("access.yaml")
    }

    /// A mesh that lets in whom the file names, with a Trigger for everything.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn mesh(&self, args: &[&str], sink: &Sink) -> anyhow::Result<Mesh> {
        let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
        let file = self.file().to_string_lossy().into_owned();
        let setup = Setup::new(documents.text())?
            .args(&["--access", &file])
            .args(args);
        setup.start().await
    }
}

/// An event with this Authorization header.
pub fn with(id: &str, authorization: &str) -> Message {
    let mut message = Event::new(id, "t").binary();
    message
        .headers
        .push(("authorization".to_owned(), authorization.to_owned()));
    message
}

/// The stable code of a refusal; empty where it is none.
pub fn code(answer: &Answered) -> String {
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}

/// Asks the admin listener with this token, if it is one.
///
/// # Errors
/// When there is no answer.
pub async fn ask(mesh: &Mesh, token: &str, method: &Method, path: &str) -> anyhow::Result<Answered> {
    let mut message = Message {
        headers: vec![("millrace-request".to_owned(), "1".to_owned())],
        body: bytes::Bytes::new(),
    };
    if !token.is_empty() {
        let bearer = format!("Bearer {token}");
        message.headers.push(("authorization".to_owned(), bearer));
    }
    Client::new(mesh.admin().address())
        .send(method, path, &message)
        .await
}

/// Posts an event to a Broker of `shop` with this token.
///
/// # Errors
/// When there is no answer.
pub async fn post(mesh: &Mesh, broker: &str, token: &str, event: &Event) -> anyhow::Result<Answered> {
    let mut message = event.binary();
    let bearer = format!("Bearer {token}");
    message.headers.push(("authorization".to_owned(), bearer));
    Client::new(mesh.listen())
        .post(&format!("/shop/{broker}"), &message)
        .await
}
