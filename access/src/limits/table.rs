//! What each sender, or each Broker, has spent of its limit. Names come from outside, as many as an issuer
//! has subjects, so that the table has a bounded size and keeps no name.
//!
//! # Guarantees
//! - Those that sent last are kept: as many as [`GENERATION`] at least, and twice as many at most. Whoever is
//!   forgotten begins with a full bucket.
//! - When the limit of somebody changes, what was spent stays spent.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use millrace_event::Timestamp;

use super::rate::Spent;
use super::{Limit, Rate};

/// Accounts of one generation.
pub(super) const GENERATION: usize = 32_768;

/// The accounts, in two generations: a full one becomes the older one, whose accounts come back when they are
/// used and are dropped together otherwise.
#[derive(Debug, Default)]
pub(super) struct Table {
    young: HashMap<Key, Account>,
    old: HashMap<Key, Account>,
    /// Random, so that nobody can choose a name that shares the account of another.
    names: RandomState,
}

/// A name, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

/// What one has spent, and of which limit.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) limit: Arc<Limit>,
    pub(super) events: Spent,
    pub(super) bytes: Spent,
}

// === impl Table ===

impl Table {
    /// The account of `name`, for this limit. Asking keeps one that is there from being forgotten; what is
    /// changed in it counts with [`Table::keep`].
    pub(super) fn account(
        &mut self,
        name: &(impl Hash + ?Sized),
        limit: &Arc<Limit>,
        now: Timestamp,
    ) -> (Key, Account) {
        let key = Key(self.names.hash_one(name));
        if let Some(old) = self.old.remove(&key) {
            self.keep(key, old);
        }
        let known = self.young.get(&key);
        let account = match known {
            None => Account {
                limit: limit.clone(),
                events: Spent::default(),
                bytes: Spent::default(),
            },
            Some(known) if known.limit == *limit => known.clone(),
            Some(known) => Account {
                limit: limit.clone(),
                events: carried(known.events, limit.events, now),
                bytes: carried(known.bytes, limit.bytes, now),
            },
        };
        (key, account)
    }

    /// Keeps an account.
    pub(super) fn keep(&mut self, key: Key, account: Account) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, account);
    }

    /// The account of this limit behind a key; `None`: it was forgotten, or has another limit by now.
    pub(super) fn known(&mut self, key: Key, limit: &Limit) -> Option<&mut Account> {
        let known = self.young.get_mut(&key).or_else(|| self.old.get_mut(&key));
        known.filter(|account| *account.limit == *limit)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

fn carried(spent: Spent, rate: Option<Rate>, now: Timestamp) -> Spent {
    rate.map_or_else(Spent::default, |rate| rate.carry(spent, now))
}
