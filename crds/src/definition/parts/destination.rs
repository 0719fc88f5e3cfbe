//! Where events go: an object, a URL, or a path below an object's address.

use super::{CERTIFICATES, NAME, URL};
use crate::definition::rule::{Part, Rule};
use crate::definition::schema::{Schema, optional};

/// The longest name of a namespace.
const NAMESPACE: u32 = 63;

/// An absolute URL that events can be sent to. The reader also knows what a port is.
const ABSOLUTE: &str = "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@:[:space:]][^/?#@[:space:]]*([/?][^#[:space:]]*)?$";

/// A text that begins with a scheme.
const WITH_SCHEME: &str = "^[A-Za-z][A-Za-z0-9+.-]*:";

/// A reference to an object, at that path.
pub(crate) fn reference(says: &str, path: &str) -> Schema {
    let fields = vec![
        optional(
            "apiVersion",
            Schema::string(
                "The group and version, such as v1 or eventing.knative.dev/v1.",
                NAME,
            ),
        ),
        optional("kind", Schema::string("The kind, such as Service.", NAME)),
        optional("name", Schema::string("The name.", NAME)),
        optional(
            "namespace",
            Schema::string("The namespace. The default is that of this object.", NAMESPACE),
        ),
        optional(
            "address",
            Schema::string(
                "The name of one address, where the object has several of them.",
                NAME,
            ),
        ),
    ];
    let filled = ["name", "kind", "apiVersion"].map(|field| Rule::filled(path, field));
    filled
        .into_iter()
        .fold(Schema::object(says, fields), |schema, rule| schema.rule(rule))
}

/// Where events go: an object, a URL, or a path below an object's address. It stands at that path.
pub(crate) fn destination(says: &str, path: &str) -> Schema {
    let certificates = Schema::string(
        "Certificates in PEM that vouch for the receiver, beside those that the machine trusts. They count more than those \
         of the object's address.",
        CERTIFICATES,
    )
    .rule(Rule::matches(
        "^$|-----BEGIN CERTIFICATE-----",
        "a certificate in PEM is expected, which begins with -----BEGIN CERTIFICATE-----",
    ));
    let fields = vec![
        optional(
            "ref",
            reference(
                "An object that has an address: a Service, a Broker, or any Addressable.",
                &format!("{path}.ref"),
            ),
        ),
        optional(
            "uri",
            Schema::string(
                "An absolute http or https URL; beside `ref` a path, which is then relative to the object's address.",
                URL,
            ),
        ),
        optional("CACerts", certificates),
        optional(
            "audience",
            Schema::string(
                "The audience of the receiver. Deliveries show it a token for this audience where the operator turns that on. It \
                 counts more than that of the object's address.",
                URL,
            ),
        ),
    ];
    Schema::object(says, fields)
        .rule(Rule::at_least_one(
            vec![Part::There("ref"), Part::There("uri")],
            format!("expected at least one, got none: {path}.ref, {path}.uri"),
        ))
        .rule(Rule::beside(
            "ref",
            "uri",
            WITH_SCHEME,
            "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present: write a path, or leave out ref",
        ))
        .rule(Rule::without(
            "ref",
            "uri",
            ABSOLUTE,
            "Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent: an absolute http or https URL \
             with a host is expected, without user, password and fragment",
        ))
}
