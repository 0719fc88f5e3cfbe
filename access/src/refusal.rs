//! Why somebody is not let in, as HTTP tells it.

use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use millrace_serve::Problem;

use crate::grants::Role;
use crate::identity::Identity;
use crate::jwt::TokenFault;
use crate::limits::{Fits, TooMuch};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It shows nothing that would tell who calls.
    NoCredentials,
    /// What it shows cannot be read, or more than one thing is shown.
    BadCredentials(&'static str),
    /// What it shows is known to nobody.
    UnknownCredentials,
    /// What it shows was good until some time ago.
    Expired(Identity),
    /// What it shows is good later.
    NotYet(Identity),
    /// What it shows is for somebody else.
    WrongAudience(Identity),
    /// The JSON Web Token that it shows is not taken.
    Token(TokenFault),
    /// Who calls may not publish to this Broker.
    BrokerNotAllowed(Identity),
    /// No policy lets who calls send this to the Broker.
    Policy(Identity, PolicyFault),
    /// Who calls has not this role on the admin side.
    RoleNotAllowed(Identity, Role),
    /// A sender of webhooks gives itself a name that may not send.
    Origin(Identity),
    /// Who calls sends too much, or all who send to the Broker do.
    TooMuch(Identity, TooMuch),
}

/// Why no policy lets somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyFault {
    /// Policies are bound to the Broker, and none allows it.
    NoneAllows,
    /// None is bound, and the default does not allow it.
    Default,
}

/// What a client may show. A browser that opens the admin side asks its user for a password.
const CHALLENGE: &str = "Bearer realm=\"millrace\", Basic realm=\"millrace\", charset=\"UTF-8\"";
/// The same, where something was shown.
const INVALID: &str =
    "Bearer realm=\"millrace\", error=\"invalid_token\", Basic realm=\"millrace\", charset=\"UTF-8\"";

/// When to come back while an issuer's keys are fetched.
const COME_BACK: Duration = Duration::from_secs(2);

// === impl Refusal ===

impl Refusal {
    /// The stable code, as docs/reference/errors.md has it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCredentials => "no-credentials",
            Self::BadCredentials(_) => "bad-credentials",
            Self::UnknownCredentials => "unknown-credentials",
            Self::Expired(_) => "expired-credentials",
            Self::NotYet(_) => "early-credentials",
            Self::WrongAudience(_) => "wrong-audience",
            Self::Token(TokenFault::Unreadable(_)) => "bad-token",
            Self::Token(TokenFault::UnknownIssuer) => "unknown-issuer",
            Self::Token(TokenFault::Algorithm) => "algorithm-not-allowed",
            Self::Token(TokenFault::UnknownKey) => "unknown-key",
            Self::Token(TokenFault::Signature) => "bad-signature",
            Self::Token(TokenFault::KeysMissing) => "issuer-keys-missing",
            Self::BrokerNotAllowed(_) => "broker-not-allowed",
            Self::Policy(_, PolicyFault::NoneAllows) => "no-policy-allows",
            Self::Policy(_, PolicyFault::Default) => "denied-by-default",
            Self::RoleNotAllowed(..) => "role-not-allowed",
            Self::Origin(_) => "origin-not-allowed",
            Self::TooMuch(_, too_much) => too_much.code(),
        }
    }

    /// Who it was, if that is known.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::NoCredentials | Self::BadCredentials(_) | Self::UnknownCredentials | Self::Token(_) => None,
            Self::Expired(who)
            | Self::NotYet(who)
            | Self::WrongAudience(who)
            | Self::BrokerNotAllowed(who)
            | Self::Policy(who, _)
            | Self::RoleNotAllowed(who, _)
            | Self::Origin(who)
            | Self::TooMuch(who, _) => Some(who),
        }
    }

    /// Whether a limit is reached.
    pub fn is_too_much(&self) -> bool {
        matches!(self, Self::TooMuch(..))
    }

    /// The answer.
    pub fn problem(&self) -> Problem {
        let (status, challenge) = match self {
            Self::NoCredentials => (StatusCode::UNAUTHORIZED, Some(CHALLENGE)),
            Self::Token(TokenFault::KeysMissing) => (StatusCode::SERVICE_UNAVAILABLE, None),
            Self::BadCredentials(_)
            | Self::UnknownCredentials
            | Self::Expired(_)
            | Self::NotYet(_)
            | Self::WrongAudience(_)
            | Self::Token(_) => (StatusCode::UNAUTHORIZED, Some(INVALID)),
            Self::BrokerNotAllowed(_) | Self::Policy(..) | Self::RoleNotAllowed(..) | Self::Origin(_) => {
                (StatusCode::FORBIDDEN, None)
            }
            Self::TooMuch(_, too_much) => match too_much.fits {
                Fits::After(_) => (StatusCode::TOO_MANY_REQUESTS, None),
                Fits::Never(_) => (StatusCode::PAYLOAD_TOO_LARGE, None),
            },
        };
        let problem = Problem::new(status, self.code(), self.detail());
        let problem = match challenge {
            Some(challenge) => problem.header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge)),
            None => problem,
        };
        match self {
            Self::Token(TokenFault::KeysMissing) => problem.retry_after(COME_BACK),
            Self::TooMuch(
                _,
                TooMuch {
                    fits: Fits::After(wait),
                    ..
                },
            ) => problem.retry_after(*wait),
            _ => problem,
        }
    }

    /// A sentence, which repeats nothing that was shown. The name of an identity is no secret to itself.
    fn detail(&self) -> String {
        match self {
            Self::NoCredentials => {
                "who calls must prove who they are: show a token (`Authorization: Bearer`), or a \
                                    client certificate"
                    .to_owned()
            }
            Self::BadCredentials(why) => (*why).to_owned(),
            Self::UnknownCredentials => "nobody is known by what is shown".to_owned(),
            Self::Expired(who) => format!("what is shown has expired ({who})"),
            Self::NotYet(who) => format!("what is shown is not good yet ({who}); are both clocks right?"),
            Self::WrongAudience(who) => {
                format!("what is shown is not for this place ({who}): `aud` names another")
            }
            Self::Token(TokenFault::Unreadable(why)) => format!("the token is not taken: {why}"),
            Self::Token(TokenFault::UnknownIssuer) => "the issuer of the token is not known".to_owned(),
            Self::Token(TokenFault::Algorithm) => {
                "the algorithm of the token is not one that is taken from its issuer".to_owned()
            }
            Self::Token(TokenFault::UnknownKey) => {
                "the issuer of the token has no key of that name".to_owned()
            }
            Self::Token(TokenFault::Signature) => "the signature of the token is wrong".to_owned(),
            Self::Token(TokenFault::KeysMissing) => {
                "the keys of the token's issuer are being fetched, or could not be".to_owned()
            }
            Self::BrokerNotAllowed(who) => format!("{who} may not publish to this broker"),
            Self::Policy(who, PolicyFault::NoneAllows) => {
                format!("no EventPolicy of this broker lets {} send this", who.subject())
            }
            Self::Policy(who, PolicyFault::Default) => {
                format!(
                    "no EventPolicy is bound to this broker, and the default does not let {} send",
                    who.subject()
                )
            }
            Self::RoleNotAllowed(who, role) => format!("{who} has not the role `{}`", role.name()),
            Self::Origin(who) => {
                format!(
                    "the access file allows no origin of webhooks of that name, WebHook-Request-Origin ({who})"
                )
            }
            Self::TooMuch(who, too_much) => format!("{too_much} ({who})"),
        }
    }
}
