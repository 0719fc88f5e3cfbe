//! What is read back: an event at its position.

use std::fmt;
use std::str::FromStr;

use millrace_event::{Event, Timestamp};

/// A place in a channel. Positions of one partition are ordered; those of different partitions are not
/// comparable in any meaningful way (the order derived here only serves sorting).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The partition; the embedded backend has one, 0.
    pub partition: u32,
    /// Rises with each event of the partition, by one or more. A position is never used twice.
    pub offset: u64,
}

/// An event at its position.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// When it was appended.
    pub appended: Timestamp,
    /// The event, a slice of what was read: not copied.
    pub event: Event,
}

/// What one read gave.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Where to read on; also moves when there were only gaps.
    pub next: Position,
    /// Positions between the reader's position and `next` whose events are not there any more.
    pub gaps: Vec<Gap>,
}

/// A run of positions that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first that is missing.
    pub from: Position,
    /// The first that is there again.
    pub to: Position,
    /// Why.
    pub reason: GapReason,
}

/// Why positions cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The frame was damaged and has been set aside: a loss, to be counted and reported.
    Corrupt,
    /// Dropped to make room (`millrace.dev/on-full: drop-oldest`), or deleted by retention after everybody
    /// had settled it.
    Dropped,
    /// Never used: positions are skipped where a crash might have given them out.
    Unused,
    /// Something stands there that is no CloudEvent or cannot be parsed: another writer put it there. It is
    /// skipped, counted and reported.
    Unreadable,
    /// The backend has lost events that it had acknowledged (a power cut, a restored backup): a loss, to be
    /// counted and reported.
    Lost,
}

impl fmt::Display for Position {
    /// `partition:offset`, or the offset alone in partition 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.partition == 0 {
            write!(f, "{}", self.offset)
        } else {
            write!(f, "{}:{}", self.partition, self.offset)
        }
    }
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is a number, or two with a colon between: partition:number")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    /// As it is displayed.
    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (partition, offset) = text.split_once(':').unwrap_or(("0", text));
        Ok(Self {
            partition: partition.parse().map_err(|_| NoPosition)?,
            offset: offset.parse().map_err(|_| NoPosition)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for (partition, offset, text) in [(0, 7, "7"), (3, 7, "3:7"), (0, u64::MAX, "18446744073709551615")] {
            let position = Position { partition, offset };
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse(), Ok(position));
        }
        for wrong in ["", ":", "x", "1:", ":1", "-1", "1:2:3"] {
            assert_eq!(wrong.parse::<Position>(), Err(NoPosition), "{wrong}");
        }
    }
}
