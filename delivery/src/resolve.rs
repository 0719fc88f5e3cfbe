//! From a name to its addresses, without letting dead name servers hold up the deliveries to everybody else.
//!
//! # The contract
//! - An address and `localhost` need no lookup.
//! - A name is looked up once for all attempts that ask meanwhile. An attempt waits for the lookup's turn
//!   without limit, which is a shortage of our own ([`Shortage::Lookups`]). It then waits for the answer for
//!   at most 5 s, which count towards its timeout. A lookup goes on when nobody waits any more, and later
//!   attempts use its answer.
//! - A failed lookup is remembered for 5 s, so that a dead name is not looked up for each attempt. Found
//!   addresses are not remembered: a kept-alive connection needs no name, and a new one should use the
//!   addresses of its moment.
//! - [`crate::lookups`] decides how many lookups run, and for whom.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use millrace_model::Shortage;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::lookups::{LookupResult, Lookups, Missing};
use crate::no_answer::{NoAnswer, Unmade};
use crate::permits::{Pending, Permit, Shown};
use crate::shares::{OwnerId, Rank};

/// How long an attempt waits for the answer to a running lookup. A lookup that takes longer is slow.
const WAITS: Duration = Duration::from_secs(5);

/// How long a failed lookup is remembered.
const FAILED: Duration = Duration::from_secs(5);

/// The most names that are remembered. Beyond it all are forgotten but those being looked up.
const REMEMBERED: usize = 8_192;

/// Looks names up. Clones share what is known.
#[derive(Clone)]
pub(crate) struct Resolver {
    shared: Arc<SharedResolver>,
}

struct SharedResolver {
    lookups: Lookups,
    /// How long an attempt waits for the answer to a running lookup.
    patience: Duration,
    /// Held only to look and to change, never while waiting.
    names: Mutex<HashMap<String, Name>>,
}

/// What is known of a name.
#[derive(Clone, Debug)]
enum Name {
    /// It is being looked up; the value holds what is known of its last lookup.
    Asked(watch::Receiver<Stage>),
    /// It was not found; this holds until `until`.
    NotFound { why: String, until: Instant, rank: Rank },
    /// It was found, or no server answered in time.
    Known(Rank),
}

/// How far a lookup has come.
#[derive(Clone, Debug)]
enum Stage {
    InLine,
    Running,
    Ended(LookupResult),
}

/// A lookup that an attempt waits for.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    name: String,
    stage: watch::Receiver<Stage>,
}

/// The addresses of an endpoint. An attempt that has to wait for a connection keeps them however long that
/// takes. The guard is asked about them when the attempt connects.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    host: String,
    addresses: Arc<[IpAddr]>,
}

// === impl Resolver ===

impl Resolver {
    /// A resolver that asks the system for at most `limit` names at one time.
    pub(crate) fn system(limit: usize, shown: Shown) -> Self {
        Self::new(WAITS, Lookups::new(limit, shown, system))
    }

    pub(crate) fn new(patience: Duration, lookups: Lookups) -> Self {
        Self {
            shared: Arc::new(SharedResolver {
                lookups,
                patience,
                names: Mutex::default(),
            }),
        }
    }

    /// Whether the addresses of this endpoint are known without a lookup.
    pub(crate) fn knows(endpoint: &Endpoint) -> bool {
        without_lookup(&endpoint.host).is_some()
    }

    /// The addresses of an endpoint, in the resolver's order; at least one. `lookup` keeps a lookup that has
    /// not begun, so that the next call continues it.
    pub(crate) async fn addresses(
        &self,
        owner: OwnerId,
        endpoint: &Endpoint,
        lookup: &mut Option<Lookup>,
    ) -> Result<Resolved, Unmade> {
        if let Some(literal) = without_lookup(&endpoint.host) {
            return Ok(Resolved::now(endpoint, literal));
        }
        let mut asked = match lookup.take().filter(|lookup| lookup.name == endpoint.host) {
            Some(lookup) => lookup,
            None => self.ask(owner, &endpoint.host)?,
        };
        if asked.is_in_line() {
            *lookup = Some(asked);
            return Err(Unmade::Short(Shortage::Lookups));
        }
        match tokio::time::timeout(self.shared.patience, asked.found()).await {
            Ok(Ok(addresses)) => Ok(Resolved::now(endpoint, addresses)),
            Ok(Err(Missing::Short(shortage))) => Err(Unmade::Short(shortage)),
            Ok(Err(Missing::NotFound(cause))) => Err(not_found(&endpoint.host, cause).into()),
            Err(_) => {
                let name = endpoint.host.clone();
                let limit = self.shared.patience;
                Err(NoAnswer::NameLate { name, limit }.into())
            }
        }
    }

    /// The lookup of this name: a running one, or a new one.
    fn ask(&self, owner: OwnerId, name: &str) -> Result<Lookup, NoAnswer> {
        let mut names = self.shared.names.lock();
        let rank = match names.get(name) {
            Some(Name::Asked(stage)) => {
                return Ok(Lookup {
                    name: name.to_owned(),
                    stage: stage.clone(),
                });
            }
            Some(Name::NotFound { why, until, .. }) if Instant::now() < *until => {
                return Err(not_found(name, why.clone()));
            }
            Some(Name::NotFound { rank, .. } | Name::Known(rank)) => *rank,
            None => Rank::Usual,
        };
        if names.len() >= REMEMBERED {
            names.retain(|_, name| matches!(name, Name::Asked(_)));
        }
        let lookups = &self.shared.lookups;
        let mut pending = lookups.ask(owner, rank);
        let permit = pending.granted();
        let answer = permit.as_ref().and_then(|_| lookups.begin(name).ok());
        let (sender, stage) = watch::channel(match answer {
            Some(_) => Stage::Running,
            None => Stage::InLine,
        });
        names.insert(name.to_owned(), Name::Asked(stage.clone()));
        drop(names);
        // In a task of its own: it must end and be remembered even if all waiters give up.
        tokio::spawn(self.clone().run(name.to_owned(), pending, permit, answer, sender));
        Ok(Lookup {
            name: name.to_owned(),
            stage,
        })
    }

    /// Runs a lookup from its place in the line to its end; `permit` and `answer` are there if it had its
    /// turn at once.
    async fn run(
        self,
        name: String,
        mut pending: Pending,
        permit: Option<Permit>,
        answer: Option<oneshot::Receiver<LookupResult>>,
        stage: watch::Sender<Stage>,
    ) {
        let permit = match permit {
            Some(permit) => permit,
            None => pending.permit().await,
        };
        let answer = match answer {
            Some(answer) => answer,
            None => self.shared.lookups.begin_when_possible(&name).await,
        };
        stage.send_replace(Stage::Running);
        let began = Instant::now();
        let found = answer
            .await
            .unwrap_or_else(|_| Err(Missing::NotFound("the lookup was broken off".to_owned())));
        drop(permit);
        self.remember(name, &found, began);
        stage.send_replace(Stage::Ended(found));
    }

    /// Called before the waiters are told, so that later callers see the result or start a new lookup.
    fn remember(&self, name: String, found: &LookupResult, began: Instant) {
        let rank = if began.elapsed() < self.shared.patience {
            Rank::Quick
        } else {
            Rank::Slow
        };
        let known = match found {
            Ok(_) | Err(Missing::Short(_)) => Name::Known(rank),
            Err(Missing::NotFound(why)) => Name::NotFound {
                why: why.clone(),
                until: Instant::now() + FAILED,
                rank,
            },
        };
        self.shared.names.lock().insert(name, known);
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("names", &self.shared.names.lock().len())
            .finish_non_exhaustive()
    }
}

// === impl Lookup ===

impl Lookup {
    fn is_in_line(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::InLine)
    }

    /// Waits until the lookup has its turn.
    pub(crate) async fn begun(&mut self) {
        // An error means that the runtime is ending, and this task with it.
        let _ = self.stage.wait_for(|stage| !matches!(stage, Stage::InLine)).await;
    }

    async fn found(&mut self) -> LookupResult {
        let ended = self
            .stage
            .wait_for(|stage| matches!(stage, Stage::Ended(_)))
            .await;
        match ended.as_deref() {
            Ok(Stage::Ended(found)) => found.clone(),
            _ => Err(Missing::NotFound("the lookup was broken off".to_owned())),
        }
    }
}

// === impl Resolved ===

impl Resolved {
    fn now(endpoint: &Endpoint, addresses: Arc<[IpAddr]>) -> Self {
        Self {
            host: endpoint.host.clone(),
            addresses,
        }
    }

    /// Whether these are the addresses of this endpoint.
    pub(crate) fn is_of(&self, endpoint: &Endpoint) -> bool {
        self.host == endpoint.host
    }

    pub(crate) fn with_port(&self, port: u16) -> Vec<SocketAddr> {
        self.addresses
            .iter()
            .map(|ip| SocketAddr::new(*ip, port))
            .collect()
    }
}

/// An address, or `localhost`, which is this machine whatever a name server says (RFC 6761).
fn without_lookup(host: &str) -> Option<Arc<[IpAddr]>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(Arc::new([ip]));
    }
    let loopback = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
    host.eq_ignore_ascii_case("localhost").then(|| loopback.into())
}

fn not_found(name: &str, cause: String) -> NoAnswer {
    NoAnswer::Name {
        name: name.to_owned(),
        cause,
    }
}

fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// How long the tests wait for a name that never answers.
    const SOON: Duration = Duration::from_millis(300);

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::of(&url.parse().expect(url)).expect(url)
    }

    fn resolver(
        limit: usize,
        ask: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Resolver {
        Resolver::new(SOON, Lookups::new(limit, Shown::default(), ask))
    }

    /// The addresses, however long it takes to get a turn; and how often the call had to wait for one.
    async fn find(resolver: &Resolver, owner: OwnerId, url: &str) -> (Result<usize, String>, usize) {
        let (endpoint, mut lookup, mut waits) = (endpoint(url), None, 0);
        loop {
            match resolver.addresses(owner, &endpoint, &mut lookup).await {
                Ok(found) => return (Ok(found.with_port(80).len()), waits),
                Err(Unmade::Failed(error)) => return (Err(error.to_string()), waits),
                Err(Unmade::Short(shortage)) => {
                    assert_eq!(shortage, Shortage::Lookups);
                    waits += 1;
                    lookup.as_mut().expect("it stands in line").begun().await;
                }
            }
        }
    }

    #[tokio::test]
    async fn addresses_and_localhost_need_no_lookup() {
        let resolver = resolver(1, |name| panic!("asked for {name}"));
        let cases: [(&str, &[&str]); 4] = [
            ("http://[::1]:7/", &["[::1]:7"]),
            ("http://127.0.0.1/", &["127.0.0.1:80"]),
            ("http://localhost:9/", &["[::1]:9", "127.0.0.1:9"]),
            ("http://LocalHost:9/", &["[::1]:9", "127.0.0.1:9"]),
        ];
        for (url, expected) in cases {
            let endpoint = endpoint(url);
            let found = resolver
                .addresses(1, &endpoint, &mut None)
                .await
                .expect("addresses");
            let found: Vec<String> = found
                .with_port(endpoint.port)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(found, expected, "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_found_is_asked_for_once_in_a_while() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let resolver = resolver(8, move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(vec![])
        });
        for _ in 0..5 {
            let (found, _) = find(&resolver, 1, "http://a.example/").await;
            let error = found.expect_err("no address");
            assert_eq!(error, "name not found: a.example (it has no address)");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let (system, _) = find(
            &Resolver::system(8, Shown::default()),
            1,
            "http://nowhere.invalid/",
        )
        .await;
        let error = system.expect_err("not found");
        assert!(error.starts_with("name not found: nowhere.invalid"), "{error}");
    }

    #[tokio::test]
    async fn what_is_found_is_asked_for_each_time() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let resolver = resolver(8, move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(vec![IpAddr::from([10, 0, 0, 1])])
        });
        for _ in 0..3 {
            assert_eq!(find(&resolver, 1, "http://a.example/").await.0, Ok(1));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    /// A resolver whose names `hang…` are answered when the sender is dropped, and a count of these lookups.
    fn hanging(limit: usize) -> (Resolver, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (release, released) = mpsc::channel::<()>();
        let (released, calls) = (Mutex::new(released), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        let resolver = resolver(limit, move |name| {
            if name.starts_with("hang") {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = released.lock().recv();
            }
            Ok(vec![IpAddr::from([10, 0, 0, 1])])
        });
        (resolver, release, calls)
    }

    #[tokio::test]
    async fn a_name_that_hangs_takes_one_lookup_however_many_wait_and_however_often() {
        let (resolver, release, calls) = hanging(64);
        let late = "no answer to the lookup of hangs.example within 300 ms";
        for _ in 0..2 {
            let all = (0..10).map(|owner| {
                let resolver = resolver.clone();
                tokio::spawn(async move { find(&resolver, owner, "http://hangs.example/").await.0 })
            });
            for task in all.collect::<Vec<_>>() {
                assert_eq!(task.await.expect("ends"), Err(late.to_owned()));
            }
        }
        assert_eq!(find(&resolver, 1, "http://works.example/").await.0, Ok(1));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        drop(release);
        let again = wait_for_answer(&resolver, "http://hangs.example/").await;
        assert_eq!(again, Ok(1), "the late answer, or a new one");
    }

    async fn wait_for_answer(resolver: &Resolver, url: &str) -> Result<usize, String> {
        loop {
            let (found, _) = find(resolver, 1, url).await;
            if found.is_ok() {
                return found;
            }
        }
    }

    #[tokio::test]
    async fn names_that_hang_leave_lookups_for_names_that_were_answered() {
        let (resolver, release, calls) = hanging(16);
        assert_eq!(find(&resolver, 1, "http://works.example/").await.0, Ok(1));
        let dead: Vec<_> = (0..100)
            .map(|owner| {
                let resolver = resolver.clone();
                let url = format!("http://hang{owner}.example/");
                tokio::spawn(async move { find(&resolver, 10 + owner, &url).await })
            })
            .collect();
        while calls.load(Ordering::SeqCst) < 14 {
            tokio::task::yield_now().await;
        }
        for _ in 0..20 {
            let (found, waits) = find(&resolver, 1, "http://works.example/").await;
            assert_eq!((found, waits), (Ok(1), 0));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 14, "two of sixteen are kept");
        drop(release);
        for task in dead {
            let (found, waits) = task.await.expect("ends");
            assert!(waits <= 1, "it waits in line once");
            // Lookups that had begun may be late; one still in line must not count as failed for that.
            assert!(found == Ok(1) || found.expect_err("late").contains("no answer to the lookup"));
        }
    }
}
