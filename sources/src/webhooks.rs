//! Where origins call in by HTTP: `/sources/{namespace}/{name}` of the ingress listener.
//!
//! A source that wants to be called opens an [`Endpoint`] under its name for as long as it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use millrace_event::ObjectName;
use millrace_serve::{BodyBudget, Mount, Problem, discard};
use parking_lot::RwLock;

/// Answers the calls to one source.
#[async_trait::async_trait]
pub trait Endpoint: Send + Sync {
    /// The answer to one call. Bodies are to be read through `budget`.
    async fn answer(&self, request: Request<Incoming>, budget: &BodyBudget) -> Response<Full<Bytes>>;
}

/// The open endpoints by the name of their source.
pub struct Webhooks {
    open: RwLock<BTreeMap<ObjectName, Arc<dyn Endpoint>>>,
    budget: BodyBudget,
}

/// An endpoint is open while this lives.
#[derive(Debug)]
pub struct Opened {
    webhooks: Arc<Webhooks>,
    name: ObjectName,
}

/// The first segment of the paths.
const ROOM: &str = "sources";
/// What is left unread of a refused request is read and dropped up to this size and time, so that its connection can be used again.
pub(crate) const DISCARD: (usize, Duration) = (64 * 1024, Duration::from_secs(1));

// === impl Webhooks ===

impl Webhooks {
    /// No endpoint yet; all bodies together may take so many bytes of memory while they are read.
    pub fn new(body_memory: usize) -> Self {
        Self {
            open: RwLock::default(),
            budget: BodyBudget::new(body_memory),
        }
    }

    /// Opens an endpoint until what is returned is dropped.
    pub fn open(self: &Arc<Self>, name: &ObjectName, endpoint: Arc<dyn Endpoint>) -> Opened {
        self.open.write().insert(name.clone(), endpoint);
        Opened {
            webhooks: self.clone(),
            name: name.clone(),
        }
    }

    fn endpoint(&self, path: &str) -> Option<Arc<dyn Endpoint>> {
        self.open.read().get(&name_of(path)?).cloned()
    }
}

#[async_trait::async_trait]
impl Mount for Webhooks {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match self.endpoint(request.uri().path()) {
            Some(endpoint) => endpoint.answer(request, &self.budget).await,
            None => {
                let problem = Problem::new(
                    StatusCode::NOT_FOUND,
                    "unknown-source",
                    "there is no source of that name that takes calls, or it is not ready",
                );
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
            .field("open", &self.open.read().keys())
            .finish_non_exhaustive()
    }
}

// === impl Opened ===

impl Drop for Opened {
    fn drop(&mut self) {
        self.webhooks.open.write().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
