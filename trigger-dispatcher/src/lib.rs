//! From the channel to the subscribers: router, lanes, retries, dead letters, parking.
//!
//! The files follow the way of an event. [`dispatcher`] keeps one `serving` per owned partition, whose tasks
//! `served` begins and ends, and `admission` gives each trigger a `lane` in it. The `router` reads the log's
//! head and pushes matches into the lanes that keep up; `catch_up` feeds the others. A `worker` takes from
//! its lane and sees the job through (`deliver`): it makes the `attempt` (whose `reply` is stored, and a
//! `bad_reply` is kept), and `conclude` decides what comes next (`next_step`), which `history` notes.
//! `alone` keeps events apart that may have ended the process. `progress` writes down what was settled;
//! `due` brings back what is due later. `watched` restarts all of these tasks after a panic.
//!
//! # Guarantees
//! - Every event that matches a lane's filter at or after the lane's start is delivered, dead-lettered or
//!   parked: at least once, also across `kill -9`.
//! - A slow or dead subscriber costs the other lanes nothing, and memory only up to the lane's bounds.
//! - What was in flight, and at most one commit interval of outcomes, is delivered again after a crash.
//!
//! # Caveats
//! Order within a lane is the log's only while its parallelism is 1, and not across retries.

mod admission;
mod alone;
mod applied;
mod attempt;
mod bad_reply;
mod budget;
mod catch_up;
mod conclude;
mod deliver;
pub mod dispatcher;
mod due;
mod history;
mod lane;
pub mod metrics;
mod next_step;
pub mod observer;
mod orphans;
mod progress;
mod provoke;
mod release;
mod reply;
mod router;
mod served;
mod serving;
mod settings;
mod status;
mod watched;
mod window;
mod worker;

pub use applied::Applied;
pub use catch_up::STRETCH_BYTES;
pub use dispatcher::{Dispatcher, DispatcherOptions, Parts, sweep_interval};
pub use metrics::Metrics;
pub use observer::{Observation, Observer};
pub use release::Release;
