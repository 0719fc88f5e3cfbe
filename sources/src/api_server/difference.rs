//! What happened to an object: compares what the API server shows with what has been reported.
//!
//! The table decides, not the word of the watch. So a repeated change is reported again as it was, and a
//! reported change is never reported as something else.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::object::Object;
use super::table::{Row, Table};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// It came into view: it is new, or the labels, the owner or the namespace are now those that are looked
    /// for.
    Add,
    /// It is another version.
    Update,
    /// It went out of view, by its end or as above.
    Delete,
}

/// Something that is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) verb: Verb,
    pub(super) uid: String,
    /// What is known of the object; its version is that of the change as far as that is known.
    pub(super) row: Row,
    /// The object; `None` where only the row is left of it.
    pub(super) body: Option<Bytes>,
    /// It was found by comparing, so what lay between the two states is not known.
    pub(super) is_reconstructed: bool,
}

/// A list that is being compared with the table, page by page.
#[derive(Debug, Default)]
pub(super) struct Difference {
    seen: HashSet<String>,
    /// The uids of the known objects by namespace and name, which a new object may have taken over.
    names: HashMap<(Option<String>, String), String>,
}

// === impl Verb ===

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

// === impl Change ===

impl Change {
    fn of(verb: Verb, object: Object) -> Self {
        Self {
            verb,
            row: Row::of(&object),
            uid: object.uid,
            body: Some(object.body),
            is_reconstructed: false,
        }
    }

    /// The end of an object of which only the row is left.
    pub(super) fn ended(uid: &str, row: &Row) -> Self {
        Self {
            verb: Verb::Delete,
            uid: uid.to_owned(),
            row: row.clone(),
            body: None,
            is_reconstructed: true,
        }
    }

    /// What the table is to say afterwards.
    pub(super) fn after(&self) -> Option<Row> {
        (self.verb != Verb::Delete).then(|| self.row.clone())
    }
}

/// What an object that the API server shows means. `in_view`: it is there, and it is one that is looked for.
pub(super) fn compare(table: &Table, object: Object, in_view: bool) -> Option<Change> {
    let verb = match (table.get(&object.uid), in_view) {
        (None, true) => Verb::Add,
        (Some(row), true) if row.version == object.version => return None,
        (Some(_), true) => Verb::Update,
        (Some(_), false) => Verb::Delete,
        (None, false) => return None,
    };
    Some(Change::of(verb, object))
}

// === impl Difference ===

impl Difference {
    pub(super) fn new(table: &Table) -> Self {
        let names = table
            .iter()
            .map(|(uid, row)| ((row.namespace.clone(), row.name.clone()), uid.to_owned()));
        Self {
            seen: HashSet::new(),
            names: names.collect(),
        }
    }

    /// What a listed object means: the end of one that had its name, and what happened to itself.
    pub(super) fn listed(&mut self, table: &Table, object: Object, in_view: bool) -> Vec<Change> {
        let mut changes = Vec::new();
        let earlier = self.names.get(&(object.namespace.clone(), object.name.clone()));
        if let Some(uid) = earlier.filter(|uid| **uid != object.uid)
            && let Some(row) = table.get(uid)
        {
            changes.push(Change::ended(uid, row));
        }
        self.seen.insert(object.uid.clone());
        changes.extend(compare(table, object, in_view).map(|change| Change {
            is_reconstructed: true,
            ..change
        }));
        changes
    }

    /// The ends of all that is in the table and was in no page, by namespace and name.
    pub(super) fn rest(&self, table: &Table) -> Vec<Change> {
        let unseen = table.iter().filter(|(uid, _)| !self.seen.contains(*uid));
        let mut rest: Vec<Change> = unseen.map(|(uid, row)| Change::ended(uid, row)).collect();
        rest.sort_by(|a, b| (&a.row.namespace, &a.row.name).cmp(&(&b.row.namespace, &b.row.name)));
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str, version: &str, name: &str) -> Object {
        Object {
            uid: uid.to_owned(),
            version: version.to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
            controller: None,
            body: Bytes::from_static(b"{}"),
        }
    }

    fn table(objects: &[Object]) -> Table {
        let mut table = Table::default();
        for object in objects {
            table.set(&object.uid, Some(Row::of(object)));
        }
        table
    }

    fn told(changes: &[Change]) -> Vec<(Verb, &str, &str)> {
        let told = changes
            .iter()
            .map(|change| (change.verb, change.uid.as_str(), change.row.version.as_str()));
        told.collect()
    }

    #[test]
    fn what_is_told_follows_from_what_has_been_told() {
        let table = table(&[object("a", "1", "x")]);
        for (uid, version, in_view, expected) in [
            ("b", "2", true, Some(Verb::Add)),
            ("b", "2", false, None),
            ("a", "1", true, None),
            ("a", "2", true, Some(Verb::Update)),
            ("a", "2", false, Some(Verb::Delete)),
            ("a", "1", false, Some(Verb::Delete)),
        ] {
            let change = compare(&table, object(uid, version, "x"), in_view);
            let verb = change.map(|change| change.verb);
            assert_eq!(verb, expected, "{uid} {version} {in_view}");
        }
    }

    #[test]
    fn a_list_is_told_as_the_difference_of_the_two_states() {
        let mut known = table(&[
            object("same", "1", "s"),
            object("other", "2", "o"),
            object("gone", "3", "g"),
        ]);
        let mut difference = Difference::new(&known);
        let mut all = Vec::new();
        for listed in [
            object("same", "1", "s"),
            object("other", "7", "o"),
            object("new", "8", "n"),
        ] {
            all.extend(difference.listed(&known, listed, true));
        }
        for change in &all {
            known.set(&change.uid, change.after());
        }
        all.extend(difference.rest(&known));
        assert_eq!(
            told(&all),
            [
                (Verb::Update, "other", "7"),
                (Verb::Add, "new", "8"),
                (Verb::Delete, "gone", "3")
            ]
        );
        assert!(all.iter().all(|change| change.is_reconstructed));
    }

    #[test]
    fn who_had_a_name_before_ends_before_the_next_who_has_it() {
        let known = table(&[object("old", "1", "x")]);
        let mut difference = Difference::new(&known);
        let changes = difference.listed(&known, object("new", "5", "x"), true);
        assert_eq!(
            told(&changes),
            [(Verb::Delete, "old", "1"), (Verb::Add, "new", "5")]
        );
    }

    #[test]
    fn a_listed_object_that_is_not_looked_for_any_more_has_ended_once() {
        let mut known = table(&[object("a", "1", "x")]);
        let mut difference = Difference::new(&known);
        let changes = difference.listed(&known, object("a", "2", "x"), false);
        assert_eq!(told(&changes), [(Verb::Delete, "a", "2")]);
        known.set("a", changes[0].after());
        assert_eq!(difference.rest(&known), []);
    }
}
