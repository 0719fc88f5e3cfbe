//! How an object stands, as its controller writes it.

use serde_json::json;

use super::{CERTIFICATES, NAME, URL};
use crate::definition::schema::{Field, Schema, needed, optional};

/// A status: what all kinds have, and these fields. Until a controller writes it, it says so.
pub(crate) fn status(kind: &str, mut fields: Vec<Field>) -> Schema {
    let text = |says| Schema::string(says, 1_024);
    let condition = vec![
        needed("type", text("What it is about.")),
        needed("status", text("Whether it is met: True, False or Unknown.")),
        optional("severity", text("Info where `Ready` does not depend on it.")),
        optional("lastTransitionTime", text("When `status` changed.")),
        optional("reason", text("Why it is so, in a word.")),
        optional(
            "message",
            Schema::string("Why it is so, and what helps, in a sentence.", 32_768),
        ),
    ];
    let condition = Schema::object("A condition.", condition);
    let conditions = "What is met and what is not. `Ready` sums up the others.";
    let mut all = vec![
        optional(
            "observedGeneration",
            Schema::count("The generation of this object that the status is about."),
        ),
        optional("conditions", Schema::list(conditions, condition, 0, 64)),
        optional(
            "annotations",
            Schema::object("What else the controller has to say.", Vec::new()).keeping_others(),
        ),
    ];
    all.append(&mut fields);
    let message = format!("no controller has looked at this {kind} yet");
    // The time is that of no change at all. It cannot be left out: kubectl and Argo CD print it.
    let untouched = json!({"conditions": [{
        "type": "Ready", "status": "Unknown", "reason": "NoControllerYet", "message": message,
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }]});
    Schema::object("How the object stands. The controller writes it.", all).or_else(untouched)
}

/// The fields of a status that say where something goes: `<name>Uri` and what belongs to it.
pub(crate) fn resolved(what: &str, [uri, certificates, audience]: [&'static str; 3]) -> Vec<Field> {
    vec![
        optional(uri, Schema::string(&format!("The URL of the {what}."), URL)),
        optional(
            certificates,
            Schema::string(&format!("The certificates of the {what}."), CERTIFICATES),
        ),
        optional(
            audience,
            Schema::string(&format!("The audience of the {what}."), URL),
        ),
    ]
}

/// The fields of a status that say where the object can be reached.
pub(crate) fn addresses() -> Vec<Field> {
    let address = |says| {
        let fields = vec![
            optional("name", Schema::string("The scheme of the URL.", NAME)),
            optional("url", Schema::string("The URL.", URL)),
            optional(
                "CACerts",
                Schema::string("The certificates of this address.", CERTIFICATES),
            ),
            optional("audience", Schema::string("The audience of this address.", URL)),
        ];
        Schema::object(says, fields)
    };
    vec![
        optional("address", address("Where events are sent to.")),
        optional(
            "addresses",
            Schema::list("All addresses.", address("An address."), 0, 16),
        ),
    ]
}

/// `status.auth`.
pub(crate) fn auth() -> Schema {
    let name = |says| Schema::string(says, NAME);
    let fields = vec![
        optional("serviceAccountName", name("The service account of deliveries.")),
        optional(
            "serviceAccountNames",
            Schema::list(
                "All service accounts of deliveries.",
                name("A service account."),
                0,
                16,
            ),
        ),
    ];
    Schema::object("As whom deliveries are made.", fields)
}
