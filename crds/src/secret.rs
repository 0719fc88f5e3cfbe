//! Secrets: the documents that hold them, and the fields that refer to them.
//!
//! A value is never repeated in a message.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_event::ObjectName;
use millrace_model::{NamedFile, Secret};

use crate::field::{Field, Object, Report};
use crate::metadata::subdomain;
use crate::problem::{Code, shown};
use crate::reference::Named;

/// The entries of one Secret document.
pub(crate) type Entries = BTreeMap<String, Box<[u8]>>;

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

/// The Secret documents that are here, and what was looked for in vain.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    by_name: BTreeMap<ObjectName, Entries>,
    /// One sentence for each reference that led nowhere.
    pub(crate) missing: Vec<String>,
}

/// Reads `data` (base64) and `stringData` of a Secret document, whose other fields say nothing here.
pub(crate) fn entries(document: &mut Object<'_>, report: &mut Report) -> Entries {
    let mut entries = Entries::new();
    for entry in maps(document, "data", report) {
        let field = Field {
            node: &entry.value,
            path: format!("data.{}", shown(&entry.key.text)),
        };
        let Some(text) = field.text(report) else { continue };
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
        if let Some(text) = field.text(report) {
            entries.insert(entry.key.text.clone(), text.as_bytes().into());
        }
    }
    entries
}

fn maps<'a>(document: &mut Object<'a>, name: &'static str, report: &mut Report) -> &'a [crate::node::Entry] {
    document
        .take(name)
        .and_then(|field| field.entries(report))
        .unwrap_or_default()
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
                let name = env.text(report)?.to_owned();
                report.reference(&env, Named::Secret(Secret::Env(name.clone())));
                Some(Self::Env(name))
            }
            (None, None, Some(file)) => {
                let path = file.text(report)?;
                let named = report.named_file(path);
                report.reference(&file, Named::Secret(Secret::File(named.clone())));
                Some(Self::File(named))
            }
            _ => {
                let message = "a secret is found by one of `secretKeyRef`, `env` and `file`";
                field.refuse(report, Code::BadSecret, message);
                None
            }
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

// === impl Secrets ===

impl Secrets {
    pub(crate) fn insert(&mut self, name: ObjectName, entries: Entries) {
        self.by_name.insert(name, entries);
    }

    /// The secret, or where it is found later.
    pub(crate) fn resolve(&mut self, reference: &SecretRef) -> Secret {
        match reference {
            SecretRef::Env(name) => Secret::Env(name.clone()),
            SecretRef::File(file) => Secret::File(file.clone()),
            SecretRef::Key(name, key) => self.entry(name, key).unwrap_or_else(|why| {
                self.missing.push(why.clone());
                Secret::Missing(why)
            }),
        }
    }

    fn entry(&self, name: &ObjectName, key: &str) -> Result<Secret, String> {
        let entries = self
            .by_name
            .get(name)
            .ok_or_else(|| format!("there is no Secret {name} in these files"))?;
        let value = entries
            .get(key)
            .ok_or_else(|| format!("the Secret {name} has no entry `{}`", shown(key)))?;
        Ok(Secret::Value(value.clone()))
    }
}
