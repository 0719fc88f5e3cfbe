//! A lane's number of rows, which is known before they are stored.

/// A number of rows: those stored, and the changes on their way there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    stored: i64,
    committing: i64,
    pending: i64,
}

// === impl Count ===

impl Count {
    pub(super) fn stored(rows: u64) -> Self {
        Self {
            stored: i64::try_from(rows).unwrap_or(i64::MAX),
            ..Self::default()
        }
    }

    /// All rows, those on their way included.
    pub(crate) fn get(self) -> u64 {
        u64::try_from(self.stored + self.committing + self.pending).unwrap_or(0)
    }

    pub(super) fn add(&mut self, rows: i64) {
        self.pending += rows;
    }

    pub(super) fn begin_commit(&mut self) {
        self.committing += std::mem::take(&mut self.pending);
    }

    pub(super) fn end_commit(&mut self) {
        self.stored += std::mem::take(&mut self.committing);
    }

    /// Takes over the number that is stored, after a command changed it. No commit may be under way.
    pub(crate) fn set_stored(&mut self, rows: u64) {
        self.stored = i64::try_from(rows).unwrap_or(i64::MAX);
    }
}
