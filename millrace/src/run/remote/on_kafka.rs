//! What a Broker's document says, as the backend on Kafka takes it.

use std::sync::Arc;

use millrace_channel_kafka::{Durability, Judge, Options};
use millrace_delivery::guard::Guard;
use millrace_delivery::kafka::servers::Servers;
use millrace_event::Clock;
use millrace_kafka::access::text;
use millrace_kafka::{Access, Login, Tls};
use millrace_model::{Broker, DurabilityWanted, KafkaTopics, Secret};
use tokio_util::sync::CancellationToken;

use super::MESH;

/// The options of a Broker's channel.
///
/// # Errors
/// What of its Secret cannot be used, in a sentence without what is secret.
pub(super) fn options(
    broker: &Broker,
    topics: &KafkaTopics,
    rebuild_state: bool,
    guard: &Guard,
    ending: CancellationToken,
) -> Result<Options, String> {
    let servers = Servers::new(guard.clone());
    Ok(Options {
        broker: broker.name.clone(),
        mesh: MESH.to_owned(),
        servers: topics.servers.clone(),
        access: Arc::new(access(topics)?),
        judge: Judge(Arc::new(move |metadata| {
            servers.all_of(metadata).map_err(|unfit| unfit.to_string())
        })),
        replicas: topics.replicas,
        retention_age: broker.retention.age,
        durability: topics.durability.map(|wanted| match wanted {
            DurabilityWanted::Synced => Durability::Synced,
            DurabilityWanted::Replicated => Durability::Replicated,
            DurabilityWanted::SingleCopy => Durability::SingleCopy,
        }),
        rebuild_state,
        clock: Clock::System,
        ending,
    })
}

/// An entry of the Secret.
fn entry(topics: &KafkaTopics, key: &str) -> Result<Option<String>, String> {
    match topics.secrets.get(key) {
        Some(Secret::Value(value)) => text(value)
            .map(Some)
            .map_err(|flaw| format!("`{key}` of the Secret for Kafka {flaw}")),
        // Entries of a Secret are values, or missing.
        Some(Secret::Env(_) | Secret::File(_) | Secret::Missing(_)) | None => Ok(None),
    }
}

fn access(topics: &KafkaTopics) -> Result<Access, String> {
    let find = |key| entry(topics, key);
    let login = match (find("user")?, find("password")?, find("sasl.mechanism")?) {
        (None, None, None) => None,
        (Some(user), Some(password), mechanism) => {
            let mechanism = mechanism.unwrap_or_else(|| "PLAIN".to_owned());
            let login = Login::new(mechanism, user, password);
            Some(login.map_err(|flaw| format!("`sasl.mechanism` of the Secret for Kafka {flaw}"))?)
        }
        _ => return Err("the Secret for Kafka needs both `user` and `password`".to_owned()),
    };
    let identity = match (find("tls.crt")?, find("tls.key")?) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => return Err("the Secret for Kafka needs both `tls.crt` and `tls.key`".to_owned()),
    };
    let authorities = find("ca.crt")?;
    let is_encrypted = topics.tls || authorities.is_some() || identity.is_some();
    Ok(Access {
        tls: is_encrypted.then_some(Tls {
            authorities,
            identity,
        }),
        login,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(entries: &[(&'static str, &str)]) -> KafkaTopics {
        let value = |value: &str| Secret::Value(value.as_bytes().into());
        KafkaTopics {
            servers: vec!["127.0.0.1:9092".to_owned()],
            replicas: 1,
            durability: None,
            tls: false,
            secrets: entries.iter().map(|(key, text)| (*key, value(text))).collect(),
            missing: None,
        }
    }

    #[test]
    fn a_secret_has_one_login_or_none_and_certificates_encrypt() {
        let none = access(&with(&[])).unwrap();
        assert!(none.tls.is_none() && none.login.is_none());
        let login = [("user", "u"), ("password", "p")];
        let all = [
            &login[..],
            &[("sasl.mechanism", "SCRAM-SHA-512"), ("ca.crt", "PEM")],
        ]
        .concat();
        let all = access(&with(&all)).unwrap();
        assert!(all.tls.is_some() && all.login.is_some());
        let mut encrypted = with(&[]);
        encrypted.tls = true;
        assert!(access(&encrypted).unwrap().tls.is_some());
        for wrong in [
            &[("user", "hunter2")][..],
            &[("user", "u"), ("password", "hunter2"), ("sasl.mechanism", "x")],
            &[("tls.crt", "hunter2")],
            &[("user", "u"), ("password", "hunter2\0")],
        ] {
            let told = access(&with(wrong)).unwrap_err();
            assert!(
                told.contains("of the Secret") || told.contains("the Secret for Kafka"),
                "{told}"
            );
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
