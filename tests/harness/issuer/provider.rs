//! A real provider of OpenID Connect, of which clients get tokens as its protocol says.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::event::Message;
use crate::process::Process;
use crate::{Client, peers};

/// The client that it knows.
pub const CLIENT: &str = "till";
/// Its password.
pub const PASSWORD: &str = "hush";

/// A provider. Dropping it ends it.
#[derive(Debug)]
pub struct Provider {
    /// Its name, which is its URL by https.
    pub issuer: String,
    /// Where clients get tokens by http.
    grants: SocketAddr,
    certificates: Certificates,
    _process: Process,
    _folder: TempDir,
}

// === impl Provider ===

impl Provider {
    /// Starts it; `None` when it is not there and not required.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        let Some(peer) = peers::oidc_provider()? else {
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        let certificates = Certificates::make(folder.path())?;
        let server = &certificates.server;
        let args = [&server.certificate, &server.key].map(|file| file.to_string_lossy().into_owned());
        let log = folder.path().join("provider.log");
        let mut process = peer.start("oidc-node/provider.js", &args, &log)?;
        let said: Value = serde_json::from_str(&process.first_line().await?)?;
        let text = |name: &str| said[name].as_str().context("it does not say where it is");
        Ok(Some(Self {
            issuer: text("issuer")?.to_owned(),
            grants: text("grants")?.parse()?,
            certificates,
            _process: process,
            _folder: folder,
        }))
    }

    /// Who vouches for its https.
    pub fn authority(&self) -> &PathBuf {
        &self.certificates.authority
    }

    /// Where clients get tokens, by https.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.issuer)
    }

    /// A token for that resource, got by client credentials.
    ///
    /// # Errors
    /// When it gives none.
    pub async fn token(&self, resource: &str) -> anyhow::Result<String> {
        let login = BASE64_STANDARD.encode(format!("{CLIENT}:{PASSWORD}"));
        let form = format!("grant_type=client_credentials&resource={resource}");
        let kind = "application/x-www-form-urlencoded";
        let request = Message {
            headers: vec![
                ("authorization".to_owned(), format!("Basic {login}")),
                ("content-type".to_owned(), kind.to_owned()),
            ],
            body: form.into(),
        };
        let answer = Client::new(self.grants).post("/token", &request).await?;
        let answer = answer.json()?;
        let token = answer["access_token"].as_str();
        Ok(token.with_context(|| answer.to_string())?.to_owned())
    }

    /// Has it put new keys in the place of the old ones.
    ///
    /// # Errors
    /// When it does not.
    pub async fn rotate(&self) -> anyhow::Result<()> {
        let none = Message {
            headers: Vec::new(),
            body: bytes::Bytes::new(),
        };
        let answer = Client::new(self.grants)
            .send(&Method::POST, "/rotate", &none)
            .await?;
        anyhow::ensure!(answer.status == 200, "{}", answer.status);
        Ok(())
    }
}
