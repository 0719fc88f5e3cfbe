//! Tokens that a server gives out, kept until shortly before their end.
//!
//! # Guarantees
//! - A token is used until shortly before its end. All deliveries that show the same share it, and one of
//!   them at a time asks for another.
//! - Those that waited for a token that could not be had fail with the same reason, instead of asking again.

use std::time::{Duration, Instant};

use http::HeaderValue;
use millrace_event::Timestamp;
use millrace_model::auth::AccountToken;
use parking_lot::Mutex;

use super::authorization;
use super::oauth2::Client;
use crate::connect;
use crate::connector::Shared;
use crate::no_answer::{NoAnswer, Unmade};
use crate::outgoing::Owner;

/// A token is replaced so long before its end, but a tenth of its life at most.
const MARGIN: Duration = Duration::from_secs(60);

/// The tokens of one client, or of one account for one audience.
pub(super) struct Tokens {
    giver: Giver,
    known: Mutex<Known>,
    /// Held by who asks.
    asking: tokio::sync::Mutex<()>,
}

/// Who gives them out.
pub(super) enum Giver {
    /// An OAuth 2.0 server.
    OAuth2(Client),
    /// The cluster.
    Cluster(AccountToken),
}

/// What is known of earlier questions.
#[derive(Default)]
struct Known {
    token: Option<Token>,
    failed: Option<(Instant, String)>,
}

/// A token, ready to be shown.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    pub(super) octets: Box<[u8]>,
    until: Timestamp,
    got: Instant,
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn new(giver: Giver) -> Self {
        Self {
            giver,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// A token that is good now, and whether it was got for whoever asks: nobody has used it before.
    ///
    /// # Errors
    /// When there is none, or something of our own is short.
    pub(super) async fn token(&self, shared: &Shared, owner: &Owner) -> Result<(Token, bool), Unmade> {
        let asked = Instant::now();
        if let Some(found) = self.found(shared, asked) {
            return found;
        }
        let _asking = self.asking.lock().await;
        if let Some(found) = self.found(shared, asked) {
            return found;
        }
        let asking = tokio::time::timeout(connect::LIMIT, self.giver.ask(shared, owner));
        let late = |_| Err(NoAnswer::Late(connect::LIMIT).into());
        match asking.await.unwrap_or_else(late) {
            Ok(token) => {
                *self.known.lock() = Known {
                    token: Some(token.clone()),
                    failed: None,
                };
                Ok((token, true))
            }
            Err(Unmade::Failed(error)) if !matches!(error, NoAnswer::Refused(_) | NoAnswer::BadUrl(_)) => {
                let why = format!("no token {}: {error}", self.giver.whose());
                self.known.lock().failed = Some((Instant::now(), why.clone()));
                Err(NoAnswer::NoCredentials(why).into())
            }
            Err(unmade) => Err(unmade),
        }
    }

    /// What is known, for somebody who has asked since then.
    fn found(&self, shared: &Shared, asked: Instant) -> Option<Result<(Token, bool), Unmade>> {
        let known = self.known.lock();
        if let Some(token) = &known.token
            && shared.clock.steady() < token.until
        {
            return Some(Ok((token.clone(), token.got >= asked)));
        }
        let (failed, why) = known.failed.as_ref()?;
        (*failed >= asked).then(|| Err(NoAnswer::NoCredentials(why.clone()).into()))
    }

    /// Never shows this token again: the target does not take it.
    pub(super) fn forget(&self, refused: &Token) {
        let mut known = self.known.lock();
        if known
            .token
            .as_ref()
            .is_some_and(|token| token.octets == refused.octets)
        {
            known.token = None;
        }
    }
}

// === impl Giver ===

impl Giver {
    /// Whose tokens they are, as a piece of a sentence.
    fn whose(&self) -> String {
        match self {
            Self::OAuth2(client) => format!("from {}", client.host()),
            Self::Cluster(wanted) => format!("of the ServiceAccount {}", wanted.account),
        }
    }

    async fn ask(&self, shared: &Shared, owner: &Owner) -> Result<Token, Unmade> {
        match self {
            Self::OAuth2(client) => client.ask(shared, owner).await,
            Self::Cluster(wanted) => {
                let issued = shared.auths.account_token(wanted).await;
                let issued = issued.map_err(NoAnswer::NoToken)?;
                let token = Token::new(&issued.token, issued.lifetime, shared.clock.steady());
                Ok(token.map_err(NoAnswer::NoToken)?)
            }
        }
    }
}

// === impl Token ===

impl Token {
    /// A token that was given out at that time, and is valid for so long.
    ///
    /// # Errors
    /// A sentence that says what no token has.
    pub(super) fn new(octets: &[u8], lifetime: Duration, now: Timestamp) -> Result<Self, String> {
        Ok(Self {
            header: authorization::bearer(octets)?,
            octets: octets.into(),
            until: now.after(used_for(lifetime)),
            got: Instant::now(),
        })
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// How long a token is used that is valid for so long.
fn used_for(life: Duration) -> Duration {
    life.saturating_sub(MARGIN.min(life / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_shortly_before_its_end() {
        for (life, expected) in [
            (3_600, 3_540_000),
            (600, 540_000),
            (60, 54_000),
            (1, 900),
            (0, 0),
            (1_000_000_000, 999_999_940_000),
        ] {
            assert_eq!(
                used_for(Duration::from_secs(life)).as_millis(),
                expected,
                "{life}"
            );
        }
    }
}
