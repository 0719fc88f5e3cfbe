//! What deliveries show, so that a target knows who sends them: credentials, a client certificate, a
//! signature.
//!
//! The files follow the work in order: one handle for each thing to show ([`Auth`], which [`Auths`] hands
//! out), its secrets as they are now ([`read`]), what they become ([`authorization`], [`certificate`],
//! [`standard_webhooks`], [`aws_sigv4`]), the tokens that are had for them ([`tokens`], of a server by
//! [`oauth2`] or of the [`cluster`]), and what of all that must not be kept of an answer ([`veil`]).
//!
//! # Guarantees
//! - Only the target itself is shown anything: a redirect is not followed, and a connection with a client
//!   certificate serves no delivery without it.
//! - No error, log line or `Debug` output repeats a secret.
//! - A secret in a file that has been replaced is used from the second after that on, without a restart.

pub(crate) mod authorization;
mod aws_sigv4;
mod certificate;
mod cluster;
mod oauth2;
mod read;
mod standard_webhooks;
mod tokens;
mod veil;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri};
use millrace_event::{Event, ObjectName, Timestamp};
use millrace_model::auth::AccountToken;
use millrace_model::{Auth as Spec, Credentials, Octets};
use millrace_secrets::SecretReader;
use parking_lot::Mutex;

use self::aws_sigv4::Signer;
pub(crate) use self::certificate::Identity;
pub use self::cluster::{AccountTokens, Issued};
use self::oauth2::Client;
use self::read::Current;
use self::standard_webhooks::SigningKey;
pub use self::standard_webhooks::flaw as signing_flaw;
use self::tokens::{Giver, Token, Tokens};
use self::veil::Veil;
use crate::connector::Shared;
use crate::metrics::Class;
use crate::no_answer::{NoAnswer, Unmade};
use crate::outgoing::Owner;
use crate::{Outcome, Verdict};

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

/// What one attempt shows.
#[derive(Debug)]
pub(crate) struct Shown {
    ready: Arc<Ready>,
    /// The token, and whether nobody has shown it before.
    token: Option<(Token, bool)>,
}

/// The handles that are in use. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Auths {
    reader: SecretReader,
    known: Arc<Mutex<HashMap<Arc<Spec>, Weak<Auth>>>>,
    /// The cluster that vouches for ServiceAccounts, where there is one.
    cluster: Arc<OnceLock<Arc<dyn AccountTokens>>>,
}

/// What deliveries show now, but for a token of a server.
struct Ready {
    authorization: Option<HeaderValue>,
    tokens: Option<Tokens>,
    identity: Option<Arc<Identity>>,
    signing_keys: Vec<SigningKey>,
    aws: Option<Signer>,
    veil: Veil,
}

// === impl Auths ===

impl Auths {
    pub(crate) fn new(reader: SecretReader) -> Self {
        Self {
            reader,
            known: Arc::default(),
            cluster: Arc::default(),
        }
    }

    /// Asks there for tokens of ServiceAccounts. Whoever says so first counts.
    pub(crate) fn ask_cluster(&self, cluster: Arc<dyn AccountTokens>) {
        let _first = self.cluster.set(cluster);
    }

    /// A new token of a ServiceAccount.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub(crate) async fn account_token(&self, wanted: &AccountToken) -> Result<Issued, String> {
        match self.cluster.get() {
            Some(cluster) => cluster.issue(wanted).await,
            None => Err("this Millrace knows no cluster that gives out tokens".to_owned()),
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
    /// What to show now. It reads files, and may ask a server, so the caller's deadline bounds it.
    ///
    /// # Errors
    /// When a secret or token cannot be had, or is none of its kind; or something of our own is short.
    pub(crate) async fn show(&self, shared: &Shared, owner: &Owner) -> Result<Shown, Unmade> {
        let ready = self.current.get(&self.spec, &self.reader).await?;
        let token = match &ready.tokens {
            Some(tokens) => Some(tokens.token(shared, owner).await?),
            None => None,
        };
        Ok(Shown { ready, token })
    }
}

// === impl Ready ===

impl Ready {
    /// # Errors
    /// A sentence that says which secret is none of its kind.
    fn new(spec: &Spec<Octets>) -> Result<Self, String> {
        let signing_keys = spec.signing_keys.iter();
        let signing_keys = signing_keys.map(|key| SigningKey::new(key).map_err(str::to_owned));
        let credentials = spec.credentials.as_ref();
        Ok(Self {
            authorization: credentials.map(authorization::header).transpose()?.flatten(),
            tokens: match credentials {
                Some(Credentials::OAuth2(spec)) => Some(Tokens::new(Giver::OAuth2(Client::new(spec)?))),
                Some(Credentials::Account(wanted)) => {
                    Some(Tokens::new(Giver::Cluster(AccountToken::clone(wanted))))
                }
                Some(Credentials::Bearer(_) | Credentials::Basic { .. } | Credentials::AwsSigV4(_))
                | None => None,
            },
            aws: match credentials {
                Some(Credentials::AwsSigV4(spec)) => Some(Signer::new(spec)?),
                Some(
                    Credentials::Bearer(_)
                    | Credentials::Basic { .. }
                    | Credentials::OAuth2(_)
                    | Credentials::Account(_),
                )
                | None => None,
            },
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
}

// === impl Shown ===

impl Shown {
    /// The client certificate.
    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        self.ready.identity.as_ref()
    }

    /// Whether the whole event has to stand in the body.
    pub(crate) fn signs_body(&self) -> bool {
        !self.ready.signing_keys.is_empty()
    }

    /// Puts on a request to that URL, with all its other headers, what proves its sender. Nothing that the
    /// event brought along stands in for it.
    ///
    /// # Errors
    /// When that cannot be put on this request: it must not be sent then.
    pub(crate) fn put_on(
        &self,
        headers: &mut HeaderMap,
        (uri, body): (&Uri, &Bytes),
        event: &Event,
        sender: &Sender<'_>,
        now: Timestamp,
    ) -> Result<(), NoAnswer> {
        let token = self.token.as_ref().map(|(token, _)| &token.header);
        if let Some(value) = token.or(self.ready.authorization.as_ref()) {
            headers.insert(http::header::AUTHORIZATION, value.clone());
        }
        if self.signs_body() {
            standard_webhooks::sign(headers, body, &self.ready.signing_keys, event, sender, now);
        }
        let aws = self.ready.aws.as_ref();
        let signed = aws.map_or(Ok(()), |aws| aws.sign(headers, uri, body, now));
        signed.map_err(NoAnswer::NoCredentials)
    }

    /// What the outcome means, now that it is known what was shown.
    ///
    /// A target that repeats a secret does so in vain: what is kept of an answer can be seen by people who
    /// may not know it. And a 401 may mean that a token has been withdrawn before its end. Another attempt,
    /// with another token, may succeed.
    pub(crate) fn conclude(&self, outcome: Outcome, class: Class) -> (Outcome, Class) {
        let token = self.token.as_ref();
        let another = token.map(|(token, _)| &*token.octets);
        let lay = |body| self.ready.veil.lay(body, another);
        match outcome {
            Outcome::Done {
                status,
                odd_body,
                body,
            } => {
                let body = lay(body);
                let done = Outcome::Done {
                    status,
                    odd_body,
                    body,
                };
                (done, class)
            }
            Outcome::Failed(mut failure) => {
                failure.body = lay(failure.body);
                if let (Some(401), Some((token, is_new))) = (failure.status, token) {
                    if let Some(tokens) = &self.ready.tokens {
                        tokens.forget(token);
                    }
                    if !is_new {
                        failure.verdict = Verdict::Again;
                        return (Outcome::Failed(failure), Class::Failed);
                    }
                }
                (Outcome::Failed(failure), class)
            }
            Outcome::BadReply(mut bad) => {
                self.ready.veil.lay_over(&mut bad.came, another);
                (Outcome::BadReply(bad), class)
            }
            Outcome::Reply(mut reply) => {
                if let Some(came) = &mut reply.came {
                    self.ready.veil.lay_over(came, another);
                }
                (Outcome::Reply(reply), class)
            }
            outcome @ Outcome::Refused(_) => (outcome, class),
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
