//! `net` of a KafkaSource or KafkaSink: encryption and login, as Knative writes them.

use millrace_model::Secret;
use millrace_model::kafka::{Login, Mechanism, Tls};

use crate::document::secret::SecretRef;
use crate::field::{Field, Object};
use crate::problem::{Code, shown};
use crate::report::Report;
use crate::tree::Shape;

/// What `net` says, before secrets are looked up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Net {
    tls: Option<TlsRefs>,
    login: Option<LoginRefs>,
}

/// `net.tls`.
#[derive(Clone, Debug)]
struct TlsRefs {
    authorities: Option<SecretRef>,
    identity: Option<(SecretRef, SecretRef)>,
}

/// `net.sasl`.
#[derive(Clone, Debug)]
struct LoginRefs {
    /// The mechanism, or where its name is found.
    mechanism: Result<Mechanism, SecretRef>,
    user: User,
    password: SecretRef,
}

/// The user that logs in: in the document, or a secret.
#[derive(Clone, Debug)]
enum User {
    Plain(String),
    Secret(SecretRef),
}

// === impl Net ===

impl Net {
    /// The secrets that it refers to.
    pub(crate) fn secrets(&self) -> Vec<&SecretRef> {
        let mut secrets = Vec::new();
        if let Some(TlsRefs {
            authorities,
            identity,
        }) = &self.tls
        {
            secrets.extend(authorities);
            secrets.extend(identity.iter().flat_map(|(cert, key)| [cert, key]));
        }
        if let Some(LoginRefs {
            mechanism,
            user,
            password,
        }) = &self.login
        {
            secrets.extend(mechanism.as_ref().err());
            if let User::Secret(user) = user {
                secrets.push(user);
            }
            secrets.push(password);
        }
        secrets
    }

    /// Encryption and login with their secrets, each as `find` finds it.
    pub(crate) fn with_secrets(
        &self,
        find: &mut dyn FnMut(&SecretRef) -> Secret,
    ) -> (Option<Tls>, Option<Login>) {
        let tls = self.tls.as_ref().map(|tls| Tls {
            authorities: tls.authorities.as_ref().map(&mut *find),
            identity: tls.identity.as_ref().map(|(cert, key)| (find(cert), find(key))),
        });
        let login = self.login.as_ref().map(|login| Login {
            mechanism: match &login.mechanism {
                Ok(mechanism) => mechanism.clone(),
                Err(secret) => Mechanism::Named(find(secret)),
            },
            user: match &login.user {
                User::Plain(name) => Secret::Value(name.as_bytes().into()),
                User::Secret(secret) => find(secret),
            },
            password: find(&login.password),
        });
        (tls, login)
    }
}

/// Reads `net`.
pub(crate) fn read(spec: &mut Object<'_>, namespace: &str, report: &mut Report) -> Net {
    let Some(mut net) = spec.take("net").and_then(|field| field.object(report)) else {
        return Net::default();
    };
    let tls = net.take("tls").and_then(|field| tls(&field, namespace, report));
    let login = net
        .take("sasl")
        .and_then(|field| login(&field, namespace, report));
    net.close(report);
    Net { tls, login }
}

fn tls(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<TlsRefs> {
    let mut object = field.object(report)?;
    let enabled = enabled(&mut object, report);
    let before = report.external.len();
    let mut secret = |name, report: &mut Report| {
        let field = object.take(name)?;
        SecretRef::read(&field, namespace, report)
    };
    let authorities = secret("caCert", report);
    let (cert, key) = (secret("cert", report), secret("key", report));
    object.close(report);
    if !enabled {
        // Nobody reads them.
        report.external.truncate(before);
    }
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => {
            let message = "`cert` and `key` belong together";
            field.refuse(report, Code::MissingField, message);
            None
        }
    };
    enabled.then_some(TlsRefs {
        authorities,
        identity,
    })
}

fn login(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<LoginRefs> {
    let mut object = field.object(report)?;
    if !enabled(&mut object, report) {
        for name in ["type", "user", "password"] {
            object.take(name);
        }
        object.close(report);
        return None;
    }
    let mechanism = match object.take("type") {
        Some(field) => mechanism(&field, namespace, report),
        // As Knative takes it.
        None => Some(Ok(Mechanism::Plain)),
    };
    let user = object.require("user", report).and_then(|field| {
        if matches!(field.node.shape, Shape::Scalar(_)) {
            return field.text(report).map(|text| User::Plain(text.to_owned()));
        }
        SecretRef::read(&field, namespace, report).map(User::Secret)
    });
    let password = object
        .require("password", report)
        .and_then(|field| SecretRef::read(&field, namespace, report));
    object.close(report);
    Some(LoginRefs {
        mechanism: mechanism?,
        user: user?,
        password: password?,
    })
}

/// The name of the mechanism, or where it is found.
fn mechanism(
    field: &Field<'_>,
    namespace: &str,
    report: &mut Report,
) -> Option<Result<Mechanism, SecretRef>> {
    if !matches!(field.node.shape, Shape::Scalar(_)) {
        return SecretRef::read(field, namespace, report).map(Err);
    }
    let text = field.text(report)?;
    let found = Mechanism::of(text);
    if found.is_none() {
        let message = format!(
            "`{}` is not known here; there are `PLAIN`, `SCRAM-SHA-256` and `SCRAM-SHA-512`",
            shown(text)
        );
        field.refuse(report, Code::UnknownValue, message);
    }
    found.map(Ok)
}

/// `enable`, which a document must write. Knative defaults it to false; then a login or certificates that the
/// document names would silently not be used.
fn enabled(object: &mut Object<'_>, report: &mut Report) -> bool {
    object
        .require("enable", report)
        .and_then(|field| field.truth(report))
        .unwrap_or(false)
}
