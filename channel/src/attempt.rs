//! The history of attempts: a bounded ring, not durable, for explanations.

use std::borrow::Cow;

use millrace_event::{ObjectName, Timestamp};

use crate::{Position, Stage};

/// One attempt, as recorded.
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
    /// What came of it: `delivered`, `replied`, `failed`, ...
    pub outcome: Cow<'static, str>,
    /// The first bytes of the answer, or the reason of the failure.
    pub detail: String,
}
