//! Kafka's client, for everything in the mesh that speaks to a cluster.
//!
//! The files follow the work in order: how a client encrypts and logs in ([`access`], with what can be wrong
//! with it in [`error`]), the settings for librdkafka ([`config`]), what its log tells ([`log`]), why a
//! server cannot be reached ([`fault`]), what an error is about ([`concern`]), and the client that writes
//! ([`writer`], with why a record was not written in [`not_written`]).
//!
//! Which servers may be called is not judged here: `delivery` does that before there is a client, since
//! librdkafka looks names up by itself.

pub mod access;
pub mod concern;
pub mod config;
pub mod error;
pub mod fault;
pub mod log;
pub mod not_written;
pub mod writer;

pub use access::{Access, Login, Tls};
pub use concern::{Concern, is_of_connection};
pub use error::AccessError;
pub use fault::{Cause, ConnectionFault};
pub use log::ClientLog;
pub use not_written::{NotWritten, Prospect};
pub use writer::{Place, Record, Writer};
