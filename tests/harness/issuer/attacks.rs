//! Attacks on tokens: each is a token that an honest library makes, or would not make, and how it is refused.
//! Here are those on header, key and signature; on what is signed they are in `contents`.

mod contents;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Issuer, Order};

/// A good key of each kind, with its algorithm.
pub const RS: (&str, &str) = ("rsa", "RS256");
/// The same.
pub const ES: (&str, &str) = ("ec", "ES256");
/// The same.
pub const ED: (&str, &str) = ("ed", "EdDSA");

/// What is done to a token after it was made.
pub type Change = fn(&str) -> String;

/// A token that is refused, and how.
#[derive(Debug)]
pub struct Attack {
    /// What is wrong with it.
    pub name: String,
    /// What is done to it.
    pub change: Change,
    /// The answer.
    pub status: u16,
    /// Its code.
    pub code: &'static str,
}

/// Attacks, with the tokens that the library makes for them.
#[derive(Debug)]
pub struct Table<'a> {
    pub(super) issuer: &'a Issuer,
    /// What the library is to make.
    pub order: Order,
    /// The attacks, in the order of their tokens.
    pub attacks: Vec<Attack>,
}

fn same(token: &str) -> String {
    token.to_owned()
}

/// The three parts of a token.
pub fn parts(token: &str) -> [&str; 3] {
    let mut parts = token.split('.');
    [(); 3].map(|()| parts.next().unwrap_or_default())
}

fn encoded(octets: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(octets)
}

fn decoded(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
}

// === impl Table ===

impl<'a> Table<'a> {
    /// All attacks on tokens of this issuer, behind what is ordered already.
    pub fn all(issuer: &'a Issuer, order: Order) -> Self {
        let mut table = Self {
            issuer,
            order,
            attacks: Vec::new(),
        };
        algorithms(&mut table);
        headers(&mut table);
        names_of_keys(&mut table);
        signatures(&mut table);
        contents::shapes(&mut table);
        contents::claims(&mut table);
        table
    }

    pub(super) fn add(
        &mut self,
        name: &str,
        key: (&str, &str),
        header: &str,
        claims: &str,
        code: &'static str,
    ) {
        self.changed(name, key, (header, claims), same, code);
    }

    pub(super) fn changed(
        &mut self,
        name: &str,
        key: (&str, &str),
        text: (&str, &str),
        change: Change,
        code: &'static str,
    ) {
        self.order.token(key, text.0, text.1);
        self.attacks.push(Attack {
            name: name.to_owned(),
            change,
            status: if code == "broker-not-allowed" { 403 } else { 401 },
            code,
        });
    }

    pub(super) fn header(&mut self, header: &Value, code: &'static str) {
        let claims = self.issuer.claims(&json!({}));
        self.add(
            &format!("header {header}"),
            RS,
            &header.to_string(),
            &claims,
            code,
        );
    }

    pub(super) fn claims(&mut self, others: &Value, code: &'static str) {
        let claims = self.issuer.claims(others);
        self.add(&format!("claims {others}"), RS, &header(RS), &claims, code);
    }

    pub(super) fn text(&mut self, claims: &str, code: &'static str) {
        self.add(&format!("claims {claims:.60}"), RS, &header(RS), claims, code);
    }

    pub(super) fn change(&mut self, name: &str, key: (&str, &str), change: Change, code: &'static str) {
        let claims = self.issuer.claims(&json!({}));
        self.changed(name, key, (&header(key), &claims), change, code);
    }
}

fn header((key, alg): (&str, &str)) -> String {
    json!({"alg": alg, "kid": key}).to_string()
}

/// The keys of the issuer: three that are good, and others that no token may be signed with.
pub fn keys() -> Order {
    let (none, plain) = (json!({}), json!({}));
    let rsa = |name, jwk: Value| (name, "RS256", json!({}), jwk);
    let all = [
        rsa("rsa", plain.clone()),
        rsa("second", json!({"alg": null, "use": null})),
        ("ec", "ES256", none.clone(), plain.clone()),
        ("ed", "EdDSA", none.clone(), plain.clone()),
        ("p384", "ES384", none.clone(), plain.clone()),
        ("weak", "RS256", json!({"modulusLength": 1024}), plain),
        rsa("enc", json!({"use": "enc"})),
        rsa("ops", json!({"use": null, "key_ops": ["sign"]})),
        rsa("bound", json!({"alg": "RS512"})),
        rsa("private", json!({"d": "AQAB"})),
        rsa("typed", json!({"kty": "EC"})),
        rsa("numbered", json!({"kid": 7})),
        ("curve", "ES256", none.clone(), json!({"crv": "P-384"})),
        ("outside", "ES256", none.clone(), json!({"x": encoded(&[1; 32])})),
        ("short", "ES256", none, json!({"y": encoded(&[1; 31])})),
        rsa(
            "symmetric",
            json!({"kty": "oct", "alg": "HS256", "k": encoded(b"secret"), "n": null, "e": null}),
        ),
        rsa("stranger", json!({})),
    ];
    all.iter()
        .fold(Order::default(), |order, (name, alg, options, jwk)| {
            order.key(name, alg, options, jwk)
        })
}

/// The names of those that it publishes.
pub const PUBLISHED: [&str; 16] = [
    "rsa",
    "second",
    "ec",
    "ed",
    "p384",
    "weak",
    "enc",
    "ops",
    "bound",
    "private",
    "typed",
    "numbered",
    "curve",
    "outside",
    "short",
    "symmetric",
];

fn algorithms(table: &mut Table<'_>) {
    const NOT: &str = "algorithm-not-allowed";
    for alg in [
        "none", "None", "nOnE", "NONE", "HS256", "HS384", "HS512", "rs256", "RSA-OAEP", "ES256K", "",
    ] {
        table.header(&json!({"alg": alg, "kid": "rsa"}), NOT);
    }
    table.header(&json!({"kid": "rsa"}), "bad-token");
    for alg in [json!(256), json!(null), json!(["RS256"])] {
        table.header(&json!({"alg": alg, "kid": "rsa"}), "bad-token");
    }
    let claims = table.issuer.claims(&json!({}));
    for key in [
        ("rsa", "RS384"),
        ("rsa", "RS512"),
        ("rsa", "PS256"),
        ("p384", "ES384"),
    ] {
        table.add("not listed", key, &header(key), &claims, NOT);
    }
    // The algorithm of the header is not that of the key.
    table.header(&json!({"alg": "ES256", "kid": "rsa"}), "unknown-key");
    table.header(&json!({"alg": "EdDSA", "kid": "ec"}), "unknown-key");
    table.change(
        "a good token whose header says none",
        RS,
        |token| {
            let [_, claims, signature] = parts(token);
            format!("{}.{claims}.{signature}", encoded(br#"{"alg":"none"}"#))
        },
        NOT,
    );
}

fn headers(table: &mut Table<'_>) {
    const BAD: &str = "bad-token";
    let with = |name: &str, value: Value| {
        let mut header = json!({"alg": "RS256", "kid": "rsa"});
        header[name] = value;
        header
    };
    let evil = "https://evil.example/keys";
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(["urn:example:unknown"])),
        ("b64", json!(false)),
        ("jku", json!(evil)),
        ("x5u", json!(evil)),
        ("x5c", json!(["MIIB"])),
        ("jwk", json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("cty", json!("JWT")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("logout+jwt")),
        ("typ", json!(1)),
        ("kid", json!(7)),
        ("kid", json!(["rsa"])),
        ("kid", json!("k".repeat(257))),
    ] {
        table.header(&with(name, value), BAD);
    }
    let claims = table.issuer.claims(&json!({}));
    for header in [
        r#"{"alg":"none","alg":"RS256","kid":"rsa"}"#,
        r#"{"alg":"RS256","kid":"stranger","kid":"rsa"}"#,
        r#"{"alg":"RS256","\u006bid":"stranger","kid":"rsa"}"#,
    ] {
        table.add("a member twice", RS, header, &claims, BAD);
    }
    let deep = format!(
        r#"{{"alg":"RS256","kid":"rsa","x":{}{}}}"#,
        "[".repeat(9),
        "]".repeat(9)
    );
    table.add("deep", RS, &deep, &claims, BAD);
}

fn names_of_keys(table: &mut Table<'_>) {
    const NO: &str = "unknown-key";
    for kid in [
        "../../../../etc/passwd",
        "/dev/null",
        "' OR '1'='1",
        "rsa'; DROP TABLE keys;--",
        "rsa\u{0}",
        "RSA",
        "",
        "https://evil.example/keys",
        "$(id)",
        "7",
    ] {
        table.header(&json!({"alg": "RS256", "kid": kid}), NO);
    }
    // Two keys could be meant.
    table.header(&json!({"alg": "RS256"}), NO);
    let claims = table.issuer.claims(&json!({}));
    for key in [
        "weak",
        "enc",
        "ops",
        "bound",
        "private",
        "typed",
        "numbered",
        "symmetric",
    ] {
        table.add(key, (key, "RS256"), &header((key, "RS256")), &claims, NO);
    }
    for key in ["curve", "outside", "short"] {
        table.add(key, (key, "ES256"), &header((key, "ES256")), &claims, NO);
    }
    let own = r#"{"alg":"RS256","kid":"rsa"}"#;
    table.add(
        "a stranger's signature",
        ("stranger", "RS256"),
        own,
        &claims,
        "bad-signature",
    );
    table.add(
        "the other key's signature",
        ("second", "RS256"),
        own,
        &claims,
        "bad-signature",
    );
    table.add(
        "a stranger's key",
        ("stranger", "RS256"),
        &header(("stranger", "RS256")),
        &claims,
        NO,
    );
}

fn signatures(table: &mut Table<'_>) {
    const WRONG: &str = "bad-signature";
    table.change("no signature", RS, |token| signed(token, |_| Vec::new()), WRONG);
    let other_claims: Change = |token| {
        let [header, claims, signature] = parts(token);
        let text = String::from_utf8_lossy(&decoded(claims)).replace("till", "root");
        format!("{header}.{}.{signature}", encoded(text.as_bytes()))
    };
    for key in [RS, ES, ED] {
        table.change("other claims", key, other_claims, WRONG);
        table.change(
            "zeros",
            key,
            |token| signed(token, |octets| vec![0; octets.len()]),
            WRONG,
        );
        table.change(
            "shorter",
            key,
            |token| signed(token, |octets| octets[1..].to_vec()),
            WRONG,
        );
        table.change(
            "longer",
            key,
            |token| signed(token, |octets| [octets, &[0]].concat()),
            WRONG,
        );
        table.change(
            "turned",
            key,
            |token| signed(token, |octets| octets.iter().rev().copied().collect()),
            WRONG,
        );
    }
    let asn1: Change = |token| {
        signed(token, |octets| {
            let (r, s) = octets.split_at(octets.len() / 2);
            [&[0x30, 0x44, 2, 0x20][..], r, &[2, 0x20], s].concat()
        })
    };
    table.change("in the form of X.509", ES, asn1, WRONG);
}

/// The token with a signature made of its own.
fn signed(token: &str, change: fn(&[u8]) -> Vec<u8>) -> String {
    let [header, claims, signature] = parts(token);
    format!("{header}.{claims}.{}", encoded(&change(&decoded(signature))))
}
