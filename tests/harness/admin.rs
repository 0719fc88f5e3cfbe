//! The admin API, asked as a user's program would.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::event::Message;
use crate::{Answered, Client, wait_until};

/// The admin listener of one mesh.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    address: SocketAddr,
}

/// The admin API on one connection that stays open. It answers even while no other connection can be opened.
#[derive(Debug)]
pub struct OpenAdmin(Mutex<Client>);

// === impl Admin ===

impl Admin {
    /// The admin API at this address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same on one connection, open from now on.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn open(&self) -> anyhow::Result<OpenAdmin> {
        let admin = OpenAdmin(Mutex::new(Client::new(self.address)));
        admin.get("mesh").await?;
        Ok(admin)
    }

    /// What stands at `/api/v1/<what>`.
    ///
    /// # Errors
    /// When the answer is not 200 with JSON.
    pub async fn get(&self, what: &str) -> anyhow::Result<Value> {
        get(&mut Client::new(self.address), what).await
    }

    /// Asks for any path, with the header that changes need.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&self, method: &Method, path: &str) -> anyhow::Result<Answered> {
        ask(&mut Client::new(self.address), method, path).await
    }

    /// The state of one trigger, `namespace/name`.
    ///
    /// # Errors
    /// When it is not listed.
    pub async fn trigger(&self, name: &str) -> anyhow::Result<Value> {
        named(&self.get("triggers").await?, name)
    }

    /// Waits until a source, `namespace/name`, is as `wanted` says.
    ///
    /// # Errors
    /// When it is not so before the deadline.
    pub async fn until_source(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        wait_until(&format!("{name}: {what}"), || async {
            let source = named(&self.get("sources").await?, name)?;
            anyhow::ensure!(wanted(&source), "{source}");
            Ok(Some(source))
        })
        .await
    }

    /// Waits until a trigger is as `wanted` says.
    ///
    /// # Errors
    /// When it is not so before the deadline.
    pub async fn until_trigger(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        wait_until(&format!("{name}: {what}"), || async {
            let trigger = self.trigger(name).await?;
            anyhow::ensure!(wanted(&trigger), "{trigger}");
            Ok(Some(trigger))
        })
        .await
    }

    /// Waits until so many events are parked; gives their list.
    ///
    /// # Errors
    /// When there are not so many before the deadline.
    pub async fn until_parked(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        wait_until(&format!("{count} parked events"), || async {
            let parked = self.get("parked").await?;
            let list = parked
                .as_array()
                .with_context(|| format!("not a list: {parked}"))?
                .clone();
            Ok(Some(list).filter(|list| list.len() == count))
        })
        .await
    }

    /// The value of a metric summed over its series; 0 when there is none.
    ///
    /// # Errors
    /// When `/metrics` cannot be read.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let series = self.series(name).await?;
        Ok(series.iter().fold(0.0, |sum, (_, value)| sum + value))
    }

    /// The series of a metric: the labels as they are written, and the value.
    ///
    /// # Errors
    /// When `/metrics` cannot be read.
    pub async fn series(&self, name: &str) -> anyhow::Result<Vec<(String, f64)>> {
        let answer = self.ask(&Method::GET, "/metrics").await?;
        let text = String::from_utf8(answer.body.to_vec())?;
        let series = text.lines().filter_map(|line| {
            let rest = line
                .strip_prefix(name)
                .filter(|rest| rest.starts_with(['{', ' ']))?;
            let (labels, value) = rest.rsplit_once(' ')?;
            Some((labels.to_owned(), value.parse().ok()?))
        });
        Ok(series.collect())
    }

    /// Bytes of a part of the memory budget that are used.
    ///
    /// # Errors
    /// When `/metrics` cannot be read or has no such part.
    pub async fn memory(&self, part: &str) -> anyhow::Result<u64> {
        let series = self.series("millrace_memory_used_bytes").await?;
        let label = format!("{{part=\"{part}\"}}");
        let found = series.iter().find(|(labels, _)| *labels == label);
        let (_, bytes) = found.with_context(|| format!("no part {part} in {series:?}"))?;
        Ok(*bytes as u64)
    }

    /// Waits until a metric has that value, summed over its series.
    ///
    /// # Errors
    /// When it has not before the deadline.
    pub async fn until_metric(&self, name: &str, value: f64) -> anyhow::Result<()> {
        wait_until(&format!("{name} to be {value}"), || async {
            let found = self.metric(name).await?;
            anyhow::ensure!(found == value, "{found}");
            Ok(Some(()))
        })
        .await
    }
}

// === impl OpenAdmin ===

impl OpenAdmin {
    /// As [`Admin::get`].
    ///
    /// # Errors
    /// When the answer is not 200 with JSON.
    pub async fn get(&self, what: &str) -> anyhow::Result<Value> {
        get(&mut *self.0.lock().await, what).await
    }

    /// As [`Admin::trigger`].
    ///
    /// # Errors
    /// When it is not listed.
    pub async fn trigger(&self, name: &str) -> anyhow::Result<Value> {
        named(&self.get("triggers").await?, name)
    }
}

async fn get(client: &mut Client, what: &str) -> anyhow::Result<Value> {
    let answer = ask(client, &Method::GET, &format!("/api/v1/{what}")).await?;
    anyhow::ensure!(
        answer.status == 200,
        "{what}: {}: {:?}",
        answer.status,
        answer.body
    );
    answer.json()
}

async fn ask(client: &mut Client, method: &Method, path: &str) -> anyhow::Result<Answered> {
    let message = Message {
        headers: vec![("millrace-request".to_owned(), "1".to_owned())],
        body: Bytes::new(),
    };
    client.send(method, path, &message).await
}

/// The one of this name in a list.
fn named(list: &Value, name: &str) -> anyhow::Result<Value> {
    let mut all = list.as_array().into_iter().flatten();
    let found = all.find(|item| item["name"] == name).cloned();
    found.with_context(|| format!("no {name} in {list}"))
}
