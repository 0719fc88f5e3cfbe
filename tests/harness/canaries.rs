//! Secrets that occur nowhere else, and the search for them in everything that was put out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The secrets, by what they are, and everything that was put out, by where it was found.
#[derive(Debug)]
pub struct Canaries {
    secrets: BTreeMap<&'static str, String>,
    outputs: Vec<(String, Vec<u8>)>,
}

// === impl Canaries ===

impl Canaries {
    /// These, and nothing put out yet. One with the name `certificate` is public.
    pub fn of(secrets: BTreeMap<&'static str, String>) -> Self {
        let outputs = Vec::new();
        Self { secrets, outputs }
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn get(&self, name: &str) -> &str {
        &self.secrets[name]
    }

    /// Notes what was put out.
    pub fn note(&mut self, place: impl Into<String>, output: impl Into<Vec<u8>>) {
        self.outputs.push((place.into(), output.into()));
    }

    /// Notes every file below a folder.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn note_files(&mut self, folder: &Path) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.note_files(&path)?;
            } else if path.is_file() {
                self.note(path.display().to_string(), fs::read(&path)?);
            }
        }
        Ok(())
    }

    /// What could give a secret away: itself, as Base64, in hexadecimal digits, and the lines of a key.
    fn spellings(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut all = Vec::new();
        for (&name, secret) in &self.secrets {
            if name == "certificate" {
                continue;
            }
            let login = BASE64_STANDARD.encode(format!("shop:{secret}"));
            all.push((name, login.into_bytes()));
            let hex: String = secret.bytes().map(|octet| format!("{octet:02x}")).collect();
            all.push((name, hex.into_bytes()));
            all.push((name, BASE64_STANDARD.encode(secret).into_bytes()));
            let lines = secret.lines().filter(|line| !line.starts_with("-----"));
            all.extend(lines.map(|line| (name, line.as_bytes().to_vec())));
        }
        all
    }

    /// Fails with each place where a secret was found.
    ///
    /// # Panics
    /// When there is one, or when too little was noted to say so.
    pub fn assert_nowhere(&self) {
        let mut found = Vec::new();
        for (place, output) in &self.outputs {
            for (name, spelling) in self.spellings() {
                if output.windows(spelling.len()).any(|window| window == spelling) {
                    found.push(format!("{name} in {place}"));
                }
            }
        }
        assert!(found.is_empty(), "{found:#?}");
        assert!(
            self.outputs.len() > 20,
            "this is too little: {}",
            self.outputs.len()
        );
    }
}
