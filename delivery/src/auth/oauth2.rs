//! Tokens of an OAuth 2.0 server by client credentials (RFC 6749, section 4.4).
//!
//! # Guarantees
//! The server is judged by the guard, as every target. Its redirects are not followed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::Full;
use millrace_event::Timestamp;
use millrace_model::Octets;
use millrace_model::auth::{ClientLogin, OAuth2};
use serde_json::Value;

use super::authorization;
use super::tokens::Token;
use crate::attempt::origin_form;
use crate::connect;
use crate::connector::Shared;
use crate::exchange::{Answer, Bounds};
use crate::means::Means;
use crate::no_answer::{NoAnswer, Unmade};
use crate::outgoing::Owner;
use crate::patience::Patience;
use crate::tls::Terms;

/// The longest answer of a server, in octets.
const MAX_ANSWER: usize = 64 << 10;
/// How long a token lasts whose server does not say so.
const UNSAID: Duration = Duration::from_secs(300);
/// The errors that RFC 6749 names. Other texts of a server are not repeated.
const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// A client of a server, with what it asks.
pub(super) struct Client {
    url: Uri,
    /// How the client logs in, where that is in the header.
    login: Option<HeaderValue>,
    form: Bytes,
}

// === impl Client ===

impl Client {
    pub(super) fn new(spec: &OAuth2<Octets>) -> Result<Self, String> {
        let encoded = |octets: &[u8]| form_urlencoded::byte_serialize(octets).collect::<String>();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        let words = [("scope", &spec.scope), ("audience", &spec.audience)];
        for (name, word) in words {
            if let Some(word) = word {
                form.append_pair(name, word);
            }
        }
        let mut form = form.finish();
        let (id, secret) = (encoded(&spec.client_id), encoded(&spec.client_secret));
        let login = match spec.login {
            ClientLogin::Header => {
                let login = STANDARD.encode(format!("{id}:{secret}"));
                Some(authorization::hidden(format!("Basic {login}"))?)
            }
            ClientLogin::Body => {
                form.push_str(&format!("&client_id={id}&client_secret={secret}"));
                None
            }
        };
        Ok(Self {
            url: spec.token_url.clone(),
            login,
            form: form.into(),
        })
    }

    /// The host of the server.
    pub(super) fn host(&self) -> &str {
        self.url.host().unwrap_or_default()
    }

    /// Asks for a token.
    ///
    /// # Errors
    /// When there is none, or something of our own is short.
    pub(super) async fn ask(&self, shared: &Shared, owner: &Owner) -> Result<Token, Unmade> {
        let mut means = Means::default();
        let mut open = means
            .connect(shared, owner, &self.url, connect::LIMIT, Terms::default())
            .await?;
        let mut request = http::Request::new(Full::new(self.form.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = origin_form(&self.url);
        let headers = request.headers_mut();
        headers.insert(HOST, open.host());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.form.len()));
        if let Some(login) = &self.login {
            headers.insert(AUTHORIZATION, login.clone());
        }
        let patience = Patience::new(tokio::time::Instant::now());
        let bounds = Bounds {
            wants_reply: false,
            keep: MAX_ANSWER,
            max: MAX_ANSWER,
            replies: &shared.options.replies,
            patience: &patience,
        };
        let mut answer = None;
        let sent = std::pin::pin!(open.send(request));
        open.exchange(sent, &bounds, &mut answer).await?;
        let read = answer.as_ref().map(|answer| read(answer, shared.clock.steady()));
        let read = read.unwrap_or_else(|| Err("it did not answer".to_owned()));
        Ok(read.map_err(NoAnswer::NoToken)?)
    }
}

/// The token in an answer.
///
/// # Errors
/// A sentence that repeats nothing of the answer but the names of errors that everybody knows.
fn read(answer: &Answer, now: Timestamp) -> Result<Token, String> {
    let body: Value = serde_json::from_slice(&answer.body.bytes()).unwrap_or_default();
    if answer.status != StatusCode::OK {
        let error = ERRORS.iter().find(|name| body["error"] == **name);
        let error = error.map(|name| format!(" ({name})")).unwrap_or_default();
        return Err(format!("it answers {}{error}", answer.status.as_u16()));
    }
    if !answer.body.is_whole() {
        return Err(format!("its answer has more than {MAX_ANSWER} octets"));
    }
    let is_bearer = |kind: &str| kind.eq_ignore_ascii_case("bearer");
    if !body["token_type"].as_str().is_none_or(is_bearer) {
        return Err("its token is no bearer token".to_owned());
    }
    let token = body["access_token"].as_str().filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| "its answer has no `access_token`".to_owned())?;
    Token::new(token.as_bytes(), lifetime(&body["expires_in"]), now)
}

/// How long a token is valid. Some servers write the number as a text.
fn lifetime(said: &Value) -> Duration {
    let text = said.as_str().and_then(|text| text.parse().ok());
    let seconds = said
        .as_f64()
        .or(text)
        .filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0);
    seconds.map_or(UNSAID, |seconds| Duration::from_secs_f64(seconds.min(1e9)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_a_token_is_what_the_server_says_if_that_is_one() {
        for (said, expected) in [
            ("3600", 3_600),
            ("\"3600\"", 3_600),
            ("1", 1),
            ("0", 0),
            ("-5", 300),
            ("null", 300),
            ("\"soon\"", 300),
            ("1e300", 1_000_000_000),
        ] {
            let value = serde_json::from_str(said).expect(said);
            assert_eq!(lifetime(&value).as_secs(), expected, "{said}");
        }
    }

    #[test]
    fn client_and_scopes_are_encoded_as_the_rfc_says() {
        let spec = |login| OAuth2 {
            token_url: Uri::from_static("https://id.example/token"),
            client_id: b"my client".as_slice().into(),
            client_secret: b"a:b&c%+".as_slice().into(),
            scope: Some("events:write orders".to_owned()),
            audience: None,
            login,
        };
        let by_header = Client::new(&spec(ClientLogin::Header)).expect("valid");
        assert_eq!(
            by_header.form,
            "grant_type=client_credentials&scope=events%3Awrite+orders"
        );
        let login = by_header.login.expect("a login");
        let expected = format!("Basic {}", STANDARD.encode("my+client:a%3Ab%26c%25%2B"));
        assert_eq!(login, expected.as_str());
        assert!(login.is_sensitive());
        let by_body = Client::new(&spec(ClientLogin::Body)).expect("valid");
        assert!(by_body.login.is_none());
        let expected = "grant_type=client_credentials&scope=events%3Awrite+orders&client_id=my+client&client_secret=a%3Ab%26c%25%2B";
        assert_eq!(by_body.form, expected);
    }
}
