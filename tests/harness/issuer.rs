//! An issuer of tokens for a test: a server with its two documents, whose keys and tokens another language's
//! library makes.

pub mod attacks;
#[cfg(feature = "servers")]
pub mod provider;

use std::fs;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::peers::Peer;
use crate::sink::Answer;
use crate::{Sink, access};

/// Where the issuer's keys are.
pub const KEYS: &str = "/keys";
/// Where it says so.
pub const DISCOVERY: &str = "/.well-known/openid-configuration";
/// The audience of the Broker `shop/default`.
pub const AUDIENCE: &str = "eventing.knative.dev/broker/shop/default";

/// An issuer that answers as it was told.
#[derive(Debug)]
pub struct Issuer {
    /// The server.
    pub server: Sink,
}

/// What the library is to make.
#[derive(Clone, Debug, Default)]
pub struct Order {
    keys: Vec<Value>,
    tokens: Vec<Value>,
}

/// What it made.
#[derive(Clone, Debug)]
pub struct Made {
    keys: Value,
    /// The tokens, in the order in which they were ordered.
    pub tokens: Vec<String>,
}

// === impl Issuer ===

impl Issuer {
    /// Starts one without keys.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> anyhow::Result<Self> {
        let issuer = Self {
            server: Sink::start().await?,
        };
        issuer.discovers(&issuer.name(), &issuer.server.url(KEYS));
        issuer.server.answer(KEYS, [Answer::status(503)]);
        Ok(issuer)
    }

    /// Its name, as its tokens have it.
    pub fn name(&self) -> String {
        self.server.url("")
    }

    /// Says that issuer's keys are there.
    pub fn discovers(&self, issuer: &str, keys: &str) {
        let document = json!({"issuer": issuer, "jwks_uri": keys, "scopes_supported": ["openid"]});
        self.server
            .answer(DISCOVERY, [Answer::status(200).body(document.to_string())]);
    }

    /// Publishes these keys from now on.
    pub fn publishes(&self, keys: &[Value]) {
        let set = json!({ "keys": keys }).to_string();
        self.server.answer(KEYS, [Answer::status(200).body(set)]);
    }

    /// Its entry in an access file, with more members, each on a line.
    pub fn entry(&self, more: &[&str]) -> String {
        let more: String = more.iter().map(|line| format!("      {line}\n")).collect();
        format!("  issuers:\n    - issuer: {}\n{more}", self.name())
    }

    /// The claims of a good token, with others laid over them; what is null there is taken out.
    pub fn claims(&self, others: &Value) -> String {
        let now = now();
        let mut claims = json!({
            "iss": self.name(), "sub": "till", "aud": AUDIENCE, "iat": now, "exp": now + 600,
        });
        for (name, value) in others.as_object().into_iter().flatten() {
            match value {
                Value::Null => drop(claims.as_object_mut().map(|all| all.remove(name))),
                value => claims[name] = value.clone(),
            }
        }
        claims.to_string()
    }
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "tokens are for the machine's time")]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

// === impl Order ===

impl Order {
    /// Orders a key for an algorithm, with options of the library, and members laid over it in the set.
    #[must_use]
    pub fn key(mut self, name: &str, alg: &str, options: &Value, jwk: &Value) -> Self {
        self.keys
            .push(json!({"name": name, "alg": alg, "options": options, "jwk": jwk}));
        self
    }

    /// Orders a token with that header and these claims, both JSON as it is to stand there.
    pub fn token(&mut self, (key, alg): (&str, &str), header: &str, claims: &str) {
        self.tokens
            .push(json!({"key": key, "alg": alg, "header": header, "claims": claims}));
    }

    /// Orders a good token of that key.
    pub fn good(&mut self, (key, alg): (&str, &str), claims: &str) {
        let header = json!({"alg": alg, "kid": key}).to_string();
        self.token((key, alg), &header, claims);
    }

    /// Has them made.
    ///
    /// # Errors
    /// When the library cannot.
    pub async fn make(&self, library: &Peer) -> anyhow::Result<Made> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("order.json");
        fs::write(
            &file,
            json!({"keys": self.keys, "tokens": self.tokens}).to_string(),
        )?;
        let args = [file.to_string_lossy().into_owned()];
        let said: Value = serde_json::from_str(&library.run("jose-node/make.js", &args).await?)?;
        let tokens = said["tokens"].as_array().context("no tokens")?;
        let tokens = tokens.iter().map(|token| token.as_str().map(str::to_owned));
        Ok(Made {
            keys: said["keys"].clone(),
            tokens: tokens.collect::<Option<_>>().context("a token is no text")?,
        })
    }
}

// === impl Made ===

impl Made {
    /// The public keys of these names.
    pub fn keys(&self, names: &[&str]) -> Vec<Value> {
        names.iter().map(|name| self.keys[*name].clone()).collect()
    }
}

/// Posts an event with this token to the Broker `shop/default`: status and code.
///
/// # Errors
/// When there is no answer.
pub async fn post(mesh: &crate::Mesh, id: &str, token: &str) -> anyhow::Result<(u16, String)> {
    let message = access::with(id, &format!("Bearer {token}"));
    let answer = crate::Client::new(mesh.listen())
        .post("/shop/default", &message)
        .await?;
    Ok((answer.status, access::code(&answer)))
}

/// Waits until that is the answer to an event with this token.
///
/// # Errors
/// When it does not become so.
pub async fn until(mesh: &crate::Mesh, id: &str, token: &str, expected: (u16, &str)) -> anyhow::Result<()> {
    crate::wait_until(&format!("{expected:?}"), || async {
        let (status, code) = post(mesh, id, token).await?;
        anyhow::ensure!((status, &*code) == expected, "{status} {code}");
        Ok(Some(()))
    })
    .await
}
