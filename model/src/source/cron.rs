//! What a CronSource does: an event at each time of a schedule.

use std::time::Duration;

use bytes::Bytes;

use super::Schedule;

/// An event at each time of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// When.
    pub schedule: Schedule,
    /// The media type of the data.
    pub content_type: Option<String>,
    /// The data of every event.
    pub data: Option<Bytes>,
    /// The longest delay of an event after its time; zero by default. The delay is random, but always the
    /// same for a given tick.
    pub jitter: Duration,
    /// What becomes of the ticks that were missed.
    pub catch_up: CatchUp,
    /// Ticks missed longer ago than this are not made up.
    pub catch_up_max_age: Duration,
}

/// What becomes of ticks that passed while the source did not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// They are left out.
    None,
    /// The last of them is sent.
    #[default]
    Last,
    /// Each of them is sent, oldest first.
    All,
}
