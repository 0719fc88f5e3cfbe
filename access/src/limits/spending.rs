//! Asks the buckets that a request goes through, all at once: either each of them lets it through and pays,
//! or none does.

use std::sync::Arc;

use millrace_event::Timestamp;
use parking_lot::Mutex;

use super::table::{Account, Key, Table};
use super::{Fits, Limit, Load, TooMuch, What, Whose};
use crate::identity::Identity;

/// What has been spent, of all limits. It outlives a change of the file.
#[derive(Debug, Default)]
pub(crate) struct Spending {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    senders: Table,
    /// Apart, so that no number of senders pushes out what a Broker has taken.
    brokers: Table,
}

/// The limits that count for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits<'a> {
    pub(crate) sender: Option<(&'a Identity, &'a Arc<Limit>)>,
    pub(crate) broker: Option<(&'a str, &'a Arc<Limit>)>,
}

/// What was spent for a request. Dropping it changes nothing: it stays spent.
#[derive(Debug, Default)]
pub struct Paid {
    sender: Option<(Key, Arc<Limit>)>,
    broker: Option<(Key, Arc<Limit>)>,
    load: Load,
}

/// What asking does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Nothing is spent.
    Looks,
    /// It is spent, if it fits.
    Takes,
    /// It is spent if the least would fit ([`super::Rate::judge_whole`]).
    TakesWhole,
}

// === impl Paid ===

impl Paid {
    /// Whether no limit counts for the request.
    pub fn is_nothing(&self) -> bool {
        self.sender.is_none() && self.broker.is_none()
    }
}

// === impl Spending ===

impl Spending {
    /// Asks the sender's buckets, and then the Broker's: a sender at its limit takes nothing from others.
    ///
    /// # Errors
    /// It is too much for one of them, and nothing is spent.
    pub(crate) fn ask(
        &self,
        limits: Limits<'_>,
        load: Load,
        asking: Asking,
        now: Timestamp,
    ) -> Result<Paid, TooMuch> {
        if limits.sender.is_none() && limits.broker.is_none() {
            return Ok(Paid::default());
        }
        let mut tables = self.tables.lock();
        let sender = limits.sender.map(|(who, limit)| {
            let (key, account) = tables.senders.account(&who.key(), limit, now);
            (key, account.pay(load, asking, now, Whose::Sender))
        });
        let sender = sender
            .map(|(key, paid)| paid.map(|paid| (key, paid)))
            .transpose()?;
        let broker = limits.broker.map(|(name, limit)| {
            let (key, account) = tables.brokers.account(name, limit, now);
            (key, account.pay(load, asking, now, Whose::Broker))
        });
        let broker = broker
            .map(|(key, paid)| paid.map(|paid| (key, paid)))
            .transpose()?;
        if asking == Asking::Looks {
            return Ok(Paid::default());
        }
        let mut paid = Paid {
            load,
            ..Paid::default()
        };
        if let Some((key, account)) = sender {
            paid.sender = Some((key, account.limit.clone()));
            tables.senders.keep(key, account);
        }
        if let Some((key, account)) = broker {
            paid.broker = Some((key, account.limit.clone()));
            tables.brokers.keep(key, account);
        }
        Ok(paid)
    }

    /// Gives back what was spent for a request that came to nothing. Where the limit is another by now, it
    /// stays spent.
    pub(crate) fn give_back(&self, paid: Paid) {
        if paid.is_nothing() {
            return;
        }
        let Paid { sender, broker, load } = paid;
        let mut tables = self.tables.lock();
        if let Some((key, limit)) = sender {
            let known = tables.senders.known(key, &limit);
            known.into_iter().for_each(|account| account.give_back(load));
        }
        if let Some((key, limit)) = broker {
            let known = tables.brokers.known(key, &limit);
            known.into_iter().for_each(|account| account.give_back(load));
        }
    }
}

// === impl Account ===

impl Account {
    /// The account once this load is paid.
    fn pay(self, load: Load, asking: Asking, now: Timestamp, whose: Whose) -> Result<Self, TooMuch> {
        let limit = self.limit.clone();
        let judge = |rate: Option<super::Rate>, spent, amount: usize, what| {
            let Some(rate) = rate else { return Ok(spent) };
            let amount = u64::try_from(amount).unwrap_or(u64::MAX);
            let judged = match asking {
                Asking::Looks | Asking::Takes => rate.judge(spent, amount, now),
                Asking::TakesWhole => rate.judge_whole(spent, amount, now),
            };
            judged.map_err(|fits| TooMuch { whose, what, fits })
        };
        let events = judge(limit.events, self.events, load.events, What::Events);
        let bytes = judge(limit.bytes, self.bytes, load.bytes, What::Bytes);
        let (events, bytes) = both(events, bytes)?;
        Ok(Self { limit, events, bytes })
    }

    fn give_back(&mut self, load: Load) {
        let given = |rate: Option<super::Rate>, spent, amount: usize| {
            let amount = u64::try_from(amount).unwrap_or(u64::MAX);
            rate.map_or(spent, |rate| rate.give_back(spent, amount))
        };
        self.events = given(self.limit.events, self.events, load.events);
        self.bytes = given(self.limit.bytes, self.bytes, load.bytes);
    }
}

/// The worse of two refusals: whoever waits for the shorter time only meets the other.
fn both<T>(one: Result<T, TooMuch>, other: Result<T, TooMuch>) -> Result<(T, T), TooMuch> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(refused), Ok(_)) | (Ok(_), Err(refused)) => Err(refused),
        (Err(one), Err(other)) => match (one.fits, other.fits) {
            (Fits::Never(_), _) => Err(one),
            (_, Fits::Never(_)) => Err(other),
            (Fits::After(a), Fits::After(b)) if a >= b => Err(one),
            (Fits::After(_), Fits::After(_)) => Err(other),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::table::GENERATION;
    use super::super::{Rate, wire};
    use super::*;
    use crate::grants::Grants;
    use crate::identity::Kind;

    const NOW: Timestamp = Timestamp(1_900_000_000_000);

    fn limit(events: u64, bytes: u64) -> Arc<Limit> {
        Arc::new(Limit {
            events: Rate::new(events, events),
            bytes: Rate::new(bytes, bytes),
            requests: None,
        })
    }

    fn who(name: &str) -> Identity {
        Identity::new(Kind::Jwt, name, Arc::new(Grants::default()))
    }

    fn load(events: usize, bytes: usize) -> Load {
        Load { events, bytes }
    }

    fn ask(
        spending: &Spending,
        sender: Option<(&str, &Arc<Limit>)>,
        broker: Option<(&str, &Arc<Limit>)>,
        load: Load,
    ) -> Result<(), &'static str> {
        let who = sender.map(|(name, limit)| (who(name), limit));
        let limits = Limits {
            sender: who.as_ref().map(|(who, limit)| (who, *limit)),
            broker,
        };
        let asked = spending.ask(limits, load, Asking::Takes, NOW);
        asked.map(drop).map_err(|too_much| too_much.code())
    }

    #[test]
    fn what_one_bucket_refuses_the_others_do_not_pay_for() {
        let spending = Spending::default();
        let (sender, broker) = (limit(10, 100), limit(15, 0));
        let both = |name, events, bytes| {
            ask(
                &spending,
                Some((name, &sender)),
                Some(("shop/default", &broker)),
                load(events, bytes),
            )
        };
        assert_eq!(both("a", 1, 101), Err("over-burst"));
        assert_eq!(both("a", 5, 100), Ok(()));
        // Its bytes are used up, its events are not, and the Broker has 10 left.
        assert_eq!(both("a", 5, 1), Err("rate-limited"));
        assert_eq!(both("a", 5, 0), Ok(()));
        assert_eq!(both("a", 1, 0), Err("rate-limited"));
        // Refused by the Broker, of which 5 are left: `b` keeps its ten.
        assert_eq!(both("b", 6, 0), Err("broker-rate-limited"));
        assert_eq!(both("b", 5, 0), Ok(()));
        assert_eq!(ask(&spending, Some(("b", &sender)), None, load(5, 0)), Ok(()));
        assert_eq!(
            ask(&spending, Some(("b", &sender)), None, load(1, 0)),
            Err("rate-limited")
        );
    }

    #[test]
    fn the_longest_wait_is_told() {
        let spending = Spending::default();
        let limit = limit(10, 1_000);
        let who = who("a");
        let limits = Limits {
            sender: Some((&who, &limit)),
            broker: None,
        };
        spending
            .ask(limits, load(10, 1_000), Asking::Takes, NOW)
            .expect("the burst");
        let refused = spending
            .ask(limits, load(1, 900), Asking::Takes, NOW)
            .expect_err("used up");
        assert_eq!(refused.what, What::Bytes);
        assert_eq!(refused.fits, Fits::After(Duration::from_millis(900)));
    }

    #[test]
    fn what_came_to_nothing_is_given_back_to_both_but_not_to_another_limit() {
        let spending = Spending::default();
        let (sender, broker, who) = (limit(10, 100), limit(10, 100), who("a"));
        let limits = Limits {
            sender: Some((&who, &sender)),
            broker: Some(("shop/default", &broker)),
        };
        let whole = load(10, 100);
        let take = || spending.ask(limits, whole, Asking::Takes, NOW);
        for _ in 0..3 {
            let paid = take().expect("a full bucket");
            take().expect_err("used up");
            spending.give_back(paid);
        }
        // What comes from within may owe more than a bucket has.
        let within = Limits {
            sender: None,
            ..limits
        };
        let paid = spending.ask(within, load(500, 5_000), Asking::TakesWhole, NOW);
        spending.give_back(paid.expect("room for one"));
        let paid = take().expect("a full bucket");
        let other = Arc::new(Limit {
            events: Rate::new(10, 20),
            bytes: None,
            requests: None,
        });
        let changed = Limits {
            sender: Some((&who, &other)),
            broker: None,
        };
        let more = spending.ask(changed, load(5, 0), Asking::Takes, NOW);
        more.expect("room in the larger limit");
        spending.give_back(paid);
        let sender = spending.ask(changed, load(10, 0), Asking::Takes, NOW);
        sender.expect_err("with another limit it stays spent");
        let broker = spending.ask(within, whole, Asking::Takes, NOW);
        broker.expect("the Broker's limit is the same");
    }

    #[test]
    fn looking_spends_nothing() {
        let spending = Spending::default();
        let (limit, who) = (limit(1, 1), who("a"));
        let limits = Limits {
            sender: Some((&who, &limit)),
            broker: None,
        };
        for _ in 0..3 {
            assert!(spending.ask(limits, load(1, 1), Asking::Looks, NOW).is_ok());
        }
        assert!(spending.ask(limits, load(1, 1), Asking::Takes, NOW).is_ok());
        assert!(spending.ask(limits, load(1, 1), Asking::Looks, NOW).is_err());
    }

    #[test]
    fn a_million_identities_cost_the_memory_of_a_bounded_number_and_brokers_are_not_pushed_out() {
        let spending = Spending::default();
        let (sender, broker) = (limit(1, 1), limit(2_000_000, 0));
        let full = Arc::new(Limit {
            events: Rate::new(1, 1),
            bytes: None,
            requests: None,
        });
        assert_eq!(
            ask(&spending, None, Some(("shop/small", &full)), load(1, 0)),
            Ok(())
        );
        for nth in 0..1_000_000 {
            let name = format!("pod-{nth}");
            let asked = ask(
                &spending,
                Some((&name, &sender)),
                Some(("shop/default", &broker)),
                load(1, 1),
            );
            assert_eq!(asked, Ok(()), "{nth}");
        }
        let tables = spending.tables.lock();
        assert!(tables.senders.len() <= 2 * GENERATION, "{}", tables.senders.len());
        drop(tables);
        // Those that sent last are known.
        assert_eq!(
            ask(&spending, Some(("pod-999999", &sender)), None, load(1, 0)),
            Err("rate-limited")
        );
        assert_eq!(
            ask(&spending, None, Some(("shop/small", &full)), load(1, 0)),
            Err("broker-rate-limited")
        );
    }

    #[test]
    fn who_sends_all_the_time_is_not_forgotten_among_many_others() {
        let spending = Spending::default();
        let (hour, second) = (Rate::new(1, 3_600), Rate::new(1, 1));
        let busy = Arc::new(Limit {
            events: hour,
            bytes: None,
            requests: None,
        });
        let others = Arc::new(Limit {
            events: second,
            bytes: None,
            requests: None,
        });
        let mut taken = 0;
        for nth in 0..(GENERATION * 4) {
            let name = format!("pod-{nth}");
            assert_eq!(ask(&spending, Some((&name, &others)), None, load(1, 0)), Ok(()));
            if nth % 16 == 0 && ask(&spending, Some(("busy", &busy)), None, load(1, 0)).is_ok() {
                taken += 1;
            }
        }
        assert_eq!(taken, 3_600);
    }

    #[test]
    fn a_changed_limit_gives_nobody_a_new_burst_and_the_same_limit_changes_nothing() {
        let spending = Spending::default();
        let read = |text: &str| wire::parsed(text).expect("a limit");
        let small = read("{eventsPerSecond: 5}");
        assert_eq!(ask(&spending, Some(("a", &small)), None, load(5, 0)), Ok(()));
        let same = read("{eventsPerSecond: 5}");
        assert_eq!(
            ask(&spending, Some(("a", &same)), None, load(1, 0)),
            Err("rate-limited")
        );
        let large = read("{eventsPerSecond: 500}");
        assert!(ask(&spending, Some(("a", &large)), None, load(500, 0)).is_err());
        assert_eq!(ask(&spending, Some(("b", &large)), None, load(500, 0)), Ok(()));
    }
}
