//! How a watch gets to a version from which it can continue: the stored one, or that of a list, which is
//! compared with what was reported.

use super::client::Trouble;
use super::difference::{Change, Difference};
use super::pages::{self, Pages};
use super::remember::Remembered;
use super::table::MAX_OBJECTS;
use super::tell::Teller;
use super::watch::{Stop, Watch};

// === impl Watch ===

impl Watch {
    /// Sees to it that there is a version from which a watch can go on.
    pub(super) async fn go_on_or_list(
        &self,
        told: &mut Remembered,
        path: &str,
        teller: &Teller<'_>,
    ) -> Result<(), Stop> {
        if let Some(version) = told.version(&self.view()) {
            let current = pages::current(&self.shared.origin, path, &self.selection.watched.object);
            let current = self.unless_shutdown(current).await?;
            if !is_before(&current, version) {
                return Ok(());
            }
            // It was set back to a backup: a watch from a version to come would be silent.
            told.go_on(None);
        }
        self.list(told, path, teller).await
    }

    /// Lists what is there, tells how it differs from what was told, and saves that.
    async fn list(&self, told: &mut Remembered, path: &str, teller: &Teller<'_>) -> Result<(), Stop> {
        let origin = &self.shared.origin;
        let _turn = self
            .unless_shutdown(async { Ok(origin.lists.acquire().await) })
            .await?;
        let is_silent = !told.is_begun() && !self.shared.spec.initial_list;
        let watched = &self.selection.watched;
        let mut pages = Pages::new(origin, path, &watched.selector, &watched.object);
        let mut difference = Difference::new(&told.table);
        let mut version = None;
        while let Some(page) = self.unless_shutdown(pages.next()).await? {
            if page.unread > 0 {
                let why = format!("{} objects of a list cannot be read", page.unread);
                self.shared.context.report.refused("bad-object", why);
            }
            let listed = page.objects.into_iter().flat_map(|object| {
                let in_view = self.selection.takes(&object);
                difference.listed(&told.table, object, in_view)
            });
            let listed = listed.collect();
            let (changes, trouble) = note_all(told, listed);
            if !is_silent {
                teller.tell(&changes).await?;
            }
            trouble.map_or(Ok(()), Err)?;
            version = Some(page.version);
        }
        let (rest, _) = note_all(told, difference.rest(&told.table));
        if !is_silent {
            teller.tell(&rest).await?;
        }
        told.begin(&self.view());
        told.go_on(version);
        Ok(told.save().await?)
    }
}

/// Puts changes into the table, up to the first that has no room; what was put is to be told.
fn note_all(told: &mut Remembered, changes: Vec<Change>) -> (Vec<Change>, Option<Trouble>) {
    let mut noted = Vec::with_capacity(changes.len());
    for change in changes {
        if let Err(trouble) = note(told, &change) {
            return (noted, Some(trouble));
        }
        noted.push(change);
    }
    (noted, None)
}

/// Puts a change into the table.
pub(super) fn note(told: &mut Remembered, change: &Change) -> Result<(), Trouble> {
    if told.table.get(&change.uid).is_none() && told.table.len() >= MAX_OBJECTS {
        return Err(Trouble::Failed(format!(
            "there are more than {MAX_OBJECTS} objects; narrow the selection"
        )));
    }
    told.set(&change.uid, change.after());
    Ok(())
}

/// Whether a version is an earlier one. Versions that are no numbers are not compared.
fn is_before(one: &str, other: &str) -> bool {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one < other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_tell_which_version_is_earlier() {
        for (one, other, expected) in [
            ("9", "10", true),
            ("10", "9", false),
            ("9", "9", false),
            ("a", "b", false),
        ] {
            assert_eq!(is_before(one, other), expected, "{one} {other}");
        }
    }
}
