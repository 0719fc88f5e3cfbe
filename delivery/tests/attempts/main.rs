//! Attempts against scripted servers: peers that answer late, half, twice, wrongly or not at all cannot be
//! had from a well-behaved HTTP server, so the bytes are written by hand.

mod answers;
mod auth;
mod connections;
mod faults;
mod guarded;
mod replies;
mod requests;
mod server;
mod shortages;
mod targets;
mod tls;
