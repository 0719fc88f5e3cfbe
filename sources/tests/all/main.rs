//! What sources and the frame around them promise, with real parts but for the two whose faults are scripted.

mod cron;
mod frame;
mod support;
