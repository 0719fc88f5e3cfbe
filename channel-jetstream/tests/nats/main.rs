//! The channel on a real NATS server.

mod bounds;
mod conformance;
mod readers;
mod server;
