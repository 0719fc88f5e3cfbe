//! Whether an answer carries a reply event.
