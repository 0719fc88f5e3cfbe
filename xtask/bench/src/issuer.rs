//! An issuer of JSON Web Tokens: one key, one token, and a server that shows the key.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The subject of its token.
pub(crate) const SUBJECT: &str = "till";
/// The audience of its token.
const AUDIENCE: &str = "bench";
/// How long that is good, which is longer than any run.
const LIFE: Duration = Duration::from_secs(24 * 3_600);

/// An issuer, as long as the process lives.
pub(crate) struct Issuer {
    address: SocketAddr,
    pub(crate) token: String,
}

// === impl Issuer ===

impl Issuer {
    /// Makes the key, and serves it from now on.
    pub(crate) fn up() -> anyhow::Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        // One byte says that the point is not compressed; its coordinates have 32 each.
        let point = key.public_key().as_ref()[1..].to_vec();
        let (x, y) = point.split_at(32);
        let encoded = |octets: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(octets);
        let set = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench", "x": encoded(x), "y": encoded(y),
        }]});
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever goes away does not get it.
                let _ = show(stream, &set.to_string());
            }
        });
        let text = |part: Value| encoded(part.to_string().as_bytes());
        let header = text(json!({"alg": "ES256", "kid": "bench", "typ": "JWT"}));
        let claims = text(json!({
            "iss": format!("http://{address}"), "sub": SUBJECT, "aud": AUDIENCE, "exp": end(),
        }));
        let message = format!("{header}.{claims}");
        let signature = key.sign(&SystemRandom::new(), message.as_bytes())?;
        let token = format!("{message}.{}", encoded(signature.as_ref()));
        Ok(Self { address, token })
    }

    /// Its entry in an access file.
    pub(crate) fn entry(&self) -> Value {
        let issuer = format!("http://{}", self.address);
        json!({
            "issuer": issuer, "jwksUri": format!("{issuer}/keys"), "audiences": [AUDIENCE],
            "subjects": [{"sub": SUBJECT, "brokers": ["bench/default"]}],
        })
    }
}

/// Answers one request, whatever it asks for.
fn show(mut stream: TcpStream, set: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1_024];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    let length = set.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{set}"
    )
}

#[expect(clippy::disallowed_methods, reason = "tokens are for the machine's time")]
fn end() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    (now.unwrap_or_default() + LIFE).as_secs()
}
