//! Keep-alive connections of a lane's own, driven directly on `hyper::client::conn`.

use std::sync::Arc;

use crate::guard::Guard;
use crate::{Outcome, Request};

/// What all connections share.
#[derive(Clone, Debug, Default)]
pub struct ConnectorOptions {
    /// The guard.
    pub guard: Guard,
    /// Bytes of an answer's body that are read; 1 MiB by default. More is cut off, and the connection closed.
    pub max_answer_bytes: usize,
}

/// Makes connections: resolves, asks the guard, connects, speaks TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector {
    options: Arc<ConnectorOptions>,
}

/// One slot's connection: at most one open TCP connection, kept alive between attempts at the same authority and
/// replaced when the target's authority changes. An owner drops it when idle.
#[derive(Debug)]
pub struct Connection {}

impl Connector {
    /// A connector with these options.
    pub fn new(options: ConnectorOptions) -> Self {
        todo!()
    }
    /// A slot without an open connection yet.
    pub fn slot(&self) -> Connection {
        todo!()
    }
}

impl Connection {
    /// Makes one attempt. A kept-alive connection that turns out to be stale is replaced once and is not a failed attempt.
    pub async fn attempt(&mut self, request: &Request<'_>) -> Outcome {
        todo!()
    }
}
