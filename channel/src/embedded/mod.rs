//! The default backend: files on the local disk, no other server (design §2, "Embedded").

pub mod log;
pub mod state;
pub mod store;

pub use store::{ChannelOptions, Durability, OpenError, Store, StoreOptions};
