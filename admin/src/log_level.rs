//! `/api/v1/log-level`: what the process logs, and a change of that while it runs.

use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use http::StatusCode;
use serde::Serialize;

use crate::Admin;
use crate::refused::Refused;

/// The filter of the process's log lines.
pub trait LogFilter: Send + Sync + fmt::Debug {
    /// The filter that holds now.
    fn current(&self) -> String;

    /// The filter with which the process started.
    fn initial(&self) -> String;

    /// Makes `filter` the one that holds, for every line from now on.
    ///
    /// # Errors
    /// A sentence, when it is no filter; the one before then still holds.
    fn set(&self, filter: &str) -> Result<(), String>;
}

/// What is logged.
#[derive(Debug, Serialize)]
pub(crate) struct LogLevel {
    /// The filter that holds.
    filter: String,
    /// The filter with which the process started.
    initial: String,
}

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);

pub(crate) async fn show(State(admin): State<Admin>) -> Json<LogLevel> {
    Json(LogLevel::of(&*admin.log_filter))
}

pub(crate) async fn change(State(admin): State<Admin>, request: Request) -> Result<Json<LogLevel>, Refused> {
    let body = read(request).await?;
    let filter = std::str::from_utf8(&body).map_err(|_| bad_filter("it is not UTF-8"))?;
    admin
        .log_filter
        .set(filter.trim())
        .map_err(|why| bad_filter(&why))?;
    Ok(Json(LogLevel::of(&*admin.log_filter)))
}

/// The body, which is at most as large as the router allows.
async fn read(request: Request) -> Result<Bytes, Refused> {
    let read = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, &()));
    match read.await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejected)) if rejected.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Refused::too_large()),
        Ok(Err(_)) => {
            let detail = "the body broke off";
            Err(Refused::new(StatusCode::BAD_REQUEST, "body-broken", detail).closing())
        }
        Err(_) => {
            let detail = format!("the body did not come within {} s", BODY_TIME.as_secs());
            Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", detail).closing())
        }
    }
}

fn bad_filter(why: &str) -> Refused {
    let detail =
        format!("the body is no log filter: {why}. Write for example info or info,millrace_delivery=debug");
    Refused::new(StatusCode::BAD_REQUEST, "bad-log-filter", detail)
}

// === impl LogLevel ===

impl LogLevel {
    fn of(filter: &dyn LogFilter) -> Self {
        Self {
            filter: filter.current(),
            initial: filter.initial(),
        }
    }
}
