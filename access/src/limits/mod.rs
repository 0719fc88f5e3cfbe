//! How much somebody may send, and how much a Broker takes: events and bytes a second, and requests at one
//! time.
//!
//! The files follow a limit. The access file says it (`wire`); a [`Rate`] is a token bucket that governor
//! judges (`rate`); what has been spent of each bucket stands in a table of a bounded size (`table`); and
//! [`spending`] asks the sender's buckets and the Broker's together, so that what one refuses the others do
//! not pay for. What is at work is counted apart ([`in_hand`]): it comes back when it ends.

pub(crate) mod in_hand;
mod rate;
pub(crate) mod spending;
mod table;
pub(crate) mod wire;

use std::fmt;
use std::time::Duration;

pub use in_hand::Counted;
pub(crate) use rate::Rate;
pub use spending::Paid;

/// How much is let through. What is not named has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Events.
    pub(crate) events: Option<Rate>,
    /// Bytes of their data.
    pub(crate) bytes: Option<Rate>,
    /// Requests in hand at one time.
    pub(crate) requests: Option<u32>,
}

/// What a request has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Its events.
    pub events: usize,
    /// The bytes of their data together.
    pub bytes: usize,
}

/// Why a request is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch {
    /// Whose limit it is.
    pub whose: Whose,
    /// What there is too much of.
    pub what: What,
    /// When it would fit.
    pub fits: Fits,
}

/// Whose limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// That of who sends.
    Sender,
    /// That of the Broker, which all of its senders share.
    Broker,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Events.
    Events,
    /// Bytes of their data.
    Bytes,
    /// Requests in hand.
    Requests,
}

/// When a request that is too much now would fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fits {
    /// After this time, unless others come first.
    After(Duration),
    /// Never: it is larger than what may come at once, which is this.
    Never(u64),
}

// === impl Limit ===

impl Limit {
    /// Whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        !self.has_rates() && self.requests.is_none()
    }

    /// Whether anything of it is counted by the second.
    pub(crate) fn has_rates(&self) -> bool {
        self.events.is_some() || self.bytes.is_some()
    }
}

// === impl TooMuch ===

impl TooMuch {
    /// When to come back. For what never fits, it does not matter.
    pub fn wait(&self) -> Duration {
        match self.fits {
            Fits::After(wait) => wait,
            Fits::Never(_) => Duration::ZERO,
        }
    }

    /// The stable code, as docs/reference/errors.md has it.
    pub fn code(&self) -> &'static str {
        match (self.fits, self.whose, self.what) {
            (Fits::After(_), Whose::Sender, What::Requests) => "concurrency-limited",
            (Fits::After(_), Whose::Broker, What::Requests) => "broker-concurrency-limited",
            (Fits::After(_), Whose::Sender, What::Events | What::Bytes) => "rate-limited",
            (Fits::After(_), Whose::Broker, What::Events | What::Bytes) => "broker-rate-limited",
            (Fits::Never(_), ..) => "over-burst",
        }
    }
}

impl fmt::Display for TooMuch {
    /// A sentence for whom it concerns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Events => "events",
            What::Bytes => "bytes",
            What::Requests => "requests",
        };
        let whose = match self.whose {
            Whose::Sender => "who sends",
            Whose::Broker => "this broker",
        };
        match self.fits {
            Fits::After(_) if self.what == What::Requests => write!(
                f,
                "as many requests are in hand as the limit of {whose} lets there be at one time"
            ),
            Fits::After(_) => write!(f, "the limit of {what} a second of {whose} is reached"),
            Fits::Never(most) => write!(
                f,
                "this is more than may come at once: the limit of {whose} lets through {most} {what} at most, however \
                 long one waits"
            ),
        }
    }
}
