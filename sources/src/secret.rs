//! Secrets as they are now: given by a document, or found in the environment or in a file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use millrace_model::Secret;

/// The largest file that is taken for a secret, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The octets of a secret, without a line break at its end, which editors and `echo` leave there. Reads files; blocking.
///
/// # Errors
/// A sentence that says why there are none; it never repeats a secret.
pub(crate) fn octets(secret: &Secret) -> Result<Box<[u8]>, String> {
    let octets = match secret {
        Secret::Value(value) => value.to_vec(),
        Secret::Env(name) => match std::env::var_os(name) {
            Some(value) => value.into_encoded_bytes(),
            None => return Err(format!("the environment has no variable {name}")),
        },
        Secret::File(path) => {
            read(path).map_err(|error| format!("the secret in {}: {error}", path.display()))?
        }
        Secret::Missing(why) => return Err(why.clone()),
    };
    Ok(without_line_break(octets).into())
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("it is too large for a secret"));
    }
    Ok(content)
}

fn without_line_break(mut octets: Vec<u8>) -> Vec<u8> {
    if octets.ends_with(b"\n") {
        octets.pop();
        if octets.ends_with(b"\r") {
            octets.pop();
        }
    }
    octets
}
