//! Whether the database's files are still where they were opened. SQLite itself goes on writing into a
//! removed file.

use std::path::Path;

use parking_lot::Mutex;

use crate::embedded::fault::LastingFault;
use crate::embedded::path_identity::PathIdentity;

/// The database and its companion files, and what is wrong with them.
#[derive(Debug)]
pub(super) struct Files {
    database: PathIdentity,
    /// None while it is closed.
    companions: Mutex<Vec<PathIdentity>>,
    pub(super) fault: LastingFault,
}

// === impl Files ===

impl Files {
    /// The files of a database. Its companions are looked for once it is [`Files::opened`].
    pub(super) fn of(database: &Path) -> std::io::Result<Self> {
        Ok(Self {
            database: PathIdentity::named(database)?,
            companions: Mutex::default(),
            fault: LastingFault::default(),
        })
    }

    /// The database is open: from now on its companions are looked for too.
    pub(super) fn opened(&self) -> std::io::Result<()> {
        let companion =
            |suffix| PathIdentity::named(&super::schema::with_suffix(self.database.path(), suffix));
        *self.companions.lock() = vec![companion("-wal")?, companion("-shm")?];
        Ok(())
    }

    /// The database is about to be closed, and its companions to be removed with it.
    pub(super) fn closed(&self) {
        self.companions.lock().clear();
    }

    /// The database.
    pub(super) fn path(&self) -> &Path {
        self.database.path()
    }

    /// What is wrong with them now, and what helps.
    pub(super) fn look(&self) -> Option<String> {
        let found = self.find();
        self.fault.set(found.clone());
        found
    }

    fn find(&self) -> Option<String> {
        if self.database.is_lost() {
            return Some(format!(
                "{} was removed or replaced while Millrace had it open: put it back, or restart Millrace with --rebuild-state, \
                 which begins every Trigger at the oldest event that is kept",
                self.database.path().display()
            ));
        }
        let companions = self.companions.lock();
        let lost = companions.iter().find(|companion| companion.is_lost())?;
        Some(format!(
            "{} was removed or replaced while Millrace had it open: stop Millrace with SIGTERM, which writes everything into {}, \
             and start it again",
            lost.path().display(),
            self.database.path().display()
        ))
    }
}
