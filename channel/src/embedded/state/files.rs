//! Whether the database's files are still where they were opened. SQLite itself goes on writing into a
//! removed file.

use std::path::Path;

use crate::embedded::fault::Fault;
use crate::embedded::place::Place;

/// The database and its companion files, and what is wrong with them.
#[derive(Debug)]
pub(super) struct Files {
    database: Place,
    companions: Vec<Place>,
    pub(super) fault: Fault,
}

// === impl Files ===

impl Files {
    /// The files of a database that is open.
    pub(super) fn of(database: &Path) -> std::io::Result<Self> {
        let companion = |suffix| Place::named(&super::schema::with_suffix(database, suffix));
        Ok(Self {
            database: Place::named(database)?,
            companions: vec![companion("-wal")?, companion("-shm")?],
            fault: Fault::default(),
        })
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
        let lost = self.companions.iter().find(|place| place.is_lost())?;
        Some(format!(
            "{} was removed or replaced while Millrace had it open: stop Millrace with SIGTERM, which writes everything into {}, \
             and start it again",
            lost.path().display(),
            self.database.path().display()
        ))
    }
}
