//! The fields that only a GitWebhookSource has: the forge, how calls are verified, and the attributes of
//! generic events.

use http::HeaderName;
use millrace_filter::jsonpath::JsonPath;
use millrace_model::source::git_webhook::{
    Algorithm, Encoding, EventFields, Field as Attribute, Forge, From, GitWebhook, Hmac, Mapping,
    Verification,
};

use super::{CORE, is_name};
use crate::document::secret::SecretRef;
use crate::field::{Field, Object};
use crate::problem::{Code, shown};
use crate::report::Report;

/// Calls a second where the document says nothing, and the bounds.
const RATE: u32 = 1_000;
pub(crate) const RATES: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// Secrets of one source: each costs an HMAC for a call that is not signed by those before it.
pub(crate) const MAX_SECRETS: usize = 16;
/// Extension attributes of a generic source.
pub(crate) const MAX_EXTENSIONS: usize = 32;

/// What `forge` may be.
pub(crate) const FORGES: &[(&str, Forge)] = &[
    ("github", Forge::Github),
    ("gitlab", Forge::Gitlab),
    ("bitbucket", Forge::Bitbucket),
    ("bitbucket-server", Forge::BitbucketServer),
    ("gitea", Forge::Gitea),
    ("forgejo", Forge::Forgejo),
    ("generic", Forge::Generic),
];
/// What `mapping` may be.
pub(crate) const MAPPINGS: &[(&str, Mapping)] =
    &[("adapters", Mapping::Adapters), ("knative", Mapping::Knative)];
const VERIFICATIONS: &[(&str, Verification)] = &[
    ("none", Verification::None),
    ("standardWebhooks", Verification::StandardWebhooks),
    ("bearer", Verification::Bearer),
];
const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("sha1", Algorithm::Sha1),
    ("sha256", Algorithm::Sha256),
    ("sha512", Algorithm::Sha512),
];
const ENCODINGS: &[(&str, Encoding)] = &[("hex", Encoding::Hex), ("base64", Encoding::Base64)];

/// Reads what is left of the `spec`.
pub(super) fn read(spec: &mut Object<'_>, namespace: &str, report: &mut Report) -> Option<super::Spec> {
    let forge = spec
        .require("forge", report)
        .and_then(|field| word(&field, FORGES, report));
    let secrets = secrets(spec, namespace, report);
    let verification = verification(spec, forge, secrets.as_deref(), report);
    let mapping = mapping(spec, forge, report);
    let rate = match spec.take("requestsPerSecond") {
        Some(field) => field.whole(report, RATES),
        None => Some(RATE),
    };
    let event = event(spec, forge, report);
    let (secrets, verification, mapping) = (secrets?, verification?, mapping?);
    let (forge, requests_per_second, event) = (forge?, rate?, event?);
    let webhook = GitWebhook {
        forge,
        verification,
        secrets: Vec::new(),
        mapping,
        requests_per_second,
        event,
    };
    Some(super::Spec::GitWebhook(Box::new(webhook), secrets))
}

/// One of the words that a field knows.
fn word<T: Clone>(field: &Field<'_>, words: &[(&str, T)], report: &mut Report) -> Option<T> {
    let text = field.text(report)?;
    let found = words.iter().find(|(known, _)| *known == text);
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(known, _)| *known).collect();
        let message = format!("`{}` is none of {}", shown(text), known.join(", "));
        field.refuse(report, Code::UnknownValue, message);
    }
    found.map(|(_, meaning)| meaning.clone())
}

fn secrets(spec: &mut Object<'_>, namespace: &str, report: &mut Report) -> Option<Vec<SecretRef>> {
    let Some(field) = spec.take("secrets") else {
        return Some(Vec::new());
    };
    let list = field.list(report)?;
    if list.len() > MAX_SECRETS {
        let message = format!("there may be {MAX_SECRETS} secrets, and not more");
        field.refuse(report, Code::OutOfRange, message);
        return None;
    }
    list.iter()
        .map(|secret| SecretRef::read(secret, namespace, report))
        .collect()
}

/// How calls are verified. A document must say explicitly that calls are not checked: a hook open to all is a
/// hole.
fn verification(
    spec: &mut Object<'_>,
    forge: Option<Forge>,
    secrets: Option<&[SecretRef]>,
    report: &mut Report,
) -> Option<Verification> {
    let field = spec.take("verification");
    let read = match &field {
        Some(field) if field.node.text().is_none() => hmac(field, report).map(Verification::Hmac),
        Some(field) => word(field, VERIFICATIONS, report),
        None if forge == Some(Forge::Generic) => {
            let message = "a generic source says how its calls are verified: `standardWebhooks`, `bearer`, {hmac: …} or `none`";
            report.problem(
                spec.at(),
                &spec.path_of("verification"),
                Code::MissingField,
                message,
            );
            None
        }
        None => Some(Verification::Forge),
    }?;
    let conflict = match (&read, &field, forge, secrets) {
        (Verification::None, _, _, Some([_, ..])) => {
            "`none` and `secrets` exclude each other: with secrets, calls are verified"
        }
        (
            Verification::Hmac(_) | Verification::StandardWebhooks | Verification::Bearer,
            _,
            Some(forge),
            _,
        ) if forge != Forge::Generic => "how a forge signs is known; only a generic source says it",
        (Verification::None, ..) => return Some(read),
        (_, _, _, Some([])) => {
            let message =
                "without a secret anybody may send events here: name one, or say `verification: none`";
            report.problem(spec.at(), &spec.path_of("secrets"), Code::MissingField, message);
            return None;
        }
        _ => return Some(read),
    };
    if let Some(field) = &field {
        field.refuse(report, Code::ConflictingFields, conflict);
    }
    None
}

/// `{hmac: {header, algorithm, encoding, prefix}}`.
fn hmac(field: &Field<'_>, report: &mut Report) -> Option<Hmac> {
    let mut outer = field.object(report)?;
    let inner = outer.require("hmac", report);
    outer.close(report);
    let mut object = inner?.object(report)?;
    let header = object
        .require("header", report)
        .and_then(|field| header(&field, report));
    let algorithm = match object.take("algorithm") {
        Some(field) => word(&field, ALGORITHMS, report),
        None => Some(Algorithm::Sha256),
    };
    let encoding = match object.take("encoding") {
        Some(field) => word(&field, ENCODINGS, report),
        None => Some(Encoding::Hex),
    };
    let prefix = object.text("prefix", report).unwrap_or_default().to_owned();
    object.close(report);
    Some(Hmac {
        header: header?,
        algorithm: algorithm?,
        encoding: encoding?,
        prefix,
    })
}

/// The name of a header, in lower case.
fn header(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.text(report)?;
    match text.parse::<HeaderName>() {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(_) => {
            let message = format!("`{}` is not the name of a header", shown(text));
            field.refuse(report, Code::BadEventField, message);
            None
        }
    }
}

fn mapping(spec: &mut Object<'_>, forge: Option<Forge>, report: &mut Report) -> Option<Mapping> {
    let Some(field) = spec.take("mapping") else {
        return Some(Mapping::default());
    };
    let mapping = word(&field, MAPPINGS, report)?;
    let has_knative = matches!(forge, None | Some(Forge::Github | Forge::Gitlab));
    if mapping == Mapping::Knative && !has_knative {
        let message = "Knative has sources for github and gitlab; there is nothing to follow for this forge";
        field.refuse(report, Code::ConflictingFields, message);
        return None;
    }
    Some(mapping)
}

/// `event: {type, source, subject, id, time, extensions}` of a generic source.
fn event(spec: &mut Object<'_>, forge: Option<Forge>, report: &mut Report) -> Option<EventFields> {
    let Some(field) = spec.take("event") else {
        return Some(EventFields::default());
    };
    if forge.is_some_and(|forge| forge != Forge::Generic) {
        let message = "what the events of a forge say is known; only a generic source has `event`";
        field.refuse(report, Code::ConflictingFields, message);
        return None;
    }
    let mut object = field.object(report)?;
    let mut core = |name, probe| match object.take(name) {
        Some(field) => attribute(&field, probe, report).map(Some),
        None => Some(None),
    };
    let (ty, source, subject) = (
        core("type", "type"),
        core("source", "source"),
        core("subject", "subject"),
    );
    let (id, time) = (core("id", "id"), core("time", "time"));
    let extensions = extensions(&mut object, report);
    object.close(report);
    Some(EventFields {
        ty: ty?,
        source: source?,
        subject: subject?,
        id: id?,
        time: time?,
        extensions: extensions?,
    })
}

fn extensions(object: &mut Object<'_>, report: &mut Report) -> Option<Vec<(String, Attribute)>> {
    let Some(field) = object.take("extensions") else {
        return Some(Vec::new());
    };
    let entries = field.entries(report)?;
    if entries.len() > MAX_EXTENSIONS {
        let message = format!("there may be {MAX_EXTENSIONS} extensions, and not more");
        field.refuse(report, Code::OutOfRange, message);
        return None;
    }
    let mut extensions = Vec::new();
    for entry in entries {
        let name = entry.key.text.as_str();
        let at = Field {
            node: &entry.value,
            path: format!("{}.{}", field.path, shown(name)),
        };
        if CORE.contains(&name) || !is_name(name) {
            let message = "an extension's name has lower-case letters and digits, and is not one of the specification's own";
            report.problem(entry.key_at, &at.path, Code::BadAttributeName, message);
        } else if let Some(attribute) = attribute(&at, name, report) {
            extensions.push((name.to_owned(), attribute));
        }
    }
    Some(extensions)
}

/// One of `{const: x}`, `{header: X-Y}`, `{jsonpath: "$.a"}`, `{sha256: body}`, with `prefix` and `default`.
fn attribute(field: &Field<'_>, name: &str, report: &mut Report) -> Option<Attribute> {
    let mut object = field.object(report)?;
    let found = [
        object.take("const"),
        object.take("header"),
        object.take("jsonpath"),
        object.take("sha256"),
    ];
    let prefix = object.text("prefix", report).unwrap_or_default().to_owned();
    let default = object.take("default");
    object.close(report);
    let default = match default {
        Some(field) => Some(constant(&field, name, report)?),
        None => None,
    };
    let from = match found {
        [Some(at), None, None, None] => From::Const(if prefix.is_empty() {
            constant(&at, name, report)?
        } else {
            at.text(report)?.to_owned()
        }),
        [None, Some(at), None, None] => From::Header(header(&at, report)?),
        [None, None, Some(at), None] => From::JsonPath(path(&at, report)?),
        [None, None, None, Some(at)] => word(&at, &[("body", From::BodyHash)], report)?,
        _ => {
            let message = "a value is found by one of `const`, `header`, `jsonpath` and `sha256`";
            field.refuse(report, Code::BadEventField, message);
            return None;
        }
    };
    Some(Attribute {
        from,
        prefix,
        default,
    })
}

/// A text that is always the value of an attribute, and so has to be a good one.
fn constant(field: &Field<'_>, name: &str, report: &mut Report) -> Option<String> {
    let text = field.text(report)?;
    match super::check_attribute(name, text) {
        Ok(()) => Some(text.to_owned()),
        Err(message) => {
            field.refuse(report, Code::BadEventField, message);
            None
        }
    }
}

fn path(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.text(report)?;
    match JsonPath::new(text) {
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            field.refuse(report, Code::BadEventField, error.message);
            None
        }
    }
}
