//! An attempt as a line of a file.

use std::borrow::Cow;

use millrace_event::Timestamp;
use serde::{Deserialize, Serialize};

use crate::embedded::state::{stage_from_db, stage_to_db};
use crate::{Attempt, AttemptOutcome, Position};

/// The longest detail and answer that are kept.
const LONGEST_TEXT: usize = 1_024;

/// An attempt as a line of JSON; the position comes first, so that lines of others are passed by.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    p: u64,
    trigger: String,
    stage: i64,
    attempt: u32,
    at: i64,
    millis: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    outcome: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    answer: String,
}

// === impl Line ===

impl From<&Attempt> for Line {
    fn from(attempt: &Attempt) -> Self {
        Self {
            p: attempt.position.offset,
            trigger: attempt.trigger.to_string(),
            stage: stage_to_db(attempt.stage),
            attempt: attempt.attempt,
            at: attempt.at.0,
            millis: attempt.millis,
            status: attempt.status,
            outcome: attempt.outcome.as_str().into(),
            detail: shortened(&attempt.detail),
            answer: shortened(&attempt.answer),
        }
    }
}

impl TryFrom<Line> for Attempt {
    type Error = ();

    fn try_from(line: Line) -> Result<Self, ()> {
        Ok(Self {
            position: Position {
                partition: 0,
                offset: line.p,
            },
            trigger: line.trigger.parse().map_err(|_| ())?,
            stage: stage_from_db(line.stage).map_err(|_| ())?,
            attempt: line.attempt,
            at: Timestamp(line.at),
            millis: line.millis,
            status: line.status,
            outcome: AttemptOutcome::named(&line.outcome).ok_or(())?,
            detail: line.detail,
            answer: line.answer,
        })
    }
}

fn shortened(text: &str) -> String {
    let end = (0..=LONGEST_TEXT.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}
