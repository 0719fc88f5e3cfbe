//! The changes as the API server sends them, in batches of what is there.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kube::api::WatchParams;
use kube::client::Body;
use kube::core::Request;
use millrace_model::source::api_server::ObjectKind;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::client::{Form, Origin, Status, Trouble, refusal};
use super::lines::{Line, Lines, MAX_LINE};
use super::object::Object;
use super::pages::uri;

/// A watch that goes on.
pub(super) struct Stream {
    kind: ObjectKind,
    body: Body,
    lines: Lines,
    /// The API server should have said something until then.
    until: Instant,
}

/// One thing that the API server says.
#[derive(Debug)]
pub(super) enum WatchEvent {
    /// An object is new or another version.
    Seen(Object),
    /// An object is no more, or its labels are no longer those that were asked for.
    Ended(Object),
    /// The watch has come to this version.
    Passed(String),
    /// Something that cannot be read, and the code of the reason.
    Unreadable(&'static str, String),
    /// The watch ends.
    Trouble(Trouble),
}

#[derive(Deserialize)]
struct RawSaid<'a> {
    #[serde(rename = "type")]
    what: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMetadata {
    resource_version: String,
}

/// The API server is asked to end a watch after so many seconds, so that one which hangs is found.
const LIFE: u32 = 240;
/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(LIFE as u64 + 30);
/// What a batch has at most, but for its last piece: bytes, and things.
const BATCH_BYTES: usize = 1 << 20;
const BATCH: usize = 200;

// === impl Stream ===

impl Stream {
    /// Everything after `version`.
    pub(super) async fn open(
        origin: &Origin,
        path: &str,
        selector: &str,
        kind: &ObjectKind,
        version: &str,
    ) -> Result<Self, Trouble> {
        let mut params = WatchParams::default().timeout(LIFE);
        if !selector.is_empty() {
            params = params.labels(selector);
        }
        let query = uri(Request::new(path).watch(&params, version))?;
        Ok(Self {
            kind: kind.clone(),
            body: origin.stream(&query, Form::Changes).await?,
            lines: Lines::new(MAX_LINE),
            until: Instant::now() + SILENCE,
        })
    }

    /// What has come since, at least one thing; `None` at the end. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<WatchEvent>>, Trouble> {
        loop {
            let all = self.parsed();
            if !all.is_empty() {
                return Ok(Some(all));
            }
            let waited = tokio::time::timeout_at(self.until, self.body.frame()).await;
            let frame = waited.map_err(|_| Trouble::Failed("the API server has fallen silent".to_owned()))?;
            if !self.take(frame)? {
                return Ok(None);
            }
            self.until = Instant::now() + SILENCE;
            // What is there already comes along: many changes then make one batch and not one each.
            let mut bytes = 0;
            while bytes < BATCH_BYTES {
                let frame = tokio::select! {
                    biased;
                    frame = self.body.frame() => frame,
                    () = std::future::ready(()) => break,
                };
                bytes += frame_len(&frame);
                // An end or a fault comes again with the next frame that is asked for.
                if !matches!(self.take(frame), Ok(true)) {
                    break;
                }
            }
        }
    }

    /// Takes a piece; whether there was one.
    fn take<E: std::fmt::Display>(
        &mut self,
        frame: Option<Result<hyper::body::Frame<Bytes>, E>>,
    ) -> Result<bool, Trouble> {
        match frame {
            None => Ok(false),
            Some(Err(error)) => Err(Trouble::Failed(format!("the watch broke off: {error}"))),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.lines.push(data);
                }
                Ok(true)
            }
        }
    }

    fn parsed(&mut self) -> Vec<WatchEvent> {
        let lines = std::iter::from_fn(|| self.lines.next()).take(BATCH);
        lines.map(|line| said(&line, &self.kind)).collect()
    }
}

fn frame_len<E>(frame: &Option<Result<hyper::body::Frame<Bytes>, E>>) -> usize {
    match frame {
        Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
        Some(Err(_)) | None => 0,
    }
}

fn said(line: &Line, kind: &ObjectKind) -> WatchEvent {
    let Line::Whole(line) = line else {
        let why = format!("an object is larger than {MAX_LINE} bytes");
        return WatchEvent::Unreadable("object-too-large", why);
    };
    read(line, kind).unwrap_or_else(|error| {
        WatchEvent::Unreadable("bad-object", format!("a change cannot be read: {error}"))
    })
}

fn read(line: &[u8], kind: &ObjectKind) -> Result<WatchEvent, serde_json::Error> {
    let RawSaid { what, object } = serde_json::from_slice(line)?;
    Ok(match what {
        "ADDED" | "MODIFIED" => WatchEvent::Seen(Object::read(object.get(), kind)?),
        "DELETED" => WatchEvent::Ended(Object::read(object.get(), kind)?),
        "BOOKMARK" => {
            let bookmark: Bookmark = serde_json::from_str(object.get())?;
            WatchEvent::Passed(bookmark.metadata.resource_version)
        }
        "ERROR" => {
            let status: Status = serde_json::from_str(object.get())?;
            WatchEvent::Trouble(refusal(status.code, &status))
        }
        other => {
            let why = format!("the watch says `{}`", other.escape_debug());
            WatchEvent::Unreadable("bad-object", why)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &'static str) -> WatchEvent {
        let kind = ObjectKind {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
        };
        said(&Line::Whole(Bytes::from_static(line.as_bytes())), &kind)
    }

    #[test]
    fn what_the_api_server_says_is_understood() {
        let added = r#"{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","uid":"u","resourceVersion":"7"}}}"#;
        assert!(matches!(parse(added), WatchEvent::Seen(object) if object.version == "7"));
        let deleted =
            r#"{"type":"DELETED","object":{"metadata":{"name":"x","uid":"u","resourceVersion":"8"}}}"#;
        assert!(matches!(parse(deleted), WatchEvent::Ended(object) if object.version == "8"));
        let bookmark = r#"{"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"9","creationTimestamp":null}}}"#;
        assert!(matches!(parse(bookmark), WatchEvent::Passed(version) if version == "9"));
        let expired = r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","message":"too old resource version: 1 (9)","reason":"Expired","code":410}}"#;
        assert!(matches!(parse(expired), WatchEvent::Trouble(Trouble::Gone)));
    }

    #[test]
    fn what_it_should_not_say_is_passed_by_with_a_code() {
        for line in [
            "not JSON",
            "{}",
            r#"{"type":"ADDED","object":{}}"#,
            r#"{"type":"ADDED","object":{"metadata":{"name":"x","resourceVersion":"7"}}}"#,
            r#"{"type":"MOVED","object":{}}"#,
            r#"{"type":"BOOKMARK","object":{"metadata":{}}}"#,
        ] {
            assert!(
                matches!(parse(line), WatchEvent::Unreadable("bad-object", _)),
                "{line}"
            );
        }
    }
}
