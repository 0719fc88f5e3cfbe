//! The log: our own append-only segments with group commit. Knows nothing of lanes.
