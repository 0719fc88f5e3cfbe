//! Memory in parts with shares: who holds how many bytes, who waits, and who makes room.
//!
//! [`part`] is a part of the budget in which items grow as they are read: bodies coming in, replies. [`pace`] tells who
//! keeps up with what was kept for it. [`ledger`] is a plain count against a limit. How large each part is, the executable
//! decides (`millrace/src/role/memory.rs`).

pub mod ledger;
pub mod pace;
pub mod part;

pub use ledger::{Ledger, Use};
pub use pace::Pace;
pub use part::{Hold, Part};
