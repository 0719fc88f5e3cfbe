//! Secrets: the documents that hold them, and the fields that refer to them.
//!
//! A value is never repeated in a message.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_event::ObjectName;
use millrace_model::{NamedFile, Secret};

use super::metadata::subdomain;
use crate::external::Named;
use crate::field::{Field, Object};
use crate::problem::{Code, shown};
use crate::report::Report;
use crate::tree::Entry;

/// The entries of one Secret document. Its `Debug` shows the names only.
#[derive(Clone, Default)]
pub(crate) struct Entries(BTreeMap<String, Box<[u8]>>);

// === impl Entries ===

impl Entries {
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(AsRef::as_ref)
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A reference as written, before it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretRef {
    /// `secretKeyRef: {name, key}`: an entry of a Secret document of the same namespace.
    Key(ObjectName, String),
    /// `env: NAME`.
    Env(String),
    /// `file: PATH`.
    File(NamedFile),
}

/// Reads `data` (base64) and `stringData` of a Secret document, whose other fields say nothing here.
pub(crate) fn entries(document: &mut Object<'_>, report: &mut Report) -> Entries {
    let mut entries = BTreeMap::new();
    for entry in maps(document, "data", report) {
        let field = Field {
            node: &entry.value,
            path: format!("data.{}", shown(&entry.key.text)),
        };
        let Some(text) = field.secret_text(report) else {
            continue;
        };
        let text: String = text.split_ascii_whitespace().collect();
        match STANDARD.decode(text) {
            Ok(value) => {
                entries.insert(entry.key.text.clone(), value.into());
            }
            Err(_) => field.refuse(
                report,
                Code::BadSecret,
                "`data` holds base64; plain text goes into `stringData`",
            ),
        }
    }
    for entry in maps(document, "stringData", report) {
        let field = Field {
            node: &entry.value,
            path: format!("stringData.{}", shown(&entry.key.text)),
        };
        if let Some(text) = field.secret_text(report) {
            entries.insert(entry.key.text.clone(), text.as_bytes().into());
        }
    }
    Entries(entries)
}

fn maps<'a>(document: &mut Object<'a>, name: &'static str, report: &mut Report) -> &'a [Entry] {
    document
        .take(name)
        .and_then(|field| field.entries(report))
        .unwrap_or_default()
}

/// Refuses what names a variable or a file in an object of a cluster: they are the operator's, and the object
/// is a tenant's.
pub(super) fn only_in_files(field: &Field<'_>, report: &mut Report) -> Option<()> {
    if !report.origin.is_cluster() {
        return Some(());
    }
    let message = "an object of a cluster cannot name a file or a variable of Millrace's own process";
    field.refuse(report, Code::NotOpen, message);
    None
}

// === impl SecretRef ===

impl SecretRef {
    /// Reads one of `{secretKeyRef: {name, key}}`, `{env: NAME}`, `{file: PATH}`.
    pub(crate) fn read(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Self> {
        let mut object = field.object(report)?;
        let key = object.take("secretKeyRef");
        let env = object.take("env");
        let file = object.take("file");
        object.close(report);
        match (key, env, file) {
            (Some(key), None, None) => Self::key(&key, namespace, report),
            (None, Some(env), None) => {
                only_in_files(&env, report)?;
                let name = env.text(report)?.to_owned();
                report.external(&env, Named::Secret(Secret::Env(name.clone())));
                Some(Self::Env(name))
            }
            (None, None, Some(file)) => {
                only_in_files(&file, report)?;
                let path = file.text(report)?;
                let named = report.named_file(path);
                report.external(&file, Named::Secret(Secret::File(named.clone())));
                Some(Self::File(named))
            }
            _ => {
                let message = "a secret is found by one of `secretKeyRef`, `env` and `file`";
                field.refuse(report, Code::BadSecret, message);
                None
            }
        }
    }

    /// The Secret and the name of its entry, where that is what it is found by.
    pub(crate) fn entry(&self) -> Option<(&ObjectName, &str)> {
        match self {
            Self::Key(secret, key) => Some((secret, key)),
            Self::Env(_) | Self::File(_) => None,
        }
    }

    fn key(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Self> {
        let mut object = field.object(report)?;
        let name = object
            .require("name", report)
            .and_then(|name| subdomain(&name, report));
        let key = object.require("key", report).and_then(|key| key.text(report));
        object.close(report);
        Some(Self::Key(ObjectName::new(namespace, name?), key?.to_owned()))
    }
}
