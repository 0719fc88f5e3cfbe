//! The documents of GitWebhookSources: what they mean, and that every fault is named where it is.

use millrace_crds::{Code, Loaded, Named, load_text};
use millrace_model::source::git_webhook::{
    Algorithm, Encoding, Forge, From, GitWebhook, Hmac, Mapping, Verification,
};
use millrace_model::{NamedFile, Secret, SourceSpec};

fn load(spec: &str) -> Loaded {
    load_text(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: shop}}\nstringData: {{k: hush}}\n---\n\
         apiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata: {{name: w, namespace: shop}}\n\
         spec: {{sink: {{uri: \"http://127.0.0.1:9/\"}}, {spec}}}\n"
    ))
}

fn read(spec: &str) -> GitWebhook {
    let loaded = load(spec);
    let mesh = loaded
        .mesh
        .unwrap_or_else(|| panic!("{spec}: {:?}", loaded.problems));
    let source = mesh.sources.values().next().expect("one source");
    let SourceSpec::GitWebhook(webhook) = &source.spec else {
        panic!("{:?}", source.spec);
    };
    webhook.as_ref().clone()
}

const KEY: &str = "secrets: [{secretKeyRef: {name: s, key: k}}]";

#[test]
fn a_forge_and_a_secret_are_enough() {
    let webhook = read(&format!("forge: github, {KEY}"));
    assert_eq!(webhook.forge, Forge::Github);
    assert_eq!(webhook.verification, Verification::Forge);
    assert_eq!(webhook.secrets, [Secret::Value(b"hush".as_slice().into())]);
    assert_eq!(webhook.mapping, Mapping::Adapters);
    assert_eq!(webhook.requests_per_second, 1_000);
}

#[test]
fn every_forge_has_its_name() {
    for forge in [
        Forge::Github,
        Forge::Gitlab,
        Forge::Bitbucket,
        Forge::BitbucketServer,
        Forge::Gitea,
        Forge::Forgejo,
    ] {
        assert_eq!(read(&format!("forge: {}, {KEY}", forge.as_str())).forge, forge);
    }
}

#[test]
fn what_a_document_names_outside_of_itself_is_listed_with_its_place() {
    let loaded = load(
        "forge: github, secrets: [{env: A}, {secretKeyRef: {name: s, key: k}}, {file: deep/b}, {env: [c]}]",
    );
    let found: Vec<_> = loaded
        .external
        .iter()
        .filter(|found| !matches!(found.named, Named::Target(_)))
        .map(|found| (found.path.as_str(), &found.named))
        .collect();
    let file = NamedFile {
        path: "deep/b".into(),
        folder: "".into(),
    };
    assert_eq!(
        found,
        [
            ("spec.secrets[0].env", &Named::Secret(Secret::Env("A".to_owned()))),
            ("spec.secrets[2].file", &Named::Secret(Secret::File(file))),
        ]
    );
    let first = &loaded.external[1];
    assert_eq!(
        (
            first.file.as_str(),
            first.at.map(|at| at.line),
            first.document.as_deref()
        ),
        ("-", Some(9), Some("GitWebhookSource shop/w"))
    );
}

#[test]
fn secrets_come_from_documents_the_environment_and_files() {
    let webhook =
        read("forge: gitlab, mapping: knative, requestsPerSecond: 5, secrets: [{env: A}, {file: /b}]");
    let file = NamedFile {
        path: "/b".into(),
        folder: "".into(),
    };
    assert_eq!(webhook.secrets, [Secret::Env("A".to_owned()), Secret::File(file)]);
    assert_eq!(
        (webhook.mapping, webhook.requests_per_second),
        (Mapping::Knative, 5)
    );
}

#[test]
fn a_generic_source_says_how_calls_are_verified_and_read() {
    let webhook = read(&format!(
        "forge: generic, {KEY}, verification: {{hmac: {{header: X-Sig, algorithm: sha512, encoding: base64, prefix: v0=}}}}, \
         event: {{type: {{jsonpath: $.kind, prefix: com.x., default: com.x}}, id: {{sha256: body}}, \
         source: {{const: /x}}, subject: {{header: X-Subject}}, extensions: {{team: {{const: a}}}}}}"
    ));
    let hmac = Hmac {
        header: "x-sig".to_owned(),
        algorithm: Algorithm::Sha512,
        encoding: Encoding::Base64,
        prefix: "v0=".to_owned(),
    };
    assert_eq!(webhook.verification, Verification::Hmac(hmac));
    let ty = webhook.event.ty.expect("a type");
    assert_eq!(ty.from, From::JsonPath("$.kind".to_owned()));
    assert_eq!(
        (ty.prefix.as_str(), ty.default.as_deref()),
        ("com.x.", Some("com.x"))
    );
    assert_eq!(webhook.event.id.expect("an id").from, From::BodyHash);
    assert_eq!(
        webhook.event.subject.expect("a subject").from,
        From::Header("x-subject".to_owned())
    );
    assert_eq!(webhook.event.extensions[0].0, "team");

    for (word, expected) in [
        ("standardWebhooks", Verification::StandardWebhooks),
        ("bearer", Verification::Bearer),
    ] {
        let webhook = read(&format!("forge: generic, {KEY}, verification: {word}"));
        assert_eq!(webhook.verification, expected);
    }
}

#[test]
fn that_nobody_is_verified_has_to_be_said() {
    assert_eq!(
        read("forge: github, verification: none").verification,
        Verification::None
    );
    let loaded = load("forge: github");
    let problem = &loaded.problems[0];
    assert_eq!(
        (problem.code, problem.path.as_str()),
        (Code::MissingField, "spec.secrets")
    );
    assert!(problem.message.contains("verification: none"), "{problem}");
}

#[test]
fn every_fault_is_named_where_it_is() {
    let hmac = |inner: &str| format!("forge: generic, {KEY}, verification: {{hmac: {{{inner}}}}}");
    let event = |inner: &str| format!("forge: generic, {KEY}, verification: bearer, event: {{{inner}}}");
    let many = format!("forge: github, secrets: [{}]", "{env: A}, ".repeat(17));
    for (spec, code, path) in [
        (KEY.to_owned(), Code::MissingField, "spec.forge"),
        (
            format!("forge: gitbucket, {KEY}"),
            Code::UnknownValue,
            "spec.forge",
        ),
        (
            format!("forge: github, {KEY}, mapping: argo"),
            Code::UnknownValue,
            "spec.mapping",
        ),
        (
            format!("forge: gitea, {KEY}, mapping: knative"),
            Code::ConflictingFields,
            "spec.mapping",
        ),
        (
            format!("forge: github, {KEY}, verification: none"),
            Code::ConflictingFields,
            "spec.verification",
        ),
        (
            format!("forge: github, {KEY}, verification: bearer"),
            Code::ConflictingFields,
            "spec.verification",
        ),
        (
            format!("forge: github, {KEY}, verification: trust"),
            Code::UnknownValue,
            "spec.verification",
        ),
        (
            format!("forge: generic, {KEY}"),
            Code::MissingField,
            "spec.verification",
        ),
        (
            "forge: generic, verification: bearer".to_owned(),
            Code::MissingField,
            "spec.secrets",
        ),
        (
            format!("forge: github, {KEY}, event: {{}}"),
            Code::ConflictingFields,
            "spec.event",
        ),
        (
            format!("forge: github, {KEY}, requestsPerSecond: 0"),
            Code::OutOfRange,
            "spec.requestsPerSecond",
        ),
        (
            "forge: github, secrets: [{key: x}]".to_owned(),
            Code::UnknownField,
            "spec.secrets[0].key",
        ),
        (many, Code::OutOfRange, "spec.secrets"),
        (hmac(""), Code::MissingField, "spec.verification.hmac.header"),
        (
            hmac("header: a b"),
            Code::BadEventField,
            "spec.verification.hmac.header",
        ),
        (
            hmac("header: a, algorithm: md5"),
            Code::UnknownValue,
            "spec.verification.hmac.algorithm",
        ),
        (
            hmac("header: a, encoding: utf8"),
            Code::UnknownValue,
            "spec.verification.hmac.encoding",
        ),
        (event("type: {}"), Code::BadEventField, "spec.event.type"),
        (
            event("type: {const: a, header: b}"),
            Code::BadEventField,
            "spec.event.type",
        ),
        (
            event("type: {jsonpath: kind}"),
            Code::BadEventField,
            "spec.event.type.jsonpath",
        ),
        (
            event("type: {sha256: header}"),
            Code::UnknownValue,
            "spec.event.type.sha256",
        ),
        (
            event("source: {const: a b}"),
            Code::BadEventField,
            "spec.event.source.const",
        ),
        (
            event("time: {header: a, default: soon}"),
            Code::BadEventField,
            "spec.event.time.default",
        ),
        (event("kind: {const: a}"), Code::UnknownField, "spec.event.kind"),
        (
            event("extensions: {a_b: {const: a}}"),
            Code::BadAttributeName,
            "spec.event.extensions.a_b",
        ),
        (
            event("extensions: {id: {const: a}}"),
            Code::BadAttributeName,
            "spec.event.extensions.id",
        ),
    ] {
        let loaded = load(&spec);
        assert!(loaded.mesh.is_none(), "{spec}");
        let found: Vec<_> = loaded
            .problems
            .iter()
            .map(|p| (p.code, p.path.as_str()))
            .collect();
        assert!(found.contains(&(code, path)), "{spec}: {:?}", loaded.problems);
    }
}

#[test]
fn a_secret_that_is_not_there_is_remarked_on() {
    let loaded = load("forge: github, secrets: [{secretKeyRef: {name: other, key: k}}]");
    assert!(loaded.mesh.is_some(), "{:?}", loaded.problems);
    assert!(
        loaded.remarks[0]
            .message
            .contains("there is no Secret shop/other"),
        "{:?}",
        loaded.remarks
    );
}
