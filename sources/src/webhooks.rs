//! Where origins call in by HTTP: `/sources/{namespace}/{name}` of the ingress listener.
//!
//! A source that wants to be called opens an [`Endpoint`] under its name for as long as it runs. One that
//! should be there and is not, since it is just being started or replaced, is waited for a little: many
//! origins never call a second time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use millrace_event::ObjectName;
use millrace_serve::{BodyBudget, Mount, Problem, discard};
use tokio::sync::watch;

/// Answers the calls to one source.
#[async_trait::async_trait]
pub trait Endpoint: Send + Sync {
    /// The answer to one call. Bodies are to be read through `budget`.
    async fn answer(&self, request: Request<Incoming>, budget: &BodyBudget) -> Response<Full<Bytes>>;
}

/// The open endpoints by the name of their source.
pub struct Webhooks {
    state: watch::Sender<State>,
    budget: BodyBudget,
    takes_unsigned: bool,
}

/// The endpoints that are there, and the sources that should have one.
#[derive(Default)]
struct State {
    open: BTreeMap<ObjectName, Arc<dyn Endpoint>>,
    /// `None` until that is known.
    expected: Option<BTreeSet<ObjectName>>,
    is_ending: bool,
}

/// Why nobody answers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nobody {
    Unknown,
    NotReady,
}

/// An endpoint is open while this lives.
pub struct Opened {
    webhooks: Arc<Webhooks>,
    name: ObjectName,
    endpoint: Arc<dyn Endpoint>,
}

/// The first segment of the paths.
const ROOM: &str = "sources";
/// How long a source that should be there is waited for. A forge gives up after ten seconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// When to call again if it was in vain.
const SOON: Duration = Duration::from_secs(1);
/// What is left unread of a refused request is read and dropped up to this size and time, so that its
/// connection can be used again.
pub(crate) const DISCARD: (usize, Duration) = (64 * 1024, Duration::from_secs(1));

// === impl Webhooks ===

impl Webhooks {
    /// Without endpoints yet; bodies take their memory from `budget` while they are read.
    pub fn new(budget: BodyBudget) -> Self {
        Self {
            state: watch::Sender::default(),
            budget,
            takes_unsigned: true,
        }
    }

    /// The same, with whether calls may be taken that nothing proves.
    #[must_use]
    pub fn taking_unsigned(self, takes_unsigned: bool) -> Self {
        Self {
            takes_unsigned,
            ..self
        }
    }

    /// Whether calls may be taken that nothing proves.
    pub(crate) fn takes_unsigned(&self) -> bool {
        self.takes_unsigned
    }

    /// Opens an endpoint until what is returned is dropped.
    pub fn open(self: &Arc<Self>, name: &ObjectName, endpoint: Arc<dyn Endpoint>) -> Opened {
        self.state.send_modify(|state| {
            state.open.insert(name.clone(), endpoint.clone());
        });
        Opened {
            webhooks: self.clone(),
            name: name.clone(),
            endpoint,
        }
    }

    /// Says which sources there should be; others are unknown from now on.
    pub(crate) fn expect(&self, names: BTreeSet<ObjectName>) {
        self.state.send_modify(|state| state.expected = Some(names));
    }

    /// Stops waiting for sinks, since the process is about to end: origins are told to come back.
    pub fn end(&self) {
        self.state.send_modify(|state| state.is_ending = true);
    }

    /// The endpoint for a call to this path.
    async fn endpoint(&self, path: &str) -> Result<Arc<dyn Endpoint>, Nobody> {
        let name = name_of(path).ok_or(Nobody::Unknown)?;
        if let Some(known) = self.state.borrow().of(&name) {
            return known;
        }
        let mut state = self.state.subscribe();
        let decided = state.wait_for(|state| state.of(&name).is_some());
        match tokio::time::timeout(PATIENCE, decided).await {
            Ok(Ok(state)) => state.of(&name).unwrap_or(Err(Nobody::NotReady)),
            Ok(Err(_)) | Err(_) => Err(Nobody::NotReady),
        }
    }
}

// === impl State ===

impl State {
    /// The endpoint of this source; `None` while callers should wait for it.
    fn of(&self, name: &ObjectName) -> Option<Result<Arc<dyn Endpoint>, Nobody>> {
        if let Some(endpoint) = self.open.get(name) {
            return Some(Ok(endpoint.clone()));
        }
        match &self.expected {
            Some(expected) if !expected.contains(name) => Some(Err(Nobody::Unknown)),
            _ => self.is_ending.then_some(Err(Nobody::NotReady)),
        }
    }
}

// === impl Nobody ===

impl Nobody {
    fn problem(self) -> Problem {
        match self {
            Self::Unknown => Problem::new(
                StatusCode::NOT_FOUND,
                "unknown-source",
                "there is no source of that name that takes calls",
            ),
            Self::NotReady => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "source-not-ready",
                "the source is not ready; its state says why",
            )
            .retry_after(SOON),
        }
    }
}

#[async_trait::async_trait]
impl Mount for Webhooks {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match self.endpoint(request.uri().path()).await {
            Ok(endpoint) => endpoint.answer(request, &self.budget).await,
            Err(nobody) => {
                let problem = nobody.problem();
                if discard(request.into_body(), DISCARD.0, DISCARD.1).await {
                    problem.into_response()
                } else {
                    problem.closing().into_response()
                }
            }
        }
    }
}

/// The source that `/sources/{namespace}/{name}` names; a slash at the end is allowed.
fn name_of(path: &str) -> Option<ObjectName> {
    let path = path.strip_prefix('/')?;
    let mut segments = path.strip_suffix('/').unwrap_or(path).split('/');
    let (room, namespace, name) = (segments.next()?, segments.next()?, segments.next()?);
    let is_whole = segments.next().is_none() && room == ROOM && !namespace.is_empty() && !name.is_empty();
    is_whole.then(|| ObjectName::new(namespace, name))
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks")
            .field("open", &self.state.borrow().open.keys())
            .finish_non_exhaustive()
    }
}

// === impl Opened ===

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.webhooks.state.send_modify(|state| {
            // A successor may have opened its own already.
            if state
                .open
                .get(&self.name)
                .is_some_and(|open| Arc::ptr_eq(open, &self.endpoint))
            {
                state.open.remove(&self.name);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use millrace_serve::Part;

    use super::*;

    struct Nothing;

    #[async_trait::async_trait]
    impl Endpoint for Nothing {
        async fn answer(&self, _: Request<Incoming>, _: &BodyBudget) -> Response<Full<Bytes>> {
            Response::default()
        }
    }

    fn webhooks(expected: &[&str]) -> Arc<Webhooks> {
        let webhooks = Arc::new(Webhooks::new(BodyBudget::new(Part::new(0, 1))));
        let names = expected.iter().map(|name| ObjectName::new("shop", *name));
        webhooks.expect(names.collect());
        webhooks
    }

    async fn nobody(webhooks: &Webhooks, path: &str) -> Option<Nobody> {
        webhooks.endpoint(path).await.err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_is_being_replaced_is_waited_for() {
        let webhooks = webhooks(&["forge"]);
        let name = ObjectName::new("shop", "forge");
        drop(webhooks.open(&name, Arc::new(Nothing)));
        let call = tokio::spawn({
            let webhooks = webhooks.clone();
            async move { nobody(&webhooks, "/sources/shop/forge").await }
        });
        tokio::task::yield_now().await;
        let _opened = webhooks.open(&name, Arc::new(Nothing));
        assert_eq!(call.await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_should_be_there_is_not_ready_and_who_should_not_is_unknown() {
        let webhooks = webhooks(&["forge"]);
        assert_eq!(
            nobody(&webhooks, "/sources/shop/forge").await,
            Some(Nobody::NotReady)
        );
        assert_eq!(
            nobody(&webhooks, "/sources/shop/other").await,
            Some(Nobody::Unknown)
        );
        assert_eq!(nobody(&webhooks, "/sources/shop").await, Some(Nobody::Unknown));
        webhooks.expect(BTreeSet::new());
        assert_eq!(
            nobody(&webhooks, "/sources/shop/forge").await,
            Some(Nobody::Unknown)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_at_the_end() {
        let webhooks = webhooks(&["forge"]);
        webhooks.end();
        let before = tokio::time::Instant::now();
        assert_eq!(
            nobody(&webhooks, "/sources/shop/forge").await,
            Some(Nobody::NotReady)
        );
        assert_eq!(tokio::time::Instant::now(), before);
    }

    #[test]
    fn a_path_of_three_segments_names_a_source() {
        for (path, expected) in [
            ("/sources/shop/forge", Some("shop/forge")),
            ("/sources/shop/forge/", Some("shop/forge")),
            ("/sources/shop", None),
            ("/sources//forge", None),
            ("/sources/shop/forge/x", None),
            ("/other/shop/forge", None),
            ("sources/shop/forge", None),
        ] {
            assert_eq!(
                name_of(path).map(|name| name.to_string()).as_deref(),
                expected,
                "{path}"
            );
        }
    }
}
