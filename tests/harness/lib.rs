//! What the end-to-end suites share: they drive the real binary from outside, over its public surface only.
//!
//! A suite reads like its promise. [`Mesh`] starts `millrace run` on a folder of its own. [`Sink`] is the
//! subscriber that records and does as it is told. [`Event`] is what goes in; [`Client`] and [`raw`] bring it
//! there. [`Admin`] asks how the mesh stands. [`wait_until`] waits for a condition and never for a time.
//! [`webhook`] calls as forges do. [`peers`] finds the real clients. [`Clocks`] moves the time of one
//! process, and [`Connects`] keeps it from making connections. [`canaries`] are secrets that must be
//! nowhere. [`Terminal`] types what the documentation says. [`namespace`] gives a test a machine of its
//! own. [`neighbours`] is what tenants do to each other; the benchmark runs it too. [`Kafka`], [`Nats`] and
//! [`Kube`] are real servers, [`channel_server`] is what a Broker promises on whichever keeps its channel,
//! [`kube::node`] runs pods, and [`Helm`] installs the chart (with the feature `servers`). Nothing here uses
//! the product's own crates: a mistake made on both sides would go unnoticed.

#![allow(
    clippy::print_stdout,
    reason = "a test's output is how a failure is understood"
)]

pub mod access;
pub mod admin;
#[cfg(feature = "servers")]
pub mod canaries;
pub mod certificates;
#[cfg(feature = "servers")]
pub mod channel_server;
pub mod client;
pub mod clocks;
pub mod connects;
pub mod console;
pub mod descriptors;
pub mod documents;
pub mod event;
pub mod hello;
#[cfg(feature = "servers")]
pub mod helm;
pub mod issuer;
#[cfg(feature = "servers")]
pub mod kafka;
#[cfg(feature = "servers")]
pub mod kube;
#[cfg(feature = "servers")]
pub mod limited;
pub mod mesh;
pub mod name_server;
pub mod named;
pub mod namespace;
#[cfg(feature = "servers")]
pub mod nats;
pub mod neighbours;
pub mod peers;
#[cfg(feature = "servers")]
pub mod ports;
mod preload;
pub mod process;
pub mod producer;
pub mod proofs;
pub mod raw;
pub mod redact;
pub mod reload;
#[cfg(feature = "servers")]
pub mod secured;
pub mod sink;
pub mod story;
#[cfg(feature = "servers")]
pub mod tls;
pub mod volume;
pub mod wait;
pub mod webhook;

#[cfg(feature = "servers")]
pub use self::helm::Helm;
#[cfg(feature = "servers")]
pub use self::kafka::Kafka;
#[cfg(feature = "servers")]
pub use self::kube::Kube;
#[cfg(feature = "servers")]
pub use self::nats::Nats;
pub use admin::Admin;
pub use client::{Answered, Client};
pub use clocks::Clocks;
pub use connects::Connects;
pub use console::{Page, Terminal};
pub use event::Event;
pub use mesh::Mesh;
pub use producer::Producers;
pub use redact::redacted;
pub use sink::{Answer, Gate, Received, Sink};
pub use volume::Volume;
pub use wait::{wait_until, within};

/// Whether the long versions of the suites are asked for (`cargo xtask test --long`).
pub fn long() -> bool {
    std::env::var_os("MILLRACE_LONG").is_some_and(|value| value == "1")
}

/// A source of chance for a test. Its seed is printed, and `MILLRACE_SEED` repeats a run.
pub fn chance() -> fastrand::Rng {
    let given = std::env::var("MILLRACE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("MILLRACE_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
