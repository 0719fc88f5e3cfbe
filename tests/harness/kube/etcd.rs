//! The store below the API.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::event::Message;
use crate::process::Process;
use crate::{Client, ports};

/// A running etcd. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Etcd {
    // Held for its end.
    _process: Process,
    address: SocketAddr,
}

// === impl Etcd ===

impl Etcd {
    pub(super) async fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let ports = ports::free(2)?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports[0]));
        let (client, peer) = (
            format!("http://{address}"),
            format!("http://127.0.0.1:{}", ports[1]),
        );
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .args(["--data-dir", "etcd", "--unsafe-no-fsync"]);
        command.args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ]);
        command.args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        let mut process = Process::spawn("etcd", command, &folder.join("etcd.log"))?;
        process
            .until_ready(|| async {
                // While it starts nobody listens; that is no failure yet.
                let empty = Message {
                    headers: Vec::new(),
                    body: Bytes::new(),
                };
                let answer = Client::new(address).send(&Method::GET, "/readyz", &empty).await;
                Ok(answer.is_ok_and(|answer| answer.status == 200))
            })
            .await?;
        Ok(Self {
            _process: process,
            address,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Drops the history of all keys up to now.
    pub(super) async fn compact(&self) -> anyhow::Result<()> {
        // Any key tells the revision of the whole store.
        let answer = self.ask("range", &json!({ "key": "AA==" })).await?;
        let revision = answer["header"]["revision"]
            .as_str()
            .context("etcd gave no revision")?;
        self.ask("compaction", &json!({ "revision": revision, "physical": true }))
            .await?;
        Ok(())
    }

    async fn ask(&self, what: &str, request: &Value) -> anyhow::Result<Value> {
        let message = Message {
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Bytes::from(request.to_string()),
        };
        let path = format!("/v3/kv/{what}");
        let answer = Client::new(self.address)
            .send(&Method::POST, &path, &message)
            .await?;
        anyhow::ensure!(
            answer.status == 200,
            "{path}: {}: {:?}",
            answer.status,
            answer.body
        );
        answer.json()
    }
}
