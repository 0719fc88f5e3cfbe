//! What sources and the frame around them promise, with real parts but for the two whose faults are scripted.

#[cfg(feature = "kubernetes")]
mod api_server;
mod cron;
mod frame;
mod set_clocks;
mod store;
mod support;
