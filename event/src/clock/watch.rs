//! One look a second at all clocks: it notices that the wall clock was set, or that the machine slept, and
//! wakes waiting tasks.
//!
//! One task looks for the whole process, so that waiting tasks need no timer of their own for it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Clock, Timestamp, machine, millis};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// The least difference that counts as a jump: clocks are read one after the other, and are always being
/// corrected a little.
const JUMP: u64 = 1_000;

/// What a look can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// The wall clock was set, forward or (below zero) back, by so many milliseconds.
    Set(i64),
    /// The machine was suspended for this long.
    Slept(Duration),
}

/// What each clock says at a look.
#[derive(Clone, Copy, Debug)]
struct Look {
    wall: Timestamp,
    steady: Timestamp,
    /// Milliseconds by a clock that stands still while the machine is suspended.
    awake: i64,
}

/// What earlier looks have noticed.
#[derive(Clone, Copy, Debug)]
struct Watch {
    ahead: i64,
    slept: i64,
}

impl Clock {
    /// Looks once a second, for as long as the process lives, and reports what it finds. Waiting tasks are
    /// woken first. One such task is enough for a process.
    pub async fn watch(&self, mut tell: impl FnMut(Noticed)) {
        let began = Instant::now();
        let look = || Look {
            wall: self.now(),
            steady: self.steady(),
            awake: millis(began.elapsed()),
        };
        let mut watch = Watch::begin(look(), self.ahead());
        loop {
            tokio::time::sleep(LOOK).await;
            let found = watch.look(look());
            if found.iter().any(Option::is_some) && matches!(self, Self::System) {
                machine::moved(watch.ahead);
            }
            found.into_iter().flatten().for_each(&mut tell);
        }
    }
}

// === impl Watch ===

impl Watch {
    fn begin(look: Look, ahead: i64) -> Self {
        Self {
            ahead,
            slept: look.slept(),
        }
    }

    /// What this look finds that earlier looks have not.
    fn look(&mut self, look: Look) -> [Option<Noticed>; 2] {
        let slept = look.slept().saturating_sub(self.slept);
        let ahead = look.wall.0.saturating_sub(look.steady.0);
        let set = ahead.saturating_sub(self.ahead);
        let has_slept = u64::try_from(slept).is_ok_and(|slept| slept >= JUMP);
        let was_set = set.unsigned_abs() >= JUMP;
        if has_slept {
            self.slept = look.slept();
        }
        if was_set {
            self.ahead = ahead;
        }
        [
            has_slept.then(|| Noticed::Slept(Duration::from_millis(slept.unsigned_abs()))),
            was_set.then_some(Noticed::Set(set)),
        ]
    }
}

// === impl Look ===

impl Look {
    /// How long the machine has slept so far, up to a constant.
    fn slept(&self) -> i64 {
        self.steady.0.saturating_sub(self.awake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_790_000_000_000;
    const HOUR: i64 = 3_600_000;
    const YEAR: i64 = 365 * 24 * HOUR;

    /// A look so long after the start: true time, time asleep, and by how much the wall clock was set.
    fn look(passed: i64, slept: i64, set: i64) -> Look {
        Look {
            wall: Timestamp(START + passed + slept + set),
            steady: Timestamp(START + passed + slept),
            awake: passed,
        }
    }

    #[test]
    fn each_jump_is_found_once_in_either_direction_and_from_hours_to_years() {
        for by in [2 * HOUR, -2 * HOUR, 70 * YEAR, -56 * YEAR, 1_000, -1_000] {
            let mut watch = Watch::begin(look(0, 0, 0), 0);
            assert_eq!(watch.look(look(1_000, 0, 0)), [None, None]);
            assert_eq!(watch.look(look(2_000, 0, by)), [None, Some(Noticed::Set(by))]);
            assert_eq!(watch.look(look(3_000, 0, by)), [None, None], "{by}");
            let back = watch.look(look(78_000, 0, 0));
            assert_eq!(back, [None, Some(Noticed::Set(-by))], "it is right again");
        }
    }

    #[test]
    fn sleep_is_no_jump_and_a_pause_of_the_process_is_neither() {
        let mut watch = Watch::begin(look(0, 0, 0), 0);
        assert_eq!(
            watch.look(look(9 * HOUR, 0, 0)),
            [None, None],
            "stopped, not suspended"
        );
        let slept = Noticed::Slept(Duration::from_secs(3 * 86_400));
        assert_eq!(watch.look(look(9 * HOUR, 72 * HOUR, 0)), [Some(slept), None]);
        assert_eq!(watch.look(look(9 * HOUR, 72 * HOUR, 0)), [None, None]);
        let both = watch.look(look(9 * HOUR, 73 * HOUR, -HOUR));
        assert_eq!(
            both,
            [
                Some(Noticed::Slept(Duration::from_secs(3600))),
                Some(Noticed::Set(-HOUR))
            ]
        );
    }

    #[test]
    fn small_corrections_are_told_when_they_have_added_up() {
        let mut watch = Watch::begin(look(0, 0, 0), 0);
        for by in [300, 600, 900] {
            assert_eq!(watch.look(look(by, 0, by)), [None, None]);
        }
        assert_eq!(
            watch.look(look(5_000, 0, 1_200)),
            [None, Some(Noticed::Set(1_200))]
        );
    }

    #[test]
    fn what_was_set_before_the_first_look_is_found_too() {
        let mut watch = Watch::begin(look(0, 0, HOUR), 0);
        assert_eq!(watch.look(look(1, 0, HOUR)), [None, Some(Noticed::Set(HOUR))]);
    }
}
