//! How positions stay unique although the log's own numbers do not.
//!
//! A log that has lost its end counts on from there, so it gives a number twice. An *epoch* is the stretch of
//! the log between two losses. Its positions are the log's numbers and a distance, which is such that each
//! epoch begins above every position that state has ever named.

/// The epochs of a log, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epochs(Vec<Epoch>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch {
    /// The first number that belongs to it.
    first: u64,
    /// What its positions are above its numbers.
    above: u64,
}

// === impl Epochs ===

impl Epochs {
    /// Those of a log that has lost nothing.
    pub(super) fn new() -> Self {
        Self(vec![Epoch { first: 0, above: 0 }])
    }

    /// Of each epoch the first number, and what its positions are above its numbers.
    pub(super) fn as_pairs(&self) -> Vec<(u64, u64)> {
        self.0.iter().map(|epoch| (epoch.first, epoch.above)).collect()
    }

    pub(super) fn from_pairs(pairs: &[(u64, u64)]) -> Self {
        let epochs = pairs.iter().map(|&(first, above)| Epoch { first, above });
        Self(epochs.collect())
    }

    /// The position of a number of the log.
    pub fn position(&self, number: u64) -> u64 {
        let of = self.0.iter().rev().find(|epoch| epoch.first <= number);
        number + of.map_or(0, |epoch| epoch.above)
    }

    /// The number that stands at a position, or the next one if that was lost.
    pub fn number(&self, position: u64) -> u64 {
        let mut next = u64::MAX;
        for epoch in self.0.iter().rev() {
            if position >= epoch.first + epoch.above {
                return (position - epoch.above).min(next);
            }
            next = next.min(epoch.first);
        }
        position.min(next)
    }

    /// Whether an event may stand at that position: it was not lost.
    pub(super) fn has(&self, position: u64) -> bool {
        self.position(self.number(position)) == position
    }

    /// From `first` on the log has other events than before. Their positions begin at `highest`.
    pub(super) fn begin(&mut self, first: u64, highest: u64) {
        self.0.push(Epoch {
            first,
            above: highest.saturating_sub(first),
        });
    }

    /// The positions whose events were lost, each from the first to the one behind the last, from `at` on.
    pub(super) fn lost_from(&self, at: u64) -> impl Iterator<Item = (u64, u64)> {
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        let lost = pairs.map(|(before, after)| (after.first + before.above, after.first + after.above));
        lost.filter(move |(from, to)| from < to && at < *to)
            .map(move |(from, to)| (from.max(at), to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_begins_above_what_was_named_before_and_what_lies_between_is_lost() {
        let mut epochs = Epochs::new();
        assert_eq!(epochs.position(7), 7);
        epochs.begin(5, 9);
        assert_eq!([4, 5, 6].map(|number| epochs.position(number)), [4, 9, 10]);
        epochs.begin(6, 20);
        assert_eq!([4, 5, 6].map(|number| epochs.position(number)), [4, 9, 20]);
        assert_eq!(
            [4, 5, 9, 10, 20, 21].map(|at| epochs.number(at)),
            [4, 5, 5, 6, 6, 7]
        );
        assert_eq!(
            [4, 5, 9, 10, 19, 20].map(|at| epochs.has(at)),
            [true, false, true, false, false, true]
        );
        assert_eq!(Epochs::from_pairs(&epochs.as_pairs()), epochs);
        let lost = |at| epochs.lost_from(at).collect::<Vec<_>>();
        assert_eq!(lost(0), [(5, 9), (10, 20)]);
        assert_eq!(lost(7), [(7, 9), (10, 20)]);
        assert_eq!(lost(20), []);
    }
}
