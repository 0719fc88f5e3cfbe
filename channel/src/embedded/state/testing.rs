//! What the tests of the tables share.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::{Position, Work, conformance};

pub(crate) fn at(offset: u64) -> Position {
    Position { partition: 0, offset }
}

pub(crate) fn spec(trigger: &str) -> LaneSpec {
    LaneSpec {
        trigger: ObjectName::new("shop", trigger),
        uid: None,
        resume: false,
        filter: String::new(),
        longest_wait: Duration::from_secs(3600),
    }
}

pub(crate) fn admission(start: u64) -> LaneStart {
    LaneStart {
        start,
        now: Timestamp(1_000),
    }
}

pub(crate) fn work(lane: LaneId, offset: u64, attempt: u32, due: i64) -> Work {
    conformance::work(lane, at(offset), attempt, due)
}

pub(crate) fn idle_hooks() -> Hooks {
    Hooks {
        before_commit: Box::new(|| Ok(())),
        on_full: Box::new(|| ()),
        on_wake: Box::new(|| ()),
        commits: Counter::default(),
        pool: Pool::default(),
    }
}

pub(crate) fn start(folder: &Path) -> State {
    Opened::open(&folder.join("state.db"), false)
        .unwrap()
        .start(idle_hooks(), false)
        .unwrap()
}
