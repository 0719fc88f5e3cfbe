//! How a request's body may be framed: by a length, or by a single `chunked`. hyper itself answers what it
//! cannot parse.

use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Body;

use crate::Problem;

/// Refuses a Transfer-Encoding other than a single `chunked` (RFC 9112 §6.1). As long as `chunked` comes
/// last, hyper reads such a body and passes its content on without decoding the other encodings.
///
/// A body of known length is framed by that length, so only the headers of others are looked at.
///
/// # Errors
/// The refusal, 501. The body was not understood, so the connection ends with the answer.
pub fn check<B: Body>(request: &Request<B>) -> Result<(), Problem> {
    match request.body().size_hint().exact() {
        Some(_) => Ok(()),
        None => check_encoding(request.headers()),
    }
}

fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(()),
        (Some(value), None) if value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => {
            let detail = "the only Transfer-Encoding that is taken is one `chunked`";
            let code = "unsupported-transfer-encoding";
            let problem = Problem::new(StatusCode::NOT_IMPLEMENTED, code, detail);
            Err(problem.field("Transfer-Encoding").closing())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_chunked_is_taken_and_nothing_else() {
        let cases: [(&[&str], bool); 8] = [
            (&[], true),
            (&["chunked"], true),
            (&["Chunked"], true),
            (&["gzip, chunked"], false),
            (&["chunked, chunked"], false),
            (&["chunked", "chunked"], false),
            (&["gzip", "chunked"], false),
            (&["chunked;q=1"], false),
        ];
        for (values, is_taken) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRANSFER_ENCODING, value.parse().unwrap());
            }
            assert_eq!(check_encoding(&headers).is_ok(), is_taken, "{values:?}");
        }
    }
}
