//! An attempt that ended, as it is noted in the history, shown to observers and explained. The history is a
//! bounded ring, not durable.

use std::borrow::Cow;
use std::fmt;

use millrace_event::{ObjectName, Timestamp};

use crate::{Position, Stage};

/// One attempt that ended, or the end of an event that was given up on without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The event.
    pub position: Position,
    /// The trigger.
    pub trigger: ObjectName,
    /// In which stage.
    pub stage: Stage,
    /// The number of the attempt in its stage, from 0.
    pub attempt: u32,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub millis: u32,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Why it failed, or why a reply was refused; else empty.
    pub detail: String,
    /// The first bytes of the answer's body, as text as far as it is text.
    pub answer: String,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The subscriber has the event.
    Delivered,
    /// Delivered, and the reply is stored.
    Replied,
    /// Delivered, but the reply was refused for good.
    ReplyRefused,
    /// The dead-letter sink has the event.
    DeadLettered,
    /// It failed, and something follows.
    Failed,
    /// It failed, and the event is parked.
    Parked,
    /// As `Failed`, `Parked` or `ReplyRefused`, because the event went round through too many brokers.
    Looping,
}

// === impl Attempt ===

impl Attempt {
    /// Whether the target took the event.
    pub fn is_taken(&self) -> bool {
        matches!(self.status, Some(200..=299))
    }

    /// The answer or the failure in a few words: `202`, `503 Service Unavailable`.
    pub fn in_words(&self) -> Cow<'_, str> {
        match self.status {
            Some(status) if self.is_taken() => status.to_string().into(),
            Some(_) | None => self.detail.as_str().into(),
        }
    }
}

// === impl AttemptOutcome ===

impl AttemptOutcome {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Delivered,
        Self::Replied,
        Self::ReplyRefused,
        Self::DeadLettered,
        Self::Failed,
        Self::Parked,
        Self::Looping,
    ];

    /// The stable word: in the files of the history, and the member `outcome` in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Replied => "replied",
            Self::ReplyRefused => "reply-refused",
            Self::DeadLettered => "dead-lettered",
            Self::Failed => "failed",
            Self::Parked => "parked",
            Self::Looping => "looping",
        }
    }

    /// The outcome of this word; `None` when there is none.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

impl fmt::Display for AttemptOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
