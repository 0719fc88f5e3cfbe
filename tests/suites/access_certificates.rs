//! Promise: a client certificate is an identity of its own. The access file knows it by its SPIFFE id, else
//! its DNS name, else its subject, and so do policies.

use std::process::Command;

use http::Method;
use millrace_tests::Sink;
use millrace_tests::access::{Access, ask};
use millrace_tests::certificates::Authority;
use millrace_tests::documents::{Documents, Trigger};
use millrace_tests::mesh::Setup;
use millrace_tests::secured::text;

const ENTRIES: &str = "  certificates:
    - {name: spiffe://example.org/shop/*, brokers: ['shop/*']}
    - {name: till.example, brokers: [shop/default]}
    - {name: office.example, brokers: [shop/default]}
    - {name: CN=plain, brokers: [shop/default]}
";

/// A client's name, the other names in its certificate, and what it gets without and with the policy.
const CLIENTS: [(&str, &[&str], &str, &str); 7] = [
    (
        "spiffe",
        &["spiffe://example.org/shop/till", "other.example"],
        "202",
        "202",
    ),
    ("guest", &["spiffe://example.org/shop/guest"], "202", "403"),
    ("dns", &["till.example"], "202", "202"),
    ("office", &["office.example"], "202", "403"),
    ("plain", &[], "202", "202"),
    ("elsewhere", &["spiffe://example.org/shopping/till"], "401", "401"),
    ("stranger", &["stranger.example"], "401", "401"),
];

const POLICY: &str = "---
apiVersion: eventing.knative.dev/v1alpha1
kind: EventPolicy
metadata: {name: tills, namespace: shop}
spec:
  from:
  - sub: spiffe://example.org/shop/till*
  - sub: system:millrace:certificate:till.example
  - sub: system:millrace:certificate:CN=plain
";

#[tokio::test]
async fn a_client_certificate_is_an_identity_that_the_access_file_and_policies_know() -> anyhow::Result<()> {
    let mut access = Access::new()?;
    let operator = access.token("operator", &["--admin-role", "read"]).await?;
    access.write(ENTRIES)?;
    let authority = Authority::make(access.folder(), "ca")?;
    let (listening, ca) = (authority.server("server")?.listening(), text(&authority.file));
    for has_policy in [false, true] {
        let sink = Sink::start().await?;
        let documents = Documents::broker().trigger(&Trigger::new("all", &sink.url("/all")));
        let policy = if has_policy { POLICY } else { "" };
        let mesh = Setup::new(&format!("{}{policy}", documents.text()))?
            .args(&listening)
            .args(&["--tls-client-ca", &ca, "--access", &text(&access.file())])
            .start()
            .await?;
        let url = format!("https://{}/shop/default", mesh.address("listenTls")?);
        let mut taken = 0;
        for (name, names, without, with) in CLIENTS {
            let client = authority.client(name, names)?;
            let expected = if has_policy { with } else { without };
            let mut command = Command::new("curl");
            command.args(["--silent", "--show-error", "--max-time", "60", "-o", "/dev/null"]);
            command.args(["-w", "%{http_code}", "--cacert", &ca, "-X", "POST"]);
            command.arg("--cert").arg(&client.certificate);
            command.arg("--key").arg(&client.key);
            command.args(["-H", &format!("ce-id: {name}"), "-H", "ce-type: t"]);
            command.args(["-H", "ce-source: /s", "-H", "ce-specversion: 1.0", &url]);
            let output = command.output()?;
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(said, expected, "{name}, policy {has_policy}: {output:?}");
            taken += usize::from(expected == "202");
        }
        sink.wait_for("/all", taken).await?;
        let answer = ask(&mesh, &operator, &Method::GET, "/api/v1/brokers").await?;
        assert_eq!(answer.status, 200);
    }
    Ok(())
}
