//! Connections to the servers: one that publishes and asks, and one for all readers.
//!
//! A message of somebody else may end a client for good. So readers never share one with what must go on, and
//! a client that has failed is not repaired but made anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ConnectOptions, Event};
use millrace_channel::ChannelError;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::storage;
use crate::options::{Login, Options};

/// How long a request may take.
pub(crate) const REQUEST: Duration = Duration::from_secs(5);
/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A client, and how often its connection has been cut.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) cuts: watch::Receiver<u64>,
    /// Tells it from the clients before it.
    pub(crate) number: u64,
}

/// The readers' client, made anew when it has failed.
#[derive(Debug)]
pub(crate) struct Readers {
    options: Arc<Options>,
    current: Mutex<Option<Connection>>,
    made: AtomicU64,
}

/// Makes a connection.
pub(crate) async fn connect(options: &Options, what: &str, number: u64) -> Result<Connection, String> {
    let (cut, cuts) = watch::channel(0);
    let mut connect = ConnectOptions::new()
        .name(format!("millrace {} {what}", options.broker))
        .connection_timeout(CONNECT)
        .request_timeout(Some(REQUEST))
        .ping_interval(Duration::from_secs(10))
        .subscription_capacity(16 * 1024)
        .event_callback(move |event| {
            if matches!(
                event,
                Event::Disconnected | Event::Closed | Event::SlowConsumer(_)
            ) {
                cut.send_modify(|count| *count += 1);
            }
            std::future::ready(())
        });
    if let Some(tls) = &options.tls {
        connect = connect.tls_client_config(tls.clone()).require_tls(true);
    }
    connect = match &options.login {
        None => connect,
        Some(Login::Password { user, password }) => connect.user_and_password(user.clone(), password.clone()),
        Some(Login::Token(token)) => connect.token(token.clone()),
        Some(Login::Credentials(text)) => connect.credentials(text).map_err(|error| error.to_string())?,
    };
    let client = tokio::time::timeout(2 * CONNECT, connect.connect(options.servers.clone())).await;
    let client = client.map_err(|_| "no answer in time".to_owned())?;
    Ok(Connection {
        client: client.map_err(|error| error.to_string())?,
        cuts,
        number,
    })
}

/// JetStream by a client.
pub(crate) fn jetstream(client: &Client) -> async_nats::jetstream::Context {
    ContextBuilder::new().timeout(REQUEST).build(client.clone())
}

// === impl Readers ===

impl Readers {
    pub(crate) fn new(options: Arc<Options>) -> Self {
        Self {
            options,
            current: Mutex::default(),
            made: AtomicU64::new(0),
        }
    }

    /// The client of now.
    pub(crate) async fn connection(&self) -> Result<Connection, ChannelError> {
        if let Some(current) = self.current.lock().clone() {
            return Ok(current);
        }
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let made = connect(&self.options, "reads", number).await.map_err(storage)?;
        // Two readers may have made one each; the first stays.
        Ok(self.current.lock().get_or_insert(made).clone())
    }

    /// Gives a client up that has failed.
    pub(crate) fn give_up(&self, number: u64) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|current| current.number == number) {
            *current = None;
        }
    }
}
