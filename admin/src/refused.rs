//! What a refusal of this listener looks like: problem details with a stable code.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::ALLOW;
use millrace_channel::ChannelError;
use millrace_serve::Problem;

use crate::audit::Code;
use crate::guard::MAX_BODY_BYTES;

/// A refusal, as axum wants it. Boxed, since every endpoint may return it and hardly any does.
#[derive(Debug)]
pub(crate) struct Refused(Box<Problem>);

// === impl Refused ===

impl Refused {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(status, code, detail)))
    }

    /// Names the header at fault.
    pub(crate) fn field(self, field: &'static str) -> Self {
        Self(Box::new(self.0.field(field)))
    }

    /// Ends the connection after the answer.
    pub(crate) fn closing(self) -> Self {
        Self(Box::new(self.0.closing()))
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(crate) fn bad_query(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-query", detail)
    }

    pub(crate) fn too_large() -> Self {
        let detail = format!("a body here may have {MAX_BODY_BYTES} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).closing()
    }

    pub(crate) fn unknown(what: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, what, detail)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let code = Code(self.0.code());
        let mut response = self.0.into_response().map(Body::new);
        response.extensions_mut().insert(code);
        response
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<ChannelError> for Refused {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::LaneGone(_) => Self::new(StatusCode::CONFLICT, "trigger-gone", error.to_string()),
            ChannelError::Storage(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "storage-failed",
                error.to_string(),
            ),
            ChannelError::NotOwner => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-owner", error.to_string())
            }
            ChannelError::Closed => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "shutting-down",
                error.to_string(),
            ),
        }
    }
}

/// The answer for a path that is nothing here.
pub(crate) async fn unknown_path() -> Refused {
    Refused::unknown(
        "unknown-path",
        "there is nothing at this path; GET / lists what is here",
    )
}

/// A refusal that the router made itself, in our form: it answers a wrong method with `Allow` and no body.
pub(crate) fn explained(response: Response) -> Response {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let mut problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "this path does not take that method; Allow says which it takes",
    );
    if let Some(allow) = response.headers().get(ALLOW) {
        problem = problem.header(ALLOW, allow.clone());
    }
    Refused(Box::new(problem)).into_response()
}
