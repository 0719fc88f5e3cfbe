//! GitWebhookSource.

use super::{SINK_URI, bound, extensions, secret_key, source};
use crate::definition::parts::{NAME, TEXT, addresses};
use crate::definition::rule::{Part, Rule};
use crate::definition::schema::{Schema, needed, optional, words};
use crate::definition::{ADDRESS, Column, Definition};
use crate::document::source::git_webhook::{FORGES, MAPPINGS, MAX_EXTENSIONS, MAX_SECRETS, RATES};

/// `GitWebhookSource`.
pub(super) fn definition() -> Definition {
    let forge = "Who calls.";
    let one = secret_key("A secret.");
    let secrets = "Secrets that calls are verified with. Any of them makes a call valid.";
    let verification = "How calls are verified, where the forge does not fix it: standardWebhooks, bearer, none, or \
                        {hmac: {header, algorithm, encoding, prefix}}.";
    let mapping = "How a call becomes an event: as CloudEvents' own adapters for forges say, or as Knative's sources \
                   do it. The default is adapters.";
    let rate = "The calls that are taken in a second. The default is 1000.";
    let (least, most) = (*RATES.start(), *RATES.end());
    let fields = vec![
        needed("forge", Schema::word(forge, words(FORGES))),
        optional("secrets", Schema::list(secrets, one, 0, bound(MAX_SECRETS))),
        optional("verification", Schema::anything(verification)),
        optional("mapping", Schema::word(mapping, words(MAPPINGS))),
        optional("requestsPerSecond", Schema::whole(rate, least, most)),
        optional("event", event()),
    ];
    source(
        "GitWebhookSource",
        "A GitWebhookSource receives the webhooks of a git forge, or of anything else that posts JSON.",
        &[
            ADDRESS,
            SINK_URI,
            Column {
                name: "Forge",
                path: ".spec.forge",
                is_wide: true,
            },
        ],
        fields,
        addresses(),
    )
}

/// `event` of a generic source.
fn event() -> Schema {
    let fields = vec![
        optional(
            "type",
            attribute("The type. The default is dev.millrace.webhook."),
        ),
        optional("source", attribute("The source. The default names this object.")),
        optional("subject", attribute("The subject. The default is none.")),
        optional("id", attribute("The id. The default is a fresh UUID.")),
        optional("time", attribute("The time. The default is that of the receipt.")),
        optional(
            "extensions",
            extensions(
                "Extension attributes.",
                attribute("An attribute."),
                bound(MAX_EXTENSIONS),
            ),
        ),
    ];
    Schema::object(
        "Where the attributes of events are found, for the forge generic.",
        fields,
    )
}

/// Where the value of an attribute is found.
fn attribute(says: &str) -> Schema {
    let fields = vec![
        optional("const", Schema::string("This text.", TEXT)),
        optional(
            "header",
            Schema::string("The value of this header of the call.", NAME),
        ),
        optional(
            "jsonpath",
            Schema::string("The first value that this path of the body selects.", TEXT),
        ),
        optional("sha256", Schema::word("The SHA-256 of the body.", vec!["body"])),
        optional(
            "prefix",
            Schema::string("What stands before a value that is found.", TEXT),
        ),
        optional("default", Schema::string("The value where none is found.", TEXT)),
    ];
    let ways = || {
        ["const", "header", "jsonpath", "sha256"]
            .map(Part::There)
            .to_vec()
    };
    let message = "a value is found by one of const, header, jsonpath and sha256";
    Schema::object(says, fields)
        .rule(Rule::at_least_one(ways(), message))
        .rule(Rule::at_most_one(ways(), message))
}
