//! One document of a server that is no target, as the keys of an issuer: fetched whole, or not at all.
//!
//! # Guarantees
//! The server is judged by the guard, as every target. Its redirects are not followed, and no more than the
//! limit is read of its answer, all within a time.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HOST};
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::Full;

use crate::attempt::origin_form;
use crate::auth::authorization;
use crate::connector::Share;
use crate::exchange::Bounds;
use crate::means::Means;
use crate::no_answer::Unmade;
use crate::patience::Patience;
use crate::tls::Terms;

/// The bounds of a fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// The most octets of the document.
    pub octets: usize,
    /// The most time, from the look-up of the name to the last octet.
    pub time: Duration,
}

/// JSON by each of its names: the API server of Kubernetes has its keys by that of RFC 7517 alone.
const JSON: &str = "application/json, application/jwk-set+json";

/// Why a document was not fetched. A sentence that repeats nothing of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotFetched(String);

// === impl Share ===

impl Share {
    /// Fetches a JSON document, and shows a bearer token if there is one.
    ///
    /// # Errors
    /// There was no answer, or none that can be used.
    pub async fn fetch(
        &self,
        url: &Uri,
        bearer: Option<&[u8]>,
        limits: FetchLimits,
    ) -> Result<Bytes, NotFetched> {
        let fetching = tokio::time::timeout(limits.time, self.get(url, bearer, limits));
        match fetching.await {
            Ok(fetched) => fetched,
            Err(_) => Err(NotFetched(format!("it took longer than {:?}", limits.time))),
        }
    }

    async fn get(&self, url: &Uri, bearer: Option<&[u8]>, limits: FetchLimits) -> Result<Bytes, NotFetched> {
        let unmade = |unmade| match unmade {
            Unmade::Failed(error) => NotFetched(error.to_string()),
            Unmade::Short(shortage) => NotFetched(format!("something is short here: {shortage}")),
        };
        let mut means = Means::default();
        let open = means.connect(&self.shared, &self.owner, url, limits.time, Terms::default());
        let mut open = open.await.map_err(unmade)?;
        let mut request = http::Request::new(Full::new(Bytes::new()));
        *request.method_mut() = Method::GET;
        *request.uri_mut() = origin_form(url);
        let headers = request.headers_mut();
        headers.insert(HOST, open.host());
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(token) = bearer {
            headers.insert(AUTHORIZATION, authorization::bearer(token).map_err(NotFetched)?);
        }
        let patience = Patience::new(tokio::time::Instant::now());
        let bounds = Bounds {
            wants_reply: false,
            keep: limits.octets,
            max: limits.octets,
            replies: &self.shared.options.replies,
            patience: &patience,
        };
        let mut answer = None;
        let sent = std::pin::pin!(open.send(request));
        open.exchange(sent, &bounds, &mut answer).await.map_err(unmade)?;
        match answer {
            Some(answer) if answer.status != StatusCode::OK => {
                Err(NotFetched(format!("it answers {}", answer.status.as_u16())))
            }
            Some(answer) if !answer.body.is_whole() => Err(NotFetched(format!(
                "its answer has more than {} octets",
                limits.octets
            ))),
            Some(answer) => Ok(answer.body.bytes()),
            None => Err(NotFetched("it did not answer".to_owned())),
        }
    }
}
