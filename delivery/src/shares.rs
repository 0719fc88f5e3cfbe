//! Who gets the next one of a limited number of things: pure bookkeeping, without time and without waiting.
//!
//! # The contract
//! There is a `limit`. Each owner (a Trigger, a source) holds some, and asks for one at a time. Its *share*
//! is the limit divided by the owners that hold or wait at that moment.
//!
//! - **A share is a guarantee and no ceiling.** An owner that asks alone gets what is free. Nothing that is
//!   held is taken away: an attempt at a subscriber that hangs keeps its connection until its timeout.
//! - **While requests wait, the owner that holds least comes first**, and among equals the one that has
//!   waited longest. So the owner that is furthest above its share gets nothing new.
//! - **Some is kept back**, since what hangs does not come back soon. The rule given to [`Shares::new`] tells
//!   how many must stay free when a request is granted, by how many its owner holds. An owner that holds none
//!   is never refused for what is kept for others: it gets one while any is free.
//! - **Nothing lies idle**: after [`Shares::grant`] no request waits that could be granted.
//!
//! # Caveats
//! If more owners hang than the limit, the next owner gets nothing until one of their attempts ends.

use std::collections::{BTreeSet, HashMap};

/// An owner.
pub(crate) type OwnerId = u64;

/// A request's place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(u64);

/// How soon a request comes to its turn. Compared before the number that its owner holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It is known to end soon.
    Quick,
    /// Nothing is known about it.
    Usual,
    /// The last one of its kind took too long.
    Slow,
}

/// A request, as the rule sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    /// The limit.
    pub(crate) limit: usize,
    /// An equal part of it.
    pub(crate) share: usize,
    /// How many its owner holds.
    pub(crate) held: usize,
    /// Its rank.
    pub(crate) rank: Rank,
}

/// How many must stay free when this request is granted. Among requests of one rank this must not fall as the
/// owner holds more.
pub(crate) type Kept = fn(Asking) -> usize;

/// The books.
#[derive(Debug)]
pub(crate) struct Shares {
    limit: usize,
    kept: Kept,
    used: usize,
    next: u64,
    /// Owners that hold or wait; no others are known here.
    owners: HashMap<OwnerId, Owner>,
    waiting: HashMap<Ticket, (OwnerId, Rank)>,
    /// The waiting requests, in the order in which they are served: by rank, by how many the owner holds, by
    /// age.
    line: BTreeSet<(Rank, usize, Ticket)>,
}

#[derive(Debug, Default)]
struct Owner {
    held: usize,
    tickets: Vec<Ticket>,
}

// === impl Rank ===

impl Rank {
    const ALL: [Self; 3] = [Self::Quick, Self::Usual, Self::Slow];
}

// === impl Shares ===

impl Shares {
    pub(crate) fn new(limit: usize, kept: Kept) -> Self {
        Self {
            limit: limit.max(1),
            kept,
            used: 0,
            next: 0,
            owners: HashMap::new(),
            waiting: HashMap::new(),
            line: BTreeSet::new(),
        }
    }

    /// Puts a request in the line. [`Shares::grant`] tells when it is granted.
    pub(crate) fn ask(&mut self, owner: OwnerId, rank: Rank) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        let entry = self.owners.entry(owner).or_default();
        entry.tickets.push(ticket);
        self.line.insert((rank, entry.held, ticket));
        self.waiting.insert(ticket, (owner, rank));
        ticket
    }

    /// Takes a request out of the line; `false`: it was no longer there.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) -> bool {
        let Some((owner, rank)) = self.waiting.remove(&ticket) else {
            return false;
        };
        if let Some(entry) = self.owners.get_mut(&owner) {
            entry.tickets.retain(|other| *other != ticket);
            self.line.remove(&(rank, entry.held, ticket));
        }
        self.forget(owner);
        true
    }

    /// Gives one back.
    pub(crate) fn give_back(&mut self, owner: OwnerId) {
        let held = self.held(owner);
        if held > 0 {
            self.used -= 1;
            self.set_held(owner, held - 1);
            self.forget(owner);
        }
    }

    /// Grants what can be granted now, in order.
    pub(crate) fn grant(&mut self) -> Vec<(Ticket, OwnerId)> {
        let mut granted = Vec::new();
        while let Some(ticket) = self.next_granted() {
            let Some((owner, rank)) = self.waiting.remove(&ticket) else {
                break;
            };
            let held = self.held(owner);
            self.line.remove(&(rank, held, ticket));
            if let Some(entry) = self.owners.get_mut(&owner) {
                entry.tickets.retain(|other| *other != ticket);
            }
            self.used += 1;
            self.set_held(owner, held + 1);
            granted.push((ticket, owner));
        }
        granted
    }

    /// Whether a waiting owner would get one that this owner gives back: it holds fewer, or it is this owner
    /// itself.
    pub(crate) fn is_wanted_of(&self, owner: OwnerId) -> bool {
        let Some(entry) = self.owners.get(&owner) else {
            return false;
        };
        let less = |rank| self.first(rank).is_some_and(|(held, _)| held < entry.held);
        !entry.tickets.is_empty() || Rank::ALL.into_iter().any(less)
    }

    pub(crate) fn held(&self, owner: OwnerId) -> usize {
        self.owners.get(&owner).map_or(0, |entry| entry.held)
    }

    /// Every owner that holds some, and how many.
    pub(crate) fn holders(&self) -> impl Iterator<Item = (OwnerId, usize)> {
        self.owners.iter().map(|(owner, entry)| (*owner, entry.held))
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn next_granted(&self) -> Option<Ticket> {
        // Within a rank, a request behind the first may never have what the first may not.
        Rank::ALL.into_iter().find_map(|rank| {
            let (held, ticket) = self.first(rank)?;
            let asking = Asking {
                limit: self.limit,
                share: (self.limit / self.owners.len().max(1)).max(1),
                held,
                rank,
            };
            let free = self.limit.saturating_sub(self.used);
            (free > (self.kept)(asking)).then_some(ticket)
        })
    }

    fn first(&self, rank: Rank) -> Option<(usize, Ticket)> {
        let (found, held, ticket) = *self.line.range((rank, 0, Ticket(0))..).next()?;
        (found == rank).then_some((held, ticket))
    }

    /// An owner's place in the line depends on how many it holds.
    fn set_held(&mut self, owner: OwnerId, held: usize) {
        let Some(entry) = self.owners.get_mut(&owner) else {
            return;
        };
        for ticket in &entry.tickets {
            if let Some((_, rank)) = self.waiting.get(ticket) {
                self.line.remove(&(*rank, entry.held, *ticket));
                self.line.insert((*rank, held, *ticket));
            }
        }
        entry.held = held;
    }

    fn forget(&mut self, owner: OwnerId) {
        if self
            .owners
            .get(&owner)
            .is_some_and(|entry| entry.held == 0 && entry.tickets.is_empty())
        {
            self.owners.remove(&owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keeps an eighth for owners that have none and a quarter for those below their share.
    fn kept(asking: Asking) -> usize {
        match asking.held {
            0 => 0,
            held if held < asking.share => asking.limit / 8,
            _ => asking.limit / 4,
        }
    }

    fn ask(shares: &mut Shares, owner: OwnerId, times: usize) -> usize {
        for _ in 0..times {
            shares.ask(owner, Rank::Usual);
        }
        shares.grant().len()
    }

    #[test]
    fn who_asks_alone_gets_all_but_what_is_kept_for_the_next() {
        let mut shares = Shares::new(80, kept);
        assert_eq!(ask(&mut shares, 1, 100), 70);
        assert_eq!(ask(&mut shares, 2, 1), 1, "who has none gets one");
    }

    #[test]
    fn owners_that_hang_leave_one_for_everybody_who_has_none() {
        let mut shares = Shares::new(700, kept);
        let hanging: usize = (0..34).map(|owner| ask(&mut shares, owner, 32)).sum();
        assert!(
            hanging <= 700 - 700 / 8 + 34,
            "first ones come out of what is kept: {hanging}"
        );
        for honest in 100..150 {
            assert_eq!(ask(&mut shares, honest, 1), 1, "{honest}");
        }
    }

    #[test]
    fn what_comes_back_goes_to_who_has_least() {
        let mut shares = Shares::new(8, kept);
        assert_eq!(ask(&mut shares, 1, 20), 7);
        assert_eq!(ask(&mut shares, 2, 20), 1);
        shares.give_back(1);
        assert_eq!(shares.grant(), [], "one must stay free for the next owner");
        shares.give_back(1);
        let granted: Vec<_> = shares.grant().into_iter().map(|(_, owner)| owner).collect();
        assert_eq!(granted, [2]);
        assert!(shares.is_wanted_of(1));
    }

    #[test]
    fn a_rank_that_must_leave_more_never_holds_up_one_that_need_not() {
        let by_rank: Kept = |asking| match asking.rank {
            Rank::Quick => 0,
            Rank::Usual => 1,
            Rank::Slow => 2,
        };
        let mut shares = Shares::new(4, by_rank);
        for owner in 0..4 {
            shares.ask(owner, Rank::Slow);
        }
        assert_eq!(shares.grant().len(), 2);
        for owner in 4..8 {
            shares.ask(owner, Rank::Usual);
        }
        assert_eq!(shares.grant().len(), 1);
        shares.ask(9, Rank::Quick);
        assert_eq!(shares.grant().len(), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ask(OwnerId, Rank),
        GiveBack(OwnerId),
        Withdraw(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let rank = prop_oneof![Just(Rank::Quick), Just(Rank::Usual), Just(Rank::Slow)];
        let step = prop_oneof![
            3 => (0..6_u64, rank).prop_map(|(owner, rank)| Step::Ask(owner, rank)),
            2 => (0..6_u64).prop_map(Step::GiveBack),
            1 => (0..64_usize).prop_map(Step::Withdraw),
        ];
        proptest::collection::vec(step, 0..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_books_are_right_and_nothing_lies_idle(limit in 1..20_usize, steps in steps()) {
            let mut shares = Shares::new(limit, kept);
            let mut held: HashMap<OwnerId, usize> = HashMap::new();
            let mut waiting: Vec<(Ticket, OwnerId)> = Vec::new();
            for step in steps {
                match step {
                    Step::Ask(owner, rank) => waiting.push((shares.ask(owner, rank), owner)),
                    Step::GiveBack(owner) => {
                        if let Some(count) = held.get_mut(&owner).filter(|count| **count > 0) {
                            *count -= 1;
                            shares.give_back(owner);
                        }
                    }
                    Step::Withdraw(which) if which < waiting.len() => {
                        let (ticket, _) = waiting.swap_remove(which);
                        prop_assert!(shares.withdraw(ticket));
                        prop_assert!(!shares.withdraw(ticket), "only once");
                    }
                    Step::Withdraw(_) => {}
                }
                for (ticket, owner) in shares.grant() {
                    waiting.retain(|(other, _)| *other != ticket);
                    *held.entry(owner).or_default() += 1;
                }
                let used: usize = held.values().sum();
                prop_assert!(used <= limit);
                prop_assert_eq!((shares.used(), shares.waiting()), (used, waiting.len()));
                for owner in 0..6 {
                    prop_assert_eq!(shares.held(owner), held.get(&owner).copied().unwrap_or(0));
                }
                let has_none = |owner: &OwnerId| held.get(owner).is_none_or(|count| *count == 0);
                let left_out = waiting.iter().any(|(_, owner)| has_none(owner));
                prop_assert!(!left_out || used == limit, "who has none gets one while any is free");
            }
            for (ticket, _) in waiting {
                shares.withdraw(ticket);
            }
            for (owner, count) in held {
                (0..count).for_each(|_| shares.give_back(owner));
            }
            prop_assert!(shares.owners.is_empty() && shares.line.is_empty(), "who is gone is forgotten");
        }

        /// However the others behave: while an owner with less waits, no owner with more gets one.
        #[test]
        fn while_somebody_waits_who_has_more_gets_nothing_new(
            limit in 1..40_usize,
            asks in proptest::collection::vec((0..5_u64, 1..12_usize), 1..20),
            returns in proptest::collection::vec(0..5_u64, 0..60),
        ) {
            let mut shares = Shares::new(limit, kept);
            for (owner, times) in asks {
                for _ in 0..times {
            shares.ask(owner, Rank::Usual);
        }
                shares.grant();
            }
            for owner in returns {
                shares.give_back(owner);
                let before: HashMap<_, _> = shares.holders().collect();
                let least = shares.waiting.values().map(|(owner, _)| before[owner]).min();
                for (_, owner) in shares.grant().into_iter().take(1) {
                    prop_assert_eq!(Some(before[&owner]), least);
                }
            }
        }
    }
}
