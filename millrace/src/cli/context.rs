//! `millrace context`: named places where a Millrace runs, with what is needed to ask there. They are kept
//! in the user's configuration folder, in a file that only its owner can read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::cli::exit::Exit;
use crate::cli::out::{self, Output};
use crate::cli::reach::Reach;
use crate::cli::usage;

/// `millrace context`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Keep the place that the flags describe (--admin, --url, --token-file, --ca, --client-cert,
    /// --client-key)
    Add {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// Where events are sent there
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Ask there from now on
    Use {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the contexts
    List,
    /// Forget one
    Remove {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Where a Millrace is, and what is needed to ask there. Secrets are named by their files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_key: Option<PathBuf>,
}

/// All contexts, as the file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Contexts {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    contexts: BTreeMap<String, Place>,
}

/// The file in the configuration folder.
const FILE: &str = "contexts.json";
/// What the file meets where there are no contexts.
const NONE: [ErrorKind; 3] = [
    ErrorKind::NotFound,
    ErrorKind::NotADirectory,
    ErrorKind::PermissionDenied,
];

/// Runs one of the commands. `reach` has the flags that describe a place.
pub(crate) fn context(command: ContextCommand, reach: &Reach, output: Output) -> anyhow::Result<Exit> {
    let mut all = Contexts::load()?;
    match command {
        ContextCommand::Add { name, url } => {
            let place = match reach.place(url) {
                Ok(place) if place.admin.is_some() || place.url.is_some() => place,
                Ok(_) => return Ok(usage("a context needs --admin or --url: where is it?")),
                Err(error) => return Ok(usage(&crate::reasons::reasons(&error))),
            };
            if name.is_empty() || name.chars().any(char::is_control) {
                return Ok(usage("a context needs a name without control characters"));
            }
            all.contexts.insert(name.clone(), place);
            all.current.get_or_insert(name);
        }
        ContextCommand::Use { name } if all.contexts.contains_key(&name) => all.current = Some(name),
        ContextCommand::Remove { name } if all.contexts.contains_key(&name) => {
            all.contexts.remove(&name);
            all.current = all.current.filter(|current| *current != name);
        }
        ContextCommand::Use { name } | ContextCommand::Remove { name } => {
            out::remark(&format!("error: {}", unknown(&name)));
            return Ok(Exit::Failed);
        }
        ContextCommand::List => {
            list(&all, output);
            return Ok(Exit::Ok);
        }
    }
    all.store()?;
    Ok(Exit::Ok)
}

fn list(all: &Contexts, output: Output) {
    if let Output::Json = output {
        out::json(&serde_json::json!(all));
        return;
    }
    if all.contexts.is_empty() {
        return out::remark("There are no contexts; `millrace context add` makes one.");
    }
    let rows = all.contexts.iter().map(|(name, place)| {
        let is_current = all.current.as_ref() == Some(name);
        let shown = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            if is_current { "*" } else { "" }.to_owned(),
            name.clone(),
            shown(&place.admin),
            shown(&place.url),
        ]
    });
    let rows: Vec<_> = rows.collect();
    out::data(&out::table(&["CURRENT", "NAME", "ADMIN", "URL"], &rows));
}

fn unknown(name: &str) -> String {
    format!(
        "there is no context {}; `millrace context list` lists all",
        out::plain(name)
    )
}

// === impl Contexts ===

impl Contexts {
    /// Reads them; there are none where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or is not one of ours.
    pub(crate) fn load() -> anyhow::Result<Self> {
        Self::load_unless(&[ErrorKind::NotFound])
    }

    /// Reads them for a command that names none of them: there are none where nobody can keep any, as in a
    /// home that is no folder, or another user's.
    ///
    /// # Errors
    /// As [`Contexts::load`].
    pub(crate) fn load_if_any() -> anyhow::Result<Self> {
        Self::load_unless(&NONE)
    }

    fn load_unless(none: &[ErrorKind]) -> anyhow::Result<Self> {
        match folder() {
            Some(folder) => Self::load_from(&folder, none),
            None => Ok(Self::default()),
        }
    }

    fn load_from(folder: &Path, none: &[ErrorKind]) -> anyhow::Result<Self> {
        let file = folder.join(FILE);
        let text = match fs::read(&file) {
            Err(error) if none.contains(&error.kind()) => return Ok(Self::default()),
            text => text.with_context(|| format!("{} cannot be read", file.display()))?,
        };
        serde_json::from_slice(&text).with_context(|| format!("{} is no list of contexts", file.display()))
    }

    /// The one of that name, or the current one, if there is one.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) fn chosen(&self, name: Option<&str>) -> anyhow::Result<Option<Place>> {
        let Some(name) = name.or(self.current.as_deref()) else {
            return Ok(None);
        };
        let place = self.contexts.get(name).with_context(|| unknown(name))?;
        Ok(Some(place.clone()))
    }

    fn store(&self) -> anyhow::Result<()> {
        let folder = folder().context("neither XDG_CONFIG_HOME nor HOME says where contexts are kept")?;
        self.store_in(&folder)
    }

    /// Replaces the file in one step.
    fn store_in(&self, folder: &Path) -> anyhow::Result<()> {
        let write = || -> std::io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let next = folder.join(format!(".{FILE}.{}", std::process::id()));
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&next)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(next, folder.join(FILE))
        };
        write().with_context(|| format!("contexts cannot be kept in {}", folder.display()))
    }
}

/// `$XDG_CONFIG_HOME/millrace`, else `~/.config/millrace`.
fn folder() -> Option<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))?;
    Some(base.join("millrace"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn contexts_are_kept_for_their_owner_alone_and_chosen_by_name() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("a/millrace");
        let load = |folder: &Path| Contexts::load_from(folder, &[ErrorKind::NotFound]);
        assert_eq!(load(&folder).expect("none"), Contexts::default());
        let mut all = Contexts::default();
        for name in ["home", "work"] {
            let place = Place {
                admin: Some(format!("https://{name}")),
                ..Place::default()
            };
            all.contexts.insert(name.to_owned(), place);
        }
        all.current = Some("home".to_owned());
        all.store_in(&folder).expect("stored");
        all.store_in(&folder).expect("stored again");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join(FILE))), (0o700, 0o600));

        let read = load(&folder).expect("contexts");
        assert_eq!(read, all);
        let admin = |name| {
            read.chosen(name)
                .expect("it is there")
                .and_then(|place| place.admin)
        };
        assert_eq!(admin(None).as_deref(), Some("https://home"));
        assert_eq!(admin(Some("work")).as_deref(), Some("https://work"));
        assert!(read.chosen(Some("other")).is_err());
        fs::write(folder.join(FILE), "{\"contexts\": 1}").expect("a file");
        assert!(load(&folder).is_err());
    }

    #[test]
    fn a_home_that_is_no_folder_has_no_contexts_unless_one_is_named() {
        let home = Path::new("/dev/null/millrace");
        let none = Contexts::load_from(home, &NONE).expect("none");
        assert_eq!(none, Contexts::default());
        assert!(Contexts::load_from(home, &[ErrorKind::NotFound]).is_err());
    }
}
