//! How deliveries prove who sends them: annotations that hold a mapping, as a text of YAML or JSON.
//!
//! They are annotations because Knative's kinds have no field for it, and its webhook refuses other fields.
//! Secrets are referred to, as everywhere; none stands in the annotation itself.

use millrace_model::auth::{AwsSigV4, ClientLogin, OAuth2};
use millrace_model::{Auth, ClientCertificate, Credentials};

use super::delivery::choose;
use super::destination::absolute;
use super::metadata::Metadata;
use super::secret::SecretRef;
use crate::field::{Field, Object};
use crate::problem::Code;
use crate::report::Report;
use crate::tree::{self, Shape};

/// The annotation of a Trigger about its subscriber, without the prefix.
pub(crate) const SUBSCRIBER: &str = "subscriber-auth";
/// That of a Trigger or Broker about its dead-letter sink.
pub(crate) const DEAD_LETTER: &str = "dead-letter-auth";
/// That of a source about its sink.
pub(crate) const SINK: &str = "sink-auth";

/// The most secrets that sign: two, while one replaces the other.
const MAX_SIGNING: usize = 2;
/// What has to stand in the header `Authorization`, so that a delivery has one of them.
const CREDENTIALS: [&str; 4] = ["bearer", "basic", "oauth2", "awsSigV4"];
/// The service whose function URLs are called.
const AWS_SERVICE: &str = "lambda";
/// Where the password of a client may stand.
const LOGINS: &[(&str, ClientLogin)] = &[("header", ClientLogin::Header), ("body", ClientLogin::Body)];

/// What deliveries show, with its secrets as the document refers to them.
pub(crate) type AuthRef = Auth<Word>;

/// A part of what deliveries show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It stands in the document, as it is no secret.
    Plain(String),
    /// It is a secret, or may be.
    Secret(SecretRef),
}

// === impl Word ===

impl Word {
    /// The secret, if it is one.
    pub(crate) fn secret(&self) -> Option<&SecretRef> {
        match self {
            Self::Plain(_) => None,
            Self::Secret(secret) => Some(secret),
        }
    }

    /// A secret.
    fn secret_of(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Self> {
        SecretRef::read(field, namespace, report).map(Self::Secret)
    }

    /// A text, or a secret.
    fn read(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Self> {
        match field.node.shape {
            Shape::Map(_) => Self::secret_of(field, namespace, report),
            Shape::Scalar(_) | Shape::List(_) => field.text(report).map(|text| Self::Plain(text.to_owned())),
        }
    }
}

/// Reads one of the annotations, named without the prefix. Whether it is valid, the report tells.
pub(crate) fn read(
    name: &str,
    metadata: &Metadata<'_>,
    namespace: &str,
    report: &mut Report,
) -> Option<AuthRef> {
    let (annotation, text) = metadata.ours(name, report)?;
    let node = match tree::within(text, annotation.node.at) {
        Ok(node) => node,
        Err(fault) => {
            report.problem(fault.at, &annotation.path, fault.code, fault.message);
            return None;
        }
    };
    let field = Field {
        node: &node,
        path: annotation.path.clone(),
    };
    let mut object = field.object(report)?;
    let credentials = credentials(&field, &mut object, namespace, report);
    let certificate = object
        .take("clientCertificate")
        .and_then(|field| certificate(&field, namespace, report));
    let signing_keys = object
        .take("standardWebhooks")
        .and_then(|field| signing_keys(&field, namespace, report));
    let known = [&CREDENTIALS[..], &["clientCertificate", "standardWebhooks"]].concat();
    if !known.iter().any(|name| node.get(name).is_some()) {
        let message = format!("at least one of {} is expected", known.join(", "));
        field.refuse(report, Code::MissingField, message);
    }
    object.close(report);
    Some(Auth {
        credentials,
        certificate,
        signing_keys: signing_keys.unwrap_or_default(),
    })
}

/// At most one of the ways to fill the header `Authorization`.
fn credentials(
    field: &Field<'_>,
    object: &mut Object<'_>,
    namespace: &str,
    report: &mut Report,
) -> Option<Credentials<Word>> {
    let given = CREDENTIALS
        .iter()
        .filter(|name| field.node.get(name).is_some_and(|node| !node.is_null()));
    if given.count() > 1 {
        let message = format!("only one of {} can be shown", CREDENTIALS.join(", "));
        field.refuse(report, Code::ConflictingFields, message);
    }
    let bearer = object.take("bearer");
    let bearer = bearer.and_then(|field| Word::secret_of(&field, namespace, report));
    let basic = object.take("basic");
    let basic = basic.and_then(|field| basic_of(&field, namespace, report));
    let oauth2 = object.take("oauth2");
    let oauth2 = oauth2.and_then(|field| oauth2_of(&field, namespace, report));
    let aws = object.take("awsSigV4");
    let aws = aws.and_then(|field| aws_of(&field, namespace, report));
    bearer.map(Credentials::Bearer).or(basic).or(oauth2).or(aws)
}

fn aws_of(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Credentials<Word>> {
    let mut object = field.object(report)?;
    let region = object.require("region", report);
    let region = region.and_then(|field| name_in_aws(&field, report));
    let service = match object.take("service") {
        Some(field) => name_in_aws(&field, report),
        None => Some(AWS_SERVICE),
    };
    let access_key_id = object.require("accessKeyId", report);
    let access_key_id = access_key_id.and_then(|field| Word::read(&field, namespace, report));
    let secret_access_key = secret("secretAccessKey", &mut object, namespace, report);
    let session_token = object.take("sessionToken");
    let session_token = session_token.map(|field| Word::secret_of(&field, namespace, report));
    object.close(report);
    Some(Credentials::AwsSigV4(Box::new(AwsSigV4 {
        region: region?.to_owned(),
        service: service?.to_owned(),
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token: match session_token {
            Some(token) => Some(token?),
            None => None,
        },
    })))
}

/// The name of a region or a service.
fn name_in_aws<'a>(field: &Field<'a>, report: &mut Report) -> Option<&'a str> {
    let text = field.text(report)?;
    let is_name = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    if (1..=63).contains(&text.len()) && text.bytes().all(is_name) {
        return Some(text);
    }
    let message = "the name of a region or service of AWS is expected, such as eu-central-1 or lambda";
    field.refuse(report, Code::UnknownValue, message);
    None
}

fn oauth2_of(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Credentials<Word>> {
    let mut object = field.object(report)?;
    let token_url = object.require("tokenUrl", report);
    let token_url = token_url.and_then(|field| absolute(&field, report));
    let client_id = object.require("clientId", report);
    let client_id = client_id.and_then(|field| Word::read(&field, namespace, report));
    let client_secret = secret("clientSecret", &mut object, namespace, report);
    let scope = object.text("scope", report);
    let audience = object.text("audience", report);
    let login = object.take("clientAuthentication");
    let login = login.and_then(|field| choose(&field, field.text(report)?, LOGINS, report));
    object.close(report);
    Some(Credentials::OAuth2(Box::new(OAuth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scope: scope.map(str::to_owned),
        audience: audience.map(str::to_owned),
        login: login.unwrap_or_default(),
    })))
}

fn basic_of(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Credentials<Word>> {
    let mut object = field.object(report)?;
    let username = object.require("username", report);
    let username = username.and_then(|field| Word::read(&field, namespace, report));
    let password = secret("password", &mut object, namespace, report);
    object.close(report);
    Some(Credentials::Basic {
        username: username?,
        password: password?,
    })
}

fn certificate(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<ClientCertificate<Word>> {
    let mut object = field.object(report)?;
    let certificate = secret("certificate", &mut object, namespace, report);
    let key = secret("key", &mut object, namespace, report);
    object.close(report);
    Some(ClientCertificate {
        certificate: certificate?,
        key: key?,
    })
}

fn signing_keys(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Vec<Word>> {
    let mut object = field.object(report)?;
    let secrets = object.require("secrets", report);
    object.close(report);
    let secrets = secrets?;
    let list = secrets.list(report)?;
    if list.is_empty() || list.len() > MAX_SIGNING {
        let message = format!("1 to {MAX_SIGNING} secrets are expected: two while one replaces the other");
        secrets.refuse(report, Code::OutOfRange, message);
        return None;
    }
    list.iter()
        .map(|secret| Word::secret_of(secret, namespace, report))
        .collect()
}

/// A secret that must be there.
fn secret(name: &'static str, object: &mut Object<'_>, namespace: &str, report: &mut Report) -> Option<Word> {
    let field = object.require(name, report)?;
    Word::secret_of(&field, namespace, report)
}
