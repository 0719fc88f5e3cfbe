//! Memory in parts with shares: who holds how many bytes, who waits, and who makes room.
//!
//! [`part`] is a part of the budget whose items grow as they are read: bodies coming in, replies. [`pace`]
//! measures whether an item keeps up. [`ledger`] is a plain count against a limit, [`slots`] are pieces of
//! one size. The executable decides how large each part is (`millrace/src/role/memory.rs`).

pub mod ledger;
pub mod pace;
pub mod part;
pub mod slots;

pub use ledger::{Ledger, Use};
pub use pace::Pace;
pub use part::{Hold, Part};
pub use slots::{Slot, Slots};
