//! A broker's channel on NATS JetStream: partitions, each of which has its events and its state as two
//! streams on a server.
//!
//! What an owner does is that of every backend on servers ([`millrace_channel::remote`]); here is what NATS
//! is for it. The files follow an opening: what is asked ([`options`]), the connections (`connect`), the
//! names of the streams (`names`) and their shape, which is checked and never altered (`shape`), as they are
//! made or found (`prepare`); then all of them (`streams`), and a partition (`partition`, with what it knows
//! of itself in `known` and what is asked of it in `reach`): appends (`append`), readers (`reader`, of
//! messages as `raw` knows them), the claim and the fenced writes (`fence`), and what looks after it
//! meanwhile (`tend`). `members` are the processes beside each other, and `share` says whose each partition
//! is to be.
//!
//! # Guarantees
//! - The event stream holds plain CloudEvents in NATS' binary mode. Whatever else stands there is skipped as
//!   a gap, and ends no reader.
//! - Each chunk of state is one atomic batch whose last message is the partition's progress, and that expects
//!   the progress before it. So whoever has claimed the partition later has made the chunks of all others
//!   impossible, and a chunk that arrives late is refused.
//! - A loss of what was acknowledged is noticed by fingerprints at a claim, and by each reader that begins
//!   anew.
//!
//! # Caveats
//! What a 202 is worth is the server's: with its default settings it has given the event to the operating
//! system, and syncs every two minutes.

mod append;
mod connect;
mod error;
mod fence;
mod following;
mod known;
mod members;
mod names;
pub mod options;
mod partition;
mod prepare;
mod raw;
mod reach;
mod reader;
mod shape;
mod share;
mod streams;
mod tend;

pub use error::OpenError;
pub use members::{About, Members, RENEWED_EVERY, Standing};
pub use options::{Durability, Login, Options};
pub use partition::Partition;
pub use share::shares;
pub use streams::Streams;
pub use tend::Ended;
