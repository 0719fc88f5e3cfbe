//! The one place that reads what documents name: files and variables of the environment.
//!
//! The author of a document is not the operator. So a document may name only what the operator opened: files
//! below some folders, and variables whose names have some prefix. The files follow the work in order: what
//! the operator opened ([`rule`]) and what is never open (`closed`), which file a path leads to (`place`,
//! `open`), how it is read without holding up anything else ([`reader`]) and in turns (`turn`), and why a
//! secret cannot be had ([`error`]).
//!
//! # Guarantees
//! - A file is judged by its place after every symbolic link is resolved. The file that was judged is the one
//!   that is read, whatever happens to its path meanwhile.
//! - Only regular files of at most [`MAX_BYTES`] are read. A read that hangs is given up after [`DEADLINE`],
//!   and holds up neither a thread of the runtime nor the end of the process.
//! - No error repeats a content. About a file in a place that is not open nothing is told, not even whether
//!   it exists.
//!
//! # Caveats
//! - A hard link or a bind mount below an open folder counts as a file of that folder. Anyone who may make
//!   one there is trusted with it.

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
