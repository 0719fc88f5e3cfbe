//! `GET /metrics`: every metric of the process, as OpenMetrics text.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::Admin;
use crate::refused::Refused;

/// The media type of OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn scrape(State(admin): State<Admin>) -> Result<Response, Refused> {
    let mut text = String::with_capacity(16 * 1024);
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response()),
        Err(_) => {
            let detail = "a metric could not be written as text";
            Err(Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "metrics-failed",
                detail,
            ))
        }
    }
}
