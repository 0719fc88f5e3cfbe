//! From a name to its addresses, without letting one dead name server hold up the deliveries to everybody else.
//!
//! The system's resolver blocks a thread for as long as it likes, also when whoever asked has long timed out. So a
//! name is looked up once for all who wait for it, and the lookups that run at the same time are bounded. Nothing is
//! cached: a kept-alive connection asks for no name, and a new one should see what is true now.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::no_answer::NoAnswer;
use crate::place::Place;

/// Names looked up at the same time at most; each takes a thread.
const LOOKUPS: usize = 64;

type Found = Result<Vec<IpAddr>, String>;
type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Looks names up. Clones share the lookups that run.
#[derive(Clone)]
pub(crate) struct Resolver {
    lookup: Arc<Lookup>,
    permits: Arc<Semaphore>,
    /// By name: where the result will appear. Held only to look and to change, never while waiting.
    running: Arc<Mutex<HashMap<String, watch::Receiver<Option<Found>>>>>,
}

// === impl Resolver ===

impl Default for Resolver {
    fn default() -> Self {
        Self::new(system, LOOKUPS)
    }
}

impl Resolver {
    fn new(lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static, lookups: usize) -> Self {
        let permits = Arc::new(Semaphore::new(lookups));
        Self {
            lookup: Arc::new(lookup),
            permits,
            running: Arc::default(),
        }
    }

    /// The addresses of a place, in the resolver's order; at least one.
    pub(crate) async fn addresses(&self, place: &Place) -> Result<Vec<SocketAddr>, NoAnswer> {
        let with_port = |ip| SocketAddr::new(ip, place.port);
        if let Ok(ip) = place.host.parse() {
            return Ok(vec![with_port(ip)]);
        }
        match self.find(&place.host).await {
            Ok(found) => Ok(found.into_iter().map(with_port).collect()),
            Err(cause) => Err(NoAnswer::Name {
                name: place.host.clone(),
                cause,
            }),
        }
    }

    /// Waits for the lookup of this name, and begins it if none runs.
    async fn find(&self, name: &str) -> Found {
        let mut result = {
            let mut running = self.running.lock();
            match running.get(name) {
                Some(result) => result.clone(),
                None => {
                    let (sender, result) = watch::channel(None);
                    running.insert(name.to_owned(), result.clone());
                    // On its own, since it must end and be forgotten even if all who wait for it give up.
                    tokio::spawn(self.clone().run(name.to_owned(), sender));
                    result
                }
            }
        };
        let found = result.wait_for(Option::is_some).await.map(|found| found.clone());
        found.ok().flatten().unwrap_or_else(|| {
            // The runtime that ran it has ended. Whoever comes next begins anew.
            self.running.lock().remove(name);
            Err("the lookup was broken off".to_owned())
        })
    }

    async fn run(self, name: String, sender: watch::Sender<Option<Found>>) {
        let permit = self.permits.acquire().await;
        let (lookup, asked) = (Arc::clone(&self.lookup), name.clone());
        let looked_up = tokio::task::spawn_blocking(move || lookup(&asked)).await;
        drop(permit);
        let found = match looked_up.map_err(io::Error::other).and_then(|result| result) {
            Ok(addresses) if addresses.is_empty() => Err("it has no address".to_owned()),
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(error.to_string()),
        };
        // Forgotten before it is told: who asks from now on gets a new answer.
        self.running.lock().remove(&name);
        sender.send_replace(Some(found));
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("permits", &self.permits)
            .finish_non_exhaustive()
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

    fn place(url: &str) -> Place {
        Place::of(&url.parse().expect(url)).expect(url)
    }

    #[tokio::test]
    async fn literal_addresses_need_no_lookup() {
        let resolver = Resolver::new(|name| panic!("asked for {name}"), 1);
        for (url, expected) in [
            ("http://[::1]:7/", "[::1]:7"),
            ("http://127.0.0.1/", "127.0.0.1:80"),
        ] {
            let addresses = resolver.addresses(&place(url)).await.expect("addresses");
            assert_eq!(addresses, [expected.parse().expect("an address")]);
        }
    }

    #[tokio::test]
    async fn a_name_without_address_is_not_found() {
        let error = Resolver::default()
            .addresses(&place("http://nowhere.invalid/"))
            .await
            .expect_err("not found");
        assert!(
            error.to_string().starts_with("name not found: nowhere.invalid"),
            "{error}"
        );
        let none = Resolver::new(|_| Ok(vec![]), 1);
        let error = none
            .addresses(&place("http://a.example/"))
            .await
            .expect_err("not found");
        assert_eq!(error.to_string(), "name not found: a.example (it has no address)");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_name_that_hangs_takes_one_lookup_however_many_wait_and_holds_up_no_other() {
        let (release, released) = mpsc::channel::<()>();
        let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (released, calls) = (Mutex::new(released), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        let lookup = move |name: &str| {
            if name == "hangs.example" {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = began.send(());
                let _ = released.lock().recv();
            }
            Ok(vec![IpAddr::from([10, 0, 0, 1])])
        };
        let resolver = Resolver::new(lookup, 2);

        let hanging = place("http://hangs.example/");
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let (resolver, hanging) = (resolver.clone(), hanging.clone());
                tokio::spawn(async move { resolver.addresses(&hanging).await.map(|found| found.len()) })
            })
            .collect();
        begun.recv().await.expect("the lookup begins");
        resolver
            .addresses(&place("http://works.example/"))
            .await
            .expect("another name is found meanwhile");
        // One gives up: the lookup goes on for the others.
        waiting[0].abort();
        drop(release);
        let mut found = 0;
        for task in waiting {
            found += usize::from(matches!(task.await, Ok(Ok(1))));
        }
        assert!(found >= 9, "{found}");
        assert!(
            calls.load(Ordering::SeqCst) <= 2,
            "one, or another for who asked after the first had ended"
        );
        assert!(resolver.running.lock().is_empty(), "what has ended is forgotten");
    }
}
