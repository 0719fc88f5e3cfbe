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
    /// What came of it: `delivered`, `replied` (delivered, and the reply is stored), `reply-refused`
    /// (delivered, but the reply was refused for good), `dead-lettered`, `failed` (something follows),
    /// `parked` (it failed, and the event is parked), `looping` (as `failed`, `parked` or `reply-refused`,
    /// because the event went round too often).
    pub outcome: Cow<'static, str>,
    /// Why it failed, or why a reply was refused; else empty.
    pub detail: String,
    /// The first bytes of the answer's body, as text as far as it is text.
    pub answer: String,
}
