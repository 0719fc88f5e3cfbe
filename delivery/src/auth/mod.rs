//! What deliveries show, so that a target knows who sends them: credentials, a client certificate, a
//! signature.
//!
//! The files follow the work in order: one handle for each thing to show ([`Auth`], which [`Auths`] hands
//! out), its secrets as they are now ([`read`]), what they become ([`authorization`], [`certificate`],
//! [`standard_webhooks`]), and what of them must not be kept of an answer ([`veil`]).
//!
//! # Guarantees
//! - Only the target itself is shown anything: a redirect is not followed, and a connection with a client
//!   certificate serves no delivery without it.
//! - No error, log line or `Debug` output repeats a secret.
//! - A secret in a file that has been replaced is used from the second after that on, without a restart.

mod authorization;
mod certificate;
mod read;
mod standard_webhooks;
mod veil;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use millrace_event::{Event, ObjectName, Timestamp};
use millrace_model::Auth as Spec;
use millrace_secrets::SecretReader;
use parking_lot::Mutex;

pub(crate) use self::certificate::Identity;
use self::read::Current;
use self::standard_webhooks::SigningKey;
pub use self::standard_webhooks::flaw as signing_flaw;
use self::veil::Veil;
use crate::Outcome;
use crate::no_answer::NoAnswer;

/// What deliveries show. Those that show the same share a handle.
#[derive(Debug)]
pub struct Auth {
    spec: Arc<Spec>,
    reader: SecretReader,
    current: Current,
}

/// As whom a delivery is made.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// What it shows.
    pub auth: &'a Auth,
    /// The Trigger or source.
    pub name: &'a ObjectName,
    /// What distinguishes the deliveries of one event that a Trigger makes: `subscriber`, `dead-letter`.
    pub stage: &'static str,
}

/// The handles that are in use. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Auths {
    reader: SecretReader,
    known: Arc<Mutex<HashMap<Arc<Spec>, Weak<Auth>>>>,
}

/// What deliveries show now, ready to be shown.
pub(crate) struct Ready {
    authorization: Option<HeaderValue>,
    pub(crate) identity: Option<Arc<Identity>>,
    signing_keys: Vec<SigningKey>,
    veil: Veil,
}

// === impl Auths ===

impl Auths {
    pub(crate) fn new(reader: SecretReader) -> Self {
        Self {
            reader,
            known: Arc::default(),
        }
    }

    /// The handle for this. It lives as long as somebody holds it, so it outlives a reload of the mesh.
    pub(crate) fn of(&self, spec: &Arc<Spec>) -> Arc<Auth> {
        let mut known = self.known.lock();
        if let Some(auth) = known.get(spec).and_then(Weak::upgrade) {
            return auth;
        }
        known.retain(|_, auth| auth.strong_count() > 0);
        let auth = Arc::new(Auth {
            spec: spec.clone(),
            reader: self.reader.clone(),
            current: Current::default(),
        });
        known.insert(spec.clone(), Arc::downgrade(&auth));
        auth
    }
}

// === impl Auth ===

impl Auth {
    /// What to show now. It reads files, so the caller's deadline bounds it.
    ///
    /// # Errors
    /// When a secret cannot be had, or is none of its kind.
    pub(crate) async fn ready(&self) -> Result<Arc<Ready>, NoAnswer> {
        self.current.get(&self.spec, &self.reader).await
    }
}

// === impl Ready ===

impl Ready {
    /// # Errors
    /// A sentence that says which secret is none of its kind.
    fn new(spec: &Spec<Box<[u8]>>) -> Result<Self, String> {
        let signing_keys = spec.signing_keys.iter();
        let signing_keys = signing_keys.map(|key| SigningKey::new(key).map_err(str::to_owned));
        let credentials = spec.credentials.as_ref();
        Ok(Self {
            authorization: credentials.map(authorization::header).transpose()?,
            identity: spec
                .certificate
                .as_ref()
                .map(Identity::new)
                .transpose()?
                .map(Arc::new),
            signing_keys: signing_keys.collect::<Result<_, _>>()?,
            veil: Veil::over(spec),
        })
    }

    /// Whether the whole event has to stand in the body.
    pub(crate) fn signs_body(&self) -> bool {
        !self.signing_keys.is_empty()
    }

    /// Puts on a request what proves its sender. Nothing that the event brought along stands in for it.
    pub(crate) fn put_on(
        &self,
        headers: &mut HeaderMap,
        body: &Bytes,
        event: &Event,
        sender: &Sender<'_>,
        now: Timestamp,
    ) {
        if let Some(value) = &self.authorization {
            headers.insert(http::header::AUTHORIZATION, value.clone());
        }
        if self.signs_body() {
            standard_webhooks::sign(headers, body, &self.signing_keys, event, sender, now);
        }
    }

    /// The outcome without what was shown, in case that the target repeats it: what is kept of an answer can
    /// be seen by people who may not know the secret.
    pub(crate) fn veiled(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Done {
                status,
                odd_body,
                body,
            } => Outcome::Done {
                status,
                odd_body,
                body: self.veil.lay(body),
            },
            Outcome::Failed(mut failure) => {
                failure.body = self.veil.lay(failure.body);
                Outcome::Failed(failure)
            }
            outcome @ (Outcome::Reply(_) | Outcome::BadReply(_) | Outcome::Refused(_)) => outcome,
        }
    }
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready")
            .field("authorization", &self.authorization.is_some())
            .field("identity", &self.identity)
            .field("signing_keys", &self.signing_keys.len())
            .finish_non_exhaustive()
    }
}
