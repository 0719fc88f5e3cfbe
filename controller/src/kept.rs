//! What was accepted, on the disk: a start while the API server is away serves it at once.
//!
//! The file holds the newest valid generation of each object, the addresses that references led to, and the
//! ConfigMaps that say where channels are kept.
//! Secrets are not in it: a source that needs one waits. It is replaced in one step, at most ten times a
//! second.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use millrace_crds::Wanted;
use millrace_model::{Authorities, ObjectName, Reference};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::resolve::Addresses;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kept {
    pub(crate) objects: Vec<Arc<Value>>,
    /// The ConfigMaps that Brokers name.
    pub(crate) configs: Vec<Arc<Value>>,
    pub(crate) addresses: Addresses,
    /// The trust bundles.
    pub(crate) bundles: Option<Authorities>,
}

/// The same in the file.
#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    objects: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    configs: Vec<Value>,
    addresses: Vec<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bundles: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    url: String,
    /// The name of the address, where the document says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(default)]
    secured: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authorities: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
}

const VERSION: u32 = 1;
const NAME: &str = "accepted.json";
/// The pause after a write.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause after a write that failed: it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Reads what an earlier run has kept; what cannot be read counts as nothing.
pub(crate) fn read(folder: &Path) -> Kept {
    let text = match fs::read(folder.join(NAME)) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, "the accepted documents of the last run cannot be read; the API server is waited for");
            }
            return Kept::default();
        }
    };
    match serde_json::from_slice::<File>(&text) {
        Ok(file) if file.version == VERSION => Kept::from(file),
        Ok(_) | Err(_) => {
            tracing::warn!(
                "the accepted documents of the last run are not understood; the API server is waited for"
            );
            Kept::default()
        }
    }
}

/// Writes the newest of what is to be kept, until its maker is gone.
pub(crate) async fn keep(folder: PathBuf, mut newest: watch::Receiver<Option<Arc<Kept>>>) {
    let mut is_failing = false;
    while newest.changed().await.is_ok() {
        let Some(kept) = newest.borrow_and_update().clone() else {
            continue;
        };
        let folder = folder.clone();
        let written = tokio::task::spawn_blocking(move || write(&folder, &kept)).await;
        let error = match written {
            Ok(written) => written.err(),
            Err(error) => Some(io::Error::other(error)),
        };
        if let Some(error) = &error
            && !is_failing
        {
            tracing::error!(%error, "the accepted documents cannot be kept: a start without the API server would serve older ones");
        }
        is_failing = error.is_some();
        if is_failing {
            newest.mark_changed();
        }
        tokio::time::sleep(if is_failing { RETRY } else { PAUSE }).await;
    }
}

fn write(folder: &Path, kept: &Kept) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let next = folder.join(format!(".{NAME}.next"));
    let mut file = fs::File::create(&next)?;
    file.write_all(&serde_json::to_vec(&File::from(kept))?)?;
    file.sync_all()?;
    fs::rename(&next, folder.join(NAME))?;
    fs::File::open(folder)?.sync_all()
}

impl From<File> for Kept {
    fn from(file: File) -> Self {
        let address = |address: Address| {
            let url: Uri = address.url.parse().ok()?;
            let wanted = Wanted {
                resource: Reference {
                    api_version: address.api_version,
                    kind: address.kind,
                    name: ObjectName::new(address.namespace, address.name),
                },
                address: address.address,
                secured: address.secured,
            };
            let authorities = Ok(address.authorities.map(Authorities::new));
            let audience = address.audience;
            let found = millrace_crds::Address {
                url,
                authorities,
                audience,
            };
            Some((wanted, found))
        };
        Self {
            objects: file.objects.into_iter().map(Arc::new).collect(),
            configs: file.configs.into_iter().map(Arc::new).collect(),
            addresses: file.addresses.into_iter().filter_map(address).collect(),
            bundles: file.bundles.map(Authorities::new),
        }
    }
}

impl From<&Kept> for File {
    fn from(kept: &Kept) -> Self {
        let text = |authorities: &Authorities| authorities.pem().to_owned();
        let address = |(wanted, found): (&Wanted, &millrace_crds::Address)| {
            let resource = &wanted.resource;
            // One whose certificates cannot be used is looked up again.
            let authorities = found.authorities.as_ref().ok()?;
            Some(Address {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
                namespace: resource.name.namespace().to_owned(),
                name: resource.name.name().to_owned(),
                url: found.url.to_string(),
                address: wanted.address.clone(),
                secured: wanted.secured,
                authorities: authorities.as_ref().map(text),
                audience: found.audience.clone(),
            })
        };
        Self {
            version: VERSION,
            objects: kept.objects.iter().map(|object| Value::clone(object)).collect(),
            configs: kept.configs.iter().map(|config| Value::clone(config)).collect(),
            addresses: kept.addresses.iter().filter_map(address).collect(),
            bundles: kept.bundles.as_ref().map(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was_and_what_is_broken_counts_as_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("mesh");
        assert_eq!(read(&at), Kept::default());
        let reference = Reference {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            name: ObjectName::new("shop", "ship"),
        };
        let kept = Kept {
            objects: vec![Arc::new(json!({"kind": "Broker"}))],
            configs: vec![Arc::new(json!({"kind": "ConfigMap"}))],
            addresses: [
                (
                    Wanted::of(reference.clone()),
                    Uri::from_static("http://ship.shop.svc/").into(),
                ),
                (
                    Wanted {
                        resource: reference,
                        address: Some("inner".to_owned()),
                        secured: true,
                    },
                    millrace_crds::Address {
                        url: Uri::from_static("https://ship.shop.svc/"),
                        authorities: Ok(Some(Authorities::new("of the shop"))),
                        audience: Some("ship".to_owned()),
                    },
                ),
            ]
            .into(),
            bundles: Some(Authorities::new("of all")),
        };
        write(&at, &kept).expect("written");
        assert_eq!(read(&at), kept);
        write(&at, &Kept::default()).expect("replaced");
        assert_eq!(read(&at), Kept::default());
        fs::write(at.join(NAME), "{\"version\":1,").expect("written");
        assert_eq!(read(&at), Kept::default());
        // As an earlier version wrote it.
        let before = r#"{"version":1,"objects":[],"addresses":[{"apiVersion":"v1","kind":"Service","namespace":"shop","name":"ship","url":"http://ship.shop.svc/"}]}"#;
        fs::write(at.join(NAME), before).expect("written");
        assert_eq!(read(&at).addresses.len(), 1);
        fs::write(at.join(NAME), "{\"version\":9,\"objects\":[1],\"addresses\":[]}").expect("written");
        assert_eq!(read(&at), Kept::default());
    }
}
