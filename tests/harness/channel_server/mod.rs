//! A server that keeps a Broker's channel. What a Broker promises there does not depend on the server: the
//! [`stories`] are told once, and the suite of each server names each of them as a test of its own.

pub mod stories;

use std::future::Future;

use crate::documents::{Documents, Trigger};
use crate::{Event, Mesh, Sink, wait_until};

/// A policy that keeps trying, often.
pub const PATIENT: &str =
    "{retry: 100000, backoffPolicy: exponential, backoffDelay: PT0.1S, backoffMax: PT0.5S}";

/// A real server of one kind, with data that it keeps over its own death.
pub trait ChannelServer: Sized {
    /// What the `config` of a Broker calls it: its `backend`.
    const BACKEND: &'static str;

    /// Starts one; `None` when the peer is not there and not required.
    ///
    /// # Errors
    /// When it does not start.
    fn start() -> impl Future<Output = anyhow::Result<Option<Self>>>;

    /// `kill -9`.
    ///
    /// # Errors
    /// When it is not gone before the deadline.
    fn kill(&mut self) -> impl Future<Output = anyhow::Result<()>>;

    /// Starts it again on the same data, where clients find it.
    ///
    /// # Errors
    /// When it does not start.
    fn restart(&mut self) -> impl Future<Output = anyhow::Result<()>>;

    /// Where clients find it, as `servers` of a `config`.
    fn servers(&self) -> String;

    /// The Broker `shop/default` that is kept there, with this `spec.delivery` in flow style. `more` are
    /// further lines of its ConfigMap's data.
    fn broker(&self, delivery: &str, more: &[&str]) -> Documents {
        broker_at::<Self>(&self.servers(), delivery, more)
    }
}

/// The ConfigMap `shop/on-<backend>` for a server at this address, and the Broker `shop/default` that names
/// it, with this `spec.delivery` in flow style.
pub fn broker_at<S: ChannelServer>(servers: &str, delivery: &str, more: &[&str]) -> Documents {
    let name = format!("on-{}", S::BACKEND);
    let mut data = vec![
        format!("backend: {}", S::BACKEND),
        format!("servers: \"{servers}\""),
    ];
    data.extend(more.iter().map(ToString::to_string));
    let config = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop}}\ndata:\n  {}\n",
        data.join("\n  ")
    );
    let named = format!("{{apiVersion: v1, kind: ConfigMap, name: {name}}}");
    Documents::of(&config).and_broker("default", &format!("{{config: {named}, delivery: {delivery}}}"))
}

/// The Trigger for everything, at `/all` of the sink.
pub fn all(sink: &Sink) -> Trigger {
    Trigger::new("all", &sink.url("/all"))
}

/// Posts an event to `shop/default` until it is accepted: a server that is back may not be ready.
///
/// # Errors
/// When it is not before the deadline.
pub async fn until_accepted(mesh: &Mesh, id: &str) -> anyhow::Result<()> {
    wait_until("it to be accepted", || async {
        let answered = mesh.post("shop/default", &Event::new(id, "x").binary()).await?;
        Ok((answered.status == 202).then_some(()))
    })
    .await
}
