//! Who vouches for the listeners' certificate, as producers are told.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::rereads::{NotReread, Reread, RereadMetrics};

/// Certificates of authorities, in PEM, from a file that is read again when it changes.
#[derive(Debug)]
pub(crate) struct PublicCa {
    file: PathBuf,
    certificates: Mutex<String>,
}

// === impl PublicCa ===

impl PublicCa {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or has something else than certificates.
    pub(super) fn read(file: PathBuf) -> Result<Self, NotReread> {
        let certificates = Mutex::new(read(&file)?);
        Ok(Self { file, certificates })
    }

    /// The certificates, as the file had them last.
    pub(crate) fn certificates(&self) -> String {
        self.certificates.lock().clone()
    }
}

impl Reread for PublicCa {
    const NAME: &'static str = "public-ca";

    fn reread(&self, _: &RereadMetrics) -> Result<(), NotReread> {
        *self.certificates.lock() = read(&self.file)?;
        Ok(())
    }
}

fn read(file: &Path) -> Result<String, NotReread> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| NotReread::Unreadable(format!("{}: {error}", file.display())))?;
    millrace_crds::authorities(&text)
        .map_err(|why| NotReread::Refused(format!("{}: {why}", file.display())))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_are_shown_and_a_bad_change_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.crt");
        let missing = PublicCa::read(file.clone()).expect_err("it is not there");
        assert!(matches!(missing, NotReread::Unreadable(_)), "{missing:?}");
        let certificate = |name: &str| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let (first, key) = certificate("mill.example");
        std::fs::write(&file, &first).expect("a file");
        let shown = PublicCa::read(file.clone()).expect("certificates");
        std::fs::write(&file, format!("{first}{key}")).expect("a file");
        let refused = shown.reread(&RereadMetrics::default()).expect_err("a key");
        assert!(
            matches!(&refused, NotReread::Refused(why) if why.contains("ca.crt") && !why.contains("PRIVATE"))
        );
        assert_eq!(shown.certificates(), first);
        let (second, _) = certificate("mill.example");
        std::fs::write(&file, &second).expect("a file");
        shown.reread(&RereadMetrics::default()).expect("certificates");
        assert_eq!(shown.certificates(), second);
    }
}
