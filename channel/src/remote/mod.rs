//! What every backend on other machines has in common: the owner of a partition whose log and whose records
//! of state lie on servers.
//!
//! A backend implements [`Servers`]: what its servers do, in their own numbers. Everything else is here,
//! once, and is proved on the simulated backend by random schedules. The files follow a partition that is
//! taken over: the records of state ([`state`]) and how they look on the wire (`codec`); what the new owner
//! does first (`claim`: it looks for a loss by its fingerprints, `prints`, and gives new positions to what
//! came after one, `epochs`); its own view of the state (`view`, with its lanes in `lanes`); what a commit
//! writes and in which order (`commit`), from what is asked before (`facts`); and the owner itself (`owner`),
//! as the dispatcher sees it (`channel`). `log` appends and reads, `ids` finds events; `spread` joins the
//! partitions of a broker.
//!
//! # Guarantees
//! - A commit is stored in chunks, in the order that the contract names, each whole or not at all.
//! - Only the newest owner writes: each chunk names its claim.
//! - Nothing is written before the outcome of the write before is known.
//!
//! # Caveats
//! The owner's view is in memory: what it takes grows with the rows of work and the parked events, each with
//! a copy of its event. The history of attempts is in memory too, and ends with the process.

mod channel;
mod claim;
mod codec;
mod commit;
mod epochs;
mod facts;
mod ids;
mod lanes;
mod log;
mod owner;
mod prints;
pub mod servers;
mod spread;
pub mod state;
mod view;

pub use codec::{Key, Undecodable, debt_bytes};
pub use epochs::Epochs;
pub use log::Client;
pub use owner::{Owner, OwnerOptions};
pub use servers::{Entries, Entry, Read, Servers};
pub use spread::{Spread, partition_of};
pub use state::{State, Write};
