//! The connection that reads: opened when somebody asks, and kept only while the database is open anyway.

use std::path::Path;

use rusqlite::Connection;

use super::{StateError, schema};

/// The connection that reads.
#[derive(Debug, Default)]
pub(super) struct Reads {
    db: Option<Connection>,
    is_closed: bool,
}

// === impl Reads ===

impl Reads {
    /// Answers a question of the database in `file`; the connection stays if `keeps` says so afterwards.
    pub(super) fn ask<T>(
        &mut self,
        file: &Path,
        question: impl FnOnce(&Connection) -> Result<T, StateError>,
        keeps: impl FnOnce() -> bool,
    ) -> Result<T, StateError> {
        if self.is_closed {
            return Err(StateError::Closed);
        }
        let db = match self.db.take() {
            Some(db) => db,
            None => schema::open_reader(file)?,
        };
        let answer = question(&db);
        self.db = keeps().then_some(db);
        answer
    }

    /// Closes the connection until the next question.
    pub(super) fn rest(&mut self) {
        self.db = None;
    }

    /// Closes the connection for good.
    pub(super) fn close(&mut self) {
        *self = Self {
            db: None,
            is_closed: true,
        };
    }
}
