//! How a delivery proves who sends it: credentials, a client certificate, and a signature.

use http::Uri;
use millrace_event::ObjectName;

use crate::Secret;

/// What a delivery shows to its target. `S` is a secret: where it is found ([`Secret`]), or, once it is read,
/// its [`Octets`](crate::Octets).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Auth<S = Secret> {
    /// What stands in the header `Authorization`.
    pub credentials: Option<Credentials<S>>,
    /// The client certificate of connections by TLS.
    pub certificate: Option<ClientCertificate<S>>,
    /// The keys of a Standard Webhooks signature; each signs every delivery. Empty: there is no signature.
    pub signing_keys: Vec<S>,
}

/// What stands in the header `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credentials<S = Secret> {
    /// A bearer token (RFC 6750).
    Bearer(S),
    /// HTTP Basic (RFC 7617).
    Basic {
        /// The user.
        username: S,
        /// The password.
        password: S,
    },
    /// A token of an OAuth 2.0 server.
    OAuth2(Box<OAuth2<S>>),
    /// A signature of the request, as AWS wants it.
    AwsSigV4(Box<AwsSigV4<S>>),
    /// A token of a ServiceAccount.
    Account(Box<AccountToken>),
}

/// A token by which a cluster vouches for one of its ServiceAccounts, as OpenID Connect has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountToken {
    /// The ServiceAccount.
    pub account: ObjectName,
    /// Whom the token is for. Nobody else takes it.
    pub audience: String,
}

/// How requests are signed for AWS (Signature Version 4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AwsSigV4<S = Secret> {
    /// The region: `eu-central-1`.
    pub region: String,
    /// The service that is called: `lambda`, `execute-api`.
    pub service: String,
    /// The name of the keys.
    pub access_key_id: S,
    /// The key that signs.
    pub secret_access_key: S,
    /// What makes keys valid that are valid for a while.
    pub session_token: Option<S>,
}

/// How a token is had of an OAuth 2.0 server: by client credentials (RFC 6749, section 4.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OAuth2<S = Secret> {
    /// Where tokens are asked for.
    pub token_url: Uri,
    /// The client.
    pub client_id: S,
    /// Its password.
    pub client_secret: S,
    /// What the token is to permit: words with blanks between them.
    pub scope: Option<String>,
    /// Whom the token is for, where the server asks for that.
    pub audience: Option<String>,
    /// Where the client's password stands.
    pub login: ClientLogin,
}

/// Where the password of an OAuth 2.0 client stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientLogin {
    /// In the header `Authorization`, as HTTP Basic.
    #[default]
    Header,
    /// In the body, beside the other parameters.
    Body,
}

/// A client certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate<S = Secret> {
    /// The certificate in PEM, with those between it and the authority that the target trusts.
    pub certificate: S,
    /// Its private key in PEM.
    pub key: S,
}

// === impl Auth ===

impl<S> Auth<S> {
    /// The same with other secrets: `find` is asked for each, in the order of [`Auth::secrets`].
    pub fn map<T>(&self, find: &mut dyn FnMut(&S) -> T) -> Auth<T> {
        let credentials = self.credentials.as_ref();
        let certificate = self.certificate.as_ref();
        Auth {
            credentials: credentials.map(|credentials| credentials.map(find)),
            certificate: certificate.map(|ClientCertificate { certificate, key }| ClientCertificate {
                certificate: find(certificate),
                key: find(key),
            }),
            signing_keys: self.signing_keys.iter().map(find).collect(),
        }
    }

    /// Every secret.
    pub fn secrets(&self) -> Vec<&S> {
        let credentials = self.credentials.iter().flat_map(Credentials::secrets);
        let certificate = self.certificate.iter();
        let certificate = certificate.flat_map(|one| [&one.certificate, &one.key]);
        credentials.chain(certificate).chain(&self.signing_keys).collect()
    }

    /// Whether deliveries are signed. The signature covers the body alone, so the whole event stands there.
    pub fn signs_body(&self) -> bool {
        !self.signing_keys.is_empty()
    }
}

// === impl Credentials ===

impl<S> Credentials<S> {
    fn map<T>(&self, find: &mut dyn FnMut(&S) -> T) -> Credentials<T> {
        match self {
            Self::Bearer(token) => Credentials::Bearer(find(token)),
            Self::Basic { username, password } => Credentials::Basic {
                username: find(username),
                password: find(password),
            },
            Self::OAuth2(oauth2) => {
                let OAuth2 {
                    token_url,
                    client_id,
                    client_secret,
                    scope,
                    audience,
                    login,
                } = &**oauth2;
                Credentials::OAuth2(Box::new(OAuth2 {
                    token_url: token_url.clone(),
                    client_id: find(client_id),
                    client_secret: find(client_secret),
                    scope: scope.clone(),
                    audience: audience.clone(),
                    login: *login,
                }))
            }
            Self::AwsSigV4(aws) => Credentials::AwsSigV4(Box::new(AwsSigV4 {
                region: aws.region.clone(),
                service: aws.service.clone(),
                access_key_id: find(&aws.access_key_id),
                secret_access_key: find(&aws.secret_access_key),
                session_token: aws.session_token.as_ref().map(find),
            })),
            Self::Account(token) => Credentials::Account(token.clone()),
        }
    }

    fn secrets(&self) -> Vec<&S> {
        match self {
            Self::Bearer(token) => vec![token],
            Self::Basic { username, password } => vec![username, password],
            Self::OAuth2(oauth2) => vec![&oauth2.client_id, &oauth2.client_secret],
            Self::AwsSigV4(aws) => {
                let keys = [&aws.access_key_id, &aws.secret_access_key];
                keys.into_iter().chain(&aws.session_token).collect()
            }
            // It is had of the cluster, when it is needed.
            Self::Account(_) => Vec::new(),
        }
    }
}
