//! What a GitWebhookSource does: what a forge calls in with becomes an event.

use crate::Secret;

/// The calls of one forge, or of anything that posts JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitWebhook {
    /// The forge that calls.
    pub forge: Forge,
    /// How a genuine call is distinguished from a forged one.
    pub verification: Verification,
    /// The secrets, of which any one makes a call valid. Empty only where nothing is verified.
    pub secrets: Vec<Secret>,
    /// How a call becomes an event.
    pub mapping: Mapping,
    /// Calls taken in a second, at most; as many may come at once.
    pub requests_per_second: u32,
    /// What the event says, for [`Forge::Generic`].
    pub event: EventFields,
}

/// The forge that calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forge {
    /// GitHub, also GitHub Enterprise.
    Github,
    /// GitLab.
    Gitlab,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Bitbucket Data Center.
    BitbucketServer,
    /// Gitea.
    Gitea,
    /// Forgejo.
    Forgejo,
    /// Anything that posts JSON.
    Generic,
}

/// How a genuine call is distinguished from a forged one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It is not: anybody may call.
    None,
    /// As the forge signs its calls.
    Forge,
    /// A header holds the HMAC of the body.
    Hmac(Hmac),
    /// As the specification *Standard Webhooks* says it.
    StandardWebhooks,
    /// `Authorization: Bearer` and a secret.
    Bearer,
}

/// Where the HMAC of a body is found, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    /// The header's name, in lower case.
    pub header: String,
    /// The hash function.
    pub algorithm: Algorithm,
    /// How the octets are written.
    pub encoding: Encoding,
    /// What stands before them, as `sha256=`.
    pub prefix: String,
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1: still good enough for an HMAC, and what old senders have.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How octets are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Two hexadecimal digits for each, in either case.
    Hex,
    /// Base64.
    Base64,
}

/// How a call becomes an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mapping {
    /// As the CloudEvents adapters' documents say for GitHub and GitLab, and in their manner for the others.
    #[default]
    Adapters,
    /// As Knative's GitHubSource and GitLabSource do.
    Knative,
}

/// Where the attributes of a generic source's events come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFields {
    /// `type`.
    pub ty: Option<Field>,
    /// `source`.
    pub source: Option<Field>,
    /// `subject`.
    pub subject: Option<Field>,
    /// `id`.
    pub id: Option<Field>,
    /// `time`.
    pub time: Option<Field>,
    /// Extension attributes by name.
    pub extensions: Vec<(String, Field)>,
}

/// Where the value of one attribute comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it is found.
    pub from: From,
    /// Put before a value that is found.
    pub prefix: String,
    /// Used as it is, if none is found.
    pub default: Option<String>,
}

/// Where a value is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// Here.
    Const(String),
    /// In the header of this name, which is in lower case.
    Header(String),
    /// At this path of the body, the first value. Valid as the filter room reads it.
    JsonPath(String),
    /// It is the SHA-256 of the body, in hexadecimal digits.
    BodyHash,
}

// === impl Forge ===

impl Forge {
    /// The forge as documents name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Bitbucket => "bitbucket",
            Self::BitbucketServer => "bitbucket-server",
            Self::Gitea => "gitea",
            Self::Forgejo => "forgejo",
            Self::Generic => "generic",
        }
    }
}
