//! What annotations may say.

use std::sync::LazyLock;

use crate::definition::parts::any_duration;
use crate::definition::rule::Pattern;
use crate::document::{broker, source, trigger};

/// Our own annotations begin with this.
pub(crate) const OURS: &str = "millrace.dev/";

/// The annotation that asks for a Broker to be made.
pub(crate) const INJECTION: &str = "eventing.knative.dev/injection";

/// The annotation that names what a Trigger waits for, as an object of JSON.
const DEPENDENCY: &str = "knative.dev/dependency";

/// What an annotation must look like, on a kind.
#[derive(Debug)]
pub(crate) struct Annotation {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) pattern: Pattern,
    pub(crate) message: String,
}

/// The rules about annotations that look at nothing else.
pub(crate) static ANNOTATION_RULES: LazyLock<Vec<Annotation>> = LazyLock::new(|| {
    let time = any_duration();
    let size = "^[0-9]+((Ki|Mi|Gi|Ti|k|M|G|T)B?)?$";
    let thousand = "^([1-9][0-9]{0,2}|1000)$";
    let ten_millions = "^([1-9][0-9]{0,6}|10000000)$";
    let (a_time, a_size) = (
        "a time is expected, such as 24h or 7d",
        "a size is expected, such as 1GiB",
    );
    let rows = "a number from 1 to 10000000 is expected";
    let mut all = vec![
        ours("Broker", "retention-age", &time, a_time),
        ours("Broker", "retention-bytes", size, a_size),
        ours("Broker", "backlog-bytes", size, a_size),
        ours(
            "Broker",
            "on-full",
            "^(refuse|drop-oldest)$",
            "refuse or drop-oldest is expected",
        ),
        ours(
            "Trigger",
            "parallelism",
            thousand,
            "a number from 1 to 1000 is expected",
        ),
        ours("Trigger", "max-deferred", ten_millions, rows),
        ours("Trigger", "max-parked", ten_millions, rows),
        ours("Trigger", "resume", "^(true|false)$", "true or false is expected"),
        Annotation {
            kind: "Trigger",
            name: INJECTION.to_owned(),
            pattern: Pattern::new("^(enabled|disabled)$"),
            message: "The provided injection annotation value can only be \"enabled\" or \"disabled\""
                .to_owned(),
        },
    ];
    all.extend(["kind", "name", "apiVersion"].map(dependency));
    all
});

/// A rule about one of our own annotations.
fn ours(kind: &'static str, name: &str, pattern: &str, message: &str) -> Annotation {
    Annotation {
        kind,
        name: format!("{OURS}{name}"),
        pattern: Pattern::new(pattern),
        message: format!("{OURS}{name}: {message}"),
    }
}

/// A dependency has that field. CEL reads no JSON there; the controller does.
fn dependency(field: &str) -> Annotation {
    let blank = "[[:space:]]*";
    let pattern = format!(r#"[{{]([^{{}}]*,)?{blank}"{field}"{blank}:{blank}"[^"]+"[^{{}}]*[}}]"#);
    Annotation {
        kind: "Trigger",
        name: DEPENDENCY.to_owned(),
        pattern: Pattern::new(pattern),
        message: format!("missing field(s): metadata.annotations[{DEPENDENCY}].{field}"),
    }
}

/// The annotations of ours that a kind has, without the prefix.
pub(crate) fn known(kind: &str) -> &'static [&'static str] {
    match kind {
        "Broker" => broker::ANNOTATIONS,
        "Trigger" => trigger::ANNOTATIONS,
        "KafkaSink" => &[],
        _ => source::ANNOTATIONS,
    }
}

/// What is said about an annotation of ours that a kind does not have.
pub(crate) fn unknown(kind: &str) -> String {
    let known = known(kind).join(", ");
    if known.is_empty() {
        return format!("there is no such annotation; there is none of {OURS}");
    }
    format!("there is no such annotation; there are {OURS}{{{known}}}")
}
