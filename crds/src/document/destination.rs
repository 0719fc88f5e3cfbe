//! Knative's Destination and KReference: where events go, as a document says it.

use http::Uri;
use http::uri::PathAndQuery;
use millrace_event::ObjectName;
use millrace_model::{Authorities, Reference};

use super::kafka_sink::is_kafka_sink;
use super::kinds::{self, EVENTING_V1, Whose};
use super::metadata::{label, subdomain};
use crate::certificates::authorities;
use crate::external::Named;
use crate::field::Field;
use crate::problem::{Code, shown};
use crate::report::Report;
use crate::resolve::Wanted;

/// Where events go, before references are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) place: Place,
    /// Who vouches for it (`CACerts`).
    pub(crate) authorities: Option<Authorities>,
    /// Whom a token has to be for that is shown there.
    pub(crate) audience: Option<String>,
}

/// What a destination names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An absolute URL.
    Url(Uri),
    /// A resource, and a URL relative to its address, which may be empty.
    Resource(Wanted, String),
}

/// The reference to a Broker.
pub(crate) fn broker(name: ObjectName) -> Reference {
    Reference {
        api_version: EVENTING_V1.to_owned(),
        kind: "Broker".to_owned(),
        name,
    }
}

/// Whether a reference means a Broker.
pub(crate) fn is_broker(reference: &Reference) -> bool {
    reference.kind == "Broker" && reference.api_version == EVENTING_V1
}

// === impl Destination ===

impl Destination {
    /// Reads a destination of a document in `namespace`.
    pub(crate) fn read(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Self> {
        let mut object = field.object(report)?;
        let reference = object.take("ref");
        let uri = object.take("uri");
        let certificates = object.take("CACerts");
        let authorities = certificates.and_then(|field| vouching(&field, report));
        // An empty text says nothing, as in Knative.
        let audience = object.text("audience", report);
        let audience = audience.filter(|text| !text.is_empty());
        if reference.is_none() && uri.is_none() {
            report.problem(
                object.at(),
                &field.path,
                Code::MissingField,
                "a destination needs `uri` or `ref`",
            );
        }
        object.close(report);
        let place = match (reference, uri) {
            (None, None) => None,
            (None, Some(uri)) => absolute(&uri, report).map(Place::Url),
            (Some(reference), uri) => {
                let place = Place::refer(&reference, uri.as_ref(), namespace, report);
                place.map(|place| place.secured(authorities.is_some()))
            }
        }?;
        Some(Self {
            place,
            authorities,
            audience: audience.map(str::to_owned),
        })
    }

    /// The resource whose address is asked for.
    pub(crate) fn wanted(&self) -> Option<&Wanted> {
        match &self.place {
            Place::Url(_) => None,
            Place::Resource(wanted, _) => Some(wanted),
        }
    }
}

// === impl Place ===

impl Place {
    fn secured(mut self, is_vouched_for: bool) -> Self {
        if let Self::Resource(wanted, _) = &mut self {
            wanted.secured = is_vouched_for;
        }
        self
    }

    fn refer(
        field: &Field<'_>,
        uri: Option<&Field<'_>>,
        namespace: &str,
        report: &mut Report,
    ) -> Option<Self> {
        let wanted = reference(field, namespace, report);
        let mut relative = "";
        if let Some(uri) = uri {
            relative = uri.text(report)?;
            if relative.contains("://") {
                let message = "an absolute URL and `ref` exclude each other";
                uri.refuse(report, Code::ConflictingFields, message);
                return None;
            }
            let ours = wanted.as_ref().map(|wanted| &wanted.resource);
            let ours = ours.filter(|to| is_broker(to) || is_kafka_sink(to));
            if let Some(Reference { kind, .. }) = ours
                && !relative.is_empty()
            {
                let message = format!("a path relative to a {kind} is not supported");
                uri.refuse(report, Code::NotSupported, message);
                return None;
            }
        }
        if let Some(uri) = uri.filter(|_| !is_relative(relative)) {
            let message = "beside `ref` a path is expected, such as /orders?kind=new";
            uri.refuse(report, Code::BadUri, message);
            return None;
        }
        Some(Self::Resource(wanted?, relative.to_owned()))
    }
}

/// Who vouches for a destination. An empty text says nothing, as in Knative.
fn vouching(field: &Field<'_>, report: &mut Report) -> Option<Authorities> {
    let text = field.text(report).filter(|text| !text.is_empty())?;
    match authorities(text) {
        Ok(authorities) => Some(authorities),
        Err(message) => {
            field.refuse(report, Code::BadCertificate, message);
            None
        }
    }
}

/// Whether a text is a path and query that can be joined with an address, or nothing.
fn is_relative(text: &str) -> bool {
    let joined = format!("/{text}");
    !text.starts_with("//") && !text.contains('#') && joined.parse::<PathAndQuery>().is_ok()
}

/// Reads a reference of a document in `namespace`, and which of the resource's addresses is meant.
pub(super) fn reference(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Wanted> {
    let mut object = field.object(report)?;
    let kind = object
        .require("kind", report)
        .and_then(|kind| word(&kind, report));
    let name = object
        .require("name", report)
        .and_then(|name| subdomain(&name, report));
    let namespace = match object.take("namespace") {
        Some(field) => label(&field, report),
        None => Some(namespace),
    };
    let address = object.text("address", report).filter(|name| !name.is_empty());
    if let Some(group) = object.take("group") {
        group.refuse(
            report,
            Code::NotSupported,
            "`group` is not supported by this version: write `apiVersion`",
        );
    }
    let api_version = object
        .require("apiVersion", report)
        .and_then(|version| word(&version, report));
    object.close(report);
    let (api_version, kind) = (api_version?.to_owned(), kind?.to_owned());
    let name = ObjectName::new(namespace?, name?);
    if let ("Broker" | "KafkaSink", Whose::OtherVersion(known)) = (&*kind, kinds::kind(&api_version, &kind)) {
        let message = format!("there is no {kind} of {}; write {known}", shown(&api_version));
        field.refuse(report, Code::BadReference, message);
        return None;
    }
    let resource = Reference {
        api_version,
        kind,
        name,
    };
    Some(Wanted {
        address: address.map(str::to_owned),
        ..Wanted::of(resource)
    })
}

/// A text without spaces or control characters, and not longer than such words are.
fn word<'a>(field: &Field<'a>, report: &mut Report) -> Option<&'a str> {
    let text = field.text(report)?;
    if !text.is_empty() && text.len() <= 253 && text.bytes().all(|c| c.is_ascii_graphic()) {
        return Some(text);
    }
    field.refuse(
        report,
        Code::BadReference,
        format!("`{}` is not the name of a kind or version", shown(text)),
    );
    None
}

/// An absolute URL that events can be sent to. What is wrong is said without repeating the URL: it may hold a
/// secret.
pub(super) fn absolute(field: &Field<'_>, report: &mut Report) -> Option<Uri> {
    let text = field.text(report)?;
    match url(text) {
        Ok(url) => {
            report.external(field, Named::Target(url.clone()));
            Some(url)
        }
        Err(message) => {
            field.refuse(report, Code::BadUri, message);
            None
        }
    }
}

/// An absolute URL that events can be sent to.
///
/// # Errors
/// A sentence that does not repeat the URL: it may hold a secret.
pub fn url(text: &str) -> Result<Uri, &'static str> {
    if !text.bytes().all(|c| c.is_ascii_graphic()) {
        return Err("a URL has no spaces and no characters beyond ASCII: percent-encode them");
    }
    if text.contains('#') {
        return Err("a fragment (`#...`) is never sent: leave it out");
    }
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    if !lower.starts_with("http://") && !lower.starts_with("https://") {
        return Err("an absolute URL with http:// or https:// is expected");
    }
    let uri: Uri = text.parse().map_err(|_| "this is not a URL")?;
    let authority = uri.authority().ok_or("the URL has no host")?;
    if authority.as_str().contains('@') {
        return Err("a URL must not hold a user name or password");
    }
    if authority.host().is_empty() {
        return Err("the URL has no host");
    }
    let port = authority
        .as_str()
        .strip_prefix(authority.host())
        .unwrap_or_default();
    if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err("the port of a URL is a number from 1 to 65535");
    }
    Ok(uri)
}

/// A `brokerRef`: a Broker of the document's own namespace.
pub(crate) fn broker_ref(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Reference> {
    let reference = reference(field, namespace, report)?.resource;
    if !is_broker(&reference) {
        field.refuse(
            report,
            Code::BadReference,
            format!("a `brokerRef` is a Broker of {EVENTING_V1}"),
        );
        return None;
    }
    if reference.name.namespace() != namespace {
        let message = "a Broker of another namespace is not supported by this version: the Trigger goes into the namespace of its Broker";
        field.refuse(report, Code::NotSupported, message);
        return None;
    }
    Some(reference)
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn a_url_is_absolute_and_says_where_to_connect() {
        for text in [
            "http://127.0.0.1:9001/ship",
            "https://a.example",
            "http://[::1]:80/x?y=z",
            "HTTP://a/",
            "http://a/%20?q",
            "http://localhost",
        ] {
            assert!(url(text).is_ok(), "{text}: {:?}", url(text));
        }
        for text in [
            "",
            "/ship",
            "a",
            "a:80",
            "ftp://a/",
            "http:/a",
            "http:///x",
            "http://",
            "http://:80/",
            "http://a:0/",
            "http://a:/",
            "http://a:99999/",
            "http://u:p@a/",
            "http://@a/",
            "http://a/#f",
            "http://a b/",
            "http://a/ä",
            "http://[::1/",
        ] {
            assert!(url(text).is_err(), "{text}: {:?}", url(text));
        }
    }
}
