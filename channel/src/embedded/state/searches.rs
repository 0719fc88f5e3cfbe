//! Searches for people: each has a connection of its own for as long as it takes, so that a long list neither
//! waits for a sync nor makes a commit wait.
//!
//! SQLite keeps the descriptor of such a connection until the database is closed, since closing it would give
//! up the locks of the other connection. The next search uses it again.

use std::path::Path;

use rusqlite::Connection;

use super::{StateError, schema};

/// Whoever holds it may search: one at a time.
#[derive(Debug, Default)]
pub(super) struct Searches {
    is_closed: bool,
}

// === impl Searches ===

impl Searches {
    /// Answers a question of the database in `file`, or gives it back if that cannot be opened: the process
    /// may have no descriptor left. Blocking.
    pub(super) fn ask<T, Q>(&self, file: &Path, question: Q) -> Result<Result<T, StateError>, Q>
    where
        Q: FnOnce(&Connection) -> Result<T, StateError>,
    {
        if self.is_closed {
            return Ok(Err(StateError::Closed));
        }
        match schema::open_reader(file) {
            Ok(db) => Ok(question(&db)),
            Err(_) => Err(question),
        }
    }

    /// Allows no more of them.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }
}
