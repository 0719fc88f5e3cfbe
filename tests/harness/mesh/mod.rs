//! A mesh on a folder of its own: `millrace run` (or `sources`) started, killed, started again, reloaded.

mod setup;

use std::net::SocketAddr;
use std::process::{ExitStatus, Output};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::event::Message;
use crate::process::{self, Process};
use crate::{Admin, Answered, Client, Event, wait_until};

use self::setup::{address, either};

pub use self::setup::Setup;

/// One `millrace run` and the folder that it works in.
#[derive(Debug)]
pub struct Mesh {
    // Before the folder, so that the process is gone when the folder is removed.
    process: Process,
    setup: Setup,
    listen: SocketAddr,
    admin: SocketAddr,
    /// The first line that it printed.
    ready: Value,
}

// === impl Mesh ===

impl Mesh {
    /// A mesh with these documents and nothing special.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(documents: &str) -> anyhow::Result<Self> {
        Setup::new(documents)?.start().await
    }

    /// Where events go in.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The first line that it printed.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// The address that the first line has under this name.
    ///
    /// # Errors
    /// When it has none.
    pub fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        address(&self.ready, name)
    }

    /// Where it is asked how it stands.
    pub fn admin(&self) -> Admin {
        Admin::new(self.admin)
    }

    /// How it was set up: its files and folders.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The process, for inspection.
    pub fn running(&self) -> &Process {
        &self.process
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The URL of a broker, `namespace/name`.
    pub fn url(&self, broker: &str) -> String {
        format!("http://{}/{broker}", self.listen)
    }

    /// Posts a message to a broker on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, broker: &str, message: &Message) -> anyhow::Result<Answered> {
        Client::new(self.listen)
            .post(&format!("/{broker}"), message)
            .await
    }

    /// Sends events in binary mode, one after the other, and checks that each is accepted.
    ///
    /// # Errors
    /// When one is not answered with 202.
    pub async fn send(&self, broker: &str, events: &[Event]) -> anyhow::Result<()> {
        let mut client = Client::new(self.listen);
        for event in events {
            let answer = client.post(&format!("/{broker}"), &event.binary()).await?;
            anyhow::ensure!(
                answer.status == 202,
                "{}: {}: {:?}",
                event.id(),
                answer.status,
                answer.body
            );
        }
        Ok(())
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// When it is not gone before the deadline.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// SIGTERM, and waits for the end of the drain.
    ///
    /// # Errors
    /// When it does not end before the deadline.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.signal(Signal::TERM)?;
        self.process.ended().await
    }

    /// Starts it again on the same data (and other ports).
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let (process, ready) = self.setup.spawn().await?;
        self.process = process;
        self.listen = either(&ready, "listen")?;
        self.admin = either(&ready, "admin")?;
        self.ready = ready;
        Ok(())
    }

    /// Starts it again with these arguments more, also for every start after.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart_with(&mut self, args: &[&str]) -> anyhow::Result<()> {
        self.setup.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self.restart().await
    }

    /// Starts it again, and kills it after so long, ready or not.
    ///
    /// # Errors
    /// When it cannot be started, or is not gone before the deadline.
    pub async fn stumble(&mut self, life: Duration) -> anyhow::Result<()> {
        let setup = &self.setup;
        self.process = setup.process()?;
        // The moment of the kill is the test's choice; nothing is waited for.
        tokio::time::sleep(life).await;
        self.process.kill().await
    }

    /// Replaces the documents and waits until the new ones are what runs.
    ///
    /// # Errors
    /// When they are refused or not taken before the deadline.
    pub async fn reload(&self, documents: &str) -> anyhow::Result<()> {
        let admin = self.admin();
        let before = admin.get("mesh").await?["revision"].clone();
        self.setup.write(documents)?;
        wait_until("the new documents to run", || async {
            let mesh = admin.get("mesh").await?;
            Ok(Some(()).filter(|()| mesh["revision"] != before))
        })
        .await
    }

    /// Waits until every trigger has settled everything that its broker has taken.
    ///
    /// # Errors
    /// When that is not so before the deadline.
    pub async fn until_settled(&self) -> anyhow::Result<()> {
        let admin = self.admin();
        wait_until("every trigger to settle everything", || async {
            let (brokers, triggers) = (admin.get("brokers").await?, admin.get("triggers").await?);
            settled(&brokers, &triggers).map(Some)
        })
        .await
    }

    /// Runs a client command of the binary against this mesh.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn millrace(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut all: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        all.extend(["--admin".to_owned(), format!("http://{}", self.admin)]);
        process::run(self.setup.folder(), &all, "").await
    }
}

/// That every trigger has settled everything that its broker has taken. The place of one that is gone stays.
///
/// # Errors
/// When one has not, which is named.
pub(crate) fn settled(brokers: &Value, triggers: &Value) -> anyhow::Result<()> {
    let head = |name: &Value| {
        let mut brokers = brokers.as_array().into_iter().flatten();
        let found = brokers.find(|broker| broker["name"] == *name);
        found
            .and_then(|broker| broker["head"].as_u64())
            .unwrap_or_default()
    };
    let is_settled = |trigger: &Value| {
        let idle = ["backlog", "queued", "deferred"]
            .iter()
            .all(|count| trigger[count] == 0);
        idle && trigger["cursor"]
            .as_u64()
            .is_some_and(|cursor| cursor >= head(&trigger["broker"]))
    };
    let mut triggers = triggers.as_array().into_iter().flatten();
    let open = triggers.find(|trigger| trigger["state"] != "orphaned" && !is_settled(trigger));
    anyhow::ensure!(open.is_none(), "{}; {brokers}", open.cloned().unwrap_or_default());
    Ok(())
}
