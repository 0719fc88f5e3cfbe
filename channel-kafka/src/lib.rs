//! A broker's channel on Kafka: one partition, whose events and whose state are topics of a cluster.
//!
//! What an owner does is that of every backend on servers ([`millrace_channel::remote`]); here is what Kafka
//! is for it. The files follow an opening: what is asked ([`options`]), the clients (`connect`), the names of
//! the topics (`names`), how they are made (`topics`) and their shape, which is checked and never altered
//! (`shape`); then the partition (`partition`, with what it knows of itself in `known` and what is asked of
//! it in `reach`): appends (`append`), readers (`reader` over `following`, single records by `lookup`, all of
//! records as `raw` knows them, to ends as `end` knows them), the claim and the fenced writes (`fence` by the
//! client of `transactions`, over records as `state` knows them), and what looks after it meanwhile (`tend`).
//!
//! # Guarantees
//! - The topic of the events holds plain CloudEvents in Kafka's binary mode. Whatever else stands there is
//!   skipped as a gap, and ends no reader.
//! - Each chunk of state is one transaction. A claim begins with the `transactional.id` of the partition, so
//!   Kafka refuses the transactions of every owner before it.
//! - A loss of what was acknowledged is noticed by fingerprints at a claim, and by each reader that begins
//!   anew.
//!
//! # Caveats
//! What a 202 is worth is the topic's: `acks=all` waits for the replicas that are in sync, and by default
//! Kafka syncs no record to the disk before it acknowledges. The events of one request are stored one by one:
//! if it fails some of them may be there.

mod append;
mod connect;
mod end;
mod error;
mod fence;
mod following;
mod known;
mod lookup;
mod names;
pub mod options;
mod partition;
mod raw;
mod reach;
mod reader;
mod shape;
mod state;
mod tend;
mod topics;
mod transactions;

pub use error::OpenError;
pub use options::{Durability, Judge, Options};
pub use partition::Partition;
pub use tend::Ended;
