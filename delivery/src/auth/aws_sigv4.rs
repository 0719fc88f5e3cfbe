//! AWS Signature Version 4, by which AWS knows who calls: a Lambda function URL with IAM, or an API Gateway.
//!
//! # Contract
//! Signed are the host, path and query, the time, every attribute of the event (`ce-` headers and the content
//! type) and the SHA-256 of the body. Headers that a proxy may change are not. Each attempt is signed at its
//! own time, since AWS takes a signature for a few minutes.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Uri};
use millrace_event::Timestamp;
use millrace_model::Octets;
use millrace_model::auth::AwsSigV4;

/// What the name of an event's attribute begins with.
const ATTRIBUTE: &str = "ce-";
/// As `Debug` names where the keys come from.
const PROVIDER: &str = "millrace";

/// Keys that sign, for one service of one region.
pub(super) struct Signer {
    identity: Identity,
    region: String,
    service: String,
}

// === impl Signer ===

impl Signer {
    /// # Errors
    /// A sentence that says what is none of its kind, and repeats nothing.
    pub(super) fn new(spec: &AwsSigV4<Octets>) -> Result<Self, String> {
        let text = |octets: &[u8], what: &str| {
            let text = std::str::from_utf8(octets).ok();
            let text = text.filter(|text| text.bytes().all(|octet| octet.is_ascii_graphic()));
            let refused =
                || format!("the {what} of AWS holds what none may: a blank, a line break or the like");
            text.map(str::to_owned).ok_or_else(refused)
        };
        let token = spec.session_token.as_deref();
        let credentials = Credentials::new(
            text(&spec.access_key_id, "access key id")?,
            text(&spec.secret_access_key, "secret access key")?,
            token.map(|token| text(token, "session token")).transpose()?,
            None,
            PROVIDER,
        );
        Ok(Self {
            identity: credentials.into(),
            region: spec.region.clone(),
            service: spec.service.clone(),
        })
    }

    /// Signs a request that has all its other headers.
    ///
    /// # Errors
    /// When a header cannot be signed. None of ours is of that kind.
    pub(super) fn sign(
        &self,
        headers: &mut HeaderMap,
        uri: &Uri,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), String> {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        self.sign_so(headers, uri, body, now, settings)
    }

    fn sign_so(
        &self,
        headers: &mut HeaderMap,
        uri: &Uri,
        body: &[u8],
        now: Timestamp,
        settings: SigningSettings,
    ) -> Result<(), String> {
        const WRONG: &str = "the request cannot be signed for AWS";
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(&self.service)
            .time(UNIX_EPOCH + Duration::from_millis(now.0.unsigned_abs()))
            .settings(settings)
            .build()
            .map_err(|_| WRONG)?;
        let signed = headers.iter().filter(|(name, _)| {
            *name == HOST || *name == CONTENT_TYPE || name.as_str().starts_with(ATTRIBUTE)
        });
        let signed: Option<Vec<(&str, &str)>> = signed
            .map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let signed = signed.ok_or(WRONG)?;
        let request = SignableRequest::new(
            "POST",
            uri.to_string(),
            signed.into_iter(),
            SignableBody::Bytes(body),
        );
        let request = request.map_err(|_| WRONG)?;
        let output = sign(request, &params.into()).map_err(|_| WRONG)?;
        let (added, _) = output.into_parts().0.into_parts();
        for header in added {
            let mut value = HeaderValue::from_str(header.value()).map_err(|_| WRONG)?;
            value.set_sensitive(header.sensitive());
            headers.insert(header.name(), value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn signer(region: &str, service: &str, token: Option<&str>) -> Signer {
        let octets = |text: &str| text.as_bytes().into();
        // The keys of AWS's own examples.
        Signer::new(&AwsSigV4 {
            region: region.to_owned(),
            service: service.to_owned(),
            access_key_id: octets("AKIDEXAMPLE"),
            secret_access_key: octets("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(octets),
        })
        .expect("keys")
    }

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            let value = HeaderValue::from_str(value).expect("a value");
            (http::HeaderName::from_static(name), value)
        };
        of.iter().map(pair).collect()
    }

    /// 2015-08-30T12:36:00Z, the time of AWS's test suite.
    const THEN: Timestamp = Timestamp(1_440_938_160_000);

    #[test]
    fn the_vectors_that_aws_has_published_hold() {
        let form = "Param1=value1";
        for (content_type, query, body, signed, signature) in [
            (
                None,
                "/",
                "",
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                None,
                "/?Param1=value1",
                "",
                "host;x-amz-date",
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
            (
                Some("application/x-www-form-urlencoded"),
                "/",
                form,
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let mut headers = headers(&[("host", "example.amazonaws.com")]);
            if let Some(content_type) = content_type {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            }
            let uri = format!("https://example.amazonaws.com{query}")
                .parse()
                .expect("a URL");
            // Their requests have no header with the body's digest.
            let settings = SigningSettings::default();
            let signer = signer("us-east-1", "service", None);
            signer
                .sign_so(&mut headers, &uri, body.as_bytes(), THEN, settings)
                .expect("signed");
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={signed}, Signature={signature}"
            );
            assert_eq!(headers["authorization"], expected.as_str(), "{query} {body}");
            assert_eq!(headers["x-amz-date"], "20150830T123600Z");
        }
    }

    #[test]
    fn botocore_signs_the_same_at_the_same_time() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("aws_sigv4/botocore.json")).expect("JSON");
        assert!(cases.len() >= 6, "{}", cases.len());
        for case in cases {
            let text = |field: &str| case[field].as_str().unwrap_or_default().to_owned();
            let mut headers = HeaderMap::new();
            for (name, value) in case["headers"].as_object().expect("headers") {
                let value = HeaderValue::from_str(value.as_str().expect("a text")).expect("a value");
                headers.insert(http::HeaderName::try_from(name).expect("a name"), value);
            }
            let token = case["token"].as_str();
            let millis = case["millis"].as_i64().expect("a time");
            let (uri, body) = (text("url").parse().expect("a URL"), text("body"));
            let signer = signer(&text("region"), &text("service"), token);
            signer
                .sign(&mut headers, &uri, body.as_bytes(), Timestamp(millis))
                .expect("signed");
            assert_eq!(headers["authorization"], text("authorization").as_str(), "{case}");
            assert_eq!(headers.get("x-amz-security-token").is_some(), token.is_some());
        }
    }

    #[test]
    fn every_attribute_is_signed_and_what_a_proxy_may_change_is_not() {
        let mut headers = headers(&[
            ("host", "x.lambda-url.eu-central-1.on.aws"),
            ("ce-id", "1"),
            ("ce-mine", "a%20b"),
            ("content-type", "application/json"),
            ("content-length", "2"),
            ("user-agent", "millrace/1"),
            ("kn-namespace", "shop"),
        ]);
        let uri = Uri::from_static("https://x.lambda-url.eu-central-1.on.aws/");
        let signer = signer("eu-central-1", "lambda", Some("of-the-session"));
        signer.sign(&mut headers, &uri, b"{}", THEN).expect("signed");
        let authorization = headers["authorization"].to_str().expect("text");
        let signed = authorization.split("SignedHeaders=").nth(1).expect("there");
        let signed = signed.split(',').next().expect("there");
        let expected = "ce-id;ce-mine;content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
        assert_eq!(signed, expected);
        assert!(!format!("{headers:?}").contains("of-the-session"));
    }

    #[test]
    fn keys_with_blanks_are_refused_without_repeating_them() {
        let octets = |text: &str| text.as_bytes().into();
        let wrong = Signer::new(&AwsSigV4 {
            region: "eu-central-1".to_owned(),
            service: "lambda".to_owned(),
            access_key_id: octets("AKID"),
            secret_access_key: octets("q7 q8"),
            session_token: None,
        });
        let why = wrong.err().expect("refused");
        assert!(
            why.starts_with("the secret access key of AWS") && !why.contains("q7"),
            "{why}"
        );
    }
}
