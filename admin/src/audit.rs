//! The audit log: one line for each change that somebody known asked for, also for one that was refused. Its
//! log target is `audit`, so that it can be kept apart from other lines. Strangers are only counted:
//! otherwise they could fill the log.

use axum::response::Response;
use http::{Method, Request, StatusCode};
use millrace_access::Identity;
use tracing::info;

/// The log target.
pub const TARGET: &str = "audit";
/// Who it is where nobody has to log in.
const ANYBODY: &str = "anonymous";
/// What paths of the API begin with.
const API: &str = "/api/v1/";

/// A change that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    action: &'static str,
    /// What it is about, as the path names it.
    rows: String,
}

/// A change until it is known what came of it. If it is dropped before, as when its client cancels the
/// stream or the process ends, the line says `unknown`.
#[derive(Debug)]
pub(crate) struct Pending {
    /// With who asks for it.
    asked: Option<(Change, String)>,
}

/// The stable code of a refusal, beside the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code(pub(crate) &'static str);

/// Whether a request changes nothing.
pub(crate) fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

// === impl Change ===

impl Change {
    /// The change that a request asks for; `None`: it changes nothing.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        if reads(request.method()) {
            return None;
        }
        let path = request.uri().path();
        let below = path.strip_prefix(API).unwrap_or(path);
        let (kind, rows) = below.split_once('/').unwrap_or((below, ""));
        let (action, rows) = match (request.method(), kind, rows.strip_suffix("/redrive")) {
            (&Method::POST, "parked", Some(id)) => ("parked redrive", id),
            (&Method::DELETE, "parked", None) => ("parked drop", rows),
            (&Method::DELETE, "brokers", _) => ("brokers forget", rows),
            (&Method::DELETE, "triggers", _) => ("triggers forget", rows),
            (&Method::PUT, "log-level", _) => ("log-level change", rows),
            _ => ("unknown", path),
        };
        // A path has no blanks or control characters: whatever a client sends stays one word of the line.
        Some(Self {
            action,
            rows: rows.to_owned(),
        })
    }

    /// Begins it. A line is written for sure from now on.
    pub(crate) fn begin(self, who: Option<&Identity>) -> Pending {
        let who = who.map_or_else(|| ANYBODY.to_owned(), ToString::to_string);
        Pending {
            asked: Some((self, who)),
        }
    }

    fn line(&self, who: &str, outcome: &'static str, status: Option<u16>, code: &'static str) {
        info!(
            target: TARGET,
            who,
            action = self.action,
            rows = self.rows,
            outcome,
            status,
            code,
            "change"
        );
    }
}

// === impl Pending ===

impl Pending {
    /// Writes the line, now that it is known what came of it.
    pub(crate) fn note(mut self, answer: &Response) {
        let Some((change, who)) = self.asked.take() else {
            return;
        };
        let status = answer.status();
        let outcome = match status {
            _ if status.is_success() => "done",
            _ if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => "failed",
            _ => "refused",
        };
        let code = answer.extensions().get::<Code>().map_or("", |code| code.0);
        change.line(&who, outcome, Some(status.as_u16()), code);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some((change, who)) = &self.asked {
            change.line(who, "unknown", None, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_has_a_name_and_what_it_is_about() {
        let table = [
            ("POST", "/api/v1/parked/7/redrive", "parked redrive", "7"),
            ("DELETE", "/api/v1/parked/7", "parked drop", "7"),
            ("DELETE", "/api/v1/brokers/shop/old", "brokers forget", "shop/old"),
            (
                "DELETE",
                "/api/v1/triggers/shop/old",
                "triggers forget",
                "shop/old",
            ),
            ("PUT", "/api/v1/log-level", "log-level change", ""),
            ("POST", "/elsewhere", "unknown", "/elsewhere"),
        ];
        for (method, path, action, rows) in table {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            let expected = Change {
                action,
                rows: rows.to_owned(),
            };
            assert_eq!(Change::of(&request), Some(expected), "{method} {path}");
        }
        for method in ["GET", "HEAD"] {
            let request = Request::builder()
                .method(method)
                .uri("/api/v1/parked")
                .body(())
                .unwrap();
            assert_eq!(Change::of(&request), None, "{method}");
        }
    }
}
