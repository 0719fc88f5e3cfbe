//! The admin listener as a client sees it: raw HTTP to a real listener, with a real channel behind it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod audit;
mod counted;
mod explain;
mod forget;
mod harness;
mod health;
mod log_level;
mod mesh;
mod parked;
mod protection;
mod snapshots;
