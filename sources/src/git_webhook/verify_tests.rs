//! Signatures that were published are taken, and what differs from them in any way is not.

use http::HeaderName;

use super::*;

/// The forge, the secret, the headers of the call, its body, and when it came.
struct Vector {
    forge: Forge,
    verification: Verification,
    secret: &'static str,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
    at: i64,
}

fn of(forge: Forge, secret: &'static str, headers: &[(&'static str, &str)], body: &'static str) -> Vector {
    Vector {
        forge,
        verification: Verification::Forge,
        secret,
        headers: headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
        body,
        at: 0,
    }
}

fn generic(
    verification: Verification,
    secret: &'static str,
    headers: &[(&'static str, &str)],
    body: &'static str,
) -> Vector {
    Vector {
        verification,
        ..of(Forge::Generic, secret, headers, body)
    }
}

fn hmac(algorithm: Algorithm, encoding: Encoding, prefix: &str) -> Verification {
    Verification::Hmac(Hmac {
        header: "x-sig".to_owned(),
        algorithm,
        encoding,
        prefix: prefix.to_owned(),
    })
}

fn check(vector: &Vector, secrets: &[&str], body: &str) -> Result<(), RefusedCall> {
    let headers = vector
        .headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect();
    let secrets: Vec<Octets> = secrets.iter().map(|secret| secret.as_bytes().into()).collect();
    let signed = Signed {
        headers: &headers,
        body: body.as_bytes(),
        payload: body.as_bytes(),
        received: Timestamp(vector.at * 1_000),
    };
    verify(&vector.verification, vector.forge, &secrets, signed)
}

const GITHUB: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
const HELLO: &str = "Hello, World!";
const EVERYONE: &str = "It's a Secret to Everybody";
const FOO: &str = r#"{"foo":"bar"}"#;
const OCTOKIT: &str = "sha256=4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3";
/// RFC 2202 and RFC 4231, test case 2.
const JEFE: &str = "what do ya want for nothing?";
const JEFE_SHA1: &str = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
const JEFE_SHA256: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
const JEFE_SHA512: &str = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737";
/// The example of the Standard Webhooks libraries.
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const STANDARD_BODY: &str = r#"{"test": 2432232314}"#;
const STANDARD_TIME: i64 = 1_614_265_330;
const STANDARD: [(&str, &str); 3] = [
    ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
    ("webhook-timestamp", "1614265330"),
    (
        "webhook-signature",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
];

fn standard() -> Vector {
    Vector {
        at: STANDARD_TIME,
        ..generic(
            Verification::StandardWebhooks,
            STANDARD_SECRET,
            &STANDARD,
            STANDARD_BODY,
        )
    }
}

fn published() -> Vec<Vector> {
    let sha1 = format!("sha1={JEFE_SHA1}");
    let sha256 = format!("sha256={JEFE_SHA256}");
    vec![
        of(Forge::Github, EVERYONE, &[("x-hub-signature-256", GITHUB)], HELLO),
        of(
            Forge::Github,
            "mysecret",
            &[("x-hub-signature-256", OCTOKIT)],
            FOO,
        ),
        of(Forge::Github, "Jefe", &[("x-hub-signature", &sha1)], JEFE),
        of(Forge::Bitbucket, "Jefe", &[("x-hub-signature", &sha256)], JEFE),
        of(
            Forge::BitbucketServer,
            EVERYONE,
            &[("x-hub-signature", GITHUB)],
            HELLO,
        ),
        of(Forge::Gitea, "Jefe", &[("x-gitea-signature", JEFE_SHA256)], JEFE),
        of(Forge::Gitea, EVERYONE, &[("x-hub-signature-256", GITHUB)], HELLO),
        of(
            Forge::Forgejo,
            "Jefe",
            &[("x-forgejo-signature", JEFE_SHA256)],
            JEFE,
        ),
        of(
            Forge::Gitlab,
            "hush hush",
            &[("x-gitlab-token", "hush hush")],
            FOO,
        ),
        Vector {
            forge: Forge::Gitlab,
            verification: Verification::Forge,
            ..standard()
        },
        standard(),
        generic(
            Verification::Bearer,
            "hush",
            &[("authorization", "bearer  hush")],
            FOO,
        ),
        generic(
            hmac(Algorithm::Sha1, Encoding::Hex, ""),
            "Jefe",
            &[("x-sig", JEFE_SHA1)],
            JEFE,
        ),
        generic(
            hmac(Algorithm::Sha512, Encoding::Hex, "v0="),
            "Jefe",
            &[("x-sig", &format!("v0={JEFE_SHA512}"))],
            JEFE,
        ),
        generic(
            hmac(Algorithm::Sha256, Encoding::Base64, ""),
            "Jefe",
            &[("x-sig", "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=")],
            JEFE,
        ),
    ]
}

/// Whether the body is what is signed: tokens stand for themselves.
fn signs_the_body(vector: &Vector) -> bool {
    let by_token = |name: &str| vector.headers.iter().any(|(other, _)| *other == name);
    !by_token("x-gitlab-token") && !by_token("authorization")
}

#[test]
fn published_signatures_are_taken() {
    for vector in published() {
        assert!(
            check(&vector, &[vector.secret], vector.body).is_ok(),
            "{:?}",
            vector.headers
        );
    }
}

#[test]
fn any_one_of_the_secrets_will_do() {
    for vector in published() {
        let secrets = ["other", vector.secret, "whsec_b3RoZXI="];
        assert!(
            check(&vector, &secrets, vector.body).is_ok(),
            "{:?}",
            vector.headers
        );
    }
}

#[test]
fn what_differs_in_secret_body_or_signature_is_refused() {
    for mut vector in published() {
        let headers = vector.headers.clone();
        let wrong = |outcome| matches!(outcome, Err(RefusedCall::SignatureWrong));
        assert!(wrong(check(&vector, &["other"], vector.body)), "{headers:?}");
        assert!(wrong(check(&vector, &[], vector.body)), "{headers:?}");
        if signs_the_body(&vector) {
            let other = format!("{} ", vector.body);
            assert!(wrong(check(&vector, &[vector.secret], &other)), "{headers:?}");
        }
        let is_signature =
            |name: &&str| name.contains("sig") || name.contains("token") || *name == "authorization";
        for bad in [
            "",
            "x",
            "sha256=",
            "sha256=zz",
            "v1,",
            "v1,AAAA",
            "Bearer",
            "Bearer ",
            "bearer other",
        ] {
            for (name, value) in &mut vector.headers {
                if is_signature(name) {
                    bad.clone_into(value);
                }
            }
            assert!(
                check(&vector, &[vector.secret], vector.body).is_err(),
                "{bad} {headers:?}"
            );
        }
        vector.headers.retain(|(name, _)| !is_signature(name));
        let outcome = check(&vector, &[vector.secret], vector.body);
        assert!(
            matches!(outcome, Err(RefusedCall::SignatureMissing)),
            "{headers:?}"
        );
    }
}

#[test]
fn an_old_signature_is_not_looked_at_when_there_is_a_new_one() {
    let sha1 = format!("sha1={JEFE_SHA1}");
    let both = [
        ("x-hub-signature", sha1.as_str()),
        ("x-hub-signature-256", GITHUB),
    ];
    let vector = of(Forge::Github, "Jefe", &both, JEFE);
    assert!(matches!(
        check(&vector, &["Jefe"], JEFE),
        Err(RefusedCall::SignatureWrong)
    ));
}

#[test]
fn a_signature_of_another_time_is_stale() {
    for (apart, is_good) in [
        (-301, false),
        (-300, true),
        (300, true),
        (301, false),
        (i64::MAX / 2_000, false),
    ] {
        let mut vector = standard();
        vector.at = STANDARD_TIME + apart;
        let outcome = check(&vector, &[STANDARD_SECRET], STANDARD_BODY);
        assert_eq!(outcome.is_ok(), is_good, "{apart}");
        assert!(
            is_good || matches!(outcome, Err(RefusedCall::SignatureStale)),
            "{apart}"
        );
    }
}

#[test]
fn one_good_signature_of_several_is_enough() {
    let mut vector = standard();
    let good = vector.headers[2].1.clone();
    vector.headers[2].1 = format!("v1a,xxxx v1,AAAA {good}");
    assert!(check(&vector, &[STANDARD_SECRET], STANDARD_BODY).is_ok());
}

#[test]
fn only_so_many_signatures_of_a_call_are_looked_at() {
    let mut vector = standard();
    let good = vector.headers[2].1.clone();
    let wrong = format!("v1,{} ", "A".repeat(43) + "=");
    for (before, is_good) in [(15, true), (16, false)] {
        vector.headers[2].1 = format!("{}{good}", wrong.repeat(before));
        let outcome = check(&vector, &[STANDARD_SECRET], STANDARD_BODY);
        assert_eq!(outcome.is_ok(), is_good, "behind {before} others");
    }
    // What is no signature at all does not count, however much there is of it.
    vector.headers[2].1 = format!("{}{good}", "v1, ".repeat(16_000));
    assert!(check(&vector, &[STANDARD_SECRET], STANDARD_BODY).is_ok());
}

#[test]
fn gitea_signs_the_json_of_a_form() {
    let vector = of(Forge::Gitea, "Jefe", &[("x-gitea-signature", JEFE_SHA256)], JEFE);
    let headers = [(
        HeaderName::from_static("x-gitea-signature"),
        JEFE_SHA256.parse().unwrap(),
    )];
    let headers = headers.into_iter().collect();
    let signed = Signed {
        headers: &headers,
        body: b"payload=what+do+ya+want+for+nothing%3F",
        payload: JEFE.as_bytes(),
        received: Timestamp(0),
    };
    let secrets = [b"Jefe".as_slice().into()];
    assert!(verify(&vector.verification, Forge::Gitea, &secrets, signed).is_ok());
    assert!(verify(&vector.verification, Forge::Github, &secrets, signed).is_err());
}

#[test]
fn where_nothing_is_verified_anybody_may_call() {
    let vector = generic(Verification::None, "", &[], FOO);
    assert!(check(&vector, &[], FOO).is_ok());
}
