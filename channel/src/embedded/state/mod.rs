//! The state beside the log: SQLite on its own thread.
