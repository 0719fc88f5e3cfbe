//! The one place that reads what documents name: files and variables of the environment.
//!
//! Whoever writes a document is not the operator. So a document may name only what the operator opened: files below some
//! folders, and variables whose names begin in some way. The files tell the work in order: what the operator opened
//! ([`rule`]) and what is never open (`closed`), which file a path leads to (`place`, `open`), reading it without holding anybody up ([`reader`]) and in turns (`turn`),
//! and why a secret is not there ([`error`]).
//!
//! # Guarantees
//! - A file is judged by where it is once every symbolic link is resolved, and the file that was judged is the one that is
//!   read, whatever happens to its path meanwhile.
//! - Nothing but regular files of at most [`MAX_BYTES`] is read. What hangs is given up on after [`DEADLINE`], and holds up
//!   neither a thread of the runtime nor the end of the process.
//! - No error repeats a content. Of a file in a place that is not open nothing is said, not even whether it exists.
//!
//! # Caveats
//! - A hard link or a bind mount below an open folder counts as a file of that folder. Who may make one is trusted with it.

mod closed;
pub mod error;
mod open;
mod place;
pub mod reader;
pub mod rule;
mod turn;

pub use error::SecretError;
pub use reader::{DEADLINE, MAX_BYTES, SecretReader};
pub use rule::{Folder, SecretRule};
