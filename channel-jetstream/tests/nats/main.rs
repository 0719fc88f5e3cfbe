//! The channel on a real NATS server.

mod conformance;
mod server;
