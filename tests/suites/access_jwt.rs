//! Promise: the token of an issuer lets in whom the access file names, where the token is for, and nobody
//! else, however the token is made. What was refused once is refused again, and what was good stays good.
//!
//! Keys and tokens are made by a library of another language.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::Method;
use millrace_tests::access::{Access, ask, code, with};
use millrace_tests::issuer::{AUDIENCE, Issuer, Order, now, post, until};
use millrace_tests::peers;
use millrace_tests::raw::Socket;
use millrace_tests::{Client, Sink};
use serde_json::{Value, json};

const RS: (&str, &str) = ("rsa", "RS256");
const ES: (&str, &str) = ("ec", "ES256");
const ED: (&str, &str) = ("ed", "EdDSA");

/// What is done to a token after it was made.
type Change = fn(&str) -> String;

/// A token that is refused, and how.
struct Attack {
    name: String,
    change: Change,
    status: u16,
    code: &'static str,
}

/// Attacks, with the tokens that the library makes for them.
struct Table<'a> {
    issuer: &'a Issuer,
    order: Order,
    attacks: Vec<Attack>,
}

fn same(token: &str) -> String {
    token.to_owned()
}

fn parts(token: &str) -> [&str; 3] {
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

impl Table<'_> {
    fn add(&mut self, name: &str, key: (&str, &str), header: &str, claims: &str, code: &'static str) {
        self.changed(name, key, (header, claims), same, code);
    }

    fn changed(
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

    fn header(&mut self, header: &Value, code: &'static str) {
        let claims = self.issuer.claims(&json!({}));
        self.add(
            &format!("header {header}"),
            RS,
            &header.to_string(),
            &claims,
            code,
        );
    }

    fn claims(&mut self, others: &Value, code: &'static str) {
        let claims = self.issuer.claims(others);
        self.add(&format!("claims {others}"), RS, &header(RS), &claims, code);
    }

    fn text(&mut self, claims: &str, code: &'static str) {
        self.add(&format!("claims {claims:.60}"), RS, &header(RS), claims, code);
    }

    fn change(&mut self, name: &str, key: (&str, &str), change: Change, code: &'static str) {
        let claims = self.issuer.claims(&json!({}));
        self.changed(name, key, (&header(key), &claims), change, code);
    }
}

fn header((key, alg): (&str, &str)) -> String {
    json!({"alg": alg, "kid": key}).to_string()
}

/// The keys of the issuer: three that are good, and others that no token may be signed with.
fn keys() -> Order {
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

const PUBLISHED: [&str; 16] = [
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

fn shapes(table: &mut Table<'_>) {
    const BAD: &str = "bad-token";
    let changes: [(&str, Change, &str); 11] = [
        (
            "two parts",
            |token| token[..token.rfind('.').unwrap_or(0)].to_owned(),
            BAD,
        ),
        ("four parts", |token| format!("{token}.{}", parts(token)[2]), BAD),
        ("five parts", |token| format!("{token}.x.x"), BAD),
        ("dots", |_| "...".to_owned(), BAD),
        ("two dots", |_| "..".to_owned(), BAD),
        ("padded", |token| format!("{token}=="), BAD),
        (
            "a part of other letters",
            |token| token.replacen('.', ".+/", 1),
            BAD,
        ),
        ("a blank in it", |token| token.replacen('.', " .", 1), BAD),
        (
            "no header",
            |token| format!(".{}.{}", parts(token)[1], parts(token)[2]),
            BAD,
        ),
        (
            "huge",
            |token| format!("{token}{}", "A".repeat(9_000)),
            "bad-credentials",
        ),
        (
            "huge header",
            |token| format!("{}{token}", "A".repeat(7_000)),
            "bad-token",
        ),
    ];
    for (name, change, code) in changes {
        table.change(name, RS, change, code);
    }
    for claims in ["", "[]", "null", "7", "\"x\"", "{", "{}x"] {
        table.text(claims, BAD);
    }
    let base = table.issuer.claims(&json!({}));
    let inner = base.trim_end_matches('}').to_owned();
    table.text(
        &format!("{inner},\"x\":{}{}}}", "[".repeat(9), "]".repeat(9)),
        BAD,
    );
    table.text(
        &format!("{inner},\"x\":{}{}}}", "[".repeat(1_500), "]".repeat(1_500)),
        BAD,
    );
    let many: Vec<_> = (0..300).map(|nth| format!("\"m{nth}\":1")).collect();
    table.text(&format!("{inner},{}}}", many.join(",")), BAD);
    table.text(&format!("{inner},\"aud\":\"x\"}}"), BAD);
    table.text(&format!("{inner},\"\\u0073ub\":\"root\"}}"), BAD);
    table.text(&format!("{inner},\"other\":1,\"other\":1}}"), BAD);
}

fn claimed(table: &mut Table<'_>) {
    const BAD: &str = "bad-token";
    let name = table.issuer.name();
    for issuer in [
        format!("{name}/"),
        name.to_uppercase(),
        "https://evil.example".to_owned(),
    ] {
        table.claims(&json!({"iss": issuer}), "unknown-issuer");
    }
    for issuer in [json!(null), json!([name]), json!("")] {
        table.claims(&json!({"iss": issuer}), BAD);
    }
    for audience in [
        json!("eventing.knative.dev/broker/shop/other"),
        json!("eventing.knative.dev/broker/shop"),
        json!("eventing.knative.dev/broker/shop/default/x"),
        json!("eventing.knative.dev/broker/*"),
        json!("EVENTING.knative.dev/broker/shop/default"),
        json!("shop/default"),
        json!(["a", "b"]),
    ] {
        table.claims(&json!({"aud": audience}), "wrong-audience");
    }
    let many: Vec<_> = std::iter::repeat_n(AUDIENCE, 17).collect();
    for audience in [
        json!(null),
        json!([]),
        json!(7),
        json!([AUDIENCE, 7]),
        json!(""),
        json!({"a": AUDIENCE}),
        json!(many),
    ] {
        table.claims(&json!({"aud": audience}), BAD);
    }
    for end in [now() - 3_600, 0, now() - 61] {
        table.claims(&json!({"exp": end}), "expired-credentials");
    }
    let end = now() + 600;
    let base = table.issuer.claims(&json!({"exp": null}));
    for exp in [
        "\"END\"",
        "END.5",
        "ENDe0",
        "1e300",
        "-1",
        "9223372036854775808",
        "99999999999999999999999",
        "null",
        "true",
        "[END]",
    ] {
        let exp = exp.replace("END", &end.to_string());
        table.text(&format!("{},\"exp\":{exp}}}", base.trim_end_matches('}')), BAD);
    }
    table.claims(&json!({"exp": null}), BAD);
    table.claims(&json!({"nbf": now() + 3_600}), "early-credentials");
    table.claims(&json!({"iat": now() + 3_600}), "early-credentials");
    table.claims(&json!({"nbf": "0"}), BAD);
    table.claims(&json!({"iat": -5}), BAD);
    for subject in [
        json!(null),
        json!(""),
        json!(7),
        json!("till\nroot"),
        json!("x".repeat(2_049)),
    ] {
        table.claims(&json!({"sub": subject}), BAD);
    }
    for subject in ["root", "Till", "till2"] {
        table.claims(&json!({"sub": subject}), "broker-not-allowed");
    }
}

/// The entry of the issuer: it is asked for keys once.
const ENTRY: [&str; 7] = [
    "algorithms: [RS256, ES256, EdDSA]",
    "audiences: [millrace]",
    "refreshPause: 1h",
    "refreshEvery: 2h",
    "subjects:",
    "  - {sub: till, brokers: [shop/default]}",
    "  - {sub: \"system:serviceaccount:ops:*\", admin: read}",
];

#[tokio::test]
async fn whatever_is_wrong_with_a_token_is_refused_again_and_again() -> anyhow::Result<()> {
    let Some(library) = peers::jose_node()? else {
        return Ok(());
    };
    let issuer = Issuer::start().await?;
    let mut order = keys();
    let good = good_claims(&issuer);
    for (key, claims) in &good {
        order.good(*key, claims);
    }
    let mut table = Table {
        issuer: &issuer,
        order,
        attacks: Vec::new(),
    };
    for add in [algorithms, headers, names_of_keys, signatures, shapes, claimed] {
        add(&mut table);
    }
    let made = table.order.make(&library).await?;
    let (good, bad) = made.tokens.split_at(good.len());
    let attacks: Vec<_> = table.attacks.iter().zip(bad).collect();
    ensure!(attacks.len() >= 60, "{} attacks", attacks.len());

    issuer.publishes(&made.keys(&PUBLISHED));
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    let operator = access.token("operator", &["--admin-role", "read"]).await?;
    access.write(&issuer.entry(&ENTRY))?;
    let mesh = access.mesh(&[], &sink).await?;
    until(&mesh, "first", &good[0], (202, "")).await?;

    // Twice, with good ones between: nothing is remembered that should not be.
    for round in 0..2 {
        for (attack, token) in &attacks {
            let answer = post(&mesh, "attack", &(attack.change)(token)).await?;
            assert_eq!(
                (answer.0, &*answer.1),
                (attack.status, attack.code),
                "{}",
                attack.name
            );
        }
        for (nth, token) in good.iter().enumerate() {
            let answer = post(&mesh, &format!("good{round}-{nth}"), token).await?;
            assert_eq!((answer.0, &*answer.1), (202, ""), "good {nth}");
        }
    }
    sink.wait_for("/all", 1 + 2 * good.len()).await?;
    let stored = ask(&mesh, &operator, &Method::GET, "/api/v1/brokers").await?;
    let stored: Value = serde_json::from_slice(&stored.body)?;
    assert_eq!(stored[0]["head"], 1 + 2 * good.len(), "{stored}");
    assert_eq!(
        issuer.server.count("/keys"),
        1,
        "unknown names of keys do not make it ask"
    );

    // A token is no password, nothing of it is said, and refusals are counted.
    let password = BASE64_STANDARD.encode(format!("x:{}", good[0]));
    let basic = with("basic", &format!("Basic {password}"));
    let answer = Client::new(mesh.listen()).post("/shop/default", &basic).await?;
    assert_eq!((answer.status, &*code(&answer)), (401, "unknown-credentials"));
    let metrics = ask(&mesh, &operator, &Method::GET, "/metrics").await?;
    let metrics = String::from_utf8(metrics.body.to_vec())?;
    for line in [
        "millrace_issuer_key_fetches_total{issuer=",
        "code=\"bad-signature\"}",
        "code=\"wrong-audience\"}",
    ] {
        ensure!(metrics.contains(line), "{line} in {metrics}");
    }
    let said = mesh.running().stderr();
    for token in made.tokens.iter().filter(|token| token.len() > 64) {
        let signature = parts(token)[2];
        ensure!(
            signature.len() < 64 || !said.contains(signature),
            "a token is shown"
        );
    }
    Ok(())
}

/// Claims of good tokens, each with its key.
fn good_claims(issuer: &Issuer) -> Vec<((&'static str, &'static str), String)> {
    let all = [
        (RS, json!({})),
        (ES, json!({})),
        (ED, json!({})),
        (RS, json!({"aud": ["other", AUDIENCE]})),
        (RS, json!({"aud": "millrace"})),
        (RS, json!({"nbf": now() - 5, "iat": null})),
        (
            RS,
            json!({"groups": ["a", {"b": [1.5, null]}], "email_verified": true}),
        ),
    ];
    all.into_iter()
        .map(|(key, others)| (key, issuer.claims(&others)))
        .collect()
}

#[tokio::test]
async fn a_token_is_for_the_place_that_it_names_and_as_long_as_it_says() -> anyhow::Result<()> {
    let Some(library) = peers::jose_node()? else {
        return Ok(());
    };
    let issuer = Issuer::start().await?;
    let mut order = keys();
    order.good(
        RS,
        &issuer.claims(&json!({"sub": "system:serviceaccount:ops:prometheus", "aud": "millrace"})),
    );
    order.good(
        RS,
        &issuer.claims(&json!({"sub": "system:serviceaccount:ops:prometheus"})),
    );
    order.good(RS, &issuer.claims(&json!({"aud": "millrace"})));
    order.good(RS, &issuer.claims(&json!({"exp": now() + 8})));
    let made = order.make(&library).await?;
    let [reader, only_broker, till, brief] = &made.tokens[..] else {
        anyhow::bail!("{} tokens", made.tokens.len());
    };
    issuer.publishes(&made.keys(&PUBLISHED));
    let (mut access, sink) = (Access::new()?, Sink::start().await?);
    access.token("other", &["--admin-role", "read"]).await?;
    let entry: Vec<_> = ENTRY.into_iter().chain(["clockSkew: 0s"]).collect();
    access.write(&issuer.entry(&entry))?;
    let mesh = access.mesh(&[], &sink).await?;
    until(&mesh, "till", till, (202, "")).await?;
    let get = async |token: &str| {
        let answer = ask(&mesh, token, &Method::GET, "/api/v1/brokers").await?;
        anyhow::Ok((answer.status, code(&answer)))
    };
    assert_eq!(get(reader).await?, (200, String::new()));
    assert_eq!(get(only_broker).await?, (401, "wrong-audience".to_owned()));
    assert_eq!(get(till).await?, (403, "role-not-allowed".to_owned()));
    let change = ask(&mesh, reader, &Method::DELETE, "/api/v1/parked/x").await?;
    assert_eq!((change.status, &*code(&change)), (403, "role-not-allowed"));
    let said = mesh.running().stderr();
    ensure!(
        said.contains("jwt:system:serviceaccount:ops:prometheus"),
        "{said}"
    );

    // What was good and is remembered is not good for longer than it says.
    post(&mesh, "brief", brief).await?;
    until(&mesh, "brief", brief, (401, "expired-credentials")).await?;

    // Who calls is known from the head alone.
    let mut socket = Socket::connect(mesh.listen()).await?;
    let head = format!(
        "POST /shop/default HTTP/1.1\r\nhost: x\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\nce-specversion: 1.0\r\n\
         authorization: Bearer {only_broker}\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n"
    );
    socket.write(head.as_bytes()).await?;
    let answer = socket.answer().await?.context("no answer")?;
    assert_eq!(answer.status, 403, "not 100, and not after the body");
    Ok(())
}
