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
    /// Answers a question of the database in `file`. Blocking.
    pub(super) fn ask<T>(
        &self,
        file: &Path,
        question: impl FnOnce(&Connection) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        if self.is_closed {
            return Err(StateError::Closed);
        }
        question(&schema::open_reader(file)?)
    }

    /// Allows no more of them.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }
}
