//! How times, events and targets are written for those who read this API.

use std::fmt;

use http::Uri;
use millrace_channel::Stage;
use millrace_event::{Event, Timestamp};
use millrace_model::Target;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A time as RFC 3339 text in UTC, to the millisecond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rfc3339(pub(crate) Timestamp);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What lies outside the years that the calendar knows is damage; it is shown as its nearest end.
        let time = jiff::Timestamp::from_millisecond(self.0.0).unwrap_or(if self.0.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        });
        write!(f, "{time:.3}")
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What names an event.
#[derive(Debug, Serialize)]
pub(crate) struct EventName {
    id: String,
    source: String,
    #[serde(rename = "type")]
    ty: String,
}

impl From<&Event> for EventName {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id().to_owned(),
            source: event.source().to_owned(),
            ty: event.ty().to_owned(),
        }
    }
}

/// The event in structured mode, as it would be delivered.
pub(crate) fn structured(event: &Event) -> Option<Box<RawValue>> {
    let json = millrace_event::json::encode(event, &Default::default());
    serde_json::from_slice(&json).ok()
}

/// The number of an attempt as people count: from 1. Records count from 0.
pub(crate) fn ordinal(attempt: u32) -> u32 {
    attempt.saturating_add(1)
}

pub(crate) fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Subscriber => "subscriber",
        Stage::DeadLetter => "dead-letter",
        Stage::Reply => "reply",
    }
}

/// A target as it may be shown: credentials in its URL stay out.
pub(crate) fn shown(target: &Target) -> String {
    shown_text(&target.to_string())
}

/// The text of a target as it may be shown.
pub(crate) fn shown_text(target: &str) -> String {
    let uri: Option<Uri> = target.parse().ok();
    let has_credentials = |uri: &Uri| {
        uri.authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
    };
    match uri.filter(has_credentials) {
        Some(uri) => without_credentials(&uri),
        None => target.to_owned(),
    }
}

fn without_credentials(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    format!("{}://***@{host}{path}", uri.scheme_str().unwrap_or("http"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_and_never_fail() {
        let cases = [
            (0, "\"1970-01-01T00:00:00.000Z\""),
            (1_766_000_000_120, "\"2025-12-17T19:33:20.120Z\""),
            (i64::MAX, "\"9999-12-30T22:00:00.999Z\""),
        ];
        for (millis, expected) in cases {
            assert_eq!(
                serde_json::to_string(&Rfc3339(Timestamp(millis))).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn credentials_of_a_target_are_not_shown() {
        let cases = [
            ("http://user:secret@host:9001/a?b=c", "http://***@host:9001/a?b=c"),
            ("http://host:9001/a@b", "http://host:9001/a@b"),
            ("http://host:9001", "http://host:9001"),
            ("broker:shop/default", "broker:shop/default"),
        ];
        for (uri, expected) in cases {
            assert_eq!(shown_text(uri), expected);
        }
    }
}
