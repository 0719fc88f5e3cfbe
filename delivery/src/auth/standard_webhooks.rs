//! Signatures as Standard Webhooks defines them: over an id, a time and the body.
//!
//! # Contract
//! The id is the same for every attempt of one delivery, so that a receiver can recognise a repetition. It is
//! made of the event's source and id, the Trigger or source that sends it, and the stage: two Triggers that
//! deliver one event have two ids, and so has its dead letter. An event that is sent again by hand has the id
//! it had.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use millrace_event::{Event, Timestamp};

use super::Sender;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What a shared secret begins with.
const SHARED: &[u8] = b"whsec_";
/// What a private key begins with.
const PRIVATE: &[u8] = b"whsk_";
/// The octets of an ed25519 seed, after which its public key may stand.
const SEED: usize = 32;
/// The octets that a shared secret has by the specification.
const SHARED_OCTETS: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that signs.
pub(super) enum SigningKey {
    /// HMAC-SHA256 (`v1`).
    Shared(Box<hmac::Key>),
    /// ed25519 (`v1a`).
    Private(Box<Ed25519KeyPair>),
}

/// What is wrong with a secret that is to sign, as a sentence that does not repeat it.
pub fn flaw(secret: &[u8]) -> Option<&'static str> {
    SigningKey::new(secret).err()
}

// === impl SigningKey ===

impl SigningKey {
    /// # Errors
    /// A sentence that says what is wrong with the secret.
    pub(super) fn new(secret: &[u8]) -> Result<Self, &'static str> {
        if let Some(text) = secret.strip_prefix(PRIVATE) {
            let octets = STANDARD.decode(text).unwrap_or_default();
            let pair = match octets.len() {
                SEED => Ed25519KeyPair::from_seed_unchecked(&octets),
                64 => Ed25519KeyPair::from_seed_and_public_key(&octets[..SEED], &octets[SEED..]),
                _ => {
                    return Err(
                        "after `whsk_` the Base64 of an ed25519 key is expected: 32 octets, or 64 with its public key",
                    );
                }
            };
            let pair =
                pair.map_err(|_| "after `whsk_` stands a public key that does not fit the private one")?;
            return Ok(Self::Private(Box::new(pair)));
        }
        let text = secret
            .strip_prefix(SHARED)
            .ok_or("a secret of Standard Webhooks begins with `whsec_`, or `whsk_` for ed25519")?;
        match STANDARD.decode(text) {
            Ok(key) if SHARED_OCTETS.contains(&key.len()) => {
                Ok(Self::Shared(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &key))))
            }
            _ => Err("after `whsec_` the Base64 of 24 to 64 octets is expected"),
        }
    }

    /// One signature, with its version before it.
    fn sign(&self, content: &[u8]) -> String {
        match self {
            Self::Shared(key) => format!("v1,{}", STANDARD.encode(hmac::sign(key, content))),
            Self::Private(pair) => format!("v1a,{}", STANDARD.encode(pair.sign(content))),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shared(_) => f.write_str("Shared(***)"),
            Self::Private(pair) => f.debug_tuple("Private").field(&pair.public_key()).finish(),
        }
    }
}

/// Puts id, time and signatures on a request.
pub(super) fn sign(
    headers: &mut HeaderMap,
    body: &Bytes,
    keys: &[SigningKey],
    event: &Event,
    sender: &Sender<'_>,
    now: Timestamp,
) {
    let id = id(event, sender);
    let time = now.0.div_euclid(1_000).to_string();
    let content = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    let signatures: Vec<String> = keys.iter().map(|key| key.sign(&content)).collect();
    for (name, value) in [(ID, id), (TIMESTAMP, time), (SIGNATURE, signatures.join(" "))] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// The id of a delivery.
fn id(event: &Event, sender: &Sender<'_>) -> String {
    let mut digest = digest::Context::new(&digest::SHA256);
    let name = (sender.name.namespace(), sender.name.name());
    for part in [event.source(), event.id(), name.0, name.1, sender.stage] {
        // With its length before it, so that no two lists of parts look alike.
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let octets = digest.finish();
    let hex: Vec<String> = octets.as_ref()[..16]
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    format!("msg_{}", hex.concat())
}
