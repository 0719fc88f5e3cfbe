//! Many filters asked at once: work grows with those that match, not with those that exist.
//!
//! The filters stand in a tree of buckets. A bucket with few filters asks each of them. One with many splits
//! them by their next question (`access`): the event's attribute is looked up once by its whole text (exact)
//! or by its first or last bytes (prefix and suffix, once for each length that occurs), and only the buckets
//! that are found are visited. A filter all of whose questions have been answered on the way is proved, and
//! is not asked again.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_event::Event;

use crate::access::{Access, Accesses, How};
use crate::clause::Attr;
use crate::compiled::{Compiled, Decision};
use crate::meter::Allowance;
use crate::subject::Subject;

/// An index over filters, each under a small number of the caller's choosing.
///
/// A change of one filter touches that filter's own buckets and nothing else the index holds.
#[derive(Debug, Default)]
pub struct Index {
    filters: HashMap<u32, Arc<Compiled>>,
    root: Bucket,
}

/// What an index found for one event: the keys of filters, each in one list at most.
#[derive(Debug, Default)]
pub struct Matching {
    /// Filters that the event passes.
    pub matched: Vec<u32>,
    /// Filters that the event does not pass because deciding would need too much work.
    pub exhausted: Vec<u32>,
    /// Filters that are still to be asked, for which the allowance did not suffice.
    pub later: Vec<(u32, Arc<Compiled>)>,
}

/// Filters whose first questions are answered alike.
#[derive(Debug, Default)]
struct Bucket {
    /// Those with nothing left to ask.
    proved: Vec<u32>,
    /// Those that are asked as a whole.
    open: Vec<(u32, Arc<Compiled>)>,
    /// Those with a next question, once there are so many that asking each costs more.
    splits: Vec<Split>,
    /// How many of `open` have a next question; stays at the bound once the bucket is split.
    waiting: usize,
}

/// The filters of a bucket whose next question is of one kind to one attribute.
#[derive(Debug)]
struct Split {
    attr: Attr,
    how: How,
    by_value: HashMap<Box<[u8]>, Bucket>,
    /// The lengths of the values, each with the number of values that have it; longest first. Not used for
    /// exact.
    lengths: Vec<(usize, usize)>,
}

/// So many filters with a next question are asked one by one before the bucket is split.
const SPLIT_ABOVE: usize = 8;

// === impl Index ===

impl Index {
    /// Puts (or replaces) the filter under `key`.
    pub fn insert(&mut self, key: u32, filter: Arc<Compiled>) {
        self.remove(key);
        self.root.insert(key, &filter, &Accesses::of(&filter), 0);
        self.filters.insert(key, filter);
    }

    /// Takes the filter under `key` out.
    pub fn remove(&mut self, key: u32) {
        if let Some(filter) = self.filters.remove(&key) {
            self.root.remove(key, &Accesses::of(&filter), 0);
        }
    }

    /// Adds to `into` the key of every filter that the event passes, each once, in no particular order. The
    /// event's data is parsed at most once, and not at all unless a filter that is left after the look-ups
    /// asks for it.
    pub fn matching(&self, event: &Event, into: &mut Vec<u32>) {
        let mut found = Matching {
            matched: std::mem::take(into),
            ..Matching::default()
        };
        self.matching_within(&Subject::new(event), &Allowance::unlimited(), &mut found);
        *into = found.matched;
    }

    /// The same within an allowance; filters for which it does not suffice are left for later. The subject
    /// can be asked more afterwards, such as how many clauses had an error.
    pub fn matching_within(&self, subject: &Subject<'_>, allowance: &Allowance, into: &mut Matching) {
        self.root.matching(subject, allowance, into);
    }

    /// How many filters it holds.
    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }
}

// === impl Matching ===

impl Matching {
    /// Removes all keys and keeps the memory.
    pub fn clear(&mut self) {
        self.matched.clear();
        self.exhausted.clear();
        self.later.clear();
    }

    /// Asks filters that were left for later, the last first, until they have used up the allowance. Returns
    /// whether none is left.
    pub fn go_on(&mut self, subject: &Subject<'_>, steps: u64) -> bool {
        let allowance = Allowance::unlimited();
        while allowance.spent() < steps {
            let Some((key, filter)) = self.later.pop() else {
                break;
            };
            self.note(key, filter.decide(subject, &allowance), &filter);
        }
        self.later.is_empty()
    }

    /// Asks the filters that were left for later, within an allowance. Filters for which it does not suffice
    /// remain.
    pub fn go_on_within(&mut self, subject: &Subject<'_>, allowance: &Allowance) {
        for (key, filter) in std::mem::take(&mut self.later) {
            self.note(key, filter.decide(subject, allowance), &filter);
        }
    }

    fn note(&mut self, key: u32, decision: Decision, filter: &Arc<Compiled>) {
        match decision {
            Decision::Match => self.matched.push(key),
            Decision::NoMatch => {}
            Decision::TooMuchWork => self.exhausted.push(key),
            Decision::Later => self.later.push((key, filter.clone())),
        }
    }
}

// === impl Bucket ===

impl Bucket {
    /// Puts a filter whose first `level` questions led here.
    fn insert(&mut self, key: u32, filter: &Arc<Compiled>, accesses: &Accesses<'_>, level: usize) {
        match accesses.list.get(level) {
            None if accesses.complete => self.proved.push(key),
            None => self.open.push((key, filter.clone())),
            Some(next) if self.is_split() => self.insert_below(key, filter, accesses, level, next),
            Some(_) => {
                self.open.push((key, filter.clone()));
                self.waiting += 1;
                if self.is_split() {
                    self.split(level);
                }
            }
        }
    }

    fn is_split(&self) -> bool {
        self.waiting > SPLIT_ABOVE
    }

    /// Moves the filters that have a next question below.
    fn split(&mut self, level: usize) {
        for (key, filter) in std::mem::take(&mut self.open) {
            let accesses = Accesses::of(&filter);
            match accesses.list.get(level) {
                Some(next) => self.insert_below(key, &filter, &accesses, level, next),
                None => self.open.push((key, filter)),
            }
        }
    }

    fn insert_below(
        &mut self,
        key: u32,
        filter: &Arc<Compiled>,
        accesses: &Accesses<'_>,
        level: usize,
        next: &Access<'_>,
    ) {
        let at = self
            .splits
            .iter()
            .position(|split| split.asks(next))
            .unwrap_or_else(|| {
                self.splits.push(Split::new(next));
                self.splits.len() - 1
            });
        for value in &next.values {
            self.splits[at]
                .bucket(value)
                .insert(key, filter, accesses, level + 1);
        }
    }

    /// Takes a filter out by the way on which it was put in.
    fn remove(&mut self, key: u32, accesses: &Accesses<'_>, level: usize) {
        match accesses.list.get(level) {
            None if accesses.complete => take(&mut self.proved, |&proved| proved == key),
            None => take(&mut self.open, |(open, _)| *open == key),
            Some(next) if self.is_split() => {
                let Some(at) = self.splits.iter().position(|split| split.asks(next)) else {
                    return;
                };
                for value in &next.values {
                    self.splits[at].remove(value, key, accesses, level + 1);
                }
                take(&mut self.splits, |split| split.by_value.is_empty());
                if self.splits.is_empty() {
                    self.waiting = 0;
                }
            }
            Some(_) => {
                take(&mut self.open, |(open, _)| *open == key);
                self.waiting -= 1;
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.proved.is_empty() && self.open.is_empty() && self.splits.is_empty()
    }

    fn matching(&self, subject: &Subject<'_>, allowance: &Allowance, into: &mut Matching) {
        into.matched.extend_from_slice(&self.proved);
        for (key, filter) in &self.open {
            into.note(*key, filter.decide(subject, allowance), filter);
        }
        for split in &self.splits {
            split.matching(subject, allowance, into);
        }
    }
}

// === impl Split ===

impl Split {
    fn new(access: &Access<'_>) -> Self {
        Self {
            attr: access.attr.clone(),
            how: access.how,
            by_value: HashMap::new(),
            lengths: Vec::new(),
        }
    }

    fn asks(&self, access: &Access<'_>) -> bool {
        self.attr == *access.attr && self.how == access.how
    }

    /// The bucket of a value, made when it is new.
    fn bucket(&mut self, value: &[u8]) -> &mut Bucket {
        if !self.by_value.contains_key(value) {
            match self
                .lengths
                .binary_search_by(|(length, _)| value.len().cmp(length))
            {
                Ok(at) => self.lengths[at].1 += 1,
                Err(at) => self.lengths.insert(at, (value.len(), 1)),
            }
        }
        self.by_value.entry(value.into()).or_default()
    }

    /// Takes a filter out of a value's bucket, and the bucket when nothing is left in it.
    fn remove(&mut self, value: &[u8], key: u32, accesses: &Accesses<'_>, level: usize) {
        let Some(bucket) = self.by_value.get_mut(value) else {
            return;
        };
        bucket.remove(key, accesses, level);
        if !bucket.is_empty() {
            return;
        }
        self.by_value.remove(value);
        if let Ok(at) = self
            .lengths
            .binary_search_by(|(length, _)| value.len().cmp(length))
        {
            self.lengths[at].1 -= 1;
            if self.lengths[at].1 == 0 {
                self.lengths.remove(at);
            }
        }
    }

    fn matching(&self, subject: &Subject<'_>, allowance: &Allowance, into: &mut Matching) {
        let Some(text) = self.attr.of(subject.event()) else {
            return;
        };
        let text = text.as_bytes();
        let mut visit = |part: &[u8]| {
            if let Some(bucket) = self.by_value.get(part) {
                bucket.matching(subject, allowance, into);
            }
        };
        match self.how {
            How::Exact => visit(text),
            How::Prefix => self
                .lengths
                .iter()
                .filter_map(|(length, _)| text.get(..*length))
                .for_each(visit),
            How::Suffix => self
                .lengths
                .iter()
                .filter_map(|(length, _)| text.len().checked_sub(*length))
                .for_each(|from| visit(&text[from..])),
        }
    }
}

/// Takes the one element out for which `this` is true, if there is one. Order is not kept.
fn take<T>(list: &mut Vec<T>, this: impl FnMut(&T) -> bool) {
    if let Some(at) = list.iter().position(this) {
        list.swap_remove(at);
    }
}

#[cfg(test)]
mod tests;
