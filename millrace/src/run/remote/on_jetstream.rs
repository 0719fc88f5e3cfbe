//! What a Broker's document says, as the backend on NATS takes it.

use std::sync::Arc;

use millrace_channel_jetstream::{Durability, Login, Options};
use millrace_event::Clock;
use millrace_model::{Broker, DurabilityWanted, JetStream, Secret};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;

use super::MESH;

/// The options of a Broker's channel.
///
/// # Errors
/// What of its Secret cannot be used, in a sentence without what is secret.
pub(super) fn options(
    broker: &Broker,
    jetstream: &JetStream,
    rebuild_state: bool,
    ending: CancellationToken,
) -> Result<Options, String> {
    Ok(Options {
        servers: jetstream.servers.clone(),
        login: login(jetstream)?,
        tls: tls(jetstream)?,
        partitions: jetstream.partitions,
        replicas: usize::try_from(jetstream.replicas).unwrap_or(1),
        max_bytes: jetstream.max_bytes,
        durability: jetstream.durability.map(|wanted| match wanted {
            DurabilityWanted::Synced => Durability::Synced,
            DurabilityWanted::Replicated => Durability::Replicated,
            DurabilityWanted::SingleCopy => Durability::SingleCopy,
        }),
        broker: broker.name.clone(),
        mesh: MESH.to_owned(),
        retention_age: broker.retention.age,
        rebuild_state,
        clock: Clock::System,
        ending,
    })
}

/// The octets of an entry of the Secret.
fn octets<'a>(jetstream: &'a JetStream, key: &str) -> Option<&'a [u8]> {
    match jetstream.secrets.get(key)? {
        Secret::Value(value) => Some(value),
        // Entries of a Secret are values, or missing.
        Secret::Env(_) | Secret::File(_) | Secret::Missing(_) => None,
    }
}

fn text(jetstream: &JetStream, key: &str) -> Result<Option<String>, String> {
    let Some(value) = octets(jetstream, key) else {
        return Ok(None);
    };
    match str::from_utf8(value) {
        Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
        Err(_) => Err(format!("`{key}` of the Secret for NATS is not UTF-8")),
    }
}

fn login(jetstream: &JetStream) -> Result<Option<Login>, String> {
    let [user, password, token, credentials] =
        ["user", "password", "token", "credentials"].map(|key| text(jetstream, key));
    match (user?, password?, token?, credentials?) {
        (None, None, None, None) => Ok(None),
        (Some(user), Some(password), None, None) => Ok(Some(Login::Password { user, password })),
        (None, None, Some(token), None) => Ok(Some(Login::Token(token))),
        (None, None, None, Some(credentials)) => Ok(Some(Login::Credentials(credentials))),
        _ => Err("the Secret for NATS has `user` and `password`, or `token`, or `credentials`".to_owned()),
    }
}

/// Encryption by the certificates of the Secret; `None`: it names none.
fn tls(jetstream: &JetStream) -> Result<Option<ClientConfig>, String> {
    let [authorities, certificate, key] = ["ca.crt", "tls.crt", "tls.key"].map(|key| octets(jetstream, key));
    if authorities.is_none() && certificate.is_none() && key.is_none() {
        return Ok(None);
    }
    let unusable = |what: &str| format!("`{what}` of the Secret for NATS is not PEM that can be used");
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(pem) => {
            for one in CertificateDer::pem_slice_iter(pem) {
                let added = one.ok().and_then(|one| roots.add(one).ok());
                added.ok_or_else(|| unusable("ca.crt"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match (certificate, key) {
        (None, None) => Ok(Some(config.with_no_client_auth())),
        (Some(chain), Some(key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
            let chain = chain.map_err(|_| unusable("tls.crt"))?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| unusable("tls.key"))?;
            let config = config.with_client_auth_cert(chain, key);
            config.map(Some).map_err(|_| unusable("tls.crt"))
        }
        _ => Err("the Secret for NATS needs both `tls.crt` and `tls.key`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn with(entries: &[(&'static str, &str)]) -> JetStream {
        let value = |value: &str| Secret::Value(value.as_bytes().into());
        JetStream {
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            partitions: 1,
            replicas: 1,
            max_bytes: 1,
            durability: None,
            secrets: entries
                .iter()
                .map(|(key, text)| (*key, value(text)))
                .collect::<BTreeMap<_, _>>(),
            missing: None,
        }
    }

    #[test]
    fn a_secret_has_one_login_or_none() {
        assert!(matches!(login(&with(&[])), Ok(None)));
        let both = with(&[("user", "u\n"), ("password", "p")]);
        assert!(matches!(login(&both), Ok(Some(Login::Password { user, .. })) if user == "u"));
        assert!(matches!(
            login(&with(&[("token", "t")])),
            Ok(Some(Login::Token(_)))
        ));
        for wrong in [&[("user", "u")][..], &[("token", "t"), ("credentials", "c")]] {
            assert!(login(&with(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_without_what_it_is() {
        let told = tls(&with(&[("tls.crt", "hunter2"), ("tls.key", "hunter2")])).unwrap_err();
        assert!(told.contains("tls.key") && !told.contains("hunter2"), "{told}");
        assert!(tls(&with(&[("tls.crt", "x")])).is_err());
        assert!(matches!(tls(&with(&[])), Ok(None)));
    }
}
