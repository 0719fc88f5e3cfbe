//! Attacks on the shape of a token, and on what it claims.

use serde_json::json;

use super::{Change, RS, Table, parts};
use crate::issuer::{AUDIENCE, now};

pub(super) fn shapes(table: &mut Table<'_>) {
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

pub(super) fn claims(table: &mut Table<'_>) {
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
    // Names that others vouch for: Millrace itself, certificates, and the other issuer of the access file.
    for subject in [
        "system:millrace:trigger:shop:ship",
        "system:millrace:token:operator",
        "spiffe://example.org/ns/shop/sa/till",
        "k8s:system:serviceaccount:shop:till",
        "k8s:",
    ] {
        table.claims(&json!({"sub": subject}), BAD);
    }
    for subject in ["root", "Till", "till2"] {
        table.claims(&json!({"sub": subject}), "broker-not-allowed");
    }
}
