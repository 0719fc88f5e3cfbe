//! How many requests of a sender, or to a Broker, are in hand at one time. With HTTP/1.1 each of them holds a
//! connection, so that this bounds the connections that somebody keeps at work, from however many addresses.
//!
//! # Guarantees
//! Only what is in hand is kept, so that the table is no larger than the listener lets there be requests.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::spending::Limits;
use super::{Fits, Limit, TooMuch, What, Whose};

/// The requests in hand of all that have such a limit. It outlives a change of the file.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    /// By the hash of whose they are.
    now: Mutex<HashMap<u64, u32>>,
    /// Random, so that nobody can choose a name that is counted as another.
    names: RandomState,
}

/// One request in hand. It counts until this is dropped.
#[derive(Debug)]
pub struct Counted {
    of: Arc<InHand>,
    keys: [Option<u64>; 2],
}

/// When to come back: nobody knows when a request ends.
const COME_BACK: Duration = Duration::from_secs(1);

// === impl InHand ===

impl InHand {
    /// Counts a request, with its sender and its Broker or with neither of them; `None` where no limit asks
    /// for it.
    ///
    /// # Errors
    /// One of them has as many in hand as it may.
    pub(crate) fn begin(self: &Arc<Self>, limits: Limits<'_>) -> Result<Option<Counted>, TooMuch> {
        let most = |limit: &Arc<Limit>| limit.requests;
        let sender = limits.sender.and_then(|(who, limit)| {
            let key = self.names.hash_one((Whose::Sender, who.key()));
            Some((key, most(limit)?, Whose::Sender))
        });
        let broker = limits.broker.and_then(|(name, limit)| {
            let key = self.names.hash_one((Whose::Broker, name));
            Some((key, most(limit)?, Whose::Broker))
        });
        if sender.is_none() && broker.is_none() {
            return Ok(None);
        }
        let mut now = self.now.lock();
        for (key, most, whose) in [sender, broker].into_iter().flatten() {
            if now.get(&key).is_some_and(|count| *count >= most) {
                let (what, fits) = (What::Requests, Fits::After(COME_BACK));
                return Err(TooMuch { whose, what, fits });
            }
        }
        let keys = [sender, broker].map(|one| one.map(|(key, ..)| key));
        for key in keys.into_iter().flatten() {
            *now.entry(key).or_default() += 1;
        }
        let of = self.clone();
        Ok(Some(Counted { of, keys }))
    }
}

// === impl Counted ===

impl Drop for Counted {
    fn drop(&mut self) {
        let mut now = self.of.now.lock();
        for key in self.keys.into_iter().flatten() {
            if let Entry::Occupied(mut count) = now.entry(key) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::Grants;
    use crate::identity::{Identity, Kind};
    use crate::limits::wire;

    fn who(name: &str) -> Identity {
        Identity::new(Kind::Token, name, Arc::new(Grants::default()))
    }

    fn limit(most: u32) -> Arc<Limit> {
        wire::parsed(&format!("{{requestsInHand: {most}}}")).expect("a limit")
    }

    #[test]
    fn a_request_counts_until_it_ends_and_one_that_is_refused_counts_for_nobody() {
        let in_hand = Arc::new(InHand::default());
        let (a, b, two, three) = (who("a"), who("b"), limit(2), limit(3));
        let begin = |who, sender, broker| {
            let begun = in_hand.begin(Limits {
                sender: Some((who, sender)),
                broker: Some(("shop/default", broker)),
            });
            begun.map_err(|too_much| too_much.code())
        };
        let first = begin(&a, &two, &three).expect("first");
        let second = begin(&a, &two, &three).expect("second");
        assert_eq!(begin(&a, &two, &three).err(), Some("concurrency-limited"));
        let third = begin(&b, &two, &three).expect("third");
        assert_eq!(begin(&b, &two, &three).err(), Some("broker-concurrency-limited"));
        drop(first);
        let fourth = begin(&b, &two, &three).expect("the Broker's refusal cost `b` nothing");
        // A limit that became smaller holds for what begins.
        drop(third);
        let one = limit(1);
        assert_eq!(begin(&b, &one, &three).err(), Some("concurrency-limited"));
        drop((second, fourth));
        assert!(begin(&b, &one, &three).is_ok());
        assert!(in_hand.now.lock().is_empty());
    }

    #[test]
    fn what_no_limit_counts_leaves_nothing_behind() {
        let in_hand = Arc::new(InHand::default());
        let (a, rate) = (who("a"), wire::parsed("{eventsPerSecond: 1}").expect("a limit"));
        let limits = Limits {
            sender: Some((&a, &rate)),
            broker: None,
        };
        let begun = in_hand.begin(limits).expect("no limit of requests");
        assert!(begun.is_none() && in_hand.now.lock().is_empty());
    }
}
