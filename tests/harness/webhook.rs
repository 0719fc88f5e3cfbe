//! Calls as forges make them: headers, a body, and its signature.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::event::Message;
use crate::{Answered, Client, Mesh};

/// The host of the GitHub Enterprise Server that calls.
pub const ENTERPRISE: &str = "github.mill.example";

/// A call, not signed yet.
#[derive(Clone, Debug)]
pub struct Call {
    headers: Vec<(String, String)>,
    body: Bytes,
}

// === impl Call ===

impl Call {
    /// A call with JSON and these headers.
    pub fn new(headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let json = [("content-type", "application/json")];
        let headers = json.iter().chain(headers);
        Self {
            headers: headers
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: body.into(),
        }
    }

    /// A call of GitHub.
    pub fn github(event: &str, delivery: &str, body: impl Into<Bytes>) -> Self {
        Self::new(
            &[("x-github-event", event), ("x-github-delivery", delivery)],
            body,
        )
    }

    /// A call of GitHub Enterprise Server: it says in addition which server that is, and of which version.
    pub fn github_enterprise(event: &str, delivery: &str, version: &str, body: impl Into<Bytes>) -> Self {
        Self::github(event, delivery, body)
            .header("x-github-enterprise-version", version)
            .header("x-github-enterprise-host", ENTERPRISE)
    }

    /// The same with a header more, or replaced.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the headers that begin with `from` called by `to`.
    #[must_use]
    pub fn renamed(mut self, from: &str, to: &str) -> Self {
        for (name, _) in &mut self.headers {
            if let Some(rest) = name.strip_prefix(from) {
                *name = format!("{to}{rest}");
            }
        }
        self
    }

    /// With the HMAC of the body in hexadecimal digits in this header, after a prefix.
    #[must_use]
    pub fn signed(self, header: &str, prefix: &str, secret: &str) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), &self.body);
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.header(header, &format!("{prefix}{hex}"))
    }

    /// With GitHub's signature.
    #[must_use]
    pub fn signed_by_github(self, secret: &str) -> Self {
        self.signed("x-hub-signature-256", "sha256=", secret)
    }

    /// With the HMAC (SHA-512) of the body in Base64 in this header, after a prefix.
    #[must_use]
    pub fn signed_base64(self, header: &str, prefix: &str, secret: &str) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, secret.as_bytes()), &self.body);
        self.header(header, &format!("{prefix}{}", STANDARD.encode(tag)))
    }

    /// Signed as Standard Webhooks says it, with a secret that begins with `whsec_`.
    ///
    /// # Errors
    /// When the secret is none of Standard Webhooks.
    pub fn signed_standard(self, id: &str, seconds: u64, secret: &str) -> anyhow::Result<Self> {
        let key = STANDARD.decode(secret.trim_start_matches("whsec_"))?;
        let head = format!("{id}.{seconds}.");
        let content = [head.as_bytes(), &self.body].concat();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &content);
        let signature = format!("v1,{}", STANDARD.encode(tag));
        let call = self
            .header("webhook-id", id)
            .header("webhook-timestamp", &seconds.to_string());
        Ok(call.header("webhook-signature", &signature))
    }

    /// The request.
    pub fn message(&self) -> Message {
        Message {
            headers: self.headers.clone(),
            body: self.body.clone(),
        }
    }
}

/// Makes a call to a source of `shop`, on a connection of its own.
///
/// # Errors
/// When there is no answer.
pub async fn post(mesh: &Mesh, source: &str, call: &Call) -> anyhow::Result<Answered> {
    let path = format!("/sources/shop/{source}");
    Client::new(mesh.listen()).post(&path, &call.message()).await
}

/// Checks that a call was refused with this status and code.
///
/// # Errors
/// When the answer is no problem+json.
pub fn assert_refused(answer: &Answered, status: u16, code: &str) -> anyhow::Result<()> {
    assert_eq!((answer.status, answer.code()?.as_str()), (status, code));
    Ok(())
}
