//! Fingerprints of what has been read: they tell whether the log still is what it was.

/// Number and fingerprint of events, the oldest first. The newest stands right below the highest position
/// that state names. The older ones stand further and further apart, so that few are kept and a loss of `n`
/// events has not much more than `n` read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prints(Vec<(u64, u64)>);

/// Fingerprints kept.
const KEPT: usize = 128;

// === impl Prints ===

impl Prints {
    pub(super) fn from_pairs(pairs: Vec<(u64, u64)>) -> Self {
        Self(pairs)
    }

    pub(super) fn as_pairs(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// The number of the newest.
    pub(super) fn newest(&self) -> Option<u64> {
        self.0.last().map(|(number, _)| *number)
    }

    /// Notes one that is newer than all before; another one changes nothing.
    pub(super) fn note(&mut self, number: u64, print: u64) {
        if self.newest().is_some_and(|newest| newest >= number) {
            return;
        }
        self.0.push((number, print));
        self.thin(number);
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
    }

    /// Leaves only so many of the oldest.
    pub(super) fn truncate(&mut self, kept: usize) {
        self.0.truncate(kept);
    }

    /// Drops what stands closer to its neighbours than a third of its distance to the newest.
    fn thin(&mut self, newest: u64) {
        let mut at = 1;
        while at + 1 < self.0.len() {
            let apart = self.0[at + 1].0 - self.0[at - 1].0;
            if apart < (newest - self.0[at + 1].0) / 3 {
                self.0.remove(at);
            } else {
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_kept_and_each_loss_finds_one_that_is_not_far_below() {
        let mut prints = Prints::default();
        for number in 1..200_000 {
            prints.note(number, number ^ 7);
            prints.note(number, 0);
        }
        assert!(prints.0.len() <= KEPT && prints.0.is_sorted(), "{prints:?}");
        assert!(prints.0.iter().all(|(number, print)| *print == number ^ 7));
        for lost in [1, 2, 10, 100, 1_000, 10_000, 100_000] {
            let left = 200_000 - lost;
            let below = prints.0.iter().rfind(|(number, _)| *number < left);
            let again = left - below.expect("one fits").0;
            assert!(again <= 1 + lost / 2, "{lost} were lost, {again} are read again");
        }
    }
}
