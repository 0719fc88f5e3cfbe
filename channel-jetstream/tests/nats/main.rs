//! The channel on a real NATS server: that it keeps the contract (`conformance`), and what it does where a
//! server is full (`bounds`), where a reader or an owner would stand (`readers`), and with leases (`leases`).

mod bounds;
mod conformance;
mod leases;
mod readers;
mod server;
