//! The broker's settings: its listeners, and the user that may log in.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::certificates::Certificates;

/// The identity of the cluster: 16 bytes in base64. Each broker is a cluster of its own, so one name serves
/// all.
pub(super) const CLUSTER: &str = "bWlsbHJhY2UtdGVzdHMtMQ";

/// The ports of one broker: one for each listener, and the controller's.
pub(super) const PORTS: usize = 5;

/// The user that may log in, with every mechanism.
pub const USER: &str = "ann";

/// The password of [`USER`].
pub const PASSWORD: &str = "a secret with spaces";

/// A listener of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// No encryption, no login.
    Plain,
    /// No encryption, login by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    Sasl,
    /// Encryption, and login by PLAIN or SCRAM-SHA-512.
    SaslTls,
    /// Encryption, and a client's certificate.
    Tls,
}

/// The listeners' names, in the order of their ports, and what Kafka calls what they do.
const LISTENERS: [(&str, &str); 4] = [
    ("PLAIN", "PLAINTEXT"),
    ("SASL", "SASL_PLAINTEXT"),
    ("SASLTLS", "SASL_SSL"),
    ("TLS", "SSL"),
];

const FIXED: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
";

/// Whoever logs in may use the topics that name no user. Without login one may do everything.
const ACCESS: &str = "\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
";

/// The properties file.
pub(super) fn properties(
    data: &Path,
    ports: &[u16],
    certificates: Option<&Certificates>,
    advertised: Option<&str>,
) -> anyhow::Result<String> {
    let listeners = &LISTENERS[..if certificates.is_some() {
        LISTENERS.len()
    } else {
        1
    }];
    let controller = ports[PORTS - 1];
    let at: Vec<String> = listeners
        .iter()
        .zip(ports)
        .map(|((name, _), port)| format!("{name}://127.0.0.1:{port}"))
        .collect();
    let kinds: Vec<String> = listeners
        .iter()
        .map(|(name, kind)| format!("{name}:{kind}"))
        .collect();
    let (at, kinds) = (at.join(","), kinds.join(","));
    let mut text = FIXED.to_owned();
    writeln!(text, "log.dirs={}", data.display())?;
    writeln!(text, "listeners={at},CONTROLLER://127.0.0.1:{controller}")?;
    let advertised = advertised.map_or_else(|| at.clone(), |address| format!("PLAIN://{address}"));
    writeln!(text, "advertised.listeners={advertised}")?;
    // The port of a quorum that is named here is no part of the data.
    writeln!(text, "controller.quorum.voters=1@127.0.0.1:{controller}")?;
    writeln!(
        text,
        "listener.security.protocol.map={kinds},CONTROLLER:PLAINTEXT"
    )?;
    if let Some(certificates) = certificates {
        text += ACCESS;
        login(&mut text)?;
        encryption(&mut text, certificates)?;
    }
    Ok(text)
}

fn login(text: &mut String) -> anyhow::Result<()> {
    const MODULES: &str = "org.apache.kafka.common.security";
    for (listener, mechanisms) in [
        ("sasl", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"),
        ("sasltls", "PLAIN,SCRAM-SHA-512"),
    ] {
        let prefix = format!("listener.name.{listener}");
        writeln!(text, "{prefix}.sasl.enabled.mechanisms={mechanisms}")?;
        writeln!(
            text,
            "{prefix}.plain.sasl.jaas.config={MODULES}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"
        )?;
        for scram in ["scram-sha-256", "scram-sha-512"] {
            writeln!(
                text,
                "{prefix}.{scram}.sasl.jaas.config={MODULES}.scram.ScramLoginModule required;"
            )?;
        }
    }
    Ok(())
}

fn encryption(text: &mut String, certificates: &Certificates) -> anyhow::Result<()> {
    // Kafka wants the key and its certificates in one file.
    let server = &certificates.server;
    let store = server.key.with_extension("store.pem");
    fs::write(
        &store,
        fs::read_to_string(&server.key)? + &fs::read_to_string(&server.certificate)?,
    )?;
    writeln!(
        text,
        "ssl.keystore.type=PEM\nssl.keystore.location={}",
        store.display()
    )?;
    writeln!(
        text,
        "ssl.truststore.type=PEM\nssl.truststore.location={}",
        certificates.authority.display()
    )?;
    writeln!(text, "listener.name.tls.ssl.client.auth=required")?;
    Ok(())
}

/// What the formatting of the data folder is told, so that the user is there from the start.
pub(super) fn scram_users() -> Vec<String> {
    let mut args = Vec::new();
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        args.push("--add-scram".to_owned());
        args.push(format!("{mechanism}=[name={USER},password=\"{PASSWORD}\"]"));
    }
    args
}
