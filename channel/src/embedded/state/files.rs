//! Whether the database's files are still where they were opened. SQLite itself goes on writing into a
//! removed file.

use std::path::Path;

use parking_lot::Mutex;

use crate::embedded::fault::Fault;
use crate::embedded::place::Place;

/// The database and its companion files, and what is wrong with them.
#[derive(Debug)]
pub(super) struct Files {
    database: Place,
    /// None while it is closed.
    companions: Mutex<Vec<Place>>,
    pub(super) fault: Fault,
}

// === impl Files ===

impl Files {
    /// The files of a database. Its companions are looked for once it is [`Files::opened`].
    pub(super) fn of(database: &Path) -> std::io::Result<Self> {
        Ok(Self {
            database: Place::named(database)?,
            companions: Mutex::default(),
            fault: Fault::default(),
        })
    }

    /// The database is open: from now on its companions are looked for too.
    pub(super) fn opened(&self) -> std::io::Result<()> {
        let companion = |suffix| Place::named(&super::schema::with_suffix(self.database.path(), suffix));
        *self.companions.lock() = vec![companion("-wal")?, companion("-shm")?];
        Ok(())
    }

    /// The database is closed, and its companions with it.
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
        let lost = companions.iter().find(|place| place.is_lost())?;
        Some(format!(
            "{} was removed or replaced while Millrace had it open: stop Millrace with SIGTERM, which writes everything into {}, \
             and start it again",
            lost.path().display(),
            self.database.path().display()
        ))
    }
}
