//! Faults of what deliveries show, each with its field.

use millrace_crds::Code;

use super::{SECRET, load};

#[test]
fn every_fault_is_named_where_it_is() {
    let many = [SECRET; 3].join(", ");
    for (auth, path, code) in [
        ("{}".to_owned(), "", Code::MissingField),
        ("bearer: hush".to_owned(), ".bearer", Code::WrongType),
        ("bearer: {}".to_owned(), ".bearer", Code::BadSecret),
        ("barer: {}".to_owned(), ".barer", Code::UnknownField),
        (
            format!("{{bearer: {SECRET}, basic: {{username: u, password: {SECRET}}}}}"),
            "",
            Code::ConflictingFields,
        ),
        (
            format!("basic: {{password: {SECRET}}}"),
            ".basic.username",
            Code::MissingField,
        ),
        (
            format!("basic: {{username: 7, password: {SECRET}}}"),
            ".basic.username",
            Code::NotAString,
        ),
        (
            "basic: {username: u, password: hush}".to_owned(),
            ".basic.password",
            Code::WrongType,
        ),
        (
            format!("clientCertificate: {{certificate: {SECRET}}}"),
            ".clientCertificate.key",
            Code::MissingField,
        ),
        (
            "standardWebhooks: {}".to_owned(),
            ".standardWebhooks.secrets",
            Code::MissingField,
        ),
        (
            "standardWebhooks: {secrets: []}".to_owned(),
            ".standardWebhooks.secrets",
            Code::OutOfRange,
        ),
        (
            format!("standardWebhooks: {{secrets: [{many}]}}"),
            ".standardWebhooks.secrets",
            Code::OutOfRange,
        ),
        (
            "standardWebhooks: {secrets: [hush]}".to_owned(),
            ".standardWebhooks.secrets[0]",
            Code::WrongType,
        ),
        (
            "oauth2: {tokenUrl: \"/token\", clientId: c, clientSecret: {env: S}}".to_owned(),
            ".oauth2.tokenUrl",
            Code::BadUri,
        ),
        (
            format!(
                "oauth2: {{tokenUrl: \"https://id/\", clientId: c, clientSecret: {SECRET}, clientAuthentication: both}}"
            ),
            ".oauth2.clientAuthentication",
            Code::UnknownValue,
        ),
        (
            format!("oauth2: {{clientId: c, clientSecret: {SECRET}}}"),
            ".oauth2.tokenUrl",
            Code::MissingField,
        ),
        (
            "oauth2: {tokenUrl: \"https://id/\", clientId: c, clientSecret: hush}".to_owned(),
            ".oauth2.clientSecret",
            Code::WrongType,
        ),
        (
            format!("awsSigV4: {{region: Frankfurt, accessKeyId: a, secretAccessKey: {SECRET}}}"),
            ".awsSigV4.region",
            Code::UnknownValue,
        ),
        (
            format!("awsSigV4: {{accessKeyId: a, secretAccessKey: {SECRET}}}"),
            ".awsSigV4.region",
            Code::MissingField,
        ),
        (
            "awsSigV4: {region: us-east-1, accessKeyId: a, secretAccessKey: hush}".to_owned(),
            ".awsSigV4.secretAccessKey",
            Code::WrongType,
        ),
        (
            format!(
                "{{bearer: {SECRET}, awsSigV4: {{region: us-east-1, accessKeyId: a, secretAccessKey: {SECRET}}}}}"
            ),
            "",
            Code::ConflictingFields,
        ),
        ("{bearer: ".to_owned(), "", Code::YamlSyntax),
        ("a text".to_owned(), "", Code::WrongType),
        (
            format!("bearer: {SECRET}\n      ---\n      basic: 1"),
            "",
            Code::YamlSyntax,
        ),
    ] {
        let loaded = load("subscriber-auth", &auth, "");
        let path = format!("metadata.annotations[millrace.dev/subscriber-auth]{path}");
        let found = loaded
            .problems
            .iter()
            .find(|one| one.path == path && one.code == code);
        let found = found.unwrap_or_else(|| panic!("{auth}: {:?}", loaded.problems));
        assert_eq!(
            found.at.map(|at| at.line),
            Some(17),
            "{auth}: where the annotation stands"
        );
        assert!(
            loaded.problems.iter().all(|one| !one.message.contains("hush")),
            "{:?}",
            loaded.problems
        );
    }
}

#[test]
fn a_signature_and_binary_mode_exclude_each_other() {
    let auth = format!("standardWebhooks: {{secrets: [{SECRET}]}}");
    let sink = "deadLetterSink: {uri: \"http://d/\"}";
    for name in ["subscriber-auth", "dead-letter-auth"] {
        let loaded = load(name, &auth, &format!("{sink}, format: binary"));
        let [problem] = &loaded.problems[..] else {
            panic!("{:?}", loaded.problems);
        };
        let is_it = problem.path == "spec.delivery.format" && problem.code == Code::ConflictingFields;
        assert!(is_it && problem.at.is_some(), "{problem:?}");
        assert!(
            load(name, &auth, &format!("{sink}, format: json"))
                .problems
                .is_empty()
        );
        assert!(load(name, &auth, sink).problems.is_empty());
    }
    let bearer = format!("bearer: {SECRET}");
    assert!(
        load("subscriber-auth", &bearer, "format: binary")
            .problems
            .is_empty()
    );
}
