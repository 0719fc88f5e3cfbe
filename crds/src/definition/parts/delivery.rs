//! How deliveries are tried again, and the durations in it.

use super::destination;
use crate::definition::rule::Rule;
use crate::definition::schema::{Schema, optional, words};
use crate::document::delivery::{FORMATS, MAX_RETRY, POLICIES};

/// The longest duration, as a text.
const DURATION: u32 = 64;

/// A duration of ISO 8601 with weeks, days, hours, minutes and seconds.
fn iso_duration() -> String {
    let n = "[0-9]+([.,][0-9]+)?";
    let seconds = format!("{n}S");
    let minutes = format!("({n}M({seconds})?|{seconds})");
    let time = format!("T({n}H{minutes}?|{minutes})");
    let days = format!("({n}D({time})?|{time})");
    format!("[+]?P({n}W{days}?|{days})")
}

/// A whole text that is a duration: of ISO 8601, or short as in `1h30m`.
pub(crate) fn any_duration() -> String {
    format!("^({}|([0-9]+(ms|s|m|h|d))+)$", iso_duration())
}

/// A duration in a field of Knative's.
fn period(says: &str) -> Schema {
    Schema::string(says, DURATION).rule(Rule::matches(
        format!("^{}$", iso_duration()),
        "a duration of ISO 8601 is expected, such as PT0.2S, PT1M30S or P1D; years and months have no fixed length",
    ))
}

/// A duration that may also be short.
pub(crate) fn short_period(says: &str) -> Schema {
    Schema::string(says, DURATION).rule(Rule::matches(
        any_duration(),
        "a duration is expected, such as 500ms, 30s, 1h30m or 2d, or PT30S as in ISO 8601",
    ))
}

/// How deliveries are tried again, with the dead-letter sink of those who have one. Fields that are not known
/// are kept, as Knative keeps them: the controller refuses them, so that none is silently not obeyed.
pub(crate) fn delivery(says: &str, has_sink: bool) -> Schema {
    let retry = "Attempts after the first. The default is 10.";
    let policy =
        "How the wait between attempts grows: by the same time, or by doubling. The default is exponential.";
    let format = "The mode of requests: binary, or json for structured. The default is binary.";
    let timeout = period("How long one attempt may take, in ISO 8601. The default is PT5M.");
    let mut fields = vec![
        optional("retry", Schema::whole(retry, 0, MAX_RETRY)),
        optional("backoffPolicy", Schema::word(policy, words(POLICIES))),
        optional(
            "backoffDelay",
            period("The first wait, in ISO 8601. The default is PT0.2S."),
        ),
        optional(
            "backoffMax",
            period("The longest wait, in ISO 8601. Without it nothing bounds the wait."),
        ),
        optional(
            "timeout",
            timeout.rule(Rule::matches("[1-9]", "a timeout must be longer than zero")),
        ),
        optional(
            "retryAfterMax",
            period(
                "How far a Retry-After header is obeyed, in ISO 8601; PT0S ignores it. The default is PT10M.",
            ),
        ),
        optional("format", Schema::word(format, words(FORMATS))),
    ];
    if has_sink {
        let says = "Where events go that were tried in vain. Without it they are parked.";
        let sink = destination(says, "spec.delivery.deadLetterSink");
        fields.insert(0, optional("deadLetterSink", sink));
    }
    Schema::object(says, fields).keeping_others()
}
