//! The gate: the one place that both listeners ask who calls.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Extensions, HeaderMap};
use millrace_event::{Clock, Moment};
use millrace_model::event_policy::DefaultMode;
use millrace_serve::Peer;

use crate::credentials::Shown;
use crate::file::{AccessFile, FileError};
use crate::grants::{BrokerPattern, Grants};
use crate::identity::Identity;
use crate::jwt::IssuerKeys;
use crate::limits::in_hand::InHand;
use crate::limits::spending::{Asking, Limits, Spending};
use crate::limits::{Counted, Limit, Load, Paid, TooMuch};
use crate::origins::Origins;
use crate::refusal::Refusal;

/// One way to find out who calls.
///
/// It answers at once, from what it has in memory: it runs before a byte of the body is read, and a caller
/// must not be able to make it wait. What it must fetch it fetches beside.
pub trait Authenticate: fmt::Debug + Send + Sync {
    /// Who shows this; `None` when it is nobody that this one knows.
    ///
    /// # Errors
    /// It is known, and not good (any more).
    fn identify(&self, shown: &Shown<'_>, now: Moment) -> Result<Option<Identity>, Refusal>;
}

/// Who may come in, by the latest access file that could be used.
///
/// # Guarantees
/// The decision needs the head of a request alone. A file that cannot be used changes nothing. A change
/// takes effect with the next request, also on connections that are open. Whether anybody is asked who they
/// are never changes. What was spent of a limit stays spent.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    clock: Clock,
    known: ArcSwap<Known>,
    spending: Spending,
    in_hand: Arc<InHand>,
}

/// What a file made known.
#[derive(Debug)]
struct Known {
    /// What anybody may do; `None`: everybody is asked who they are.
    anybody: Option<Arc<Grants>>,
    ways: Vec<Box<dyn Authenticate>>,
    keys: Vec<Arc<IssuerKeys>>,
    default_mode: DefaultMode,
    broker_limits: Vec<(BrokerPattern, Arc<Limit>)>,
    origins: Origins,
}

// === impl Gate ===

impl Gate {
    /// Reads the access file. It may block.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn load(path: &Path, clock: Clock) -> Result<Self, FileError> {
        Ok(Self {
            known: ArcSwap::from_pointee(read(path, &[])?),
            path: path.to_owned(),
            clock,
            spending: Spending::default(),
            in_hand: Arc::default(),
        })
    }

    /// Reads it again. It may block.
    ///
    /// # Errors
    /// It cannot be used; what was read before stays in use.
    pub fn reload(&self) -> Result<(), FileError> {
        let before = self.known.load_full();
        let now = read(&self.path, &before.keys)?;
        if before.anybody.is_some() != now.anybody.is_some() {
            return Err(FileError::Invalid {
                path: self.path.clone(),
                reason: "authentication: whether callers are asked who they are changes only with a restart"
                    .to_owned(),
            });
        }
        self.known.store(Arc::new(now));
        Ok(())
    }

    /// Whether callers are asked who they are. Otherwise each address is somebody, policies decide nothing,
    /// and only limits count.
    pub fn asks_who_calls(&self) -> bool {
        self.known.load().anybody.is_none()
    }

    /// What holds for Brokers to which no policy is bound.
    pub fn default_mode(&self) -> DefaultMode {
        self.known.load().default_mode
    }

    /// The keys of all issuers. Who calls this fetches those that are due ([`IssuerKeys::begin`]).
    pub fn keys(&self) -> Vec<Arc<IssuerKeys>> {
        self.known.load().keys.clone()
    }

    /// Who sends a request with this head.
    ///
    /// # Errors
    /// It is not known, or what is shown is not good.
    pub fn identify(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Identity, Refusal> {
        let known = self.known.load();
        if let Some(anybody) = &known.anybody {
            let peer = extensions.get::<Peer>().copied();
            return Ok(Identity::of_address(peer, anybody.clone()));
        }
        let shown = Shown::read(headers, extensions)?;
        let now = self.clock.moment();
        for one in &known.ways {
            if let Some(identity) = one.identify(&shown, now)? {
                return Ok(identity);
            }
        }
        Err(Refusal::UnknownCredentials)
    }

    /// Whether so much, which a request has at least, would fit into the limits of who sends it and of the
    /// Broker `namespace/name`. Nothing is spent.
    ///
    /// # Errors
    /// It does not fit, now or ever.
    pub fn has_room(&self, who: &Identity, broker: &str, least: Load) -> Result<(), TooMuch> {
        self.ask(Some(who), broker, least, Asking::Looks).map(drop)
    }

    /// Counts a request as in hand until what is returned is dropped; `None` where no limit asks for it.
    ///
    /// # Errors
    /// Who sends it, or the Broker `namespace/name`, has as many in hand as it may.
    pub fn begin(&self, who: &Identity, broker: &str) -> Result<Option<Counted>, TooMuch> {
        let known = self.known.load();
        self.in_hand.begin(Limits {
            sender: who.limit().map(|limit| (who, limit)),
            broker: known.broker_limit(broker).map(|limit| (broker, limit)),
        })
    }

    /// Spends what a request has: all of it, or nothing. It stays spent unless it is given back.
    ///
    /// # Errors
    /// It does not fit, now or ever.
    pub fn spend(&self, who: &Identity, broker: &str, load: Load) -> Result<Paid, TooMuch> {
        self.ask(Some(who), broker, load, Asking::Takes)
    }

    /// Spends what a sender within the process has, of the Broker's limit alone. Where there is room for the
    /// least all of it is taken, as nobody could make it smaller; what comes next then waits.
    ///
    /// # Errors
    /// It does not fit now.
    pub fn spend_within(&self, broker: &str, load: Load) -> Result<Paid, TooMuch> {
        self.ask(None, broker, load, Asking::TakesWhole)
    }

    /// Gives back what was spent for events of which none was stored.
    pub fn give_back(&self, paid: Paid) {
        self.spending.give_back(paid);
    }

    /// Whether a sender of webhooks that gives itself this name (`WebHook-Request-Origin`) may send.
    pub fn allows_origin(&self, origin: &[u8]) -> bool {
        self.known.load().origins.allow(origin)
    }

    /// How many events a minute its limits let through from it to the Broker `namespace/name`; `None`: any
    /// number.
    pub fn per_minute(&self, who: &Identity, broker: &str) -> Option<u64> {
        let known = self.known.load();
        let limits = [who.limit(), known.broker_limit(broker)];
        let rates = limits.into_iter().flatten().filter_map(|limit| limit.events);
        rates.map(|rate| rate.per_minute()).min()
    }

    fn ask(&self, who: Option<&Identity>, broker: &str, load: Load, asking: Asking) -> Result<Paid, TooMuch> {
        let known = self.known.load();
        let broker_limit = known.broker_limit(broker).filter(|limit| limit.has_rates());
        let limits = Limits {
            sender: who.and_then(|who| Some((who, who.limit().filter(|limit| limit.has_rates())?))),
            broker: broker_limit.map(|limit| (broker, limit)),
        };
        self.spending.ask(limits, load, asking, self.clock.steady())
    }
}

// === impl Known ===

impl Known {
    /// How much a Broker takes.
    fn broker_limit(&self, broker: &str) -> Option<&Arc<Limit>> {
        let mut limits = self.broker_limits.iter();
        let (_, limit) = limits.find(|(pattern, _)| pattern.fits(broker))?;
        (!limit.is_none()).then_some(limit)
    }
}

fn read(path: &Path, before: &[Arc<IssuerKeys>]) -> Result<Known, FileError> {
    let mut file = AccessFile::load(path)?.with_keys(before);
    Ok(Known {
        anybody: file.anybody.clone(),
        keys: file.keys(),
        default_mode: file.default_mode(),
        broker_limits: file.broker_limits(),
        origins: file.take_origins(),
        ways: vec![Box::new(file)],
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use http::header::AUTHORIZATION;
    use millrace_event::Timestamp;

    use super::*;

    const OPEN: &str =
        "limits: {default: {eventsPerSecond: 1}, brokers: [{broker: a/b, eventsPerSecond: 3}]}";
    const ASKS: &str = "authentication: {certificates: [{name: till.example, brokers: ['*']}]}";

    fn one() -> Load {
        Load { events: 1, bytes: 0 }
    }

    #[test]
    fn where_nobody_is_asked_each_address_is_somebody_and_what_is_shown_counts_for_nothing() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), OPEN).expect("written");
        let gate = Gate::load(file.path(), Clock::manual(Timestamp(1_900_000_000_000))).expect("a gate");
        assert!(!gate.asks_who_calls());
        let from = |address: [u8; 4], shown: &[&'static str]| {
            let mut extensions = Extensions::new();
            extensions.insert(Peer::of(address.into()));
            let shown = shown
                .iter()
                .map(|text| (AUTHORIZATION, text.parse().expect("a value")));
            gate.identify(&shown.collect(), &extensions).expect("anybody")
        };
        let (one_who, other) = (from([10, 0, 0, 1], &[]), from([10, 0, 0, 2], &[]));
        assert_eq!(one_who.to_string(), "address:10.0.0.1");
        assert_eq!(from([10, 0, 0, 1], &["Bearer x"]), one_who);
        assert_eq!(from([10, 0, 0, 1], &["Bearer x", "nonsense"]), one_who);
        assert!(one_who.may_publish("a/b").is_ok() && one_who.has_role(crate::Role::Read).is_err());
        let spend = |who: &Identity, broker| {
            let spent = gate.spend(who, broker, one());
            spent.map(drop).map_err(|no| no.code())
        };
        assert_eq!(spend(&one_who, "a/b"), Ok(()));
        assert_eq!(
            spend(&one_who, "a/other"),
            Err("rate-limited"),
            "all Brokers together"
        );
        assert_eq!(spend(&other, "a/b"), Ok(()));
        assert_eq!(spend(&from([10, 0, 0, 3], &[]), "a/b"), Ok(()));
        assert_eq!(
            spend(&from([10, 0, 0, 4], &[]), "a/b"),
            Err("broker-rate-limited")
        );
    }

    #[test]
    fn a_change_of_the_file_neither_opens_the_door_nor_closes_it() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (first, then) in [(OPEN, ASKS), (ASKS, OPEN)] {
            fs::write(file.path(), first).expect("written");
            let gate = Gate::load(file.path(), Clock::System).expect("a gate");
            let asks = gate.asks_who_calls();
            fs::write(file.path(), then).expect("written");
            let said = gate.reload().expect_err("refused").to_string();
            assert!(said.contains("only with a restart"), "{said}");
            assert_eq!(gate.asks_who_calls(), asks);
            fs::write(file.path(), first).expect("written");
            gate.reload().expect("as before");
        }
    }
}
