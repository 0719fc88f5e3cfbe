//! Secrets as they are now. Those in files may be replaced at any time, and nothing runs to look after them:
//! who delivers looks again, at most once a second.

use std::sync::Arc;
use std::time::Duration;

use millrace_model::{Auth as Spec, Octets, Secret};
use millrace_secrets::SecretReader;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Ready;
use crate::no_answer::NoAnswer;

/// How long a file is believed to be what it was.
const FRESH: Duration = Duration::from_secs(1);

/// What was read last, and what became of it.
#[derive(Default)]
pub(super) struct Current {
    known: Mutex<Option<Known>>,
    /// Held by who reads, so that many deliveries at once read the files once.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Known {
    read: Instant,
    secrets: Spec<Octets>,
    ready: Result<Arc<Ready>, String>,
}

// === impl Current ===

impl Current {
    /// What to show now.
    ///
    /// # Errors
    /// When a secret cannot be had, or is none of its kind. One that merely cannot be read at this moment is
    /// what it was before.
    pub(super) async fn get(&self, spec: &Spec, reader: &SecretReader) -> Result<Arc<Ready>, NoAnswer> {
        if let Some(ready) = self.fresh(spec) {
            return ready;
        }
        let _reading = self.reading.lock().await;
        if let Some(ready) = self.fresh(spec) {
            return ready;
        }
        let before = self.known.lock().clone();
        let known = match read(spec, reader, before.as_ref().map(|known| &known.secrets)).await {
            Ok(secrets) => match before {
                // The same handle: what was made of it, such as an open connection, is still good.
                Some(before) if before.secrets == secrets => Known {
                    read: Instant::now(),
                    ..before
                },
                _ => Known {
                    read: Instant::now(),
                    ready: Ready::new(&secrets).map(Arc::new),
                    secrets,
                },
            },
            Err(why) => return Err(NoAnswer::NoCredentials(why)),
        };
        let ready = known.ready();
        *self.known.lock() = Some(known);
        ready
    }

    fn fresh(&self, spec: &Spec) -> Option<Result<Arc<Ready>, NoAnswer>> {
        let known = self.known.lock();
        let known = known.as_ref()?;
        (known.read.elapsed() < FRESH || !may_change(spec)).then(|| known.ready())
    }
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ready = self.known.lock().as_ref().map(|known| known.ready.clone());
        f.debug_tuple("Current").field(&ready).finish()
    }
}

// === impl Known ===

impl Known {
    fn ready(&self) -> Result<Arc<Ready>, NoAnswer> {
        self.ready.clone().map_err(NoAnswer::NoCredentials)
    }
}

/// Whether any of the secrets may be another one later. Those of documents change with the document.
fn may_change(spec: &Spec) -> bool {
    spec.secrets()
        .iter()
        .any(|secret| matches!(secret, Secret::File(_)))
}

/// Reads every secret.
async fn read(
    spec: &Spec,
    reader: &SecretReader,
    before: Option<&Spec<Octets>>,
) -> Result<Spec<Octets>, String> {
    let before = before.map(Spec::secrets).unwrap_or_default();
    let mut found = Vec::new();
    for (index, secret) in spec.secrets().into_iter().enumerate() {
        let octets = match (reader.secret(secret).await, before.get(index)) {
            (Ok(octets), _) => octets,
            (Err(error), Some(known)) if error.is_passing() => (*known).clone(),
            (Err(error), _) => return Err(error.to_string()),
        };
        if octets.is_empty() {
            return Err("a secret that proves who sends is empty".to_owned());
        }
        found.push(octets);
    }
    let mut found = found.into_iter();
    Ok(spec.map(&mut |_| found.next().unwrap_or_default()))
}
