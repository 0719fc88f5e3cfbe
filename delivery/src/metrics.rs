//! Metrics of attempts.
