//! Knative's DeliverySpec as written, and what becomes of it: defaults and precedence.
//!
//! A Trigger that sets any option of delivery takes nothing of its Broker's but the dead-letter sink, which
//! falls back alone. Without options on either side, what Knative ships holds: 10 retries, exponential from
//! PT0.2S.

use std::time::Duration;

use millrace_model::{Backoff, BackoffPolicy, DeliveryPolicy, Format};

use crate::document::auth;
use crate::document::destination::Destination;
use crate::document::metadata::Metadata;
use crate::duration;
use crate::field::{Field, Object};
use crate::problem::{Code, Mark, shown};
use crate::report::Report;
use crate::tree::{ReadsAs, Shape};

/// A `delivery` as written. Every option is absent where it was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeliverySpec {
    pub(crate) dead_letter: Option<Sink>,
    pub(crate) retry: Option<u32>,
    pub(crate) backoff_policy: Option<BackoffPolicy>,
    pub(crate) backoff_delay: Option<Duration>,
    pub(crate) backoff_max: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry_after_max: Option<Duration>,
    pub(crate) format: Option<Format>,
    /// Where the document says the format.
    format_at: Option<Mark>,
}

/// A dead-letter sink, and where the document names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sink {
    pub(crate) destination: Destination,
    pub(crate) at: Mark,
}

/// The most retries: what an int32 holds, as Knative's field is one.
pub(crate) const MAX_RETRY: u32 = i32::MAX as u32;

/// How the wait may grow.
pub(crate) const POLICIES: &[(&str, BackoffPolicy)] = &[
    ("linear", BackoffPolicy::Linear),
    ("exponential", BackoffPolicy::Exponential),
];
/// The modes of requests.
pub(crate) const FORMATS: &[(&str, Format)] = &[("binary", Format::Binary), ("json", Format::Json)];

// === impl DeliverySpec ===

impl DeliverySpec {
    /// Reads `spec.delivery` of a document in `namespace`.
    pub(crate) fn read(spec: &mut Object<'_>, namespace: &str, report: &mut Report) -> Self {
        let Some(mut object) = spec.take("delivery").and_then(|field| field.object(report)) else {
            return Self::default();
        };
        let sink = object.take("deadLetterSink");
        let format = object.take("format");
        let this = Self {
            dead_letter: sink.and_then(|field| {
                let destination = Destination::read(&field, namespace, report)?;
                Some(Sink {
                    destination,
                    at: field.node.at,
                })
            }),
            retry: object
                .take("retry")
                .and_then(|field| field.whole(report, 0..=MAX_RETRY)),
            backoff_policy: choice(object.take("backoffPolicy"), POLICIES, report),
            backoff_delay: object
                .take("backoffDelay")
                .and_then(|field| period(&field, report)),
            backoff_max: object.take("backoffMax").and_then(|field| period(&field, report)),
            timeout: object.take("timeout").and_then(|field| positive(&field, report)),
            retry_after_max: object
                .take("retryAfterMax")
                .and_then(|field| period(&field, report)),
            format_at: format.as_ref().map(|field| field.node.at),
            format: choice(format, FORMATS, report),
        };
        object.close(report);
        this
    }

    /// Refuses `format: binary` of a document whose deliveries are signed: a signature covers the body alone.
    pub(crate) fn refuse_binary(&self, is_signed: bool, report: &mut Report) {
        if is_signed && self.format == Some(Format::Binary) {
            let message = "`binary` and `standardWebhooks` exclude each other: a signature covers the body alone, so \
                           the whole event has to stand there";
            let path = "spec.delivery.format";
            report.problem(
                self.format_at.unwrap_or(Mark::NONE),
                path,
                Code::ConflictingFields,
                message,
            );
        }
    }

    /// Refuses credentials for a dead-letter sink that this document does not name: whoever names a sink says
    /// what it is shown.
    pub(crate) fn refuse_strays(&self, has_auth: bool, metadata: &Metadata<'_>, report: &mut Report) {
        if has_auth
            && self.dead_letter.is_none()
            && let Some((field, _)) = metadata.ours(auth::DEAD_LETTER, report)
        {
            let message = "it belongs to a `deadLetterSink` that the same document names";
            field.refuse(report, Code::MissingField, message);
        }
    }

    /// The dead-letter sink that it names itself.
    pub(crate) fn own_sink(&self) -> Option<&Destination> {
        self.dead_letter.as_ref().map(|sink| &sink.destination)
    }

    /// Whether any option is set.
    fn is_set(&self) -> bool {
        *self != Self::default()
    }

    /// The policy of a Trigger with this `delivery` on a Broker with that one.
    pub(crate) fn policy(&self, broker: Option<&Self>) -> DeliveryPolicy {
        match broker {
            Some(broker) if !self.is_set() => broker.with_defaults(),
            _ => self.with_defaults(),
        }
    }

    /// The dead-letter sink of a Trigger with this `delivery` on a Broker with that one.
    pub(crate) fn dead_letter<'a>(&'a self, broker: Option<&'a Self>) -> Option<&'a Sink> {
        self.dead_letter.as_ref().or_else(|| broker?.dead_letter.as_ref())
    }

    fn with_defaults(&self) -> DeliveryPolicy {
        let default = DeliveryPolicy::default();
        DeliveryPolicy {
            retry: self.retry.unwrap_or(default.retry),
            backoff: Backoff {
                policy: self.backoff_policy.unwrap_or(default.backoff.policy),
                delay: self.backoff_delay.unwrap_or(default.backoff.delay),
                max: self.backoff_max,
            },
            timeout: self.timeout.unwrap_or(default.timeout),
            retry_after_max: self.retry_after_max.unwrap_or(default.retry_after_max),
            format: self.format.unwrap_or(default.format),
        }
    }
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(
    field: Option<Field<'_>>,
    words: &[(&str, T)],
    report: &mut Report,
) -> Option<T> {
    let field = field?;
    let text = field.text(report)?;
    choose(&field, text, words, report)
}

/// The meaning of a word among a few.
pub(crate) fn choose<T: Copy>(
    field: &Field<'_>,
    text: &str,
    words: &[(&str, T)],
    report: &mut Report,
) -> Option<T> {
    let found = words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, meaning)| *meaning);
    if found.is_none() {
        let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let message = format!(
            "`{}` is not known here; there are {}",
            shown(text),
            known.join(" and ")
        );
        field.refuse(report, Code::UnknownValue, message);
    }
    found
}

/// A duration as Knative has it: ISO 8601 and nothing else, so that the document means the same there.
pub(crate) fn period(field: &Field<'_>, report: &mut Report) -> Option<Duration> {
    if let Shape::Scalar(scalar) = &field.node.shape
        && scalar.reads_as == ReadsAs::Number
    {
        let message = format!(
            "a duration is expected, not a number: PT{}S is in seconds",
            shown(&scalar.text)
        );
        field.refuse(report, Code::BadDuration, message);
        return None;
    }
    let text = field.text(report)?;
    let read = duration::parse(text).map_err(|error| match duration::parse_short(text) {
        Ok(_) => duration::DurationError::IsShort,
        Err(_) => error,
    });
    told(field, text, read, report)
}

/// A duration of Millrace's own, which may be short (`30s`).
pub(crate) fn short_period(field: &Field<'_>, report: &mut Report) -> Option<Duration> {
    parse_short_period(field, field.text(report)?, report)
}

/// The duration that a text says, which may be short.
pub(crate) fn parse_short_period(field: &Field<'_>, text: &str, report: &mut Report) -> Option<Duration> {
    told(field, text, duration::parse_short(text), report)
}

fn told(
    field: &Field<'_>,
    text: &str,
    read: Result<Duration, duration::DurationError>,
    report: &mut Report,
) -> Option<Duration> {
    match read {
        Ok(duration) => Some(duration),
        Err(error) => {
            field.refuse(report, Code::BadDuration, format!("`{}`: {error}", shown(text)));
            None
        }
    }
}

/// A duration that is not zero.
fn positive(field: &Field<'_>, report: &mut Report) -> Option<Duration> {
    let duration = period(field, report)?;
    if duration.is_zero() {
        field.refuse(report, Code::OutOfRange, "a timeout must be longer than zero");
        return None;
    }
    Some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::destination::Place;

    fn sink(name: &str) -> Option<Sink> {
        let destination = Destination {
            place: Place::Url(format!("http://{name}/").parse().expect("a URL")),
            authorities: None,
            audience: None,
        };
        Some(Sink {
            destination,
            at: Mark { line: 1, column: 1 },
        })
    }

    #[test]
    fn what_is_not_said_is_as_knative_ships_it() {
        let none = DeliverySpec::default();
        assert_eq!(none.policy(None), DeliveryPolicy::default());
        assert_eq!(none.policy(Some(&none)), DeliveryPolicy::default());
        let only_retry = DeliverySpec {
            retry: Some(3),
            ..none.clone()
        };
        let expected = DeliveryPolicy {
            retry: 3,
            ..DeliveryPolicy::default()
        };
        assert_eq!(only_retry.policy(None), expected);
        let only_policy = DeliverySpec {
            backoff_policy: Some(BackoffPolicy::Linear),
            ..none.clone()
        };
        let policy = only_policy.policy(None);
        assert_eq!(
            (policy.retry, policy.backoff.delay),
            (10, Duration::from_millis(200))
        );
        let only_delay = DeliverySpec {
            backoff_delay: Some(Duration::ZERO),
            ..none
        };
        let policy = only_delay.policy(None);
        assert_eq!(
            (policy.backoff.policy, policy.backoff.delay),
            (BackoffPolicy::Exponential, Duration::ZERO)
        );
    }

    #[test]
    fn a_trigger_with_options_takes_only_the_dead_letter_sink_of_its_broker() {
        let none = DeliverySpec::default();
        let broker = DeliverySpec {
            retry: Some(3),
            timeout: Some(Duration::from_secs(1)),
            dead_letter: sink("b"),
            ..none.clone()
        };
        let own = DeliverySpec {
            format: Some(Format::Json),
            ..none.clone()
        };
        let own_sink = DeliverySpec {
            dead_letter: sink("t"),
            ..none.clone()
        };
        assert_eq!(none.policy(Some(&broker)).retry, 3);
        assert_eq!(none.dead_letter(Some(&broker)), sink("b").as_ref());
        assert_eq!(
            own.policy(Some(&broker)),
            DeliveryPolicy {
                format: Format::Json,
                ..DeliveryPolicy::default()
            }
        );
        assert_eq!(own.dead_letter(Some(&broker)), sink("b").as_ref());
        assert_eq!(own_sink.policy(Some(&broker)), DeliveryPolicy::default());
        assert_eq!(own_sink.dead_letter(Some(&broker)), sink("t").as_ref());
        assert_eq!(none.dead_letter(None), None);
    }
}
